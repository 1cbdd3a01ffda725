//! The scripts, all in one list, and what several of them are given.
//!
//! Invariant: all keys of a call share a hash tag, and all that a script touches is among them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::{Cmd, Script};

use crate::room::broker::Seen;

/// Which script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Publish,
    Open,
    Look,
    Say,
    Forget,
    Beat,
    Recall,
    Amend,
    Enter,
    KeepSession,
    FetchSession,
    Decide,
    Decided,
    Agree,
    Mark,
    End,
    Patterns,
    Call,
    Invite,
    Probe,
}

/// All of them, in the order of their names.
const TEXTS: [(Name, &str); 20] = [
    (Name::Publish, include_str!("publish.lua")),
    (Name::Open, include_str!("open.lua")),
    (Name::Look, include_str!("look.lua")),
    (Name::Say, include_str!("say.lua")),
    (Name::Forget, include_str!("forget.lua")),
    (Name::Beat, include_str!("beat.lua")),
    (Name::Recall, include_str!("recall.lua")),
    (Name::Amend, include_str!("amend.lua")),
    (Name::Enter, include_str!("enter.lua")),
    (Name::KeepSession, include_str!("keep_session.lua")),
    (Name::FetchSession, include_str!("fetch_session.lua")),
    (Name::Decide, include_str!("decide.lua")),
    (Name::Decided, include_str!("decided.lua")),
    (Name::Agree, include_str!("agree.lua")),
    (Name::Mark, include_str!("mark.lua")),
    (Name::End, include_str!("end.lua")),
    (Name::Patterns, include_str!("patterns.lua")),
    (Name::Call, include_str!("call.lua")),
    (Name::Invite, include_str!("invite.lua")),
    (Name::Probe, include_str!("probe.lua")),
];

/// What a call of a script has beside its keys, as a rule: a command that grows with each of its
/// arguments costs nearly three times as many instructions.
const ARGUMENTS: usize = 16;
/// Bytes of these.
const ARGUMENTS_BYTES: usize = 512;

/// What Redis knows them by.
#[derive(Debug)]
pub(super) struct Scripts([Script; TEXTS.len()]);

impl Scripts {
    pub(super) fn new() -> Self {
        Self(TEXTS.map(|(_, text)| Script::new(text)))
    }

    /// What makes Redis know them.
    pub(super) fn load(&self) -> impl Iterator<Item = Cmd> + use<> {
        TEXTS.iter().map(|(_, text)| {
            let mut command = redis::cmd("SCRIPT");
            command.arg("LOAD").arg(*text);
            command
        })
    }

    /// A call of one, which lacks its arguments.
    pub(super) fn call(&self, name: Name, keys: &[String]) -> Cmd {
        let bytes = keys.iter().map(String::len).sum::<usize>() + ARGUMENTS_BYTES;
        let mut command = Cmd::with_capacity(keys.len() + ARGUMENTS, bytes);
        command.arg("EVALSHA").arg(self.0[name as usize].get_hash()).arg(keys.len()).arg(keys);
        command
    }
}

/// How far a home has followed a room, as scripts take it.
pub(super) fn add_seen(command: &mut Cmd, seen: Option<&Seen>) {
    match seen {
        Some(seen) => command.arg(&*seen.epoch).arg(seen.offset),
        None => command.arg("").arg(0),
    };
}

/// What tells a new epoch from another of the same number.
pub(super) fn fresh(chance: &[u8]) -> String {
    let mut digest = [0; 9];
    let hash = ring::digest::digest(&ring::digest::SHA256, chance);
    digest.copy_from_slice(&hash.as_ref()[..9]);
    URL_SAFE_NO_PAD.encode(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_the_order_of_the_names_and_every_script_says_what_it_is() {
        // What frees memory, and what says that somebody is still there: without it living nodes, what
        // they receive and the places of users would lapse where memory is full. And what tells what is
        // known, and has it kept.
        let allowed = [
            Name::Beat,
            Name::Agree,
            Name::Patterns,
            Name::Enter,
            Name::Forget,
            Name::End,
            Name::Look,
            Name::Recall,
        ];
        for (at, (name, text)) in TEXTS.iter().enumerate() {
            assert_eq!(*name as usize, at);
            let first = match name {
                // Whatever Redis refuses to write.
                Name::Decided => "#!lua flags=no-writes",
                name if allowed.contains(name) => "#!lua flags=allow-oom",
                _ => "#!lua",
            };
            assert_eq!(text.lines().next(), Some(first), "{name:?}");
        }
    }
}
