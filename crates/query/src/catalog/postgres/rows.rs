//! The tables of `pg_catalog` that follow from what has been declared.

mod constraints_of;
mod depend;
mod settings;

use super::constraints::{Constraint, constraints};
use super::listings::{pg_indexes, pg_sequence, pg_sequences, pg_tables, views};
use super::relations::{Kind, PUBLIC, Relation, SCHEMAS, number_of};
use super::{CatalogTable, Facts, Row, some, truth, types};
use crate::catalog::Definition;
use crate::values::pg_type::Typed;
use constraints_of::{comments, pg_attrdef, pg_constraint, pg_index};
use depend::pg_depend;
use settings::{SETTINGS_COLUMNS, pg_settings};

/// The owner of everything.
const OWNER: u32 = 10;
/// The number of `pg_class`.
const CLASS: u32 = 1_259;
/// The access method of every table, and that of every index.
const HEAP: u32 = 2;
const BTREE: u32 = 403;

pub(super) const TABLES: &[CatalogTable] = &[
    CatalogTable {
        name: "pg_namespace",
        needs_columns: false,
        columns: "oid oid nspname name nspowner oid nspacl text[]",
        rows: |_| {
            let row = |(oid, name): (u32, &str)| vec![some(oid), some(name), some(OWNER), None];
            SCHEMAS.map(row).to_vec()
        },
    },
    CatalogTable {
        name: "pg_type",
        needs_columns: false,
        columns: types::COLUMNS,
        rows: types::pg_type,
    },
    CatalogTable {
        name: "pg_class",
        needs_columns: true,
        columns: "oid oid relname name relnamespace oid reltype oid reloftype oid relowner oid \
                  relam oid relfilenode \
            oid reltablespace oid relpages int4 reltuples float4 relallvisible int4 reltoastrelid \
            oid \
            relhasindex bool relisshared bool relpersistence char relkind char relnatts int2 \
            relchecks int2 \
            relhasrules bool relhastriggers bool relhassubclass bool relrowsecurity bool \
            relforcerowsecurity \
            bool relispopulated bool relreplident char relispartition bool relrewrite oid \
            relfrozenxid text \
            relminmxid text relacl text[] reloptions text[] relpartbound text",
        rows: pg_class,
    },
    CatalogTable {
        name: "pg_attribute",
        needs_columns: true,
        columns: "attrelid oid attname name atttypid oid attstattarget int4 attlen int2 attnum \
                  int2 attndims int4 \
            attcacheoff int4 atttypmod int4 attbyval bool attalign char attstorage char \
            attcompression char \
            attnotnull bool atthasdef bool atthasmissing bool attidentity char attgenerated char \
            attisdropped \
            bool attislocal bool attinhcount int4 attcollation oid attacl text[] attoptions text[] \
            attfdwoptions \
            text[] attmissingval text",
        rows: pg_attribute,
    },
    CatalogTable {
        name: "pg_attrdef",
        needs_columns: true,
        columns: "oid oid adrelid oid adnum int2 adbin text",
        rows: pg_attrdef,
    },
    CatalogTable {
        name: "pg_constraint",
        needs_columns: false,
        columns: "oid oid conname name connamespace oid contype char condeferrable bool \
                  condeferred bool convalidated \
            bool conrelid oid contypid oid conindid oid conparentid oid confrelid oid confupdtype \
            char \
            confdeltype char confmatchtype char conislocal bool coninhcount int4 connoinherit bool \
            conkey int2[] \
            confkey int2[] conpfeqop oid[] conppeqop oid[] conffeqop oid[] confdelsetcols int2[] \
            conexclop oid[] \
            conbin text",
        rows: pg_constraint,
    },
    CatalogTable {
        name: "pg_index",
        needs_columns: true,
        columns: "indexrelid oid indrelid oid indnatts int2 indnkeyatts int2 indisunique bool \
                  indnullsnotdistinct bool \
            indisprimary bool indisexclusion bool indimmediate bool indisclustered bool indisvalid \
            bool \
            indcheckxmin bool indisready bool indislive bool indisreplident bool indkey int2vector \
            indcollation oidvector indclass oidvector indoption int2vector indexprs text \
            indpred text",
        rows: pg_index,
    },
    CatalogTable {
        name: "pg_sequence",
        needs_columns: false,
        columns: "seqrelid oid seqtypid oid seqstart int8 seqincrement int8 seqmax int8 seqmin \
                  int8 seqcache int8 \
            seqcycle bool",
        rows: pg_sequence,
    },
    CatalogTable {
        name: "pg_sequences",
        needs_columns: false,
        columns: "schemaname name sequencename name sequenceowner name data_type text start_value \
                  int8 min_value int8 \
            max_value int8 increment_by int8 cycle bool cache_size int8 last_value int8",
        rows: pg_sequences,
    },
    CatalogTable {
        name: "pg_description",
        needs_columns: false,
        columns: "objoid oid classoid oid objsubid int4 description text",
        rows: |facts| facts.relations.iter().flat_map(comments).collect(),
    },
    CatalogTable {
        name: "pg_depend",
        needs_columns: true,
        columns: "classid oid objid oid objsubid int4 refclassid oid refobjid oid refobjsubid int4 \
                  deptype char",
        rows: pg_depend,
    },
    CatalogTable {
        name: "pg_settings",
        needs_columns: false,
        columns: SETTINGS_COLUMNS,
        rows: |_| pg_settings(),
    },
    CatalogTable {
        name: "pg_policy",
        needs_columns: false,
        columns: "oid oid polname name polrelid oid polcmd char polpermissive bool polroles oid[] \
                  polqual text \
            polwithcheck text",
        rows: |_| Vec::new(),
    },
    CatalogTable {
        name: "pg_statistic_ext",
        needs_columns: false,
        columns: "oid oid stxrelid oid stxname name stxnamespace oid stxowner oid stxstattarget \
                  int4 stxkeys int2[] \
            stxkind char[] stxexprs text",
        rows: |_| Vec::new(),
    },
    CatalogTable {
        name: "pg_extension",
        needs_columns: false,
        columns: "oid oid extname name extowner oid extnamespace oid extrelocatable bool \
                  extversion text extconfig \
            oid[] extcondition text[]",
        rows: |_| Vec::new(),
    },
    CatalogTable {
        name: "pg_publication_rel",
        needs_columns: false,
        columns: "oid oid prpubid oid prrelid oid prqual text prattrs int2[]",
        rows: |_| Vec::new(),
    },
    CatalogTable {
        name: "pg_tables",
        needs_columns: false,
        columns: "schemaname name tablename name tableowner name tablespace name hasindexes bool \
                  hasrules bool \
            hastriggers bool rowsecurity bool",
        rows: pg_tables,
    },
    CatalogTable {
        name: "pg_views",
        needs_columns: false,
        columns: "schemaname name viewname name viewowner name definition text",
        rows: |facts| views(facts, Kind::View, false),
    },
    CatalogTable {
        name: "pg_matviews",
        needs_columns: false,
        columns: "schemaname name matviewname name matviewowner name tablespace name hasindexes \
                  bool ispopulated bool \
            definition text",
        rows: |facts| views(facts, Kind::MaterializedView, true),
    },
    CatalogTable {
        name: "pg_indexes",
        needs_columns: false,
        columns: "schemaname name tablename name indexname name tablespace name indexdef text",
        rows: pg_indexes,
    },
];

