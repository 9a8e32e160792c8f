//! Commands that look at all partitions: SCAN, KEYS, DBSIZE, RANDOMKEY.

use crate::channels::Scope;
use crate::engine::{Engine, Inner};
use crate::gate::{Gate, Gates};
use crate::halt::halt_on_bug;
use crate::request::Executed;
use crate::session::Session;
use thalweg_machine::{
    Answer, CommandError, Loaded, Lsn, NodeVerb, State, States, glob_matches, parse_u64, push_i64,
};
use thalweg_store::StoreError;

/// How a verb gets at the partitions: one lock at a time, or all of them held by a transaction.
pub(crate) enum Access<'a, 'b> {
    Each,
    Held(&'a States<'b>),
}

impl Access<'_, '_> {
    fn with<R>(
        &mut self,
        inner: &Inner,
        number: usize,
        look: impl FnOnce(&State) -> R,
    ) -> Option<R> {
        let count = inner.partitions.count();
        if number >= count {
            // A cursor that somebody made up.
            return None;
        }
        match self {
            Self::Each => Some(look(&inner.partitions.lock(number).state)),
            Self::Held(states) => match states.all() {
                all if all.len() == count => all.get(number).map(|state| look(state)),
                few => halt_on_bug(&format!(
                    "a command looks at all {count} partitions, but {} are locked for it",
                    few.len()
                )),
            },
        }
    }

    /// Runs a verb; gives the LSN that its reply depends on, where its partitions are of one lane.
    pub(crate) fn run(
        &mut self,
        inner: &Inner,
        verb: NodeVerb,
        args: &[&[u8]],
        now_ms: u64,
        answer: &mut dyn Answer,
    ) -> Lsn {
        let outcome = match verb {
            NodeVerb::DbSize => {
                self.db_size(inner, answer);
                Ok(())
            }
            NodeVerb::RandomKey => self.random_key(inner, now_ms, answer),
            NodeVerb::Keys => self.keys(inner, args, now_ms, answer),
            NodeVerb::Scan => self.scan(inner, args, now_ms, answer),
            NodeVerb::Publish | NodeVerb::SPublish => publish(inner, verb, args, answer),
            // The transaction forgets what it watches by itself.
            NodeVerb::Unwatch => {
                answer.ok();
                Ok(())
            }
            _ => Err(CommandError::new("this command cannot be used here")),
        };
        if let Err(error) = outcome {
            answer.error(&error);
        }
        match self {
            Self::Each => 0,
            Self::Held(states) => {
                states.all().iter().map(|state| state.last_lsn()).max().unwrap_or(0)
            }
        }
    }

    fn db_size(&mut self, inner: &Inner, answer: &mut dyn Answer) {
        let counts = (0..inner.partitions.count())
            .filter_map(|number| self.with(inner, number, State::key_count));
        answer.integer(counts.sum::<u64>() as i64);
    }

    fn random_key(
        &mut self,
        inner: &Inner,
        now_ms: u64,
        answer: &mut dyn Answer,
    ) -> Result<(), CommandError> {
        let random = inner.next_random();
        let count = inner.partitions.count();
        let start = (random >> 48) as usize % count;
        for step in 0..count {
            let number = (start + step) % count;
            let key = self.with(inner, number, |state| state.random_key(random, now_ms)).flatten();
            let key = match key {
                Some(key) => Some(key),
                None => self.stored_key(inner, number, random)?,
            };
            if let Some(key) = key {
                answer.bulk(&key);
                return Ok(());
            }
        }
        answer.null();
        Ok(())
    }

    /// A key that only the store holds: where nothing is in memory.
    fn stored_key(
        &mut self,
        inner: &Inner,
        number: usize,
        random: u64,
    ) -> Result<Option<Vec<u8>>, CommandError> {
        let Some(store) = &inner.store else { return Ok(None) };
        let keys = store.keys_after(number as u16, None, 64).map_err(unreadable)?;
        let live: Option<Vec<Vec<u8>>> = self.with(inner, number, |state| {
            keys.into_iter().filter(|key| state.is_cold(key)).collect()
        });
        let live = live.unwrap_or_default();
        Ok(live.get(random as usize % live.len().max(1)).cloned())
    }

