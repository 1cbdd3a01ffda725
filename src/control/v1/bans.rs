//! `/v1/bans`: users and addresses that the operator shuts out.

use std::net::IpAddr;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Json};
use serde::Deserialize;
use serde_json::json;

use super::{Answer, Desk, Problem, bad, decide, find, kept, named, read, unix_ms, until};
use crate::decision::{Decision, Whom};
use crate::record::{Actor, Deed, Record, Subject, cut};
use crate::tenant::{DEFAULT, Tenants};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ban {
    tenant: Option<String>,
    user: Option<String>,
    address: Option<IpAddr>,
    for_ms: Option<u64>,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lift {
    tenant: Option<String>,
    user: Option<String>,
    address: Option<IpAddr>,
}

/// `POST /v1/bans`
pub(super) async fn add(desk: State<Desk>, request: Request) -> Answer {
    let asked: Ban = read(request).await?;
    let whom = whom(&desk.tenants, asked.tenant.as_deref(), asked.user.as_deref(), asked.address)?;
    let now_ms = unix_ms();
    let until_ms = until(now_ms, asked.for_ms)?;
    let carried = decide(&desk, Decision::Ban { whom: whom.clone(), until_ms }).await?;
    let mut record = record(now_ms, Deed::ShutOut, whom);
    record.until_ms = Some(until_ms);
    record.reason = asked.reason.map(|reason| cut(&reason).to_owned().into());
    desk.trail.add(record);
    kept(&carried)?;
    Ok(Json(json!({ "closed": carried.closed, "until": until_ms })).into_response())
}

/// `DELETE /v1/bans`
pub(super) async fn lift(desk: State<Desk>, query: Result<Query<Lift>, QueryRejection>) -> Answer {
    let Ok(Query(asked)) = query else {
        return Err(bad("the parameters are tenant, user and address, each once"));
    };
    let whom = whom(&desk.tenants, asked.tenant.as_deref(), asked.user.as_deref(), asked.address)?;
    let carried = decide(&desk, Decision::Unban { whom: whom.clone() }).await?;
    desk.trail.add(record(unix_ms(), Deed::LetIn, whom.clone()));
    kept(&carried)?;
    Ok(Json(json!({ "lifted": whom })).into_response())
}

/// `GET /v1/bans`
pub(super) fn list(desk: &Desk) -> Answer {
    let bans = desk.ledger.bans(unix_ms()).into_iter();
    let bans: Vec<_> =
        bans.map(|(whom, until_ms)| json!({ "banned": whom, "until": until_ms })).collect();
    Ok(Json(json!({ "bans": bans })).into_response())
}

fn whom(
    tenants: &Tenants,
    tenant: Option<&str>,
    user: Option<&str>,
    address: Option<IpAddr>,
) -> Result<Whom, Problem> {
    match (user, address) {
        (Some(user), None) => {
            let tenant = find(tenants, tenant.unwrap_or(DEFAULT))?;
            Ok(Whom::User { tenant: tenant.name[..].into(), user: named(user)?.into() })
        }
        (None, Some(address)) if tenant.is_none() => Ok(Whom::Address(address)),
        _ => Err(bad("a \"user\" (of a \"tenant\") or an \"address\" (of none) is wanted")),
    }
}

fn record(now_ms: u64, deed: Deed, whom: Whom) -> Record {
    let mut record = Record::new(now_ms, Actor::Operator, deed);
    record.subject = Some(match whom {
        Whom::User { tenant, user } => {
            record.tenant = Some(tenant);
            Subject::User(user)
        }
        Whom::Address(address) => Subject::Address(address),
    });
    record
}
