//! Requests that wait: nobody's thread is put to sleep for them, and they are carried out once.

use crate::held_log::{HeldLog, Watchdog, held_node, on_held_nodes};
use crate::support::{call, call_words, words};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use thalweg_machine::{Reply, ReplyBuilder};
use thalweg_node::{Engine, EngineError, Executed, Provided, Session, Wait};

/// What each write of these tests adds.
const PIECE: usize = 512;

fn append(key: &str) -> Vec<Vec<u8>> {
    vec![b"APPEND".to_vec(), key.as_bytes().to_vec(), vec![b'x'; PIECE]]
}

/// Runs a request as an event loop does: once, and never waiting.
fn run(engine: &Engine, session: &mut Session, words: &[Vec<u8>]) -> (Executed, Reply) {
    let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let mut reply = ReplyBuilder::default();
    let executed = engine.execute(session, &args, engine.now_ms(), &mut reply);
    engine.flush();
    let reply = match executed {
        Executed::Done(..) => reply.finish(),
        Executed::Suspended(_) => Reply::Null,
    };
    (executed, reply)
}

/// Appends to a key until the log is behind; says how often that was done, and what the next one
/// waits for.
fn fill(engine: &Engine, key: &str) -> (usize, Wait) {
    let mut session = Session::default();
    for count in 0..1_000 {
        match run(engine, &mut session, &append(key)).0 {
            Executed::Done(..) => {}
            Executed::Suspended(wait) => return (count, wait),
        }
    }
    panic!("a log that takes nothing has taken everything, or the thread was put to sleep");
}

fn expect_log(wait: &Wait) {
    assert!(matches!(wait, Wait::Log(_)), "{wait:?}");
}

/// Tells each time that somebody is woken.
fn told() -> (Arc<dyn Fn() + Send + Sync>, Receiver<()>) {
    let (sender, receiver) = channel();
    let wake = Arc::new(move || {
        // The test may be over.
        let _nobody_listens = sender.send(());
    });
    (wake, receiver)
}

/// Longer than anything here takes; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

fn expect_wake(woken: &Receiver<()>) {
    woken.recv_timeout(PATIENCE).expect("nobody is woken");
}

fn length(engine: &Engine, key: &str) -> Reply {
    call(engine, &format!("STRLEN {key}"))
}

fn integer(pieces: usize) -> Reply {
    Reply::Integer((pieces * PIECE) as i64)
}

#[test]
fn a_writer_is_suspended_while_the_log_is_behind_and_carried_out_once() {
    on_held_nodes(|engine, log| {
        let _watchdog = Watchdog::on(&log);
        log.hold(&engine);
        let (count, wait) = fill(&engine, "full");
        expect_log(&wait);
        let (wake, woken) = told();
        assert_eq!(engine.provide(&wait, wake), Provided::Later);
        assert!(woken.try_recv().is_err(), "nothing has changed yet");
        // The same thread serves others: whoever reads, and whoever writes elsewhere.
        let mut session = Session::default();
        let (_, reply) = run(&engine, &mut session, &words("STRLEN full"));
        assert_eq!(reply, integer(count));
        let elsewhere = elsewhere(&engine, "full");
        let (executed, _) = run(&engine, &mut session, &append(&elsewhere));
        assert!(matches!(executed, Executed::Done(..)));
        log.release();
        expect_wake(&woken);
        let (executed, reply) = run(&engine, &mut session, &append("full"));
        assert!(matches!(executed, Executed::Done(..)), "there is room now");
        assert_eq!(reply, integer(count + 1));
        assert_eq!(length(&engine, "full"), integer(count + 1));
        assert!(woken.recv().is_err(), "woken once, and then forgotten");
    });
}

/// A key of another partition of the same lane.
fn elsewhere(engine: &Engine, key: &str) -> String {
    let mut names = (0..).map(|number| format!("key{number}"));
    let place = |name: &str| {
        let partition = engine.partition_of(name.as_bytes());
        (partition, engine.lane_of_partition(partition as u16))
    };
    let (partition, lane) = place(key);
    let other = |name: &String| place(name).0 != partition && place(name).1 == lane;
    names.find(other).expect("there are several partitions")
}

