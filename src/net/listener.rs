//! Accepting: as many as may come in, at the pace that is allowed, and never in a spin.
//!
//! monoio's own accept leaves descriptors open in child processes and spins when there are none
//! left, so only the waiting is its; accepting is a system call. Invariant: whatever goes wrong,
//! the connections that are in are served, and accepting resumes by itself.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;

use tracing::{debug, warn};

use crate::bucket::{Bucket, Quota};
use crate::clock::Now;
use crate::config::{self, AddressHeader, Config, ListenAddress};
use crate::metrics::{HandshakeFailure, Refusal};
use crate::origin::Origins;
use crate::shard::Pages;
use crate::ws::forwarded;
use crate::ws::handshake::Policy;

use super::connection::{Connection, Course, Greeting, Stage};
use super::core::{Core, Deadline, State, key_of};
use super::intake::Intake;
use super::reader;
use super::socket;
use super::stream::Stream;
use super::tls::Tls;

/// Connections accepted before the others of the core get their turn.
const ACCEPTS_PER_TURN: usize = 64;

/// How long accepting rests when the system has nothing left to give.
const REST_MS: u64 = 100;

/// What a core knows of an address it listens on.
pub(super) struct Listener {
    pub(super) config: config::Listener,
    pub(super) tls: Option<Arc<rustls::ServerConfig>>,
}

impl Listener {
    /// All of them, with what they encrypt with.
    pub(super) fn all(config: &Config, tls: Vec<Option<Arc<rustls::ServerConfig>>>) -> Vec<Self> {
        let listener =
            |(listener, tls): (&config::Listener, _)| Self { config: listener.clone(), tls };
        config.listeners.iter().zip(tls).map(listener).collect()
    }

    /// What is accepted here.
    pub(super) fn policy<'a>(
        &self,
        config: &Config,
        origins: &'a Origins,
        pages: &'a Pages,
        cookie: Option<&'a str>,
    ) -> Policy<'a> {
        Policy {
            origins,
            tenant_origins: pages.any.as_ref(),
            allow_absent_origin: config.handshake.allow_absent_origin,
            tls: self.tls.is_some(),
            local: matches!(self.config.address, ListenAddress::Tcp(_))
                && self.config.address.is_local(),
            echo: config.dev.echo,
            // What `deflate.enabled` says is in it already, where the listener says nothing itself.
            deflate: self.config.deflate,
            cookie,
        }
    }
}

/// A socket that listens, and a descriptor in reserve for when there are no others.
pub(super) struct Door {
    listener: u16,
    waiting: Stream,
    fd: RawFd,
    /// By all cores.
    is_shared: bool,
    spare: Cell<Option<File>>,
}

impl Door {
    /// Of a socket that listens. `is_shared`: with all other cores.
    pub(super) fn new(listener: u16, socket: OwnedFd, is_shared: bool) -> io::Result<Rc<Self>> {
        let fd = socket.as_raw_fd();
        let (waiting, spare) = (Stream::new(socket)?, Cell::new(spare()));
        Ok(Rc::new(Self { listener, waiting, fd, is_shared, spare }))
    }
}

fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

/// How fast connections are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Haste {
    /// As fast as the settings let them in.
    Paced,
    /// All that wait, before the door is closed.
    Last,
}

/// What one attempt to accept came to.
enum Turn {
    /// Nobody waits.
    Empty,
    /// The socket listens no more: closed here, or by another core that shares it.
    Closed,
    /// More may wait.
    More,
    /// Not before so many milliseconds have passed.
    Rest(u64),
}

/// Accepts at one door until the core drains.
pub(super) async fn attend(core: Rc<Core>, door: Rc<Door>) {
    while !core.state.borrow().is_draining() {
        match accept_some(&core, &door, Haste::Paced) {
            // An error shows again at the accept.
            Turn::Empty => drop(door.waiting.readable().await),
            // Such a socket is always readable, so waiting for it would be a spin.
            Turn::Closed => return,
            Turn::More => core.glance.glance().await,
            Turn::Rest(for_ms) => core.sleep(for_ms).await,
        }
    }
}

/// Closes a door. Whoever the kernel has already let in is let in here too, not reset: the queue is
/// no longer than the backlog, and nobody comes after these.
pub(super) fn close(core: &Rc<Core>, door: &Rc<Door>) {
    while matches!(accept_some(core, door, Haste::Last), Turn::More) {}
    // This ends the wait of whoever attends it, who lets go of it.
    door.waiting.shutdown(Shutdown::Both);
}

