use proptest::prelude::*;

use super::scope::{Scope, Scopes};
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
    prop::sample::select(vec![
        "a",
        "b",
        "a:a",
        "a:b",
        "b:",
        "",
        "*",
        "a:*",
        "as long as",
        "as long:as",
    ])
}

fn pattern_text() -> impl Strategy<Value = String> {
    let last = prop::sample::select(vec!["", "/**", "/a:**", "/b:*", "/*", "/as long:**"]);
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
        if scope.covers(inner.as_str()) && inner.matches(&room) {
            prop_assert!(outer.matches(&room));
        }
    }
    #[test]
    fn likely_scopes_are_all_that_contain_a_room_or_cover_a_pattern(
        texts in prop::collection::vec(pattern_text(), 0..24),
        on in pattern_text(),
    ) {
        let patterns = texts.iter().filter_map(|text| Pattern::parse(text).ok());
        let patterns: Vec<_> = patterns.zip(0..).collect();
        let scopes = Scopes::new(patterns.clone());
        let likely: Vec<_> = scopes.likely(&on).map(|(_, number)| *number).collect();
        let mut once = likely.clone();
        once.sort_unstable();
        once.dedup();
        prop_assert_eq!(once.len(), likely.len(), "each once");
        let (room, other) = (RoomName::parse(&on), Pattern::parse(&on));
        for (pattern, number) in patterns {
            let scope = Scope::new(pattern.clone());
            let is_in = room.as_ref().is_ok_and(|room| pattern.matches(room));
            let is_covered = other.is_ok() && scope.covers(&on);
            prop_assert!(!(is_in || is_covered) || likely.contains(&number), "{} {}", pattern, on);
        }
    }
}
