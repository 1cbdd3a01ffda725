//! A party's end of the mesh: what it has for its peers, and what they have for it.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use crossbeam_utils::CachePadded;

use super::Plan;
use super::doorbell::Doorbell;
use super::sleep::{Room, Sleeper};
use crate::clock::Moment;
use crate::id::CoreId;

/// Messages of a batch; what a party has beyond that goes in a further one, so that a receiver can
/// bound its tick by counting batches.
pub const MESSAGES_PER_BATCH: usize = 256;

/// Later than any moment: the batch has not been tried.
const NOT_TRIED: Moment = Moment { us: u64::MAX };

/// What one party had for another at the end of a tick.
#[derive(Debug)]
pub struct Batch<T> {
    /// Whose messages these are.
    pub from: CoreId,
    /// When the sender first tried to deliver one of them.
    pub since: Moment,
    /// At least one, in the order posted.
    pub messages: Vec<T>,
    bytes: u64,
}

/// What a call of [`Port::deliver`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Batches that reached an inbox.
    pub batches: u64,
    /// Doorbells rung.
    pub rings: u64,
    /// Batches that found an inbox full and wait for the next call.
    pub waiting: u64,
    /// Messages thrown away because their receiver is gone.
    pub lost: u64,
}

/// A message that cannot be posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostError {
    /// A party has no business with itself through the mesh.
    ToOneself,
    /// The mesh has no such party.
    NoSuchParty,
    /// The party's thread has ended.
    Gone,
}

impl fmt::Display for PostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ToOneself => "a party of the mesh posted to itself",
            Self::NoSuchParty => "the mesh has no such party",
            Self::Gone => "the receiving thread has ended",
        })
    }
}

impl std::error::Error for PostError {}

/// What all parties see of one.
struct Party<T> {
    inbox: Sender<Batch<T>>,
    sleeper: CachePadded<Sleeper>,
    room: CachePadded<Room>,
    /// Bytes it has taken so far, by sender. Written by this party alone.
    taken_bytes: Box<[CachePadded<AtomicU64>]>,
    doorbell: Doorbell,
}

/// What a party has for one peer.
struct Lane<T> {
    /// Oldest first; only the last may still be added to.
    batches: VecDeque<Batch<T>>,
    /// Bytes ever posted.
    posted_bytes: u64,
    gone: bool,
}

/// One party's end of the mesh. A thread owns it; nothing in it is locked.
pub struct Port<T> {
    me: CoreId,
    inbox: Receiver<Batch<T>>,
    parties: Arc<[Party<T>]>,
    lanes: Vec<Lane<T>>,
    backlog_limit_bytes: u64,
}

pub(super) fn build<T: Send>(plan: Plan) -> io::Result<Vec<Port<T>>> {
    let mut inboxes = Vec::new();
    let mut parties = Vec::new();
    for _ in 0..plan.parties {
        let (sender, receiver) = bounded(plan.inbox_batches.max(1));
        inboxes.push(receiver);
        parties.push(Party {
            inbox: sender,
            sleeper: CachePadded::new(Sleeper::awake()),
            room: CachePadded::new(Room::enough()),
            taken_bytes: (0..plan.parties).map(|_| CachePadded::default()).collect(),
            doorbell: Doorbell::new()?,
        });
    }
    let parties: Arc<[Party<T>]> = parties.into();
    let port = |(me, inbox)| Port {
        me: CoreId(me),
        inbox,
        parties: Arc::clone(&parties),
        lanes: (0..plan.parties).map(|_| Lane::empty()).collect(),
        backlog_limit_bytes: plan.backlog_bytes,
    };
    Ok((0..plan.parties).zip(inboxes).map(port).collect())
}

impl<T> Port<T> {
    /// Whose port this is.
    #[must_use]
    pub fn me(&self) -> CoreId {
        self.me
    }

    /// Puts `message` with what goes to `to` at the next [`deliver`](Self::deliver). It counts as
    /// `bytes` until `to` has taken it.
    ///
    /// # Errors
    ///
    /// `to` is no party one can post to. The message is dropped.
    pub fn post(&mut self, to: CoreId, message: T, bytes: usize) -> Result<(), PostError> {
        if to == self.me {
            return Err(PostError::ToOneself);
        }
        let lane = self.lanes.get_mut(to.index()).ok_or(PostError::NoSuchParty)?;
        if lane.gone {
            return Err(PostError::Gone);
        }
        lane.add(self.me, message, bytes as u64);
        Ok(())
    }

    /// Ends the tick: hands over what was posted, oldest first, and rings for those who sleep.
    /// What does not fit keeps its place and is tried again by the next call, for which this party
    /// is woken.
    pub fn deliver(&mut self, now: Moment) -> Delivery {
        let mut delivery = Delivery::default();
        for (lane, party) in self.lanes.iter_mut().zip(self.parties.iter()) {
            if !lane.batches.is_empty() {
                lane.deliver(party, now, &mut delivery);
            }
        }
        delivery
    }

    /// The oldest batch in the inbox. Call it until it says `None`, or as often as a tick may.
    pub fn receive(&mut self) -> Option<Batch<T>> {
        let batch = self.inbox.try_recv().ok()?;
        let me = &self.parties[self.me.index()];
        let taken_bytes = &me.taken_bytes[batch.from.index()];
        // Only this thread writes it.
        taken_bytes.store(
            taken_bytes.load(Ordering::Relaxed).wrapping_add(batch.bytes),
            Ordering::Relaxed,
        );
        if me.room.must_tell() {
            self.tell_of_room();
        }
        Some(batch)
    }

