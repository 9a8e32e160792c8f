//! A transaction. What it has read is watched. What it writes is kept aside, where only the
//! transaction itself sees it. Commit applies all of it in one batch of the log, or nothing if
//! somebody else has changed what the transaction had read.

use super::row::{bucket_key, bucket_of};
use super::{Written, read_row};
use crate::catalog::{Definition, Overlay};
use crate::database::Inner;
use crate::error::{SqlError, SqlState};
use crate::functions::bytes_of;
use crate::write::{Write, write_all_in};
use datafusion::arrow::array::RecordBatch;
use datafusion::common::config::{ConfigEntry, ConfigExtension, ExtensionOptions};
use datafusion::execution::SendableRecordBatchStream;
use futures_util::TryStreamExt;
use parking_lot::Mutex;
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Weak;
use thalweg_node::{Engine, Session};

/// Bytes that a transaction may hold aside.
const WRITES_MAX_BYTES: usize = 64 << 20;
/// What a row costs beside its bytes.
const ROW_OVERHEAD_BYTES: usize = 64;

fn check_writes(bytes: usize) -> Result<(), SqlError> {
    if bytes <= WRITES_MAX_BYTES {
        return Ok(());
    }
    let message = format!("the transaction writes more than {} MiB", WRITES_MAX_BYTES >> 20);
    Err(SqlError::new(SqlState::LimitExceeded, message).hint("commit more often"))
}

/// The rows of a change, as long as a transaction may write so many.
pub(crate) async fn collect_writes(
    mut rows: SendableRecordBatchStream,
) -> Result<Vec<RecordBatch>, SqlError> {
    let (mut batches, mut bytes) = (Vec::new(), 0usize);
    while let Some(batch) = rows.try_next().await? {
        let slice: usize = batch.columns().iter().map(bytes_of).sum();
        bytes = bytes.saturating_add(slice + batch.num_rows() * ROW_OVERHEAD_BYTES);
        check_writes(bytes)?;
        batches.push(batch);
    }
    Ok(batches)
}

/// A transaction, as the extension of a query's settings by which tables find it.
pub(crate) struct TransactionHandle(pub(crate) Arc<Mutex<Transaction>>);

/// The same among the options, by which what runs a query of its own finds it. It does not keep the
/// transaction open.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenTransaction(Option<Weak<Mutex<Transaction>>>);

impl OpenTransaction {
    pub(crate) fn new(transaction: &Arc<Mutex<Transaction>>) -> Self {
        Self(Some(Arc::downgrade(transaction)))
    }

    pub(crate) fn handle(&self) -> Option<Arc<TransactionHandle>> {
        Some(Arc::new(TransactionHandle(self.0.as_ref()?.upgrade()?)))
    }
}

impl ConfigExtension for OpenTransaction {
    const PREFIX: &'static str = "thalweg_transaction";
}

impl ExtensionOptions for OpenTransaction {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _value: &str) -> datafusion::common::Result<()> {
        Err(SqlError::new(SqlState::UndefinedObject, format!("there is no option {key}")).into())
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}

/// A transaction.
pub(crate) struct Transaction {
    engine: Engine,
    session: Session,
    writes: BTreeMap<String, Written>,
    /// Records that it appends to streams, in order.
    appends: Vec<Write>,
    bytes: usize,
    /// What was declared and dropped.
    declared: BTreeMap<String, Declared>,
    /// What nobody can reach any more once it has happened.
    retired: Vec<Retired>,
    /// The session's temporary objects as they were when it began, to which a rollback goes back.
    temporary: Temporary,
    savepoints: Vec<Savepoint>,
}

/// The temporary objects of a session, by name.
pub(crate) type Temporary = BTreeMap<String, Arc<Definition>>;

/// What stands under a name and goes with the transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Retired {
    /// A table's rows.
    Rows(String),
    /// A sequence's counter.
    Counter(String),
}

impl Retired {
    /// Deletes it.
    pub(crate) fn clear(&self, engine: &Engine) -> Result<(), SqlError> {
        match self {
            Self::Rows(storage) => super::clear(engine, storage),
            Self::Counter(storage) => crate::tables::sequence::forget(engine, storage),
        }
    }
}

/// An object of the catalog that a transaction has changed.
#[derive(Clone, Debug)]
struct Declared {
    /// What it was when the transaction first changed it.
    seen: Option<Arc<Definition>>,
    /// What it is now; nothing where it was dropped.
    now: Option<Arc<Definition>>,
}

/// What had been written at a moment to which the transaction may go back.
struct Savepoint {
    name: String,
    writes: BTreeMap<String, Written>,
    appends: usize,
    bytes: usize,
    declared: BTreeMap<String, Declared>,
    retired: usize,
    temporary: Temporary,
}

impl Transaction {
    pub(crate) fn new(engine: &Engine, temporary: Temporary) -> Self {
        Self {
            engine: engine.clone(),
            session: Session::default(),
            writes: BTreeMap::new(),
            appends: Vec::new(),
            bytes: 0,
            declared: BTreeMap::new(),
            retired: Vec::new(),
            temporary,
            savepoints: Vec::new(),
        }
    }

