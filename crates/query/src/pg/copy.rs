//! COPY … FROM STDIN and COPY … TO STDOUT, as text, CSV and in binary form.

mod write;

use crate::catalog::Definition;
use crate::encode::{self, Style};
use crate::error::{SqlError, SqlState};
use crate::functions::bytes_of;
use crate::moment::Moment;
use crate::parse;
use crate::pg_type::{self, Typed};
use crate::session::{Outcome, Prepared, Session, insert_rows};
use crate::statement::{Copy, CopyFormat, CopyOptions, Header};
use crate::stream::Appender;
use crate::types::{Column, ColumnType};
use datafusion::arrow::array::{ArrayRef, RecordBatch, StringViewBuilder};
use datafusion::arrow::datatypes::Schema;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use std::sync::Arc;
use write::Writer;

/// Bytes that one COPY may bring: it is one transaction.
const COPY_MAX_BYTES: usize = 64 << 20;
/// About as much is written at a time.
const PIECE_BYTES: usize = 1 << 20;
/// What binary COPY begins with: a signature, flags, and the length of what else its head may have.
const BINARY_HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// A COPY FROM STDIN under way.
pub(super) struct CopyIn {
    copy: Copy,
    definition: Arc<Definition>,
    /// For each field of a line, the column that it is for.
    targets: Vec<usize>,
    data: Vec<u8>,
    too_large: bool,
    moment: Moment,
}

fn columns_of(definition: &Definition) -> Option<&[Column]> {
    match definition {
        Definition::Stream(stream) if !stream.columns.is_empty() => Some(&stream.columns),
        Definition::Table(table) => Some(&table.columns),
        _ => None,
    }
}

fn bad_format(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::BadCopyFormat, message)
}

impl CopyIn {
    pub(super) fn new(session: &mut Session, copy: &Copy) -> Result<Self, SqlError> {
        session.refuse_write("COPY FROM")?;
        if copy.query.is_some() {
            return Err(SqlError::new(SqlState::SyntaxError, "COPY into a query"));
        }
        let definition = session.definition(&copy.relation);
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
                    let message = format!(
                        "column \"{name}\" of relation \"{}\" does not exist",
                        copy.relation
                    );
                    SqlError::new(SqlState::UndefinedColumn, message)
                })
            };
            copy.columns.iter().map(position).collect::<Result<_, _>>()?
        };
        let moment = session.moment();
        Ok(Self {
            copy: copy.clone(),
            definition,
            targets,
            data: Vec::new(),
            too_large: false,
            moment,
        })
    }

    pub(super) fn columns(&self) -> usize {
        self.targets.len()
    }

    /// 1 for the binary form.
    pub(super) fn format(&self) -> i16 {
        i16::from(self.copy.options.format == CopyFormat::Binary)
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
    pub(super) async fn finish(self, session: &mut Session) -> Result<u64, SqlError> {
        if self.too_large {
            let message =
                format!("a COPY brings at most {} MiB; nothing was written", COPY_MAX_BYTES >> 20);
            return Err(
                SqlError::new(SqlState::LimitExceeded, message).hint("send it in several pieces")
            );
        }
        let (arrays, rows) = if self.copy.options.format == CopyFormat::Binary {
            return Err(SqlError::unsupported(
                "COPY FROM STDIN in binary form is not supported; text and csv are",
            ));
        } else {
            self.columns_of_text()?
        };
        let name = self.copy.relation.clone();
        match self.definition.as_ref() {
            Definition::Stream(stream) => {
                let fields: Vec<_> = self
                    .targets
                    .iter()
                    .filter_map(|&target| stream.columns.get(target))
                    .map(|column| column.kind.field(&column.name, true))
                    .collect();
                let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
                    .map_err(|error| SqlError::new(SqlState::Internal, error.to_string()))?;
                session.in_transaction(|transaction, engine| {
                    let mut appender = Appender::new(engine, &name, stream);
                    let (commands, appended) = appender.commands_of_batch(&batch)?;
                    transaction.append(commands)?;
                    Ok(appended.appended + appended.dead)
                })
            }
            Definition::Table(table) => {
                let arrays =
                    session.with_defaults(&name, table, &self.targets, arrays, rows).await?;
                insert_rows(session, &name, table, &arrays)
            }
            other => Err(SqlError::unsupported(format!("COPY into a {}", other.kind()))),
        }
    }

    /// The columns that are copied, in the order of their fields, and how many rows there are.
    fn columns_of_text(&self) -> Result<(Vec<ArrayRef>, usize), SqlError> {
        let columns = columns_of(&self.definition).unwrap_or_default();
        let targets: Vec<&Column> =
            self.targets.iter().filter_map(|&target| columns.get(target)).collect();
        let mut builders: Vec<StringViewBuilder> =
            targets.iter().map(|_| StringViewBuilder::new()).collect();
        let data = std::str::from_utf8(&self.data).map_err(|_| {
            SqlError::new(SqlState::InvalidEncoding, "invalid byte sequence for encoding \"UTF8\"")
        })?;
        let options = &self.copy.options;
        let mut lines = Lines { rest: data, options };
        let (mut number, mut rows) = (0, 0);
        while let Some(fields) = lines.next_line()? {
            number += 1;
            if number == 1 && options.header != Header::No {
                check_header(options, &targets, &fields)?;
                continue;
            }
            // A table without columns takes empty lines.
            if fields.len() > targets.len() && !(targets.is_empty() && fields.len() == 1) {
                return Err(bad_format("extra data after last expected column")
                    .hint(format!("line {number}")));
            }
            if fields.len() < targets.len() {
                let missing = targets.get(fields.len()).map_or("", |column| column.name.as_str());
                return Err(bad_format(format!("missing data for column \"{missing}\""))
                    .hint(format!("line {number}")));
            }
            for ((builder, column), field) in builders.iter_mut().zip(&targets).zip(fields) {
                builder.append_option(value_of(options, &column.name, field));
            }
            rows += 1;
        }
        let arrays = builders.into_iter().zip(&targets).map(|(mut builder, column)| {
            let field = match column.kind {
                // What is too long is refused when it is written.
                ColumnType::Varchar(_) | ColumnType::Char(_) => ColumnType::Text.field("", true),
                kind => kind.field("", true),
            };
            parse::array_of_texts(&builder.finish(), &field, &self.moment)
        });
        Ok((arrays.collect::<Result<_, _>>()?, rows))
    }
}

