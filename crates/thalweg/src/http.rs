//! A small blocking client of the HTTP door: a statement, and its answer.

use anyhow::{Context, bail};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A statement may run for as long as it takes; a node that has gone away is noticed by its closed
/// connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// Whom to ask.
#[derive(Clone, Debug)]
pub(crate) struct SqlClient {
    /// `host:port`.
    address: String,
    password: Option<String>,
}

/// The answer to a statement.
pub(crate) struct Answer {
    /// Names and types.
    pub(crate) columns: Vec<(String, String)>,
    pub(crate) rows: Vec<Vec<Value>>,
}

/// What the node has against a statement.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) detail: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Refusal {}

impl SqlClient {
    pub(crate) fn new(url: &str, password: Option<String>) -> anyhow::Result<Self> {
        let address = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
        if address.contains('/') || !address.contains(':') {
            bail!("'{url}' is not the address of a node like http://127.0.0.1:7380");
        }
        Ok(Self { address: address.to_owned(), password })
    }

    /// Runs statements; gives the last one's answer.
    pub(crate) fn run(&self, text: &str) -> anyhow::Result<Answer> {
        let body = self.post(text, "application/json")?;
        let answer: Value = serde_json::from_slice(&body).context("the answer is cut off")?;
        let text_of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let columns = answer["columns"].as_array().into_iter().flatten();
        let columns: Vec<(String, String)> =
            columns.map(|column| (text_of(&column["name"]), text_of(&column["type"]))).collect();
        let rows = answer["rows"].as_array().into_iter().flatten();
        let rows = rows.map(|row| columns.iter().map(|(name, _)| row[name].clone()).collect());
        Ok(Answer { rows: rows.collect(), columns })
    }

    /// The same, as the bytes of a media type.
    pub(crate) fn post(&self, text: &str, accept: &str) -> anyhow::Result<Vec<u8>> {
        let address = std::net::ToSocketAddrs::to_socket_addrs(self.address.as_str())
            .ok()
            .and_then(|mut addresses| addresses.next())
            .with_context(|| format!("'{}' is no address", self.address))?;
        let mut stream =
            TcpStream::connect_timeout(&address, CONNECT_PATIENCE).with_context(|| {
                format!(
                    "no node listens on {}; start one with `thalweg serve`, or name its address \
                     with --url",
                    self.address
                )
            })?;
        let authorization = match &self.password {
            Some(password) => format!("Authorization: Bearer {password}\r\n"),
            None => String::new(),
        };
        let head = format!(
            "POST /sql HTTP/1.1\r\nConnection: close\r\nHost: {}\r\nAccept: \
             {accept}\r\nContent-Type: application/sql\r\n\
             {authorization}Content-Length: {}\r\n\r\n",
            self.address,
            text.len()
        );
        stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(text.as_bytes()))
            .context("send")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).context("receive")?;
        let split = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let Some(split) = split else { bail!("the node closed the connection") };
        let body = answer.split_off(split + 4);
        let body = whole(&answer, body)
            .context("the answer was cut off: the statement failed, or the node has ended")?;
        let status = answer.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
        if status == b"200" {
            return Ok(body);
        }
        let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
        let field = |name: &str| problem[name].as_str().map(str::to_owned);
        let status = String::from_utf8_lossy(status).into_owned();
        let code = field("code").unwrap_or_else(|| format!("HTTP {status}"));
        let detail = field("detail").or_else(|| field("title"));
        Err(Refusal { code, detail: detail.unwrap_or_default() }.into())
    }
}

/// A body without its chunks' lengths; nothing if it is not whole.
fn whole(head: &[u8], body: Vec<u8>) -> Option<Vec<u8>> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    if let Some((_, length)) = head.split_once("\r\ncontent-length:") {
        let length: usize = length.lines().next()?.trim().parse().ok()?;
        return (body.len() == length).then_some(body);
    }
    if !head.contains("transfer-encoding: chunked") {
        return Some(body);
    }
    let (mut out, mut rest) = (Vec::with_capacity(body.len()), body.as_slice());
    loop {
        let end = rest.windows(2).position(|bytes| bytes == b"\r\n")?;
        let (length, after) = rest.split_at_checked(end)?;
        let length = usize::from_str_radix(std::str::from_utf8(length).ok()?.trim(), 16).ok()?;
        if length == 0 {
            return Some(out);
        }
        let (piece, after) = after.get(2..)?.split_at_checked(length)?;
        out.extend_from_slice(piece);
        rest = after.strip_prefix(b"\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_is_no_answer() {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n";
        let body = b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n";
        assert_eq!(whole(head, body.to_vec()).as_deref(), Some(&b"hello!"[..]));
        for cut in 0..body.len() - 4 {
            assert_eq!(whole(head, body[..cut].to_vec()), None, "{cut}");
        }
        let head = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n";
        assert_eq!(whole(head, b"ab".to_vec()), None);
        assert_eq!(whole(head, b"abc".to_vec()), Some(b"abc".to_vec()));
    }
}
