//! What commands answer, as scripts: `tests/scripts/*.txt`. A line is a command, the indented lines
//! under it its reply.

use crate::support::call_words;
use std::sync::Arc;
use thalweg_base::SimulatedClock;
use thalweg_machine::Reply;
use thalweg_node::{Engine, EngineSettings, Session};

fn render(reply: &Reply, depth: usize, out: &mut String) {
    let pad = "  ".repeat(depth);
    match reply {
        Reply::Simple(text) => out.push_str(&format!("{pad}{text}\n")),
        Reply::Error(error) => out.push_str(&format!("{pad}! {error}\n")),
        Reply::Integer(value) => out.push_str(&format!("{pad}({value})\n")),
        Reply::Double(value) => out.push_str(&format!("{pad},{value}\n")),
        Reply::Bulk(bytes) => {
            out.push_str(&format!("{pad}\"{}\"\n", String::from_utf8_lossy(bytes)));
        }
        Reply::Null => out.push_str(&format!("{pad}nil\n")),
        Reply::Array(elements) => {
            out.push_str(&format!("{pad}[{}]\n", elements.len()));
            elements.iter().for_each(|element| render(element, depth + 1, out));
        }
        Reply::Map(pairs) => {
            out.push_str(&format!("{pad}{{{}}}\n", pairs.len()));
            for (key, value) in pairs {
                render(key, depth + 1, out);
                render(value, depth + 1, out);
            }
        }
    }
}

/// Splits a line into words; double quotes hold words together.
fn split(line: &str) -> Vec<Vec<u8>> {
    let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                any = true;
            }
            ' ' if !quoted => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word).into_bytes());
                }
                any = false;
            }
            c => word.push(c),
        }
    }
    if any || !word.is_empty() {
        words.push(word.into_bytes());
    }
    words
}

#[test]
fn scripts() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut run = 0;
    for file in std::fs::read_dir(&folder).expect("tests/scripts") {
        let path = file.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("read");
        // A clock that stands still, so that idle times and made-up IDs are the same every time.
        let clock = Arc::new(SimulatedClock::at_ms(1_700_000_000_000));
        let settings = EngineSettings { clock, ..EngineSettings::in_memory() };
        let engine = Engine::open(settings).expect("open");
        let mut session = Session::default();
        let mut actual = String::new();
        for line in text.lines() {
            if line.starts_with(' ') {
                continue;
            }
            actual.push_str(line);
            actual.push('\n');
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            run += 1;
            let words = split(line);
            let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let reply = engine.call_in(&mut session, &args).expect("the engine works");
            render(&reply, 1, &mut actual);
        }
        if std::env::var_os("THALWEG_UPDATE_SCRIPTS").is_some() {
            std::fs::write(&path, &actual).expect("write");
        } else {
            assert!(actual == text, "{}: expected\n{text}\nbut it is\n{actual}", path.display());
        }
    }
    assert!(run > 150, "{run} commands");
}

#[test]
fn a_watched_key_that_changed_ends_the_transaction() {
    let engine = Engine::open(EngineSettings::in_memory()).expect("open");
    let mut session = Session::default();
    let mut call = |args: &[&[u8]]| engine.call_in(&mut session, args).expect("works");
    call(&[b"WATCH", b"k"]);
    call_words(&engine, &[b"SET".to_vec(), b"k".to_vec(), b"1".to_vec()]);
    call_words(&engine, &[b"DEL".to_vec(), b"k".to_vec()]);
    call(&[b"MULTI"]);
    call(&[b"SET", b"k", b"mine"]);
    assert_eq!(call(&[b"EXEC"]), Reply::Null, "made and deleted is changed, too");
    call(&[b"WATCH", b"k"]);
    call(&[b"MULTI"]);
    call(&[b"SET", b"k", b"mine"]);
    assert_eq!(call(&[b"EXEC"]), Reply::Array(vec![Reply::Simple("OK".into())]));
}

#[test]
fn a_blocked_reader_is_woken_by_an_append() {
    let engine = Engine::open(EngineSettings::in_memory()).expect("open");
    let (sender, woken) = std::sync::mpsc::channel();
    let waiter = engine.add_waiter(std::sync::Arc::new(move || {
        // The test may be over.
        let _nobody_listens = sender.send(());
    }));
    let key = [b"stream".to_vec()];
    engine.wait_for(waiter, &key);
    assert!(woken.try_recv().is_err());
    crate::support::call(&engine, "XADD stream * f v");
    assert!(woken.try_recv().is_ok());
    engine.remove_waiter(waiter, &key);
    assert_eq!(engine.waiter_count(), 0);
}

#[test]
fn expired_keys_go_by_themselves() {
    let engine = Engine::open(EngineSettings::in_memory()).expect("open");
    for number in 0..1_000 {
        crate::support::call(&engine, &format!("SET key{number} v PX 30"));
    }
    let gone = (0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        crate::support::call(&engine, "DBSIZE") == Reply::Integer(0)
    });
    assert!(gone && engine.report().expired == 1_000);
}
