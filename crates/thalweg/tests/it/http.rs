//! The HTTP door, spoken to by curl; its OpenAPI document checked by schemathesis.

use crate::server::Server;
use std::process::Command;

struct Answer {
    status: u16,
    headers: String,
    body: String,
}

fn curl(url: &str, args: &[&str]) -> Answer {
    let output = Command::new("curl")
        .args(["-s", "-i", "--max-time", "20"])
        .args(args)
        .arg(url)
        .output()
        .expect("curl; scripts/test installs it");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (headers, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = headers.split_whitespace().nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Answer { status, headers: headers.to_lowercase(), body: body.to_owned() }
}

fn json(answer: &Answer) -> serde_json::Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("not JSON: {}", answer.body))
}

const JSON: [&str; 2] = ["-H", "content-type: application/json"];

#[test]
fn data_can_be_written_read_and_deleted() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]);
    let url = format!("{}/data/user:1", server.http);
    assert_eq!(curl(&url, &[]).status, 404);
    let made =
        curl(&url, &[&JSON[..], &["-X", "PUT", "-d", r#"{"value": {"name": "Ada"}}"#]].concat());
    assert_eq!(made.status, 201);
    let read = curl(&url, &[]);
    assert_eq!((read.status, &json(&read)["data"]["name"]), (200, &"Ada".into()));
    let version = json(&read)["version"].as_u64().expect("a version");
    assert!(read.headers.contains(&format!("etag: \"{version}\"")));
    let etag = format!("if-match: \"{version}\"");
    let changed =
        curl(&url, &[&JSON[..], &["-X", "PUT", "-d", r#"{"value": "two"}"#, "-H", &etag]].concat());
    assert_eq!(changed.status, 200);
    let stale = curl(
        &url,
        &[&JSON[..], &["-X", "PUT", "-d", r#"{"value": "three"}"#, "-H", &etag]].concat(),
    );
    assert_eq!(stale.status, 412);
    assert!(stale.headers.contains("application/problem+json"), "{}", stale.headers);
    let only_new = ["-X", "PUT", "-d", r#"{"value": "x"}"#, "-H", "if-none-match: *"];
    assert_eq!(curl(&url, &[&JSON[..], &only_new].concat()).status, 412);
    let version = json(&curl(&url, &[]))["version"].as_u64().expect("a version");
    assert_eq!(curl(&url, &["-H", &format!("if-none-match: \"{version}\"")]).status, 304);
    assert_eq!(curl(&url, &["-I"]).status, 200);
    let posted = curl(&url, &[&JSON[..], &["-d", r#"{"value": 5}"#]].concat());
    assert_eq!(posted.status, 201);
    assert_eq!(json(&curl(&url, &[]))["data"], 5);
    // Redis clients see the same key.
    assert_eq!(server.connect().call("GET user:1").expect("get"), "5");
    assert_eq!(curl(&url, &["-X", "DELETE"]).status, 204);
    assert_eq!(curl(&url, &["-X", "DELETE"]).status, 404);
}

#[test]
fn raw_bytes_times_to_live_and_other_types() {
    let server = Server::in_memory();
    let url = format!("{}/data/blob", server.http);
    let raw = [
        "-X",
        "PUT",
        "-H",
        "content-type: application/octet-stream",
        "--data-binary",
        "just bytes",
    ];
    assert_eq!(curl(&format!("{url}?ttl=100s"), &raw).status, 201);
    assert_eq!(curl(&url, &["-H", "accept: application/octet-stream"]).body, "just bytes");
    let ttl_ms = json(&curl(&url, &[]))["ttl_ms"].as_u64().expect("a TTL");
    assert!((90_000..=100_000).contains(&ttl_ms));
    assert_eq!(curl(&url, &[&raw[..], &["-H", "x-ttl: soon"]].concat()).status, 400);
    server.connect().call("HSET hash f v").expect("hset");
    let wrong = curl(&format!("{}/data/hash", server.http), &[]);
    assert_eq!((wrong.status, &json(&wrong)["code"]), (409, &"WRONGTYPE".into()));
    for body in ["", "nonsense", "[]", "{}"] {
        let refused = curl(&url, &[&JSON[..], &["-X", "PUT", "-d", body]].concat());
        assert_eq!(refused.status, 400, "{body}");
        assert!(json(&refused)["detail"].as_str().is_some_and(|detail| detail.contains("value")));
    }
    assert_eq!(curl(&format!("{}/nowhere", server.http), &[]).status, 404);
    assert_eq!(curl(&url, &["-X", "PATCH"]).status, 405);
}

#[test]
fn streams_are_appended_read_awaited_and_followed() {
    let server = Server::in_memory();
    let url = format!("{}/streams/clicks", server.http);
    let one = curl(&url, &[&JSON[..], &["-d", r#"{"page": "/", "n": 1}"#]].concat());
    assert_eq!(one.status, 201);
    let ndjson =
        ["-H", "content-type: application/x-ndjson", "--data-binary", "{\"n\":2}\n{\"n\":3}\n"];
    let many = curl(&url, &ndjson);
    assert_eq!((many.status, &json(&many)["appended"]), (201, &2.into()));
    let broken =
        ["-H", "content-type: application/x-ndjson", "--data-binary", "{\"n\":4}\nnonsense\n"];
    assert_eq!(curl(&url, &broken).status, 400);
    let read = json(&curl(&url, &[]));
    assert_eq!(read["records"].as_array().map(Vec::len), Some(3));
    assert_eq!(read["records"][0]["fields"]["page"], "/");
    let next = read["next"].as_str().expect("an ID").to_owned();
    let nothing = json(&curl(&format!("{url}?after={next}&wait=50ms"), &[]));
    assert_eq!(nothing["records"].as_array().map(Vec::len), Some(0));
    let waiting = {
        let url = format!("{url}?after={next}&wait=10s");
        std::thread::spawn(move || json(&curl(&url, &[])))
    };
    let following = {
        let url = url.clone();
        std::thread::spawn(move || {
            curl(&url, &["-N", "--max-time", "2", "-H", "accept: text/event-stream"])
        })
    };
    std::thread::sleep(std::time::Duration::from_millis(300));
    server.connect().call("XADD clicks * n 5").expect("xadd");
    let woken = waiting.join().expect("a thread");
    assert_eq!(woken["records"][0]["fields"]["n"], "5");
    let events = following.join().expect("a thread").body;
    assert_eq!(events.matches("data:").count(), 4, "{events}");
    assert!(events.contains("id: ") && events.contains(r#"{"n":"5"}"#), "{events}");
}

#[test]
fn health_metrics_and_the_dashboard() {
    let server = Server::start(std::path::Path::new("memory"), &["--password", "secret"]);
    assert_eq!(curl(&format!("{}/healthz", server.http), &[]).status, 200);
    assert_eq!(curl(&format!("{}/readyz", server.http), &[]).status, 200);
    let metrics = format!("{}/metrics", server.http);
    assert_eq!(curl(&metrics, &[]).status, 401);
    let allowed = curl(&metrics, &["-H", "authorization: Bearer secret"]);
    assert!(allowed.body.contains("# TYPE thalweg_commands_total counter"), "{}", allowed.body);
    let page = curl(&format!("{}/", server.http), &["-u", "me:secret"]);
    assert!(page.body.contains("<title>Thalweg</title>") && !page.body.contains("src=\"http"));
    let events = curl(
        &format!("{}/dashboard/events", server.http),
        &["-u", "me:secret", "-N", "--max-time", "2"],
    );
    assert!(events.body.contains("\"commands_per_second\""), "{}", events.body);
}

#[test]
fn the_openapi_document_holds() {
    let Ok(python) = std::env::var("THALWEG_TEST_PYTHON") else {
        eprintln!("skipped: run scripts/test, which installs schemathesis");
        return;
    };
    let server = Server::in_memory();
    let output = Command::new(python)
        .args([
            "-m",
            "schemathesis.cli",
            "run",
            "--checks",
            "all",
            "--hypothesis-max-examples",
            "40",
        ])
        .args([
            "--hypothesis-seed",
            "1",
            "--exclude-checks",
            "ignored_auth",
            "--experimental",
            "openapi-3.1",
        ])
        .arg(format!("{}/openapi.json", server.http))
        .output()
        .expect("schemathesis");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
