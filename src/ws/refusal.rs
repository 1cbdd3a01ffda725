//! Why a request is refused before it becomes a WebSocket, and what is written then.
//!
//! Invariants: a response is made of constants and numbers only, so nothing that a peer sent can
//! come back in it, split it or leak through it; every response ends the connection.

use std::io::Write as _;

/// The subprotocol under which the server writes JSON.
pub const JSON_SUBPROTOCOL: &str = "ringroom.v1.json";

/// The subprotocol under which the server writes MessagePack.
pub const MESSAGE_PACK_SUBPROTOCOL: &str = "ringroom.v1.msgpack";

/// When a credential that could not be judged may be shown again.
const UNDECIDED_RETRY_MS: u32 = 1_000;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The request line is not `method SP target SP version CR LF`.
    RequestLine,
    /// A header line holds a byte that may not stand there: a bare CR or LF, a folded line, a
    /// space before the colon, a control byte, a name that is no token.
    HeaderLine,
    /// A version of HTTP that is neither 1.1 nor 1.0.
    HttpVersion,
    /// The target is longer than `handshake.target_bytes`.
    TargetTooLong,
    /// The head, or one line of it, is too long.
    HeadTooLarge,
    /// More header lines than `handshake.headers`.
    TooManyHeaders,
    /// The head did not come within `handshake.deadline_ms`.
    Deadline,
    /// A header that may stand only once stands twice.
    RepeatedHeader,
    /// A header that must be text holds other bytes.
    HeaderNotText,
    /// The request says, or may be read to say, that a body follows.
    Body,
    /// Asterisk or authority form, or an absolute form that names another host than `Host`.
    TargetForm,
    /// The path or one of our parameters is not UTF-8 in percent-encoding, or holds a NUL.
    PercentEncoding,
    /// No such endpoint.
    NotFound,
    /// A method that is not served: for an upgrade, something other than `GET`.
    Method,
    /// An upgrade needs HTTP/1.1.
    OldHttp,
    /// No `Host`, or one that is none.
    Host,
    /// It did not come by TLS, and must.
    Plain,
    /// A plain request where only WebSockets are served.
    NotAnUpgrade,
    /// `Connection` does not list `upgrade`.
    Connection,
    /// `Sec-WebSocket-Version` is not 13.
    WebSocketVersion,
    /// `Sec-WebSocket-Key` is missing, or not 16 bytes in canonical base64.
    Key,
    /// `Origin` is not allowed.
    Origin,
    /// No `Origin`, and the policy or a cookie demands one.
    OriginMissing,
    /// A subprotocol that is no token.
    SubprotocolSyntax,
    /// Subprotocols are offered, and none of them is ours.
    Subprotocol,
    /// A parameter of ours is given twice, or two cookies have the name of ours.
    RepeatedParameter,
    /// `?tenant=` is not a tenant's name.
    Tenant,
    /// Two different credentials.
    TwoCredentials,
    /// The credential is empty, unknown, expired or revoked.
    Unauthorized,
    /// The credential was judged, and is not good or cannot be known to be.
    Credential {
        /// Why, in a word of ours.
        word: &'static str,
        /// 401, 403 or 503.
        status: u16,
    },
    /// The tenant is suspended.
    Suspended,
    /// The operator has shut out the user or the address.
    ShutOut,
    /// The credential is good, and not for this.
    Forbidden,
    /// This address has as many connections as it may.
    AddressLimit {
        /// When it may be tried again.
        retry_after_ms: u32,
    },
    /// The tenant has as many connections as it may.
    TenantLimit {
        /// When it may be tried again.
        retry_after_ms: u32,
    },
    /// The credential has as many connections as it may.
    CredentialLimit {
        /// When it may be tried again.
        retry_after_ms: u32,
    },
    /// This address has shown too many bad credentials.
    Banned {
        /// When it may be tried again.
        retry_after_ms: u32,
    },
    /// The server is full or on its way out.
    Unavailable {
        /// When it may be tried again.
        retry_after_ms: u32,
    },
}

