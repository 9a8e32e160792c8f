//! Commands that wait: for keys from the store, for memory, for the log, or for a key to change.

use super::super::connection::{Connection, State};
use super::super::encode::RespWriter;
use super::super::parse::{Found, Parser};
use super::commands::PREFETCH_COMMANDS;
use super::{EventLoop, Message};
use smallvec::SmallVec;
use std::sync::Arc;
use thalweg_machine::Answer;
use thalweg_node::{Change, Executed, Gates, Provided, Wait, WaiterId, Wake};

impl EventLoop {
    /// Gets what a command waits for, and keys for those behind it, then runs it again. Meanwhile
    /// the others are served. Gives the gates of a reply that was there after all.
    pub(super) fn suspend(
        &mut self,
        token: u64,
        connection: &mut Connection,
        args: Vec<Vec<u8>>,
        mut wait: Wait,
        behind: &[u8],
    ) -> Gates {
        if let Wait::ColdKeys(keys) = &mut wait {
            self.find_cold_keys(connection, behind, keys);
        }
        let provided = self.shared.engine.provide(&wait, self.resuming(token));
        if let (Provided::Listening(waiter), Wait::Change(change)) = (provided, wait) {
            return self.block(token, connection, change, waiter);
        }
        connection.state = State::Suspended { args };
        if provided == Provided::Already {
            // Go on as soon as this connection is back in its slot.
            self.inbox.send(Message::Resume(token));
        }
        Gates::NONE
    }

    /// What lets a connection go on, from any thread.
    fn resuming(&self, token: u64) -> Wake {
        let inbox = self.inbox.clone();
        Arc::new(move || inbox.send(Message::Resume(token)))
    }

    /// Cold keys of the commands behind, so that a pipeline waits for the store once and not once a
    /// command.
    pub(super) fn find_cold_keys(
        &self,
        connection: &Connection,
        behind: &[u8],
        keys: &mut Vec<Vec<u8>>,
    ) {
        let (mut parser, mut at) = (Parser::default(), 0);
        let limits = connection.limits(&self.settings);
        for _ in 0..PREFETCH_COMMANDS {
            let rest = behind.get(at..).unwrap_or_default();
            match parser.parse(rest, &limits) {
                Ok(Found::Command(count)) => {
                    let args: SmallVec<[&[u8]; 16]> = parser.args(rest).collect();
                    self.shared.engine.add_cold_keys(&args, keys);
                    at += count;
                }
                Ok(Found::Nothing(count)) => at += count,
                Ok(Found::Incomplete) | Err(_) => return,
            }
        }
    }

    /// Looks once more, after the keys are listened to, and lets the connection wait.
    fn block(
        &mut self,
        token: u64,
        connection: &mut Connection,
        change: Change,
        waiter: WaiterId,
    ) -> Gates {
        let Change { keys, timeout_ms, args } = change;
        let deadline_us = (timeout_ms > 0)
            .then(|| self.started.elapsed().as_micros() as u64 + timeout_ms.saturating_mul(1_000));
        if let Some(deadline_us) = deadline_us {
            self.deadlines.insert((deadline_us, token));
        }
        connection.state = State::Blocked { args, keys, waiter, deadline_us };
        self.look_again(token, connection)
    }

    /// Goes on with a blocked command that was woken; gives the gates of its reply if there is one
    /// now.
    fn retry_blocked(&mut self, token: u64, connection: &mut Connection) -> Gates {
        let State::Blocked { keys, waiter, .. } = &connection.state else { return Gates::NONE };
        // Registered first, looked at second: a change in between wakes us. A waiter is spent when
        // it was woken.
        self.shared.engine.wait_for(*waiter, keys);
        self.look_again(token, connection)
    }

    /// Runs a blocked command again.
    fn look_again(&mut self, token: u64, connection: &mut Connection) -> Gates {
        let State::Blocked { args, waiter, .. } = &connection.state else { return Gates::NONE };
        let waiter = *waiter;
        let mark = connection.output.bytes.len();
        let borrowed: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let output = &mut connection.output;
        let resp3 = connection.peer.resp3;
        let mut writer = RespWriter::within(&mut output.bytes, resp3, &mut output.space);
        let engine = &self.shared.engine;
        let executed = engine.execute(&mut connection.session, &borrowed, self.now_ms, &mut writer);
        writer.finish(mark);
        match executed {
            Executed::Done(_, gates) => {
                self.stop_blocking(token, connection);
                gates
            }
            Executed::Suspended(Wait::Change(_)) => {
                connection.output.bytes.truncate(mark);
                engine.pass_turn(waiter);
                Gates::NONE
            }
            Executed::Suspended(wait) => {
                connection.output.bytes.truncate(mark);
                let args = args.clone();
                self.stop_blocking(token, connection);
                self.suspend(token, connection, args, wait, &[])
            }
        }
    }

    /// Goes on with a connection whose keys are there or have changed.
    pub(super) fn resume(&mut self, token: u64) {
        let Some(mut connection) = self.take(token) else { return };
        let before = connection.output.bytes.len();
        match std::mem::replace(&mut connection.state, State::Ready) {
            State::Ready => {}
            State::Suspended { args } => {
                let borrowed: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                let gates = self.run_command(token, &mut connection, &borrowed, &[]);
                self.note_output(&mut connection, before, gates, 1);
            }
            blocked @ State::Blocked { .. } => {
                connection.state = blocked;
                let gates = self.retry_blocked(token, &mut connection);
                if connection.is_ready() {
                    self.apply_reply_mode(&mut connection, before);
                }
                self.note_output(&mut connection, before, gates, 1);
            }
        }
        if connection.is_ready() && !connection.input.is_empty() {
            self.process_input(token, &mut connection);
        }
        self.send(token, connection);
    }

    /// Blocked commands whose time is over answer with nothing.
    pub(super) fn expire_deadlines(&mut self) {
        while let Some(&(deadline_us, token)) = self.deadlines.first() {
            if deadline_us > self.started.elapsed().as_micros() as u64 {
                return;
            }
            self.deadlines.remove(&(deadline_us, token));
            let Some(mut connection) = self.take(token) else { continue };
            self.stop_blocking(token, &mut connection);
            let before = connection.output.bytes.len();
            let resp3 = connection.peer.resp3;
            RespWriter::new(&mut connection.output.bytes, resp3).null_array();
            self.apply_reply_mode(&mut connection, before);
            self.note_output(&mut connection, before, Gates::NONE, 1);
            if !connection.input.is_empty() {
                self.process_input(token, &mut connection);
            }
            self.send(token, connection);
        }
    }
}
