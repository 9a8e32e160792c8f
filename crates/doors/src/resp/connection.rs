//! One connection: what has come in, what is to go out, and what it waits for.

use super::parse::{FrameLimits, Parser};
use super::space::ReplySpace;
use super::subscriptions::Subscriptions;
use super::transport::Transport;
use crate::shared::{Client, DoorSettings};
use rustix::event::epoll;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;
use thalweg_listen::{Admitted, Identity};
use thalweg_node::{Gates, Session, Subscriber, WaiterId};

/// Send buffers larger than this are given back when they are empty.
const KEEP_BYTES: usize = 16 << 10;

/// A connection that was let in, on its way to an event loop.
pub(super) struct Arrival {
    pub(super) transport: Transport,
    pub(super) client: Arc<Client>,
    pub(super) admitted: Admitted,
}

pub(super) struct Connection {
    pub(super) transport: Transport,
    pub(super) session: Session,
    pub(super) parser: Parser,
    /// What has come in and is not a complete command yet, or must wait.
    pub(super) input: Vec<u8>,
    pub(super) output: Output,
    pub(super) state: State,
    pub(super) peer: Peer,
    /// The client has closed its side; what it asked for is still answered.
    pub(super) ended: bool,
    /// Close when everything is sent.
    pub(super) closing: bool,
    /// Stands in the event loop's list of those that wait for the gate.
    pub(super) at_gate: bool,
    /// The last time it came with many commands at once.
    pub(super) bulk: bool,
    /// What epoll was told to look for.
    pub(super) watched: epoll::EventFlags,
    pub(super) active_us: u64,
    /// It counts until it is closed.
    _admitted: Admitted,
}

/// What commands about the connection may see and change.
pub(super) struct Peer {
    pub(super) client: Arc<Client>,
    pub(super) resp3: bool,
    pub(super) identity: Identity,
    pub(super) replies: Replies,
    pub(super) subscriptions: Subscriptions,
}

/// CLIENT REPLY.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Replies {
    On,
    Off,
    /// Not the next one.
    SkipNext,
    /// Not this one.
    SkipThis,
}

/// What a connection is doing.
pub(super) enum State {
    Ready,
    /// A command waits for keys from the store, for memory, or for the log.
    Suspended {
        args: Vec<Vec<u8>>,
    },
    /// A command waits for a key to change.
    Blocked {
        args: Vec<Vec<u8>>,
        keys: Vec<Vec<u8>>,
        waiter: WaiterId,
        deadline_us: Option<u64>,
    },
}

/// Replies on their way out.
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
    /// How much of it has been sent, and how much may be.
    pub(super) sent: usize,
    pub(super) ready: usize,
    /// Bytes that nobody asked for, messages of channels, since everything was last sent.
    pub(super) pushed: usize,
    /// When the client last took something.
    pub(super) taken_us: u64,
    /// Stretches behind `ready` that wait for the gate.
    pub(super) gated: VecDeque<Stretch>,
    pub(super) space: ReplySpace,
}

/// Replies up to `end` that may leave when `gates` are settled.
pub(super) struct Stretch {
    pub(super) end: usize,
    pub(super) gates: Gates,
    pub(super) commands: u64,
    pub(super) since_us: u64,
}

impl Output {
    fn new(space: ReplySpace) -> Self {
        Self {
            bytes: Vec::new(),
            sent: 0,
            ready: 0,
            pushed: 0,
            taken_us: 0,
            gated: VecDeque::new(),
            space,
        }
    }

    pub(super) fn unsent(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// At most so much of what is unsent nobody asked for.
    pub(super) fn pushed_unsent(&self) -> usize {
        self.pushed.min(self.unsent())
    }

    /// Forgets what has been sent.
    pub(super) fn compact(&mut self) {
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(KEEP_BYTES);
            self.space.shrink(0);
        } else if self.sent > KEEP_BYTES && self.sent > self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            for stretch in &mut self.gated {
                stretch.end -= self.sent;
            }
            self.ready -= self.sent;
            self.sent = 0;
            self.pushed = self.pushed_unsent();
            return;
        } else {
            return;
        }
        self.sent = 0;
        self.ready = 0;
        self.pushed = 0;
    }
}

impl Connection {
    pub(super) fn new(
        arrival: Arrival,
        identity: Identity,
        subscriber: Subscriber,
        space: ReplySpace,
    ) -> Self {
        let subscriptions = Subscriptions::new(subscriber);
        let Arrival { transport, client, admitted } = arrival;
        let peer = Peer { client, resp3: false, identity, replies: Replies::On, subscriptions };
        Self {
            transport,
            session: Session::default(),
            parser: Parser::default(),
            input: Vec::new(),
            output: Output::new(space),
            state: State::Ready,
            peer,
            ended: false,
            closing: false,
            at_gate: false,
            bulk: false,
            watched: epoll::EventFlags::IN,
            active_us: 0,
            _admitted: admitted,
        }
    }

    /// The limits on commands; tight before authentication.
    pub(super) fn limits(&self, settings: &DoorSettings) -> FrameLimits {
        let limits = FrameLimits {
            bulk_max_bytes: settings.bulk_max_bytes,
            frame_max_bytes: settings.frame_max_bytes,
            arguments_max: settings.arguments_max,
            inline_max_bytes: settings.inline_max_bytes,
        };
        if !self.peer.identity.is_nobody() {
            return limits;
        }
        FrameLimits {
            bulk_max_bytes: limits.bulk_max_bytes.min(16 << 10),
            frame_max_bytes: limits.frame_max_bytes.min(64 << 10),
            arguments_max: limits.arguments_max.min(10),
            ..limits
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready)
    }

    /// Whether nothing is left to be answered or done.
    fn is_over(&self) -> bool {
        (self.closing || self.ended) && self.is_ready() && self.output.unsent() == 0
    }

    /// Whether it can be closed. TLS says first that this is the end, and that has to be sent, too.
    pub(super) fn end_if_over(&mut self) -> bool {
        if !self.is_over() {
            return false;
        }
        self.transport.finish();
        // What is broken can be closed, too.
        !self.transport.flush().is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}