impl Refusal {
    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Credential { status, .. } => status,
            Self::Unauthorized => 401,
            Self::Origin
            | Self::OriginMissing
            | Self::Forbidden
            | Self::Plain
            | Self::Suspended
            | Self::ShutOut => 403,
            Self::NotFound => 404,
            Self::Method => 405,
            Self::Deadline => 408,
            Self::TargetTooLong => 414,
            Self::NotAnUpgrade | Self::WebSocketVersion => 426,
            Self::AddressLimit { .. }
            | Self::TenantLimit { .. }
            | Self::CredentialLimit { .. }
            | Self::Banned { .. } => 429,
            Self::HeadTooLarge | Self::TooManyHeaders => 431,
            Self::Unavailable { .. } => 503,
            Self::HttpVersion => 505,
            Self::RequestLine
            | Self::HeaderLine
            | Self::RepeatedHeader
            | Self::HeaderNotText
            | Self::Body
            | Self::TargetForm
            | Self::PercentEncoding
            | Self::OldHttp
            | Self::Host
            | Self::Connection
            | Self::Key
            | Self::SubprotocolSyntax
            | Self::Subprotocol
            | Self::RepeatedParameter
            | Self::Tenant
            | Self::TwoCredentials => 400,
        }
    }

    /// The code of the protocol's error table.
    #[must_use]
    pub fn code(self) -> &'static str {
        if let Self::Banned { .. } | Self::ShutOut = self {
            return "banned";
        }
        match self.status() {
            401 => "unauthorized",
            403 => "forbidden",
            404 => "not_found",
            408 => "timeout",
            414 | 431 => "too_large",
            429 => "limit_exceeded",
            503 => "unavailable",
            _ => "bad_request",
        }
    }

    /// What a person reads.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::RequestLine => "the request line is malformed",
            Self::HeaderLine => "a header line is malformed",
            Self::HttpVersion => "HTTP/1.1 is spoken here",
            Self::TargetTooLong => "the target is too long",
            Self::HeadTooLarge => "the request head is too large",
            Self::TooManyHeaders => "too many header lines",
            Self::Deadline => "the request did not come in time",
            Self::RepeatedHeader => "a header that may stand only once is repeated",
            Self::HeaderNotText => "a header holds bytes that are not text",
            Self::Body => "an upgrade request has no body",
            Self::TargetForm => "the target is no path, or names another host than Host",
            Self::PercentEncoding => "the target is not UTF-8 in percent-encoding",
            Self::NotFound => "no such endpoint",
            Self::Method => "this method is not served here",
            Self::OldHttp => "an upgrade needs HTTP/1.1",
            Self::Host => "Host is missing or malformed",
            Self::Plain => {
                "TLS is required here: connect by wss, or let the proxy say that you have"
            }
            Self::NotAnUpgrade => {
                "this endpoint speaks WebSocket; if your client does, a proxy on the way dropped \
                 the Upgrade header"
            }
            Self::Connection => "Connection does not list upgrade",
            Self::WebSocketVersion => "Sec-WebSocket-Version must be 13",
            Self::Key => "Sec-WebSocket-Key must be 16 bytes in base64, given once",
            Self::Origin => "this origin is not allowed",
            Self::OriginMissing => "an Origin header is required",
            Self::SubprotocolSyntax => "Sec-WebSocket-Protocol is not a list of tokens",
            Self::Subprotocol => {
                "none of the subprotocols offered is ringroom.v1.json or ringroom.v1.msgpack"
            }
            Self::RepeatedParameter => "a parameter or cookie that may be given once is repeated",
            Self::Tenant => "tenant must be a name of 1 to 128 bytes",
            Self::TwoCredentials => "two different credentials are given",
            Self::Credential { status: 503, .. } => "the credential cannot be judged now",
            Self::Credential { status: 403, .. } | Self::Forbidden => {
                "the credential is not for this"
            }
            Self::Credential { .. } | Self::Unauthorized => "the credential is not good",
            Self::Suspended => "the tenant is suspended",
            Self::ShutOut => "banned by the operator",
            Self::AddressLimit { .. } => "too many connections of this address",
            Self::TenantLimit { .. } => "too many connections of this tenant",
            Self::CredentialLimit { .. } => "too many connections by this credential",
            Self::Banned { .. } => "too many bad credentials from this address",
            Self::Unavailable { .. } => "the server takes no connections now",
        }
    }

    /// Headers beyond those of every refusal.
    #[must_use]
    pub fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Method => &[("Allow", "GET")],
            Self::NotAnUpgrade => &[("Upgrade", "websocket")],
            Self::WebSocketVersion => &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")],
            Self::Credential { status: 401, .. } | Self::Unauthorized => {
                &[("WWW-Authenticate", "Bearer")]
            }
            _ => &[],
        }
    }

    /// How long the peer should wait, where waiting helps.
    #[must_use]
    pub fn retry_after_ms(self) -> Option<u32> {
        match self {
            Self::AddressLimit { retry_after_ms }
            | Self::TenantLimit { retry_after_ms }
            | Self::CredentialLimit { retry_after_ms }
            | Self::Banned { retry_after_ms }
            | Self::Unavailable { retry_after_ms } => Some(retry_after_ms),
            Self::Credential { status: 503, .. } => Some(UNDECIDED_RETRY_MS),
            _ => None,
        }
    }

    /// The whole response: head and JSON body.
    #[must_use]
    pub fn response(self) -> Vec<u8> {
        let (status, code, message) = (self.status(), self.code(), self.message());
        let retry = match self.retry_after_ms() {
            Some(retry_after_ms) => format!(r#","retry_after_ms":{retry_after_ms}"#),
            None => String::new(),
        };
        let why = match self {
            Self::Credential { word, .. } => format!(r#","reason":"{word}""#),
            _ => String::new(),
        };
        let body = format!(r#"{{"error":{{"code":"{code}","message":"{message}"{why}{retry}}}}}"#);
        // RFC 9110 §7.8: who sends Upgrade lists it in Connection.
        let connection = if status == 426 { "Upgrade, close" } else { "close" };

        let mut response = Vec::with_capacity(320 + body.len());
        let head = write!(
            response,
            "HTTP/1.1 {status} {}\r\nConnection: {connection}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nCache-Control: no-store\r\n",
            reason(status),
            body.len()
        );
        head.expect("a vector takes what is written");
        for (name, value) in self.headers() {
            response.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if let Some(retry_after_ms) = self.retry_after_ms() {
            let seconds = retry_after_ms.div_ceil(1_000);
            response.extend_from_slice(format!("Retry-After: {seconds}\r\n").as_bytes());
        }
        response.extend_from_slice(b"\r\n");
        response.extend_from_slice(body.as_bytes());
        response
    }
}

/// What a status is called.
fn reason(status: u16) -> &'static str {
    match status {
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        414 => "URI Too Long",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Bad Request",
    }
}

#[cfg(test)]
mod tests;
