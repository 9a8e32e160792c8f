//! Who is connected, what is locked, and other tables that monitors read. Statistics are not kept
//! here: their tables have no rows, because zeros would be wrong.

use super::{CatalogTable, Facts, Row, some, truth};
use crate::database::DATABASE;
use crate::sql::backends::{Seen, pid_of};
use crate::tables::advisory::Key;

/// The number of the database in `pg_database`.
const DATABASE_OID: u32 = 16_384;
/// The number of the user in `pg_authid`.
const USER: u32 = 10;

/// The encoding's number.
const UTF8: i32 = 6;
/// The number of `pg_default`.
const TABLESPACE: u32 = 1_663;

const NONE: fn(&Facts) -> Vec<Row> = |_| Vec::new();

const STATISTICS: &str = "relid oid schemaname name relname name seq_scan int8 seq_tup_read int8 \
    idx_scan int8 idx_tup_fetch int8 n_tup_ins int8 n_tup_upd int8 n_tup_del int8 n_tup_hot_upd \
    int8 \
    n_live_tup int8 n_dead_tup int8 n_mod_since_analyze int8 n_ins_since_vacuum int8 last_vacuum \
    timestamptz last_autovacuum timestamptz last_analyze timestamptz last_autoanalyze timestamptz \
    vacuum_count int8 autovacuum_count int8 analyze_count int8 autoanalyze_count int8";
const STATISTICS_OF_BLOCKS: &str = "relid oid schemaname name relname name heap_blks_read int8 \
    heap_blks_hit int8 idx_blks_read int8 idx_blks_hit int8 toast_blks_read int8 toast_blks_hit \
    int8 \
    tidx_blks_read int8 tidx_blks_hit int8";
const STATISTICS_OF_INDEXES: &str = "relid oid indexrelid oid schemaname name relname name \
    indexrelname name idx_scan int8 idx_tup_read int8 idx_tup_fetch int8";

const fn empty(name: &'static str, columns: &'static str) -> CatalogTable {
    CatalogTable { name, needs_columns: false, columns, rows: NONE }
}

pub(super) const TABLES: &[CatalogTable] = &[
    CatalogTable {
        name: "pg_database",
        needs_columns: false,
        columns: "oid oid datname name datdba oid encoding int4 datlocprovider text datistemplate \
            bool datallowconn bool datconnlimit int4 datfrozenxid int8 datminmxid int8 \
            dattablespace oid datcollate text datctype text daticulocale text daticurules text \
            datcollversion text datacl text[]",
        rows: pg_database,
    },
    CatalogTable {
        name: "pg_stat_activity",
        needs_columns: false,
        columns: "datid oid datname name pid int4 leader_pid int4 usesysid oid usename name \
            application_name text client_addr text client_hostname text client_port int4 \
            backend_start timestamptz xact_start timestamptz query_start timestamptz state_change \
            timestamptz wait_event_type text wait_event text state text backend_xid text \
            backend_xmin text query_id int8 query text backend_type text",
        rows: pg_stat_activity,
    },
    CatalogTable {
        name: "pg_locks",
        needs_columns: false,
        columns: "locktype text database oid relation oid page int4 tuple int2 virtualxid text \
            transactionid text classid oid objid oid objsubid int2 virtualtransaction text pid \
            int4 \
            mode text granted bool fastpath bool waitstart timestamptz",
        rows: pg_locks,
    },
    CatalogTable {
        name: "pg_user",
        needs_columns: false,
        columns: "usename name usesysid oid usecreatedb bool usesuper bool userepl bool \
                  usebypassrls \
            bool passwd text valuntil timestamptz useconfig text[]",
        rows: |_| {
            let mut row = vec![some("thalweg"), some(USER)];
            row.extend([truth(true), truth(true), truth(false), truth(false), some("********")]);
            row.extend([None, None]);
            vec![row]
        },
    },
    empty(
        "pg_policies",
        "schemaname name tablename name policyname name permissive text roles name[] cmd text qual \
            text with_check text",
    ),
    empty(
        "pg_publication_tables",
        "pubname name schemaname name tablename name attnames name[] rowfilter text",
    ),
    empty(
        "pg_seclabels",
        "objoid oid classoid oid objsubid int4 objtype text objnamespace oid objname text provider \
            text label text",
    ),
    empty("pg_seclabel", "objoid oid classoid oid objsubid int4 provider text label text"),
    empty("pg_shseclabel", "objoid oid classoid oid provider text label text"),
    empty(
        "pg_available_extensions",
        "name name default_version text installed_version text comment text",
    ),
    empty(
        "pg_available_extension_versions",
        "name name version text installed bool superuser bool trusted bool relocatable bool schema \
            name requires name[] comment text",
    ),
    empty(
        "pg_prepared_xacts",
        "transaction text gid text prepared timestamptz owner name database name",
    ),
    empty(
        "pg_stat_database",
        "datid oid datname name numbackends int4 xact_commit int8 xact_rollback int8 blks_read \
         int8 \
            blks_hit int8 tup_returned int8 tup_fetched int8 tup_inserted int8 tup_updated int8 \
            tup_deleted int8 conflicts int8 temp_files int8 temp_bytes int8 deadlocks int8 \
            checksum_failures int8 blk_read_time float8 blk_write_time float8 stats_reset \
            timestamptz",
    ),
    empty("pg_stat_all_tables", STATISTICS),
    empty("pg_stat_user_tables", STATISTICS),
    empty("pg_stat_sys_tables", STATISTICS),
    empty("pg_statio_all_tables", STATISTICS_OF_BLOCKS),
    empty("pg_statio_user_tables", STATISTICS_OF_BLOCKS),
    empty("pg_stat_all_indexes", STATISTICS_OF_INDEXES),
    empty("pg_stat_user_indexes", STATISTICS_OF_INDEXES),
];

