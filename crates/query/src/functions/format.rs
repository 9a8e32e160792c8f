//! `format`: texts with places for values, `%s`, `%I` and `%L`.

use super::letters::quote_literal;
use super::text::{printed, quote_ident};
use super::{Budget, Call, Function, returns_text};
use crate::error::{SqlError, SqlState};
use datafusion::arrow::array::{Array, ArrayRef, StringViewArray, StringViewBuilder};
use std::iter::Peekable;
use std::str::Chars;
use std::sync::Arc;

pub(super) fn functions() -> Vec<Function> {
    vec![Function::new("format", returns_text, format)]
}

/// A place: `%[position$][-][width]type`.
#[derive(Debug, Default)]
struct Place {
    position: Option<usize>,
    at_left: bool,
    width: Width,
    kind: char,
}

#[derive(Debug, Default)]
enum Width {
    #[default]
    None,
    Fixed(usize),
    /// That of an argument: `*` is the next one.
    Argument(Option<usize>),
}

fn wrong(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::InvalidParameter, message)
}

fn unterminated() -> SqlError {
    wrong("unterminated format() type specifier").hint("For a single \"%\" use \"%%\".")
}

fn number(letters: &mut Peekable<Chars<'_>>) -> Result<Option<usize>, SqlError> {
    let mut found: Option<usize> = None;
    while let Some(digit) = letters.peek().and_then(|letter| letter.to_digit(10)) {
        letters.next();
        let value =
            found.unwrap_or(0).checked_mul(10).and_then(|value| value.checked_add(digit as usize));
        let value = value.filter(|&value| i32::try_from(value).is_ok());
        found =
            Some(value.ok_or_else(|| {
                SqlError::new(SqlState::NumericOutOfRange, "number is out of range")
            })?);
    }
    Ok(found)
}

fn place(letters: &mut Peekable<Chars<'_>>) -> Result<Place, SqlError> {
    let mut place = Place::default();
    let mut first = number(letters)?;
    if first.is_some() && letters.next_if_eq(&'$').is_some() {
        place.position = first.take();
        if place.position == Some(0) {
            return Err(wrong("format specifies argument 0, but arguments are numbered from 1"));
        }
    }
    if first.is_none() {
        while letters.next_if_eq(&'-').is_some() {
            place.at_left = true;
        }
        first = number(letters)?;
    }
    place.width = match first {
        Some(width) => Width::Fixed(width),
        None if letters.next_if_eq(&'*').is_some() => {
            let position = number(letters)?;
            if position.is_some() && letters.next_if_eq(&'$').is_none() {
                return Err(wrong("width argument position must be ended by \"$\""));
            }
            Width::Argument(position)
        }
        None => Width::None,
    };
    place.kind = letters.next().ok_or_else(unterminated)?;
    Ok(place)
}

/// The values of a row, taken in turn.
struct Values<'a> {
    columns: &'a [StringViewArray],
    row: usize,
    next: usize,
}

impl Values<'_> {
    fn take(&mut self, position: Option<usize>) -> Result<Option<&str>, SqlError> {
        self.next = position.unwrap_or(self.next + 1);
        let column = self.next.checked_sub(1).and_then(|index| self.columns.get(index));
        let column = column.ok_or_else(|| wrong("too few arguments for format()"))?;
        Ok(column.is_valid(self.row).then(|| column.value(self.row)))
    }
}

fn put(out: &mut String, place: &Place, values: &mut Values<'_>) -> Result<(), SqlError> {
    let (mut at_left, mut width) = (place.at_left, 0usize);
    match place.width {
        Width::None => {}
        Width::Fixed(fixed) => width = fixed,
        Width::Argument(position) => {
            if let Some(text) = values.take(position)? {
                let given: i64 = text.parse().map_err(|_| {
                    let message = format!("invalid input syntax for type integer: \"{text}\"");
                    SqlError::new(SqlState::InvalidText, message)
                })?;
                at_left |= given < 0;
                width = given.unsigned_abs() as usize;
            }
        }
    }
    let value = values.take(place.position)?;
    let text = match (place.kind, value) {
        ('s', value) => value.unwrap_or_default().to_owned(),
        ('I', Some(value)) => quote_ident(value),
        ('I', None) => {
            let message = "null values cannot be formatted as an SQL identifier";
            return Err(SqlError::new(SqlState::NullValueNotAllowed, message));
        }
        (_, Some(value)) => quote_literal(value)?,
        (_, None) => "NULL".to_owned(),
    };
    let padding = width.saturating_sub(text.chars().count());
    Budget::default().take(out.len() + padding + text.len())?;
    let padding = " ".repeat(padding);
    out.extend(if at_left { [text, padding] } else { [padding, text] });
    Ok(())
}

fn format(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let formats = call.texts(0)?;
    let columns = (1..call.args.len()).map(|index| printed(call, index));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let mut budget = Budget::default();
    let mut out = StringViewBuilder::with_capacity(call.rows);
    for (row, format) in formats.iter().enumerate() {
        let Some(format) = format else {
            out.append_null();
            continue;
        };
        let mut values = Values { columns: &columns, row, next: 0 };
        let mut text = String::new();
        let mut letters = format.chars().peekable();
        while let Some(letter) = letters.next() {
            if letter != '%' {
                text.push(letter);
                continue;
            }
            if letters.next_if_eq(&'%').is_some() {
                text.push('%');
                continue;
            }
            let place = place(&mut letters)?;
            if !matches!(place.kind, 's' | 'I' | 'L') {
                let message = format!("unrecognized format() type specifier \"{}\"", place.kind);
                return Err(wrong(message).hint("For a single \"%\" use \"%%\"."));
            }
            put(&mut text, &place, &mut values)?;
        }
        budget.take(text.len())?;
        out.append_value(text);
    }
    Ok(Arc::new(out.finish()))
}
