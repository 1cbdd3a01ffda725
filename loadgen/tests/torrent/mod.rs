//! A server of one room that is fast enough for hundreds of thousands of messages within a test: what
//! is published is framed once, and written to its members many messages at a time. It lies once in so
//! many deliveries, and counts its lies.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::stub::Lie;
use crate::upgrade;

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;

/// A running server.
#[allow(dead_code, reason = "each test file uses its own part")]
pub(crate) struct Torrent {
    pub(crate) address: SocketAddr,
    /// Messages handed to members, and lies among them.
    pub(crate) delivered: Arc<AtomicU64>,
    pub(crate) lies: Arc<AtomicU64>,
}

struct Server {
    packed: bool,
    lie: Lie,
    one_in: u64,
    room: Mutex<Room>,
    delivered: Arc<AtomicU64>,
    lies: Arc<AtomicU64>,
}

#[derive(Default)]
struct Room {
    offset: u64,
    members: Vec<Member>,
}

struct Member {
    socket: TcpStream,
    /// A frame that is to come after the next one.
    held: Option<Vec<u8>>,
    gone: bool,
}

/// Starts one that speaks JSON or, `packed`, MessagePack; it lives as long as the test's process.
/// `begin` runs first on each of its threads.
pub(crate) fn start(packed: bool, lie: Lie, one_in: u64, begin: fn()) -> Torrent {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (delivered, lies) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let torrent = Torrent { address, delivered: Arc::clone(&delivered), lies: Arc::clone(&lies) };
    let room = Mutex::default();
    let server = Arc::new(Server { packed, lie, one_in, room, delivered, lies });
    thread::spawn(move || {
        begin();
        for stream in listener.incoming().flatten() {
            let server = Arc::clone(&server);
            thread::spawn(move || {
                begin();
                server.serve(stream)
            });
        }
    });
    torrent
}

impl Server {
    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let codec = if self.packed { "msgpack" } else { "json" };
        let protocol = format!("Sec-WebSocket-Protocol: ringroom.v1.{codec}\r\n");
        upgrade::accept(&mut stream, &protocol)?;
        let welcome =
            json!({ "type": "welcome", "protocol": 1, "session": "s", "recovered": false });
        stream.write_all(&self.frame(&welcome)).ok()?;
        let (mut buffer, mut chunk) = (Vec::new(), vec![0; 1 << 16]);
        loop {
            let len = stream.read(&mut chunk).ok().filter(|len| *len > 0)?;
            buffer.extend_from_slice(&chunk[..len]);
            let mut published = Vec::new();
            let mut used = 0;
            while let Some((opcode, message, len)) = unmask(&buffer[used..]) {
                used += len;
                if opcode == CLOSE {
                    stream.write_all(&framed(CLOSE, &message)).ok()?;
                    return None;
                }
                let command = self.decode(&message);
                match command["type"].as_str() {
                    Some("join") => self.join(&stream, &command).ok()?,
                    _ => published.push(command["data"].clone()),
                }
            }
            buffer.drain(..used);
            self.publish(&published);
        }
    }

    fn join(&self, stream: &TcpStream, command: &Value) -> std::io::Result<()> {
        let mut room = self.room.lock().expect("no panics");
        let mut socket = stream.try_clone()?;
        let answer = json!({
            "type": "ok", "id": command["id"], "room": command["room"], "epoch": "e",
            "offset": room.offset, "recovered": false,
        });
        socket.write_all(&self.frame(&answer))?;
        room.members.push(Member { socket, held: None, gone: false });
        Ok(())
    }

    /// Writes to each member all that was published, with a lie wherever one is due.
    fn publish(&self, published: &[Value]) {
        let mut room = self.room.lock().expect("no panics");
        let Room { offset, members } = &mut *room;
        let frames: Vec<Vec<u8>> = published
            .iter()
            .map(|data| {
                *offset += 1;
                self.frame(&json!({
                    "type": "message", "room": "r", "epoch": "e", "offset": *offset,
                    "data": data, "at": 1,
                }))
            })
            .collect();
        let mut out = Vec::new();
        for (index, member) in members.iter_mut().enumerate() {
            out.clear();
            for frame in &frames {
                if member.gone {
                    break;
                }
                let delivered = self.delivered.fetch_add(1, Ordering::Relaxed) + 1;
                let told = self.lies.load(Ordering::Relaxed);
                // Not to the first, who may be the publisher: it sends as long as it is there.
                let lies = index > 0 && delivered >= (told + 1) * self.one_in;
                if lies && self.lie != Lie::None {
                    self.lies.fetch_add(1, Ordering::Relaxed);
                    member.lie(self.lie, frame, &mut out);
                    continue;
                }
                out.extend_from_slice(frame);
                out.extend(member.held.take().into_iter().flatten());
            }
            // A member that is gone is noticed by its own reader.
            let _ = member.socket.write_all(&out);
        }
    }

    fn frame(&self, value: &Value) -> Vec<u8> {
        if self.packed {
            framed(BINARY, &rmp_serde::to_vec(value).expect("it encodes"))
        } else {
            framed(TEXT, value.to_string().as_bytes())
        }
    }

    fn decode(&self, message: &[u8]) -> Value {
        if self.packed {
            rmp_serde::from_slice(message).expect("the generator sends MessagePack")
        } else {
            serde_json::from_slice(message).expect("the generator sends JSON")
        }
    }
}

impl Member {
    fn lie(&mut self, lie: Lie, frame: &[u8], out: &mut Vec<u8>) {
        match lie {
            Lie::Repeat => out.extend(frame.repeat(2)),
            Lie::Reorder => self.held = Some(frame.to_vec()),
            Lie::Corrupt => {
                let start = out.len();
                out.extend_from_slice(frame);
                let marker = frame.windows(4).position(|four| four == b"~rr~");
                let letter = start + marker.expect("a measured message") + 31;
                out[letter] = if out[letter] == b'x' { b'y' } else { b'x' };
            }
            Lie::Drop => {
                self.gone = true;
                let _ = self.socket.shutdown(Shutdown::Both);
            }
            _ => {}
        }
    }
}

fn framed(opcode: u8, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match u8::try_from(message.len()) {
        Ok(len @ ..126) => frame.push(len),
        _ => {
            frame.push(126);
            frame.extend(u16::try_from(message.len()).expect("short messages").to_be_bytes());
        }
    }
    frame.extend_from_slice(message);
    frame
}

/// The first whole frame: its opcode, what is in it, and how many bytes it took.
fn unmask(bytes: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    let (len, head) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        len => (usize::from(len), 2),
    };
    let mask: [u8; 4] = *bytes.get(head..)?.first_chunk()?;
    let body = bytes.get(head + 4..head + 4 + len)?;
    let message = body.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]).collect();
    Some((first & 0x0f, message, head + 4 + len))
}
