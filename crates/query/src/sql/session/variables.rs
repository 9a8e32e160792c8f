//! A session's variables: which there are, which values they take, and which values they have after
//! a rollback.

use crate::error::{SqlError, SqlState};
use crate::values::encode::Style;
use crate::values::moment::Formats;
use std::collections::{BTreeMap, HashMap};

/// Variables that clients of Postgres set, and what they are from the beginning; what they ask for
/// is what they get anyway, or is only remembered.
const VARIABLES: &[(&str, &str)] = &[
    ("application_name", ""),
    ("array_nulls", "on"),
    ("backslash_quote", "safe_encoding"),
    ("block_size", "8192"),
    ("bytea_output", "hex"),
    ("check_function_bodies", "on"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("constraint_exclusion", "partition"),
    ("cursor_tuple_fraction", "0.1"),
    ("datestyle", "ISO, MDY"),
    ("default_table_access_method", "heap"),
    ("default_tablespace", ""),
    ("default_text_search_config", "pg_catalog.english"),
    ("default_transaction_deferrable", "off"),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_read_only", "off"),
    ("enable_bitmapscan", "on"),
    ("enable_hashagg", "on"),
    ("enable_hashjoin", "on"),
    ("enable_incremental_sort", "on"),
    ("enable_indexonlyscan", "on"),
    ("enable_indexscan", "on"),
    ("enable_material", "on"),
    ("enable_memoize", "on"),
    ("enable_mergejoin", "on"),
    ("enable_nestloop", "on"),
    ("enable_parallel_append", "on"),
    ("enable_parallel_hash", "on"),
    ("enable_partition_pruning", "on"),
    ("enable_partitionwise_aggregate", "off"),
    ("enable_partitionwise_join", "off"),
    ("enable_seqscan", "on"),
    ("enable_sort", "on"),
    ("enable_tidscan", "on"),
    ("escape_string_warning", "on"),
    ("extra_float_digits", "1"),
    ("force_parallel_mode", "off"),
    ("from_collapse_limit", "8"),
    ("geqo", "on"),
    ("hash_mem_multiplier", "2"),
    ("idle_in_transaction_session_timeout", "0"),
    ("in_hot_standby", "off"),
    ("integer_datetimes", "on"),
    ("intervalstyle", "postgres"),
    ("is_superuser", "on"),
    ("jit", "off"),
    ("join_collapse_limit", "8"),
    ("lc_collate", "C"),
    ("lc_ctype", "C.UTF-8"),
    ("lc_messages", "C"),
    ("lc_monetary", "C"),
    ("lc_numeric", "C"),
    ("lc_time", "C"),
    ("lock_timeout", "0"),
    ("max_connections", "10000"),
    ("max_identifier_length", "63"),
    ("max_index_keys", "32"),
    ("max_parallel_workers_per_gather", "2"),
    ("min_parallel_table_scan_size", "8MB"),
    ("parallel_leader_participation", "on"),
    ("parallel_setup_cost", "1000"),
    ("parallel_tuple_cost", "0.1"),
    ("plan_cache_mode", "auto"),
    ("quote_all_identifiers", "off"),
    ("role", "none"),
    ("row_security", "on"),
    ("search_path", "\"$user\", public"),
    ("server_encoding", "UTF8"),
    ("server_version", "15.0"),
    ("server_version_num", "150000"),
    ("session_authorization", "thalweg"),
    ("session_replication_role", "origin"),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("synchronous_commit", "on"),
    ("synchronize_seqscans", "on"),
    ("timezone", "UTC"),
    ("transaction_deferrable", "off"),
    ("transaction_isolation", "serializable"),
    ("transaction_read_only", "off"),
    ("vacuum_cost_delay", "0"),
    ("work_mem", "4MB"),
    ("xmloption", "content"),
];

/// What nobody can set.
const FIXED: &[&str] = &[
    "block_size",
    "in_hot_standby",
    "integer_datetimes",
    "is_superuser",
    "lc_collate",
    "lc_ctype",
    "max_connections",
    "max_identifier_length",
    "max_index_keys",
    "server_encoding",
    "server_version",
    "server_version_num",
];

/// Variables whose change drivers are told, by the names that they know them by.
pub(super) const REPORTED: &[(&str, &str)] = &[
    ("application_name", "application_name"),
    ("client_encoding", "client_encoding"),
    ("datestyle", "DateStyle"),
    ("intervalstyle", "IntervalStyle"),
    ("standard_conforming_strings", "standard_conforming_strings"),
    ("timezone", "TimeZone"),
];

/// All of them, with what they are from the beginning, and whether nobody can set them.
pub(crate) fn variables() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    VARIABLES.iter().map(|(name, value)| (*name, *value, FIXED.contains(name)))
}

