//! An event loop: a thread, its connections, and level-triggered epoll. One read and one send for each wake-up of a
//! connection; commits are started once a turn.

use super::connection::{Connection, Output, Replies, State, Stretch};
use super::encode::RespWriter;
use super::parse::{Found, FrameLimits, Parser};
use super::verbs::{self, Control};
use crate::shared::{DoorSettings, Shared};
use crate::stats::LoopStats;
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::fd::OwnedFd;
use smallvec::SmallVec;
use std::collections::{BTreeSet, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use thalweg_machine::{Answer, CommandError, find_command};
use thalweg_node::{Executed, Health, Listener};

const READ_BYTES: usize = 64 << 10;
const EVENTS_AT_ONCE: usize = 1_024;
/// Connections with long pipelines that are served before short questions are looked for again.
const BULK_AT_ONCE: usize = 8;
/// From so many commands at once on, a connection's work is bulk.
const BULK_COMMANDS: u64 = 8;
const WAKE_TOKEN: u64 = u64::MAX;
/// How often idle connections are looked for.
const SWEEP_US: u64 = 1_000_000;
/// Fetching fewer keys than this ahead costs more than it saves.
const PREFETCH_MIN_KEYS: usize = 4;
/// Commands behind one that waits for the store whose keys are fetched along with it.
const PREFETCH_COMMANDS: usize = 32;

/// What other threads tell an event loop.
pub(super) enum Message {
    Accepted(TcpStream, Arc<crate::shared::Client>),
    /// A blocked or loading connection may go on.
    Resume(u64),
}

/// The way into an event loop from other threads.
pub(super) struct Inbox {
    messages: Mutex<Vec<Message>>,
    wake: OwnedFd,
}

impl Inbox {
    pub(super) fn new() -> std::io::Result<Arc<Self>> {
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Arc::new(Self { messages: Mutex::default(), wake }))
    }

    pub(super) fn send(&self, message: Message) {
        self.messages.lock().push(message);
        self.wake();
    }

    pub(super) fn wake(&self) {
        // It fails only when the counter is full, and then the loop is awake.
        let _awake = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

pub(super) struct EventLoop {
    shared: Arc<Shared>,
    settings: Arc<DoorSettings>,
    settings_version: u64,
    stats: Arc<LoopStats>,
    epoll: OwnedFd,
    inbox: Arc<Inbox>,
    listener: Arc<Listener>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    at_gate: Vec<u64>,
    /// When blocked connections give up.
    deadlines: BTreeSet<(u64, u64)>,
    scratch: Vec<u8>,
    /// Looks ahead at pipelines.
    lookahead: Parser,
    started: Instant,
    now_ms: u64,
    now_us: u64,
    swept_us: u64,
}

#[derive(Default)]
struct Slot {
    /// Counts the connections that this slot has had: a late message for an earlier one is told apart.
    generation: u32,
    connection: Option<Box<Connection>>,
}

impl EventLoop {
    pub(super) fn new(shared: Arc<Shared>, inbox: Arc<Inbox>) -> std::io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let data = epoll::EventData::new_u64(WAKE_TOKEN);
        epoll::add(&epoll, &inbox.wake, data, epoll::EventFlags::IN)?;
        let waker = inbox.clone();
        let listener = Listener::new(move || waker.wake());
        shared.engine.add_listener(listener.clone());
        Ok(Self {
            settings: shared.settings(),
            settings_version: shared.settings_version(),
            stats: shared.stats.add_loop(),
            shared,
            epoll,
            inbox,
            listener,
            slots: Vec::new(),
            free: Vec::new(),
            at_gate: Vec::new(),
            deadlines: BTreeSet::new(),
            scratch: vec![0; READ_BYTES],
            lookahead: Parser::default(),
            started: Instant::now(),
            now_ms: 0,
            now_us: 0,
            swept_us: 0,
        })
    }

    /// The loop's life: until the doors are draining and the last connection is gone.
    pub(super) fn run(&mut self) {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS_AT_ONCE);
        loop {
            let timeout = self.before_waiting();
            events.clear();
            let buffer = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, buffer, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, "an event loop of the RESP door ends");
                    return;
                }
            }
            self.now_us = self.started.elapsed().as_micros() as u64;
            self.now_ms = self.shared.engine.now_ms();
            if self.settings_version != self.shared.settings_version() {
                self.settings_version = self.shared.settings_version();
                self.settings = self.shared.settings();
            }
            self.serve(&events);
            self.expire_deadlines();
            self.sweep();
            self.shared.engine.flush();
            if self.shared.is_draining() && self.drain() {
                self.shared.engine.remove_listener(&self.listener);
                return;
            }
        }
    }

    /// Serves what is ready: first those who asked for little last time, then those with long pipelines, a few at a time,
    /// so that a short question never waits for all the bulk work that happens to be ready with it.
    fn serve(&mut self, events: &[epoll::Event]) {
        let mut bulk: VecDeque<(u64, epoll::EventFlags)> = VecDeque::new();
        self.serve_short(events, &mut bulk);
        let mut fresh: Vec<epoll::Event> = Vec::new();
        while !bulk.is_empty() {
            for _ in 0..BULK_AT_ONCE {
                if let Some((token, flags)) = bulk.pop_front() {
                    self.on_event(token, flags);
                }
            }
            self.shared.engine.flush();
            if bulk.is_empty() {
                return;
            }
            // Who has come meanwhile? Those already in the queue are reported again, and are left there.
            fresh.reserve(EVENTS_AT_ONCE);
            fresh.clear();
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            let buffer = rustix::buffer::spare_capacity(&mut fresh);
            // A failure will show when the loop waits again.
            let _looked = epoll::wait(&self.epoll, buffer, Some(&now));
            self.now_us = self.started.elapsed().as_micros() as u64;
            self.serve_short(&fresh, &mut VecDeque::new());
        }
    }

    /// Serves those with little to do; the others go into the queue.
    fn serve_short(
        &mut self,
        events: &[epoll::Event],
        bulk: &mut VecDeque<(u64, epoll::EventFlags)>,
    ) {
        for event in events {
            let (data, flags) = (event.data, event.flags);
            let token = data.u64();
            if token == WAKE_TOKEN {
                self.read_inbox();
            } else if self.is_bulk(token) {
                bulk.push_back((token, flags));
            } else {
                self.on_event(token, flags);
            }
        }
    }

    fn is_bulk(&self, token: u64) -> bool {
        let slot = self.slots.get(token as u32 as usize);
        slot.and_then(|slot| slot.connection.as_ref()).is_some_and(|connection| connection.bulk)
    }

    /// Sends what the gate let through meanwhile; says how long there is nothing to do.
    fn before_waiting(&mut self) -> Option<Timespec> {
        if !self.at_gate.is_empty() {
            // Armed first, looked at second: a commit in between wakes us.
            self.listener.arm();
            self.pass_gate();
        }
        let mut wait_us = SWEEP_US;
        if let Some(&(deadline_us, _)) = self.deadlines.first() {
            let now_us = self.started.elapsed().as_micros() as u64;
            wait_us = wait_us.min(deadline_us.saturating_sub(now_us));
        }
        if self.shared.is_draining() {
            wait_us = wait_us.min(20_000);
        }
        let nanoseconds = (wait_us % 1_000_000) * 1_000;
        Some(Timespec { tv_sec: (wait_us / 1_000_000) as i64, tv_nsec: nanoseconds as i64 })
    }

    fn read_inbox(&mut self) {
        let mut counter = [0u8; 8];
        // Empty means that another wake-up was faster.
        let _drained = rustix::io::read(&self.inbox.wake, &mut counter);
        let messages = std::mem::take(&mut *self.inbox.messages.lock());
        for message in messages {
            match message {
                Message::Accepted(stream, client) => self.accept(stream, client),
                Message::Resume(token) => self.resume(token),
            }
        }
        self.close_killed();
        self.pass_gate();
    }

    fn accept(&mut self, stream: TcpStream, client: Arc<crate::shared::Client>) {
        let authenticated = self.settings.password.is_none();
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        let Some(slot) = self.slots.get_mut(index) else { return };
        let token = token_of(index, slot.generation);
        let data = epoll::EventData::new_u64(token);
        let mut connection = Box::new(Connection::new(stream, client, authenticated));
        connection.active_us = self.now_us;
        if let Err(error) = epoll::add(&self.epoll, &connection.stream, data, epoll::EventFlags::IN)
        {
            tracing::warn!(%error, "a connection could not be watched and is closed");
            self.shared.clients.lock().remove(&connection.peer.client.id);
            self.free.push(index);
            return;
        }
        slot.connection = Some(connection);
    }

    fn take(&mut self, token: u64) -> Option<Box<Connection>> {
        let slot = self.slots.get_mut(token as u32 as usize)?;
        if slot.generation != (token >> 32) as u32 {
            return None;
        }
        slot.connection.take()
    }

    /// Puts a connection back into its slot, or closes it if it is done.
    fn put_back(&mut self, token: u64, mut connection: Box<Connection>) {
        if connection.is_done() {
            self.close(token, connection);
            return;
        }
        self.watch(token, &mut connection);
        if let Some(slot) = self.slots.get_mut(token as u32 as usize) {
            slot.connection = Some(connection);
        }
    }

    /// Tells epoll what the connection waits for.
    fn watch(&self, token: u64, connection: &mut Connection) {
        let throttled = connection.output.unsent() > self.settings.output_max_bytes;
        let wants_read =
            connection.is_ready() && !connection.ended && !connection.closing && !throttled;
        let wants_write = connection.output.sent < connection.output.ready;
        if (wants_read, wants_write) == (connection.wants_read, connection.wants_write) {
            return;
        }
        connection.wants_read = wants_read;
        connection.wants_write = wants_write;
        let mut flags = epoll::EventFlags::empty();
        if wants_read {
            flags |= epoll::EventFlags::IN;
        } else if !connection.ended {
            // Nothing is read, but a client that goes away must be noticed.
            flags |= epoll::EventFlags::RDHUP;
        }
        if wants_write {
            flags |= epoll::EventFlags::OUT;
        }
        let data = epoll::EventData::new_u64(token);
        if let Err(error) = epoll::modify(&self.epoll, &connection.stream, data, flags) {
            tracing::warn!(%error, "a connection could not be watched");
        }
    }

    fn close(&mut self, token: u64, mut connection: Box<Connection>) {
        self.stop_blocking(token, &mut connection);
        self.shared.engine.unwatch_all(&mut connection.session);
        self.shared.clients.lock().remove(&connection.peer.client.id);
        let index = token as u32 as usize;
        if let Some(slot) = self.slots.get_mut(index) {
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(index);
        }
        // Closing the socket takes it out of epoll.
        drop(connection);
    }

    fn stop_blocking(&mut self, token: u64, connection: &mut Connection) {
        let state = std::mem::replace(&mut connection.state, State::Ready);
        if let State::Blocked { keys, waiter, deadline_us, .. } = state {
            self.shared.engine.remove_waiter(waiter, &keys);
            if let Some(deadline_us) = deadline_us {
                self.deadlines.remove(&(deadline_us, token));
            }
        }
    }

    fn on_event(&mut self, token: u64, flags: epoll::EventFlags) {
        let Some(mut connection) = self.take(token) else { return };
        let broken = epoll::EventFlags::ERR | epoll::EventFlags::HUP;
        let gone = flags.intersects(broken)
            || (flags.contains(epoll::EventFlags::RDHUP) && !connection.is_ready());
        if gone {
            self.close(token, connection);
            return;
        }
        if flags.contains(epoll::EventFlags::IN) && !self.read(token, &mut connection) {
            self.close(token, connection);
            return;
        }
        if flags.contains(epoll::EventFlags::RDHUP) {
            connection.ended = true;
        }
        self.send(token, connection);
    }

    /// Reads once and runs what is complete. False: the connection is broken.
    fn read(&mut self, token: u64, connection: &mut Connection) -> bool {
        let mut scratch = std::mem::take(&mut self.scratch);
        let outcome = connection.stream.read(&mut scratch);
        let alive = match outcome {
            Ok(0) => {
                connection.ended = true;
                true
            }
            Ok(count) => {
                self.stats.received_bytes.fetch_add(count as u64, Ordering::Relaxed);
                connection.active_us = self.now_us;
                let fresh = scratch.get(..count).unwrap_or_default();
                if connection.input.is_empty() {
                    let used = self.process(token, connection, fresh);
                    connection.input.extend_from_slice(fresh.get(used..).unwrap_or_default());
                } else {
                    connection.input.extend_from_slice(fresh);
                    self.process_input(token, connection);
                }
                true
            }
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        };
        self.scratch = scratch;
        alive
    }

    /// Runs what is complete in the connection's own buffer.
    fn process_input(&mut self, token: u64, connection: &mut Connection) {
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
    fn process(&mut self, token: u64, connection: &mut Connection, bytes: &[u8]) -> usize {
        let (mut used, mut commands, mut gate) = (0, 0u64, 0u64);
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
                    gate = gate.max(self.run_command(token, connection, &args, behind));
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
        self.note_output(connection, before, gate, commands);
        used
    }

    /// Looks ahead at a pipeline and fetches the memory of its keys; says how far it looked.
    fn prefetch(&mut self, bytes: &[u8], limits: &FrameLimits) -> usize {
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
    fn note_output(
        &mut self,
        connection: &mut Connection,
        before: usize,
        gate: u64,
        commands: u64,
    ) {
        let output = &mut connection.output;
        let end = output.bytes.len();
        if end == before {
            return;
        }
        if output.gated.is_empty() && self.shared.engine.is_settled(gate) {
            output.ready = end;
            self.record(commands, self.now_us);
        } else {
            output.gated.push_back(Stretch { end, gate, commands, since_us: self.now_us });
        }
    }

    fn record(&self, commands: u64, since_us: u64) {
        let now_us = self.started.elapsed().as_micros() as u64;
        self.stats.record(now_us - since_us, commands);
    }

    /// Runs one command; gives the LSN that its reply depends on.
    fn run_command(
        &mut self,
        token: u64,
        connection: &mut Connection,
        args: &[&[u8]],
        behind: &[u8],
    ) -> u64 {
        let mark = connection.output.bytes.len();
        let timed = (behind.is_empty() || !is_quick(args)).then(Instant::now);
        let mut gate = 0;
        if !connection.peer.authenticated && !verbs::allowed_unauthenticated(args) {
            let error = CommandError::coded("NOAUTH", "Authentication required.");
            let resp3 = connection.peer.resp3;
            RespWriter::new(&mut connection.output.bytes, resp3).error(&error);
        } else {
            let mut writer = RespWriter::new(&mut connection.output.bytes, connection.peer.resp3);
            let engine = &self.shared.engine;
            match engine.execute(&mut connection.session, args, self.now_ms, &mut writer) {
                Executed::Done { gate: depends } => gate = depends,
                Executed::Door { verb, .. } => {
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
                Executed::Needs(keys) => {
                    connection.output.bytes.truncate(mark);
                    let args = args.iter().map(|arg| arg.to_vec()).collect();
                    self.load(token, connection, args, keys, behind);
                }
                Executed::Blocked { keys, timeout_ms, args } => {
                    connection.output.bytes.truncate(mark);
                    gate = self.block(token, connection, keys, timeout_ms, args, mark);
                }
            }
        }
        if let Some(started) = timed {
            self.after_timed(connection, args, started);
        }
        self.apply_reply_mode(connection, mark);
        gate
    }

    fn after_timed(&self, connection: &Connection, args: &[&[u8]], started: Instant) {
        let took_us = started.elapsed().as_micros() as u64;
        if let Some(command) = args.first().and_then(|name| find_command(name)) {
            *connection.peer.client.last_command.lock() = command.name;
        }
        connection.peer.client.last_ms.store(self.now_ms, Ordering::Relaxed);
        if took_us >= self.settings.slow_us {
            let client = &connection.peer.client;
            let name = client.name.lock().clone();
            let address = &client.address;
            self.shared.slow_log.lock().add(self.now_ms, took_us, args, address, &name);
        }
    }

    fn apply_reply_mode(&self, connection: &mut Connection, mark: usize) {
        match connection.peer.replies {
            Replies::On => return,
            Replies::Off => {}
            Replies::SkipNext => connection.peer.replies = Replies::SkipThis,
            Replies::SkipThis => connection.peer.replies = Replies::On,
        }
        connection.output.bytes.truncate(mark);
    }

    /// Fetches keys for a command, and for those behind it, then runs it again.
    fn load(
        &mut self,
        token: u64,
        connection: &mut Connection,
        args: Vec<Vec<u8>>,
        mut keys: Vec<Vec<u8>>,
        behind: &[u8],
    ) {
        self.find_cold_keys(connection, behind, &mut keys);
        connection.state = State::Loading { args };
        let inbox = self.inbox.clone();
        let waiting = self.shared.engine.load(&keys, move || inbox.send(Message::Resume(token)));
        if !waiting {
            // They are there, or certainly not: go on as soon as this connection is back in its slot.
            self.inbox.send(Message::Resume(token));
        }
    }

    /// Cold keys of the commands behind, so that a pipeline waits for the store once and not once a command.
    fn find_cold_keys(&self, connection: &Connection, behind: &[u8], keys: &mut Vec<Vec<u8>>) {
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

    /// Registers a blocked command, looks once more, and lets the connection wait. Gives the gate of a reply that was
    /// there after all.
    fn block(
        &mut self,
        token: u64,
        connection: &mut Connection,
        keys: Vec<Vec<u8>>,
        timeout_ms: u64,
        args: Vec<Vec<u8>>,
        mark: usize,
    ) -> u64 {
        let engine = self.shared.engine.clone();
        let inbox = self.inbox.clone();
        let waiter = engine.add_waiter(Arc::new(move || inbox.send(Message::Resume(token))));
        let deadline_us = (timeout_ms > 0)
            .then(|| self.started.elapsed().as_micros() as u64 + timeout_ms.saturating_mul(1_000));
        if let Some(deadline_us) = deadline_us {
            self.deadlines.insert((deadline_us, token));
        }
        connection.state = State::Blocked { args, keys, waiter, deadline_us };
        self.retry_blocked(token, connection, mark)
    }

    /// Runs a blocked command again; gives the gate of its reply if there is one now.
    fn retry_blocked(&mut self, token: u64, connection: &mut Connection, mark: usize) -> u64 {
        let State::Blocked { args, keys, waiter, .. } = &connection.state else { return 0 };
        // Registered first, looked at second: a change in between wakes us. A waiter is spent when it was woken.
        self.shared.engine.wait_for(*waiter, keys);
        let borrowed: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let mut writer = RespWriter::new(&mut connection.output.bytes, connection.peer.resp3);
        let engine = &self.shared.engine;
        match engine.execute(&mut connection.session, &borrowed, self.now_ms, &mut writer) {
            Executed::Done { gate } => {
                self.stop_blocking(token, connection);
                gate
            }
            Executed::Needs(missing) => {
                connection.output.bytes.truncate(mark);
                let args = args.clone();
                self.stop_blocking(token, connection);
                self.load(token, connection, args, missing, &[]);
                0
            }
            _ => {
                connection.output.bytes.truncate(mark);
                0
            }
        }
    }

    /// Goes on with a connection whose keys are there or have changed.
    fn resume(&mut self, token: u64) {
        let Some(mut connection) = self.take(token) else { return };
        let before = connection.output.bytes.len();
        match std::mem::replace(&mut connection.state, State::Ready) {
            State::Ready => {}
            State::Loading { args } => {
                let borrowed: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                let gate = self.run_command(token, &mut connection, &borrowed, &[]);
                self.note_output(&mut connection, before, gate, 1);
            }
            blocked @ State::Blocked { .. } => {
                connection.state = blocked;
                let gate = self.retry_blocked(token, &mut connection, before);
                self.note_output(&mut connection, before, gate, 1);
            }
        }
        if connection.is_ready() && !connection.input.is_empty() {
            self.process_input(token, &mut connection);
        }
        self.send(token, connection);
    }

    /// Blocked commands whose time is over answer with nothing.
    fn expire_deadlines(&mut self) {
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
            self.note_output(&mut connection, before, 0, 1);
            if !connection.input.is_empty() {
                self.process_input(token, &mut connection);
            }
            self.send(token, connection);
        }
    }

    /// Sends what may leave; puts the connection back.
    fn send(&mut self, token: u64, mut connection: Box<Connection>) {
        if !self.flush(&mut connection) {
            self.close(token, connection);
            return;
        }
        // There may be room for more replies now.
        let room = connection.output.unsent() <= self.settings.output_max_bytes;
        if room
            && connection.is_ready()
            && !connection.input.is_empty()
            && connection.output.gated.is_empty()
        {
            self.process_input(token, &mut connection);
            if !self.flush(&mut connection) {
                self.close(token, connection);
                return;
            }
        }
        if connection.output.unsent() > self.settings.output_max_bytes.saturating_mul(2) {
            self.shared.stats.protocol_errors.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                client = %connection.peer.client.address,
                unsent_bytes = connection.output.unsent(),
                "closed a client that does not read its replies"
            );
            self.close(token, connection);
            return;
        }
        if !connection.output.gated.is_empty() && !connection.at_gate {
            connection.at_gate = true;
            self.at_gate.push(token);
        }
        self.put_back(token, connection);
    }

    /// False: the connection is broken.
    fn flush(&self, connection: &mut Connection) -> bool {
        let output: &mut Output = &mut connection.output;
        while let Some(unsent) =
            output.bytes.get(output.sent..output.ready).filter(|unsent| !unsent.is_empty())
        {
            match connection.stream.write(unsent) {
                Ok(0) => return false,
                Ok(count) => {
                    output.sent += count;
                    self.stats.sent_bytes.fetch_add(count as u64, Ordering::Relaxed);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        output.compact();
        true
    }

    /// Lets replies leave whose LSNs are settled by now.
    fn pass_gate(&mut self) {
        let waiting = std::mem::take(&mut self.at_gate);
        let failed = self.shared.engine.health() == Health::Failed;
        for token in waiting {
            let Some(mut connection) = self.take(token) else { continue };
            connection.at_gate = false;
            while let Some(stretch) = connection.output.gated.front() {
                if !self.shared.engine.is_settled(stretch.gate) {
                    break;
                }
                connection.output.ready = stretch.end;
                self.record(stretch.commands, stretch.since_us);
                connection.output.gated.pop_front();
            }
            if failed && !connection.output.gated.is_empty() {
                // These replies can never be given.
                self.close(token, connection);
                continue;
            }
            self.send(token, connection);
        }
    }

    /// Closes connections that others want gone.
    fn close_killed(&mut self) {
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get(index) else { return };
            let killed = slot
                .connection
                .as_ref()
                .is_some_and(|connection| connection.peer.client.killed.load(Ordering::Relaxed));
            let token = token_of(index, slot.generation);
            if killed && let Some(connection) = self.take(token) {
                self.close(token, connection);
            }
        }
    }

    /// Closes connections that have said nothing for too long.
    fn sweep(&mut self) {
        let timeout_us = self.settings.idle_timeout_ms.saturating_mul(1_000);
        if timeout_us == 0 || self.now_us < self.swept_us + SWEEP_US {
            return;
        }
        self.swept_us = self.now_us;
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get(index) else { return };
            let token = token_of(index, slot.generation);
            let idle = slot.connection.as_ref().is_some_and(|connection| {
                connection.is_ready() && self.now_us - connection.active_us > timeout_us
            });
            if idle && let Some(connection) = self.take(token) {
                self.close(token, connection);
            }
        }
    }

    /// Closes what has nothing to say any more; says whether everything is closed.
    fn drain(&mut self) -> bool {
        self.pass_gate();
        let mut open = 0;
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get(index) else { continue };
            let token = token_of(index, slot.generation);
            let Some(connection) = self.take(token) else { continue };
            let silent = connection.output.unsent() == 0
                && !matches!(connection.state, State::Loading { .. });
            if silent {
                self.close(token, connection);
            } else {
                open += 1;
                self.put_back(token, connection);
            }
        }
        open == 0
    }
}

fn token_of(index: usize, generation: u32) -> u64 {
    u64::from(generation) << 32 | index as u64
}

/// Commands that cannot be slow, however large the data: timing each would cost more than running it.
fn is_quick(args: &[&[u8]]) -> bool {
    args.len() <= 3 && args.first().is_some_and(|name| name.len() == 3 || name.len() == 4)
}
