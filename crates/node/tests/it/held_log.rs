//! A log that can be held: appends wait until it is let go, as on a disk that hangs.

use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;
use thalweg_log::{Batch, Log, LogError, LogReport, MemoryLog, Position, Visit};
use thalweg_machine::ReplyBuilder;
use thalweg_node::{Durability, Engine, EngineSettings, Session};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hold {
    Free,
    Held,
    Broken,
}

/// Whether appends wait, and whether one does.
struct Door {
    hold: Hold,
    waiting: bool,
}

pub(crate) struct HeldLog {
    log: MemoryLog,
    door: Mutex<Door>,
    changed: Condvar,
}

impl HeldLog {
    fn set(&self, hold: Hold) {
        self.door.lock().hold = hold;
        self.changed.notify_all();
    }

    /// Holds the log, and lets the commit thread of its node hang in it with a write of its own.
    pub(crate) fn hold(&self, engine: &Engine) {
        self.set(Hold::Held);
        let mut nobody = ReplyBuilder::default();
        let key = format!("{{{KEY}}}held");
        let set: [&[u8]; 3] = [b"SET", key.as_bytes(), b"1"];
        engine.execute(&mut Session::default(), &set, engine.now_ms(), &mut nobody);
        engine.flush();
        let mut door = self.door.lock();
        while !door.waiting {
            self.changed.wait(&mut door);
        }
    }

    /// Appends go on.
    pub(crate) fn release(&self) {
        self.set(Hold::Free);
    }

    /// Appends fail for good.
    pub(crate) fn break_down(&self) {
        self.set(Hold::Broken);
    }
}

impl Log for HeldLog {
    fn append(&self, batches: &[Batch<'_>]) -> Result<Position, LogError> {
        let mut door = self.door.lock();
        while door.hold == Hold::Held {
            door.waiting = true;
            self.changed.notify_all();
            self.changed.wait(&mut door);
        }
        door.waiting = false;
        if door.hold == Hold::Broken {
            return Err(LogError::Poisoned);
        }
        self.log.append(batches)
    }

    fn sync(&self) -> Result<Position, LogError> {
        self.log.sync()
    }

    fn oldest(&self) -> Position {
        self.log.oldest()
    }

    fn follow(&self, from: Position, visit: &mut Visit<'_>) -> Result<Position, LogError> {
        self.log.follow(from, visit)
    }

    fn position_of(&self, lsn: u64) -> Position {
        self.log.position_of(lsn)
    }

    fn trim(&self, below: Position) -> Result<(), LogError> {
        self.log.trim(below)
    }

    fn has_room(&self) -> bool {
        true
    }

    fn report(&self) -> LogReport {
        self.log.report()
    }
}

/// The key whose lane has the log that can be held.
pub(crate) const KEY: &str = "full";

/// Runs a test on a node of one lane, and on one of several.
pub(crate) fn on_held_nodes(test: impl Fn(Engine, Arc<HeldLog>)) {
    for lanes in [1, 4] {
        let (engine, log) = held_node(lanes);
        test(engine, log);
    }
}

/// A node whose partitions hold back little, and the log of one of its lanes: that of [`KEY`].
pub(crate) fn held_node(lanes: u16) -> (Engine, Arc<HeldLog>) {
    let log = Arc::new(HeldLog {
        log: MemoryLog::new(0),
        door: Mutex::new(Door { hold: Hold::Free, waiting: false }),
        changed: Condvar::new(),
    });
    let settings = EngineSettings {
        durability: Durability::Sync,
        partitions: 4 * lanes,
        lanes,
        pending_max_bytes: 4 << 10,
        ..EngineSettings::in_memory()
    };
    // Asks an engine of the same shape where the key is.
    let shape = Engine::open(settings.clone()).expect("open");
    let held = shape.lane_of_partition(shape.partition_of(KEY.as_bytes()) as u16);
    let logs = (0..lanes).map(|lane| -> Arc<dyn Log> {
        if Some(lane) == held { log.clone() } else { Arc::new(MemoryLog::new(0)) }
    });
    let engine = Engine::open_with_logs(settings, logs.collect()).expect("open");
    (engine, log)
}

/// Lets a held log go when a test takes too long: a thread that was put to sleep where it must not
/// be wakes up, and the test fails rather than hang. At the end of the test as well, or a node
/// could not be closed.
pub(crate) struct Watchdog {
    log: Arc<HeldLog>,
    over: Sender<()>,
}

impl Watchdog {
    pub(crate) fn on(log: &Arc<HeldLog>) -> Self {
        let (over, ended) = channel::<()>();
        let held = log.clone();
        std::thread::spawn(move || {
            if ended.recv_timeout(Duration::from_secs(20)).is_err() {
                held.release();
            }
        });
        Self { log: log.clone(), over }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // The thread has ended if the time was over.
        let _already_released = self.over.send(());
        if self.log.door.lock().hold == Hold::Held {
            self.log.release();
        }
    }
}
