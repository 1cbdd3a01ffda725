//! The end of a tick: every connection that is owed something is written once, a crowd by parts.

use std::net::Shutdown;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

use crate::clock::Now;
use crate::id::ConnectionKey;
use crate::shard::{CROWD, Input};

use super::connection::{Course, Stage, Written};
use super::core::{Core, State};
use super::turns::{Line, Turn};

/// How long a tick writes to a crowd before it looks at the sockets again. Looking costs some 2 µs.
const CROWD_US: u64 = 100;

/// How long it writes to others: longer, because as many of them have just been read.
const FEW_US: u64 = 1_000;

/// How often it is looked whether a full socket takes more, where the kernel does not tell.
const FULL_MS: u64 = 10;

/// The clock is read once in so many turns.
const TURNS_PER_LOOK: usize = 8;

impl State {
    /// Writes to whoever is owed something, for a while; who is left waits for the next tick.
    pub(super) fn flush(&mut self, now: Now, core: &Rc<Core>) {
        for key in std::mem::take(&mut self.effects.hangups) {
            self.part(now, key);
        }
        for key in std::mem::take(&mut self.effects.aborts) {
            self.abort(now, key);
        }
        self.turns.line_up(&mut self.effects);
        let few = self.take_turns(Line::Few, FEW_US, now, core);
        self.take_turns(Line::Crowd, CROWD_US.max(few), now, core);
        // Whatever writing has made dirty again waits for the next tick, too.
        if !self.effects.is_empty() {
            core.bell.ring();
        }
    }

    /// Lets a line move for so long; returns how long that was.
    fn take_turns(&mut self, line: Line, for_us: u64, now: Now, core: &Rc<Core>) -> u64 {
        let began = core.clock.moment();
        loop {
            for _ in 0..TURNS_PER_LOOK {
                match self.turns.next(line) {
                    Some(Turn::Write(key)) => self.flush_one(now, key, core),
                    Some(Turn::Read(key)) => self.end_turn(key),
                    None => return core.clock.moment().since_us(began),
                }
            }
            let passed_us = core.clock.moment().since_us(began);
            if passed_us >= for_us {
                return passed_us;
            }
        }
    }

    /// Whether a reader is to wait until what it has just brought is written to a crowd: because one
    /// is being written, or because it is much. Else it would be read as fast as others, and the crowd
    /// be owed more and more.
    pub(super) fn waits_for_crowd(
        &mut self,
        key: ConnectionKey,
        brought: u64,
        is_much: bool,
    ) -> bool {
        if brought < CROWD || !(is_much || self.turns.has_crowd()) {
            return false;
        }
        let Some(connection) = self.connection(key) else {
            return false;
        };
        if connection.course != Course::On {
            return false;
        }
        connection.course = Course::WaitsForCrowd;
        self.turns.wait_for_crowd(key);
        true
    }

    /// The crowd is written that a reader has waited for.
    fn end_turn(&mut self, key: ConnectionKey) {
        if let Some(connection) = self.connection(key)
            && connection.course == Course::WaitsForCrowd
        {
            connection.course = Course::On;
            self.go_on(key);
        }
    }

    /// Lets a reader go on, unless there still is a reason to wait.
    fn go_on(&mut self, key: ConnectionKey) {
        let wants_reading = self.shard.wants_reading(key);
        let Some(connection) = self.connection(key) else {
            return;
        };
        if matches!(connection.stage, Stage::Open(_))
            && wants_reading
            && connection.course != Course::WaitsForCrowd
        {
            self.resume(key);
        }
    }

    /// Writes to one connection. A panic ends that connection and no other.
    fn flush_one(&mut self, now: Now, key: ConnectionKey, core: &Rc<Core>) {
        let mut is_torn = false;
        let write = AssertUnwindSafe(|| self.write(now, key, &mut is_torn));
        match panic::catch_unwind(write) {
            Ok(None | Some(Written::All)) => self.let_go(now, key, core),
            Ok(Some(Written::Blocked)) => {
                self.wait_for_room(key, core);
                // Who reads slowly may be owed less than before all the same, or have had an answer.
                self.go_on(key);
            }
            Ok(Some(Written::Gone)) => self.give_up(now, key),
            Err(_) if !is_torn && self.connection(key).is_some_and(|it| !it.hangs_up()) => {
                self.contain_panic(now, key);
            }
            // It may be in the middle of a frame, where a close frame would be read as more of that;
            // or it was being told already.
            Err(_) => {
                self.metrics.panics.add(1);
                self.shard.recover(&mut self.effects);
                self.give_up(now, key);
            }
        }
    }

