//! How each part of the process is, judged from its figures.

use std::ops::RangeInclusive;

use serde::Serialize;

use super::process;
use crate::clock::Moment;
use crate::metrics::{Core, ProcessFacts, Registry};

/// A core whose loop has not come round for so long is wedged: with the beat and the watch it is
/// noticed within two seconds.
pub(super) const HEARTBEAT_MAX_MS: u64 = 1_500;

/// How a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// It does its work.
    Ok,
    /// It has not begun.
    Starting,
    /// It sends its connections away.
    Draining,
    /// It does not come round.
    Wedged,
}

/// How everything is.
#[derive(Debug, Serialize)]
pub(super) struct Health {
    /// The worst of all parts.
    pub(super) status: Status,
    pub(super) ready: bool,
    uptime_ms: u64,
    /// How the link to Redis is.
    redis: &'static str,
    /// Once Redis has told it.
    #[serde(skip_serializing_if = "Option::is_none")]
    redis_form: Option<FormHealth>,
    cores: Vec<CoreHealth>,
    process: ProcessHealth,
}

/// The form in which the nodes on the same Redis write, and those that this one knows.
#[derive(Debug, Serialize)]
struct FormHealth {
    in_force: u64,
    min: u8,
    max: u8,
}

#[derive(Debug, Serialize)]
struct CoreHealth {
    core: u16,
    status: Status,
    heartbeat_age_ms: Option<u64>,
    driver: &'static str,
    connections: u64,
    handshakes_pending: u64,
    outbox_bytes: u64,
    inbox_bytes: u64,
    mesh_backlog_bytes: u64,
    descriptors: Option<u64>,
    descriptors_left: Option<u64>,
    panics: u64,
}

#[derive(Debug, Serialize)]
struct ProcessHealth {
    resident_bytes: u64,
    descriptors: u64,
    descriptors_per_table: u64,
}

/// How one core is. `draining`: the process is on its way out.
pub(super) fn status(core: &Core, now: Moment, draining: bool) -> Status {
    match heartbeat_age_ms(core, now) {
        None => Status::Starting,
        Some(age_ms) if age_ms > HEARTBEAT_MAX_MS => Status::Wedged,
        Some(_) if draining || core.draining.get() > 0 => Status::Draining,
        Some(_) => Status::Ok,
    }
}

/// How the whole is: as its worst core.
pub(super) fn overall(registry: &Registry, now: Moment, draining: bool) -> Status {
    let worst = |worst, status| match (worst, status) {
        (Status::Wedged, _) | (_, Status::Wedged) => Status::Wedged,
        (Status::Draining, _) | (_, Status::Draining) => Status::Draining,
        (Status::Starting, _) | (_, Status::Starting) => Status::Starting,
        (Status::Ok, Status::Ok) => Status::Ok,
    };
    let base = if draining { Status::Draining } else { Status::Ok };
    registry.cores().map(|(_, core)| status(core, now, draining)).fold(base, worst)
}

/// A form in which the nodes on the same Redis write, and which this one does not know.
pub(super) fn foreign_form(registry: &Registry, forms: &RangeInclusive<u8>) -> Option<u64> {
    let form = registry.bridge().form.get();
    let is_known = u8::try_from(form).is_ok_and(|form| forms.contains(&form));
    (form != 0 && !is_known).then_some(form)
}

/// Everything there is to know. `forms`: those that this node knows.
pub(super) fn examine(
    registry: &Registry,
    facts: ProcessFacts,
    now: Moment,
    draining: bool,
    forms: &RangeInclusive<u8>,
) -> Health {
    let status = overall(registry, now, draining);
    let in_force = registry.bridge().form.get();
    let (min, max) = (*forms.start(), *forms.end());
    Health {
        status,
        ready: status == Status::Ok && foreign_form(registry, forms).is_none(),
        uptime_ms: facts.uptime_ms,
        redis: registry.bridge().link().word(),
        redis_form: (in_force != 0).then_some(FormHealth { in_force, min, max }),
        cores: registry
            .cores()
            .map(|(id, core)| examine_core(id.0, core, facts, now, draining))
            .collect(),
        process: ProcessHealth {
            resident_bytes: facts.resident_bytes,
            descriptors: facts.descriptors,
            descriptors_per_table: facts.descriptors_per_table,
        },
    }
}

