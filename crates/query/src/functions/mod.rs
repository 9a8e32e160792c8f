//! Functions as Postgres has them. Each has a name, a type of result for its arguments' types, and
//! code that computes columns. One struct makes all of them known to DataFusion.
//!
//! | family | what is in it |
//! |---|---|
//! | `text`, `letters` | texts as a whole; letter by letter (`translate`, `levenshtein`) |
//! | `search`, `regular` | looking for a text; regular expressions |
//! | `format`, `to_char` | `format`; numbers and times by a pattern |
//! | `math`, `time` | numbers; times, intervals, ages |
//! | `arrays`, `array_sets` | arrays; arrays compared as sets |
//! | `json`, `records` | documents; rows |
//! | `series` | functions that give rows |
//! | `system`, `advisory`, `sleep` | settings and privileges; locks; `pg_sleep` |

mod advisory;
mod array_sets;
mod arrays;
mod format;
mod json;
mod large;
mod letters;
mod limits;
mod math;
mod records;
mod regular;
mod search;
mod series;
mod sleep;
mod system;
mod text;
mod time;
mod to_char;

pub(crate) use advisory::advisory_function;
pub(crate) use large::HideLarge;
pub(crate) use limits::{Budget, bytes_of, check_value, while_planning, while_running};
pub(crate) use records::{COLLECTORS, WHOLE_ROW};
pub(crate) use series::is_set_returning;
pub(crate) use text::concatenated;

use crate::error::{SqlError, SqlState};
use crate::sql::dialect::cast_array;
use crate::tables::advisory::AdvisoryLocks;
use crate::values::moment::{Formats, Moment};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringViewArray,
    new_null_array,
};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::prelude::SessionContext;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

/// The types of arguments, and the values of those that are constant.
pub(crate) struct Asked<'a> {
    pub(crate) fields: &'a [FieldRef],
    pub(crate) constants: &'a [Option<&'a ScalarValue>],
}

impl Asked<'_> {
    pub(crate) fn kind(&self, index: usize) -> &DataType {
        self.fields.get(index).map_or(&DataType::Null, |field| field.data_type())
    }

    pub(crate) fn constant(&self, index: usize) -> Option<&ScalarValue> {
        self.constants.get(index).copied().flatten()
    }
}

/// A call over columns.
pub(crate) struct Call<'a> {
    pub(crate) args: &'a [ArrayRef],
    pub(crate) fields: &'a [FieldRef],
    pub(crate) rows: usize,
    pub(crate) returns: &'a Field,
    pub(crate) options: &'a ConfigOptions,
}

