//! What has been declared, as Postgres tells of it: relations with numbers, indexes, constraints.

use super::functions::quoted;
use crate::catalog::{Definition, Overlay, TableDefinition};
use crate::database::Inner;
use crate::sql::session::sequence_name;
use crate::tables::system;
use crate::values::pg_type::{self, Typed};
use crate::values::types::{Column, Identity};
use datafusion::arrow::datatypes::Schema;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Numbers below are Postgres' own.
const FIRST_OID: u32 = 16_384;
/// Schemas, as everywhere in Postgres.
pub(super) const PG_CATALOG: u32 = 11;
pub(super) const PUBLIC: u32 = 2_200;
/// Those that Postgres numbers differently from version to version.
pub(super) const INFORMATION_SCHEMA: u32 = 13_000;
pub(super) const SYS: u32 = 13_001;
/// The schemas there are.
pub(super) const SCHEMAS: [(u32, &str); 4] = [
    (PG_CATALOG, "pg_catalog"),
    (PUBLIC, "public"),
    (INFORMATION_SCHEMA, "information_schema"),
    (SYS, "sys"),
];
/// The name of a schema's number.
pub(crate) fn name_of_schema(number: i64) -> Option<&'static str> {
    SCHEMAS.iter().find(|(oid, _)| i64::from(*oid) == number).map(|(_, name)| *name)
}

/// The number of a schema.
pub(crate) fn number_of_schema(wanted: &str) -> Option<i64> {
    SCHEMAS.iter().find(|(_, name)| *name == wanted).map(|(oid, _)| i64::from(*oid))
}

/// Relations of Postgres' own catalog that others name by their numbers.
const OWN: [(u32, &str); 52] = [
    (826, "pg_default_acl"),
    (1_213, "pg_tablespace"),
    (1_214, "pg_shdepend"),
    (1_247, "pg_type"),
    (1_249, "pg_attribute"),
    (1_255, "pg_proc"),
    (1_259, "pg_class"),
    (1_260, "pg_authid"),
    (1_261, "pg_auth_members"),
    (1_262, "pg_database"),
    (1_417, "pg_foreign_server"),
    (1_418, "pg_user_mapping"),
    (2_224, "pg_sequence"),
    (2_328, "pg_foreign_data_wrapper"),
    (2_396, "pg_shdescription"),
    (2_600, "pg_aggregate"),
    (2_601, "pg_am"),
    (2_602, "pg_amop"),
    (2_603, "pg_amproc"),
    (2_604, "pg_attrdef"),
    (2_605, "pg_cast"),
    (2_606, "pg_constraint"),
    (2_607, "pg_conversion"),
    (2_608, "pg_depend"),
    (2_609, "pg_description"),
    (2_610, "pg_index"),
    (2_611, "pg_inherits"),
    (2_612, "pg_language"),
    (2_615, "pg_namespace"),
    (2_616, "pg_opclass"),
    (2_617, "pg_operator"),
    (2_618, "pg_rewrite"),
    (2_620, "pg_trigger"),
    (2_753, "pg_opfamily"),
    (2_964, "pg_db_role_setting"),
    (3_079, "pg_extension"),
    (3_118, "pg_foreign_table"),
    (3_256, "pg_policy"),
    (3_350, "pg_partitioned_table"),
    (3_381, "pg_statistic_ext"),
    (3_456, "pg_collation"),
    (3_466, "pg_event_trigger"),
    (3_501, "pg_enum"),
    (3_541, "pg_range"),
    (3_596, "pg_seclabel"),
    (3_600, "pg_ts_dict"),
    (3_601, "pg_ts_parser"),
    (3_602, "pg_ts_config"),
    (3_764, "pg_ts_template"),
    (6_100, "pg_subscription"),
    (6_104, "pg_publication"),
    (6_106, "pg_publication_rel"),
];

/// What a relation is, by the letter that `pg_class` has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Table,
    View,
    MaterializedView,
    External,
    Sequence,
    Index,
}

impl Kind {
    pub(super) fn letter(self) -> char {
        match self {
            Self::Table => 'r',
            Self::View => 'v',
            Self::MaterializedView => 'm',
            Self::External => 'f',
            Self::Sequence => 'S',
            Self::Index => 'i',
        }
    }
}

