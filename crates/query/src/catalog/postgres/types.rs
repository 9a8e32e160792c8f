//! `pg_type`: the types there are here, with the numbers that Postgres 15 gives to the functions
//! which read and write them.

use super::relations::{PG_CATALOG, Relation};
use super::{Facts, Row, some, truth};
use crate::values::pg_type::{PgType, TYPES};

/// For each type the numbers of what reads it, writes it, receives it, sends it, and of what reads
/// and writes its modifier; how it is aligned, and how it is stored.
const FUNCTIONS: &[(&str, [i64; 6], char, char)] = &[
    ("bool", [1_242, 1_243, 2_436, 2_437, 0, 0], 'c', 'p'),
    ("bytea", [1_244, 31, 2_412, 2_413, 0, 0], 'i', 'x'),
    ("char", [1_245, 33, 2_434, 2_435, 0, 0], 'c', 'p'),
    ("name", [34, 35, 2_422, 2_423, 0, 0], 'c', 'p'),
    ("int8", [460, 461, 2_408, 2_409, 0, 0], 'd', 'p'),
    ("int2", [38, 39, 2_404, 2_405, 0, 0], 's', 'p'),
    ("int2vector", [40, 41, 2_410, 2_411, 0, 0], 'i', 'p'),
    ("oidvector", [54, 55, 2_420, 2_421, 0, 0], 'i', 'p'),
    ("int4", [42, 43, 2_406, 2_407, 0, 0], 'i', 'p'),
    ("regproc", [44, 45, 2_444, 2_445, 0, 0], 'i', 'p'),
    ("text", [46, 47, 2_414, 2_415, 0, 0], 'i', 'x'),
    ("oid", [1_798, 1_799, 2_418, 2_419, 0, 0], 'i', 'p'),
    ("json", [321, 322, 323, 324, 0, 0], 'i', 'x'),
    ("float4", [200, 201, 2_424, 2_425, 0, 0], 'i', 'p'),
    ("float8", [214, 215, 2_426, 2_427, 0, 0], 'd', 'p'),
    ("unknown", [109, 110, 2_416, 2_417, 0, 0], 'c', 'p'),
    ("bpchar", [1_044, 1_045, 2_430, 2_431, 2_913, 2_914], 'i', 'x'),
    ("varchar", [1_046, 1_047, 2_432, 2_433, 2_915, 2_916], 'i', 'x'),
    ("date", [1_084, 1_085, 2_468, 2_469, 0, 0], 'i', 'p'),
    ("time", [1_143, 1_144, 2_470, 2_471, 2_909, 2_910], 'd', 'p'),
    ("timestamp", [1_312, 1_313, 2_474, 2_475, 2_905, 2_906], 'd', 'p'),
    ("timestamptz", [1_150, 1_151, 2_476, 2_477, 2_907, 2_908], 'd', 'p'),
    ("interval", [1_160, 1_161, 2_478, 2_479, 2_903, 2_904], 'd', 'p'),
    ("numeric", [1_701, 1_702, 2_460, 2_461, 2_917, 2_918], 'i', 'm'),
    ("regclass", [2_218, 2_219, 2_452, 2_453, 0, 0], 'i', 'p'),
    ("regtype", [2_220, 2_221, 2_454, 2_455, 0, 0], 'i', 'p'),
    ("record", [2_290, 2_291, 2_402, 2_403, 0, 0], 'd', 'x'),
    ("uuid", [2_952, 2_953, 2_961, 2_962, 0, 0], 'c', 'p'),
    ("jsonb", [3_806, 3_804, 3_805, 3_803, 0, 0], 'i', 'x'),
    ("regnamespace", [4_084, 4_085, 4_087, 4_088, 0, 0], 'i', 'p'),
    ("regrole", [4_098, 4_092, 4_094, 4_095, 0, 0], 'i', 'p'),
];

/// The same of all arrays.
const OF_ARRAYS: [i64; 4] = [750, 751, 2_400, 2_401];
const ARRAY_WORDS: [&str; 4] = ["array_in", "array_out", "array_recv", "array_send"];
const WORDS: [&str; 6] = ["in", "out", "recv", "send", "typmodin", "typmodout"];

/// What Postgres calls such a function: some names of types have a line before the ending.
fn function_name(name: &str, word: &str) -> String {
    let is_apart = matches!(
        name,
        "json"
            | "jsonb"
            | "date"
            | "time"
            | "timestamp"
            | "timestamptz"
            | "interval"
            | "numeric"
            | "record"
            | "uuid"
    );
    let is_modifier = word.starts_with("typmod");
    if is_apart && !is_modifier { format!("{name}_{word}") } else { format!("{name}{word}") }
}

/// The name of a function that reads or writes a type.
pub(crate) fn proc_name(number: i64) -> Option<String> {
    if let Some(at) = OF_ARRAYS.iter().position(|other| *other == number) {
        return ARRAY_WORDS.get(at).map(|name| (*name).to_owned());
    }
    FUNCTIONS.iter().filter(|_| number != 0).find_map(|(name, numbers, ..)| {
        let at = numbers.iter().position(|other| *other == number)?;
        Some(function_name(name, WORDS.get(at)?))
    })
}

