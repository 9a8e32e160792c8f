//! Running what a connection has sent: parse, execute, render, command by command.

use super::super::connection::{Connection, Replies, Stretch};
use super::super::encode::RespWriter;
use super::super::parse::{Found, FrameLimits, Parser};
use super::super::verbs::{self, Control};
use super::{EventLoop, READ_BYTES};
use smallvec::SmallVec;
use std::io::ErrorKind;
use std::sync::atomic::Ordering;
use std::time::Instant;
use thalweg_listen::Rights;
use thalweg_machine::{Answer, Command, CommandError, DoorVerb, Flags, find_command};
use thalweg_node::{DoorPart, Executed, Gates};

/// From so many commands at once on, a connection's work is bulk.
const BULK_COMMANDS: u64 = 8;
/// Fetching fewer keys than this ahead costs more than it saves.
const PREFETCH_MIN_KEYS: usize = 4;
/// How far ahead keys are fetched.
pub(super) const PREFETCH_COMMANDS: usize = 32;

impl EventLoop {
    /// Reads once and runs what is complete. False: the connection is broken.
    pub(super) fn read(&mut self, token: u64, connection: &mut Connection) -> bool {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut opened = std::mem::take(&mut self.opened);
        let outcome = connection.transport.read(&mut scratch, &mut opened);
        let alive = match outcome {
            Ok([]) => {
                connection.ended = true;
                true
            }
            Ok(fresh) => {
                self.stats.received_bytes.fetch_add(fresh.len() as u64, Ordering::Relaxed);
                connection.active_us = self.now_us;
                connection.peer.client.last_ms.store(self.now_ms, Ordering::Relaxed);
                if connection.input.is_empty() {
                    let used = self.process(token, connection, fresh);
                    connection.input.extend_from_slice(fresh.get(used..).unwrap_or_default());
                } else {
                    connection.input.extend_from_slice(fresh);
                    self.process_input(token, connection);
                }
                connection.ended |= connection.transport.has_ended();
                true
            }
            Err(error) => self.goes_on_after(&error),
        };
        self.scratch = scratch;
        self.opened = opened;
        alive
    }

    fn goes_on_after(&self, error: &std::io::Error) -> bool {
        if error.kind() == ErrorKind::InvalidData {
            // What should have been TLS is none.
            self.shared.stats.protocol_errors.fetch_add(1, Ordering::Relaxed);
        }
        matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
    }

    /// Runs what is complete in the connection's own buffer.
    pub(super) fn process_input(&mut self, token: u64, connection: &mut Connection) {
        let mut input = std::mem::take(&mut connection.input);
        let used = self.process(token, connection, &input);
        if used == input.len() {
            input.clear();
            input.shrink_to(0);
        } else {
            input.drain(..used);
        }
        connection.input = input;
    }

    /// Runs complete commands; says how many bytes they were.
    pub(super) fn process(
        &mut self,
        token: u64,
        connection: &mut Connection,
        bytes: &[u8],
    ) -> usize {
        let (mut used, mut commands, mut gates) = (0, 0u64, Gates::NONE);
        let before = connection.output.bytes.len();
        let mut parser = std::mem::take(&mut connection.parser);
        let mut fetched = 0;
        while connection.is_ready()
            && !connection.closing
            && connection.output.unsent() <= self.settings.output_max_bytes
        {
            let rest = bytes.get(used..).unwrap_or_default();
            let limits = connection.limits(&self.settings);
            match parser.parse(rest, &limits) {
                Ok(Found::Incomplete) => break,
                Ok(Found::Nothing(count)) => used += count,
                Ok(Found::Command(count)) => {
                    let args: SmallVec<[&[u8]; 16]> = parser.args(rest).collect();
                    let behind = rest.get(count..).unwrap_or_default();
                    if used >= fetched && !behind.is_empty() {
                        fetched = used + self.prefetch(rest, &limits);
                    }
                    gates.join(&self.run_command(token, connection, &args, behind));
                    used += count;
                    commands += 1;
                }
                Err(error) => {
                    self.shared.stats.protocol_errors.fetch_add(1, Ordering::Relaxed);
                    let error = CommandError::text(format!("Protocol error: {}", error.0));
                    let resp3 = connection.peer.resp3;
                    RespWriter::new(&mut connection.output.bytes, resp3).error(&error);
                    connection.closing = true;
                    used = bytes.len();
                }
            }
        }
        if parser.memory_bytes() > READ_BYTES {
            parser.shrink();
        }
        connection.parser = parser;
        connection.bulk = commands >= BULK_COMMANDS;
        self.stats.commands.fetch_add(commands, Ordering::Relaxed);
        self.note_output(connection, before, gates, commands);
        used
    }

