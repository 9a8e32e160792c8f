//! COPY … FROM STDIN and COPY … TO STDOUT, as text and as CSV.

use super::text::texts_of;
use crate::catalog::Definition;
use crate::error::{SqlError, SqlState};
use crate::session::{Outcome, Prepared, Session};
use crate::statement::{Copy, CopyFormat};
use crate::stream::Appender;
use crate::table::{Conflict, write_rows};
use crate::types::Column;
use crate::values::{ColumnBuilder, put_text};
use bytes::Bytes;
use datafusion::arrow::array::{Array, ArrayRef, RecordBatch};
use futures_util::StreamExt;
use pgwire::api::results::CopyResponse;
use pgwire::error::PgWireError;
use pgwire::messages::copy::CopyData;

/// Bytes that one COPY may bring: it is one transaction.
const COPY_MAX_BYTES: usize = 64 << 20;

/// A COPY FROM STDIN under way.
pub(super) struct CopyIn {
    copy: Copy,
    definition: Definition,
    /// For each field of a line, the column that it is for.
    targets: Vec<usize>,
    data: Vec<u8>,
    too_large: bool,
}

fn columns_of(definition: &Definition) -> Option<&[Column]> {
    match definition {
        Definition::Stream(stream) if !stream.columns.is_empty() => Some(&stream.columns),
        Definition::Table(table) => Some(&table.columns),
        _ => None,
    }
}

impl CopyIn {
    pub(super) fn new(session: &Session, copy: &Copy) -> Result<Self, SqlError> {
        let definition = session.inner.catalog.get(&copy.relation);
        let definition = definition.ok_or_else(|| SqlError::unknown("relation", &copy.relation))?;
        let columns = columns_of(&definition).ok_or_else(|| {
            let message = format!(
                "\"{}\" cannot be copied into: it has no columns of its own",
                copy.relation
            );
            SqlError::new(SqlState::WrongObjectType, message)
        })?;
        let targets = if copy.columns.is_empty() {
            (0..columns.len()).collect()
        } else {
            let position = |name: &String| {
                columns.iter().position(|column| column.name == *name).ok_or_else(|| {
                    SqlError::new(
                        SqlState::UndefinedColumn,
                        format!("column \"{name}\" does not exist"),
                    )
                })
            };
            copy.columns.iter().map(position).collect::<Result<_, _>>()?
        };
        Ok(Self {
            copy: copy.clone(),
            definition: definition.as_ref().clone(),
            targets,
            data: Vec::new(),
            too_large: false,
        })
    }

    pub(super) fn columns(&self) -> usize {
        self.targets.len()
    }

    /// Takes in a piece. What is too much is noted and refused at the end: the protocol has no earlier moment.
    pub(super) fn take(&mut self, piece: &[u8]) {
        if self.data.len() + piece.len() > COPY_MAX_BYTES {
            self.too_large = true;
            self.data = Vec::new();
        }
        if !self.too_large {
            self.data.extend_from_slice(piece);
        }
    }

    /// Writes all rows, or none; gives how many.
    pub(super) fn finish(self, session: &mut Session) -> Result<u64, SqlError> {
        if self.too_large {
            let message =
                format!("a COPY brings at most {} MiB; nothing was written", COPY_MAX_BYTES >> 20);
            return Err(
                SqlError::new(SqlState::LimitExceeded, message).hint("send it in several pieces")
            );
        }
        let batch = self.batch()?;
        let name = self.copy.relation.clone();
        session.in_transaction(|transaction, engine| match &self.definition {
            Definition::Stream(stream) => {
                let mut appender = Appender::new(engine, &name, stream);
                let (commands, appended) = appender.commands_of_batch(&batch)?;
                transaction.append(commands)?;
                Ok(appended.appended + appended.dead)
            }
            Definition::Table(table) => {
                write_rows(transaction, &name, table, &batch, &Conflict::Error)
            }
            other => Err(SqlError::unsupported(format!("COPY into a {}", other.kind()))),
        })
    }

