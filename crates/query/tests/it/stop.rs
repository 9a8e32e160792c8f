//! Statements that have to end while they compute.

use crate::support::Sql;
use futures_util::StreamExt;
use thalweg_query::{Database, Format, SqlError, Statements};

/// The code of the error that a request ends with.
async fn code(database: &Database, statements: Statements, text: &str) -> &'static str {
    let pieces = database.answer(statements, text, &[], Format::Json).await;
    let failed = match pieces {
        Ok(pieces) => {
            let mut pieces = std::pin::pin!(pieces);
            let mut failed: Option<SqlError> = None;
            while let Some(piece) = pieces.next().await {
                failed = piece.err();
            }
            failed
        }
        Err(error) => Some(error),
    };
    failed.map_or("", |error| error.state.code())
}

/// Each takes half a second and more, most of it in one call.
const LONG_CALLS: [&str; 6] = [
    "SELECT length(jsonb_pretty(('[' || repeat('1,', 3000000) || '1]')::jsonb))",
    "SELECT length(initcap(repeat('ab ', 20000000)))",
    "SELECT length(regexp_replace(repeat('ab1,', 5000000), '(a)(b)?', '\\2\\1', 'g'))",
    "SELECT count(*) FROM regexp_matches(repeat('1,', 3000000), '(.)(.)?', 'g')",
    "SELECT length(jsonb_agg(g)::text) FROM generate_series(1, 2000000) g",
    "SELECT a @> a FROM (SELECT jsonb_agg(jsonb_build_array(g)) a FROM generate_series(1, 3000) g)",
];

#[test]
fn a_call_ends_in_the_middle_when_its_time_is_over() {
    let sql = Sql::in_memory();
    let database = sql.database().clone();
    for call in LONG_CALLS {
        let request = database.request();
        let text = format!("SET statement_timeout = 20; {call}");
        let ended = sql.block_on(code(&database, request.statements(), &text));
        assert_eq!(ended, "57014", "{call}");
    }
}

#[test]
fn a_long_statement_ends_while_it_is_read_and_rewritten() {
    let sql = Sql::in_memory();
    let database = sql.database().clone();
    let conditions: Vec<String> = (0..20_000).map(|n| format!("(g = {n} AND g + 1 < 3)")).collect();
    let request = database.request();
    let text = format!(
        "SET statement_timeout = 5; SELECT 1 FROM generate_series(1, 2) g WHERE {}",
        conditions.join(" OR ")
    );
    assert_eq!(sql.block_on(code(&database, request.statements(), &text)), "57014");
}

#[test]
fn statements_end_with_their_request() {
    let sql = Sql::in_memory();
    let database = sql.database().clone();
    let request = database.request();
    let (statements, inner) = (request.statements(), database.clone());
    let endless =
        "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b";
    let task = database.runtime().spawn(async move { code(&inner, statements, endless).await });
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert!(!task.is_finished());
    drop(request);
    assert_eq!(sql.block_on(task).expect("joined"), "57014");
}