fn check_header(
    options: &CopyOptions,
    targets: &[&Column],
    fields: &[Field],
) -> Result<(), SqlError> {
    if options.header != Header::Match {
        return Ok(());
    }
    let same = targets.len() == fields.len()
        && targets.iter().zip(fields).all(|(column, field)| column.name == field.text);
    if same {
        Ok(())
    } else {
        Err(bad_format("column names in the header line do not match the table's columns"))
    }
}

/// A field's value: nothing where it is what stands for that.
fn value_of(options: &CopyOptions, column: &str, field: Field) -> Option<String> {
    let listed = |names: &[String]| names.iter().any(|name| name == column || name == "*");
    let is_null = match options.format {
        CopyFormat::Text => field.raw_is_null,
        _ if field.quoted => listed(&options.force_null) && field.text == options.null,
        _ => field.text == options.null && !listed(&options.force_not_null),
    };
    (!is_null).then_some(field.text)
}

/// A field of a line.
#[derive(Debug, Default, PartialEq)]
struct Field {
    text: String,
    quoted: bool,
    /// Whether it is, as it was written, what stands for no value.
    raw_is_null: bool,
}

/// The lines of COPY's data, cut into fields.
struct Lines<'a> {
    rest: &'a str,
    options: &'a CopyOptions,
}