    /// Looks ahead at a pipeline and fetches the memory of its keys; says how far it looked.
    pub(super) fn prefetch(&mut self, bytes: &[u8], limits: &FrameLimits) -> usize {
        let mut parser = std::mem::take(&mut self.lookahead);
        let mut keys: SmallVec<[&[u8]; PREFETCH_COMMANDS]> = SmallVec::new();
        let mut at = 0;
        while keys.len() < PREFETCH_COMMANDS {
            let rest = bytes.get(at..).unwrap_or_default();
            let Ok(Found::Command(count)) = parser.parse(rest, limits) else {
                // The last one is not complete, or not a command: its turn will come.
                parser = Parser::default();
                at = bytes.len();
                break;
            };
            // Nearly all commands have their key here; for others it costs a fetch in vain.
            keys.extend(parser.first_argument(rest));
            at += count;
        }
        self.lookahead = parser;
        if keys.len() >= PREFETCH_MIN_KEYS {
            self.shared.engine.prefetch(&keys);
        }
        at
    }

    /// Makes new output ready to leave, or lets it wait for the gate.
    pub(super) fn note_output(
        &mut self,
        connection: &mut Connection,
        before: usize,
        gates: Gates,
        commands: u64,
    ) {
        let output = &mut connection.output;
        let end = output.bytes.len();
        if end == before {
            return;
        }
        if output.gated.is_empty() && self.shared.engine.is_settled(&gates) {
            output.ready = end;
            self.record(commands, self.now_us);
        } else {
            output.gated.push_back(Stretch { end, gates, commands, since_us: self.now_us });
        }
    }

    pub(super) fn record(&self, commands: u64, since_us: u64) {
        let now_us = self.started.elapsed().as_micros() as u64;
        self.stats.record(now_us - since_us, commands);
    }

    /// Runs one command; gives the gates that its reply waits for.
    pub(super) fn run_command(
        &mut self,
        token: u64,
        connection: &mut Connection,
        args: &[&[u8]],
        behind: &[u8],
    ) -> Gates {
        let mark = connection.output.bytes.len();
        let command = args.first().and_then(|name| find_command(name));
        let timed = (!is_quick(command, args)).then(Instant::now);
        let mut gates = Gates::NONE;
        if !connection.peer.identity.may(Rights::ALL)
            && let Some(error) = verbs::refused_for_rights(&connection.peer.identity, command)
        {
            let resp3 = connection.peer.resp3;
            RespWriter::new(&mut connection.output.bytes, resp3).error(&error);
        } else if let Some(error) = verbs::refused_while_listening(&connection.peer, args) {
            connection.session.break_transaction();
            RespWriter::new(&mut connection.output.bytes, false).error(&error);
        } else {
            let output = &mut connection.output;
            let resp3 = connection.peer.resp3;
            let mut writer = RespWriter::within(&mut output.bytes, resp3, &mut output.space);
            let engine = &self.shared.engine;
            let session = &mut connection.session;
            let executed = engine.execute_found(session, command, args, self.now_ms, &mut writer);
            let places = writer.finish(mark);
            match executed {
                Executed::Done(part, depends) => {
                    gates = depends;
                    match part {
                        DoorPart::None => {}
                        DoorPart::Whole { verb, .. } => self.run_verb(connection, verb, args),
                        DoorPart::Within(doors) => {
                            self.run_in_places(connection, &places, &doors);
                        }
                    }
                }
                Executed::Suspended(wait) => {
                    connection.output.bytes.truncate(mark);
                    let args = args.iter().map(|arg| arg.to_vec()).collect();
                    gates = self.suspend(token, connection, args, wait, behind);
                }
            }
        }
        if let Some(started) = timed {
            self.after_timed(connection, args, started);
        }
        if connection.is_ready() {
            self.apply_reply_mode(connection, mark);
        }
        gates
    }

