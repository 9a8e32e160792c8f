//! RESP requests: arrays of bulk strings, and inline commands.
//!
//! The parser borrows: arguments are ranges of the buffer. It remembers where it was in an
//! unfinished command, so a command that comes in many pieces is read once, and not again for each
//! piece. A declared length allocates nothing: only what has arrived takes memory.

/// Limits on a command.
#[derive(Clone, Copy, Debug)]
pub struct FrameLimits {
    /// The largest argument.
    pub bulk_max_bytes: usize,
    /// The largest command as a whole.
    pub frame_max_bytes: usize,
    /// The most arguments.
    pub arguments_max: usize,
    /// The longest inline command.
    pub inline_max_bytes: usize,
}

/// Bytes that are not a command. The text is what Redis says; the connection is closed after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameError(pub String);

/// Where in the buffer an argument is: start and end.
type Span = (usize, usize);

/// A parser of one connection.
#[derive(Default)]
pub struct Parser {
    /// Arguments of the command at work, as ranges behind its first byte.
    spans: Vec<Span>,
    /// Arguments that the command will have; 0 between commands.
    expected: usize,
    /// How far the command at work has been read.
    offset: usize,
    /// Arguments of an inline command with quotes, which cannot be borrowed.
    unquoted: Vec<u8>,
}

/// What was found at the start of the buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A command of so many bytes; its arguments are in [`Parser::args`].
    Command(usize),
    /// An empty line or array of so many bytes, to be skipped.
    Nothing(usize),
    /// The command is not complete.
    Incomplete,
}

impl Parser {
    /// Looks for a command at the start of `bytes`. After `Incomplete` call again with the same
    /// bytes and more.
    pub fn parse(&mut self, bytes: &[u8], limits: &FrameLimits) -> Result<Found, FrameError> {
        if self.expected == 0 {
            self.spans.clear();
            self.unquoted.clear();
            match bytes.first() {
                None => return Ok(Found::Incomplete),
                Some(b'*') => {
                    let Some((count, next)) = read_length(bytes, 1, "multibulk")? else {
                        return Ok(Found::Incomplete);
                    };
                    if count <= 0 {
                        return Ok(Found::Nothing(next));
                    }
                    if count as u64 > limits.arguments_max as u64 {
                        return Err(FrameError("invalid multibulk length".to_owned()));
                    }
                    self.expected = count as usize;
                    self.offset = next;
                }
                Some(_) => return self.parse_inline(bytes, limits),
            }
        }
        while self.spans.len() < self.expected {
            if !self.parse_bulk(bytes, limits)? {
                if bytes.len() > limits.frame_max_bytes {
                    return Err(FrameError("command is too large".to_owned()));
                }
                return Ok(Found::Incomplete);
            }
        }
        self.expected = 0;
        Ok(Found::Command(self.offset))
    }

    /// Reads one bulk string at the offset; false where it is not complete.
    fn parse_bulk(&mut self, bytes: &[u8], limits: &FrameLimits) -> Result<bool, FrameError> {
        match bytes.get(self.offset) {
            None => return Ok(false),
            Some(b'$') => {}
            Some(&other) => {
                let shown = if other.is_ascii_graphic() { other as char } else { '?' };
                return Err(FrameError(format!("expected '$', got '{shown}'")));
            }
        }
        let Some((length, start)) = read_length(bytes, self.offset + 1, "bulk")? else {
            return Ok(false);
        };
        if length < 0 || length as u64 > limits.bulk_max_bytes as u64 {
            return Err(FrameError("invalid bulk length".to_owned()));
        }
        let end = start + length as usize;
        match bytes.get(end..end + 2) {
            Some(b"\r\n") => {}
            Some(_) => return Err(FrameError("expected CRLF after a bulk string".to_owned())),
            None => return Ok(false),
        }
        self.spans.push((start, end));
        self.offset = end + 2;
        Ok(true)
    }

    fn parse_inline(&mut self, bytes: &[u8], limits: &FrameLimits) -> Result<Found, FrameError> {
        let window = bytes.get(..limits.inline_max_bytes.min(bytes.len())).unwrap_or(bytes);
        let Some(newline) = memchr::memchr(b'\n', window) else {
            if bytes.len() >= limits.inline_max_bytes {
                return Err(FrameError("too big inline request".to_owned()));
            }
            return Ok(Found::Incomplete);
        };
        let line = window.get(..newline).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.split_inline(line)?;
        let consumed = newline + 1;
        if self.spans.is_empty() {
            Ok(Found::Nothing(consumed))
        } else {
            Ok(Found::Command(consumed))
        }
    }

