//! A WebSocket server on threads and tungstenite, that lies or stalls when told to.
//!
//! It echoes, broadcasts, or speaks as much of Ringroom's protocol in JSON as the scenarios need.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tungstenite::protocol::Role;
use tungstenite::{Message, WebSocket};

/// What the stub makes of its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lie {
    #[default]
    None,
    Lose,
    Repeat,
    Reorder,
    Corrupt,
    /// Closes the connection without a word.
    Drop,
}

/// How the stub behaves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    /// Every message to everyone, instead of back to its sender.
    pub(crate) broadcast: bool,
    pub(crate) lie: Lie,
    /// One message in so many is a lie.
    pub(crate) one_in: u64,
    /// At this message everything stands still …
    pub(crate) stall_at: u64,
    /// … for so long.
    pub(crate) stall: Duration,
}

struct Member {
    id: usize,
    socket: WebSocket<TcpStream>,
    joined: bool,
    held: Option<Message>,
}

struct Server {
    manner: Manner,
    members: Mutex<Vec<Arc<Mutex<Member>>>>,
    delivered: AtomicU64,
    next_id: AtomicUsize,
    standing_still: RwLock<()>,
    /// By room: what was published, in order.
    rooms: Mutex<std::collections::HashMap<String, Vec<String>>>,
}

/// Starts a stub; it lives as long as the test's process.
pub(crate) fn start(manner: Manner) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let server = Arc::new(Server {
        manner,
        members: Mutex::default(),
        delivered: AtomicU64::new(0),
        next_id: AtomicUsize::new(0),
        standing_still: RwLock::new(()),
        rooms: Mutex::default(),
    });
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let server = Arc::clone(&server);
            thread::spawn(move || server.serve(stream));
        }
    });
    address
}

