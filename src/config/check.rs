//! Which settings must go together.
//!
//! Invariant: a check looks only at settings that could be read, and tells its problem at the
//! setting that somebody gave, not at a default.

use crate::origin::is_listable;

use super::load::Loading;
use super::problem::Cause;
use super::{AddressHeader, ListenAddress, cpus, key};

/// What an origin is.
const ORIGIN: &str = "\"SCHEME://HOST[:PORT]\", \"null\" or \"*\"";

/// A setting that may be at most another, and why.
pub(super) const AT_MOST: &[(&str, &str, &str)] = &[
    ("limits.frame_bytes", "limits.message_bytes", "a frame is part of a message"),
    ("limits.message_bytes", "limits.outbox_bytes", "an outbox must hold a message"),
    ("limits.message_bytes", "limits.recovery_bytes", "a recovery must hold a message"),
    ("limits.message_bytes", "mesh.backlog_bytes", "a backlog must hold a message"),
    ("handshake.target_bytes", "handshake.head_bytes", "a target is part of a head"),
];

const NEVER_PASSES: &str = "else a message of full size never passes";

/// The same, where 0 of the greater one is "off" or "no limit".
pub(super) const AT_MOST_UNLESS_OFF: &[(&str, &str, &str)] = &[
    ("limits.message_bytes", "rate.bytes_per_second", NEVER_PASSES),
    ("limits.message_bytes", "users.bytes_per_second", NEVER_PASSES),
    ("limits.message_bytes", "addresses.bytes_per_second", NEVER_PASSES),
    (
        "rooms.receipt_timeout_ms",
        "rooms.idempotency_window_ms",
        "who retries after a lost receipt must find the key remembered",
    ),
];

/// A setting that each core must have room for, and what all cores have: each has its share.
const SHARES: &[(&str, &str)] = &[
    ("limits.message_bytes", "limits.inbox_total_bytes"),
    ("limits.outbox_bytes", "limits.outbox_total_bytes"),
];

/// Tells `loading` everything that does not go together.
pub(super) fn check(loading: &mut Loading<'_>, cpus_allowed: &[usize]) {
    for (less, more, because) in AT_MOST {
        at_most(loading, less, more, because, false);
    }
    for (less, more, because) in AT_MOST_UNLESS_OFF {
        at_most(loading, less, more, because, true);
    }
    for (one, all) in SHARES {
        share(loading, cpus_allowed, one, all);
    }
    rates(loading);
    texts(loading);
    cpus_exist(loading, cpus_allowed);
    listeners(loading);
    control(loading);
    namespaces(loading);
    tenants(loading);
    redis(loading);
}

