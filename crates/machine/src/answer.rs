//! Where a command writes its reply.
//!
//! The RESP door implements [`Answer`] over its send buffer, so a reply is rendered once and copied
//! never; [`ReplyBuilder`] makes a tree for everybody who wants to look at the reply.

use crate::error::CommandError;

/// Takes a reply, piece by piece. A collection is announced with its length, then its elements
/// follow.
pub trait Answer {
    /// A short text without line breaks, such as `OK`.
    fn simple(&mut self, text: &str);
    /// A refusal.
    fn error(&mut self, error: &CommandError);
    /// An integer.
    fn integer(&mut self, value: i64);
    /// A floating-point number.
    fn double(&mut self, value: f64);
    /// Bytes.
    fn bulk(&mut self, bytes: &[u8]);
    /// Nothing, where bytes would be.
    fn null(&mut self);
    /// Nothing, where an array would be.
    fn null_array(&mut self);
    /// So many elements follow.
    fn array(&mut self, length: usize);
    /// So many pairs follow.
    fn map(&mut self, pairs: usize);
    /// Text for people, of several lines.
    fn verbatim(&mut self, text: &str);
    /// So many pairs follow, each announced by [`Answer::pair`]: a map where the protocol has maps,
    /// else an array of arrays of two.
    fn pairs(&mut self, count: usize);
    /// A pair of [`Answer::pairs`] follows.
    fn pair(&mut self);
    /// So many pairs follow, each announced by [`Answer::tuple`]: an array of arrays of two in
    /// version 3 of the protocol, else one flat array.
    fn tuples(&mut self, count: usize);
    /// A pair of [`Answer::tuples`] follows.
    fn tuple(&mut self);
    /// The reply of a command that the door will run follows here, where it stands among others.
    fn door(&mut self);

    /// `OK`.
    fn ok(&mut self) {
        self.simple("OK");
    }
}

/// A whole reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// A short text.
    Simple(String),
    /// A refusal.
    Error(CommandError),
    /// An integer.
    Integer(i64),
    /// A floating-point number.
    Double(f64),
    /// Bytes.
    Bulk(Vec<u8>),
    /// Nothing.
    Null,
    /// Elements in order.
    Array(Vec<Reply>),
    /// Pairs in order.
    Map(Vec<(Reply, Reply)>),
}

impl Reply {
    /// The bytes of a bulk or simple reply.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bulk(bytes) => Some(bytes),
            Self::Simple(text) => Some(text.as_bytes()),
            Self::Error(_)
            | Self::Integer(_)
            | Self::Double(_)
            | Self::Null
            | Self::Array(_)
            | Self::Map(_) => None,
        }
    }

    /// The elements of an array; of anything else, none.
    pub fn elements(&self) -> &[Reply] {
        match self {
            Self::Array(elements) => elements,
            Self::Simple(_)
            | Self::Error(_)
            | Self::Integer(_)
            | Self::Double(_)
            | Self::Bulk(_)
            | Self::Null
            | Self::Map(_) => &[],
        }
    }
}

/// Builds a [`Reply`].
#[derive(Default)]
pub struct ReplyBuilder {
    open: Vec<Open>,
    done: Option<Reply>,
}

struct Open {
    left: usize,
    is_map: bool,
    elements: Vec<Reply>,
}

impl ReplyBuilder {
    /// The reply; `Null` where the command wrote none.
    pub fn finish(self) -> Reply {
        self.done.unwrap_or(Reply::Null)
    }

    fn push(&mut self, reply: Reply) {
        let mut reply = reply;
        loop {
            let Some(open) = self.open.last_mut() else {
                self.done = Some(reply);
                return;
            };
            open.elements.push(reply);
            open.left -= 1;
            if open.left > 0 {
                return;
            }
            let Some(open) = self.open.pop() else { unreachable!("it was the last") };
            reply = if open.is_map { pairs(open.elements) } else { Reply::Array(open.elements) };
        }
    }

    fn open(&mut self, length: usize, is_map: bool) {
        let left = if is_map { length * 2 } else { length };
        if left == 0 {
            self.push(if is_map { Reply::Map(Vec::new()) } else { Reply::Array(Vec::new()) });
        } else {
            self.open.push(Open { left, is_map, elements: Vec::new() });
        }
    }
}

fn pairs(elements: Vec<Reply>) -> Reply {
    let mut pairs = Vec::with_capacity(elements.len() / 2);
    let mut elements = elements.into_iter();
    while let (Some(key), Some(value)) = (elements.next(), elements.next()) {
        pairs.push((key, value));
    }
    Reply::Map(pairs)
}

impl Answer for ReplyBuilder {
    fn simple(&mut self, text: &str) {
        self.push(Reply::Simple(text.to_owned()));
    }

    fn error(&mut self, error: &CommandError) {
        self.push(Reply::Error(error.clone()));
    }

    fn integer(&mut self, value: i64) {
        self.push(Reply::Integer(value));
    }

    fn double(&mut self, value: f64) {
        self.push(Reply::Double(value));
    }

    fn bulk(&mut self, bytes: &[u8]) {
        self.push(Reply::Bulk(bytes.to_vec()));
    }

    fn null(&mut self) {
        self.push(Reply::Null);
    }

    fn null_array(&mut self) {
        self.push(Reply::Null);
    }

    fn array(&mut self, length: usize) {
        self.open(length, false);
    }

    fn map(&mut self, pairs: usize) {
        self.open(pairs, true);
    }

    fn verbatim(&mut self, text: &str) {
        self.push(Reply::Bulk(text.as_bytes().to_vec()));
    }

    fn pairs(&mut self, count: usize) {
        self.open(count, true);
    }

    fn pair(&mut self) {}

    fn tuples(&mut self, count: usize) {
        self.open(count * 2, false);
    }

    fn tuple(&mut self) {}

    fn door(&mut self) {
        self.push(Reply::Error(CommandError::new("this command needs a connection of its own")));
    }
}
