//! The reference page of commands, made from the table.

use super::COMMANDS;
use std::fmt::Write;

/// `docs/commands.md`.
pub fn render_reference() -> String {
    let mut out = String::from(
        "# Commands\n\nMade from the command table in `crates/machine/src/command/table.rs`; a \
         test keeps this page equal\nto it. Errors carry Redis's words and prefixes.\n",
    );
    let mut groups: Vec<&str> = COMMANDS.iter().map(|command| command.group).collect();
    groups.sort_unstable();
    groups.dedup();
    for group in groups {
        // Writing to a string cannot fail.
        let _infallible = write!(out, "\n## {group}\n\n| command | what it does |\n|---|---|\n");
        for command in COMMANDS.iter().filter(|command| command.group == group) {
            let syntax = command.syntax.replace('|', "\\|");
            let space = if syntax.is_empty() { "" } else { " " };
            let _infallible =
                writeln!(out, "| `{}{space}{syntax}` | {} |", command.name, command.summary);
        }
    }
    out
}
