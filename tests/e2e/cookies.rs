//! Sessions in cookies, and the pages that they are believed from: a browser sends a cookie along for
//! whatever page it shows.

use ringroom::auth::cookie::CookieKey;
use serde_json::json;

use crate::client::head;
use crate::http::exchange;
use crate::identity::{OTHER_SECRET, SECRET, server};
use crate::oracle::{ok, oracle};
use crate::server::Server;
use crate::talk::{now, token};

const ACME: &str = "https://acme.example";
const SHOP: &str = "https://shop.example";
const OTHER: &str = "https://other.example";

/// A server whose tenants believe cookies, from the pages that `general`, and of each tenant its own
/// list, permits.
fn tenants(general: &str, own: &[(&str, &str)]) -> Server {
    let tenant = |(name, origins): &(&str, &str)| match *origins {
        "" => format!("[tenants.{name}]\n"),
        origins => format!("[tenants.{name}]\norigins = {origins}\n"),
    };
    let own: String = own.iter().map(tenant).collect();
    let cookies = "[auth.cookie]\nkeys = [{ id = \"1\", secret_file = \"OTHER_FILE\" }]";
    server(1, &format!("[handshake]\norigins = {general}\n{cookies}\n{own}"))
}

/// The header with a session of a tenant.
fn session(tenant: &str) -> String {
    let key = CookieKey::new("1", OTHER_SECRET.as_bytes()).unwrap();
    let claims = json!({ "sub": "ann", "tenant": tenant, "exp": now() + 600 }).to_string();
    format!("Cookie: __Host-ringroom={}\r\n", key.sign("__Host-ringroom", tenant, &claims))
}

fn bearer(tenant: &str) -> String {
    let token = token(SECRET, json!({ "sub": "ann", "tenant": tenant }));
    format!("Authorization: Bearer {token}\r\n")
}

/// What an upgrade by a page of this origin is answered.
fn from(server: &Server, origin: &str, credential: &str) -> u16 {
    let head = head("/ws", &format!("Origin: {origin}\r\n{credential}"));
    exchange(server.address(), head.as_bytes()).expect("a response").status
}

#[test]
fn a_cookie_is_believed_from_a_page_that_its_own_tenant_names_and_no_other() {
    let acme = format!("[\"*\", \"{ACME}\"]");
    let (shop, any) = (format!("[\"{SHOP}\"]"), "[\"*\"]");
    let lists = [("acme", &*acme), ("shop", &*shop), ("any", any), ("default", "")];
    let server = tenants(&format!("[\"{OTHER}\"]"), &lists);
    for (tenant, origin, with_cookie, with_token) in [
        ("acme", ACME, 101, 101),
        ("acme", SHOP, 403, 101),
        ("acme", OTHER, 403, 101),
        ("shop", SHOP, 101, 101),
        ("shop", ACME, 403, 403),
        ("shop", OTHER, 403, 403),
        ("any", ACME, 403, 101),
        ("any", OTHER, 403, 101),
        ("default", OTHER, 101, 101),
        ("default", ACME, 403, 403),
    ] {
        let case = format!("{tenant} from {origin}");
        assert_eq!(from(&server, origin, &session(tenant)), with_cookie, "{case}, by cookie");
        assert_eq!(from(&server, origin, &bearer(tenant)), with_token, "{case}, by token");
    }
}

#[test]
fn a_tenant_s_own_page_is_believed_where_any_page_may_connect() {
    let server = tenants("[\"*\"]", &[("shop", &format!("[\"{SHOP}\"]")), ("default", "")]);
    assert_eq!(from(&server, SHOP, &session("shop")), 101);
    assert_eq!(from(&server, OTHER, &session("shop")), 403);
    assert_eq!(from(&server, SHOP, &session("default")), 403, "the general list names nobody");
    assert_eq!(from(&server, OTHER, &bearer("default")), 101);
}

#[test]
fn the_host_s_own_page_is_believed_no_cookie_where_nobody_is_named() {
    let server = tenants("[]", &[("shop", &format!("[\"{SHOP}\"]")), ("default", "")]);
    let host = server.address().to_string();
    let own = |scheme: &str, credential: &str| {
        let more = format!("Origin: {scheme}://{host}\r\n{credential}");
        let head = head("/ws", &more).replace("Host: ringroom.test", &format!("Host: {host}"));
        exchange(server.address(), head.as_bytes()).expect("a response").status
    };
    for scheme in ["http", "https"] {
        assert_eq!(own(scheme, &session("default")), 403, "{scheme}");
        assert_eq!(own(scheme, &bearer("default")), 101, "{scheme}");
    }
    assert_eq!(from(&server, SHOP, &session("shop")), 101);
    // By a name that may be a stranger's.
    assert_eq!(from(&server, "http://ringroom.test", &bearer("default")), 403);
}

#[test]
fn the_backend_says_whose_a_session_of_its_own_is_if_its_page_is_named() {
    let (port, questions) = oracle(|question| match question.contains("\"4711\"") {
        true => ok(&json!({ "user": "ann" }).to_string()),
        false => "401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_owned(),
    });
    let hook = format!("[auth]\nhook_url = \"http://127.0.0.1:{port}/who\"\n");
    let pages = format!("[handshake]\norigins = [\"*\", \"{SHOP}\"]\n");
    let server = server(1, &format!("{hook}{pages}[auth.cookie]\nname = \"sid\"\n"));
    assert_eq!(from(&server, OTHER, "Cookie: sid=4711\r\n"), 403);
    assert!(questions.try_recv().is_err(), "nobody is asked for a stranger's page");
    assert_eq!(from(&server, SHOP, "Cookie: a=b; sid=4711\r\n"), 101);
    let asked = questions.recv().unwrap();
    assert!(asked.contains("\"kind\":\"cookie\"") && asked.contains("\"4711\""), "{asked}");
    assert_eq!(from(&server, SHOP, "Cookie: sid=4712\r\n"), 401);
}
