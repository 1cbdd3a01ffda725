//! A relayed connection as a stream of bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Key, Relays};

/// Reads what the client sent, writes what it gets.
#[derive(Debug)]
pub(in crate::control) struct Stream {
    relays: Relays,
    key: Key,
}

impl Stream {
    pub(super) fn new(relays: Relays, key: Key) -> Self {
        Self { relays, key }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.relays.change(|exchange| exchange.poll_read(self.key, context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.relays.change(|exchange| exchange.poll_write(self.key, context, bytes))
    }

    /// What is written is on its way.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.relays.change(|exchange| exchange.end_outgoing(self.key));
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.relays.change(|exchange| exchange.abandon(self.key));
    }
}