/// The node's data, by its own name and by the one that tools connect to first.
fn pg_database(_: &Facts) -> Vec<Row> {
    let row = |(oid, name): (u32, &str)| {
        let mut row = vec![some(oid), some(name), some(USER), some(UTF8), some("c"), truth(false)];
        row.extend([truth(true), some(-1), some(1), some(1), some(TABLESPACE)]);
        row.extend([some("C.UTF-8"), some("C.UTF-8"), None, None, None, None]);
        row
    };
    [(DATABASE_OID, DATABASE), (5, "postgres")].map(row).to_vec()
}

fn pg_stat_activity(facts: &Facts) -> Vec<Row> {
    let time =
        |time_ms: u64| Some(chrono::DateTime::from_timestamp_millis(time_ms as i64)?.to_rfc3339());
    let row = |seen: &Seen| {
        let (host, port) = seen.address.rsplit_once(':').unwrap_or((&seen.address, "-1"));
        let mut row = vec![some(DATABASE_OID), some(DATABASE), some(seen.pid), None, some(USER)];
        row.extend([some("thalweg"), some(&seen.application), some(host), None, some(port)]);
        row.extend([time(seen.since_ms), None]);
        let last = seen.statement.as_ref();
        row.extend([last.and_then(|last| time(last.began_ms))]);
        row.extend([last.and_then(|last| time(last.changed_ms)), None, None]);
        row.push(last.map(|last| if last.is_active { "active" } else { "idle" }.to_owned()));
        row.extend([None, None, None, last.map(|last| last.query.clone())]);
        row.push(some("client backend"));
        row
    };
    facts.clients.iter().map(row).collect()
}

fn pg_locks(facts: &Facts) -> Vec<Row> {
    let row = |&(session, key, is_shared, is_granted): &(u64, Key, bool, bool)| {
        let (class, object, kind) = match key {
            Key::One(number) => ((number as u64 >> 32) as u32, number as u32, 1),
            Key::Two(first, second) => (first as u32, second as u32, 2),
        };
        let mode = if is_shared { "ShareLock" } else { "ExclusiveLock" };
        let mut row = vec![some("advisory"), some(DATABASE_OID), None, None, None, None, None];
        row.extend([
            some(class),
            some(object),
            some(kind),
            None,
            some(pid_of(session)),
            some(mode),
        ]);
        row.extend([truth(is_granted), truth(false), None]);
        row
    };
    facts.locks.iter().map(row).collect()
}
