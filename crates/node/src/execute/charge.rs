//! What a write costs, before it is made.

use super::*;

/// How long a writer waits before it looks again whether the log has caught up.
pub(super) const LOG_PAUSE: Duration = Duration::from_micros(200);

pub(super) fn grows(command: &Command) -> bool {
    command.flags.has(Flags::WRITE) && !command.flags.has(Flags::SHRINKS)
}

/// Smaller writes are charged once they are made.
pub(super) const CHARGED_BYTES: u64 = 1 << 20;

/// A large write is in memory so many times on its way: as the entry, its effect, and in the log's
/// batch.
pub(super) const COPIES: u64 = 4;

/// What a write of so many bytes takes before it is made.
pub(crate) fn charged_bytes(bytes: u64) -> u64 {
    if bytes < CHARGED_BYTES { 0 } else { bytes.saturating_mul(COPIES) }
}

/// How many bytes a large write may add: what it brings, and how far it reaches into a string.
pub(crate) fn written_bytes(command: &Command, args: &[&[u8]]) -> u64 {
    let brought: u64 = args.iter().map(|arg| arg.len() as u64).sum();
    let offset = || args.get(2).and_then(|offset| parse_u64(offset)).unwrap_or(0);
    let reached = match command.name {
        "SETRANGE" => offset(),
        "SETBIT" => offset() / 8,
        _ => 0,
    };
    charged_bytes(brought.saturating_add(reached))
}
