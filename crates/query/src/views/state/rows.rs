//! Rows of the groups that are open.

use super::*;

impl State {
    /// The rows of groups that may still change, as they are now; with `closed_only`, of windows
    /// whose time is over.
    pub(crate) fn open_rows(&mut self, closed_only: bool) -> Result<Vec<RecordBatch>> {
        let mut out = Vec::new();
        let closed_us = closed_only.then_some(self.watermark_us.unwrap_or(i64::MIN));
        let compiled = self.compiled.clone();
        match (&mut self.content, compiled.window) {
            (Content::Whole(groups), _) => {
                let (keys, results) = groups.evaluate()?;
                out.push(lay_out(&compiled, keys, results, groups.len(), None)?);
            }
            (Content::Sessions(sessions), Some(WindowKind::Session { gap_us })) => {
                let before_us = closed_us.map(|us| us.saturating_sub(gap_us).saturating_add(1));
                out.extend(session_rows(sessions, &compiled, before_us, gap_us)?);
            }
            (Content::Panes(panes), Some(WindowKind::Tumble { size_us })) => {
                for (&start_us, pane) in panes {
                    if closed_us.is_none_or(|closed_us| start_us + size_us <= closed_us) {
                        out.push(pane.rows(&compiled, start_us, size_us)?);
                    }
                }
            }
            (Content::Panes(panes), Some(WindowKind::Hop { slide_us, size_us })) => {
                let mut starts = hop_starts(panes, slide_us, size_us, self.frozen_before_us);
                starts.retain(|start_us| {
                    closed_us.is_none_or(|closed_us| start_us + size_us <= closed_us)
                });
                for start_us in starts {
                    out.extend(hop_rows(panes, &compiled, start_us, size_us)?);
                }
            }
            _ => {}
        }
        Ok(out)
    }

    /// The groups as a lookup takes them.
    pub(crate) fn partials(&mut self, closed_only: bool) -> Result<Option<Partials>> {
        let closed_us = closed_only.then_some(self.watermark_us.unwrap_or(i64::MIN));
        let is_shown = |end_us: i64| closed_us.is_none_or(|closed_us| end_us <= closed_us);
        let compiled = self.compiled.clone();
        let mut parts = Vec::new();
        match (&mut self.content, compiled.window) {
            (Content::Whole(groups), _) => parts.push(partials_of(groups, &compiled, None)?),
            (Content::Panes(panes), Some(WindowKind::Tumble { size_us })) => {
                for (&start_us, pane) in panes {
                    let end_us = start_us.saturating_add(size_us);
                    if is_shown(end_us) {
                        let bounds = Some((start_us, end_us));
                        parts.push(partials_of(&mut pane.groups, &compiled, bounds)?);
                    }
                }
            }
            (Content::Panes(panes), Some(WindowKind::Hop { slide_us, size_us })) => {
                for start_us in hop_starts(panes, slide_us, size_us, self.frozen_before_us) {
                    let end_us = start_us.saturating_add(size_us);
                    if is_shown(end_us) {
                        let mut groups = hop_groups(panes, &compiled, start_us, end_us)?;
                        let bounds = Some((start_us, end_us));
                        parts.push(partials_of(&mut groups, &compiled, bounds)?);
                    }
                }
            }
            _ => {}
        }
        Partials::join(parts, compiled.layout.len(), &state_widths(&compiled.aggregates)?)
    }

    /// Groups that may still change.
    pub(crate) fn groups(&self) -> usize {
        match &self.content {
            Content::Whole(groups) => groups.len(),
            Content::Panes(panes) => panes.values().map(|pane| pane.groups.len()).sum(),
            Content::Sessions(sessions) => sessions.len(),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        let frozen = self.frozen.iter().map(RecordBatch::get_array_memory_size).sum::<usize>();
        frozen
            + match &self.content {
                Content::Whole(groups) => groups.bytes(),
                Content::Panes(panes) => panes.values().map(|pane| pane.groups.bytes()).sum(),
                Content::Sessions(sessions) => sessions.bytes(),
            }
    }
}

pub(super) fn partials_of(
    groups: &mut Groups,
    compiled: &Compiled,
    bounds: Option<(i64, i64)>,
) -> Result<Partials> {
    let rows = groups.len();
    let (keys, states) = groups.state()?;
    let time = |us: i64| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(vec![us; rows])) };
    let (start_us, end_us) = bounds.unwrap_or((0, 0));
    let column = |column: &KeyColumn| match column {
        KeyColumn::Key(index) => keys.get(*index).cloned().unwrap_or_else(|| time(0)),
        KeyColumn::Start => time(start_us),
        KeyColumn::End => time(end_us),
    };
    Ok(Partials { columns: compiled.layout.iter().map(column).collect(), states, rows })
}

pub(super) fn session_rows(
    sessions: &mut Sessions,
    compiled: &Compiled,
    before_us: Option<i64>,
    gap_us: i64,
) -> Result<Option<RecordBatch>> {
    let columns = sessions.evaluate(before_us)?;
    let rows = columns.first_us.len();
    if rows == 0 {
        return Ok(None);
    }
    let ends: Int64Array = columns.last_us.unary(|us| us.saturating_add(gap_us));
    let bounds = Bounds::Each(columns.first_us, ends);
    lay_out(compiled, columns.keys, columns.values, rows, Some(bounds)).map(Some)
}

/// The bounds of rows' windows.
pub(crate) enum Bounds {
    Same(i64, i64),
    Each(Int64Array, Int64Array),
}

/// Rows with the columns that the query's groups have.
pub(crate) fn lay_out(
    compiled: &Compiled,
    keys: Vec<ArrayRef>,
    results: Vec<ArrayRef>,
    rows: usize,
    bounds: Option<Bounds>,
) -> Result<RecordBatch> {
    let (starts, ends) = match bounds {
        Some(Bounds::Same(start, end)) => {
            (Some(Int64Array::from(vec![start; rows])), Some(Int64Array::from(vec![end; rows])))
        }
        Some(Bounds::Each(starts, ends)) => (Some(starts), Some(ends)),
        None => (None, None),
    };
    let as_time = |bound: &Option<Int64Array>| -> ArrayRef {
        let values = bound.as_ref().map(|bound| bound.values().clone()).unwrap_or_default();
        Arc::new(TimestampMicrosecondArray::new(values, None))
    };
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(compiled.layout.len() + results.len());
    for column in &compiled.layout {
        columns.push(match column {
            KeyColumn::Key(index) => match keys.get(*index) {
                Some(key) => key.clone(),
                None => as_time(&starts),
            },
            KeyColumn::Start => as_time(&starts),
            KeyColumn::End => as_time(&ends),
        });
    }
    columns.extend(results);
    let fields = compiled.group_schema.fields();
    let typed = columns.iter().zip(fields).map(|(column, field)| {
        match column.data_type() == field.data_type() {
            true => Ok(column.clone()),
            false => cast(column, field.data_type()),
        }
    });
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let typed = typed.collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new_with_options(compiled.group_schema.clone(), typed, &options)?)
}

/// How many columns the states of some aggregates have, each.
pub(crate) fn state_widths(plans: &[AggregatePlan]) -> Result<Vec<usize>> {
    plans.iter().map(|plan| Ok(plan.state_fields()?.len())).collect()
}
