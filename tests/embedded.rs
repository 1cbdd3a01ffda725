//! A program of one's own with the server in it, a way of its own to check credentials, and answers of
//! its own to messages.
//!
//! The server has a process to itself (descriptor tables, signals), so the test starts itself again.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ringroom::auth::{Accepted, Custom, Permission, Proof, Refusal, RightsBuilder, Strategy};
use ringroom::config::{Config, ListenAddress};
use ringroom::id::TenantId;
use ringroom::protocol::{Codec, Data, ErrorCode, OwnedData};
use ringroom::server;
use ringroom::shard::application::{Failure, Handler, Handlers, Message};

/// Says to this program that it is to be the server.
const SERVE: &str = "RINGROOM_TEST_EMBEDDED";

#[derive(Debug)]
struct Sesame;

impl Custom for Sesame {
    fn judge(&self, _now: u64, proof: &Proof<'_>) -> Option<Result<Arc<Accepted>, Refusal>> {
        let word = proof.secret.strip_prefix("word:")?;
        if word != "sesame" {
            return Some(Err(Refusal::Denied));
        }
        let mut rights = RightsBuilder::default();
        rights.state(&Permission::parse("join").unwrap());
        let nobody = Accepted::nobody(TenantId::DEFAULT, "default".into());
        Some(Ok(Arc::new(Accepted {
            user: Some("ali".into()),
            strategy: Strategy::Custom,
            rights: Arc::new(rights.finish().unwrap()),
            ..nobody
        })))
    }
}

/// Says who asks.
#[derive(Debug)]
struct WhoAmI;

impl Handler for WhoAmI {
    fn handle(&self, message: &Message<'_>) -> Result<OwnedData, Failure> {
        let nobody = Failure { code: ErrorCode::Forbidden, message: "nobody".into() };
        let user = message.identity.user.as_deref().ok_or(nobody)?;
        let said = format!("{{\"you\":\"{user}\"}}");
        Ok(Data::new(Codec::Json, said.as_bytes(), 8).expect("it is JSON").to_owned())
    }
}

/// Has a bug.
#[derive(Debug)]
struct Panics;

impl Handler for Panics {
    fn handle(&self, _message: &Message<'_>) -> Result<OwnedData, Failure> {
        panic!("a bug of the program's own");
    }
}

fn serve() {
    let mut config = Config::default();
    config.listeners[0].address = ListenAddress::Tcp("127.0.0.1:0".parse().unwrap());
    config.control.address = "127.0.0.1:0".parse().unwrap();
    config.cores.count = 1;
    let again = config.clone();
    let handlers = Handlers::default().with("who_am_i", Arc::new(WhoAmI));
    let handlers = handlers.with("panics", Arc::new(Panics));
    let added = server::Extensions { custom: Some(Arc::new(Sesame)), handlers };
    server::run_with(config, Box::new(move || Ok(again.clone())), added).unwrap();
}

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The answer to an upgrade, and the first frame if it was one.
fn upgrade(address: &str, target: &str) -> String {
    conversation(address, target, &[])
}

/// The answer to an upgrade, and what was said until as many messages as these were answered.
fn conversation(address: &str, target: &str, messages: &[&str]) -> String {
    let mut stream = connect(address, target);
    for message in messages {
        say(&mut stream, message);
    }
    // The welcome, and one more for each.
    hear(&mut stream, |said| {
        said.matches("\"type\":").count() > messages.len() || said.contains("\"error\":")
    })
}

/// A connection that has asked for an upgrade.
fn connect(address: &str, target: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

fn say(stream: &mut TcpStream, message: &str) {
    let mut frame = vec![0x81, 0x80 | u8::try_from(message.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(message.as_bytes());
    stream.write_all(&frame).unwrap();
}

/// What is said until that is enough.
fn hear(stream: &mut TcpStream, is_enough: impl Fn(&str) -> bool) -> String {
    let (mut said, mut bytes) = (String::new(), [0; 4_096]);
    while !is_enough(&said) {
        let count = stream.read(&mut bytes).unwrap();
        assert!(count > 0, "it ended: {said}");
        said.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    said
}

#[test]
fn a_program_checks_credentials_and_answers_messages_in_its_own_way() {
    if std::env::var_os(SERVE).is_some() {
        return serve();
    }
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new(this);
    command.args([
        "--exact",
        "a_program_checks_credentials_and_answers_messages_in_its_own_way",
        "--nocapture",
    ]);
    let mut process = Process(command.env(SERVE, "1").stdout(Stdio::piped()).spawn().unwrap());
    let greeting = BufReader::new(process.0.stdout.take().unwrap());
    let mut lines = greeting.lines().map_while(Result::ok);
    let mut told = |what: &str| {
        let address = lines.find_map(|line| {
            let (_, rest) = line.split_once(what)?;
            rest.split('/').next().map(ToOwned::to_owned)
        });
        address.expect("it serves")
    };
    let (address, control) = (told("serves on http://"), told("Control plane: http://"));
    let welcome = upgrade(&address, "/ws/lobby?token=word:sesame");
    assert!(welcome.contains("\"user\":\"ali\"") && welcome.contains("lobby"), "{welcome}");
    let wrong = upgrade(&address, "/ws?token=word:barley");
    assert!(wrong.starts_with("HTTP/1.1 401") && wrong.contains("\"denied\""), "{wrong}");
    let other = upgrade(&address, "/ws?token=something");
    assert!(other.starts_with("HTTP/1.1 401") && other.contains("\"unsupported\""), "{other}");
    let nothing = upgrade(&address, "/ws");
    assert!(nothing.contains("auth_required"), "nobody comes in without: {nothing}");
    let asked = r#"{"type":"who_am_i","id":1}"#;
    let talk = conversation(&address, "/ws?token=word:sesame", &[asked]);
    assert!(talk.contains(r#""data":{"you":"ali"}"#), "{talk}");
    let other = conversation(&address, "/ws?token=word:sesame", &[r#"{"type":"else","id":1}"#]);
    assert!(other.contains("not_found"), "{other}");
    a_bug_of_the_program_costs_one_connection(&address, &control);
}

/// A handler that panics ends who asked it, by 1011, and nobody else.
fn a_bug_of_the_program_costs_one_connection(address: &str, control: &str) {
    let mut other = connect(address, "/ws?token=word:sesame");
    hear(&mut other, |said| said.contains("\"welcome\""));
    for round in 1..=3 {
        let mut victim = connect(address, "/ws?token=word:sesame");
        hear(&mut victim, |said| said.contains("\"welcome\""));
        say(&mut victim, r#"{"type":"panics","id":1}"#);
        let mut last = Vec::new();
        victim.read_to_end(&mut last).unwrap();
        let said = String::from_utf8_lossy(&last);
        assert!(said.contains(r#""reason":"internal""#), "{said}");
        // A close frame is the last of it: its length, 1011, and a reason.
        let close = last.windows(4).any(|it| it[0] == 0x88 && it[2..] == 1011_u16.to_be_bytes());
        assert!(close, "{last:?}");
        say(&mut other, r#"{"type":"who_am_i","id":1}"#);
        hear(&mut other, |said| said.contains(r#""data":{"you":"ali"}"#));
        let mut metrics = TcpStream::connect(control).unwrap();
        metrics.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let head = format!("GET /metrics HTTP/1.1\r\nHost: {control}\r\nConnection: close\r\n\r\n");
        metrics.write_all(head.as_bytes()).unwrap();
        let counted = format!("ringroom_panics_total{{core=\"0\"}} {round}\n");
        hear(&mut metrics, |said| said.contains(&counted));
    }
}
