//! Texts put together.

use super::*;

/// Values written as they are printed: `t` for true.
pub(crate) fn printed(
    call: &Call<'_>,
    index: usize,
) -> Result<datafusion::arrow::array::StringViewArray, SqlError> {
    let moment = call.moment();
    let style = crate::values::encode::Style {
        long_booleans: false,
        zone: moment.zone,
        formats: moment.formats,
    };
    crate::values::encode::texts_of(call.arg(index)?, &style)
}

pub(super) fn joined(
    call: &Call<'_>,
    first: usize,
    separators: Option<&datafusion::arrow::array::StringViewArray>,
) -> Result<ArrayRef, SqlError> {
    let columns = (first..call.args.len()).map(|index| printed(call, index));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let mut budget = Budget::default();
    let mut out = StringViewBuilder::with_capacity(call.rows);
    for row in 0..call.rows {
        let separator = match separators {
            Some(separators) if separators.is_null(row) => {
                out.append_null();
                continue;
            }
            Some(separators) => separators.value(row),
            None => "",
        };
        let parts: Vec<&str> = columns
            .iter()
            .filter(|column| column.is_valid(row))
            .map(|column| column.value(row))
            .collect();
        budget.take(parts.iter().map(|part| part.len() + separator.len()).sum())?;
        out.append_value(parts.join(separator));
    }
    Ok(Arc::new(out.finish()))
}

pub(super) fn concat(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    joined(call, 0, None)
}

pub(super) fn concat_ws(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let separators = call.texts(0)?;
    joined(call, 1, Some(&separators))
}

pub(super) fn text_concat(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    concatenated(&call.texts(0)?, &call.texts(1)?)
}

/// `left || right`.
pub(crate) fn concatenated(
    left: &StringViewArray,
    right: &StringViewArray,
) -> Result<ArrayRef, SqlError> {
    let mut budget = Budget::default();
    let mut out = StringViewBuilder::with_capacity(left.len());
    for pair in left.iter().zip(right.iter()) {
        match pair {
            (Some(left), Some(right)) => {
                budget.take(left.len() + right.len())?;
                out.append_value(format!("{left}{right}"));
            }
            _ => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}
