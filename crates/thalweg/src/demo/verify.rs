//! Computes everything again in three ways: from the source, from the stream as a query, and from
//! the views. All three must agree.

use super::STOCK_AT_FIRST;
use super::orders::{Order, Source, parse_milli};
use crate::http::SqlClient;
use anyhow::{Context, bail};
use serde_json::Value;
use std::collections::BTreeMap;

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

/// The query of the view, run once over the stream.
const STREAM: &str = "SELECT CAST(extract(epoch FROM window_start) AS BIGINT) / 60 AS minute, \
                      product, count(*) AS orders, \
    sum(quantity) AS quantity, CAST(sum(quantity * price) AS TEXT) AS revenue \
    FROM TUMBLE(orders, ts, INTERVAL '1' MINUTE) GROUP BY window_start, product";
const VIEW: &str = "SELECT CAST(extract(epoch FROM minute) AS BIGINT) / 60 AS minute, product, \
                    orders, quantity, \
    CAST(revenue AS TEXT) AS revenue FROM revenue_by_minute";

/// Compares, and says so.
pub(super) fn run(source: &Source, client: &SqlClient) -> anyhow::Result<()> {
    let mut expected = Totals::default();
    source.for_each(&mut |order, again| {
        if !again {
            expected.add(&order);
        }
        Ok(())
    })?;
    compare("the stream", &expected, &read(client, STREAM)?)?;
    compare("the view by minute", &expected, &read(client, VIEW)?)?;
    check_views(client, &expected)?;
    let revenue: i64 = expected.revenue.values().sum();
    println!(
        "verified: {} orders, {} products, revenue {}.{:03}; the source, the stream as a query, \
         and the views agree, each \
         order once",
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
        "{what} does not agree with the source: {} orders instead of {}; the first difference: \
         {differs:?}",
        found.orders,
        expected.orders
    );
}

fn text(row: &Value, name: &str) -> anyhow::Result<String> {
    row[name].as_str().map(str::to_owned).with_context(|| format!("no {name} in {row}"))
}

fn number(row: &Value, name: &str) -> anyhow::Result<i64> {
    let number = match &row[name] {
        Value::String(text) => text.parse().ok(),
        other => other.as_i64(),
    };
    number.with_context(|| format!("no {name} in {row}"))
}

fn read(client: &SqlClient, query: &str) -> anyhow::Result<Totals> {
    let mut totals = Totals::default();
    for row in rows(client, query)? {
        let product = text(&row, "product")?;
        totals.orders += number(&row, "orders")? as u64;
        *totals.quantity.entry(product.clone()).or_default() += number(&row, "quantity")?;
        let revenue = parse_milli(&text(&row, "revenue")?)?;
        totals.revenue.insert((number(&row, "minute")?, product), revenue);
    }
    Ok(totals)
}

fn rows(client: &SqlClient, query: &str) -> anyhow::Result<Vec<Value>> {
    let body = client.post(query, "application/x-ndjson")?;
    let lines = body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).context("a row that is no JSON")).collect()
}

/// The views over the view.
fn check_views(client: &SqlClient, expected: &Totals) -> anyhow::Result<()> {
    let mut revenue: BTreeMap<&str, i64> = BTreeMap::new();
    for ((_, product), amount) in &expected.revenue {
        *revenue.entry(product).or_default() += amount;
    }
    let by_product =
        "SELECT product, quantity, CAST(revenue AS TEXT) AS revenue FROM revenue_by_product";
    let left = "SELECT product, quantity FROM stock_left";
    let (by_product, left) = (rows(client, by_product)?, rows(client, left)?);
    if by_product.len() != expected.quantity.len() || left.len() != expected.quantity.len() {
        bail!(
            "the views by product have {} and {} rows, not {}",
            by_product.len(),
            left.len(),
            expected.quantity.len()
        );
    }
    for row in by_product {
        let product = text(&row, "product")?;
        let found = (Some(number(&row, "quantity")?), Some(parse_milli(&text(&row, "revenue")?)?));
        if found
            != (expected.quantity.get(&product).copied(), revenue.get(product.as_str()).copied())
        {
            bail!("revenue_by_product does not agree with the source for {product}: {found:?}");
        }
    }
    for row in left {
        let product = text(&row, "product")?;
        let sold = STOCK_AT_FIRST - number(&row, "quantity")?;
        if expected.quantity.get(&product) != Some(&sold) {
            bail!("stock_left does not agree with the source for {product}: {sold} sold");
        }
    }
    Ok(())
}
