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
        return Err(CommandError::new(match command.keys {
            KeySpec::None => "The command has no key arguments",
            KeySpec::Range(..) | KeySpec::Streams | KeySpec::Counted { .. } => {
                "Invalid arguments specified for command"
            }
        }));
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
        (Flags::FAST, "fast"),
    ];
    let mut names: Vec<_> = known
        .into_iter()
        .filter(|(flag, _)| command.flags.has(*flag))
        .map(|(_, name)| name)
        .collect();
    if command.keys.is_movable() {
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
    // Tips: none.
    answer.array(0);
    key_specifications(answer, command);
    // Subcommands: none.
    answer.array(0);
}

/// Where keys are, in the words of Redis: how to find where they begin, and how many there are.
fn key_specifications(answer: &mut RespWriter<'_>, command: &Command) {
    let range = |last: i64, step: i64, limit| {
        ("range", vec![("lastkey", last), ("keystep", step), ("limit", limit)])
    };
    match command.keys {
        KeySpec::None => answer.array(0),
        KeySpec::Range(first, last, step) => {
            answer.array(1);
            // A positive last index is told from the first one on.
            let last = if last < 0 { last } else { last - first };
            specification(answer, command, Begin::At(first), range(last.into(), step.into(), 0));
        }
        KeySpec::Streams => {
            answer.array(1);
            // The second half of what follows is IDs.
            specification(answer, command, Begin::After("STREAMS"), range(-1, 1, 2));
        }
        KeySpec::Counted { number_at, target_at } => {
            answer.array(1 + usize::from(target_at.is_some()));
            if let Some(at) = target_at {
                specification(answer, command, Begin::At(at.into()), range(0, 1, 0));
            }
            let count = vec![("keynumidx", 0), ("firstkey", 1), ("keystep", 1)];
            specification(answer, command, Begin::At(number_at.into()), ("keynum", count));
        }
    }
}

enum Begin {
    At(i16),
    After(&'static str),
}

fn specification(
    answer: &mut RespWriter<'_>,
    command: &Command,
    begin: Begin,
    (kind, numbers): (&str, Vec<(&str, i64)>),
) {
    answer.map(3);
    answer.bulk(b"flags");
    answer.array(1);
    answer.simple(if command.flags.has(Flags::WRITE) { "RW" } else { "RO" });
    answer.bulk(b"begin_search");
    answer.map(2);
    answer.bulk(b"type");
    match begin {
        Begin::At(index) => {
            answer.bulk(b"index");
            answer.bulk(b"spec");
            answer.map(1);
            answer.bulk(b"index");
            answer.integer(index.into());
        }
        Begin::After(keyword) => {
            answer.bulk(b"keyword");
            answer.bulk(b"spec");
            answer.map(2);
            answer.bulk(b"keyword");
            answer.bulk(keyword.as_bytes());
            answer.bulk(b"startfrom");
            answer.integer(1);
        }
    }
    answer.bulk(b"find_keys");
    answer.map(2);
    answer.bulk(b"type");
    answer.bulk(kind.as_bytes());
    answer.bulk(b"spec");
    answer.map(numbers.len());
    for (name, number) in numbers {
        answer.bulk(name.as_bytes());
        answer.integer(number);
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_machine::{DoorVerb, Run};

    /// A command that counts its keys, which the table may not have yet.
    fn counting(number_at: u8, target_at: Option<u8>) -> Command {
        Command {
            name: "COUNTING",
            arity: -3,
            flags: Flags::WRITE.and(Flags::FAST),
            keys: KeySpec::Counted { number_at, target_at },
            group: "keys",
            syntax: "[target] numkeys key [key ...]",
            summary: "Counts its keys",
            run: Run::Door(DoorVerb::Echo),
        }
    }

    fn described(command: &Command) -> String {
        let mut out = Vec::new();
        describe(&mut RespWriter::new(&mut out, true), command);
        String::from_utf8(out).expect("text").replace("\r\n", " ")
    }

    #[test]
    fn counted_keys_are_described_as_redis_describes_them() {
        let text = described(&counting(2, None));
        assert!(text.starts_with("*10 $8 counting :-3 *3 +write +fast +movablekeys :0 :0 :0 "));
        let keynum = "$9 find_keys %2 $4 type $6 keynum $4 spec %3 $9 keynumidx :0 $8 firstkey :1 \
                      $7 keystep :1 ";
        let begin = |index: u8| {
            format!("$12 begin_search %2 $4 type $5 index $4 spec %1 $5 index :{index} ")
        };
        let tail = format!("*1 %3 $5 flags *1 +RW {}{keynum}*0 ", begin(2));
        assert!(text.ends_with(&tail), "{text}");

        let text = described(&counting(2, Some(1)));
        assert!(text.contains(" +movablekeys :1 :1 :1 "), "{text}");
        let range = "$9 find_keys %2 $4 type $5 range $4 spec %3 $7 lastkey :0 $7 keystep :1 $5 \
                     limit :0 ";
        let flags = "%3 $5 flags *1 +RW ";
        let tail = format!("*2 {flags}{}{range}{flags}{}{keynum}*0 ", begin(1), begin(2));
        assert!(text.ends_with(&tail), "{text}");
    }

    #[test]
    fn commands_of_the_table_are_described() {
        let about = |name: &str| described(find_command(name.as_bytes()).expect("a command"));
        let get = about("GET");
        assert!(get.starts_with("*10 $3 get :2 *2 +readonly +fast :1 :1 :1 "), "{get}");
        assert!(get.contains("$7 lastkey :0 $7 keystep :1 $5 limit :0"), "{get}");
        assert!(about("SET").starts_with("*10 $3 set :-3 *1 +write :1 :1 :1 "));
        assert!(about("MSET").contains(":1 :-1 :2 "));
        assert!(about("MSET").contains("$7 lastkey :-1 $7 keystep :2 "));
        assert!(about("RENAME").contains("$7 lastkey :1 $7 keystep :1 "));
        let xread = about("XREAD");
        assert!(xread.contains("*3 +readonly +blocking +movablekeys :0 :0 :0 "), "{xread}");
        assert!(xread.contains("$7 keyword $7 STREAMS $9 startfrom :1 "), "{xread}");
        assert!(xread.contains("$7 lastkey :-1 $7 keystep :1 $5 limit :2 "), "{xread}");
        assert!(about("PING").ends_with("*0 *0 *0 "));
    }
}
