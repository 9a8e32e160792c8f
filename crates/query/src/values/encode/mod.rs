//! Values as Postgres writes them: text and binary, for every Arrow type or an error that says
//! which one has none.

use crate::error::{SqlError, SqlState};

mod binary;
mod interval;
mod numeric;
mod text;
mod time;

pub(crate) use binary::put_binary;
pub(crate) use numeric::{decimal_text, put_double, put_real};
#[cfg(test)]
pub(crate) use text::text_of;
pub(crate) use text::{Style, put_text, texts_of};
pub(crate) use time::local_us;
#[cfg(test)]
pub(crate) use time::put_timestamp;

/// The longest form of an array, a row or a map. Their parts may share bytes, so it can be far
/// longer than they are in memory.
const NESTED_MAX_BYTES: usize = 256 << 20;

/// The most that the forms of all values of a step have together: one may be small, and all of them
/// too large.
const STEP_MAX_BYTES: usize = 512 << 20;

/// Refuses to make the forms of more values.
fn check_step(bytes: usize) -> Result<(), SqlError> {
    if bytes <= STEP_MAX_BYTES {
        return Ok(());
    }
    let most = STEP_MAX_BYTES >> 20;
    let message = format!("requested length too large: the texts of one step may have {most} MiB");
    Err(SqlError::new(SqlState::LimitExceeded, message))
}

/// Refuses to make the form of a value longer.
fn check_length(bytes: usize) -> Result<(), SqlError> {
    if bytes <= NESTED_MAX_BYTES {
        return Ok(());
    }
    let message =
        format!("an array or a row may have {} MiB when it is written", NESTED_MAX_BYTES >> 20);
    Err(SqlError::new(SqlState::LimitExceeded, message))
}
