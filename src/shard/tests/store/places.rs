//! The connections of users, where their number is limited.

use super::Store;
use crate::id::ConnectionAddress;
use crate::room::broker::{Fault, FromBroker};
use crate::room::entrance::{EntranceAsk, Place};

impl Store {
    /// A connection of a user comes or goes.
    pub(super) fn entrance(
        &mut self,
        node: u64,
        place: Place,
        ask: &EntranceAsk,
        is_up: bool,
    ) -> Option<FromBroker> {
        let EntranceAsk::Enter { most, replaces, instead } = *ask else {
            self.place(node, &place, false);
            return None;
        };
        let outcome = match is_up {
            true => Ok(self.enter(node, &place, (most, replaces), instead)),
            false => Err(Fault::Lost),
        };
        Some(FromBroker::Entered { place, outcome })
    }

    fn enter(
        &mut self,
        node: u64,
        place: &Place,
        (most, replaces): (u32, bool),
        instead: Option<ConnectionAddress>,
    ) -> bool {
        let all = self.places.entry(place.user.clone()).or_default();
        all.retain(|it| instead.is_none_or(|at| *it != (node, at)));
        if all.len() >= most as usize {
            if !replaces {
                return false;
            }
            let oldest = all.remove(0);
            self.displaced.push(oldest);
        }
        all.push((node, place.at));
        true
    }

    /// Whether a connection is there.
    pub(super) fn place(&mut self, node: u64, place: &Place, is_there: bool) {
        let all = self.places.entry(place.user.clone()).or_default();
        all.retain(|it| *it != (node, place.at));
        if is_there {
            all.push((node, place.at));
        }
    }

    /// A node's link has ended: nothing that it had counted is known to be there.
    pub(super) fn unplace(&mut self, node: u64) {
        self.places.values_mut().for_each(|all| all.retain(|(other, _)| *other != node));
    }
}