#[test]
fn a_wait_for_the_log_that_is_over_is_not_begun() {
    on_held_nodes(|engine, log| {
        let _watchdog = Watchdog::on(&log);
        log.hold(&engine);
        let (_, wait) = fill(&engine, "full");
        log.release();
        // A write that is settled: the commit thread has been round.
        let elsewhere = elsewhere(&engine, "full");
        call_words(&engine, &append(&elsewhere));
        call_words(&engine, &append("full"));
        let (wake, woken) = told();
        assert_eq!(engine.provide(&wait, wake), Provided::Already);
        assert!(woken.recv().is_err(), "never called");
    });
}

#[test]
fn a_transaction_is_suspended_and_carried_out_once() {
    on_held_nodes(|engine, log| {
        let _watchdog = Watchdog::on(&log);
        let other = elsewhere(&engine, "full");
        let mut session = Session::default();
        for line in ["MULTI".to_owned(), format!("INCR {other}"), "APPEND full y".to_owned()] {
            run(&engine, &mut session, &words(&line));
        }
        log.hold(&engine);
        let (count, _) = fill(&engine, "full");
        let Executed::Suspended(wait) = run(&engine, &mut session, &words("EXEC")).0 else {
            panic!("one of its partitions is full");
        };
        expect_log(&wait);
        assert!(session.in_transaction(), "it is still to be carried out");
        let (wake, woken) = told();
        assert_eq!(engine.provide(&wait, wake), Provided::Later);
        log.release();
        expect_wake(&woken);
        let (_, reply) = run(&engine, &mut session, &words("EXEC"));
        let appended = Reply::Integer((count * PIECE + 1) as i64);
        assert_eq!(reply, Reply::Array(vec![Reply::Integer(1), appended]));
        assert_eq!(call(&engine, &format!("GET {other}")), crate::support::bulk("1"));
    });
}

#[test]
fn transactions_in_line_for_the_log_have_a_limit() {
    on_held_nodes(|engine, log| {
        let _watchdog = Watchdog::on(&log);
        log.hold(&engine);
        let other = elsewhere(&engine, "full");
        let value = "x".repeat(PIECE);
        let line = words(&format!("MSET full {value} {other} {value}"));
        let mut session = Session::default();
        let wait = (0..1_000).find_map(|_| match run(&engine, &mut session, &line).0 {
            Executed::Done(..) => None,
            Executed::Suspended(wait) => Some(wait),
        });
        let wait = wait.expect("the line grows without a limit, or the thread was put to sleep");
        expect_log(&wait);
        let (wake, woken) = told();
        assert_eq!(engine.provide(&wait, wake), Provided::Later);
        log.release();
        expect_wake(&woken);
        assert!(matches!(run(&engine, &mut session, &line).0, Executed::Done(..)));
    });
}

#[test]
fn whoever_waits_for_a_log_that_fails_is_woken_and_refused() {
    on_held_nodes(|engine, log| {
        let _watchdog = Watchdog::on(&log);
        log.hold(&engine);
        let (_, wait) = fill(&engine, "full");
        let (wake, woken) = told();
        assert_eq!(engine.provide(&wait, wake), Provided::Later);
        log.break_down();
        expect_wake(&woken);
        let (_, reply) = run(&engine, &mut Session::default(), &append("full"));
        assert!(matches!(&reply, Reply::Error(error) if error.code == "MISCONF"), "{reply:?}");
    });
}

/// Writes from several threads that block, until the log is behind and after.
#[test]
fn callers_that_block_wait_for_the_log_and_lose_nothing() {
    const THREADS: usize = 4;
    const EACH: usize = 40;
    on_held_nodes(|engine, log| {
        let watchdog = Watchdog::on(&log);
        log.hold(&engine);
        let (count, _) = fill(&engine, "full");
        let (sender, said) = channel();
        for _ in 0..THREADS {
            let (engine, sender) = (engine.clone(), sender.clone());
            std::thread::spawn(move || {
                sender.send(()).expect("the test waits for the start");
                for _ in 0..EACH {
                    call_words(&engine, &append("full"));
                }
                sender.send(()).expect("the test waits for the end");
            });
        }
        for _ in 0..THREADS {
            expect_wake(&said);
        }
        log.release();
        for _ in 0..THREADS {
            expect_wake(&said);
        }
        drop(watchdog);
        assert_eq!(length(&engine, "full"), integer(count + THREADS * EACH));
    });
}

