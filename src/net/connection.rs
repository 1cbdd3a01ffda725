//! What a core keeps of one socket. Its session and outbox are the engine's, what it is reading is
//! its reader's; here is what the two and the flush must share.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Waker;

use crate::clock::Moment;
use crate::shard::Outbox;
use crate::wheel::Timer;

use super::admission::Admitted;
use super::doors::Waiting;
use super::inbound::Seat;
use super::relay::Relay;
use super::stream::Stream;
use super::tls::Tls;

/// How many pieces one write gathers: more are left to the next, which sends them at once anyway.
pub(super) const SLICES: usize = 32;

/// A socket of this core.
pub(super) struct Connection {
    pub(super) stream: Rc<Stream>,
    /// Which of the connections that have had this place.
    pub(super) generation: u32,
    pub(super) stage: Stage,
    pub(super) listener: u16,
    /// Goes out before anything else: an answer to the handshake, or an HTTP response.
    pub(super) raw: Vec<u8>,
    pub(super) tls: Option<Box<Tls>>,
    pub(super) admitted: Admitted,
    /// Of the handshake, or of the last goodbye.
    pub(super) deadline: Option<Timer>,
    /// The reader, while it must not read on.
    pub(super) paused: Option<Waker>,
    /// A task waits until the kernel takes more.
    pub(super) is_blocked: bool,
    pub(super) course: Course,
}

/// Whether a connection goes on, apart from how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// It is read, unless the engine says otherwise.
    On,
    /// Not read on before what it has brought is written to a crowd.
    WaitsForCrowd,
    /// The client has ended its side, and stays for what it is owed.
    HasEnded,
    /// It ends once everything is written.
    HangsUp,
    /// The same, and everything is encrypted, the end of the session behind it: nothing may follow that.
    EndsSession,
}

/// How far a connection has come.
pub(super) enum Stage {
    /// Until the end of the request head, and longer if its credential has to be judged elsewhere.
    Handshake(Box<Greeting>),
    /// The engine knows it; where that is kept which it has sent and cannot be used yet.
    Open(Option<Seat>),
    /// Plain HTTP: the control plane answers.
    Relay(Box<Relay>),
    /// Our last bytes are written, or given up; only the peer's end is awaited.
    Ending,
}

/// What nobody asks for once the handshake is over.
pub(super) struct Greeting {
    /// The client as far as it is known: the peer, then what a trusted proxy said.
    pub(super) client: Option<SocketAddr>,
    /// Whether they spoke TLS, as far as it is known: to the listener, then what a PROXY header said.
    pub(super) encrypted: bool,
    pub(super) accepted: Moment,
    /// Whether anything has come of it.
    pub(super) has_spoken: bool,
    /// The request, while its credential is being judged.
    pub(super) waiting: Option<Box<Waiting>>,
}

/// What a write came to.
pub(super) enum Written {
    /// Nothing is left.
    All,
    /// The kernel takes no more for now.
    Blocked,
    /// The socket is gone.
    Gone,
}

impl Connection {
    /// Its handshake, if it is still in one.
    pub(super) fn greeting(&mut self) -> Option<&mut Greeting> {
        match &mut self.stage {
            Stage::Handshake(greeting) => Some(greeting),
            _ => None,
        }
    }

    /// Where that is kept which it has sent and cannot be used yet, if it has come so far.
    pub(super) fn seat(&mut self) -> Option<&mut Option<Seat>> {
        match &mut self.stage {
            Stage::Open(seat) => Some(seat),
            Stage::Handshake(greeting) => greeting.waiting.as_mut().map(|it| &mut it.behind),
            Stage::Relay(_) | Stage::Ending => None,
        }
    }

    /// Whether it ends once everything is written.
    pub(super) fn hangs_up(&self) -> bool {
        matches!(self.course, Course::HangsUp | Course::EndsSession)
    }

    /// Whether nothing more is to be written.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Ending)
    }

    /// Ends the session of TLS, if there is one, without which a client cannot tell the end of all from the
    /// middle. From then on nothing else is encrypted, whatever waits.
    pub(super) fn end_session(&mut self) -> Written {
        let Some(tls) = &mut self.tls else { return Written::All };
        self.course = Course::EndsSession;
        tls.say_goodbye();
        match tls.send(&self.stream) {
            Ok(true) => Written::All,
            Ok(false) => Written::Blocked,
            Err(_) => Written::Gone,
        }
    }

    /// Writes what is there, as far as the kernel takes it; counts the plain bytes it took.
    pub(super) fn write(&mut self, outbox: Option<&mut Outbox>, count: &mut u64) -> Written {
        match self.tls.take() {
            Some(mut tls) => {
                let written = self.write_encrypted(&mut tls, outbox, count);
                self.tls = Some(tls);
                written
            }
            None => self.write_plain(outbox, count),
        }
    }

    fn write_plain(&mut self, mut outbox: Option<&mut Outbox>, count: &mut u64) -> Written {
        loop {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let pieces = gather(&self.raw, outbox.as_deref_mut(), &mut slices);
            if pieces == 0 {
                return Written::All;
            }
            let wanted: usize = slices[..pieces].iter().map(|slice| slice.len()).sum();
            match self.stream.send(&slices[..pieces]) {
                Ok(sent) => {
                    *count += sent as u64;
                    advance(&mut self.raw, outbox.as_deref_mut(), sent);
                    // A short write fills the kernel's buffer: asking again would only say so.
                    if sent < wanted {
                        return Written::Blocked;
                    }
                    if pieces < SLICES {
                        return Written::All;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // What it did not take may expire or be dropped before it is asked again.
                    advance(&mut self.raw, outbox, 0);
                    return Written::Blocked;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Written::Gone,
            }
        }
    }

    /// Never holds more ciphertext than one round of records: what the kernel does not take stays
    /// plain, in the bounded outbox.
    fn write_encrypted(
        &mut self,
        tls: &mut Tls,
        mut outbox: Option<&mut Outbox>,
        count: &mut u64,
    ) -> Written {
        loop {
            match tls.send(&self.stream) {
                Ok(true) => {}
                Ok(false) => return Written::Blocked,
                Err(_) => return Written::Gone,
            }
            if !tls.may_encrypt() || self.course == Course::EndsSession {
                return Written::All;
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let pieces = gather(&self.raw, outbox.as_deref_mut(), &mut slices);
            if pieces == 0 {
                return Written::All;
            }
            let taken = tls.encrypt(&slices[..pieces]);
            // A session that is broken never takes anything again.
            if taken == 0 {
                return Written::Gone;
            }
            *count += taken as u64;
            advance(&mut self.raw, outbox.as_deref_mut(), taken);
        }
    }
}

/// The next pieces to write: the raw bytes, then the outbox's. How many there are.
fn gather<'a>(
    raw: &'a [u8],
    outbox: Option<&'a mut Outbox>,
    slices: &mut [IoSlice<'a>; SLICES],
) -> usize {
    let first = usize::from(!raw.is_empty());
    slices[0] = IoSlice::new(raw);
    first + outbox.map_or(0, |outbox| outbox.gather(&mut slices[first..]))
}

fn advance(raw: &mut Vec<u8>, outbox: Option<&mut Outbox>, sent: usize) {
    let of_raw = sent.min(raw.len());
    if of_raw > 0 {
        if of_raw == raw.len() {
            // Most connections never need it again.
            *raw = Vec::new();
        } else {
            raw.drain(..of_raw);
        }
    }
    // Also if none of it was written: it is in nobody's hand any more.
    if let Some(outbox) = outbox {
        outbox.advance(sent - of_raw);
    }
}
