//! The types of columns as Postgres numbers and names them. A column's Arrow type says how it is
//! stored. Several of Postgres' types are stored alike (`text`, `json`, `uuid`); then the field's
//! metadata says which one it is.

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use std::sync::Arc;

/// The key in a field's metadata under which its Postgres type stands: `json`, `varchar(3)`,
/// `uuid`.
pub(crate) const TYPE_KEY: &str = "thalweg.type";

/// A list whose elements' field has this key in its metadata is one of the catalog's vectors: its
/// elements count from 0, and stand without braces.
pub(crate) const VECTOR_KEY: &str = "thalweg.vector";

/// A type of Postgres.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PgType {
    /// Its number in `pg_type`.
    pub(crate) oid: u32,
    /// The number of its array type; 0 where there is none.
    pub(crate) array_oid: u32,
    /// Bytes in binary form; -1 where they vary.
    pub(crate) size: i16,
    /// Its name in `pg_type`.
    pub(crate) name: &'static str,
    /// Its name in SQL.
    pub(crate) sql: &'static str,
    /// Its category in `pg_type`.
    pub(crate) category: char,
}

macro_rules! types {
    ($(
        $constant:ident $oid:literal $array:literal $size:literal $name:literal $sql:literal
        $category:literal;
    )*) => {
        $(pub(crate) static $constant: PgType = PgType {
            oid: $oid, array_oid: $array, size: $size, name: $name, sql: $sql, category: $category,
        };)*
        /// All of them.
        pub(crate) static TYPES: &[&PgType] = &[$(&$constant),*];
    };
}

types! {
    BOOL 16 1000 1 "bool" "boolean" 'B';
    BYTEA 17 1001 -1 "bytea" "bytea" 'U';
    CHAR 18 1002 1 "char" "\"char\"" 'Z';
    NAME 19 1003 64 "name" "name" 'S';
    INT8 20 1016 8 "int8" "bigint" 'N';
    INT2 21 1005 2 "int2" "smallint" 'N';
    INT2VECTOR 22 1006 -1 "int2vector" "int2vector" 'A';
    INT4 23 1007 4 "int4" "integer" 'N';
    REGPROC 24 1008 4 "regproc" "regproc" 'N';
    TEXT 25 1009 -1 "text" "text" 'S';
    OID 26 1028 4 "oid" "oid" 'N';
    OIDVECTOR 30 1013 -1 "oidvector" "oidvector" 'A';
    JSON 114 199 -1 "json" "json" 'U';
    FLOAT4 700 1021 4 "float4" "real" 'N';
    FLOAT8 701 1022 8 "float8" "double precision" 'N';
    UNKNOWN 705 0 -2 "unknown" "unknown" 'X';
    BPCHAR 1042 1014 -1 "bpchar" "character" 'S';
    VARCHAR 1043 1015 -1 "varchar" "character varying" 'S';
    DATE 1082 1182 4 "date" "date" 'D';
    TIME 1083 1183 8 "time" "time without time zone" 'D';
    TIMESTAMP 1114 1115 8 "timestamp" "timestamp without time zone" 'D';
    TIMESTAMPTZ 1184 1185 8 "timestamptz" "timestamp with time zone" 'D';
    INTERVAL 1186 1187 16 "interval" "interval" 'T';
    NUMERIC 1700 1231 -1 "numeric" "numeric" 'N';
    REGCLASS 2205 2210 4 "regclass" "regclass" 'N';
    REGTYPE 2206 2211 4 "regtype" "regtype" 'N';
    REGNAMESPACE 4089 4090 4 "regnamespace" "regnamespace" 'N';
    REGROLE 4096 4097 4 "regrole" "regrole" 'N';
    RECORD 2249 2287 -1 "record" "record" 'P';
    UUID 2950 2951 16 "uuid" "uuid" 'U';
    JSONB 3802 3807 -1 "jsonb" "jsonb" 'U';
}

/// A type together with what its declaration adds: the length of `varchar(3)`, digits of
/// `numeric(10,2)`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Typed {
    /// The type; of an array, that of its elements.
    pub(crate) element: &'static PgType,
    pub(crate) is_array: bool,
    /// As Postgres writes it; -1 where there is none.
    pub(crate) modifier: i32,
}

impl Typed {
    pub(crate) fn oid(self) -> u32 {
        if self.is_array { self.element.array_oid } else { self.element.oid }
    }

    pub(crate) fn size(self) -> i16 {
        if self.is_array { -1 } else { self.element.size }
    }

    /// As `format_type` writes it.
    pub(crate) fn sql(self) -> String {
        let name = self.element.sql;
        let modified = match (self.element.oid, self.modifier) {
            (_, -1) => name.to_owned(),
            (1700, modifier) => {
                let (precision, scale) = ((modifier - 4) >> 16, (modifier - 4) & 0xFFFF);
                format!("numeric({precision},{scale})")
            }
            (1114 | 1184 | 1083, digits) => name.replacen(' ', &format!("({digits}) "), 1),
            (_, modifier) => format!("{name}({})", modifier - 4),
        };
        if self.is_array { modified + "[]" } else { modified }
    }
}

