//! From settings as they are given to settings that a node can be started with. Defaults are filled
//! in. A value that makes no sense is refused with the name of the setting.

use super::Settings;
use super::given::{Given, Origin};
use super::kind::Kind;
use super::table::all;
use anyhow::{anyhow, bail};
use std::path::Path;
use thalweg_doors::DoorSettings;
use thalweg_listen::TlsFiles;
use thalweg_node::{Durability, EngineSettings, Place};
use thalweg_query::SqlSettings;

impl Default for Settings {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let local = |port: u16| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let mut settings = Self {
            engine: EngineSettings::in_directory("./thalweg-data"),
            doors: DoorSettings::default(),
            resp: local(7379),
            http: Some(local(7380)),
            postgres: Some(local(7432)),
            resp_tls: None,
            http_tls: None,
            tls_certificate: None,
            tls_key: None,
            sql: SqlSettings {
                give_memory_back: crate::allocator::give_back,
                ..SqlSettings::default()
            },
            // A loop for every processor makes them fight with the commit thread: more CPU for each
            // request, no more of them.
            threads: (processors - 1).clamp(1, 256),
            config: None,
            origins: Default::default(),
        };
        settings.follow();
        settings
    }
}

impl Settings {
    /// Applies what was given, and checks what belongs together. Of two values for one setting the
    /// first one counts.
    pub(super) fn from_given(given: &[Given], file: Option<&Path>) -> anyhow::Result<Self> {
        let mut settings = Self::default();
        for setting in all() {
            let Some(given) = given.iter().find(|given| given.setting.name == setting.name) else {
                continue;
            };
            setting.put(&mut settings, &given.text).map_err(|why| {
                let from = match (given.origin, file) {
                    (Origin::Environment, _) => format!(" (from {})", setting.variable()),
                    (Origin::File, Some(file)) => format!(" (from {})", file.display()),
                    _ => String::new(),
                };
                anyhow!("{} {why}{from}", setting.flag())
            })?;
            settings.origins.insert(setting.name, given.origin);
        }
        settings.follow();
        settings.check()?;
        Ok(settings)
    }

    /// Sets what follows from other settings, where nobody has said otherwise.
    fn follow(&mut self) {
        let is_given = |name| self.origins.contains_key(name);
        let budget_bytes = (self.engine.memory_max_bytes / 5) as usize;
        let folder = match &self.engine.place {
            Place::Directory(path) => Some(path.clone()),
            Place::Memory => None,
        };
        if !is_given("sql-memory-max") {
            self.sql.memory_max_bytes = budget_bytes;
        }
        if !is_given("view-memory-max") {
            self.sql.view_memory_max_bytes = budget_bytes;
        }
        if !is_given("segments") {
            let segments = folder.as_ref().map(|path| path.join("segments"));
            self.sql.segments = segments.map(|path| path.to_string_lossy().into_owned());
        }
        self.sql.folder = folder;
        self.engine.limits.value_max_bytes = self.doors.bulk_max_bytes;
    }

    /// Where the certificate and its key are, if TLS is wanted; refused where one of them is
    /// missing. It is asked for when a node starts.
    pub(crate) fn tls_files(&self) -> anyhow::Result<Option<TlsFiles>> {
        match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                return Ok(Some(TlsFiles { certificate: certificate.clone(), key: key.clone() }));
            }
            (Some(_), None) => {
                bail!("--tls-certificate needs the key of the certificate: name it with --tls-key")
            }
            (None, Some(_)) => {
                bail!("--tls-key needs the certificate of the key: name it with --tls-certificate")
            }
            (None, None) => {}
        }
        for (flag, address) in [("--resp-tls", self.resp_tls), ("--http-tls", self.http_tls)] {
            if let Some(address) = address {
                bail!(
                    "{flag} {address} needs a certificate and its key: name them with \
                     --tls-certificate and --tls-key"
                );
            }
        }
        Ok(None)
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.engine.place == Place::Memory && self.engine.durability != Durability::None {
            bail!(
                "--data memory keeps nothing, so --durability {} cannot be kept; use none",
                self.engine.durability.as_str()
            );
        }
        if self.doors.password.is_some() {
            return Ok(());
        }
        // Doors that other machines can reach, and no password.
        for setting in all() {
            let Kind::Address(kind) = &setting.kind else { continue };
            if let Some(address) = (kind.get)(self).filter(|address| !address.ip().is_loopback()) {
                bail!(
                    "{} {address} can be reached from other machines, and there is no password: \
                     set one with --password or THALWEG_PASSWORD, or listen on 127.0.0.1",
                    setting.flag()
                );
            }
        }
        Ok(())
    }
}