    fn batch(&self) -> Result<RecordBatch, SqlError> {
        let columns = columns_of(&self.definition).unwrap_or_default();
        let mut builders: Vec<ColumnBuilder> =
            columns.iter().map(|column| ColumnBuilder::new(column.kind, 1_024)).collect();
        let mut lines =
            Lines { rest: &self.data, format: self.copy.format, delimiter: self.copy.delimiter };
        let mut number = 0;
        while let Some(fields) = lines.next_line() {
            number += 1;
            if number == 1 && self.copy.header {
                continue;
            }
            if fields.len() != self.targets.len() {
                let message = format!(
                    "line {number} has {} fields, {} are expected",
                    fields.len(),
                    self.targets.len()
                );
                return Err(SqlError::new(SqlState::InvalidText, message));
            }
            for (index, (builder, column)) in builders.iter_mut().zip(columns).enumerate() {
                let field = self.targets.iter().position(|&target| target == index);
                match field.and_then(|field| fields.get(field)).and_then(Option::as_ref) {
                    None => builder.append_null(),
                    Some(text) if builder.append_text(text) => {}
                    Some(text) => {
                        let shown = text.get(..60.min(text.len())).unwrap_or_default();
                        let message = format!(
                            "line {number}, column \"{}\": '{}' is not a {}",
                            column.name,
                            String::from_utf8_lossy(shown),
                            column.kind.name()
                        );
                        return Err(SqlError::new(SqlState::InvalidText, message));
                    }
                }
            }
        }
        let schema = crate::types::loose_schema_of(columns);
        let arrays = builders.into_iter().map(ColumnBuilder::finish).collect();
        RecordBatch::try_new(schema, arrays)
            .map_err(|error| SqlError::new(SqlState::InvalidText, error.to_string()))
    }
}

/// The lines of COPY's data, cut into fields.
struct Lines<'a> {
    rest: &'a [u8],
    format: CopyFormat,
    delimiter: u8,
}

impl Lines<'_> {
    fn next_line(&mut self) -> Option<Vec<Option<Vec<u8>>>> {
        if self.rest.is_empty() || self.rest == b"\\.\n" || self.rest == b"\\." {
            return None;
        }
        match self.format {
            CopyFormat::Text => Some(self.text_line()),
            CopyFormat::Csv => Some(self.csv_line()),
        }
    }

    fn text_line(&mut self) -> Vec<Option<Vec<u8>>> {
        let end = self.rest.iter().position(|&byte| byte == b'\n').unwrap_or(self.rest.len());
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest.get(1..).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let fields = line.split(|&byte| byte == self.delimiter);
        fields.map(|field| (field != b"\\N").then(|| unescape(field))).collect()
    }

    fn csv_line(&mut self) -> Vec<Option<Vec<u8>>> {
        let mut fields = Vec::new();
        let mut field = Vec::new();
        let (mut quoted, mut was_quoted) = (false, false);
        let mut bytes = self.rest.iter().copied().enumerate().peekable();
        let mut used = self.rest.len();
        // An empty field without quotes is no value, as in Postgres.
        let finish = |field: &mut Vec<u8>, was_quoted: &mut bool| {
            let value = std::mem::take(field);
            (std::mem::take(was_quoted) || !value.is_empty()).then_some(value)
        };
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'"' if quoted && bytes.peek().is_some_and(|&(_, next)| next == b'"') => {
                    bytes.next();
                    field.push(b'"');
                }
                b'"' => {
                    quoted = !quoted;
                    was_quoted = true;
                }
                b'\n' if !quoted => {
                    used = at + 1;
                    break;
                }
                b'\r' if !quoted && bytes.peek().is_some_and(|&(_, next)| next == b'\n') => {}
                byte if byte == self.delimiter && !quoted => {
                    fields.push(finish(&mut field, &mut was_quoted));
                }
                byte => field.push(byte),
            }
        }
        fields.push(finish(&mut field, &mut was_quoted));
        self.rest = self.rest.get(used..).unwrap_or_default();
        fields
    }
}

fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut bytes = field.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next() {
            Some(b't') => b'\t',
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(other) => other,
            None => b'\\',
        });
    }
    out
}