impl Lines<'_> {
    fn next_line(&mut self) -> Result<Option<Vec<Field>>, SqlError> {
        if self.rest.is_empty()
            || matches!(self.rest, "\\.")
            || self.rest.starts_with("\\.\n")
            || self.rest.starts_with("\\.\r\n")
        {
            return Ok(None);
        }
        match self.options.format {
            CopyFormat::Csv => self.csv_line().map(Some),
            _ => self.text_line().map(Some),
        }
    }

    fn text_line(&mut self) -> Result<Vec<Field>, SqlError> {
        let bytes = self.rest.as_bytes();
        // A newline behind a backslash belongs to the value.
        let mut end = 0;
        while let Some(&byte) = bytes.get(end) {
            match byte {
                b'\n' => break,
                b'\\' => end += 2,
                _ => end += 1,
            }
        }
        let end = end.min(bytes.len());
        let line = self.rest.get(..end).unwrap_or_default();
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        let line = line.strip_suffix('\r').unwrap_or(line);
        let mut fields = Vec::new();
        let mut start = 0;
        let mut at = 0;
        let bytes = line.as_bytes();
        loop {
            match bytes.get(at) {
                Some(b'\\') => at += 2,
                Some(&byte) if byte != self.options.delimiter => at += 1,
                other => {
                    let raw = line.get(start..at.min(line.len())).unwrap_or_default();
                    let raw_is_null = raw == self.options.null;
                    fields.push(Field { text: unescape(raw)?, quoted: false, raw_is_null });
                    if other.is_none() {
                        return Ok(fields);
                    }
                    at += 1;
                    start = at;
                }
            }
        }
    }

    fn csv_line(&mut self) -> Result<Vec<Field>, SqlError> {
        let (quote, escape, delimiter) =
            (self.options.quote, self.options.escape, self.options.delimiter);
        let bytes = self.rest.as_bytes();
        let mut fields = Vec::new();
        let mut field = Vec::new();
        let (mut inside, mut quoted, mut at) = (false, false, 0);
        let mut finish = |field: &mut Vec<u8>, quoted: &mut bool| -> Result<(), SqlError> {
            let text = String::from_utf8(std::mem::take(field))
                .map_err(|_| bad_format("a quote cuts a character"))?;
            fields.push(Field { text, quoted: std::mem::take(quoted), raw_is_null: false });
            Ok(())
        };
        loop {
            let Some(&byte) = bytes.get(at) else {
                if inside {
                    return Err(bad_format("unterminated CSV quoted field"));
                }
                break;
            };
            at += 1;
            if inside {
                let next = bytes.get(at).copied();
                if byte == escape
                    && next.is_some_and(|next| next == quote || next == escape)
                    && (byte != quote || next == Some(quote))
                {
                    field.extend(next);
                    at += 1;
                } else if byte == quote {
                    inside = false;
                } else {
                    field.push(byte);
                }
            } else if byte == quote {
                inside = true;
                quoted = true;
            } else if byte == delimiter {
                finish(&mut field, &mut quoted)?;
            } else if byte == b'\n' {
                break;
            } else if byte == b'\r' && bytes.get(at) == Some(&b'\n') {
                at += 1;
                break;
            } else {
                field.push(byte);
            }
        }
        finish(&mut field, &mut quoted)?;
        self.rest = self.rest.get(at..).unwrap_or_default();
        Ok(fields)
    }
}

fn unescape(field: &str) -> Result<String, SqlError> {
    if !field.contains('\\') {
        return Ok(field.to_owned());
    }
    let mut out = Vec::with_capacity(field.len());
    let mut bytes = field.bytes().peekable();
    let digit = |byte: u8, base: u32| char::from(byte).to_digit(base).map(|digit| digit as u8);
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some(next) = bytes.next() else {
            out.push(b'\\');
            break;
        };
        out.push(match next {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'x' if bytes.peek().is_some_and(|&byte| digit(byte, 16).is_some()) => {
                let mut value = 0;
                for _ in 0..2 {
                    if let Some(next) = bytes.peek().and_then(|&byte| digit(byte, 16)) {
                        value = value * 16 + next;
                        bytes.next();
                    }
                }
                value
            }
            b'0'..=b'7' => {
                let mut value = u16::from(next - b'0');
                for _ in 0..2 {
                    if let Some(next) = bytes.peek().and_then(|&byte| digit(byte, 8)) {
                        value = value * 8 + u16::from(next);
                        bytes.next();
                    }
                }
                (value & 0xFF) as u8
            }
            other => other,
        });
    }
    String::from_utf8(out).map_err(|_| {
        SqlError::new(SqlState::InvalidEncoding, "invalid byte sequence for encoding \"UTF8\"")
    })
}