/// What a call returns, by its arguments.
pub(crate) type Returns = fn(&Asked<'_>) -> Result<FieldRef, SqlError>;
/// What a call does.
pub(crate) type Run = dyn Fn(&Call<'_>) -> Result<ArrayRef, SqlError> + Send + Sync;

/// The error for arguments that no function of a name takes.
pub(crate) fn no_function(name: &str, fields: &[FieldRef]) -> SqlError {
    let kinds: Vec<&str> =
        fields.iter().map(|field| crate::values::pg_type::of_field(field).element.sql).collect();
    SqlError::new(
        SqlState::UndefinedFunction,
        format!("function {name}({}) does not exist", kinds.join(", ")),
    )
    .hint(
        "No function matches the given name and argument types. You might need to add explicit \
           type casts.",
    )
}

pub(crate) fn returns(kind: DataType) -> Result<FieldRef, SqlError> {
    Ok(Arc::new(Field::new("value", kind, true)))
}

pub(crate) fn returns_text(_: &Asked<'_>) -> Result<FieldRef, SqlError> {
    returns(DataType::Utf8View)
}

pub(crate) fn returns_integer(_: &Asked<'_>) -> Result<FieldRef, SqlError> {
    returns(DataType::Int32)
}

pub(crate) fn returns_bigint(_: &Asked<'_>) -> Result<FieldRef, SqlError> {
    returns(DataType::Int64)
}

pub(crate) fn returns_boolean(_: &Asked<'_>) -> Result<FieldRef, SqlError> {
    returns(DataType::Boolean)
}

pub(crate) fn returns_double(_: &Asked<'_>) -> Result<FieldRef, SqlError> {
    returns(DataType::Float64)
}

/// All of its first argument's type, with what Arrow does not tell.
pub(crate) fn returns_same(asked: &Asked<'_>) -> Result<FieldRef, SqlError> {
    asked.fields.first().cloned().ok_or_else(|| no_function("a function", asked.fields))
}

/// What its first argument is.
pub(crate) fn returns_first(asked: &Asked<'_>) -> Result<FieldRef, SqlError> {
    returns(asked.kind(0).clone())
}

impl Call<'_> {
    pub(crate) fn moment(&self) -> Moment {
        let zone =
            self.options.execution.time_zone.as_deref().and_then(crate::values::moment::zone);
        let formats = self.options.extensions.get::<Formats>().copied().unwrap_or_default();
        let now_us = Some(chrono::Utc::now().timestamp_micros());
        Moment { now_us, zone: zone.unwrap_or_else(crate::values::moment::utc), formats }
    }

    pub(crate) fn arg(&self, index: usize) -> Result<&ArrayRef, SqlError> {
        self.args.get(index).ok_or_else(|| no_function("this function", self.fields))
    }

    /// Whether an argument is null in a row.
    pub(crate) fn has_null(&self, row: usize) -> bool {
        self.args.iter().any(|arg| arg.is_null(row))
    }

    pub(crate) fn has(&self, index: usize) -> bool {
        index < self.args.len()
    }

    pub(crate) fn as_kind(&self, index: usize, kind: &DataType) -> Result<ArrayRef, SqlError> {
        let array = self.arg(index)?;
        if array.data_type() == kind {
            return Ok(array.clone());
        }
        cast_array(array, &Field::new("", kind.clone(), true), &self.moment())
    }

    pub(crate) fn texts(&self, index: usize) -> Result<StringViewArray, SqlError> {
        Ok(self.as_kind(index, &DataType::Utf8View)?.as_string_view().clone())
    }

    pub(crate) fn integers(&self, index: usize) -> Result<Int64Array, SqlError> {
        Ok(self.as_kind(index, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
    }

    pub(crate) fn doubles(&self, index: usize) -> Result<Float64Array, SqlError> {
        Ok(self.as_kind(index, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
    }

    pub(crate) fn booleans(&self, index: usize) -> Result<BooleanArray, SqlError> {
        Ok(self.as_kind(index, &DataType::Boolean)?.as_boolean().clone())
    }

    /// The elements of the lists of texts in a column, by row.
    pub(crate) fn text_lists(
        &self,
        index: usize,
    ) -> Result<Vec<Option<Vec<Option<String>>>>, SqlError> {
        let lists = self.as_kind(index, &DataType::new_list(DataType::Utf8View, true))?;
        let lists = lists.as_list::<i32>();
        let list = |row: usize| {
            lists.is_valid(row).then(|| {
                let values = lists.value(row);
                let values = values.as_string_view().iter().map(|text| text.map(str::to_owned));
                values.collect::<Vec<_>>()
            })
        };
        Ok((0..lists.len()).map(list).collect())
    }
}

/// A function as DataFusion knows it.
#[derive(Clone)]
pub(crate) struct Function {
    name: &'static str,
    aliases: Vec<String>,
    returns: Returns,
    run: Arc<Run>,
    signature: Signature,
}

impl Function {
    pub(crate) fn new(
        name: &'static str,
        returns: Returns,
        run: impl Fn(&Call<'_>) -> Result<ArrayRef, SqlError> + Send + Sync + 'static,
    ) -> Self {
        let signature = Signature::user_defined(Volatility::Immutable);
        Self { name, aliases: Vec::new(), returns, run: Arc::new(run), signature }
    }

    pub(crate) fn alias(mut self, alias: &str) -> Self {
        self.aliases.push(alias.to_owned());
        self
    }

    /// Its value depends on the session, but not on the row.
    pub(crate) fn stable(self) -> Self {
        Self { signature: Signature::user_defined(Volatility::Stable), ..self }
    }

    pub(crate) fn volatile(self) -> Self {
        Self { signature: Signature::user_defined(Volatility::Volatile), ..self }
    }

    pub(crate) fn udf(self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::from(self))
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
impl Eq for Function {}
impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        let fields: Vec<FieldRef> =
            types.iter().map(|kind| Arc::new(Field::new("", kind.clone(), true))).collect();
        let constants = vec![None; fields.len()];
        let asked = Asked { fields: &fields, constants: &constants };
        Ok((self.returns)(&asked)?.data_type().clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let asked = Asked { fields: args.arg_fields, constants: args.scalar_arguments };
        let field = (self.returns)(&asked)?;
        Ok(Arc::new(field.as_ref().clone().with_name(self.name)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let is_volatile = self.signature.volatility == Volatility::Volatile;
        let values: Option<Vec<ColumnarValue>> = match is_volatile {
            true => None,
            false => args.args.iter().map(large::constant).collect(),
        };
        let constant = values.is_some();
        let values = values.unwrap_or_else(|| args.args.clone());
        crate::sql::stop::check()?;
        limits::check_arguments(&values)?;
        let rows = if constant { 1 } else { args.number_rows };
        // A column of nulls without a type has no marks for them: as texts it has.
        let marked = |array: ArrayRef| match array.data_type().is_null() {
            true => new_null_array(&DataType::Utf8View, array.len()),
            false => array,
        };
        let arrays = values.iter().map(|arg| Ok(marked(arg.to_array(rows)?)));
        let arrays = arrays.collect::<DfResult<Vec<_>>>()?;
        let call = Call {
            args: &arrays,
            fields: &args.arg_fields,
            rows,
            returns: &args.return_field,
            options: &args.config_options,
        };
        let result = (self.run)(&call)?;
        limits::check_planned(result.get_array_memory_size())?;
        if constant && large::is_large(&result) {
            return Ok(ColumnarValue::Array(large::repeated(&result, args.number_rows)?));
        }
        if constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

/// The functions of a database that need nothing of it.
fn own() -> impl Iterator<Item = Function> {
    let families = [
        array_sets::functions(),
        arrays::functions(),
        format::functions(),
        json::functions(),
        letters::functions(),
        math::functions(),
        records::functions(),
        regular::functions(),
        search::functions(),
        system::functions(),
        text::functions(),
        time::functions(),
        to_char::functions(),
    ];
    families.into_iter().flatten()
}

/// The first names of functions by their other names.
static FIRST_NAMES: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    let mut names = HashMap::new();
    for function in SessionStateDefaults::default_scalar_functions() {
        let others = function.aliases().iter();
        names.extend(others.map(|other| (other.clone(), function.name().to_owned())));
    }
    for function in own() {
        names.remove(function.name);
        let others = function.aliases.iter();
        names.extend(others.map(|other| (other.clone(), function.name.to_owned())));
    }
    names
});

/// The first name of a function, where this is another one. A call under another name gets a name
/// of its own from the library's planner, with all arguments in it: twice as long for each level
/// where one stands in the other.
pub(crate) fn first_name(name: &str) -> Option<&'static str> {
    FIRST_NAMES.get(name).map(String::as_str)
}

/// Lets queries use all functions.
pub(crate) fn register(context: &SessionContext, locks: &Arc<AdvisoryLocks>) {
    for function in crate::sql::dialect::naming_functions() {
        context.register_udf(function.udf().as_ref().clone());
    }
    context.register_udf(sleep::pg_sleep());
    for function in advisory::functions(locks) {
        context.register_udf(function);
    }
    for function in own() {
        // Another function of the name would come back under its other names.
        let names =
            std::iter::once(function.name.to_owned()).chain(function.aliases.iter().cloned());
        for name in names {
            let state = context.state();
            let keys = state.scalar_functions().iter();
            let keys = keys.filter(|(key, other)| **key == name || other.name() == name);
            let keys: Vec<String> = keys.map(|(key, _)| key.clone()).collect();
            keys.iter().for_each(|key| context.deregister_udf(key));
        }
        context.register_udf(function.udf().as_ref().clone());
    }
    series::register(context);
}
