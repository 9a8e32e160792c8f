//! What Postgres 15 answers.

use super::*;

fn text(json: &str) -> String {
    parse(json).expect("valid").to_text().expect("written")
}

#[test]
fn values_are_printed_as_jsonb_prints_them() {
    for (given, expected) in [
        ("{\"b\":1,\"aa\":2,\"a\":3,\"b\":4}", "{\"a\": 3, \"b\": 4, \"aa\": 2}"),
        (" [ 1 , 2.50 , 1e3, -0 ] ", "[1, 2.50, 1000, 0]"),
        ("1.5e-3", "0.0015"),
        ("\"\\u00e9\\ud83d\\ude00\\n\"", "\"é😀\\n\""),
        ("123456789012345678901234567890.10", "123456789012345678901234567890.10"),
        ("{}", "{}"),
    ] {
        assert_eq!(text(given), expected);
    }
}

#[test]
fn what_is_no_json_is_refused() {
    for given in [
        "",
        "{",
        "[1,]",
        "{a:1}",
        "01",
        "1.",
        "'x'",
        "nul",
        "\"\\ud83d\"",
        "\"a\nb\"",
        "1 2",
        "[1] x",
    ] {
        assert_eq!(parse(given).expect_err(given).state.code(), "22P02", "{given}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(parse(&deep).expect_err("deep").state.code(), "54001");
}

#[test]
fn paths_containment_and_changes() {
    let value = parse("{\"a\":[1,{\"b\":[\"x\",\"y\"]}],\"c\":null}").expect("valid");
    let path = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        value.at(&path("a,1,b,-1")).map(|value| value.to_text().expect("written")).as_deref(),
        Some("\"y\"")
    );
    assert!(
        contains(&value, &parse("{\"a\":[{\"b\":[\"x\"]}]}").expect("valid")).expect("compared")
    );
    assert!(!contains(&value, &parse("{\"a\":[2]}").expect("valid")).expect("compared"));
    assert!(
        contains(&parse("[1,2]").expect("valid"), &parse("1.0").expect("valid")).expect("compared")
    );
    assert!(has_key(&value, "c").expect("looked") && !has_key(&value, "d").expect("looked"));
    let set_to = |path_text: &str, create| {
        set(value.clone(), &path(path_text), &Json::Bool(true), create)
            .expect("set")
            .to_text()
            .expect("written")
    };
    assert_eq!(set_to("a,0", true), "{\"a\": [true, {\"b\": [\"x\", \"y\"]}], \"c\": null}");
    assert_eq!(
        set_to("d", true),
        "{\"a\": [1, {\"b\": [\"x\", \"y\"]}], \"c\": null, \"d\": true}"
    );
    assert_eq!(set_to("d", false), value.to_text().expect("written"));
    assert_eq!(
        delete_path(value.clone(), &path("a,1,b")).expect("deleted").to_text().expect("written"),
        "{\"a\": [1, {}], \"c\": null}"
    );
    assert_eq!(
        strip_nulls(value).to_text().expect("written"),
        "{\"a\": [1, {\"b\": [\"x\", \"y\"]}]}"
    );
}

#[test]
fn documents_of_a_statement_that_has_ended_are_not_finished() {
    use crate::error::{SqlError, SqlState};
    use crate::sql::stop::{Stop, within_now};
    let numbers = format!("[{}0]", "0,".repeat(200_000));
    let pairs = format!("[{}[0]]", "[0],".repeat(2_000));
    let (numbers, pairs) = (parse(&numbers).expect("valid"), parse(&pairs).expect("valid"));
    let absent = parse(&format!("[{}[1]]", "[0],".repeat(100))).expect("valid");
    let stop = std::sync::Arc::new(Stop::default());
    stop.stop(SqlError::new(SqlState::QueryCanceled, "enough"));
    within_now(stop, || {
        let failed = numbers.to_pretty_text().err().map(|error| error.message);
        assert_eq!(failed.as_deref(), Some("enough"));
        let absent = [&absent; 100].map(|absent| contains(&pairs, absent));
        assert!(absent.iter().any(Result::is_err));
    });
}
