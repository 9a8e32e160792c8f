//! How a session writes times, intervals and bytes, and in which order it reads the numbers of a
//! date.

use datafusion::common::config::{ConfigEntry, ConfigExtension, ExtensionOptions};
use datafusion::common::{DataFusionError, Result};

/// DateStyle's first part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum DateFormat {
    /// `1997-12-17 07:37:16`
    #[default]
    Iso,
    /// `12/17/1997 07:37:16`
    Sql,
    /// `Wed Dec 17 07:37:16 1997`
    Postgres,
    /// `17.12.1997 07:37:16`
    German,
}

/// DateStyle's second part: what `1/8/1999` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum DateOrder {
    #[default]
    Mdy,
    Dmy,
    Ymd,
}

/// IntervalStyle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum IntervalFormat {
    #[default]
    Postgres,
    Verbose,
    Standard,
    Iso,
}

/// The formats of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Formats {
    pub(crate) dates: DateFormat,
    pub(crate) order: DateOrder,
    pub(crate) intervals: IntervalFormat,
    /// bytea_output is `escape`.
    pub(crate) escapes_bytes: bool,
}

impl Formats {
    /// Reads DateStyle over what it was; `None` for a word that it does not have.
    pub(crate) fn with_date_style(mut self, text: &str) -> Option<Self> {
        let mut order = None;
        for word in text.split(',') {
            match word.trim().to_ascii_lowercase().as_str() {
                "iso" => self.dates = DateFormat::Iso,
                "sql" => self.dates = DateFormat::Sql,
                "postgres" | "postgresql" => self.dates = DateFormat::Postgres,
                "german" => {
                    self.dates = DateFormat::German;
                    order = order.or(Some(DateOrder::Dmy));
                }
                "mdy" | "us" | "noneuro" | "noneuropean" => order = Some(DateOrder::Mdy),
                "dmy" | "euro" | "european" => order = Some(DateOrder::Dmy),
                "ymd" => order = Some(DateOrder::Ymd),
                "default" => self = Self { dates: DateFormat::Iso, ..self },
                _ => return None,
            }
        }
        self.order = order.unwrap_or(self.order);
        Some(self)
    }

    /// DateStyle as SHOW has it.
    pub(crate) fn date_style(self) -> &'static str {
        match (self.dates, self.order) {
            (DateFormat::Iso, DateOrder::Mdy) => "ISO, MDY",
            (DateFormat::Iso, DateOrder::Dmy) => "ISO, DMY",
            (DateFormat::Iso, DateOrder::Ymd) => "ISO, YMD",
            (DateFormat::Sql, DateOrder::Mdy) => "SQL, MDY",
            (DateFormat::Sql, DateOrder::Dmy) => "SQL, DMY",
            (DateFormat::Sql, DateOrder::Ymd) => "SQL, YMD",
            (DateFormat::Postgres, DateOrder::Mdy) => "Postgres, MDY",
            (DateFormat::Postgres, DateOrder::Dmy) => "Postgres, DMY",
            (DateFormat::Postgres, DateOrder::Ymd) => "Postgres, YMD",
            (DateFormat::German, DateOrder::Mdy) => "German, MDY",
            (DateFormat::German, DateOrder::Dmy) => "German, DMY",
            (DateFormat::German, DateOrder::Ymd) => "German, YMD",
        }
    }

    /// Reads IntervalStyle; `None` for a word that it does not have.
    pub(crate) fn interval_format(text: &str) -> Option<IntervalFormat> {
        Some(match text.trim().to_ascii_lowercase().as_str() {
            "postgres" => IntervalFormat::Postgres,
            "postgres_verbose" => IntervalFormat::Verbose,
            "sql_standard" => IntervalFormat::Standard,
            "iso_8601" => IntervalFormat::Iso,
            _ => return None,
        })
    }
}

/// A statement's functions find the session's formats among its options.
impl ConfigExtension for Formats {
    const PREFIX: &'static str = "thalweg_formats";
}

impl ExtensionOptions for Formats {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(*self)
    }

    fn set(&mut self, key: &str, _: &str) -> Result<()> {
        Err(DataFusionError::Configuration(format!("{key} is set with DateStyle or IntervalStyle")))
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}
