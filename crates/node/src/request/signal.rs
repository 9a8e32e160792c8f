//! An event that a task or a thread waits for.

use super::Wake;
use parking_lot::{Condvar, Mutex};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// One event, which comes once.
pub(crate) struct Signal(Mutex<Progress>);

enum Progress {
    Waiting(Option<Waker>),
    Given,
}

impl Signal {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Progress::Waiting(None))))
    }

    fn give(&self) {
        let before = std::mem::replace(&mut *self.0.lock(), Progress::Given);
        if let Progress::Waiting(Some(waker)) = before {
            waker.wake();
        }
    }

    /// What makes the event come.
    pub(crate) fn wake(self: &Arc<Self>) -> Wake {
        let signal = self.clone();
        Arc::new(move || signal.give())
    }

    /// Waits until the event has come.
    pub(crate) async fn given(&self) {
        poll_fn(|context| match &mut *self.0.lock() {
            Progress::Given => Poll::Ready(()),
            Progress::Waiting(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
        })
        .await;
    }
}

/// A thread that waits for a future. It does not park: others may unpark the same thread, and a
/// wake-up that is meant for them would be lost here.
#[derive(Default)]
struct Sleeper {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl std::task::Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        *self.woken.lock() = true;
        self.changed.notify_one();
    }
}

/// Runs a future to its end on this thread.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    // Most requests wait for nothing, and then nothing is allocated.
    let mut context = Context::from_waker(Waker::noop());
    if let Poll::Ready(outcome) = future.as_mut().poll(&mut context) {
        return outcome;
    }
    let sleeper = Arc::new(Sleeper::default());
    let waker = Waker::from(sleeper.clone());
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut context) {
            return outcome;
        }
        let mut woken = sleeper.woken.lock();
        while !std::mem::take(&mut *woken) {
            sleeper.changed.wait(&mut woken);
        }
    }
}
