//! CONFIG: the settings that can be seen and changed while the server runs, in Redis's names where
//! it has them. Which there are, and what they take, the program's table of settings says.

use super::{Control, Verdict, help, is, text, unknown};
use crate::shared::{DoorSettings, Shared};
use thalweg_machine::{Answer, CommandError, glob_matches};

/// A parameter of CONFIG: a setting under a name that Redis' clients know. The program that opens
/// the doors gives them, for it has the table of settings.
pub struct ConfigParameter {
    /// Its name, in lower case.
    pub name: &'static str,
    /// Its value now, as Redis writes it.
    pub get: GetParameter,
    /// Changes it, or says why not.
    pub set: SetParameter,
}

/// Reads a parameter.
pub type GetParameter = Box<dyn Fn(&DoorSettings) -> String + Send + Sync>;
/// Changes a parameter; an error says what it takes, or that it cannot change.
pub type SetParameter = Box<dyn Fn(&mut DoorSettings, &str) -> Result<(), String> + Send + Sync>;

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
    let wanted = |parameter: &&ConfigParameter| {
        patterns
            .iter()
            .any(|pattern| glob_matches(&pattern.to_ascii_lowercase(), parameter.name.as_bytes()))
    };
    let found: Vec<_> = control.shared.parameters.iter().filter(wanted).collect();
    let mut answer = control.answer();
    answer.map(found.len());
    for parameter in found {
        answer.bulk(parameter.name.as_bytes());
        answer.bulk((parameter.get)(&door).as_bytes());
    }
}

/// Changes all or none.
fn set(shared: &Shared, pairs: &[&[u8]]) -> Verdict {
    let mut changed = (*shared.settings()).clone();
    for pair in pairs.chunks(2) {
        let [name, value] = pair else { return Err(CommandError::SYNTAX) };
        let (name, value) = (text(name).to_lowercase(), text(value));
        let Some(parameter) = shared.parameters.iter().find(|parameter| parameter.name == name)
        else {
            return Err(CommandError::text(format!(
                "Unknown option or number of arguments for CONFIG SET - '{name}'"
            )));
        };
        (parameter.set)(&mut changed, &value).map_err(|why| {
            CommandError::text(format!(
                "CONFIG SET failed (possibly related to argument '{name}') - {why}"
            ))
        })?;
    }
    shared.change_settings(|settings| *settings = changed);
    Ok(())
}
