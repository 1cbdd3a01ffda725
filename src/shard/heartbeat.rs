//! Life signs: when to ask for one, when to give up, and how long the answer took.
//!
//! A ping also marks a place: when it is answered, all that was written before it has arrived. So one
//! that talks is pinged too, when more was written to it since the last mark than a resumption should
//! repeat, or when something was and an interval has passed; but never while a mark is on its way.
//!
//! Invariant: a connection that sends anything within an interval and is sent nothing is never
//! pinged; one that answers, or talks, is never given up.

use crate::clock::Moment;

/// What is known of a connection's life.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pulse {
    /// When something last came from it.
    heard: Moment,
    /// When the last ping was sent.
    asked: Moment,
    /// It is not answered.
    awaits_answer: bool,
    /// Pings since something was heard.
    missed: u8,
}

/// What is to be done when a connection's interval is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// It has been heard: look again then.
    Wait(Moment),
    /// Send a ping with this payload, and look again an interval later.
    Ask([u8; 8]),
    /// It is dead.
    GiveUp,
}

impl Pulse {
    pub(super) fn new(now: Moment) -> Self {
        Self { heard: now, asked: now, awaits_answer: false, missed: 0 }
    }

    /// Something came.
    pub(super) fn hear(&mut self, now: Moment) {
        self.heard = now;
        self.missed = 0;
    }

    /// A pong came: the round trip, if it answers the last ping.
    pub(super) fn answer(&mut self, now: Moment, payload: &[u8]) -> Option<u64> {
        if !self.awaits_answer || payload != self.asked.us.to_be_bytes() {
            return None;
        }
        self.awaits_answer = false;
        Some(now.since_us(self.asked))
    }

    /// A ping that only marks a place, unless one is on its way: its payload.
    pub(super) fn mark(&mut self, now: Moment) -> Option<[u8; 8]> {
        (!self.awaits_answer).then(|| self.ask(now))
    }

    /// The interval is over.
    pub(super) fn beat(&mut self, now: Moment, interval_ms: u64, max_missed: u8) -> Beat {
        let due = self.heard.plus_ms(interval_ms);
        if self.missed == 0 && due > now {
            return Beat::Wait(due);
        }
        if self.missed >= max_missed {
            return Beat::GiveUp;
        }
        self.missed += 1;
        Beat::Ask(self.ask(now))
    }

    /// A ping is sent: its payload.
    fn ask(&mut self, now: Moment) -> [u8; 8] {
        (self.asked, self.awaits_answer) = (now, true);
        now.us.to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::default().plus_ms(ms)
    }

    #[test]
    fn a_talking_peer_is_not_asked_and_a_silent_one_is_given_up() {
        let mut pulse = Pulse::new(at(0));
        pulse.hear(at(700));
        assert_eq!(pulse.beat(at(1_000), 1_000, 2), Beat::Wait(at(1_700)));
        assert_eq!(pulse.beat(at(1_700), 1_000, 2), Beat::Ask(at(1_700).us.to_be_bytes()));
        assert_eq!(pulse.beat(at(2_700), 1_000, 2), Beat::Ask(at(2_700).us.to_be_bytes()));
        assert_eq!(pulse.beat(at(3_700), 1_000, 2), Beat::GiveUp);
        pulse.hear(at(3_800));
        assert_eq!(pulse.beat(at(3_800), 1_000, 2), Beat::Wait(at(4_800)));
    }

    #[test]
    fn a_mark_is_sent_once_until_it_is_answered_and_is_no_missed_ping() {
        let mut pulse = Pulse::new(at(0));
        let payload = pulse.mark(at(5)).expect("nothing is on its way");
        assert_eq!(pulse.mark(at(6)), None);
        assert_eq!(pulse.beat(at(6), 10, 1), Beat::Wait(at(10)));
        assert!(pulse.answer(at(7), &payload).is_some());
        assert!(pulse.mark(at(8)).is_some());
    }

    #[test]
    fn only_the_answer_to_the_last_ping_measures() {
        let mut pulse = Pulse::new(at(0));
        let Beat::Ask(payload) = pulse.beat(at(10), 10, 3) else { panic!("silent for 10 ms") };
        assert_eq!(pulse.answer(at(11), b"other"), None);
        assert_eq!(pulse.answer(at(12), &payload), Some(2_000));
        assert_eq!(pulse.answer(at(13), &payload), None);
    }
}
