//! Regular expressions that search from a place: regexp_replace, regexp_count, regexp_instr,
//! regexp_substr, and `substring(text similar pattern escape letter)`.

use super::regular::Compiled;
use super::{Budget, Call, Function, returns_integer, returns_text};
use crate::error::{SqlError, SqlState};
use crate::sql::stop;
use datafusion::arrow::array::{ArrayRef, Int32Array, StringViewArray, StringViewBuilder};
use regex::{Captures, Regex};
use std::sync::Arc;

/// What it costs to find something, as others count their work.
const FOUND_WORK: usize = 100;

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new("regexp_replace", returns_text, replace),
        Function::new("regexp_count", returns_integer, count),
        Function::new("regexp_instr", returns_integer, place),
        Function::new("regexp_substr", returns_text, substring),
        Function::new("substring_similar", returns_text, substring_similar),
    ]
}

/// Which arguments say where to search and what for.
struct Places {
    start: usize,
    occurrence: usize,
    end: usize,
    flags: usize,
    group: usize,
}

/// An argument that a function does not have.
const NONE: usize = usize::MAX;

/// One search.
struct Search<'a> {
    text: &'a str,
    regex: &'a Regex,
    /// The byte at which it starts; `None` beyond the end.
    from: Option<usize>,
    occurrence: usize,
    at_end: bool,
    flags: &'a str,
    group: usize,
}

impl<'a> Search<'a> {
    /// What is found, one after the other.
    fn found(&self) -> impl Iterator<Item = Captures<'a>> {
        let (text, regex, mut from) = (self.text, self.regex, self.from);
        std::iter::from_fn(move || {
            let found = regex.captures_at(text, from.filter(|from| *from <= text.len())?)?;
            let whole = found.get(0)?;
            let step = match whole.is_empty() {
                true => text.get(whole.end()..)?.chars().next().map_or(1, char::len_utf8),
                false => 0,
            };
            from = Some(whole.end() + step);
            Some(found)
        })
    }
}

fn wrong(name: &str, value: i64) -> SqlError {
    SqlError::new(
        SqlState::InvalidParameter,
        format!("invalid value for parameter \"{name}\": {value}"),
    )
}

fn byte_of(text: &str, start: i64) -> Option<usize> {
    let letters = usize::try_from(start - 1).ok()?;
    text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(letters)
}

/// Runs a search for each row that has all arguments.
fn searches<T>(
    call: &Call<'_>,
    places: &Places,
    mut each: impl FnMut(usize, Search<'_>) -> Result<Option<T>, SqlError>,
) -> Result<Vec<Option<T>>, SqlError> {
    let (texts, patterns) = (call.texts(0)?, call.texts(1)?);
    let number = |place: usize| -> Result<_, SqlError> {
        if call.has(place) { Ok(Some(call.integers(place)?)) } else { Ok(None) }
    };
    let (starts, occurrences) = (number(places.start)?, number(places.occurrence)?);
    let (ends, groups) = (number(places.end)?, number(places.group)?);
    let flags: Option<StringViewArray> =
        if call.has(places.flags) { Some(call.texts(places.flags)?) } else { None };
    let mut compiled = Compiled::default();
    let mut out = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        if call.has_null(row) {
            out.push(None);
            continue;
        }
        let text = texts.value(row);
        let start = starts.as_ref().map_or(1, |starts| starts.value(row));
        let occurrence = occurrences.as_ref().map_or(1, |occurrences| occurrences.value(row));
        let end = ends.as_ref().map_or(0, |ends| ends.value(row));
        let group = groups.as_ref().map_or(0, |groups| groups.value(row));
        if start < 1 {
            return Err(wrong("start", start));
        }
        if !(0..=1).contains(&end) {
            return Err(wrong("endoption", end));
        }
        let flags = flags.as_ref().map_or("", |flags| flags.value(row));
        let search = Search {
            text,
            regex: compiled.get(patterns.value(row), flags)?,
            from: byte_of(text, start),
            occurrence: usize::try_from(occurrence).map_err(|_| wrong("n", occurrence))?,
            at_end: end == 1,
            flags,
            group: usize::try_from(group).map_err(|_| wrong("subexpr", group))?,
        };
        out.push(each(row, search)?);
    }
    Ok(out)
}

fn texts(rows: Vec<Option<String>>) -> ArrayRef {
    let mut out = StringViewBuilder::with_capacity(rows.len());
    rows.into_iter().for_each(|row| out.append_option(row));
    Arc::new(out.finish())
}

