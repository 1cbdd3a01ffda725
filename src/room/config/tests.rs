#![allow(clippy::unwrap_used, reason = "a test may")]

use std::borrow::Cow;

use super::*;
use crate::config::Config;
use crate::protocol::Secret;

const SALT: Salt = Salt([7; 16]);

fn bounds() -> Bounds {
    Bounds::new(&Config::default())
}

#[allow(clippy::needless_pass_by_value, reason = "it reads better without ampersands")]
fn settings(patch: RoomPatch) -> Settings {
    let mut settings = Settings::default();
    settings.apply(&patch, &bounds(), SALT).unwrap();
    settings
}

/// Of a room with these settings, of which the last are the namespace's.
fn resolve(layers: &[&Settings]) -> RoomConfig {
    let none = Settings::default();
    let (own, parents, namespace) = match layers {
        [] => (&none, &[][..], &none),
        [own] => (*own, &[][..], &none),
        [own, parents @ .., namespace] => (*own, parents, *namespace),
    };
    RoomConfig::resolve(Layers { own, parents, namespace }, &bounds())
}

fn password(text: &str) -> Option<Secret<'static>> {
    Some(Secret(Cow::Owned(text.to_owned())))
}

#[test]
fn a_room_that_nobody_configured_has_the_defaults() {
    let config = resolve(&[]);
    assert_eq!(config.history, history::Bounds { size: 0, bytes: 1 << 20, ttl_ms: 300_000 });
    assert_eq!(config.max_members, 100_000);
    assert_eq!(config.message_bytes, 65_536);
    assert_eq!((config.room_type, config.mode), (RoomType::Public, Mode::BestEffort));
    assert_eq!(config.slow_consumer, SlowConsumer::Disconnect);
    assert_eq!(config.publish_role, Role::Guest);
    assert!(config.rate.is_unlimited() && !config.persistent && !config.parent_inherit);
}

#[test]
fn a_mode_that_recovers_keeps_history() {
    for mode in [Mode::Reliable, Mode::Guaranteed] {
        let own = settings(RoomPatch { mode: Some(mode), ..RoomPatch::default() });
        assert_eq!(resolve(&[&own]).history.size, 100);

        let none = settings(RoomPatch { history_size: Some(0), ..RoomPatch::default() });
        assert_eq!(resolve(&[&own, &none]).history.size, 100);
        assert_eq!(resolve(&[&none, &own]).history.size, 100);

        let seven = settings(RoomPatch { history_size: Some(7), ..RoomPatch::default() });
        assert_eq!(resolve(&[&own, &seven]).history.size, 7);
    }
}

#[test]
fn each_field_comes_from_the_nearest_layer_that_sets_it() {
    let own = settings(RoomPatch {
        max_members: Some(10),
        parent_inherit: Some(true),
        ..RoomPatch::default()
    });
    let parent = settings(RoomPatch {
        max_members: Some(20),
        slow_mode_ms: Some(500),
        password: password("parent"),
        parent_inherit: Some(true),
        ..RoomPatch::default()
    });
    let namespace = settings(RoomPatch {
        slow_mode_ms: Some(900),
        publish_role: Some(Role::Member),
        password: password("namespace"),
        ..RoomPatch::default()
    });
    let config = resolve(&[&own, &parent, &namespace]);
    assert_eq!(config.max_members, 10);
    assert_eq!(config.slow_mode_ms, 500);
    assert_eq!(config.publish_role, Role::Member);
    assert!(config.password.unwrap().is("parent"));
    assert!(config.parent_inherit);

    let own = settings(RoomPatch { max_members: Some(10), ..RoomPatch::default() });
    let config = resolve(&[&own, &parent, &namespace]);
    assert_eq!((config.max_members, config.slow_mode_ms), (10, 900), "it inherits nothing");
    assert!(!config.parent_inherit, "that a parent inherits is its own affair");
}

#[test]
fn a_later_patch_changes_only_what_it_gives() {
    let mut own = settings(RoomPatch {
        mode: Some(Mode::Reliable),
        password: password("one"),
        ..RoomPatch::default()
    });
    let patch = RoomPatch { persistent: Some(true), ..RoomPatch::default() };
    own.apply(&patch, &bounds(), SALT).unwrap();
    let config = resolve(&[&own]);
    assert_eq!((config.mode, config.persistent), (Mode::Reliable, true));
    assert!(config.password.as_ref().unwrap().is("one"));
    assert!(!config.password.unwrap().is("two"));

    let lower = settings(RoomPatch { password: password("lower"), ..RoomPatch::default() });
    let patch = RoomPatch { password: password(""), ..RoomPatch::default() };
    own.apply(&patch, &bounds(), SALT).unwrap();
    assert_eq!(resolve(&[&own, &lower]).password, None);
}

/// What is kept of the room's password.
fn kept(own: &Settings) -> Password {
    resolve(&[own]).password.expect("one is set")
}

#[test]
fn the_same_password_leaves_another_trace_in_another_room() {
    let patch = RoomPatch { password: password("open sesame"), ..RoomPatch::default() };
    let of = |salt| {
        let mut own = Settings::default();
        own.apply(&patch, &bounds(), salt).unwrap();
        own
    };
    let (mut one, other) = (of(Salt([1; 16])), of(Salt([2; 16])));
    assert_ne!(kept(&one), kept(&other));
    assert_ne!(kept(&one).to_hex()[32..], kept(&other).to_hex()[32..], "nor beside the salt");
    assert!(kept(&one).is("open sesame") && kept(&other).is("open sesame"));
    assert!(!kept(&one).is("open sesame ") && !kept(&one).is(""));
    let before = one.clone();
    one.apply(&patch, &bounds(), Salt([3; 16])).unwrap();
    assert_eq!(one, before, "the same again changes nothing");
}

