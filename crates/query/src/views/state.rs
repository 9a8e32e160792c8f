//! The state of a view: groups by window, and how far event time has come.
//!
//! The state depends on the records that were taken in alone. It does not depend on how they were
//! cut into batches, or on the order in which partitions were read. For a record is late by the
//! watermark of its own partition, and only the records before it in that partition, with the marks
//! between them, decide that watermark. Windows close by the lowest watermark of all partitions, so
//! no record that is in time finds its window closed.

mod rows;

use super::accumulate::AggregatePlan;
use super::compile::{Compiled, KeyColumn};
use super::groups::{GroupRows, Groups};
use super::lookup::Partials;
use super::panes::{Pane, first_end_us, hop_groups, hop_rows, hop_starts, pane_at, pane_us, split};
use super::rows::{Flow, arguments, columns};
use super::sessions::Sessions;
use crate::sql::window::{WindowKind, floor_us};
use datafusion::arrow::array::{
    Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions,
    TimestampMicrosecondArray,
};
use datafusion::arrow::compute::cast;
use datafusion::common::Result;
use rows::session_rows;
pub(crate) use rows::state_widths;
pub(super) use rows::{Bounds, lay_out};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

/// Where groups are.
pub(crate) enum Content {
    /// No windows.
    Whole(Groups),
    /// By pane: the tumbling window, or what hopping windows have in common.
    Panes(BTreeMap<i64, Pane>),
    Sessions(Sessions),
}

/// The watermark of each record's own partition, when it came; it never goes back.
pub(crate) struct OwnWatermarks(pub(crate) Vec<i64>);

/// The state.
pub(crate) struct State {
    pub(crate) compiled: Arc<Compiled>,
    pub(crate) lateness_us: i64,
    pub(crate) content: Content,
    /// Rows of windows that cannot change any more.
    pub(crate) frozen: Vec<RecordBatch>,
    /// Windows that begin before this are frozen (hopping windows).
    pub(crate) frozen_before_us: i64,
    /// Event time that is complete; only grows.
    pub(crate) watermark_us: Option<i64>,
    /// Sessions were looked through for closed ones at this watermark.
    swept_us: Option<i64>,
    pub(crate) late: u64,
    pub(crate) rows_in: u64,
}

impl State {
    pub(crate) fn new(compiled: &Arc<Compiled>, lateness_us: i64) -> Result<Self> {
        let content = match compiled.window {
            None => {
                let mut groups = Groups::new(&compiled.key_schema, &compiled.aggregates)?;
                if compiled.layout.is_empty() && compiled.lookup.is_none() {
                    groups.ensure_one();
                }
                Content::Whole(groups)
            }
            Some(WindowKind::Session { gap_us }) => Content::Sessions(Sessions::new(
                gap_us,
                &compiled.key_schema,
                &compiled.aggregates,
            )?),
            Some(_) => Content::Panes(BTreeMap::new()),
        };
        Ok(Self {
            compiled: compiled.clone(),
            lateness_us,
            content,
            frozen: Vec::new(),
            frozen_before_us: i64::MIN,
            watermark_us: None,
            swept_us: None,
            late: 0,
            rows_in: 0,
        })
    }

    /// Takes in records; gives the positions of those that came too late.
    pub(crate) fn ingest(
        &mut self,
        batch: RecordBatch,
        own: Option<&OwnWatermarks>,
    ) -> Result<Vec<usize>> {
        self.rows_in += batch.num_rows() as u64;
        let compiled = self.compiled.clone();
        let mut flow = Flow::new(batch);
        for step in &compiled.steps {
            step.run(&mut flow)?;
        }
        self.late += flow.timeless;
        let too_late = self.leave_out_late(&mut flow, own)?;
        if flow.batch.num_rows() == 0 {
            return Ok(too_late);
        }
        let plans = &compiled.aggregates;
        let arguments = plans.iter().map(|plan| arguments(plan, &flow.batch));
        let rows = GroupRows {
            keys: columns(&compiled.keys, &flow.batch)?,
            arguments: arguments.collect::<Result<_>>()?,
            rows: flow.batch.num_rows(),
        };
        self.group(&rows, flow.times.as_ref())?;
        Ok(too_late)
    }

