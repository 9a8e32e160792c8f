//! Writes with types: the same as the commands that say it in words, and all of them or none.

use crate::generate::Generator;
use crate::support::{Ended, Machine};
use thalweg_machine::{PolicyName, Reply, Write};

fn machine() -> Machine {
    Machine::new(3, PolicyName::Lru)
}

fn words(parts: &[&[u8]]) -> Vec<Vec<u8>> {
    parts.iter().map(|part| part.to_vec()).collect()
}

/// The command that says the same.
fn command_of(write: &Write<'_>) -> Vec<Vec<u8>> {
    match write {
        Write::Put { key, value } => words(&[b"SET", key, value]),
        Write::Delete { key } => words(&[b"DEL", key]),
        Write::PutField { key, field, value } => words(&[b"HSET", key, field, value]),
        Write::DeleteField { key, field } => words(&[b"HDEL", key, field]),
        Write::Trim { key, records } => {
            words(&[b"XTRIM", key, b"MAXLEN", records.to_string().as_bytes()])
        }
        Write::Append { key, fields } => {
            let head: [&[u8]; 3] = [b"XADD", key, b"*"];
            words(&head.into_iter().chain(fields.iter().copied()).collect::<Vec<_>>())
        }
    }
}

#[test]
fn writes_are_what_their_commands_are() {
    for seed in 0..50 {
        let mut random = Generator::new(seed);
        let (mut typed, mut worded) = (machine(), machine());
        for step in 0..200 {
            let (key, field, value) =
                (random.below(6), random.below(5), random.below(1_000).to_string());
            let key = format!("k{key}").into_bytes();
            let field = format!("f{field}").into_bytes();
            let fields = [field.as_slice(), value.as_bytes()];
            let write = match random.below(9) {
                0 => Write::Put { key: &key, value: value.as_bytes() },
                1 => Write::Delete { key: &key },
                2..=4 => Write::PutField { key: &key, field: &field, value: value.as_bytes() },
                5 | 6 => Write::DeleteField { key: &key, field: &field },
                7 => Write::Trim { key: &key, records: random.below(3) },
                _ => Write::Append { key: &key, fields: &fields },
            };
            let outcome = typed.write_all(std::slice::from_ref(&write));
            match (outcome, worded.run(&command_of(&write))) {
                (Err(one), Ended::Reply(Reply::Error(other))) => assert_eq!(one, other),
                (Ok(()), Ended::Reply(reply)) => {
                    assert!(!matches!(reply, Reply::Error(_)), "{write:?}: {reply:?}");
                }
                other => panic!("{seed}, {step}: {write:?}: {other:?}"),
            }
            assert_eq!(typed.effects, worded.effects, "{seed}, {step}: {write:?}");
            assert_eq!(typed.state.digest(), worded.state.digest(), "{seed}, {step}: {write:?}");
        }
    }
}

#[test]
fn one_that_is_refused_refuses_all() {
    let mut machine = machine();
    machine.run(&words(&[b"SET", b"text", b"x"]));
    machine.run(&words(&[b"HSET", b"hash", b"a", b"1"]));
    let before = machine.state.digest();
    let good = Write::PutField { key: b"hash", field: b"a", value: b"2" };
    let long = vec![0u8; 64 << 10];
    for bad in [
        Write::PutField { key: b"text", field: b"a", value: b"1" },
        Write::DeleteField { key: b"text", field: b"a" },
        Write::Append { key: b"text", fields: &[b"a", b"1"] },
        Write::Append { key: b"stream", fields: &[] },
        Write::Append { key: b"stream", fields: &[b"a"] },
        Write::Append { key: b"hash", fields: &[b"a", b"1"] },
        Write::Put { key: b"hash", value: b"text, after a field" },
        Write::PutField { key: &long, field: b"a", value: b"1" },
        Write::Put { key: &long, value: b"1" },
    ] {
        let shown = format!("{bad:.60?}");
        let outcome = machine.write_all(&[good.clone(), bad.clone()]);
        assert!(outcome.is_err(), "{shown}");
        assert!(machine.effects.is_empty(), "{shown}");
        assert_eq!(machine.state.digest(), before, "{shown}");
    }
    assert_eq!(machine.write_all(&[good]), Ok(()));
    assert_ne!(machine.state.digest(), before);
}