/// An index, which a primary key or a unique constraint has.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    /// The table's number.
    pub(super) table: u32,
    pub(super) table_name: String,
    /// Its columns, by their numbers from 1 on, and names.
    pub(super) columns: Vec<(usize, String)>,
    pub(super) is_primary: bool,
    /// Made by CREATE UNIQUE INDEX: there is no constraint.
    pub(super) is_plain: bool,
}

impl Index {
    /// As SQL.
    pub(super) fn definition(&self, name: &str) -> String {
        let columns: Vec<String> = self.columns.iter().map(|(_, name)| quoted(name)).collect();
        let (name, table, columns) = (quoted(name), quoted(&self.table_name), columns.join(", "));
        format!("CREATE UNIQUE INDEX {name} ON public.{table} USING btree ({columns})")
    }
}

/// A relation.
#[derive(Clone, Debug)]
pub(crate) struct Relation {
    pub(crate) oid: u32,
    pub(crate) name: String,
    pub(super) schema: u32,
    pub(super) kind: Kind,
    pub(super) is_temporary: bool,
    pub(super) definition: Option<Arc<Definition>>,
    pub(super) index: Option<Index>,
}

/// A column.
#[derive(Clone, Debug)]
pub(super) struct Attribute {
    pub(super) name: String,
    pub(super) typed: Typed,
    pub(super) is_required: bool,
    /// As SQL.
    pub(super) default: Option<String>,
    /// `a`, `d`, or nothing.
    pub(super) identity: &'static str,
}

impl Relation {
    /// The number of the type that its rows have; 0 where it has no rows.
    pub(super) fn row_type(&self) -> u32 {
        match self.kind {
            Kind::Sequence | Kind::Index => 0,
            _ => number_of("row", &format!("{}.{}", self.schema, self.name)),
        }
    }

    /// What people say about it, or about a column of it by its number, from 1.
    pub(super) fn comment(&self, number: usize) -> Option<&str> {
        let Definition::Table(table) = self.definition.as_deref()? else { return None };
        match number.checked_sub(1) {
            None => table.comment.as_deref(),
            Some(at) => table.columns.get(at)?.comment.as_deref(),
        }
    }
}

/// A number for a name that stays the same for ever: a hash of it.
pub(super) fn number_of(kind: &str, name: &str) -> u32 {
    let hash = xxhash_rust::xxh3::xxh3_64_with_seed(name.as_bytes(), kind.len() as u64);
    FIRST_OID + (hash % u64::from(i32::MAX as u32 - 2 * FIRST_OID)) as u32
}

/// Gives numbers; of two names with one hash, the second in the alphabet gets the next number.
#[derive(Default)]
struct Numbers(HashSet<u32>);

impl Numbers {
    fn give(&mut self, name: &str) -> u32 {
        let mut number = number_of("", name);
        while !self.0.insert(number) {
            number += 1;
        }
        number
    }
}

/// All relations, as a session sees them.
pub(crate) fn relations(inner: &Inner, overlay: &Overlay) -> Vec<Relation> {
    let mut declared: BTreeMap<String, Arc<Definition>> =
        inner.catalog.list().into_iter().collect();
    for (name, own) in overlay {
        match own {
            Some(own) => declared.insert(name.clone(), own.clone()),
            None => declared.remove(name),
        };
    }
    let mut numbers = Numbers::default();
    let mut found = Vec::new();
    let mut add = |name: &str, schema, kind, definition: Option<Arc<Definition>>, index| {
        let is_temporary =
            matches!(definition.as_deref(), Some(Definition::Table(table)) if table.temporary);
        let oid = numbers.give(&format!("{schema}.{name}"));
        let name = name.to_owned();
        found.push(Relation { oid, name, schema, kind, is_temporary, definition, index });
        oid
    };
    add("kv", PUBLIC, Kind::Table, None, None);
    for (name, definition) in &declared {
        let kind = match definition.as_ref() {
            Definition::Stream(_) | Definition::Table(_) => Kind::Table,
            Definition::View(_) => Kind::MaterializedView,
            Definition::External(_) => Kind::External,
            Definition::Query(_) => Kind::View,
            Definition::Sequence(_) => Kind::Sequence,
        };
        let oid = add(name, PUBLIC, kind, Some(definition.clone()), None);
        if let Definition::Table(table) = definition.as_ref() {
            for (index_name, index) in indexes(name, oid, table) {
                add(&index_name, PUBLIC, Kind::Index, None, Some(index));
            }
        }
    }
    for table in system::TABLES {
        add(table.name, SYS, Kind::View, None, None);
    }
    found.extend(OWN.map(|(oid, name)| Relation {
        oid,
        name: name.to_owned(),
        schema: PG_CATALOG,
        kind: Kind::Table,
        is_temporary: false,
        definition: None,
        index: None,
    }));
    found
}