    /// Splits a line into arguments, with quotes and escapes as in redis-cli.
    fn split_inline(&mut self, line: &[u8]) -> Result<(), FrameError> {
        const UNBALANCED: &str = "unbalanced quotes in request";
        let mut at = 0;
        let byte = |at: usize| line.get(at).copied();
        while let Some(first) = byte(at) {
            if first.is_ascii_whitespace() || first == 0 {
                at += 1;
                continue;
            }
            let start = self.unquoted.len();
            while let Some(here) = byte(at).filter(|here| !here.is_ascii_whitespace()) {
                at += 1;
                match here {
                    b'"' => loop {
                        let inside = byte(at).ok_or(FrameError(UNBALANCED.to_owned()))?;
                        at += 1;
                        match inside {
                            b'"' => break,
                            b'\\' => {
                                let (value, next) = unescape(line, at);
                                self.unquoted.push(value);
                                at = next;
                            }
                            _ => self.unquoted.push(inside),
                        }
                    },
                    b'\'' => loop {
                        let inside = byte(at).ok_or(FrameError(UNBALANCED.to_owned()))?;
                        at += 1;
                        match inside {
                            b'\'' => break,
                            b'\\' if byte(at) == Some(b'\'') => {
                                self.unquoted.push(b'\'');
                                at += 1;
                            }
                            _ => self.unquoted.push(inside),
                        }
                    },
                    _ => {
                        self.unquoted.push(here);
                        continue;
                    }
                }
                // A closing quote ends the argument.
                if byte(at).is_some_and(|next| !next.is_ascii_whitespace()) {
                    return Err(FrameError(UNBALANCED.to_owned()));
                }
            }
            self.spans.push((start, self.unquoted.len()));
        }
        Ok(())
    }

    /// The arguments of the command that was just found in `bytes`.
    #[inline]
    pub fn args<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let source = if bytes.first() == Some(&b'*') { bytes } else { &self.unquoted };
        self.spans.iter().map(move |&(start, end)| source.get(start..end).unwrap_or_default())
    }

    /// The first argument behind the name, if the command is an array.
    pub(super) fn first_argument<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let &(start, end) = self.spans.get(1).filter(|_| bytes.first() == Some(&b'*'))?;
        bytes.get(start..end)
    }

    /// Bytes that the parser itself holds.
    pub fn memory_bytes(&self) -> usize {
        self.spans.capacity() * size_of::<Span>() + self.unquoted.capacity()
    }

    /// Gives memory back that an unusually large command needed.
    pub fn shrink(&mut self) {
        if self.expected == 0 {
            self.spans.clear();
            self.spans.shrink_to(64);
            self.unquoted.clear();
            self.unquoted.shrink_to(1_024);
        }
    }
}

/// Reads a number and CRLF at an offset; `None` where it is not complete. Gives the offset behind
/// it.
#[inline]
fn read_length(bytes: &[u8], start: usize, what: &str) -> Result<Option<(i64, usize)>, FrameError> {
    // Nearly always one to three digits.
    let mut value: i64 = 0;
    let mut at = start;
    loop {
        match bytes.get(at) {
            None => {
                // No number is this long.
                if at - start > 20 {
                    return Err(FrameError(format!("invalid {what} length")));
                }
                return Ok(None);
            }
            Some(&digit @ b'0'..=b'9') if at - start < 18 => {
                value = value * 10 + i64::from(digit - b'0');
                at += 1;
            }
            Some(b'\r') if at > start => break,
            Some(b'-') if at == start => return read_negative(bytes, start, what),
            Some(_) => return Err(FrameError(format!("invalid {what} length"))),
        }
    }
    match bytes.get(at + 1) {
        None => Ok(None),
        Some(b'\n') => Ok(Some((value, at + 2))),
        Some(_) => Err(FrameError(format!("invalid {what} length"))),
    }
}

