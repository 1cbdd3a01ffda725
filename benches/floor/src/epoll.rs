//! Level-triggered epoll, as thin as it gets.

use std::io;
use std::os::fd::RawFd;

use crate::socket;

const EVENTS: usize = 1_024;

/// One epoll instance and the events it told last.
pub struct Epoll {
    descriptor: RawFd,
    events: Vec<libc::epoll_event>,
}

impl Epoll {
    /// A new instance.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        let descriptor = socket::check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        Ok(Self { descriptor, events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS] })
    }

    /// Begins to watch `target` for `events`.
    pub fn add(&self, target: RawFd, key: u64, events: i32) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, target, key, events)
    }

    /// Watches `target` for other `events` from now on.
    pub fn modify(&self, target: RawFd, key: u64, events: i32) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, target, key, events)
    }

    /// Waits for events; the number of those that `key` knows then.
    pub fn wait(&mut self) -> usize {
        let room = i32::try_from(EVENTS).expect("a small constant");
        // SAFETY: the kernel writes at most `room` events, and so many there are.
        let count =
            unsafe { libc::epoll_wait(self.descriptor, self.events.as_mut_ptr(), room, -1) };
        usize::try_from(count).unwrap_or(0)
    }

    /// The key and the events of one of the last.
    #[must_use]
    pub fn event(&self, index: usize) -> (u64, i32) {
        let event = self.events[index];
        (event.u64, event.events.cast_signed())
    }

    fn control(&self, operation: i32, target: RawFd, key: u64, events: i32) -> io::Result<()> {
        let mut event = libc::epoll_event { events: events.cast_unsigned(), u64: key };
        // SAFETY: the kernel copies the event during the call.
        socket::check(unsafe {
            libc::epoll_ctl(self.descriptor, operation, target, &raw mut event)
        })
        .map(|_| ())
    }
}
