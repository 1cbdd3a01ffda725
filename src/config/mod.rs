//! The settings of a process: validated once, typed, then never questioned again.
//!
//! Invariant: a [`Config`] that exists is valid. Everything below reads it and checks nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

/// Every setting, validated.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect; never empty.
    pub listeners: Vec<Listener>,
    /// The control plane.
    pub control: Control,
    /// The core threads.
    pub cores: Cores,
    /// What is taken in, and how fast.
    pub admission: Admission,
    /// Socket options.
    pub tcp: Tcp,
    /// The opening handshake.
    pub handshake: Handshake,
    /// Proxies that may speak for a client.
    pub proxy: Proxy,
    /// permessage-deflate.
    pub deflate: Deflate,
    /// Life signs.
    pub heartbeat: Heartbeat,
    /// Sessions that outlive a connection.
    pub session: Session,
    /// Presence.
    pub presence: Presence,
    /// Rooms in general.
    pub rooms: Rooms,
    /// What one peer, message or queue may hold.
    pub limits: Limits,
    /// Token buckets.
    pub rate: Rate,
    /// When queued bytes are written.
    pub flush: Flush,
    /// Between the cores.
    pub mesh: Mesh,
    /// The way out.
    pub drain: Drain,
    /// Who is who.
    pub auth: Auth,
    /// For development and tests.
    pub dev: Dev,
    /// Logs.
    pub log: Log,
}

/// An address clients connect to.
#[derive(Clone, Debug)]
pub struct Listener {
    /// TCP or UNIX.
    pub address: ListenAddress,
    /// Certificates; none is plain text.
    pub tls: Option<Tls>,
    /// Every connection begins with a PROXY header (from a trusted proxy, else it is closed).
    pub proxy_protocol: bool,
    /// Whether permessage-deflate is offered here.
    pub deflate: bool,
}

/// TCP or UNIX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A path.
    Unix(PathBuf),
}

/// The TLS side of a listener.
#[derive(Clone, Debug)]
pub struct Tls {
    /// PEM, the leaf first.
    pub certificate_file: PathBuf,
    /// PEM.
    pub key_file: PathBuf,
    /// PEM roots that client certificates are checked against.
    pub client_ca_file: Option<PathBuf>,
    /// Whether a client must have one.
    pub client_certificate: ClientCertificate,
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificate {
    /// Not asked for.
    #[default]
    None,
    /// Asked for, and checked if given.
    Optional,
    /// No connection without one.
    Required,
}

/// The control plane's own listener.
#[derive(Clone, Debug)]
pub struct Control {
    /// Loopback unless there is a reason.
    pub address: SocketAddr,
    /// Threads that serve it.
    pub threads: u16,
}

/// Which ring, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// `io_uring` where the kernel has it, else epoll with a loud warning.
    #[default]
    Auto,
    /// `io_uring` or refuse to start.
    Uring,
    /// epoll.
    Epoll,
}

/// The core threads.
#[derive(Clone, Debug)]
pub struct Cores {
    /// CPUs that may be used; empty: all this process may run on.
    pub cpus: Vec<usize>,
    /// How many core threads; 0: one for each of `cpus`.
    pub count: u16,
    /// Which ring, or none.
    pub driver: Driver,
    /// Entries of the submission queue.
    pub ring_entries: u32,
}

/// What is taken in, and how fast.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Connections of the whole process.
    pub connections: u32,
    /// Connections of one address (IPv6: of one /64); 0: no limit.
    pub connections_per_ip: u32,
    /// Connections that have not finished their handshake.
    pub handshakes: u32,
    /// New connections a second on each core; 0: no limit.
    pub accepts_per_second: u32,
    /// How many may come at once before that rate holds.
    pub accept_burst: u32,
}