    /// Says that this party is about to park. `false`: there is work, do not.
    ///
    /// Call it after [`deliver`](Self::deliver), and [`wake`](Self::wake) when the park is over.
    pub fn fall_asleep(&mut self) -> bool {
        let me = &self.parties[self.me.index()];
        me.sleeper.fall_asleep(|| !self.inbox.is_empty() || self.may_deliver())
    }

    /// Says that this party runs again, whatever woke it. Cheap; no harm if it did not sleep.
    pub fn wake(&mut self) {
        self.parties[self.me.index()].sleeper.wake();
    }

    /// Becomes readable when somebody rings for this party. Whoever wants to own a descriptor
    /// duplicates it. It may ring once for nothing after a party woke for another reason.
    #[must_use]
    pub fn doorbell_fd(&self) -> BorrowedFd<'_> {
        self.parties[self.me.index()].doorbell.fd()
    }

    /// All descriptors that this port uses: its own doorbell and those of its peers. A thread must
    /// keep them, under these numbers, in its descriptor table.
    pub fn doorbells(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.parties.iter().map(|party| party.doorbell.fd())
    }

    /// Makes the doorbell unreadable until the next ring; whether it had rung.
    pub fn clear_doorbell(&mut self) -> bool {
        self.parties[self.me.index()].doorbell.clear()
    }

    /// Bytes posted for `to` that it has not taken: in its inbox, or waiting for a place there.
    #[must_use]
    pub fn backlog_bytes(&self, to: CoreId) -> u64 {
        let Some(lane) = self.lanes.get(to.index()) else { return 0 };
        lane.untaken_bytes(&self.parties[to.index()], self.me)
    }

    /// Bytes on their way to all peers.
    #[must_use]
    pub fn backlog_total_bytes(&self) -> u64 {
        let lanes = self.lanes.iter().zip(self.parties.iter());
        lanes.map(|(lane, party)| lane.untaken_bytes(party, self.me)).sum()
    }

    /// Whether so much is on its way to `to` that what can be left out should be.
    #[must_use]
    pub fn is_over(&self, to: CoreId) -> bool {
        self.backlog_bytes(to) > self.backlog_limit_bytes
    }

    /// Whether a batch that waits may find room by now, with nobody left to tell of it.
    fn may_deliver(&self) -> bool {
        let mut lanes = self.lanes.iter().zip(self.parties.iter());
        lanes.any(|(lane, party)| !lane.batches.is_empty() && !party.room.will_be_told())
    }

    #[cold]
    fn tell_of_room(&self) {
        for (index, party) in self.parties.iter().enumerate() {
            if index != self.me.index() && party.sleeper.must_be_rung() {
                party.doorbell.ring();
            }
        }
    }
}

impl<T> Lane<T> {
    fn empty() -> Self {
        Self { batches: VecDeque::new(), posted_bytes: 0, gone: false }
    }

    fn add(&mut self, me: CoreId, message: T, bytes: u64) {
        self.posted_bytes = self.posted_bytes.wrapping_add(bytes);
        match self.batches.back_mut() {
            Some(last) if last.messages.len() < MESSAGES_PER_BATCH => {
                last.messages.push(message);
                last.bytes += bytes;
            }
            _ => self.batches.push_back(Batch {
                from: me,
                since: NOT_TRIED,
                messages: vec![message],
                bytes,
            }),
        }
    }

    fn deliver(&mut self, party: &Party<T>, now: Moment, delivery: &mut Delivery) {
        let new = self.batches.iter_mut().rev().take_while(|batch| batch.since == NOT_TRIED);
        new.for_each(|batch| batch.since = now);
        let before = delivery.batches;
        while let Some(batch) = self.batches.pop_front() {
            match send(party, batch) {
                Ok(()) => delivery.batches += 1,
                Err(TrySendError::Full(batch)) => {
                    self.batches.push_front(batch);
                    delivery.waiting += self.batches.len() as u64;
                    break;
                }
                Err(TrySendError::Disconnected(batch)) => {
                    delivery.lost += self.give_up(&batch);
                    return;
                }
            }
        }
        if delivery.batches > before && party.sleeper.must_be_rung() {
            party.doorbell.ring();
            delivery.rings += 1;
        }
    }

    fn untaken_bytes(&self, party: &Party<T>, me: CoreId) -> u64 {
        if self.gone {
            return 0;
        }
        self.posted_bytes.wrapping_sub(party.taken_bytes[me.index()].load(Ordering::Relaxed))
    }

    /// The receiver is gone: forgets all that waits for it, and says how many messages that was.
    fn give_up(&mut self, first: &Batch<T>) -> u64 {
        self.gone = true;
        let waiting = std::mem::take(&mut self.batches);
        (first.messages.len() + waiting.iter().map(|batch| batch.messages.len()).sum::<usize>())
            as u64
    }
}

/// Tries twice when the inbox is full; see [`Room::want`].
fn send<T>(party: &Party<T>, batch: Batch<T>) -> Result<(), TrySendError<Batch<T>>> {
    match party.inbox.try_send(batch) {
        Err(TrySendError::Full(batch)) => {
            party.room.want();
            party.inbox.try_send(batch)
        }
        sent => sent,
    }
}

impl<T> fmt::Debug for Port<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port").field("me", &self.me).field("inbox", &self.inbox.len()).finish()
    }
}
