//! Settings of the edge: what is taken in, and what a connection is until it speaks.

use ipnet::IpNet;

use crate::config::setting::choices;
use crate::config::table::{DAY_MS, GIB, MINUTE_MS, off_or, range, section};
use crate::config::{Config, Mode};

section! {
    /// What is taken in, and how fast.
    pub Config.admission: Admission {
        /// Connections of the whole process; more are refused before they cost anything.
        connections: u32 = 1_000_000, range(1..=100_000_000), Count;
        /// Connections of one address (IPv6: of one /64); 0: no limit. Also read as `limits.connections_per_ip`.
        connections_per_ip: u32 = 100, range(0..=100_000_000), Count;
        /// Connections that have not finished their handshake: the bound on what dribblers can hold.
        handshakes: u32 = 10_000, range(1..=100_000_000), Count;
        /// Bad credentials of one address within a minute before it is shut out; 0: no limit.
        bad_credentials_per_minute: u32 = 30, range(0..=1_000_000), PerMinute;
        /// How long such an address is shut out.
        ban_ms: u64 = 60_000, range(1_000..=DAY_MS), Milliseconds;
        /// New connections a second on each core; 0: no limit.
        accepts_per_second: u32 = 0, range(0..=10_000_000), PerSecond;
        /// How many may come at once before that rate holds.
        accept_burst: u32 = 1_000, range(1..=10_000_000), Count;
    }
}

section! {
    /// Socket options.
    pub Config.tcp: Tcp {
        /// Whether small writes go at once; writes are already collected, so waiting gains nothing.
        nodelay: bool = true;
        /// Idle time before the kernel probes the peer, which takes no more than 32,767 s; 0: never.
        keepalive_ms: u64 = 60_000, off_or(1_000..=32_767_000), Milliseconds;
        /// How long written bytes may stay unacknowledged; 0: as long as the kernel likes.
        user_timeout_ms: u64 = 30_000, off_or(1_000..=DAY_MS), Milliseconds;
        /// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
        backlog: u32 = 4_096, range(1..=65_535), Count;
        /// Whether another process may listen on the same port, as in a hot restart.
        share_port: bool = false;
        /// Who may connect to UNIX sockets, in octal: writing is connecting.
        unix_mode: Mode = Mode::GROUP;
        /// The kernel's send buffer of a connection; 0: it decides.
        send_buffer_bytes: u32 = 0, off_or(4_096..=GIB), Bytes;
        /// The kernel's receive buffer of a connection; 0: it decides.
        receive_buffer_bytes: u32 = 0, off_or(4_096..=GIB), Bytes;
    }
}

section! {
    /// The opening handshake.
    pub Config.handshake: Handshake {
        /// From accept to the end of the request head, however slowly it drips.
        deadline_ms: u64 = 10_000, range(10..=10 * MINUTE_MS), Milliseconds;
        /// The whole request head; longer is 431.
        head_bytes: u32 = 16_384, range(256..=1_048_576), Bytes;
        /// Header lines; more is 431.
        headers: u16 = 100, range(8..=1_000), Count;
        /// The request target; longer is 414.
        target_bytes: u32 = 8_192, range(64..=1_048_576), Bytes;
        /// Origins that browsers may connect from, as `https://app.example`; empty: only the page's own host; `*`: any.
        origins: Vec<String> = Vec::new();
        /// Whether clients that send no `Origin` (which are not browsers) may connect.
        allow_absent_origin: bool = true;
        /// Whether a client must have come by TLS: to a listener that speaks it, or to a trusted proxy that says so (`X-Forwarded-Proto`, `Forwarded`, PROXY 2). Plain HTTP, as health checks use it, is served all the same.
        require_tls: bool = false;
        /// How long a plain HTTP connection may be idle.
        http_idle_ms: u64 = 60_000, range(10..=DAY_MS), Milliseconds;
    }
}

choices! {
    /// Which header tells the client's address.
    AddressHeader {
        /// None is believed.
        #[default]
        None = "none",
        /// `X-Forwarded-For`.
        XForwardedFor = "x-forwarded-for",
        /// `Forwarded` (RFC 7239).
        Forwarded = "forwarded",
    }
}

section! {
    /// Proxies that may speak for a client.
    pub Config.proxy: Proxy {
        /// Networks whose word is taken for a client's address.
        trusted: Vec<IpNet> = Vec::new();
        /// Which header tells the address; only a trusted proxy's is read.
        header: AddressHeader = AddressHeader::None;
    }
}

section! {
    /// permessage-deflate.
    pub Config.deflate: Deflate {
        /// Whether it is offered where a listener says nothing else.
        enabled: bool = true;
        /// From 1 (fast) to 12 (small); a message is compressed once for all its receivers.
        level: u8 = 6, range(1..=12), Count;
        /// Shorter messages go plain, since their header costs more than is won.
        min_bytes: u32 = 1_024, range(0..=GIB), Bytes;
    }
}

section! {
    /// Life signs.
    pub Config.heartbeat: Heartbeat {
        /// Between pings to a connection that sent nothing; proxies often cut at 60 s of silence.
        interval_ms: u64 = 25_000, range(10..=DAY_MS), Milliseconds;
        /// Unanswered pings before the connection is given up.
        max_missed: u8 = 3, range(1..=100), Count;
    }
}
