//! Partitions that fall silent: windows close without them, and what is late is decided once.

use crate::support::Sql;
use crate::views::{Event, create_stream, insert, table_of, wait_for_views};
use proptest::prelude::*;
use std::time::{Duration, Instant};
use thalweg_node::EngineSettings;
use thalweg_query::SqlSettings;

/// What happens to a stream of several partitions.
#[derive(Clone, Debug)]
enum Happening {
    /// Records for some of the keys, each so many seconds after the one before, now and then one
    /// that is behind.
    Load { keys: Vec<u8>, count: i64, step: i64, behind: Option<i64> },
    /// Longer than partitions may be silent.
    Quiet,
    /// Shorter than that.
    Pause,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let keys = proptest::collection::vec(0u8..6, 1..5);
    let load = (keys, 1i64..120, 0i64..4, proptest::option::weighted(0.3, 1i64..40));
    let load =
        load.prop_map(|(keys, count, step, behind)| Happening::Load { keys, count, step, behind });
    let happening =
        prop_oneof![4 => load, 1 => Just(Happening::Quiet), 1 => Just(Happening::Pause)];
    proptest::collection::vec(happening, 2..10)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, max_shrink_iters: 20,
        ..ProptestConfig::default() })]

    /// Quiet times, loads, partitions that stop and come back: no record is late that came in
    /// order, and whoever reads the stream later, in other batches, sets the same records aside and
    /// says the same.
    #[test]
    fn what_is_late_is_decided_once(happenings in happenings()) {
        let settings = SqlSettings { idle_ms: 60, ..SqlSettings::default() };
        let mut sql = Sql::open(EngineSettings::in_memory(), settings);
        create_stream(&mut sql, 3, "2 second");
        let query = "SELECT window_start, k, count(*) AS c, sum(n) AS s FROM TUMBLE(e, ts, \
                     INTERVAL '5' SECOND) GROUP BY window_start, k";
        sql.rows(&format!("CREATE MATERIALIZED VIEW live AS {query}"));
        let mut second = 0;
        let mut in_order = true;
        for happening in happenings {
            match happening {
                Happening::Load { keys, count, step, behind } => {
                    let mut events = Vec::new();
                    for at in 0..count {
                        second += step;
                        let behind = behind.filter(|_| at % 7 == 3).unwrap_or(0);
                        in_order &= behind <= 2;
                        let key = keys.get(at as usize % keys.len()).copied().unwrap_or(0);
                        events.push(Event { second: (second - behind).max(0), key,
                            number: Some(at) });
                    }
                    insert(&mut sql, &events);
                }
                Happening::Quiet => std::thread::sleep(Duration::from_millis(150)),
                Happening::Pause => std::thread::sleep(Duration::from_millis(30)),
            }
        }
        // The last marks are written.
        std::thread::sleep(Duration::from_millis(200));
        sql.rows(&format!("CREATE MATERIALIZED VIEW replay WITH (batch_rows = 1) AS {query}"));
        sql.rows(&format!("CREATE MATERIALIZED VIEW whole AS {query}"));
        wait_for_views(&mut sql);
        let live = table_of(&sql.rows("SELECT * FROM live"));
        let late = sql.rows("SELECT late FROM sys.views WHERE view = 'live'");
        for other in ["replay", "whole"] {
            prop_assert_eq!(&live, &table_of(&sql.rows(&format!("SELECT * FROM {other}"))));
            let others = sql.rows(&format!("SELECT late FROM sys.views WHERE view = '{other}'"));
            prop_assert_eq!(&late, &others);
        }
        if in_order {
            prop_assert_eq!(late, "0");
            prop_assert_eq!(live, table_of(&sql.rows(query)));
        }
    }
}

#[test]
fn a_partition_that_is_silent_lets_windows_close() {
    let settings = SqlSettings { idle_ms: 50, ..SqlSettings::default() };
    let mut sql = Sql::open(EngineSettings::in_memory(), settings);
    create_stream(&mut sql, 4, "1 second");
    sql.rows(
        "CREATE MATERIALIZED VIEW v WITH (emit = 'close') AS \
         SELECT window_start, count(*) AS c FROM TUMBLE(e, ts, INTERVAL '10' SECOND) GROUP BY \
         window_start",
    );
    // One key is one partition; three bring nothing.
    let event = |second| Event { second, key: 1, number: Some(1) };
    insert(&mut sql, &[event(1), event(2), event(15), event(25)]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while sql.rows("SELECT count(*) FROM v") != "2" {
        assert!(Instant::now() < deadline, "no window closes");
        std::thread::sleep(Duration::from_millis(20));
    }
    let marks = sql.engine.call(&[
        b"EXISTS",
        b"thalweg:marks:e:0",
        b"thalweg:marks:e:1",
        b"thalweg:marks:e:2",
        b"thalweg:marks:e:3",
    ]);
    assert_eq!(marks.expect("a reply"), thalweg_machine::Reply::Integer(3));
    sql.rows("DROP MATERIALIZED VIEW v");
    sql.rows("DROP STREAM e");
    let left = sql.engine.call(&[b"KEYS", b"thalweg:marks:*"]).expect("a reply");
    assert!(left.elements().is_empty(), "{left:?}");
}
