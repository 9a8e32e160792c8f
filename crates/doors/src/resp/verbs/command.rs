//! COMMAND: the command table as replies.

use super::{Control, Verdict, help, is, unknown};
use crate::resp::encode::RespWriter;
use thalweg_machine::{Answer, COMMANDS, Command, CommandError, Flags, KeySpec, find_command};

/// COMMAND [COUNT|DOCS|GETKEYS|INFO|LIST ...]
pub(super) fn command(control: &mut Control<'_>, args: &[&[u8]]) -> Verdict {
    let Some(what) = args.get(1).copied() else {
        let mut answer = control.answer();
        answer.array(COMMANDS.len());
        for command in COMMANDS {
            describe(&mut answer, command);
        }
        return Ok(());
    };
    let rest = args.get(2..).unwrap_or_default();
    if is(what, "COUNT") && rest.is_empty() {
        control.answer().integer(COMMANDS.len() as i64);
    } else if is(what, "INFO") {
        let mut answer = control.answer();
        if rest.is_empty() {
            answer.array(COMMANDS.len());
            COMMANDS.iter().for_each(|command| describe(&mut answer, command));
        } else {
            answer.array(rest.len());
            for name in rest {
                match find_command(name) {
                    Some(command) => describe(&mut answer, command),
                    None => answer.null_array(),
                }
            }
        }
    } else if is(what, "DOCS") {
        let found: Vec<&Command> = if rest.is_empty() {
            COMMANDS.iter().collect()
        } else {
            rest.iter().filter_map(|name| find_command(name)).collect()
        };
        let mut answer = control.answer();
        answer.map(found.len());
        for command in found {
            document(&mut answer, command);
        }
    } else if is(what, "LIST") && rest.is_empty() {
        let mut answer = control.answer();
        answer.array(COMMANDS.len());
        COMMANDS.iter().for_each(|command| answer.bulk(command.name.to_lowercase().as_bytes()));
    } else if is(what, "GETKEYS") {
        get_keys(control, rest)?;
    } else if is(what, "HELP") {
        return help(control, "COMMAND");
    } else {
        return Err(unknown("COMMAND", args));
    }
    Ok(())
}

fn get_keys(control: &mut Control<'_>, rest: &[&[u8]]) -> Verdict {
    let command = rest
        .first()
        .and_then(|name| find_command(name))
        .ok_or(CommandError::new("Invalid command specified"))?;
    if !command.accepts(rest.len()) {
        return Err(CommandError::new("Invalid number of arguments specified for command"));
    }
    let mut keys = Vec::new();
    command.keys.for_each(rest, |key| keys.push(key));
    if keys.is_empty() {
        return Err(CommandError::new("The command has no key arguments"));
    }
    let mut answer = control.answer();
    answer.array(keys.len());
    keys.into_iter().for_each(|key| answer.bulk(key));
    Ok(())
}

fn flags(command: &Command) -> Vec<&'static str> {
    let known = [
        (Flags::WRITE, "write"),
        (Flags::READ, "readonly"),
        (Flags::ADMIN, "loading"),
        (Flags::BLOCKING, "blocking"),
        (Flags::NO_AUTH, "no_auth"),
        (Flags::NO_MULTI, "no_multi"),
    ];
    let mut names: Vec<_> = known
        .into_iter()
        .filter(|(flag, _)| command.flags.has(*flag))
        .map(|(_, name)| name)
        .collect();
    if command.keys == KeySpec::Streams {
        names.push("movablekeys");
    }
    names
}

/// The ten fields of COMMAND INFO.
fn describe(answer: &mut RespWriter<'_>, command: &Command) {
    answer.array(10);
    answer.bulk(command.name.to_lowercase().as_bytes());
    answer.integer(command.arity.into());
    let flags = flags(command);
    answer.array(flags.len());
    flags.into_iter().for_each(|flag| answer.simple(flag));
    let (first, last, step) = command.keys.positions();
    answer.integer(first);
    answer.integer(last);
    answer.integer(step);
    answer.array(1);
    answer.simple(&format!("@{}", command.group));
    // Tips, key specifications and subcommands: none.
    answer.array(0);
    answer.array(0);
    answer.array(0);
}

fn document(answer: &mut RespWriter<'_>, command: &Command) {
    answer.bulk(command.name.to_lowercase().as_bytes());
    answer.map(4);
    let syntax = format!("{} {}", command.name, command.syntax);
    for (field, value) in [
        ("summary", command.summary),
        ("since", "0.1.0"),
        ("group", command.group),
        ("syntax", syntax.trim_end()),
    ] {
        answer.bulk(field.as_bytes());
        answer.bulk(value.as_bytes());
    }
}
