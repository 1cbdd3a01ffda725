#![allow(clippy::unwrap_used, reason = "a test may")]

use proptest::prelude::*;

use super::*;

fn origins(list: &[&str]) -> Origins {
    let list: Vec<_> = list.iter().map(|text| (*text).to_owned()).collect();
    Origins::parse(&list).unwrap()
}

fn host(text: &str) -> Authority<'_> {
    Authority::parse(text).unwrap()
}

fn permits(origins: &Origins, origin: &str) -> bool {
    origins.permit(origin, host("app.example.com"), false).is_some()
}

#[test]
fn h8_listed_origins_are_compared_exactly() {
    let listed = origins(&["https://app.example.com", "http://[::1]:8080", "tauri://localhost"]);
    for (origin, expected) in [
        ("https://app.example.com", true),
        ("https://app.example.com:443", true),
        ("https://APP.Example.COM", true),
        ("HTTPS://app.example.com", true),
        ("http://[::1]:8080", true),
        ("tauri://localhost", true),
        ("null", false),
        ("", false),
        ("http://app.example.com", false),
        ("https://app.example.com:80", false),
        ("https://app.example.com:8443", false),
        ("https://app.example.com.", false),
        ("https://app.example.com.evil.com", false),
        ("https://evil.com/https://app.example.com", false),
        ("https://evilapp.example.com", false),
        ("https://app.example.co", false),
        ("https://example.com", false),
        ("https://app.example.com@evil.com", false),
        ("https://evil.com#app.example.com", false),
        ("https://app.example.com/", false),
        ("https://app.example.com ", false),
        ("https://app.example.com https://evil.com", false),
        ("https://app.example.com, https://evil.com", false),
        ("https://app.example.com:443:443", false),
        ("https://app.example.com:0443", false),
        ("https://app.example.com:+443", false),
        ("https://app.example.com:66000", false),
        ("https://app%2eexample.com", false),
        ("app.example.com", false),
        ("//app.example.com", false),
        ("://app.example.com", false),
        ("https://", false),
        ("http://[::1]", false),
        ("http://[::1]x:8080", false),
        ("http://[::1", false),
        ("tauri://localhost:80", false),
        ("file://", false),
        ("https://äpp.example.com", false),
    ] {
        assert_eq!(permits(&listed, origin), expected, "{origin}");
    }
}

#[test]
fn h8_an_empty_list_permits_the_hosts_own_pages() {
    for (page, to, plain, tls) in [
        ("https://app.example.com", "app.example.com", true, true),
        ("https://app.example.com", "app.example.com:443", true, true),
        ("https://app.example.com:443", "app.example.com", true, true),
        ("https://APP.example.com", "app.EXAMPLE.com", true, true),
        ("https://app.example.com:8443", "app.example.com:8443", true, true),
        ("http://app.example.com", "app.example.com", true, false),
        ("http://app.example.com:8000", "app.example.com:8000", true, false),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", true, false),
        ("http://[::1]:8000", "[::1]:8000", true, false),
        ("http://app.example.com", "app.example.com:443", false, false),
        ("https://app.example.com", "app.example.com:8443", false, false),
        ("https://app.example.com:8443", "app.example.com", false, false),
        ("https://app.example.com.", "app.example.com", false, false),
        ("https://evil.com", "app.example.com", false, false),
        ("chrome-extension://app.example.com", "app.example.com", false, false),
        ("https://app.example.com", "", false, false),
        ("null", "app.example.com", false, false),
    ] {
        let permitted = |tls| Origins::default().permit(page, host(to), tls);
        let own = |is_own: bool| is_own.then_some(Permission::Own);
        assert_eq!(permitted(false), own(plain), "{page} to {to}");
        assert_eq!(permitted(true), own(tls), "{page} to {to} by TLS");
    }
}

