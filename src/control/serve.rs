//! HTTP/1.1 over any stream, bounded in every direction.

use std::time::Duration;

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_http::timeout::TimeoutLayer;

use super::idle::Idle;
use super::places::Place;
use super::public;
use crate::config::Handshake;

/// From the end of a request's head to its response.
const RESPONSE_DEADLINE: Duration = Duration::from_secs(10);
/// The least that hyper accepts for its buffers.
const BUFFER_MIN_BYTES: usize = 8 << 10;

/// What a connection may take, in bytes and in time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    head_bytes: usize,
    headers: usize,
    idle: Duration,
    keeps_alive: bool,
}

impl Limits {
    /// One request a connection. On the public port the first one decides whether a connection is a
    /// WebSocket: a proxy that kept one for plain requests would send an upgrade on it in vain.
    pub(super) fn once(self) -> Self {
        Self { keeps_alive: false, ..self }
    }
}

impl From<&Handshake> for Limits {
    fn from(handshake: &Handshake) -> Self {
        Self {
            head_bytes: (handshake.head_bytes as usize).max(BUFFER_MIN_BYTES),
            headers: usize::from(handshake.headers),
            idle: Duration::from_millis(handshake.http_idle_ms.max(1)),
            keeps_alive: true,
        }
    }
}

/// Bounds what a request to `routes` may bring and how long it may take.
pub(super) fn bounded(routes: Router, takes_body: fn(&Request) -> bool) -> Router {
    routes
        .layer(from_fn(move |request, next| refuse_bodies(request, next, takes_body)))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, RESPONSE_DEADLINE))
}

/// Hardly a route takes a body. Whoever sends one to another may disagree with us, or with a proxy before us, about
/// where it ends; so nothing more is read from that connection.
async fn refuse_bodies(request: Request, next: Next, takes_body: fn(&Request) -> bool) -> Response {
    if request.body().is_end_stream() || takes_body(&request) {
        return next.run(request).await;
    }
    let headers = [(header::CONNECTION, "close")];
    let body = public::problem("bad_request", "nothing here takes a body");
    (StatusCode::BAD_REQUEST, headers, body).into_response()
}

/// Serves `router` on `stream` until either side is done with it.
pub(super) async fn connection<S>(stream: S, router: Router, limits: Limits, place: Place)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let router = TowerToHyperService::new(router);
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        let (work, answer) = (place.work(), router.call(request));
        async move {
            let answer = answer.await;
            drop(work);
            answer
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .max_headers(limits.headers)
        .max_buf_size(limits.head_bytes)
        .half_close(true)
        .keep_alive(limits.keeps_alive)
        .serve_connection(TokioIo::new(Idle::new(stream, limits.idle)), answer)
        .await;
    if let Err(error) = served {
        // The peer's doing: a request that is none, silence, or its leave.
        tracing::debug!(%error, "a plain HTTP connection failed");
    }
}
