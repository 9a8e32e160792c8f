//! RESP replies, rendered straight into the send buffer.

use super::space::ReplySpace;
use thalweg_machine::{Answer, CommandError, push_i64};

/// Renders replies into a buffer, in version 2 or 3 of the protocol.
pub struct RespWriter<'a> {
    out: &'a mut Vec<u8>,
    resp3: bool,
    /// How long the buffer may become without asking.
    room: usize,
    space: Option<&'a mut ReplySpace>,
    /// The bytes that did not fit; from the first on, nothing is written.
    overflow: u64,
    /// Where replies of the door's own commands belong, among those of a transaction.
    doors: Vec<usize>,
}

impl<'a> RespWriter<'a> {
    /// A writer at the end of a buffer.
    pub fn new(out: &'a mut Vec<u8>, resp3: bool) -> Self {
        Self { out, resp3, room: usize::MAX, space: None, overflow: 0, doors: Vec::new() }
    }

    /// A writer that asks before it makes a buffer large.
    pub(super) fn within(out: &'a mut Vec<u8>, resp3: bool, space: &'a mut ReplySpace) -> Self {
        let room = space.room();
        Self { out, resp3, room, space: Some(space), overflow: 0, doors: Vec::new() }
    }

    /// Ends a reply that began at `mark`: one that did not fit becomes a refusal. Gives the places
    /// of [`Answer::door`].
    pub(super) fn finish(mut self, mark: usize) -> Vec<usize> {
        if self.overflow == 0 {
            return self.doors;
        }
        let bytes = self.out.len().saturating_sub(mark) as u64 + self.overflow;
        self.out.truncate(mark);
        self.out.shrink_to(mark + 1_024);
        (self.overflow, self.room) = (0, usize::MAX);
        self.error(&CommandError::coded_text(
            "OOM",
            format!(
                "the reply of {bytes} bytes does not fit into the memory for replies; \
                 what was to be changed is changed"
            ),
        ));
        Vec::new()
    }

    /// Makes sure that so many bytes fit; false: they are left out.
    #[cold]
    fn grow(&mut self, bytes: usize) -> bool {
        let wanted = self.out.len() + bytes;
        if let Some(space) = &mut self.space
            && self.overflow == 0
            && space.grow(wanted)
        {
            self.room = space.room();
            self.out.reserve_exact(self.room.saturating_sub(self.out.len()).max(bytes));
            return true;
        }
        self.overflow += bytes as u64;
        // Nothing more of this reply: every piece comes here.
        self.room = 0;
        false
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
        if self.out.len() + bytes.len() > self.room && !self.grow(bytes.len()) {
            return;
        }
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

    fn tuples(&mut self, count: usize) {
        self.head(b'*', if self.resp3 { count } else { count * 2 });
    }

    fn tuple(&mut self) {
        if self.resp3 {
            self.head(b'*', 2);
        }
    }

    fn door(&mut self) {
        self.doors.push(self.out.len());
    }
}
