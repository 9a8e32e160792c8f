//! Tells a person who waits for a statement how long it has been running, and how far a view is
//! that is being built.

use crate::http::SqlClient;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Nobody needs to be told of anything quicker.
const PATIENCE: Duration = Duration::from_millis(700);
const INTERVAL: Duration = Duration::from_millis(250);

const BUILDING: &str =
    "SELECT view, rows_in, lag FROM sys.views WHERE state = 'backfill' ORDER BY lag DESC LIMIT 1";

/// A line on standard error while it is there.
pub(super) struct Progress {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    pub(super) fn start(client: &SqlClient) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let (seen, client) = (done.clone(), client.clone());
        let thread = std::thread::spawn(move || show(&client, &seen));
        Self { done, thread: Some(thread) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.done.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _only_a_picture = thread.join();
        }
    }
}

fn show(client: &SqlClient, done: &AtomicBool) {
    let started = Instant::now();
    let mut shown = false;
    loop {
        std::thread::park_timeout(if shown { INTERVAL } else { PATIENCE });
        if done.load(Ordering::SeqCst) {
            break;
        }
        let mut line = format!("{:.1} s", started.elapsed().as_secs_f64());
        let building = client.run(BUILDING).ok();
        if let Some([view, taken, lag]) =
            building.as_ref().and_then(|answer| answer.rows.first()).map(Vec::as_slice)
        {
            let view = view.as_str().unwrap_or_default();
            line.push_str(&format!(", view {view}: {taken} records taken in, {lag} to go"));
        }
        eprint!("\r\x1b[K{line}");
        let _nobody_looks = std::io::stderr().flush();
        shown = true;
    }
    if shown {
        eprint!("\r\x1b[K");
    }
}
