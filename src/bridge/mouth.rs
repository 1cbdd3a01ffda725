//! A connection on which commands are given: they go out in the order in which they come, and are answered
//! in it.
//!
//! Invariant: whoever asks is answered, or told that the connection has ended or takes too long; what comes
//! after that is nobody's answer.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, RedisError, RedisResult, Value};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::config::{Redis, RedisUrl};
use crate::metrics::LinkState;

use super::dial::{self, Login, Stream};
use super::frame::{self, Frames};

/// A connection, and what drives it: dropped, it ends.
#[derive(Debug)]
pub(super) struct Mouth {
    pub(super) connection: Connection,
    _driver: JoinSet<()>,
}

/// Where commands are given.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    /// Whoever asks bounds what waits here.
    given: mpsc::UnboundedSender<(Packet, To)>,
    patience: Duration,
}

/// Commands, as they are sent together.
#[derive(Debug, Default)]
pub(super) struct Packet {
    bytes: Vec<u8>,
    count: usize,
}

/// Who is told.
type To = oneshot::Sender<RedisResult<Vec<Value>>>;

/// Answers that are owed for a packet.
struct Owed {
    count: usize,
    answers: Vec<Value>,
    to: To,
}

impl Packet {
    /// With room for so many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), count: 0 }
    }

    pub(super) fn add(&mut self, command: &Cmd) {
        command.write_packed_command(&mut self.bytes);
        self.count += 1;
    }
}

impl Mouth {
    /// Connects, and logs in.
    pub(super) async fn open(
        redis: &Redis,
        url: &RedisUrl,
        login: Login<'_>,
    ) -> Result<Self, LinkState> {
        let mut stream = dial::dial(redis, url).await?;
        let patience = Duration::from_millis(redis.timeout_ms);
        login.give(&mut stream, patience).await?;
        Ok(Self::over(stream, patience))
    }

    fn over(stream: Box<dyn Stream>, patience: Duration) -> Self {
        let (given, asked) = mpsc::unbounded_channel();
        let mut driver = JoinSet::new();
        driver.spawn_local(drive(stream, asked));
        Self { connection: Connection { given, patience }, _driver: driver }
    }
}

impl Connection {
    /// Asks one thing.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let mut packet = Packet::default();
        packet.add(command);
        let answer = self.ask_all(packet).await?.pop().unwrap_or(Value::Nil);
        Ok(redis::from_redis_value(answer.extract_error()?)?)
    }

    /// All answers to a packet; errors of single commands are among them.
    pub(super) async fn ask_all(&self, packet: Packet) -> RedisResult<Vec<Value>> {
        let (to, told) = oneshot::channel();
        let ended = || RedisError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        self.given.send((packet, to)).map_err(|_| ended())?;
        match tokio::time::timeout(self.patience, told).await {
            Ok(answers) => answers.unwrap_or_else(|_| Err(ended())),
            Err(elapsed) => Err(io::Error::from(elapsed).into()),
        }
    }
}

/// Drives a connection until it ends, and tells that to whoever is owed something.
async fn drive(stream: Box<dyn Stream>, mut asked: mpsc::UnboundedReceiver<(Packet, To)>) {
    let owed = RefCell::default();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let ended = tokio::select! {
        error = listen(&mut reader, &owed) => error,
        spoken = speak(&mut writer, &mut asked, &owed) => match spoken {
            Err(error) => error.into(),
            // Nobody can ask any more.
            Ok(()) => return,
        },
    };
    for Owed { to, .. } in owed.take() {
        // Whoever waits no longer need not know.
        let _ = to.send(Err(ended.clone()));
    }
}

async fn speak(
    writer: &mut (impl AsyncWrite + Unpin),
    asked: &mut mpsc::UnboundedReceiver<(Packet, To)>,
    owed: &RefCell<VecDeque<Owed>>,
) -> io::Result<()> {
    while let Some((Packet { bytes, count }, to)) = asked.recv().await {
        owed.borrow_mut().push_back(Owed { count, answers: Vec::with_capacity(count), to });
        writer.write_all(&bytes).await?;
        writer.flush().await?;
    }
    Ok(())
}

