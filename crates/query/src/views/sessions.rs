//! Session windows. Records of a key belong together until nothing comes for the gap. A late record
//! may make one window of two.

use super::accumulate::{Accumulator, AggregatePlan};
use super::groups::{GroupRows, Keys, accumulators};
use datafusion::arrow::array::{ArrayRef, Int64Array, UInt32Array};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use smallvec::SmallVec;
use thalweg_base::prefetch::prefetch;

/// How many rows ahead a key's sessions are fetched.
const PREFETCH_ROWS: usize = 16;

/// One session of a key: from its first record to its last; its state is in a slot.
#[derive(Clone, Copy, Debug)]
struct Session {
    first_us: i64,
    last_us: i64,
    slot: usize,
}

/// All sessions that may still change.
pub(crate) struct Sessions {
    gap_us: i64,
    key_schema: SchemaRef,
    keys: Keys,
    /// For each key, its sessions; nearly always one.
    open: Vec<SmallVec<[Session; 1]>>,
    count: usize,
    accumulators: Vec<Box<dyn Accumulator>>,
    slots: usize,
    free: Vec<usize>,
}

/// Sessions that turned out to be one: the slot that goes, and the one it goes into.
type Joined = Vec<(usize, usize)>;

/// Sessions as columns: their keys, bounds and states or results.
pub(crate) struct SessionColumns<T> {
    pub(crate) keys: Vec<ArrayRef>,
    pub(crate) first_us: Int64Array,
    pub(crate) last_us: Int64Array,
    pub(crate) values: Vec<T>,
}