    fn keys(
        &mut self,
        inner: &Inner,
        args: &[&[u8]],
        now_ms: u64,
        answer: &mut dyn Answer,
    ) -> Result<(), CommandError> {
        let &[_, pattern] = args else { return Err(CommandError::SYNTAX) };
        let mut found = Vec::new();
        let mut cursor = Cursor::START;
        while let Some(at) = cursor {
            let (keys, next) = self.page(inner, at, 10_000, now_ms, None)?;
            found.extend(keys.into_iter().filter(|key| glob_matches(pattern, key)));
            cursor = next;
        }
        found.sort_unstable();
        found.dedup();
        answer.array(found.len());
        for key in found {
            answer.bulk(&key);
        }
        Ok(())
    }

    fn scan(
        &mut self,
        inner: &Inner,
        args: &[&[u8]],
        now_ms: u64,
        answer: &mut dyn Answer,
    ) -> Result<(), CommandError> {
        let &[_, cursor, ref options @ ..] = args else { return Err(CommandError::SYNTAX) };
        let cursor = parse_u64(cursor).ok_or(CommandError::new("invalid cursor"))?;
        let options = ScanOptions::parse(options)?;
        let (mut found, mut at) = (Vec::new(), Cursor::decode(cursor));
        // Empty stretches cost little, so a call goes on until it has something to show or has
        // looked at enough.
        for _ in 0..inner.partitions.count().max(16) {
            let Some(here) = at else { break };
            let (keys, next) = self.page(inner, here, options.count, now_ms, options.type_name)?;
            let matches = |key: &Vec<u8>| options.pattern.is_none_or(|p| glob_matches(p, key));
            found.extend(keys.into_iter().filter(matches));
            at = next;
            if found.len() >= options.count {
                break;
            }
        }
        answer.array(2);
        let mut text = Vec::new();
        push_i64(&mut text, at.map_or(0, Cursor::encode) as i64);
        answer.bulk(&text);
        answer.array(found.len());
        for key in found {
            answer.bulk(&key);
        }
        Ok(())
    }

    /// One step of a walk: keys in memory first, then those that only the store holds.
    fn page(
        &mut self,
        inner: &Inner,
        at: Cursor,
        count: usize,
        now_ms: u64,
        type_name: Option<&[u8]>,
    ) -> Result<(Vec<Vec<u8>>, Option<Cursor>), CommandError> {
        let next_partition = Cursor { partition: at.partition + 1, ..Cursor::ZERO };
        let next_partition =
            (usize::from(at.partition) + 1 < inner.partitions.count()).then_some(next_partition);
        let number = usize::from(at.partition);
        if !at.in_store {
            let scanned = self.with(inner, number, |state| {
                (state.scan(at.position, count, now_ms, type_name), state.has_stored())
            });
            let Some((page, has_stored)) = scanned else { return Ok((Vec::new(), None)) };
            let next = match page.next {
                Some(position) => Some(Cursor { position, ..at }),
                None if has_stored => Some(Cursor { in_store: true, position: 0, ..at }),
                None => next_partition,
            };
            return Ok((page.keys, next));
        }
        let Some(store) = &inner.store else { return Ok((Vec::new(), next_partition)) };
        let count = count.max(64);
        let after = inner.loader.scan_position(at.position);
        // Whether a version in the store has expired counts only where it is the newest.
        let mut keys: Vec<(Vec<u8>, bool)> = Vec::new();
        let mut visit = |key: &[u8], head: &[u8]| {
            let expired = Loaded::head_expiry_ms(head).is_some_and(|at_ms| at_ms <= now_ms);
            keys.push((key.to_vec(), expired));
        };
        store.walk(at.partition, after.as_deref(), count, &mut visit).map_err(unreadable)?;
        let next = match keys.last() {
            Some((last, _)) if keys.len() == count => {
                Some(Cursor { position: inner.loader.remember_scan(last), ..at })
            }
            _ => next_partition,
        };
        let live = self.with(inner, number, |state| {
            let wanted = |(key, expired): (Vec<u8>, bool)| {
                let live = state.has_stored_key(&key, now_ms, type_name)
                    && !(expired && state.is_cold(&key));
                live.then_some(key)
            };
            keys.into_iter().filter_map(wanted).collect()
        });
        Ok((live.unwrap_or_default(), next))
    }
}

