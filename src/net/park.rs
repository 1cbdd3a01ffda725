//! Signs of life of a core, and whether it parks: CPU time that no work accounts for.
//!
//! Invariant: a core that runs its tick beats, also when there is nothing to do.
//!
//! monoio's `block_on` drops the error of a park and parks again at once, and what has failed wakes
//! nobody: so a park that fails is no round of the core, and costs a CPU unseen. It is seen by what it
//! costs, at each beat. A park that always fails brings no timer, so no beat, which the watchdog
//! reports within two seconds; this is for one that fails again and again.

use tracing::warn;

use crate::clock::{Moment, Now};
use crate::metrics;

use super::core::{Deadline, State};
use super::timer::thread_cpu_us;

/// How often an idle core shows that it lives.
const BEAT_MS: u64 = 500;

/// What a read or a round may cost beside what is measured, generously: parsing 64 KB, say, or the
/// signature of a TLS handshake.
const STEP_US: u64 = 1_000;

/// Bytes that are decrypted, checked and parsed in a microsecond, at least.
const BYTES_PER_US: u64 = 100;

/// What is shorter shows nothing: a core has to begin.
const SHORTEST_US: u64 = 250_000;

/// What a core has done up to a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) at: Moment,
    /// The CPU time of its thread.
    pub(super) cpu_us: u64,
    /// What was measured: ticks and inflating.
    pub(super) measured_us: u64,
    /// What was counted: reads and rounds.
    pub(super) steps: u64,
    pub(super) bytes_in: u64,
}

impl Account {
    /// What the metrics of a core say.
    pub(super) fn of(core: &metrics::Core, at: Moment, cpu_us: u64, reads: u64) -> Self {
        Self {
            at,
            cpu_us,
            measured_us: core.loop_time.sum_us() + core.inflate.time_us.get(),
            steps: reads + core.ticks.get(),
            bytes_in: core.bytes_in.get(),
        }
    }

    /// Whether more than half of the time since `before` went where no work was. Generous on all
    /// sides: a core that is busy, or has little of its CPU, is never suspected.
    pub(super) fn shows_spinning(&self, before: &Self) -> bool {
        let work_us = (self.measured_us - before.measured_us)
            + (self.steps - before.steps) * STEP_US
            + (self.bytes_in - before.bytes_in) / BYTES_PER_US;
        let cpu_us = self.cpu_us.saturating_sub(before.cpu_us);
        let passed_us = self.at.since_us(before.at);
        passed_us >= SHORTEST_US && cpu_us.saturating_sub(work_us) > passed_us / 2
    }
}

impl State {
    /// A sign of life for the watchdog, also when there is nothing to do.
    pub(super) fn beat(&mut self, now: Now) {
        self.metrics.heartbeat_us.set(now.moment.us.max(1));
        self.metrics.mesh_backlog_bytes.set(self.port.backlog_total_bytes());
        self.tell_failures(now);
        self.scratch.give_back();
        self.shard.give_back();
        self.look_for_spinning(now);
        self.wheel.insert(now.moment.plus_ms(BEAT_MS), Deadline::Beat);
    }

    /// Counts a stretch in which the CPU went where no work was, and says where one begins.
    fn look_for_spinning(&mut self, now: Now) {
        let account = Account::of(&self.metrics, now.moment, thread_cpu_us(), self.reads);
        let spins = account.shows_spinning(&self.account);
        if spins {
            self.metrics.spinning_beats.add(1);
        }
        if spins && !self.was_spinning {
            warn!(
                core = ?self.shard.core(),
                "this core takes CPU time for which it has done nothing: waiting for its sockets \
                 fails again and again, or a handler of the program takes long"
            );
        }
        (self.account, self.was_spinning) = (account, spins);
    }

    /// A bell that rings for nothing would do so unseen: a round in which nothing was read, received
    /// or due since the one before is counted. Parks that fail are no rounds.
    pub(super) fn count_round(&mut self) {
        self.metrics.ticks.add(1);
        let before = (self.reads_before, self.events_before);
        (self.reads_before, self.events_before) = (self.reads, self.events);
        if before == (self.reads, self.events) {
            self.metrics.empty_rounds.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half a second in which that was done.
    fn shows(done: Account) -> bool {
        let before = Account {
            at: Moment { us: 7_000_000 },
            cpu_us: 900_000,
            measured_us: 800_000,
            steps: 1_000,
            bytes_in: 1 << 30,
        };
        let now = Account {
            at: before.at.plus_ms(500),
            cpu_us: before.cpu_us + done.cpu_us,
            measured_us: before.measured_us + done.measured_us,
            steps: before.steps + done.steps,
            bytes_in: before.bytes_in + done.bytes_in,
        };
        now.shows_spinning(&before)
    }

    #[test]
    fn a_thread_that_is_busy_with_nothing_is_seen() {
        let spinning = Account { cpu_us: 499_000, steps: 2, ..Account::default() };
        assert!(shows(spinning));
        assert!(shows(Account { measured_us: 100_000, ..spinning }));
        assert!(shows(Account { bytes_in: 1_000_000, steps: 100, ..spinning }));
    }

    #[test]
    fn work_and_rest_are_no_spinning() {
        let busy = Account { cpu_us: 499_000, steps: 2, ..Account::default() };
        for (what, done) in [
            ("idle", Account { cpu_us: 300, steps: 2, ..busy }),
            ("one long tick", Account { measured_us: 490_000, ..busy }),
            ("many small messages", Account { steps: 10_000, bytes_in: 500_000, ..busy }),
            ("few large ones", Account { steps: 200, bytes_in: 20 << 20, ..busy }),
            ("a share of a CPU that others want", Account { cpu_us: 200_000, ..busy }),
        ] {
            assert!(!shows(done), "{what}");
        }
        let begun = Account { at: Moment { us: 2_000 }, cpu_us: 1_900, ..Account::default() };
        assert!(!begun.shows_spinning(&Account::default()), "a core that begins");
    }

    #[test]
    fn the_account_of_a_thread_adds_up() {
        let core = metrics::Core::default();
        core.loop_time.record(40);
        core.inflate.time_us.add(2);
        core.ticks.add(3);
        core.bytes_in.add(5);
        let account = Account::of(&core, Moment { us: 9 }, 8, 4);
        let expected =
            Account { at: Moment { us: 9 }, cpu_us: 8, measured_us: 42, steps: 7, bytes_in: 5 };
        assert_eq!(account, expected);
        let (spent, began) = (thread_cpu_us(), std::time::Instant::now());
        while thread_cpu_us() < spent + 2_000 {
            assert!(began.elapsed().as_secs() < 30, "a thread that runs takes CPU time");
        }
    }
}
