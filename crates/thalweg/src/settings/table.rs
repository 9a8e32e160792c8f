//! The one table of settings. A new setting is a new row here, and nothing else has to learn of it.

use super::kind::{
    address, bytes, choice, count, file, folder, milliseconds, power_of_two, secret,
};
use super::setting::{Group, Setting, Spelling, setting};
use std::path::PathBuf;
use thalweg_machine::PolicyName;
use thalweg_node::{Durability, Place};

/// Every setting, in the order in which they are shown and applied: what a default follows from
/// comes before it.
pub(crate) static GROUPS: &[Group] = &[
    Group { title: "Data", settings: DATA },
    Group { title: "Doors", settings: DOORS },
    Group { title: "Memory", settings: MEMORY },
    Group { title: "Streams and views", settings: STREAMS },
    Group { title: "Log and checkpoints", settings: LOG },
    Group { title: "Limits on clients", settings: LIMITS },
];

/// Every setting, without its group.
pub(crate) fn all() -> impl Iterator<Item = &'static Setting> {
    GROUPS.iter().flat_map(|group| group.settings)
}

static DATA: &[Setting] = &[
    setting(
        "data",
        folder(
            |s| {
                Some(match &s.engine.place {
                    Place::Directory(path) => path.display().to_string(),
                    Place::Memory => "memory".to_owned(),
                })
            },
            |s, text| match text {
                "memory" => {
                    (s.engine.place, s.engine.durability) = (Place::Memory, Durability::None)
                }
                path => s.engine.place = Place::Directory(PathBuf::from(path)),
            },
        ),
        "Directory for the data, or `memory` to keep nothing",
    )
    .config(&[("appendonly", Spelling::IsKept), ("dir", Spelling::Folder)]),
    setting(
        "durability",
        choice(
            Durability::NAMES,
            |s| s.engine.durability.as_str(),
            |s, name| s.engine.durability = name.parse().unwrap_or_default(),
        ),
        "When a reply may leave: `sync` (after fdatasync), `interval` (after write), `none` (at \
         once)",
    )
    .config(&[("appendfsync", Spelling::Fsync), ("durability", Spelling::Plain)]),
    setting(
        "sync-interval",
        milliseconds(1, |s| s.engine.sync_interval_ms, |s, ms| s.engine.sync_interval_ms = ms),
        "How often to sync at durability `interval`",
    ),
    setting(
        "partitions",
        power_of_two(
            1_024,
            |s| s.engine.partitions.into(),
            |s, number| s.engine.partitions = number as u16,
        ),
        "Partitions; fixed when the data directory is created",
    )
    .config(&[("partitions", Spelling::Plain)]),
    setting(
        "config",
        file(
            |s| s.config.as_ref().map(|path| path.display().to_string()),
            |s, path| s.config = Some(PathBuf::from(path)),
        ),
        "A TOML file with these settings",
    ),
];

static DOORS: &[Setting] = &[
    setting(
        "resp",
        address(false, |s| Some(s.resp), |s, address| s.resp = address.unwrap_or(s.resp)),
        "Address of the Redis door",
    ),
    setting(
        "http",
        address(true, |s| s.http, |s, address| s.http = address),
        "Address of the HTTP door and the dashboard; `off` for none",
    ),
    setting(
        "postgres",
        address(true, |s| s.postgres, |s, address| s.postgres = address),
        "Address of the Postgres door; `off` for none",
    ),
    setting(
        "resp-tls",
        address(true, |s| s.resp_tls, |s, address| s.resp_tls = address),
        "Address of the Redis door for clients that speak TLS; `off` for none",
    ),
    setting(
        "http-tls",
        address(true, |s| s.http_tls, |s, address| s.http_tls = address),
        "Address of the HTTP door for clients that speak TLS; `off` for none",
    ),
    setting(
        "tls-certificate",
        file(
            |s| s.tls_certificate.as_ref().map(|path| path.display().to_string()),
            |s, path| s.tls_certificate = Some(PathBuf::from(path)),
        ),
        "A PEM file with the node's certificate and those that signed it; it is read again when it \
         changes. With it the Postgres door speaks TLS to clients that ask for it",
    )
    .config(&[("tls-cert-file", Spelling::Plain)]),
    setting(
        "tls-key",
        file(
            |s| s.tls_key.as_ref().map(|path| path.display().to_string()),
            |s, path| s.tls_key = Some(PathBuf::from(path)),
        ),
        "A PEM file with the private key of the certificate, without a passphrase",
    )
    .config(&[("tls-key-file", Spelling::Plain)]),
    setting(
        "password",
        secret(|s| s.doors.password.as_deref(), |s, password| s.doors.password = password),
        "Clients must give this password",
    )
    .config(&[("requirepass", Spelling::Plain)])
    .can_change(),
    setting(
        "threads",
        count(1, 256, |s| s.threads as u64, |s, number| s.threads = number as usize),
        "Event loops of the Redis door",
    )
    .default_in_words("the processors, less one for commits and checkpoints"),
];

