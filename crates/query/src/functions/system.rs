//! What clients ask about the server itself.

use super::{Asked, Call, Function, returns, returns_bigint, returns_boolean, returns_text};
use crate::error::SqlError;
use crate::values::pg_type;
use datafusion::arrow::array::{
    Array, ArrayRef, BooleanArray, Int64Array, StringViewArray, StringViewBuilder,
};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use std::sync::Arc;

pub(super) fn functions() -> Vec<Function> {
    [about_server(), about_rights(), about_objects(), about_data()].into_iter().flatten().collect()
}

/// The server and its types.
fn about_server() -> Vec<Function> {
    vec![
        Function::new("version", returns_text, |call| {
            same(call, concat!("PostgreSQL 15.0 (Thalweg ", env!("CARGO_PKG_VERSION"), ")"))
        }),
        Function::new("pg_typeof", returns_text, type_of),
        Function::new("format_type", returns_text, format_type),
        Function::new("to_regtype", returns_bigint, to_regtype),
        Function::new("pg_is_in_recovery", returns_boolean, |call| {
            Ok(Arc::new(BooleanArray::from(vec![false; call.rows])))
        })
        .alias("pg_relation_is_publishable")
        .alias("pg_is_other_temp_schema")
        .alias("pg_column_is_updatable")
        .alias("pg_is_wal_replay_paused"),
    ]
}

/// What may be seen and done: everything.
fn about_rights() -> Vec<Function> {
    vec![
        Function::new("pg_type_is_visible", returns_boolean, all_true)
            .alias("pg_operator_is_visible")
            .alias("pg_conversion_is_visible")
            .alias("pg_collation_is_visible")
            .alias("pg_ts_config_is_visible")
            .alias("pg_ts_dict_is_visible")
            .alias("pg_ts_parser_is_visible")
            .alias("pg_ts_template_is_visible")
            .alias("pg_opclass_is_visible")
            .alias("pg_opfamily_is_visible")
            .alias("pg_statistics_obj_is_visible")
            .alias("pg_function_is_visible"),
        Function::new("has_table_privilege", returns_boolean, all_true)
            .alias("has_schema_privilege")
            .alias("has_database_privilege")
            .alias("has_column_privilege")
            .alias("has_sequence_privilege")
            .alias("has_function_privilege")
            .alias("has_type_privilege")
            .alias("has_any_column_privilege")
            .alias("pg_has_role"),
        Function::new("pg_get_userbyid", returns_text, |call| same(call, "thalweg")),
    ]
}

/// What a database consists of.
fn about_objects() -> Vec<Function> {
    vec![
        // Of what there is nothing here.
        Function::new("pg_get_function_result", returns_text, nothing)
            .alias("pg_get_function_arguments")
            .alias("pg_get_function_identity_arguments")
            .alias("pg_get_functiondef")
            .alias("pg_get_function_sqlbody")
            .alias("pg_tablespace_location")
            .alias("pg_get_ruledef")
            .alias("pg_get_triggerdef")
            .alias("pg_get_partkeydef")
            .alias("pg_get_partition_constraintdef")
            .alias("pg_get_statisticsobjdef_columns")
            .alias("pg_get_function_arg_default")
            .alias("pg_last_wal_receive_lsn")
            .alias("pg_last_wal_replay_lsn")
            .alias("pg_current_wal_lsn"),
        Function::new("pg_relation_is_updatable", returns_integer_one, |call| {
            // INSERT, UPDATE and DELETE, as bits.
            Ok(Arc::new(datafusion::arrow::array::Int32Array::from(vec![28; call.rows])))
        }),
        Function::new("oidvectortypes", returns_text, vector_types),
        Function::new("pg_stat_get_numscans", returns_bigint, |call| {
            Ok(datafusion::arrow::array::new_null_array(&DataType::Int64, call.rows))
        }),
        Function::new("shobj_description", returns_text, nothing),
    ]
}