/// The number of such a function.
pub(crate) fn proc_number(wanted: &str) -> Option<i64> {
    if let Some(at) = ARRAY_WORDS.iter().position(|name| *name == wanted) {
        return OF_ARRAYS.get(at).copied();
    }
    FUNCTIONS.iter().find_map(|(name, numbers, ..)| {
        let at = WORDS.iter().position(|word| function_name(name, word) == wanted)?;
        numbers.get(at).copied().filter(|number| *number != 0)
    })
}

pub(super) const COLUMNS: &str = "oid oid typname name typnamespace oid typowner oid typlen int2 \
                                  typbyval bool typtype \
    char typcategory char typispreferred bool typisdefined bool typdelim char typrelid oid \
    typsubscript regproc \
    typelem oid typarray oid typinput regproc typoutput regproc typreceive regproc typsend regproc \
    typmodin regproc \
    typmodout regproc typanalyze regproc typalign char typstorage char typnotnull bool typbasetype \
    oid typtypmod int4 \
    typndims int4 typcollation oid typdefaultbin text typdefault text typacl text[]";

pub(super) fn pg_type(facts: &Facts) -> Vec<Row> {
    let arrays = TYPES.iter().filter(|kind| kind.array_oid != 0).map(|kind| row(kind, true));
    let types = TYPES.iter().map(|kind| row(kind, false)).chain(arrays);
    types.chain(facts.relations.iter().filter_map(row_type)).collect()
}

/// The type of a relation's rows.
fn row_type(relation: &Relation) -> Option<Row> {
    let oid = Some(relation.row_type()).filter(|oid| *oid != 0)?;
    let kind = TYPES.iter().find(|kind| kind.name == "record")?;
    let mut row = row(kind, false);
    let given = [
        (OID, some(oid)),
        (NAME, some(&relation.name)),
        (SCHEMA, some(relation.schema)),
        (KIND, some("c")),
        (CATEGORY, some("C")),
        (RELATION, some(relation.oid)),
        (ARRAY, some(0)),
    ];
    for (place, value) in given {
        if let Some(slot) = row.get_mut(place) {
            *slot = value;
        }
    }
    Some(row)
}

/// Columns of `pg_type`, by their places.
const OID: usize = 0;
const NAME: usize = 1;
const SCHEMA: usize = 2;
const KIND: usize = 6;
const CATEGORY: usize = 7;
const RELATION: usize = 11;
const ARRAY: usize = 14;

fn row(kind: &PgType, is_array: bool) -> Row {
    let found = FUNCTIONS.iter().find(|(name, ..)| *name == kind.name);
    let (_, numbers, align, storage) = found.copied().unwrap_or((kind.name, [0; 6], 'i', 'x'));
    let [reads, writes, receives, sends, reads_modifier, writes_modifier] = match is_array {
        true => {
            let [reads, writes, receives, sends] = OF_ARRAYS;
            [reads, writes, receives, sends, numbers[4], numbers[5]]
        }
        false => numbers,
    };
    let is_pseudo = kind.category == 'P' || kind.category == 'X';
    let is_text = matches!(kind.name, "text" | "varchar" | "bpchar");
    let is_preferred =
        matches!(kind.name, "bool" | "text" | "oid" | "float8" | "timestamptz" | "interval");
    vec![
        some(if is_array { kind.array_oid } else { kind.oid }),
        some(if is_array { format!("_{}", kind.name) } else { kind.name.to_owned() }),
        some(PG_CATALOG),
        some(10),
        some(if is_array { -1 } else { kind.size }),
        truth(!is_array && (1..=8).contains(&kind.size)),
        some(if is_pseudo && !is_array { "p" } else { "b" }),
        some(if is_array { 'A' } else { kind.category }),
        truth(is_preferred && !is_array),
        truth(true),
        some(","),
        some(0),
        some(if is_array { 6_179 } else { 0 }),
        some(if is_array { kind.oid } else { 0 }),
        some(if is_array { 0 } else { kind.array_oid }),
        some(reads),
        some(writes),
        some(receives),
        some(sends),
        some(reads_modifier),
        some(writes_modifier),
        some(if is_array { 3_816 } else { 0 }),
        some(if is_array && align != 'd' { 'i' } else { align }),
        some(if is_array { 'x' } else { storage }),
        truth(false),
        some(0),
        some(-1),
        some(0),
        some(match kind.name {
            _ if is_text => 100,
            "name" => 950,
            _ => 0,
        }),
        None,
        None,
        None,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_by_name_and_number() {
        for (name, numbers, ..) in FUNCTIONS {
            assert!(TYPES.iter().any(|kind| kind.name == *name), "{name}");
            for number in numbers.iter().filter(|number| **number != 0) {
                let found = proc_name(*number).expect("a name");
                assert_eq!(proc_number(&found), Some(*number), "{found}");
            }
        }
        assert_eq!(proc_name(2_436).as_deref(), Some("boolrecv"));
        assert_eq!(proc_name(2_475).as_deref(), Some("timestamp_send"));
        assert_eq!(proc_number("array_recv"), Some(2_400));
        assert_eq!(TYPES.len(), FUNCTIONS.len());
    }
}
