//! Producers: orders into the lanes' streams, in pipelines.

use super::orders::{Order, Source};
use super::{Board, LANES, lane_key, lane_of};
use crate::client::{Client, Reply, put_command};
use anyhow::{Context, bail};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// How long a producer tries to come back to a node that has gone away.
const PATIENCE: Duration = Duration::from_secs(30);
/// Batches between the generator and a lane's producer.
const QUEUE_BATCHES: usize = 4;

/// An order that is this far behind another one is worth a word.
const LATE_MS: i64 = 5_000;

/// Tells every lane to remember all orders' IDs.
pub(super) fn prepare(resp: SocketAddr, orders: u64) -> anyhow::Result<()> {
    let mut client = Client::connect(resp)?;
    let limit = (orders + 1).to_string();
    for lane in 0..LANES {
        let key = lane_key(lane);
        client.call(&[b"XCFGSET", key.as_bytes(), b"IDMP-MAXSIZE", limit.as_bytes()])?;
    }
    Ok(())
}

/// Sends all orders and waits for all acknowledgements.
pub(super) fn run(source: &Source, board: &Board, window: usize) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let mut senders: Vec<SyncSender<Batch>> = Vec::new();
        let mut producers = Vec::new();
        for _ in 0..LANES {
            let (sender, receiver) = sync_channel(QUEUE_BATCHES);
            senders.push(sender);
            producers.push(scope.spawn(move || produce(&receiver, board)));
        }
        let generated = generate(source, board, window.max(1), &senders);
        drop(senders);
        for producer in producers {
            producer.join().unwrap_or_else(|_| bail!("a producer panicked"))?;
        }
        generated
    })
}

/// Orders of one lane, as commands.
#[derive(Default)]
struct Batch {
    commands: Vec<u8>,
    orders: u64,
}

fn generate(
    source: &Source,
    board: &Board,
    window: usize,
    senders: &[SyncSender<Batch>],
) -> anyhow::Result<()> {
    let mut batches: Vec<Batch> = senders.iter().map(|_| Batch::default()).collect();
    let (mut latest_ms, mut seen_late) = (i64::MIN, false);
    source.for_each(&mut |order, again| {
        if again && board.duplicates_sent.fetch_add(1, Ordering::Relaxed) == 0 {
            board.tell(format!(
                "> Order {} is sent twice, as if its answer was lost; it counts once.",
                order.id
            ));
        }
        let late_ms = latest_ms.saturating_sub(order.at_ms);
        if !again && !seen_late && late_ms > LATE_MS {
            seen_late = true;
            board.tell(format!(
                "> Order {} comes {} s late; its minute is still open, so it counts.",
                order.id,
                late_ms / 1_000
            ));
        }
        latest_ms = latest_ms.max(order.at_ms);
        let lane = lane_of(&order);
        let (Some(batch), Some(sender)) = (batches.get_mut(lane), senders.get(lane)) else {
            bail!("there is no lane {lane}");
        };
        put_order(&mut batch.commands, lane, &order);
        batch.orders += 1;
        if batch.orders >= window as u64 {
            sender.send(std::mem::take(batch)).context("a producer has stopped")?;
        }
        Ok(())
    })?;
    for (batch, sender) in batches.into_iter().zip(senders).filter(|(batch, _)| batch.orders > 0) {
        sender.send(batch).context("a producer has stopped")?;
    }
    Ok(())
}

/// Thousandths as a decimal number.
fn put_milli(out: &mut Vec<u8>, milli: i64) {
    if milli < 0 {
        out.push(b'-');
    }
    let milli = milli.unsigned_abs();
    thalweg_machine::push_i64(out, (milli / 1_000) as i64);
    out.push(b'.');
    let fraction = milli % 1_000;
    out.extend([fraction / 100, fraction / 10 % 10, fraction % 10].map(|digit| b'0' + digit as u8));
}

fn put_order(out: &mut Vec<u8>, lane: usize, order: &Order) {
    let (mut quantity, mut price, mut at) = (Vec::new(), Vec::new(), Vec::new());
    thalweg_machine::push_i64(&mut quantity, order.quantity);
    put_milli(&mut price, order.price_milli);
    thalweg_machine::push_i64(&mut at, order.at_ms);
    let key = [b"orders:", &[b'0' + lane as u8][..]].concat();
    put_command(
        out,
        &[
            b"XADD",
            &key,
            b"IDMP",
            b"shop",
            order.id.as_bytes(),
            b"*",
            b"order_id",
            order.id.as_bytes(),
            b"product",
            order.product.as_bytes(),
            b"quantity",
            &quantity,
            b"price",
            &price,
            b"ts",
            &at,
        ],
    );
}

fn produce(batches: &Receiver<Batch>, board: &Board) -> anyhow::Result<()> {
    let mut client = connect(board)?;
    for batch in batches {
        let started = Instant::now();
        // An order without an acknowledgement is sent again: its ID makes sure that it is taken
        // once.
        while let Err(error) = send(&mut client, &batch) {
            if started.elapsed() > PATIENCE {
                return Err(error);
            }
            board.reconnects.fetch_add(1, Ordering::Relaxed);
            client = connect(board)?;
        }
        let took_us = started.elapsed().as_micros() as u64;
        board.latency_us.lock().saturating_record_n(took_us.max(1), batch.orders);
        board.acknowledged.fetch_add(batch.orders, Ordering::SeqCst);
    }
    Ok(())
}

fn connect(board: &Board) -> anyhow::Result<Client> {
    std::thread::sleep(Duration::from_millis(1));
    let address = *board.resp.read();
    Client::connect_patiently(address, PATIENCE)
}

fn send(client: &mut Client, batch: &Batch) -> anyhow::Result<()> {
    client.send(&batch.commands)?;
    for _ in 0..batch.orders {
        match client.receive()? {
            Reply::Error(error) => bail!("the node refused an order: {error}"),
            _acknowledged => {}
        }
    }
    Ok(())
}