/// Encodings, identifiers, transactions and sizes.
fn about_data() -> Vec<Function> {
    vec![
        // Pools ask for it when a connection comes back; nothing here takes such locks.
        Function::new("pg_encoding_to_char", returns_text, |call| same(call, "UTF8")),
        Function::new("pg_get_expr", returns_text, first_text),
        Function::new(
            "gen_random_uuid",
            |_| Ok(pg_type::field_ref(DataType::Utf8View, "uuid")),
            random_uuid,
        )
        .volatile()
        .alias("uuid_generate_v4"),
        Function::new("txid_current", returns_bigint, |call| {
            Ok(Arc::new(Int64Array::from(vec![1; call.rows])))
        }),
        Function::new("inet_server_addr", returns_text, nothing).alias("inet_client_addr"),
        Function::new("pg_relation_size", returns_bigint, |call| {
            Ok(Arc::new(Int64Array::from(vec![0; call.rows])))
        })
        .alias("pg_total_relation_size")
        .alias("pg_table_size")
        .alias("pg_indexes_size")
        .alias("pg_database_size"),
        Function::new("pg_size_pretty", returns_text, size_pretty),
    ]
}

fn returns_integer_one(_: &Asked<'_>) -> Result<FieldRef, SqlError> {
    returns(DataType::Int32)
}

fn same(call: &Call<'_>, text: &str) -> Result<ArrayRef, SqlError> {
    Ok(Arc::new(StringViewArray::from_iter_values(std::iter::repeat_n(text, call.rows))))
}

fn all_true(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    Ok(Arc::new(BooleanArray::from(vec![true; call.rows])))
}

fn nothing(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    Ok(datafusion::arrow::array::new_null_array(&DataType::Utf8View, call.rows))
}

fn first_text(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    call.as_kind(0, &DataType::Utf8View)
}

fn type_of(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let field = call.fields.first();
    let name = field.map_or_else(
        || "unknown".to_owned(),
        |field| {
            let typed = pg_type::of_field(field);
            if field.data_type().is_null() {
                "unknown".to_owned()
            } else {
                pg_type::Typed { modifier: -1, ..typed }.sql()
            }
        },
    );
    same(call, &name)
}

fn format_type(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let (oids, modifiers) =
        (call.integers(0)?, if call.has(1) { Some(call.integers(1)?) } else { None });
    let mut out = StringViewBuilder::with_capacity(call.rows);
    for row in 0..call.rows {
        if oids.is_null(row) {
            out.append_null();
            continue;
        }
        let modifier = modifiers
            .as_ref()
            .and_then(|modifiers| modifiers.is_valid(row).then(|| modifiers.value(row)));
        let found = u32::try_from(oids.value(row)).ok().and_then(pg_type::of_oid);
        match found {
            Some(typed) => {
                let modifier =
                    modifier.and_then(|modifier| i32::try_from(modifier).ok()).unwrap_or(-1);
                out.append_value(pg_type::Typed { modifier, ..typed }.sql());
            }
            None => out.append_value("???"),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// The names of the types whose numbers a list has.
fn vector_types(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let lists = call.text_lists(0)?;
    let name = |oid: &Option<String>| {
        let found = oid.as_deref()?.parse().ok().and_then(pg_type::of_oid);
        Some(found.map_or_else(|| "???".to_owned(), |typed| typed.sql()))
    };
    let names = lists.iter().map(|list| {
        let list = list.as_ref()?;
        Some(list.iter().filter_map(name).collect::<Vec<_>>().join(", "))
    });
    Ok(Arc::new(names.collect::<StringViewArray>()))
}

fn to_regtype(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let names = call.texts(0)?;
    let find = |name: Option<&str>| name.and_then(pg_type::of_name).map(|kind| i64::from(kind.oid));
    Ok(Arc::new(names.iter().map(find).collect::<Int64Array>()))
}

fn random_uuid(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let uuid = |_: usize| {
        // Keys of the standard library's maps come from the operating system, and each pair of them
        // is used once.
        let half = || RandomState::new().build_hasher().finish();
        let (high, low) = (half(), half());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xFFFF,
            high & 0xFFF,
            (low >> 48 & 0x3FFF) | 0x8000,
            low & 0xFFFF_FFFF_FFFF,
        )
    };
    Ok(Arc::new((0..call.rows).map(|row| Some(uuid(row))).collect::<StringViewArray>()))
}

fn size_pretty(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let sizes = call.doubles(0)?;
    let mut out = StringViewBuilder::with_capacity(call.rows);
    for size in &sizes {
        let Some(mut size) = size else {
            out.append_null();
            continue;
        };
        let mut unit = "bytes";
        for next in ["kB", "MB", "GB", "TB"] {
            if size.abs() < 10_240.0 {
                break;
            }
            size /= 1_024.0;
            unit = next;
        }
        out.append_value(format!("{} {unit}", size.round()));
    }
    Ok(Arc::new(out.finish()))
}
