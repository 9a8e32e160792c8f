//! Values as Postgres writes them, where the library writes them otherwise: doubles (`9`, `1e+20`, `Infinity`) and times
//! (`2026-01-15 10:00:00.5`).

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch, StringViewBuilder,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, Float32Type, Float64Type, Schema, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::arrow::temporal_conversions::timestamp_us_to_datetime;
use datafusion::common::Result;
use pgwire::api::results::{FieldFormat, FieldInfo};
use std::fmt::{LowerExp, Write};
use std::sync::Arc;

/// Replaces the columns that a client wants as text and the library would write otherwise by their texts.
pub(super) fn with_texts(batch: RecordBatch, fields: &[FieldInfo]) -> Result<RecordBatch> {
    let is_text =
        |index: usize| fields.get(index).is_some_and(|field| field.format() == FieldFormat::Text);
    if !(0..batch.num_columns()).any(|index| is_text(index) && is_ours(batch.column(index))) {
        return Ok(batch);
    }
    let schema = batch.schema();
    let columns = batch.columns().iter().zip(schema.fields()).enumerate();
    let (fields, columns): (Vec<Arc<Field>>, Vec<ArrayRef>) = columns
        .map(|(index, (column, field))| match texts_of(column).filter(|_| is_text(index)) {
            Some(texts) => {
                let field = field.as_ref().clone().with_data_type(DataType::Utf8View);
                (Arc::new(field), texts)
            }
            None => (field.clone(), column.clone()),
        })
        .unzip();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn is_ours(column: &ArrayRef) -> bool {
    matches!(
        column.data_type(),
        DataType::Float32 | DataType::Float64 | DataType::Timestamp(_, None)
    )
}

/// The texts of a column of numbers or times; nothing of another one.
pub(super) fn texts_of(column: &ArrayRef) -> Option<ArrayRef> {
    match column.data_type() {
        DataType::Float32 => Some(texts(column.as_primitive::<Float32Type>(), put_real)),
        DataType::Float64 => Some(texts(column.as_primitive::<Float64Type>(), put_double)),
        DataType::Timestamp(_, None) => {
            let us = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None)).ok()?;
            Some(texts(us.as_primitive::<TimestampMicrosecondType>(), put_time))
        }
        _ => None,
    }
}

fn texts<T: ArrowPrimitiveType>(
    column: &PrimitiveArray<T>,
    put: fn(&mut String, T::Native),
) -> ArrayRef {
    let mut texts = StringViewBuilder::with_capacity(column.len());
    let mut text = String::new();
    for value in column {
        match value {
            Some(value) => {
                text.clear();
                put(&mut text, value);
                texts.append_value(&text);
            }
            None => texts.append_null(),
        }
    }
    Arc::new(texts.finish())
}

fn put_double(out: &mut String, value: f64) {
    put_number(out, value, value.is_nan(), value.is_infinite(), value.is_sign_negative(), 15);
}

fn put_real(out: &mut String, value: f32) {
    put_number(out, value, value.is_nan(), value.is_infinite(), value.is_sign_negative(), 6);
}

/// The shortest digits that give the number back; with an exponent from `digits_max` digits before the point on.
fn put_number(
    out: &mut String,
    value: impl LowerExp,
    is_nan: bool,
    is_infinite: bool,
    is_negative: bool,
    digits_max: i32,
) {
    if is_nan {
        out.push_str("NaN");
        return;
    }
    if is_negative {
        out.push('-');
    }
    if is_infinite {
        out.push_str("Infinity");
        return;
    }
    let text = format!("{value:e}");
    let text = text.trim_start_matches('-');
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: String = mantissa.chars().filter(|&digit| digit != '.').collect();
    // Writing to a string cannot fail.
    let _infallible = if exponent < -4 || exponent >= digits_max {
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "{mantissa}e{sign}{:02}", exponent.unsigned_abs())
    } else if exponent < 0 {
        let zeros = exponent.unsigned_abs() as usize - 1;
        write!(out, "0.{:0<zeros$}{digits}", "")
    } else {
        let whole = exponent as usize + 1;
        match digits.split_at_checked(whole) {
            None | Some((_, "")) => write!(out, "{digits:0<whole$}"),
            Some((whole, fraction)) => write!(out, "{whole}.{fraction}"),
        }
    };
}

fn put_time(out: &mut String, us: i64) {
    // Writing to a string cannot fail; what is beyond the calendar is no time.
    let Some(time) = timestamp_us_to_datetime(us) else {
        out.push_str(if us < 0 { "-infinity" } else { "infinity" });
        return;
    };
    let _infallible = write!(out, "{}", time.format("%Y-%m-%d %H:%M:%S"));
    let fraction_us = us.rem_euclid(1_000_000);
    if fraction_us != 0 {
        let digits = format!("{fraction_us:06}");
        out.push('.');
        out.push_str(digits.trim_end_matches('0'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_look_as_in_postgres() {
        let cases = [
            (9.0, "9"),
            (0.0, "0"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (-12.75, "-12.75"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (123456.789, "123456.789"),
            (100_000_000_000_000.0, "100000000000000"),
            (1e15, "1e+15"),
            (1.2345678901234568e17, "1.2345678901234568e+17"),
            (1e300, "1e+300"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, expected) in cases {
            let mut out = String::new();
            put_double(&mut out, value);
            assert_eq!(out, expected);
        }
        let mut out = String::new();
        put_real(&mut out, 1e6);
        assert_eq!(out, "1e+06");
    }

    #[test]
    fn times_look_as_in_postgres() {
        for (us, expected) in [
            (0, "1970-01-01 00:00:00"),
            (1_500_000, "1970-01-01 00:00:01.5"),
            (-1, "1969-12-31 23:59:59.999999"),
            (1_768_471_200_000_100, "2026-01-15 10:00:00.0001"),
        ] {
            let mut out = String::new();
            put_time(&mut out, us);
            assert_eq!(out, expected);
        }
    }
}
