//! Whether a connection has a request under way. Between requests it waits for the head of the next
//! one, but only for a limited time. A connection that says nothing, or that sends half a head, is
//! closed.

use super::listener::{Connection, Counted};
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::Next;
use axum::response::Response;
use axum::serve::IncomingStream;
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

/// How many of a connection's requests began, and how many ended. The end of one may be noticed
/// after the next began.
#[derive(Debug, Default)]
struct Counts {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// A connection's requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Activity(Arc<Counts>);

impl Activity {
    /// The time between two requests that the connection is in, by the number of those before it;
    /// `None` while a request is under way.
    pub(super) fn pause(&self) -> Option<u64> {
        let ended = self.0.ended.load(Ordering::Acquire);
        (self.0.begun.load(Ordering::Acquire) == ended).then_some(ended)
    }
}

impl Connected<IncomingStream<'_, Counted>> for Activity {
    fn connect_info(stream: IncomingStream<'_, Counted>) -> Self {
        let connection: &Connection = stream.io();
        connection.activity()
    }
}

/// A request is under way as long as this lives: until the last piece of its answer was taken.
struct UnderWay(Activity);

impl UnderWay {
    fn begin(activity: Activity) -> Self {
        activity.0.begun.fetch_add(1, Ordering::AcqRel);
        Self(activity)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.ended.fetch_add(1, Ordering::AcqRel);
    }
}

/// Notes when requests begin and end.
pub(super) async fn note(
    ConnectInfo(activity): ConnectInfo<Activity>,
    request: Request,
    next: Next,
) -> Response {
    let under_way = UnderWay::begin(activity);
    let response = next.run(request).await;
    response.map(|body| Body::new(Noted { body, _under_way: under_way }))
}

/// The body of an answer.
struct Noted {
    body: Body,
    _under_way: UnderWay,
}

impl HttpBody for Noted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
