//! What this node says of itself to others, and which others there are.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::{Value, json};

use super::api::View;
use super::process;
use crate::config::Config;
use crate::node::{Facts, Known, State};

/// How often a node looks at itself.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks between two that say how loaded it is.
const LOAD_LOOKS: u32 = 5;

/// All nodes, this one among them.
#[derive(Clone, Debug)]
pub(super) struct Nodes(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    own: u64,
    facts: Facts,
    /// As Redis told last; empty if there is none.
    known: Arc<[Known]>,
    /// When that was.
    told: Instant,
    /// What was told longer ago may be true no more.
    lease: Duration,
    /// What the process had used when the load was last taken.
    used: (Instant, Duration),
    looks: u32,
}

impl Nodes {
    pub(super) fn new(config: &Config, view: &View, own: u64) -> Self {
        let addresses = match &config.redis.advertise {
            Some(address) => vec![address[..].into()],
            None => config.listeners.iter().map(|it| it.address.to_string().into()).collect(),
        };
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let started = since.saturating_sub(view.started.elapsed());
        let facts = Facts {
            version: env!("CARGO_PKG_VERSION").into(),
            forms: (*view.forms.start(), *view.forms.end()),
            addresses,
            cores: u16::try_from(view.registry.cores().count()).unwrap_or(u16::MAX),
            connections: 0,
            load: 0.0,
            state: State::Up,
            started_at_ms: u64::try_from(started.as_millis()).unwrap_or(u64::MAX),
        };
        let (now, known) = (Instant::now(), Arc::default());
        let (used, lease) =
            ((now, process::cpu_time()), Duration::from_millis(config.redis.lease_ms));
        let inner = Inner { own, facts, known, told: now, lease, used, looks: 0 };
        Self(Arc::new(Mutex::new(inner)))
    }

    /// Looks at this node: what there is to say of it.
    pub(super) fn look(&self, view: &View) -> Facts {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *inner;
        inner.facts.connections =
            view.registry.cores().map(|(_, core)| core.connections.get()).sum();
        inner.facts.state = if view.draining() { State::Draining } else { State::Up };
        inner.looks += 1;
        if inner.looks.is_multiple_of(LOAD_LOOKS) {
            let (now, used) = (Instant::now(), process::cpu_time());
            let spent = used.saturating_sub(inner.used.1).as_secs_f32();
            let had = (now - inner.used.0).as_secs_f32() * f32::from(inner.facts.cores.max(1));
            inner.facts.load = (spent / had.max(f32::EPSILON)).clamp(0.0, 1.0);
            inner.used = (now, used);
        }
        inner.facts.clone()
    }

    /// Redis has told which there are.
    pub(super) fn learn(&self, known: Arc<[Known]>) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (inner.known, inner.told) = (known, Instant::now());
    }

    fn list(&self) -> Vec<Value> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let others = inner.known.iter().filter(|it| it.id != inner.own);
        let own = describe(inner.own, &inner.facts, true, true);
        // Redis is out of reach, and with it the others.
        let is_recent = inner.told.elapsed() <= inner.lease;
        let others = others.map(|it| describe(it.id, &it.facts, false, is_recent));
        std::iter::once(own).chain(others).collect()
    }
}

fn describe(id: u64, facts: &Facts, is_self: bool, is_recent: bool) -> Value {
    let state = if is_recent { json!(facts.state) } else { json!("unknown") };
    json!({
        "id": format!("{id:016x}"),
        "self": is_self,
        "state": state,
        "version": facts.version,
        "forms": { "min": facts.forms.0, "max": facts.forms.1 },
        "addresses": facts.addresses,
        "cores": facts.cores,
        "connections": facts.connections,
        "load": f64::from((facts.load * 1_000.0).round()) / 1_000.0,
        "started_at": facts.started_at_ms,
    })
}

/// `GET /v1/nodes`
pub(super) fn router(view: View, nodes: Nodes) -> Router {
    Router::new().route("/v1/nodes", get(list)).with_state((view, nodes))
}

async fn list(Shared((view, nodes)): Shared<(View, Nodes)>) -> Response {
    nodes.look(&view);
    Json(json!({ "nodes": nodes.list() })).into_response()
}