#[test]
fn h8_null_and_the_star_are_permitted_when_listed() {
    let to = host("app.example.com");
    let null = origins(&["null"]);
    assert_eq!(null.permit("null", to, false), Some(Permission::Any), "anybody's");
    assert_eq!(null.permit("https://app.example.com", to, false), None);

    let any = origins(&["*", "https://a.example.com"]);
    assert_eq!(any.permit("https://a.example.com", to, false), Some(Permission::Named));
    assert_eq!(any.permit("https://evil.com", to, false), Some(Permission::Any));
    assert_eq!(any.permit("null", to, false), Some(Permission::Any));
    assert_eq!(any.permit("no origin", to, false), None);
}

#[test]
fn a_list_names_its_first_invalid_entry() {
    for (text, fault) in [
        ("app.example.com", Fault::Scheme),
        ("", Fault::Scheme),
        ("1http://a", Fault::Scheme),
        ("ht tp://a", Fault::Scheme),
        ("https://app.example.com/", Fault::Path),
        ("https://app.example.com/chat", Fault::Path),
        ("https://a?b", Fault::Path),
        ("https://*.example.com", Fault::Host),
        ("https://", Fault::Host),
        ("https://a b", Fault::Host),
        ("https://user@a", Fault::Host),
        ("https://a:99999", Fault::Host),
        ("https://[::g]", Fault::Host),
        ("https://bücher.example", Fault::Host),
    ] {
        let list = ["*", "https://a.example.com", text].map(ToOwned::to_owned);
        assert_eq!(Origins::parse(&list), Err(Invalid { entry: 2, fault }), "{text}");
    }
}

#[test]
fn h3_authorities() {
    for (text, expected) in [
        ("example.com", Some(("example.com", None))),
        ("example.com:80", Some(("example.com", Some(80)))),
        ("example.com:", Some(("example.com", None))),
        ("[::1]", Some(("[::1]", None))),
        ("[::1]:8000", Some(("[::1]", Some(8000)))),
        ("my_host", Some(("my_host", None))),
        ("", Some(("", None))),
        ("a b", None),
        ("a,b", None),
        ("a/b", None),
        ("user@a", None),
        ("a:b", None),
        ("a:1:2", None),
        ("::1", None),
        ("[::1", None),
        ("[::1]a", None),
        ("[fe80::1%eth0]", None),
        ("[127.0.0.1]", None),
        ("a\\b", None),
        ("a%41", None),
        ("ä", None),
    ] {
        let expected = expected.map(|(host, port)| Authority { host, port });
        assert_eq!(Authority::parse(text), expected, "{text}");
    }
}

proptest! {
    #[test]
    fn nothing_panics_and_what_is_permitted_names_the_host(
        page in ".{0,30}", to in "[a-c.:\\[\\]0-9]{0,8}",
    ) {
        for origin in [page.clone(), format!("https://{page}"), format!("http://{to}")] {
            let Some(to) = Authority::parse(&to) else { continue };
            if Origins::default().permit(&origin, to, false).is_some() {
                prop_assert!(origin.to_ascii_lowercase().contains(&to.host.to_ascii_lowercase()));
            }
        }
    }
}

#[test]
fn a_list_takes_origins_as_browsers_write_them() {
    for text in [
        "*",
        "null",
        "https://app.example",
        "HTTP://localhost:3000",
        "https://[::1]:8443",
        "https://192.0.2.1",
        "capacitor://localhost",
        "chrome-extension://abcdef",
        "https://a_b.example.",
    ] {
        assert!(is_listable(text), "{text}");
        assert!(Origins::parse(&[text.to_owned()]).is_ok(), "{text}");
    }
    for text in [
        "",
        "app.example",
        "https://",
        "://app.example",
        "1http://a",
        "https://app.example/",
        "https://app.example?x",
        "https://*.example",
        "https://user@app.example",
        "https://a b",
        "https://äpp.example",
        "https://a:+80",
        "https://a:65536",
        "https://[::1",
        "https://[::g]",
        "https://[::1]x",
        " https://a",
        "**",
    ] {
        assert!(!is_listable(text), "{text}");
        assert!(Origins::parse(&[text.to_owned()]).is_err(), "{text}");
    }
}