/// COPY … TO STDOUT.
pub(super) async fn copy_out(session: &mut Session, copy: &Copy) -> Result<CopyResponse, SqlError> {
    let query = copy.query.clone().unwrap_or_else(|| {
        let quote = |name: &String| format!("\"{}\"", name.replace('"', "\"\""));
        let columns = copy.columns.iter().map(quote).collect::<Vec<_>>().join(", ");
        let columns = if columns.is_empty() { "*".to_owned() } else { columns };
        format!("SELECT {columns} FROM {}", quote(&copy.relation))
    });
    let prepared: Prepared = session
        .parse_all(&query)?
        .pop()
        .ok_or_else(|| SqlError::new(SqlState::SyntaxError, "COPY of nothing"))?;
    let Outcome::Rows(rows) = session.execute(&prepared, Vec::new()).await? else {
        return Err(SqlError::new(SqlState::SyntaxError, "only a query can be copied"));
    };
    let schema = rows.schema();
    let columns = schema.fields().len();
    let mut head = Vec::new();
    if copy.header {
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        head.extend(names.join(&char::from(copy.delimiter).to_string()).into_bytes());
        head.push(b'\n');
    }
    let (format, delimiter) = (copy.format, copy.delimiter);
    let head = futures_util::stream::iter(
        (!head.is_empty()).then_some(Ok(CopyData::new(Bytes::from(head)))),
    );
    let lines = rows.map(move |batch| match batch {
        Ok(batch) => Ok(CopyData::new(Bytes::from(lines_of(&batch, format, delimiter)))),
        Err(error) => Err(PgWireError::from(SqlError::from(error))),
    });
    Ok(CopyResponse::new(0, columns, head.chain(lines)))
}

fn lines_of(batch: &RecordBatch, format: CopyFormat, delimiter: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let mut text = Vec::new();
    let columns = batch.columns().iter();
    let columns: Vec<ArrayRef> =
        columns.map(|column| texts_of(column).unwrap_or_else(|| column.clone())).collect();
    for row in 0..batch.num_rows() {
        for (index, array) in columns.iter().enumerate() {
            if index > 0 {
                out.push(delimiter);
            }
            if array.is_null(row) {
                if format == CopyFormat::Text {
                    out.extend_from_slice(b"\\N");
                }
                continue;
            }
            text.clear();
            // A type without a text is an empty one.
            let _written = put_text(&mut text, array.as_ref(), row);
            match format {
                CopyFormat::Text => escape(&mut out, &text, delimiter),
                CopyFormat::Csv => quote(&mut out, &text, delimiter),
            }
        }
        out.push(b'\n');
    }
    out
}

fn escape(out: &mut Vec<u8>, text: &[u8], delimiter: u8) {
    for &byte in text {
        match byte {
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\\' => out.extend_from_slice(b"\\\\"),
            byte if byte == delimiter => out.extend_from_slice(&[b'\\', byte]),
            byte => out.push(byte),
        }
    }
}

fn quote(out: &mut Vec<u8>, text: &[u8], delimiter: u8) {
    let plain = |&byte: &u8| byte != delimiter && !matches!(byte, b'"' | b'\n' | b'\r');
    if !text.is_empty() && text.iter().all(plain) {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for &byte in text {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(format: CopyFormat, text: &str) -> Vec<Vec<Option<String>>> {
        let delimiter = if format == CopyFormat::Csv { b',' } else { b'\t' };
        let mut lines = Lines { rest: text.as_bytes(), format, delimiter };
        let text = |field: Option<Vec<u8>>| {
            field.map(|field| String::from_utf8_lossy(&field).into_owned())
        };
        std::iter::from_fn(|| lines.next_line())
            .map(|line| line.into_iter().map(text).collect())
            .collect()
    }

    #[test]
    fn what_is_written_is_read_again() {
        for value in ["plain", "", "a,b", "a\tb", "two\nlines", "\"quoted\"", "back\\slash", "\\N"]
        {
            for (format, delimiter) in [(CopyFormat::Csv, b','), (CopyFormat::Text, b'\t')] {
                let mut out = Vec::new();
                match format {
                    CopyFormat::Csv => quote(&mut out, value.as_bytes(), delimiter),
                    CopyFormat::Text => escape(&mut out, value.as_bytes(), delimiter),
                }
                out.push(b'\n');
                let text = String::from_utf8(out).expect("text");
                assert_eq!(lines(format, &text), [[Some(value.to_owned())]], "{format:?} {text}");
            }
        }
    }

    #[test]
    fn no_value_is_not_an_empty_one() {
        assert_eq!(
            lines(CopyFormat::Csv, "a,,\"\"\r\n"),
            [[Some("a".into()), None, Some("".into())]]
        );
        assert_eq!(
            lines(CopyFormat::Text, "a\t\\N\t\n\\.\n"),
            [[Some("a".into()), None, Some("".into())]]
        );
    }
}
