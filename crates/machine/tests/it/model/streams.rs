//! Streams, without their groups.

use super::*;
use std::ops::Bound::{Excluded, Unbounded};

pub(super) fn id_text((ms, sequence): Id) -> Reply {
    bulk(format!("{ms}-{sequence}").as_bytes())
}

pub(super) fn parse_id(word: &[u8]) -> Id {
    let text = std::str::from_utf8(word).expect("text");
    let (ms, sequence) = text.split_once('-').unwrap_or((text, "0"));
    (number(ms.as_bytes()), number(sequence.as_bytes()))
}

pub(super) fn record_reply(id: Id, record: &Record) -> Reply {
    let fields = record.fields.iter().map(|field| bulk(field)).collect();
    Reply::Array(vec![id_text(id), Reply::Array(fields)])
}

impl Stream {
    pub(super) fn after(&self, id: Id) -> impl Iterator<Item = (&Id, &Record)> {
        self.records.range((Excluded(id), Unbounded))
    }

    /// Takes away the oldest records until `keep` says that one may stay.
    fn trim(&mut self, keep: impl Fn(Id, usize) -> bool) -> usize {
        let before = self.records.len();
        while let Some((&id, _)) = self.records.first_key_value() {
            if keep(id, self.records.len()) {
                break;
            }
            self.records.remove(&id);
        }
        before - self.records.len()
    }

    /// MAXLEN or MINID, and how far.
    fn trim_as_told(&mut self, what: &[u8], threshold: &[u8]) -> usize {
        if what == b"MAXLEN" {
            let most: usize = number(threshold);
            self.trim(|_, length| length <= most)
        } else {
            let least = parse_id(threshold);
            self.trim(|id, _| id >= least)
        }
    }
}

impl Model {
    pub(super) fn stream(&self, key: &[u8]) -> Result<Option<&Stream>, &'static str> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Stream(stream)) => Ok(Some(stream)),
            Some(_) => Err(WRONG_TYPE),
        }
    }

    pub(super) fn put_stream(&mut self, key: &[u8], stream: Stream) {
        self.put(key, Value::Stream(stream), self.expiry(key));
    }

    pub(super) fn stream_command(&mut self, name: &str, args: &[&[u8]]) -> Option<Option<Answer>> {
        if name == "XREAD" {
            return Some(Some(self.read(&args[3..], number(args[1]))));
        }
        if !["XADD", "XCFGSET", "XDEL", "XLEN", "XRANGE", "XREVRANGE", "XSETID", "XTRIM"]
            .contains(&name)
        {
            return None;
        }
        let found = match self.stream(args[0]) {
            Ok(found) => found.cloned(),
            Err(code) => return Some(Some(Err(code))),
        };
        let there = found.is_some();
        let mut stream = found.unwrap_or_default();
        let mut is_changed = there;
        let answer = match name {
            "XADD" => match add(&mut stream, &args[1..], self.now_ms, there) {
                Ok(answer) => {
                    is_changed = there || answer != Reply::Null;
                    Ok(answer)
                }
                Err(code) => Err(code),
            },
            // Windows of the generator's size are never full.
            "XCFGSET" => {
                is_changed = true;
                ok()
            }
            "XDEL" => integer(args[1..].iter().filter(|id| delete(&mut stream, id)).count()),
            "XLEN" => integer(stream.records.len()),
            "XRANGE" | "XREVRANGE" => range(&stream, name == "XREVRANGE", &args[1..]),
            "XSETID" if !there || parse_id(args[1]) < stream.last => Err("ERR"),
            "XSETID" => {
                stream.last = parse_id(args[1]);
                ok()
            }
            _ => integer(stream.trim_as_told(args[1], args[args.len() - 1])),
        };
        if is_changed {
            self.put_stream(args[0], stream);
        }
        Some(Some(answer))
    }

    /// XREAD COUNT count STREAMS key ... id ...
    fn read(&self, streams: &[&[u8]], count: usize) -> Answer {
        let (keys, ids) = streams.split_at(streams.len() / 2);
        let mut found = Vec::new();
        for (key, id) in keys.iter().zip(ids) {
            let Some(stream) = self.stream(key)? else { continue };
            let after = match *id {
                b"$" => stream.last,
                id => parse_id(id),
            };
            let records = stream.after(after).take(count);
            let records: Vec<_> = records.map(|(id, record)| record_reply(*id, record)).collect();
            if !records.is_empty() {
                found.push((bulk(key), Reply::Array(records)));
            }
        }
        Ok(if found.is_empty() { Reply::Null } else { Reply::Map(found) })
    }
}

/// XADD's arguments behind the key: [NOMKSTREAM] [IDMP producer request] [MAXLEN|MINID threshold]
/// id field value ...
fn add(stream: &mut Stream, mut args: &[&[u8]], now_ms: u64, there: bool) -> Answer {
    let (mut idempotency, mut trim) = (None, None);
    loop {
        match args {
            [b"NOMKSTREAM", rest @ ..] if there => args = rest,
            [b"NOMKSTREAM", ..] => return Ok(Reply::Null),
            [b"IDMP", producer, request, rest @ ..] => {
                idempotency = Some((producer.to_vec(), request.to_vec()));
                args = rest;
            }
            [what @ (b"MAXLEN" | b"MINID"), threshold, rest @ ..] => {
                trim = Some((*what, *threshold));
                args = rest;
            }
            _ => break,
        }
    }
    let mut known = stream
        .records
        .iter()
        .filter(|(_, record)| idempotency.is_some() && record.idempotency == idempotency);
    if let Some((id, _)) = known.next_back() {
        return Ok(id_text(*id));
    }
    let id = match args[0] {
        b"*" if (now_ms, 0) > stream.last => (now_ms, 0),
        b"*" => (stream.last.0, stream.last.1 + 1),
        id => parse_id(id),
    };
    if id <= stream.last {
        return Err("ERR");
    }
    let fields = args[1..].iter().map(|field| field.to_vec()).collect();
    stream.records.insert(id, Record { fields, idempotency });
    stream.last = id;
    stream.added += 1;
    if let Some((what, threshold)) = trim {
        stream.trim_as_told(what, threshold);
    }
    Ok(id_text(id))
}

fn delete(stream: &mut Stream, id: &[u8]) -> bool {
    let id = parse_id(id);
    let there = stream.records.remove(&id).is_some();
    if there {
        stream.max_deleted = stream.max_deleted.max(id);
    }
    there
}

/// XRANGE's arguments behind the key: bounds, COUNT and a number.
fn range(stream: &Stream, reverse: bool, args: &[&[u8]]) -> Answer {
    let bound = |word: &[u8]| match word {
        b"-" => (0, 0),
        b"+" => (u64::MAX, u64::MAX),
        id => parse_id(id),
    };
    let (mut from, mut to) = (bound(args[0]), bound(args[1]));
    if reverse {
        (from, to) = (to, from);
    }
    let mut found: Vec<_> = stream
        .records
        .iter()
        .filter(|(id, _)| (from..=to).contains(*id))
        .map(|(id, record)| record_reply(*id, record))
        .collect();
    if reverse {
        found.reverse();
    }
    found.truncate(number(args[3]));
    Ok(Reply::Array(found))
}