impl Sessions {
    pub(crate) fn new(
        gap_us: i64,
        key_schema: &SchemaRef,
        plans: &[AggregatePlan],
    ) -> Result<Self> {
        Ok(Self {
            gap_us,
            key_schema: key_schema.clone(),
            keys: Keys::new(key_schema)?,
            open: Vec::new(),
            count: 0,
            accumulators: accumulators(plans),
            slots: 0,
            free: Vec::new(),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Takes in rows.
    pub(crate) fn update(&mut self, rows: &GroupRows, times: &[i64]) -> Result<()> {
        let (slots, joined) = self.place_all(&rows.keys, rows.rows, |row| {
            let time = times.get(row).copied().unwrap_or(0);
            (time, time)
        })?;
        rows.update(&mut self.accumulators, &slots)?;
        self.join(joined)
    }

    /// Takes in sessions as [`Sessions::state`] gave them.
    pub(crate) fn merge(&mut self, other: &SessionColumns<Vec<ArrayRef>>) -> Result<()> {
        let rows = other.first_us.len();
        let bounds = |row: usize| (other.first_us.value(row), other.last_us.value(row));
        let (slots, joined) = self.place_all(&other.keys, rows, bounds)?;
        for (accumulator, state) in self.accumulators.iter_mut().zip(&other.values) {
            accumulator.merge(state, &slots)?;
        }
        self.join(joined)
    }

    /// Finds or makes a slot for each row. Sessions that a row joins are joined afterwards: `(from,
    /// into)`.
    fn place_all(
        &mut self,
        keys: &[ArrayRef],
        rows: usize,
        bounds: impl Fn(usize) -> (i64, i64),
    ) -> Result<(Vec<usize>, Joined)> {
        let numbers = self.keys.number(keys, rows)?.to_vec();
        self.open.resize_with(self.keys.len(), SmallVec::new);
        let mut joined = Vec::new();
        let mut slots = Vec::with_capacity(rows);
        for (row, &number) in numbers.iter().enumerate() {
            // Sessions of many keys lie in no cache; those of the next rows come meanwhile.
            let ahead = numbers.get(row + PREFETCH_ROWS).and_then(|&ahead| self.open.get(ahead));
            if let Some(ahead) = ahead {
                prefetch(ahead);
            }
            let (first_us, last_us) = bounds(row);
            slots.push(self.place(number, first_us, last_us, &mut joined));
        }
        for accumulator in &mut self.accumulators {
            accumulator.grow(self.slots);
        }
        Ok((slots, joined))
    }

    fn place(&mut self, key: usize, first_us: i64, last_us: i64, joined: &mut Joined) -> usize {
        let gap_us = self.gap_us;
        let Some(open) = self.open.get_mut(key) else { return 0 };
        let touches = |session: &Session| {
            first_us <= session.last_us.saturating_add(gap_us)
                && last_us >= session.first_us.saturating_sub(gap_us)
        };
        let Some(mut found) = open.iter().position(touches) else {
            let slot = self.free.pop().unwrap_or_else(|| {
                self.slots += 1;
                self.slots - 1
            });
            open.push(Session { first_us, last_us, slot });
            self.count += 1;
            return slot;
        };
        let Some(session) = open.get_mut(found) else { return 0 };
        session.first_us = session.first_us.min(first_us);
        session.last_us = session.last_us.max(last_us);
        let grown = *session;
        // What it has grown into belongs to it.
        let mut index = 0;
        while index < open.len() {
            let other = open.get(index).copied().unwrap_or(grown);
            let near = other.first_us <= grown.last_us.saturating_add(gap_us)
                && other.last_us >= grown.first_us.saturating_sub(gap_us);
            if index != found && near {
                open.swap_remove(index);
                self.count -= 1;
                if found == open.len() {
                    found = index;
                }
                if let Some(session) = open.get_mut(found) {
                    session.first_us = session.first_us.min(other.first_us);
                    session.last_us = session.last_us.max(other.last_us);
                }
                joined.push((other.slot, grown.slot));
            } else {
                index += 1;
            }
        }
        grown.slot
    }

    fn join(&mut self, joined: Joined) -> Result<()> {
        for (from, into) in joined {
            for accumulator in &mut self.accumulators {
                let state = accumulator.state(&[from])?;
                accumulator.merge(&state, &[into])?;
                accumulator.reset(from);
            }
            self.free.push(from);
        }
        Ok(())
    }

    /// Sessions for which a condition on (first, last) holds: keys, bounds, slots.
    fn select(&self, wanted: impl Fn(&Session) -> bool) -> (Vec<u32>, Vec<Session>) {
        let mut numbers = Vec::new();
        let mut sessions = Vec::new();
        for (number, open) in self.open.iter().enumerate() {
            for session in open.iter().filter(|session| wanted(session)) {
                numbers.push(number as u32);
                sessions.push(*session);
            }
        }
        (numbers, sessions)
    }

    fn columns<T>(
        &mut self,
        chosen: (Vec<u32>, Vec<Session>),
        read: impl Fn(&mut Box<dyn Accumulator>, &[usize]) -> Result<T>,
    ) -> Result<SessionColumns<T>> {
        let (numbers, sessions) = chosen;
        let numbers = UInt32Array::from(numbers);
        let keys = self.keys.columns()?;
        let keys =
            keys.iter().map(|column| take(column, &numbers, None)).collect::<Result<_, _>>()?;
        let slots: Vec<usize> = sessions.iter().map(|session| session.slot).collect();
        Ok(SessionColumns {
            keys,
            first_us: sessions.iter().map(|session| session.first_us).collect::<Vec<_>>().into(),
            last_us: sessions.iter().map(|session| session.last_us).collect::<Vec<_>>().into(),
            values: self
                .accumulators
                .iter_mut()
                .map(|accumulator| read(accumulator, &slots))
                .collect::<Result<_>>()?,
        })
    }

    /// All sessions, as states.
    pub(crate) fn state(&mut self) -> Result<SessionColumns<Vec<ArrayRef>>> {
        let all = self.select(|_| true);
        self.columns(all, |accumulator, slots| accumulator.state(slots))
    }

    /// The results of sessions whose last record is before a time; of all without one.
    pub(crate) fn evaluate(&mut self, before_us: Option<i64>) -> Result<SessionColumns<ArrayRef>> {
        let chosen =
            self.select(|session| before_us.is_none_or(|before_us| session.last_us < before_us));
        self.columns(chosen, |accumulator, slots| accumulator.evaluate(slots))
    }

    /// Forgets sessions whose last record is before a time.
    pub(crate) fn forget(&mut self, before_us: i64) -> Result<()> {
        for open in &mut self.open {
            open.retain(|session| {
                let stays = session.last_us >= before_us;
                if !stays {
                    for accumulator in &mut self.accumulators {
                        accumulator.reset(session.slot);
                    }
                    self.free.push(session.slot);
                    self.count -= 1;
                }
                stays
            });
        }
        self.forget_keys()
    }

    /// Keys without sessions are kept until they are many.
    fn forget_keys(&mut self) -> Result<()> {
        const SPARE: usize = 10_000;
        if self.keys.len() <= 2 * self.count + SPARE {
            return Ok(());
        }
        let used: Vec<u32> = (0..self.open.len() as u32)
            .filter(|&number| self.open.get(number as usize).is_some_and(|open| !open.is_empty()))
            .collect();
        let numbers = UInt32Array::from(used.clone());
        let columns = self.keys.columns()?;
        let columns: Vec<ArrayRef> =
            columns.iter().map(|column| take(column, &numbers, None)).collect::<Result<_, _>>()?;
        let mut keys = Keys::new(&self.key_schema)?;
        keys.number(&columns, used.len())?;
        let mut old = std::mem::take(&mut self.open);
        self.open = used
            .iter()
            .filter_map(|&number| old.get_mut(number as usize).map(std::mem::take))
            .collect();
        self.keys = keys;
        Ok(())
    }

    pub(crate) fn bytes(&self) -> usize {
        let accumulators = self.accumulators.iter().map(|accumulator| accumulator.bytes());
        self.keys.bytes() + self.open.capacity() * 40 + accumulators.sum::<usize>()
    }
}
