//! What anyone may ask for on the main port.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{any, get};
use serde_json::json;

use super::api::{self, View};
use super::{security, serve};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The demo page: a chat over the real protocol.
const PAGE: [(&str, &str, &str); 4] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/chat.css", CSS, include_str!("page/chat.css")),
    ("/chat.js", JAVASCRIPT, include_str!("page/chat.js")),
    ("/connection.js", JAVASCRIPT, include_str!("page/connection.js")),
];

/// The routes that relayed connections reach. Nothing that tells more than whether the server
/// works, and nothing that changes it, belongs here.
pub(super) fn router(view: View) -> Router {
    let page = PAGE.iter().fold(Router::new(), |routes, &(path, kind, text)| {
        routes.route(path, get(move || std::future::ready(file(kind, text))))
    });
    let routes = page
        .route("/live", get(live))
        .route("/ready", get(api::ready))
        .route("/health", get(health))
        .route("/ws", any(upgrade_required))
        .route("/ws/{*room}", any(upgrade_required))
        .with_state(view)
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(map_response(security::protect));
    serve::bounded(routes, |_| false)
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_SECURITY_POLICY, security::PAGE)];
    (headers, text).into_response()
}

pub(super) async fn live() -> Response {
    Json(json!({ "live": true })).into_response()
}

/// How the server is, without anything about its parts.
async fn health(view: State<View>) -> Response {
    let status = view.status();
    (api::code(status), Json(json!({ "status": status }))).into_response()
}

/// A WebSocket begins with the first request of its connection, which the core would have kept.
async fn upgrade_required() -> Response {
    let headers: [(HeaderName, &str); 2] =
        [(header::UPGRADE, "websocket"), (header::CONNECTION, "upgrade, close")];
    let body = problem("upgrade_required", "a WebSocket, as the first request of a connection");
    (StatusCode::UPGRADE_REQUIRED, headers, body).into_response()
}

pub(super) async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, problem("not_found", "nothing is served here")).into_response()
}

pub(super) async fn method_not_allowed() -> Response {
    let body = problem("method_not_allowed", "not with this method");
    (StatusCode::METHOD_NOT_ALLOWED, body).into_response()
}

/// The body of a response that is not what was asked for.
pub(super) fn problem(code: &str, message: &str) -> Json<serde_json::Value> {
    Json(json!({ "error": { "code": code, "message": message } }))
}
