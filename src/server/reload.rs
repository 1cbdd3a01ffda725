//! What can change in a running process.
//!
//! Invariant: a listener takes over what the file says of its own address, and nothing that may be meant for
//! another.

use std::net::IpAddr;

use crate::config::{self, Config, ListenAddress, Listener, Problems};

/// The settings to go on with, the keys that have changed and must wait for a new process, and why those wait
/// that would be taken if they went together with what waits. `asked` says where each old listener was told to
/// listen.
pub(super) fn merge(
    old: &Config,
    asked: &[ListenAddress],
    new: &Config,
) -> (Config, Vec<String>, Problems) {
    let new = &with_found_ports(new, old, asked);
    let mut merged = old.clone();
    merged.handshake = new.handshake.clone();
    // It was checked against listeners that stay as they are.
    merged.handshake.require_tls = old.handshake.require_tls;
    merged.proxy = new.proxy.clone();
    merged.flush = new.flush.clone();
    merged.drain = new.drain.clone();
    merged.log.filter.clone_from(&new.log.filter);
    merged.admission.accepts_per_second = new.admission.accepts_per_second;
    merged.admission.accept_burst = new.admission.accept_burst;
    for listener in &mut merged.listeners {
        let new = new.listeners.iter().find(|new| new.address == listener.address);
        if let Some(new) = new.and_then(|new| new.tls.as_ref())
            && let Some(tls) = &mut listener.tls
        {
            tls.clone_from(new);
        }
    }
    credentials(&mut merged, new);
    let mut conflicts = config::conflicts(&merged);
    let before = config::conflicts(old);
    conflicts.0.retain(|conflict| !before.0.contains(conflict));
    // What is taken goes together by itself. Of what waits, listeners and `require_tls` alone ask for
    // something that is taken: for proxies. How these tell of clients changes as a whole: by a header or by
    // the protocol.
    if !conflicts.0.is_empty() || speak_otherwise(&merged, new) {
        merged.proxy = old.proxy.clone();
    }
    let kept = config::differences(&merged, new);
    (merged, kept, conflicts)
}

/// Whether proxies are to tell a listener of its clients in another way.
fn speak_otherwise(old: &Config, new: &Config) -> bool {
    old.listeners.iter().any(|old| {
        let new = new.listeners.iter().find(|new| new.address == old.address);
        new.is_some_and(|new| new.proxy_protocol != old.proxy_protocol)
    })
}

/// Keys, pages, rights and who is asked change while a process runs; whether credentials are wanted does not,
/// nor by which clock and within which limits they are judged: that goes for a whole core, its engine too.
fn credentials(merged: &mut Config, new: &Config) {
    if merged.auth.mode != new.auth.mode {
        return;
    }
    merged.auth = config::Auth {
        // What the engines of the cores and their gates began with.
        timeout_ms: merged.auth.timeout_ms,
        expiring_ms: merged.auth.expiring_ms,
        leeway_ms: merged.auth.leeway_ms,
        cache_entries: merged.auth.cache_entries,
        revocations: merged.auth.revocations,
        questions: merged.auth.questions,
        ..new.auth.clone()
    };
    merged.auth_jwt = new.auth_jwt.clone();
    merged.auth_cookie = new.auth_cookie.clone();
    merged.auth_introspection = new.auth_introspection.clone();
    for (name, tenant) in &mut merged.tenants {
        let Some(new) = new.tenants.get(name) else { continue };
        tenant.rows.origins.clone_from(&new.rows.origins);
        tenant.rows.jwt_keys.clone_from(&new.rows.jwt_keys);
        tenant.rows.jwt_issuers.clone_from(&new.rows.jwt_issuers);
        tenant.rows.jwt_audiences.clone_from(&new.rows.jwt_audiences);
        tenant.rows.cookie_keys.clone_from(&new.rows.cookie_keys);
    }
}

/// The new settings, with the ports that were found where they say, as before, that any will do. Where several of
/// one host do, those go on that say what they said; if one is left on either side it has changed. Else nobody
/// knows which is which.
fn with_found_ports(new: &Config, old: &Config, asked: &[ListenAddress]) -> Config {
    let mut found = new.clone();
    let mut hosts: Vec<_> = asked.iter().filter_map(any_port).collect();
    hosts.sort_unstable();
    hosts.dedup();
    for host in hosts {
        let is_left = |(old, asked): &(&Listener, &ListenAddress)| {
            any_port(asked) == Some(host)
                && new.listeners.iter().all(|new| new.address != old.address)
        };
        let left = old.listeners.iter().zip(asked).filter(is_left);
        let mut left: Vec<_> = left.map(|(old, _)| old).collect();
        let asking = found.listeners.iter_mut().filter(|it| any_port(&it.address) == Some(host));
        let mut asking: Vec<_> = asking.collect();
        asking.retain_mut(|new| {
            let same = left.iter().position(|old| say_the_same(old, new));
            same.map(|place| new.address.clone_from(&left.remove(place).address)).is_none()
        });
        if let ([new], [old]) = (&mut asking[..], &left[..]) {
            new.address.clone_from(&old.address);
        }
    }
    found
}