/// What the bridge can speak to, and what keys may begin with.
fn redis(loading: &mut Loading<'_>) {
    let redis = loading.config.redis.clone();
    let conflicts = if loading.sound_below("redis.") { redis.conflicts() } else { Vec::new() };
    for (row, found, wanted) in conflicts {
        let path = format!("redis.{row}");
        let origin = loading.origin(&path).cloned();
        loading.problem(origin, path, Cause::Invalid { found, wanted });
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:".contains(&byte);
    let fits = (1..=64).contains(&redis.prefix.len()) && redis.prefix.bytes().all(plain);
    if loading.sound("redis.prefix") && !fits {
        let wanted = "1 to 64 letters, digits, \"-\", \"_\" and \":\"";
        invalid(loading, "redis.prefix", &redis.prefix, wanted);
    }
    let interop = loading.config.redis_interop.clone();
    if let Some((row, found, wanted)) = interop.conflict(&loading.config) {
        let path = format!("redis.interop.{row}");
        if loading.sound(&path) && loading.sound("redis.prefix") {
            let origin = loading.origin(&path).cloned();
            loading.problem(origin, path, Cause::Invalid { found, wanted });
        }
    }
}

fn namespaces(loading: &mut Loading<'_>) {
    let general = loading.config.namespace_rooms.clone().into_iter();
    let general = general.map(|(name, rooms)| (format!("namespaces.{name}"), rooms));
    let tenants = loading.config.tenants.clone().into_iter().flat_map(|(tenant, it)| {
        let path = move |name| format!("tenants.{tenant}.namespaces.{name}");
        it.namespace_rooms.into_iter().map(move |(name, rooms)| (path(name), rooms))
    });
    for (path, rooms) in general.chain(tenants) {
        let Some((row, found, wanted)) = rooms.conflict(&loading.config) else { continue };
        let path = format!("{path}.{row}");
        let origin = loading.named.get(&path).cloned();
        loading.problem(origin, path, Cause::Invalid { found, wanted });
    }
}

/// Origins of tenants, and what they may keep of what all keep.
fn tenants(loading: &mut Loading<'_>) {
    let most = loading.config.rooms.history_bytes;
    for (name, tenant) in loading.config.tenants.clone() {
        for origin in tenant.rows.origins.iter().filter(|origin| !is_listable(origin)) {
            let path = format!("tenants.{name}.origins");
            let found = super::setting::quoted(origin);
            let cause = Cause::Invalid { found, wanted: ORIGIN.to_owned() };
            loading.problem(loading.named.get(&path).cloned(), path, cause);
        }
        if tenant.rows.history_bytes > most {
            let path = format!("tenants.{name}.history_bytes");
            let wanted = format!("at most rooms.history_bytes, {most}");
            let cause = Cause::Invalid { found: tenant.rows.history_bytes.to_string(), wanted };
            loading.problem(loading.named.get(&path).cloned(), path, cause);
        }
    }
}

fn at_most(
    loading: &mut Loading<'_>,
    less: &'static str,
    more: &'static str,
    because: &'static str,
    unless_off: bool,
) {
    let value = |path| key(path).and_then(|key| (key.number)(&loading.config));
    let (Some(low), Some(high)) = (value(less), value(more)) else { return };
    let off = unless_off && high == 0;
    if low <= high || off || !loading.sound(less) || !loading.sound(more) {
        return;
    }
    let (path, cause) = match (loading.origin(less), loading.origin(more)) {
        (None, Some(_)) => (more, Cause::AtLeast { found: high, other: less, least: low, because }),
        _ => (less, Cause::AtMost { found: low, other: more, most: high, because }),
    };
    loading.problem(loading.origin(path).cloned(), path, cause);
}

/// What each core has of `all` must be enough for `one`.
fn share(loading: &mut Loading<'_>, cpus_allowed: &[usize], one: &str, all: &str) {
    if ![one, all, "cores.count", "cores.cpus"].iter().all(|row| loading.sound(row)) {
        return;
    }
    let value = |path| key(path).and_then(|key| (key.number)(&loading.config));
    let (Some(one_bytes), Some(all_bytes)) = (value(one), value(all)) else { return };
    let cores = &loading.config.cores;
    let cpus = if cores.cpus.is_empty() { cpus_allowed.len() } else { cores.cpus.len() };
    let count = if cores.count == 0 { cpus.max(1) as u64 } else { u64::from(cores.count) };
    let least = one_bytes * count;
    if all_bytes >= least {
        return;
    }
    let (path, found, wanted) = match (loading.origin(one), loading.origin(all)) {
        (Some(_), None) => {
            let share = all_bytes / count;
            (one, one_bytes, format!("at most {share}: what each core ({count}) has of {all}"))
        }
        _ => {
            let each = format!("{one} = {one_bytes} for each core ({count})");
            (all, all_bytes, format!("at least {least}: {each}"))
        }
    };
    let cause = Cause::Invalid { found: found.to_string(), wanted };
    loading.problem(loading.origin(path).cloned(), path, cause);
}

fn rates(loading: &mut Loading<'_>) {
    let super::Config { rate, users, addresses, .. } = &loading.config;
    let rates = [
        ("rate.messages_per_second", rate.messages_per_second, "rate.burst", rate.burst),
        ("users.messages_per_second", users.messages_per_second, "users.burst", users.burst),
        (
            "addresses.messages_per_second",
            addresses.messages_per_second,
            "addresses.burst",
            addresses.burst,
        ),
    ];
    for (rate, a_second, path, burst) in rates {
        if loading.sound(path) && loading.sound(rate) && a_second > 0 && burst == 0 {
            loading.problem(loading.origin(path).cloned(), path, Cause::BurstMissing { rate });
        }
    }
}

/// Settings whose text has a form that their type does not know.
fn texts(loading: &mut Loading<'_>) {
    for origin in loading.config.handshake.origins.clone() {
        if !is_listable(&origin) {
            invalid(loading, "handshake.origins", &origin, ORIGIN);
        }
    }
    let filter = loading.config.log.filter.clone();
    if filter.parse::<tracing_subscriber::filter::Targets>().is_err()
        && tracing_subscriber::EnvFilter::try_new(&filter).is_err()
    {
        invalid(loading, "log.filter", &filter, "a filter such as \"info\" or \"ringroom=debug\"");
    }
    let header = loading.config.proxy.header != AddressHeader::None;
    if header && loading.config.proxy.trusted.is_empty() && loading.sound("proxy.trusted") {
        let origin = loading.origin("proxy.header").cloned();
        loading.problem(origin, "proxy.header", Cause::HeaderUntrusted);
    }
}

fn invalid(loading: &mut Loading<'_>, path: &str, found: &str, wanted: &str) {
    let origin = loading.origin(path).cloned();
    let cause = Cause::Invalid { found: super::setting::quoted(found), wanted: wanted.to_owned() };
    loading.problem(origin, path, cause);
}

fn cpus_exist(loading: &mut Loading<'_>, allowed: &[usize]) {
    let asked = &loading.config.cores.cpus;
    let missing: Vec<usize> = asked.iter().copied().filter(|cpu| !allowed.contains(cpu)).collect();
    if !allowed.is_empty() && !missing.is_empty() {
        let origin = loading.origin("cores.cpus").cloned();
        let cause =
            Cause::CpusNotAllowed { asked: cpus::format(&missing), allowed: cpus::format(allowed) };
        loading.problem(origin, "cores.cpus", cause);
    }
}

fn listeners(loading: &mut Loading<'_>) {
    let closed = loading.sound("auth.mode") && loading.config.auth.mode == super::AuthMode::Unset;
    let untrusted = loading.sound("proxy.trusted") && loading.config.proxy.trusted.is_empty();
    require_tls(loading);
    let mut seen: Vec<ListenAddress> = Vec::new();
    for (origin, draft) in loading.drafts.clone() {
        let Some(address) = draft.listener.address else { continue };
        let over_tcp = matches!(address, ListenAddress::Tcp(_));
        if closed && !address.is_local() {
            loading.problem(origin.clone(), "listen", Cause::OpenToAll(address.clone()));
        }
        if draft.listener.proxy_protocol && untrusted && over_tcp {
            let key = "listener.proxy_protocol";
            loading.problem(origin.clone(), key, Cause::ProxyUntrusted);
        }
        if is_fixed(&address) && seen.contains(&address) {
            loading.problem(origin, "listen", Cause::AddressTwice(address));
        } else {
            seen.push(address);
        }
    }
}

/// Where TLS is required, somebody must be able to come by it.
fn require_tls(loading: &mut Loading<'_>) {
    let rows = ["handshake.require_tls", "proxy.trusted", "proxy.header"];
    if !loading.config.handshake.require_tls || !rows.iter().all(|row| loading.sound(row)) {
        return;
    }
    let proxy = &loading.config.proxy;
    let may_come = |draft: &super::listener::Draft| {
        let over_unix = matches!(draft.listener.address, Some(ListenAddress::Unix(_)));
        let is_behind = over_unix || !proxy.trusted.is_empty();
        let is_told = proxy.header != AddressHeader::None || draft.listener.proxy_protocol;
        draft.encrypted || (is_behind && is_told)
    };
    if loading.drafts.iter().any(|(_, draft)| may_come(draft)) {
        return;
    }
    let wanted = "a listener with TLS, or a trusted proxy that says who came by it (proxy.trusted \
                  with proxy.header, or with proxy_protocol on a listener): else nobody could connect";
    let origin = loading.origin("handshake.require_tls").cloned();
    let cause = Cause::Invalid { found: "true".to_owned(), wanted: wanted.to_owned() };
    loading.problem(origin, "handshake.require_tls", cause);
}

fn control(loading: &mut Loading<'_>) {
    let address = ListenAddress::Tcp(loading.config.control.address);
    let origin = loading.origin("control.address").cloned();
    let sound = loading.sound("control.token") && loading.sound("control.address");
    if sound && !address.is_local() && loading.config.control.token.is_none() {
        let cause = Cause::ControlOpenToAll(address.clone());
        loading.problem(origin.clone(), "control.address", cause);
    }
    let taken = |draft: &super::listener::Draft| draft.listener.address.as_ref() == Some(&address);
    if is_fixed(&address) && loading.drafts.iter().any(|(_, draft)| taken(draft)) {
        loading.problem(origin, "control.address", Cause::AddressTwice(address));
    }
}

/// Whether the address is not for the kernel to choose.
fn is_fixed(address: &ListenAddress) -> bool {
    !matches!(address, ListenAddress::Tcp(address) if address.port() == 0)
}
