//! Defaults that depend on other settings.

use super::setting::Given;
use super::{Admission, Config, Limits, Rate, RatePerIp, RatePerUser};

/// A setting whose default is no constant.
pub(super) struct Follower {
    /// Which.
    pub(super) path: &'static str,
    /// Its default.
    pub(super) value: fn(&Config) -> u64,
    /// Its default in words.
    pub(super) says: &'static str,
}

/// In an order in which none depends on a later one.
pub(super) const FOLLOWERS: &[Follower] = &[
    Follower {
        path: "limits.frame_bytes",
        value: |config| config.limits.message_bytes.into(),
        says: "as limits.message_bytes",
    },
    Follower {
        path: "admission.connections_per_ip",
        value: |config| unless_open(config, Admission::default().connections_per_ip),
        says: "100; 0 in open mode",
    },
    Follower {
        path: "limits.connections_per_user",
        value: |config| unless_open(config, Limits::default().connections_per_user),
        says: "5; 0 in open mode",
    },
    Follower {
        path: "limits.room_creations_per_minute",
        value: |config| unless_open(config, Limits::default().room_creations_per_minute),
        says: "60; 0 in open mode",
    },
    Follower {
        path: "rate.messages_per_second",
        value: |config| unless_open(config, Rate::default().messages_per_second),
        says: "100; 0 in open mode",
    },
    Follower {
        path: "rate.burst",
        value: |config| twice(config.rate.messages_per_second),
        says: "twice rate.messages_per_second",
    },
    Follower {
        path: "rate.bytes_per_second",
        value: |config| bytes(config, Rate::default().bytes_per_second),
        says: "1048576, or limits.message_bytes if that is more; 0 in open mode",
    },
    Follower {
        path: "users.messages_per_second",
        value: |config| unless_open(config, RatePerUser::default().messages_per_second),
        says: "100; 0 in open mode",
    },
    Follower {
        path: "users.burst",
        value: |config| twice(config.users.messages_per_second),
        says: "twice users.messages_per_second",
    },
    Follower {
        path: "users.bytes_per_second",
        value: |config| bytes(config, RatePerUser::default().bytes_per_second),
        says: "1048576, or limits.message_bytes if that is more; 0 in open mode",
    },
    Follower {
        path: "addresses.messages_per_second",
        value: |config| unless_open(config, RatePerIp::default().messages_per_second),
        says: "1000; 0 in open mode",
    },
    Follower {
        path: "addresses.burst",
        value: |config| twice(config.addresses.messages_per_second),
        says: "twice addresses.messages_per_second",
    },
    Follower {
        path: "addresses.bytes_per_second",
        value: |config| bytes(config, RatePerIp::default().bytes_per_second),
        says: "10485760, or limits.message_bytes if that is more; 0 in open mode",
    },
];

fn unless_open(config: &Config, default: u32) -> u64 {
    if config.auth.mode.is_open() { 0 } else { default.into() }
}

/// A burst. At most the row's bound, not the number's: what is asked for may be that bound itself.
fn twice(messages_per_second: u32) -> u64 {
    (u64::from(messages_per_second) * 2).min(10_000_000)
}

/// A message of full size has to pass.
fn bytes(config: &Config, default: u32) -> u64 {
    let default = unless_open(config, default);
    if default == 0 { 0 } else { default.max(config.limits.message_bytes.into()) }
}

/// The follower at `path`, if its default is no constant.
pub(super) fn follower(path: &str) -> Option<&'static Follower> {
    FOLLOWERS.iter().find(|follower| follower.path == path)
}

/// Gives their defaults to the followers that are not set.
pub(super) fn follow(config: &mut Config, is_set: impl Fn(&str) -> bool) {
    if !is_set("auth.mode") && config.knows_credentials() {
        config.auth.mode = super::AuthMode::Required;
    }
    for follower in FOLLOWERS.iter().filter(|follower| !is_set(follower.path)) {
        let value = (follower.value)(config).to_string();
        let key = super::key(follower.path).expect("followers name rows (a test reads them all)");
        (key.apply)(config, &Given::Text(&value), &key.bounds)
            .expect("a follower's value is within its row's bounds (a test tries the extremes)");
    }
}
