//! What a panic costs: the connection whose doing it was, closed by 1011; or, where what the engine
//! holds cannot be trusted any more, the process, for a supervisor to start it again.

use std::panic::{self, AssertUnwindSafe};

use crate::clock::Now;
use crate::id::ConnectionKey;
use crate::letter::Letter;
use crate::shard::message::ToConnection;
use crate::shard::{CoreMessage, Input};

use super::connection::{Connection, Stage};
use super::core::State;

impl State {
    /// Carries out what is not of one connection alone; whether that went well. A panic ends the
    /// connection that is to blame, be it another core's, and without one it goes on.
    pub(super) fn contain(&mut self, now: Now, step: impl FnOnce(&mut Self)) -> bool {
        let Err(cause) = panic::catch_unwind(AssertUnwindSafe(|| step(self))) else {
            return true;
        };
        match self.shard.recover(&mut self.effects) {
            None => panic::resume_unwind(cause),
            Some(blamed) if blamed.core == self.shard.core() => self.fail(now, blamed.key),
            Some(blamed) => {
                self.metrics.panics.add(1);
                let message = CoreMessage::from(ToConnection::Failed { connection: blamed.key });
                let bytes = message.cost_bytes();
                // The plan of the mesh knows every core.
                let _ = self.port.post(blamed.core, Letter::Core(message), bytes);
            }
        }
        false
    }

    /// Something on a connection's way has panicked: that connection ends, by 1011 where it can.
    pub(super) fn contain_panic(&mut self, now: Now, key: ConnectionKey) {
        self.shard.recover(&mut self.effects);
        self.fail(now, key);
    }

    fn fail(&mut self, now: Now, key: ConnectionKey) {
        self.metrics.panics.add(1);
        let open = |connection: &mut Connection| matches!(connection.stage, Stage::Open(_));
        let is_open = self.connection(key).is_some_and(open);
        if is_open {
            self.shard.handle(now, Input::Failed { connection: key }, &mut self.effects);
        }
        self.part(now, key);
    }

    /// Tells the engine. What panics here would else take the core with it.
    pub(super) fn lose(&mut self, now: Now, key: ConnectionKey) {
        let input = Input::Lost { connection: key };
        let told = panic::catch_unwind(AssertUnwindSafe(|| {
            self.shard.handle(now, input, &mut self.effects);
        }));
        if told.is_err() {
            self.metrics.panics.add(1);
            self.shard.recover(&mut self.effects);
        }
    }
}
