#![allow(clippy::unwrap_used, reason = "a test may")]

use proptest::prelude::*;

use super::*;
use crate::hash::{Map, Seed};

#[test]
fn names_that_keep_the_rules_are_taken_as_they_are() {
    let long = "x".repeat(200);
    let wide = "é".repeat(100);
    for text in [
        "a",
        "lobby",
        "support/eu/42",
        "chat:lobby",
        "a//b",
        "a b",
        "a@b",
        ":",
        "*",
        "a/*",
        "日本",
        "\u{202e}evil",
        "e\u{301}",
        "\u{e9}",
        "t:1:x",
        "{slot}",
        "%2F",
        "..",
        "a\u{200b}b",
        &long,
        &wide,
    ] {
        assert_eq!(RoomName::parse(text).unwrap().as_str(), text);
    }
}

#[test]
fn each_broken_rule_has_its_name() {
    let long = "x".repeat(201);
    let wide = "é".repeat(101);
    for (text, error) in [
        ("", NameError::Empty),
        (&*long, NameError::TooLong),
        (&*wide, NameError::TooLong),
        ("a\0b", NameError::Control),
        ("a\r\nb", NameError::Control),
        ("a\u{7f}", NameError::Control),
        ("a\u{85}b", NameError::Control),
        ("\t", NameError::Control),
        (" a", NameError::Edge),
        ("a ", NameError::Edge),
        ("a\u{a0}", NameError::Edge),
        ("\u{3000}a", NameError::Edge),
        ("/a", NameError::Edge),
        ("a/", NameError::Edge),
        ("/", NameError::Edge),
        ("@", NameError::Reserved),
        ("@all", NameError::Reserved),
        ("@user/mallory", NameError::Reserved),
        ("@anything", NameError::Reserved),
    ] {
        assert_eq!(RoomName::parse(text), Err(error), "{text:?}");
    }
}

#[test]
fn reserved_rooms_are_made_only_by_their_constructors() {
    assert_eq!(RoomName::everyone().kind(), RoomKind::Everyone);
    for user in ["u", "a/b:c", "@all", " ", "\n", &"x".repeat(128)] {
        let room = RoomName::user(user).unwrap();
        assert_eq!(room.kind(), RoomKind::User(user));
        assert_eq!(room.namespace(), Some("@user"));
        assert_eq!(room.parents().count(), 0);
    }
    assert_eq!(RoomName::user(""), Err(NameError::Empty));
    assert_eq!(RoomName::user(&"x".repeat(129)), Err(NameError::TooLong));
}

#[test]
fn the_namespace_stands_before_the_first_colon() {
    for (name, namespace) in [
        ("lobby", None),
        ("chat:lobby", Some("chat")),
        ("chat:a:b", Some("chat")),
        (":a", Some("")),
        ("a/b:c", Some("a/b")),
    ] {
        assert_eq!(RoomName::parse(name).unwrap().namespace(), namespace, "{name}");
    }
    assert_eq!(RoomName::everyone().namespace(), Some("@all"));
}

#[test]
fn parents_come_nearest_first_and_are_valid_names() {
    for (name, parents) in [
        ("lobby", &[][..]),
        ("support/eu/42", &["support/eu", "support"]),
        ("chat:a/b", &["chat:a"]),
        ("a//b", &["a"]),
        ("a /b/c", &["a /b"]),
    ] {
        assert_eq!(RoomName::parse(name).unwrap().parents().collect::<Vec<_>>(), parents, "{name}");
    }
}

#[test]
fn one_name_of_two_tenants_is_two_rooms() {
    let mut rooms = Map::with_hasher(Seed(1, 2));
    for tenant in 0..3 {
        rooms.insert(RoomKey::new(TenantId(tenant), RoomName::parse("lobby").unwrap()), tenant);
    }
    assert_eq!(rooms.len(), 3);
    assert_eq!(rooms[&RoomKey::new(TenantId(2), RoomName::parse("lobby").unwrap())], 2);
}

#[test]
fn a_hostile_name_is_escaped_where_it_is_shown_for_debugging() {
    let name = RoomName::user("x\u{1b}[2J\r\n").unwrap();
    assert!(!format!("{name:?}").contains(char::is_control));
}

proptest! {
    #[test]
    fn any_text_is_a_name_with_valid_parents_or_an_error(text in "(\\PC|[/:@ \\x00]){0,80}") {
        if let Ok(name) = RoomName::parse(&text) {
            prop_assert_eq!(name.as_str(), &text);
            prop_assert!(!name.is_reserved());
            for parent in name.parents() {
                let rest = text.strip_prefix(parent).map(|rest| rest.starts_with('/'));
                prop_assert_eq!(rest, Some(true));
                prop_assert!(RoomName::parse(parent).is_ok());
            }
        }
    }

    #[test]
    fn different_users_have_different_rooms(a in "\\PC{1,20}", b in "\\PC{1,20}") {
        prop_assert_eq!(RoomName::user(&a) == RoomName::user(&b), a == b);
    }
}
