//! Where clients come in: when the doors are opened, when they are closed, and when a core is done.
//!
//! A node with a Redis waits for its link before clients come, and for what the operator has decided on
//! other nodes. One that is not linked yet can neither publish nor go on with the sessions that other nodes
//! had, and whoever came so early would be told that theirs is gone, or let in though they are banned: where
//! a new process takes over a port the old one serves meanwhile, elsewhere clients try again. A first attempt
//! that fails ends the wait: a node also serves without its Redis.
//!
//! Invariants: that wait has an end; as long as any core has
//! a connection, all of them are there, because each has rooms and sessions of the others' connections.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::sync::mpsc;

use crate::clock::Now;
use crate::config::{Config, ListenAddress};

use super::core::{Core, Deadline, State};
use super::listener::{self, Door};
use super::socket;

/// How long word of Redis is waited for, at most: far longer than any attempt takes.
const REDIS_MS: u64 = 10_000;

/// How often a core that drains looks whether it may end.
const LINGER_MS: u64 = 20;

/// What clients wait for before they come in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    /// There is a Redis, and neither was it in reach yet and had told what to know first, nor was there
    /// enough time for that.
    pub(super) is_on: bool,
    /// What has been decided on other nodes holds here.
    pub(super) knows_decisions: bool,
}

/// A socket that has its address, and is to listen there.
pub(super) struct Bound {
    listener: u16,
    socket: OwnedFd,
    /// By all cores.
    is_shared: bool,
}

/// What is still closed, and who waits for it to be opened.
pub(super) struct Entrance {
    pub(super) doors: Vec<Bound>,
    pub(super) listening: mpsc::Sender<io::Result<()>>,
}

impl Bound {
    /// All of a core. UNIX sockets are inherited, one for all cores, and listen from the first: whoever
    /// connects waits there.
    pub(super) fn all(unix: Vec<Option<UnixListener>>, config: &Config) -> io::Result<Vec<Self>> {
        let doors = unix.into_iter().zip(&config.listeners).enumerate();
        doors
            .map(|(index, (inherited, listener))| {
                let index = u16::try_from(index).unwrap_or(u16::MAX);
                Self::new(index, &listener.address, inherited, config)
            })
            .collect()
    }

    fn new(
        listener: u16,
        address: &ListenAddress,
        inherited: Option<UnixListener>,
        config: &Config,
    ) -> io::Result<Self> {
        let socket: OwnedFd = match (address, inherited) {
            (ListenAddress::Tcp(address), _) => socket::bind(*address, &config.tcp, true)?,
            (ListenAddress::Unix(_), Some(listener)) => {
                listener.set_nonblocking(true)?;
                listener.into()
            }
            (ListenAddress::Unix(path), None) => {
                let missing = format!("{} was not opened before the cores", path.display());
                return Err(io::Error::other(missing));
            }
        };
        Ok(Self { listener, socket, is_shared: matches!(address, ListenAddress::Unix(_)) })
    }

    fn open(self, backlog: u32) -> io::Result<Rc<Door>> {
        let Self { listener, socket, is_shared } = self;
        if !is_shared {
            socket::listen(&socket, backlog)?;
        }
        Door::new(listener, socket, is_shared)
    }
}

/// How long clients are kept at the door, at most; none: nothing is waited for.
pub(super) fn patience_ms(config: &Config) -> Option<u64> {
    config.redis.is_on().then_some(REDIS_MS)
}

impl Core {
    /// Lets clients come in; once is enough.
    pub(super) fn open_doors(self: &Rc<Self>) {
        let Some(Entrance { doors, listening }) = self.entrance.take() else {
            return;
        };
        let backlog = self.state.borrow().config.tcp.backlog;
        let opened: io::Result<Vec<_>> = doors.into_iter().map(|door| door.open(backlog)).collect();
        let opened = opened.map(|doors| {
            for door in &doors {
                monoio::spawn(listener::attend(Rc::clone(self), Rc::clone(door)));
            }
            self.doors.replace(doors);
            self.state.borrow().metrics.listening.set(1);
        });
        // Whoever does not wait for it has given up on all cores.
        let _ = listening.send(opened);
    }

    /// Stops accepting; once is enough.
    pub(super) fn close_doors(self: &Rc<Self>) {
        for door in self.doors.take() {
            listener::close(self, &door);
        }
    }
}

impl State {
    /// Whether clients are still kept at the door.
    pub(super) fn waits_for_redis(&mut self) -> bool {
        let Wait { is_on, knows_decisions } = &mut self.wait;
        *is_on &= !self.shard.knows_link() || (self.shard.has_link() && !*knows_decisions);
        *is_on
    }

    /// Looks whether all is over, and comes again soon.
    pub(super) fn linger(&mut self, now: Now) {
        self.looks_over = if self.is_over() { self.looks_over + 1 } else { 0 };
        self.wheel.insert(now.moment.plus_ms(LINGER_MS), Deadline::Linger);
    }

    /// Whether nobody needs this core any more. That was so at two looks: between them has come what
    /// another core said of its last connection.
    pub(super) fn may_end(&self) -> bool {
        self.looks_over > 1 && self.is_over()
    }

    /// No connection of any core is left, and Redis was told what was acknowledged.
    fn is_over(&self) -> bool {
        self.connections.is_empty() && self.admission.is_empty() && !self.shard.owes_broker()
    }
}
