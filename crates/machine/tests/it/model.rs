//! What every command does, written a second time and as plainly as can be: ordered maps, whole
//! values copied, no memory to keep small.
//!
//! Only forms of commands that `generate.rs` makes are known. Where the answer would depend on more
//! than the model knows, it declines with `None`, and the command is not asked.

mod groups;
mod hashes;
mod keys;
mod streams;
mod strings;

use std::collections::BTreeMap;
use thalweg_machine::{CommandError, Reply};

pub(crate) type Bytes = Vec<u8>;
/// A record's ID.
pub(crate) type Id = (u64, u64);

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) keys: BTreeMap<Bytes, Key>,
    pub(crate) now_ms: u64,
}

#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) value: Value,
    pub(crate) expires_at_ms: Option<u64>,
}

#[derive(Clone)]
pub(crate) enum Value {
    String(Bytes),
    Hash(BTreeMap<Bytes, Bytes>),
    Stream(Stream),
}

#[derive(Clone, Default)]
pub(crate) struct Stream {
    pub(crate) records: BTreeMap<Id, Record>,
    pub(crate) last: Id,
    pub(crate) added: u64,
    pub(crate) max_deleted: Id,
    pub(crate) groups: BTreeMap<Bytes, Group>,
}

#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) fields: Vec<Bytes>,
    /// Producer and request.
    pub(crate) idempotency: Option<(Bytes, Bytes)>,
}

#[derive(Clone, Default)]
pub(crate) struct Group {
    pub(crate) last_delivered: Id,
    /// Names, and when each was seen and was given a record.
    pub(crate) consumers: BTreeMap<Bytes, (u64, u64)>,
    pub(crate) pending: BTreeMap<Id, Pending>,
}

#[derive(Clone)]
pub(crate) struct Pending {
    pub(crate) consumer: Bytes,
    pub(crate) delivered_ms: u64,
    pub(crate) deliveries: i64,
}

/// A reply, or the code of an error.
pub(crate) type Answer = Result<Reply, &'static str>;

pub(crate) const WRONG_TYPE: &str = "WRONGTYPE";

pub(crate) fn ok() -> Answer {
    Ok(Reply::Simple("OK".into()))
}

pub(crate) fn integer(value: impl TryInto<i64>) -> Answer {
    Ok(Reply::Integer(value.try_into().unwrap_or_else(|_| panic!("a small number"))))
}

pub(crate) fn bulk(bytes: &[u8]) -> Reply {
    Reply::Bulk(bytes.to_vec())
}

pub(crate) fn optional(bytes: Option<&Bytes>) -> Reply {
    bytes.map_or(Reply::Null, |bytes| bulk(bytes))
}

/// A number in an argument that the generator wrote.
pub(crate) fn number<T: std::str::FromStr>(word: &[u8]) -> T {
    let text = std::str::from_utf8(word).expect("text");
    text.parse().unwrap_or_else(|_| panic!("{text} is a number"))
}

impl Model {
    /// What a command answers; `None` where the model cannot tell.
    pub(crate) fn run(&mut self, words: &[Bytes]) -> Option<Reply> {
        let now_ms = self.now_ms;
        self.keys.retain(|_, key| key.expires_at_ms.is_none_or(|at_ms| at_ms > now_ms));
        let name = String::from_utf8(words[0].clone()).expect("text");
        let args: Vec<&[u8]> = words[1..].iter().map(Vec::as_slice).collect();
        let answer = self
            .keys_command(&name, &args)
            .or_else(|| self.string_command(&name, &args))
            .or_else(|| self.hash_command(&name, &args))
            .or_else(|| self.stream_command(&name, &args))
            .or_else(|| self.group_command(&name, &args));
        let answer = answer.unwrap_or_else(|| panic!("the model does not know {name}"))?;
        Some(answer.unwrap_or_else(|code| Reply::Error(CommandError::coded(code, ""))))
    }

    pub(crate) fn value(&self, key: &[u8]) -> Option<&Value> {
        self.keys.get(key).map(|key| &key.value)
    }

    pub(crate) fn expiry(&self, key: &[u8]) -> Option<u64> {
        self.keys.get(key)?.expires_at_ms
    }

    /// Puts a value; an expiry that has passed means that the key is gone.
    pub(crate) fn put(&mut self, key: &[u8], value: Value, expires_at_ms: Option<u64>) {
        if expires_at_ms.is_some_and(|at_ms| at_ms <= self.now_ms) {
            self.keys.remove(key);
        } else {
            self.keys.insert(key.to_vec(), Key { value, expires_at_ms });
        }
    }

    /// Sets when a key that is there expires.
    pub(crate) fn expire(&mut self, key: &[u8], expires_at_ms: Option<u64>) {
        if let Some(Key { value, .. }) = self.keys.get(key).cloned() {
            self.put(key, value, expires_at_ms);
        }
    }

    /// The time that an option of SET or GETEX, or a command, means.
    pub(crate) fn at_ms(&self, unit: &str, time: &[u8]) -> i64 {
        let (time, now_ms): (i64, i64) = (number(time), self.now_ms as i64);
        match unit {
            "EX" | "EXPIRE" | "SETEX" => now_ms + time * 1_000,
            "PX" | "PEXPIRE" | "PSETEX" => now_ms + time,
            "EXAT" | "EXPIREAT" => time * 1_000,
            "PXAT" | "PEXPIREAT" => time,
            _ => panic!("{unit} is no unit"),
        }
    }
}
