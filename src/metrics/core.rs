//! The figures of one core.

use crate::ws::deflate::Tally;

use super::{ByReason, Close, Figure, Gap, HandshakeFailure, Histogram, Refusal};

/// Which driver a core's runtime has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverKind {
    /// The core has not said yet.
    #[default]
    Unknown,
    /// `io_uring` with all flags asked for.
    Uring,
    /// `io_uring` with plainer flags.
    PlainUring,
    /// epoll.
    Epoll,
}

impl DriverKind {
    const ALL: [Self; 4] = [Self::Unknown, Self::Uring, Self::PlainUring, Self::Epoll];

    /// Its word in health and logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Uring => "io_uring",
            Self::PlainUring => "io_uring_plain",
            Self::Epoll => "epoll",
        }
    }
}

/// One direction of permessage-deflate.
#[derive(Debug, Default)]
pub struct Deflate {
    /// Messages.
    pub messages: Figure,
    /// Bytes on the wire.
    pub compressed_bytes: Figure,
    /// Bytes of what they say.
    pub plain_bytes: Figure,
    /// Time spent.
    pub time_us: Figure,
}

impl Deflate {
    /// Counts what was inflated or deflated meanwhile.
    pub fn add(&self, tally: Tally) {
        if tally != Tally::default() {
            self.messages.add(tally.messages);
            self.compressed_bytes.add(tally.compressed_bytes);
            self.plain_bytes.add(tally.plain_bytes);
            self.time_us.add(tally.time_us);
        }
    }
}

/// The figures of one core. Padded, so that no other core's writes disturb it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Core {
    /// When the core's loop last came round, as a [`Moment`](crate::clock::Moment). A core sets it
    /// at least twice a second, idle or not; 0: it has not begun.
    pub heartbeat_us: Figure,
    /// The kernel's id of its thread; 0: it has not begun.
    pub thread_id: Figure,
    driver: Figure,
    /// 1 once clients come in.
    pub listening: Figure,
    /// 1 while it sends its connections away.
    pub draining: Figure,

    /// WebSockets that are open.
    pub connections: Figure,
    /// Connections whose handshake is not finished.
    pub handshakes_pending: Figure,
    /// Connections whose request was plain HTTP, and relayed to the control plane.
    pub relays: Figure,
    /// Connections that are relayed to the control plane.
    pub relayed: Figure,
    /// Connections taken from the kernel.
    pub accepts: Figure,
    /// Connections not taken in.
    pub refusals: ByReason<Refusal>,
    /// Upgrades answered with 101.
    pub handshakes: Figure,
    /// Handshakes that failed.
    pub handshake_failures: ByReason<HandshakeFailure>,
    /// Credentials refused, in handshakes and in messages.
    pub credentials_refused: Figure,
    /// Ends of WebSockets.
    pub closes: ByReason<Close>,

    /// Messages received.
    pub messages_in: Figure,
    /// Messages of rooms queued for connections.
    pub messages_out: Figure,
    /// Bytes read from sockets, below TLS.
    pub bytes_in: Figure,
    /// Bytes written to sockets, below TLS.
    pub bytes_out: Figure,
    /// Rooms whose home this core is.
    pub rooms: Figure,
    /// Sessions whose home this core is.
    pub sessions: Figure,
    /// Messages published in its rooms.
    pub published: Figure,
    /// Messages of clients that could not be understood.
    pub bad_messages: Figure,
    /// Publishes refused because their room remembers as many keys as it may.
    pub keys_refused: Figure,
    /// Messages and control frames of clients that came too fast.
    pub rate_limited: Figure,
    /// Messages inflated.
    pub inflate: Deflate,
    /// Messages deflated.
    pub deflate: Deflate,
    /// Bytes queued for connections now.
    pub outbox_bytes: Figure,
    /// This core's part of the bytes that may be, by configuration.
    pub outbox_limit_bytes: Figure,
    /// Bytes held of what connections have sent that is not carried out yet.
    pub inbox_bytes: Figure,
    /// This core's part of the bytes that may be, by configuration.
    pub inbox_limit_bytes: Figure,
    /// Publications that did not reach a connection.
    pub gaps: ByReason<Gap>,
    /// Times a room had missed something of other nodes.
    pub broker_gaps: Figure,
    /// Publications that were missed and had from the broker's history.
    pub broker_filled: Figure,
    /// Publications that were missed, not to be had, and announced.
    pub broker_lost: Figure,
    /// Rooms of other nodes that could not be followed for those who receive them by a pattern.
    pub broker_unheard: Figure,
    /// Pings sent.
    pub pings: Figure,
    /// Pongs that answered them.
    pub pongs: Figure,
    /// Connections closed by a panic.
    pub panics: Figure,

    /// Times round the loop.
    pub ticks: Figure,
    /// Times round the loop with nothing to do and no timer due.
    pub empty_rounds: Figure,
    /// Beats (two a second) since the last of which more than half of the time was CPU time that no
    /// work accounts for, as where waiting for the sockets fails and is tried again at once.
    pub spinning_beats: Figure,
    /// Bytes on their way to other threads now.
    pub mesh_backlog_bytes: Figure,
    /// Batches handed to other threads.
    pub mesh_batches: Figure,
    /// Doorbells rung.
    pub mesh_rings: Figure,
    /// Times a batch found an inbox full.
    pub mesh_full: Figure,
    /// Messages whose receiver was gone.
    pub mesh_lost: Figure,

    /// From accept to 101.
    pub handshake_latency: Histogram,
    /// How long a socket that took no more was waited for.
    pub write_latency: Histogram,
    /// From a ping to its pong.
    pub round_trip: Histogram,
    /// How long the loop took to come round, parks not counted.
    pub loop_time: Histogram,
    /// From when a timer was due to when it ran.
    pub timer_lateness: Histogram,
    /// From when a batch was ready to go to when it was taken from the inbox.
    pub inbox_delay: Histogram,
}

impl Core {
    /// Says which driver the runtime has. Only for the owner.
    pub fn set_driver(&self, driver: DriverKind) {
        self.driver.set(driver as u64);
    }

    /// Which driver the runtime has.
    #[must_use]
    pub fn driver(&self) -> DriverKind {
        let known = DriverKind::ALL.into_iter().find(|&kind| kind as u64 == self.driver.get());
        known.unwrap_or_default()
    }
}
