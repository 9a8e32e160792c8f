//! What a request demands of its partitions before it runs, and whether they have it.

use super::{DoorPart, Executed, Wait};
use crate::engine::Inner;
use crate::gate::Gates;
use crate::lane::{Lane, NOT_LED};
use crate::memory::Room;
use crate::partition::Partition;
use thalweg_machine::{Answer, Command, CommandError, Flags, parse_u64};

const OUT_OF_MEMORY: CommandError =
    CommandError::coded("OOM", "command not allowed when used memory > 'maxmemory'.");

/// Smaller writes are charged once they are made.
const CHARGED_BYTES: u64 = 1 << 20;

/// A large write is in memory so many times on its way: as the entry, its effect, and in the log's
/// batch.
const COPIES: u64 = 4;

/// So many times what one partition may hold back, transactions may have in line for the log.
const TRANSACTIONS_IN_LINE: usize = 4;

/// What a request demands.
#[derive(Clone, Copy)]
pub(crate) enum Demand {
    /// Nothing: it reads, or frees memory on the node's behalf.
    Nothing,
    /// Room in the open batch: it writes.
    Log,
    /// That, and memory for so many bytes more.
    Memory(u64),
}

impl Demand {
    /// What a command demands.
    #[inline]
    pub(crate) fn of(command: &Command, args: &[&[u8]]) -> Self {
        if !command.flags.has(Flags::WRITE) {
            Self::Nothing
        } else if command.flags.has(Flags::SHRINKS) {
            Self::Log
        } else {
            Self::Memory(written_bytes(command, args))
        }
    }

    /// Whether it demands anything: that is, whether it writes.
    #[inline]
    pub(super) fn is_something(self) -> bool {
        !matches!(self, Self::Nothing)
    }
}

/// Why a request does not run.
pub(crate) enum Stop {
    /// It can be run again when this is over.
    Wait(Wait),
    /// It cannot be run here and now, and waiting is in vain.
    Refused(CommandError),
}

impl From<Wait> for Stop {
    fn from(wait: Wait) -> Self {
        Self::Wait(wait)
    }
}

impl Stop {
    /// How a command ends with it.
    pub(crate) fn answer(self, answer: &mut dyn Answer) -> Executed {
        match self {
            Self::Wait(wait) => Executed::Suspended(wait),
            Self::Refused(error) => {
                answer.error(&error);
                Executed::Done(DoorPart::None, Gates::NONE)
            }
        }
    }

    /// How an access to one key ends with it.
    pub(crate) fn outcome<T>(self) -> Executed<Result<T, CommandError>> {
        match self {
            Self::Wait(wait) => Executed::Suspended(wait),
            Self::Refused(error) => Executed::Done(Err(error), Gates::NONE),
        }
    }
}

impl Inner {
    /// Whether a partition has what a request demands of it.
    #[inline]
    pub(super) fn grant(
        &self,
        lane: &Lane,
        number: usize,
        partition: &mut Partition,
        demand: Demand,
    ) -> Result<(), Stop> {
        let bytes = match demand {
            Demand::Nothing => return Ok(()),
            Demand::Log => None,
            Demand::Memory(bytes) => Some(bytes),
        };
        if let Some(error) = lane.refusal() {
            return Err(Stop::Refused(error));
        }
        if partition.pending.bytes().len() >= self.settings.pending_max_bytes {
            log_is_behind(lane)?;
        }
        match bytes.map_or(Room::Enough, |bytes| self.room(partition, bytes)) {
            Room::Enough => Ok(()),
            Room::Later => Err(Wait::Memory(number).into()),
            Room::Never => Err(Stop::Refused(OUT_OF_MEMORY)),
        }
    }

    /// Whether the log has room for a transaction over several partitions.
    pub(super) fn grant_transaction(&self, lane: &Lane, demand: Demand) -> Result<(), Stop> {
        let most = self.settings.pending_max_bytes.saturating_mul(TRANSACTIONS_IN_LINE);
        if !demand.is_something() || lane.taken_bytes() < most {
            return Ok(());
        }
        log_is_behind(lane)
    }
}

impl Lane {
    /// The end of a request that must write and has no LSN: this node has lost the lane since it
    /// was asked whether that takes writes.
    #[cold]
    pub(super) fn not_led(&self) -> Stop {
        Stop::Refused(self.refusal().unwrap_or(NOT_LED))
    }
}

/// Lets a writer wait for the log, unless that takes no writes: then waiting is in vain.
#[cold]
fn log_is_behind(lane: &Lane) -> Result<(), Stop> {
    // Asked before the refusal: a failure in between ends a round, and so this wait.
    let round = lane.round();
    match lane.refusal() {
        None => Err(Wait::Log(round).into()),
        Some(error) => Err(Stop::Refused(error)),
    }
}

/// What a write of so many bytes takes before it is made.
pub(crate) fn charged_bytes(bytes: u64) -> u64 {
    if bytes < CHARGED_BYTES { 0 } else { bytes.saturating_mul(COPIES) }
}

/// How many bytes a large write may add: what it brings, and how far it reaches into a string.
pub(crate) fn written_bytes(command: &Command, args: &[&[u8]]) -> u64 {
    let brought: u64 = args.iter().map(|arg| arg.len() as u64).sum();
    // What is not a number is refused by the command itself.
    let offset = || args.get(2).and_then(|offset| parse_u64(offset)).unwrap_or(0);
    let reached = match command.name {
        "SETRANGE" => offset(),
        "SETBIT" => offset() / 8,
        _ => 0,
    };
    charged_bytes(brought.saturating_add(reached))
}
