//! The smallest opening handshake that a WebSocket client accepts.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use tungstenite::handshake::derive_accept_key;

/// The answer to an upgrade request, and how many bytes the request took.
pub struct Upgrade {
    /// Bytes of the request, head only.
    pub consumed: usize,
    /// The response to send.
    pub response: Vec<u8>,
}

/// Answers the request in `bytes`; `None` until its head is complete. A head without a key is an
/// error.
pub fn answer(bytes: &[u8]) -> io::Result<Option<Upgrade>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&bytes[..end]);
    let key = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .map(|(_, value)| value.trim())
        .ok_or(io::ErrorKind::InvalidData)?;
    let accept = derive_accept_key(key.as_bytes());
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    Ok(Some(Upgrade { consumed: end + 4, response: response.into_bytes() }))
}

/// Upgrades `stream` as a client, waiting for the answer.
pub fn request(stream: &mut TcpStream, path: &str) -> io::Result<()> {
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let host = stream.peer_addr()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    )?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let accept = derive_accept_key(key.as_bytes());
    let head = String::from_utf8_lossy(&head);
    if head.starts_with("HTTP/1.1 101") && head.contains(&accept) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, head.into_owned()))
}