/// What COPY … TO STDOUT gives: how many columns, in which form, and pieces with the number of their rows.
pub(super) type CopyOut = (usize, i16, BoxStream<'static, Result<(Vec<u8>, u64), SqlError>>);

/// COPY … TO STDOUT.
pub(super) async fn copy_out(session: &mut Session, copy: &Copy) -> Result<CopyOut, SqlError> {
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
        return Err(SqlError::new(
            SqlState::SyntaxError,
            "COPY query must have a RETURNING clause",
        ));
    };
    let rows = rows.with_first().await?;
    let writer = Arc::new(Writer {
        options: copy.options.clone(),
        names: rows.schema.fields().iter().map(|field| field.name().clone()).collect(),
        types: rows.schema.fields().iter().map(|field| pg_type::of_field(field)).collect(),
        style: session.style(),
    });
    let (columns, format) =
        (writer.names.len(), i16::from(copy.options.format == CopyFormat::Binary));
    let (head, tail) = (writer.head(), writer.tail());
    let piece = |bytes: Vec<u8>| stream::iter((!bytes.is_empty()).then_some(Ok((bytes, 0))));
    let lines = rows.stream.flat_map(move |batch| {
        let writer = writer.clone();
        let pieces = match batch.map_err(SqlError::from) {
            Ok(batch) => Ok(pieces_of(batch)),
            Err(error) => Err(error),
        };
        let (pieces, error) = match pieces {
            Ok(pieces) => (pieces, None),
            Err(error) => (Vec::new(), Some(Err(error))),
        };
        let lines = pieces
            .into_iter()
            .map(move |piece| Ok((writer.lines(&piece)?, piece.num_rows() as u64)));
        stream::iter(lines.chain(error))
    });
    Ok((columns, format, piece(head).chain(lines).chain(piece(tail)).boxed()))
}

/// A batch in pieces of about a mebibyte: its rows may share a large value, of which each gets its own in the answer.
fn pieces_of(batch: RecordBatch) -> Vec<RecordBatch> {
    let bytes: usize = batch.columns().iter().map(bytes_of).sum();
    let rows = batch.num_rows();
    let at_once = (rows * PIECE_BYTES / bytes.max(1)).clamp(1, rows.max(1));
    (0..rows).step_by(at_once).map(|from| batch.slice(from, at_once.min(rows - from))).collect()
}

#[cfg(test)]
mod tests {
    use super::write::{escape, quote};
    use super::*;

    fn options(format: CopyFormat) -> CopyOptions {
        let csv = format == CopyFormat::Csv;
        CopyOptions {
            format,
            header: Header::No,
            delimiter: if csv { b',' } else { b'\t' },
            null: if csv { String::new() } else { "\\N".to_owned() },
            quote: b'"',
            escape: b'"',
            force_quote: None,
            force_not_null: Vec::new(),
            force_null: Vec::new(),
        }
    }

    fn lines(format: CopyFormat, text: &str) -> Vec<Vec<Option<String>>> {
        let options = options(format);
        let mut lines = Lines { rest: text, options: &options };
        let line = |fields: Vec<Field>| {
            fields.into_iter().map(|field| value_of(&options, "x", field)).collect()
        };
        std::iter::from_fn(|| lines.next_line().expect("fields")).map(line).collect()
    }

    #[test]
    fn what_is_written_is_read_again() {
        for value in
            ["plain", "", "a,b", "a\tb", "two\nlines", "\"quoted\"", "back\\slash", "\\N", "\\."]
        {
            for format in [CopyFormat::Csv, CopyFormat::Text] {
                let options = options(format);
                let mut out = Vec::new();
                match format {
                    CopyFormat::Csv => quote(&mut out, value.as_bytes(), &options, false),
                    _ => escape(&mut out, value.as_bytes(), options.delimiter),
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
        assert_eq!(
            lines(CopyFormat::Text, "\\x41\t\\101\n"),
            [[Some("A".into()), Some("A".into())]]
        );
    }
}