/// Reads answers, until there is an error.
async fn listen(
    reader: &mut (impl AsyncRead + Unpin),
    owed: &RefCell<VecDeque<Owed>>,
) -> RedisError {
    let mut frames = Frames::default();
    loop {
        let answer = match frames.take(reader).await {
            Ok(frame) => frame::value(&frame),
            Err(error) => return error.into(),
        };
        let answer = match answer {
            Ok(Value::Push { .. }) => continue,
            Ok(answer) => answer,
            Err(error) => return error,
        };
        let mut owed = owed.borrow_mut();
        let Some(first) = owed.front_mut() else { continue };
        first.answers.push(answer);
        if first.answers.len() == first.count
            && let Some(Owed { answers, to, .. }) = owed.pop_front()
        {
            // As above.
            let _ = to.send(Ok(answers));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, DuplexStream};
    use tokio::task::LocalSet;

    use super::*;

    const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

    /// A connection to somebody who does that.
    fn with<F: Future>(act: impl FnOnce(Connection, DuplexStream) -> F) -> F::Output {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build();
        LocalSet::new().block_on(&runtime.expect("it needs nothing"), async {
            let (ours, theirs) = tokio::io::duplex(1_024);
            let mouth = Mouth::over(Box::new(ours), Duration::from_secs(1));
            act(mouth.connection.clone(), theirs).await
        })
    }

    fn pings(count: usize) -> Packet {
        let mut packet = Packet::default();
        (0..count).for_each(|_| packet.add(&redis::cmd("PING")));
        packet
    }

    async fn read(peer: &mut DuplexStream, count: usize) {
        let mut bytes = vec![0; count * PING.len()];
        peer.read_exact(&mut bytes).await.expect("it was sent");
        assert_eq!(bytes, PING.repeat(count));
    }

    #[test]
    fn each_packet_has_its_own_answers_and_errors_are_among_them() {
        with(|connection, mut peer| async move {
            let serve = async {
                read(&mut peer, 3).await;
                let said = b">2\r\n$1\r\na\r\n:9\r\n:1\r\n-ERR x\r\n:3\r\n";
                peer.write_all(said).await.expect("it is read");
            };
            let (first, second) = (connection.ask_all(pings(2)), connection.ask_all(pings(1)));
            let (first, second, ()) = tokio::join!(first, second, serve);
            let first = first.expect("it is answered");
            assert!(matches!(&*first, [Value::Int(1), Value::ServerError(_)]), "{first:?}");
            assert_eq!(second.ok(), Some(vec![Value::Int(3)]));
        });
    }

    #[test]
    fn what_comes_too_late_is_nobodys_answer() {
        with(|connection, mut peer| async move {
            let late = connection.ask_all(pings(2)).await.expect_err("nobody answers");
            assert!(late.is_timeout(), "{late:?}");
            let serve = async {
                read(&mut peer, 3).await;
                peer.write_all(b":1\r\n:2\r\n:3\r\n").await.expect("it is read");
            };
            let (answer, ()) = tokio::join!(connection.ask_all(pings(1)), serve);
            assert_eq!(answer.ok(), Some(vec![Value::Int(3)]));
        });
    }

    #[test]
    fn whoever_waits_when_it_ends_and_whoever_asks_then_is_told() {
        with(|connection, mut peer| async move {
            let serve = async {
                read(&mut peer, 3).await;
                peer.write_all(b":1\r\n").await.expect("it is read");
                drop(peer);
            };
            let (first, second) = (connection.ask_all(pings(2)), connection.ask_all(pings(1)));
            let (first, second, ()) = tokio::join!(first, second, serve);
            let third = connection.ask_all(pings(1)).await;
            for answers in [first, second, third] {
                let error = answers.expect_err("it has ended");
                assert!(error.is_io_error() && !error.is_timeout(), "{error:?}");
            }
        });
    }
}
