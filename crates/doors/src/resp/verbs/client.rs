//! CLIENT: who is connected.

use super::{Control, Verdict, help, is, text, unknown};
use crate::resp::connection::Replies;
use crate::shared::Client;
use std::fmt::Write;
use std::sync::atomic::Ordering;
use thalweg_machine::{Answer, CommandError, parse_i64};

pub(super) fn check_name(name: &[u8]) -> Verdict {
    if name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Ok(());
    }
    Err(CommandError::new("Client names cannot contain spaces, newlines or special characters."))
}

/// CLIENT ID|INFO|LIST|GETNAME|SETNAME|SETINFO|KILL|NO-EVICT|NO-TOUCH|REPLY ...
pub(super) fn client(control: &mut Control<'_>, args: &[&[u8]]) -> Verdict {
    let what = args.get(1).copied().unwrap_or_default();
    match args.get(2..).unwrap_or_default() {
        [] if is(what, "ID") => {
            let id = control.peer.client.id;
            control.answer().integer(id as i64);
        }
        [] if is(what, "GETNAME") => {
            let name = control.peer.client.name.lock().clone();
            if name.is_empty() { control.answer().null() } else { control.answer().bulk(&name) }
        }
        [name] if is(what, "SETNAME") => {
            check_name(name)?;
            *control.peer.client.name.lock() = name.to_vec();
            control.answer().ok();
        }
        [field, value] if is(what, "SETINFO") => set_info(control, field, value)?,
        [] if is(what, "INFO") => {
            let mut line = String::new();
            describe(&control.peer.client, control.now_ms, &mut line);
            control.answer().verbatim(&line);
        }
        rest if is(what, "LIST") => {
            let list = list(control, rest)?;
            control.answer().verbatim(&list);
        }
        [mode] if is(what, "REPLY") => set_replies(control, mode)?,
        [mode] if is(what, "NO-EVICT") || is(what, "NO-TOUCH") => {
            if !is(mode, "ON") && !is(mode, "OFF") {
                return Err(CommandError::SYNTAX);
            }
            control.answer().ok();
        }
        rest if is(what, "KILL") => kill(control, rest)?,
        [] if is(what, "HELP") => return help(control, "CLIENT"),
        _ => return Err(unknown("CLIENT", args)),
    }
    Ok(())
}

/// CLIENT SETINFO LIB-NAME|LIB-VER value
fn set_info(control: &mut Control<'_>, field: &[u8], value: &[u8]) -> Verdict {
    check_name(value)?;
    let mut library = control.peer.client.library.lock();
    if is(field, "LIB-NAME") {
        library.0 = value.to_vec();
    } else if is(field, "LIB-VER") {
        library.1 = value.to_vec();
    } else {
        return Err(CommandError::text(format!("Unrecognized option '{}'", text(field))));
    }
    drop(library);
    control.answer().ok();
    Ok(())
}

/// CLIENT REPLY ON|OFF|SKIP
fn set_replies(control: &mut Control<'_>, mode: &[u8]) -> Verdict {
    if is(mode, "ON") {
        control.peer.replies = Replies::On;
        control.answer().ok();
    } else if is(mode, "OFF") {
        control.peer.replies = Replies::Off;
    } else if is(mode, "SKIP") {
        control.peer.replies = Replies::SkipNext;
    } else {
        return Err(CommandError::SYNTAX);
    }
    Ok(())
}

fn list(control: &Control<'_>, rest: &[&[u8]]) -> Result<String, CommandError> {
    let mut listening = None;
    let ids: Option<Vec<u64>> = match rest {
        [] => None,
        [word, kind] if is(word, "TYPE") => {
            listening = Some(is(kind, "PUBSUB"));
            if is(kind, "NORMAL") || is(kind, "PUBSUB") { None } else { Some(Vec::new()) }
        }
        [word, ids @ ..] if is(word, "ID") => Some(
            ids.iter()
                .map(|id| parse_i64(id).and_then(|id| u64::try_from(id).ok()))
                .collect::<Option<_>>()
                .ok_or(CommandError::new("Invalid client ID"))?,
        ),
        _ => return Err(CommandError::SYNTAX),
    };
    let mut clients: Vec<_> = control.shared.clients.lock().values().cloned().collect();
    clients.sort_by_key(|client| client.id);
    let mut out = String::new();
    for client in clients {
        if ids.as_ref().is_none_or(|ids| ids.contains(&client.id))
            && listening.is_none_or(|listening| listening == client.listens())
        {
            describe(&client, control.now_ms, &mut out);
        }
    }
    Ok(out)
}

fn describe(client: &Client, now_ms: u64, out: &mut String) {
    let library = client.library.lock();
    let [channels, patterns, shards] =
        client.subscriptions.each_ref().map(|count| count.load(Ordering::Relaxed));
    let listens = client.listens();
    // Writing to a string cannot fail.
    let _infallible = writeln!(
        out,
        "id={} addr={} laddr={} fd=-1 name={} age={} idle={} flags={} db=0 sub={} psub={} ssub={} \
         multi=-1 cmd={} user=default \
         resp={} lib-name={} lib-ver={}",
        client.id,
        client.address,
        client.local,
        text(&client.name.lock()),
        now_ms.saturating_sub(client.since_ms) / 1_000,
        now_ms.saturating_sub(client.last_ms.load(Ordering::Relaxed)) / 1_000,
        if listens { 'P' } else { 'N' },
        channels,
        patterns,
        shards,
        client.last_command.lock().to_lowercase(),
        client.protocol.load(Ordering::Relaxed),
        text(&library.0),
        text(&library.1),
    );
}

/// CLIENT KILL address | ID id | ADDR address [SKIPME yes|no]
fn kill(control: &mut Control<'_>, rest: &[&[u8]]) -> Verdict {
    let old_form = rest.len() == 1;
    let (mut id, mut address, mut skip_me) = (None, None, true);
    if let [given] = rest {
        address = Some(text(given));
        skip_me = false;
    }
    let mut pairs = if old_form { &[][..] } else { rest };
    while let [word, value, after @ ..] = pairs {
        if is(word, "ID") {
            id = Some(
                parse_i64(value).ok_or(CommandError::new("client-id should be greater than 0"))?,
            );
        } else if is(word, "ADDR") {
            address = Some(text(value));
        } else if is(word, "SKIPME") {
            skip_me = is(value, "yes");
        } else {
            return Err(CommandError::SYNTAX);
        }
        pairs = after;
    }
    if !pairs.is_empty() || (rest.is_empty()) {
        return Err(CommandError::SYNTAX);
    }
    let me = control.peer.client.id;
    let mut killed = 0;
    for client in control.shared.clients.lock().values() {
        let wanted = id.is_none_or(|id| client.id as i64 == id)
            && address.as_ref().is_none_or(|address| client.address == *address)
            && !(skip_me && client.id == me);
        if wanted {
            killed += 1;
            if client.id == me {
                control.close = true;
            } else {
                client.killed.store(true, Ordering::Relaxed);
                (client.wake)();
            }
        }
    }
    match (old_form, killed) {
        (true, 0) => return Err(CommandError::new("No such client")),
        (true, _) => control.answer().ok(),
        (false, count) => control.answer().integer(count),
    }
    Ok(())
}
