//! The shop in SQL: what the demo declares, and how it sees how far the views are.

use super::orders::Source;
use super::{Board, STOCK_AT_FIRST};
use crate::http::{Answer, SqlClient};
use anyhow::{Context, bail};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long the node may be away.
const PATIENCE: Duration = Duration::from_secs(30);
/// Products of the picture.
const TOP_PRODUCTS: usize = 5;
/// Rows of one INSERT.
const INSERT_ROWS: usize = 1_000;

/// The statements, as they are run.
pub(super) fn script(source: &Source) -> anyhow::Result<String> {
    // A watermark that is behind by more than any order is late: none is left out.
    let minutes = source.lateness_ms()? / 60_000 + 1;
    Ok(include_str!("orders.sql").replace("{lateness}", &minutes.to_string()))
}

/// Declares the shop and fills its shelves.
pub(super) fn open(client: &SqlClient, source: &Source, script: &str) -> anyhow::Result<()> {
    client.run(script).context("declare the shop")?;
    let mut products = BTreeSet::new();
    source.for_each(&mut |order, _| {
        if !products.contains(&order.product) {
            products.insert(order.product);
        }
        Ok(())
    })?;
    let products: Vec<String> = products.into_iter().collect();
    for products in products.chunks(INSERT_ROWS) {
        let row =
            |product: &String| format!("('{}', {STOCK_AT_FIRST})", product.replace('\'', "''"));
        let rows: Vec<String> = products.iter().map(row).collect();
        let statement = format!("INSERT INTO stock VALUES {}", rows.join(", "));
        client.run(&statement).context("fill the shelves")?;
    }
    Ok(())
}

/// Runs a query while the node may be killed and come back.
fn patiently(client: &SqlClient, query: &str) -> anyhow::Result<Answer> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match client.run(query) {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() > deadline || error.is::<crate::http::Refusal>() => {
                return Err(error);
            }
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Follows the view until it has taken in every order.
pub(super) fn follow(client: &SqlClient, board: &Board, orders: u64) -> anyhow::Result<()> {
    let mut pictured = Instant::now();
    loop {
        if board.failed.load(Ordering::SeqCst) {
            bail!("a producer failed");
        }
        let query = "SELECT rows_in, error FROM sys.views WHERE view = 'revenue_by_minute'";
        let answer = patiently(client, query)?;
        let Some([taken, error]) = answer.rows.first().map(Vec::as_slice) else {
            bail!("the view revenue_by_minute is gone");
        };
        if let Value::String(error) = error {
            bail!("the view revenue_by_minute has stopped: {error}");
        }
        let taken = taken.as_u64().unwrap_or(0);
        board.settled.store(taken, Ordering::SeqCst);
        if taken >= orders && board.producers_done.load(Ordering::SeqCst) {
            return Ok(());
        }
        if pictured.elapsed() > Duration::from_millis(500) {
            *board.top.lock() = top(client)?;
            pictured = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn top(client: &SqlClient) -> anyhow::Result<Vec<(String, String)>> {
    let query = format!(
        "SELECT product, CAST(revenue AS TEXT) AS amount FROM revenue_by_product ORDER BY revenue \
         DESC LIMIT {TOP_PRODUCTS}"
    );
    let answer = patiently(client, &query)?;
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(answer.rows.iter().map(|row| (text(row.first()), text(row.get(1)))).collect())
}
