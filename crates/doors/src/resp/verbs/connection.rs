//! Commands about the connection itself.

use super::{Control, Verdict, is, text};
use crate::resp::connection::Replies;
use crate::resp::encode::RespWriter;
use std::sync::atomic::Ordering;
use thalweg_listen::{DEFAULT_USER, Identity, Rights};
use thalweg_machine::{Answer, Command, CommandError, DoorVerb, Flags, Run, push_i64};

const WRONG_PASSWORD: CommandError =
    CommandError::coded("WRONGPASS", "invalid username-password pair or user is disabled.");

/// What is said to somebody who may not run a command; nothing where it may. What is no command is
/// nobody's secret, but whoever has not said who it is learns nothing.
pub(in crate::resp) fn refused_for_rights(
    identity: &Identity,
    command: Option<&Command>,
) -> Option<CommandError> {
    if command.is_some_and(|command| command.flags.has(Flags::NO_AUTH)) {
        return None;
    }
    if identity.is_nobody() {
        return Some(CommandError::coded("NOAUTH", "Authentication required."));
    }
    let command = command.filter(|command| !identity.may(needed(command)))?;
    let (user, name) = (identity.name(), command.name.to_lowercase());
    let what = format!("User {user} has no permissions to run the '{name}' command");
    Some(CommandError::coded_text("NOPERM", what))
}

/// The rights that a command needs besides that of being here.
fn needed(command: &Command) -> Rights {
    match command.run {
        Run::Door(DoorVerb::Config | DoorVerb::Latency | DoorVerb::SlowLog) => Rights::ADMIN,
        _ if command.flags.has(Flags::WRITE) => Rights::WRITE,
        _ if command.flags.has(Flags::READ) => Rights::READ,
        _ => Rights::NONE,
    }
}

/// AUTH [username] password
pub(super) fn auth(control: &mut Control<'_>, args: &[&[u8]]) -> Verdict {
    match *args {
        [_, password] => authenticate(control, DEFAULT_USER.as_bytes(), password)?,
        [_, user, password] => authenticate(control, user, password)?,
        _ => return Err(CommandError::SYNTAX),
    }
    control.answer().ok();
    Ok(())
}

fn authenticate(control: &mut Control<'_>, user: &[u8], password: &[u8]) -> Verdict {
    let users = &control.shared.access.users;
    if user == DEFAULT_USER.as_bytes() && users.password().is_none() {
        return Err(CommandError::new(
            "AUTH <password> called without any password configured for the default user. Are you \
             sure your configuration is correct?",
        ));
    }
    control.peer.identity = users.identify(user, password).ok_or(WRONG_PASSWORD)?;
    Ok(())
}

/// HELLO [protover [AUTH username password] [SETNAME clientname]]
pub(super) fn hello(control: &mut Control<'_>, args: &[&[u8]]) -> Verdict {
    let mut rest = args.get(1..).unwrap_or_default();
    let mut resp3 = control.peer.resp3;
    if let [version, after @ ..] = rest {
        resp3 = match *version {
            b"2" => false,
            b"3" => true,
            _ => return Err(CommandError::coded("NOPROTO", "unsupported protocol version")),
        };
        rest = after;
    }
    let name = hello_options(control, rest)?;
    if control.peer.identity.is_nobody() {
        return Err(CommandError::coded(
            "NOAUTH",
            "HELLO must be called with the client already authenticated, otherwise the HELLO \
             <proto> AUTH <user> <pass> option can be used to authenticate the client and select \
             the RESP protocol version at the same time",
        ));
    }
    if let Some(name) = name {
        *control.peer.client.name.lock() = name.to_vec();
    }
    control.peer.resp3 = resp3;
    control.peer.client.protocol.store(if resp3 { 3 } else { 2 }, Ordering::Relaxed);
    answer_hello(control);
    Ok(())
}

/// Authenticates where AUTH asks for it; gives the name of SETNAME, which is set only when all
/// else is right.
fn hello_options<'a>(
    control: &mut Control<'_>,
    mut rest: &[&'a [u8]],
) -> Result<Option<&'a [u8]>, CommandError> {
    let mut name = None;
    loop {
        match *rest {
            [] => return Ok(name),
            [word, user, password, ref after @ ..] if is(word, "AUTH") => {
                authenticate(control, user, password)?;
                rest = after;
            }
            [word, client_name, ref after @ ..] if is(word, "SETNAME") => {
                super::client::check_name(client_name)?;
                name = Some(client_name);
                rest = after;
            }
            [word, ..] => {
                return Err(CommandError::text(format!(
                    "Syntax error in HELLO option '{}'",
                    text(word)
                )));
            }
        }
    }
}

