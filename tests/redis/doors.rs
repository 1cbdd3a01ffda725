//! The ways to a Redis: TLS with and without a certificate of the node's own, a UNIX socket.

use std::fs;

use crate::node::{is, linked, with};
use crate::server::eventually;
use crate::store::{Store, is_missing};
use crate::talk::Talk;
use crate::tls::Certificates;

/// A Redis that speaks TLS on a second port, with these certificates.
fn secured(certificates: &Certificates, more: &[&str]) -> (Store, String) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = [
        format!("tls-port {port}"),
        format!("tls-cert-file {}", certificates.file("server", "pem").display()),
        format!("tls-key-file {}", certificates.file("server", "key").display()),
        format!("tls-ca-cert-file {}", certificates.file("ca", "pem").display()),
    ];
    let settings: Vec<_> =
        settings.iter().map(String::as_str).chain(more.iter().copied()).collect();
    (Store::start(&settings), format!("redis.url=rediss://localhost:{port}"))
}

#[test]
fn a_redis_behind_tls_is_trusted_by_its_certificate() {
    if is_missing() {
        return;
    }
    let certificates = Certificates::new();
    let (store, url) = secured(&certificates, &["tls-auth-clients no"]);
    let ca = format!("redis.ca_file={}", certificates.file("ca", "pem").display());
    let node = with(&[&url, &ca]);
    linked(&node);
    let mut ada = Talk::joined(&node, "sure:a");
    assert_eq!(ada.publish("sure:a", 1), 1);
    assert_eq!(ada.messages(1)[0].1, 1);
    // Those of the system do not vouch for it, nor does this one for another name.
    is(&with(&[&url]), "tls");
    is(&with(&[&url.replace("localhost", "127.0.0.1"), &ca]), "tls");
    is(&with(&[&url, "redis.ca_file=/nowhere"]), "tls");
    drop(store);
}

#[test]
fn a_certificate_that_has_run_out_is_named() {
    if is_missing() {
        return;
    }
    let certificates = Certificates::new();
    certificates.issue_until("server", "localhost", 2020);
    let (_store, url) = secured(&certificates, &["tls-auth-clients no"]);
    let ca = format!("redis.ca_file={}", certificates.file("ca", "pem").display());
    let node = with(&[&url, &ca]);
    is(&node, "tls");
    eventually("the log says so", || node.log().to_lowercase().contains("expired"));
}

#[test]
fn a_node_shows_its_own_certificate() {
    if is_missing() {
        return;
    }
    let certificates = Certificates::new();
    let (_store, url) = secured(&certificates, &["tls-auth-clients yes"]);
    let file = |name, suffix| certificates.file(name, suffix).display().to_string();
    let ca = format!("redis.ca_file={}", file("ca", "pem"));
    let certificate = format!("redis.certificate_file={}", file("client", "pem"));
    let key = format!("redis.key_file={}", file("client", "key"));
    linked(&with(&[&url, &ca, &certificate, &key]));
    // Redis refuses it after the handshake, and its reason may not arrive before its end does.
    let without = with(&[&url, &ca]);
    eventually("the link is refused", || {
        let health = without.control("/health").text();
        ["tls", "lost"].iter().any(|state| health.contains(&format!("\"redis\":\"{state}\"")))
    });
}

#[test]
fn a_unix_socket_is_a_way_too() {
    if is_missing() {
        return;
    }
    let folder = crate::server::folder();
    let socket = folder.join("redis.sock");
    let _ = fs::remove_file(&socket);
    let _store = Store::start(&[&format!("unixsocket {}", socket.display())]);
    let node = with(&[&format!("redis.url=unix://{}", socket.display())]);
    linked(&node);
    let mut ada = Talk::joined(&node, "sure:a");
    assert_eq!(ada.publish("sure:a", 1), 1);
    assert_eq!(ada.messages(1)[0].1, 1);
}
