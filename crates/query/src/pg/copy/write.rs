//! COPY TO: rows as text, CSV or binary.

use super::*;

/// Rows as they are sent: each is a message of its own, which clients rely on.
#[derive(Default)]
pub(in crate::pg) struct Piece {
    pub(in crate::pg) bytes: Vec<u8>,
    /// Where each message ends.
    pub(in crate::pg) ends: Vec<usize>,
}

pub(super) struct Writer {
    pub(super) options: CopyOptions,
    pub(super) names: Vec<String>,
    pub(super) types: Vec<Typed>,
    pub(super) style: Style,
}

impl Writer {
    pub(super) fn head(&self) -> Vec<u8> {
        if self.options.format == CopyFormat::Binary {
            return BINARY_HEAD.to_vec();
        }
        let mut head = Vec::new();
        if self.options.header != Header::No {
            for (index, name) in self.names.iter().enumerate() {
                if index > 0 {
                    head.push(self.options.delimiter);
                }
                self.put(&mut head, name.as_bytes(), name);
            }
            head.push(b'\n');
        }
        head
    }

    pub(super) fn tail(&self) -> Vec<u8> {
        if self.options.format == CopyFormat::Binary {
            (-1i16).to_be_bytes().to_vec()
        } else {
            Vec::new()
        }
    }

    pub(super) fn lines(&self, batch: &RecordBatch) -> Result<Piece, SqlError> {
        let mut piece = Piece::default();
        let mut text = Vec::new();
        for row in 0..batch.num_rows() {
            let out = &mut piece.bytes;
            if self.options.format == CopyFormat::Binary {
                self.binary(out, batch, row)?;
                piece.ends.push(piece.bytes.len());
                continue;
            }
            for (index, (array, name)) in batch.columns().iter().zip(&self.names).enumerate() {
                if index > 0 {
                    out.push(self.options.delimiter);
                }
                text.clear();
                if encode::put_text(&mut text, array.as_ref(), row, &self.style)? {
                    self.put(out, &text, name);
                } else {
                    out.extend_from_slice(self.options.null.as_bytes());
                }
            }
            out.push(b'\n');
            piece.ends.push(piece.bytes.len());
        }
        Ok(piece)
    }

    pub(super) fn binary(
        &self,
        out: &mut Vec<u8>,
        batch: &RecordBatch,
        row: usize,
    ) -> Result<(), SqlError> {
        let mut value = Vec::new();
        out.extend((batch.num_columns() as i16).to_be_bytes());
        for (array, typed) in batch.columns().iter().zip(&self.types) {
            value.clear();
            if encode::put_binary(&mut value, array.as_ref(), row, *typed)? {
                out.extend((value.len() as i32).to_be_bytes());
                out.extend_from_slice(&value);
            } else {
                out.extend((-1i32).to_be_bytes());
            }
        }
        Ok(())
    }

    pub(super) fn put(&self, out: &mut Vec<u8>, text: &[u8], column: &str) {
        match self.options.format {
            CopyFormat::Csv => {
                let forced =
                    self.options.force_quote.as_ref().is_some_and(|names| {
                        names.iter().any(|name| name == "*" || name == column)
                    });
                quote(out, text, &self.options, forced);
            }
            _ => escape(out, text, self.options.delimiter),
        }
    }
}

pub(super) fn escape(out: &mut Vec<u8>, text: &[u8], delimiter: u8) {
    for &byte in text {
        match byte {
            8 => out.extend_from_slice(b"\\b"),
            11 => out.extend_from_slice(b"\\v"),
            12 => out.extend_from_slice(b"\\f"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\\' => out.extend_from_slice(b"\\\\"),
            byte if byte == delimiter => out.extend_from_slice(&[b'\\', byte]),
            byte => out.push(byte),
        }
    }
}

pub(super) fn quote(out: &mut Vec<u8>, text: &[u8], options: &CopyOptions, forced: bool) {
    let plain = |&byte: &u8| {
        byte != options.delimiter && byte != options.quote && !matches!(byte, b'\n' | b'\r')
    };
    let is_null = text == options.null.as_bytes();
    if !forced && !is_null && text != b"\\." && text.iter().all(plain) {
        out.extend_from_slice(text);
        return;
    }
    out.push(options.quote);
    for &byte in text {
        if byte == options.quote || byte == options.escape {
            out.push(options.escape);
        }
        out.push(byte);
    }
    out.push(options.quote);
}
