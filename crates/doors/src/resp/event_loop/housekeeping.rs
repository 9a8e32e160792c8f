//! Closing connections: those that others want gone, idle ones, all of them at the end.

use super::super::connection::State;
use super::{EventLoop, SWEEP_US, token_of};
use std::sync::atomic::Ordering;

/// A client with a full output buffer that takes nothing for this long is closed.
const DEAF_US: u64 = 30_000_000;

impl EventLoop {
    /// Closes connections that others want gone.
    pub(super) fn close_killed(&mut self) {
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

    /// Closes connections that have said nothing for too long, those whose handshake takes too
    /// long, and those that do not take their replies.
    pub(super) fn sweep(&mut self) {
        let handshake_us = self.shared.access.handshake_max().as_micros() as u64;
        let timeout_us = self.settings.idle_timeout_ms.saturating_mul(1_000);
        if self.now_us < self.swept_us + SWEEP_US {
            return;
        }
        self.swept_us = self.now_us;
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get(index) else { return };
            let token = token_of(index, slot.generation);
            let idle = slot.connection.as_ref().is_some_and(|connection| {
                let silent_us = self.now_us.saturating_sub(connection.active_us);
                let deaf_us = self
                    .now_us
                    .saturating_sub(connection.output.taken_us.max(connection.active_us));
                let full = connection.output.unsent() > self.settings.output_max_bytes;
                (timeout_us > 0
                    && connection.is_ready()
                    && !connection.peer.subscriptions.any()
                    && silent_us > timeout_us)
                    || (connection.transport.is_handshaking() && silent_us > handshake_us)
                    || (full && deaf_us > DEAF_US)
            });
            if idle && let Some(connection) = self.take(token) {
                self.close(token, connection);
            }
        }
    }

    /// Closes what has nothing to say any more; says whether everything is closed.
    pub(super) fn drain(&mut self) -> bool {
        self.pass_gate();
        let mut open = 0;
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get(index) else { continue };
            let token = token_of(index, slot.generation);
            let Some(connection) = self.take(token) else { continue };
            let silent = connection.output.unsent() == 0
                && !connection.transport.has_pending()
                && !matches!(connection.state, State::Suspended { .. });
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
