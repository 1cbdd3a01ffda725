//! What a server refuses though the line to it is of use: there is no memory left, or something is not
//! allowed.
//!
//! Invariant: that is over only when something succeeds that would have been refused for it: what Redis
//! does all the same shows nothing.

use redis::{Arg, Cmd};

use crate::metrics::LinkState;

/// What is refused now.
#[derive(Debug, Default)]
pub(super) struct Refusal {
    has_no_memory: bool,
    /// What was denied last.
    denied: Option<Kind>,
}

/// The name of a command, and which script it is.
type Kind = Vec<u8>;

impl Refusal {
    /// A command was refused, for this.
    pub(super) fn refused(&mut self, state: LinkState, command: impl FnOnce() -> Cmd) {
        match state {
            LinkState::OutOfMemory => self.has_no_memory = true,
            LinkState::Denied => self.denied = Some(kind(&command())),
            _ => {}
        }
    }

    /// A command was carried out; whether that ends anything.
    pub(super) fn allowed(&mut self, command: impl FnOnce() -> Cmd) -> bool {
        let is_over = self.denied.as_ref().is_some_and(|denied| *denied == kind(&command()));
        if is_over {
            self.denied = None;
        }
        is_over
    }

    /// A script was carried out that is refused where there is no memory.
    pub(super) fn probed(&mut self) {
        self.has_no_memory = false;
    }

    pub(super) fn state(&self) -> Option<LinkState> {
        match self {
            Self { has_no_memory: true, .. } => Some(LinkState::OutOfMemory),
            Self { denied: Some(_), .. } => Some(LinkState::Denied),
            _ => None,
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
        let mut refusal = Refusal::default();
        assert_eq!(refusal.state(), None);
        let (publish, other) = (["EVALSHA", "a", "1"], ["EVALSHA", "b", "1"]);
        refusal.refused(LinkState::Denied, || command(&publish));
        for carried_out in [&other[..], &["SPUBLISH", "a"], &["HDEL", "a"]] {
            assert!(!refusal.allowed(|| command(carried_out)), "{carried_out:?}");
            refusal.probed();
        }
        assert_eq!(refusal.state(), Some(LinkState::Denied));
        refusal.refused(LinkState::OutOfMemory, || command(&publish));
        assert!(refusal.allowed(|| command(&["EVALSHA", "a", "2", "more"])));
        assert_eq!(refusal.state(), Some(LinkState::OutOfMemory));
        assert!(!refusal.allowed(|| command(&publish)));
        refusal.probed();
        assert_eq!(refusal.state(), None);
        refusal.refused(LinkState::Lost, || command(&publish));
        assert_eq!(refusal.state(), None);
    }
}
