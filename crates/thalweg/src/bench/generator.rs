//! One generator thread: its connections, its schedule, its histogram.

use super::workload::{Requests, Workload};
use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use rustix::event::{Timespec, epoll};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const LATENCY_MAX_US: u64 = 600_000_000;
const READ_BYTES: usize = 256 << 10;

pub(super) struct Load {
    pub(super) target: SocketAddr,
    pub(super) workload: Workload,
    /// Requests per second; 0: as many as the windows allow.
    pub(super) rate: u64,
    pub(super) duration: Duration,
    /// End after so many requests.
    pub(super) total: Option<u64>,
    pub(super) clients: usize,
    pub(super) pipeline: usize,
    pub(super) keys: u64,
    pub(super) value_bytes: usize,
    pub(super) zipf: f64,
    pub(super) password: Option<String>,
    pub(super) seed: u64,
}

pub(super) struct Outcome {
    pub(super) replies: u64,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
    pub(super) latency_us: Histogram<u64>,
}

impl Outcome {
    pub(super) fn plus(mut self, other: Self) -> anyhow::Result<Self> {
        self.replies += other.replies;
        self.errors += other.errors;
        self.first_error = self.first_error.or(other.first_error);
        self.latency_us.add(&other.latency_us).context("add histograms")?;
        Ok(self)
    }

    pub(super) fn refuse_errors(&self) -> anyhow::Result<()> {
        match &self.first_error {
            Some(error) => bail!("{} requests were refused; the first: {error}", self.errors),
            None => Ok(()),
        }
    }
}

struct Connection {
    stream: TcpStream,
    out: Vec<u8>,
    sent: usize,
    received: Vec<u8>,
    /// When each request in flight was meant to be sent, in nanoseconds since the start.
    intended_ns: VecDeque<u64>,
    wants_write: bool,
}

/// Runs the load to its end.
pub(super) fn run(load: &Load, number: u64) -> anyhow::Result<Outcome> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut connections = Vec::with_capacity(load.clients);
    for index in 0..load.clients {
        let stream = connect(load)?;
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(&epoll, &stream, data, epoll::EventFlags::IN)?;
        connections.push(Connection {
            stream,
            out: Vec::new(),
            sent: 0,
            received: Vec::new(),
            intended_ns: VecDeque::with_capacity(load.pipeline),
            wants_write: false,
        });
    }
    let requests = Requests::new(
        load.workload,
        load.keys,
        load.zipf,
        load.value_bytes,
        load.seed ^ (number << 32),
    );
    let outcome = Outcome {
        replies: 0,
        errors: 0,
        first_error: None,
        latency_us: Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)?,
    };
    let mut generator = Generator {
        load,
        epoll,
        connections,
        requests,
        outcome,
        started: Instant::now(),
        issued: 0,
        next: 0,
    };
    generator.run()?;
    Ok(generator.outcome)
}

fn connect(load: &Load) -> anyhow::Result<TcpStream> {
    let mut stream =
        TcpStream::connect(load.target).with_context(|| format!("connect to {}", load.target))?;
    stream.set_nodelay(true)?;
    if let Some(password) = &load.password {
        let mut auth = Vec::new();
        crate::client::put_command(&mut auth, &[b"AUTH", password.as_bytes()]);
        stream.write_all(&auth)?;
        let mut answer = [0u8; 512];
        let count = stream.read(&mut answer)?;
        if answer.first() != Some(&b'+') {
            bail!("{}", String::from_utf8_lossy(answer.get(..count).unwrap_or_default()).trim());
        }
    }
    stream.set_nonblocking(true)?;
    Ok(stream)
}

struct Generator<'a> {
    load: &'a Load,
    epoll: rustix::fd::OwnedFd,
    connections: Vec<Connection>,
    requests: Requests,
    outcome: Outcome,
    started: Instant,
    issued: u64,
    /// The connection whose turn it is.
    next: usize,
}

