//! One timerfd a thread: microseconds where the runtime's own timers know milliseconds, and
//! served however busy the ring is.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd};

use monoio::net;

use super::socket::check;

pub(super) struct Timer {
    /// A stream only to the runtime, which then waits for it as for a socket.
    stream: net::TcpStream,
}

impl Timer {
    pub(super) fn new() -> io::Result<Self> {
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        // SAFETY: no pointers are passed.
        let timer = check(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) })?;
        // SAFETY: the descriptor was made a line above, and nobody else has it.
        let stream = unsafe { TcpStream::from_raw_fd(timer) };
        Ok(Self { stream: net::TcpStream::from_std(stream)? })
    }

    /// Comes back in `delay_us`, and never without having let the ring work.
    pub(super) async fn wait(&self, delay_us: u64) -> io::Result<()> {
        let delay_ns = delay_us.saturating_mul(1_000).max(1);
        let seconds = i64::try_from(delay_ns / 1_000_000_000).unwrap_or(i64::MAX);
        let value = libc::timespec {
            tv_sec: seconds,
            tv_nsec: i64::try_from(delay_ns % 1_000_000_000).expect("below a second"),
        };
        let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let setting = libc::itimerspec { it_interval: never, it_value: value };
        let timer = self.stream.as_raw_fd();
        // SAFETY: the setting lives through the call; no old one is asked for.
        check(unsafe {
            libc::timerfd_settime(timer, 0, &raw const setting, std::ptr::null_mut())
        })?;
        self.stream.readable(false).await?;
        let mut expirations = 0_u64;
        // SAFETY: eight bytes are read into eight bytes; setting the timer again would do as well.
        unsafe { libc::read(timer, (&raw mut expirations).cast(), size_of::<u64>()) };
        Ok(())
    }
}
