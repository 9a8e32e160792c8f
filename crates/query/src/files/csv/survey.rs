//! What must be known of CSV files before they are read in pieces: whether a quoted value has a
//! line break in it, and whether all files of a table have their columns in one order.

use crate::error::{SqlError, SqlState};
use datafusion::arrow::csv::reader::Format;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Files that are remembered; beyond, all are looked at anew.
const FILES_MAX: usize = 10_000;
const READ_BYTES: usize = 1 << 20;
/// Records that say what types the columns of a file have.
const INFERRED_ROWS: usize = 1_000;
/// The longest header that is compared.
const HEADER_MAX_BYTES: u64 = 1 << 20;

/// Files as they were when they were looked at.
#[derive(Default)]
pub(crate) struct Survey {
    known: Mutex<HashMap<PathBuf, Seen>>,
}

#[derive(Clone)]
struct Seen {
    bytes: u64,
    changed: Option<SystemTime>,
    has_quoted_breaks: bool,
    header: String,
}

/// Whether a line break stands between quotes.
fn has_quoted_breaks(mut file: impl Read, quote: u8) -> std::io::Result<bool> {
    let mut buffer = vec![0; READ_BYTES];
    let mut inside = false;
    loop {
        let count = file.read(&mut buffer)?;
        let mut rest = buffer.get(..count).unwrap_or_default();
        if rest.is_empty() {
            return Ok(false);
        }
        // From quote to quote: what has none between its ends is passed over at the speed of
        // memory.
        while !rest.is_empty() {
            let end = memchr::memchr(quote, rest);
            let (part, behind) = rest.split_at(end.unwrap_or(rest.len()));
            if inside && memchr::memchr(b'\n', part).is_some() {
                return Ok(true);
            }
            inside ^= end.is_some();
            rest = behind.get(1..).unwrap_or_default();
        }
    }
}

fn header_of(path: &Path) -> std::io::Result<String> {
    let mut line = Vec::new();
    BufReader::new(File::open(path)?).take(HEADER_MAX_BYTES).read_until(b'\n', &mut line)?;
    let text = String::from_utf8_lossy(&line);
    Ok(text.trim_start_matches('\u{feff}').trim_end().to_owned())
}

/// The files of a location on this machine; none of others.
fn files_of(location: &str) -> Vec<PathBuf> {
    let path = location.strip_prefix("file://").unwrap_or(location);
    if path.contains("://") || path.contains(['*', '?', '[']) {
        return Vec::new();
    }
    let (mut open, mut files) = (vec![PathBuf::from(path)], Vec::new());
    while let Some(path) = open.pop() {
        if !path.is_dir() {
            files.push(path);
            continue;
        }
        let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
        open.extend(entries.map(|entry| entry.path()).filter(|path| {
            let is_hidden = |name: &str| name.starts_with(['.', '_']);
            !path.file_name().and_then(|name| name.to_str()).is_some_and(is_hidden)
                && (path.is_dir() || path.extension().is_some_and(|extension| extension == "csv"))
        }));
    }
    files.sort();
    files
}

impl Survey {
    fn look(&self, path: &Path, quote: u8) -> std::io::Result<Seen> {
        let metadata = std::fs::metadata(path)?;
        let (bytes, changed) = (metadata.len(), metadata.modified().ok());
        if let Some(seen) = self.known.lock().get(path)
            && seen.bytes == bytes
            && seen.changed == changed
        {
            return Ok(seen.clone());
        }
        let seen = Seen {
            bytes,
            changed,
            has_quoted_breaks: has_quoted_breaks(File::open(path)?, quote)?,
            header: header_of(path)?,
        };
        let mut known = self.known.lock();
        if known.len() >= FILES_MAX {
            known.clear();
        }
        known.insert(path.to_owned(), seen.clone());
        Ok(seen)
    }

    /// The columns of files whose records go over several lines: DataFusion looks at a file in
    /// pieces that end at a line break, wherever that stands, so it is done here.
    pub(crate) fn schema(
        locations: &[String],
        format: &Format,
    ) -> Result<Option<Schema>, SqlError> {
        let mut merged: Option<Schema> = None;
        for path in locations.iter().flat_map(|location| files_of(location)) {
            let file = File::open(&path).map_err(|error| unreadable(&path, &error.to_string()))?;
            let (schema, _) = format
                .infer_schema(file, Some(INFERRED_ROWS))
                .map_err(|error| unreadable(&path, &error.to_string()))?;
            merged = Some(match merged {
                Some(merged) if merged.fields().len() == schema.fields().len() => {
                    of_both(&merged, &schema)
                }
                Some(_) => {
                    return Err(unreadable(&path, "it has more or fewer columns than others"));
                }
                None => schema,
            });
        }
        Ok(merged)
    }

