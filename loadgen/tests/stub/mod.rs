//! A WebSocket server on threads and tungstenite, that lies or stalls when told to.
//!
//! It echoes, broadcasts, or speaks as much as the scenarios need of Ringroom's protocol, in JSON or
//! MessagePack, or of socket.io's.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::HashMap;
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
    /// Sends it again, and says so: a lie but in guaranteed rooms.
    Redeliver,
    Reorder,
    Corrupt,
    /// Closes the connection without a word.
    Drop,
    /// Lets a member in that comes back, says that it could not recover, and sends it nothing.
    Forget,
    /// Sends a session that comes back everything from the room's beginning.
    Rewind,
    /// Sends a session that comes back what it missed, and then once more.
    Stutter,
}

/// How a connection is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Raw,
    Json,
    MessagePack,
    SocketIo,
}

/// Messages after which a member is pinged, unless a ping is on its way.
const PING_EVERY: usize = 7;

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
    /// Recovers nothing, and says so.
    pub(crate) recovers_nothing: bool,
    /// How late it greets, and answers commands other than a join.
    pub(crate) answers_late: Duration,
}

struct Member {
    id: usize,
    socket: WebSocket<TcpStream>,
    form: Form,
    /// The room it is in.
    joined: Option<String>,
    /// Whether it has ever left one.
    has_left: bool,
    held: Option<Message>,
    /// The last offset written to it; what it has for certain; what it will have once it answers.
    offset: usize,
    position: usize,
    pinged: Option<usize>,
}

