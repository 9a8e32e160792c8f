//! How large values may become. The size is checked before a value is made.

use crate::error::{SqlError, SqlState};
use crate::sql::stop;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, GenericListArray, OffsetSizeTrait};
use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::ColumnarValue;

/// The largest value that a function makes.
pub(crate) const VALUE_MAX_BYTES: usize = 64 << 20;
/// The most that one call makes for all rows of a batch together.
const BATCH_MAX_BYTES: usize = 256 << 20;

/// The largest value that is computed in advance, while a statement is planned: plans are copied
/// often.
pub(crate) const PLANNED_MAX_BYTES: usize = 4 << 10;
/// Smaller values are made even where the node has hardly any memory left.
const SMALL_BYTES: usize = 1 << 20;

/// The most that a call gets, of all its arguments together: what it makes of them is about as
/// large, and copied.
const ARGUMENTS_MAX_BYTES: usize = 512 << 20;
/// The same where they are values for one row.
const CONSTANTS_MAX_BYTES: usize = 128 << 20;

/// The most parts that one call takes values apart into: matches, elements of a document, letters.
const PARTS_MAX: usize = 8 << 20;
/// What a part costs, beside a byte.
const PART_WORK: usize = 64;

/// What the values of an array take, as if they shared nothing: whoever copies them needs so much.
pub(crate) fn bytes_of(array: &ArrayRef) -> usize {
    match array.data_type() {
        DataType::List(_) => bytes_of_lists(array.as_list::<i32>()),
        DataType::LargeList(_) => bytes_of_lists(array.as_list::<i64>()),
        DataType::Utf8View => array.as_string_view().total_buffer_bytes_used() + 16 * array.len(),
        DataType::BinaryView => array.as_binary_view().total_buffer_bytes_used() + 16 * array.len(),
        DataType::Struct(_) => array.as_struct().columns().iter().map(bytes_of).sum(),
        _ => array.to_data().get_slice_memory_size().unwrap_or(0),
    }
}

fn bytes_of_lists<O: OffsetSizeTrait>(lists: &GenericListArray<O>) -> usize {
    let ends = lists.value_offsets().first().zip(lists.value_offsets().last());
    let (start, end) = ends.map_or((0, 0), |(start, end)| (start.as_usize(), end.as_usize()));
    size_of_val(lists.value_offsets()) + bytes_of(&lists.values().slice(start, end - start))
}

/// Refuses a call with arguments that are too large.
pub(super) fn check_arguments(arguments: &[ColumnarValue]) -> Result<(), SqlError> {
    let (mut arrays, mut constants) = (0usize, 0usize);
    for argument in arguments {
        match argument {
            ColumnarValue::Array(array) => arrays += bytes_of(array),
            ColumnarValue::Scalar(value) => constants += value.size(),
        }
    }
    if arrays <= ARGUMENTS_MAX_BYTES && constants <= CONSTANTS_MAX_BYTES {
        return Ok(());
    }
    let message = "requested length too large: the arguments of a function are too large together";
    Err(SqlError::new(SqlState::LimitExceeded, message))
}

tokio::task_local! {
    static PLANNING: bool;
}

/// Plans: large values are not computed meanwhile, but when the statement runs.
pub(crate) async fn while_planning<T>(planning: impl Future<Output = T>) -> T {
    PLANNING.scope(true, planning).await
}

/// Computes rows, though a plan is being made: what a view says is known when it is planned.
pub(crate) async fn while_running<T>(running: impl Future<Output = T>) -> T {
    PLANNING.scope(false, running).await
}

/// Refuses a value that is too large to be computed in advance; whoever asked computes it later.
pub(super) fn check_planned(bytes: usize) -> Result<(), SqlError> {
    if bytes > PLANNED_MAX_BYTES && PLANNING.try_with(|planning| *planning).unwrap_or(false) {
        return Err(SqlError::new(SqlState::LimitExceeded, "too large to be computed in advance"));
    }
    Ok(())
}

/// What a call has made so far.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    bytes: usize,
    parts: usize,
}

impl Budget {
    /// Takes room for a value that is about to be made.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), SqlError> {
        self.bytes = self.bytes.saturating_add(bytes);
        stop::work(bytes)?;
        check_planned(self.bytes)?;
        if bytes > SMALL_BYTES && crate::sql::watch::is_memory_short() {
            let message = "the node has hardly any memory left, so it makes no large value now";
            return Err(SqlError::new(SqlState::OutOfMemory, message));
        }
        check_value(bytes)?;
        if self.bytes <= BATCH_MAX_BYTES {
            return Ok(());
        }
        Err(too_large("the values of one step", BATCH_MAX_BYTES))
    }

    /// Takes room for one more part that a value is taken apart into.
    pub(crate) fn take_part(&mut self) -> Result<(), SqlError> {
        self.parts += 1;
        stop::work(PART_WORK)?;
        if self.parts <= PARTS_MAX {
            return Ok(());
        }
        let message = format!("requested length too large: a step may have {PARTS_MAX} parts");
        Err(SqlError::new(SqlState::LimitExceeded, message))
    }
}

/// Refuses a value that has grown too large.
pub(crate) fn check_value(bytes: usize) -> Result<(), SqlError> {
    if bytes <= VALUE_MAX_BYTES {
        return Ok(());
    }
    Err(too_large("a value", VALUE_MAX_BYTES))
}

fn too_large(what: &str, most_bytes: usize) -> SqlError {
    let most = most_bytes >> 20;
    let message = format!("requested length too large: {what} may have {most} MiB");
    SqlError::new(SqlState::LimitExceeded, message)
}
