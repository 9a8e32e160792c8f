//! `thalweg demo`: the order system, end to end.
//!
//! A node runs as a process of its own. The shop is declared in SQL (`orders.sql`): a stream, a
//! table, and views that keep revenue and stock up to date. Producers send orders through the RESP
//! door in pipelines, as any client would. Each order goes to the partition of the stream that its
//! product belongs to. Each append carries the order's ID as idempotency key, so an order that
//! comes twice is taken once. A view's state and the offsets it has read are one checkpoint. So
//! every order counts exactly once, whatever is killed and whenever. At the end everything is
//! computed again from the stream and from the generator, independently, and compared.

mod node;
mod orders;
mod produce;
mod screen;
mod shop;
mod verify;

use crate::http::SqlClient;
use anyhow::Context;
use clap::Args;
use node::Node;
use orders::{Order, Source};
use parking_lot::{Mutex, RwLock};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Partitions of the stream of orders, as `orders.sql` declares it.
pub(crate) const LANES: usize = 4;
/// What the shop has of each product when it opens.
pub(crate) const STOCK_AT_FIRST: i64 = 1_000_000;

#[derive(Args)]
pub(crate) struct DemoArgs {
    /// How many orders the generator makes
    #[arg(long, default_value_t = 1_000_000)]
    orders: u64,
    /// Take orders from a file instead: CSV with the columns of the Online Retail data, or JSON
    /// lines with order_id, product, quantity, price, ts_ms
    #[arg(long)]
    input: Option<PathBuf>,
    /// Seed of the generator
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Orders in flight in each lane
    #[arg(long, default_value_t = 2_048)]
    window: usize,
    /// Directory for the data; a temporary one if not given
    #[arg(long)]
    data: Option<PathBuf>,
    /// Durability of the node: `sync`, `interval`, `none`
    #[arg(long, default_value = "sync")]
    durability: String,
    /// Address of the dashboard
    #[arg(long, default_value = "127.0.0.1:7380")]
    http: String,
    /// Kill the node with SIGKILL midway, start it again, and show that nothing acknowledged is
    /// lost
    #[arg(long)]
    kill: bool,
    /// End after the summary instead of keeping the node running
    #[arg(long)]
    exit: bool,
}

/// What the threads of the demo share.
pub(crate) struct Board {
    pub(crate) resp: RwLock<SocketAddr>,
    /// Orders that were sent and acknowledged, duplicates included.
    pub(crate) acknowledged: AtomicU64,
    /// Orders that the view by minute has taken in.
    pub(crate) settled: AtomicU64,
    pub(crate) duplicates_sent: AtomicU64,
    pub(crate) producers_done: AtomicBool,
    /// The node is being killed and restarted: errors are expected, and retried.
    pub(crate) reconnects: AtomicU64,
    pub(crate) latency_us: Mutex<hdrhistogram::Histogram<u64>>,
    /// Revenue by product so far.
    pub(crate) top: Mutex<Vec<(String, String)>>,
    pub(crate) failed: AtomicBool,
    /// What has just begun, in words, for the screen.
    news: Mutex<Vec<String>>,
}

impl Board {
    fn new(resp: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self {
            resp: RwLock::new(resp),
            acknowledged: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            duplicates_sent: AtomicU64::new(0),
            producers_done: AtomicBool::new(false),
            reconnects: AtomicU64::new(0),
            latency_us: Mutex::new(hdrhistogram::Histogram::new_with_bounds(1, 600_000_000, 3)?),
            top: Mutex::default(),
            failed: AtomicBool::new(false),
            news: Mutex::default(),
        })
    }

    /// Says what begins now. Once for each thing, so that the lines stay few.
    pub(crate) fn tell(&self, what: impl Into<String>) {
        self.news.lock().push(what.into());
    }
}

/// Runs the demo.
pub(crate) fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let source = Source::open(args.input.as_deref(), args.orders, args.seed)?;
    let mut node = Node::start(args.data.clone(), &args.durability, &args.http)?;
    println!("node {} on {}, durability {}", node.pid(), node.resp(), args.durability);
    println!("dashboard {}", node.dashboard());
    let client = SqlClient::new(node.dashboard(), None)?;
    let script = shop::script(&source)?;
    println!("\n{script}");
    shop::open(&client, &source, &script)?;
    let board = Board::new(node.resp())?;
    produce::prepare(node.resp(), source.distinct())?;
    let (killed, elapsed) = settle(args, &source, &client, &board, &mut node)?;
    summarise(&source, &board, elapsed, killed);
    verify::run(&source, &client)?;
    if args.exit {
        return Ok(());
    }
    println!(
        "the node keeps serving: dashboard {url}, `thalweg sql --url {url}`, psql -h 127.0.0.1 -p \
         {}, redis-cli -p {}; Ctrl-C \
         ends it",
        node.postgres().port(),
        node.resp().port(),
        url = node.dashboard(),
    );
    node.wait_for_interrupt()
}

