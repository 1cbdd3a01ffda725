//! Rates, to the millisecond: which message is refused, and when it is to be tried again.
//!
//! The model is arithmetic of its own: a bucket is the moment at which it is full again.

use serde_json::Value;

use crate::Checked;
use crate::client::{Client, Request};
use crate::message::Message;
use crate::profile::{RATE, USER_RATE};
use crate::receive::{number, text};
use crate::world::World;

/// A millisecond in sixteenths of a nanosecond: the grain to which a token's time is rounded up.
const MS: u64 = 16_000_000;

/// How many messages pass, as the moment at which all of them would again.
struct Bucket {
    token: u64,
    burst: u64,
    full: u64,
}

impl Bucket {
    fn new((rate, burst): (u32, u32)) -> Self {
        let token = (1_000 * MS).div_ceil(u64::from(rate));
        Self { token, burst: u64::from(burst), full: 0 }
    }

    /// In how many milliseconds there is a token, at least one; none: there is one.
    fn wait(&self, now: u64) -> Option<u64> {
        let wait = self.full.saturating_sub(now + (self.burst - 1) * self.token);
        (wait > 0).then(|| wait.div_ceil(MS))
    }

    fn spend(&mut self, now: u64) {
        self.full = self.full.max(now) + self.token;
    }
}

impl Client {
    pub(crate) fn on_paced(&mut self, kind: &str, value: &Value) -> Checked {
        let verdict = match kind {
            "error" if text(value, "code")? != "rate_limited" => {
                return Err(format!("{value} in place of rate_limited"));
            }
            "error" => Some(number(value, "retry_after_ms")?),
            _ => None,
        };
        self.verdicts.push(verdict);
        Ok(())
    }
}

impl World {
    /// Two connections, of a user or of nobody, that send more than they may.
    pub(crate) fn check_rates(&mut self) -> Checked {
        // Whatever the user's other connections had sent is forgiven by then.
        self.let_pass(10_000)?;
        let person = self.people[*self.random.pick(&[1, 6])].clone();
        let is_user = person.user.is_some();
        let mut pair = Vec::new();
        for _ in 0..2 {
            let core = self.random.below(self.cores.len());
            let me = self.open(core, person.clone(), None, None);
            self.clients[me].mute = false;
            pair.push((me, Bucket::new(RATE)));
        }
        self.quiesce()?;
        let mut shared = Bucket::new(USER_RATE);
        for _ in 0..12 {
            let count = *self.random.pick(&[1, 5, 45, 90]);
            for _ in 0..count {
                let at = self.random.below(2);
                let (me, own) = &mut pair[at];
                let now = self.now().moment.us * 16_000;
                let expected = own.wait(now).or(if is_user { shared.wait(now) } else { None });
                let codec = self.clients[*me].codec;
                self.clients[*me].ask(Message::new("ping"), Some(Request::Paced), codec);
                self.quiesce()?;
                let verdict = self.clients[*me].verdicts.pop();
                if verdict != Some(expected) {
                    return Err(format!(
                        "client {me} of {:?}: {verdict:?} where {expected:?} is right",
                        person.user
                    ));
                }
                if expected.is_none() {
                    own.spend(now);
                    shared.spend(now);
                }
            }
            let longest = *self.random.pick(&[1, 40, 60, 1_500]);
            let wait_ms = self.random.between(1, longest);
            self.let_pass(wait_ms)?;
        }
        for (me, _) in pair {
            self.lose(me);
        }
        self.quiesce()
    }
}