/// `\1` and `\&` of a replacement, put into a text.
fn expand(found: &Captures<'_>, replacement: &str, out: &mut String) {
    let mut letters = replacement.chars();
    let group = |index: usize| found.get(index).map_or("", |group| group.as_str());
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some(digit @ '0'..='9') => out.push_str(group(digit as usize - '0' as usize)),
                Some('&') => out.push_str(group(0)),
                Some('\\') | None => out.push('\\'),
                Some(other) => out.extend(['\\', other]),
            },
            other => out.push(other),
        }
    }
}

fn replace(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let news = call.texts(2)?;
    let has_start = call.fields.get(3).is_some_and(|field| field.data_type().is_integer());
    let places = match has_start {
        true => Places { start: 3, occurrence: 4, end: NONE, flags: 5, group: NONE },
        false => Places { start: NONE, occurrence: NONE, end: NONE, flags: 3, group: NONE },
    };
    let mut budget = Budget::default();
    let out = searches(call, &places, |row, search| {
        let new = news.value(row);
        let all = if has_start { search.occurrence == 0 } else { search.flags.contains('g') };
        let (mut out, mut last) = (String::new(), 0);
        for (index, found) in search.found().enumerate() {
            let Some(whole) = found.get(0) else { continue };
            if !all && index + 1 != search.occurrence {
                continue;
            }
            out.push_str(search.text.get(last..whole.start()).unwrap_or_default());
            let before = out.len();
            expand(&found, new, &mut out);
            budget.take(out.len() - before)?;
            last = whole.end();
            if !all {
                break;
            }
        }
        out.push_str(search.text.get(last..).unwrap_or_default());
        Ok(Some(out))
    })?;
    Ok(texts(out))
}

fn count(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let places = Places { start: 2, occurrence: NONE, end: NONE, flags: 3, group: NONE };
    let counts = searches(call, &places, |_, search| {
        let mut count = 0;
        for _ in search.found() {
            stop::work(FOUND_WORK)?;
            count += 1;
        }
        Ok(Some(count))
    })?;
    Ok(Arc::new(Int32Array::from(counts)))
}

/// The number of the letter where something is found, or of the one behind it; 0 where it is not.
fn place(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let places = Places { start: 2, occurrence: 3, end: 4, flags: 5, group: 6 };
    let found = searches(call, &places, |_, search| {
        let occurrence = search.occurrence.checked_sub(1).ok_or_else(|| wrong("n", 0))?;
        let found = search.found().nth(occurrence);
        let group = found.and_then(|found| found.get(search.group));
        Ok(Some(group.map_or(0, |group| {
            let byte = if search.at_end { group.end() } else { group.start() };
            search.text.get(..byte).unwrap_or_default().chars().count() as i32 + 1
        })))
    })?;
    Ok(Arc::new(Int32Array::from(found)))
}

fn substring(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let places = Places { start: 2, occurrence: 3, end: NONE, flags: 4, group: 5 };
    let found = searches(call, &places, |_, search| {
        let occurrence = search.occurrence.checked_sub(1).ok_or_else(|| wrong("n", 0))?;
        let found = search.found().nth(occurrence);
        Ok(found.and_then(|found| Some(found.get(search.group)?.as_str().to_owned())))
    })?;
    Ok(texts(found))
}

/// The part of a text between the two marks `#"` of a pattern, or all of it where there are none.
fn substring_similar(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (values, patterns, escapes) = (call.texts(0)?, call.texts(1)?, call.texts(2)?);
    let mut compiled = Compiled::default();
    let mut out = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        if call.has_null(row) {
            out.push(None);
            continue;
        }
        let escape = escapes.value(row).chars().next();
        let mark = escape.map(|escape| format!("{escape}\""));
        let pattern = patterns.value(row);
        let parts: Vec<&str> = match &mark {
            Some(mark) => pattern.split(mark.as_str()).collect(),
            None => vec![pattern],
        };
        if parts.len() > 3 {
            let message = "SQL regular expression may not contain more than two \
                           escape-double-quote separators";
            return Err(SqlError::new(SqlState::InvalidRegularExpression, message));
        }
        let part = |index: usize| parts.get(index).copied().unwrap_or_default();
        let similar = |text: &str| super::regular::of_similar(text, escape);
        let inner = |text: &str| {
            let text = similar(text);
            let text = text.strip_prefix('^').unwrap_or(&text);
            text.strip_suffix('$').unwrap_or(text).to_owned()
        };
        let (pattern, group) = match parts.len() {
            1 => (similar(pattern), 0),
            // The first part takes as little as it can, and the second as much.
            _ => {
                let lazy = inner(part(0)).replace(".*", ".*?");
                (format!("^{lazy}({}){}$", inner(part(1)), inner(part(2))), 1)
            }
        };
        let found = compiled.get(&pattern, "")?.captures(values.value(row));
        out.push(found.and_then(|found| Some(found.get(group)?.as_str().to_owned())));
    }
    Ok(texts(out))
}
