use std::io;
use std::path::Path;
use std::sync::Arc;

use super::keys::host_of;
use super::{SettingsCause, Sources};
use crate::auth::key::KeyError;
use crate::auth::tests::support::{HEADER, NOW, P256_PUBLIC, RSA_PUBLIC, SECRET, judged, signed};
use crate::auth::{Algorithm, Gate, Limits, Policy, Refusal};
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
