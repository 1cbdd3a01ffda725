//! What a server refuses though the line to it is of use: it has no memory or too few replicas for any write,
//! or something is not allowed.
//!
//! Invariant: that is over only when something succeeds that would have been refused for it: what Redis
//! does all the same shows nothing. What is denied may never be asked again, so that is also over when it
//! was not denied again for a while.

use std::time::{Duration, Instant};

use redis::{Arg, Cmd};

use crate::metrics::LinkState;

/// For how long it is told that something was denied, where nobody asks it again.
const DENIED_FOR: Duration = Duration::from_secs(60);

/// What is refused now.
#[derive(Debug, Default)]
pub(super) struct Refusal {
    /// Why it takes no writes.
    writes: Option<LinkState>,
    /// What was denied last, and when.
    denied: Option<(Kind, Instant)>,
}

/// The name of a command, and which script it is.
type Kind = Vec<u8>;

impl Refusal {
    /// A command was refused now, for this.
    pub(super) fn refused(
        &mut self,
        state: LinkState,
        now: Instant,
        command: impl FnOnce() -> Cmd,
    ) {
        match state {
            LinkState::OutOfMemory | LinkState::TooFewReplicas => self.writes = Some(state),
            LinkState::Denied => self.denied = Some((kind(&command()), now)),
            _ => {}
        }
    }

    /// A command was carried out; whether that ends anything.
    pub(super) fn allowed(&mut self, command: impl FnOnce() -> Cmd) -> bool {
        let is_over = self.denied.as_ref().is_some_and(|(denied, _)| *denied == kind(&command()));
        if is_over {
            self.denied = None;
        }
        is_over
    }

    /// A script was carried out that is refused where writes are.
    pub(super) fn probed(&mut self) {
        self.writes = None;
    }

    pub(super) fn state(&self, now: Instant) -> Option<LinkState> {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < DENIED_FOR;
        match &self.denied {
            Some((_, at)) if self.writes.is_none() && is_recent(*at) => Some(LinkState::Denied),
            _ => self.writes,
        }
    }
}

fn kind(command: &Cmd) -> Kind {
    let mut words = command.args_iter().map(|word| match word {
        Arg::Simple(bytes) => bytes,
        _ => &[],
    });
    let mut kind = words.next().unwrap_or_default().to_vec();
    if kind == b"EVALSHA" {
        kind.extend_from_slice(words.next().unwrap_or_default());
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> Cmd {
        let mut command = Cmd::new();
        command.arg(words);
        command
    }

    #[test]
    fn what_is_refused_is_so_until_something_like_it_is_not() {
        let (mut refusal, now) = (Refusal::default(), Instant::now());
        assert_eq!(refusal.state(now), None);
        let (publish, other) = (["EVALSHA", "a", "1"], ["EVALSHA", "b", "1"]);
        refusal.refused(LinkState::Denied, now, || command(&publish));
        for carried_out in [&other[..], &["SPUBLISH", "a"], &["HDEL", "a"]] {
            assert!(!refusal.allowed(|| command(carried_out)), "{carried_out:?}");
            refusal.probed();
        }
        assert_eq!(refusal.state(now), Some(LinkState::Denied));
        refusal.refused(LinkState::OutOfMemory, now, || command(&publish));
        assert!(refusal.allowed(|| command(&["EVALSHA", "a", "2", "more"])));
        assert_eq!(refusal.state(now), Some(LinkState::OutOfMemory));
        assert!(!refusal.allowed(|| command(&publish)));
        refusal.probed();
        assert_eq!(refusal.state(now), None);
        refusal.refused(LinkState::Lost, now, || command(&publish));
        assert_eq!(refusal.state(now), None);
        refusal.refused(LinkState::TooFewReplicas, now, || command(&publish));
        assert_eq!(refusal.state(now), Some(LinkState::TooFewReplicas));
    }

    #[test]
    fn what_is_not_denied_again_for_a_while_is_not_told_for_ever() {
        let (mut refusal, first) = (Refusal::default(), Instant::now());
        let end = ["EVALSHA", "end", "1"];
        let short = DENIED_FOR - Duration::from_millis(1);
        let mut denied = |at| {
            refusal.refused(LinkState::Denied, at, || command(&end));
            assert_eq!(refusal.state(at + short), Some(LinkState::Denied));
            assert_eq!(refusal.state(at + DENIED_FOR), None);
        };
        denied(first);
        denied(first + short);
        denied(first + DENIED_FOR * 3);
        // There may be no memory for longer than that: it is asked for again and again.
        refusal.refused(LinkState::OutOfMemory, first, || command(&end));
        let late = first + DENIED_FOR * 9;
        assert_eq!(refusal.state(late), Some(LinkState::OutOfMemory));
    }
}
