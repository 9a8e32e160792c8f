//! Functions by which one connection asks about others, and stops or ends them.

use super::relations::relations;
use crate::catalog::{Definition, Overlay};
use crate::database::Inner;
use crate::error::SqlError;
use crate::functions::{Asked, Call, Function, returns_bigint, returns_boolean, returns_text};
use crate::sql::backends::pid_of;
use crate::tables::sequence::last;
use datafusion::arrow::array::{ArrayRef, BooleanArray, Int32Builder, Int64Array, ListBuilder};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

pub(super) fn functions(inner: &Weak<Inner>) -> [Function; 5] {
    [
        Function::new(
            "pg_cancel_backend",
            returns_boolean,
            told(inner, |inner, call| each(call, |pid| inner.backends.cancel(pid))),
        )
        .volatile(),
        Function::new(
            "pg_terminate_backend",
            returns_boolean,
            told(inner, |inner, call| each(call, |pid| inner.backends.terminate(pid))),
        )
        .volatile(),
        Function::new("pg_blocking_pids", returns_pids, told(inner, blocking)).volatile(),
        Function::new("pg_sequence_last_value", returns_bigint, told(inner, last_value)).volatile(),
        Function::new("bpchar", returns_text, |call| call.as_kind(0, &DataType::Utf8View)),
    ]
}

/// A function that gets the database as it is when it is called.
fn told(
    inner: &Weak<Inner>,
    tell: impl Fn(&Inner, &Call<'_>) -> Result<ArrayRef, SqlError> + Send + Sync + 'static,
) -> impl Fn(&Call<'_>) -> Result<ArrayRef, SqlError> + Send + Sync + 'static {
    let inner = inner.clone();
    move |call: &Call<'_>| {
        let inner = inner.upgrade().ok_or(thalweg_node::EngineError::ShuttingDown)?;
        tell(&inner, call)
    }
}

/// Does something to each connection that is named.
fn each(call: &Call<'_>, act: impl Fn(i32) -> bool) -> Result<ArrayRef, SqlError> {
    let pids = call.integers(0)?;
    let acted = pids.iter().map(|pid| {
        let pid = i32::try_from(pid?);
        Some(pid.is_ok_and(&act))
    });
    Ok(Arc::new(acted.collect::<BooleanArray>()))
}

fn returns_pids(_: &Asked<'_>) -> Result<FieldRef, SqlError> {
    let item = Arc::new(Field::new_list_field(DataType::Int32, true));
    Ok(Arc::new(Field::new("", DataType::List(item), true)))
}

/// The connections that a connection waits for, with its advisory locks.
fn blocking(inner: &Inner, call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let mut out = ListBuilder::new(Int32Builder::new());
    for pid in &call.integers(0)? {
        let Some(pid) = pid else {
            out.append_null();
            continue;
        };
        let sessions = inner.locks.in_the_way(|session| i64::from(pid_of(session)) == pid);
        let pids: BTreeSet<i32> = sessions.into_iter().map(pid_of).collect();
        pids.into_iter().for_each(|pid| out.values().append_value(pid));
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}

/// The number that a sequence gave out last; nothing where it has not given out any.
fn last_value(inner: &Inner, call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let relations = relations(inner, &Overlay::new());
    let last = |oid: Option<i64>| {
        let Some(oid) = oid else { return Ok(None) };
        let found = relations.iter().find(|relation| i64::from(relation.oid) == oid);
        match found.map(|found| (found.name.as_str(), found.definition.as_deref())) {
            Some((name, Some(Definition::Sequence(sequence)))) => last(inner, name, sequence),
            _ => Err(SqlError::unknown("sequence", &oid.to_string())),
        }
    };
    let oids = call.integers(0)?;
    Ok(Arc::new(oids.iter().map(last).collect::<Result<Int64Array, SqlError>>()?))
}
