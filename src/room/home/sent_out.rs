//! Users who were sent out of a room: no session of theirs that waits brings them back, unless they have
//! come anew since, here or on another node.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::Moment;

/// Users of whom it is known.
const MOST: usize = 1_000;
/// How late a node may tell of somebody who was there before they were sent out.
const LATE_MS: u64 = 1_000;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct SentOut(BTreeMap<Arc<str>, Kick>);

#[derive(Debug)]
struct Kick {
    /// When all sessions of that time are over.
    until: Moment,
    /// Since when they are on another node, where they were not.
    back_since: Option<Moment>,
}

impl SentOut {
    pub(super) fn add(&mut self, user: &str, until: Moment, now: Moment) {
        let all = &mut self.0;
        if all.len() >= MOST {
            all.retain(|_, kick| now < kick.until);
        }
        if all.len() >= MOST {
            let first = all.iter().min_by_key(|(_, kick)| kick.until);
            let first = first.map(|(user, _)| Arc::clone(user));
            first.map(|user| all.remove(&user));
        }
        all.insert(user.into(), Kick { until, back_since: None });
    }

    /// Whether a session of theirs does not bring them back.
    pub(super) fn holds(&self, user: &str, now: Moment) -> bool {
        self.0.get(user).is_some_and(|kick| {
            let is_back = kick.back_since.is_some_and(|since| since.plus_ms(LATE_MS) <= now);
            now < kick.until && !is_back
        })
    }

    /// They have come anew, here.
    pub(super) fn comes(&mut self, user: &str) {
        self.0.remove(user);
    }

    /// Whether they are on another node was heard: they were nowhere before, or are nowhere now.
    pub(super) fn hear(&mut self, user: &str, is_there: bool, now: Moment) {
        let Some(kick) = self.0.get_mut(user) else { return };
        if is_there {
            kick.back_since.get_or_insert(now);
        } else {
            // If they go at once, they were sent out there, too.
            kick.back_since.take_if(|since| now < since.plus_ms(LATE_MS));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::default().plus_ms(ms)
    }

    #[test]
    fn it_holds_until_its_time_is_over_or_they_come_anew() {
        let mut sent_out = SentOut::default();
        assert!(!sent_out.holds("ann", at(0)));
        sent_out.add("ann", at(10_000), at(0));
        assert!(sent_out.holds("ann", at(9_999)) && !sent_out.holds("ann", at(10_000)));
        assert!(!sent_out.holds("bob", at(0)));
        sent_out.comes("ann");
        assert!(!sent_out.holds("ann", at(1)));
    }

    #[test]
    fn who_is_elsewhere_for_a_while_has_come_anew() {
        let mut sent_out = SentOut::default();
        sent_out.add("ann", at(10_000), at(0));
        sent_out.hear("ann", true, at(10));
        sent_out.hear("ann", false, at(20));
        assert!(sent_out.holds("ann", at(5_000)), "that was late");
        sent_out.hear("ann", true, at(5_000));
        assert!(sent_out.holds("ann", at(5_999)), "it may be");
        assert!(!sent_out.holds("ann", at(6_000)));
        sent_out.hear("ann", false, at(6_000));
        assert!(!sent_out.holds("ann", at(6_000)), "they have come, and gone");
    }

    #[test]
    fn so_many_are_known_and_the_first_to_end_makes_place() {
        let mut sent_out = SentOut::default();
        let count = u64::try_from(MOST).expect("a small number");
        for n in 0..count {
            sent_out.add(&n.to_string(), at(10_000 + n), at(0));
        }
        sent_out.add("more", at(20_000), at(0));
        assert_eq!(sent_out.0.len(), MOST);
        assert!(!sent_out.holds("0", at(1)) && sent_out.holds("1", at(1)));
        sent_out.add("late", at(30_000), at(15_000));
        assert_eq!(sent_out.0.len(), 2);
    }
}
