//! Who may ask the control plane's own listener for anything but `/live` and `/ready`: whoever has
//! the operator's token.
//!
//! Invariants: the token is compared in a time that does not say where it differs; without one
//! configured nothing can be changed, so that a page in a browser on this machine cannot, either.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::public;
use crate::config::Secret;

/// The operator's token, if one is configured.
pub(super) type Token = Option<Arc<Secret>>;

/// What may be looked at: by whoever has the token, or by anyone where there is none.
pub(super) async fn looking(token: State<Token>, request: Request, next: Next) -> Response {
    match token.0 {
        Some(token) if !has(&request, &token) => unauthorized(),
        _ => next.run(request).await,
    }
}

/// What only the operator may do.
pub(super) async fn operating(token: State<Token>, request: Request, next: Next) -> Response {
    match token.0 {
        Some(token) if has(&request, &token) => next.run(request).await,
        Some(_) => unauthorized(),
        None => {
            let body = public::problem("forbidden", "no control.token is configured");
            (StatusCode::FORBIDDEN, body).into_response()
        }
    }
}

/// Whether a request has exactly one credential, and it is the token.
fn has(request: &Request, token: &Secret) -> bool {
    let mut values = request.headers().get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let value = value.as_bytes();
    let Some((scheme, given)) = value.split_first_chunk::<7>() else { return false };
    scheme.eq_ignore_ascii_case(b"bearer ") && token.is(given)
}

fn unauthorized() -> Response {
    let headers = [(header::WWW_AUTHENTICATE, "Bearer")];
    let body = public::problem("unauthorized", "the operator's token is missing or wrong");
    (StatusCode::UNAUTHORIZED, headers, body).into_response()
}
