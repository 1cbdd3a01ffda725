#![allow(clippy::unwrap_used, reason = "a test may")]

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::{Found, Inquiry};
use crate::auth::{
    Answer, Fingerprint, Policy, Question, Refusal, SourceId, Sources, Whom, Zeroed,
};
use crate::config::{Config, Secret, TokenKey, TokenKeySource};
use crate::id::{CoreId, TenantId};
use crate::ws::handshake::CredentialKind;

const KEYS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A server that gives the same answer to every request, and tells what it was asked.
async fn serve(answer: Vec<u8>, tls: Option<TlsAcceptor>) -> (u16, UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, questions) = unbounded_channel();
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (answer, asked, tls) = (answer.clone(), asked.clone(), tls.clone());
            spawn_local(async move {
                let tell = |question| _ = asked.send(question);
                match tls {
                    None => talk(stream, &answer, tell).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            talk(stream, &answer, tell).await;
                        }
                    }
                }
            });
        }
    });
    (port, questions)
}

async fn talk(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: &[u8],
    tell: impl Fn(String),
) {
    let mut bytes = vec![0; 16_384];
    loop {
        let Ok(count @ 1..) = stream.read(&mut bytes).await else { return };
        tell(String::from_utf8_lossy(&bytes[..count]).into_owned());
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}

fn on_a_local_set<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, future)
}

/// A configuration whose keys are at a URL.
fn with_keys_at(url: String) -> Config {
    let mut config = Config::default();
    let source = TokenKeySource::JwksUrl(url);
    config.auth_jwt.keys = vec![TokenKey { id: None, algorithm: None, issuer: None, source }];
    config.auth_jwt.jwks_hosts = vec!["127.0.0.1".into(), "localhost".into()];
    config.auth_jwt.jwks_timeout_ms = 300;
    config.auth_jwt.jwks_bytes = 1_024;
    config
}

fn inquiry(config: &Config) -> Inquiry {
    let tenants = [(TenantId::DEFAULT, "default".into())];
    let read = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
    let sources = Sources { config, tenants: &tenants, read: &read, custom: None, number: 7 };
    Inquiry::new(config, Some(&Arc::new(Policy::read(&sources).unwrap())))
}

async fn next(inquiry: &mut Inquiry) -> Found {
    timeout(Duration::from_secs(20), inquiry.next()).await.expect("an answer")
}

async fn keys(config: &Config) -> Result<Arc<str>, Refusal> {
    let mut inquiry = inquiry(config);
    match next(&mut inquiry).await {
        Found { to: None, answer: Answer::Keys { policy: 7, source: SourceId(0), keys } } => keys,
        other => panic!("{other:?}"),
    }
}

#[test]
fn keys_are_fetched_without_being_asked_for_and_for_all_cores() {
    on_a_local_set(async {
        let (port, mut questions) = serve(ok(KEYS), None).await;
        let config = with_keys_at(format!("http://127.0.0.1:{port}/keys?x=1"));
        assert_eq!(&*keys(&config).await.unwrap(), KEYS);
        let question = questions.recv().await.unwrap();
        assert!(question.starts_with("GET /keys?x=1 HTTP/1.1\r\nhost: 127.0.0.1"), "{question}");
    });
}

