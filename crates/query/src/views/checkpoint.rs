//! A view on disk. Its state and the offsets it has consumed are one checkpoint. So after a crash
//! it continues as if nothing had happened, whatever it had taken in since.
//!
//! A view's folder has a file `checkpoint` and files `frozen-<n>`. Rows of closed windows do not
//! change: each checkpoint adds those that are new as one more frozen file. Then it replaces
//! `checkpoint`, which names the frozen files. All of them look like this; numbers are
//! little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `TWVIEW01` |
//! | 4 | length of the header |
//! | … | header, JSON |
//! | … | batches, Arrow IPC streaming format |
//! | 4 | CRC-32C of all before |

use super::compile::Compiled;
use super::panes::pane_at;
use super::sessions::SessionColumns;
use super::state::{Content, State, state_widths};
use super::worker::Progress;
use crate::error::{SqlError, SqlState};
use datafusion::arrow::array::{Array, ArrayRef, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::common::DataFusionError;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thalweg_base::checksum::crc32c;

const MAGIC: &[u8; 8] = b"TWVIEW01";
/// More frozen files than this are made one.
const FROZEN_FILES: usize = 64;

#[derive(Serialize, Deserialize)]
struct Header {
    /// What the columns of the state are; another layout cannot be read.
    layout: String,
    progress: Vec<Progress>,
    watermark_us: Option<i64>,
    frozen_before_us: i64,
    late: u64,
    misfits: u64,
    rows_in: u64,
    done: bool,
    frozen: Vec<u64>,
}

/// A view's folder.
pub(crate) struct Folder {
    path: PathBuf,
    /// Frozen files that the last checkpoint names, and how many rows they have.
    frozen: Vec<u64>,
    frozen_rows: usize,
    next: u64,
}

/// A moment of a view, on its way to disk.
pub(crate) struct Capture {
    /// All frozen rows are written anew, as one file.
    compact: bool,
    frozen: Vec<RecordBatch>,
    frozen_rows: usize,
    frozen_schema: SchemaRef,
    header: Header,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

/// What a checkpoint says beside the state.
pub(crate) struct Restored {
    pub(crate) state: State,
    pub(crate) progress: Vec<Progress>,
    pub(crate) misfits: u64,
    pub(crate) done: bool,
}

fn io(path: &Path, action: &str) -> impl Fn(std::io::Error) -> SqlError {
    let what = format!("{action} {}", path.display());
    move |error| {
        let mut sql = SqlError::from(error);
        sql.message = format!("cannot {what}: {}", sql.message);
        sql
    }
}

fn damaged(path: &Path, what: &str) -> SqlError {
    SqlError::new(SqlState::Internal, format!("{} cannot be used: {what}", path.display()))
}

impl Folder {
    pub(crate) fn open(path: PathBuf) -> Result<Self, SqlError> {
        std::fs::create_dir_all(&path).map_err(io(&path, "create"))?;
        Ok(Self { path, frozen: Vec::new(), frozen_rows: 0, next: 0 })
    }

    /// Removes the folder.
    pub(crate) fn remove(path: &Path) {
        if let Err(error) = std::fs::remove_dir_all(path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %path.display(), "a dropped view's folder could not be \
                                                            removed");
        }
    }

    /// Takes down what a checkpoint is made of: a moment of the state, to be written when its lock
    /// is free again.
    pub(crate) fn capture(
        &self,
        state: &mut State,
        progress: &[Progress],
        misfits: u64,
        done: bool,
    ) -> Result<Capture, SqlError> {
        let compact = self.frozen.len() >= FROZEN_FILES;
        let written = if compact { 0 } else { self.frozen_rows };
        let schema = state_schema(&state.compiled)?;
        Ok(Capture {
            compact,
            frozen: skip_rows(&state.frozen, written),
            frozen_rows: state.frozen.iter().map(RecordBatch::num_rows).sum(),
            frozen_schema: state.compiled.group_schema.clone(),
            batches: state_batches(state, &schema)?,
            schema,
            header: Header {
                layout: layout_of(&state.compiled)?,
                progress: progress.to_vec(),
                watermark_us: state.watermark_us,
                frozen_before_us: state.frozen_before_us,
                late: state.late,
                misfits,
                rows_in: state.rows_in,
                done,
                frozen: Vec::new(),
            },
        })
    }

    /// Writes what was taken down.
    pub(crate) fn write(&mut self, mut capture: Capture) -> Result<(), SqlError> {
        let mut frozen = if capture.compact { Vec::new() } else { self.frozen.clone() };
        if !capture.frozen.is_empty() {
            let number = self.next;
            self.next += 1;
            let path = self.path.join(format!("frozen-{number}"));
            write_file(&path, &(), &capture.frozen_schema, &capture.frozen)?;
            frozen.push(number);
        }
        capture.header.frozen = frozen.clone();
        let path = self.path.join("checkpoint");
        write_file(&path, &capture.header, &capture.schema, &capture.batches)?;
        (self.frozen, self.frozen_rows) = (frozen, capture.frozen_rows);
        self.sweep();
        Ok(())
    }

    /// Removes frozen files that no checkpoint names any more.
    fn sweep(&self) {
        let Ok(entries) = std::fs::read_dir(&self.path) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("frozen-")?.parse().ok());
            if number.is_some_and(|number: u64| !self.frozen.contains(&number)) {
                // It is only space; the next checkpoint tries again.
                let _stays_for_now = std::fs::remove_file(entry.path());
            }
        }
    }

    /// Reads the last checkpoint; nothing where there is none, or none that fits the query.
    pub(crate) fn load(
        &mut self,
        compiled: &Arc<Compiled>,
        lateness_us: i64,
    ) -> Result<Option<Restored>, SqlError> {
        let path = self.path.join("checkpoint");
        if !path.exists() {
            return Ok(None);
        }
        let (header, batches): (Header, _) = read_file(&path)?;
        if header.layout != layout_of(compiled)? {
            tracing::warn!(path = %path.display(), "the view's checkpoint is of another version; \
                                                    it is built anew");
            return Ok(None);
        }
        let mut state = State::new(compiled, lateness_us)?;
        for number in &header.frozen {
            let ((), rows) = read_file(&self.path.join(format!("frozen-{number}")))?;
            state.frozen.extend(rows);
        }
        restore(&mut state, &batches).map_err(|error| damaged(&path, &error.to_string()))?;
        state.watermark_us = header.watermark_us;
        state.frozen_before_us = header.frozen_before_us;
        (state.late, state.rows_in) = (header.late, header.rows_in);
        self.next = header.frozen.iter().max().map_or(0, |number| number + 1);
        self.frozen = header.frozen;
        self.frozen_rows = state.frozen.iter().map(RecordBatch::num_rows).sum();
        let (progress, misfits, done) = (header.progress, header.misfits, header.done);
        Ok(Some(Restored { state, progress, misfits, done }))
    }
}