/// Socket options.
#[derive(Clone, Debug)]
pub struct Tcp {
    /// Send at once.
    pub nodelay: bool,
    /// Idle time before the kernel probes; 0: off.
    pub keepalive_ms: u64,
    /// How long written bytes may stay unacknowledged; 0: the kernel's default.
    pub user_timeout_ms: u64,
    /// The accept queue.
    pub backlog: u32,
    /// Another process may listen on the same port.
    pub share_port: bool,
    /// The kernel's send buffer; 0: it decides.
    pub send_buffer_bytes: u32,
    /// The kernel's receive buffer; 0: it decides.
    pub receive_buffer_bytes: u32,
}

/// The opening handshake.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// From accept to the end of the request head, absolute.
    pub deadline_ms: u64,
    /// The whole head.
    pub head_bytes: u32,
    /// Header lines.
    pub headers: u16,
    /// The request target.
    pub target_bytes: u32,
    /// Origins that may connect from a browser; empty: only the page's own host. `*`: any.
    pub origins: Vec<String>,
    /// Whether clients that send no `Origin` (which are not browsers) may connect.
    pub allow_absent_origin: bool,
    /// How long a plain HTTP connection may be idle.
    pub http_idle_ms: u64,
}

/// Which header tells the client's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressHeader {
    /// None is believed.
    #[default]
    None,
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Proxies that may speak for a client.
#[derive(Clone, Debug, Default)]
pub struct Proxy {
    /// Whose word is taken.
    pub trusted: Vec<IpNet>,
    /// Which header tells.
    pub header: AddressHeader,
}

/// permessage-deflate.
#[derive(Clone, Debug)]
pub struct Deflate {
    /// Offered unless a listener says otherwise.
    pub enabled: bool,
    /// 1 (fast) to 12 (small).
    pub level: u8,
    /// Shorter messages go plain.
    pub min_bytes: u32,
}

/// Life signs.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// Between pings to a connection that sent nothing.
    pub interval_ms: u64,
    /// Unanswered pings before the close.
    pub max_missed: u8,
}

/// Sessions that outlive a connection.
#[derive(Clone, Debug)]
pub struct Session {
    /// How long after the last connection.
    pub ttl_ms: u64,
}

/// Presence.
#[derive(Clone, Debug)]
pub struct Presence {
    /// Between the last connection's end and the notice of it.
    pub grace_ms: u64,
}

/// Rooms in general.
#[derive(Clone, Debug)]
pub struct Rooms {
    /// After which an unacknowledged `guaranteed` message goes out again.
    pub ack_timeout_ms: u64,
    /// How long a receipt waits for the cores.
    pub receipt_timeout_ms: u64,
    /// How long a publish key is remembered.
    pub idempotency_window_ms: u64,
    /// Rooms of the whole process.
    pub count: u32,
    /// History of all rooms together.
    pub history_bytes: u64,
}

/// What one peer, message or queue may hold.
#[derive(Clone, Debug)]
pub struct Limits {
    /// A message, reassembled and inflated.
    pub message_bytes: u32,
    /// A frame.
    pub frame_bytes: u32,
    /// Frames of a message.
    pub fragments: u32,
    /// Messages of a batch.
    pub batch_messages: u16,
    /// Bad messages within a minute before the close.
    pub bad_messages: u16,
    /// Bytes queued for a connection.
    pub outbox_bytes: u32,
    /// Bytes queued for all connections of the process.
    pub outbox_total_bytes: u64,
    /// A session's state.
    pub state_bytes: u32,
    /// Joined rooms of a connection.
    pub rooms_per_connection: u16,
    /// Pattern subscriptions of a connection.
    pub subscriptions_per_connection: u16,
    /// Messages of one recovery.
    pub recovery_messages: u32,
    /// Bytes of one recovery.
    pub recovery_bytes: u32,
    /// Connections of a user; 0: no limit.
    pub connections_per_user: u32,
    /// Nesting of a message.
    pub depth: u8,
    /// Commands of a connection that wait for another core.
    pub unanswered_commands: u16,
}

/// Token buckets; all 0: off.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    /// Messages of a connection.
    pub messages_per_second: u32,
    /// How many may come at once.
    pub burst: u32,
    /// Messages of a connection a minute.
    pub messages_per_minute: u32,
    /// Bytes of a connection.
    pub bytes_per_second: u32,
    /// How long a connection that keeps on is refused.
    pub ban_ms: u64,
}