impl Server {
    fn serve(&self, stream: TcpStream) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut speaks_ringroom = false;
        #[allow(clippy::result_large_err, reason = "the signature is tungstenite's")]
        let accept = |request: &Request, mut response: Response| -> Result<_, ErrorResponse> {
            if let Some(protocol) = request.headers().get("sec-websocket-protocol") {
                speaks_ringroom = true;
                response.headers_mut().insert("sec-websocket-protocol", protocol.clone());
            }
            Ok(response)
        };
        let mut reader = tungstenite::accept_hdr(stream, accept).ok()?;
        let clone = reader.get_ref().try_clone().ok()?;
        let member = Arc::new(Mutex::new(Member {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            socket: WebSocket::from_raw_socket(clone, Role::Server, None),
            joined: !speaks_ringroom,
            held: None,
        }));
        self.members.lock().expect("no panics").push(Arc::clone(&member));
        if speaks_ringroom {
            let welcome =
                json!({ "type": "welcome", "protocol": 1, "session": "s", "recovered": false });
            member.lock().expect("no panics").send(text(&welcome)).ok()?;
        }
        while let Ok(message) = reader.read() {
            let _moving = self.standing_still.read().expect("no panics");
            let result = match message {
                Message::Text(command) if speaks_ringroom => self.command(&member, &command),
                Message::Text(_) | Message::Binary(_) if self.manner.broadcast => {
                    self.broadcast(&message);
                    Ok(())
                }
                Message::Text(_) | Message::Binary(_) => self.deliver(&member, message),
                _ => Ok(()),
            };
            if result.is_err() {
                break;
            }
            drop(_moving);
            self.stall_if_due();
        }
        let id = member.lock().expect("no panics").id;
        self.members
            .lock()
            .expect("no panics")
            .retain(|other| other.lock().expect("no panics").id != id);
        Some(())
    }

    fn stall_if_due(&self) {
        let due = self.manner.stall_at > 0
            && self.delivered.load(Ordering::Relaxed) >= self.manner.stall_at
            && self.delivered.fetch_or(1 << 62, Ordering::Relaxed) < 1 << 62;
        if due {
            let _still = self.standing_still.write().expect("no panics");
            thread::sleep(self.manner.stall);
        }
    }

    fn broadcast(&self, message: &Message) {
        // One at a time: receivers see one order.
        let members = self.members.lock().expect("no panics");
        for member in members.iter() {
            if member.lock().expect("no panics").joined {
                // A member that is gone is noticed by its own reader.
                let _ = self.deliver(member, message.clone());
            }
        }
    }

    fn command(&self, member: &Arc<Mutex<Member>>, command: &str) -> tungstenite::Result<()> {
        let command: Value = serde_json::from_str(command).expect("the generator sends JSON");
        let room = command["room"].as_str().unwrap_or_default().to_owned();
        let mut answer = json!({ "type": "ok", "id": command["id"], "room": room });
        match command["type"].as_str() {
            Some("ping") => {
                let pong = json!({ "type": "pong", "data": command["data"], "at": 1 });
                return self.deliver(member, text(&pong));
            }
            Some("publish") => {
                self.publish(&room, &command["data"]);
                return Ok(());
            }
            Some("join") => return self.join(member, &room, &command),
            Some("leave") => {
                member.lock().expect("no panics").joined = false;
            }
            Some("history") => {
                let rooms = self.rooms.lock().expect("no panics");
                let said = rooms.get(&room).cloned().unwrap_or_default();
                let pages: Vec<Value> =
                    said.iter().rev().take(5).map(|data| json!({ "data": data })).collect();
                answer["messages"] = Value::Array(pages);
            }
            _ => {}
        }
        member.lock().expect("no panics").send(text(&answer))
    }

    fn publish(&self, room: &str, data: &Value) {
        let mut rooms = self.rooms.lock().expect("no panics");
        let said = rooms.entry(room.to_owned()).or_default();
        said.push(data.as_str().unwrap_or_default().to_owned());
        self.broadcast(&text(&message(room, said.len(), data)));
    }

    fn join(
        &self,
        member: &Arc<Mutex<Member>>,
        room: &str,
        command: &Value,
    ) -> tungstenite::Result<()> {
        // Held throughout: nothing is published between the answer and the first message.
        let mut rooms = self.rooms.lock().expect("no panics");
        let said = rooms.entry(room.to_owned()).or_default();
        let since = command["since"]["offset"].as_u64();
        let answer = json!({
            "type": "ok", "id": command["id"], "room": room, "epoch": "e",
            "offset": said.len(), "recovered": since.is_some(),
        });
        let mut member = member.lock().expect("no panics");
        member.send(text(&answer))?;
        let seen = usize::try_from(since.unwrap_or(said.len() as u64)).expect("small");
        for (index, data) in said.iter().enumerate().skip(seen) {
            member.send(text(&message(room, index + 1, &json!(data))))?;
        }
        member.joined = true;
        Ok(())
    }

    /// Sends a message, unless this is the one to lie about.
    fn deliver(&self, member: &Arc<Mutex<Member>>, message: Message) -> tungstenite::Result<()> {
        let number = self.delivered.fetch_add(1, Ordering::Relaxed) + 1;
        let mut member = member.lock().expect("no panics");
        let lies = self.manner.one_in > 0 && number.is_multiple_of(self.manner.one_in);
        if lies {
            match self.manner.lie {
                Lie::None => {}
                Lie::Lose => return Ok(()),
                Lie::Repeat => member.send(message.clone())?,
                Lie::Reorder => {
                    member.held = Some(message);
                    return Ok(());
                }
                Lie::Corrupt => return member.send(corrupt(&message)),
                Lie::Drop => {
                    let gone = io::Error::from(io::ErrorKind::ConnectionAborted);
                    let _ = member.socket.get_ref().shutdown(Shutdown::Both);
                    return Err(gone.into());
                }
            }
        }
        member.send(message)?;
        match member.held.take() {
            Some(held) => member.send(held),
            None => Ok(()),
        }
    }
}

impl Member {
    fn send(&mut self, message: Message) -> tungstenite::Result<()> {
        self.socket.send(message)
    }
}

fn text(value: &Value) -> Message {
    Message::text(value.to_string())
}

fn message(room: &str, offset: usize, data: &Value) -> Value {
    json!({ "type": "message", "room": room, "epoch": "e", "offset": offset, "data": data, "at": 1 })
}

/// One letter of the payload's filling becomes another.
fn corrupt(message: &Message) -> Message {
    let mut bytes = message.clone().into_data().to_vec();
    let marker = bytes.windows(4).position(|four| four == b"~rr~").expect("a measured message");
    bytes[marker + 31] = if bytes[marker + 31] == b'x' { b'y' } else { b'x' };
    match message {
        Message::Text(_) => Message::text(String::from_utf8(bytes).expect("still ASCII")),
        _ => Message::binary(bytes),
    }
}
