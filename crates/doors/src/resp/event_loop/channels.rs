//! Takes published messages to this event loop's connections.

use super::super::encode::RespWriter;
use super::{EventLoop, Inbox, Message};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use thalweg_machine::Answer;
use thalweg_node::{Gates, Scope};

/// Published messages that wait for an event loop. Beyond this its listeners are closed, as they
/// would be for not reading: none of them may miss a message and not know it.
const PUBLISHED_MAX_BYTES: usize = 64 << 20;

fn weight(message: &thalweg_node::Message) -> usize {
    message.name.len() + message.channel.len() + message.payload.len() + 128
}

impl Inbox {
    /// Takes a message for some connections, from any thread.
    pub(super) fn post(&self, to: Vec<u64>, message: Arc<thalweg_node::Message>) {
        let bytes = weight(&message) + to.len() * size_of::<u64>();
        if self.published_bytes.load(Ordering::Relaxed) + bytes > PUBLISHED_MAX_BYTES {
            self.overrun.lock().extend(to);
            self.wake();
            return;
        }
        self.published_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.send(Message::Deliver(to, message));
    }
}

impl EventLoop {
    /// Writes a message to those of its listeners that still listen.
    pub(super) fn deliver(&mut self, to: &[u64], message: &thalweg_node::Message) {
        let bytes = weight(message) + size_of_val(to);
        self.inbox.published_bytes.fetch_sub(bytes, Ordering::Relaxed);
        for &token in to {
            let Some(mut connection) = self.take(token) else { continue };
            let before = connection.output.bytes.len();
            if connection.peer.subscriptions.has(message.scope, &message.name) {
                let resp3 = connection.peer.resp3;
                render(&mut RespWriter::new(&mut connection.output.bytes, resp3), message);
            }
            connection.output.pushed += connection.output.bytes.len() - before;
            self.note_output(&mut connection, before, Gates::NONE, 0);
            let most = self.settings.output_max_bytes;
            if connection.output.pushed_unsent() > most {
                // Much has come at once: has it been taken?
                if !self.flush(&mut connection) {
                    self.close(token, connection);
                    continue;
                }
                if connection.output.pushed_unsent() > most {
                    self.close_deaf(token, connection);
                    continue;
                }
            }
            if let Some(slot) = self.slots.get_mut(token as u32 as usize) {
                slot.connection = Some(connection);
                self.served.push(token);
            }
        }
    }

    /// Closes those that could not be given everything.
    pub(super) fn close_overrun(&mut self) {
        let overrun = std::mem::take(&mut *self.inbox.overrun.lock());
        for token in overrun {
            if let Some(connection) = self.take(token) {
                self.close_deaf(token, connection);
            }
        }
    }

    fn close_deaf(&mut self, token: u64, connection: Box<super::Connection>) {
        let client = connection.peer.client.address.clone();
        tracing::warn!(%client, "a listener does not read its messages; its connection is closed");
        self.close(token, connection);
    }
}

fn render(writer: &mut RespWriter<'_>, message: &thalweg_node::Message) {
    match message.scope {
        Scope::Pattern => {
            writer.push(4);
            writer.bulk(b"pmessage");
            writer.bulk(&message.name);
        }
        Scope::Channel => {
            writer.push(3);
            writer.bulk(b"message");
        }
        Scope::Shard => {
            writer.push(3);
            writer.bulk(b"smessage");
        }
    }
    writer.bulk(&message.channel);
    writer.bulk(&message.payload);
}