/// The host, if any of its ports will do.
fn any_port(address: &ListenAddress) -> Option<IpAddr> {
    match address {
        ListenAddress::Tcp(address) if address.port() == 0 => Some(address.ip()),
        _ => None,
    }
}

/// Whether two differ in their addresses at most.
fn say_the_same(one: &Listener, other: &Listener) -> bool {
    *one == Listener { address: one.address.clone(), ..other.clone() }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::config::ClientCertificate;

    fn on_port(port: u16) -> Config {
        let mut config = Config::default();
        config.listeners[0].address = ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], port)));
        config
    }

    /// Each listener is where it was told to be.
    fn merge(old: &Config, new: &Config) -> (Config, Vec<String>, Problems) {
        let asked: Vec<_> = old.listeners.iter().map(|it| it.address.clone()).collect();
        super::merge(old, &asked, new)
    }

    /// The listeners on these ports were told that any will do.
    fn merge_found(old: &Config, ports: &[u16], new: &Config) -> (Config, Vec<String>, Problems) {
        let asked = old.listeners.iter().map(|it| match it.address {
            ListenAddress::Tcp(address) if ports.contains(&address.port()) => {
                ListenAddress::Tcp(SocketAddr::new(address.ip(), 0))
            }
            _ => it.address.clone(),
        });
        super::merge(old, &asked.collect::<Vec<_>>(), new)
    }

    #[test]
    fn a_port_that_was_found_is_no_change_of_any_port() {
        let (merged, kept, _) = merge_found(&on_port(40_001), &[40_001], &on_port(0));
        assert_eq!(kept, Vec::<String>::new());
        assert_eq!(merged, on_port(40_001), "it goes on where it listens");
        let (_, kept, _) = merge(&on_port(40_001), &on_port(40_002));
        let named =
            ["listener 127.0.0.1:40001 (no longer there)", "listener 127.0.0.1:40002 (new)"];
        assert_eq!(kept, named);
    }

    fn encrypted(port: u16, file: &str, client_certificate: ClientCertificate) -> Listener {
        let tls = config::Tls {
            certificate_file: file.into(),
            key_file: file.into(),
            client_ca_file: (client_certificate != ClientCertificate::None).then(|| file.into()),
            client_certificate,
        };
        Listener { tls: Some(tls), ..on_port(port).listeners.remove(0) }
    }

    fn with(listeners: &[&Listener]) -> Config {
        let listeners = listeners.iter().map(|it| (*it).clone()).collect();
        Config { listeners, ..Config::default() }
    }

    #[test]
    fn what_a_listener_encrypts_with_goes_by_its_address() {
        let inner = encrypted(40_001, "inner", ClientCertificate::Required);
        let outer = encrypted(40_002, "outer", ClientCertificate::None);
        let newer = encrypted(40_002, "newer", ClientCertificate::None);
        let old = with(&[&inner, &outer]);
        let (merged, kept, _) = merge(&old, &with(&[&newer]));
        assert_eq!(merged, with(&[&inner, &newer]), "who is not there keeps what it has");
        assert_eq!(kept, ["listener 127.0.0.1:40001 (no longer there)"]);
        let (merged, kept, _) = merge(&old, &with(&[&newer, &inner]));
        assert_eq!((merged, kept.len()), (with(&[&inner, &newer]), 0), "in whatever order");
    }

    #[test]
    fn of_those_on_any_port_none_gets_what_may_be_anothers() {
        const NONE: ClientCertificate = ClientCertificate::None;
        let on = |port, file| encrypted(port, file, NONE);
        let (inner, outer) =
            (encrypted(40_001, "inner", ClientCertificate::Required), on(40_002, "outer"));
        let old = with(&[&inner, &outer]);
        let any_inner = Listener { address: on(0, "").address, ..inner.clone() };
        let [any_outer, any_newer, any_newest] =
            ["outer", "newer", "newest"].map(|file| on(0, file));
        let both = &[40_001, 40_002][..];
        let newer = on(40_002, "newer");
        for (what, found, new, merged) in [
            ("one of a fixed port moves", &[][..], [&any_newer, &outer].to_vec(), &old),
            ("that moves as it is", &[], [&any_outer, &inner].to_vec(), &old),
            (
                "a fixed one stays",
                &both[1..],
                [&inner, &any_newer].to_vec(),
                &with(&[&inner, &newer]),
            ),
            ("a fixed one goes", &both[1..], [&any_newer].to_vec(), &with(&[&inner, &newer])),
            ("in another order", both, [&any_newer, &any_inner].to_vec(), &with(&[&inner, &newer])),
            ("one goes", both, [&any_outer].to_vec(), &old),
            ("one goes, the other is new", both, [&any_newer].to_vec(), &old),
            ("one comes", both, [&any_newer, &any_outer, &any_newest].to_vec(), &old),
            ("both are new", both, [&any_newer, &any_newest].to_vec(), &old),
            (
                "one is given its port",
                both,
                [&newer, &any_inner].to_vec(),
                &with(&[&inner, &newer]),
            ),
        ] {
            assert_eq!(merge_found(&old, found, &with(&new)).0, *merged, "{what}");
        }
    }

    #[test]
    fn of_a_listener_what_has_changed_is_named() {
        let plain = on_port(40_001).listeners.remove(0);
        let named = |changed: Listener| merge(&with(&[&plain]), &with(&[&changed])).1;
        let row = |row| [format!("listener 127.0.0.1:40001 {row}")];
        assert_eq!(named(Listener { deflate: false, ..plain.clone() }), row("deflate"));
        assert_eq!(
            named(Listener { proxy_protocol: true, ..plain.clone() }),
            row("proxy_protocol")
        );
        assert_eq!(named(encrypted(40_001, "new", ClientCertificate::None)), row("tls"));
    }

    #[test]
    fn tls_is_required_of_the_listeners_that_it_was_checked_against() {
        let mut new = on_port(40_001);
        new.handshake.require_tls = true;
        let (merged, kept, _) = merge(&on_port(40_001), &new);
        assert_eq!(kept, ["handshake.require_tls"]);
        assert_eq!(merged, on_port(40_001));
    }

    #[test]
    fn of_the_settings_of_credentials_each_is_taken_or_named() {
        let mut old = on_port(40_001);
        old.auth.hook_url = Some("http://127.0.0.1/a".to_owned());
        let mut new = old.clone();
        new.auth = config::Auth {
            timeout_ms: 1_000,
            expiring_ms: 1,
            leeway_ms: 60_000,
            cache_entries: 1,
            revocations: 1,
            questions: 1,
            anonymous: true,
            permissions: vec!["join".to_owned()],
            hook_url: Some("http://127.0.0.1/b".to_owned()),
            hook_timeout_ms: 10,
            believe_ms: 1,
            ..old.auth.clone()
        };
        new.auth_jwt.audiences = vec!["rooms".to_owned()];
        let (merged, kept, _) = merge(&old, &new);
        let rows =
            ["timeout_ms", "expiring_ms", "leeway_ms", "cache_entries", "revocations", "questions"];
        assert_eq!(kept, rows.map(|row| format!("auth.{row}")));
        let taken = config::Auth {
            timeout_ms: old.auth.timeout_ms,
            expiring_ms: old.auth.expiring_ms,
            leeway_ms: old.auth.leeway_ms,
            cache_entries: old.auth.cache_entries,
            revocations: old.auth.revocations,
            questions: old.auth.questions,
            ..new.auth
        };
        assert_eq!((merged.auth, merged.auth_jwt), (taken, new.auth_jwt));
    }

    /// From a header to the protocol: proxies go on with what they do until the process starts again.
    #[test]
    fn how_proxies_tell_of_clients_changes_as_a_whole() {
        let trusted = vec!["127.0.0.1/32".parse().expect("a network")];
        let header = config::AddressHeader::XForwardedFor;
        let proxy = config::Proxy { trusted: trusted.clone(), header };
        let old = Config { proxy: proxy.clone(), ..on_port(40_001) };
        let header = config::Proxy::default().header;
        let mut new = Config { proxy: config::Proxy { trusted, header }, ..on_port(40_001) };
        new.listeners[0].proxy_protocol = true;
        let (merged, kept, _) = merge(&old, &new);
        assert_eq!(merged.proxy, proxy);
        assert_eq!(kept, ["listener 127.0.0.1:40001 proxy_protocol", "proxy.header"]);
    }

    /// What the new file says goes together, and what the old one says: half of each would let nobody in.
    #[test]
    fn what_is_taken_goes_together_with_what_waits() {
        let trusts = config::Proxy {
            trusted: vec!["127.0.0.1/32".parse().expect("a network")],
            header: config::AddressHeader::XForwardedFor,
        };
        let mut speaks_first = Config { proxy: trusts.clone(), ..on_port(40_001) };
        speaks_first.listeners[0].proxy_protocol = true;
        let mut behind = Config { proxy: trusts.clone(), ..on_port(40_001) };
        behind.handshake.require_tls = true;
        let waits = ["listener 127.0.0.1:40001 proxy_protocol", "handshake.require_tls"];
        for (old, waits) in [speaks_first, behind].into_iter().zip(waits) {
            let mut new = on_port(40_001);
            new.handshake.origins = vec!["https://new.example".to_owned()];
            let (merged, kept, conflicts) = merge(&old, &new);
            assert_eq!(merged.proxy, trusts);
            assert_eq!(merged.handshake.origins, new.handshake.origins, "the rest is taken");
            assert_eq!(kept, [waits, "proxy.trusted", "proxy.header"]);
            assert_eq!(conflicts.0.len(), 1, "{conflicts}");
            // Together with what they were for, they go.
            let (merged, ..) = merge(&on_port(40_001), &new);
            assert_eq!(merged.proxy, new.proxy);
        }
    }
}
