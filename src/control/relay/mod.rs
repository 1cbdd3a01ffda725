//! Plain HTTP connections whose sockets are elsewhere: on the core that accepted them. Here each is
//! a stream again, and the public router is served on it.
//!
//! Invariants: a connection holds at most a window of bytes each way; the first bytes that a core
//! has no credit for end it; a message for a connection that is over changes nothing.

mod exchange;
mod stream;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::Notify;

use crate::id::{ConnectionKey, CoreId};
use crate::letter::relay::Message;
use exchange::Exchange;
pub(super) use stream::Stream;

/// A connection of this process: which core has its socket, and which one there.
type Key = (CoreId, ConnectionKey);

/// All relayed connections; its clones are one and the same. For one thread.
#[derive(Clone, Debug, Default)]
pub(super) struct Relays(Rc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    exchange: RefCell<Exchange>,
    /// Told when there is something to send.
    to_send: Notify,
}

impl Relays {
    /// A message from a core. If it opens a connection: its stream, to be served.
    pub(super) fn handle(&self, from: CoreId, message: Message) -> Option<Stream> {
        let key = (from, message.connection);
        let opened = self.change(|exchange| exchange.handle(key, message.event));
        opened.then(|| Stream::new(self.clone(), key))
    }

    /// What is to be sent since the last call, in order.
    pub(super) fn take_outgoing(&self) -> Vec<(CoreId, Message)> {
        self.0.exchange.borrow_mut().take_outgoing()
    }

    /// Waits until there is something to send.
    pub(super) async fn wants_to_send(&self) {
        self.0.to_send.notified().await;
    }

    /// Connections that are not over.
    pub(super) fn len(&self) -> usize {
        self.0.exchange.borrow().len()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Exchange) -> T) -> T {
        let mut exchange = self.0.exchange.borrow_mut();
        let result = change(&mut exchange);
        if exchange.has_outgoing() {
            self.0.to_send.notify_one();
        }
        result
    }
}
