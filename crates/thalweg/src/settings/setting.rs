//! What a row of the table of settings says, and how a value is given to it.

use super::Settings;
use super::kind::Kind;
use std::sync::LazyLock;

/// A setting: everything that is known about it. Flags, the file, the environment, CONFIG,
/// `sys.settings` and the page in `docs/` are made from this.
pub(crate) struct Setting {
    /// The flag without its dashes and the key in the file; in the environment it is
    /// [`Setting::variable`].
    pub(crate) name: &'static str,
    /// The kind of its value, and where that stands.
    pub(crate) kind: Kind,
    /// What it is.
    pub(crate) what: &'static str,
    /// Said instead of the default where that depends on the machine or on another setting.
    pub(crate) default_in_words: Option<&'static str>,
    /// What CONFIG calls it, and how Redis writes its value.
    pub(crate) config: &'static [(&'static str, Spelling)],
    /// Whether CONFIG SET changes it. Such a setting stands in the doors' settings, which event
    /// loops and handlers read again when they have changed.
    pub(crate) can_change: bool,
}

/// How a value is written in Redis' words.
#[derive(Clone, Copy)]
pub(crate) enum Spelling {
    /// As a bare number of bytes or things; what is no number as it is.
    Plain,
    /// As a number of seconds.
    Seconds,
    /// As a number of microseconds; a negative one switches off what happens after that time.
    MicrosecondsOrOff,
    /// `always`, `everysec`, `no`: a durability.
    Fsync,
    /// A folder; nothing where nothing is kept.
    Folder,
    /// Whether anything is kept.
    IsKept,
}

/// Settings that belong together.
pub(crate) struct Group {
    pub(crate) title: &'static str,
    pub(crate) settings: &'static [Setting],
}

pub(super) const fn setting(name: &'static str, kind: Kind, what: &'static str) -> Setting {
    Setting { name, kind, what, default_in_words: None, config: &[], can_change: false }
}

impl Setting {
    pub(super) const fn default_in_words(mut self, words: &'static str) -> Self {
        self.default_in_words = Some(words);
        self
    }

    /// CONFIG GET shows it.
    pub(super) const fn config(mut self, names: &'static [(&'static str, Spelling)]) -> Self {
        self.config = names;
        self
    }

    /// CONFIG SET changes it.
    pub(super) const fn can_change(mut self) -> Self {
        self.can_change = true;
        self
    }

    /// The flag.
    pub(crate) fn flag(&self) -> String {
        format!("--{}", self.name)
    }

    /// The variable in the environment.
    pub(crate) fn variable(&self) -> String {
        format!("THALWEG_{}", self.name.replace('-', "_").to_uppercase())
    }

    /// The default, for readers; nothing where there is none.
    pub(crate) fn default(&self) -> Option<String> {
        static DEFAULTS: LazyLock<Settings> = LazyLock::new(Settings::default);
        match self.default_in_words {
            Some(words) => Some(words.to_owned()),
            None => self.kind.shown(&DEFAULTS),
        }
    }

    /// Gives it a value; an error says what it takes.
    pub(crate) fn put(&self, settings: &mut Settings, text: &str) -> Result<(), String> {
        self.kind
            .put(settings, text)
            .ok_or_else(|| format!("takes {}, not '{text}'", self.kind.allowed()))
    }
}
