//! HTTP/1.1 over any stream, bounded in every direction.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use super::idle::Idle;
use crate::config::Handshake;

/// The body of a request.
const BODY_BYTES: usize = 64 << 10;
/// From the end of a request's head to its response.
const RESPONSE_DEADLINE: Duration = Duration::from_secs(10);
/// The least that hyper accepts for its buffers.
const BUFFER_BYTES_MIN: usize = 8 << 10;

/// What a connection may take, in bytes and in time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    head_bytes: usize,
    headers: usize,
    idle: Duration,
}

impl From<&Handshake> for Limits {
    fn from(handshake: &Handshake) -> Self {
        Self {
            head_bytes: (handshake.head_bytes as usize).max(BUFFER_BYTES_MIN),
            headers: usize::from(handshake.headers),
            idle: Duration::from_millis(handshake.http_idle_ms.max(1)),
        }
    }
}

/// Bounds what a request to `routes` may bring and how long it may take.
pub(super) fn bounded(routes: Router) -> Router {
    routes
        .layer(RequestBodyLimitLayer::new(BODY_BYTES))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, RESPONSE_DEADLINE))
}

/// Serves `router` on `stream` until either side is done with it.
pub(super) async fn connection<S>(stream: S, router: Router, limits: Limits)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .max_headers(limits.headers)
        .max_buf_size(limits.head_bytes)
        .half_close(true)
        .serve_connection(
            TokioIo::new(Idle::new(stream, limits.idle)),
            TowerToHyperService::new(router),
        )
        .await;
    if let Err(error) = served {
        // The peer's doing: a request that is none, silence, or its leave.
        tracing::debug!(%error, "a plain HTTP connection failed");
    }
}
