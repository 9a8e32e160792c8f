//! Changes of views, for those who follow them. A view `v` that was made `WITH (changes = 10000)`
//! has a stream `v.changes` with about its latest 10,000 changes. It is read and followed like any
//! other stream: XREAD, server-sent events, long poll, SQL. A record is a row that came, changed or
//! went. `_op` is `insert`, `update` or `delete`; the other fields are the row's columns. Of a row
//! that went, they are the columns that tell it apart.
//!
//! What has been told is the hash `thalweg:changes:<view>`: a field for each row, its value a hash
//! of the row. It changes in one transaction with the stream, and nothing is told before the view
//! has caught up. So a crash neither repeats nor loses a change, even if the view had forgotten
//! what it had taken in.
//!
//! | field | value |
//! |---|---|
//! | the columns that tell the row apart, in the form below | XXH3-64 of the row in that form |
//!
//! The form is, for each column, its length (4 bytes, all ones: null) and its text; all numbers are
//! little-endian.

use super::View;
use crate::database::Inner;
use crate::error::SqlError;
use crate::streams::Fields;
use crate::values::record::put_text;
use crate::write::{Write, write_all};
use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::collect;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use thalweg_node::Packed;
use xxhash_rust::xxh3::xxh3_64;

/// Changes that are told in one transaction.
const TRANSACTION_CHANGES: usize = 2_048;

/// What has been told of a view.
#[derive(Default)]
pub(crate) struct Told {
    /// The view it was told of.
    incarnation: u64,
    rows: HashMap<Vec<u8>, u64>,
    /// What the view had taken in by then.
    at: Option<(u64, Option<i64>)>,
}

/// The stream of a view's changes.
pub(crate) fn stream_of(view: &str) -> String {
    format!("{view}.changes")
}

fn told_key(view: &str) -> String {
    format!("thalweg:changes:{view}")
}

/// A change on its way.
struct Change {
    key: Vec<u8>,
    /// The row now; nothing: it has gone.
    digest: Option<u64>,
    operation: &'static [u8],
    fields: Fields,
}

impl Inner {
    /// Tells what has changed in the views that are followed. One that cannot be read keeps none of
    /// the others from it.
    pub(crate) async fn tell_changes(self: &Arc<Self>, told: &mut HashMap<String, Told>) {
        let views: Vec<Arc<View>> = self.views.all.read().values().cloned().collect();
        told.retain(|name, _| views.iter().any(|view| view.name == *name));
        for view in views {
            let Some(kept) = view.changes_kept else { continue };
            // What a view says while it reads what it had read before the last crash was told
            // already.
            if !view.is_current() {
                continue;
            }
            let outcome = self.tell_changes_of(&view, kept, told).await;
            if let Err(error) = outcome {
                tracing::warn!(
                    view = view.name,
                    %error,
                    "changes of a view could not be written to its stream; this is tried again"
                );
                // What the log has of it is read again.
                told.remove(&view.name);
            }
        }
    }

    async fn tell_changes_of(
        self: &Arc<Self>,
        view: &Arc<View>,
        kept: u64,
        all: &mut HashMap<String, Told>,
    ) -> Result<(), SqlError> {
        let told = all.entry(view.name.clone()).or_default();
        if told.incarnation != view.incarnation {
            *told = self.read_told(view)?;
        }
        let now = {
            let live = view.live.lock();
            (live.state.rows_in, live.state.watermark_us)
        };
        if told.at == Some(now) && view.stands_alone() {
            return Ok(());
        }
        let changes = self.changes_of(view, told).await?;
        self.write_changes(view, kept, told, changes)?;
        told.at = Some(now);
        Ok(())
    }

    /// Whether a view is still the one of its name.
    fn is_the_one(&self, view: &Arc<View>) -> bool {
        self.views.all.read().get(&view.name).is_some_and(|other| Arc::ptr_eq(other, view))
    }

