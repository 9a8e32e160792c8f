//! Tests of `depth.rs`.

use crate::sql::statement::parse;

#[test]
fn long_chains_are_flat_and_deep_statements_are_refused() {
    let ors = (0..20_000).map(|i| format!("1 = {i}")).collect::<Vec<_>>().join(" OR ");
    assert_eq!(parse(&format!("SELECT 1 WHERE {ors}")).expect("flat").len(), 1);
    let sum = vec!["1"; 60_000].join(" + ");
    assert_eq!(parse(&format!("SELECT {sum}")).expect("flat").len(), 1);
    for (union, count) in [("UNION ALL", 2_000), ("UNION", 500), ("EXCEPT ALL", 100)] {
        let union = vec!["SELECT 1"; count].join(&format!(" {union} "));
        assert_eq!(parse(&union).expect("flat").len(), 1);
    }
    // What does not parse is dropped as it is.
    assert!(parse(&format!("SELECT {sum} selekt 1 2")).is_err());
    for deep in [
        format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000)),
        format!("SELECT {} 1", "- ".repeat(10_000)),
        format!("SELECT 1{}", "::int".repeat(10_000)),
        vec!["SELECT 1"; 5_000].join(" EXCEPT ALL "),
        format!("SELECT {} true", "NOT ".repeat(10_000)),
        format!("SELECT 1{}", " IS NULL".repeat(10_000)),
        format!("SELECT 1 {}", "= 1 ".repeat(10_000)),
        format!("SELECT {}1{}", "ROW(".repeat(13), ")".repeat(13)),
        format!("SELECT {}1{}", "(1, ".repeat(13), ")".repeat(13)),
    ] {
        let error = parse(&deep).expect_err("deep");
        assert_eq!(
            error.state.code(),
            "54001",
            "{}: {}",
            deep.get(..30).unwrap_or_default(),
            error.message
        );
    }
}