#[test]
fn what_is_no_answer_is_none() {
    on_a_local_set(async {
        let (elsewhere, mut redirected) = serve(ok(KEYS), None).await;
        let moved = format!(
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{elsewhere}/\r\nContent-Length: 0\r\n\r\n"
        );
        for (name, answer) in [
            ("a redirect", moved.into_bytes()),
            ("an error", b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_vec()),
            ("nothing", Vec::new()),
            ("half an answer", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf".to_vec()),
            ("no HTTP", b"220 mail.example ESMTP\r\n\r\n".to_vec()),
            ("too much", ok(&"x".repeat(1_025))),
            ("no text", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\xff".to_vec()),
        ] {
            let (port, _questions) = serve(answer, None).await;
            let config = with_keys_at(format!("http://127.0.0.1:{port}/"));
            let began = Instant::now();
            assert_eq!(keys(&config).await, Err(Refusal::Unavailable), "{name}");
            assert!(began.elapsed() < Duration::from_secs(10), "{name}: in time");
        }
        assert!(redirected.try_recv().is_err(), "the redirect was not followed");
        let config = with_keys_at("http://127.0.0.1:1/".into());
        assert_eq!(keys(&config).await, Err(Refusal::Unavailable), "nobody is there");
    });
}

#[test]
fn keys_are_fetched_again_when_a_core_wants_them_and_in_no_haste() {
    on_a_local_set(async {
        let (port, mut questions) = serve(ok(KEYS), None).await;
        let mut inquiry = inquiry(&with_keys_at(format!("http://127.0.0.1:{port}/")));
        next(&mut inquiry).await;
        let began = Instant::now();
        for core in 0..100 {
            let question = Question::Keys { policy: 7, source: SourceId(0) };
            inquiry.ask(CoreId(core), question);
        }
        next(&mut inquiry).await;
        assert!(began.elapsed() >= Duration::from_millis(900), "a pause between the two");
        let mut count = 0;
        while questions.try_recv().is_ok() {
            count += 1;
        }
        assert_eq!(count, 2, "all cores together are one request");
        let void = Question::Keys { policy: 6, source: SourceId(0) };
        inquiry.ask(CoreId(3), void);
        let found = next(&mut inquiry).await;
        assert_eq!(found.to, Some(CoreId(3)), "who asks by an old policy is refused alone");
    });
}

#[test]
fn over_tls_the_server_must_be_who_it_says() {
    on_a_local_set(async {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let other = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let folder = std::env::temp_dir().join(format!("ringroom-inquiry-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (trusted, distrusted) = (folder.join("ca.pem"), folder.join("other.pem"));
        fs::write(&trusted, made.cert.pem()).unwrap();
        fs::write(&distrusted, other.cert.pem()).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.unwrap())
            .unwrap();
        let (port, _questions) = serve(ok(KEYS), Some(TlsAcceptor::from(Arc::new(tls)))).await;
        for (file, host, good) in [
            (&trusted, "localhost", true),
            (&distrusted, "localhost", false),
            (&trusted, "127.0.0.1", false),
        ] {
            let mut config = with_keys_at(format!("https://{host}:{port}/"));
            config.auth.ca_file = Some(file.clone());
            config.auth_jwt.jwks_timeout_ms = 3_000;
            assert_eq!(keys(&config).await.is_ok(), good, "{host}");
        }
        fs::remove_dir_all(&folder).unwrap();
    });
}

fn secret(text: &str) -> Option<Secret> {
    Secret::new(text, None)
}

fn question(whom: Whom, credential: &str) -> Question {
    Question::Identity {
        policy: 7,
        fingerprint: Fingerprint::of(whom, CredentialKind::Bearer, credential, None),
        whom,
        kind: CredentialKind::Bearer,
        secret: Zeroed::copy_of(credential.as_bytes()),
        wanted_tenant: Some("acme".into()),
    }
}

async fn said(inquiry: &mut Inquiry, question: Question) -> Result<String, Refusal> {
    inquiry.ask(CoreId(1), question);
    match next(inquiry).await {
        Found { to: Some(CoreId(1)), answer: Answer::Identity { policy: 7, said, .. } } => {
            said.map(|said| said.to_string())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_authorization_server_is_asked_as_rfc_7662_says() {
    on_a_local_set(async {
        let (port, mut questions) = serve(ok(r#"{"active":false}"#), None).await;
        let mut config = Config::default();
        config.auth_introspection.url = Some(format!("http://127.0.0.1:{port}/introspect"));
        config.auth_introspection.client_id = Some("ring room".into());
        config.auth_introspection.client_secret = secret("a:b&c=d-0123456789");
        let mut inquiry = inquiry(&config);
        for _ in 0..2 {
            let answer = said(&mut inquiry, question(Whom::Introspection, "a+b/c=&d")).await;
            assert_eq!(answer.unwrap(), r#"{"active":false}"#);
            let asked = questions.recv().await.unwrap();
            assert!(asked.starts_with("POST /introspect HTTP/1.1\r\n"), "{asked}");
            let basic = "cmluZyUyMHJvb206YSUzQWIlMjZjJTNEZC0wMTIzNDU2Nzg5";
            assert!(asked.contains(&format!("authorization: Basic {basic}\r\n")), "{asked}");
            let body = "\r\n\r\ntoken=a%2Bb%2Fc%3D%26d&token_type_hint=access_token";
            assert!(asked.ends_with(body), "{asked}");
        }
    });
}

#[test]
fn the_hook_is_asked_in_json_and_may_say_no() {
    on_a_local_set(async {
        let no = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_vec();
        let oops = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n".to_vec();
        for (answer, expected) in [
            (ok(r#"{"user":"ann"}"#), Ok(r#"{"user":"ann"}"#.to_owned())),
            (no, Err(Refusal::Denied)),
            (oops, Err(Refusal::Unavailable)),
        ] {
            let (port, mut questions) = serve(answer, None).await;
            let mut config = Config::default();
            config.auth.hook_url = Some(format!("http://127.0.0.1:{port}/who"));
            config.auth.hook_secret = secret("between-us-0123456789");
            let mut inquiry = inquiry(&config);
            assert_eq!(said(&mut inquiry, question(Whom::Hook, "s\"x")).await, expected);
            let asked = questions.recv().await.unwrap();
            assert!(asked.contains("authorization: Bearer between-us-0123456789\r\n"), "{asked}");
            let body = r#"{"credential":"s\"x","kind":"bearer","tenant":"acme"}"#;
            assert!(asked.ends_with(body), "{asked}");
        }
    });
}

#[test]
fn a_slow_backend_holds_up_its_own_answers_alone() {
    on_a_local_set(async {
        let (slow, _questions) = serve(Vec::new(), None).await;
        let (quick, _more) = serve(ok(r#"{"active":false}"#), None).await;
        let mut config = Config::default();
        config.auth.hook_url = Some(format!("http://127.0.0.1:{slow}/"));
        config.auth.hook_timeout_ms = 400;
        config.auth_introspection.url = Some(format!("http://127.0.0.1:{quick}/"));
        let mut inquiry = inquiry(&config);
        for index in 0..70 {
            inquiry.ask(CoreId(1), question(Whom::Hook, &format!("credential {index}")));
        }
        inquiry.ask(CoreId(2), question(Whom::Introspection, "a"));
        let (mut busy, mut late) = (0, 0);
        let mut quick_came_after = None;
        for count in 0..71 {
            let found = next(&mut inquiry).await;
            match found.answer {
                Answer::Identity { said: Ok(_), .. } => quick_came_after = Some(count),
                Answer::Identity { said: Err(Refusal::Busy), .. } => busy += 1,
                Answer::Identity { said: Err(Refusal::Unavailable), .. } => late += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((busy, late), (6, 64), "so many at once, and the others are told to come back");
        assert!(quick_came_after.unwrap() <= 6, "it waited for none that is slow");
    });
}
