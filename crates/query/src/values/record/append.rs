//! Values from their texts, into a column.

use super::*;

/// A text that a value is read from.
struct ValueText<'a> {
    bytes: &'a [u8],
    kind: ColumnType,
}

/// The value of a text as a scalar of this variant; nothing where it is another one.
macro_rules! read_as {
    ($text:expr, $variant:ident) => {
        match $text.read()? {
            ScalarValue::$variant(Some(value), ..) => value,
            _ => return None,
        }
    };
}

impl ValueText<'_> {
    fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes).ok()
    }

    /// What is not written in the plainest form is read as Postgres reads it.
    fn read(&self) -> Option<ScalarValue> {
        let field = self.kind.field("", true);
        parse::scalar_of_text(self.as_str()?, &field, &Moment::default()).ok()
    }

    fn decimal(&self) -> Option<i128> {
        let ColumnType::Decimal(precision, scale) = self.kind else { return None };
        Some(match parse_decimal(self.bytes, precision, scale) {
            Some(value) => value,
            None => read_as!(self, Decimal128),
        })
    }

    fn timestamp_us(&self) -> Option<i64> {
        Some(match parse_i64(self.bytes) {
            // A whole number of milliseconds since 1970, but for a date without signs.
            Some(ms) if self.bytes.len() != 8 => ms.checked_mul(1_000)?,
            _ => read_as!(self, TimestampMicrosecond),
        })
    }

    fn append_string(&self, builder: &mut StringViewBuilder) -> Option<()> {
        let text = self.as_str()?;
        match self.kind {
            ColumnType::Text => builder.append_value(text),
            ColumnType::Json => {
                crate::values::json::check(text).ok()?;
                builder.append_value(text);
            }
            ColumnType::Varchar(_) | ColumnType::Char(_) => {
                let declared = self.kind.declared()?;
                builder.append_value(parse::sized(text, &declared, false).ok()?);
            }
            _ => builder.append_value(read_as!(self, Utf8View)),
        }
        Some(())
    }
}

impl ColumnBuilder {
    pub(super) fn try_append_text(&mut self, bytes: &[u8]) -> Option<()> {
        let text = ValueText { bytes, kind: self.kind };
        match &mut self.values {
            Values::Boolean(builder) => builder.append_value(match bytes {
                b"true" | b"t" => true,
                b"false" | b"f" => false,
                _ => parse::boolean(text.as_str()?)?,
            }),
            Values::I16(builder) => builder.append_value(match parse_i64(bytes) {
                Some(value) => value.try_into().ok()?,
                None => read_as!(text, Int16),
            }),
            Values::I32(builder) => builder.append_value(match parse_i64(bytes) {
                Some(value) => value.try_into().ok()?,
                None => read_as!(text, Int32),
            }),
            Values::I64(builder) => builder.append_value(match parse_i64(bytes) {
                Some(value) => value,
                None => read_as!(text, Int64),
            }),
            Values::F32(builder) => builder.append_value(read_as!(text, Float32)),
            Values::F64(builder) => builder.append_value(match parse_f64(bytes) {
                Some(value) => value,
                None => read_as!(text, Float64),
            }),
            Values::Decimal(builder) => builder.append_value(text.decimal()?),
            Values::Text(builder) => text.append_string(builder)?,
            Values::Bytes(builder) => builder.append_value(bytes),
            Values::Date(builder) => builder.append_value(read_as!(text, Date32)),
            Values::Time(builder) => builder.append_value(text.timestamp_us()?),
            Values::Clock(builder) => builder.append_value(read_as!(text, Time64Microsecond)),
            Values::Interval(builder) => {
                builder.append_value(read_as!(text, IntervalMonthDayNano));
            }
            Values::Array(builder) => {
                text.read()?;
                builder.append_value(text.as_str()?);
            }
        }
        Some(())
    }
}