fn indexes(name: &str, table: u32, definition: &TableDefinition) -> Vec<(String, Index)> {
    let columns = |positions: &[usize]| {
        let named = positions.iter().filter_map(|&position| {
            Some((position + 1, definition.columns.get(position)?.name.clone()))
        });
        named.collect()
    };
    let index = |positions: &[usize], is_primary, is_plain| Index {
        table,
        table_name: name.to_owned(),
        columns: columns(positions),
        is_primary,
        is_plain,
    };
    let mut found = Vec::new();
    if !definition.primary_key.is_empty() {
        found.push((definition.key_name(name), index(&definition.primary_key, true, false)));
    }
    let uniques = definition.uniques.iter();
    found.extend(
        uniques.map(|unique| (unique.name.clone(), index(&unique.columns, false, unique.is_index))),
    );
    found
}

/// The columns that were declared with a table or stream.
pub(super) fn declared_columns(relation: &Relation) -> Option<Vec<Attribute>> {
    let columns: &[Column] = match relation.definition.as_deref()? {
        Definition::Table(table) => &table.columns,
        Definition::Stream(stream) if !stream.columns.is_empty() => &stream.columns,
        Definition::Sequence(_) => return Some(Vec::new()),
        _ => return None,
    };
    let key: &[usize] = match relation.definition.as_deref() {
        Some(Definition::Table(table)) => &table.primary_key,
        _ => &[],
    };
    let attribute = |(position, column): (usize, &Column)| Attribute {
        name: column.name.clone(),
        typed: pg_type::of_field(&column.kind.field("", true)),
        is_required: !column.nullable || key.contains(&position) || column.identity.is_some(),
        default: match column.identity {
            Some(Identity::Serial) => Some(match &column.default {
                Some(default) => default.replace("')", "'::regclass)"),
                None => {
                    let sequence = sequence_name(&relation.name, &column.name);
                    format!("nextval('{sequence}'::regclass)")
                }
            }),
            Some(_) => None,
            None => column.default.as_deref().map(|text| typed_default(text, column)),
        },
        identity: match column.identity {
            Some(Identity::Always) => "a",
            Some(Identity::ByDefault) => "d",
            _ => "",
        },
    };
    Some(columns.iter().enumerate().map(attribute).collect())
}

/// A default as Postgres shows it: a text that stands for a value says of which type.
fn typed_default(text: &str, column: &Column) -> String {
    let inner = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    let is_one = inner.is_some_and(|inner| !inner.replace("''", "").contains('\''));
    if !is_one {
        return text.to_owned();
    }
    let typed = Typed { modifier: -1, ..pg_type::of_field(&column.kind.field("", true)) };
    format!("{text}::{}", typed.sql())
}

/// The columns of a relation that is planned or read.
pub(super) fn columns_of(schema: &Schema) -> Vec<Attribute> {
    let attribute = |field: &Arc<datafusion::arrow::datatypes::Field>| Attribute {
        name: field.name().clone(),
        typed: pg_type::of_field(field),
        is_required: false,
        default: None,
        identity: "",
    };
    schema.fields().iter().map(attribute).collect()
}

/// The relation that a text names, with its schema or without, quoted or not.
pub(crate) fn find<'a>(relations: &'a [Relation], text: &str) -> Option<&'a Relation> {
    let mut parts: Vec<String> = Vec::new();
    let mut part = String::new();
    let mut is_quoted = false;
    for character in text.trim().chars() {
        match character {
            '"' => is_quoted = !is_quoted,
            '.' if !is_quoted => parts.push(std::mem::take(&mut part)),
            other if is_quoted => part.push(other),
            other if other.is_whitespace() => {}
            other => part.extend(other.to_lowercase()),
        }
    }
    let schema = parts.last().map(String::as_str);
    let schema =
        schema.map(|name| SCHEMAS.iter().find(|(_, known)| *known == name).map(|(oid, _)| *oid));
    let is_there = |relation: &&Relation| match schema {
        Some(schema) => Some(relation.schema) == schema,
        None => relation.schema != SYS,
    };
    relations.iter().filter(is_there).find(|relation| relation.name == part)
}
