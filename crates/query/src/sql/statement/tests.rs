//! Tests of `statement.rs`.

use super::*;
use crate::catalog::{OnError, Partitioner, Watermark};

fn stream(text: &str) -> StreamDefinition {
    match parse(text).expect("valid").remove(0) {
        Statement::CreateStream { definition, .. } => definition,
        other => panic!("{other:?}"),
    }
}

#[test]
fn streams_say_everything_in_one_statement() {
    let orders = stream(
        "CREATE STREAM orders (ts TIMESTAMP NOT NULL, customer TEXT, price DECIMAL(10,2), \
         WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) PARTITION BY customer \
         WITH (partitions = 4, retention = '7 days', on_error = 'dead_letter')",
    );
    assert_eq!(orders.columns.len(), 3);
    assert_eq!(orders.partitioner, Partitioner::Hash("customer".into()));
    assert_eq!(orders.watermark, Some(Watermark { column: "ts".into(), delay_us: 5_000_000 }));
    assert_eq!((orders.partitions, orders.retention_ms), (4, Some(604_800_000)));
    assert_eq!(orders.on_error, OnError::DeadLetter);
    let ranges = stream(
        "create stream s (k text) partition by range(k) values ('h', 'p') with (partitions = \
         3)",
    );
    assert_eq!(ranges.partitioner, Partitioner::Range("k".into(), vec!["h".into(), "p".into()]));
}

#[test]
fn views_keep_their_query_and_their_knobs() {
    let text = "CREATE OR REPLACE MATERIALIZED VIEW v WITH (batch_rows = 1, emit = 'close', \
                lateness = '1 minute') \
                AS SELECT k, count(*) FROM s GROUP BY k";
    let Statement::CreateView(view) = parse(text).expect("valid").remove(0) else { panic!() };
    assert!(view.or_replace);
    assert_eq!((view.batch_rows, view.emit, view.lateness_us), (1, Emit::Close, 60_000_000));
    assert_eq!(view.query.to_string(), "SELECT k, count(*) FROM s GROUP BY k");
}

#[test]
fn nonsense_is_refused_with_a_reason() {
    for text in [
        "CREATE STREAM s (a BIGINT, a TEXT)",
        "CREATE STREAM s (a FANCY)",
        "CREATE STREAM s (a DECIMAL(1001, 2))",
        "CREATE STREAM s (a DECIMAL(5, 6))",
        "CREATE STREAM s WITH (colour = 'red')",
        "CREATE STREAM s (ts TIMESTAMP, WATERMARK FOR ts AS other - INTERVAL '1' SECOND)",
        "CREATE MATERIALIZED VIEW v WITH (batch_rows = 0) AS SELECT 1",
        "CREATE STREAM s nonsense",
        "SELEC 1",
        "SELECT 'never ends",
    ] {
        let error = parse(text).expect_err(text);
        assert!(!error.message.is_empty());
    }
    let deep = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    assert!(parse(&deep).is_err());
}

#[test]
fn durations_read_like_intervals() {
    assert_eq!(duration_us("1 hour 30 minutes").expect("valid"), 5_400_000_000);
    assert_eq!(duration_us("500ms").expect("valid"), 500_000);
    assert!(duration_us("soon").is_err());
    assert!(duration_us("5").is_err());
}
