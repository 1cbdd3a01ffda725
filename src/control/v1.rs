//! `/v1`: what the operator may look at and decide.
//!
//! Invariants: every route asks for the operator's token; what is sent is read strictly, and what is
//! wrong with it is named without repeating it; a decision is answered when every core has carried
//! it out, and stands in the audit trail.

mod bans;
mod revocations;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post, put};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::audit::{Trail, Wanted};
use super::command::{Carried, Command, Commander};
use super::ledger::Ledger;
use super::public;
use crate::auth::{ID_BYTES, Policy};
use crate::decision::Decision;
use crate::decision::shared::Noted;
use crate::record::{Actor, Deed, Record, Subject, cut};
use crate::tenant::{Tenant, Tenants, Usage};

/// The longest body of a request.
const BODY_BYTES: usize = 65_536;
/// How long the cores may take to carry a decision out.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a revocation or a ban holds unless it says otherwise: longer than most credentials do.
const HOLDS_FOR_MS: u64 = 30 * 24 * 60 * 60 * 1_000;
/// The longest that one may hold.
const HOLDS_FOR_MAX_MS: u64 = 36_500 * 24 * 60 * 60 * 1_000;
/// Records of a page, unless another number is asked for.
const PAGE: usize = 100;

/// What the routes work with.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    pub(super) commander: Commander,
    pub(super) tenants: Arc<Tenants>,
    pub(super) trail: Trail,
    pub(super) ledger: Ledger,
    /// What credentials are checked against now.
    pub(super) policy: PolicyInForce,
    /// How far the clocks of those who make credentials may be from ours.
    pub(super) leeway_ms: u64,
}

/// The policy that credentials are checked against, as the settings were read last; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct PolicyInForce(Arc<Mutex<Option<Arc<Policy>>>>);

impl PolicyInForce {
    pub(super) fn new(policy: Option<Arc<Policy>>) -> Self {
        Self(Arc::new(Mutex::new(policy)))
    }

