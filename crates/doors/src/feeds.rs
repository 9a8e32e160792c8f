//! Streams as channels. Who listens to the channel `stream:NAME` gets each record that is appended
//! from then on, once it is durable, as JSON. One thread follows all streams that are listened to.
//! It ends when there are none.

use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use thalweg_machine::{CommandError, StreamId, unpack_fields};
use thalweg_node::{Engine, Executed, RecordBlock, Scope};

const PREFIX: &[u8] = b"stream:";
/// Streams that are followed at once.
const FEEDS_MAX: usize = 1_024;
const RECORDS_AT_ONCE: usize = 256;
const BYTES_AT_ONCE: usize = 1 << 20;
/// How often the thread looks whether anybody still listens.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The streams that are followed.
#[derive(Default)]
pub(crate) struct Feeds {
    following: Arc<Mutex<Following>>,
}

#[derive(Default)]
struct Following {
    /// By channel; the channel is dropped when nobody listens any more.
    feeds: BTreeMap<Vec<u8>, Feed>,
    thread: Option<JoinHandle<()>>,
    /// The doors are closing.
    stopped: bool,
}

/// A stream's partitions, and up to where each has been told; nothing: to where it ends when it is
/// first looked at.
type Feed = BTreeMap<Vec<u8>, Option<StreamId>>;

/// The keys of a declared stream's partitions.
type KeysOf = Arc<dyn Fn(&str) -> Option<Vec<String>> + Send + Sync>;

impl Feeds {
    /// Follows the stream that a channel names, if it names one, from the record after its last. To
    /// be called when its listener is among the channel's.
    pub(crate) fn follow(
        &self,
        engine: &Engine,
        channel: &[u8],
        keys_of: impl Fn(&str) -> Option<Vec<String>> + Send + Sync + 'static,
    ) -> Result<(), CommandError> {
        let Some(name) = channel.strip_prefix(PREFIX) else { return Ok(()) };
        let mut following = self.following.lock();
        if following.stopped || following.feeds.contains_key(channel) {
            return Ok(());
        }
        if following.feeds.len() >= FEEDS_MAX {
            return Err(CommandError::text(format!(
                "{FEEDS_MAX} streams are listened to already; try again when there are fewer"
            )));
        }
        let keys_of: KeysOf = Arc::new(keys_of);
        let partitions = keys_of_channel(name, &keys_of).into_iter().map(|key| {
            let last = last_id(engine, &key);
            (key, last)
        });
        let feed = partitions.collect();
        if let Some(thread) = &following.thread {
            thread.thread().unpark();
        } else {
            following.thread = Some(self.start(engine, keys_of)?);
        }
        following.feeds.insert(channel.to_vec(), feed);
        Ok(())
    }

    /// Ends the thread, and waits until it has ended: it holds the node open.
    pub(crate) fn stop(&self) {
        let thread = {
            let mut following = self.following.lock();
            following.stopped = true;
            following.feeds.clear();
            following.thread.take()
        };
        if let Some(thread) = thread {
            thread.thread().unpark();
            // One that panicked has said so.
            let _already_reported = thread.join();
        }
    }

    fn start(&self, engine: &Engine, keys_of: KeysOf) -> Result<JoinHandle<()>, CommandError> {
        let (following, engine) = (self.following.clone(), engine.clone());
        let builder = std::thread::Builder::new().name("thalweg-feeds".to_owned());
        builder.spawn(move || run(&engine, &following, &keys_of)).map_err(|error| {
            CommandError::text(format!("cannot start a thread for streams as channels: {error}"))
        })
    }
}

/// The keys of the stream that a channel names: its partitions', or its own.
fn keys_of_channel(name: &[u8], keys_of: &KeysOf) -> Vec<Vec<u8>> {
    let declared = std::str::from_utf8(name).ok().and_then(|name| keys_of(name));
    match declared {
        Some(keys) => keys.into_iter().map(String::into_bytes).collect(),
        None => vec![name.to_vec()],
    }
}

