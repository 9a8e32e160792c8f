//! The disk: whether the folder can be written, how long fdatasync takes, how much room there is.

use super::Finding;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;
use thalweg_node::Durability;

const SYNCS: usize = 50;
/// Slower than this, one client alone writes less than a hundred times a second.
const SLOW_MS: f64 = 10.0;
/// No device keeps anything in less time.
const TOO_FAST_MS: f64 = 0.004;
const ROOM_MIN_BYTES: u64 = 2 << 30;
/// File systems that a power cut empties, or that other machines serve.
const FILE_SYSTEMS: [(u64, &str, bool); 4] = [
    (0x0102_1994, "tmpfs", false),
    (0x8584_58f6, "ramfs", false),
    (0x6969, "NFS", true),
    (0xff53_4d42, "CIFS", true),
];

pub(super) fn look(folder: &Path, durability: Durability) -> Vec<Finding> {
    // A folder that is not there yet is made where its parent is.
    let Some(existing) = folder.ancestors().find(|path| path.is_dir()) else {
        let found = format!("there is no folder at or above {}", folder.display());
        return vec![Finding::bad("data", found, "name another folder with --data")];
    };
    let existing =
        if existing.as_os_str().is_empty() { PathBuf::from(".") } else { existing.to_owned() };
    let mut findings = vec![kind_of(&existing, folder), room_in(&existing)];
    if durability == Durability::Sync {
        findings.push(match sync_times_ms(&existing) {
            Ok(mut times) => {
                times.sort_by(f64::total_cmp);
                let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or(0.0);
                graded_sync(at(50), at(99))
            }
            Err(error) => Finding::bad(
                "fdatasync",
                format!("{}: {error}", existing.display()),
                "let the node write there, or name another folder with --data",
            ),
        });
    }
    findings
}

fn kind_of(existing: &Path, folder: &Path) -> Finding {
    let found = match rustix::fs::statfs(existing) {
        Ok(found) => found,
        Err(error) => {
            let found = format!("{}: {error}", existing.display());
            return Finding::bad("data", found, "name another folder with --data");
        }
    };
    #[expect(clippy::cast_sign_loss, reason = "a magic number, whatever its type is here")]
    let magic = found.f_type as u64;
    let place = folder.display();
    match FILE_SYSTEMS.iter().find(|(number, ..)| *number == magic & 0xffff_ffff) {
        Some((_, name, true)) => Finding::warning(
            "data",
            format!("{place} is on {name}"),
            "use a local disk: what fdatasync means there is decided by another machine",
        ),
        Some((_, name, false)) => Finding::warning(
            "data",
            format!("{place} is on {name}"),
            "nothing there survives a restart of the machine; name a disk with --data",
        ),
        None => Finding::good("data", format!("{place} is on a disk")),
    }
}

fn room_in(existing: &Path) -> Finding {
    let free_bytes = rustix::fs::statvfs(existing).map(|found| found.f_bavail * found.f_frsize);
    let free_bytes = free_bytes.unwrap_or(0);
    let found = format!("{:.1} GiB free", free_bytes as f64 / (1u64 << 30) as f64);
    if free_bytes >= ROOM_MIN_BYTES {
        return Finding::good("room", found);
    }
    let advice = "the log alone takes up to --checkpoint-log (1 GiB) and more while a checkpoint \
                  runs: make room";
    Finding::warning("room", found, advice)
}

/// How long fdatasync takes after each of some small appends.
fn sync_times_ms(folder: &Path) -> std::io::Result<Vec<f64>> {
    let path = folder.join(format!(".thalweg-doctor-{}", std::process::id()));
    let timed = append_and_sync(&path);
    std::fs::remove_file(&path)?;
    timed
}

fn append_and_sync(path: &Path) -> std::io::Result<Vec<f64>> {
    let mut file = File::create_new(path)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&[0u8; 4_096])?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(times)
}

fn graded_sync(median_ms: f64, p99_ms: f64) -> Finding {
    let found = format!("median {median_ms:.3} ms, p99 {p99_ms:.3} ms");
    if median_ms < TOO_FAST_MS {
        let advice = "no disk is that fast: this one may not keep what it says that it has kept";
        return Finding::warning("fdatasync", found, advice);
    }
    if median_ms > SLOW_MS {
        let advice = "each acknowledged write waits for it: use a faster disk, or many clients \
                      (they share one fdatasync), or --durability interval";
        return Finding::warning("fdatasync", found, advice);
    }
    Finding::good("fdatasync", found)
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;

    #[test]
    fn times_of_fdatasync_are_graded() {
        assert_eq!(graded_sync(0.2, 1.0).grade, Grade::Good);
        assert_eq!(graded_sync(0.001, 0.002).grade, Grade::Warning);
        assert_eq!(graded_sync(12.0, 40.0).grade, Grade::Warning);
    }

    #[test]
    fn a_folder_is_looked_at_and_left_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let findings = look(&folder.path().join("not/there/yet"), Durability::Sync);
        assert_eq!(findings.len(), 3);
        assert!(findings.iter().all(|finding| finding.grade != Grade::Bad), "{findings:?}");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }
}
