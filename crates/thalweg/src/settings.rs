//! The settings of a node: one table. Each can be given on the command line, in the environment
//! (`THALWEG_…`) or in a TOML file (`--config`), in this order of precedence; defaults come last.

mod check;

use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use thalweg_doors::DoorSettings;
use thalweg_node::EngineSettings;
use thalweg_query::SqlSettings;

/// Settings as given; what is missing comes from the file, then from the defaults.
#[derive(Args, Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ServeArgs {
    /// Directory for the data, or `memory` to keep nothing [default: ./thalweg-data]
    #[arg(long, env = "THALWEG_DATA")]
    pub(crate) data: Option<String>,
    /// Address of the Redis door [default: 127.0.0.1:7379]
    #[arg(long, env = "THALWEG_RESP")]
    pub(crate) resp: Option<String>,
    /// Address of the HTTP door and the dashboard; `off` for none [default: 127.0.0.1:7380]
    #[arg(long, env = "THALWEG_HTTP")]
    pub(crate) http: Option<String>,
    /// Address of the Postgres door; `off` for none [default: 127.0.0.1:7432]
    #[arg(long, env = "THALWEG_POSTGRES")]
    pub(crate) postgres: Option<String>,
    /// When a reply may leave: `sync` (after fdatasync), `interval` (after write), `none` [default:
    /// sync]
    #[arg(long, env = "THALWEG_DURABILITY")]
    pub(crate) durability: Option<String>,
    /// How often to sync at durability `interval` [default: 1s]
    #[arg(long, env = "THALWEG_SYNC_INTERVAL")]
    pub(crate) sync_interval: Option<String>,
    /// Memory for entries, filters and caches; other keys are on disk only [default: 6/10 of the
    /// machine's]
    #[arg(long, env = "THALWEG_MEMORY_MAX")]
    pub(crate) memory_max: Option<String>,
    /// Memory for SQL queries, all of them together; a quarter of it for pieces of Parquet files
    /// that were read [default: a fifth of --memory-max]
    #[arg(long, env = "THALWEG_SQL_MEMORY_MAX")]
    pub(crate) sql_memory_max: Option<String>,
    /// Memory for the states of materialized views, all of them together [default: a fifth of
    /// --memory-max]
    #[arg(long, env = "THALWEG_VIEW_MEMORY_MAX")]
    pub(crate) view_memory_max: Option<String>,
    /// Where declared streams' older records are sealed, as Parquet files: a folder, or
    /// `s3://bucket/prefix` with the usual AWS_ variables for credentials, region and endpoint
    /// [default: segments in the data directory]
    #[arg(long, env = "THALWEG_SEGMENTS")]
    pub(crate) segments: Option<String>,
    /// How often a materialized view writes its checkpoint [default: 5s]
    #[arg(long, env = "THALWEG_VIEW_CHECKPOINT")]
    pub(crate) view_checkpoint: Option<String>,
    /// A stream's partition that is silent for this long while others bring records does not hold
    /// windows open [default: 5s]
    #[arg(long, env = "THALWEG_STREAM_IDLE")]
    pub(crate) stream_idle: Option<String>,
    /// Which entries leave memory first: `s3-fifo`, `lru`, `lfu`, `fifo` [default: s3-fifo]
    #[arg(long, env = "THALWEG_EVICTION")]
    pub(crate) eviction: Option<String>,
    /// Event loops of the Redis door [default: the processors, less one for commits and
    /// checkpoints]
    #[arg(long, env = "THALWEG_THREADS")]
    pub(crate) threads: Option<usize>,
    /// Partitions; fixed when the data directory is created [default: 32]
    #[arg(long, env = "THALWEG_PARTITIONS")]
    pub(crate) partitions: Option<u16>,
    /// Clients must give this password
    #[arg(long, env = "THALWEG_PASSWORD", hide_env_values = true)]
    pub(crate) password: Option<String>,
    /// Size of a log segment [default: 64MiB]
    #[arg(long, env = "THALWEG_LOG_SEGMENT")]
    pub(crate) log_segment: Option<String>,
    /// Batches of at least this size are compressed in the log [default: 64KiB]
    #[arg(long, env = "THALWEG_LOG_COMPRESS_MIN")]
    pub(crate) log_compress_min: Option<String>,
    /// A checkpoint begins when the log has grown by this much [default: 1GiB]
    #[arg(long, env = "THALWEG_CHECKPOINT_LOG")]
    pub(crate) checkpoint_log: Option<String>,
    /// Connections at once [default: 10000]
    #[arg(long, env = "THALWEG_CONNECTIONS_MAX")]
    pub(crate) connections_max: Option<usize>,
    /// The largest argument of a command [default: 512MiB]
    #[arg(long, env = "THALWEG_BULK_MAX")]
    pub(crate) bulk_max: Option<String>,
    /// Replies that may wait for a client that does not read [default: 32MiB]
    #[arg(long, env = "THALWEG_OUTPUT_MAX")]
    pub(crate) output_max: Option<String>,
    /// The largest body of an HTTP request [default: 64MiB]
    #[arg(long, env = "THALWEG_BODY_MAX")]
    pub(crate) body_max: Option<String>,
    /// Close RESP connections that say nothing for this long, 0: never; and HTTP connections that
    /// send no whole request for this long, 0: after 75 s [default: 0]
    #[arg(long, env = "THALWEG_IDLE_TIMEOUT")]
    pub(crate) idle_timeout: Option<String>,
    /// A TOML file with these settings
    #[arg(long, env = "THALWEG_CONFIG")]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,
}