struct Server {
    manner: Manner,
    members: Mutex<Vec<Arc<Mutex<Member>>>>,
    delivered: AtomicU64,
    next_id: AtomicUsize,
    standing_still: RwLock<()>,
    /// By room: what was published, in order.
    rooms: Mutex<HashMap<String, Vec<String>>>,
    /// Whoever had a session, with or without a connection.
    sessions: Mutex<HashMap<String, Arc<Mutex<Member>>>>,
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
        sessions: Mutex::default(),
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
        let mut form = Form::Raw;
        let mut session = None;
        #[allow(clippy::result_large_err, reason = "the signature is tungstenite's")]
        let accept = |request: &Request, mut response: Response| -> Result<_, ErrorResponse> {
            let query = request.uri().query().unwrap_or_default();
            let named = query.split('&').find_map(|part| part.strip_prefix("session="));
            session = named.map(ToOwned::to_owned);
            if query.contains("EIO=4") {
                form = Form::SocketIo;
            }
            if let Some(protocol) = request.headers().get("sec-websocket-protocol") {
                let packed = protocol.as_bytes().ends_with(b"msgpack");
                form = if packed { Form::MessagePack } else { Form::Json };
                response.headers_mut().insert("sec-websocket-protocol", protocol.clone());
            }
            Ok(response)
        };
        let mut reader = tungstenite::accept_hdr(stream, accept).ok()?;
        let clone = reader.get_ref().try_clone().ok()?;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let member = Arc::new(Mutex::new(Member {
            id,
            socket: WebSocket::from_raw_socket(clone, Role::Server, None),
            form,
            joined: (form == Form::Raw).then(String::new),
            has_left: false,
            held: None,
            offset: 0,
            position: 0,
            pinged: None,
        }));
        self.members.lock().expect("no panics").push(Arc::clone(&member));
        thread::sleep(self.manner.answers_late);
        self.greet(&member, form, session).ok()?;
        while let Ok(message) = reader.read() {
            let _moving = self.standing_still.read().expect("no panics");
            if self.message(&member, form, message).is_err() {
                break;
            }
            drop(_moving);
            self.stall_if_due();
        }
        self.members
            .lock()
            .expect("no panics")
            .retain(|other| other.lock().expect("no panics").id != id);
        Some(())
    }

    fn message(
        &self,
        member: &Arc<Mutex<Member>>,
        form: Form,
        message: Message,
    ) -> tungstenite::Result<()> {
        match (form, &message) {
            (Form::Json | Form::MessagePack, Message::Text(_) | Message::Binary(_)) => {
                self.command(member, &decode(form, &message.into_data()))
            }
            (Form::SocketIo, Message::Text(text)) if *text == "40" => {
                let mut member = member.lock().expect("no panics");
                member.joined = Some(String::new());
                member.send(Message::text(r#"40{"sid":"b"}"#))
            }
            // Before its namespace is joined a connection is not heard.
            (Form::SocketIo, _) if member.lock().expect("no panics").joined.is_none() => Ok(()),
            (_, Message::Text(_) | Message::Binary(_)) if self.manner.broadcast => {
                self.broadcast("", 0, |_| message.clone());
                Ok(())
            }
            (_, Message::Text(_) | Message::Binary(_)) => self.deliver(member, message),
            (_, Message::Pong(_)) => {
                let mut member = member.lock().expect("no panics");
                member.position = member.pinged.take().unwrap_or(member.position);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Speaks first, where that is the custom; takes up a session that comes back.
    fn greet(
        &self,
        member: &Arc<Mutex<Member>>,
        form: Form,
        session: Option<String>,
    ) -> tungstenite::Result<()> {
        let name = match form {
            Form::Raw => return Ok(()),
            Form::SocketIo => {
                let mut member = member.lock().expect("no panics");
                return member.send(Message::text(r#"0{"sid":"a","upgrades":[]}"#));
            }
            Form::Json | Form::MessagePack => {
                session.unwrap_or_else(|| member.lock().expect("no panics").id.to_string())
            }
        };
        // Held throughout: nothing is published between the welcome and what was missed.
        let rooms = self.rooms.lock().expect("no panics");
        let mut sessions = self.sessions.lock().expect("no panics");
        let kept = sessions.insert(name.clone(), Arc::clone(member)).and_then(|old| {
            let mut old = old.lock().expect("no panics");
            Some((old.joined.take()?, old.position))
        });
        let mut member = member.lock().expect("no panics");
        let mut welcome =
            json!({ "type": "welcome", "protocol": 1, "session": name, "recovered": false });
        let kept = kept.filter(|_| !self.manner.recovers_nothing);
        let Some((room, position)) = kept else { return member.say(&welcome) };
        let said = &rooms[&room];
        let recovered = self.manner.lie != Lie::Forget;
        welcome["recovered"] = recovered.into();
        welcome["rooms"] = json!([{ "room": room, "offset": said.len(), "recovered": recovered }]);
        if !recovered {
            return member.say(&welcome);
        }
        // Its own before the first word: it may be cut again at any of them, and come back.
        (member.offset, member.position) = (said.len(), position);
        member.joined = Some(room.clone());
        member.say(&welcome)?;
        let from = if self.manner.lie == Lie::Rewind { 0 } else { position };
        for _ in 0..if self.manner.lie == Lie::Stutter { 2 } else { 1 } {
            member.replay(&room, said, from)?;
        }
        Ok(())
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

    /// Sends everyone in the room what `make` makes for their form.
    fn broadcast(&self, room: &str, offset: usize, make: impl Fn(Form) -> Message) {
        // One at a time: receivers see one order.
        let members = self.members.lock().expect("no panics");
        for member in members.iter() {
            let form = {
                let mut member = member.lock().expect("no panics");
                if member.joined.as_deref() != Some(room) {
                    continue;
                }
                member.offset = offset;
                member.form
            };
            // A member that is gone is noticed by its own reader.
            let _ = self.deliver(member, make(form));
            let _ = member.lock().expect("no panics").ping_if_due();
        }
    }

    fn command(&self, member: &Arc<Mutex<Member>>, command: &Value) -> tungstenite::Result<()> {
        let room = command["room"].as_str().unwrap_or_default().to_owned();
        let mut answer = json!({ "type": "ok", "id": command["id"], "room": room });
        match command["type"].as_str() {
            Some("ping") => {
                let pong = json!({ "type": "pong", "data": command["data"], "at": 1 });
                let pong = encode(member.lock().expect("no panics").form, &pong);
                return self.deliver(member, pong);
            }
            Some("publish") => {
                self.publish(&room, &command["data"]);
                return Ok(());
            }
            Some("join") => return self.join(member, &room, command),
            Some("leave") => {
                thread::sleep(self.manner.answers_late);
                let mut member = member.lock().expect("no panics");
                member.joined = None;
                member.has_left = true;
            }
            Some("history") => {
                thread::sleep(self.manner.answers_late);
                let rooms = self.rooms.lock().expect("no panics");
                let said = rooms.get(&room).cloned().unwrap_or_default();
                let pages: Vec<Value> =
                    said.iter().rev().take(5).map(|data| json!({ "data": data })).collect();
                answer["messages"] = Value::Array(pages);
            }
            _ => thread::sleep(self.manner.answers_late),
        }
        member.lock().expect("no panics").say(&answer)
    }

    fn publish(&self, room: &str, data: &Value) {
        let mut rooms = self.rooms.lock().expect("no panics");
        let said = rooms.entry(room.to_owned()).or_default();
        said.push(data.as_str().unwrap_or_default().to_owned());
        let message = message(room, said.len(), data);
        let forms = [Form::Json, Form::MessagePack].map(|form| encode(form, &message));
        let [json, packed] = &forms;
        let make = |form| if form == Form::MessagePack { packed.clone() } else { json.clone() };
        self.broadcast(room, said.len(), make);
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
        let since = since.filter(|_| !self.manner.recovers_nothing);
        let mut member = member.lock().expect("no panics");
        let forgets = self.manner.lie == Lie::Forget && (since.is_some() || member.has_left);
        let answer = json!({
            "type": "ok", "id": command["id"], "room": room, "epoch": "e",
            "offset": said.len(), "recovered": since.is_some() && !forgets,
        });
        member.say(&answer)?;
        if forgets {
            return Ok(());
        }
        let seen = usize::try_from(since.unwrap_or(said.len() as u64)).expect("small");
        member.replay(room, said, seen)?;
        (member.offset, member.position) = (said.len(), seen);
        member.joined = Some(room.to_owned());
        Ok(())
    }

    /// Sends a message, unless this is the one to lie about.
    fn deliver(&self, member: &Arc<Mutex<Member>>, message: Message) -> tungstenite::Result<()> {
        let number = self.delivered.fetch_add(1, Ordering::Relaxed) + 1;
        let mut member = member.lock().expect("no panics");
        let lies = self.manner.one_in > 0 && number.is_multiple_of(self.manner.one_in);
        if lies {
            match self.manner.lie {
                Lie::None | Lie::Forget | Lie::Rewind | Lie::Stutter => {}
                Lie::Lose => return Ok(()),
                Lie::Repeat => member.send(message.clone())?,
                Lie::Redeliver => {
                    let again = redelivered(member.form, &message);
                    member.send(message)?;
                    return member.send(again);
                }
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

    fn say(&mut self, value: &Value) -> tungstenite::Result<()> {
        self.send(encode(self.form, value))
    }

    /// What was said in the room after `position`.
    fn replay(&mut self, room: &str, said: &[String], position: usize) -> tungstenite::Result<()> {
        for (index, data) in said.iter().enumerate().skip(position) {
            self.say(&message(room, index + 1, &json!(data)))?;
        }
        Ok(())
    }

    /// Marks a place: once it is answered, all before it has arrived.
    fn ping_if_due(&mut self) -> tungstenite::Result<()> {
        if self.pinged.is_some() || self.offset < self.position + PING_EVERY {
            return Ok(());
        }
        self.pinged = Some(self.offset);
        self.send(Message::Ping(Default::default()))
    }
}

fn encode(form: Form, value: &Value) -> Message {
    match form {
        Form::MessagePack => Message::binary(rmp_serde::to_vec(value).expect("it encodes")),
        _ => Message::text(value.to_string()),
    }
}

fn decode(form: Form, bytes: &[u8]) -> Value {
    match form {
        Form::MessagePack => rmp_serde::from_slice(bytes).expect("the generator sends MessagePack"),
        _ => serde_json::from_slice(bytes).expect("the generator sends JSON"),
    }
}

fn message(room: &str, offset: usize, data: &Value) -> Value {
    json!({ "type": "message", "room": room, "epoch": "e", "offset": offset, "data": data, "at": 1 })
}

/// The same once more, marked as such.
fn redelivered(form: Form, message: &Message) -> Message {
    let mut value = decode(form, &message.clone().into_data());
    value["redelivered"] = true.into();
    encode(form, &value)
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