    pub(super) fn replace(&self, policy: Option<Arc<Policy>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    /// None: everybody is let in.
    fn get(&self) -> Option<Arc<Policy>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Why a request is not carried out: a status, a code and a sentence.
pub(super) type Problem = (StatusCode, &'static str, Cow<'static, str>);
pub(super) type Answer = Result<Response, Problem>;

/// The routes.
pub(super) fn router(desk: Desk) -> Router {
    Router::new()
        .route(
            "/v1/revocations",
            post(async |desk, request| told(revocations::add(desk, request).await)),
        )
        .route("/v1/tenants", get(async |desk: State<Desk>| told(tenants(&desk))))
        .route(
            "/v1/tenants/{id}/state",
            put(async |desk, path, request| told(set_state(desk, path, request).await)),
        )
        .route(
            "/v1/bans",
            get(async |desk: State<Desk>| told(bans::list(&desk)))
                .post(async |desk, request| told(bans::add(desk, request).await))
                .delete(async |desk, query| told(bans::lift(desk, query).await)),
        )
        .route("/v1/audit", get(async |desk: State<Desk>, query| told(audit(&desk, query))))
        .with_state(desk)
}

/// Whether a request may have a body.
pub(super) fn takes_body(request: &Request) -> bool {
    request.uri().path().starts_with("/v1/")
}

/// `GET /v1/tenants`
fn tenants(desk: &Desk) -> Answer {
    let tenants: Vec<_> = desk.tenants.iter().map(|(_, tenant)| describe(tenant)).collect();
    Ok(Json(json!({ "tenants": tenants })).into_response())
}

fn describe(tenant: &Tenant) -> serde_json::Value {
    let limits = &tenant.limits;
    let usage = |usage: &Usage, limit: u32| json!({ "count": usage.count(), "limit": limit });
    let history_bytes = tenant.history_bytes.load(std::sync::atomic::Ordering::Relaxed);
    json!({
        "id": &*tenant.name,
        "state": state_of(tenant),
        "connections": usage(&tenant.connections, limits.connections),
        "users": usage(&tenant.users, limits.users),
        "rooms": usage(&tenant.rooms, limits.rooms),
        "history_bytes": { "count": history_bytes, "limit": limits.history_bytes },
        "messages_per_second": { "limit": limits.messages_per_second },
        "bytes_per_second": { "limit": limits.bytes_per_second },
    })
}

fn state_of(tenant: &Tenant) -> &'static str {
    if tenant.is_suspended() { "suspended" } else { "active" }
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum TenantState {
    Active,
    Suspended,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetState {
    state: TenantState,
    reason: Option<String>,
}

/// `PUT /v1/tenants/{id}/state`
async fn set_state(desk: State<Desk>, Path(id): Path<String>, request: Request) -> Answer {
    let asked: SetState = read(request).await?;
    let tenant = find(&desk.tenants, &id)?;
    let suspended = asked.state == TenantState::Suspended;
    let name: Box<str> = tenant.name[..].into();
    let carried = decide(&desk, Decision::State { tenant: name.clone(), suspended }).await?;
    let deed = if suspended { Deed::Suspend } else { Deed::Activate };
    let mut record = Record::new(unix_ms(), Actor::Operator, deed);
    record.tenant = Some(name);
    record.subject = Some(Subject::Tenant);
    record.reason = asked.reason.map(|reason| cut(&reason).to_owned().into());
    desk.trail.add(record);
    kept(&carried)?;
    let closed = carried.closed;
    let body = json!({ "id": &*tenant.name, "state": state_of(tenant), "closed": closed });
    Ok(Json(body).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
    tenant: Option<String>,
    action: Option<Deed>,
}

/// `GET /v1/audit`
fn audit(desk: &Desk, query: Result<Query<AuditQuery>, QueryRejection>) -> Answer {
    let Ok(Query(query)) = query else {
        return Err(bad("the parameters are after, limit, tenant and action, each once"));
    };
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=super::audit::PAGE_MAX).contains(&limit) {
        return Err(bad("limit must be from 1 to 1000"));
    }
    let wanted = Wanted { after: query.after, limit, tenant: query.tenant, deed: query.action };
    Ok(Json(desk.trail.page(&wanted)).into_response())
}

/// What came of a decision.
pub(super) struct Outcome {
    /// Connections that were closed for it.
    pub(super) closed: u64,
    holds: bool,
    is_written: bool,
    noted: Noted,
}

/// Has a decision kept, told to other nodes, and carried out by every core.
pub(super) async fn decide(desk: &Desk, decision: Decision) -> Result<Outcome, Problem> {
    let (done, carried) = oneshot::channel();
    let sent = desk.commander.send(Command::Decide { decision, done });
    let carried = match sent {
        Ok(()) => timeout(PATIENCE, carried).await.ok().and_then(Result::ok),
        Err(_) => None,
    };
    let Carried { closed, holds, written, told } = carried.ok_or_else(|| {
        let message = "not every core has confirmed in time; it holds on those that have";
        unavailable(message)
    })?;
    let is_written = said(written, true).await.unwrap_or(false);
    let noted = said(told, Noted::Yes).await.unwrap_or(Noted::No);
    Ok(Outcome { closed, holds, is_written, noted })
}

/// What is said in time; `unasked` where nobody is asked.
async fn said<T>(said: Option<oneshot::Receiver<T>>, unasked: T) -> Option<T> {
    match said {
        Some(said) => timeout(PATIENCE, said).await.ok()?.ok(),
        None => Some(unasked),
    }
}

/// Whether a decision holds for those that come, after a restart, and everywhere.
pub(super) fn kept(outcome: &Outcome) -> Result<(), Problem> {
    if !outcome.holds {
        let message = "its connections are closed, but too many decisions hold to keep this one";
        return Err((StatusCode::CONFLICT, "limit_exceeded", message.into()));
    }
    if !outcome.is_written {
        let message = "it holds, but not after a restart: the state file cannot be written";
        return Err(unavailable(message));
    }
    match outcome.noted {
        Noted::Yes => Ok(()),
        Noted::TooMany => {
            let message = "it holds on this node alone: too many decisions hold to tell the others";
            Err((StatusCode::CONFLICT, "limit_exceeded", message.into()))
        }
        Noted::No => {
            let message = "it holds on this node; the others are told as soon as Redis takes it";
            Err(unavailable(message))
        }
    }
}

/// Until when something holds that is to hold for so long.
pub(super) fn until(now_ms: u64, for_ms: Option<u64>) -> Result<u64, Problem> {
    let for_ms = for_ms.unwrap_or(HOLDS_FOR_MS);
    if !(1..=HOLDS_FOR_MAX_MS).contains(&for_ms) {
        return Err(bad("\"for_ms\" must be from 1 to 3153600000000"));
    }
    Ok(now_ms.saturating_add(for_ms))
}

fn unavailable(message: &'static str) -> Problem {
    (StatusCode::SERVICE_UNAVAILABLE, "unavailable", message.into())
}

/// Reads a body strictly.
pub(super) async fn read<T: DeserializeOwned>(request: Request) -> Result<T, Problem> {
    let (parts, body) = request.into_parts();
    if !is_json(&parts.headers) {
        let message = "Content-Type must be application/json";
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_request", message.into()));
    }
    let bytes = bytes_of(body).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        // Where, not what: nothing that was sent is repeated.
        let kind = match error.classify() {
            serde_json::error::Category::Data => "the JSON is not what is wanted here",
            _ => "the body is not JSON",
        };
        let message = format!("{kind}: line {}, column {}", error.line(), error.column());
        (StatusCode::BAD_REQUEST, "bad_request", message.into())
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Ok(value) = value.to_str() else { return false };
    let kind = value.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

async fn bytes_of(body: Body) -> Result<axum::body::Bytes, Problem> {
    to_bytes(body, BODY_BYTES).await.map_err(|_| {
        let message = "a body has at most 65536 bytes, and comes whole";
        (StatusCode::PAYLOAD_TOO_LARGE, "too_large", message.into())
    })
}

pub(super) fn find<'a>(tenants: &'a Tenants, name: &str) -> Result<&'a Tenant, Problem> {
    let missing = || (StatusCode::NOT_FOUND, "not_found", "there is no such tenant".into());
    Ok(tenants.get(tenants.find(name).ok_or_else(missing)?))
}

/// The name of a user, or the id of a token; a user's longer than any is nobody's.
pub(super) fn named(name: &str) -> Result<&str, Problem> {
    match name.len() {
        1..=ID_BYTES => Ok(name),
        _ => Err(bad("a name or an id has 1 to 512 bytes")),
    }
}

pub(super) fn bad(message: &'static str) -> Problem {
    (StatusCode::BAD_REQUEST, "bad_request", message.into())
}

pub(super) fn told(answer: Answer) -> Response {
    answer.unwrap_or_else(|(status, code, message)| {
        (status, public::problem(code, &message)).into_response()
    })
}

pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