/// Settings that a node can be started with.
pub(crate) struct Settings {
    pub(crate) engine: EngineSettings,
    pub(crate) doors: DoorSettings,
    pub(crate) resp: SocketAddr,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) postgres: Option<SocketAddr>,
    pub(crate) sql: SqlSettings,
    pub(crate) threads: usize,
}

impl ServeArgs {
    /// Reads the file if there is one, fills in the defaults, and checks what belongs together.
    pub(crate) fn resolve(&self) -> anyhow::Result<Settings> {
        let given = match &self.config {
            Some(path) => self.clone().over(read_file(path)?),
            None => self.clone(),
        };
        given.check()
    }

    /// Every setting: its name, its value or default, and what it does. For `sys.settings`.
    pub(crate) fn describe(&self) -> Vec<[String; 3]> {
        let values = serde_json::to_value(self).unwrap_or_default();
        let command = Self::augment_args(clap::Command::new("serve"));
        let describe = |argument: &clap::Arg| {
            let name = argument.get_long()?.to_owned();
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            let (help, default) = help.split_once(" [default: ").unwrap_or((&help, ""));
            let value = match values.get(&name) {
                Some(serde_json::Value::String(_)) if name == "password" => "(set)".to_owned(),
                Some(serde_json::Value::String(text)) => text.clone(),
                Some(serde_json::Value::Number(number)) => number.to_string(),
                _ => default.trim_end_matches(']').to_owned(),
            };
            Some([name, value, help.to_owned()])
        };
        command.get_arguments().filter_map(describe).collect()
    }

