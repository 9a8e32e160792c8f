//! RESP replies, rendered straight into the send buffer.

use thalweg_machine::{Answer, CommandError, push_i64};

/// Renders replies into a buffer, in version 2 or 3 of the protocol.
pub struct RespWriter<'a> {
    out: &'a mut Vec<u8>,
    resp3: bool,
}

impl<'a> RespWriter<'a> {
    /// A writer at the end of a buffer.
    pub fn new(out: &'a mut Vec<u8>, resp3: bool) -> Self {
        Self { out, resp3 }
    }

    /// Whether maps, nulls and doubles have types of their own.
    pub fn is_resp3(&self) -> bool {
        self.resp3
    }

    /// The head of something that nobody asked for just now.
    pub(super) fn push(&mut self, length: usize) {
        self.head(if self.resp3 { b'>' } else { b'*' }, length);
    }

    #[inline]
    fn head(&mut self, kind: u8, value: usize) {
        self.out.push(kind);
        if value < 10 {
            self.out.push(b'0' + value as u8);
        } else {
            push_i64(self.out, value as i64);
        }
        self.out.extend_from_slice(b"\r\n");
    }

    fn line(&mut self, kind: u8, text: &str) {
        self.out.push(kind);
        // A line break inside would be taken for the end.
        self.out.extend(text.bytes().map(|byte| if byte < b' ' { b' ' } else { byte }));
        self.out.extend_from_slice(b"\r\n");
    }
}

impl Answer for RespWriter<'_> {
    fn simple(&mut self, text: &str) {
        if text == "OK" {
            self.out.extend_from_slice(b"+OK\r\n");
        } else {
            self.line(b'+', text);
        }
    }

    fn error(&mut self, error: &CommandError) {
        self.line(b'-', &format!("{} {}", error.code, error.message));
    }

    fn integer(&mut self, value: i64) {
        self.out.push(b':');
        push_i64(self.out, value);
        self.out.extend_from_slice(b"\r\n");
    }

    fn double(&mut self, value: f64) {
        let text = format!("{value}");
        if self.resp3 {
            self.line(b',', &text);
        } else {
            self.bulk(text.as_bytes());
        }
    }

    #[inline]
    fn bulk(&mut self, bytes: &[u8]) {
        self.head(b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    fn null(&mut self) {
        self.out.extend_from_slice(if self.resp3 { b"_\r\n" } else { b"$-1\r\n" });
    }

    fn null_array(&mut self) {
        self.out.extend_from_slice(if self.resp3 { b"_\r\n" } else { b"*-1\r\n" });
    }

    fn array(&mut self, length: usize) {
        self.head(b'*', length);
    }

    fn map(&mut self, pairs: usize) {
        if self.resp3 {
            self.head(b'%', pairs);
        } else {
            self.head(b'*', pairs * 2);
        }
    }

    fn verbatim(&mut self, text: &str) {
        if self.resp3 {
            self.head(b'=', text.len() + 4);
            self.out.extend_from_slice(b"txt:");
            self.out.extend_from_slice(text.as_bytes());
            self.out.extend_from_slice(b"\r\n");
        } else {
            self.bulk(text.as_bytes());
        }
    }

    fn pairs(&mut self, count: usize) {
        self.head(if self.resp3 { b'%' } else { b'*' }, count);
    }

    fn pair(&mut self) {
        if !self.resp3 {
            self.head(b'*', 2);
        }
    }
}
