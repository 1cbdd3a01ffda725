//! What overrules a file: the environment, and the flags.

use super::listener::Draft;
use super::load::{Flag, Loading, is_secret_file};
use super::nearest::nearest;
use super::problem::{Cause, Origin};
use super::setting::{Given, Setting};
use super::table::{Bounds, Key, Kind};
use super::{ListenAddress, VARIABLE_PREFIX, key, keys};

impl Loading<'_> {
    /// Environment variables, in the order of their names.
    pub(super) fn environment(&mut self, variables: &[(String, String)]) {
        let mut ours: Vec<_> = variables
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(VARIABLE_PREFIX)?, name, value)))
            .filter(|(rest, ..)| !is_foreign(rest))
            .collect();
        ours.sort();
        for (rest, name, value) in ours {
            let origin = Origin::Variable(name.clone());
            if rest == "LISTEN" {
                let items: Vec<_> = value.split(',').map(|item| (origin.clone(), item)).collect();
                self.listen(&items);
                continue;
            }
            let Some((section, key_name)) = rest.split_once('_') else {
                self.unknown_variable(origin, name);
                continue;
            };
            let path =
                named_by(name).unwrap_or_else(|| format!("{section}.{key_name}").to_lowercase());
            match key(&path) {
                Some(known) if known.kind == Kind::Secret => {
                    self.secret(known, value, None, origin);
                }
                Some(_) => self.setting(&path, Given::Text(value), |_| origin.clone()),
                None if is_secret_file(&path) => {
                    self.setting(&path, Given::Text(value), |_| origin.clone());
                }
                None => self.unknown_variable(origin, name),
            }
        }
    }

    fn unknown_variable(&mut self, origin: Origin, name: &str) {
        let known: Vec<String> = keys().map(Key::variable).collect();
        let known = known.iter().map(String::as_str).chain(["RINGROOM_LISTEN", "RINGROOM_CONFIG"]);
        let nearest = nearest(name, known).map(str::to_owned);
        self.problem(Some(origin), "", Cause::Unknown { nearest });
    }

    /// Flags, in the order given.
    pub(super) fn flags(&mut self, flags: &[Flag]) {
        let listen: Vec<_> = flags
            .iter()
            .filter(|flag| flag.key == "listen")
            .flat_map(|flag| {
                flag.value.split(',').map(|item| (Origin::Flag(flag.name.clone()), item))
            })
            .collect();
        if !listen.is_empty() {
            self.listen(&listen);
        }
        for flag in flags.iter().filter(|flag| flag.key != "listen") {
            let origin = Origin::Flag(flag.name.clone());
            self.setting(&flag.key, Given::Text(&flag.value), |_| origin.clone());
        }
    }

    /// Listeners in place of those that the sources before gave.
    fn listen(&mut self, items: &[(Origin, &str)]) {
        self.drafts.clear();
        for (origin, item) in items {
            match ListenAddress::read(&Given::Text(item.trim()), &Bounds::NONE) {
                Ok(address) => self.drafts.push((Some(origin.clone()), Draft::plain(address))),
                Err(wrong) => self.wrong(origin.clone(), "listen", wrong),
            }
        }
    }
}

/// The setting, or the file of a secret, that a variable gives. A table within a table is divided
/// from it by an underscore too, so that the name alone does not say where it ends.
fn named_by(variable: &str) -> Option<String> {
    keys().find_map(|key| match variable.strip_prefix(&key.variable())? {
        "" => Some(key.path()),
        "_FILE" if key.kind == Kind::Secret => Some(format!("{}_file", key.path())),
        _ => None,
    })
}

/// Whether a variable with our prefix is not a setting: the one that names the file, and those
/// that Kubernetes sets in every container when a service is called `ringroom`.
fn is_foreign(rest: &str) -> bool {
    let port = |rest: &str| rest == "PORT" || rest.starts_with("PORT_");
    rest == "CONFIG"
        || rest == "SERVICE_HOST"
        || port(rest.strip_prefix("SERVICE_").unwrap_or(rest))
}