impl Generator<'_> {
    fn run(&mut self) -> anyhow::Result<()> {
        let mut scratch = vec![0u8; READ_BYTES];
        let mut events: Vec<epoll::Event> = Vec::with_capacity(1_024);
        loop {
            let over = self.started.elapsed() >= self.load.duration
                || self.load.total.is_some_and(|total| self.issued >= total);
            if !over {
                self.issue();
            } else if self.connections.iter().all(|connection| connection.intended_ns.is_empty()) {
                return Ok(());
            }
            self.send()?;
            events.clear();
            let timeout = self.timeout(over);
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                Some(&timeout),
            ) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                let data = event.data;
                self.receive(data.u64() as usize, &mut scratch)?;
            }
        }
    }

    /// Writes requests that are due, connection by connection, as far as the windows allow.
    fn issue(&mut self) {
        let now_ns = self.started.elapsed().as_nanos() as u64;
        let mut left = match self.load.rate {
            0 => u64::MAX,
            rate => {
                // The first is due at once, so one more than whole intervals have passed.
                let due = (u128::from(now_ns) * u128::from(rate) / 1_000_000_000) as u64 + 1;
                due.saturating_sub(self.issued)
            }
        };
        if let Some(total) = self.load.total {
            left = left.min(total - self.issued);
        }
        let mut full = 0;
        while left > 0 && full < self.connections.len() {
            let index = self.next % self.connections.len();
            self.next += 1;
            let Some(connection) = self.connections.get_mut(index) else { return };
            let room = self.load.pipeline - connection.intended_ns.len().min(self.load.pipeline);
            if room == 0 {
                full += 1;
                continue;
            }
            // At full speed a whole window at once; at a rate one each, so that all connections
            // share it.
            let count = if self.load.rate == 0 { (room as u64).min(left) } else { 1 };
            for _ in 0..count {
                let intended = match self.load.rate {
                    0 => now_ns,
                    rate => (u128::from(self.issued) * 1_000_000_000 / u128::from(rate)) as u64,
                };
                self.requests.put(&mut connection.out);
                connection.intended_ns.push_back(intended);
                self.issued += 1;
            }
            left -= count;
            full = 0;
        }
    }

    fn send(&mut self) -> anyhow::Result<()> {
        for (index, connection) in self.connections.iter_mut().enumerate() {
            while let Some(rest) =
                connection.out.get(connection.sent..).filter(|rest| !rest.is_empty())
            {
                match connection.stream.write(rest) {
                    Ok(count) => connection.sent += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error).context("send"),
                }
            }
            let blocked = connection.sent < connection.out.len();
            if !blocked {
                connection.out.clear();
                connection.sent = 0;
            }
            if blocked != connection.wants_write {
                connection.wants_write = blocked;
                let mut flags = epoll::EventFlags::IN;
                if blocked {
                    flags |= epoll::EventFlags::OUT;
                }
                let data = epoll::EventData::new_u64(index as u64);
                epoll::modify(&self.epoll, &connection.stream, data, flags)?;
            }
        }
        Ok(())
    }

    /// How long nothing is due.
    fn timeout(&self, over: bool) -> Timespec {
        let wait_ns = match self.load.rate {
            0 => 100_000_000,
            _ if over => 10_000_000,
            rate => {
                let next_ns = u128::from(self.issued) * 1_000_000_000 / u128::from(rate);
                next_ns.saturating_sub(self.started.elapsed().as_nanos()).min(10_000_000) as i64
            }
        };
        // Short waits are spun away: the scheduler's slack would be charged to the server.
        Timespec { tv_sec: 0, tv_nsec: if wait_ns < 60_000 { 0 } else { wait_ns } }
    }

    fn receive(&mut self, index: usize, scratch: &mut [u8]) -> anyhow::Result<()> {
        let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
        let count = match connection.stream.read(scratch) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("receive"),
        };
        let fresh = scratch.get(..count).unwrap_or_default();
        let now_ns = self.started.elapsed().as_nanos() as u64;
        let whole = connection.received.is_empty();
        if !whole {
            connection.received.extend_from_slice(fresh);
        }
        let bytes: &[u8] = if whole { fresh } else { &connection.received };
        let mut at = 0;
        while let Some(end) = reply_end(bytes, at) {
            if bytes.get(at) == Some(&b'-') {
                self.outcome.errors += 1;
                let line = bytes.get(at + 1..end).unwrap_or_default();
                self.outcome
                    .first_error
                    .get_or_insert_with(|| String::from_utf8_lossy(line).trim().to_owned());
            }
            at = end;
            let intended =
                connection.intended_ns.pop_front().context("a reply that nobody asked for")?;
            self.outcome.replies += 1;
            self.outcome
                .latency_us
                .saturating_record((now_ns.saturating_sub(intended) / 1_000).max(1));
        }
        if whole {
            connection.received.extend_from_slice(fresh.get(at..).unwrap_or_default());
        } else {
            connection.received.drain(..at);
        }
        Ok(())
    }
}

/// Where the reply at an offset ends; `None` where it is not complete. The workloads' replies are
/// flat.
fn reply_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let line = rest.iter().position(|&byte| byte == b'\n')? + 1;
    if rest.first() != Some(&b'$') {
        return Some(at + line);
    }
    let digits = rest.get(1..line - 2)?;
    match thalweg_machine::parse_u64(digits) {
        Some(length) => {
            let end = at + line + length as usize + 2;
            (bytes.len() >= end).then_some(end)
        }
        // $-1
        None => Some(at + line),
    }
}