fn accept_some(core: &Rc<Core>, door: &Door, haste: Haste) -> Turn {
    let now = core.now();
    let mut failed = 0;
    for _ in 0..ACCEPTS_PER_TURN {
        if haste == Haste::Paced
            && let Err(wait_ms) = core.state.borrow_mut().pace.check(now)
        {
            return Turn::Rest(wait_ms);
        }
        match socket::accept(door.fd) {
            Ok((socket, _)) if socket.as_raw_fd() >= core.end_for_clients => {
                warn!("the rest of the descriptors is not for clients: accepting rests");
                core.state.borrow().metrics.refusals.count(Refusal::Descriptors);
                return Turn::Rest(REST_MS);
            }
            Ok((socket, peer)) => welcome(core, now, door.listener, socket, peer),
            Err(error) => match error.raw_os_error() {
                // The kernel says so of a UNIX socket that was shut down, too.
                Some(libc::EAGAIN) if door.is_shared && socket::has_hung_up(door.fd) => {
                    return Turn::Closed;
                }
                Some(libc::EAGAIN) => return Turn::Empty,
                Some(libc::EINVAL) => return Turn::Closed,
                Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS) => {
                    out_of_descriptors(core, door, &error);
                    return Turn::Rest(REST_MS);
                }
                // The client was gone before it was accepted, or a signal came.
                _ => {
                    debug!(%error, "accept");
                    failed += 1;
                }
            },
        }
    }
    // What fails that often is not the clients' doing and may last.
    if failed < ACCEPTS_PER_TURN { Turn::More } else { Turn::Rest(REST_MS) }
}

/// The system has nothing left to give. Whoever waits first is let in with the spare descriptor and
/// sent away at once, so that it knows.
fn out_of_descriptors(core: &Rc<Core>, door: &Door, error: &io::Error) {
    warn!(%error, "no descriptor or memory for a new connection: accepting rests");
    let refusal = match error.raw_os_error() {
        Some(libc::ENOMEM | libc::ENOBUFS) => Refusal::Memory,
        _ => Refusal::Descriptors,
    };
    core.state.borrow().metrics.refusals.count(refusal);
    drop(door.spare.take());
    drop(socket::accept(door.fd));
    door.spare.set(spare());
}

/// Lets a connection in, or drops it: before TLS and handshake cost anything.
fn welcome(core: &Rc<Core>, now: Now, listener: u16, socket: OwnedFd, peer: Option<SocketAddr>) {
    let mut state = core.state.borrow_mut();
    state.pace.count(now);
    state.events += 1;
    state.metrics.accepts.add(1);
    let counted = peer.map(|peer| peer.ip()).filter(|ip| !state.speaks_for_others(*ip, listener));
    let is_shut_out = state.shard.shuts_out(now, counted);
    if is_shut_out || core.admission.ban_left_ms(now.moment, counted).is_some() {
        return state.metrics.refusals.count(Refusal::Banned);
    }
    let admitted = match core.admission.admit(counted) {
        Ok(admitted) => admitted,
        Err(refused) => return state.metrics.refusals.count(refused),
    };
    let Ok(stream) = Stream::new(socket).map(Rc::new) else {
        return state.metrics.refusals.count(Refusal::Socket);
    };
    let door = &state.listeners[usize::from(listener)];
    let begins_with_proxy_header = door.config.proxy_protocol;
    let Ok(tls) = door.tls.as_ref().map(Tls::new).transpose() else {
        return state.metrics.handshake_failures.count(HandshakeFailure::Tls);
    };
    let connection = Connection {
        stream: Rc::clone(&stream),
        generation: state.next_generation(),
        stage: Stage::Handshake(Box::new(Greeting {
            client: peer,
            encrypted: tls.is_some(),
            accepted: now.moment,
            has_spoken: false,
            waiting: None,
        })),
        listener,
        raw: Vec::new(),
        tls,
        admitted,
        deadline: None,
        paused: None,
        is_blocked: false,
        course: Course::On,
    };
    let key = state.insert(now, connection);
    drop(state);
    core.bell.ring();
    let intake = Intake::new(begins_with_proxy_header);
    reader::spawn(Rc::clone(core), key, stream, intake);
}

impl State {
    /// Whether whoever connects from there will say for whom: its clients count, not itself.
    fn speaks_for_others(&self, peer: IpAddr, listener: u16) -> bool {
        let proxy = &self.config.proxy;
        let says_so = proxy.header != AddressHeader::None
            || self.listeners[usize::from(listener)].config.proxy_protocol;
        says_so && forwarded::is_trusted(Some(peer), proxy)
    }

    fn next_generation(&mut self) -> u32 {
        self.connections_ever = self.connections_ever.wrapping_add(1);
        self.connections_ever
    }

    fn insert(&mut self, now: Now, connection: Connection) -> crate::id::ConnectionKey {
        let entry = self.connections.vacant_entry();
        let key = key_of(entry.key(), &connection);
        let deadline = now.moment.plus_ms(self.config.handshake.deadline_ms);
        let deadline = Some(self.wheel.insert(deadline, Deadline::Connection(key)));
        entry.insert(Connection { deadline, ..connection });
        self.metrics.handshakes_pending.add(1);
        key
    }
}

/// How fast connections may come in.
pub(super) struct Pace {
    quota: Quota,
    bucket: Bucket,
}

impl Pace {
    /// As configured.
    pub(super) fn new(admission: &config::Admission) -> Self {
        let quota = Quota::per_second(admission.accepts_per_second, admission.accept_burst);
        Self { quota, bucket: Bucket::default() }
    }

    /// Whether one may come in now, else in how many milliseconds.
    fn check(&mut self, now: Now) -> Result<(), u64> {
        self.bucket.check(self.quota, now.moment, 1)
    }

    /// One has come in.
    fn count(&mut self, now: Now) {
        // It was checked before.
        let _ = self.bucket.take(self.quota, now.moment, 1);
    }
}
