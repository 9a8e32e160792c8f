//! Types by their names in SQL.

use crate::error::{SqlError, SqlState};
use crate::sql::dialect::Grammar;
use crate::values::pg_type::{self, PgType, Typed};
use crate::values::types::{Column, ColumnType, Element};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{ArrayElemTypeDef, DataType as SqlType, Ident, ObjectName};
use datafusion::sql::sqlparser::parser::Parser;
use std::sync::Arc;

/// Plans types: Postgres' meaning before DataFusion's.
#[derive(Debug)]
pub(crate) struct Types;

/// The name by which a rewritten statement asks for `numeric` as a column keeps it.
const NUMERIC_AS_WRITTEN: &str = "numeric_as_written";

/// Types that only the catalog's queries name: numbers that stand for objects.
fn of_catalog(sql: &SqlType) -> Option<Field> {
    let SqlType::Custom(name, _) = sql else { return of_regclass(sql) };
    let name = name.to_string().to_ascii_lowercase();
    let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
    let declared = match name.trim_matches('"') {
        kind @ ("oid" | "regproc" | "regclass" | "regtype" | "regnamespace" | "regrole") => {
            return Some(pg_type::field_of("", DataType::Int64, kind, true));
        }
        "name" => "name",
        NUMERIC_AS_WRITTEN => "numeric",
        "char" => "text",
        "xid" | "xid8" | "cid" => return Some(Field::new("", DataType::Int64, true)),
        "oidvector" => return field_of_oid(pg_type::OIDVECTOR.oid),
        "int2vector" => return field_of_oid(pg_type::INT2VECTOR.oid),
        _ => return None,
    };
    Some(pg_type::field_of("", DataType::Utf8View, declared, true))
}

/// The field of `oid` and `oid[]`.
pub(super) fn numbers_of_objects(sql: &SqlType) -> Option<Field> {
    let name = sql.to_string().to_ascii_lowercase();
    let oid = match name.strip_prefix("pg_catalog.").unwrap_or(&name) {
        "oid" => pg_type::OID.oid,
        "oid[]" => pg_type::OID.array_oid,
        _ => return None,
    };
    field_of_oid(oid)
}

fn of_regclass(sql: &SqlType) -> Option<Field> {
    let field = || pg_type::field_of("", DataType::Int64, "regclass", true);
    matches!(sql, SqlType::Regclass).then(field)
}

impl TypePlanner for Types {
    fn plan_type_field(&self, sql: &SqlType) -> Result<Option<FieldRef>> {
        if let SqlType::Array(
            ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::AngleBracket(element),
        ) = sql
        {
            let element = self.plan_type_field(element)?;
            return Ok(element.map(|element| {
                let list = DataType::List(Arc::new(element.as_ref().clone().with_name("item")));
                Arc::new(Field::new("", list, true))
            }));
        }
        if let Some(field) = of_catalog(sql) {
            return Ok(Some(Arc::new(field)));
        }
        match ColumnType::of_sql(sql) {
            // Digits that are not declared are as many as a computation may need.
            Ok(ColumnType::Numeric) => Ok(Some(Arc::new(Field::new("", unsized_numeric(), true)))),
            Ok(ColumnType::NumericTo(precision, scale)) => {
                Ok(Some(Arc::new(Field::new("", computed(precision, scale)?, true))))
            }
            Ok(kind) => Ok(Some(Arc::new(kind.field("", true)))),
            Err(error) if error.state == SqlState::UndefinedObject => match sql {
                // Types that Postgres does not have stay DataFusion's.
                SqlType::Custom(..) => Err(error.into()),
                _ => Ok(None),
            },
            Err(error) => Err(error.into()),
        }
    }
}

/// What a numeric of many digits is computed with.
fn computed(precision: u16, scale: u16) -> std::result::Result<DataType, SqlError> {
    match (u8::try_from(precision.min(76)), i8::try_from(scale)) {
        (Ok(precision), Ok(scale)) if scale <= 76 => Ok(DataType::Decimal256(precision, scale)),
        _ => Err(SqlError::unsupported(format!(
            "numeric({precision},{scale}): computations have at most 76 digits"
        ))),
    }
}

/// What `numeric` without digits is computed with.
pub(super) fn unsized_numeric() -> DataType {
    DataType::Decimal256(76, 30)
}

/// A column's type as what is put into it is cast to: lengths are looked at when it is written.
pub(crate) fn assignable(column: &Column) -> Field {
    match column.kind {
        ColumnType::Varchar(_) | ColumnType::Char(_) => Field::new("", DataType::Utf8View, true),
        kind => kind.field("", true),
    }
}

