//! The HTTP door: a REST API for data and streams, health, metrics, and the dashboard.

mod activity;
mod auth;
mod dashboard;
mod data;
mod listener;
mod metrics;
mod openapi;
mod problem;
mod sql;
mod streams;

use crate::shared::{DoorError, Shared};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use problem::Problem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use thalweg_listen::{Acceptor, Tls, TlsAddress};
use thalweg_node::Health;

/// What every handler gets.
#[derive(Clone)]
pub(crate) struct Door {
    shared: Arc<Shared>,
}

/// The open HTTP door.
pub struct HttpDoor {
    address: SocketAddr,
}

impl HttpDoor {
    /// Where the door listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Opens the door; requests are served on the runtime that this is called on.
pub fn open(shared: Arc<Shared>, address: SocketAddr) -> Result<HttpDoor, DoorError> {
    serve(shared, address, None)
}

/// Opens the door for those who speak TLS.
pub fn open_tls(shared: Arc<Shared>, address: TlsAddress) -> Result<HttpDoor, DoorError> {
    serve(shared, address.address, Some(address.tls))
}

fn serve(
    shared: Arc<Shared>,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
) -> Result<HttpDoor, DoorError> {
    let access = shared.access.clone();
    let acceptor = Acceptor::bind(address, access.clone())
        .map_err(|source| DoorError::Listen { address, source })?;
    let address = acceptor.address();
    let listener = listener::Counted { acceptor, tls, shared: shared.clone() };
    let app = router(Door { shared }).layer(axum::middleware::from_fn(activity::note));
    let app = app.into_make_service_with_connect_info::<activity::Activity>();
    let draining = async move { access.drain.begun().await };
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(draining).await {
            tracing::error!(%error, "the HTTP door has closed");
        }
    });
    Ok(HttpDoor { address })
}

/// Reads bytes as every kind of body that the door takes. For fuzzing.
#[doc(hidden)]
pub fn fuzz_bodies(bytes: &[u8]) {
    let _value = data::value_of(&axum::http::HeaderMap::new(), bytes);
    let _records = streams::parse_lines(bytes);
}

fn router(door: Door) -> Router {
    let guarded = Router::new()
        .route("/data/{*key}", get(data::get).put(data::put).post(data::post).delete(data::delete))
        .route("/streams/{name}", get(streams::read).post(streams::append).put(sql::declare))
        .route("/sql", axum::routing::post(sql::post))
        .route("/metrics", get(metrics::metrics))
        .route("/", get(dashboard::page))
        .route("/dashboard/events", get(dashboard::events))
        .layer(axum::middleware::from_fn_with_state(door.clone(), auth::require));
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/openapi.json", get(openapi::document))
        .merge(guarded)
        .fallback(async || {
            Problem::new(StatusCode::NOT_FOUND, "there is nothing at this path; see /openapi.json")
        })
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this path does not have this method; see /openapi.json",
            )
        })
        .layer(axum::middleware::from_fn_with_state(door.clone(), count))
        .with_state(door)
}

async fn count(
    axum::extract::State(door): axum::extract::State<Door>,
    mut request: axum::extract::Request,
    next: axum::middleware::Next,
) -> axum::response::Response {
    door.shared.stats.http_requests.fetch_add(1, Ordering::Relaxed);
    // With each request, for CONFIG SET may change it.
    DefaultBodyLimit::max(door.shared.settings().body_max_bytes).apply(&mut request);
    let response = next.run(request).await;
    let status = response.status();
    let is_text = response
        .headers()
        .get(axum::http::header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !(status.is_client_error() || status.is_server_error()) || !is_text {
        return response;
    }
    // What the framework refuses (a body that is too large, a query that does not parse) looks like
    // all other errors.
    let body = axum::body::to_bytes(response.into_body(), 4_096).await.unwrap_or_default();
    Problem::new(status, String::from_utf8_lossy(&body)).into_response()
}

/// Ready to take writes.
async fn ready(
    axum::extract::State(door): axum::extract::State<Door>,
) -> Result<&'static str, Problem> {
    match door.shared.engine.health() {
        _ if door.shared.is_draining() => {
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the node is shutting down"))
        }
        Health::Ok => Ok("ready\n"),
        Health::Full => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the disk is full: reads are answered, writes are refused until there is space",
        )),
        Health::Failed => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the log's disk failed; check the disk, then restart",
        )),
    }
}
