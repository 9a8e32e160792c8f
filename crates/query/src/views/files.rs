//! Takes what files have into a view's state, once, with one task for each share of them.

use super::state::State;
use super::worker::NAP;
use super::{Status, View};
use crate::database::Inner;
use crate::error::{SqlError, SqlState};
use datafusion::logical_expr::LogicalPlan;
use futures_util::StreamExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Reads a view's files, to their end.
pub(super) async fn read_files(inner: Arc<Inner>, view: Arc<View>, scan: LogicalPlan) {
    let outcome = read_all(&inner, &view, scan).await;
    let saved = match outcome {
        Ok(()) => tokio::task::block_in_place(|| view.save()),
        Err(error) => Err(error),
    };
    match saved {
        Ok(()) => *view.status.lock() = Status::Done,
        Err(error) => view.fail(error),
    }
}

async fn read_all(inner: &Arc<Inner>, view: &Arc<View>, scan: LogicalPlan) -> Result<(), SqlError> {
    let state = inner.context()?.state();
    let plan = state.create_physical_plan(&scan).await?;
    let context = state.task_ctx();
    let count = plan.properties().partitioning.partition_count();
    let mut tasks = Vec::with_capacity(count);
    for partition in 0..count {
        let mut rows = plan.execute(partition, context.clone())?;
        let view = view.clone();
        tasks.push(inner.runtime.spawn(async move {
            let mut part = State::new(&view.compiled, view.lateness_us)?;
            while let Some(batch) = rows.next().await {
                let batch = batch?;
                view.files_rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
                part.ingest(batch, None)?;
                while view.paused.load(Ordering::SeqCst) && !view.stopping.load(Ordering::SeqCst) {
                    tokio::time::sleep(NAP).await;
                }
                if view.stopping.load(Ordering::SeqCst) {
                    return Err(SqlError::new(SqlState::QueryCanceled, "the view was stopped"));
                }
            }
            Ok(part)
        }));
    }
    for task in tasks {
        let part =
            task.await.map_err(|error| SqlError::new(SqlState::Internal, error.to_string()))??;
        view.live.lock().take(|state| state.absorb(part))?;
    }
    let mut live = view.live.lock();
    // There is no more: every window is complete.
    live.take(|state| state.advance(i64::MAX))?;
    live.done = true;
    Ok(())
}
