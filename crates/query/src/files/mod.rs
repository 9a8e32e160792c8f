//! Files that somebody else wrote, as tables: where they are (`stores`, `file_cache`), how they are
//! declared (`external`), and the formats that the library does not read as Postgres' users expect
//! (`csv`, `ndjson`).

pub(crate) mod csv;
pub(crate) mod external;
pub(crate) mod file_cache;
pub(crate) mod ndjson;
pub(crate) mod stores;