fn examine_core(
    id: u16,
    core: &Core,
    facts: ProcessFacts,
    now: Moment,
    draining: bool,
) -> CoreHealth {
    let descriptors = process::descriptors(core);
    CoreHealth {
        core: id,
        status: status(core, now, draining),
        heartbeat_age_ms: heartbeat_age_ms(core, now),
        driver: core.driver().word(),
        connections: core.connections.get(),
        handshakes_pending: core.handshakes_pending.get(),
        outbox_bytes: core.outbox_bytes.get(),
        inbox_bytes: core.inbox_bytes.get(),
        mesh_backlog_bytes: core.mesh_backlog_bytes.get(),
        descriptors,
        descriptors_left: descriptors.map(|used| facts.descriptors_per_table.saturating_sub(used)),
        panics: core.panics.get(),
    }
}

/// None: the core has not begun.
pub(super) fn heartbeat_age_ms(core: &Core, now: Moment) -> Option<u64> {
    match core.heartbeat_us.get() {
        0 => None,
        us => Some(now.since_ms(Moment { us })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::CoreId;

    fn at_ms(ms: u64) -> Moment {
        Moment { us: ms * 1_000 }
    }

    fn beat(registry: &Registry, core: u16, ms: u64) {
        let core = registry.core(CoreId(core)).expect("there is such a core");
        core.heartbeat_us.set(at_ms(ms).us);
    }

    #[test]
    fn the_whole_is_as_its_worst_core() {
        let registry = Registry::new(2);
        assert_eq!(overall(&registry, at_ms(0), false), Status::Starting);
        beat(&registry, 0, 1_000);
        assert_eq!(overall(&registry, at_ms(1_000), false), Status::Starting);
        beat(&registry, 1, 1_000);
        for (now_ms, expected) in [
            (1_000, Status::Ok),
            (1_000 + HEARTBEAT_MAX_MS, Status::Ok),
            (1_001 + HEARTBEAT_MAX_MS, Status::Wedged),
        ] {
            assert_eq!(overall(&registry, at_ms(now_ms), false), expected, "{now_ms} ms");
        }
        beat(&registry, 1, 4_000);
        assert_eq!(overall(&registry, at_ms(4_000), false), Status::Wedged, "core 0 still is");
        beat(&registry, 0, 4_000);
        assert_eq!(overall(&registry, at_ms(4_000), false), Status::Ok);
    }

    #[test]
    fn a_drain_is_not_ready_and_a_wedge_is_worse() {
        let registry = Registry::new(2);
        beat(&registry, 0, 1_000);
        beat(&registry, 1, 1_000);
        assert_eq!(overall(&registry, at_ms(1_000), true), Status::Draining);
        registry.core(CoreId(1)).expect("two cores").draining.set(1);
        assert_eq!(overall(&registry, at_ms(1_000), false), Status::Draining);
        assert_eq!(overall(&registry, at_ms(9_000), true), Status::Wedged);
    }

    #[test]
    fn a_wedged_core_is_named() {
        let registry = Registry::new(2);
        beat(&registry, 0, 5_000);
        beat(&registry, 1, 1_000);
        let health = examine(&registry, ProcessFacts::default(), at_ms(5_000), false, &(1..=1));
        assert!(!health.ready);
        let cores: Vec<_> = health
            .cores
            .iter()
            .map(|core| (core.core, core.status, core.heartbeat_age_ms))
            .collect();
        assert_eq!(cores, [(0, Status::Ok, Some(0)), (1, Status::Wedged, Some(4_000))]);
    }

    #[test]
    fn a_node_that_does_not_know_the_form_in_force_is_not_ready_and_names_both() {
        let registry = Registry::new(1);
        beat(&registry, 0, 1_000);
        let look = || examine(&registry, ProcessFacts::default(), at_ms(1_000), false, &(2..=3));
        assert!(look().ready && look().redis_form.is_none());
        for (form, is_ready) in [(1, false), (2, true), (3, true), (4, false), (258, false)] {
            registry.bridge().form.set(form);
            assert_eq!(look().ready, is_ready, "{form}");
            let said = serde_json::to_value(look()).expect("it can be written");
            let named = serde_json::json!({ "in_force": form, "min": 2, "max": 3 });
            assert_eq!(said["redis_form"], named);
        }
    }
}
