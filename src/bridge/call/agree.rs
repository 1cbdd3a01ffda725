//! Nodes agree on the form in which they write: each tells which it knows, Redis which is in force.
//!
//! Invariant: the form in force rises one at a time, and only when no node has been there for
//! `redis.older_form_ms` that knows no newer one: so every node that is there can read what rises.

use std::ops::RangeInclusive;

use redis::{Cmd, Value};

use crate::bridge::answer::number;
use crate::bridge::desk::Desk;
use crate::bridge::keys::Keys;
use crate::bridge::script::{Name, Scripts};
use crate::config::Config;
use crate::node;
use crate::room::broker::Fault;

use super::Call;

/// What a node says, and is told.
#[derive(Clone, Debug)]
pub(in crate::bridge) struct Forms {
    /// Those that it reads and writes.
    own: RangeInclusive<u8>,
    keep_ms: u64,
    /// The one that it knows to be in force; 0: none.
    known: u64,
}

impl Forms {
    /// `found` is what Redis has told last; 0: nothing yet.
    pub(in crate::bridge) fn new(config: &Config, found: u64) -> Self {
        let redis = &config.redis;
        let mut forms = Self {
            own: node::forms(config.dev.oldest_form, config.dev.newest_form),
            // Who needs it says so with every beat.
            keep_ms: redis.older_form_ms.max(redis.lease_ms),
            known: found,
        };
        if !forms.hold(found) {
            forms.known = 0;
        }
        forms
    }

    /// Whether it is one that this node reads and writes.
    pub(in crate::bridge) fn hold(&self, form: u64) -> bool {
        u8::try_from(form).is_ok_and(|form| self.own.contains(&form))
    }

    /// The oldest and the newest.
    pub(in crate::bridge) fn own(&self) -> (u8, u8) {
        (*self.own.start(), *self.own.end())
    }

    /// Whether this process has agreed with others before.
    pub(in crate::bridge) fn is_agreed(&self) -> bool {
        self.known != 0
    }

    /// What asks Redis.
    pub(in crate::bridge) fn ask(&self, keys: &Keys, scripts: &Scripts) -> Cmd {
        let mut command = scripts.call(Name::Agree, &[keys.form()]);
        command.arg(*self.own.start()).arg(*self.own.end()).arg(self.known).arg(self.keep_ms);
        command
    }
}

/// Asked with every beat: what is in force may have risen, and is not lost with what Redis has.
#[derive(Debug)]
pub(in crate::bridge) struct Agree;

impl Call for Agree {
    fn command(&self, desk: &Desk) -> Cmd {
        desk.forms().ask(&desk.keys, &desk.scripts)
    }

    /// A form that is not among this node's ends its links (`Bridge::heed_form`).
    fn succeed(self: Box<Self>, answer: Value, desk: &mut Desk) {
        if let Some(form) = number(&answer) {
            desk.metrics.form.set(form);
        }
    }

    /// With the next beat.
    fn fail(self: Box<Self>, _fault: Fault, _desk: &mut Desk) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_a_form_that_is_known() {
        assert!(node::FORMS.contains(&crate::room::wire::VERSION));
        assert_eq!(
            Forms::new(&Config::default(), 1).own(),
            (*node::FORMS.start(), *node::FORMS.end())
        );
    }

    #[test]
    fn what_is_not_among_its_forms_a_node_does_not_know() {
        let mut config = Config::default();
        (config.dev.oldest_form, config.dev.newest_form) = (2, 4);
        for (found, is_held) in
            [(0, false), (1, false), (2, true), (4, true), (5, false), (258, false)]
        {
            let forms = Forms::new(&config, found);
            assert_eq!((forms.hold(found), forms.is_agreed()), (is_held, is_held), "{found}");
        }
    }
}
