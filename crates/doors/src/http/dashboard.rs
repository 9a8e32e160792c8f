//! The dashboard: one page, fed by server-sent events.

use super::Door;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_secs(1);
const STREAMS_SHOWN: usize = 12;

/// The page. Everything it needs is in it.
pub(super) async fn page() -> impl IntoResponse {
    let policy = "default-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'";
    (
        [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_SECURITY_POLICY, policy),
        ],
        include_str!("dashboard/page.html"),
    )
}

/// What was counted at the last tick.
struct Ticker {
    door: Door,
    at: Instant,
    commands: u64,
    latency_us: Histogram<u64>,
    first: bool,
}

/// Figures, once a second.
pub(super) async fn events(
    State(door): State<Door>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let snapshot = door.shared.stats.snapshot();
    let ticker = Ticker {
        door,
        at: Instant::now(),
        commands: snapshot.commands,
        latency_us: snapshot.latency_us,
        first: true,
    };
    let events = futures_util::stream::unfold(ticker, async |mut ticker| {
        if !ticker.first {
            tokio::time::sleep(TICK).await;
        }
        if ticker.door.shared.is_draining() {
            return None;
        }
        ticker.first = false;
        let event = Event::default().data(ticker.tick().to_string());
        Some((Ok(event), ticker))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

impl Ticker {
    /// The figures since the last tick.
    fn tick(&mut self) -> Value {
        let shared = &self.door.shared;
        let report = shared.engine.report();
        let snapshot = shared.stats.snapshot();
        let seconds = self.at.elapsed().as_secs_f64().max(0.001);
        let rate = (snapshot.commands - self.commands) as f64 / seconds;
        let mut recent = snapshot.latency_us.clone();
        // Fails only where latencies were reset in between; then all of them are recent.
        let _reset_in_between = recent.subtract(&self.latency_us);
        let quantile = |quantile| recent.value_at_quantile(quantile);
        let partitions: Vec<Value> = report
            .partitions
            .iter()
            .map(|partition| {
                json!({
                    "number": partition.number,
                    "keys": partition.keys,
                    "hot_keys": partition.hot_keys,
                    "memory_bytes": partition.memory_bytes,
                    "last_lsn": partition.last_lsn,
                    "writes": partition.writes,
                    "reads": partition.reads,
                })
            })
            .collect();
        let streams: Vec<Value> = shared
            .engine
            .stream_reports(STREAMS_SHOWN)
            .into_iter()
            .map(|stream| {
                let name = String::from_utf8_lossy(&stream.key).into_owned();
                json!({ "name": name, "records": stream.records, "groups": stream.groups })
            })
            .collect();
        let figures = json!({
            "commands_per_second": rate,
            "latency_us": { "p50": quantile(0.5), "p99": quantile(0.99), "p999": quantile(0.999) },
            "settled_lsns": report.lanes.iter().map(|lane| lane.settled_lsn).collect::<Vec<_>>(),
            "health": report.health.as_str(),
            "durability": shared.engine.settings().durability.as_str(),
            "keys": report.total(|partition| partition.keys),
            "hot_keys": report.total(|partition| partition.hot_keys),
            "memory_bytes": report.total(|partition| partition.memory_bytes),
            "memory_max_bytes": shared.engine.settings().memory_max_bytes,
            "log_bytes": report.log.size_bytes,
            "log_appended_bytes": report.log.appended_bytes,
            "log_syncs": report.log.syncs,
            "store_bytes": report.store_bytes,
            "checkpoints": report.checkpoints,
            "connections": shared.connection_count(),
            "uptime_seconds": shared.started.elapsed().as_secs(),
            "partitions": partitions,
            "streams": streams,
        });
        self.at = Instant::now();
        self.commands = snapshot.commands;
        self.latency_us = snapshot.latency_us;
        figures
    }
}
