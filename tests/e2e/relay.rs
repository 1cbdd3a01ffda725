//! Plain HTTP on the main port: the core relays its bytes, the control plane answers.

use std::io::{BufReader, Write};
use std::net::Shutdown;

use crate::client::raw;
use crate::http::{Response, exchange, is_at_its_end, request};
use crate::server::{Plan, Server};

#[test]
fn the_public_routes_answer_and_no_others_do() {
    let server = Server::start();
    for (method, target, status) in [
        ("GET", "/", 200),
        ("GET", "/live", 200),
        ("GET", "/ready", 200),
        ("GET", "/health", 200),
        ("HEAD", "/live", 200),
        ("POST", "/live", 405),
        ("GET", "/metrics", 404),
        ("GET", "/nothing", 404),
        ("POST", "/faults/panic", 404),
        ("GET", "/ws", 426),
        ("GET", "/ws/room", 426),
    ] {
        let got = if method == "HEAD" {
            // Its length is that of a body that does not come.
            let head =
                format!("{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            head_status(&server, &head)
        } else {
            request(server.address(), method, target).status
        };
        assert_eq!(got, status, "{method} {target}");
    }
    let public = request(server.address(), "GET", "/health").text();
    assert!(!public.contains("cores"), "nothing about its parts: {public}");
    assert!(server.control("/health").text().contains("cores"));
}

/// Whatever is asked for: a proxy on the way may read it otherwise.
#[test]
fn a_request_names_one_host_and_a_path() {
    let server = Server::start();
    for (line, more, status) in [
        ("GET /live HTTP/1.1", "Host: a\r\n", 200),
        ("GET /live HTTP/1.1", "Host: [::1]:8000\r\n", 200),
        ("GET http://a/live HTTP/1.1", "Host: a\r\n", 200),
        ("GET /live HTTP/1.0", "", 200),
        ("GET /live HTTP/1.1", "", 400),
        ("GET /live HTTP/1.1", "Host: \r\n", 200),
        ("GET /live HTTP/1.1", "Host: a b\r\n", 400),
        ("GET /live HTTP/1.1", "Host: a\r\nHost: a\r\n", 400),
        ("GET /live HTTP/1.0", "Host: a\r\nHost: b\r\n", 400),
        ("GET http://b/live HTTP/1.1", "Host: a\r\n", 400),
        ("GET * HTTP/1.1", "Host: a\r\n", 400),
        ("OPTIONS * HTTP/1.1", "Host: a\r\n", 400),
        ("GET a:80 HTTP/1.1", "Host: a\r\n", 400),
        ("CONNECT a:80 HTTP/1.1", "Host: a\r\n", 405),
        ("CONNECT /live HTTP/1.1", "Host: a\r\n", 405),
    ] {
        let response = exchange(server.address(), format!("{line}\r\n{more}\r\n").as_bytes());
        let response = response.unwrap_or_else(|| panic!("{line} {more}: no response"));
        assert_eq!(response.status, status, "{line} {more}: {response:?}");
    }
}

fn head_status(server: &Server, head: &str) -> u16 {
    let mut stream = raw(server.address());
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\n"), "no body: {answer}");
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn the_page_runs_nothing_but_its_own() {
    let server = Server::start();
    let page = request(server.address(), "GET", "/");
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("content-type", "text/html; charset=utf-8"),
    ] {
        assert_eq!(page.header(name), Some(value));
    }
    // All that it names is there.
    let text = page.text();
    let named: Vec<&str> = ["src=\"", "href=\""]
        .iter()
        .flat_map(|attribute| text.split(attribute).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .filter(|target| target.starts_with('/'))
        .collect();
    assert!(!named.is_empty());
    for target in named {
        assert_eq!(request(server.address(), "GET", target).status, 200, "{target}");
    }
}

/// A proxy that kept it for the next request might send an upgrade on it.
#[test]
fn a_plain_connection_is_for_one_request_and_says_so() {
    let server = Server::start();
    for more in ["", "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let mut stream = raw(server.address());
        let requests = format!("GET /live HTTP/1.1\r\nHost: a\r\n\r\n{more}");
        stream.write_all(requests.as_bytes()).unwrap();
        let mut responses = BufReader::new(stream);
        let response = Response::read(&mut responses).unwrap();
        assert_eq!(response.status, 200);
        assert_eq!(response.header("connection"), Some("close"));
        assert!(is_at_its_end(&mut responses), "{more}");
    }
}

#[test]
fn who_has_ended_its_side_still_gets_its_answer() {
    let server = Server::start();
    let mut stream = raw(server.address());
    stream.write_all(b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut stream = BufReader::new(stream);
    assert_eq!(Response::read(&mut stream).unwrap().status, 200);
    assert!(is_at_its_end(&mut stream));
}

#[test]
fn a_body_beyond_the_limit_is_refused_before_it_came() {
    let server = Server::start();
    let head = "POST /live HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n";
    let response = exchange(server.address(), head.as_bytes()).unwrap();
    assert!([400, 405, 413].contains(&response.status), "{response:?}");
}

#[test]
fn what_may_be_read_in_two_ways_is_refused() {
    let server = Server::start();
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Transfer-Encoding: x, chunked\r\n",
        "Content-Length : 5\r\n",
    ] {
        let mut stream = raw(server.address());
        let bytes = format!("POST /live HTTP/1.1\r\nHost: a\r\n{framing}\r\n");
        stream.write_all(bytes.as_bytes()).unwrap();
        // It may have been ended already.
        let _ = stream.write_all(b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut stream = BufReader::new(stream);
        let refused = Response::read(&mut stream).map(|response| response.status);
        assert!(refused.is_none_or(|status| (400..=501).contains(&status)), "{framing}{refused:?}");
        assert!(Response::read(&mut stream).is_none_or(|more| more.status != 200), "{framing}");
    }
}

#[test]
fn a_plain_request_whose_body_does_not_come_is_ended() {
    let server = Plan::new().set("handshake.http_idle_ms=200").start();
    let mut stream = raw(server.address());
    let head = b"POST /live HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n";
    stream.write_all(head).unwrap();
    let mut stream = BufReader::new(stream);
    assert!([400, 405].contains(&Response::read(&mut stream).unwrap().status));
    assert!(is_at_its_end(&mut stream));
}
