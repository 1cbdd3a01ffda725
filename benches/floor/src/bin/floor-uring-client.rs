//! Bare closed-loop echo client on io_uring: a fixed number of messages in flight on each
//! connection, each answer checked and followed by the next question. Or a bare listener: it says
//! nothing and counts the frames of what others say.

#![allow(unsafe_code, reason = "bare ring operations are what this program is about")]

use std::io::{self, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use clap::Parser;
use ringroom_floor::ring::{Completion, Operation, Ring};
use ringroom_floor::{frame, handshake, socket};

const BUFFER_COUNT: u16 = 4_096;
const BUFFER_BYTES: usize = 2_048;
const MASK: [u8; 4] = [0x5a, 0xc3, 0x1f, 0x88];
const SEQUENCE_BYTES: usize = 8;

/// One message in flight on each connection, `--count` connections, for `--seconds`.
#[derive(Parser)]
struct Command {
    /// The server's port on 127.0.0.1.
    #[arg(long, default_value_t = 9000)]
    port: u16,
    /// Path of the upgrade.
    #[arg(long, default_value = "/echo")]
    path: String,
    /// Pin the one thread to this CPU.
    #[arg(long)]
    cpu: Option<usize>,
    /// Connections.
    #[arg(long, default_value_t = 200)]
    count: usize,
    /// Bytes of a message, 8 to 125.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u8).range(8..=125))]
    size: u8,
    /// How long to measure.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Say nothing, and count the frames that come.
    #[arg(long)]
    listen: bool,
}

struct Connection {
    stream: TcpStream,
    frame: Vec<u8>,
    sequence: u64,
    partial: Vec<u8>,
}

fn main() -> io::Result<()> {
    let command = Command::parse();
    socket::pin(command.cpu);
    socket::raise_descriptor_limit()?;
    let connections = (0..command.count).map(|_| connect(&command)).collect::<io::Result<_>>()?;
    let ring = Ring::new(BUFFER_COUNT, BUFFER_BYTES)?;
    let mut client = Client { ring, connections, answers: 0, listens: command.listen };
    client.start()?;
    client.run(Duration::from_secs(1))?;
    client.answers = 0;
    let (cpu_ns, began) = (socket::cpu_ns(), Instant::now());
    client.run(Duration::from_secs(command.seconds))?;
    report(client.answers, socket::cpu_ns() - cpu_ns, began.elapsed())
}

fn connect(command: &Command) -> io::Result<Connection> {
    let mut stream = TcpStream::connect(("127.0.0.1", command.port))?;
    stream.set_nodelay(true)?;
    handshake::request(&mut stream, &command.path)?;
    let frame = frame::client_frame(&vec![b'.'; usize::from(command.size)], MASK);
    Ok(Connection { stream, frame, sequence: 0, partial: Vec::new() })
}

fn report(answers: u64, cpu_ns: u64, elapsed: Duration) -> io::Result<()> {
    let per_message = cpu_ns.checked_div(answers).unwrap_or(0);
    let seconds = elapsed.as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    let (rate, busy) = (answers as f64 / seconds, cpu_ns as f64 / 1e9 / seconds);
    writeln!(
        io::stdout(),
        "{{\"messages\":{answers},\"seconds\":{seconds:.3},\"per_second\":{rate:.0},\
         \"cpu_ns_per_message\":{per_message},\"cpu_share\":{busy:.3}}}"
    )
}

struct Client {
    ring: Ring,
    connections: Vec<Connection>,
    answers: u64,
    listens: bool,
}

impl Client {
    fn start(&mut self) -> io::Result<()> {
        for index in 0..self.connections.len() {
            let key = u32::try_from(index).expect("fewer than 2^32 connections");
            self.ring.receive(self.socket(key), key)?;
            if !self.listens {
                self.ask(key)?;
            }
        }
        Ok(())
    }

    fn run(&mut self, length: Duration) -> io::Result<()> {
        let end = Instant::now() + length;
        let mut completions = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            // No longer: whoever spoke may have ended.
            self.ring.wait_for(left, &mut completions)?;
            for completion in &completions {
                match completion.operation {
                    Operation::Receive(key) => self.received(key, completion)?,
                    Operation::Send(_) if completion.result >= 0 => {}
                    _ => return Err(io::Error::from_raw_os_error(-completion.result)),
                }
            }
        }
        Ok(())
    }

    fn socket(&self, key: u32) -> RawFd {
        self.connections[key as usize].stream.as_raw_fd()
    }

    /// Sends the connection's frame with its sequence number patched in.
    fn ask(&mut self, key: u32) -> io::Result<()> {
        let socket = self.socket(key);
        let connection = &mut self.connections[key as usize];
        let payload = connection.frame.len() - usize::from(connection.frame[1] & 0x7f);
        let sequence = connection.sequence.to_ne_bytes();
        for (index, byte) in sequence.iter().enumerate() {
            connection.frame[payload + index] = byte ^ MASK[index % 4];
        }
        let (bytes, len) = (connection.frame.as_ptr(), connection.frame.len());
        // SAFETY: the frame is patched again only after its answer came, so after it was sent.
        unsafe { self.ring.send(socket, key, bytes, len) }
    }

    fn received(&mut self, key: u32, completion: &Completion) -> io::Result<()> {
        let buffer = match completion.buffer {
            Some(buffer) if completion.result > 0 => buffer,
            _ if completion.result == -libc::ENOBUFS => {
                return self.ring.receive(self.socket(key), key);
            }
            _ => return Err(io::ErrorKind::UnexpectedEof.into()),
        };
        let count = usize::try_from(completion.result).expect("checked above");
        let connection = &mut self.connections[key as usize];
        let bytes = &self.ring.buffer(buffer)[..count];
        let mut answered = false;
        if self.listens {
            self.answers += connection.count(bytes)?;
        } else {
            answered = connection.check(bytes)?;
        }
        self.ring.recycle(buffer);
        if !completion.more {
            self.ring.receive(self.socket(key), key)?;
        }
        if answered {
            self.answers += 1;
            self.connections[key as usize].sequence += 1;
            self.ask(key)?;
        }
        Ok(())
    }
}

impl Connection {
    /// How many frames end in what came.
    fn count(&mut self, bytes: &[u8]) -> io::Result<u64> {
        if !self.partial.is_empty() {
            self.partial.extend_from_slice(bytes);
            let whole = std::mem::take(&mut self.partial);
            return self.count(&whole);
        }
        let (mut rest, mut count) = (bytes, 0);
        while let Some(len) = frame::server_frame_len(rest)?.filter(|len| *len <= rest.len()) {
            rest = &rest[len..];
            count += 1;
        }
        self.partial.extend_from_slice(rest);
        Ok(count)
    }

    /// Whether the one answer is there now; a wrong one is an error.
    fn check(&mut self, bytes: &[u8]) -> io::Result<bool> {
        if !self.partial.is_empty() {
            self.partial.extend_from_slice(bytes);
            let whole = std::mem::take(&mut self.partial);
            return self.check(&whole);
        }
        let whole = frame::server_frame_len(bytes)?;
        if whole != Some(bytes.len()) {
            self.partial.extend_from_slice(bytes);
            return Ok(false);
        }
        let expected = self.sequence.to_ne_bytes();
        if bytes[2..2 + SEQUENCE_BYTES] == expected {
            return Ok(true);
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "the echo is not what was sent"))
    }
}
