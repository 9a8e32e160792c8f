//! Views over views. Windows of the view below that cannot change any more are taken in once, as
//! they close. The few that may still change are read again whenever the view above is read, and
//! added to a copy of its state. So no change ever has to be taken back, and the view above is
//! always that of the view below at one moment.
//!
//! The state of a view over a view is not written to disk: it follows from the closed windows
//! below, which are.

use super::checkpoint::{restore, skip_rows, state_batches, state_schema};
use super::compile::{Compiled, Completes, KeyColumn, Source};
use super::state::State;
use super::{Status, View};
use crate::error::{SqlError, SqlState};
use crate::sql::window::WindowKind;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::Session;
use datafusion::common::Result;
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// How far a view is in the one below.
#[derive(Default)]
pub(super) struct Above {
    /// Closed rows of that view that it has taken in.
    rows: usize,
}

/// A view at one moment.
pub(super) struct Now {
    /// Rows that cannot change any more, without those that were skipped.
    pub(super) closed: Vec<RecordBatch>,
    /// The rest.
    pub(super) open: Vec<RecordBatch>,
    /// Windows that end here or before are closed, all of them.
    closed_us: Option<i64>,
}

impl View {
    /// What it says of the order of its rows' times that a column of its groups is the event time
    /// of a view over it.
    pub(super) fn completes(&self, column: Option<usize>) -> Completes {
        let compiled = &self.compiled;
        let bound = column.and_then(|column| compiled.layout.get(column));
        match (bound, compiled.window) {
            _ if compiled.lookup.is_some() => Completes::Never,
            (Some(KeyColumn::End), Some(WindowKind::Tumble { .. } | WindowKind::Hop { .. })) => {
                Completes::Behind(0)
            }
            (
                Some(KeyColumn::Start),
                Some(WindowKind::Tumble { size_us } | WindowKind::Hop { size_us, .. }),
            ) => Completes::Behind(size_us),
            _ => Completes::Never,
        }
    }

    /// The view as it is, from some closed row on.
    pub(super) fn now<'a>(
        &'a self,
        session: &'a dyn Session,
        skip: usize,
    ) -> BoxFuture<'a, Result<Now>> {
        Box::pin(async move {
            let Source::View { view: below, projection, completes } = &self.compiled.source else {
                return self.now_of(None, session, skip).await;
            };
            if let Status::Failed(error) = &*self.status.lock() {
                return Err(error.clone().into());
            }
            // One reader at a time takes in; the others find it done.
            let mut above = self.above.lock().await;
            let below = below.now(session, above.rows).await?;
            let taken: usize = below.closed.iter().map(RecordBatch::num_rows).sum();
            let closed = project(below.closed, projection.as_deref())?;
            let open = project(below.open, projection.as_deref())?;
            let complete_us = match (completes, below.closed_us) {
                (Completes::Behind(by_us), Some(us)) => Some(us.saturating_sub(*by_us)),
                _ => None,
            };
            if let Err(error) = self.take_in_closed(closed, complete_us) {
                // Part of it may be in the state: what would be read from now on would be wrong.
                self.fail(error.into());
                return Err(SqlError::new(SqlState::Internal, "the view has stopped").into());
            }
            above.rows += taken;
            self.now_of(Some(open), session, skip).await
        })
    }

    fn take_in_closed(&self, rows: Vec<RecordBatch>, complete_us: Option<i64>) -> Result<()> {
        let mut live = self.live.lock();
        for batch in rows {
            live.state.ingest(batch, None)?;
        }
        complete_us.map_or(Ok(()), |us| live.state.advance(us))
    }

    /// The view with some rows that it has not taken in.
    async fn now_of(
        &self,
        open: Option<Vec<RecordBatch>>,
        session: &dyn Session,
        skip: usize,
    ) -> Result<Now> {
        let (closed, closed_us, evaluated) = {
            let mut live = self.live.lock();
            let state = &mut live.state;
            let closed = skip_rows(&state.frozen, skip);
            let closed_us = state.watermark_us.map(|us| us.saturating_sub(self.lateness_us));
            let evaluated = match open {
                Some(open) => self.evaluate(&mut with_rows(state, open, &self.compiled)?)?,
                None => self.evaluate(state)?,
            };
            (closed, closed_us, evaluated)
        };
        let open = match (evaluated, &self.compiled.lookup) {
            (Evaluated::Partials(partials), Some(lookup)) => {
                vec![lookup.finish(&self.compiled, partials, session).await?]
            }
            (Evaluated::Rows(rows), _) => rows,
            (Evaluated::Partials(_), None) => Vec::new(),
        };
        Ok(Now { closed, open, closed_us })
    }

    fn evaluate(&self, state: &mut State) -> Result<Evaluated> {
        Ok(match self.compiled.lookup {
            Some(_) => Evaluated::Partials(state.partials(self.closed_only)?),
            None => Evaluated::Rows(state.open_rows(self.closed_only)?),
        })
    }
}

/// Groups that may still change: as rows, or as what tables are still to be joined to.
enum Evaluated {
    Rows(Vec<RecordBatch>),
    Partials(Option<super::lookup::Partials>),
}

/// A copy of a state that has taken in some more rows.
fn with_rows(state: &mut State, rows: Vec<RecordBatch>, compiled: &Arc<Compiled>) -> Result<State> {
    let mut copy = State::new(compiled, state.lateness_us)?;
    copy.frozen_before_us = state.frozen_before_us;
    let schema = state_schema(compiled)?;
    restore(&mut copy, &state_batches(state, &schema)?)?;
    for batch in rows {
        copy.ingest(batch, None)?;
    }
    copy.watermark_us = state.watermark_us;
    Ok(copy)
}

fn project(batches: Vec<RecordBatch>, columns: Option<&[usize]>) -> Result<Vec<RecordBatch>> {
    let project = |batch: RecordBatch| match columns {
        Some([]) => {
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let empty = Arc::new(datafusion::arrow::datatypes::Schema::empty());
            Ok(RecordBatch::try_new_with_options(empty, Vec::new(), &options)?)
        }
        Some(columns) => Ok(batch.project(columns)?),
        None => Ok(batch),
    };
    batches.into_iter().map(project).collect()
}