fn numbers(of: impl IntoIterator<Item = usize>) -> String {
    let texts: Vec<String> = of.into_iter().map(|number| number.to_string()).collect();
    format!("{{{}}}", texts.join(","))
}

fn pg_class(facts: &Facts) -> Vec<Row> {
    let all = constraints(&facts.relations);
    let row = |relation: &Relation| {
        let columns = match &relation.index {
            Some(index) => index.columns.len(),
            None => facts.columns.get(&relation.oid).map_or(0, Vec::len),
        };
        let checks = all.iter().filter(|found| found.letter == 'c' && found.table == relation.oid);
        let has_index = facts.relations.iter().filter_map(|other| other.index.as_ref());
        let has_index = has_index.into_iter().any(|index| index.table == relation.oid);
        let method = match relation.kind {
            Kind::Index => BTREE,
            Kind::Table | Kind::MaterializedView => HEAP,
            _ => 0,
        };
        vec![
            some(relation.oid),
            some(&relation.name),
            some(relation.schema),
            some(relation.row_type()),
            some(0),
            some(OWNER),
            some(method),
            some(relation.oid),
            some(0),
            some(0),
            some(-1),
            some(0),
            some(0),
            truth(has_index),
            truth(false),
            some(if relation.is_temporary { 't' } else { 'p' }),
            some(relation.kind.letter()),
            some(columns),
            some(checks.count()),
            truth(relation.kind == Kind::View),
            truth(false),
            truth(false),
            truth(false),
            truth(false),
            truth(true),
            some(if relation.kind == Kind::Table { 'd' } else { 'n' }),
            truth(false),
            some(0),
            some(0),
            some(0),
            None,
            None,
            None,
        ]
    };
    facts.relations.iter().map(row).collect()
}

