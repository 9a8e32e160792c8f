//! The slow log: the last commands that took long.

use std::collections::VecDeque;

/// Arguments and bytes of each that an entry keeps.
const ARGUMENTS_MAX: usize = 32;
const ARGUMENT_MAX_BYTES: usize = 128;

pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) at_ms: u64,
    pub(crate) took_us: u64,
    pub(crate) args: Vec<Vec<u8>>,
    pub(crate) client_address: String,
    pub(crate) client_name: Vec<u8>,
}

pub(crate) struct SlowLog {
    next_id: u64,
    entries: VecDeque<Entry>,
    max: usize,
}

impl SlowLog {
    pub(crate) fn new(max: usize) -> Self {
        Self { next_id: 0, entries: VecDeque::new(), max }
    }

    pub(crate) fn resize(&mut self, max: usize) {
        self.max = max;
        self.entries.truncate(max);
    }

    /// Adds a command. Secrets and great lengths are left out.
    pub(crate) fn add(
        &mut self,
        at_ms: u64,
        took_us: u64,
        args: &[&[u8]],
        client_address: &str,
        client_name: &[u8],
    ) {
        let name = args.first().copied().unwrap_or_default();
        let secret = [b"AUTH".as_slice(), b"HELLO", b"CONFIG"]
            .iter()
            .any(|word| name.eq_ignore_ascii_case(word));
        let mut kept: Vec<Vec<u8>> = Vec::new();
        for (index, arg) in args.iter().take(ARGUMENTS_MAX).enumerate() {
            if index > 0 && secret {
                kept.push(b"(redacted)".to_vec());
                break;
            }
            let mut text =
                arg.get(..ARGUMENT_MAX_BYTES.min(arg.len())).unwrap_or_default().to_vec();
            if arg.len() > ARGUMENT_MAX_BYTES {
                let more = arg.len() - ARGUMENT_MAX_BYTES;
                text.extend_from_slice(format!("... ({more} more bytes)").as_bytes());
            }
            kept.push(text);
        }
        if args.len() > ARGUMENTS_MAX {
            let more = args.len() - ARGUMENTS_MAX;
            kept.push(format!("... ({more} more arguments)").into_bytes());
        }
        let entry = Entry {
            id: self.next_id,
            at_ms,
            took_us,
            args: kept,
            client_address: client_address.to_owned(),
            client_name: client_name.to_vec(),
        };
        self.next_id += 1;
        self.entries.push_front(entry);
        self.entries.truncate(self.max);
    }

    pub(crate) fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter()
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}
