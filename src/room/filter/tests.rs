use proptest::prelude::*;

use super::*;

const NOW: Moment = Moment { us: 10_000_000 };

fn texts(list: &[&str]) -> Box<[Box<str>]> {
    list.iter().map(|text| Box::from(*text)).collect()
}

fn receiver<'a>(user: Option<&'a str>, metadata: &'a [(Box<str>, Scalar)]) -> Receiver<'a> {
    Receiver { user, metadata, opened_at: Moment { us: 4_000_001 } }
}

fn includes(filter: &Filter, receiver: &Receiver<'_>) -> bool {
    Audience::new(filter.clone()).includes(receiver, NOW)
}

#[test]
fn an_empty_filter_is_for_everyone() {
    for user in [None, Some("ann")] {
        assert!(includes(&Filter::default(), &receiver(user, &[])));
    }
}

#[test]
fn users_are_named_or_excluded() {
    let only = Filter { users: Some(texts(&["cid", "ann", "ann"])), ..Filter::default() };
    let but = Filter { exclude_users: texts(&["cid", "ann"]), ..Filter::default() };
    let nobody = Filter { users: Some(texts(&[])), ..Filter::default() };
    for (user, named) in
        [(Some("ann"), true), (Some("bob"), false), (Some("cid"), true), (None, false)]
    {
        assert_eq!(includes(&only, &receiver(user, &[])), named, "{user:?}");
        assert_eq!(includes(&but, &receiver(user, &[])), !named, "{user:?}");
        assert!(!includes(&nobody, &receiver(user, &[])));
    }
}

#[test]
fn metadata_must_say_the_same_in_the_same_kind() {
    let has = [
        (Box::from("plan"), Scalar::Text("pro".into())),
        (Box::from("age"), Scalar::Integer(1)),
        (Box::from("beta"), Scalar::Bool(true)),
    ];
    let wants =
        |key: &str, value| Filter { metadata: [(key.into(), value)].into(), ..Filter::default() };
    for (filter, expected) in [
        (wants("plan", Scalar::Text("pro".into())), true),
        (wants("plan", Scalar::Text("free".into())), false),
        (wants("age", Scalar::Integer(1)), true),
        (wants("age", Scalar::Text("1".into())), false),
        (wants("beta", Scalar::Integer(1)), false),
        (wants("beta", Scalar::Bool(true)), true),
        (wants("unknown", Scalar::Bool(false)), false),
    ] {
        assert_eq!(includes(&filter, &receiver(None, &has)), expected, "{filter:?}");
    }
}

#[test]
fn a_connection_is_old_enough_from_the_very_millisecond() {
    for (age_ms, expected) in [(0, true), (5_999, true), (6_000, false)] {
        let filter = Filter { min_connection_age_ms: Some(age_ms), ..Filter::default() };
        assert_eq!(includes(&filter, &receiver(None, &[])), expected, "{age_ms}");
    }
}

#[test]
fn how_many_is_another_question() {
    let audience = Audience::new(Filter { max_connections: Some(1), ..Filter::default() });
    for _ in 0..3 {
        assert!(audience.includes(&receiver(None, &[]), NOW));
        assert!(audience.take(5) && audience.take_again(5) && !audience.take(6));
    }
    let unlimited = Audience::new(Filter::default());
    assert!((0..100).all(|reader| unlimited.take(reader) && unlimited.take_again(reader)));
    assert!(audience.bytes() > unlimited.bytes());
}

#[test]
fn its_memory_grows_with_what_it_names() {
    let empty = Audience::new(Filter::default()).bytes();
    let named = Filter { users: Some(texts(&["ann", "bob"])), ..Filter::default() };
    assert_eq!(Audience::new(named).bytes(), empty + 2 * 16 + 6);
}

proptest! {
    #[test]
    fn all_that_is_given_must_hold(
        users in prop::option::of(prop::collection::vec("[a-c]", 0..4)),
        exclude in prop::collection::vec("[a-c]", 0..4),
        wanted in prop::collection::vec(("[xy]", 0..2_i64), 0..3),
        age_ms in prop::option::of(0..8_000_u64),
        user in prop::option::of("[a-c]"),
        has in prop::collection::vec(("[xy]", 0..2_i64), 0..3),
    ) {
        let boxed = |list: &[String]| list.iter().map(|text| Box::from(text.as_str())).collect();
        let pairs = |list: &[(String, i64)]| {
            list.iter().map(|(key, value)| (Box::from(key.as_str()), Scalar::Integer(*value)))
                .collect::<Box<[_]>>()
        };
        let filter = Filter {
            users: users.as_deref().map(boxed),
            exclude_users: boxed(&exclude),
            metadata: pairs(&wanted),
            min_connection_age_ms: age_ms,
            max_connections: None,
        };
        let expected = users.is_none_or(|users| user.as_ref().is_some_and(|user| users.contains(user)))
            && !user.as_ref().is_some_and(|user| exclude.contains(user))
            && wanted.iter().all(|pair| has.contains(pair))
            && age_ms.is_none_or(|age_ms| age_ms <= 5_999);
        let metadata = pairs(&has);
        prop_assert_eq!(includes(&filter, &receiver(user.as_deref(), &metadata)), expected);
    }
}