/// Where a walk through the keys is: partition (10 bits), in memory or in the store, and a position
/// there.
#[derive(Clone, Copy)]
struct Cursor {
    partition: u16,
    in_store: bool,
    position: u32,
}

impl Cursor {
    const ZERO: Self = Self { partition: 0, in_store: false, position: 0 };
    const START: Option<Self> = Some(Self::ZERO);

    fn encode(self) -> u64 {
        // Never 0, which means the end.
        u64::from(self.position) << 12
            | u64::from(self.partition) << 2
            | u64::from(self.in_store) << 1
            | 1
    }

    fn decode(cursor: u64) -> Option<Self> {
        if cursor == 0 {
            return Self::START;
        }
        Some(Self {
            partition: (cursor >> 2 & 0x3FF) as u16,
            in_store: cursor >> 1 & 1 == 1,
            position: (cursor >> 12) as u32,
        })
    }
}

struct ScanOptions<'a> {
    pattern: Option<&'a [u8]>,
    count: usize,
    type_name: Option<&'a [u8]>,
}

impl<'a> ScanOptions<'a> {
    fn parse(mut rest: &[&'a [u8]]) -> Result<Self, CommandError> {
        let mut options = Self { pattern: None, count: 10, type_name: None };
        while let [word, value, after @ ..] = rest {
            if word.eq_ignore_ascii_case(b"MATCH") {
                options.pattern = Some(value);
            } else if word.eq_ignore_ascii_case(b"COUNT") {
                let count = parse_u64(value).ok_or(CommandError::NOT_AN_INTEGER)?;
                if count == 0 {
                    return Err(CommandError::SYNTAX);
                }
                options.count = count.min(1 << 20) as usize;
            } else if word.eq_ignore_ascii_case(b"TYPE") {
                options.type_name = Some(value);
            } else {
                return Err(CommandError::SYNTAX);
            }
            rest = after;
        }
        if rest.is_empty() { Ok(options) } else { Err(CommandError::SYNTAX) }
    }
}

fn unreadable(error: StoreError) -> CommandError {
    CommandError::text(error.to_string())
}

/// PUBLISH channel message
fn publish(
    inner: &Inner,
    verb: NodeVerb,
    args: &[&[u8]],
    answer: &mut dyn Answer,
) -> Result<(), CommandError> {
    let &[_, channel, payload] = args else { return Err(CommandError::SYNTAX) };
    let scope = if verb == NodeVerb::SPublish { Scope::Shard } else { Scope::Channel };
    answer.integer(inner.channels.publish(scope, channel, payload) as i64);
    Ok(())
}

impl Engine {
    pub(crate) fn run_node_verb(
        &self,
        session: &mut Session,
        verb: NodeVerb,
        args: &[&[u8]],
        now_ms: u64,
        answer: &mut dyn Answer,
    ) -> Executed {
        match verb {
            NodeVerb::Multi => self.multi(session, answer),
            NodeVerb::Exec => self.exec(session, now_ms, answer),
            NodeVerb::Discard => self.discard(session, answer),
            NodeVerb::Watch => self.watch(session, args, answer),
            NodeVerb::Unwatch => {
                self.unwatch_all(session);
                answer.ok();
                Executed::answered(Gates::NONE)
            }
            NodeVerb::Publish | NodeVerb::SPublish => {
                if let Err(error) = publish(&self.inner, verb, args, answer) {
                    answer.error(&error);
                }
                Executed::answered(Gates::NONE)
            }
            _ => {
                // What was seen may be younger than the last commit: the open group covers it.
                Access::Each.run(&self.inner, verb, args, now_ms, answer);
                let mut gates = Gates::NONE;
                for lane in self.inner.lanes.iter() {
                    let last = self.inner.partitions.last_lsn(lane.partitions.clone());
                    gates.add(Gate::new(lane.number, last));
                }
                Executed::answered(gates)
            }
        }
    }
}
