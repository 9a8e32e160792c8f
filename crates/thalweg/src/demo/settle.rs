//! The settler: reads the lanes, debits stock, adds revenue, and commits results and offsets as one.

use super::orders::Order;
use super::{Board, LANES, STOCK_AT_FIRST, lane_key};
use crate::client::{Client, Reply, put_command};
use anyhow::{Context, bail};
use foldhash::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Records of a lane that are settled as one.
const BATCH: &[u8] = b"4096";
const PATIENCE: Duration = Duration::from_secs(30);
const TOP_PRODUCTS: usize = 5;
/// The leading products are looked for once in so many steps.
const STEPS_A_LOOK: u64 = 8;

/// What the settler knows; all of it can be read back from the node.
struct Settler {
    client: Client,
    /// The last record that was settled, by lane.
    offsets: Vec<String>,
    stock: HashMap<String, i64>,
    revenue: HashMap<String, i64>,
}

/// Settles until every order is settled.
pub(super) fn run(board: &Board, orders: u64) -> anyhow::Result<()> {
    let mut settler = connect_patiently(board)?;
    let mut steps = 0u64;
    loop {
        match settler.step() {
            Ok(0) if board.failed.load(Ordering::SeqCst) => bail!("a producer has stopped"),
            Ok(0) if settled_all(board, orders) => return Ok(()),
            Ok(0) => std::thread::sleep(Duration::from_millis(1)),
            Ok(count) => {
                board.settled.fetch_add(count, Ordering::SeqCst);
                steps += 1;
                if steps % STEPS_A_LOOK == 1 {
                    *board.top.lock() = settler.top();
                }
            }
            // The node is gone, or came back and does not know us: whatever was committed, it knows.
            Err(error) => {
                if board.failed.load(Ordering::SeqCst) {
                    return Err(error);
                }
                board.reconnects.fetch_add(1, Ordering::Relaxed);
                settler = connect_patiently(board)?;
            }
        }
    }
}

fn settled_all(board: &Board, orders: u64) -> bool {
    board.producers_done.load(Ordering::SeqCst) && board.settled.load(Ordering::SeqCst) >= orders
}

