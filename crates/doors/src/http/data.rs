//! `/data/{key}`: strings, as JSON or as they are.
//!
//! In: a JSON object `{"value": …}` (a string is stored as its bytes, anything else as its JSON
//! text), or with any other content type the body as it is. Numbers keep their digits. Out:
//! `{"data": …, "version": …}`, or the bytes where the client accepts `application/octet-stream`
//! before JSON. A value that reads as JSON is given as JSON, other text as a string, anything else
//! in Base64 with `"encoding": "base64"`. The version is the entry's LSN and its ETag.

use super::{Door, Problem};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use foldhash::HashMap;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use thalweg_base::units::parse_duration_ms;
use thalweg_machine::{Condition, StringEntry, WriteOutcome};

#[derive(Deserialize)]
pub(super) struct WriteQuery {
    /// For how long the entry lives: `10s`, `500ms`, or a number of seconds.
    ttl: Option<String>,
}

/// Reads an entry. HEAD comes here, too; its body is dropped on the way out.
pub(super) async fn get(
    State(door): State<Door>,
    Path(key): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let engine = &door.shared.engine;
    let found = engine.enter(|engine| engine.read_entry(key.as_bytes())).await??;
    let entry = found.ok_or_else(|| missing(&key))?;
    let not_changed = match condition_of(&headers)? {
        Condition::NotVersion(versions) => versions.contains(&entry.version),
        Condition::Absent => true,
        condition @ Condition::Version(_) if !holds(&condition, entry.version) => {
            return Err(refused());
        }
        _ => false,
    };
    let mut response = if not_changed {
        StatusCode::NOT_MODIFIED.into_response()
    } else if prefers_bytes(&headers) {
        ([(header::CONTENT_TYPE, "application/octet-stream")], entry.value.clone()).into_response()
    } else {
        Json(as_json(&entry, engine.now_ms())?).into_response()
    };
    set_etag(&mut response, entry.version);
    Ok(response)
}

fn holds(condition: &Condition, version: u64) -> bool {
    matches!(condition, Condition::Version(versions) if versions.contains(&version))
}

#[derive(Serialize)]
struct EntryBody {
    data: Box<RawValue>,
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
}

fn as_json(entry: &StringEntry, now_ms: u64) -> Result<EntryBody, Problem> {
    let (data, encoding) = match std::str::from_utf8(&entry.value) {
        // What reads as JSON stays as it was written, with all digits of its numbers.
        Ok(text) => (serde_json::from_str(text).or_else(|_| to_raw_value(text)), None),
        Err(_) => (to_raw_value(&encode_base64(&entry.value)), Some("base64")),
    };
    let data = data.map_err(|error| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write the value: {error}"))
    })?;
    let ttl_ms = entry.expires_at_ms.map(|at_ms| at_ms.saturating_sub(now_ms));
    Ok(EntryBody { data, version: entry.version, encoding, ttl_ms })
}

/// Makes or replaces an entry.
pub(super) async fn put(
    State(door): State<Door>,
    Path(key): Path<String>,
    Query(query): Query<WriteQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    write(&door, &key, &query, &headers, &body, StatusCode::OK).await
}

/// Makes or replaces an entry, and always answers 201.
pub(super) async fn post(
    State(door): State<Door>,
    Path(key): Path<String>,
    Query(query): Query<WriteQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    write(&door, &key, &query, &headers, &body, StatusCode::CREATED).await
}

async fn write(
    door: &Door,
    key: &str,
    query: &WriteQuery,
    headers: &HeaderMap,
    body: &[u8],
    replaced: StatusCode,
) -> Result<Response, Problem> {
    let value = value_of(headers, body)?;
    let condition = condition_of(headers)?;
    let engine = &door.shared.engine;
    let expires_at_ms = match ttl_ms(query, headers)? {
        Some(ttl_ms) => Some(
            engine
                .now_ms()
                .checked_add(ttl_ms)
                .ok_or_else(|| Problem::bad_request("the TTL is too long"))?,
        ),
        None => None,
    };
    let outcome = engine
        .enter(|engine| engine.put_entry(key.as_bytes(), &value, expires_at_ms, &condition))
        .await??;
    let (status, version) = match outcome {
        WriteOutcome::Created(version) => (StatusCode::CREATED, version),
        WriteOutcome::Changed(version) => (replaced, version),
        WriteOutcome::Missing | WriteOutcome::Refused => return Err(refused()),
    };
    let mut response = (status, Json(json!({ "version": version }))).into_response();
    set_etag(&mut response, version);
    Ok(response)
}