    fn read_told(&self, view: &View) -> Result<Told, SqlError> {
        let key = told_key(&view.name).into_bytes();
        let mut fields = Packed::default();
        self.engine.enter_blocking(|engine| engine.read_fields(&key, &mut fields))??;
        let mut pieces = fields.iter();
        let mut rows = HashMap::new();
        while let (Some(row), Some(digest)) = (pieces.next(), pieces.next()) {
            if let Ok(digest) = digest.try_into() {
                rows.insert(row.to_vec(), u64::from_le_bytes(digest));
            }
        }
        Ok(Told { incarnation: view.incarnation, rows, at: None })
    }

    async fn changes_of(
        self: &Arc<Self>,
        view: &Arc<View>,
        told: &Told,
    ) -> Result<Vec<Change>, SqlError> {
        let quoted = view.name.replace('"', "\"\"");
        let state = self.context()?.state();
        let plan = self.plan(&format!("SELECT * FROM \"{quoted}\"")).await?;
        let plan = state.create_physical_plan(&plan).await?;
        let batches = collect(plan, state.task_ctx()).await?;
        if !self.is_the_one(view) {
            return Ok(Vec::new());
        }
        let keys = key_columns(&view.compiled.plan);
        let mut changes = Vec::new();
        let mut seen: HashSet<Vec<u8>> = HashSet::new();
        let mut twins: HashMap<Vec<u8>, u64> = HashMap::new();
        for batch in &batches {
            for row in 0..batch.num_rows() {
                let mut key = form(batch, row, keys.as_deref())?;
                let digest = xxh3_64(&form(batch, row, None)?);
                if keys.is_none() {
                    // Rows that cannot be told apart are counted.
                    let twin = twins.entry(key.clone()).or_insert(0);
                    *twin += 1;
                    key.extend(twin.to_le_bytes());
                }
                let operation: &[u8] = match told.rows.get(&key) {
                    Some(known) if *known == digest => b"",
                    Some(_) => b"update",
                    None => b"insert",
                };
                if !operation.is_empty() {
                    let fields = fields_of(batch, row)?;
                    changes.push(Change {
                        key: key.clone(),
                        digest: Some(digest),
                        operation,
                        fields,
                    });
                }
                seen.insert(key);
            }
        }
        let fields = view.compiled.plan.schema().fields();
        let names: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
        for key in told.rows.keys().filter(|key| !seen.contains(*key)) {
            let fields = fields_of_key(key, &names, keys.as_deref());
            changes.push(Change { key: key.clone(), digest: None, operation: b"delete", fields });
        }
        Ok(changes)
    }

    fn write_changes(
        &self,
        view: &Arc<View>,
        kept: u64,
        told: &mut Told,
        changes: Vec<Change>,
    ) -> Result<(), SqlError> {
        let (stream, hash) = (stream_of(&view.name), told_key(&view.name));
        for changes in changes.chunks(TRANSACTION_CHANGES) {
            let mut writes = Vec::with_capacity(changes.len() * 2 + 1);
            for change in changes {
                let operation = (b"_op".to_vec(), change.operation.to_vec());
                let fields = std::iter::once(operation).chain(change.fields.iter().cloned());
                let key = stream.clone().into_bytes();
                writes.push(Write::Append { key, fields: fields.collect() });
                let (key, field) = (hash.clone().into_bytes(), change.key.clone());
                writes.push(match change.digest {
                    Some(digest) => {
                        Write::PutField { key, field, value: digest.to_le_bytes().to_vec() }
                    }
                    None => Write::DeleteField { key, field },
                });
            }
            writes.push(Write::Trim { key: stream.clone().into_bytes(), records: kept });
            // A view that was dropped or replaced meanwhile tells nothing more.
            let _telling = self.views.telling.lock();
            if !self.is_the_one(view) {
                return Ok(());
            }
            write_all(&self.engine, &writes)?;
            for change in changes {
                match change.digest {
                    Some(digest) => told.rows.insert(change.key.clone(), digest),
                    None => told.rows.remove(&change.key),
                };
            }
        }
        Ok(())
    }

