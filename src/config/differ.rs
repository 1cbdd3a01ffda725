//! What has changed between two configurations, for a reload that says what has to wait.

use super::table::Key;
use super::{Config, Listener, keys};

/// The settings in which `old` and `new` are not the same: `section.key`, `listener ADDRESS` with the row that
/// has changed in it, and `namespaces` and `tenants` for whatever has changed in one of those.
#[must_use]
pub fn differences(old: &Config, new: &Config) -> Vec<String> {
    let namespaces = (old.namespace_rooms != new.namespace_rooms).then(|| "namespaces".to_owned());
    let tenants = (old.tenants != new.tenants).then(|| "tenants".to_owned());
    let changed = keys().filter(|key| !(key.same)(old, new)).map(Key::path);
    listeners(&old.listeners, &new.listeners)
        .into_iter()
        .chain(namespaces)
        .chain(tenants)
        .chain(changed)
        .collect()
}

/// Their order is no difference.
fn listeners(old: &[Listener], new: &[Listener]) -> Vec<String> {
    let mut changed = Vec::new();
    for old in old {
        let address = &old.address;
        let Some(new) = new.iter().find(|new| new.address == *address) else {
            changed.push(format!("listener {address} (no longer there)"));
            continue;
        };
        let rows = [
            ("tls", old.tls != new.tls),
            ("proxy_protocol", old.proxy_protocol != new.proxy_protocol),
            ("deflate", old.deflate != new.deflate),
        ];
        let rows = rows.into_iter().filter(|(_, differs)| *differs);
        changed.extend(rows.map(|(row, _)| format!("listener {address} {row}")));
    }
    let added = new.iter().filter(|new| old.iter().all(|old| old.address != new.address));
    changed.extend(added.map(|new| format!("listener {} (new)", new.address)));
    changed
}
