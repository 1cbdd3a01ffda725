//! `/v1/revocations`: credentials that the operator takes back.
//!
//! Invariant: an API key that is taken back by its prefix does not come back by itself, unless it is said
//! for how long: it stays so until it ends, or for good. Of keys that are good again when what takes them back
//! ends, the log warns.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Json};
use serde::Deserialize;
use serde_json::json;

use super::{Answer, Desk, bad, decide, find, kept, named, read, unix_ms, until};
use crate::auth::api_key::ApiKey;
use crate::auth::revocation;
use crate::decision::{Credentials, Decision, FOR_GOOD_MS};
use crate::record::{Actor, Deed, Record, Subject, cut};
use crate::tenant::{DEFAULT, Tenant};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoke {
    tenant: Option<String>,
    token: Option<String>,
    user: Option<String>,
    #[serde(default)]
    all: bool,
    for_ms: Option<u64>,
    reason: Option<String>,
}

/// `POST /v1/revocations`
pub(super) async fn add(desk: State<Desk>, request: Request) -> Answer {
    let asked: Revoke = read(request).await?;
    let tenant = find(&desk.tenants, asked.tenant.as_deref().unwrap_or(DEFAULT))?;
    let (what, subject) = match (asked.token, asked.user, asked.all) {
        (Some(token), None, false) => {
            (Credentials::Token(named(&token)?.into()), Subject::Token(token.into()))
        }
        (None, Some(user), false) => {
            (Credentials::User(named(&user)?.into()), Subject::User(user.into()))
        }
        (None, None, true) => (Credentials::All, Subject::Tenant),
        _ => return Err(bad("one of \"token\", \"user\" and \"all\": true is wanted")),
    };
    let now_ms = unix_ms();
    let ends = ends_of_keys(&desk, tenant, &what);
    let until_ms = match (&what, asked.for_ms, ends.iter().max()) {
        (Credentials::Token(_), None, Some(end)) => until(now_ms, None)?.max(*end),
        (_, for_ms, _) => until(now_ms, for_ms)?,
    };
    let keys = ends.iter().filter(|end| until_ms < **end).count();
    if keys > 0 {
        let tenant = &*tenant.name;
        tracing::warn!(
            tenant,
            keys,
            until_ms,
            "API keys are taken back, and good again after that"
        );
    }
    let issued_before_ms = revocation::issued_before_ms(now_ms, desk.leeway_ms);
    let tenant: Box<str> = tenant.name[..].into();
    let decision = Decision::Revoke { tenant: tenant.clone(), what, issued_before_ms, until_ms };
    let carried = decide(&desk, decision).await?;
    let until_ms = (until_ms < FOR_GOOD_MS).then_some(until_ms);
    let mut record = Record::new(now_ms, Actor::Operator, Deed::Revoke);
    record.tenant = Some(tenant);
    record.subject = Some(subject);
    record.until_ms = until_ms;
    record.reason = asked.reason.map(|reason| cut(&reason).to_owned().into());
    desk.trail.add(record);
    kept(&carried)?;
    Ok(Json(json!({ "closed": carried.closed, "until": until_ms })).into_response())
}

/// When the API keys end by themselves that are taken back with it.
fn ends_of_keys(desk: &Desk, tenant: &Tenant, what: &Credentials) -> Vec<u64> {
    let Some(policy) = desk.policy.get() else { return Vec::new() };
    let keys = policy.api_keys().filter(|key| *key.tenant_name == *tenant.name);
    let meant = keys.filter(|key| match what {
        Credentials::Token(id) => key.prefix == *id,
        Credentials::User(user) => key.user.as_deref() == Some(&**user),
        Credentials::All => true,
    });
    let end = |key: &ApiKey| match key.expires_at_ms {
        Some(end_ms) => end_ms.saturating_add(desk.leeway_ms),
        None => FOR_GOOD_MS,
    };
    meant.map(end).collect()
}
