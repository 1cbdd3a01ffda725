//! A client that speaks the protocol in JSON, and the tokens that it shows.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};

use crate::client::{CLOSE, Client, FIN, Frame, PING, PONG, TEXT, Wire, frame, head};
use crate::http::{self, Response};

/// Unix time in seconds.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A token with these claims, for an hour unless they say otherwise.
pub(crate) fn token(secret: &str, mut claims: Value) -> String {
    let fields = claims.as_object_mut().unwrap();
    fields.entry("iat").or_insert_with(|| json!(now() - 1));
    fields.entry("exp").or_insert_with(|| json!(now() + 3_600));
    signed(secret, &json!({ "alg": "HS256", "typ": "JWT" }), &claims)
}

/// A token for a room.
pub(crate) fn room_token(secret: &str, claims: &Value) -> String {
    signed(secret, &json!({ "alg": "HS256", "typ": "room+jwt" }), claims)
}

fn signed(secret: &str, header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encode(header), encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, text.as_bytes()));
    format!("{text}.{signature}")
}

/// A client of the protocol.
pub(crate) struct Talk {
    client: Client,
    last: u64,
}

impl std::fmt::Debug for Talk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Talk").field("last", &self.last).finish_non_exhaustive()
    }
}

impl Talk {
    /// An upgrade on `target`; or the refusal.
    pub(crate) fn try_open(
        address: SocketAddr,
        target: &str,
        headers: &str,
    ) -> Result<Self, Response> {
        Self::try_over(http::connect(address), target, headers)
    }

    /// The same over a connection that is there.
    pub(crate) fn try_over(
        wire: impl Wire + 'static,
        target: &str,
        headers: &str,
    ) -> Result<Self, Response> {
        let mut client = Client::over(wire);
        client.send(head(target, headers).as_bytes());
        let response = client.response().expect("a response");
        if response.status == 101 { Ok(Self { client, last: 0 }) } else { Err(response) }
    }

    /// With a bearer token, as far as its welcome.
    pub(crate) fn bearer(address: SocketAddr, token: &str) -> Self {
        let mut talk = Self::by(address, token);
        let first = talk.hear();
        assert_eq!(first["type"], "welcome", "{first}");
        talk
    }

    /// With a bearer token, before its first message.
    pub(crate) fn by(address: SocketAddr, token: &str) -> Self {
        let header = format!("Authorization: Bearer {token}\r\n");
        match Self::try_open(address, "/ws", &header) {
            Ok(talk) => talk,
            Err(response) => panic!("{}: {}", response.status, response.text()),
        }
    }

    pub(crate) fn say(&mut self, message: &Value) {
        self.client.send(&frame(FIN | TEXT, message.to_string().as_bytes()));
    }

    /// Many frames, as bytes, at once.
    pub(crate) fn say_all(&mut self, frames: &[u8]) {
        self.client.send(frames);
    }

    /// The next frame that is no ping; pings are answered.
    fn receive(&mut self) -> Frame {
        loop {
            let next = self.client.receive().expect("a frame");
            if next.first != FIN | PING {
                return next;
            }
            self.client.send(&frame(FIN | PONG, &next.payload));
        }
    }

    /// The payload of the next frame, which is a pong.
    pub(crate) fn hear_pong(&mut self) -> Vec<u8> {
        let frame = self.receive();
        assert_eq!(frame.first, FIN | PONG);
        frame.payload
    }

    /// The next message.
    pub(crate) fn hear(&mut self) -> Value {
        let frame = self.receive();
        assert_eq!(frame.first, FIN | TEXT, "{}", String::from_utf8_lossy(&frame.payload));
        serde_json::from_slice(&frame.payload).unwrap()
    }

    /// The answer to a command; what comes before it is not looked at.
    pub(crate) fn ask(&mut self, mut message: Value) -> Value {
        self.last += 1;
        message["id"] = json!(self.last);
        self.say(&message);
        loop {
            let answer = self.hear();
            if answer["id"] == message["id"] {
                return answer;
            }
        }
    }

    /// The next message of a type; what comes before it is not looked at.
    pub(crate) fn hear_of(&mut self, kind: &str) -> Value {
        loop {
            let message = self.hear();
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// Waits for the end: the reason and the close code.
    pub(crate) fn closed(&mut self) -> (String, u16) {
        let reason = self.hear_of("disconnect")["reason"].as_str().unwrap().to_owned();
        let close = self.receive();
        assert_eq!(close.first, FIN | CLOSE);
        (reason, close.close_code().unwrap())
    }
}
