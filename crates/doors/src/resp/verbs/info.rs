//! INFO: the server in figures, in Redis's sections and field names where it has them.

use super::{Control, Verdict, text};
use crate::shared::Shared;
use std::fmt::Write;
use thalweg_base::units::format_bytes;
use thalweg_machine::Answer;
use thalweg_node::{EngineReport, EngineSettings};

/// The version of Redis whose behaviour clients may expect.
pub(super) const REDIS_VERSION: &str = "7.2.0";

const SECTIONS: &[&str] =
    &["server", "clients", "memory", "persistence", "stats", "replication", "cpu", "keyspace"];

/// Names and values.
type Fields = Vec<(&'static str, String)>;

/// INFO [section ...]
pub(super) fn info(control: &mut Control<'_>, args: &[&[u8]]) -> Verdict {
    let asked: Vec<String> =
        args.iter().skip(1).map(|section| text(section).to_lowercase()).collect();
    let everything = asked.is_empty()
        || asked.iter().any(|section| matches!(section.as_str(), "all" | "default" | "everything"));
    let wanted = |section: &str| everything || asked.iter().any(|other| other == section);
    let text = render(control.shared, &wanted);
    control.answer().verbatim(&text);
    Ok(())
}

/// The sections that are wanted.
fn render(shared: &Shared, wanted: &dyn Fn(&str) -> bool) -> String {
    let mut out = String::new();
    for section in SECTIONS.iter().filter(|section| wanted(section)) {
        let mut title = section.to_string();
        title[..1].make_ascii_uppercase();
        // Writing to a string cannot fail.
        let _infallible = write!(out, "# {title}\r\n");
        for (name, value) in fields(shared, section) {
            let _infallible = write!(out, "{name}:{value}\r\n");
        }
        out.push_str("\r\n");
    }
    out
}

fn fields(shared: &Shared, section: &str) -> Fields {
    let report = shared.engine.report();
    let settings = shared.engine.settings();
    match section {
        "server" => server_fields(shared),
        "clients" => vec![
            ("connected_clients", shared.connection_count().to_string()),
            ("maxclients", shared.settings().connections_max.to_string()),
            ("blocked_clients", shared.engine.waiter_count().to_string()),
        ],
        "memory" => memory_fields(&report, settings),
        "persistence" => persistence_fields(&report, settings),
        "stats" => stats_fields(shared, &report),
        "replication" => {
            vec![("role", "master".to_owned()), ("connected_slaves", "0".to_owned())]
        }
        "cpu" => {
            let (user, system) = cpu_seconds();
            vec![("used_cpu_sys", format!("{system:.6}")), ("used_cpu_user", format!("{user:.6}"))]
        }
        "keyspace" => keyspace_fields(&report),
        _ => Vec::new(),
    }
}

fn server_fields(shared: &Shared) -> Fields {
    let uptime = shared.started.elapsed().as_secs();
    let port = shared.resp_address.read().map_or(0, |address| address.port());
    vec![
        ("redis_version", REDIS_VERSION.to_owned()),
        ("redis_mode", "standalone".to_owned()),
        ("thalweg_version", env!("CARGO_PKG_VERSION").to_owned()),
        ("os", std::env::consts::OS.to_owned()),
        ("arch_bits", usize::BITS.to_string()),
        ("process_id", std::process::id().to_string()),
        ("run_id", shared.run_id.clone()),
        ("tcp_port", port.to_string()),
        ("started_ms", shared.started_ms.to_string()),
        ("uptime_in_seconds", uptime.to_string()),
        ("uptime_in_days", (uptime / 86_400).to_string()),
    ]
}

fn memory_fields(report: &EngineReport, settings: &EngineSettings) -> Fields {
    let used = report.total(|partition| partition.memory_bytes);
    let resident = resident_bytes();
    vec![
        ("used_memory", used.to_string()),
        ("used_memory_human", format_bytes(used)),
        ("used_memory_rss", resident.to_string()),
        ("used_memory_rss_human", format_bytes(resident)),
        ("maxmemory", settings.memory_max_bytes.to_string()),
        ("maxmemory_human", format_bytes(settings.memory_max_bytes)),
        ("maxmemory_policy", settings.eviction.as_str().to_owned()),
        ("mem_allocator", "mimalloc".to_owned()),
    ]
}

/// Of each lane, in order.
fn settled_lsns(report: &EngineReport) -> String {
    let lsns: Vec<String> = report.lanes.iter().map(|lane| lane.settled_lsn.to_string()).collect();
    lsns.join(",")
}

fn persistence_fields(report: &EngineReport, settings: &EngineSettings) -> Fields {
    vec![
        ("loading", "0".to_owned()),
        ("durability", settings.durability.as_str().to_owned()),
        ("log_status", report.health.as_str().to_owned()),
        ("settled_lsn", settled_lsns(report)),
        ("lanes", report.lanes.len().to_string()),
        ("log_bytes", report.log.size_bytes.to_string()),
        ("log_segments", report.log.segments.to_string()),
        ("log_appended_bytes", report.log.appended_bytes.to_string()),
        ("log_syncs", report.log.syncs.to_string()),
        ("log_compression_ratio", format!("{:.2}", report.log.compression_ratio())),
        ("checkpoint_store_bytes", report.store_bytes.to_string()),
        ("checkpoints", report.checkpoints.to_string()),
        ("recovery_ms", report.recovery_ms.to_string()),
    ]
}

fn stats_fields(shared: &Shared, report: &EngineReport) -> Fields {
    let traffic = shared.stats.snapshot();
    vec![
        ("total_connections_received", shared.access.limit.accepted().to_string()),
        ("total_commands_processed", traffic.commands.to_string()),
        ("total_net_input_bytes", traffic.received_bytes.to_string()),
        ("total_net_output_bytes", traffic.sent_bytes.to_string()),
        ("rejected_connections", shared.access.limit.refused().to_string()),
        ("expired_keys", report.expired.to_string()),
        ("evicted_keys", report.total(|partition| partition.evicted).to_string()),
        ("keys_fetched_from_disk", report.loads.to_string()),
        ("latency_p50_us", traffic.latency_us.value_at_quantile(0.5).to_string()),
        ("latency_p99_us", traffic.latency_us.value_at_quantile(0.99).to_string()),
        ("latency_p999_us", traffic.latency_us.value_at_quantile(0.999).to_string()),
    ]
}

fn keyspace_fields(report: &EngineReport) -> Fields {
    let keys = report.total(|partition| partition.keys);
    let expires = report.total(|partition| partition.expiring_keys);
    let hot = report.total(|partition| partition.hot_keys);
    if keys == 0 {
        return Vec::new();
    }
    vec![("db0", format!("keys={keys},expires={expires},avg_ttl=0,hot={hot}"))]
}

/// The process's memory as the operating system counts it.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// The process's processor time in user and system mode, in seconds.
fn cpu_seconds() -> (f64, f64) {
    let ticks = std::fs::read_to_string("/proc/self/stat").ok().and_then(|text| {
        // The command name may hold spaces; fields are counted behind it.
        let rest = text.rsplit_once(')')?.1.to_owned();
        let mut fields = rest.split_whitespace().skip(11);
        Some((fields.next()?.parse::<f64>().ok()?, fields.next()?.parse::<f64>().ok()?))
    });
    let hertz = rustix::param::clock_ticks_per_second() as f64;
    ticks.map_or((0.0, 0.0), |(user, system)| (user / hertz, system / hertz))
}
