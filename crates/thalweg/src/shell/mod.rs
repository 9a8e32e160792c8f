//! `thalweg sql`: statements typed in a terminal, their answers as tables.

mod progress;
mod table;

use crate::http::{Refusal, SqlClient};
use anyhow::Context;
use clap::Args;
use rustyline::error::ReadlineError;
use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;
use std::time::Instant;

#[derive(Args)]
pub(crate) struct SqlArgs {
    /// The node's HTTP door
    #[arg(long, default_value = "http://127.0.0.1:7380", env = "THALWEG_URL")]
    url: String,
    /// Its password, where it has one
    #[arg(long, env = "THALWEG_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Run this and end
    #[arg(long, short)]
    command: Option<String>,
    /// How answers are written: `table`, `csv`, `ndjson` [default: table on a terminal, else csv]
    #[arg(long, short)]
    format: Option<Format>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Csv,
    Ndjson,
}

const HELP: &str = "\
Statements end with a semicolon and may be several lines long.
  \\d            what there is          \\d NAME    the columns of NAME
  \\timing       show how long each took (on, off)
  \\x            each column on its own line (on, off)
  \\q            leave
";

/// What there is; one statement for all kinds.
const LIST: &str = "SELECT table_schema AS schema, table_name AS name, table_type AS type FROM \
                    information_schema.tables \
                    WHERE table_schema IN ('public', 'sys') ORDER BY 1, 2";

struct Shell {
    client: SqlClient,
    format: Format,
    timing: bool,
    expanded: bool,
    /// A person is looking.
    lively: bool,
}

/// Runs the terminal, one command, or what comes through a pipe.
pub(crate) fn run(args: &SqlArgs) -> anyhow::Result<()> {
    let lively = std::io::stdout().is_terminal();
    let format = args.format.unwrap_or(if lively { Format::Table } else { Format::Csv });
    let client = SqlClient::new(&args.url, args.password.clone())?;
    let mut shell = Shell { client, format, timing: lively, expanded: false, lively };
    if let Some(command) = &args.command {
        return shell.take(command);
    }
    if !std::io::stdin().is_terminal() {
        let mut script = String::new();
        std::io::stdin().read_to_string(&mut script).context("read the script")?;
        return split(&script).0.iter().try_for_each(|statement| shell.take(statement));
    }
    shell.talk()
}

impl Shell {
    /// Reads statements from a person.
    fn talk(&mut self) -> anyhow::Result<()> {
        let mut editor = rustyline::DefaultEditor::new().context("open the terminal")?;
        let history = history_file();
        if let Some(history) = &history {
            // There is none the first time.
            let _first_time = editor.load_history(history);
        }
        println!("\\? for help, \\q to leave");
        let mut pending = String::new();
        loop {
            let prompt = if pending.is_empty() { "thalweg> " } else { "      -> " };
            match editor.readline(prompt) {
                Ok(line) => {
                    if pending.is_empty() && matches!(line.trim(), "\\q" | "exit" | "quit") {
                        break;
                    }
                    pending.push_str(&line);
                    pending.push('\n');
                    let (statements, rest) = match pending.trim().starts_with('\\') {
                        true => (vec![pending.trim().to_owned()], String::new()),
                        false => split_complete(&pending),
                    };
                    pending = rest;
                    for statement in statements {
                        let _shown_again = editor.add_history_entry(statement.trim());
                        if let Err(error) = self.take(&statement) {
                            println!("{}", describe(&error));
                        }
                    }
                }
                Err(ReadlineError::Interrupted) => pending.clear(),
                Err(ReadlineError::Eof) => break,
                Err(error) => return Err(error).context("read the terminal"),
            }
        }
        if let Some(history) = &history {
            editor.save_history(history).context("keep the history")?;
        }
        Ok(())
    }