/// What the server is, in the protocol that was chosen.
fn answer_hello(control: &mut Control<'_>) {
    let id = control.peer.client.id as i64;
    let resp3 = control.peer.resp3;
    let mut answer = control.answer();
    answer.map(7);
    for (field, value) in [("server", "redis"), ("version", super::info::REDIS_VERSION)] {
        answer.bulk(field.as_bytes());
        answer.bulk(value.as_bytes());
    }
    answer.bulk(b"proto");
    answer.integer(if resp3 { 3 } else { 2 });
    answer.bulk(b"id");
    answer.integer(id);
    for (field, value) in [("mode", "standalone"), ("role", "master")] {
        answer.bulk(field.as_bytes());
        answer.bulk(value.as_bytes());
    }
    answer.bulk(b"modules");
    answer.array(0);
}

/// PING [message]
pub(super) fn ping(control: &mut Control<'_>, args: &[&[u8]]) -> Verdict {
    if control.peer.subscriptions.any() && !control.peer.resp3 {
        // Version 2 has no way to tell a reply from a message, but that both are arrays.
        let mut answer = control.answer();
        answer.array(2);
        answer.bulk(b"pong");
        answer.bulk(args.get(1).copied().unwrap_or_default());
        return Ok(());
    }
    match *args {
        [_] => control.answer().simple("PONG"),
        [_, message] => control.answer().bulk(message),
        _ => return Err(CommandError::arity("ping")),
    }
    Ok(())
}

/// ECHO message
pub(super) fn echo(control: &mut Control<'_>, args: &[&[u8]]) -> Verdict {
    control.answer().bulk(args.get(1).copied().unwrap_or_default());
    Ok(())
}

/// A command that changes nothing on this node.
pub(super) fn ok(control: &mut Control<'_>) -> Verdict {
    control.answer().ok();
    Ok(())
}

/// QUIT
pub(super) fn quit(control: &mut Control<'_>) -> Verdict {
    control.answer().ok();
    control.close = true;
    Ok(())
}

/// RESET
pub(super) fn reset(control: &mut Control<'_>) -> Verdict {
    control.shared.engine.unwatch_all(control.session);
    *control.session = thalweg_node::Session::default();
    control.peer.subscriptions.clear(control.shared.engine.channels());
    control.peer.subscriptions.show(&control.peer.client);
    control.peer.resp3 = false;
    control.peer.replies = Replies::On;
    control.peer.identity = control.shared.access.users.unnamed();
    control.peer.client.name.lock().clear();
    control.peer.client.protocol.store(2, Ordering::Relaxed);
    RespWriter::new(control.out, false).simple("RESET");
    Ok(())
}

/// SELECT index
pub(super) fn select(control: &mut Control<'_>, args: &[&[u8]]) -> Verdict {
    match args.get(1).copied() {
        Some(b"0") => {
            control.answer().ok();
            Ok(())
        }
        Some(index) if thalweg_machine::parse_i64(index).is_none() => {
            Err(CommandError::NOT_AN_INTEGER)
        }
        _ => Err(CommandError::new("DB index is out of range")),
    }
}

/// TIME
pub(super) fn time(control: &mut Control<'_>) -> Verdict {
    let now_ms = control.now_ms;
    let mut answer = control.answer();
    answer.array(2);
    for part in [now_ms / 1_000, now_ms % 1_000 * 1_000] {
        let mut digits = Vec::new();
        push_i64(&mut digits, part as i64);
        answer.bulk(&digits);
    }
    Ok(())
}

/// WAIT numreplicas timeout
pub(super) fn wait(control: &mut Control<'_>) -> Verdict {
    control.answer().integer(0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_machine::find_command;

    #[test]
    fn each_command_needs_its_right() {
        let reader = Identity::new("reader", Rights::READ);
        let writer = Identity::new("writer", Rights::READ.and(Rights::WRITE));
        let all = Identity::new("all", Rights::ALL);
        for (name, may) in [
            // Nobody, the reader, the writer, who may do everything.
            ("AUTH", [true, true, true, true]),
            ("HELLO", [true, true, true, true]),
            ("QUIT", [true, true, true, true]),
            ("RESET", [true, true, true, true]),
            ("PING", [false, true, true, true]),
            ("MULTI", [false, true, true, true]),
            ("NOSUCH", [false, true, true, true]),
            ("GET", [false, true, true, true]),
            ("XRANGE", [false, true, true, true]),
            ("SET", [false, false, true, true]),
            ("FLUSHALL", [false, false, true, true]),
            ("CONFIG", [false, false, false, true]),
            ("SLOWLOG", [false, false, false, true]),
        ] {
            let command = find_command(name.as_bytes());
            let identities = [&Identity::nobody(), &reader, &writer, &all];
            for (identity, may) in identities.into_iter().zip(may) {
                let refused = refused_for_rights(identity, command);
                assert_eq!(refused.is_none(), may, "{name} {}", identity.name());
                if let Some(error) = refused {
                    let code = if identity.is_nobody() { "NOAUTH" } else { "NOPERM" };
                    assert!(error.to_string().starts_with(code), "{error}");
                }
            }
        }
    }
}
