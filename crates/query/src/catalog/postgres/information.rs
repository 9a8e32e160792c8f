//! The tables of `information_schema`.

mod columns;

use super::constraints::{Constraint, constraints};
use super::relations::{Kind, PG_CATALOG, Relation, SCHEMAS};
use super::rows::{query_of, schema_name};
use super::{CatalogTable, Facts, Row, some};
use crate::catalog::SequenceDefinition;
use crate::database::DATABASE;
use columns::columns;

const PRIVILEGES: &str = "grantor name grantee name table_catalog name table_schema name \
                          table_name \
    name privilege_type text is_grantable text with_hierarchy text";

pub(super) const TABLES: &[CatalogTable] = &[
    CatalogTable {
        name: "schemata",
        needs_columns: false,
        columns: "catalog_name name schema_name name schema_owner name \
                  default_character_set_catalog name \
            default_character_set_schema name default_character_set_name name sql_path text",
        rows: |_| {
            let row = |(_, name): (u32, &str)| {
                vec![some(DATABASE), some(name), some("thalweg"), None, None, None, None]
            };
            SCHEMAS.map(row).to_vec()
        },
    },
    CatalogTable {
        name: "tables",
        needs_columns: false,
        columns: "table_catalog name table_schema name table_name name table_type text \
                  self_referencing_column_name \
            name reference_generation text user_defined_type_catalog name user_defined_type_schema \
            name \
            user_defined_type_name name is_insertable_into text is_typed text commit_action text",
        rows: tables,
    },
    CatalogTable {
        name: "columns",
        needs_columns: true,
        columns: "table_catalog name table_schema name table_name name column_name name \
                  ordinal_position int4 \
            column_default text is_nullable text data_type text character_maximum_length int4 \
            character_octet_length int4 numeric_precision int4 numeric_precision_radix int4 \
            numeric_scale int4 \
            datetime_precision int4 interval_type text interval_precision int4 \
            character_set_catalog name \
            character_set_schema name character_set_name name collation_catalog name \
            collation_schema name \
            collation_name name domain_catalog name domain_schema name domain_name name \
            udt_catalog name \
            udt_schema name udt_name name scope_catalog name scope_schema name scope_name name \
            maximum_cardinality int4 dtd_identifier name is_self_referencing text is_identity text \
            identity_generation text identity_start text identity_increment text identity_maximum \
            text \
            identity_minimum text identity_cycle text is_generated text generation_expression text \
            is_updatable \
            text",
        rows: columns,
    },
    CatalogTable {
        name: "views",
        needs_columns: false,
        columns: "table_catalog name table_schema name table_name name view_definition text \
                  check_option text \
            is_updatable text is_insertable_into text is_trigger_updatable text \
            is_trigger_deletable text \
            is_trigger_insertable_into text",
        rows: views,
    },
    CatalogTable {
        name: "sequences",
        needs_columns: false,
        columns: "sequence_catalog name sequence_schema name sequence_name name data_type text \
                  numeric_precision int4 \
            numeric_precision_radix int4 numeric_scale int4 start_value text minimum_value text \
            maximum_value \
            text increment text cycle_option text",
        rows: sequences,
    },
    CatalogTable {
        name: "table_constraints",
        needs_columns: false,
        columns: "constraint_catalog name constraint_schema name constraint_name name \
                  table_catalog name table_schema \
            name table_name name constraint_type text is_deferrable text initially_deferred text \
            enforced text \
            nulls_distinct text",
        rows: table_constraints,
    },
    CatalogTable {
        name: "key_column_usage",
        needs_columns: false,
        columns: "constraint_catalog name constraint_schema name constraint_name name \
                  table_catalog name table_schema \
            name table_name name column_name name ordinal_position int4 \
            position_in_unique_constraint int4",
        rows: key_column_usage,
    },
    CatalogTable {
        name: "constraint_column_usage",
        needs_columns: false,
        columns: "table_catalog name table_schema name table_name name column_name name \
                  constraint_catalog name \
            constraint_schema name constraint_name name",
        rows: constraint_column_usage,
    },
    CatalogTable {
        name: "check_constraints",
        needs_columns: false,
        columns: "constraint_catalog name constraint_schema name constraint_name name check_clause \
                  text",
        rows: check_constraints,
    },
    CatalogTable {
        name: "referential_constraints",
        needs_columns: false,
        columns: "constraint_catalog name constraint_schema name constraint_name name \
                  unique_constraint_catalog name \
            unique_constraint_schema name unique_constraint_name name match_option text \
            update_rule text \
            delete_rule text",
        rows: |_| Vec::new(),
    },
    CatalogTable {
        name: "table_privileges",
        needs_columns: false,
        columns: PRIVILEGES,
        rows: privileges,
    },
    CatalogTable {
        name: "role_table_grants",
        needs_columns: false,
        columns: PRIVILEGES,
        rows: privileges,
    },
    CatalogTable {
        name: "routines",
        needs_columns: false,
        columns: "specific_catalog name specific_schema name specific_name name routine_catalog \
                  name routine_schema \
            name routine_name name routine_type text data_type text",
        rows: |_| Vec::new(),
    },
    CatalogTable {
        name: "triggers",
        needs_columns: false,
        columns: "trigger_catalog name trigger_schema name trigger_name name event_manipulation \
                  text \
            event_object_catalog name event_object_schema name event_object_table name",
        rows: |_| Vec::new(),
    },
];

