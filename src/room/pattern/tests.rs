#![allow(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::hash::Seed;

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

fn room(text: &str) -> RoomName {
    RoomName::parse(text).unwrap()
}

#[test]
fn each_form_matches_what_it_says() {
    for (text, yes, no) in [
        ("lobby", &["lobby"][..], &["lobby/1", "Lobby", "a/lobby", "x:lobby"][..]),
        ("*", &["lobby", "chat:lobby", "日本"], &["a/b", "a/b/c"]),
        ("**", &["lobby", "a/b/c", "chat:x/y"], &[]),
        ("support/*", &["support/eu"], &["support", "support/eu/1", "x/eu"]),
        ("support/**", &["support", "support/eu", "support/eu/1"], &["supportive", "a/support"]),
        ("*/eu", &["support/eu", "sales/eu"], &["eu", "a/b/eu"]),
        ("*/eu/**", &["a/eu", "a/eu/b/c"], &["a/b", "eu"]),
        ("chat:*", &["chat:lobby", "chat:a:b", "chat:"], &["chat", "chat:a/b", "chats:a"]),
        ("chat:**", &["chat:lobby", "chat:a/b", "chat:a/b/c"], &["chat", "xchat:a", "a/chat:b"]),
        ("chat:*/typing", &["chat:a/typing"], &["chat:typing", "chat:a/b/typing"]),
        ("a/b:*", &["a/b:c"], &["a/b", "a/c:b", "x/b:c"]),
        ("a//b", &["a//b"], &["a/b"]),
        ("a/*/b", &["a//b", "a/x/b"], &["a/b"]),
        (":*", &[":x"], &["x", "a:x"]),
    ] {
        for name in yes {
            assert!(pattern(text).matches(&room(name)), "{text} is to match {name}");
        }
        for name in no {
            assert!(!pattern(text).matches(&room(name)), "{text} is not to match {name}");
        }
    }
}

#[test]
fn each_broken_rule_has_its_name() {
    let long = "x".repeat(201);
    for (text, error) in [
        ("", PatternError::Empty),
        (&*long, PatternError::TooLong),
        ("a\nb", PatternError::Control),
        (" a", PatternError::Edge),
        ("/a", PatternError::Edge),
        ("a/", PatternError::Edge),
        ("@all", PatternError::Reserved),
        ("@user/*", PatternError::Reserved),
        ("a*", PatternError::Star),
        ("*a", PatternError::Star),
        ("***", PatternError::Star),
        ("chat:a*", PatternError::Star),
        ("chat:a:*", PatternError::Star),
        ("*:x", PatternError::Star),
        ("*/chat:*", PatternError::Star),
        ("chat:a/b:*", PatternError::Star),
        ("**/a", PatternError::AfterRest),
        ("a/**/b", PatternError::AfterRest),
        ("chat:**/a", PatternError::AfterRest),
    ] {
        assert_eq!(Pattern::parse(text), Err(error), "{text:?}");
    }
}

#[test]
fn no_pattern_finds_a_reserved_room() {
    let mut set = PatternSet::new(Seed(1, 2));
    for text in ["*", "**", "*/*", "*/**"] {
        assert!(!pattern(text).matches(&RoomName::everyone()));
        assert!(!pattern(text).matches(&RoomName::user("u").unwrap()));
        set.insert(&pattern(text), 1);
    }
    set.visit(&RoomName::everyone(), |_| panic!("found everyone"));
    set.visit(&RoomName::user("u").unwrap(), |_| panic!("found a user"));
}

#[test]
fn what_was_removed_leaves_nothing_behind() {
    let mut set = PatternSet::new(Seed(1, 2));
    let texts = ["a/b/c", "a/*/c", "a/b/**", "n:*/x", "n:**", "**", "*"];
    for (holder, text) in texts.iter().enumerate() {
        assert!(set.insert(&pattern(text), holder));
        assert!(!set.insert(&pattern(text), holder), "{text} is held already");
    }
    assert_eq!(set.len(), texts.len());
    for (holder, text) in texts.iter().enumerate() {
        assert!(!set.remove(&pattern(text), holder + 1), "{text} is another's");
        assert!(set.remove(&pattern(text), holder));
        assert!(!set.remove(&pattern(text), holder), "{text} is gone");
    }
    assert!(set.is_empty());
    assert!(!set.remove(&pattern("never/there"), 0));
    assert_eq!(format!("{set:?}"), format!("{:?}", PatternSet::<usize>::new(Seed(1, 2))));
}

/// The obvious matcher: tries every way to spread a pattern over a name.
fn slowly(pattern: &str, name: &str) -> bool {
    fn segments(pattern: &[&str], name: &[&str]) -> bool {
        match (pattern, name) {
            ([], []) | (["**"], _) => true,
            (["*", pattern @ ..], [_, name @ ..]) => segments(pattern, name),
            ([first, pattern @ ..], [segment, name @ ..]) => {
                if let Some(prefix) = first.strip_suffix(":**") {
                    return pattern.is_empty() && segment.starts_with(&format!("{prefix}:"));
                }
                if let Some(prefix) = first.strip_suffix(":*") {
                    return segment.starts_with(&format!("{prefix}:")) && segments(pattern, name);
                }
                first == segment && segments(pattern, name)
            }
            _ => false,
        }
    }
    let pattern = pattern.split('/').collect::<Vec<_>>();
    let name = name.split('/').collect::<Vec<_>>();
    segments(&pattern, &name)
}

fn name_text() -> impl Strategy<Value = String> {
    "(n:|m:)?[ab](/[ab]?[ab:]){0,3}"
}

fn pattern_text() -> impl Strategy<Value = String> {
    "(n:|m:)?([ab]|\\*)(/([ab]?[ab:]|\\*)){0,3}(/\\*\\*)?|n:\\*\\*|\\*\\*"
}

proptest! {
    #[test]
    fn it_matches_what_the_obvious_matcher_does(text in pattern_text(), name in name_text()) {
        if let (Ok(pattern), Ok(room)) = (Pattern::parse(&text), RoomName::parse(&name)) {
            prop_assert_eq!(pattern.matches(&room), slowly(&text, &name), "{} {}", text, name);
        }
    }

    #[test]
    fn a_set_finds_exactly_the_patterns_that_match(
        steps in prop::collection::vec((pattern_text(), 0..4_u8, any::<bool>()), 1..60),
        names in prop::collection::vec(name_text(), 1..10),
    ) {
        let mut set = PatternSet::new(Seed(3, 4));
        let mut model = BTreeSet::new();
        for (text, holder, insert) in steps {
            let Ok(pattern) = Pattern::parse(&text) else { continue };
            if insert {
                prop_assert_eq!(set.insert(&pattern, holder), model.insert((pattern, holder)));
            } else {
                prop_assert_eq!(set.remove(&pattern, holder), model.remove(&(pattern, holder)));
            }
            prop_assert_eq!(set.len(), model.len());
        }
        for room in names.iter().filter_map(|name| RoomName::parse(name).ok()) {
            let mut found = Vec::new();
            set.visit(&room, |holder| found.push(holder));
            found.sort_unstable();
            let matching = model.iter().filter(|(pattern, _)| pattern.matches(&room));
            let mut expected = matching.map(|(_, holder)| *holder).collect::<Vec<_>>();
            expected.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn any_text_is_a_pattern_or_an_error(text in "(\\PC|[/:@* \\x00]){0,60}") {
        if let Ok(pattern) = Pattern::parse(&text) {
            prop_assert_eq!(pattern.as_str(), &text);
        }
    }
}
