//! Consumer groups.

use super::streams::{id_text, parse_id, record_reply};
use super::*;

impl Model {
    pub(super) fn group_command(&mut self, name: &str, args: &[&[u8]]) -> Option<Option<Answer>> {
        Some(Some(match name {
            "XREADGROUP" => self.read_as_member(args),
            "XGROUP" => self.manage(args),
            "XACK" => self.acknowledge(args),
            "XPENDING" => self.pending(args),
            "XCLAIM" => self.claim(args),
            "XAUTOCLAIM" => self.claim_from(args),
            "XINFO" => self.describe(args),
            _ => return None,
        }))
    }

    /// A stream and one of its groups, changed and put back.
    fn with_group<T>(
        &mut self,
        key: &[u8],
        group: &[u8],
        missing: &'static str,
        change: impl FnOnce(&Stream, &mut Group, u64) -> T,
    ) -> Result<T, &'static str> {
        let mut stream = self.stream(key)?.ok_or(missing)?.clone();
        let mut found = stream.groups.get(group).ok_or("NOGROUP")?.clone();
        let answer = change(&stream, &mut found, self.now_ms);
        stream.groups.insert(group.to_vec(), found);
        self.put_stream(key, stream);
        Ok(answer)
    }

    /// GROUP group consumer COUNT count [NOACK] STREAMS key id
    fn read_as_member(&mut self, args: &[&[u8]]) -> Answer {
        let (group, consumer, count) = (args[1], args[2], number(args[4]));
        let no_ack = args[5] == b"NOACK";
        let [.., key, id] = args else { panic!("a key and an ID") };
        let found = self.with_group(key, group, "NOGROUP", |stream, group, now_ms| {
            group.see(consumer, now_ms, false);
            if *id != b">" {
                return Some(group.history(stream, consumer, parse_id(id), count));
            }
            let new: Vec<_> = stream.after(group.last_delivered).take(count).collect();
            if !new.is_empty() {
                group.see(consumer, now_ms, true);
            }
            for &(&id, _) in &new {
                group.last_delivered = id;
                if !no_ack {
                    group.make_pending(id, consumer, now_ms, 1);
                }
            }
            let new: Vec<_> = new.iter().map(|(id, record)| record_reply(**id, record)).collect();
            (!new.is_empty()).then_some(new)
        })?;
        Ok(found
            .map_or(Reply::Null, |records| Reply::Map(vec![(bulk(key), Reply::Array(records))])))
    }

    fn manage(&mut self, args: &[&[u8]]) -> Answer {
        let (key, group) = (args[1], args[2]);
        match args[0] {
            b"CREATE" => {
                let make = args.last() == Some(&&b"MKSTREAM"[..]);
                let found = self.stream(key)?.cloned();
                let mut stream = found.or(make.then(Stream::default)).ok_or("ERR")?;
                if stream.groups.contains_key(group) {
                    return Err("BUSYGROUP");
                }
                let last_delivered = stream.start(args[3]);
                let made = Group { last_delivered, ..Group::default() };
                stream.groups.insert(group.to_vec(), made);
                self.put_stream(key, stream);
                ok()
            }
            b"DESTROY" => {
                let mut stream = self.stream(key)?.ok_or("ERR")?.clone();
                let there = stream.groups.remove(group).is_some();
                self.put_stream(key, stream);
                integer(i64::from(there))
            }
            b"SETID" => self.with_group(key, group, "ERR", |stream, group, _| {
                group.last_delivered = stream.start(args[3]);
                ok()
            })?,
            b"CREATECONSUMER" => self.with_group(key, group, "ERR", |_, group, now_ms| {
                let new = !group.consumers.contains_key(args[3]);
                if new {
                    group.consumers.insert(args[3].to_vec(), (now_ms, 0));
                }
                integer(i64::from(new))
            })?,
            _ => self.with_group(key, group, "ERR", |_, group, _| {
                let before = group.pending.len();
                group.consumers.remove(args[3]);
                group.pending.retain(|_, pending| pending.consumer != args[3]);
                integer(before - group.pending.len())
            })?,
        }
    }

    fn acknowledge(&mut self, args: &[&[u8]]) -> Answer {
        let acknowledged = self.with_group(args[0], args[1], "NOGROUP", |_, group, _| {
            let ids = args[2..].iter().map(|id| parse_id(id));
            ids.filter(|id| group.pending.remove(id).is_some()).count()
        });
        match acknowledged {
            Ok(count) => integer(count),
            Err("NOGROUP") => integer(0),
            Err(code) => Err(code),
        }
    }

    fn pending(&mut self, args: &[&[u8]]) -> Answer {
        self.with_group(args[0], args[1], "NOGROUP", |_, group, now_ms| {
            if args.len() == 2 {
                return group.pending_summary();
            }
            let wanted =
                |pending: &Pending| args.get(5).is_none_or(|name| pending.consumer == *name);
            let found = group.pending.iter().filter(|(_, pending)| wanted(pending));
            let rows = found.take(number(args[4])).map(|(id, pending)| {
                let idle_ms = now_ms - pending.delivered_ms;
                Reply::Array(vec![
                    id_text(*id),
                    bulk(&pending.consumer),
                    Reply::Integer(idle_ms as i64),
                    Reply::Integer(pending.deliveries),
                ])
            });
            Reply::Array(rows.collect())
        })
    }

    /// key group consumer min-idle id ... [FORCE] [JUSTID]
    fn claim(&mut self, args: &[&[u8]]) -> Answer {
        let (consumer, idle_ms) = (args[2], number(args[3]));
        let options = Claim {
            consumer,
            idle_ms,
            force: args.contains(&&b"FORCE"[..]),
            just_id: args.contains(&&b"JUSTID"[..]),
        };
        let ids: Vec<Id> = args[4..]
            .iter()
            .filter(|word| word[0].is_ascii_digit())
            .map(|id| parse_id(id))
            .collect();
        self.with_group(args[0], args[1], "NOGROUP", |stream, group, now_ms| {
            let taken: Vec<Id> = ids
                .into_iter()
                .filter(|&id| group.claim(stream, id, now_ms, &options) == Some(true))
                .collect();
            group.see(consumer, now_ms, !taken.is_empty());
            Reply::Array(taken.iter().map(|&id| options.reply(stream, id)).collect())
        })
    }

    /// key group consumer min-idle start COUNT count [JUSTID]
    fn claim_from(&mut self, args: &[&[u8]]) -> Answer {
        let (consumer, idle_ms) = (args[2], number(args[3]));
        let just_id = args.contains(&&b"JUSTID"[..]);
        let options = Claim { consumer, idle_ms, force: false, just_id };
        let (start, count): (Id, usize) = (parse_id(args[4]), number(args[6]));
        self.with_group(args[0], args[1], "NOGROUP", |stream, group, now_ms| {
            let (mut taken, mut gone) = (Vec::new(), Vec::new());
            let candidates: Vec<Id> = group.pending.range(start..).map(|(id, _)| *id).collect();
            let mut next = (0, 0);
            for (looked, id) in candidates.into_iter().enumerate() {
                if taken.len() == count || looked == count * 10 {
                    next = id;
                    break;
                }
                match group.claim(stream, id, now_ms, &options) {
                    Some(true) => taken.push(id),
                    Some(false) => {}
                    None => gone.push(id_text(id)),
                }
            }
            group.see(consumer, now_ms, !taken.is_empty());
            let taken = taken.iter().map(|&id| options.reply(stream, id)).collect();
            Reply::Array(vec![id_text(next), Reply::Array(taken), Reply::Array(gone)])
        })
    }

    /// XINFO CONSUMERS key group: what does not depend on when a consumer was noted.
    fn describe(&mut self, args: &[&[u8]]) -> Answer {
        self.with_group(args[1], args[2], "ERR", |_, group, now_ms| {
            let rows = group.consumers.iter().map(|(name, &(seen_ms, active_ms))| {
                let pending = group.pending.values().filter(|one| one.consumer == *name).count();
                let inactive = if active_ms == 0 { -1 } else { (now_ms - active_ms) as i64 };
                Reply::Map(vec![
                    (bulk(b"name"), bulk(name)),
                    (bulk(b"pending"), Reply::Integer(pending as i64)),
                    (bulk(b"idle"), Reply::Integer((now_ms - seen_ms) as i64)),
                    (bulk(b"inactive"), Reply::Integer(inactive)),
                ])
            });
            Reply::Array(rows.collect())
        })
    }
}

