//! One connection's incoming side: connecting, the handshakes, and reads into a growing buffer.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use monoio::buf::IoBufMut;
use monoio::io::AsyncReadRent;
use monoio::net::TcpStream;

use super::handshake::Refusal;
use super::socket;

/// A read that is pending owns its buffer: idle connections are to be cheap.
const BUFFER_FIRST: usize = 512;
const BUFFER_BUSY: usize = 64 * 1_024;

/// Why a connection did not come about.
#[derive(Debug)]
pub(super) enum ConnectError {
    Io(io::Error),
    Refused(Refusal),
    Ended,
    /// This side has waited for so many seconds, in vain.
    Late {
        awaited: &'static str,
        seconds: f64,
    },
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(out),
            Self::Refused(Refusal::Status(status)) => write!(out, "the server answered {status}"),
            Self::Refused(refusal) => write!(out, "handshake: {refusal:?}"),
            Self::Late { awaited, seconds } => write!(out, "{awaited} within {seconds} s"),
            Self::Ended => write!(out, "the server closed during the handshake"),
        }
    }
}

/// Bytes read and not yet used, with room behind them.
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    filled: usize,
    /// Of the filled bytes, those that nobody has counted yet.
    fresh: usize,
}

// SAFETY: the pointer is into a boxed slice, which stays where it is when the buffer moves; the
// room it reports is exactly what lies behind the filled part.
unsafe impl IoBufMut for Buffer {
    fn write_ptr(&mut self) -> *mut u8 {
        self.bytes[self.filled..].as_mut_ptr()
    }

    fn bytes_total(&mut self) -> usize {
        self.bytes.len() - self.filled
    }

    unsafe fn set_init(&mut self, count: usize) {
        self.filled += count;
        self.fresh += count;
    }
}

impl Buffer {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; BUFFER_FIRST].into_boxed_slice(), filled: 0, fresh: 0 }
    }

    pub(super) fn filled(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    /// Bytes read since the last call.
    pub(super) fn take_fresh(&mut self) -> usize {
        std::mem::take(&mut self.fresh)
    }

    /// Drops the first `count` bytes, and makes room for `wanted` in all.
    pub(super) fn consume(&mut self, count: usize, wanted: usize) {
        self.bytes.copy_within(count..self.filled, 0);
        let was_full = self.filled == self.bytes.len();
        self.filled -= count;
        if was_full || wanted > self.bytes.len() {
            self.grow(wanted);
        }
    }

    fn grow(&mut self, wanted: usize) {
        let size = wanted.next_power_of_two().max(BUFFER_BUSY);
        if size > self.bytes.len() {
            let mut bytes = vec![0; size];
            bytes[..self.filled].copy_from_slice(self.filled());
            self.bytes = bytes.into_boxed_slice();
        }
    }
}

/// A socket and what was read from it.
pub(super) struct Link {
    stream: TcpStream,
    buffer: Option<Buffer>,
}

impl Link {
    /// Begins a connection; [`Link::connected`] waits for it.
    pub(super) fn begin(
        address: std::net::SocketAddr,
        source: Option<IpAddr>,
        receive_buffer: Option<u32>,
    ) -> io::Result<Self> {
        let stream = TcpStream::from_std(socket::connect(address, source, receive_buffer)?)?;
        Ok(Self { stream, buffer: Some(Buffer::new()) })
    }

    pub(super) fn socket(&self) -> std::os::fd::RawFd {
        self.stream.as_raw_fd()
    }

    /// Waits until the connection stands. `blocking`: the ring, not the socket, does the waiting.
    pub(super) async fn connected(&self, blocking: bool) -> io::Result<()> {
        self.stream.writable(false).await?;
        socket::take_error(self.stream.as_raw_fd())?;
        if blocking { socket::set_blocking(&self.stream) } else { Ok(()) }
    }

    /// Reads once, behind what is there; 0 is the end.
    pub(super) async fn read(&mut self) -> io::Result<usize> {
        let buffer = self.buffer.take().expect("one read at a time, and each gives it back");
        let (result, buffer) = self.stream.read(buffer).await;
        self.buffer = Some(buffer);
        result
    }

    pub(super) fn buffer(&mut self) -> &mut Buffer {
        self.buffer.as_mut().expect("no read is pending")
    }
}
