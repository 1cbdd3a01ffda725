//! A stream that fails when nothing has moved on it for too long, whichever way it waits.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// The limit holds for reads and writes together: progress on either side keeps both alive.
pub(super) struct Idle<S> {
    stream: S,
    limit: Duration,
    deadline: Pin<Box<Sleep>>,
}

impl<S> Idle<S> {
    pub(super) fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, deadline: Box::pin(sleep(limit)) }
    }

    /// Passes on what the stream said, or that its time is over.
    fn judge<T>(
        &mut self,
        context: &mut Context<'_>,
        said: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if said.is_ready() {
            self.deadline.as_mut().reset(Instant::now() + self.limit);
            return said;
        }
        match self.deadline.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Idle<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let said = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.judge(context, said)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Idle<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let said = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, said)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_read_and_progress_puts_the_end_off() {
        let (mut peer, stream) = duplex(16);
        let mut stream = Idle::new(stream, Duration::from_secs(10));
        let begun = Instant::now();
        let mut byte = [0];
        for _ in 0..3 {
            let wait = sleep(Duration::from_secs(8));
            let (read, ()) = tokio::join!(stream.read_exact(&mut byte), async {
                wait.await;
                peer.write_all(b"x").await.expect("the stream is there");
            });
            read.expect("in time");
        }
        let error = stream.read(&mut byte).await.expect_err("nothing more comes");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), 34);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_ends_a_write() {
        let (_peer, stream) = duplex(16);
        let mut stream = Idle::new(stream, Duration::from_secs(10));
        let error = stream.write_all(&[0; 64]).await.expect_err("the peer takes 16 bytes");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