/// What XCLAIM and XAUTOCLAIM were told.
struct Claim<'a> {
    consumer: &'a [u8],
    idle_ms: u64,
    force: bool,
    just_id: bool,
}

impl Claim<'_> {
    fn reply(&self, stream: &Stream, id: Id) -> Reply {
        if self.just_id { id_text(id) } else { record_reply(id, &stream.records[&id]) }
    }
}

impl Stream {
    /// Where a group begins to read.
    fn start(&self, id: &[u8]) -> Id {
        if id == b"$" { self.last } else { parse_id(id) }
    }
}

impl Group {
    /// A consumer asked. It is noted to the second only.
    fn see(&mut self, consumer: &[u8], now_ms: u64, active: bool) {
        let known = self.consumers.get(consumer).copied();
        let is_new = |noted_ms: u64| now_ms >= noted_ms + 1_000;
        match known {
            Some((seen_ms, active_ms)) if is_new(seen_ms) || active && is_new(active_ms) => {
                let active_ms = if active { now_ms } else { active_ms };
                self.consumers.insert(consumer.to_vec(), (now_ms, active_ms));
            }
            Some(_) => {}
            None => {
                let active_ms = if active { now_ms } else { 0 };
                self.consumers.insert(consumer.to_vec(), (now_ms, active_ms));
            }
        }
    }

