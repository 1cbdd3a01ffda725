//! A WebSocket of a well-behaved client: values out, values in, pings answered.

use std::io;
use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// How a client is spoken to and speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Json,
    MessagePack,
}

/// What came.
#[derive(Debug)]
pub(crate) enum Arrival {
    Value(Value),
    /// A close frame, with its code.
    Close(Option<u16>),
    /// The end, without a close frame.
    End,
}

pub(crate) struct Link {
    stream: TcpStream,
    codec: Codec,
    bytes: BytesMut,
}

impl Link {
    /// Connects and upgrades. A small receive buffer makes a reader that stalls a slow one soon.
    pub(crate) async fn open(
        address: SocketAddr,
        codec: Codec,
        session: Option<&str>,
        is_slow: bool,
    ) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if is_slow {
            socket.set_recv_buffer_size(4_096)?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        let mut link = Self { stream, codec, bytes: BytesMut::new() };
        let query = session.map(|session| format!("?session={session}")).unwrap_or_default();
        let protocol = match codec {
            Codec::Json => "ringroom.v1.json",
            Codec::MessagePack => "ringroom.v1.msgpack",
        };
        let head = format!(
            "GET /ws{query} HTTP/1.1\r\nHost: ringroom.test\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\
             Sec-WebSocket-Protocol: {protocol}\r\n\r\n"
        );
        link.stream.write_all(head.as_bytes()).await?;
        loop {
            let end = link.bytes.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(end) = end {
                let head = link.bytes.split_to(end + 4);
                return match head.starts_with(b"HTTP/1.1 101") {
                    true => Ok(link),
                    false => Err(io::Error::other(String::from_utf8_lossy(&head).into_owned())),
                };
            }
            link.read().await?;
        }
    }

    pub(crate) async fn send(&mut self, value: &Value) -> io::Result<()> {
        match self.codec {
            Codec::Json => self.write(TEXT, value.to_string().as_bytes()).await,
            Codec::MessagePack => {
                self.write(BINARY, &rmp_serde::to_vec_named(value).unwrap()).await
            }
        }
    }

    /// Ends the connection as it should be.
    pub(crate) async fn close(&mut self) -> io::Result<()> {
        self.write(CLOSE, &1000_u16.to_be_bytes()).await
    }

    /// What comes next. Nothing is lost if it is dropped before it is ready.
    pub(crate) async fn receive(&mut self) -> Arrival {
        loop {
            while let Some((opcode, payload)) = self.frame() {
                match opcode {
                    TEXT => return Arrival::Value(serde_json::from_slice(&payload).unwrap()),
                    BINARY => return Arrival::Value(rmp_serde::from_slice(&payload).unwrap()),
                    CLOSE => {
                        let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                        return Arrival::Close(code);
                    }
                    // Its loss shows in what follows; the pong is small, and fits.
                    PING => drop(self.write(PONG, &payload).await),
                    _ => {}
                }
            }
            if self.read().await.is_err() {
                return Arrival::End;
            }
        }
    }

    async fn read(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.bytes).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// The next whole frame. A server sends each message in one, unmasked.
    fn frame(&mut self) -> Option<(u8, BytesMut)> {
        let (first, short) = (*self.bytes.first()?, *self.bytes.get(1)?);
        let (start, len) = match short {
            126 => (4, u64::from(u16::from_be_bytes(self.bytes.get(2..4)?.try_into().unwrap()))),
            127 => (10, u64::from_be_bytes(self.bytes.get(2..10)?.try_into().unwrap())),
            short => (2, u64::from(short)),
        };
        let len = usize::try_from(len).unwrap();
        if self.bytes.len() < start + len {
            return None;
        }
        self.bytes.advance(start);
        Some((first & 0x0F, self.bytes.split_to(len)))
    }

    async fn write(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        let mut frame = vec![0x80 | opcode];
        match u16::try_from(payload.len()).expect("clients here say little") {
            short @ 0..126 => frame.push(0x80 | u8::try_from(short).unwrap()),
            medium => {
                frame.push(0x80 | 126);
                frame.extend(medium.to_be_bytes());
            }
        }
        frame.extend(MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.stream.write_all(&frame).await
    }
}
