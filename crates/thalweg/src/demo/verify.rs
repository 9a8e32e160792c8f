//! Everything once more, independently: from the source, from the streams, and as the settler left it. Three ways, one
//! answer.

use super::orders::{Order, Source};
use super::settle::order_of;
use super::{LANES, STOCK_AT_FIRST, lane_key};
use crate::client::{Client, Reply};
use anyhow::{Context, bail};
use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;

/// What orders amount to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    orders: u64,
    quantity: BTreeMap<String, i64>,
    revenue: BTreeMap<(i64, String), i64>,
}

impl Totals {
    fn add(&mut self, order: &Order) {
        self.orders += 1;
        *self.quantity.entry(order.product.clone()).or_default() += order.quantity;
        *self.revenue.entry((order.minute(), order.product.clone())).or_default() +=
            order.revenue_milli();
    }
}

/// Compares, and says so.
pub(super) fn run(source: &Source, resp: SocketAddr) -> anyhow::Result<()> {
    let mut expected = Totals::default();
    source.for_each(&mut |order, again| {
        if !again {
            expected.add(&order);
        }
        Ok(())
    })?;
    let mut client = Client::connect(resp)?;
    let streamed = from_streams(&mut client)?;
    compare("the streams", &expected, &streamed)?;
    let settled = from_results(&mut client, &expected)?;
    compare("stock and revenue", &expected, &settled)?;
    let revenue: i64 = expected.revenue.values().sum();
    println!(
        "verified: {} orders, {} products, revenue {}.{:03}; the source, the streams, and the settled stock and revenue \
         agree, each order once",
        expected.orders,
        expected.quantity.len(),
        revenue / 1_000,
        (revenue % 1_000).abs(),
    );
    Ok(())
}

fn compare(what: &str, expected: &Totals, found: &Totals) -> anyhow::Result<()> {
    if expected == found {
        return Ok(());
    }
    let differs =
        expected.revenue.iter().find(|(key, value)| found.revenue.get(key) != Some(value));
    bail!(
        "{what} do not agree with the source: {} orders instead of {}; the first difference: {differs:?}",
        found.orders,
        expected.orders
    );
}

/// What the streams hold, read from their beginning.
fn from_streams(client: &mut Client) -> anyhow::Result<Totals> {
    let mut totals = Totals::default();
    let mut seen = HashSet::new();
    for lane in 0..LANES {
        let key = lane_key(lane);
        let mut start = "-".to_owned();
        loop {
            let page = client.call(&[
                b"XRANGE",
                key.as_bytes(),
                start.as_bytes(),
                b"+",
                b"COUNT",
                b"10000",
            ])?;
            for record in page.elements() {
                let order = order_of(record)?;
                if !seen.insert(order.id.clone()) {
                    bail!("order {} stands in the streams twice", order.id);
                }
                totals.add(&order);
            }
            match page.elements().last().and_then(|record| record.elements().first()) {
                Some(last) => start = format!("({}", last.text()),
                None => break,
            }
        }
    }
    Ok(totals)
}

/// What the settler committed.
fn from_results(client: &mut Client, expected: &Totals) -> anyhow::Result<Totals> {
    let orders =
        client.call(&[b"GET", b"settler:count"])?.text().parse().context("settler:count")?;
    let mut totals = Totals { orders, ..Totals::default() };
    for (product, stock) in pairs(&client.call(&[b"HGETALL", b"stock"])?)? {
        totals.quantity.insert(product, STOCK_AT_FIRST - stock);
    }
    let minutes: std::collections::BTreeSet<i64> =
        expected.revenue.keys().map(|(minute, _)| *minute).collect();
    for minute in minutes {
        let key = format!("revenue:{minute}");
        for (product, revenue) in pairs(&client.call(&[b"HGETALL", key.as_bytes()])?)? {
            totals.revenue.insert((minute, product), revenue);
        }
    }
    Ok(totals)
}

fn pairs(reply: &Reply) -> anyhow::Result<Vec<(String, i64)>> {
    let number = |reply: &Reply| reply.text().parse().context("a number in a hash");
    reply
        .elements()
        .chunks(2)
        .filter_map(|pair| Some((pair.first()?, pair.get(1)?)))
        .map(|(name, value)| Ok((name.text().to_owned(), number(value)?)))
        .collect()
}