    /// These settings; where they say nothing, the other ones.
    fn over(self, file: Self) -> Self {
        Self {
            data: self.data.or(file.data),
            resp: self.resp.or(file.resp),
            http: self.http.or(file.http),
            postgres: self.postgres.or(file.postgres),
            durability: self.durability.or(file.durability),
            sync_interval: self.sync_interval.or(file.sync_interval),
            memory_max: self.memory_max.or(file.memory_max),
            sql_memory_max: self.sql_memory_max.or(file.sql_memory_max),
            view_memory_max: self.view_memory_max.or(file.view_memory_max),
            segments: self.segments.or(file.segments),
            view_checkpoint: self.view_checkpoint.or(file.view_checkpoint),
            stream_idle: self.stream_idle.or(file.stream_idle),
            eviction: self.eviction.or(file.eviction),
            threads: self.threads.or(file.threads),
            partitions: self.partitions.or(file.partitions),
            password: self.password.or(file.password),
            log_segment: self.log_segment.or(file.log_segment),
            log_compress_min: self.log_compress_min.or(file.log_compress_min),
            checkpoint_log: self.checkpoint_log.or(file.checkpoint_log),
            connections_max: self.connections_max.or(file.connections_max),
            bulk_max: self.bulk_max.or(file.bulk_max),
            output_max: self.output_max.or(file.output_max),
            body_max: self.body_max.or(file.body_max),
            idle_timeout: self.idle_timeout.or(file.idle_timeout),
            config: self.config,
        }
    }
}

fn read_file(path: &PathBuf) -> anyhow::Result<ServeArgs> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_node::Durability;

    fn given(change: impl FnOnce(&mut ServeArgs)) -> anyhow::Result<Settings> {
        let mut args = ServeArgs::default();
        change(&mut args);
        args.resolve()
    }

    #[test]
    fn defaults_are_durable_and_private() {
        let settings = given(|_| {}).expect("defaults are valid");
        assert_eq!(settings.engine.durability, Durability::Sync);
        assert!(settings.resp.ip().is_loopback());
        assert!(settings.http.is_some_and(|address| address.ip().is_loopback()));
    }

    #[test]
    fn public_without_a_password_is_refused() {
        let error = given(|args| args.resp = Some("0.0.0.0:7379".into())).err().expect("refused");
        assert!(error.to_string().contains("--password"), "{error}");
        given(|args| {
            args.resp = Some("0.0.0.0:7379".into());
            args.password = Some("secret".into());
        })
        .expect("allowed with a password");
    }

    #[test]
    fn nonsense_is_refused_with_the_name_of_the_setting() {
        for (change, word) in [
            ((|args| args.durability = Some("maybe".into())) as fn(&mut ServeArgs), "durability"),
            (|args| args.memory_max = Some("lots".into()), "--memory-max"),
            (|args| args.eviction = Some("random".into()), "eviction"),
            (|args| args.resp = Some("nowhere".into()), "--resp"),
        ] {
            let error = given(change).err().expect("refused");
            assert!(format!("{error:#}").contains(word), "{error:#}");
        }
    }

    #[test]
    fn the_page_of_settings_is_current() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/settings.md");
        let page = std::fs::read_to_string(&path).unwrap_or_default();
        const HEADING: &str = "\n## All settings\n\n";
        let above = page.split(HEADING).next().unwrap_or_default();
        let rows = ServeArgs::default().describe().into_iter().map(|[name, default, help]| {
            format!("| `{name}` | {default} | {} |\n", help.replace('|', "\\|"))
        });
        let table: String = rows.collect();
        let expected =
            format!("{above}{HEADING}| setting | default | what it does |\n|---|---|---|\n{table}");
        if std::env::var_os("THALWEG_UPDATE_DOCS").is_some() {
            std::fs::write(&path, &expected).expect("write");
        } else {
            let hint = "docs/settings.md is not current; run the test with THALWEG_UPDATE_DOCS=1";
            assert!(page == expected, "{hint}");
        }
    }

    #[test]
    fn a_file_gives_what_the_command_line_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("thalweg.toml");
        std::fs::write(&path, "durability = \"interval\"\nmemory-max = \"1GiB\"\n").expect("write");
        let settings = given(|args| {
            args.config = Some(path.clone());
            args.memory_max = Some("2GiB".into());
        })
        .expect("valid");
        assert_eq!(settings.engine.durability, Durability::Interval);
        assert_eq!(settings.engine.memory_max_bytes, 2 << 30);
        std::fs::write(&path, "durabilty = \"sync\"\n").expect("write");
        assert!(given(|args| args.config = Some(path)).is_err(), "a misspelt name must be refused");
    }
}
