//! `thalweg bench`: an open-loop load generator for anything that speaks Redis.
//!
//! At a fixed rate every request has an intended time, and its latency counts from that time,
//! whether or not the server let us send it then. So a server that stops for a while is charged for
//! all requests that should have been sent meanwhile. Without a rate each connection keeps its
//! window full, and latency counts from sending.

mod generator;
mod workload;

use anyhow::{Context, bail};
use clap::Args;
use generator::{Load, Outcome};
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};
use thalweg_base::units::parse_duration_ms;
use workload::Workload;

#[derive(Args)]
pub(crate) struct BenchArgs {
    /// Server to put under load
    #[arg(long, default_value = "127.0.0.1:7379")]
    target: String,
    /// What to do: `set`, `get`, `mixed` (one write in ten), `incr`, `xadd`
    #[arg(long, default_value = "mixed")]
    workload: String,
    /// Requests per second over all connections; 0: as many as possible
    #[arg(long, default_value_t = 0)]
    rate: u64,
    /// How long
    #[arg(long, default_value = "10s")]
    duration: String,
    /// Connections
    #[arg(long, default_value_t = 50)]
    clients: usize,
    /// Requests in flight on each connection, at most
    #[arg(long, default_value_t = 16)]
    pipeline: usize,
    /// Distinct keys
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Bytes of a value
    #[arg(long, default_value_t = 64)]
    value_bytes: usize,
    /// Skew of the keys: Zipf's exponent; 0: all alike
    #[arg(long, default_value_t = 0.0)]
    zipf: f64,
    /// Generator threads
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Write every key once before measuring
    #[arg(long)]
    fill: bool,
    /// Password of the server
    #[arg(long, env = "THALWEG_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Seed of the load
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Puts the server under load and says how it did.
pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let target = resolve(&args.target)?;
    let workload: Workload = args.workload.parse().map_err(anyhow::Error::msg)?;
    let duration = Duration::from_millis(parse_duration_ms(&args.duration)?);
    if args.clients == 0 || args.pipeline == 0 || args.keys == 0 || args.threads == 0 {
        bail!("--clients, --pipeline, --keys and --threads must be at least 1");
    }
    if args.fill {
        let fill = Load {
            total: Some(args.keys),
            ..load_of(args, target, Workload::Fill, 0, Duration::MAX)
        };
        let started = Instant::now();
        let outcome = generator::run(&fill, 0).context("fill")?;
        outcome.refuse_errors()?;
        if !args.json {
            println!("filled {} keys in {:.1} s", args.keys, started.elapsed().as_secs_f64());
        }
    }
    let threads = args.threads.min(args.clients);
    let load = Load {
        rate: args.rate / threads as u64,
        clients: args.clients.div_ceil(threads),
        ..load_of(args, target, workload, args.rate, duration)
    };
    let started = Instant::now();
    let outcomes: Vec<anyhow::Result<Outcome>> = std::thread::scope(|scope| {
        let load = &load;
        let handles: Vec<_> = (0..threads)
            .map(|number| scope.spawn(move || generator::run(load, number as u64)))
            .collect();
        handles
            .into_iter()
            .map(|handle| {
                handle
                    .join()
                    .unwrap_or_else(|_| Err(anyhow::anyhow!("a generator thread panicked")))
            })
            .collect()
    });
    let seconds = started.elapsed().as_secs_f64();
    let mut total: Option<Outcome> = None;
    for outcome in outcomes {
        let outcome = outcome?;
        total = Some(match total {
            None => outcome,
            Some(total) => total.plus(outcome)?,
        });
    }
    let total = total.context("nothing ran")?;
    report(args, &total, seconds);
    total.refuse_errors()
}

fn load_of(
    args: &BenchArgs,
    target: SocketAddr,
    workload: Workload,
    rate: u64,
    duration: Duration,
) -> Load {
    Load {
        target,
        workload,
        rate,
        duration,
        total: None,
        clients: args.clients,
        pipeline: args.pipeline,
        keys: args.keys,
        value_bytes: args.value_bytes,
        zipf: args.zipf,
        password: args.password.clone(),
        seed: args.seed,
    }
}

fn resolve(target: &str) -> anyhow::Result<SocketAddr> {
    let mut found = target.to_socket_addrs().with_context(|| format!("--target {target}"))?;
    found.next().with_context(|| format!("--target {target}: no such address"))
}

fn report(args: &BenchArgs, outcome: &Outcome, seconds: f64) {
    let rate = outcome.replies as f64 / seconds;
    let at = |quantile| outcome.latency_us.value_at_quantile(quantile);
    if args.json {
        println!(
            "{}",
            serde_json::json!({
                "workload": args.workload, "asked_rate": args.rate, "requests": outcome.replies,
                    "seconds": seconds,
                "rate": rate, "errors": outcome.errors, "mean_us": outcome.latency_us.mean(),
                    "p50_us": at(0.5),
                "p90_us": at(0.9), "p99_us": at(0.99), "p999_us": at(0.999),
                    "max_us": outcome.latency_us.max(),
            })
        );
        return;
    }
    let asked = if args.rate > 0 { format!(" (asked {})", args.rate) } else { String::new() };
    println!(
        "{}: {rate:.0} requests/s{asked}, {} in {seconds:.1} s, {} errors",
        args.workload, outcome.replies, outcome.errors
    );
    let since = if args.rate > 0 { "intended time" } else { "sending" };
    println!(
        "latency from {since}: p50 {} us, p90 {} us, p99 {} us, p99.9 {} us, max {} us",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        outcome.latency_us.max()
    );
}
