//! Functions that look into the catalog.

use super::backends;
use super::constraints::{Constraint, constraints};
use super::relations::{PG_CATALOG, PUBLIC, Relation, find, relations};
use super::rows::query_of;
use crate::catalog::{Definition, Overlay};
use crate::database::Inner;
use crate::error::{SqlError, SqlState};
use crate::functions::{Asked, Call, Function, returns_boolean, returns_text};
use crate::values::pg_type;
use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Int64Array, StringViewArray, StringViewBuilder,
};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionContext;
use std::sync::{Arc, Weak};

/// The number of a relation that a text names: what `'name'::regclass` is where the name is not
/// written out.
pub(crate) const OID_OF_NAME: &str = "thalweg_regclass";
/// The name of a relation: what `oid::regclass::text` is.
pub(crate) const NAME_OF_OID: &str = "thalweg_relation_name";

/// A function that gets the relations as they are when it is called.
fn told(
    inner: &Weak<Inner>,
    tell: fn(&[Relation], &Call<'_>) -> Result<ArrayRef, SqlError>,
) -> impl Fn(&Call<'_>) -> Result<ArrayRef, SqlError> + Send + Sync + 'static {
    let inner = inner.clone();
    move |call: &Call<'_>| {
        let inner = inner.upgrade().ok_or(thalweg_node::EngineError::ShuttingDown)?;
        tell(&relations(&inner, &Overlay::new()), call)
    }
}

/// The function that names the relation of a number.
pub(crate) fn relation_name(inner: &Weak<Inner>) -> Arc<ScalarUDF> {
    Function::new(NAME_OF_OID, returns_text, told(inner, name_of_oid)).stable().udf()
}

fn returns_regclass(_: &Asked<'_>) -> Result<FieldRef, SqlError> {
    Ok(pg_type::field_ref(DataType::Int64, "regclass"))
}

/// Makes the functions known.
pub(crate) fn register(context: &SessionContext, inner: &Weak<Inner>) {
    context.register_udf(relation_name(inner).as_ref().clone());
    let functions = [
        Function::new(OID_OF_NAME, returns_regclass, told(inner, oid_of_name)),
        Function::new("to_regclass", returns_regclass, told(inner, to_regclass)),
        Function::new("pg_get_constraintdef", returns_text, told(inner, constraint_definition)),
        Function::new("pg_get_indexdef", returns_text, told(inner, index_definition)),
        Function::new("pg_get_viewdef", returns_text, told(inner, view_definition)),
        Function::new("pg_get_serial_sequence", returns_text, told(inner, serial_sequence)),
        Function::new("obj_description", returns_text, told(inner, description)),
        Function::new("col_description", returns_text, told(inner, description)),
        Function::new("pg_table_is_visible", returns_boolean, told(inner, is_visible)),
    ];
    let functions = functions.into_iter().map(Function::stable);
    for function in functions.chain(backends::functions(inner)) {
        context.register_udf(function.udf().as_ref().clone());
    }
}

/// What people say about a relation, or, by its number, about a column of it.
fn description(relations: &[Relation], call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let numbers = match call.has(1) && call.arg(1)?.data_type().is_integer() {
        true => Some(call.integers(1)?),
        false => None,
    };
    let oids = call.integers(0)?;
    let mut out = StringViewBuilder::with_capacity(call.rows);
    for (row, oid) in oids.iter().enumerate() {
        let number = numbers.as_ref().map_or(0, |numbers| numbers.value(row));
        let relation = oid.and_then(|oid| by_oid(relations, oid));
        let number = usize::try_from(number).ok();
        out.append_option(
            relation.zip(number).and_then(|(relation, number)| relation.comment(number)),
        );
    }
    Ok(Arc::new(out.finish()))
}

fn is_number(call: &Call<'_>) -> bool {
    call.args.first().is_some_and(|arg| arg.data_type().is_integer())
}

fn undefined(name: &str) -> SqlError {
    SqlError::new(SqlState::UndefinedTable, format!("relation \"{name}\" does not exist"))
}

/// Texts for numbers.
fn texts(call: &Call<'_>, text_of: impl Fn(i64) -> Option<String>) -> Result<ArrayRef, SqlError> {
    let oids = call.integers(0)?;
    let mut out = StringViewBuilder::with_capacity(oids.len());
    for oid in &oids {
        out.append_option(oid.and_then(&text_of));
    }
    Ok(Arc::new(out.finish()))
}

fn by_oid(relations: &[Relation], oid: i64) -> Option<&Relation> {
    relations.iter().find(|relation| i64::from(relation.oid) == oid)
}

fn oid_of_name(relations: &[Relation], call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    if is_number(call) {
        return Ok(Arc::new(call.integers(0)?));
    }
    let names = call.texts(0)?;
    let oids = names.iter().map(|name| {
        let Some(name) = name else { return Ok(None) };
        let found = find(relations, name).map(|relation| i64::from(relation.oid));
        // A number stands for itself.
        found.or_else(|| name.parse().ok()).map(Some).ok_or_else(|| undefined(name))
    });
    Ok(Arc::new(oids.collect::<Result<Int64Array, SqlError>>()?))
}

fn to_regclass(relations: &[Relation], call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let names = call.texts(0)?;
    let oid = |name: Option<&str>| Some(i64::from(find(relations, name?)?.oid));
    Ok(Arc::new(names.iter().map(oid).collect::<Int64Array>()))
}

fn name_of_oid(relations: &[Relation], call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    if !is_number(call) {
        return Ok(Arc::new(call.texts(0)?));
    }
    texts(call, |oid| {
        let name = by_oid(relations, oid).map(|relation| quoted(&relation.name));
        Some(name.unwrap_or_else(|| oid.to_string()))
    })
}

/// A name as it is written in SQL.
pub(super) fn quoted(name: &str) -> String {
    let is_plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name
            .chars()
            .all(|part| part.is_ascii_lowercase() || part.is_ascii_digit() || part == '_');
    if is_plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn constraint_definition(relations: &[Relation], call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let all = constraints(relations);
    texts(call, |oid| {
        let found = all.iter().find(|constraint| i64::from(constraint.oid) == oid);
        found.map(Constraint::definition)
    })
}

fn index_definition(relations: &[Relation], call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let places = if call.has(1) { Some(call.integers(1)?) } else { None };
    let place = places.as_ref().and_then(|places| places.iter().next().flatten()).unwrap_or(0);
    texts(call, |oid| {
        let relation = by_oid(relations, oid)?;
        let index = relation.index.as_ref()?;
        let mut names = index.columns.iter().map(|(_, name)| quoted(name));
        if place > 0 {
            return Some(names.nth(usize::try_from(place - 1).ok()?).unwrap_or_default());
        }
        Some(index.definition(&relation.name))
    })
}

fn view_definition(relations: &[Relation], call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let text = |relation: &Relation| Some(format!("{};", query_of(relation)?));
    if is_number(call) {
        return texts(call, |oid| text(by_oid(relations, oid)?));
    }
    let names = call.texts(0)?;
    let text_of = |name: Option<&str>| text(find(relations, name?)?);
    Ok(Arc::new(names.iter().map(text_of).collect::<StringViewArray>()))
}

fn serial_sequence(relations: &[Relation], call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (tables, columns) = (call.texts(0)?, call.texts(1)?);
    let mut out = StringViewBuilder::with_capacity(call.rows);
    for (table, column) in tables.iter().zip(columns.iter()) {
        let (Some(table), Some(column)) = (table, column) else {
            out.append_null();
            continue;
        };
        let found = find(relations, table).ok_or_else(|| undefined(table))?;
        let owned = |relation: &&Relation| match relation.definition.as_deref() {
            Some(Definition::Sequence(sequence)) => sequence.is_of(&found.name, column),
            _ => false,
        };
        let sequence = relations.iter().find(owned);
        out.append_option(sequence.map(|sequence| format!("public.{}", quoted(&sequence.name))));
    }
    Ok(Arc::new(out.finish()))
}

fn is_visible(relations: &[Relation], call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let visible = |oid: Option<i64>| {
        // What only one session sees, and the library's tables, are not among these.
        let schema = by_oid(relations, oid?).map_or(PUBLIC, |relation| relation.schema);
        Some(matches!(schema, PUBLIC | PG_CATALOG))
    };
    Ok(Arc::new(call.integers(0)?.iter().map(visible).collect::<BooleanArray>()))
}
