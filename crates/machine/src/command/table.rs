//! The one table of commands. It is long, so it is written down in two files.

mod first_half;
mod second_half;

use super::{Command, Flags, KeySpec, Run};
use first_half::FIRST_HALF;
use second_half::SECOND_HALF;

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

const COUNT: usize = FIRST_HALF.len() + SECOND_HALF.len();

static BOTH_HALVES: [Command; COUNT] = {
    let Some(any) = FIRST_HALF.first() else { panic!("the table has commands") };
    let mut commands = [*any; COUNT];
    let (first, second) = commands.split_at_mut(FIRST_HALF.len());
    first.copy_from_slice(FIRST_HALF);
    second.copy_from_slice(SECOND_HALF);
    commands
};

/// Every command, sorted by name.
pub static COMMANDS: &[Command] = &BOTH_HALVES;