/// Connects as soon as there is a node that answers: one that is being killed may still take a connection.
fn connect_patiently(board: &Board) -> anyhow::Result<Settler> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match connect(board) {
            Ok(settler) => return Ok(settler),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Connects, and takes over from what was committed.
fn connect(board: &Board) -> anyhow::Result<Settler> {
    let address = *board.resp.read();
    let mut client = Client::connect(address)?;
    let count = client.call(&[b"GET", b"settler:count"])?.text().parse().unwrap_or(0);
    board.settled.store(count, Ordering::SeqCst);
    let mut offsets = vec!["0-0".to_owned(); LANES];
    let found = client.call(&[b"HGETALL", b"settler:offsets"])?;
    for pair in found.elements().chunks(2) {
        let [lane, offset] = pair else { continue };
        if let Some(slot) = lane.text().parse().ok().and_then(|lane: usize| offsets.get_mut(lane)) {
            *slot = offset.text().to_owned();
        }
    }
    let mut read = |key: &str| -> anyhow::Result<HashMap<String, i64>> {
        let found = client.call(&[b"HGETALL", key.as_bytes()])?;
        let pairs = found.elements().chunks(2);
        pairs
            .filter_map(|pair| Some((pair.first()?.text(), pair.get(1)?.text())))
            .map(|(name, value)| Ok((name.to_owned(), value.parse().context("a number")?)))
            .collect()
    };
    let stock = read("stock")?;
    let revenue = read("revenue")?;
    Ok(Settler { client, offsets, stock, revenue })
}

impl Settler {
    /// Reads what is new and settles it; gives how many orders that were.
    fn step(&mut self) -> anyhow::Result<u64> {
        let keys: Vec<String> = (0..LANES).map(lane_key).collect();
        let mut args: Vec<&[u8]> = vec![b"XREAD", b"COUNT", BATCH, b"BLOCK", b"20", b"STREAMS"];
        args.extend(keys.iter().map(|key| key.as_bytes()));
        args.extend(self.offsets.iter().map(|offset| offset.as_bytes()));
        let mut out = Vec::new();
        put_command(&mut out, &args);
        self.client.send(&out)?;
        let reply = self.client.receive()?.ok()?;
        let mut orders = Vec::new();
        let mut offsets = self.offsets.clone();
        for stream in reply.elements() {
            let [key, records] = stream.elements() else { bail!("an unexpected reply to XREAD") };
            let lane =
                keys.iter().position(|other| other == key.text()).context("an unknown stream")?;
            for record in records.elements() {
                orders.push(order_of(record)?);
            }
            if let (Some(last), Some(offset)) = (records.elements().last(), offsets.get_mut(lane)) {
                *offset = last.elements().first().map(Reply::text).unwrap_or_default().to_owned();
            }
        }
        if orders.is_empty() {
            return Ok(0);
        }
        self.commit(&orders, offsets)?;
        Ok(orders.len() as u64)
    }

    /// Debits, credits and offsets in one transaction.
    fn commit(&mut self, orders: &[Order], offsets: Vec<String>) -> anyhow::Result<()> {
        let mut touched: HashMap<&str, i64> = HashMap::default();
        let mut minutes: HashMap<i64, HashMap<&str, i64>> = HashMap::default();
        for order in orders {
            let stock = slot(&mut self.stock, &order.product, STOCK_AT_FIRST);
            *stock -= order.quantity;
            touched.insert(&order.product, *stock);
            *slot(&mut self.revenue, &order.product, 0) += order.revenue_milli();
            *minutes.entry(order.minute()).or_default().entry(&order.product).or_insert(0) +=
                order.revenue_milli();
        }
        let mut out = Vec::new();
        let mut commands = 4;
        put_command(&mut out, &[b"MULTI"]);
        put_hash(&mut out, b"stock", touched.iter().map(|(product, stock)| (*product, *stock)));
        let revenue =
            touched.keys().filter_map(|product| Some((*product, *self.revenue.get(*product)?)));
        put_hash(&mut out, b"revenue", revenue);
        for (minute, products) in &minutes {
            let key = format!("revenue:{minute}");
            for (product, revenue) in products {
                let revenue = revenue.to_string();
                put_command(
                    &mut out,
                    &[b"HINCRBY", key.as_bytes(), product.as_bytes(), revenue.as_bytes()],
                );
                commands += 1;
            }
        }
        let lanes: Vec<String> = (0..LANES).map(|lane| lane.to_string()).collect();
        let mut args: Vec<&[u8]> = vec![b"HSET", b"settler:offsets"];
        args.extend(
            lanes
                .iter()
                .zip(&offsets)
                .flat_map(|(lane, offset)| [lane.as_bytes(), offset.as_bytes()]),
        );
        put_command(&mut out, &args);
        let count = orders.len().to_string();
        put_command(&mut out, &[b"INCRBY", b"settler:count", count.as_bytes()]);
        put_command(&mut out, &[b"EXEC"]);
        self.client.send(&out)?;
        for _ in 0..=commands {
            self.client.receive()?.ok()?;
        }
        let results = self.client.receive()?.ok()?;
        for result in results.elements() {
            result.clone().ok()?;
        }
        if results.elements().len() != commands {
            bail!("the node did not commit the whole transaction");
        }
        self.offsets = offsets;
        Ok(())
    }

    fn top(&self) -> Vec<(String, i64)> {
        let mut all: Vec<_> = self.revenue.iter().collect();
        all.sort_unstable_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        all.into_iter()
            .take(TOP_PRODUCTS)
            .map(|(product, revenue)| (product.clone(), *revenue))
            .collect()
    }
}

/// The value of a product, without making its name anew each time.
fn slot<'a>(map: &'a mut HashMap<String, i64>, product: &str, first: i64) -> &'a mut i64 {
    if !map.contains_key(product) {
        map.insert(product.to_owned(), first);
    }
    match map.get_mut(product) {
        Some(value) => value,
        None => unreachable!("it was put there a moment ago"),
    }
}

fn put_hash<'a>(out: &mut Vec<u8>, key: &[u8], pairs: impl Iterator<Item = (&'a str, i64)>) {
    let pairs: Vec<(&str, String)> = pairs.map(|(name, value)| (name, value.to_string())).collect();
    let mut args: Vec<&[u8]> = vec![b"HSET", key];
    args.extend(pairs.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]));
    put_command(out, &args);
}

/// The order in a record.
pub(super) fn order_of(record: &Reply) -> anyhow::Result<Order> {
    let [_, fields] = record.elements() else { bail!("a record without fields") };
    let field = |index: usize| fields.elements().get(index).map(Reply::text).unwrap_or_default();
    let number = |index: usize| field(index).parse::<i64>().context("a number in an order");
    Ok(Order {
        id: field(1).to_owned(),
        product: field(3).to_owned(),
        quantity: number(5)?,
        price_milli: number(7)?,
        at_ms: number(9)?,
    })
}