pub(super) fn unrecognized(name: &str) -> SqlError {
    let message = format!("unrecognized configuration parameter \"{name}\"");
    SqlError::new(SqlState::UndefinedObject, message)
}

fn invalid(name: &str, value: &str) -> SqlError {
    let message = format!("invalid value for parameter \"{name}\": \"{value}\"");
    SqlError::new(SqlState::InvalidParameter, message)
}

/// A length of time as Postgres takes it: milliseconds where it has no unit.
fn milliseconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.trim().parse().ok().filter(|number| *number >= 0.0)?;
    let each = match unit.trim() {
        "us" => 0.001,
        "" | "ms" => 1.0,
        "s" => 1_000.0,
        "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return None,
    };
    Some((number * each).round() as u64)
}

/// The variables of a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variables {
    values: BTreeMap<String, String>,
    /// What the open transaction has changed, in order.
    changed: Vec<Changed>,
    /// Whose change the client is to be told.
    reported: Vec<(String, String)>,
    is_open: bool,
    /// Whether the open transaction may only read.
    pub(super) read_only: bool,
}

/// A variable that a transaction has changed.
#[derive(Clone, Debug)]
struct Changed {
    name: String,
    before: Option<String>,
    /// SET LOCAL: it is over with the transaction.
    local: bool,
}

