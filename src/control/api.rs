//! What the operator may ask for on the control plane's own listener.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::json;

use super::health::{self, Status};
use super::nodes::{self, Nodes};
use super::v1::{self, Desk};
use super::{Commander, faults, guard, process, public, security, serve};
use crate::clock::Moment;
use crate::metrics::{self, LinkState, Registry, TEXT_TYPE};

/// What the routes look at.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) registry: Registry,
    /// When the process began: what all its moments count from.
    pub(super) started: Instant,
    /// Set as soon as the process is told to go.
    pub(super) draining: Arc<AtomicBool>,
    /// Whether the process is ready only while it is linked to Redis.
    pub(super) needs_redis: bool,
    /// The wire forms that this node knows.
    pub(super) forms: RangeInclusive<u8>,
    /// Passes on the faults that are asked for; none: they are not to be had.
    pub(super) faults: Option<Commander>,
}

impl View {
    pub(super) fn now(&self) -> Moment {
        let us = self.started.elapsed().as_micros();
        Moment { us: u64::try_from(us).unwrap_or(u64::MAX) }
    }

    pub(super) fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(super) fn status(&self) -> Status {
        health::overall(&self.registry, self.now(), self.draining())
    }

    /// The form in which the nodes on the same Redis write, if this one does not know it.
    fn foreign_form(&self) -> Option<u64> {
        health::foreign_form(&self.registry, &self.forms)
    }

    /// Whether new connections should come here.
    fn is_ready(&self) -> bool {
        if self.foreign_form().is_some() {
            return false;
        }
        let linked = self.registry.bridge().link() == LinkState::Up;
        let listens = self.registry.cores().all(|(_, core)| core.listening.get() > 0);
        self.status() == Status::Ok && listens && (linked || !self.needs_redis)
    }
}

/// What a probe should make of it.
pub(super) fn code(status: Status) -> StatusCode {
    if status == Status::Ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// The routes of the control plane's own listener.
pub(super) fn router(view: View, desk: Desk, nodes: Nodes, token: &guard::Token) -> Router {
    let faults = view.faults.clone().map(faults::router).unwrap_or_default();
    let probes = Router::new().route("/live", get(public::live)).route("/ready", get(ready));
    let looking = Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .with_state(view.clone())
        .merge(nodes::router(view.clone(), nodes))
        .merge(faults)
        .route_layer(from_fn_with_state(token.clone(), guard::looking));
    let operating =
        v1::router(desk).route_layer(from_fn_with_state(token.clone(), guard::operating));
    let routes = probes
        .with_state(view)
        .merge(looking)
        .merge(operating)
        .fallback(public::not_found)
        .method_not_allowed_fallback(public::method_not_allowed)
        .layer(map_response(security::protect));
    serve::bounded(routes, v1::takes_body)
}

/// Whether new connections should come here.
pub(super) async fn ready(view: State<View>) -> Response {
    let ready = view.is_ready();
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut said = json!({ "ready": ready });
    if let Some(form) = view.foreign_form() {
        let (oldest, newest, version) =
            (view.forms.start(), view.forms.end(), env!("CARGO_PKG_VERSION"));
        said["reason"] = json!(format!(
            "the nodes on this Redis write in form {form}; this one, of version {version}, knows the \
             forms {oldest} to {newest}"
        ));
    }
    (code, Json(said)).into_response()
}

async fn health(view: State<View>) -> Response {
    let facts = process::facts(&view.registry, view.started);
    let (now, draining) = (view.now(), view.draining());
    let health = health::examine(&view.registry, facts, now, draining, &view.forms);
    (code(health.status), Json(health)).into_response()
}

async fn metrics(view: State<View>) -> Response {
    let facts = process::facts(&view.registry, view.started);
    match metrics::text(&view.registry, facts) {
        Ok(text) => ([(header::CONTENT_TYPE, TEXT_TYPE)], text).into_response(),
        Err(std::fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