/// A stream's last ID; nothing if that is not in memory.
fn last_id(engine: &Engine, key: &[u8]) -> Option<StreamId> {
    let mut block = RecordBlock::default();
    match engine.read_records(key, StreamId::MAX, 1, 1, &mut block) {
        Executed::Done(Ok(()), _) => Some(block.last),
        Executed::Done(Err(_), _) => Some(StreamId::MIN),
        Executed::Suspended(_) => None,
    }
}

fn run(engine: &Engine, following: &Mutex<Following>, keys_of: &KeysOf) {
    let mut block = RecordBlock::default();
    while let Some(feeds) = listened(engine, following, keys_of) {
        let keys = feeds.values().flat_map(BTreeMap::keys).cloned().collect::<Vec<_>>();
        let thread = std::thread::current();
        let waiter = engine.add_waiter(Arc::new(move || thread.unpark()));
        // Registered first, looked at second: what is appended in between wakes us.
        engine.wait_for(waiter, &keys);
        let told = tell_all(engine, following, feeds, &mut block);
        if !told {
            std::thread::park_timeout(LOOK_AGAIN);
        }
        engine.remove_waiter(waiter, &keys);
    }
}

/// The streams that are listened to; nothing when there are none, and then this thread is not
/// counted on any more.
fn listened(
    engine: &Engine,
    following: &Mutex<Following>,
    keys_of: &KeysOf,
) -> Option<BTreeMap<Vec<u8>, Feed>> {
    let mut following = following.lock();
    let channels = engine.channels();
    following.feeds.retain(|channel, _| channels.listener_count(Scope::Channel, channel) > 0);
    if following.feeds.is_empty() {
        following.thread = None;
        return None;
    }
    for (channel, feed) in &mut following.feeds {
        // A stream that was declared meanwhile is listened to from its first record.
        let name = channel.strip_prefix(PREFIX).unwrap_or_default();
        for key in keys_of_channel(name, keys_of) {
            feed.entry(key).or_insert(Some(StreamId::MIN));
        }
    }
    Some(following.feeds.clone())
}

/// Publishes what the streams have that has not been told; says whether there was anything.
fn tell_all(
    engine: &Engine,
    following: &Mutex<Following>,
    feeds: BTreeMap<Vec<u8>, Feed>,
    block: &mut RecordBlock,
) -> bool {
    let mut told = false;
    for (channel, mut feed) in feeds {
        for (key, last) in &mut feed {
            // An error means that the node is going down: those who listen are closed soon.
            told |= tell(engine, &channel, key, last, block).unwrap_or(false);
        }
        if let Some(kept) = following.lock().feeds.get_mut(&channel) {
            *kept = feed;
        }
    }
    told
}

/// Publishes what a partition has above an ID; says whether there was anything.
fn tell(
    engine: &Engine,
    channel: &[u8],
    key: &[u8],
    told: &mut Option<StreamId>,
    block: &mut RecordBlock,
) -> Result<bool, thalweg_node::EngineError> {
    let after = told.unwrap_or(StreamId::MAX);
    let read = engine.enter_blocking(|engine| {
        engine.read_records(key, after, RECORDS_AT_ONCE, BYTES_AT_ONCE, block)
    })?;
    // A key that is no stream (any more) has nothing to tell.
    if read.is_err() {
        return Ok(false);
    }
    for (id, fields) in block.iter() {
        engine.channels().publish(Scope::Channel, channel, record(id, fields).as_bytes());
        *told = Some(id);
    }
    told.get_or_insert(block.last);
    Ok(!block.ids.is_empty())
}

/// A record as reading the stream over HTTP shows it.
fn record(id: StreamId, fields: &[u8]) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut object = Map::new();
    let mut pieces = unpack_fields(fields);
    while let (Some(name), Some(value)) = (pieces.next(), pieces.next()) {
        object.insert(text(name), Value::String(text(value)));
    }
    json!({ "id": text(&id.to_text()), "fields": object }).to_string()
}
