//! The settings as a configuration file that explains itself.
//!
//! Invariant: what is printed loads, and gives the settings that were printed, but for secrets
//! that came from the environment, which it does not show.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::follow::follower;
use super::listener::Draft;
use super::section::{NamespaceDraft, RoomDefaults, TenantDraft, TenantRows};
use super::setting::toml_string;
use super::table::{Bounds, Key, Kind, Section};
use super::{Config, SECTIONS};

const HEAD: &str = "\
# Every setting of Ringroom, with its default, its bounds and its reason.
# A file is overruled by the environment (RINGROOM_SECTION_KEY), and that by flags
# (--set section.key=value). Settings that are commented out follow from others.
";

/// `config` as a commented configuration file.
#[must_use]
pub fn print(config: &Config) -> String {
    let mut text = HEAD.to_owned();
    for (index, listener) in config.listeners.iter().enumerate() {
        let draft = Draft::of(listener);
        let defaults = Draft::default();
        let explained = index == 0;
        let mut table = |name: &str, section: &Section<Draft>| {
            heading(&mut text, name, section.about, explained);
            for key in section.keys {
                row(&mut text, key, &draft, &defaults, explained);
            }
        };
        table("[[listener]]", &Draft::SECTION);
        if draft.encrypted {
            table("[listener.tls]", &Draft::TLS_SECTION);
        }
    }
    let defaults = Config::of_rows();
    for section in SECTIONS {
        heading(&mut text, &format!("[{}]", section.name), section.about, true);
        for key in section.keys {
            row(&mut text, key, config, &defaults, true);
        }
        if section.name == "namespaces" {
            namespaces(&mut text, "", &config.namespace_rooms);
        }
    }
    tenants(&mut text, config);
    text
}

/// Each tenant with what is set for it, and once what could be.
fn tenants(text: &mut String, config: &Config) {
    let mut explained = true;
    for (name, tenant) in &config.tenants {
        let path = format!("tenants.{}", toml_string(name));
        heading(text, &format!("[{path}]"), TenantRows::SECTION.about, explained);
        let draft = TenantDraft { tenant: tenant.rows.clone() };
        for key in TenantRows::SECTION.keys {
            row(text, key, &draft, &TenantDraft::default(), explained);
        }
        namespaces(text, &format!("{path}."), &tenant.namespace_rooms);
        explained = false;
    }
}

/// Each namespace with what is set in it, and once what could be.
fn namespaces(text: &mut String, path: &str, namespaces: &BTreeMap<String, RoomDefaults>) {
    let mut explained = path.is_empty();
    for (name, rooms) in namespaces {
        let section = RoomDefaults::SECTION;
        let name = toml_string(name);
        heading(text, &format!("[{path}namespaces.{name}]"), section.about, explained);
        let draft = NamespaceDraft { namespace: rooms.clone() };
        for key in section.keys {
            row(text, key, &draft, &NamespaceDraft::default(), explained);
        }
        explained = false;
    }
}

fn heading(text: &mut String, name: &str, about: &str, explained: bool) {
    text.push('\n');
    if explained {
        line(text, format_args!("#{about}"));
    }
    line(text, format_args!("{name}"));
}

fn row<Root>(text: &mut String, key: &Key<Root>, root: &Root, defaults: &Root, explained: bool)
where
    Root: Follows,
{
    let following = root.following(key);
    if explained {
        let default = match &following {
            Some(following) => following.says.to_owned(),
            None => (key.show)(defaults).unwrap_or_else(|| "none".to_owned()),
        };
        line(text, format_args!("#{}", key.reason));
        line(text, format_args!("# Default: {default}. Takes: {}.", wanted(key)));
    }
    let commented = match following {
        Some(following) if following.unchanged => "# ",
        _ => "",
    };
    match (key.show)(root) {
        Some(value) => line(text, format_args!("{commented}{} = {value}", key.written())),
        None => line(text, format_args!("# {} =", key.written())),
    }
}

fn wanted<Root>(key: &Key<Root>) -> String {
    match key.kind {
        Kind::Number => key.bounds.to_string(),
        Kind::Secret | Kind::Plain => (key.wanted)(&Bounds::NONE),
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a string does not fail");
}

/// A default that is no constant.
struct Following {
    says: &'static str,
    /// Whether the value is that default.
    unchanged: bool,
}

trait Follows: Sized {
    fn following(&self, _: &Key<Self>) -> Option<Following> {
        None
    }
}

impl Follows for Draft {}

impl Follows for NamespaceDraft {}

impl Follows for TenantDraft {}

impl Follows for Config {
    fn following(&self, key: &Key<Self>) -> Option<Following> {
        let follower = follower(&key.path())?;
        let unchanged = (key.number)(self) == Some((follower.value)(self));
        Some(Following { says: follower.says, unchanged })
    }
}
