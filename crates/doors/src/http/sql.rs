//! `/sql`: statements in, rows out, as JSON, NDJSON, CSV or Arrow by `Accept`.

use super::{Door, Problem};
use crate::sql::{SqlFault, SqlService};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::TryStreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// A statement as JSON.
#[derive(Deserialize)]
struct Request {
    query: String,
    #[serde(default)]
    parameters: Vec<Value>,
}

impl From<SqlFault> for Problem {
    fn from(fault: SqlFault) -> Self {
        let status =
            StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::coded(status, fault.detail, fault.code)
    }
}

pub(super) fn service(door: &Door) -> Result<Arc<dyn SqlService>, Problem> {
    let sql = door.shared.sql.get().cloned();
    sql.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "this node was started without SQL"))
}

fn text_of(headers: &HeaderMap, name: header::HeaderName) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// Runs a statement given as the body: as text, or as JSON with parameters.
pub(super) async fn post(
    State(door): State<Door>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let wrong = |what: String| Problem::bad_request(what);
    let request = if text_of(&headers, header::CONTENT_TYPE).contains("json") {
        serde_json::from_slice(&body).map_err(|error| {
            wrong(format!("the body is {{\"query\": …, \"parameters\": […]}}: {error}"))
        })?
    } else {
        let query = String::from_utf8(body.to_vec())
            .map_err(|_| wrong("the statement is not UTF-8".to_owned()))?;
        Request { query, parameters: Vec::new() }
    };
    answer(&door, &headers, request).await
}

async fn answer(door: &Door, headers: &HeaderMap, request: Request) -> Result<Response, Problem> {
    let accept = text_of(headers, header::ACCEPT);
    let answer = service(door)?.query(request.query, request.parameters, accept).await?;
    // An error in the middle of the rows cuts the body off, so that nobody takes half an answer for
    // a whole one.
    let body = answer.body.map_err(|fault| std::io::Error::other(fault.detail));
    Ok(([(header::CONTENT_TYPE, answer.media_type)], Body::from_stream(body)).into_response())
}

/// Declares a stream.
pub(super) async fn declare(
    State(door): State<Door>,
    Path(name): Path<String>,
    Json(definition): Json<Value>,
) -> Result<Response, Problem> {
    let created = service(&door)?.declare(name.clone(), definition).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(json!({ "stream": name }))).into_response())
}

/// Appends a body to a stream whose records have columns, or in a format that only SQL reads.
pub(super) async fn append(
    door: &Door,
    name: String,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let media_type = text_of(headers, header::CONTENT_TYPE);
    let appended = service(door)?.append(name, media_type, body).await?;
    let body = json!({ "appended": appended.appended, "dead": appended.dead });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}