    /// Does what a line asks for.
    fn take(&mut self, text: &str) -> anyhow::Result<()> {
        let text = text.trim();
        let mut words = text.trim_end_matches(';').split_whitespace();
        match (words.next(), words.next()) {
            (None, _) => Ok(()),
            (Some("\\?" | "\\h"), _) => self.print(HELP),
            (Some("\\timing"), _) => {
                self.timing = !self.timing;
                Ok(())
            }
            (Some("\\x"), _) => {
                self.expanded = !self.expanded;
                Ok(())
            }
            (Some("\\d" | "\\dt" | "\\d+"), None) => self.run(LIST),
            (Some("\\d" | "\\dt" | "\\d+"), Some(name)) => self.run(&columns_of(name)),
            (Some(command), _) if command.starts_with('\\') => {
                anyhow::bail!("{command}: there is no such command; \\? shows those that are there")
            }
            _ => self.run(text),
        }
    }

    fn run(&self, text: &str) -> anyhow::Result<()> {
        let started = Instant::now();
        let progress = self.lively.then(|| progress::Progress::start(&self.client));
        let (out, rows) = match self.format {
            Format::Table => {
                let answer = self.client.run(text);
                drop(progress);
                let answer = answer?;
                (table::render(&answer, self.expanded), Some(answer.rows.len()))
            }
            Format::Csv | Format::Ndjson => {
                let accept =
                    if self.format == Format::Csv { "text/csv" } else { "application/x-ndjson" };
                let bytes = self.client.post(text, accept);
                drop(progress);
                (String::from_utf8_lossy(&bytes?).into_owned(), None)
            }
        };
        self.print(&out)?;
        if self.timing && self.format == Format::Table {
            let rows = rows.unwrap_or_default();
            let took_ms = started.elapsed().as_secs_f64() * 1e3;
            let word = if rows == 1 { "row" } else { "rows" };
            self.print(&format!("({rows} {word}, {took_ms:.1} ms)\n"))?;
        }
        Ok(())
    }

    fn print(&self, text: &str) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            // `| head` has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
            outcome => outcome.context("write"),
        }
    }
}

fn describe(error: &anyhow::Error) -> String {
    match error.downcast_ref::<Refusal>() {
        Some(refusal) => format!("ERROR {refusal}"),
        None => format!("{error:#}"),
    }
}

fn columns_of(name: &str) -> String {
    let (schema, table) = name.split_once('.').unwrap_or(("public", name));
    let quote = |text: &str| text.trim_matches('"').replace('\'', "''");
    format!(
        "SELECT a.attname AS column, t.typname AS type, NOT a.attnotnull AS nullable FROM \
         pg_catalog.pg_attribute a \
         JOIN pg_catalog.pg_class c ON a.attrelid = c.oid JOIN pg_catalog.pg_namespace n ON n.oid \
         = c.relnamespace \
         JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
         WHERE n.nspname = '{}' AND c.relname = '{}' AND a.attnum > 0 ORDER BY a.attnum",
        quote(schema),
        quote(table)
    )
}

fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let folder =
        state.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    let folder = folder.join("thalweg");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("sql_history"))
}

/// The statements of a text that a semicolon ends, and what is left.
fn split_complete(text: &str) -> (Vec<String>, String) {
    let (mut statements, complete) = split(text);
    match complete {
        true => (statements, String::new()),
        false => {
            let rest = statements.pop().unwrap_or_default();
            (statements, rest)
        }
    }
}

/// Splits a text at semicolons that stand in no quotes and no comment; false where the last
/// statement has none.
fn split(text: &str) -> (Vec<String>, bool) {
    let mut statements = vec![String::new()];
    let mut inside: Option<char> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (inside, c) {
            (None, ';') => {
                statements.push(String::new());
                continue;
            }
            (None, '\'' | '"') => inside = Some(c),
            (None, '-') if chars.peek() == Some(&'-') => inside = Some('\n'),
            (Some(end), c) if c == end => inside = None,
            _ => {}
        }
        if let Some(statement) = statements.last_mut() {
            statement.push(c);
        }
    }
    let complete = statements.last().is_none_or(|last| last.trim().is_empty());
    if complete {
        statements.pop();
    }
    statements.retain(|statement| !statement.trim().is_empty());
    (statements, complete)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_where_they_end() {
        let (all, complete) = split("SELECT ';' ; -- a comment; with one\nSELECT \"a;b\";\n");
        assert_eq!((all.len(), complete), (2, true), "{all:?}");
        let (all, rest) = split_complete("SELECT 1; SELECT\n");
        assert_eq!((all, rest.trim()), (vec!["SELECT 1".to_owned()], "SELECT"));
    }
}
