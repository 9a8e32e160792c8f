//! How large values may become: looked at before they are made.

use crate::error::{SqlError, SqlState};

/// The largest value that a function makes.
pub(crate) const VALUE_MAX_BYTES: usize = 64 << 20;
/// The most that one call makes for all rows of a batch together.
const BATCH_MAX_BYTES: usize = 256 << 20;

/// What a call has made so far.
#[derive(Debug, Default)]
pub(crate) struct Budget(usize);

impl Budget {
    /// Takes room for a value that is about to be made.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), SqlError> {
        self.0 = self.0.saturating_add(bytes);
        if bytes <= VALUE_MAX_BYTES && self.0 <= BATCH_MAX_BYTES {
            return Ok(());
        }
        let (what, most) = match bytes > VALUE_MAX_BYTES {
            true => ("a value", VALUE_MAX_BYTES),
            false => ("the values of one step", BATCH_MAX_BYTES),
        };
        let message = format!("requested length too large: {what} may have {} MiB", most >> 20);
        Err(SqlError::new(SqlState::LimitExceeded, message))
    }
}