/// The type of a number in `pg_type`, and whether it is an array of it.
pub(crate) fn of_oid(oid: u32) -> Option<Typed> {
    let find = |is_array: bool| {
        let number = |kind: &PgType| if is_array { kind.array_oid } else { kind.oid };
        let element = TYPES.iter().find(|kind| oid != 0 && number(kind) == oid)?;
        Some(Typed { element, is_array, modifier: -1 })
    };
    find(false).or_else(|| find(true))
}

/// The type of a name, as `pg_type` or SQL has it.
pub(crate) fn of_name(name: &str) -> Option<&'static PgType> {
    let name = match name {
        "int" | "serial" => "int4",
        "bigserial" => "int8",
        "smallserial" => "int2",
        "float" => "float8",
        "decimal" | "dec" => "numeric",
        "char" => "bpchar",
        "string" => "text",
        "timestamp with time zone" => "timestamptz",
        "time" => "time",
        other => other,
    };
    TYPES.iter().copied().find(|kind| kind.name == name || kind.sql == name)
}

/// The type of a column.
pub(crate) fn of_field(field: &Field) -> Typed {
    if let Some(declared) = field.metadata().get(TYPE_KEY)
        && let Some(typed) = of_declared(declared)
    {
        return typed;
    }
    of_arrow(field.data_type())
}

fn of_declared(declared: &str) -> Option<Typed> {
    let (declared, is_array) = match declared.strip_suffix("[]") {
        Some(element) => (element, true),
        None => (declared, false),
    };
    let (name, modifier) = match declared.split_once('(') {
        Some((name, rest)) => {
            let (number, after) = match rest.trim_end_matches(')').split_once(',') {
                Some((precision, scale)) => {
                    (precision.parse::<i32>().ok()? << 16, scale.parse::<i32>().ok()?)
                }
                None => (rest.trim_end_matches(')').parse().ok()?, 0),
            };
            (name, if name.starts_with("time") { number } else { (number | after) + 4 })
        }
        None => (declared, -1),
    };
    let element = TYPES.iter().copied().find(|kind| kind.name == name)?;
    Some(Typed { element, is_array, modifier })
}

/// The type that an Arrow type stands for where nothing else is said.
pub(crate) fn of_arrow(kind: &DataType) -> Typed {
    let scalar = |element: &'static PgType| Typed { element, is_array: false, modifier: -1 };
    let array = |field: &FieldRef| {
        let of = of_field(field);
        Typed { is_array: true, ..of }
    };
    match kind {
        DataType::Boolean => scalar(&BOOL),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => scalar(&INT2),
        DataType::Int32 | DataType::UInt16 => scalar(&INT4),
        DataType::Int64 | DataType::UInt32 => scalar(&INT8),
        DataType::UInt64 => scalar(&NUMERIC),
        DataType::Float16 | DataType::Float32 => scalar(&FLOAT4),
        DataType::Float64 => scalar(&FLOAT8),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => {
            let modifier = (i32::from(*p) << 16 | (i32::from(*s) & 0x7FF)) + 4;
            Typed { element: &NUMERIC, is_array: false, modifier }
        }
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => scalar(&BYTEA),
        DataType::Date32 | DataType::Date64 => scalar(&DATE),
        DataType::Time32(_) | DataType::Time64(_) => scalar(&TIME),
        DataType::Timestamp(_, None) => scalar(&TIMESTAMP),
        DataType::Timestamp(_, Some(_)) => scalar(&TIMESTAMPTZ),
        DataType::Interval(_) | DataType::Duration(_) => scalar(&INTERVAL),
        DataType::List(field) if is_vector(kind) => match field.data_type() {
            DataType::Int16 => scalar(&INT2VECTOR),
            _ => scalar(&OIDVECTOR),
        },
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _) => array(field),
        DataType::Struct(_) => scalar(&RECORD),
        DataType::Map(..) => scalar(&JSONB),
        DataType::Dictionary(_, value) => of_arrow(value),
        DataType::RunEndEncoded(_, values) => of_field(values),
        _ => scalar(&TEXT),
    }
}

/// Whether a column's values are numbers that are kept as they were written.
pub(crate) fn is_written_number(field: &Field) -> bool {
    field.data_type().is_string() && declared(field) == Some("numeric")
}

/// Whether a list is a vector of the catalog.
pub(crate) fn is_vector(kind: &DataType) -> bool {
    matches!(kind, DataType::List(element) if element.metadata().contains_key(VECTOR_KEY))
}

/// The type of vectors of an element.
pub(crate) fn vector(element: Field) -> DataType {
    let mut metadata = element.metadata().clone();
    metadata.insert(VECTOR_KEY.to_owned(), String::new());
    DataType::List(Arc::new(element.with_name("item").with_metadata(metadata)))
}

/// A field of a type that Arrow does not tell apart.
pub(crate) fn field_of(name: &str, arrow: DataType, declared: &str, nullable: bool) -> Field {
    let metadata = [(TYPE_KEY.to_owned(), declared.to_owned())].into_iter().collect();
    Field::new(name, arrow, nullable).with_metadata(metadata)
}

/// The same, shared.
pub(crate) fn field_ref(arrow: DataType, declared: &str) -> FieldRef {
    Arc::new(field_of("value", arrow, declared, true))
}

/// What a field's metadata says it is, without a length.
pub(crate) fn declared(field: &Field) -> Option<&str> {
    let declared = field.metadata().get(TYPE_KEY)?;
    Some(declared.split('(').next().unwrap_or(declared))
}