    fn run_verb(&self, connection: &mut Connection, verb: DoorVerb, args: &[&[u8]]) {
        let mut control = Control {
            shared: &self.shared,
            session: &mut connection.session,
            peer: &mut connection.peer,
            out: &mut connection.output.bytes,
            now_ms: self.now_ms,
            close: false,
        };
        verbs::run(&mut control, verb, args);
        connection.closing |= control.close;
    }

    /// Runs the door's own commands of a transaction and puts their replies among the others.
    fn run_in_places(
        &self,
        connection: &mut Connection,
        places: &[usize],
        doors: &[(DoorVerb, Vec<Vec<u8>>)],
    ) {
        let Some(&first) = places.first() else { return };
        let others = connection.output.bytes.split_off(first.min(connection.output.bytes.len()));
        let ends = places.iter().skip(1).copied().chain([first + others.len()]);
        for (((verb, args), &place), end) in doors.iter().zip(places).zip(ends) {
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            self.run_verb(connection, *verb, &args);
            let between = others.get(place - first..end - first).unwrap_or_default();
            connection.output.bytes.extend_from_slice(between);
        }
    }

    pub(super) fn after_timed(&self, connection: &Connection, args: &[&[u8]], started: Instant) {
        let took_us = started.elapsed().as_micros() as u64;
        if let Some(command) = args.first().and_then(|name| find_command(name)) {
            *connection.peer.client.last_command.lock() = command.name;
        }
        if took_us >= self.settings.slow_us {
            let client = &connection.peer.client;
            let name = client.name.lock().clone();
            let address = &client.address;
            self.shared.slow_log.lock().add(self.now_ms, took_us, args, address, &name);
        }
    }

    pub(super) fn apply_reply_mode(&self, connection: &mut Connection, mark: usize) {
        match connection.peer.replies {
            Replies::On => return,
            Replies::Off => {}
            Replies::SkipNext => connection.peer.replies = Replies::SkipThis,
            Replies::SkipThis => connection.peer.replies = Replies::On,
        }
        connection.output.bytes.truncate(mark);
    }
}

/// Commands that are over at once: timing each would cost more than running it. Those that may give
/// up or copy a large value are timed, though clients know them as fast.
fn is_quick(command: Option<&Command>, args: &[&[u8]]) -> bool {
    command.is_some_and(|command| {
        args.len() <= 3
            && command.flags.has_any(Flags::FAST.and(Flags::UNTIMED))
            && !command.flags.has_any(Flags::SHRINKS.and(Flags::COPIES))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quick_is_in_the_table_of_commands() {
        for (line, quick) in [
            ("GET k", true),
            ("SET k v", true),
            ("SET k v EX 10", false),
            ("INCR k", true),
            ("EXISTS k", true),
            ("STRLEN k", true),
            ("PING", true),
            ("KEYS *", false),
            ("SCAN 0", false),
            ("EXEC", false),
            ("INFO", false),
            ("DEL k", false),
            ("UNLINK k", false),
            ("COPY a b", false),
            ("RENAMENX a b", false),
            ("MGET a b c", false),
            ("SETS k", false),
        ] {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            assert_eq!(is_quick(find_command(args[0]), &args), quick, "{line}");
        }
    }
}
