//! The rows of `sys.settings`.

use super::Settings;
use super::setting::Setting;
use super::table::all;
use thalweg_doors::DoorSettings;

impl Settings {
    /// The rows of `sys.settings`: name, value, default, where the value comes from, whether it can
    /// change, what it is. Only the doors' settings can have changed since the node started.
    pub(crate) fn rows(&self, doors: &DoorSettings) -> Vec<Vec<Option<String>>> {
        let now = self.with(doors);
        let row = |setting: &'static Setting| {
            let source = if setting.kind.value(&now) != setting.kind.value(self) {
                "CONFIG SET"
            } else {
                self.origins.get(setting.name).map_or("default", |origin| origin.as_str())
            };
            vec![
                Some(setting.name.to_owned()),
                setting.kind.shown(&now),
                setting.default(),
                Some(source.to_owned()),
                Some(setting.can_change.to_string()),
                Some(setting.what.to_owned()),
            ]
        };
        all().map(row).collect()
    }
}
