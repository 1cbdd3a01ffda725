//! A request head comes to the same verdict whole and in pieces; one that passes is clean, and what
//! the handshake, the origin and the forwarded address make of it keeps their promises.
use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use ringroom::config::{AddressHeader, Config, Handshake, Proxy};
use ringroom::origin::Origins;
use ringroom::ws::forwarded;
use ringroom::ws::handshake::{self, Policy};
use ringroom::ws::head::{self, Head, Scan};
use ringroom::ws::refusal::Refusal;

/// Small, so that inputs of a fuzzer's size reach them.
static LIMITS: LazyLock<Handshake> = LazyLock::new(|| {
    let handshake = Config::default().handshake;
    Handshake { head_bytes: 1_024, headers: 16, target_bytes: 256, ..handshake }
});

static ORIGINS: LazyLock<[Origins; 3]> = LazyLock::new(|| {
    let lists = [vec![], vec!["*".to_owned()], vec!["https://a.example".to_owned()]];
    lists.map(|list| Origins::parse(&list).expect("these are origins"))
});

const PROXY_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 5));

pub(crate) fn check(input: &[u8]) {
    // The first byte says how many bytes come at a time.
    let Some((step, bytes)) = input.split_first() else { return };
    let whole = head::parse(bytes, &LIMITS);
    assert_eq!(verdict(&whole), in_pieces(bytes, usize::from(*step).max(1)));
    match whole {
        Ok(Some((head, length))) => {
            assert!(length <= LIMITS.head_bytes as usize);
            assert!(bytes[..length].ends_with(b"\r\n\r\n"));
            assert!(head.target().bytes().all(|byte| byte.is_ascii_graphic()));
            accept(&head);
            forward(&head);
        }
        Ok(None) => assert!(bytes.len() <= LIMITS.head_bytes as usize),
        Err(refusal) => check_response(&refusal.response()),
    }
}

type Verdict = Result<Option<usize>, Refusal>;

fn verdict(parsed: &Result<Option<(Head<'_>, usize)>, Refusal>) -> Verdict {
    match parsed {
        Ok(parsed) => Ok(parsed.as_ref().map(|(_, length)| *length)),
        Err(refusal) => Err(*refusal),
    }
}

fn in_pieces(bytes: &[u8], step: usize) -> Verdict {
    let mut scan = Scan::default();
    for end in (0..bytes.len()).step_by(step).chain([bytes.len()]) {
        let verdict = verdict(&scan.parse(&bytes[..end], &LIMITS));
        if verdict != Ok(None) {
            return verdict;
        }
    }
    Ok(None)
}

fn accept(head: &Head<'_>) {
    for origins in ORIGINS.iter() {
        let policy = Policy {
            origins,
            tenant_origins: None,
            allow_absent_origin: true,
            local: false,
            tls: false,
            echo: true,
            deflate: true,
            cookie: Some("c"),
        };
        match handshake::accept(head, &policy) {
            Ok(accepted) => {
                assert!(handshake::concerns(head, &policy));
                assert!(accepted.response.starts_with(b"HTTP/1.1 101 "));
                check_response(&accepted.response);
            }
            Err(refusal) => check_response(&refusal.response()),
        }
    }
}

/// A response is one head of visible ASCII, with at most a body of JSON behind.
fn check_response(response: &[u8]) {
    let end = response.windows(4).position(|window| window == b"\r\n\r\n").expect("it ends");
    assert!(response[..end].iter().all(|byte| matches!(byte, b' '..=b'~' | b'\r' | b'\n')));
    let body = &response[end + 4..];
    assert!(body.is_empty() || (body.starts_with(b"{\"error\":{") && body.ends_with(b"}}")));
}

fn forward(head: &Head<'_>) {
    let trusted = vec![PROXY_ADDRESS.into()];
    for header in [AddressHeader::None, AddressHeader::XForwardedFor, AddressHeader::Forwarded] {
        let proxy = Proxy { trusted: trusted.clone(), header };
        assert_eq!(forwarded::client(Some(STRANGER), head, &proxy), Some(STRANGER));
        assert!(forwarded::client(Some(PROXY_ADDRESS), head, &proxy).is_some());
    }
}
