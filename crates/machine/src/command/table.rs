//! The one table of commands. It is long, so it is written down in a file for each family.

mod hashes_and_streams;
mod keys_and_strings;
mod sessions_and_server;

use super::{Command, Flags, KeySpec, Run};
use hashes_and_streams::HASHES_AND_STREAMS;
use keys_and_strings::KEYS_AND_STRINGS;
use sessions_and_server::SESSIONS_AND_SERVER;

#[expect(clippy::too_many_arguments, reason = "a row of the table, in the order of its columns")]
const fn command(
    name: &'static str,
    arity: i16,
    flags: Flags,
    keys: KeySpec,
    group: &'static str,
    run: Run,
    syntax: &'static str,
    summary: &'static str,
) -> Command {
    Command { name, arity, flags, keys, group, syntax, summary, run }
}

/// The files of the table.
const PARTS: [&[Command]; 3] = [KEYS_AND_STRINGS, HASHES_AND_STREAMS, SESSIONS_AND_SERVER];

const COUNT: usize = {
    let (mut count, mut part) = (0, 0);
    while part < PARTS.len() {
        count += PARTS[part].len();
        part += 1;
    }
    count
};

/// Every command, sorted by name while this is compiled.
static SORTED: [Command; COUNT] = {
    let mut commands = [PARTS[0][0]; COUNT];
    let (mut count, mut part) = (0, 0);
    while part < PARTS.len() {
        let mut row = 0;
        while row < PARTS[part].len() {
            let mut at = count;
            while at > 0 && is_before(PARTS[part][row].name, commands[at - 1].name) {
                commands[at] = commands[at - 1];
                at -= 1;
            }
            commands[at] = PARTS[part][row];
            count += 1;
            row += 1;
        }
        part += 1;
    }
    commands
};

/// Whether one name sorts before another.
const fn is_before(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() {
        if one[at] != other[at] {
            return one[at] < other[at];
        }
        at += 1;
    }
    one.len() < other.len()
}

/// Every command, sorted by name.
pub static COMMANDS: &[Command] = &SORTED;
