//! A transaction: what it has read is watched, what it writes is kept aside and seen by itself, and commit applies all of
//! it in one batch of the log, or nothing where something it has read was changed meanwhile.

use super::row::{bucket_key, bucket_of};
use super::{Written, read_row};
use crate::error::{SqlError, SqlState};
use crate::stream::transact_in;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use thalweg_node::{Engine, Session};

/// Bytes that a transaction may hold aside.
const WRITES_MAX_BYTES: usize = 64 << 20;

/// A transaction, as the extension of a query's settings by which tables find it.
pub(crate) struct TransactionHandle(pub(crate) Arc<Mutex<Transaction>>);

/// A transaction.
pub(crate) struct Transaction {
    engine: Engine,
    session: Session,
    writes: BTreeMap<String, Written>,
    /// Commands that append to streams, in order.
    appends: Vec<Vec<Vec<u8>>>,
    bytes: usize,
    savepoints: Vec<Savepoint>,
}

/// What had been written at a moment to which the transaction may go back.
struct Savepoint {
    name: String,
    writes: BTreeMap<String, Written>,
    appends: usize,
    bytes: usize,
}

impl Transaction {
    pub(crate) fn new(engine: &Engine) -> Self {
        Self {
            engine: engine.clone(),
            session: Session::default(),
            writes: BTreeMap::new(),
            appends: Vec::new(),
            bytes: 0,
            savepoints: Vec::new(),
        }
    }

    /// Remembers what has been written so far, under a name.
    pub(crate) fn save(&mut self, name: &str) -> Result<(), SqlError> {
        // Each holds a copy of what was written, so together they count like writes.
        let held: usize = self.savepoints.iter().map(|savepoint| savepoint.bytes).sum();
        if held + 2 * self.bytes > WRITES_MAX_BYTES {
            let message = "the transaction's savepoints hold too much";
            return Err(SqlError::new(SqlState::LimitExceeded, message).hint("release some"));
        }
        let (writes, appends) = (self.writes.clone(), self.appends.len());
        self.savepoints.push(Savepoint {
            name: name.to_owned(),
            writes,
            appends,
            bytes: self.bytes,
        });
        Ok(())
    }

    /// Goes back to what had been written then.
    pub(crate) fn go_back(&mut self, name: &str) -> Result<(), SqlError> {
        let index = self.find_savepoint(name)?;
        self.savepoints.truncate(index + 1);
        if let Some(savepoint) = self.savepoints.last() {
            self.writes = savepoint.writes.clone();
            self.appends.truncate(savepoint.appends);
            self.bytes = savepoint.bytes;
        }
        Ok(())
    }

    /// Forgets a moment, and all after it; what was written stays written.
    pub(crate) fn release(&mut self, name: &str) -> Result<(), SqlError> {
        let index = self.find_savepoint(name)?;
        self.savepoints.truncate(index);
        Ok(())
    }

    fn find_savepoint(&self, name: &str) -> Result<usize, SqlError> {
        self.savepoints.iter().rposition(|savepoint| savepoint.name == name).ok_or_else(|| {
            SqlError::new(
                SqlState::InvalidParameter,
                format!("savepoint \"{name}\" does not exist"),
            )
        })
    }

    /// From now on, a change of a bucket by somebody else makes the commit fail.
    pub(crate) fn watch(&mut self, table: &str, bucket: u64) -> Result<(), SqlError> {
        self.engine.run_in(&mut self.session, &[b"WATCH", &bucket_key(table, bucket)])?;
        Ok(())
    }

    /// What this transaction has written to a table.
    pub(crate) fn written(&self, table: &str) -> Written {
        self.writes.get(table).cloned().unwrap_or_default()
    }

    /// A row as this transaction sees it.
    pub(crate) fn read(&mut self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, SqlError> {
        if let Some(row) = self.writes.get(table).and_then(|written| written.get(key)) {
            return Ok(row.clone());
        }
        let bucket = bucket_of(key);
        self.watch(table, bucket)?;
        read_row(&self.engine, &bucket_key(table, bucket), key)
    }

    /// Puts a row, or deletes it.
    pub(crate) fn write(
        &mut self,
        table: &str,
        key: Vec<u8>,
        row: Option<Vec<u8>>,
    ) -> Result<(), SqlError> {
        self.grow(key.len() + row.as_ref().map_or(0, Vec::len) + 64)?;
        self.writes.entry(table.to_owned()).or_default().insert(key, row);
        Ok(())
    }

    /// Appends to streams at commit.
    pub(crate) fn append(&mut self, commands: Vec<Vec<Vec<u8>>>) -> Result<(), SqlError> {
        let bytes = commands.iter().flatten().map(|arg| arg.len() + 24).sum();
        self.grow(bytes)?;
        self.appends.extend(commands);
        Ok(())
    }

    fn grow(&mut self, bytes: usize) -> Result<(), SqlError> {
        self.bytes += bytes;
        if self.bytes <= WRITES_MAX_BYTES {
            return Ok(());
        }
        let message = format!("the transaction writes more than {} MiB", WRITES_MAX_BYTES >> 20);
        Err(SqlError::new(SqlState::LimitExceeded, message).hint("commit more often"))
    }

    /// Makes it happen, durably. An error that says "serialization" means that nothing has happened.
    pub(crate) fn commit(mut self) -> Result<(), SqlError> {
        let mut commands = std::mem::take(&mut self.appends);
        for (table, rows) in std::mem::take(&mut self.writes) {
            for (key, row) in rows {
                let bucket = bucket_key(&table, bucket_of(&key));
                commands.push(match row {
                    Some(row) => vec![b"HSET".to_vec(), bucket, key, row],
                    None => vec![b"HDEL".to_vec(), bucket, key],
                });
            }
        }
        if commands.is_empty() || transact_in(&self.engine, &mut self.session, &commands)? {
            return Ok(());
        }
        Err(SqlError::new(
            SqlState::SerializationFailure,
            "could not serialize access: a row that this transaction has read was changed meanwhile",
        )
        .hint("nothing was changed; run the transaction again"))
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.engine.unwatch_all(&mut self.session);
    }
}
