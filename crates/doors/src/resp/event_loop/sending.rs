//! Sends replies when their gate is passed, as many bytes as the socket takes.

use super::*;

impl EventLoop {
    /// Sends what those have to say that were served.
    pub(super) fn send_served(&mut self) {
        let mut served = std::mem::take(&mut self.served);
        for token in served.drain(..) {
            if let Some(connection) = self.take(token) {
                self.send(token, connection);
            }
        }
        self.served = served;
    }

    /// Sends what may leave; puts the connection back.
    pub(super) fn send(&mut self, token: u64, mut connection: Box<Connection>) {
        if !self.flush(&mut connection) {
            self.close(token, connection);
            return;
        }
        // What was held back for want of room may go on now, as long as it gets anywhere.
        let mut left = usize::MAX;
        while connection.input.len() < left
            && !connection.input.is_empty()
            && connection.output.unsent() <= self.settings.output_max_bytes
            && connection.is_ready()
            && !connection.closing
        {
            left = connection.input.len();
            self.process_input(token, &mut connection);
            if !self.flush(&mut connection) {
                self.close(token, connection);
                return;
            }
        }
        if !connection.output.gated.is_empty() && !connection.at_gate {
            connection.at_gate = true;
            self.at_gate.push(token);
        }
        self.put_back(token, connection);
    }

    /// False: the connection is broken.
    pub(super) fn flush(&self, connection: &mut Connection) -> bool {
        let output: &mut Output = &mut connection.output;
        while let Some(unsent) =
            output.bytes.get(output.sent..output.ready).filter(|unsent| !unsent.is_empty())
        {
            match connection.transport.write(unsent) {
                Ok(0) => return false,
                Ok(count) => {
                    output.sent += count;
                    output.taken_us = self.now_us;
                    self.stats.sent_bytes.fetch_add(count as u64, Ordering::Relaxed);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        output.compact();
        match connection.transport.flush() {
            Ok(()) => true,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }

    /// Lets replies leave whose gates are passed by now.
    pub(super) fn pass_gate(&mut self) {
        let waiting = std::mem::take(&mut self.at_gate);
        for token in waiting {
            let Some(mut connection) = self.take(token) else { continue };
            connection.at_gate = false;
            while let Some(stretch) = connection.output.gated.front() {
                if !self.shared.engine.is_settled(&stretch.gates) {
                    break;
                }
                connection.output.ready = stretch.end;
                self.record(stretch.commands, stretch.since_us);
                connection.output.gated.pop_front();
            }
            let front = connection.output.gated.front();
            if front.is_some_and(|stretch| self.shared.engine.is_lost(&stretch.gates)) {
                // These replies can never be given.
                self.close(token, connection);
                continue;
            }
            self.send(token, connection);
        }
    }
}