/// Deletes an entry of any type.
pub(super) async fn delete(
    State(door): State<Door>,
    Path(key): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let condition = condition_of(&headers)?;
    let engine = &door.shared.engine;
    let outcome = engine.enter(|engine| engine.delete_entry(key.as_bytes(), &condition)).await??;
    match outcome {
        WriteOutcome::Created(_) | WriteOutcome::Changed(_) => Ok(StatusCode::NO_CONTENT),
        WriteOutcome::Missing => Err(missing(&key)),
        WriteOutcome::Refused => Err(refused()),
    }
}

fn missing(key: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is no key '{key}'"))
}

fn refused() -> Problem {
    Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "the entry is not in the state that If-Match or If-None-Match asks for; read it again",
    )
}

/// The bytes to store.
pub(super) fn value_of(headers: &HeaderMap, body: &[u8]) -> Result<Vec<u8>, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_json = kind.is_none_or(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        // What curl sends unless told otherwise.
        kind.eq_ignore_ascii_case("application/json")
            || kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    });
    let encoding = headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "a body with a Content-Encoding is not taken; send it as it is",
        ));
    }
    if !is_json {
        return Ok(body.to_vec());
    }
    let wrong = |what: &str| {
        Problem::bad_request(format!(
            "{what}; send a JSON object such as {{\"value\": 1}}, or raw bytes as \
             application/octet-stream"
        ))
    };
    let not_json = |error| wrong(&format!("the body is not JSON: {error}"));
    let whole: &RawValue = serde_json::from_slice(body).map_err(not_json)?;
    if !whole.get().starts_with('{') {
        return Err(wrong("the body is not an object"));
    }
    let mut fields: HashMap<String, Box<RawValue>> =
        serde_json::from_str(whole.get()).map_err(not_json)?;
    let value = fields.remove("value").ok_or_else(|| wrong("the body has no field 'value'"))?;
    if value.get().starts_with('"') {
        return Ok(serde_json::from_str::<String>(value.get()).map_err(not_json)?.into_bytes());
    }
    Ok(value.get().as_bytes().to_vec())
}

/// The TTL from the query or the header `X-TTL`.
fn ttl_ms(query: &WriteQuery, headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let header = headers.get("x-ttl").map(|ttl| ttl.to_str().unwrap_or("?"));
    let Some(text) = query.ttl.as_deref().or(header) else { return Ok(None) };
    let wrong = || {
        Problem::bad_request(format!("cannot read the TTL '{text}'; write 10s, 500ms, or seconds"))
    };
    let ttl_ms = match text.parse::<u64>() {
        Ok(seconds) => seconds.checked_mul(1_000).ok_or_else(wrong)?,
        Err(_) => parse_duration_ms(text).map_err(|_| wrong())?,
    };
    if ttl_ms == 0 { Err(wrong()) } else { Ok(Some(ttl_ms)) }
}

/// The condition that If-Match and If-None-Match ask for.
fn condition_of(headers: &HeaderMap) -> Result<Condition, Problem> {
    let read = |name: header::HeaderName| {
        headers.get(name).map(|value| {
            value.to_str().map_err(|_| Problem::bad_request("a condition is not text"))
        })
    };
    let versions = |text: &str| -> Vec<u64> {
        // An ETag that is not ours matches nothing.
        text.split(',')
            .filter_map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"').parse().ok())
            .collect()
    };
    Ok(match (read(header::IF_MATCH).transpose()?, read(header::IF_NONE_MATCH).transpose()?) {
        (Some("*"), _) => Condition::Present,
        (Some(tags), _) => Condition::Version(versions(tags)),
        (None, Some("*")) => Condition::Absent,
        (None, Some(tags)) => Condition::NotVersion(versions(tags)),
        (None, None) => Condition::Always,
    })
}

fn prefers_bytes(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    // The kind with the greatest weight; of equals, the first.
    let mut best = ("", 0.0f32);
    for range in accept.unwrap_or_default().split(',') {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
        if weight > best.1 {
            best = (kind, weight);
        }
    }
    best.0.eq_ignore_ascii_case("application/octet-stream")
}

fn set_etag(response: &mut Response, version: u64) {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
}

fn encode_base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let at = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let value = (bits >> (18 - 6 * place) & 63) as usize;
            let letter = ALPHABET.get(value).copied().unwrap_or(b'=');
            out.push(if place <= group.len() { letter as char } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_where_they_weigh_most() {
        for (accept, bytes) in [
            ("application/octet-stream", true),
            ("application/octet-stream, application/json", true),
            ("application/octet-stream;q=0.5, application/json", false),
            ("application/json;q=0.1, application/octet-stream;q=0.9", true),
            ("*/*", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(prefers_bytes(&headers), bytes, "{accept}");
        }
    }

    #[test]
    fn base64_as_everybody_writes_it() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(encode_base64(bytes.as_bytes()), text);
        }
    }
}
