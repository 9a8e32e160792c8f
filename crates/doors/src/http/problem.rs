//! Errors as problem details (RFC 9457): what happened, to what, what to do.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use thalweg_machine::CommandError;

/// An error on its way to a client.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    /// The stable code, for programs.
    code: Option<&'static str>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), code: None }
    }

    pub(crate) fn coded(status: StatusCode, detail: String, code: &'static str) -> Self {
        Self { status, detail, code: Some(code) }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        let status = match error.code {
            "WRONGTYPE" => StatusCode::CONFLICT,
            "MISCONF" | "OOM" => StatusCode::INSUFFICIENT_STORAGE,
            _ if error == CommandError::new("no such key") => StatusCode::NOT_FOUND,
            _ => StatusCode::BAD_REQUEST,
        };
        Self { status, detail: error.message.into_owned(), code: Some(error.code) }
    }
}

impl From<thalweg_node::EngineError> for Problem {
    fn from(error: thalweg_node::EngineError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let (Some(code), Some(fields)) = (self.code, body.as_object_mut()) {
            fields.insert("code".to_owned(), code.into());
        }
        let mut response = (self.status, Json(body)).into_response();
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static("application/problem+json"),
        );
        response
    }
}
