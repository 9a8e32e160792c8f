//! The machine: memory, open files, the kernel, the clock.

use super::Finding;
use crate::settings::Settings;
use rustix::process::{Resource, getrlimit};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use thalweg_base::memory;

/// Descriptors besides connections: the log, the store, segments, epoll.
const OTHER_FILES: u64 = 1_000;
/// What a node takes besides its budgets.
const BASE_BYTES: u64 = 1 << 30;
/// 2025-01-01: no clock that is set shows less.
const EARLIEST_S: u64 = 1_735_689_600;
/// Both clocks should agree on how long a moment was.
const MOMENT: Duration = Duration::from_millis(50);

pub(super) fn look(settings: &Settings) -> Vec<Finding> {
    let budgets = settings.engine.memory_max_bytes
        + (settings.sql.memory_max_bytes + settings.sql.view_memory_max_bytes) as u64;
    let physical = memory::machine_bytes().unwrap_or(u64::MAX);
    let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let mut findings = vec![
        memory(budgets, physical),
        open_files(files, settings.doors.connections_max as u64),
        clock(),
    ];
    if let Some(limit) = memory::address_space_bytes() {
        let found = format!("limited to {:.1} GiB (ulimit -v)", gib(limit));
        let advice = "a node reserves more addresses than it uses memory: lift the limit, and use \
                      --memory-max or a control group instead";
        findings.push(Finding::warning("addresses", found, advice));
    }
    findings
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / (1u64 << 30) as f64
}

fn memory(budgets_bytes: u64, physical_bytes: u64) -> Finding {
    let wanted = budgets_bytes.saturating_add(BASE_BYTES);
    let found = format!(
        "the settings allow {:.1} GiB, the machine or its group has {:.1} GiB",
        gib(wanted),
        gib(physical_bytes)
    );
    if wanted <= physical_bytes {
        return Finding::good("memory", found);
    }
    let advice = "the system may end the node when it uses what it may: lower --memory-max, \
                  --sql-memory-max or --view-memory-max";
    Finding::warning("memory", found, advice)
}

fn open_files(limit: u64, connections_max: u64) -> Finding {
    let found = format!("{limit} may be open, {connections_max} of them connections");
    if limit >= connections_max + OTHER_FILES {
        return Finding::good("open files", found);
    }
    let advice = "raise the hard limit (ulimit -Hn, LimitNOFILE= of systemd), or lower \
                  --connections-max";
    Finding::warning("open files", found, advice)
}

fn clock() -> Finding {
    let (wall, begun) = (SystemTime::now(), Instant::now());
    std::thread::sleep(MOMENT);
    let steady = begun.elapsed();
    let shown = SystemTime::now().duration_since(wall).unwrap_or_default();
    let since_1970 = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    graded_clock(since_1970.as_secs(), steady.abs_diff(shown))
}

fn graded_clock(seconds: u64, difference: Duration) -> Finding {
    let advice = "IDs of records, expiry and event time follow the clock: let chrony, ntpd or \
                  systemd-timesyncd set it";
    if seconds < EARLIEST_S {
        return Finding::warning("clock", "it shows a time before 2025", advice);
    }
    if difference > MOMENT / 10 {
        let found = format!("it jumped by {:.1} ms", difference.as_secs_f64() * 1_000.0);
        return Finding::warning("clock", found, advice);
    }
    Finding::good("clock", "it is set, and runs as fast as the steady one")
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;

    #[test]
    fn what_the_machine_has_is_graded() {
        assert_eq!(memory(4 << 30, 8 << 30).grade, Grade::Good);
        assert_eq!(memory(8 << 30, 8 << 30).grade, Grade::Warning);
        assert_eq!(open_files(65_536, 10_000).grade, Grade::Good);
        assert_eq!(open_files(1_024, 10_000).grade, Grade::Warning);
        assert_eq!(graded_clock(EARLIEST_S, Duration::ZERO).grade, Grade::Good);
        assert_eq!(graded_clock(0, Duration::ZERO).grade, Grade::Warning);
        assert_eq!(graded_clock(EARLIEST_S, Duration::from_secs(1)).grade, Grade::Warning);
    }
}
