//! `/streams/{name}`: append records, read them from an offset, follow them.
//!
//! A record is a JSON object whose fields become the record's fields (a string as its bytes,
//! anything else as its JSON text). One object, or NDJSON with `Content-Type:
//! application/x-ndjson`, which is appended as one batch. Reading gives `{"records": [{"id": …,
//! "fields": {…}}], "next": …}`; `next` is the `after` of the next read. `wait` makes an empty read
//! wait for records. With `Accept: text/event-stream` the stream is followed as server-sent events,
//! whose IDs make a browser go on where it stopped.

use super::{Door, Problem};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thalweg_base::units::parse_duration_ms;
use thalweg_machine::{Reply, StreamId};
use thalweg_node::Session;
use tokio::sync::Notify;

/// Records of one request.
const RECORDS_MAX: usize = 100_000;
const READ_MAX: usize = 10_000;
const WAIT_MAX_MS: u64 = 60_000;

#[derive(Deserialize)]
pub(super) struct ReadQuery {
    /// Read what comes after this ID; `$` is the end of the stream, the default its beginning.
    after: Option<String>,
    /// At most so many records.
    count: Option<usize>,
    /// Wait this long for the first one.
    wait: Option<String>,
}

/// Appends one record, or many as one batch.
pub(super) async fn append(
    State(door): State<Door>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let sql_reads = kind.contains("csv") || kind.contains("arrow") || body.first() == Some(&b'[');
    if sql_reads || door.shared.sql.get().is_some_and(|sql| sql.partition_keys(&name).is_some()) {
        return super::sql::append(&door, name, &headers, body).await;
    }
    let bulk = kind.contains("ndjson") || kind.contains("jsonl");
    let records = if bulk { parse_lines(&body)? } else { vec![parse_record(&body, None)?] };
    if records.len() > RECORDS_MAX {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("{} records; append at most {RECORDS_MAX} at once", records.len()),
        ));
    }
    let mut session = Session::default();
    if bulk {
        door.shared.engine.call_async(&mut session, &[b"MULTI"]).await?;
    }
    let mut last = Reply::Null;
    for record in &records {
        let mut args: Vec<&[u8]> = vec![b"XADD", name.as_bytes(), b"*"];
        args.extend(record.iter().flat_map(|(field, value)| [field.as_slice(), value.as_slice()]));
        last = door.shared.engine.call_async(&mut session, &args).await?;
        refuse_error(&last)?;
    }
    if !bulk {
        let id = String::from_utf8_lossy(last.as_bytes().unwrap_or_default()).into_owned();
        return Ok((StatusCode::CREATED, Json(json!({ "id": id }))).into_response());
    }
    let reply = door.shared.engine.call_async(&mut session, &[b"EXEC"]).await?;
    refuse_error(&reply)?;
    let ids = reply.elements();
    for id in ids {
        refuse_error(id)?;
    }
    let text = |reply: Option<&Reply>| {
        reply.and_then(Reply::as_bytes).map(|id| String::from_utf8_lossy(id).into_owned())
    };
    let body =
        json!({ "appended": ids.len(), "first": text(ids.first()), "last": text(ids.last()) });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

fn refuse_error(reply: &Reply) -> Result<(), Problem> {
    match reply {
        Reply::Error(error) => Err(error.clone().into()),
        _ => Ok(()),
    }
}

pub(super) type Record = Vec<(Vec<u8>, Vec<u8>)>;

pub(super) fn parse_lines(body: &[u8]) -> Result<Vec<Record>, Problem> {
    body.split(|&byte| byte == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace))
        .map(|(number, line)| parse_record(line, Some(number + 1)))
        .collect()
}

fn parse_record(json: &[u8], line: Option<usize>) -> Result<Record, Problem> {
    let at = line.map_or(String::new(), |line| format!("line {line}: "));
    let wrong = |what: String| Problem::bad_request(format!("{at}{what}; nothing was appended"));
    let value: Value =
        serde_json::from_slice(json).map_err(|error| wrong(format!("not JSON: {error}")))?;
    let Value::Object(fields) = value else {
        return Err(wrong("a record is a JSON object".to_owned()));
    };
    if fields.is_empty() {
        return Err(wrong("a record has at least one field".to_owned()));
    }
    let bytes = |value: Value| match value {
        Value::String(text) => text.into_bytes(),
        other => other.to_string().into_bytes(),
    };
    Ok(fields.into_iter().map(|(name, value)| (name.into_bytes(), bytes(value))).collect())
}

/// Reads records, waits for them, or follows them.
pub(super) async fn read(
    State(door): State<Door>,
    Path(name): Path<String>,
    Query(query): Query<ReadQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let resumed = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let after = resumed.or(query.after.as_deref()).unwrap_or("0").to_owned();
    if after != "$" && StreamId::parse(after.as_bytes(), 0).is_none() {
        return Err(Problem::bad_request(format!(
            "'{after}' is not a record's ID; it looks like 1700000000000-0"
        )));
    }
    let count = query.count.unwrap_or(100).clamp(1, READ_MAX);
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("");
    let mut reader = Reader::new(door, name, after).await?;
    if accept.contains("text/event-stream") {
        let events = Sse::new(follow(reader)).keep_alive(KeepAlive::default());
        return Ok(events.into_response());
    }
    let wait_ms = match &query.wait {
        Some(wait) => parse_duration_ms(wait)
            .map_err(|error| Problem::bad_request(error.to_string()))?
            .min(WAIT_MAX_MS),
        None => 0,
    };
    let records = reader.next(count, Duration::from_millis(wait_ms)).await?;
    let body = json!({ "records": records, "next": reader.after });
    Ok(Json(body).into_response())
}

