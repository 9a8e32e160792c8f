//! Commands about the connection and the server, a family a file.

mod client;
mod cluster;
mod command;
mod config;
mod connection;
mod info;
mod latency;
mod pubsub;
mod slowlog;

pub use config::{ConfigParameter, GetParameter, SetParameter};
pub(super) use connection::refused_for_rights;
pub(super) use pubsub::refused_while_listening;

use super::connection::Peer;
use super::encode::RespWriter;
use crate::shared::Shared;
use std::sync::Arc;
use thalweg_machine::{Answer, CommandError, DoorVerb};
use thalweg_node::{Scope, Session};

/// What a verb sees and changes.
pub(super) struct Control<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) session: &'a mut Session,
    pub(super) peer: &'a mut Peer,
    pub(super) out: &'a mut Vec<u8>,
    pub(super) now_ms: u64,
    pub(super) close: bool,
}

impl Control<'_> {
    fn answer(&mut self) -> RespWriter<'_> {
        RespWriter::new(self.out, self.peer.resp3)
    }
}

type Verdict = Result<(), CommandError>;

/// Runs a verb and writes its reply.
pub(super) fn run(control: &mut Control<'_>, verb: DoorVerb, args: &[&[u8]]) {
    let verdict = match verb {
        DoorVerb::Auth => connection::auth(control, args),
        DoorVerb::Client => client::client(control, args),
        DoorVerb::Cluster => cluster::cluster(control, args),
        DoorVerb::Command => command::command(control, args),
        DoorVerb::Config => config::config(control, args),
        DoorVerb::Echo => connection::echo(control, args),
        DoorVerb::Hello => connection::hello(control, args),
        DoorVerb::Info => info::info(control, args),
        DoorVerb::Latency => latency::latency(control, args),
        DoorVerb::Ping => connection::ping(control, args),
        DoorVerb::PSubscribe => pubsub::subscribe(control, Scope::Pattern, args),
        DoorVerb::PubSub => pubsub::pubsub(control, args),
        DoorVerb::PUnsubscribe => pubsub::unsubscribe(control, Scope::Pattern, args),
        DoorVerb::Quit => connection::quit(control),
        DoorVerb::ReadOnly => connection::ok(control),
        DoorVerb::Reset => connection::reset(control),
        DoorVerb::Select => connection::select(control, args),
        DoorVerb::SlowLog => slowlog::slowlog(control, args),
        DoorVerb::SSubscribe => pubsub::subscribe(control, Scope::Shard, args),
        DoorVerb::Subscribe => pubsub::subscribe(control, Scope::Channel, args),
        DoorVerb::SUnsubscribe => pubsub::unsubscribe(control, Scope::Shard, args),
        DoorVerb::Time => connection::time(control),
        DoorVerb::Unsubscribe => pubsub::unsubscribe(control, Scope::Channel, args),
        DoorVerb::Wait => connection::wait(control),
    };
    if let Err(error) = verdict {
        control.answer().error(&error);
    }
}

fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

fn text(arg: &[u8]) -> String {
    String::from_utf8_lossy(arg).into_owned()
}

fn unknown(command: &str, args: &[&[u8]]) -> CommandError {
    let what = text(args.get(1).copied().unwrap_or_default());
    CommandError::text(format!(
        "unknown subcommand or wrong number of arguments for '{what}'. Try {command} HELP."
    ))
}

/// HELP of a container command: its syntax from the one table.
fn help(control: &mut Control<'_>, name: &str) -> Verdict {
    let syntax =
        thalweg_machine::find_command(name.as_bytes()).map_or("", |command| command.syntax);
    let mut answer = control.answer();
    answer.array(2);
    answer.simple(&format!("{name} <subcommand> [<arg> ...]. Subcommands are:"));
    answer.simple(syntax);
    Ok(())
}
