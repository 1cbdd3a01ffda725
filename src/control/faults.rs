//! Faults on request, where `dev.faults` is set: what the test suite asks of a server that must
//! survive them, or die of them in order.

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::post;
use serde::Deserialize;

use super::{Command, Commander};
use crate::letter::{Fault, Order};

#[derive(Deserialize)]
struct Wedge {
    for_ms: u64,
}

#[derive(Deserialize)]
struct Jump {
    by_ms: i64,
}

/// `POST /faults/panic`: every core panics in its own loop. `POST /faults/wedge?for_ms=…`: every
/// core does nothing else for so long. `POST /faults/clock?by_ms=…`: every core's wall clock jumps.
pub(super) fn router(commander: Commander) -> Router {
    Router::new()
        .route("/faults/panic", post(panic))
        .route("/faults/wedge", post(wedge))
        .route("/faults/clock", post(clock))
        .with_state(commander)
}

async fn panic(commander: State<Commander>) -> StatusCode {
    order(&commander, Fault::Panic)
}

async fn wedge(commander: State<Commander>, Query(wedge): Query<Wedge>) -> StatusCode {
    order(&commander, Fault::Wedge { for_ms: wedge.for_ms })
}

async fn clock(commander: State<Commander>, Query(jump): Query<Jump>) -> StatusCode {
    order(&commander, Fault::Clock { by_ms: jump.by_ms })
}

fn order(commander: &Commander, fault: Fault) -> StatusCode {
    match commander.send(Command::Order(Order::Fault(fault))) {
        Ok(()) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