/// Reads a stream piece by piece; waits without holding a thread.
struct Reader {
    door: Door,
    name: String,
    after: String,
    waiter: u64,
    changed: Arc<Notify>,
}

impl Reader {
    async fn new(door: Door, name: String, after: String) -> Result<Self, Problem> {
        let changed = Arc::new(Notify::new());
        let waker = changed.clone();
        // A permit, not only a wake-up: a change before the wait must not be lost.
        let waiter = door.shared.engine.add_waiter(Arc::new(move || waker.notify_one()));
        let mut reader = Self { door, name, after, waiter, changed };
        if reader.after == "$" {
            let args: [&[u8]; 6] =
                [b"XREVRANGE", reader.name.as_bytes(), b"+", b"-", b"COUNT", b"1"];
            let reply =
                reader.door.shared.engine.call_async(&mut Session::default(), &args).await?;
            refuse_error(&reply)?;
            let last =
                reply.elements().first().and_then(|record| record.elements().first()?.as_bytes());
            reader.after =
                last.map_or("0".to_owned(), |id| String::from_utf8_lossy(id).into_owned());
        }
        Ok(reader)
    }

    /// The next records; waits for the first one. None in time: an empty list.
    async fn next(&mut self, count: usize, patience: Duration) -> Result<Vec<Value>, Problem> {
        let deadline = Instant::now() + patience;
        loop {
            let key = [self.name.clone().into_bytes()];
            self.door.shared.engine.wait_for(self.waiter, &key);
            let records = self.read_now(count).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            if !records.is_empty() || left.is_zero() {
                return Ok(records);
            }
            if self.door.shared.is_draining() {
                return Ok(records);
            }
            // Out of time: the next round looks once more and ends.
            let _changed_or_late = tokio::time::timeout(left, self.changed.notified()).await;
        }
    }

    async fn read_now(&mut self, count: usize) -> Result<Vec<Value>, Problem> {
        let count = count.to_string();
        let after = format!("({}", self.after);
        let start = if self.after == "0" { "-" } else { &after };
        let args: [&[u8]; 6] =
            [b"XRANGE", self.name.as_bytes(), start.as_bytes(), b"+", b"COUNT", count.as_bytes()];
        let reply = self.door.shared.engine.call_async(&mut Session::default(), &args).await?;
        refuse_error(&reply)?;
        let records: Vec<Value> = reply.elements().iter().filter_map(as_json).collect();
        if let Some(id) = records.last().and_then(|record| record["id"].as_str()) {
            self.after = id.to_owned();
        }
        Ok(records)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let key = [self.name.clone().into_bytes()];
        self.door.shared.engine.remove_waiter(self.waiter, &key);
    }
}

fn as_json(record: &Reply) -> Option<Value> {
    let [id, fields] = record.elements() else { return None };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut object = Map::new();
    let mut fields = fields.elements().iter().filter_map(Reply::as_bytes);
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        object.insert(text(name), text(value).into());
    }
    Some(json!({ "id": text(id.as_bytes()?), "fields": object }))
}

/// A stream as events, without end.
fn follow(reader: Reader) -> impl Stream<Item = Result<Event, Infallible>> {
    let pending: std::vec::IntoIter<Value> = Vec::new().into_iter();
    futures_util::stream::unfold((reader, pending), async |(mut reader, mut pending)| {
        loop {
            if let Some(record) = pending.next() {
                let id = record["id"].as_str().unwrap_or_default().to_owned();
                let event = Event::default().id(id).data(record["fields"].to_string());
                return Some((Ok(event), (reader, pending)));
            }
            match reader.next(256, Duration::from_secs(15)).await {
                Ok(records) if records.is_empty() && reader.door.shared.is_draining() => {
                    return None;
                }
                Ok(records) => pending = records.into_iter(),
                Err(_) => return None,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_objects_and_errors_say_where() {
        let record = parse_record(br#"{"a": "x", "b": 2, "c": {"d": true}}"#, None).expect("valid");
        assert_eq!(record.len(), 3);
        assert_eq!(record[1], (b"b".to_vec(), b"2".to_vec()));
        assert!(parse_record(b"[]", None).is_err());
        assert!(parse_record(b"{}", None).is_err());
        assert_eq!(parse_lines(b"{\"a\":1}\n\n{\"b\":2}\n").expect("valid").len(), 2);
        let problem = parse_lines(b"{\"a\":1}\nnonsense").expect_err("the second line is wrong");
        assert!(format!("{problem:?}").contains("line 2"));
    }
}