/// Whether a relation is a table in the sense of SQL.
fn is_table(relation: &Relation) -> bool {
    matches!(relation.kind, Kind::Table | Kind::View | Kind::External)
        && relation.schema != PG_CATALOG
}

fn tables(facts: &Facts) -> Vec<Row> {
    let row = |relation: &Relation| {
        let kind = match relation.kind {
            Kind::View => "VIEW",
            Kind::External => "FOREIGN",
            _ if relation.is_temporary => "LOCAL TEMPORARY",
            _ => "BASE TABLE",
        };
        let takes_rows = if relation.kind == Kind::Table { "YES" } else { "NO" };
        vec![
            some(DATABASE),
            some(schema_name(relation.schema)),
            some(&relation.name),
            some(kind),
            None,
            None,
            None,
            None,
            None,
            some(takes_rows),
            some("NO"),
            None,
        ]
    };
    facts.relations.iter().filter(|relation| is_table(relation)).map(row).collect()
}

fn views(facts: &Facts) -> Vec<Row> {
    let found = facts.relations.iter().filter(|relation| relation.kind == Kind::View);
    let row = |relation: &Relation| {
        let no = || some("NO");
        vec![
            some(DATABASE),
            some(schema_name(relation.schema)),
            some(&relation.name),
            query_of(relation).map(str::to_owned),
            some("NONE"),
            no(),
            no(),
            no(),
            no(),
            no(),
        ]
    };
    found.map(row).collect()
}

fn sequences(facts: &Facts) -> Vec<Row> {
    let row = |(relation, sequence): (&Relation, &SequenceDefinition)| {
        vec![
            some(DATABASE),
            some("public"),
            some(&relation.name),
            some("bigint"),
            some(64),
            some(2),
            some(0),
            some(sequence.start),
            some(sequence.min),
            some(sequence.max),
            some(sequence.increment),
            some("NO"),
        ]
    };
    facts.sequences().map(row).collect()
}

fn named(name: &str) -> Row {
    vec![some(DATABASE), some("public"), some(name)]
}

fn table_constraints(facts: &Facts) -> Vec<Row> {
    let row = |constraint: &Constraint| {
        let kind = match constraint.letter {
            'p' => "PRIMARY KEY",
            'u' => "UNIQUE",
            _ => "CHECK",
        };
        let mut row = named(&constraint.name);
        row.extend(named(&constraint.table_name));
        row.extend([some(kind), some("NO"), some("NO"), some("YES")]);
        row.push(if constraint.letter == 'u' { some("YES") } else { None });
        row
    };
    constraints(&facts.relations).iter().map(row).collect()
}

fn key_column_usage(facts: &Facts) -> Vec<Row> {
    let mut rows = Vec::new();
    let all = constraints(&facts.relations);
    for constraint in all.iter().filter(|constraint| constraint.letter != 'c') {
        for (place, (_, column)) in constraint.columns.iter().enumerate() {
            let mut row = named(&constraint.name);
            row.extend(named(&constraint.table_name));
            row.extend([some(column), some(place + 1), None]);
            rows.push(row);
        }
    }
    rows
}

fn constraint_column_usage(facts: &Facts) -> Vec<Row> {
    let mut rows = Vec::new();
    for constraint in constraints(&facts.relations) {
        for (_, column) in &constraint.columns {
            let mut row = named(&constraint.table_name);
            row.push(some(column));
            row.extend(named(&constraint.name));
            rows.push(row);
        }
    }
    rows
}

fn check_constraints(facts: &Facts) -> Vec<Row> {
    let row = |constraint: &Constraint| {
        let condition = constraint.condition()?;
        let mut row = named(&constraint.name);
        row.push(some(format!("(({condition}))")));
        Some(row)
    };
    constraints(&facts.relations).iter().filter_map(row).collect()
}

/// The only user may do everything.
fn privileges(facts: &Facts) -> Vec<Row> {
    const ALL: [&str; 4] = ["INSERT", "SELECT", "UPDATE", "DELETE"];
    let has_rows =
        |relation: &&Relation| relation.index.is_none() && relation.kind != Kind::Sequence;
    let of_relation = |relation: &Relation| {
        let schema = schema_name(relation.schema);
        ALL.map(|privilege| {
            let mut row = vec![some("thalweg"), some("thalweg"), some(DATABASE), some(schema)];
            row.extend([some(&relation.name), some(privilege), some("YES"), some("NO")]);
            row
        })
    };
    facts.relations.iter().filter(has_rows).flat_map(of_relation).collect()
}
