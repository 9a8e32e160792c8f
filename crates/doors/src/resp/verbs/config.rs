//! CONFIG: the settings that can be seen and changed while the server runs, in Redis's names where
//! it has them.

use super::{Control, Verdict, help, is, text, unknown};
use crate::shared::{DoorSettings, Shared};
use std::path::Path;
use thalweg_base::units::{parse_bytes, parse_duration_ms};
use thalweg_machine::{Answer, CommandError, glob_matches};
use thalweg_node::{Durability, EngineSettings, Place};

/// A parameter: its name, how to read it, how to change it.
struct Parameter {
    name: &'static str,
    get: fn(&DoorSettings, &EngineSettings) -> String,
    /// `None`: it cannot be changed while the server runs.
    set: Option<fn(&mut DoorSettings, &str) -> Option<()>>,
}

fn parse<T: std::str::FromStr>(value: &str, target: &mut T) -> Option<()> {
    *target = value.parse().ok()?;
    Some(())
}

fn parse_size(value: &str, target: &mut usize) -> Option<()> {
    *target = usize::try_from(parse_bytes(value).ok()?).ok()?;
    Some(())
}

/// Every parameter, sorted by name.
static PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "appendfsync",
        get: |_, engine| match engine.durability {
            Durability::Sync => "always".to_owned(),
            Durability::Interval => "everysec".to_owned(),
            Durability::None => "no".to_owned(),
        },
        set: None,
    },
    Parameter {
        name: "appendonly",
        get: |_, engine| if engine.place == Place::Memory { "no".into() } else { "yes".into() },
        set: None,
    },
    Parameter {
        name: "body-max-bytes",
        get: |door, _| door.body_max_bytes.to_string(),
        set: Some(|door, value| parse_size(value, &mut door.body_max_bytes)),
    },
    Parameter {
        name: "client-output-max-bytes",
        get: |door, _| door.output_max_bytes.to_string(),
        set: Some(|door, value| parse_size(value, &mut door.output_max_bytes)),
    },
    Parameter {
        name: "client-query-buffer-limit",
        get: |door, _| door.frame_max_bytes.to_string(),
        set: Some(|door, value| parse_size(value, &mut door.frame_max_bytes)),
    },
    Parameter { name: "databases", get: |_, _| "1".to_owned(), set: None },
    Parameter {
        name: "dir",
        get: |_, engine| match &engine.place {
            Place::Directory(path) => Path::new(path).display().to_string(),
            Place::Memory => String::new(),
        },
        set: None,
    },
    Parameter {
        name: "durability",
        get: |_, engine| engine.durability.as_str().to_owned(),
        set: None,
    },
    Parameter {
        name: "maxclients",
        get: |door, _| door.connections_max.to_string(),
        set: Some(|door, value| parse(value, &mut door.connections_max)),
    },
    Parameter {
        name: "maxmemory",
        get: |_, engine| engine.memory_max_bytes.to_string(),
        set: None,
    },
    Parameter {
        name: "maxmemory-policy",
        get: |_, engine| engine.eviction.as_str().to_owned(),
        set: None,
    },
    Parameter { name: "partitions", get: |_, engine| engine.partitions.to_string(), set: None },
    Parameter {
        name: "proto-max-bulk-len",
        get: |door, _| door.bulk_max_bytes.to_string(),
        set: Some(|door, value| parse_size(value, &mut door.bulk_max_bytes)),
    },
    Parameter {
        name: "requirepass",
        // That there is one may be seen, not what it is.
        get: |door, _| door.password.as_ref().map_or(String::new(), |_| "(set)".to_owned()),
        set: Some(|door, value| {
            door.password = (!value.is_empty()).then(|| value.to_owned());
            Some(())
        }),
    },
    Parameter { name: "save", get: |_, _| String::new(), set: None },
    Parameter {
        name: "slowlog-log-slower-than",
        get: |door, _| door.slow_us.to_string(),
        set: Some(|door, value| {
            // Negative switches it off, as in Redis.
            door.slow_us = u64::try_from(value.parse::<i64>().ok()?).unwrap_or(u64::MAX);
            Some(())
        }),
    },
    Parameter {
        name: "slowlog-max-len",
        get: |door, _| door.slow_log_max.to_string(),
        set: Some(|door, value| parse(value, &mut door.slow_log_max)),
    },
    Parameter {
        name: "timeout",
        get: |door, _| (door.idle_timeout_ms / 1_000).to_string(),
        set: Some(|door, value| {
            let seconds = value.parse::<u64>().ok();
            door.idle_timeout_ms = match seconds {
                Some(seconds) => seconds.checked_mul(1_000)?,
                None => parse_duration_ms(value).ok()?,
            };
            Some(())
        }),
    },
];

/// CONFIG GET|SET|RESETSTAT ...
pub(super) fn config(control: &mut Control<'_>, args: &[&[u8]]) -> Verdict {
    let what = args.get(1).copied().unwrap_or_default();
    match args.get(2..).unwrap_or_default() {
        patterns if is(what, "GET") && !patterns.is_empty() => get(control, patterns),
        pairs if is(what, "SET") && !pairs.is_empty() && pairs.len().is_multiple_of(2) => {
            set(control.shared, pairs)?;
            control.answer().ok();
        }
        [] if is(what, "RESETSTAT") => {
            control.shared.stats.reset_latencies();
            control.answer().ok();
        }
        [] if is(what, "REWRITE") => {
            return Err(CommandError::new("the configuration file is not rewritten; edit it"));
        }
        [] if is(what, "HELP") => return help(control, "CONFIG"),
        _ => return Err(unknown("CONFIG", args)),
    }
    Ok(())
}

fn get(control: &mut Control<'_>, patterns: &[&[u8]]) {
    let door = control.shared.settings();
    let engine = control.shared.engine.settings().clone();
    let wanted = |parameter: &&Parameter| {
        patterns
            .iter()
            .any(|pattern| glob_matches(&pattern.to_ascii_lowercase(), parameter.name.as_bytes()))
    };
    let found: Vec<_> = PARAMETERS.iter().filter(wanted).collect();
    let mut answer = control.answer();
    answer.map(found.len());
    for parameter in found {
        answer.bulk(parameter.name.as_bytes());
        answer.bulk((parameter.get)(&door, &engine).as_bytes());
    }
}

/// Changes all or none.
fn set(shared: &Shared, pairs: &[&[u8]]) -> Verdict {
    let mut changed = (*shared.settings()).clone();
    for pair in pairs.chunks(2) {
        let [name, value] = pair else { return Err(CommandError::SYNTAX) };
        let (name, value) = (text(name).to_lowercase(), text(value));
        let Some(parameter) = PARAMETERS.iter().find(|parameter| parameter.name == name) else {
            return Err(CommandError::text(format!(
                "Unknown option or number of arguments for CONFIG SET - '{name}'"
            )));
        };
        let Some(set) = parameter.set else {
            return Err(CommandError::text(format!(
                "CONFIG SET failed (possibly related to argument '{name}') - can't set immutable \
                 config; restart with \
                 another setting"
            )));
        };
        set(&mut changed, &value).ok_or_else(|| {
            CommandError::text(format!(
                "CONFIG SET failed (possibly related to argument '{name}') - cannot read '{value}'"
            ))
        })?;
    }
    shared.change_settings(|settings| *settings = changed);
    Ok(())
}