    /// `is_torn` while what the kernel has taken is not noted.
    fn write(&mut self, now: Now, key: ConnectionKey, is_torn: &mut bool) -> Option<Written> {
        let connection = self.connections.get_mut(key.index as usize)?;
        if connection.generation != key.generation || connection.is_blocked {
            return None;
        }
        let outbox = match connection.stage {
            Stage::Open(_) => self.shard.outbox(key),
            Stage::Handshake(_) | Stage::Relay(_) | Stage::Ending => None,
        };
        let is_open = outbox.is_some();
        let mut count = 0;
        *is_torn = true;
        let written = connection.write(outbox, &mut count);
        *is_torn = false;
        self.metrics.bytes_out.add(count);
        let left = connection.raw.len();
        if is_open {
            let input = Input::Written { connection: key };
            self.shard.handle(now, input, &mut self.effects);
        }
        if let Some(credit) = self.relay(key).and_then(|relay| relay.credit(left)) {
            self.post_to_control(credit);
        }
        Some(written)
    }

    /// All is written: ends the sending side if that was the last of it, else lets a reader that
    /// waited for the engine go on.
    fn let_go(&mut self, now: Now, key: ConnectionKey, core: &Rc<Core>) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        if connection.is_blocked {
            // An answer that was awaited may have come, though it cannot be written yet.
            return self.go_on(key);
        }
        if connection.hangs_up() && !matches!(connection.stage, Stage::Ending) {
            match connection.end_session() {
                Written::Blocked => self.wait_for_room(key, core),
                Written::All | Written::Gone => self.say_goodbye(now, key),
            }
        } else {
            self.go_on(key);
        }
    }

    /// The last bytes are with the kernel: ends our side, and waits for the peer to end its own, if it
    /// has ever said anything.
    fn say_goodbye(&mut self, now: Now, key: ConnectionKey) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        let has_spoken = connection.greeting().is_none_or(|greeting| greeting.has_spoken);
        // A client of which nothing has come has nothing on its way that our closing would reset.
        let side = if has_spoken { Shutdown::Write } else { Shutdown::Both };
        connection.stream.shutdown(side);
        self.retire(now, key);
        self.resume(key);
    }

    /// Ends a connection at once, whatever waits for it.
    pub(super) fn abort(&mut self, now: Now, key: ConnectionKey) {
        if let Some(connection) = self.connection(key) {
            connection.stream.reset();
            self.give_up(now, key);
        }
    }

    /// The socket is gone: its reader sees the end and lets go. It takes nothing more before that: what
    /// a client has said before it was gone would be answered, and waited for until it reads. Nor does a
    /// client that has ended its side wait for what it cannot be given.
    fn give_up(&mut self, now: Now, key: ConnectionKey) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        connection.stream.shutdown(Shutdown::Both);
        connection.course = Course::HangsUp;
        self.retire(now, key);
        self.resume(key);
    }

    fn wait_for_room(&mut self, key: ConnectionKey, core: &Rc<Core>) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        connection.is_blocked = true;
        let (stream, core) = (Rc::clone(&connection.stream), Rc::clone(core));
        let since = core.clock.moment();
        monoio::spawn(async move {
            // An error shows again at the write.
            let _ = stream.writable().await;
            // io_uring says so of any socket whose peer has ended its side, full as it may be.
            while !stream.takes_more() {
                core.sleep(FULL_MS).await;
            }
            let mut state = core.state.borrow_mut();
            state.events += 1;
            state.metrics.write_latency.record(core.clock.moment().since_us(since));
            if let Some(connection) = state.connection(key) {
                connection.is_blocked = false;
                // It was owed more than the kernel holds: that others are not to wait for.
                state.effects.crowd.push(key);
                core.bell.ring();
            }
        });
    }
}
