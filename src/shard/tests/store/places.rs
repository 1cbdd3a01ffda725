//! The connections of users, where their number is limited.

use super::Store;
use crate::clock::Moment;
use crate::id::ConnectionAddress;
use crate::room::broker::{Fault, FromBroker};
use crate::room::entrance::{EntranceAsk, Place};

impl Store {
    /// A connection of a user comes or goes.
    pub(super) fn entrance(
        &mut self,
        node: u64,
        (place, since): (Place, Moment),
        ask: &EntranceAsk,
        is_up: bool,
    ) -> Option<FromBroker> {
        let EntranceAsk::Enter { most, replaces, instead } = *ask else {
            self.place(node, &place, None);
            return None;
        };
        let outcome = match is_up {
            true => Ok(self.enter(node, (&place, since), (most, replaces), instead)),
            false => Err(Fault::Lost),
        };
        Some(FromBroker::Entered { place, outcome })
    }

    fn enter(
        &mut self,
        node: u64,
        (place, since): (&Place, Moment),
        (most, replaces): (u32, bool),
        instead: Option<ConnectionAddress>,
    ) -> bool {
        let all = self.places.entry(place.user.clone()).or_default();
        all.retain(|(_, it, at)| instead.is_none_or(|other| (*it, *at) != (node, other)));
        if all.len() >= most as usize {
            if !replaces {
                return false;
            }
            let places = all.iter().enumerate();
            let (oldest, _) = places.min_by_key(|(_, it)| it.0).expect("there are too many");
            let (_, its, at) = all.remove(oldest);
            self.displaced.push((its, at));
        }
        all.push((since, node, place.at));
        true
    }

    /// Since when a connection is there, if it is.
    pub(super) fn place(&mut self, node: u64, place: &Place, since: Option<Moment>) {
        let all = self.places.entry(place.user.clone()).or_default();
        all.retain(|(_, it, at)| (*it, *at) != (node, place.at));
        all.extend(since.map(|since| (since, node, place.at)));
    }

    /// A node's link has ended: nothing that it had counted is known to be there.
    pub(super) fn unplace(&mut self, node: u64) {
        self.places.values_mut().for_each(|all| all.retain(|(_, other, _)| *other != node));
    }
}
