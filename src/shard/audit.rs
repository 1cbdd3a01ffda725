//! What must hold in an engine between two inputs, checked from scratch: for tests.

use crate::id::CoreId;

use super::Shard;
use super::connection::NO_PLACE;

/// Something that must hold does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// In the engine of which core.
    pub core: CoreId,
    /// What.
    pub what: &'static str,
}

impl Shard {
    /// Checks everything that must hold between two inputs. Slow: it looks at all there is.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn audit(&self) -> Result<(), Violation> {
        let core = self.core;
        let report = |what| Violation { core, what };
        self.audit_members().map_err(report)?;
        self.audit_hub().map_err(report)?;
        for home in self.homes.rooms.values() {
            home.room.audit().map_err(report)?;
            let key = &home.room.key;
            let is_followed = self.broker.is_there() && self.inheritance.has_followers(key);
            if home.room.is_idle() && !self.broker.is_awaiting(key) && !is_followed {
                return Err(report("a room is kept that nobody needs"));
            }
        }
        let history: u64 = self.homes.rooms.values().map(|it| it.room.history.bytes()).sum();
        if history != self.homes.history_bytes {
            return Err(report("the histories' bytes are miscounted"));
        }
        let held: u64 = self.outbound.pool.budget.held_bytes();
        let waiting = self.outbound.slots.iter().any(|slot| !slot.outbox.is_empty());
        if held > 0 && !waiting {
            return Err(report("frames are held that no outbox has"));
        }
        Ok(())
    }

    /// Every membership has its place, and every place its membership.
    fn audit_members(&self) -> Result<(), &'static str> {
        let mut seated = 0;
        for slot in &self.outbound.slots {
            if !slot.outbox.adds_up() {
                return Err("an outbox miscounts its bytes");
            }
            let Some(connection) = slot.connection.as_deref() else {
                if !slot.outbox.is_empty() {
                    return Err("an outbox has outlived its connection");
                }
                continue;
            };
            for membership in &connection.rooms {
                let room = self.hub.get(membership.room).ok_or("a room of a connection is gone")?;
                if membership.place == NO_PLACE {
                    if membership.joining == 0 {
                        return Err("a membership is neither seated nor on its way");
                    }
                    continue;
                }
                seated += 1;
                let member = room.members.get(membership.place as usize);
                if member.is_none_or(|member| member.connection != connection.key.index) {
                    return Err("a connection's place is another's");
                }
            }
        }
        let members: usize = self.hub.iter().map(|(_, room)| room.members.len()).sum();
        if members == seated { Ok(()) } else { Err("a member has no connection") }
    }

    fn audit_hub(&self) -> Result<(), &'static str> {
        for (index, room) in self.hub.iter() {
            if room.is_idle() {
                return Err("the hub keeps a room that nobody here needs");
            }
            if self.hub.find(&room.key) != Some(index) {
                return Err("a room is not found by its name");
            }
        }
        Ok(())
    }
}
