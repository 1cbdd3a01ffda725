use proptest::prelude::*;

use super::scope::{Beginning, Scope};
use super::{Permission, RightsBuilder};
use crate::auth::{Permit, Right};
use crate::room::name::RoomName;
use crate::room::pattern::Pattern;

fn permission(text: &str) -> Permission {
    Permission::parse(text).expect("a permission")
}

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).expect("a pattern")
}

#[test]
fn permissions_are_words_and_nothing_else() {
    for (name, right) in Right::ALL {
        assert_eq!(Permission::parse(name), Ok(Permission::Right(right)));
    }
    assert_eq!(Permission::parse("*"), Ok(Permission::All));
    let event = Permission::Event(Right::Publish, "a:b.*".into());
    assert_eq!(Permission::parse("publish:a:b.*"), Ok(event));
    let long = format!("publish:{}", "e".repeat(129));
    for bad in ["", "Join", "joins", "join:x", "publish:", "publish:a*b", "publish:\n", &long, "**"]
    {
        assert!(Permission::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn what_is_granted_everywhere_and_what_is_granted_on_rooms_add_up() {
    let mut builder = RightsBuilder::default();
    builder.assume(&permission("join"));
    builder.state(&permission("send:note.*"));
    builder.on(&pattern("news"), &[permission("publish")]);
    builder.on(&pattern("chat:**"), &[permission("publish:typing"), permission("subscribe")]);
    let rights = builder.finish().expect("few");
    for (right, on, event, allowed) in [
        (Right::Join, "anything", None, true),
        (Right::Join, "@all", None, true),
        (Right::Publish, "news", Some("x"), true),
        (Right::Publish, "news/today", None, false),
        (Right::Publish, "chat:a/b", Some("typing"), true),
        (Right::Publish, "chat:a/b", Some("typing2"), false),
        (Right::Publish, "chat:a/b", None, false),
        (Right::Publish, "chat", Some("typing"), false),
        (Right::Publish, "@user/chat:a", Some("typing"), false),
        (Right::Send, "@user", Some("note.new"), true),
        (Right::Send, "@user", Some("other"), false),
        (Right::Subscribe, "chat:*", None, true),
        (Right::Subscribe, "*", None, false),
        (Right::Moderate, "news", None, false),
    ] {
        assert_eq!(rights.allows_event(right, on, event), allowed, "{right:?} {on} {event:?}");
    }
    assert!(!rights.allows(Right::Publish, "chat:a"), "not for every event");
    assert!(rights.allows_from_outside(Right::Publish, "chat:a"));
    assert!(!rights.allows_from_outside(Right::Join, "news"), "a default grants nothing outside");
}

#[test]
fn there_are_at_most_so_many_grants() {
    let mut builder = RightsBuilder::default();
    for index in 0..=RightsBuilder::SCOPES_MAX {
        builder.on(&pattern(&format!("room/{index}")), &[Permission::All]);
    }
    assert!(builder.finish().is_err());
    let mut builder = RightsBuilder::default();
    for index in 0..=RightsBuilder::EVENTS_MAX {
        builder.state(&permission(&format!("publish:{index}")));
    }
    assert!(builder.finish().is_err());
}

fn segment() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "a:a", "a:b", "b:", "", "*", "a:*"])
}

fn pattern_text() -> impl Strategy<Value = String> {
    let last = prop::sample::select(vec!["", "/**", "/a:**", "/b:*", "/*"]);
    (prop::collection::vec(segment(), 1..4), last).prop_map(|(parts, last)| parts.join("/") + last)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_scope_contains_what_its_pattern_matches(
        text in pattern_text(),
        room in prop::collection::vec(segment(), 1..5),
    ) {
        let (Ok(pattern), Ok(room)) = (Pattern::parse(&text), RoomName::parse(&room.join("/")))
            else { return Ok(()) };
        let scope = Scope::new(pattern.clone());
        prop_assert_eq!(scope.contains(room.as_str()), pattern.matches(&room));
        prop_assert!(scope.may_hold(Beginning::of(room.as_str())) || !pattern.matches(&room));
    }

    #[test]
    fn a_covered_pattern_means_no_room_outside(
        outer in pattern_text(),
        inner in pattern_text(),
        room in prop::collection::vec(segment(), 1..5),
    ) {
        let (Ok(outer), Ok(inner)) = (Pattern::parse(&outer), Pattern::parse(&inner))
            else { return Ok(()) };
        let Ok(room) = RoomName::parse(&room.join("/")) else { return Ok(()) };
        let scope = Scope::new(outer.clone());
        prop_assert!(scope.covers(outer.as_str()), "itself");
        let inside = scope.may_hold(Beginning::of(inner.as_str()));
        prop_assert!(inside || !scope.covers(inner.as_str()));
        if scope.covers(inner.as_str()) && inner.matches(&room) {
            prop_assert!(outer.matches(&room));
        }
    }
}
