//! The opening handshake from the client's side.

use std::fmt::Write;

use tungstenite::handshake::derive_accept_key;

use super::super::target::Target;

/// Longest response head that is read.
pub const HEAD_MAX: usize = 16 * 1_024;

/// What one connection asks for.
#[derive(Clone, Debug, Default)]
pub struct Request<'a> {
    /// Replaces `{room}` in the path.
    pub room: &'a str,
    /// Replaces `{peer}` in the path.
    pub peer: usize,
    /// Session to resume.
    pub session: Option<&'a str>,
    /// Subprotocol to offer.
    pub subprotocol: Option<&'a str>,
    /// Whether to offer permessage-deflate.
    pub deflate: bool,
    /// Further header lines, each `Name: value`.
    pub headers: &'a [String],
}

/// What the server agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Bytes of the response head.
    pub consumed: usize,
    /// Whether messages may be compressed.
    pub deflate: bool,
}

/// Why a handshake failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another status than 101.
    Status(u16),
    /// What came is no HTTP response, or too long a head.
    NotHttp,
    /// The key was not answered as the protocol demands.
    AcceptKey,
    /// An extension or its parameters were not offered.
    Extension,
}

/// A random nonce, in the form the header wants it.
#[must_use]
pub fn key(nonce: u64) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut state = nonce.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut key: String = (0..21)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(DIGITS[(state >> 58) as usize])
        })
        .collect();
    // Sixteen bytes are 128 bits: the last of 22 digits holds two of them.
    key.push_str("A==");
    key
}

/// The request's bytes.
#[must_use]
pub fn request(target: &Target, request: &Request<'_>, key: &str) -> Vec<u8> {
    let mut path = target.path.replace("{room}", request.room);
    path = path.replace("{peer}", &request.peer.to_string());
    if let Some(session) = request.session {
        path.push(if path.contains('?') { '&' } else { '?' });
        path.push_str("session=");
        path.push_str(session);
    }
    let mut head = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n",
        target.authority
    );
    if let Some(subprotocol) = request.subprotocol {
        let _ = write!(head, "Sec-WebSocket-Protocol: {subprotocol}\r\n");
    }
    if request.deflate {
        head.push_str(
            "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; \
             server_no_context_takeover\r\n",
        );
    }
    for header in request.headers {
        let _ = write!(head, "{header}\r\n");
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// Reads the response; `None` until its head is complete.
pub fn read_response(
    bytes: &[u8],
    key: &str,
    deflate_offered: bool,
) -> Result<Option<Accepted>, Refusal> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > HEAD_MAX { Err(Refusal::NotHttp) } else { Ok(None) };
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| Refusal::NotHttp)?;
    let (status, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    match status.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()) {
        Some(101) => {}
        Some(status) => return Err(Refusal::Status(status)),
        None => return Err(Refusal::NotHttp),
    }
    let header = |wanted: &str| {
        headers
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.trim())
    };
    if header("sec-websocket-accept") != Some(derive_accept_key(key.as_bytes()).as_str()) {
        return Err(Refusal::AcceptKey);
    }
    let deflate = match header("sec-websocket-extensions") {
        None => false,
        Some(answer) if deflate_offered && keeps_no_context(answer) => true,
        Some(_) => return Err(Refusal::Extension),
    };
    Ok(Some(Accepted { consumed: end + 4, deflate }))
}

/// Whether the server compresses each message by itself: this side keeps no state for it.
fn keeps_no_context(answer: &str) -> bool {
    let mut parts = answer.split(';').map(str::trim);
    parts.next() == Some("permessage-deflate")
        && parts.any(|part| part == "server_no_context_takeover")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]
    use super::*;

    fn response(status: &str, extra: &str, key: &str) -> Vec<u8> {
        let accept = derive_accept_key(key.as_bytes());
        format!("HTTP/1.1 {status}\r\nUPGRADE: websocket\r\nsec-webSocket-accept:{accept}\r\n{extra}\r\nrest")
            .into_bytes()
    }

    #[test]
    fn responses() {
        let key = key(5);
        let good = response("101 Switching Protocols", "", &key);
        let accepted = read_response(&good, &key, false).unwrap().unwrap();
        assert_eq!(&good[accepted.consumed..], b"rest");
        assert_eq!(read_response(&good[..40], &key, false), Ok(None));
        assert_eq!(read_response(&good, "other", false), Err(Refusal::AcceptKey));
        let full = response("503 No", "", &key);
        assert_eq!(read_response(&full, &key, false), Err(Refusal::Status(503)));
        assert_eq!(read_response(b"SSH-2.0\r\n\r\n", &key, false), Err(Refusal::NotHttp));
    }

    #[test]
    fn extensions_only_as_offered() {
        let key = key(6);
        let lone = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
        let both = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";
        let read = |extra, offered| read_response(&response("101 x", extra, &key), &key, offered);
        assert_eq!(read(both, true).unwrap().map(|accepted| accepted.deflate), Some(true));
        assert_eq!(read(both, false), Err(Refusal::Extension));
        assert_eq!(read(lone, true), Err(Refusal::Extension));
    }

    #[test]
    fn requests_fill_in_the_path() {
        let target = Target::resolve("ws://127.0.0.1:1/r/{room}/{peer}?a=b").unwrap();
        let ask = Request { room: "den", peer: 7, session: Some("s"), ..Request::default() };
        let text = String::from_utf8(request(&target, &ask, &key(1))).unwrap();
        assert!(text.starts_with("GET /r/den/7?a=b&session=s HTTP/1.1\r\n"), "{text}");
        assert_eq!(key(1).len(), 24);
        assert_ne!(key(1), key(2));
    }
}
