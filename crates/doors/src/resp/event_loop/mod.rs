//! An event loop: a thread, its connections, and level-triggered epoll. A connection is read once
//! and sent to once for each wake-up. Commits are started once a turn. Replies to several
//! connections leave together, so that a client which has many of them wakes up once and not once
//! for each.

mod channels;
mod commands;
mod housekeeping;
mod sending;
mod waiting;

use super::connection::{Arrival, Connection, Output, State};
use super::parse::Parser;
use super::space::ReplySpace;
use crate::shared::{DoorSettings, Shared};
use crate::stats::LoopStats;
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::fd::OwnedFd;
use std::collections::{BTreeSet, VecDeque};
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use thalweg_node::{Listener, Subscriber};

const READ_BYTES: usize = 64 << 10;
const EVENTS_AT_ONCE: usize = 1_024;
/// Connections with long pipelines that are served before short questions are looked for again.
const BULK_AT_ONCE: usize = 8;
/// Connections with short questions that are served before their replies are sent.
const SHORT_AT_ONCE: usize = 64;
const WAKE_TOKEN: u64 = u64::MAX;
/// How often idle connections are looked for.
const SWEEP_US: u64 = 1_000_000;

/// What other threads tell an event loop.
pub(super) enum Message {
    Accepted(Arrival),
    /// A blocked or suspended connection may go on.
    Resume(u64),
    /// Something was published that these connections listen to.
    Deliver(Vec<u64>, Arc<thalweg_node::Message>),
}

/// The way into an event loop from other threads.
pub(super) struct Inbox {
    messages: Mutex<Vec<Message>>,
    /// Bytes of published messages among them.
    published_bytes: AtomicUsize,
    /// Connections that cannot be given all that was published, and so must be closed.
    overrun: Mutex<BTreeSet<u64>>,
    wake: OwnedFd,
}

impl Inbox {
    pub(super) fn new() -> std::io::Result<Arc<Self>> {
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Arc::new(Self {
            messages: Mutex::default(),
            published_bytes: AtomicUsize::new(0),
            overrun: Mutex::default(),
            wake,
        }))
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
    /// Our mailbox among the node's channels.
    mailbox: u32,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Served since replies were last sent.
    served: Vec<u64>,
    at_gate: Vec<u64>,
    /// When blocked connections give up.
    deadlines: BTreeSet<(u64, u64)>,
    scratch: Vec<u8>,
    /// What TLS makes of it.
    opened: Vec<u8>,
    /// Looks ahead at pipelines.
    lookahead: Parser,
    started: Instant,
    now_ms: u64,
    now_us: u64,
    swept_us: u64,
}

#[derive(Default)]
struct Slot {
    /// Counts the connections that this slot has had: a late message for an earlier one is told
    /// apart.
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
        let postbox = inbox.clone();
        let mailbox =
            shared.engine.channels().add_mailbox(move |to, message| postbox.post(to, message));
        Ok(Self {
            settings: shared.settings(),
            settings_version: shared.settings_version(),
            stats: shared.stats.add_loop(),
            shared,
            epoll,
            inbox,
            listener,
            mailbox,
            slots: Vec::new(),
            free: Vec::new(),
            served: Vec::new(),
            at_gate: Vec::new(),
            deadlines: BTreeSet::new(),
            scratch: vec![0; READ_BYTES],
            opened: Vec::new(),
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
                    tracing::error!(%error, "an event loop of the RESP door has failed and ends");
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

    /// Serves what is ready: first those who asked for little last time, then those with long
    /// pipelines, a few at a time, so that a short question never waits for all the bulk work that
    /// happens to be ready with it.
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
            self.send_served();
            self.shared.engine.flush();
            if bulk.is_empty() {
                return;
            }
            // Who has come meanwhile? Those already in the queue are reported again, and are left
            // there.
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
            if self.served.len() >= SHORT_AT_ONCE {
                self.send_served();
            }
        }
        self.send_served();
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
                Message::Accepted(arrival) => self.accept(arrival),
                Message::Resume(token) => self.resume(token),
                Message::Deliver(to, message) => self.deliver(&to, &message),
            }
        }
        self.close_overrun();
        self.close_killed();
        self.pass_gate();
    }

    fn accept(&mut self, arrival: Arrival) {
        let identity = self.shared.access.users.unnamed();
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        let Some(slot) = self.slots.get_mut(index) else { return };
        let token = token_of(index, slot.generation);
        let data = epoll::EventData::new_u64(token);
        let subscriber = Subscriber { mailbox: self.mailbox, token };
        let space = ReplySpace::new(self.shared.reply_budget.clone());
        let mut connection = Box::new(Connection::new(arrival, identity, subscriber, space));
        connection.active_us = self.now_us;
        let flags = epoll::EventFlags::IN;
        if let Err(error) = epoll::add(&self.epoll, &connection.transport, data, flags) {
            tracing::warn!(%error, "epoll refused a connection; it is closed");
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
        if connection.end_if_over() {
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
        let wants_write =
            connection.output.sent < connection.output.ready || connection.transport.has_pending();
        let mut flags = epoll::EventFlags::empty();
        if wants_read {
            flags |= epoll::EventFlags::IN;
        } else if !connection.ended && matches!(connection.state, State::Blocked { .. }) {
            // Nothing is read, but a client that goes away must be noticed. (Not elsewhere: one
            // that has closed only its side still gets the replies to what it has sent.)
            flags |= epoll::EventFlags::RDHUP;
        }
        if wants_write {
            flags |= epoll::EventFlags::OUT;
        }
        if flags == connection.watched {
            return;
        }
        connection.watched = flags;
        let data = epoll::EventData::new_u64(token);
        if let Err(error) = epoll::modify(&self.epoll, &connection.transport, data, flags) {
            tracing::warn!(%error, "epoll refused a connection");
        }
    }

    fn close(&mut self, token: u64, mut connection: Box<Connection>) {
        self.stop_blocking(token, &mut connection);
        self.shared.engine.unwatch_all(&mut connection.session);
        connection.peer.subscriptions.clear(self.shared.engine.channels());
        self.shared.clients.lock().remove(&connection.peer.client.id);
        let index = token as u32 as usize;
        if let Some(slot) = self.slots.get_mut(index) {
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(index);
        }
        connection.transport.finish();
        // Whoever does not take it can be told nothing.
        let _told = connection.transport.flush();
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
        if let Some(slot) = self.slots.get_mut(token as u32 as usize) {
            slot.connection = Some(connection);
            self.served.push(token);
        }
    }
}

fn token_of(index: usize, generation: u32) -> u64 {
    u64::from(generation) << 32 | index as u64
}