/// `-1` is an empty array in old clients; everything else below zero is nonsense.
fn read_negative(
    bytes: &[u8],
    start: usize,
    what: &str,
) -> Result<Option<(i64, usize)>, FrameError> {
    match bytes.get(start..start + 4) {
        Some(b"-1\r\n") => Ok(Some((-1, start + 4))),
        None if b"-1\r\n".starts_with(bytes.get(start..).unwrap_or_default()) => Ok(None),
        _ => Err(FrameError(format!("invalid {what} length"))),
    }
}

fn unescape(line: &[u8], at: usize) -> (u8, usize) {
    let hex = |at: usize| (line.get(at).copied()? as char).to_digit(16);
    match line.get(at).copied() {
        Some(b'x') => match (hex(at + 1), hex(at + 2)) {
            (Some(high), Some(low)) => ((high * 16 + low) as u8, at + 3),
            _ => (b'x', at + 1),
        },
        Some(b'n') => (b'\n', at + 1),
        Some(b'r') => (b'\r', at + 1),
        Some(b't') => (b'\t', at + 1),
        Some(b'b') => (8, at + 1),
        Some(b'a') => (7, at + 1),
        Some(other) => (other, at + 1),
        None => (b'\\', at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FrameLimits = FrameLimits {
        bulk_max_bytes: 1 << 20,
        frame_max_bytes: 2 << 20,
        arguments_max: 1_000,
        inline_max_bytes: 1_024,
    };

    fn all(bytes: &[u8]) -> Result<Vec<Vec<Vec<u8>>>, FrameError> {
        let (mut parser, mut at, mut out) = (Parser::default(), 0, Vec::new());
        loop {
            match parser.parse(&bytes[at..], &LIMITS)? {
                Found::Incomplete => return Ok(out),
                Found::Nothing(count) => at += count,
                Found::Command(count) => {
                    out.push(parser.args(&bytes[at..]).map(<[u8]>::to_vec).collect());
                    at += count;
                }
            }
        }
    }

    #[test]
    fn reads_arrays_and_inline_commands() {
        let bytes = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n\r\n*0\r\n*-1\r\nSET  b \"x \\x41\\n\"\r\nget \
                      'it''s'\n";
        let error = all(bytes).expect_err("a quote must be followed by a space");
        assert_eq!(error.0, "unbalanced quotes in request");
        let commands = all(&bytes[..bytes.len() - 12]).expect("valid");
        assert_eq!(
            commands,
            [
                vec![b"GET".to_vec(), b"a".to_vec()],
                vec![b"SET".to_vec(), b"b".to_vec(), b"x A\n".to_vec()]
            ]
        );
    }

    #[test]
    fn gives_the_same_however_the_bytes_are_cut() {
        let bytes = b"*3\r\n$3\r\nSET\r\n$5\r\nhello\r\n$0\r\n\r\nPING\r\n*1\r\n$4\r\nPING\r\n";
        let whole = all(bytes).expect("valid");
        for cut in 0..bytes.len() {
            let (mut parser, mut buffer, mut out) = (Parser::default(), Vec::new(), Vec::new());
            for part in [&bytes[..cut], &bytes[cut..]] {
                buffer.extend_from_slice(part);
                loop {
                    match parser.parse(&buffer, &LIMITS).expect("valid") {
                        Found::Incomplete => break,
                        Found::Nothing(count) => drop(buffer.drain(..count)),
                        Found::Command(count) => {
                            out.push(parser.args(&buffer).map(<[u8]>::to_vec).collect::<Vec<_>>());
                            buffer.drain(..count);
                        }
                    }
                }
            }
            assert_eq!(out, whole, "cut at {cut}");
        }
    }

    #[test]
    fn hostile_lengths_are_refused_before_anything_is_allocated() {
        for bytes in [
            "*2147483648\r\n",
            "*9223372036854775808\r\n",
            "*-2\r\n",
            "*99999999999999999999999\r\n",
            "*1\r\n$2147483648\r\n",
            "*1\r\n$-1\r\n",
            "*1\r\n$9223372036854775807\r\n",
            "*1\r\n$x\r\n",
            "*1\r\n:5\r\n",
            "*1\r\n*1\r\n$1\r\na\r\n",
            "*1\r\n$1\r\nab\r\n",
            "*1\r\n$1\rxab\r\n",
            "*\r\n",
        ] {
            assert!(all(bytes.as_bytes()).is_err(), "{bytes:?}");
        }
        assert!(all(&[b'a'; 2_000]).is_err());
    }
}
