//! Figures for people and metrics.

use super::Engine;
use crate::lane::Lane;
use crate::metrics::{EngineReport, LaneReport, PartitionReport};
use std::sync::atomic::Ordering;
use thalweg_base::slot::SLOTS;
use thalweg_log::LogReport;
use thalweg_machine::StreamReport;

impl Engine {
    /// Figures for people and metrics.
    pub fn report(&self) -> EngineReport {
        let inner = &self.inner;
        let checkpoint_lsns = inner.checkpoint_lsns.lock().clone();
        let slots = SLOTS / inner.settings.partitions;
        let partitions = (0..inner.partitions.count()).map(|number| {
            let partition = inner.partitions.lock(number);
            let first = number as u16 * slots;
            PartitionReport {
                number: number as u16,
                slots: (first, first + (slots - 1)),
                keys: partition.state.key_count(),
                hot_keys: partition.state.hot_key_count(),
                expiring_keys: partition.state.expiring_key_count(),
                memory_bytes: partition.state.memory_bytes() as u64,
                last_lsn: partition.state.last_lsn(),
                checkpoint_lsn: checkpoint_lsns.get(number).copied().unwrap_or(0),
                writes: partition.writes,
                reads: partition.reads,
                evicted: partition.state.evicted_count(),
            }
        });
        let lanes: Vec<_> = inner.lanes.iter().map(report_lane).collect();
        EngineReport {
            health: self.health(),
            partitions: partitions.collect(),
            log: total(&lanes),
            lanes,
            store_bytes: inner.store.as_ref().map_or(0, |store| store.disk_bytes()),
            checkpoints: inner.checkpoints.load(Ordering::Relaxed),
            loads: inner.loader.loads(),
            expired: inner.expired.load(Ordering::Relaxed),
            recovery_ms: inner.recovery_ms,
        }
    }

    /// The largest streams in memory, at most `limit`.
    pub fn stream_reports(&self, limit: usize) -> Vec<StreamReport> {
        let partitions = &self.inner.partitions;
        let mut reports: Vec<_> = (0..partitions.count())
            .flat_map(|number| partitions.lock(number).state.stream_reports(limit))
            .collect();
        reports.sort_by(|a, b| b.records.cmp(&a.records).then_with(|| a.key.cmp(&b.key)));
        reports.truncate(limit);
        reports
    }
}

fn report_lane(lane: &Lane) -> LaneReport {
    let partitions = &lane.partitions;
    LaneReport {
        number: lane.number,
        partitions: (partitions.start as u16, partitions.end.saturating_sub(1) as u16),
        role: lane.role(),
        epoch: lane.epoch(),
        health: lane.health(),
        settled_lsn: lane.settled_lsn(),
        log: lane.log.report(),
    }
}

fn total(lanes: &[LaneReport]) -> LogReport {
    lanes.iter().fold(LogReport::default(), |sum, lane| sum.plus(&lane.log))
}
