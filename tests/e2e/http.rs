//! Plain HTTP, as far as the tests need it: bytes out, a response in.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::server::PATIENCE;

/// A response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// Reads one, with its body if it says how long that is.
    pub(crate) fn read(from: &mut impl BufRead) -> Option<Self> {
        let mut line = String::new();
        from.read_line(&mut line).ok().filter(|count| *count > 0)?;
        let status = line.split(' ').nth(1)?.parse().ok()?;
        let mut headers = Vec::new();
        loop {
            line.clear();
            from.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut response = Self { status, headers, body: Vec::new() };
        let length = response.header("content-length").and_then(|length| length.parse().ok());
        response.body.resize(length.unwrap_or(0), 0);
        from.read_exact(&mut response.body).ok()?;
        Some(response)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All of them, names in lower case.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// A connection to `address`, with patience.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// One request on a connection of its own.
pub(crate) fn request(address: SocketAddr, method: &str, target: &str) -> Response {
    try_request(address, method, target).expect("a response")
}

/// One request, to a server that may be gone.
pub(crate) fn try_request(address: SocketAddr, method: &str, target: &str) -> Option<Response> {
    try_request_with(address, method, target, "")
}

/// One request with more headers, each ended by a line's end, to a server that may be gone.
pub(crate) fn try_request_with(
    address: SocketAddr,
    method: &str,
    target: &str,
    more: &str,
) -> Option<Response> {
    let head =
        format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{more}\r\n");
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(head.as_bytes()).ok()?;
    Response::read(&mut BufReader::new(stream))
}

/// Sends bytes on a connection of their own; the response, if one comes before the end.
pub(crate) fn exchange(address: SocketAddr, bytes: &[u8]) -> Option<Response> {
    let mut stream = connect(address);
    // The server may refuse in the middle.
    let _ = stream.write_all(bytes);
    Response::read(&mut BufReader::new(stream))
}

/// Whether nothing but the end follows, orderly or not.
pub(crate) fn is_at_its_end(stream: &mut impl Read) -> bool {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => rest.is_empty(),
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset && rest.is_empty(),
    }
}
