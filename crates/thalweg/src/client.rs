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
    pub(crate) fn elements(&self) -> &[Self] {
        match self {
            Self::Array(elements) => elements,
            _ => &[],
        }
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Text(bytes) => std::str::from_utf8(bytes).unwrap_or_default(),
            _ => "",
        }
    }

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

    /// The next reply.
    pub(crate) fn receive(&mut self) -> anyhow::Result<Reply> {
        loop {
            if let Some((reply, end)) = parse(&self.received, self.at)? {
                self.at = end;
                if self.at == self.received.len() {
                    self.received.clear();
                    self.at = 0;
                }
                return Ok(reply);
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> anyhow::Result<()> {
        if self.at > 0 {
            self.received.drain(..self.at);
            self.at = 0;
        }
        let start = self.received.len();
        self.received.resize(start + (256 << 10), 0);
        let spare = self.received.get_mut(start..).unwrap_or_default();
        let count = self.stream.read(spare).context("receive")?;
        self.received.truncate(start + count);
        if count == 0 {
            bail!("the node closed the connection");
        }
        Ok(())
    }
}

/// A whole reply at an offset, with the offset behind it; `None` where it is not complete.
fn parse(bytes: &[u8], at: usize) -> anyhow::Result<Option<(Reply, usize)>> {
    let Some(rest) = bytes.get(at..) else { return Ok(None) };
    let Some(line_end) = rest.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let kind = rest.first().copied().unwrap_or_default();
    let line = rest.get(1..line_end).unwrap_or_default();
    let after = at + line_end + 2;
    let text = || String::from_utf8_lossy(line).into_owned();
    let number =
        || thalweg_machine::parse_i64(line).with_context(|| format!("not a number: {}", text()));
    Ok(Some(match kind {
        b'+' => (Reply::Text(line.to_vec()), after),
        b'-' => (Reply::Error(text()), after),
        b':' => (Reply::Integer(number()?), after),
        b'_' => (Reply::Null, after),
        b'$' => {
            let Ok(length) = usize::try_from(number()?) else {
                return Ok(Some((Reply::Null, after)));
            };
            let Some(body) = bytes.get(after..after + length) else { return Ok(None) };
            if bytes.len() < after + length + 2 {
                return Ok(None);
            }
            (Reply::Text(body.to_vec()), after + length + 2)
        }
        b'*' => {
            let Ok(length) = usize::try_from(number()?) else {
                return Ok(Some((Reply::Null, after)));
            };
            let mut elements = Vec::with_capacity(length.min(1_024));
            let mut next = after;
            for _ in 0..length {
                let Some((element, end)) = parse(bytes, next)? else { return Ok(None) };
                elements.push(element);
                next = end;
            }
            (Reply::Array(elements), next)
        }
        other => bail!("unexpected reply type '{}'", other as char),
    }))
}
