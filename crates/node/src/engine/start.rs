//! Threads, the lock on the folder, the seed of hashes.

use super::Inner;
use crate::error::EngineError;
use crate::metrics::Role;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

pub(super) fn start_threads(inner: &Arc<Inner>) -> Result<Vec<JoinHandle<()>>, EngineError> {
    type Work = Box<dyn FnOnce(&Arc<Inner>) + Send>;
    let mut threads = Vec::new();
    let mut start = |name: &str, work: Work| {
        let inner = inner.clone();
        std::thread::Builder::new()
            .name(format!("thalweg-{name}"))
            .spawn(move || {
                // Without one of its threads a node would hang, or run out of log: it ends instead.
                if catch_unwind(AssertUnwindSafe(|| work(&inner))).is_err() {
                    tracing::error!(
                        "a thread of the node failed; restart it, and report the message above"
                    );
                    std::process::abort();
                }
            })
            .map(|thread| threads.push(thread))
            .map_err(|source| EngineError::Io { action: format!("start thread {name}"), source })
    };
    for number in 0..inner.lanes.count() {
        if inner.lanes.at(number).role() != Role::Leader {
            continue;
        }
        let commit = move |inner: &Arc<Inner>| {
            let settings = &inner.settings;
            let lane = inner.lanes.at(number);
            lane.run(&inner.partitions, settings.clock.as_ref(), settings.sync_interval_ms);
        };
        start(&format!("commit{number}"), Box::new(commit))?;
    }
    start("timers", Box::new(crate::maintenance::run_timers))?;
    if inner.store.is_some() {
        start("checkpoint", Box::new(crate::maintenance::run_checkpoints))?;
        start("compact", Box::new(crate::maintenance::run_compaction))?;
        for _ in 0..2 {
            start("load", Box::new(|inner| inner.loader.run(inner)))?;
        }
    }
    Ok(threads)
}

pub(super) fn lock_directory(path: &std::path::Path) -> Result<File, EngineError> {
    let io = |action: String| move |source| EngineError::Io { action, source };
    std::fs::create_dir_all(path).map_err(io(format!("create {}", path.display())))?;
    let lock_path = path.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(io(format!("open {}", lock_path.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(EngineError::InUse(path.display().to_string()))
        }
        Err(std::fs::TryLockError::Error(source)) => {
            Err(EngineError::Io { action: format!("lock {}", lock_path.display()), source })
        }
    }
}

/// A number that nobody else has, and not 0.
pub(super) fn random_number() -> u64 {
    hash_seed() | 1
}

/// Differs from run to run, so that nobody can make keys that collide.
pub(super) fn hash_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
