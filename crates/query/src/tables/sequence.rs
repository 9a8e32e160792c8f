//! Sequences: each number is given out once, whether the transaction that asked for it commits or
//! not.
//!
//! A sequence is two entries: `thalweg:sequence:<storage>` counts how often it was asked since it
//! was last set, and `thalweg:sequence:<storage>:base` holds the number that it was set to, as
//! decimal text.

use crate::catalog::{Definition, Overlay, SequenceDefinition};
use crate::database::Inner;
use crate::error::{SqlError, SqlState};
use crate::write::{Write, write_all};
use datafusion::arrow::array::{ArrayRef, AsArray, Int64Builder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::Result as DfResult;
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};
use thalweg_machine::Reply;
use thalweg_node::Engine;

/// What a session has drawn: for `currval` and `lastval`.
#[derive(Debug, Default)]
pub(crate) struct Drawn {
    last: BTreeMap<String, i64>,
    latest: Option<i64>,
}

fn key(storage: &str) -> Vec<u8> {
    format!("thalweg:sequence:{storage}").into_bytes()
}

fn base_key(storage: &str) -> Vec<u8> {
    format!("thalweg:sequence:{storage}:base").into_bytes()
}

/// A sequence's name without schema and quotes.
fn plain(name: &str) -> String {
    let name = name.rsplit('.').next().unwrap_or(name);
    match name.strip_prefix('"') {
        Some(quoted) => quoted.trim_end_matches('"').to_owned(),
        None => name.to_lowercase(),
    }
}

/// A sequence, as the session and its transaction see it.
fn find(
    inner: &Inner,
    overlay: Option<&Overlay>,
    name: &str,
) -> Result<SequenceDefinition, SqlError> {
    let own = overlay.and_then(|overlay| overlay.get(name).cloned());
    match own.unwrap_or_else(|| inner.catalog.get(name)).as_deref() {
        Some(Definition::Sequence(sequence)) => Ok(sequence.clone()),
        Some(_) => {
            Err(SqlError::new(SqlState::WrongObjectType, format!("\"{name}\" is not a sequence")))
        }
        None => Err(SqlError::unknown("relation", name)),
    }
}

/// The number that was given out last; nothing where none was.
pub(crate) fn last(
    inner: &Inner,
    name: &str,
    sequence: &SequenceDefinition,
) -> Result<Option<i64>, SqlError> {
    let storage = sequence.storage(name);
    let number = |key: &[u8]| {
        let reply = inner.engine.call(&[b"GET".as_slice(), key])?;
        let text = reply.as_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok());
        Ok::<_, SqlError>(text.and_then(|text| text.parse::<i64>().ok()))
    };
    let before = sequence.start.checked_sub(sequence.increment);
    let base = number(&base_key(storage))?.or(before);
    let count = number(&key(storage))?.unwrap_or(0);
    let value = base.and_then(|base| base.checked_add(sequence.increment.checked_mul(count)?));
    Ok(value.filter(|value| Some(*value) != before))
}

/// The next number.
pub(crate) fn next(
    inner: &Inner,
    drawn: &Mutex<Drawn>,
    name: &str,
    sequence: &SequenceDefinition,
) -> Result<i64, SqlError> {
    let storage = sequence.storage(name);
    let base: &[&[u8]] = &[b"GET", &base_key(storage)];
    let base = match inner.engine.call(base)?.as_bytes() {
        Some(text) => std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok()),
        None => sequence.start.checked_sub(sequence.increment),
    };
    let count = match inner.engine.call(&[b"INCR", &key(storage)])? {
        Reply::Integer(count) => count,
        Reply::Error(error) => return Err(error.into()),
        _ => return Err(SqlError::new(SqlState::Internal, "a sequence's entry is no number")),
    };
    let value = base.and_then(|base| base.checked_add(sequence.increment.checked_mul(count)?));
    let value =
        value.filter(|value| (sequence.min..=sequence.max).contains(value)).ok_or_else(|| {
            let (word, bound) = if sequence.increment > 0 {
                ("maximum", sequence.max)
            } else {
                ("minimum", sequence.min)
            };
            SqlError::new(
                SqlState::SequenceLimit,
                format!("nextval: reached {word} value of sequence \"{name}\" ({bound})"),
            )
        })?;
    let mut drawn = drawn.lock();
    drawn.last.insert(name.to_owned(), value);
    drawn.latest = Some(value);
    Ok(value)
}