/// Drives a future by hand: polls it only when it was woken. It must wait until `end` is called.
fn drive<T>(future: impl Future<Output = T>, end: impl FnOnce()) -> T {
    struct Told(Sender<()>);
    impl std::task::Wake for Told {
        fn wake(self: Arc<Self>) {
            // The future may be finished.
            let _nobody_polls = self.0.send(());
        }
    }
    let (sender, woken) = channel();
    let waker = Waker::from(Arc::new(Told(sender)));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    assert!(future.as_mut().poll(&mut context).is_pending(), "the log is held");
    assert!(woken.try_recv().is_err());
    end();
    loop {
        expect_wake(&woken);
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut context) {
            return outcome;
        }
    }
}

#[test]
fn the_asynchronous_face_waits_for_the_log_and_then_for_the_gate() {
    on_held_nodes(|engine, log| {
        let _watchdog = Watchdog::on(&log);
        log.hold(&engine);
        let (count, _) = fill(&engine, "full");
        let piece = append("full");
        let args: Vec<&[u8]> = piece.iter().map(Vec::as_slice).collect();
        let mut session = Session::default();
        let called = engine.call_async(&mut session, &args);
        let reply = drive(called, || log.release()).expect("the engine works");
        assert_eq!(reply, integer(count + 1));
        assert!(engine.is_settled(&crate::support::last_gates(&engine)), "it has passed the gate");
        assert_eq!(length(&engine, "full"), integer(count + 1));
    });
}

#[test]
fn a_task_at_the_gate_hears_of_a_log_that_failed() {
    on_held_nodes(|engine, log| {
        let _watchdog = Watchdog::on(&log);
        log.hold(&engine);
        let mut session = Session::default();
        let called = engine.call_async(&mut session, &[b"SET", b"full", b"v"]);
        let outcome = drive(called, || log.break_down());
        assert!(matches!(outcome, Err(EngineError::Failed)), "{outcome:?}");
    });
}

/// A key of a lane whose log is not held.
fn key_of_free_lane(engine: &Engine) -> String {
    let held = engine.lane_of_partition(engine.partition_of(b"full") as u16);
    let lane = if held == Some(0) { 1 } else { 0 };
    crate::support::key_of_lane(engine, "free", lane)
}

#[test]
fn a_log_that_hangs_holds_up_its_own_lane_and_no_other() {
    let (engine, log) = held_node(4);
    let _watchdog = Watchdog::on(&log);
    log.hold(&engine);
    let free = key_of_free_lane(&engine);
    // Until the log is behind, and far beyond: the other lane is not asked.
    fill(&engine, "full");
    for count in 1..200 {
        assert_eq!(call_words(&engine, &append(&free)), integer(count));
    }
    // What is read in both waits for the slower one.
    let line = words(&format!("MGET {free} full"));
    let args: Vec<&[u8]> = line.iter().map(Vec::as_slice).collect();
    let mut session = Session::default();
    let read = engine.call_async(&mut session, &args);
    let reply = drive(read, || log.release()).expect("the engine works");
    assert_eq!(reply.elements().len(), 2);
}

#[test]
fn what_was_read_in_a_lane_that_failed_is_never_told() {
    let (engine, log): (Engine, Arc<HeldLog>) = held_node(4);
    let _watchdog = Watchdog::on(&log);
    log.hold(&engine);
    let free = key_of_free_lane(&engine);
    run(&engine, &mut Session::default(), &append("full"));
    let line = words(&format!("MGET {free} full"));
    let args: Vec<&[u8]> = line.iter().map(Vec::as_slice).collect();
    let mut session = Session::default();
    let read = engine.call_async(&mut session, &args);
    let outcome = drive(read, || log.break_down());
    assert!(matches!(outcome, Err(EngineError::Failed)), "{outcome:?}");
    assert_eq!(call_words(&engine, &append(&free)), integer(1), "the others go on");
}
