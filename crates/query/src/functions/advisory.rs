//! Functions that take and give back advisory locks. The statement is rewritten before it is
//! planned: a first argument says whose session asks, and a second one makes each call different
//! from others.

use crate::error::{SqlError, SqlState};
use crate::tables::advisory::{AdvisoryLocks, Key, Mode};
use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, StringViewArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::Result;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What a function does.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Does {
    Lock,
    TryLock,
    Unlock,
    UnlockAll,
}

/// The functions by the names that clients call them by, what they do, and how locks are held:
/// shared, and by the transaction.
const FUNCTIONS: [(&str, &str, Does, bool, bool); 11] = [
    ("pg_advisory_lock", "pg_advisory_lock\u{2}of", Does::Lock, false, false),
    ("pg_advisory_lock_shared", "pg_advisory_lock_shared\u{2}of", Does::Lock, true, false),
    ("pg_advisory_xact_lock", "pg_advisory_xact_lock\u{2}of", Does::Lock, false, true),
    ("pg_advisory_xact_lock_shared", "pg_advisory_xact_lock_shared\u{2}of", Does::Lock, true, true),
    ("pg_try_advisory_lock", "pg_try_advisory_lock\u{2}of", Does::TryLock, false, false),
    (
        "pg_try_advisory_lock_shared",
        "pg_try_advisory_lock_shared\u{2}of",
        Does::TryLock,
        true,
        false,
    ),
    ("pg_try_advisory_xact_lock", "pg_try_advisory_xact_lock\u{2}of", Does::TryLock, false, true),
    (
        "pg_try_advisory_xact_lock_shared",
        "pg_try_advisory_xact_lock_shared\u{2}of",
        Does::TryLock,
        true,
        true,
    ),
    ("pg_advisory_unlock", "pg_advisory_unlock\u{2}of", Does::Unlock, false, false),
    ("pg_advisory_unlock_shared", "pg_advisory_unlock_shared\u{2}of", Does::Unlock, true, false),
    ("pg_advisory_unlock_all", "pg_advisory_unlock_all\u{2}of", Does::UnlockAll, false, false),
];

/// The function that a call stands for, if it is about advisory locks.
pub(crate) fn advisory_function(name: &str) -> Option<&'static str> {
    FUNCTIONS.iter().find(|(called, ..)| *called == name).map(|(_, own, ..)| *own)
}

pub(super) fn functions(locks: &Arc<AdvisoryLocks>) -> Vec<ScalarUDF> {
    let function = |&(_, name, does, is_shared, of_transaction)| {
        let mode = Mode { is_shared, of_transaction };
        let signature = Signature::variadic_any(Volatility::Volatile);
        let function = Advisory { name, does, mode, locks: locks.clone(), signature };
        AsyncScalarUDF::new(Arc::new(function)).into_scalar_udf()
    };
    FUNCTIONS.iter().map(function).collect()
}

#[derive(Debug)]
struct Advisory {
    name: &'static str,
    does: Does,
    mode: Mode,
    locks: Arc<AdvisoryLocks>,
    signature: Signature,
}

impl PartialEq for Advisory {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
impl Eq for Advisory {}
impl Hash for Advisory {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Advisory {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, kinds: &[DataType]) -> Result<DataType> {
        let name = self.name.split('\u{2}').next().unwrap_or_default();
        let is_number = |kind: &DataType| kind.is_integer() || kind.is_null();
        let fits = match self.does {
            Does::UnlockAll => kinds.len() == 2,
            _ => matches!(kinds.len(), 3 | 4) && kinds.iter().all(is_number),
        };
        if !fits {
            let message = format!("function {name} does not exist with such arguments");
            return Err(SqlError::new(SqlState::UndefinedFunction, message)
                .hint("it takes one bigint or two integers")
                .into());
        }
        Ok(match self.does {
            Does::Lock | Does::UnlockAll => DataType::Utf8View,
            Does::TryLock | Does::Unlock => DataType::Boolean,
        })
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(SqlError::unsupported("advisory locks are not possible here").into())
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Advisory {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let number = |arg: &ColumnarValue| cast(&arg.to_array(rows)?, &DataType::Int64);
        let numbers = args.args.iter().map(|arg| Ok(number(arg)?)).collect::<Result<Vec<_>>>()?;
        let mut done = Vec::with_capacity(rows);
        for row in 0..rows {
            let values = numbers.iter().map(|numbers| {
                let numbers = numbers.as_primitive::<Int64Type>();
                (!datafusion::arrow::array::Array::is_null(numbers, row))
                    .then(|| numbers.value(row))
            });
            // Nothing is done for NULL.
            let Some(values) = values.collect::<Option<Vec<i64>>>() else {
                done.push(None);
                continue;
            };
            done.push(Some(self.run(&values).await?));
        }
        Ok(ColumnarValue::Array(match self.does {
            Does::TryLock | Does::Unlock => Arc::new(BooleanArray::from(done)) as ArrayRef,
            Does::Lock | Does::UnlockAll => {
                let nothing = done.iter().map(|done| done.map(|_| ""));
                Arc::new(nothing.collect::<StringViewArray>())
            }
        }))
    }
}

impl Advisory {
    async fn run(&self, values: &[i64]) -> Result<bool, SqlError> {
        let half = |value: i64| {
            i32::try_from(value)
                .map_err(|_| SqlError::new(SqlState::NumericOutOfRange, "integer out of range"))
        };
        let (session, key) = match *values {
            [session, _, key] => (session as u64, Key::One(key)),
            [session, _, first, second, ..] => {
                (session as u64, Key::Two(half(first)?, half(second)?))
            }
            [session, ..] => (session as u64, Key::One(0)),
            [] => return Ok(false),
        };
        match self.does {
            Does::Lock => self.locks.lock(session, key, self.mode).await.map(|()| true),
            Does::TryLock => self.locks.try_lock(session, key, self.mode),
            Does::Unlock => Ok(self.locks.unlock(session, key, self.mode.is_shared)),
            Does::UnlockAll => {
                self.locks.unlock_all(session);
                Ok(true)
            }
        }
    }
}