pub(super) fn skip_rows(batches: &[RecordBatch], mut skip: usize) -> Vec<RecordBatch> {
    let mut out = Vec::new();
    for batch in batches {
        if skip >= batch.num_rows() {
            skip -= batch.num_rows();
        } else {
            out.push(batch.slice(skip, batch.num_rows() - skip));
            skip = 0;
        }
    }
    out
}

/// The columns of a state: when (a pane's beginning, or a session's first and last record), keys,
/// states.
pub(super) fn state_schema(compiled: &Compiled) -> Result<SchemaRef, SqlError> {
    let mut fields =
        vec![Field::new("from", DataType::Int64, false), Field::new("to", DataType::Int64, false)];
    let mut add =
        |kind: &DataType| fields.push(Field::new(format!("c{}", fields.len()), kind.clone(), true));
    for field in compiled.key_schema.fields() {
        add(field.data_type());
    }
    for plan in &compiled.aggregates {
        for field in plan.state_fields()? {
            add(field.data_type());
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}

fn layout_of(compiled: &Compiled) -> Result<String, SqlError> {
    let mut layout = format!("{:?} {:?}", compiled.window, compiled.layout);
    if compiled.lookup.is_some() {
        // They are chosen by how the query is cut, and not by what it says.
        layout.push_str(&format!(" {:?}", compiled.keys));
    }
    for plan in &compiled.aggregates {
        layout.push_str(&format!(" {:?} {}", plan.kind, plan.function.name()));
    }
    for field in state_schema(compiled)?.fields() {
        layout.push_str(&format!(" {}", field.data_type()));
    }
    Ok(layout)
}

pub(super) fn state_batches(
    state: &mut State,
    schema: &SchemaRef,
) -> Result<Vec<RecordBatch>, SqlError> {
    let make =
        |from: Int64Array, to: Int64Array, keys: Vec<ArrayRef>, states: Vec<Vec<ArrayRef>>| {
            let mut columns: Vec<ArrayRef> = vec![Arc::new(from), Arc::new(to)];
            columns.extend(keys);
            columns.extend(states.into_iter().flatten());
            RecordBatch::try_new(schema.clone(), columns).map_err(DataFusionError::from)
        };
    let mut batches = Vec::new();
    let of_groups = |start_us: i64, groups: &mut super::groups::Groups| {
        let rows = groups.len();
        let (keys, states) = groups.state()?;
        let time = || Int64Array::from(vec![start_us; rows]);
        make(time(), time(), keys, states)
    };
    match &mut state.content {
        Content::Whole(groups) => batches.push(of_groups(0, groups)?),
        Content::Panes(panes) => {
            for (&start_us, pane) in panes {
                batches.push(of_groups(start_us, &mut pane.groups)?);
            }
        }
        Content::Sessions(sessions) => {
            let all = sessions.state()?;
            batches.push(make(all.first_us, all.last_us, all.keys, all.values)?);
        }
    }
    Ok(batches)
}

pub(super) fn restore(
    state: &mut State,
    batches: &[RecordBatch],
) -> datafusion::common::Result<()> {
    let compiled = state.compiled.clone();
    let widths = state_widths(&compiled.aggregates)?;
    let keys_len = compiled.key_schema.fields().len();
    for batch in batches {
        let rows = batch.num_rows();
        if rows == 0 {
            continue;
        }
        let mut columns = batch.columns().iter().cloned();
        let mut time = || {
            let column = columns.next();
            column
                .and_then(|column| column.as_any().downcast_ref::<Int64Array>().cloned())
                .unwrap_or_else(|| Int64Array::from(vec![0; rows]))
        };
        let (first_us, last_us) = (time(), time());
        let keys: Vec<ArrayRef> = columns.by_ref().take(keys_len).collect();
        let states: Vec<Vec<ArrayRef>> =
            widths.iter().map(|&width| columns.by_ref().take(width).collect()).collect();
        match &mut state.content {
            Content::Whole(groups) => groups.merge(&keys, &states, rows)?,
            Content::Panes(panes) => {
                pane_at(panes, first_us.value(0), &compiled)?.groups.merge(&keys, &states, rows)?;
            }
            Content::Sessions(sessions) => {
                sessions.merge(&SessionColumns { keys, first_us, last_us, values: states })?;
            }
        }
    }
    Ok(())
}

fn write_file(
    path: &Path,
    header: &impl Serialize,
    schema: &SchemaRef,
    batches: &[RecordBatch],
) -> Result<(), SqlError> {
    let header = serde_json::to_vec(header)
        .map_err(|error| SqlError::new(SqlState::Internal, error.to_string()))?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend((header.len() as u32).to_le_bytes());
    bytes.extend(header);
    let mut writer = StreamWriter::try_new(&mut bytes, schema).map_err(DataFusionError::from)?;
    for batch in batches {
        // The declared nullability may be stricter than what is written down.
        let batch = RecordBatch::try_new(schema.clone(), batch.columns().to_vec())
            .map_err(DataFusionError::from)?;
        writer.write(&batch).map_err(DataFusionError::from)?;
    }
    writer.finish().map_err(DataFusionError::from)?;
    drop(writer);
    let checksum = crc32c(&bytes);
    bytes.extend(checksum.to_le_bytes());
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary).map_err(io(&temporary, "create"))?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(io(&temporary, "write"))?;
    std::fs::rename(&temporary, path).map_err(io(path, "replace"))?;
    let folder = path.parent().unwrap_or(path);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io(folder, "sync"))
}

fn read_file<H: for<'a> Deserialize<'a>>(path: &Path) -> Result<(H, Vec<RecordBatch>), SqlError> {
    let bytes = std::fs::read(path).map_err(io(path, "read"))?;
    let split = bytes.split_last_chunk::<4>();
    let (content, checksum) = split.ok_or_else(|| damaged(path, "it is too short"))?;
    if crc32c(content) != u32::from_le_bytes(*checksum) {
        return Err(damaged(path, "its checksum does not fit"));
    }
    let rest = content.strip_prefix(MAGIC).ok_or_else(|| damaged(path, "it is no view's file"))?;
    let (length, rest) =
        rest.split_first_chunk::<4>().ok_or_else(|| damaged(path, "it is too short"))?;
    let header = rest.split_at_checked(u32::from_le_bytes(*length) as usize);
    let (header, batches) = header.ok_or_else(|| damaged(path, "it is too short"))?;
    let header =
        serde_json::from_slice(header).map_err(|error| damaged(path, &error.to_string()))?;
    let reader = StreamReader::try_new(batches, None);
    let batches = reader.and_then(Iterator::collect::<Result<Vec<_>, _>>);
    Ok((header, batches.map_err(|error| damaged(path, &error.to_string()))?))
}
