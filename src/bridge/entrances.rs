//! What Redis is still to be told of the places of this node's users, where their number is limited.
//!
//! Places stand in Redis under the link over which they were told, each in the slot of its user. With any
//! new link all are told anew, since what was lost with the one before is not known; only when all are,
//! other nodes hear of the new link, and what was told over earlier ones is void. So no place is missing
//! meanwhile, and none stays that is nobody's.
//!
//! Invariants: so many are told at a time; what is refused is told again; of a connection that has gone
//! nothing is told but that, over whichever link; no number of those that are there keeps it out.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Moment;
use crate::id::{ConnectionAddress, CoreId};
use crate::room::entrance::Place;

/// Words on their way at once.
const TOLD_AT_ONCE: usize = 256;
/// Words that may be refused between two looks.
const REFUSED_MAX: usize = 1_024;
/// Connections that have gone and of which Redis was not told. Those that are too many are void once all are
/// told over a later link.
const GONE_MAX: usize = 65_536;

/// What is to be told of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) place: Place,
    /// Since when it is there; none: it has gone.
    pub(super) since: Option<Moment>,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Entrances {
    there: Words,
    gone: Words,
    on_way: BTreeSet<ConnectionAddress>,
    refusals: usize,
    /// Cores that have told all of theirs over the present link.
    cores: BTreeSet<CoreId>,
}

/// Those of one kind.
#[derive(Debug, Default)]
struct Words {
    waiting: BTreeMap<ConnectionAddress, Word>,
    /// What was refused since all of them were told.
    refused: BTreeMap<ConnectionAddress, Word>,
}

impl Entrances {
    /// There is a new link: cores tell everything again but what has gone.
    pub(super) fn renew(&mut self) {
        let gone = std::mem::take(&mut self.gone);
        *self = Self { gone, ..Self::default() };
    }

    /// A core has told all that it has.
    pub(super) fn all_of(&mut self, core: CoreId) {
        self.cores.insert(core);
    }

    /// A connection is there since then, which Redis may not know.
    pub(super) fn hold(&mut self, place: Place, since: Moment) {
        self.there.waiting.insert(place.at, Word { place, since: Some(since) });
    }

    /// A connection goes, and Redis is told: nothing else is to be told of it.
    pub(super) fn goes(&mut self, at: ConnectionAddress) {
        self.there.waiting.remove(&at);
        self.there.refused.remove(&at);
        self.on_way.remove(&at);
    }

    /// Redis was not told that a connection has gone.
    pub(super) fn has_gone(&mut self, place: Place) {
        if self.gone.waiting.len() + self.gone.refused.len() < GONE_MAX {
            self.gone.refused.insert(place.at, Word { place, since: None });
        }
    }

    /// What is to be told now, if something is.
    pub(super) fn next(&mut self) -> Option<Word> {
        if self.on_way.len() >= TOLD_AT_ONCE || self.refusals >= REFUSED_MAX {
            return None;
        }
        let Self { there, gone, .. } = self;
        let (at, word) = there.waiting.pop_first().or_else(|| gone.waiting.pop_first())?;
        self.on_way.insert(at);
        Some(word)
    }

    /// Redis was told.
    pub(super) fn told(&mut self, at: ConnectionAddress) {
        self.on_way.remove(&at);
    }

    /// It was not.
    pub(super) fn refuse(&mut self, word: Word) {
        self.refusals += 1;
        let is_due = self.on_way.remove(&word.place.at);
        if word.since.is_none() {
            self.has_gone(word.place);
        } else if is_due {
            self.there.refused.insert(word.place.at, word);
        }
    }

    /// What was refused is told again, behind what has not been told yet.
    pub(super) fn look(&mut self) {
        self.refusals = 0;
        let Self { there, gone, .. } = self;
        if there.waiting.is_empty() && gone.waiting.is_empty() {
            for words in [there, gone] {
                words.waiting = std::mem::take(&mut words.refused);
            }
        }
    }

    /// Whether Redis was told of all that are there, of so many cores.
    pub(super) fn is_done(&self, cores: u16) -> bool {
        self.cores.len() == usize::from(cores)
            && self.there.waiting.is_empty()
            && self.on_way.is_empty()
            && self.there.refused.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ConnectionKey, TenantId};

    const SINCE: Moment = Moment { us: 7 };

    fn place(index: u32) -> Place {
        let at = ConnectionAddress { core: CoreId(0), key: ConnectionKey { index, generation: 1 } };
        Place { tenant: TenantId::DEFAULT, user: "ann".into(), at }
    }

