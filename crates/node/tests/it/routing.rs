//! What a command touches is what the table says that it touches: the node locks the partitions of
//! those keys and no others.

use crate::support::History;
use std::cell::RefCell;
use thalweg_machine::{
    COMMANDS, Command, EffectBuffer, Execution, Flags, PolicyName, ReplyBuilder, Run, State,
    StateLimits, States, execute, find_command,
};

/// Keys, values, and every word that means something to some command.
const WORDS: &[&str] = &[
    "a",
    "b",
    "c",
    "d",
    "streams",
    "STREAMS",
    "GROUP",
    "group",
    "COUNT",
    "BLOCK",
    "NOACK",
    "0",
    "1",
    "2",
    "-1",
    "0-0",
    "1-1",
    "$",
    ">",
    "+",
    "-",
    "*",
    "REPLACE",
    "DB",
    "NX",
    "XX",
    "GET",
    "EX",
    "PX",
    "KEEPTTL",
    "CREATE",
    "MKSTREAM",
    "DESTROY",
    "SETID",
    "CREATECONSUMER",
    "STREAM",
    "GROUPS",
    "CONSUMERS",
    "FULL",
    "USAGE",
    "ENCODING",
    "HELP",
    "MAXLEN",
    "MINID",
    "=",
    "~",
    "LIMIT",
    "FIELDS",
    "MATCH",
    "WITHVALUES",
    "IDMP",
    "JUSTID",
    "FORCE",
    "ID",
    "",
];

const STATES: usize = 3;

fn place(key: &[u8]) -> usize {
    key.iter().map(|&byte| usize::from(byte)).sum::<usize>() % STATES
}

/// Runs a command on several states; gives the keys it used that the table does not name.
fn keys_not_named(
    states: &mut [State],
    command: &Command,
    args: &[&[u8]],
    lsn: u64,
) -> Vec<Vec<u8>> {
    let mut named: Vec<&[u8]> = Vec::new();
    command.keys.for_each(args, |key| named.push(key));
    let found: RefCell<Vec<Vec<u8>>> = RefCell::default();
    let route = |key: &[u8]| {
        if !named.contains(&key) {
            found.borrow_mut().push(key.to_vec());
        }
        place(key)
    };
    let mut answer = ReplyBuilder::default();
    let mut effects = EffectBuffer::default();
    let mut execution = Execution {
        states: States::Many { states: states.iter_mut().collect(), route: &route },
        effects: &mut effects,
        lsn,
        now_ms: 1_700_000_000_000,
        random: lsn,
        gate: 0,
        decides: true,
        changed: false,
        answer: &mut answer,
    };
    execute(command, args, &mut execution);
    found.into_inner()
}

fn empty_states() -> Vec<State> {
    (0..STATES).map(|_| State::new(1, PolicyName::default(), StateLimits::default())).collect()
}

#[test]
fn no_command_uses_a_key_that_the_table_does_not_name() {
    let on_states = |command: &&Command| {
        matches!(command.run, Run::Machine(_)) && !command.flags.has(Flags::EVERYWHERE)
    };
    let commands: Vec<&Command> = COMMANDS.iter().filter(on_states).collect();
    for seed in 0..20 {
        let mut history = History::new(seed);
        let mut states = empty_states();
        for lsn in 1..20_000 {
            let command = commands[history.below(commands.len() as u64) as usize];
            let mut args: Vec<&[u8]> = vec![command.name.as_bytes()];
            for _ in 0..history.below(9) {
                args.push(WORDS[history.below(WORDS.len() as u64) as usize].as_bytes());
            }
            if !command.accepts(args.len()) {
                continue;
            }
            let others = keys_not_named(&mut states, command, &args, lsn);
            let text: Vec<_> = args.iter().map(|arg| String::from_utf8_lossy(arg)).collect();
            assert!(others.is_empty(), "seed {seed}: {text:?} uses {others:?}");
        }
    }
}

#[test]
fn a_group_may_be_called_streams() {
    for line in [
        "XREADGROUP GROUP streams streams STREAMS a b > >",
        "XREADGROUP COUNT 1 GROUP g STREAMS BLOCK 0 STREAMS streams b > 0",
        "XREAD BLOCK 0 STREAMS streams STREAMS 0 0",
    ] {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let command = find_command(args[0]).expect("a command");
        let others = keys_not_named(&mut empty_states(), command, &args, 1);
        assert!(others.is_empty(), "{line} uses {others:?}");
        let mut named = 0;
        command.keys.for_each(&args, |_| named += 1);
        assert_eq!(named, 2, "{line}");
    }
}
