//! A client that talks JSON, by a WebSocket that is not ours.

use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use crate::server::{PATIENCE, Server, eventually};

/// A client.
pub(crate) struct Talk {
    socket: WebSocket<TcpStream>,
    last_id: u64,
    /// What came while something else was awaited.
    pub(crate) heard: Vec<Value>,
    pub(crate) welcome: Value,
}

impl Talk {
    /// Connects, and takes in the welcome.
    pub(crate) fn to(node: &Server) -> Self {
        Self::at(node, "/ws")
    }

    /// The same, by a URL of its own.
    pub(crate) fn at(node: &Server, target: &str) -> Self {
        let mut talk = Self::open(node, target);
        talk.welcome = talk.first();
        assert_eq!(talk.welcome["type"], "welcome");
        talk
    }

    /// What it is told first.
    pub(crate) fn first(&mut self) -> Value {
        self.next()
    }

    /// Connects.
    pub(crate) fn open(node: &Server, target: &str) -> Self {
        let wire = TcpStream::connect(node.address()).unwrap();
        wire.set_read_timeout(Some(PATIENCE)).unwrap();
        wire.set_nodelay(true).unwrap();
        let url = format!("ws://{}{target}", node.address());
        let (socket, _) = tungstenite::client(url, wire).unwrap();
        Self { socket, last_id: 0, heard: Vec::new(), welcome: Value::Null }
    }

    /// The same, in a room.
    pub(crate) fn joined(node: &Server, room: &str) -> Self {
        let mut talk = Self::to(node);
        talk.ok(json!({"type": "join", "room": room}));
        talk
    }

    /// The same, once the room opens: a node looks now and then at what Redis is good for.
    pub(crate) fn joined_at_last(node: &Server, room: &str) -> Self {
        let mut talk = Self::to(node);
        let join = json!({"type": "join", "room": room});
        eventually("the room opens", || talk.ask(join.clone())["type"] == "ok");
        talk
    }

    fn next(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.socket.read().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    /// Sends a command without waiting; its id.
    pub(crate) fn send(&mut self, mut command: Value) -> u64 {
        self.last_id += 1;
        command["id"] = self.last_id.into();
        self.socket.send(Message::text(command.to_string())).unwrap();
        self.last_id
    }

    /// Waits for the answer to a command.
    pub(crate) fn answer(&mut self, id: u64) -> Value {
        if let Some(at) = self.heard.iter().position(|it| it["id"] == id) {
            return self.heard.remove(at);
        }
        loop {
            let event = self.next();
            if event["id"] == id {
                return event;
            }
            self.heard.push(event);
        }
    }

    /// A command and its answer.
    pub(crate) fn ask(&mut self, command: Value) -> Value {
        let id = self.send(command);
        self.answer(id)
    }

    /// A command that succeeds.
    pub(crate) fn ok(&mut self, command: Value) -> Value {
        let answer = self.ask(command);
        assert_eq!(answer["type"], "ok", "{answer}");
        answer
    }

    /// A publish that succeeds; its offset.
    pub(crate) fn publish(&mut self, room: &str, data: impl Into<Value>) -> u64 {
        let publish = json!({"type": "publish", "room": room, "data": data.into()});
        let answer = self.ok(publish);
        answer["offset"].as_u64().unwrap_or(0)
    }

    /// The next event of a type, those that came before included.
    pub(crate) fn event(&mut self, kind: &str) -> Value {
        if let Some(at) = self.heard.iter().position(|it| it["type"] == kind) {
            return self.heard.remove(at);
        }
        loop {
            let event = self.next();
            if event["type"] == kind {
                return event;
            }
            self.heard.push(event);
        }
    }

    /// So many messages: epoch, offset and content of each.
    pub(crate) fn messages(&mut self, count: usize) -> Vec<(String, u64, Value)> {
        (0..count)
            .map(|_| {
                let message = self.event("message");
                let epoch = message["epoch"].as_str().unwrap_or("").to_owned();
                (epoch, message["offset"].as_u64().unwrap_or(0), message["data"].clone())
            })
            .collect()
    }

    /// Whether nothing more comes of a type for a while, answers to a ping behind it included.
    pub(crate) fn hears_no_more(&mut self, kind: &str) -> bool {
        std::thread::sleep(Duration::from_millis(200));
        self.hears_no_more_now(kind)
    }

    /// Whether nothing more comes before the answer to a ping.
    pub(crate) fn hears_no_more_now(&mut self, kind: &str) -> bool {
        let ping = json!({"type": "ping"});
        let id = self.send(ping);
        self.answer(id);
        !self.heard.iter().any(|it| it["type"] == kind)
    }
}