    #[test]
    fn all_are_told_a_few_at_a_time_and_what_is_refused_again() {
        let mut entrances = Entrances::default();
        let count = u32::try_from(TOLD_AT_ONCE).expect("a small number") + 2;
        (0..count).for_each(|n| entrances.hold(place(n), SINCE));
        entrances.all_of(CoreId(0));
        let first: Vec<_> = std::iter::from_fn(|| entrances.next()).collect();
        assert_eq!(first.len(), TOLD_AT_ONCE);
        let refused = first[0].clone();
        entrances.refuse(refused.clone());
        first[1..].iter().for_each(|word| entrances.told(word.place.at));
        while let Some(word) = entrances.next() {
            assert_ne!(word, refused, "others come first");
            entrances.told(word.place.at);
        }
        assert!(!entrances.is_done(1));
        entrances.look();
        assert_eq!(entrances.next(), Some(refused));
        assert!(!entrances.is_done(1));
        entrances.told(place(0).at);
        assert!(entrances.is_done(1) && !entrances.is_done(2), "another core has told nothing");
    }

    #[test]
    fn of_a_connection_that_has_gone_nothing_else_is_told() {
        let mut entrances = Entrances::default();
        (0..3).for_each(|n| entrances.hold(place(n), SINCE));
        let refused = entrances.next().expect("it waits");
        entrances.refuse(refused);
        let on_way = entrances.next().expect("it waits");
        for n in 0..3 {
            entrances.goes(place(n).at);
        }
        entrances.refuse(on_way);
        entrances.look();
        assert_eq!(entrances.next(), None);
        entrances.has_gone(place(1));
        assert_eq!(entrances.next(), None, "not at once");
        entrances.look();
        assert_eq!(entrances.next(), Some(Word { place: place(1), since: None }));
    }

    #[test]
    fn redis_hears_of_each_that_has_gone_however_much_waits_and_over_whichever_link() {
        let mut entrances = Entrances::default();
        let told = |entrances: &mut Entrances| {
            entrances.look();
            let mut gone = Vec::new();
            while let Some(word) = entrances.next() {
                entrances.told(word.place.at);
                gone.extend((word.since.is_none()).then_some(word.place));
            }
            gone
        };
        let most = u32::try_from(GONE_MAX).expect("a small number");
        (0..most).for_each(|n| entrances.hold(place(n), SINCE));
        (most..most + 3).for_each(|n| entrances.has_gone(place(n)));
        entrances.renew();
        entrances.has_gone(place(most + 3));
        entrances.hold(place(0), SINCE);
        assert_eq!(told(&mut entrances), [0; 0].map(place), "those that are there go first");
        assert_eq!(told(&mut entrances), [0, 1, 2, 3].map(|n| place(most + n)));
        // One is on its way when there is another link.
        entrances.has_gone(place(1));
        entrances.look();
        let on_way = entrances.next().expect("it waits");
        entrances.renew();
        entrances.refuse(on_way);
        assert_eq!(told(&mut entrances), [place(1)]);
        // More than may be: the first ones stay.
        (0..most + 1).for_each(|n| entrances.has_gone(place(n)));
        assert!(told(&mut entrances).into_iter().eq((0..most).map(place)));
    }

    #[test]
    fn what_is_refused_again_and_again_keeps_out_nothing_else() {
        let mut entrances = Entrances::default();
        let most = u32::try_from(REFUSED_MAX).expect("a small number");
        (0..most).for_each(|n| entrances.hold(place(n), SINCE));
        entrances.has_gone(place(most));
        let mut has_heard = false;
        for _ in 0..3 {
            entrances.look();
            while let Some(word) = entrances.next() {
                if word.since.is_some() {
                    entrances.refuse(word);
                } else {
                    has_heard = true;
                    entrances.told(word.place.at);
                }
            }
        }
        assert!(has_heard);
    }

    #[test]
    fn much_that_is_refused_waits_for_the_next_look() {
        let mut entrances = Entrances::default();
        let count = u32::try_from(REFUSED_MAX).expect("a small number") + 1;
        (0..count).for_each(|n| entrances.hold(place(n), SINCE));
        let refuse_all = |entrances: &mut Entrances| {
            let mut refused = 0;
            while let Some(word) = entrances.next() {
                entrances.refuse(word);
                refused += 1;
            }
            refused
        };
        assert_eq!(refuse_all(&mut entrances), REFUSED_MAX);
        entrances.look();
        assert_eq!(refuse_all(&mut entrances), 1, "its turn comes");
        entrances.renew();
        entrances.look();
        assert_eq!(entrances.next(), None);
    }
}