static MEMORY: &[Setting] = &[
    setting(
        "memory-max",
        bytes(
            16 << 20,
            |s| s.engine.memory_max_bytes,
            |s, bytes| s.engine.memory_max_bytes = bytes,
        ),
        "Memory for entries, filters and caches; other keys are on disk only",
    )
    .default_in_words("6/10 of the machine's")
    .config(&[("maxmemory", Spelling::Plain)]),
    setting(
        "sql-memory-max",
        bytes(
            1 << 10,
            |s| s.sql.memory_max_bytes as u64,
            |s, bytes| s.sql.memory_max_bytes = bytes as usize,
        ),
        "Memory for SQL queries, all of them together; a quarter of it for pieces of Parquet files \
         that were read",
    )
    .default_in_words("a fifth of --memory-max"),
    setting(
        "view-memory-max",
        bytes(
            1 << 10,
            |s| s.sql.view_memory_max_bytes as u64,
            |s, bytes| s.sql.view_memory_max_bytes = bytes as usize,
        ),
        "Memory for the states of materialized views, all of them together",
    )
    .default_in_words("a fifth of --memory-max"),
    setting(
        "eviction",
        choice(
            PolicyName::NAMES,
            |s| s.engine.eviction.as_str(),
            |s, name| s.engine.eviction = name.parse().unwrap_or_default(),
        ),
        "Which entries leave memory first: `s3-fifo`, `lru`, `lfu`, `fifo`",
    )
    .config(&[("maxmemory-policy", Spelling::Plain)]),
];

static STREAMS: &[Setting] = &[
    setting(
        "segments",
        folder(|s| s.sql.segments.clone(), |s, place| s.sql.segments = Some(place.to_owned())),
        "Where declared streams' older records are sealed, as Parquet files: a folder, or \
         `s3://bucket/prefix` with the usual AWS_ variables for credentials, region and endpoint",
    )
    .default_in_words("segments in the data directory"),
    setting(
        "view-checkpoint",
        milliseconds(
            10,
            |s| s.sql.checkpoint_interval_ms,
            |s, ms| s.sql.checkpoint_interval_ms = ms,
        ),
        "How often a materialized view writes its checkpoint",
    ),
    setting(
        "stream-idle",
        milliseconds(10, |s| s.sql.idle_ms, |s, ms| s.sql.idle_ms = ms),
        "A stream's partition that is silent for this long while others bring records does not \
         hold windows open",
    ),
];

static LOG: &[Setting] = &[
    setting(
        "log-segment",
        bytes(1 << 20, |s| s.engine.segment_bytes, |s, bytes| s.engine.segment_bytes = bytes),
        "Size of a log segment",
    ),
    setting(
        "log-compress-min",
        bytes(
            1 << 10,
            |s| s.engine.compress_min_bytes as u64,
            |s, bytes| s.engine.compress_min_bytes = bytes as usize,
        ),
        "Batches of at least this size are compressed in the log",
    ),
    setting(
        "checkpoint-log",
        bytes(
            1 << 20,
            |s| s.engine.checkpoint_log_bytes,
            |s, bytes| s.engine.checkpoint_log_bytes = bytes,
        ),
        "A checkpoint begins when the log has grown by this much",
    ),
];

static LIMITS: &[Setting] = &[
    setting(
        "connections-max",
        count(
            1,
            u64::MAX,
            |s| s.doors.connections_max as u64,
            |s, number| s.doors.connections_max = number as usize,
        ),
        "Connections at once, over all doors",
    )
    .config(&[("maxclients", Spelling::Plain)])
    .can_change(),
    setting(
        "bulk-max",
        bytes(
            1 << 10,
            |s| s.doors.bulk_max_bytes as u64,
            |s, bytes| s.doors.bulk_max_bytes = bytes as usize,
        ),
        "The largest argument of a command",
    )
    .config(&[("proto-max-bulk-len", Spelling::Plain)])
    .can_change(),
    setting(
        "frame-max",
        bytes(
            1 << 10,
            |s| s.doors.frame_max_bytes as u64,
            |s, bytes| s.doors.frame_max_bytes = bytes as usize,
        ),
        "The largest command as a whole",
    )
    .config(&[("client-query-buffer-limit", Spelling::Plain)])
    .can_change(),
    setting(
        "output-max",
        bytes(
            1 << 10,
            |s| s.doors.output_max_bytes as u64,
            |s, bytes| s.doors.output_max_bytes = bytes as usize,
        ),
        "Replies that may wait for a client that does not read",
    )
    .config(&[("client-output-max-bytes", Spelling::Plain)])
    .can_change(),
    setting(
        "body-max",
        bytes(
            1 << 10,
            |s| s.doors.body_max_bytes as u64,
            |s, bytes| s.doors.body_max_bytes = bytes as usize,
        ),
        "The largest body of an HTTP request",
    )
    .config(&[("body-max-bytes", Spelling::Plain)])
    .can_change(),
    setting(
        "idle-timeout",
        milliseconds(0, |s| s.doors.idle_timeout_ms, |s, ms| s.doors.idle_timeout_ms = ms),
        "Close RESP connections that say nothing for this long, 0: never; and HTTP connections \
         that send no whole request for this long, 0: after 75 s",
    )
    .config(&[("timeout", Spelling::Seconds)])
    .can_change(),
    setting(
        "slow-log-above-us",
        count(0, u64::MAX, |s| s.doors.slow_us, |s, us| s.doors.slow_us = us),
        "Commands that take longer than this many microseconds go into the slow log",
    )
    .config(&[("slowlog-log-slower-than", Spelling::MicrosecondsOrOff)])
    .can_change(),
    setting(
        "slow-log-max",
        count(
            0,
            u64::MAX,
            |s| s.doors.slow_log_max as u64,
            |s, number| s.doors.slow_log_max = number as usize,
        ),
        "Commands that the slow log keeps",
    )
    .config(&[("slowlog-max-len", Spelling::Plain)])
    .can_change(),
];
