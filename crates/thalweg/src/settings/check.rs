//! From settings as they are given to settings that a node can be started with. Defaults are filled
//! in. A value that makes no sense is refused with the name of the setting.

use super::{ServeArgs, Settings};
use anyhow::{Context, bail};
use std::net::SocketAddr;
use thalweg_base::units::{parse_bytes, parse_duration_ms};
use thalweg_doors::DoorSettings;
use thalweg_node::{Durability, EngineSettings, Place};
use thalweg_query::SqlSettings;

impl ServeArgs {
    /// Fills in the defaults and checks what belongs together.
    pub(super) fn check(&self) -> anyhow::Result<Settings> {
        let mut engine = self.engine_settings()?;
        let doors = self.door_settings()?;
        engine.limits.value_max_bytes = doors.bulk_max_bytes;
        let resp = address(self.resp.as_deref().unwrap_or("127.0.0.1:7379"), "--resp")?;
        let http = address_or_off(self.http.as_deref().unwrap_or("127.0.0.1:7380"), "--http")?;
        let postgres =
            address_or_off(self.postgres.as_deref().unwrap_or("127.0.0.1:7432"), "--postgres")?;
        if doors.password.is_none() {
            refuse_public([("--resp", Some(resp)), ("--http", http), ("--postgres", postgres)])?;
        }
        let sql = self.sql_settings(&engine)?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        // A loop for every processor makes them fight with the commit thread: more CPU for each
        // request, no more of them.
        let threads = self.threads.unwrap_or(processors - 1).clamp(1, 256);
        Ok(Settings { engine, doors, resp, http, postgres, sql, threads })
    }

    fn engine_settings(&self) -> anyhow::Result<EngineSettings> {
        let data = self.data.as_deref().unwrap_or("./thalweg-data");
        let mut engine = match data {
            "memory" => EngineSettings::in_memory(),
            path => EngineSettings::in_directory(path),
        };
        if let Some(durability) = &self.durability {
            engine.durability = durability.parse().map_err(anyhow::Error::msg)?;
        }
        if engine.place == Place::Memory && engine.durability != Durability::None {
            bail!(
                "--data memory keeps nothing, so --durability {} cannot be kept; use none",
                engine.durability.as_str()
            );
        }
        if let Some(eviction) = &self.eviction {
            engine.eviction = eviction.parse().map_err(anyhow::Error::msg)?;
        }
        if let Some(interval) = &self.sync_interval {
            engine.sync_interval_ms =
                parse_duration_ms(interval).context("--sync-interval")?.max(1);
        }
        bytes(&self.memory_max, "--memory-max", 16 << 20, &mut engine.memory_max_bytes)?;
        bytes(&self.log_segment, "--log-segment", 1 << 20, &mut engine.segment_bytes)?;
        bytes(&self.checkpoint_log, "--checkpoint-log", 1 << 20, &mut engine.checkpoint_log_bytes)?;
        size(&self.log_compress_min, "--log-compress-min", &mut engine.compress_min_bytes)?;
        engine.partitions = self.partitions.unwrap_or(engine.partitions);
        Ok(engine)
    }

    fn door_settings(&self) -> anyhow::Result<DoorSettings> {
        let mut doors = DoorSettings { password: self.password.clone(), ..DoorSettings::default() };
        doors.connections_max = self.connections_max.unwrap_or(doors.connections_max);
        size(&self.bulk_max, "--bulk-max", &mut doors.bulk_max_bytes)?;
        size(&self.output_max, "--output-max", &mut doors.output_max_bytes)?;
        size(&self.body_max, "--body-max", &mut doors.body_max_bytes)?;
        if let Some(timeout) = &self.idle_timeout {
            doors.idle_timeout_ms = parse_duration_ms(timeout).context("--idle-timeout")?;
        }
        Ok(doors)
    }

    fn sql_settings(&self, engine: &EngineSettings) -> anyhow::Result<SqlSettings> {
        let mut sql = SqlSettings {
            folder: match &engine.place {
                Place::Directory(path) => Some(path.clone()),
                Place::Memory => None,
            },
            segments: match (&self.segments, &engine.place) {
                (Some(address), _) => Some(address.clone()),
                (None, Place::Directory(path)) => {
                    Some(path.join("segments").to_string_lossy().into_owned())
                }
                (None, Place::Memory) => None,
            },
            memory_max_bytes: usize::try_from(engine.memory_max_bytes / 5)?,
            view_memory_max_bytes: usize::try_from(engine.memory_max_bytes / 5)?,
            give_memory_back: crate::allocator::give_back,
            ..SqlSettings::default()
        };
        size(&self.sql_memory_max, "--sql-memory-max", &mut sql.memory_max_bytes)?;
        size(&self.view_memory_max, "--view-memory-max", &mut sql.view_memory_max_bytes)?;
        if let Some(interval) = &self.view_checkpoint {
            sql.checkpoint_interval_ms =
                parse_duration_ms(interval).context("--view-checkpoint")?.max(10);
        }
        if let Some(idle) = &self.stream_idle {
            sql.idle_ms = parse_duration_ms(idle).context("--stream-idle")?.max(10);
        }
        Ok(sql)
    }
}

/// Refuses doors that other machines can reach, for where no password is set.
fn refuse_public(doors: [(&str, Option<SocketAddr>); 3]) -> anyhow::Result<()> {
    for (door, address) in doors {
        if let Some(address) = address.filter(|address| !address.ip().is_loopback()) {
            bail!(
                "{door} {address} can be reached from other machines, and there is no password. \
                 Set one with --password or THALWEG_PASSWORD, or listen on 127.0.0.1"
            );
        }
    }
    Ok(())
}

fn bytes(text: &Option<String>, name: &str, least: u64, target: &mut u64) -> anyhow::Result<()> {
    if let Some(text) = text {
        *target = parse_bytes(text).with_context(|| name.to_owned())?;
        if *target < least {
            bail!("{name} {text} is too small; the least is {least} bytes");
        }
    }
    Ok(())
}

fn size(text: &Option<String>, name: &str, target: &mut usize) -> anyhow::Result<()> {
    let mut value = *target as u64;
    bytes(text, name, 1_024, &mut value)?;
    *target = usize::try_from(value).with_context(|| name.to_owned())?;
    Ok(())
}

fn address(text: &str, name: &str) -> anyhow::Result<SocketAddr> {
    use std::net::ToSocketAddrs;
    let mut found = text.to_socket_addrs().with_context(|| {
        format!("{name} {text}: write an address and a port, such as 127.0.0.1:7379")
    })?;
    found.next().with_context(|| format!("{name} {text}: no such address"))
}

/// The address of a door; nothing for `off`.
fn address_or_off(text: &str, name: &str) -> anyhow::Result<Option<SocketAddr>> {
    match text {
        "off" => Ok(None),
        text => Ok(Some(address(text, name)?)),
    }
}