    /// Whether it has changed nothing yet.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.writes.is_empty() && self.appends.is_empty() && self.declared.is_empty()
    }

    /// What it has declared and dropped, by name.
    pub(crate) fn declared(&self) -> Overlay {
        self.declared.iter().map(|(name, change)| (name.clone(), change.now.clone())).collect()
    }

    /// What it has made of a name; nothing where it has not touched it.
    pub(crate) fn declared_as(&self, name: &str) -> Option<Option<Arc<Definition>>> {
        self.declared.get(name).map(|change| change.now.clone())
    }

    /// Declares an object, or drops it.
    pub(crate) fn declare(
        &mut self,
        name: &str,
        seen: Option<Arc<Definition>>,
        now: Option<Definition>,
    ) {
        let now = now.map(Arc::new);
        match self.declared.get_mut(name) {
            Some(change) => change.now = now,
            None => {
                self.declared.insert(name.to_owned(), Declared { seen, now });
            }
        }
    }

    /// What nobody reaches any more goes when the transaction has happened.
    pub(crate) fn retire(&mut self, retired: Retired) {
        if let Retired::Rows(storage) = &retired {
            self.writes.remove(storage);
        }
        self.retired.push(retired);
    }

    /// Remembers what has been written so far, under a name.
    pub(crate) fn save(&mut self, name: &str, temporary: Temporary) -> Result<(), SqlError> {
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
            declared: self.declared.clone(),
            retired: self.retired.len(),
            temporary,
        });
        Ok(())
    }

    /// Goes back to what had been written then; gives the temporary objects of then.
    pub(crate) fn go_back(&mut self, name: &str) -> Result<Temporary, SqlError> {
        let index = self.find_savepoint(name)?;
        self.savepoints.truncate(index + 1);
        let Some(savepoint) = self.savepoints.last() else { return Ok(self.temporary.clone()) };
        self.writes = savepoint.writes.clone();
        self.appends.truncate(savepoint.appends);
        self.bytes = savepoint.bytes;
        self.declared = savepoint.declared.clone();
        self.retired.truncate(savepoint.retired);
        Ok(savepoint.temporary.clone())
    }

    /// The temporary objects of the session when it began.
    pub(crate) fn temporary(&self) -> &Temporary {
        &self.temporary
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
                SqlState::InvalidSavepoint,
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
        self.grow(key.len() + row.as_ref().map_or(0, Vec::len) + ROW_OVERHEAD_BYTES)?;
        self.writes.entry(table.to_owned()).or_default().insert(key, row);
        Ok(())
    }

    /// Appends to streams at commit.
    pub(crate) fn append(&mut self, appends: Vec<Write>) -> Result<(), SqlError> {
        self.grow(appends.iter().map(Write::bytes).sum())?;
        self.appends.extend(appends);
        Ok(())
    }

    fn grow(&mut self, bytes: usize) -> Result<(), SqlError> {
        self.bytes += bytes;
        check_writes(self.bytes)
    }

    /// Makes it happen, durably. An error that says "serialization" means that nothing has
    /// happened.
    pub(crate) fn commit(mut self, inner: &Inner) -> Result<(), SqlError> {
        if self.declared.is_empty() {
            let writes = self.take_writes();
            return if writes.is_empty() { Ok(()) } else { self.run(&writes) };
        }
        let changes: Vec<_> = std::mem::take(&mut self.declared)
            .into_iter()
            .filter(|(_, change)| change.seen.as_ref() != change.now.as_ref())
            .map(|(name, change)| (name, change.seen, change.now))
            .collect();
        let retired = std::mem::take(&mut self.retired);
        let rows = self.take_writes();
        inner.catalog.change(&changes, |mut writes| {
            writes.extend(rows);
            if writes.is_empty() { Ok(()) } else { self.run(&writes) }
        })?;
        for retired in retired {
            // What cannot be deleted now is only space: nobody reaches it.
            if let Err(error) = retired.clear(&self.engine) {
                tracing::warn!(%error, ?retired, "the data of dropped tables could not be deleted");
            }
        }
        Ok(())
    }

    fn take_writes(&mut self) -> Vec<Write> {
        let mut writes = std::mem::take(&mut self.appends);
        for (table, rows) in std::mem::take(&mut self.writes) {
            for (field, row) in rows {
                let key = bucket_key(&table, bucket_of(&field));
                writes.push(match row {
                    Some(value) => Write::PutField { key, field, value },
                    None => Write::DeleteField { key, field },
                });
            }
        }
        writes
    }

    fn run(&mut self, writes: &[Write]) -> Result<(), SqlError> {
        if write_all_in(&self.engine, &mut self.session, writes)? {
            return Ok(());
        }
        Err(SqlError::new(
            SqlState::SerializationFailure,
            "could not serialize access: a row that this transaction has read was changed \
             meanwhile",
        )
        .hint("nothing was changed; run the transaction again"))
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.engine.unwatch_all(&mut self.session);
    }
}