    fn make_pending(&mut self, id: Id, consumer: &[u8], delivered_ms: u64, deliveries: i64) {
        self.consumers.entry(consumer.to_vec()).or_default();
        let pending = Pending { consumer: consumer.to_vec(), delivered_ms, deliveries };
        self.pending.insert(id, pending);
    }

    /// What was delivered to a consumer before, above an ID.
    fn history(&self, stream: &Stream, consumer: &[u8], after: Id, count: usize) -> Vec<Reply> {
        let mine = self
            .pending
            .iter()
            .filter(|(id, pending)| **id > after && pending.consumer == consumer);
        mine.take(count)
            .map(|(id, _)| match stream.records.get(id) {
                Some(record) => record_reply(*id, record),
                None => Reply::Array(vec![id_text(*id), Reply::Null]),
            })
            .collect()
    }

    /// Whether a record was taken over; `None` where it is not in the stream any more.
    fn claim(&mut self, stream: &Stream, id: Id, now_ms: u64, options: &Claim<'_>) -> Option<bool> {
        let known = self.pending.get(&id).cloned();
        if !stream.records.contains_key(&id) {
            return self.pending.remove(&id).map_or(Some(false), |_| None);
        }
        let deliveries = match known {
            Some(pending) if now_ms - pending.delivered_ms < options.idle_ms => return Some(false),
            Some(pending) => pending.deliveries,
            None if options.force => 0,
            None => return Some(false),
        };
        let deliveries = deliveries + i64::from(!options.just_id);
        self.make_pending(id, options.consumer, now_ms, deliveries);
        Some(true)
    }

    fn pending_summary(&self) -> Reply {
        let mut counts: BTreeMap<&[u8], usize> = BTreeMap::new();
        for pending in self.pending.values() {
            *counts.entry(&pending.consumer).or_default() += 1;
        }
        let bounds = self.pending.keys().next().zip(self.pending.keys().next_back());
        let Some((first, last)) = bounds else {
            return Reply::Array(vec![Reply::Integer(0), Reply::Null, Reply::Null, Reply::Null]);
        };
        let counts = counts.into_iter().map(|(name, count)| {
            Reply::Array(vec![bulk(name), bulk(count.to_string().as_bytes())])
        });
        Reply::Array(vec![
            Reply::Integer(self.pending.len() as i64),
            id_text(*first),
            id_text(*last),
            Reply::Array(counts.collect()),
        ])
    }
}
