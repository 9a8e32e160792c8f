//! Answers as tables.

use crate::http::Answer;
use serde_json::Value;

/// Wider cells are cut on a terminal: a row should stay a line.
const CELL_MAX_CHARS: usize = 60;

/// Columns side by side, or, `expanded`, one below the other for each row.
pub(super) fn render(answer: &Answer, expanded: bool) -> String {
    if let ([(name, _)], [row]) = (answer.columns.as_slice(), answer.rows.as_slice())
        && name == "done"
    {
        return format!("{}\n", row.first().map(text_of).unwrap_or_default());
    }
    let cells: Vec<Vec<String>> =
        answer.rows.iter().map(|row| row.iter().map(text_of).collect()).collect();
    if expanded { one_below_the_other(answer, &cells) } else { side_by_side(answer, &cells) }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.replace('\n', "⏎"),
        other => other.to_string(),
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= CELL_MAX_CHARS {
        return text.to_owned();
    }
    text.chars().take(CELL_MAX_CHARS - 1).chain(['…']).collect()
}

fn is_number(kind: &str) -> bool {
    ["smallint", "integer", "bigint", "numeric", "real", "double"]
        .iter()
        .any(|prefix| kind.starts_with(prefix))
}

fn side_by_side(answer: &Answer, cells: &[Vec<String>]) -> String {
    let cells: Vec<Vec<String>> =
        cells.iter().map(|row| row.iter().map(|cell| cut(cell)).collect()).collect();
    let width = |index: usize, name: &str| {
        let widths = cells.iter().filter_map(|row| row.get(index)).map(|cell| cell.chars().count());
        widths.max().unwrap_or(0).max(name.chars().count())
    };
    let widths: Vec<usize> =
        answer.columns.iter().enumerate().map(|(index, (name, _))| width(index, name)).collect();
    let mut out = String::new();
    let line = |cells: Vec<(&str, bool)>| {
        let padded = cells.iter().zip(&widths).map(|((cell, right), &width)| {
            if *right { format!(" {cell:>width$} ") } else { format!(" {cell:<width$} ") }
        });
        padded.collect::<Vec<_>>().join("│").trim_end().to_owned() + "\n"
    };
    out.push_str(&line(
        answer.columns.iter().map(|(name, kind)| (name.as_str(), is_number(kind))).collect(),
    ));
    let rule = widths.iter().map(|width| "─".repeat(width + 2));
    out.push_str(&(rule.collect::<Vec<_>>().join("┼") + "\n"));
    for row in &cells {
        let kinds = answer.columns.iter().map(|(_, kind)| is_number(kind));
        out.push_str(&line(row.iter().map(String::as_str).zip(kinds).collect()));
    }
    out
}

fn one_below_the_other(answer: &Answer, cells: &[Vec<String>]) -> String {
    let width = answer.columns.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for (number, row) in cells.iter().enumerate() {
        out.push_str(&format!("── row {} ──\n", number + 1));
        for ((name, _), cell) in answer.columns.iter().zip(row) {
            out.push_str(&format!("{name:<width$} │ {cell}\n"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right() {
        let answer = Answer {
            columns: vec![("name".into(), "text".into()), ("n".into(), "bigint".into())],
            rows: vec![vec!["a".into(), 5.into()], vec![Value::Null, 1234.into()]],
        };
        let table = render(&answer, false);
        assert_eq!(table, " name │    n\n──────┼──────\n a    │    5\n      │ 1234\n");
        assert!(render(&answer, true).contains("n    │ 1234"));
    }
}