/// When queued bytes are written.
#[derive(Clone, Debug)]
pub struct Flush {
    /// The longest a tick may grow under saturation.
    pub max_delay_us: u64,
}

/// Between the cores.
#[derive(Clone, Debug)]
pub struct Mesh {
    /// Batches an inbox holds.
    pub inbox_batches: u32,
    /// Bytes that may wait for a core whose inbox is full.
    pub backlog_bytes: u64,
}

/// The way out.
#[derive(Clone, Debug)]
pub struct Drain {
    /// Over which clients are sent away.
    pub window_ms: u64,
}

/// Who is who.
#[derive(Clone, Debug)]
pub struct Auth {
    /// How clients prove who they are.
    pub mode: AuthMode,
    /// How long the first message may take.
    pub timeout_ms: u64,
}

/// How clients prove who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthMode {
    /// Nothing is configured: open, on loopback addresses only.
    #[default]
    Unset,
    /// Open on any address, because the operator said so.
    Open,
}

/// For development and tests.
#[derive(Clone, Debug, Default)]
pub struct Dev {
    /// `GET /echo`.
    pub echo: bool,
    /// Faults on request (a panic, a wedged core): for the test suite only.
    pub faults: bool,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// Logs.
#[derive(Clone, Debug)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// A filter as `tracing` reads it: `info`, `ringroom=debug`.
    pub filter: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listeners: vec![Listener {
                address: ListenAddress::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 8000))),
                tls: None,
                proxy_protocol: false,
                deflate: true,
            }],
            control: Control { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8001)), threads: 1 },
            cores: Cores { cpus: Vec::new(), count: 0, driver: Driver::Auto, ring_entries: 1_024 },
            admission: Admission {
                connections: 1_000_000,
                connections_per_ip: 0,
                handshakes: 10_000,
                accepts_per_second: 0,
                accept_burst: 1_000,
            },
            tcp: Tcp {
                nodelay: true,
                keepalive_ms: 60_000,
                user_timeout_ms: 30_000,
                backlog: 4_096,
                share_port: false,
                send_buffer_bytes: 0,
                receive_buffer_bytes: 0,
            },
            handshake: Handshake {
                deadline_ms: 10_000,
                head_bytes: 16_384,
                headers: 100,
                target_bytes: 8_192,
                origins: Vec::new(),
                allow_absent_origin: true,
                http_idle_ms: 60_000,
            },
            proxy: Proxy::default(),
            deflate: Deflate { enabled: true, level: 6, min_bytes: 1_024 },
            heartbeat: Heartbeat { interval_ms: 25_000, max_missed: 3 },
            session: Session { ttl_ms: 120_000 },
            presence: Presence { grace_ms: 2_000 },
            rooms: Rooms {
                ack_timeout_ms: 30_000,
                receipt_timeout_ms: 2_000,
                idempotency_window_ms: 300_000,
                count: 1_000_000,
                history_bytes: 256 << 20,
            },
            limits: Limits {
                message_bytes: 65_536,
                frame_bytes: 65_536,
                fragments: 1_024,
                batch_messages: 100,
                bad_messages: 10,
                outbox_bytes: 1 << 20,
                outbox_total_bytes: 1 << 30,
                state_bytes: 4_096,
                rooms_per_connection: 128,
                subscriptions_per_connection: 32,
                recovery_messages: 1_000,
                recovery_bytes: 1 << 20,
                connections_per_user: 0,
                depth: 32,
                unanswered_commands: 64,
            },
            rate: Rate::default(),
            flush: Flush { max_delay_us: 2_000 },
            mesh: Mesh { inbox_batches: 1_024, backlog_bytes: 64 << 20 },
            drain: Drain { window_ms: 10_000 },
            auth: Auth { mode: AuthMode::Unset, timeout_ms: 10_000 },
            dev: Dev::default(),
            log: Log { format: LogFormat::Text, filter: "info".to_owned() },
        }
    }
}
