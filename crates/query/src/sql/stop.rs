//! Stops work in the middle of a step. A statement that is cancelled, too late or without a client
//! is dropped where it waits. But a function that writes 50 MB does not wait. So whatever works for
//! long asks here, from time to time, whether its statement is still wanted. The handle that it
//! asks goes with the task, and with the tasks and threads that DataFusion starts for it.

use crate::error::{SqlError, SqlState};
use datafusion::common::runtime::{JoinSetTracer, set_join_set_tracer};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::any::Any;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Work that is done between two questions, in steps of about a nanosecond.
const WORK_MAX: usize = 1 << 20;

/// One statement's end, if it comes from outside.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    is_stopped: AtomicBool,
    reason: Mutex<Option<SqlError>>,
    deadline: Option<Instant>,
}

tokio::task_local! {
    static STOP: Arc<Stop>;
}

impl Stop {
    /// Of a statement that may take so long; 0 is as long as it likes.
    pub(crate) fn new(limit_ms: u64) -> Self {
        let deadline = (limit_ms > 0).then(|| Instant::now() + Duration::from_millis(limit_ms));
        Self { deadline, ..Self::default() }
    }

    /// Stops the statement; of several reasons the first one is told.
    pub(crate) fn stop(&self, reason: SqlError) {
        self.reason.lock().get_or_insert(reason);
        self.is_stopped.store(true, Ordering::Release);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }

    /// Why it has to end, if it has to.
    pub(crate) fn reason(&self) -> Option<SqlError> {
        if self.is_stopped() {
            return self.reason.lock().clone();
        }
        let is_late = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        is_late.then(timed_out)
    }

    /// Waits for its deadline.
    pub(crate) async fn passed(&self) {
        match self.deadline {
            Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
            None => std::future::pending().await,
        }
    }
}

pub(crate) fn timed_out() -> SqlError {
    SqlError::new(SqlState::QueryCanceled, "canceling statement due to statement timeout")
}

/// Work of a statement.
pub(crate) async fn within<T>(stop: Arc<Stop>, work: impl Future<Output = T>) -> T {
    STOP.scope(stop, work).await
}

/// The same for what does not wait.
pub(crate) fn within_now<T>(stop: Arc<Stop>, work: impl FnOnce() -> T) -> T {
    STOP.sync_scope(stop, work)
}

/// What the statement is that is being worked for.
pub(crate) fn current() -> Option<Arc<Stop>> {
    STOP.try_with(Arc::clone).ok()
}

/// Fails if the statement that is being worked for has to end.
pub(crate) fn check() -> Result<(), SqlError> {
    match STOP.try_with(|stop| stop.reason()) {
        Ok(Some(reason)) => Err(reason),
        // Work for no statement: a view's.
        Ok(None) | Err(_) => Ok(()),
    }
}

thread_local! {
    /// Work that this thread has done since it asked.
    static DONE: Cell<usize> = const { Cell::new(0) };
}

/// So much is about to be done: the same as [`check`] when that is much.
pub(crate) fn work(amount: usize) -> Result<(), SqlError> {
    let done = DONE.get().saturating_add(amount);
    if done < WORK_MAX {
        DONE.set(done);
        return Ok(());
    }
    DONE.set(0);
    check()
}

/// Takes a statement's end along to the tasks and threads that work for it.
struct Carrier;

impl JoinSetTracer for Carrier {
    fn trace_future(
        &self,
        future: BoxFuture<'static, Box<dyn Any + Send>>,
    ) -> BoxFuture<'static, Box<dyn Any + Send>> {
        match current() {
            Some(stop) => within(stop, future).boxed(),
            None => future,
        }
    }

    fn trace_block(
        &self,
        work: Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>,
    ) -> Box<dyn FnOnce() -> Box<dyn Any + Send> + Send> {
        match current() {
            Some(stop) => Box::new(move || within_now(stop, work)),
            None => work,
        }
    }
}

/// Makes DataFusion's tasks know what they work for.
pub(crate) fn carry() {
    // There is one for the whole process: a second database finds it in place.
    let _in_place = set_join_set_tracer(&Carrier);
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::common::runtime::SpawnedTask;

    #[tokio::test]
    async fn tasks_of_a_statement_end_with_it() {
        carry();
        let stop = Arc::new(Stop::default());
        let work = async {
            check().expect("wanted");
            stop.stop(SqlError::new(SqlState::OutOfMemory, "enough"));
            let task = SpawnedTask::spawn(async { check() }).await.expect("joined");
            let thread = SpawnedTask::spawn_blocking(check).await.expect("joined");
            [check(), task, thread]
        };
        for checked in within(stop.clone(), work).await {
            assert_eq!(checked.expect_err("stopped").message, "enough");
        }
        check().expect("nobody's work");
    }

    #[tokio::test]
    async fn a_deadline_is_noticed_after_some_work() {
        let stop = Arc::new(Stop::new(1));
        stop.passed().await;
        within(stop, async {
            let steps = (0..).find(|_| work(1 << 10).is_err());
            assert!(steps.is_some_and(|steps| steps < WORK_MAX >> 10));
        })
        .await;
    }
}
