//! The opening handshake of a server that refuses nobody.

use std::io::{Read, Write};

use tungstenite::handshake::derive_accept_key;

/// Reads a request and accepts it; `headers`, a line each, go into the response. None: it went away.
pub(crate) fn accept(stream: &mut (impl Read + Write), headers: &str) -> Option<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))?;
    let accept = derive_accept_key(key.as_bytes());
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{headers}\r\n"
    );
    stream.write_all(response.as_bytes()).ok()
}
