//! COPY … FROM STDIN and COPY … TO STDOUT, as text, CSV and in binary form.

mod binary;
mod read;
mod write;

use crate::catalog::Definition;
use crate::error::{SqlError, SqlState};
use crate::functions::bytes_of;
use crate::sql::session::{Outcome, Prepared, Session, insert_rows};
use crate::sql::statement::{Copy, CopyFormat, CopyOptions, Header};
use crate::streams::Appender;
use crate::values::encode::{self, Style};
use crate::values::moment::Moment;
use crate::values::parse;
use crate::values::pg_type::{self, Typed};
use crate::values::types::{Column, ColumnType};
use datafusion::arrow::array::{ArrayRef, RecordBatch, StringViewBuilder};
use datafusion::arrow::datatypes::{Field as ArrowField, Schema};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use read::{Field, Lines, value_of};
use std::sync::Arc;
pub(super) use write::Piece;
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
                "\"{}\" has no columns of its own, so COPY cannot write to it",
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

    /// Takes in a piece. What is too much is noted and refused at the end: the protocol has no
    /// earlier moment.
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
            self.columns_of_binary()?
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
                    let (writes, appended) = appender.writes_of_batch(&batch)?;
                    transaction.append(writes)?;
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

    fn target_columns(&self) -> Vec<&Column> {
        let columns = columns_of(&self.definition).unwrap_or_default();
        self.targets.iter().filter_map(|&target| columns.get(target)).collect()
    }

    /// The columns that are copied, in the order of their fields, and how many rows there are.
    fn columns_of_binary(&self) -> Result<(Vec<ArrayRef>, usize), SqlError> {
        let fields: Vec<ArrowField> = self.target_columns().into_iter().map(field_of).collect();
        binary::read(&self.data, &fields)
    }

    /// The same of text and CSV.
    fn columns_of_text(&self) -> Result<(Vec<ArrayRef>, usize), SqlError> {
        let targets = self.target_columns();
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
            parse::array_of_texts(&builder.finish(), &field_of(column), &self.moment)
        });
        Ok((arrays.collect::<Result<_, _>>()?, rows))
    }
}

/// The field that a column's values are read as: what is too long is refused when it is written.
fn field_of(column: &Column) -> ArrowField {
    match column.kind {
        ColumnType::Varchar(_) | ColumnType::Char(_) => ColumnType::Text.field("", true),
        kind => kind.field("", true),
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

/// What COPY … TO STDOUT gives.
pub(super) struct CopyOut {
    pub(super) columns: usize,
    /// 1 for the binary form.
    pub(super) format: i16,
    /// What stands before the first row, in the same message where it is binary.
    pub(super) head: Vec<u8>,
    pub(super) rows: BoxStream<'static, Result<Piece, SqlError>>,
    pub(super) tail: Vec<u8>,
}

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
        style: session.variables.lock().style(),
    });
    let columns = writer.names.len();
    let format = i16::from(copy.options.format == CopyFormat::Binary);
    let (head, tail) = (writer.head(), writer.tail());
    let lines = rows.stream.flat_map(move |batch| {
        let writer = writer.clone();
        let (pieces, error) = match batch {
            Ok(batch) => (pieces_of(batch), None),
            Err(error) => (Vec::new(), Some(Err(SqlError::from(error)))),
        };
        let lines = pieces.into_iter().map(move |piece| writer.lines(&piece));
        stream::iter(lines.chain(error))
    });
    Ok(CopyOut { columns, format, head, rows: lines.boxed(), tail })
}

/// A batch in pieces of about a mebibyte: its rows may share a large value, of which each gets its
/// own in the answer.
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
