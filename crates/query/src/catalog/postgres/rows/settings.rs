//! `pg_settings`: the variables that SHOW knows, with what they are from the beginning.

use crate::catalog::postgres::{Row, some, truth};
use crate::sql::session::variables;

pub(super) const SETTINGS_COLUMNS: &str = "name text setting text unit text category text \
    short_desc text extra_desc text context text vartype text source text min_val text \
    max_val text enumvals text[] boot_val text reset_val text sourcefile text sourceline int4 \
    pending_restart bool";

pub(super) fn pg_settings() -> Vec<Row> {
    let row = |(name, value, is_fixed): (&str, &str, bool)| {
        let kind = match value {
            "on" | "off" => "bool",
            value if value.parse::<i64>().is_ok() => "integer",
            value if value.parse::<f64>().is_ok() => "real",
            _ => "string",
        };
        vec![
            some(name),
            some(value),
            None,
            some("Client Connection Defaults"),
            some(""),
            None,
            some(if is_fixed { "internal" } else { "user" }),
            some(kind),
            some("default"),
            None,
            None,
            None,
            some(value),
            some(value),
            None,
            None,
            truth(false),
        ]
    };
    variables().map(row).collect()
}
