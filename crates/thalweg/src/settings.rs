//! The settings of a node: one table (`settings/table.rs`), a row each. Each can be given on the
//! command line, in the environment (`THALWEG_…`) or in a TOML file (`--config`), in this order of
//! precedence; defaults come last. Flags, variables, keys of the file, what CONFIG and
//! `sys.settings` show, the page in `docs/` and what is said of a wrong value are made from the
//! table.

mod check;
mod given;
mod kind;
mod redis;
mod rows;
mod setting;
mod table;

#[cfg(test)]
mod tests;

pub(crate) use given::ServeArgs;
pub(crate) use redis::parameters;

use given::Origin;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use thalweg_doors::DoorSettings;
use thalweg_node::EngineSettings;
use thalweg_query::SqlSettings;

/// Settings that a node can be started with.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) engine: EngineSettings,
    pub(crate) doors: DoorSettings,
    pub(crate) resp: SocketAddr,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) postgres: Option<SocketAddr>,
    pub(crate) resp_tls: Option<SocketAddr>,
    pub(crate) http_tls: Option<SocketAddr>,
    tls_certificate: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    pub(crate) sql: SqlSettings,
    pub(crate) threads: usize,
    /// The file that some of them come from.
    config: Option<PathBuf>,
    /// Where those come from that were given.
    origins: BTreeMap<&'static str, Origin>,
}

impl ServeArgs {
    /// Reads the file if there is one, fills in the defaults, and checks what belongs together.
    pub(crate) fn resolve(&self) -> anyhow::Result<Settings> {
        let mut given = self.given.clone();
        let file = given.iter().find(|given| given.setting.name == "config");
        let file = file.map(|given| PathBuf::from(&given.text));
        if let Some(path) = &file {
            given.extend(given::read_file(path)?);
        }
        Settings::from_given(&given, file.as_deref())
    }
}