    /// Forgets what was told of a view.
    pub(crate) fn forget_changes(&self, view: &str) -> Result<(), SqlError> {
        let (stream, hash) = (stream_of(view), told_key(view));
        let _telling = self.views.telling.lock();
        let keys = [stream.into_bytes(), hash.into_bytes()];
        write_all(&self.engine, &keys.map(|key| Write::Delete { key }))
    }
}

/// The columns of a view's answer that its groups are told apart by; nothing if it does not show
/// all of them.
fn key_columns(plan: &LogicalPlan) -> Option<Vec<usize>> {
    let mut found: HashMap<usize, usize> = HashMap::new();
    let mut groups = 0;
    for column in 0..plan.schema().fields().len() {
        if let Some((group, count)) = group_of(plan, column) {
            found.entry(group).or_insert(column);
            groups = count;
        } else if groups == 0 {
            groups = count_groups(plan)?;
        }
    }
    let mut columns: Vec<usize> =
        (0..groups).map(|group| found.get(&group).copied()).collect::<Option<_>>()?;
    columns.sort_unstable();
    Some(columns)
}

fn count_groups(plan: &LogicalPlan) -> Option<usize> {
    match plan {
        LogicalPlan::Aggregate(aggregate) => Some(aggregate.group_expr.len()),
        other => count_groups(other.inputs().first()?),
    }
}

/// The grouping column that an output column is, and how many there are.
fn group_of(plan: &LogicalPlan, column: usize) -> Option<(usize, usize)> {
    match plan {
        LogicalPlan::Aggregate(aggregate) => {
            let groups = aggregate.group_expr.len();
            (column < groups).then_some((column, groups))
        }
        LogicalPlan::Projection(node) => {
            let mut expr = node.expr.get(column)?;
            while let Expr::Alias(alias) = expr {
                expr = &alias.expr;
            }
            let Expr::Column(named) = expr else { return None };
            group_of(&node.input, node.input.schema().maybe_index_of_column(named)?)
        }
        other => group_of(other.inputs().first()?, column),
    }
}

/// Some columns of a row, or all of them, in the form described above.
fn form(batch: &RecordBatch, row: usize, columns: Option<&[usize]>) -> Result<Vec<u8>, SqlError> {
    let mut out = Vec::new();
    let mut text = Vec::new();
    for (index, column) in batch.columns().iter().enumerate() {
        if columns.is_some_and(|columns| !columns.contains(&index)) {
            continue;
        }
        if column.is_null(row) {
            out.extend(u32::MAX.to_le_bytes());
            continue;
        }
        text.clear();
        put(&mut text, column.as_ref(), row)?;
        out.extend((text.len() as u32).to_le_bytes());
        out.extend(&text);
    }
    Ok(out)
}

fn put(text: &mut Vec<u8>, column: &dyn Array, row: usize) -> Result<(), SqlError> {
    put_text(text, column, row)
        .ok_or_else(|| SqlError::unsupported("a column's type has no text for a stream of changes"))
}

fn fields_of(batch: &RecordBatch, row: usize) -> Result<Fields, SqlError> {
    let mut fields = Fields::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if column.is_valid(row) {
            let mut text = Vec::new();
            put(&mut text, column.as_ref(), row)?;
            fields.push((field.name().as_bytes().to_vec(), text));
        }
    }
    Ok(fields)
}

/// The columns that a key was made of.
fn fields_of_key(key: &[u8], names: &[String], columns: Option<&[usize]>) -> Fields {
    let mut fields = Fields::new();
    let mut rest = key;
    for (index, name) in names.iter().enumerate() {
        if columns.is_some_and(|columns| !columns.contains(&index)) {
            continue;
        }
        let Some((length, after)) = rest.split_first_chunk::<4>() else { break };
        rest = after;
        let length = u32::from_le_bytes(*length);
        if length == u32::MAX {
            continue;
        }
        let Some((text, after)) = rest.split_at_checked(length as usize) else { break };
        rest = after;
        fields.push((name.as_bytes().to_vec(), text.to_vec()));
    }
    fields
}