impl Variables {
    /// What a variable is; nothing where there is no such variable.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let name = name.to_lowercase();
        if let Some(value) = self.values.get(&name) {
            return Some(value.clone());
        }
        if name == "transaction_read_only" {
            return Some(if self.read_only { "on" } else { "off" }.to_owned());
        }
        let found = VARIABLES.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    }

    /// The same; an error where there is no such variable.
    pub(crate) fn known(&self, name: &str) -> Result<String, SqlError> {
        self.get(name).ok_or_else(|| unrecognized(name))
    }

    /// The zone in which times are shown, where it was set.
    pub(crate) fn zone(&self) -> Option<&str> {
        self.values.get("timezone").map(String::as_str)
    }

    /// How the session writes times, intervals and bytes.
    pub(crate) fn formats(&self) -> Formats {
        let of = |name: &str| self.values.get(name).map_or("", String::as_str);
        let formats = Formats::default().with_date_style(of("datestyle")).unwrap_or_default();
        Formats {
            intervals: Formats::interval_format(of("intervalstyle")).unwrap_or_default(),
            escapes_bytes: of("bytea_output") == "escape",
            ..formats
        }
    }

    /// How the session's values are written to a client.
    pub(crate) fn style(&self) -> Style {
        Style { formats: self.formats(), ..Style::wire(self.zone().unwrap_or("UTC")) }
    }

    /// How long a statement may run; 0: for ever.
    pub(crate) fn statement_timeout_ms(&self) -> u64 {
        self.values.get("statement_timeout").and_then(|text| milliseconds(text)).unwrap_or(0)
    }

    /// Whether transactions may only read from the beginning.
    pub(super) fn reads_only_by_default(&self) -> bool {
        let default = self.values.get("default_transaction_read_only");
        default.and_then(|text| crate::values::parse::boolean(text)).unwrap_or(false)
    }

    /// What a client says about itself when it connects.
    pub(crate) fn introduce(&mut self, parameters: &HashMap<String, String>) {
        for (name, value) in parameters {
            let name = name.to_lowercase();
            if !matches!(name.as_str(), "user" | "database" | "options" | "replication") {
                // What it asks for and does not get is told by SHOW.
                let _refused = self.assign(&name, value, false);
            }
            if name == "user" {
                self.values.insert("session_authorization".to_owned(), value.clone());
            }
        }
        self.reported.clear();
    }

    pub(crate) fn take_reported(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.reported)
    }

    /// Sets a variable, for the session or for the transaction; gives what it is then. Without a
    /// transaction, what is only for it is over at once.
    pub(crate) fn assign(
        &mut self,
        name: &str,
        value: &str,
        local: bool,
    ) -> Result<String, SqlError> {
        let name = name.to_lowercase();
        if !VARIABLES.iter().any(|(known, _)| *known == name) && !name.contains('.') {
            return Err(unrecognized(&name));
        }
        if FIXED.contains(&name.as_str()) {
            let message = format!("parameter \"{name}\" cannot be changed");
            return Err(SqlError::new(SqlState::CannotChangeNow, message));
        }
        let value = self.checked(&name, value)?;
        if self.is_open || !local {
            self.put(&name, Some(value.clone()), local);
        }
        Ok(value)
    }

    fn put(&mut self, name: &str, value: Option<String>, local: bool) {
        let before = match value {
            Some(value) => self.values.insert(name.to_owned(), value),
            None => self.values.remove(name),
        };
        if self.is_open {
            if !local {
                // What is for the session from now on outlives what was for the transaction.
                let earlier = self.changed.iter_mut().filter(|changed| changed.name == name);
                earlier.for_each(|changed| changed.local = false);
            }
            self.changed.push(Changed { name: name.to_owned(), before, local });
        }
        self.report(name);
    }

    fn checked(&mut self, name: &str, value: &str) -> Result<String, SqlError> {
        match name {
            "timezone" => {
                let value = value.trim();
                if crate::values::moment::zone(value).is_none() {
                    return Err(invalid("TimeZone", value));
                }
                Ok(value.to_owned())
            }
            "statement_timeout" | "lock_timeout" | "idle_in_transaction_session_timeout" => {
                milliseconds(value).map(|_| value.to_owned()).ok_or_else(|| invalid(name, value))
            }
            "client_encoding" => {
                let plain: String = value
                    .chars()
                    .filter(char::is_ascii_alphanumeric)
                    .collect::<String>()
                    .to_uppercase();
                match plain.as_str() {
                    "UTF8" | "UNICODE" => Ok("UTF8".to_owned()),
                    "SQLASCII" => Ok("SQL_ASCII".to_owned()),
                    _ => Err(invalid(name, value).hint("texts are UTF-8")),
                }
            }
            "datestyle" => match self.formats().with_date_style(value) {
                Some(formats) => Ok(formats.date_style().to_owned()),
                None => Err(invalid("DateStyle", value)),
            },
            "intervalstyle" => match Formats::interval_format(value) {
                Some(_) => Ok(value.trim().to_ascii_lowercase()),
                None => Err(invalid("IntervalStyle", value)),
            },
            "bytea_output" => match value.trim().to_ascii_lowercase().as_str() {
                shown @ ("hex" | "escape") => Ok(shown.to_owned()),
                _ => Err(invalid(name, value)),
            },
            "transaction_read_only" => {
                self.read_only =
                    crate::values::parse::boolean(value).ok_or_else(|| invalid(name, value))?;
                Ok(if self.read_only { "on" } else { "off" }.to_owned())
            }
            "standard_conforming_strings" if crate::values::parse::boolean(value) != Some(true) => {
                Err(SqlError::unsupported("standard_conforming_strings is always on"))
            }
            _ => Ok(value.to_owned()),
        }
    }

    fn report(&mut self, name: &str) {
        if let Some((_, shown)) = REPORTED.iter().find(|(known, _)| *known == name) {
            let value = self.get(name).unwrap_or_default();
            self.reported.push(((*shown).to_owned(), value));
        }
    }

    pub(super) fn reset(&mut self, name: Option<&str>) -> Result<(), SqlError> {
        let Some(name) = name else {
            let names: Vec<String> = self.values.keys().cloned().collect();
            for name in names.iter().filter(|name| *name != "session_authorization") {
                self.reset(Some(name))?;
            }
            return Ok(());
        };
        let name = name.to_lowercase();
        if !name.contains('.') {
            self.known(&name)?;
        }
        self.put(&name, None, false);
        Ok(())
    }

    /// A transaction begins.
    pub(super) fn begin(&mut self) {
        self.is_open = true;
        self.read_only = self.reads_only_by_default();
    }

    /// The transaction is over: what SET LOCAL has set is what it was before, and if it was taken
    /// back, everything.
    pub(super) fn end(&mut self, committed: bool) {
        self.is_open = false;
        self.read_only = false;
        for Changed { name, before, local } in std::mem::take(&mut self.changed).into_iter().rev() {
            if committed && !local {
                continue;
            }
            match before {
                Some(value) => self.values.insert(name.clone(), value),
                None => self.values.remove(&name),
            };
            self.report(&name);
        }
        self.values.remove("transaction_read_only");
    }
}

#[cfg(test)]
mod tests {
    use super::milliseconds;

    #[test]
    fn timeouts_have_units() {
        for (text, expected) in
            [("5000", 5_000), ("10s", 10_000), ("1min", 60_000), ("1.5 s", 1_500), ("0", 0)]
        {
            assert_eq!(milliseconds(text), Some(expected), "{text}");
        }
        assert_eq!(milliseconds("soon"), None);
        assert_eq!(milliseconds("-1"), None);
    }
}
