//! SUBSCRIBE and its like: listening to channels. (PUBLISH is the node's, because a transaction may
//! contain it.)

use super::super::connection::Peer;
use super::super::subscriptions::SUBSCRIPTIONS_MAX;
use super::{Control, Verdict, help, is, unknown};
use thalweg_machine::{Answer, CommandError, DoorVerb, Run, find_command, glob_matches};
use thalweg_node::Scope;

/// What replies call it.
fn kind(scope: Scope, on: bool) -> &'static [u8] {
    match (scope, on) {
        (Scope::Channel, true) => b"subscribe",
        (Scope::Channel, false) => b"unsubscribe",
        (Scope::Pattern, true) => b"psubscribe",
        (Scope::Pattern, false) => b"punsubscribe",
        (Scope::Shard, true) => b"ssubscribe",
        (Scope::Shard, false) => b"sunsubscribe",
    }
}

/// The refusal of what version 2 of the protocol has no room for while a connection listens.
pub(in crate::resp) fn refused_while_listening(
    peer: &Peer,
    args: &[&[u8]],
) -> Option<CommandError> {
    if !peer.subscriptions.any() || peer.resp3 {
        return None;
    }
    let name = args.first()?;
    // What is not in the table is refused with its own words.
    let command = find_command(name)?;
    let allowed = matches!(
        command.run,
        Run::Door(
            DoorVerb::Subscribe
                | DoorVerb::PSubscribe
                | DoorVerb::SSubscribe
                | DoorVerb::Unsubscribe
                | DoorVerb::PUnsubscribe
                | DoorVerb::SUnsubscribe
                | DoorVerb::Ping
                | DoorVerb::Quit
                | DoorVerb::Reset
        )
    );
    (!allowed).then(|| {
        CommandError::text(format!(
            "Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are \
             allowed in this context",
            command.name.to_lowercase()
        ))
    })
}

fn confirm(control: &mut Control<'_>, scope: Scope, on: bool, name: Option<&[u8]>) {
    let count = control.peer.subscriptions.count(scope);
    let mut answer = control.answer();
    answer.push(3);
    answer.bulk(kind(scope, on));
    match name {
        Some(name) => answer.bulk(name),
        None => answer.null(),
    }
    answer.integer(count as i64);
}

/// SUBSCRIBE channel [channel ...]
pub(super) fn subscribe(control: &mut Control<'_>, scope: Scope, args: &[&[u8]]) -> Verdict {
    let verdict = subscribe_each(control, scope, args);
    control.peer.subscriptions.show(&control.peer.client);
    verdict
}

fn subscribe_each(control: &mut Control<'_>, scope: Scope, args: &[&[u8]]) -> Verdict {
    for name in args.iter().skip(1) {
        if control.peer.subscriptions.is_full() {
            return Err(CommandError::text(format!(
                "a connection listens to {SUBSCRIPTIONS_MAX} channels at most"
            )));
        }
        let engine = &control.shared.engine;
        control.peer.subscriptions.add(engine.channels(), scope, name);
        if scope == Scope::Channel {
            let shared = std::sync::Arc::downgrade(control.shared);
            let keys_of = move |stream: &str| shared.upgrade()?.sql.get()?.partition_keys(stream);
            if let Err(error) = control.shared.feeds.follow(engine, name, keys_of) {
                control.peer.subscriptions.remove(engine.channels(), scope, name);
                return Err(error);
            }
        }
        confirm(control, scope, true, Some(name));
    }
    Ok(())
}

/// UNSUBSCRIBE [channel ...]
pub(super) fn unsubscribe(control: &mut Control<'_>, scope: Scope, args: &[&[u8]]) -> Verdict {
    let all;
    let mut names = args.get(1..).unwrap_or_default().to_vec();
    if names.is_empty() {
        all = control.peer.subscriptions.names(scope);
        names = all.iter().map(Vec::as_slice).collect();
    }
    if names.is_empty() {
        confirm(control, scope, false, None);
        return Ok(());
    }
    for name in names {
        control.peer.subscriptions.remove(control.shared.engine.channels(), scope, name);
        confirm(control, scope, false, Some(name));
    }
    control.peer.subscriptions.show(&control.peer.client);
    Ok(())
}

/// PUBSUB CHANNELS|NUMPAT|NUMSUB|SHARDCHANNELS|SHARDNUMSUB ...
pub(super) fn pubsub(control: &mut Control<'_>, args: &[&[u8]]) -> Verdict {
    let what = args.get(1).copied().unwrap_or_default();
    let channels = control.shared.engine.channels();
    let scope = if is(what, "SHARDCHANNELS") || is(what, "SHARDNUMSUB") {
        Scope::Shard
    } else {
        Scope::Channel
    };
    match args.get(2..).unwrap_or_default() {
        [] if is(what, "NUMPAT") => {
            let count = channels.names(Scope::Pattern).len();
            control.answer().integer(count as i64);
        }
        rest @ ([] | [_]) if is(what, "CHANNELS") || is(what, "SHARDCHANNELS") => {
            let mut names = channels.names(scope);
            names.retain(|name| rest.first().is_none_or(|pattern| glob_matches(pattern, name)));
            let mut answer = control.answer();
            answer.array(names.len());
            names.iter().for_each(|name| answer.bulk(name));
        }
        names if is(what, "NUMSUB") || is(what, "SHARDNUMSUB") => {
            let counts: Vec<usize> =
                names.iter().map(|name| channels.listener_count(scope, name)).collect();
            let mut answer = control.answer();
            answer.array(names.len() * 2);
            for (name, count) in names.iter().zip(counts) {
                answer.bulk(name);
                answer.integer(count as i64);
            }
        }
        [] if is(what, "HELP") => return help(control, "PUBSUB"),
        _ => return Err(unknown("PUBSUB", args)),
    }
    Ok(())
}
