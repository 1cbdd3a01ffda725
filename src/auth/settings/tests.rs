use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::keys::host_of;
use super::{SettingsCause, Sources};
use crate::auth::api_key::NewKey;
use crate::auth::key::KeyError;
use crate::auth::tests::support::{
    HEADER, NOW, NOW_MS, P256_PUBLIC, RSA_PUBLIC, SECRET, at, judged, proof, signed,
};
use crate::auth::{Algorithm, Gate, Limits, Policy, Refusal, Verdict};
use crate::config::{self, AuthMode, Config};
use crate::hash::Seed;
use crate::id::TenantId;

fn config(text: &str) -> Config {
    let sources = config::Sources {
        file: Some(config::File { name: "f", text }),
        environment: &[("RINGROOM_AUTH_COOKIE_SECRET".into(), "c".repeat(32))],
        flags: &[],
        cpus_allowed: &[],
        read_secret: &|_| Ok("s".repeat(32)),
    };
    config::load(&sources).unwrap_or_else(|problems| panic!("{text}: {problems}"))
}

fn read(file: &Path) -> io::Result<String> {
    match file.to_str() {
        Some("rsa.pem") => Ok(RSA_PUBLIC.to_owned()),
        Some("ec.pem") => Ok(P256_PUBLIC.to_owned()),
        Some("private.pem") => Ok(crate::auth::tests::support::RSA.to_owned()),
        Some("1024.pem") => Ok(include_str!("../testdata/rsa_1024_public.pem").to_owned()),
        Some("pkcs1.pem") => Ok(include_str!("../testdata/rsa_public_pkcs1.pem").to_owned()),
        Some("short") => Ok("thirty-one bytes are not enough".to_owned()),
        Some("secret") => Ok(format!("{}\n", String::from_utf8_lossy(SECRET))),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn policy(text: &str) -> Result<Policy, Vec<(String, SettingsCause)>> {
    let config = config(text);
    let names: Vec<&str> = match config.tenants.is_empty() {
        true => vec!["default"],
        false => config.tenants.keys().map(String::as_str).collect(),
    };
    let tenants: Vec<(TenantId, Arc<str>)> =
        names.into_iter().zip(0..).map(|(name, id)| (TenantId(id), name.into())).collect();
    let sources =
        Sources { config: &config, tenants: &tenants, read: &read, custom: None, number: 1 };
    Policy::read(&sources).map_err(|problems| {
        assert_eq!(problems.to_string().lines().count(), problems.0.len(), "a line each");
        problems.0.into_iter().map(|problem| (problem.key, problem.cause)).collect()
    })
}

const ORIGINS: &str = "[handshake]\norigins = [\"https://app.example\"]\n";

fn told<const N: usize>(rows: [(String, &str, SettingsCause); N]) {
    for (text, place, cause) in rows {
        let problems = policy(&text).expect_err(&text);
        assert_eq!(problems, [(place.to_owned(), cause)], "{text}");
    }
}

#[test]
fn a_key_that_is_none_is_told_with_its_place() {
    let keys = |rows: &str| format!("{ORIGINS}[auth.jwt]\nkeys = [{rows}]\n");
    let key = |error| SettingsCause::Key(error);
    told([
        (
            keys(r#"{ algorithm = "RS256", public_key_file = "gone" }"#),
            "auth.jwt.keys, entry 1",
            SettingsCause::File("gone".into(), io::ErrorKind::NotFound),
        ),
        (
            keys(r#"{ algorithm = "HS256", secret_file = "short" }"#),
            "auth.jwt.keys, entry 1",
            key(KeyError::SecretTooShort),
        ),
        (
            keys(
                r#"{ algorithm = "HS256", secret_file = "secret" }, { algorithm = "HS256", public_key_file = "rsa.pem" }"#,
            ),
            "auth.jwt.keys, entry 2",
            key(KeyError::OtherAlgorithm),
        ),
        (
            keys(r#"{ algorithm = "RS256", secret_file = "secret" }"#),
            "auth.jwt.keys, entry 1",
            key(KeyError::OtherAlgorithm),
        ),
        (
            keys(r#"{ algorithm = "ES384", public_key_file = "ec.pem" }"#),
            "auth.jwt.keys, entry 1",
            key(KeyError::OtherAlgorithm),
        ),
        (
            keys(r#"{ algorithm = "RS256", public_key_file = "private.pem" }"#),
            "auth.jwt.keys, entry 1",
            key(KeyError::NotAPublicKey),
        ),
        (
            keys(r#"{ algorithm = "RS256", public_key_file = "1024.pem" }"#),
            "auth.jwt.keys, entry 1",
            key(KeyError::RsaSize),
        ),
        (
            keys(r#"{ jwks_url = "http://id.example/keys" }"#),
            "auth.jwt.keys, entry 1",
            SettingsCause::Url("http://id.example/keys".into()),
        ),
        (
            keys(r#"{ jwks_url = "https://id.example/keys" }"#),
            "auth.jwt.keys, entry 1",
            SettingsCause::HostNotAllowed("id.example".into()),
        ),
    ]);
}

#[test]
fn whatever_else_is_wrong_is_told_with_its_place() {
    told([
        (
            format!("{ORIGINS}[auth]\npermissions = [\"join\", \"joint\"]\n"),
            "auth.permissions",
            SettingsCause::Permission("joint".into()),
        ),
        (
            format!("{ORIGINS}[auth.roles]\nchief = [\"rule\"]\n"),
            "auth.roles",
            SettingsCause::Permission("rule".into()),
        ),
        (
            format!("{ORIGINS}[[auth.api_keys]]\nprefix = \"abc\"\nhash = \"sha256:00\"\n"),
            "auth.api_keys, entry 1",
            SettingsCause::NoApiKey,
        ),
        (
            format!(
                "{ORIGINS}[[auth.api_keys]]\nprefix = \"abcdefghijkl\"\nhash = \"sha256:{}\"\ntenant = \"x\"\n",
                "0".repeat(64)
            ),
            "auth.api_keys, entry 1",
            SettingsCause::UnknownTenant("x".into()),
        ),
        (
            format!(
                "{ORIGINS}[auth.cookie]\nkeys = [{{ id = \"1\", secret_file = \"secret\" }}]\n"
            ),
            "auth.cookie.keys, entry 1",
            SettingsCause::Twice,
        ),
        (
            "[auth.jwt]\nissuers = []\n".into(),
            "handshake.origins",
            SettingsCause::CookiesWithoutOrigins,
        ),
        (
            format!("{ORIGINS}[auth]\nhook_url = \"ftp://x/\"\n"),
            "auth.hook_url",
            SettingsCause::Url("ftp://x/".into()),
        ),
        (
            format!("{ORIGINS}[auth]\nhook_url = \"http://ann:canary@hook/who?key=canary\"\n"),
            "auth.hook_url",
            SettingsCause::Url("http://…@hook/who?…".into()),
        ),
        (
            format!("{ORIGINS}[auth]\nhook_url = \"ann:canary@hook\"\n"),
            "auth.hook_url",
            SettingsCause::Url("…@hook".into()),
        ),
        (
            format!("{ORIGINS}[auth.introspection]\nurl = \"http://id.example/\"\n"),
            "auth.introspection.url",
            SettingsCause::Url("http://id.example/".into()),
        ),
    ]);
}

#[test]
fn keys_of_cookies_that_no_page_may_show_are_told() {
    let nobody = || SettingsCause::CookiesWithoutOrigins;
    let any = "[handshake]\norigins = [\"*\", \"null\"]\n";
    let own = "cookie_keys = [{ id = \"2\", secret_file = \"secret\" }]\n";
    let named = "origins = [\"https://shop.example\"]\n";
    told([
        (any.to_owned(), "handshake.origins", nobody()),
        ("[tenants.shop]\norigins = [\"*\"]\n".to_owned(), "handshake.origins", nobody()),
        (
            format!("[tenants.default]\n{named}[tenants.shop]\n{own}"),
            "tenants.shop.origins",
            nobody(),
        ),
        (
            format!("{ORIGINS}[tenants.default]\n[tenants.shop]\norigins = [\"*\"]\n{own}"),
            "tenants.shop.origins",
            nobody(),
        ),
    ]);
    for good in [
        format!("[tenants.default]\n[tenants.shop]\n{named}"),
        format!("{any}[tenants.shop]\n{named}{own}"),
        format!("{ORIGINS}[tenants.shop]\n{own}"),
    ] {
        assert!(policy(&good).is_ok(), "{good}");
    }
}

#[test]
fn a_cookie_that_is_named_is_read_for_the_backend_and_from_named_pages() {
    let policy = |text: &str| {
        let sources = config::Sources {
            file: Some(config::File { name: "f", text }),
            environment: &[],
            flags: &[],
            cpus_allowed: &[],
            read_secret: &|_| Ok("s".repeat(32)),
        };
        let config = config::load(&sources).unwrap_or_else(|problems| panic!("{problems}"));
        let tenants = [(TenantId::DEFAULT, "default".into())];
        let sources =
            Sources { config: &config, tenants: &tenants, read: &read, custom: None, number: 1 };
        let name = |policy: Policy| policy.cookie_name().map(ToOwned::to_owned);
        Policy::read(&sources).map(name).map_err(|problems| problems.0[0].key.clone())
    };
    let hook = "[auth]\nhook_url = \"http://backend/\"\n";
    let (secret, named) = ("[auth.jwt]\nsecret_file = \"f\"\n", "[auth.cookie]\nname = \"sid\"\n");
    let key = "[auth.cookie]\nsecret_file = \"f\"\n";
    for (text, expected) in [
        (format!("{ORIGINS}{hook}"), Ok(None)),
        (format!("{ORIGINS}{hook}{named}"), Ok(Some("sid".to_owned()))),
        (format!("{hook}{named}"), Err("handshake.origins".to_owned())),
        (format!("{secret}{named}"), Ok(None)),
        (format!("{ORIGINS}{key}"), Ok(Some("__Host-ringroom".to_owned()))),
        (format!("{ORIGINS}{key}{hook}"), Ok(Some("__Host-ringroom".to_owned()))),
    ] {
        assert_eq!(policy(&text), expected, "{text}");
    }
}

#[test]
fn a_key_names_its_issuer_where_it_could_speak_for_another() {
    let several = r#"issuers = ["a", "b"]"#;
    let key =
        |more: &str| format!(r#"{{ algorithm = "RS256", public_key_file = "rsa.pem"{more} }}"#);
    let (unnamed, named) = (key(""), key(r#", issuer = "a""#));
    let jwt = |rows: String| format!("{ORIGINS}[auth.jwt]\n{rows}\n");
    let missing = || SettingsCause::IssuerMissing;
    told([
        (
            jwt(format!("{several}\nkeys = [{named}, {unnamed}]")),
            "auth.jwt.keys, entry 2",
            missing(),
        ),
        (jwt(format!("{several}\nsecret_file = \"f\"")), "auth.jwt.secret", missing()),
        (
            jwt(format!(
                "{several}\njwks_hosts = [\"h\"]\nkeys = [{{ jwks_url = \"https://h/\" }}]"
            )),
            "auth.jwt.keys, entry 1",
            missing(),
        ),
        (
            jwt(format!(
                "issuers = [\"a\"]\nkeys = [{named}]\n[tenants.acme]\njwt_keys = [{unnamed}]"
            )),
            "tenants.acme.jwt_keys, entry 1",
            missing(),
        ),
        (
            jwt(format!("[tenants.acme]\njwt_issuers = [\"a\", \"b\"]\njwt_keys = [{unnamed}]")),
            "tenants.acme.jwt_keys, entry 1",
            missing(),
        ),
    ]);
    for good in [
        format!("issuers = [\"a\"]\nkeys = [{unnamed}]"),
        format!("keys = [{unnamed}, {named}]"),
        format!("{several}\nkeys = [{named}]"),
    ] {
        assert!(policy(&jwt(good.clone())).is_ok(), "{good}");
    }
}

#[test]
fn an_issuer_that_no_key_speaks_for_is_told() {
    let key = |issuer: &str| {
        format!(r#"{{ algorithm = "RS256", public_key_file = "rsa.pem", issuer = "{issuer}" }}"#)
    };
    let jwt = |operator: &str, tenant: &str| {
        format!("{ORIGINS}[auth.jwt]\n{operator}\n[tenants.x]\njwt_issuers = [\"b\"]\n{tenant}\n")
    };
    let (of_a, of_b) = (format!("keys = [{}]", key("a")), format!("keys = [{}]", key("b")));
    let nobody = || SettingsCause::IssuerWithoutKey("b".into());
    told([
        (jwt(&of_a, ""), "tenants.x.jwt_issuers", nobody()),
        (jwt("secret_file = \"f\"", ""), "tenants.x.jwt_issuers", nobody()),
        (jwt("", &format!("jwt_{of_a}")), "tenants.x.jwt_issuers", nobody()),
    ]);
    let unnamed = r#"jwt_keys = [{ algorithm = "RS256", public_key_file = "rsa.pem" }]"#;
    let asked = "[auth.introspection]\nurl = \"https://id.example/\"";
    for good in [jwt(&of_b, ""), jwt(&of_a, unnamed), jwt(&of_a, asked)] {
        assert!(policy(&good).is_ok(), "{good}");
    }
}

#[test]
fn a_key_that_would_never_be_tried_is_told() {
    let key = r#"{ algorithm = "RS256", public_key_file = "rsa.pem" }"#;
    let keys = |count: usize, more: &str| {
        let keys = [vec![key; count], vec![more; 1]].concat().join(", ");
        format!("{ORIGINS}[auth.jwt]\nkeys = [{keys}]\n")
    };
    let ninth = |more: &str| policy(&keys(8, more)).map(|_| ());
    let of = |path: &str| vec![(path.to_owned(), SettingsCause::NamelessKeys)];
    assert_eq!(ninth(key), Err(of("auth.jwt.keys")));
    for good in [
        r#"{ algorithm = "RS256", public_key_file = "rsa.pem", id = "9" }"#,
        r#"{ algorithm = "RS256", public_key_file = "rsa.pem", issuer = "a" }"#,
        r#"{ algorithm = "PS256", public_key_file = "rsa.pem" }"#,
    ] {
        assert_eq!(ninth(good), Ok(()), "{good}");
    }
    let tenant = format!("{}[tenants.acme]\njwt_keys = [{key}]\n", keys(7, key));
    assert_eq!(
        policy(&tenant).map(|_| ()),
        Err(of("tenants.acme.jwt_keys")),
        "with the operator's"
    );
    let secret = r#"{ algorithm = "HS256", secret_file = "secret" }"#;
    let with_secret = |count: usize| {
        let keys = vec![secret; count].join(", ");
        policy(&format!("{ORIGINS}[auth.jwt]\nsecret_file = \"f\"\nkeys = [{keys}]\n")).map(|_| ())
    };
    assert_eq!(with_secret(7), Ok(()));
    assert_eq!(with_secret(8), Err(of("auth.jwt.keys")), "the secret is one of them");
}

#[test]
fn urls_of_keys_that_have_no_number_of_their_own_are_told() {
    let keys = |count: usize| vec![r#"{ jwks_url = "https://h/" }"#; count].join(", ");
    let text = |operator: usize, tenant: usize| {
        format!(
            "{ORIGINS}[auth.jwt]\njwks_hosts = [\"h\"]\nkeys = [{}]\n\
             [tenants.a]\njwt_keys = [{}]\n[tenants.b]\njwt_keys = [{}]\n",
            keys(operator),
            keys(1),
            keys(tenant)
        )
    };
    let of = |path: &str| Err(vec![(path.to_owned(), SettingsCause::TooManySources)]);
    let count = |operator, tenant| {
        policy(&text(operator, tenant)).map(|policy| {
            let numbers: BTreeSet<_> = policy.sources().map(|(id, _)| id).collect();
            assert_eq!(numbers.len(), policy.sources().count(), "each has its own");
            numbers.len()
        })
    };
    assert_eq!(count(65_533, 1), Ok(65_535));
    assert_eq!(count(65_533, 2), of("tenants.b.jwt_keys"));
    assert_eq!(count(65_536, 0), of("auth.jwt.keys"));
}

#[test]
fn an_api_key_has_its_limits_and_they_go_on_counting_when_the_settings_are_read_again() {
    let new = NewKey::of(&[1; 9], &[2; 32]);
    let text = |more: &str| {
        let (prefix, hash) = (&new.prefix, new.hash);
        format!("{ORIGINS}[[auth.api_keys]]\nprefix = \"{prefix}\"\nhash = \"{hash}\"\n{more}")
    };
    let limited = text("connections = 2\nmessages_per_second = 5\n");
    assert!(
        config::print(&config(&limited)).contains("connections = 2, messages_per_second = 5 }")
    );
    let quota = |policy: Policy| {
        let mut gate = Gate::new(Arc::new(policy), Limits::default(), Seed(1, 2));
        let Verdict::Accepted(program) = gate.judge(at(NOW_MS), &proof(&new.key)) else { panic!() };
        (Arc::clone(gate.policy()), program.quota.clone().expect("an API key has one"))
    };
    let (first, before) = quota(policy(&text("")).expect("a policy"));
    assert!((0..3).all(|_| before.enter()), "no limit yet");
    let (_, after) = quota(policy(&limited).expect("a policy").after(&first));
    assert!(after.is_full() && !after.enter() && after.messages().is_some());
    (0..2).for_each(|_| before.leave());
    assert!(after.enter(), "two of them have gone");
    for wrong in ["connections = -1", "connections = \"2\"", "messages_per_second = 10_000_001"] {
        let sources = config::Sources {
            file: Some(config::File { name: "f", text: &text(wrong) }),
            environment: &[],
            flags: &[],
            cpus_allowed: &[],
            read_secret: &|_| Ok(String::new()),
        };
        assert!(config::load(&sources).is_err(), "{wrong}");
    }
}

#[test]
fn a_configured_credential_is_required_unless_the_operator_says_otherwise() {
    assert_eq!(config("").auth.mode, AuthMode::Required, "a cookie secret is set");
    assert_eq!(config("auth.mode = \"open\"").auth.mode, AuthMode::Open);
    let shown = config::print(&config(ORIGINS));
    assert!(shown.contains("[auth.jwt]") && shown.contains("\nuser_claim = \"sub\""), "{shown}");
}

#[test]
fn keys_of_every_kind_are_read_and_printed_as_they_were() {
    let text = format!(
        r#"{ORIGINS}
[auth]
leeway_ms = 5_000
[auth.roles]
moderator = ["moderate"]
[auth.jwt]
user_claim = "uid"
secret_file = "whatever"
jwks_hosts = ["id.example"]
keys = [
    {{ id = "k1", algorithm = "HS256", secret_file = "secret" }},
    {{ algorithm = "RS256", public_key_file = "rsa.pem", issuer = "a" }},
    {{ algorithm = "PS256", public_key_file = "pkcs1.pem" }},
    {{ jwks_url = "https://id.example/keys" }},
]
[tenants.default]
[tenants.acme]
jwt_keys = [{{ algorithm = "ES256", public_key_file = "ec.pem" }}]
cookie_keys = [{{ id = "1", secret_file = "secret" }}]
"#
    );
    let policy = policy(&text).expect("a policy");
    assert_eq!(policy.sources().count(), 1);
    assert_eq!((policy.cookie_name(), policy.leeway_ms()), (Some("__Host-ringroom"), 5_000));
    let mut gate = Gate::new(Arc::new(policy), Limits::default(), Seed(1, 2));
    let claims = |more: &str| format!(r#"{{"uid":"ann","exp":{}{more}}}"#, NOW + 60);
    let rsa = signed(Algorithm::Rs256, r#"{"alg":"RS256"}"#, &claims(r#","iss":"a""#));
    let pss = signed(Algorithm::Ps256, r#"{"alg":"PS256"}"#, &claims(""));
    let own = signed(Algorithm::Es256, r#"{"alg":"ES256"}"#, &claims(r#","tenant":"acme""#));
    for token in [signed(Algorithm::Hs256, HEADER, &claims("")), rsa, pss, own] {
        assert_eq!(judged(&mut gate, &token), Ok("ann".to_owned()));
    }
    let stranger = claims(r#","tenant":"nobody""#);
    let stranger = signed(Algorithm::Es256, r#"{"alg":"ES256"}"#, &stranger);
    assert_eq!(judged(&mut gate, &stranger), Err(Refusal::UnknownTenant));
    let again = config::print(&config(&text));
    assert!(
        again.contains(r#"{ algorithm = "RS256", issuer = "a", public_key_file = "rsa.pem" }"#)
    );
}

#[test]
fn only_named_hosts_over_tls_give_keys() {
    for (url, host) in [
        ("https://id.example/keys", Some("id.example")),
        ("https://id.example:8443", Some("id.example")),
        ("https://[2001:db8::1]/k", Some("2001:db8::1")),
        ("http://localhost:9/k", Some("localhost")),
        ("http://127.0.0.1", Some("127.0.0.1")),
        ("http://id.example/keys", None),
        ("https://id.example@evil.example/", None),
        ("https:///keys", None),
        ("file:///etc/passwd", None),
        ("id.example", None),
    ] {
        assert_eq!(host_of(url), host, "{url}");
    }
}
