//! What has changed between two configurations, for a reload that says what has to wait.

use super::table::Key;
use super::{Config, keys};

/// The settings in which `old` and `new` are not the same: `section.key`, `listen` for
/// whatever has changed in a listener, and `namespaces` and
/// `tenants` for that in one of those.
#[must_use]
pub fn differences(old: &Config, new: &Config) -> Vec<String> {
    let listeners = (old.listeners != new.listeners).then(|| "listen".to_owned());
    let namespaces = (old.namespace_rooms != new.namespace_rooms).then(|| "namespaces".to_owned());
    let tenants = (old.tenants != new.tenants).then(|| "tenants".to_owned());
    let changed = keys().filter(|key| !(key.same)(old, new)).map(Key::path);
    listeners.into_iter().chain(namespaces).chain(tenants).chain(changed).collect()
}
