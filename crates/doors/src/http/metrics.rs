//! `/metrics`: Prometheus text, from one table.

use super::Door;
use crate::stats::Snapshot;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use std::fmt::Write;
use std::sync::atomic::Ordering;
use thalweg_node::{EngineReport, Health, LaneReport, Role};

/// What a metric is made from.
struct Source<'a> {
    door: &'a Door,
    report: EngineReport,
    traffic: Snapshot,
}

/// A metric: name, type, help, value.
type Metric = (&'static str, &'static str, &'static str, fn(&Source<'_>) -> f64);

static METRICS: &[Metric] = &[
    ("thalweg_commands_total", "counter", "RESP commands run", |s| s.traffic.commands as f64),
    ("thalweg_http_requests_total", "counter", "HTTP requests", |s| {
        s.door.shared.stats.http_requests.load(Ordering::Relaxed) as f64
    }),
    ("thalweg_connections", "gauge", "Connections now, of all doors", |s| {
        s.door.shared.connection_count() as f64
    }),
    ("thalweg_connections_total", "counter", "Connections accepted, by all doors", |s| {
        s.door.shared.access.limit.accepted() as f64
    }),
    ("thalweg_connections_rejected_total", "counter", "Connections refused for a limit", |s| {
        s.door.shared.access.limit.refused() as f64
    }),
    (
        "thalweg_protocol_errors_total",
        "counter",
        "Clients cut for what they sent or did not read",
        |s| s.door.shared.stats.protocol_errors.load(Ordering::Relaxed) as f64,
    ),
    ("thalweg_received_bytes_total", "counter", "Bytes received by the RESP door", |s| {
        s.traffic.received_bytes as f64
    }),
    ("thalweg_sent_bytes_total", "counter", "Bytes sent by the RESP door", |s| {
        s.traffic.sent_bytes as f64
    }),
    ("thalweg_blocked_readers", "gauge", "Readers that wait for a key to change", |s| {
        s.door.shared.engine.waiter_count() as f64
    }),
    ("thalweg_keys", "gauge", "Keys, in memory or not", |s| s.report.total(|p| p.keys) as f64),
    ("thalweg_hot_keys", "gauge", "Keys in memory", |s| s.report.total(|p| p.hot_keys) as f64),
    ("thalweg_memory_bytes", "gauge", "Memory of entries", |s| {
        s.report.total(|p| p.memory_bytes) as f64
    }),
    ("thalweg_memory_max_bytes", "gauge", "Memory budget of entries", |s| {
        s.door.shared.engine.settings().memory_max_bytes as f64
    }),
    ("thalweg_evicted_keys_total", "counter", "Entries that left memory for the store", |s| {
        s.report.total(|p| p.evicted) as f64
    }),
    ("thalweg_loaded_keys_total", "counter", "Keys fetched from the store", |s| {
        s.report.loads as f64
    }),
    ("thalweg_expired_keys_total", "counter", "Keys deleted because they expired", |s| {
        s.report.expired as f64
    }),
    ("thalweg_log_bytes", "gauge", "Bytes of the log on disk", |s| s.report.log.size_bytes as f64),
    ("thalweg_log_segments", "gauge", "Segment files of the log", |s| s.report.log.segments as f64),
    (
        "thalweg_log_appended_bytes_total",
        "counter",
        "Bytes appended to the log before compression",
        |s| s.report.log.appended_bytes as f64,
    ),
    (
        "thalweg_log_stored_bytes_total",
        "counter",
        "Bytes appended to the log after compression",
        |s| s.report.log.stored_bytes as f64,
    ),
    (
        "thalweg_log_compression_ratio",
        "gauge",
        "Bytes before compression for each byte after it",
        |s| s.report.log.compression_ratio(),
    ),
    ("thalweg_log_batches_total", "counter", "Batches appended to the log", |s| {
        s.report.log.appended_batches as f64
    }),
    ("thalweg_log_syncs_total", "counter", "Times the log was made durable", |s| {
        s.report.log.syncs as f64
    }),
    ("thalweg_log_torn_bytes", "gauge", "Bytes cut from the log's end when it was opened", |s| {
        s.report.log.torn_bytes as f64
    }),
    ("thalweg_store_bytes", "gauge", "Bytes of the checkpoint store", |s| {
        s.report.store_bytes as f64
    }),
    ("thalweg_checkpoints_total", "counter", "Checkpoints taken", |s| s.report.checkpoints as f64),
    ("thalweg_recovery_milliseconds", "gauge", "How long recovery took", |s| {
        s.report.recovery_ms as f64
    }),
    (
        "thalweg_writes_refused",
        "gauge",
        "1 while writes are refused: the disk is full or failed",
        |s| f64::from(u8::from(s.report.health != Health::Ok)),
    ),
];

pub(super) async fn metrics(State(door): State<Door>) -> impl IntoResponse {
    let report = door.shared.engine.report();
    let traffic = door.shared.stats.snapshot();
    let source = Source { door: &door, report, traffic };
    let mut out = String::new();
    for (name, kind, help, value) in METRICS {
        // Writing to a string cannot fail.
        let _infallible =
            write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {}\n", value(&source));
    }
    write_lanes(&mut out, &source.report.lanes);
    let name = "thalweg_latency_microseconds";
    let latency = &source.traffic.latency_us;
    let _infallible = write!(
        out,
        "# HELP {name} From reading a request to sending its reply\n# TYPE {name} summary\n"
    );
    for quantile in [0.5, 0.9, 0.99, 0.999] {
        let value = latency.value_at_quantile(quantile);
        let _infallible = writeln!(out, "{name}{{quantile=\"{quantile}\"}} {value}");
    }
    let sum = latency.mean() * latency.len() as f64;
    let _infallible = write!(out, "{name}_sum {sum:.0}\n{name}_count {}\n", latency.len());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], out)
}

/// A metric of a lane: name, help, value.
type LaneMetric = (&'static str, &'static str, fn(&LaneReport) -> u64);

static LANE_METRICS: &[LaneMetric] = &[
    ("thalweg_settled_lsn", "LSN up to which everything in a lane is durable as asked", |lane| {
        lane.settled_lsn
    }),
    ("thalweg_lane_led", "1 where this node leads the lane", |lane| {
        u64::from(lane.role == Role::Leader)
    }),
    ("thalweg_lane_writes_refused", "1 while the log of the lane takes no writes", |lane| {
        u64::from(lane.health != Health::Ok)
    }),
];

fn write_lanes(out: &mut String, lanes: &[LaneReport]) {
    for (name, help, value) in LANE_METRICS {
        // Writing to a string cannot fail.
        let _infallible = write!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n");
        for lane in lanes {
            let _infallible = writeln!(out, "{name}{{lane=\"{}\"}} {}", lane.number, value(lane));
        }
    }
}
