//! Commands about the connection itself.

use super::{Control, Verdict, is, text};
use crate::resp::connection::Replies;
use crate::resp::encode::RespWriter;
use crate::shared::same_secret;
use std::sync::atomic::Ordering;
use thalweg_machine::{Answer, CommandError, Flags, find_command, push_i64};

const WRONG_PASSWORD: CommandError =
    CommandError::coded("WRONGPASS", "invalid username-password pair or user is disabled.");

/// Whether a command may run before authentication.
pub(in crate::resp) fn allowed_unauthenticated(args: &[&[u8]]) -> bool {
    args.first()
        .and_then(|name| find_command(name))
        .is_some_and(|command| command.flags.has(Flags::NO_AUTH))
}

/// AUTH [username] password
pub(super) fn auth(control: &mut Control<'_>, args: &[&[u8]]) -> Verdict {
    match *args {
        [_, password] => authenticate(control, b"default", password)?,
        [_, user, password] => authenticate(control, user, password)?,
        _ => return Err(CommandError::SYNTAX),
    }
    control.answer().ok();
    Ok(())
}

fn authenticate(control: &mut Control<'_>, user: &[u8], password: &[u8]) -> Verdict {
    let settings = control.shared.settings();
    let Some(expected) = &settings.password else {
        if user == b"default" {
            return Err(CommandError::new(
                "AUTH <password> called without any password configured for the default user. Are \
                 you sure your configuration is correct?",
            ));
        }
        return Err(WRONG_PASSWORD);
    };
    // Both are looked at, so that time does not tell which was wrong.
    let right = same_secret(password, expected.as_bytes()) & (user == b"default");
    if !right {
        return Err(WRONG_PASSWORD);
    }
    control.peer.authenticated = true;
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
    if !control.peer.authenticated {
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
    control.peer.authenticated = control.shared.settings().password.is_none();
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