/// Sends all orders and waits until the views have taken them in; kills the node midway if that is
/// wanted. Gives how long it took.
fn settle(
    args: &DemoArgs,
    source: &Source,
    client: &SqlClient,
    board: &Board,
    node: &mut Node,
) -> anyhow::Result<(Option<Killed>, Duration)> {
    let started = Instant::now();
    std::thread::scope(|scope| -> anyhow::Result<_> {
        board.tell(format!(
            "> Producers send {} orders. One is acknowledged when the disk has it.",
            source.total()
        ));
        let producing = scope.spawn(|| {
            let outcome = produce::run(source, board, args.window);
            if outcome.is_ok() {
                board.tell("> Every order is acknowledged; the views catch up with the last ones.");
            }
            board.producers_done.store(true, Ordering::SeqCst);
            if outcome.is_err() {
                board.failed.store(true, Ordering::SeqCst);
            }
            outcome
        });
        let settling = scope.spawn(|| {
            let outcome = shop::follow(client, board, source.distinct());
            if outcome.is_err() {
                board.failed.store(true, Ordering::SeqCst);
            }
            outcome
        });
        let mut screen = screen::Screen::new(source.total());
        let mut killed = None;
        while !settling.is_finished() {
            let half = board.acknowledged.load(Ordering::Relaxed) > source.total() / 2;
            if args.kill && killed.is_none() && half {
                killed = Some(kill_and_restart(node, board, &mut screen)?);
            }
            screen.say_all(std::mem::take(&mut *board.news.lock()));
            screen.show(board, started);
            std::thread::sleep(Duration::from_millis(if args.kill { 5 } else { 20 }));
        }
        let elapsed = started.elapsed();
        screen.say_all(std::mem::take(&mut *board.news.lock()));
        screen.finish(board, started);
        join(producing)?;
        join(settling)?;
        Ok((killed, elapsed))
    })
}

fn join(thread: std::thread::ScopedJoinHandle<'_, anyhow::Result<()>>) -> anyhow::Result<()> {
    thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread of the demo panicked")))
}

/// Orders acknowledged when the node was killed, and how long it was away.
struct Killed {
    acknowledged: u64,
    away: Duration,
}

fn kill_and_restart(
    node: &mut Node,
    board: &Board,
    screen: &mut screen::Screen,
) -> anyhow::Result<Killed> {
    let acknowledged = board.acknowledged.load(Ordering::SeqCst);
    screen.say(&format!(
        "> The node is killed (kill -9 {}), with {acknowledged} orders acknowledged.",
        node.pid()
    ));
    let started = Instant::now();
    node.kill_and_restart().context("restart the node")?;
    *board.resp.write() = node.resp();
    let away = started.elapsed();
    screen.say(&format!(
        "> It is back after {:.2} s; orders without an answer are sent again.",
        away.as_secs_f64()
    ));
    screen.say("> The views go on from their last checkpoint.");
    Ok(Killed { acknowledged, away })
}

fn summarise(source: &Source, board: &Board, elapsed: Duration, killed: Option<Killed>) {
    let settled = board.settled.load(Ordering::SeqCst);
    let seconds = elapsed.as_secs_f64();
    let latency = board.latency_us.lock();
    println!();
    println!(
        "{} orders settled by the views in {seconds:.2} s: {:.0} orders/s end to end ({} sent, {} \
         of them twice)",
        settled,
        settled as f64 / seconds,
        source.total(),
        board.duplicates_sent.load(Ordering::SeqCst),
    );
    println!(
        "acknowledgement of an order: median {:.2} ms, 99 % {:.2} ms, 99.9 % {:.2} ms",
        latency.value_at_quantile(0.5) as f64 / 1e3,
        latency.value_at_quantile(0.99) as f64 / 1e3,
        latency.value_at_quantile(0.999) as f64 / 1e3,
    );
    if let Some(killed) = killed {
        println!(
            "killed with SIGKILL after {} acknowledgements, serving again after {:.2} s; {} \
             connections came back",
            killed.acknowledged,
            killed.away.as_secs_f64(),
            board.reconnects.load(Ordering::SeqCst),
        );
    }
}

/// The key of a partition.
pub(crate) fn lane_key(lane: usize) -> String {
    format!("orders:{lane}")
}

/// The partition of an order, as the node itself finds it: all orders of a product share one.
pub(crate) fn lane_of(order: &Order) -> usize {
    (xxhash_rust::xxh3::xxh3_64(order.product.as_bytes()) % LANES as u64) as usize
}
