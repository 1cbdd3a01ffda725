//! A WebSocket client that may do anything, right or wrong: it writes bytes and reads frames.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;

use crate::http::{self, Response};

pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;
pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV1: u8 = 0x40;

/// The key of RFC 6455's example, and its answer.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What is spoken over.
pub(crate) trait Wire: Read + Write + Send {}
impl<W: Read + Write + Send> Wire for W {}

/// A frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Its first byte: FIN, RSV and opcode.
    pub(crate) first: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The code of a close frame.
    pub(crate) fn close_code(&self) -> Option<u16> {
        let code = self.payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code));
        code.filter(|_| self.first == FIN | CLOSE)
    }
}

/// The client's end of a connection.
pub(crate) struct Client {
    wire: BufReader<Box<dyn Wire>>,
}

/// The head of an upgrade on `target`, with more headers, each ended by a line's end.
pub(crate) fn head(target: &str, more: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: ringroom.test\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{more}\r\n"
    )
}

/// The bytes of a frame, masked.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xFA, 0x21, 0x3D];
    let mut bytes = vec![first];
    match (u16::try_from(payload.len()), payload.len()) {
        (_, short @ 0..126) => bytes.push(0x80 | u8::try_from(short).unwrap()),
        (Ok(medium), _) => {
            bytes.push(0x80 | 126);
            bytes.extend(medium.to_be_bytes());
        }
        (Err(_), long) => {
            bytes.push(0x80 | 127);
            bytes.extend(u64::try_from(long).unwrap().to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

impl Client {
    /// A connection that has said nothing.
    pub(crate) fn over(wire: impl Wire + 'static) -> Self {
        Self { wire: BufReader::new(Box::new(wire)) }
    }

    /// A WebSocket on `/echo`.
    pub(crate) fn echo(address: SocketAddr) -> Self {
        Self::try_echo(http::connect(address), "").expect("the upgrade")
    }

    /// A WebSocket on `/echo` with deflate.
    pub(crate) fn deflated(address: SocketAddr) -> Self {
        let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
        Self::try_echo(http::connect(address), offer).expect("the upgrade")
    }

    /// A WebSocket on `/echo`, with more headers; or the refusal, if one came.
    pub(crate) fn try_echo(
        wire: impl Wire + 'static,
        more: &str,
    ) -> Result<Self, Option<Response>> {
        let mut client = Self::over(wire);
        // A server that is not there, or refuses early, is seen at the read.
        let _ = client.try_send(head("/echo", more).as_bytes());
        match Response::read(&mut client.wire) {
            Some(response) if response.status == 101 => {
                assert_eq!(response.header("sec-websocket-accept"), Some(ACCEPT));
                Ok(client)
            }
            other => Err(other),
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.get_mut().write_all(bytes)?;
        self.wire.get_mut().flush()
    }

    pub(crate) fn response(&mut self) -> Option<Response> {
        Response::read(&mut self.wire)
    }

    /// The next frame; none at the end.
    pub(crate) fn receive(&mut self) -> Option<Frame> {
        let mut start = [0; 2];
        self.wire.read_exact(&mut start).ok()?;
        let [first, length] = start;
        assert_eq!(length & 0x80, 0, "a server's frame is never masked");
        let length = match length {
            126 => {
                let mut long = [0; 2];
                self.wire.read_exact(&mut long).ok()?;
                u64::from(u16::from_be_bytes(long))
            }
            127 => {
                let mut long = [0; 8];
                self.wire.read_exact(&mut long).ok()?;
                u64::from_be_bytes(long)
            }
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.wire.read_exact(&mut payload).ok()?;
        Some(Frame { first, payload })
    }

    /// Whether what is sent comes back.
    pub(crate) fn is_served(&mut self) -> bool {
        if self.try_send(&frame(FIN | TEXT, b"are you there?")).is_err() {
            return false;
        }
        self.receive().is_some_and(|frame| frame.payload == b"are you there?")
    }

    /// Reads until the close frame: its code, and whether the end follows it.
    pub(crate) fn closed(&mut self) -> Option<u16> {
        let close = std::iter::from_fn(|| self.receive()).find(|it| it.first == FIN | CLOSE)?;
        let code = close.close_code();
        // It may be gone already.
        let _ = self.try_send(&frame(FIN | CLOSE, &close.payload));
        assert!(http::is_at_its_end(&mut self.wire), "nothing follows a close frame");
        code
    }

    /// Waits for the end of the connection.
    pub(crate) fn is_at_its_end(&mut self) -> bool {
        http::is_at_its_end(&mut self.wire)
    }
}

/// A UNIX socket, with patience.
pub(crate) fn connect_unix(path: &std::path::Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(crate::server::PATIENCE)).unwrap();
    stream
}

/// As many WebSockets on `/echo`, one after the other.
pub(crate) fn echoes(address: SocketAddr, count: usize) -> Vec<Client> {
    (0..count).map(|_| Client::echo(address)).collect()
}

/// A socket that gives up the moment the server lets go of it; `Err`: it was refused or reset.
pub(crate) fn raw(address: SocketAddr) -> TcpStream {
    http::connect(address)
}
