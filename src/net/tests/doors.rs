//! Handshakes whose credential only somebody else can judge.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::auth::{Answer, Policy, Question, Refusal, Setup, TenantSetup, Trust};
use crate::config::Config;
use crate::id::TenantId;
use crate::letter::Letter;

use super::{Bench, frame, read_head, wait_until};

/// Nothing is known here: the backend is asked.
fn hook() -> Arc<Policy> {
    let trust = Trust::default();
    let tenant = TenantSetup { id: TenantId::DEFAULT, name: "default".into(), trust };
    let setup = Setup { hook: true, believe_ms: 60_000, tenants: vec![tenant], ..Setup::default() };
    Arc::new(Policy::new(setup))
}

fn start(change: impl FnOnce(&mut Config)) -> Bench {
    Bench::start_as(None, Some(hook()), change)
}

fn request(token: &str) -> Vec<u8> {
    format!(
        "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    )
    .into_bytes()
}

/// The next question of the core.
fn hear_question(bench: &mut Bench) -> Question {
    let mut heard = None;
    wait_until("a question", || {
        let letters = bench.control.receive().map(|batch| batch.messages).unwrap_or_default();
        for letter in letters {
            if let Letter::Question(question) = letter {
                heard = Some(*question);
            }
        }
        heard.is_some()
    });
    heard.expect("it was waited for")
}

fn answer(question: &Question, said: Result<&str, Refusal>) -> Letter<crate::shard::CoreMessage> {
    let Question::Identity { policy, fingerprint, whom, .. } = question else {
        panic!("who it is was to be asked");
    };
    let said = said.map(Arc::from);
    let answer = Answer::Identity { policy: *policy, fingerprint: *fingerprint, whom: *whom, said };
    Letter::Answer(Box::new(answer))
}

/// The text of the next frame, of up to 64 KiB.
fn text(stream: &mut TcpStream) -> String {
    let mut start = [0; 2];
    stream.read_exact(&mut start).expect("a frame");
    let length = match start[1] {
        126 => {
            let mut long = [0; 2];
            stream.read_exact(&mut long).expect("its length");
            usize::from(u16::from_be_bytes(long))
        }
        short => usize::from(short),
    };
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).expect("its payload");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_handshake_waits_for_the_answer_and_loses_nothing() {
    let mut bench = start(|_| {});
    let mut clients: Vec<TcpStream> = (0..3).map(|_| bench.connect()).collect();
    for client in &mut clients {
        // A message behind the request, and one more while it waits.
        let behind = frame(r#"{"type":"ping","id":1}"#);
        client.write_all(&[request("a-token"), behind].concat()).expect("it is taken");
    }
    let question = hear_question(&mut bench);
    for client in &mut clients {
        client.write_all(&frame(r#"{"type":"ping","id":2}"#)).expect("it is taken");
    }
    wait_until("all of them", || bench.metrics.handshakes_pending.get() == 3);
    thread::sleep(Duration::from_millis(50));
    assert!(bench.control.receive().is_none(), "the same is asked once");
    bench.post(answer(&question, Ok(r#"{"user":"ann"}"#)));
    for client in &mut clients {
        assert!(read_head(client).starts_with("HTTP/1.1 101 "));
        let told: Vec<String> = (0..3).map(|_| text(client)).collect();
        assert!(told[0].contains("\"welcome\"") && told[0].contains("\"ann\""), "{told:?}");
        assert!(told[1].contains("\"id\":1") && told[2].contains("\"id\":2"), "{told:?}");
    }
    drop(clients);
    bench.drain();
}

#[test]
fn who_is_not_known_is_refused_and_who_is_not_told_of_in_time_may_come_back() {
    let mut bench = start(|_| {});
    let mut client = bench.connect();
    client.write_all(&request("a-token")).expect("it is taken");
    let question = hear_question(&mut bench);
    bench.post(answer(&question, Err(Refusal::Denied)));
    let head = read_head(&mut client);
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    drop(client);
    bench.drain();

    let mut bench = start(|config| config.handshake.deadline_ms = 300);
    let mut late = bench.connect();
    late.write_all(&request("another-token")).expect("it is taken");
    let question = hear_question(&mut bench);
    let head = read_head(&mut late);
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    // The answer finds nobody.
    bench.post(answer(&question, Ok(r#"{"user":"ann"}"#)));
    drop(late);
    wait_until("its end", || bench.metrics.handshakes_pending.get() == 0);
    assert_eq!(bench.metrics.handshakes.get(), 0);
    bench.drain();
}

/// Whoever has waited for longest makes room.
#[test]
fn what_comes_behind_requests_that_are_judged_is_bounded() {
    const BUDGET_BYTES: u64 = 100_000;
    let mut bench = start(|config| config.limits.inbox_total_bytes = BUDGET_BYTES);
    let behind = frame(r#"{"type":"ping","id":1}"#).repeat(800);
    let held = bench.metrics.clone();
    let mut clients: Vec<TcpStream> = (1..=6)
        .map(|count| {
            let mut client = bench.connect();
            client.write_all(&[request("a-token"), behind.clone()].concat()).expect("it is taken");
            wait_until("it is in", || held.accepts.get() == count && held.inbox_bytes.get() > 0);
            client
        })
        .collect();
    let question = hear_question(&mut bench);
    assert!(read_head(&mut clients[0]).starts_with("HTTP/1.1 503 "));
    wait_until("what is kept", || held.inbox_bytes.get() > BUDGET_BYTES / 2);
    assert!(held.inbox_bytes.get() <= BUDGET_BYTES);
    bench.post(answer(&question, Ok(r#"{"user":"ann"}"#)));
    assert!(read_head(&mut clients[5]).starts_with("HTTP/1.1 101 "));
    assert!(text(&mut clients[5]).contains("\"welcome\""));
    assert!(text(&mut clients[5]).contains("\"id\":1"));
    drop(clients);
    wait_until("nothing is kept", || held.inbox_bytes.get() == 0);
    bench.drain();
}

#[test]
fn a_drain_does_not_wait_for_an_answer() {
    let mut bench = start(|_| {});
    let mut client = bench.connect();
    client.write_all(&request("a-token")).expect("it is taken");
    hear_question(&mut bench);
    let reading = thread::spawn(move || read_head(&mut client));
    bench.drain();
    assert!(reading.join().expect("it was told").starts_with("HTTP/1.1 503 "));
}
