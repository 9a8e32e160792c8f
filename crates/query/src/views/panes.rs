//! Panes: groups by time. A tumbling window is one pane. A hopping window is several panes, each of
//! which belongs to several windows.

use super::compile::Compiled;
use super::groups::Groups;
use super::state::{Bounds, lay_out};
use crate::sql::window::{WindowKind, floor_us};
use datafusion::arrow::array::{RecordBatch, UInt32Array};
use datafusion::common::Result;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// The groups of some time.
pub(crate) struct Pane {
    pub(crate) groups: Groups,
    /// Its rows, until it changes.
    rows: Option<RecordBatch>,
}

/// The length of a pane.
pub(super) fn pane_us(kind: WindowKind) -> i64 {
    let gcd = |mut a: i64, mut b: i64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    match kind {
        WindowKind::Tumble { size_us } => size_us,
        WindowKind::Hop { slide_us, size_us } => gcd(slide_us, size_us),
        WindowKind::Session { gap_us } => gap_us,
    }
}

/// The end of the first window that a time is in. A record is too late when that has closed: so a
/// window that has closed is complete, whatever order partitions were read in.
pub(super) fn first_end_us(kind: WindowKind, time_us: i64) -> i64 {
    match kind {
        WindowKind::Tumble { size_us } => floor_us(time_us, size_us).saturating_add(size_us),
        WindowKind::Hop { slide_us, size_us } => {
            let first_us = floor_us(time_us.saturating_sub(size_us), slide_us);
            first_us.saturating_add(slide_us).saturating_add(size_us)
        }
        WindowKind::Session { gap_us } => time_us.saturating_add(gap_us),
    }
}

/// The pane at a time, made where there is none.
pub(crate) fn pane_at<'a>(
    panes: &'a mut BTreeMap<i64, Pane>,
    start_us: i64,
    compiled: &Compiled,
) -> Result<&'a mut Pane> {
    let pane = match panes.entry(start_us) {
        Entry::Occupied(entry) => entry.into_mut(),
        Entry::Vacant(entry) => {
            let groups = Groups::new(&compiled.key_schema, &compiled.aggregates)?;
            entry.insert(Pane { groups, rows: None })
        }
    };
    pane.rows = None;
    Ok(pane)
}

impl Pane {
    /// The pane's rows, as those of a tumbling window.
    pub(super) fn rows(
        &mut self,
        compiled: &Compiled,
        start_us: i64,
        size_us: i64,
    ) -> Result<RecordBatch> {
        if let Some(rows) = &self.rows {
            return Ok(rows.clone());
        }
        let (keys, results) = self.groups.evaluate()?;
        let count = self.groups.len();
        let bounds = Bounds::Same(start_us, start_us.saturating_add(size_us));
        let rows = lay_out(compiled, keys, results, count, Some(bounds))?;
        self.rows = Some(rows.clone());
        Ok(rows)
    }
}

/// Which rows belong to which pane; one pane for all needs no list.
pub(super) fn split(times: &[i64], pane_us: i64) -> Vec<(i64, Option<UInt32Array>)> {
    let Some(&first) = times.first() else { return Vec::new() };
    let start = floor_us(first, pane_us);
    let (low, high) =
        times.iter().fold((first, first), |(low, high), &time| (low.min(time), high.max(time)));
    if low >= start && high < start.saturating_add(pane_us) {
        return vec![(start, None)];
    }
    let mut parts: Vec<(i64, Vec<u32>)> = Vec::new();
    let mut last = 0;
    for (row, &time) in times.iter().enumerate() {
        let start = floor_us(time, pane_us);
        // Neighbours share a pane, mostly.
        if parts.get(last).is_none_or(|(known, _)| *known != start) {
            last = parts.iter().position(|(known, _)| *known == start).unwrap_or_else(|| {
                parts.push((start, Vec::new()));
                parts.len() - 1
            });
        }
        if let Some((_, rows)) = parts.get_mut(last) {
            rows.push(row as u32);
        }
    }
    parts.into_iter().map(|(start, rows)| (start, Some(UInt32Array::from(rows)))).collect()
}

/// The beginnings of the hopping windows that panes belong to, ascending.
pub(super) fn hop_starts(
    panes: &BTreeMap<i64, Pane>,
    slide_us: i64,
    size_us: i64,
    not_before_us: i64,
) -> Vec<i64> {
    let mut starts: Vec<i64> = Vec::new();
    for &pane_us in panes.keys() {
        let mut start_us = floor_us(pane_us, slide_us);
        while start_us > pane_us - size_us && start_us >= not_before_us {
            starts.push(start_us);
            start_us -= slide_us;
        }
    }
    starts.sort_unstable();
    starts.dedup();
    starts
}

/// The groups of a hopping window: its panes together.
pub(super) fn hop_groups(
    panes: &mut BTreeMap<i64, Pane>,
    compiled: &Compiled,
    start_us: i64,
    end_us: i64,
) -> Result<Groups> {
    let mut groups = Groups::new(&compiled.key_schema, &compiled.aggregates)?;
    for (_, pane) in panes.range_mut(start_us..end_us) {
        let rows = pane.groups.len();
        let (keys, states) = pane.groups.state()?;
        groups.merge(&keys, &states, rows)?;
    }
    Ok(groups)
}

/// The rows of a hopping window.
pub(super) fn hop_rows(
    panes: &mut BTreeMap<i64, Pane>,
    compiled: &Compiled,
    start_us: i64,
    size_us: i64,
) -> Result<Option<RecordBatch>> {
    let end_us = start_us.saturating_add(size_us);
    let mut groups = hop_groups(panes, compiled, start_us, end_us)?;
    if groups.len() == 0 {
        return Ok(None);
    }
    let (keys, results) = groups.evaluate()?;
    let bounds = Bounds::Same(start_us, end_us);
    lay_out(compiled, keys, results, groups.len(), Some(bounds)).map(Some)
}
