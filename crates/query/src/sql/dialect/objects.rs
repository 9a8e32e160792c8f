//! `regtype`, `regproc` and their like: numbers of objects in the catalog, which are shown as
//! names.

use crate::catalog::postgres::{
    NAME_OF_OID, name_of_schema, number_of_schema, proc_name, proc_number,
};
use crate::error::{SqlError, SqlState};
use crate::functions::{Call, Function, returns_text};
use crate::values::pg_type;
use datafusion::arrow::array::{ArrayRef, Int64Array, StringViewArray};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{Column, Result};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ScalarUDF, ScalarUDFImpl};
use std::sync::Arc;

/// Types whose values are numbers of objects, and the functions that name them.
const OBJECTS: [(&str, &str); 5] = [
    ("regclass", NAME_OF_OID),
    ("regproc", "thalweg_proc_name"),
    ("regtype", "thalweg_type_name"),
    ("regnamespace", "thalweg_schema_name"),
    ("regrole", "thalweg_role_name"),
];

/// The one role there is.
const ROLE: (i64, &str) = (10, "thalweg");

/// The functions that name objects whose names never change.
pub(crate) fn naming_functions() -> Vec<Function> {
    let named = |function: &'static str, kind: &'static str| {
        Function::new(function, returns_text, move |call| names(call, kind))
    };
    let fixed = OBJECTS.iter().filter(|(kind, _)| *kind != "regclass");
    fixed.map(|(kind, function)| named(function, kind)).collect()
}

fn names(call: &Call<'_>, kind: &str) -> Result<ArrayRef, SqlError> {
    let numbers = call.integers(0)?;
    Ok(Arc::new(
        numbers.iter().map(|number| Some(name(kind, number?))).collect::<StringViewArray>(),
    ))
}

/// The name of an object; its number where it has none.
fn name(kind: &str, number: i64) -> String {
    let found = match kind {
        _ if number == 0 => Some("-".to_owned()),
        "regtype" => u32::try_from(number).ok().and_then(pg_type::of_oid).map(pg_type::Typed::sql),
        "regproc" => proc_name(number),
        "regnamespace" => name_of_schema(number).map(str::to_owned),
        _ => (number == ROLE.0).then(|| ROLE.1.to_owned()),
    };
    found.unwrap_or_else(|| number.to_string())
}

/// The numbers of objects that are named; nothing where the type is none of these.
pub(super) fn numbers(names: &StringViewArray, to: &Field) -> Result<Option<ArrayRef>, SqlError> {
    let Some(kind) = kind_of(to).filter(|kind| *kind != "regclass") else { return Ok(None) };
    let numbers = names.iter().map(|name| name.map(|name| number(kind, name)).transpose());
    Ok(Some(Arc::new(numbers.collect::<Result<Int64Array, SqlError>>()?)))
}

/// The number of one object that is named; nothing where the type is none of these.
pub(crate) fn number_of_object(name: &str, to: &Field) -> Result<Option<i64>, SqlError> {
    let kind = kind_of(to).filter(|kind| *kind != "regclass");
    kind.map(|kind| number(kind, name)).transpose()
}

fn number(kind: &str, name: &str) -> Result<i64, SqlError> {
    let plain = match name.trim().rsplit_once('.') {
        Some((schema, name)) if matches!(schema.trim_matches('"'), "pg_catalog" | "public") => name,
        _ => name.trim(),
    };
    let plain = plain.trim_matches('"');
    if plain == "-" {
        return Ok(0);
    }
    if let Ok(number) = plain.parse() {
        return Ok(number);
    }
    let found = match kind {
        "regtype" => type_number(plain),
        "regproc" => proc_number(plain),
        "regnamespace" => number_of_schema(plain),
        _ => (plain == ROLE.1).then_some(ROLE.0),
    };
    found.ok_or_else(|| {
        let (state, what) = match kind {
            "regtype" => (SqlState::UndefinedObject, "type"),
            "regproc" => (SqlState::UndefinedFunction, "function"),
            "regnamespace" => (SqlState::InvalidSchemaName, "schema"),
            _ => (SqlState::UndefinedObject, "role"),
        };
        SqlError::new(state, format!("{what} \"{plain}\" does not exist"))
    })
}

fn type_number(name: &str) -> Option<i64> {
    let (element, is_array) = match name.strip_suffix("[]") {
        Some(element) => (element, true),
        // Postgres' name of an array begins with a line.
        None => name.strip_prefix('_').map_or((name, false), |element| (element, true)),
    };
    let found = pg_type::of_name(&element.to_lowercase())?;
    Some(i64::from(if is_array { found.array_oid } else { found.oid }))
}

/// Which of these types a field is of.
pub(super) fn kind_of(field: &Field) -> Option<&'static str> {
    if *field.data_type() != DataType::Int64 {
        return None;
    }
    let declared = pg_type::declared(field)?;
    OBJECTS.iter().map(|(kind, _)| *kind).find(|kind| *kind == declared)
}

/// A plan whose columns show the names of objects, as Postgres shows them to clients.
pub(crate) fn show_names(plan: LogicalPlan, state: &SessionState) -> Result<LogicalPlan> {
    let is_query = !matches!(
        plan,
        LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
    );
    if !is_query || !plan.schema().fields().iter().any(|field| kind_of(field).is_some()) {
        return Ok(plan);
    }
    let mut columns = Vec::new();
    for (qualifier, field) in plan.schema().iter() {
        let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        let function = kind_of(field)
            .and_then(|kind| OBJECTS.iter().find(|(other, _)| *other == kind))
            .map(|(_, function)| state.udf(function))
            .transpose()?;
        columns.push(match function {
            Some(function) => {
                function.call(vec![column]).alias_qualified(qualifier.cloned(), field.name())
            }
            None => column,
        });
    }
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// The function that names what a field's numbers stand for.
pub(super) fn naming(field: &Field, relations: Option<&Arc<ScalarUDF>>) -> Option<Arc<ScalarUDF>> {
    let kind = kind_of(field)?;
    if kind == "regclass" {
        return relations.cloned();
    }
    let function =
        OBJECTS.iter().find(|(other, _)| *other == kind).map(|(_, function)| *function)?;
    let all = naming_functions();
    all.into_iter().find(|other| other.name() == function).map(Function::udf)
}
