//! What a value is: its type (`types`, `pg_type`), its way in from text (`parse`, `moment`) and its
//! way out as text and bytes (`encode`), JSON (`json`), and its form in records and rows
//! (`record`).

pub(crate) mod encode;
pub(crate) mod json;
pub(crate) mod moment;
pub(crate) mod parse;
pub(crate) mod pg_type;
pub(crate) mod record;
pub(crate) mod types;