    /// Looks at a table's files: whether a record of theirs goes over several lines. Refused where
    /// the same columns stand in another order, for they are read by their place.
    pub(crate) fn has_quoted_breaks(
        &self,
        locations: &[String],
        has_header: bool,
        quote: u8,
    ) -> Result<bool, SqlError> {
        let mut first: Option<(PathBuf, String)> = None;
        let mut quoted = false;
        for path in locations.iter().flat_map(|location| files_of(location)) {
            // One that cannot be read is reported by whoever reads it.
            let Ok(seen) = self.look(&path, quote) else { continue };
            quoted |= seen.has_quoted_breaks;
            let Some((other, header)) = &first else {
                first = Some((path, seen.header));
                continue;
            };
            if has_header && *header != seen.header && sorted(header) == sorted(&seen.header) {
                return Err(SqlError::new(
                    SqlState::FeatureNotSupported,
                    format!(
                        "{} has the columns of {} in another order",
                        path.display(),
                        other.display()
                    ),
                )
                .hint(
                    "write the files anew with one order of columns, or declare a table for each",
                ));
            }
        }
        Ok(quoted)
    }
}

fn unreadable(path: &Path, why: &str) -> SqlError {
    SqlError::new(SqlState::InvalidText, format!("{} cannot be read as CSV: {why}", path.display()))
}

/// Columns that hold what either of two files has.
fn of_both(one: &Schema, other: &Schema) -> Schema {
    let fields = one.fields().iter().zip(other.fields()).map(|(one, other)| {
        let kind = match (one.data_type(), other.data_type()) {
            (a, b) if a == b => a.clone(),
            (DataType::Null, kind) | (kind, DataType::Null) => kind.clone(),
            (DataType::Int64, DataType::Float64) | (DataType::Float64, DataType::Int64) => {
                DataType::Float64
            }
            _ => DataType::Utf8,
        };
        Field::new(one.name(), kind, true)
    });
    Schema::new(fields.collect::<Vec<_>>())
}

fn sorted(header: &str) -> Vec<String> {
    let mut names: Vec<String> =
        header.split([',', ';', '\t', '|']).map(|name| name.trim_matches('"').to_owned()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_between_quotes() {
        for (text, wanted) in [
            ("a,b\n1,2\n", false),
            ("a,b\n\"1\",\"2\"\n", false),
            ("a,b\n1,\"x\ny\"\n", true),
            ("a,b\n1,\"say \"\"hi\"\"\"\n2,3\n", false),
            ("", false),
        ] {
            assert_eq!(has_quoted_breaks(text.as_bytes(), b'"').expect("read"), wanted, "{text:?}");
        }
    }

    #[test]
    fn columns_of_records_over_several_lines() {
        let folder = tempfile::tempdir().expect("a folder");
        let record = |id: usize| format!("{id},\"one\n{id},two\"\n");
        let text: String = (0..20_000).map(record).collect();
        std::fs::write(folder.path().join("a.csv"), format!("id,t\n{text}")).expect("written");
        std::fs::write(folder.path().join("b.csv"), "id,t\n1.5,x\n").expect("written");
        let locations = [folder.path().display().to_string()];
        assert!(Survey::default().has_quoted_breaks(&locations, true, b'"').expect("read"));
        let format = Format::default().with_header(true);
        let schema = Survey::schema(&locations, &format).expect("read").expect("files");
        let kinds: Vec<&DataType> = schema.fields().iter().map(|field| field.data_type()).collect();
        assert_eq!(kinds, [&DataType::Float64, &DataType::Utf8]);
    }

    #[test]
    fn columns_in_another_order_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a.csv"), "id,v\n1,2\n").expect("written");
        std::fs::write(folder.path().join("b.csv"), "id,v\n3,4\n").expect("written");
        let survey = Survey::default();
        let locations = [folder.path().display().to_string()];
        assert!(!survey.has_quoted_breaks(&locations, true, b'"').expect("one order"));
        std::fs::write(folder.path().join("b.csv"), "v,id\n40,3\n").expect("written");
        let refused = survey.has_quoted_breaks(&locations, true, b'"').expect_err("two orders");
        assert!(refused.to_string().contains("another order"), "{refused}");
    }
}
