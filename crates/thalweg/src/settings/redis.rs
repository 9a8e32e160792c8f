//! Settings under the names that CONFIG knows, written as Redis writes them.

use super::Settings;
use super::kind::Kind;
use super::setting::{Setting, Spelling};
use super::table::all;
use std::sync::Arc;
use thalweg_doors::DoorSettings;
use thalweg_doors::resp::ConfigParameter;
use thalweg_node::{Durability, Place};

/// What Redis' clients ask for and what is no setting here, with the answer.
const FIXED: &[(&str, &str)] = &[("databases", "1"), ("save", "")];

/// Redis' names of our durabilities.
const FSYNC: &[(&str, Durability)] =
    &[("always", Durability::Sync), ("everysec", Durability::Interval), ("no", Durability::None)];

/// Everything that CONFIG shows and changes, for a node that was started with these settings.
pub(crate) fn parameters(started: &Arc<Settings>) -> Vec<ConfigParameter> {
    let fixed = FIXED.iter().map(|&(name, value)| ConfigParameter {
        name,
        get: Box::new(move |_| value.to_owned()),
        set: Box::new(|_, _| Err("can't set immutable config".to_owned())),
    });
    let ours = all().flat_map(move |setting| {
        let named = setting.config.iter();
        named.map(move |&(name, spelling)| parameter(name, spelling, setting, started.clone()))
    });
    fixed.chain(ours).collect()
}

fn parameter(
    name: &'static str,
    spelling: Spelling,
    setting: &'static Setting,
    started: Arc<Settings>,
) -> ConfigParameter {
    let shown = started.clone();
    ConfigParameter {
        name,
        get: Box::new(move |doors| spell(setting, spelling, &shown.with(doors))),
        set: Box::new(move |doors, text| {
            if !setting.can_change {
                let flag = setting.flag();
                return Err(format!("can't set immutable config; restart with another {flag}"));
            }
            let mut changed = started.with(doors);
            setting.put(&mut changed, &read(spelling, text))?;
            *doors = changed.doors;
            Ok(())
        }),
    }
}

impl Settings {
    /// These settings with the doors' as they are now: the only ones that change.
    pub(super) fn with(&self, doors: &DoorSettings) -> Self {
        Self { doors: doors.clone(), ..self.clone() }
    }
}

/// A value in Redis' words.
fn spell(setting: &Setting, spelling: Spelling, settings: &Settings) -> String {
    let kept = settings.engine.place != Place::Memory;
    let number = setting.kind.number(settings).unwrap_or_default();
    let plain = || match &setting.kind {
        Kind::Bytes(_) => number.to_string(),
        kind => kind.shown(settings).unwrap_or_default(),
    };
    match spelling {
        Spelling::Plain => plain(),
        Spelling::Seconds => (number / 1_000).to_string(),
        Spelling::MicrosecondsOrOff if number == u64::MAX => "-1".to_owned(),
        Spelling::MicrosecondsOrOff => number.to_string(),
        Spelling::Fsync => {
            let named = FSYNC.iter().find(|(_, other)| *other == settings.engine.durability);
            named.map_or("", |(name, _)| *name).to_owned()
        }
        Spelling::Folder => {
            if kept {
                plain()
            } else {
                String::new()
            }
        }
        Spelling::IsKept => if kept { "yes" } else { "no" }.to_owned(),
    }
}

/// A value in our words. Only of those that can change.
fn read(spelling: Spelling, text: &str) -> String {
    match spelling {
        // A number with a unit is ours already.
        Spelling::Seconds if text.bytes().all(|byte| byte.is_ascii_digit()) => format!("{text}s"),
        Spelling::MicrosecondsOrOff if text.parse::<i64>().is_ok_and(|us| us < 0) => {
            u64::MAX.to_string()
        }
        _ => text.to_owned(),
    }
}
