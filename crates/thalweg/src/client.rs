//! A small blocking RESP client with pipelining: what the demo speaks to its node with.

use anyhow::{Context, bail};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A reply.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    Text(Vec<u8>),
    Integer(i64),
    Error(String),
    Null,
    Array(Vec<Reply>),
}

impl Reply {
    /// The reply, unless it is an error.
    pub(crate) fn ok(self) -> anyhow::Result<Self> {
        match self {
            Self::Error(error) => bail!("the node refused a command: {error}"),
            reply => Ok(reply),
        }
    }
}

/// Appends a command to a buffer.
pub(crate) fn put_command(out: &mut Vec<u8>, args: &[&[u8]]) {
    put_head(out, b'*', args.len());
    for arg in args {
        put_head(out, b'$', arg.len());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

fn put_head(out: &mut Vec<u8>, kind: u8, value: usize) {
    out.push(kind);
    thalweg_machine::push_i64(out, value as i64);
    out.extend_from_slice(b"\r\n");
}

const READ_BYTES: usize = 64 << 10;

/// A connection.
pub(crate) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    at: usize,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream =
            TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true).context("set TCP_NODELAY")?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).context("set a time limit")?;
        Ok(Self { stream, received: Vec::new(), at: 0 })
    }

    /// Connects as soon as somebody listens.
    pub(crate) fn connect_patiently(
        address: SocketAddr,
        patience: Duration,
    ) -> anyhow::Result<Self> {
        let deadline = std::time::Instant::now() + patience;
        loop {
            match Self::connect(address) {
                Ok(client) => return Ok(client),
                Err(error) if std::time::Instant::now() > deadline => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    pub(crate) fn send(&mut self, commands: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(commands).context("send")
    }

    pub(crate) fn call(&mut self, args: &[&[u8]]) -> anyhow::Result<Reply> {
        let mut out = Vec::new();
        put_command(&mut out, args);
        self.send(&out)?;
        self.receive()?.ok()
    }

    /// The next reply. Reads on where bytes are missing and never looks at a byte twice: replies
    /// may be megabytes.
    pub(crate) fn receive(&mut self) -> anyhow::Result<Reply> {
        if self.at == self.received.len() {
            self.received.clear();
            self.at = 0;
        } else if self.at > READ_BYTES {
            self.received.drain(..self.at);
            self.at = 0;
        }
        self.parse()
    }

    fn parse(&mut self) -> anyhow::Result<Reply> {
        let (start, end) = self.line()?;
        let line = self.received.get(start..end).unwrap_or_default();
        let Some((kind, rest)) = line.split_first() else { bail!("an empty reply") };
        let number = || {
            thalweg_machine::parse_i64(rest)
                .with_context(|| format!("not a number: {}", String::from_utf8_lossy(rest)))
        };
        Ok(match kind {
            b'+' => Reply::Text(rest.to_vec()),
            b'-' => Reply::Error(String::from_utf8_lossy(rest).into_owned()),
            b':' => Reply::Integer(number()?),
            b'_' => Reply::Null,
            b'$' => match usize::try_from(number()?) {
                Ok(length) => Reply::Text(self.body(length)?),
                Err(_) => Reply::Null,
            },
            b'*' => match usize::try_from(number()?) {
                Ok(length) => {
                    let mut elements = Vec::with_capacity(length.min(1_024));
                    for _ in 0..length {
                        elements.push(self.parse()?);
                    }
                    Reply::Array(elements)
                }
                Err(_) => Reply::Null,
            },
            other => bail!("unexpected reply type '{}'", *other as char),
        })
    }

    /// The next line, without its end.
    fn line(&mut self) -> anyhow::Result<(usize, usize)> {
        let start = self.at;
        let mut looked = start;
        loop {
            let fresh = self.received.get(looked..).unwrap_or_default();
            if let Some(found) = memchr::memchr(b'\n', fresh) {
                self.at = looked + found + 1;
                return Ok((start, (looked + found).saturating_sub(1).max(start)));
            }
            looked = self.received.len();
            self.fill()?;
        }
    }

    fn body(&mut self, length: usize) -> anyhow::Result<Vec<u8>> {
        let (start, end) = (self.at, self.at + length);
        while self.received.len() < end + 2 {
            self.fill()?;
        }
        self.at = end + 2;
        Ok(self.received.get(start..end).unwrap_or_default().to_vec())
    }

    fn fill(&mut self) -> anyhow::Result<()> {
        let start = self.received.len();
        self.received.resize(start + READ_BYTES, 0);
        let spare = self.received.get_mut(start..).unwrap_or_default();
        let outcome = self.stream.read(spare);
        self.received.truncate(start + outcome.as_ref().copied().unwrap_or(0));
        if outcome.context("receive")? == 0 {
            bail!("the node closed the connection");
        }
        Ok(())
    }
}