    fn group(&mut self, rows: &GroupRows, times: Option<&Int64Array>) -> Result<()> {
        let compiled = self.compiled.clone();
        match (&mut self.content, times, compiled.window) {
            (Content::Whole(groups), ..) => groups.update(rows),
            (Content::Sessions(sessions), Some(times), _) => sessions.update(rows, times.values()),
            (Content::Panes(panes), Some(times), Some(kind)) => {
                for (start_us, chosen) in split(times.values(), pane_us(kind)) {
                    let pane = pane_at(panes, start_us, &compiled)?;
                    match chosen {
                        None => pane.groups.update(rows)?,
                        Some(chosen) => pane.groups.update(&rows.take(&chosen)?)?,
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Leaves out records that are behind their partition's watermark by more than is allowed.
    fn leave_out_late(
        &mut self,
        flow: &mut Flow,
        own: Option<&OwnWatermarks>,
    ) -> Result<Vec<usize>> {
        let (Some(kind), Some(own), Some(times)) = (self.compiled.window, own, &flow.times) else {
            return Ok(Vec::new());
        };
        let lateness_us = self.lateness_us;
        // A window that is closed stays closed, whatever became of the partition's records and
        // marks (a key can be deleted).
        let passed_us = self.watermark_us.unwrap_or(i64::MIN);
        // Nearly always even the earliest record is in time for the last watermark: then all are.
        let last_us = own.0.last().copied().unwrap_or(i64::MIN).max(passed_us);
        let earliest_us = times.values().iter().copied().min().unwrap_or(i64::MAX);
        if first_end_us(kind, earliest_us).saturating_add(lateness_us) > last_us {
            return Ok(Vec::new());
        }
        let late = |row: usize| {
            let watermark_us =
                own.0.get(flow.origin(row)).copied().unwrap_or(i64::MIN).max(passed_us);
            first_end_us(kind, times.value(row)).saturating_add(lateness_us) <= watermark_us
        };
        let too_late: Vec<usize> = (0..times.len()).filter(|&row| late(row)).collect();
        if too_late.is_empty() {
            return Ok(Vec::new());
        }
        self.late += too_late.len() as u64;
        let mut keep = vec![true; times.len()];
        for &row in &too_late {
            if let Some(keep) = keep.get_mut(row) {
                *keep = false;
            }
        }
        let origins = too_late.iter().map(|&row| flow.origin(row)).collect();
        flow.keep(&BooleanArray::from(keep))?;
        Ok(origins)
    }

    /// Takes in what another state of the same view has.
    pub(crate) fn absorb(&mut self, mut other: Self) -> Result<()> {
        self.rows_in += other.rows_in;
        self.late += other.late;
        let compiled = self.compiled.clone();
        match (&mut self.content, &mut other.content) {
            (Content::Whole(groups), Content::Whole(more)) => {
                let rows = more.len();
                let (keys, states) = more.state()?;
                groups.merge(&keys, &states, rows)
            }
            (Content::Panes(panes), Content::Panes(more)) => {
                let closed_us = self.watermark_us.map(|us| us.saturating_sub(self.lateness_us));
                for (start_us, mut pane) in std::mem::take(more) {
                    // Windows that closed while the records were under way stay closed.
                    let last_us = compiled.window.map(|kind| first_end_us(kind, start_us));
                    if closed_us.is_some_and(|closed_us| last_us.is_some_and(|us| us <= closed_us))
                    {
                        self.late += pane.groups.len() as u64;
                        continue;
                    }
                    if let Entry::Vacant(entry) = panes.entry(start_us) {
                        entry.insert(pane);
                        continue;
                    }
                    let rows = pane.groups.len();
                    let (keys, states) = pane.groups.state()?;
                    pane_at(panes, start_us, &compiled)?.groups.merge(&keys, &states, rows)?;
                }
                Ok(())
            }
            (Content::Sessions(sessions), Content::Sessions(more)) => {
                sessions.merge(&more.state()?)
            }
            _ => Ok(()),
        }
    }

    /// Event time is complete up to here: windows that nothing can change any more become rows.
    pub(crate) fn advance(&mut self, watermark_us: i64) -> Result<()> {
        if self.watermark_us.is_some_and(|known| known >= watermark_us) {
            return Ok(());
        }
        self.watermark_us = Some(watermark_us);
        let closed_us = watermark_us.saturating_sub(self.lateness_us);
        match self.compiled.window {
            None => Ok(()),
            // The table's side may change what a closed window says.
            _ if self.compiled.lookup.is_some() => Ok(()),
            Some(WindowKind::Tumble { size_us }) => self.freeze_panes(closed_us, size_us),
            Some(WindowKind::Hop { slide_us, size_us }) => {
                self.freeze_hops(closed_us, slide_us, size_us)
            }
            Some(WindowKind::Session { gap_us }) => self.freeze_sessions(closed_us, gap_us),
        }
    }

    fn freeze_panes(&mut self, closed_us: i64, size_us: i64) -> Result<()> {
        let compiled = self.compiled.clone();
        let Content::Panes(panes) = &mut self.content else { return Ok(()) };
        while let Some(entry) = panes.first_entry() {
            if entry.key().saturating_add(size_us) > closed_us {
                break;
            }
            let (start_us, mut pane) = entry.remove_entry();
            let rows = pane.rows(&compiled, start_us, size_us)?;
            self.frozen.push(rows);
        }
        self.compact_frozen()
    }

    fn freeze_hops(&mut self, closed_us: i64, slide_us: i64, size_us: i64) -> Result<()> {
        loop {
            let compiled = self.compiled.clone();
            let Content::Panes(panes) = &mut self.content else { return Ok(()) };
            let Some((&first_us, _)) = panes.first_key_value() else { break };
            // The first window that the first pane is in and that is not frozen.
            let earliest_us = floor_us(first_us - size_us + slide_us, slide_us);
            let start_us = earliest_us.max(self.frozen_before_us);
            if start_us > first_us {
                panes.pop_first();
                continue;
            }
            if start_us.saturating_add(size_us) > closed_us {
                break;
            }
            let rows = hop_rows(panes, &compiled, start_us, size_us)?;
            self.frozen_before_us = start_us + slide_us;
            self.frozen.extend(rows);
        }
        self.compact_frozen()
    }

    fn freeze_sessions(&mut self, closed_us: i64, gap_us: i64) -> Result<()> {
        // Looking through all of them costs; a quarter of a gap of patience is seen by nobody.
        if self.swept_us.is_some_and(|swept_us| closed_us.saturating_sub(swept_us) < gap_us / 4) {
            return Ok(());
        }
        self.swept_us = Some(closed_us);
        // A record that is not too late is less than a gap behind, and may join what ended up to a
        // gap before it.
        let before_us = closed_us.saturating_sub(gap_us.saturating_mul(2)).saturating_add(1);
        let compiled = self.compiled.clone();
        let Content::Sessions(sessions) = &mut self.content else { return Ok(()) };
        if let Some(rows) = session_rows(sessions, &compiled, Some(before_us), gap_us)? {
            self.frozen.push(rows);
            sessions.forget(before_us)?;
        }
        self.compact_frozen()
    }

    /// Many small batches make a slow scan.
    fn compact_frozen(&mut self) -> Result<()> {
        const SMALL_ROWS: usize = 8_192;
        const MANY: usize = 32;
        let small =
            self.frozen.iter().rev().take_while(|batch| batch.num_rows() < SMALL_ROWS).count();
        if small >= MANY {
            let tail = self.frozen.split_off(self.frozen.len() - small);
            let joined =
                datafusion::arrow::compute::concat_batches(&self.compiled.group_schema, &tail)?;
            self.frozen.push(joined);
        }
        Ok(())
    }
}
