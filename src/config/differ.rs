//! What has changed between two configurations, for a reload that says what it did.

use std::fmt;

use super::table::Kind;
use super::{Config, Listener, keys};

/// A setting that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `section.key`, or `listen`.
    pub path: String,
    /// As TOML; of a secret, only that it is one.
    pub before: String,
    /// As TOML; of a secret, only that it is one.
    pub after: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} → {}", self.path, self.before, self.after)
    }
}

/// Every setting in which `after` is not as `before`.
#[must_use]
pub fn differences(before: &Config, after: &Config) -> Vec<Difference> {
    let listeners = (before.listeners != after.listeners).then(|| Difference {
        path: "listen".to_owned(),
        before: addresses(&before.listeners),
        after: addresses(&after.listeners),
    });
    let changed = keys().filter(|key| !(key.same)(before, after)).map(|key| {
        let show = |config| match key.kind {
            Kind::Secret => "(hidden)".to_owned(),
            Kind::Number | Kind::Plain => (key.show)(config).unwrap_or_else(|| "none".to_owned()),
        };
        Difference { path: key.path(), before: show(before), after: show(after) }
    });
    listeners.into_iter().chain(changed).collect()
}

/// The addresses alone: what else a listener has may have changed all the same.
fn addresses(listeners: &[Listener]) -> String {
    let addresses = listeners.iter().map(|listener| listener.address.to_string());
    addresses.collect::<Vec<_>>().join(", ")
}