#[test]
fn a_trace_travels_with_its_salt_and_no_other_is_read() {
    let own = settings(RoomPatch { password: password("open sesame"), ..RoomPatch::default() });
    let told = kept(&own).to_hex();
    assert_eq!(told.len(), 96);
    assert_eq!(Password::from_hex(&told), Some(kept(&own)));
    for wrong in [
        "",
        "0a",
        &told[32..],
        &told[2..],
        &told[1..],
        &format!("{told}00"),
        &told.replace('0', "g"),
    ] {
        assert_eq!(Password::from_hex(wrong), None, "{wrong}");
    }
    for signs in [format!("+{}", &told[1..]), "ü".repeat(48)] {
        assert_eq!(Password::from_hex(&signs), None, "{signs}");
    }
    assert!(!format!("{own:?}").contains(&told[..8]), "nothing of it is shown");
}

#[test]
fn each_wrong_field_has_its_error_and_changes_nothing() {
    let filter = |words: &[&str], patterns: &[&str]| {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        Some(WordFilter { words: owned(words), patterns: owned(patterns), ..Default::default() })
    };
    let patch = RoomPatch::default;
    let long = "x".repeat(16_385);
    let many = vec!["x"; 1_001];
    for (patch, error) in [
        (RoomPatch { max_members: Some(0), ..patch() }, ConfigError::MaxMembers),
        (RoomPatch { password: password(&long), ..patch() }, ConfigError::Password),
        (RoomPatch { durability: Some(Durability::Always), ..patch() }, ConfigError::Durability),
        (RoomPatch { history_size: Some(100_001), ..patch() }, ConfigError::HistorySize),
        (RoomPatch { history_bytes: Some(0), ..patch() }, ConfigError::HistoryBytes),
        (RoomPatch { history_bytes: Some(u64::MAX), ..patch() }, ConfigError::HistoryBytes),
        (RoomPatch { history_ttl_ms: Some(0), ..patch() }, ConfigError::HistoryTtl),
        (RoomPatch { history_size: Some(0), ..patch() }, ConfigError::HistoryNeeded),
        (RoomPatch { message_bytes: Some(0), ..patch() }, ConfigError::MessageBytes),
        (RoomPatch { message_bytes: Some(65_537), ..patch() }, ConfigError::MessageBytes),
        (
            RoomPatch { rate: Some(RoomRate { per_second: 1, burst: 0 }), ..patch() },
            ConfigError::Rate,
        ),
        (RoomPatch { slow_mode_ms: Some(86_400_001), ..patch() }, ConfigError::SlowMode),
        (RoomPatch { word_filter: filter(&[&long], &[]), ..patch() }, ConfigError::WordFilterSize),
        (RoomPatch { word_filter: filter(&many, &[]), ..patch() }, ConfigError::WordFilterSize),
        (RoomPatch { word_filter: filter(&[""], &[]), ..patch() }, ConfigError::WordFilterPattern),
        (RoomPatch { word_filter: filter(&[], &["("]), ..patch() }, ConfigError::WordFilterPattern),
        (
            RoomPatch { word_filter: filter(&[], &["((a{99}){99}){99}"]), ..patch() },
            ConfigError::WordFilterPattern,
        ),
    ] {
        let mut own = settings(RoomPatch { mode: Some(Mode::Reliable), ..RoomPatch::default() });
        let before = own.clone();
        assert_eq!(own.apply(&patch, &bounds(), SALT), Err(error));
        assert_eq!(own, before);
    }
}

#[test]
fn a_durable_server_takes_durable_rooms() {
    use crate::room::broker::{Disk, Kept};
    let disks = [Disk::Memory, Disk::EverySecond, Disk::Always];
    for (durability, disk, replicas) in [
        (Durability::Memory, Disk::Memory, 0),
        (Durability::Everysec, Disk::EverySecond, 0),
        (Durability::Always, Disk::Always, 0),
        (Durability::Replicas(2), Disk::Memory, 2),
    ] {
        let patch = RoomPatch { durability: Some(durability), ..RoomPatch::default() };
        for kept in disks.iter().flat_map(|disk| (0..4).map(|count| (*disk, count))) {
            let kept = Kept { disk: kept.0, replicas: kept.1 };
            let taken = Settings::default().apply(&patch, &Bounds { kept, ..bounds() }, SALT);
            let expected = if kept.disk >= disk && kept.replicas >= replicas {
                Ok(())
            } else {
                Err(ConfigError::Durability)
            };
            assert_eq!(taken, expected, "{durability:?} of {kept:?}");
        }
    }
}

#[test]
fn what_is_described_and_applied_again_is_the_same() {
    let own = settings(RoomPatch {
        room_type: Some(RoomType::InviteOnly),
        mode: Some(Mode::Guaranteed),
        rate: Some(RoomRate { per_second: 3, burst: 9 }),
        slow_consumer: Some(SlowConsumer::Latest),
        presence: Some(false),
        compress: Some(false),
        ..RoomPatch::default()
    });
    let config = resolve(&[&own]);
    let again = settings(config.describe());
    assert_eq!(resolve(&[&again]), config);
}

#[test]
fn no_password_shows() {
    let own = settings(RoomPatch { password: password("canary"), ..RoomPatch::default() });
    let config = resolve(&[&own]);
    assert!(config.describe().password.is_none());
    for shown in [format!("{own:?}"), format!("{config:?}"), format!("{:?}", config.describe())] {
        assert!(!shown.contains("canary"), "{shown}");
    }
}