/// Sets a sequence: the number that it gives next, or gave last.
pub(crate) fn set(
    inner: &Inner,
    name: &str,
    sequence: &SequenceDefinition,
    value: i64,
    called: bool,
) -> Result<(), SqlError> {
    if !(sequence.min..=sequence.max).contains(&value) {
        return Err(SqlError::new(
            SqlState::NumericOutOfRange,
            format!("setval: value {value} is out of bounds for sequence \"{name}\""),
        ));
    }
    let base = if called { value } else { value.saturating_sub(sequence.increment) };
    let base = base.to_string();
    let storage = sequence.storage(name);
    let (key, value) = (base_key(storage), base.into_bytes());
    // Together: what is drawn meanwhile counts from one base or from the other.
    let writes = [Write::Put { key, value }, Write::Delete { key: self::key(storage) }];
    write_all(&inner.engine, &writes)
}

/// Forgets what a sequence has given out.
pub(crate) fn forget(engine: &Engine, storage: &str) -> Result<(), SqlError> {
    let keys = [key(storage), base_key(storage)];
    write_all(engine, &keys.map(|key| Write::Delete { key }))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Which {
    Next,
    Current,
    Last,
    Set,
}

/// A function over sequences, as one session sees them.
#[derive(Debug)]
struct Function {
    which: Which,
    inner: Weak<Inner>,
    drawn: Arc<Mutex<Drawn>>,
    overlay: Option<Arc<Overlay>>,
    signature: Signature,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inner")
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.which == other.which
    }
}
impl Eq for Function {}
impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.which.hash(state);
    }
}

/// Lets a session's statements use the functions.
pub(crate) fn register(
    state: &mut SessionState,
    inner: &Arc<Inner>,
    drawn: &Arc<Mutex<Drawn>>,
    overlay: Option<&Arc<Overlay>>,
) -> Result<(), SqlError> {
    for which in [Which::Next, Which::Current, Which::Last, Which::Set] {
        let function = Function {
            which,
            inner: Arc::downgrade(inner),
            drawn: drawn.clone(),
            overlay: overlay.cloned(),
            signature: Signature::variadic_any(Volatility::Volatile),
        };
        state.register_udf(Arc::new(ScalarUDF::from(function)))?;
    }
    Ok(())
}

impl Function {
    fn one(
        &self,
        inner: &Inner,
        name: &str,
        value: Option<i64>,
        called: bool,
    ) -> Result<i64, SqlError> {
        let name = plain(name);
        let find = || find(inner, self.overlay.as_deref(), &name);
        match self.which {
            Which::Next => next(inner, &self.drawn, &name, &find()?),
            Which::Current => {
                find()?;
                self.drawn.lock().last.get(&name).copied().ok_or_else(|| {
                    let message = format!(
                        "currval of sequence \"{name}\" is not yet defined in this session"
                    );
                    SqlError::new(SqlState::NotInPrerequisiteState, message)
                })
            }
            Which::Last => self.drawn.lock().latest.ok_or_else(|| {
                let message = "lastval is not yet defined in this session";
                SqlError::new(SqlState::NotInPrerequisiteState, message)
            }),
            Which::Set => {
                let value = value.unwrap_or(0);
                set(inner, &name, &find()?, value, called)?;
                if called {
                    self.drawn.lock().last.insert(name, value);
                }
                Ok(value)
            }
        }
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        match self.which {
            Which::Next => "nextval",
            Which::Current => "currval",
            Which::Last => "lastval",
            Which::Set => "setval",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let inner = self.inner.upgrade().ok_or_else(crate::catalog::gone)?;
        let arrays = args.args.iter().map(|arg| arg.to_array(args.number_rows));
        let arrays = arrays.collect::<DfResult<Vec<ArrayRef>>>()?;
        let names = arrays.first().map(|names| cast(names, &DataType::Utf8)).transpose()?;
        let values = arrays.get(1).map(|values| cast(values, &DataType::Int64)).transpose()?;
        let mut out = Int64Builder::with_capacity(args.number_rows);
        for row in 0..args.number_rows {
            let name = names.as_ref().map_or("", |names| names.as_string::<i32>().value(row));
            let value = values.as_ref().map(|values| values.as_primitive::<Int64Type>().value(row));
            let called = arrays.get(2).is_none_or(|called| {
                called.as_boolean_opt().is_none_or(|called| called.value(row))
            });
            out.append_value(self.one(&inner, name, value, called)?);
        }
        Ok(ColumnarValue::Array(Arc::new(out.finish())))
    }
}
