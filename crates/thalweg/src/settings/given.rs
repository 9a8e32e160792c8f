//! Settings as they are given: on the command line, in the environment, in a file. All three are
//! made from the table.

use super::kind::Kind;
use super::setting::{Group, Setting};
use super::table::{GROUPS, all};
use anyhow::{Context, anyhow, bail};
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser, ValueParser};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, ValueHint};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::LazyLock;

/// Where a value comes from; what comes first wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    CommandLine,
    Environment,
    File,
}

impl Origin {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::CommandLine => "command line",
            Self::Environment => "environment",
            Self::File => "file",
        }
    }
}

/// A setting and the text that somebody gave it.
#[derive(Clone)]
pub(crate) struct Given {
    pub(crate) setting: &'static Setting,
    pub(crate) text: String,
    pub(crate) origin: Origin,
}

/// What was given on the command line and in the environment.
#[derive(Clone, Default)]
pub(crate) struct ServeArgs {
    pub(super) given: Vec<Given>,
}

impl Args for ServeArgs {
    fn augment_args(command: Command) -> Command {
        command.args(
            GROUPS
                .iter()
                .flat_map(|group| group.settings.iter().map(|setting| argument(group, setting))),
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ServeArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = all().filter_map(|setting| {
            let text = matches.get_one::<String>(setting.name)?.clone();
            let origin = match matches.value_source(setting.name) {
                Some(ValueSource::EnvVariable) => Origin::Environment,
                _ => Origin::CommandLine,
            };
            Some(Given { setting, text, origin })
        });
        Ok(Self { given: given.collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The flag of a setting, with its variable and its line of help.
fn argument(group: &Group, setting: &'static Setting) -> Arg {
    /// The names of variables: the parser keeps them for as long as the program runs.
    static VARIABLES: LazyLock<Vec<String>> =
        LazyLock::new(|| all().map(Setting::variable).collect());
    let help = match setting.default() {
        Some(default) => format!("{} [default: {default}]", setting.what),
        None => setting.what.to_owned(),
    };
    let argument = Arg::new(setting.name)
        .long(setting.name)
        .value_name(setting.kind.placeholder())
        .help(help)
        .help_heading(group.title)
        .value_hint(match &setting.kind {
            Kind::Path(path) if path.is_folder => ValueHint::DirPath,
            Kind::Path(_) => ValueHint::FilePath,
            _ => ValueHint::Other,
        })
        .value_parser(match &setting.kind {
            Kind::Choice(choice) => ValueParser::new(AnyOf(choice.names)),
            _ => ValueParser::string(),
        })
        .hide_possible_values(true)
        .hide_env_values(matches!(setting.kind, Kind::Secret(_)));
    let at = all().position(|other| other.name == setting.name);
    match at.and_then(|at| VARIABLES.get(at)) {
        Some(variable) => argument.env(OsStr::new(variable.as_str())),
        None => argument,
    }
}

/// Knows the names for completions, and takes any text: what is wrong with a value is said in one
/// place, wherever it was given.
#[derive(Clone)]
struct AnyOf(&'static [&'static str]);

impl TypedValueParser for AnyOf {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().map(PossibleValue::new)))
    }
}

/// Reads a file of settings.
pub(super) fn read_file(path: &Path) -> anyhow::Result<Vec<Given>> {
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the settings in {name} (--config)"))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        // Not the line itself: a password may stand in it.
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        anyhow!("{name} is not TOML in line {line}: {}; write `name = \"value\"`", error.message())
    })?;
    table.into_iter().map(|(key, value)| read_entry(&key, value, path)).collect()
}

fn read_entry(key: &str, value: toml::Value, path: &Path) -> anyhow::Result<Given> {
    let file = path.display();
    let setting = all().find(|setting| setting.name == key);
    // A file that names another one would have to say which of them wins.
    let setting = setting.filter(|setting| setting.name != "config");
    let Some(setting) = setting else {
        match nearest(key) {
            Some(name) => bail!("{file} has no setting '{key}' to give; did you mean '{name}'?"),
            None => bail!(
                "{file} has no setting '{key}' to give; `thalweg serve --help` lists what there is"
            ),
        }
    };
    let text = match value {
        toml::Value::String(text) => text,
        toml::Value::Integer(number) => number.to_string(),
        other => bail!(
            "{key} in {file} takes {}, not a value of type {}",
            setting.kind.allowed(),
            other.type_str()
        ),
    };
    Ok(Given { setting, text, origin: Origin::File })
}

/// The setting whose name, or whose name in Redis, is most like this one.
pub(super) fn nearest(key: &str) -> Option<&'static str> {
    /// Below this two names have nothing in common but some letters.
    const ALIKE: f64 = 0.75;
    let key = key.to_lowercase().replace('_', "-");
    let names = all().filter(|setting| setting.name != "config").flat_map(|setting| {
        let aliases = setting.config.iter().map(|(alias, _)| *alias);
        aliases.chain([setting.name]).map(|known| (known, setting.name))
    });
    let likeness = names.map(|(known, name)| (strsim::jaro_winkler(&key, known), name));
    let best = likeness.max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    (best.0 >= ALIKE).then_some(best.1)
}
