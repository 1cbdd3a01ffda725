//! To a hub: what a room's home has for those who are in the room on that core.

use std::sync::Arc;

use crate::protocol::{RoomPatch, SlowConsumer};
use crate::room::home::Guard;
use crate::room::hub::{Delivery, Item, Notice};
use crate::room::invited::Invited;
use crate::room::name::RoomKey;
use crate::shard::Shard;

/// To a hub, from a room's home where nothing else is said.
#[derive(Clone, Debug)]
pub enum ToHub {
    /// A message for those who are in the room.
    Deliver(Delivery),
    /// In place of deliveries that did not fit into the backlog between two cores.
    Overrun {
        /// Which room.
        room: RoomKey,
        /// Which life of it.
        epoch: Arc<str>,
        /// The first offset.
        from: u64,
        /// The last offset.
        to: u64,
        /// Who may hear of it through a pattern; none: everybody.
        guard: Option<Arc<Guard>>,
    },
    /// Who came and went.
    Presence(Arc<Notice>),
    /// A room is another from here on.
    Configured(Box<Configured>),
    /// A new life of a room has begun.
    Reborn(Reborn),
    /// From a user's home: the user may join a room.
    Invited {
        /// The user's reserved room.
        user: RoomKey,
        /// To what.
        invited: Arc<Invited>,
    },
}

/// A room is another.
#[derive(Clone, Debug)]
pub struct Configured {
    /// Which room.
    pub room: RoomKey,
    /// Which life of it.
    pub epoch: Arc<str>,
    /// What happens to slow readers.
    pub slow_consumer: SlowConsumer,
    /// What is not acknowledged is sent again.
    pub guaranteed: bool,
    /// All of it, for those who are in the room.
    pub config: Arc<RoomPatch>,
}

/// A new life of a room has begun.
#[derive(Clone, Debug)]
pub struct Reborn {
    /// Which room.
    pub room: RoomKey,
    /// Which life of it.
    pub epoch: Arc<str>,
    /// Nobody here gets anything of it up to this offset.
    pub offset: u64,
    /// The life before was the broker's, and who receives the room by a pattern heard that.
    pub was_followed: bool,
    /// Who may hear of it through a pattern; none: everybody.
    pub guard: Option<Arc<Guard>>,
}

impl ToHub {
    /// What is in memory because of it, besides itself.
    pub(super) fn content_bytes(&self) -> usize {
        match self {
            Self::Deliver(delivery) => delivery.publication.held_bytes(),
            // Small, or what homes hold, too.
            _ => 0,
        }
    }

    /// What stands for a delivery that does not fit into the backlog for a core.
    pub(super) fn collapsed(&self) -> Option<Self> {
        let Self::Deliver(Delivery { publication, receipt: None, guard, .. }) = self else {
            return None;
        };
        let offset = publication.offset;
        let (room, epoch) = (publication.room.clone(), Arc::clone(&publication.epoch));
        let guard = guard.clone();
        Some(Self::Overrun { room, epoch, from: offset, to: offset, guard })
    }

    /// Takes in a later one that has collapsed too, or gives it back.
    pub(super) fn absorb(&mut self, later: Self) -> Result<(), Self> {
        match (self, later) {
            (
                Self::Overrun { room, epoch, from, to, guard },
                Self::Overrun { room: other, epoch: then, from: f, to: t, guard: now },
            ) if *room == other
                && *epoch == then
                && guard.as_ref().map(Arc::as_ptr) == now.as_ref().map(Arc::as_ptr) =>
            {
                // A transient message has no place, and nothing is said of it.
                if *from == 0 {
                    *from = f;
                }
                *to = t.max(*to);
                Ok(())
            }
            (_, later) => Err(later),
        }
    }
}

impl Shard {
    /// Something for those who are in a room here.
    pub(super) fn on_hub(&mut self, message: ToHub) {
        match message {
            ToHub::Deliver(delivery) => self.on_deliver(delivery),
            ToHub::Overrun { room, epoch, from, to, guard } => {
                self.on_overrun(&room, Item::Lost { epoch, from, to, guard });
            }
            ToHub::Presence(notice) => self.on_notice(notice),
            ToHub::Configured(configured) => self.on_configured(&configured),
            ToHub::Reborn(reborn) => self.on_reborn(&reborn),
            ToHub::Invited { user, invited } => self.on_invited(&user, &invited),
        }
    }
}