/// The same as a type of SQL.
pub(crate) fn assignable_sql(column: &Column) -> SqlType {
    let text = match column.kind {
        ColumnType::Varchar(_) | ColumnType::Char(_) => "TEXT".to_owned(),
        // Kept with the digits that it is written with.
        ColumnType::Numeric | ColumnType::NumericTo(..) => {
            let name = ObjectName::from(vec![Ident::new(NUMERIC_AS_WRITTEN)]);
            return SqlType::Custom(name, Vec::new());
        }
        kind => kind.name(),
    };
    let dialect = Grammar::default();
    let parsed =
        Parser::new(&dialect).try_with_sql(&text).and_then(|mut parser| parser.parse_data_type());
    parsed.unwrap_or(SqlType::Text)
}

/// A field of a type by its number in `pg_type`.
pub(crate) fn field_of_oid(oid: u32) -> Option<Field> {
    let typed = pg_type::of_oid(oid)?;
    let element = scalar_field(typed.element)?;
    if !typed.is_array {
        return Some(element);
    }
    let list = DataType::List(Arc::new(element.with_name("item")));
    Some(Field::new("", list, true))
}

fn scalar_field(kind: &PgType) -> Option<Field> {
    let vector = |element| Some(Field::new("", pg_type::vector(scalar_field(element)?), true));
    let column = match kind.name {
        "int2vector" => return vector(&pg_type::INT2),
        "oidvector" => return vector(&pg_type::OID),
        "bool" => ColumnType::Boolean,
        "bytea" => ColumnType::Bytea,
        "int8" => ColumnType::Bigint,
        "int2" => ColumnType::Smallint,
        "int4" => ColumnType::Integer,
        "text" | "varchar" | "bpchar" | "name" | "unknown" | "char" => ColumnType::Text,
        "json" => ColumnType::Json,
        "jsonb" => ColumnType::Jsonb,
        "float4" => ColumnType::Real,
        "float8" => ColumnType::Double,
        "date" => ColumnType::Date,
        "time" => ColumnType::Time,
        "timestamp" => ColumnType::Timestamp,
        "timestamptz" => ColumnType::Timestamptz,
        "interval" => ColumnType::Interval,
        "numeric" => ColumnType::Numeric,
        "uuid" => ColumnType::Uuid,
        number @ ("oid" | "regclass" | "regtype" | "regproc" | "regnamespace" | "regrole") => {
            return Some(pg_type::field_of("", DataType::Int64, number, true));
        }
        _ => return None,
    };
    Some(column.field("", true))
}

/// The column type that holds what a query gives.
pub(crate) fn column_type(typed: Typed) -> std::result::Result<ColumnType, SqlError> {
    let field = scalar_field(typed.element);
    let unsupported =
        || SqlError::unsupported(format!("a column of type {} is not supported", typed.sql()));
    let modifier = u32::try_from(typed.modifier - 4).ok();
    let scalar = match (typed.element.name, modifier) {
        ("numeric", Some(modifier)) => {
            let (precision, scale) = (modifier >> 16, modifier & 0x7FF);
            match precision {
                1..=38 => ColumnType::Decimal(precision as u8, scale as i8),
                39..=1_000 => ColumnType::NumericTo(precision as u16, scale as u16),
                _ => ColumnType::Numeric,
            }
        }
        ("varchar", Some(length)) => ColumnType::Varchar(length),
        ("bpchar", Some(length)) => ColumnType::Char(length),
        _ => {
            let field = field.ok_or_else(unsupported)?;
            of_field(&field).ok_or_else(unsupported)?
        }
    };
    if !typed.is_array {
        return Ok(scalar);
    }
    Element::of(scalar).map(ColumnType::Array).ok_or_else(unsupported)
}

fn of_field(field: &Field) -> Option<ColumnType> {
    Some(match (field.data_type(), pg_type::declared(field)) {
        (_, Some("json")) => ColumnType::Json,
        (_, Some("jsonb")) => ColumnType::Jsonb,
        (_, Some("uuid")) => ColumnType::Uuid,
        (_, Some("numeric")) => ColumnType::Numeric,
        (DataType::Boolean, _) => ColumnType::Boolean,
        (DataType::Int16, _) => ColumnType::Smallint,
        (DataType::Int32, _) => ColumnType::Integer,
        (DataType::Int64, _) => ColumnType::Bigint,
        (DataType::Float32, _) => ColumnType::Real,
        (DataType::Float64, _) => ColumnType::Double,
        (DataType::Utf8View, _) => ColumnType::Text,
        (DataType::BinaryView, _) => ColumnType::Bytea,
        (DataType::Date32, _) => ColumnType::Date,
        (DataType::Time64(_), _) => ColumnType::Time,
        (DataType::Timestamp(_, None), _) => ColumnType::Timestamp,
        (DataType::Timestamp(_, Some(_)), _) => ColumnType::Timestamptz,
        (DataType::Interval(_), _) => ColumnType::Interval,
        _ => return None,
    })
}