fn pg_attribute(facts: &Facts) -> Vec<Row> {
    let mut rows = Vec::new();
    for (relation, columns) in facts.with_columns() {
        for (position, column) in columns.iter().enumerate() {
            let typed = column.typed;
            rows.push(attribute(relation.oid, position + 1, &column.name, typed, |row| {
                row.extend([
                    truth(column.is_required),
                    truth(column.default.is_some()),
                    truth(false),
                    some(column.identity),
                ]);
            }));
        }
    }
    // The columns of an index are those of its table.
    for relation in &facts.relations {
        let Some(index) = &relation.index else { continue };
        let Some(columns) = facts.columns.get(&index.table) else { continue };
        for (place, (number, name)) in index.columns.iter().enumerate() {
            let Some(column) = columns.get(number - 1) else { continue };
            rows.push(attribute(relation.oid, place + 1, name, column.typed, |row| {
                row.extend([truth(false), truth(false), truth(false), some("")]);
            }));
        }
    }
    rows
}

fn attribute(
    relation: u32,
    number: usize,
    name: &str,
    typed: Typed,
    middle: impl FnOnce(&mut Row),
) -> Row {
    let size = typed.size();
    let by_value = (1..=8).contains(&size);
    let alignment = match size {
        1 => 'c',
        2 => 's',
        8 | 16 => 'd',
        _ => 'i',
    };
    let mut row = vec![
        some(relation),
        some(name),
        some(typed.oid()),
        some(-1),
        some(size),
        some(number),
        some(i32::from(typed.is_array)),
        some(-1),
        some(typed.modifier),
        truth(by_value),
        some(alignment),
        some(if size < 0 { 'x' } else { 'p' }),
        some(""),
    ];
    middle(&mut row);
    row.extend([
        some(""),
        truth(false),
        truth(true),
        some(0),
        some(if is_text(typed) { 100 } else { 0 }),
        None,
        None,
        None,
        None,
    ]);
    row
}

/// A schema's name.
pub(super) fn schema_name(oid: u32) -> &'static str {
    SCHEMAS.iter().find(|(number, _)| *number == oid).map_or("public", |(_, name)| name)
}

/// Whether a type is one of texts.
pub(super) fn is_text(typed: Typed) -> bool {
    matches!(typed.element.name, "varchar" | "bpchar" | "text")
}

/// The query of a view.
pub(super) fn query_of(relation: &Relation) -> Option<&str> {
    match relation.definition.as_deref()? {
        Definition::Query(query) => Some(&query.query),
        Definition::View(view) => Some(&view.query),
        _ => None,
    }
}
