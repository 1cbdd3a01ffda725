#![allow(clippy::unwrap_used, reason = "a test may")]

use proptest::prelude::*;

use super::*;

const fn ms(ms: u64) -> Moment {
    Moment { us: ms * 1_000 }
}

fn room() -> Presence<u32> {
    Presence::new(Seed(1, 2))
}

fn id(user: &str) -> Arc<str> {
    user.into()
}

fn drained(presence: &mut Presence<u32>) -> Vec<String> {
    let mut told = Vec::new();
    presence.drain(usize::MAX, |user, change| {
        told.push(match change {
            Change::Join(None) => format!("+{user}"),
            Change::Join(Some(info)) => format!("+{user}:{info}"),
            Change::Update(info) => format!("={user}:{}", info.copied().unwrap_or_default()),
            Change::Leave => format!("-{user}"),
        });
    });
    told
}

#[test]
fn only_the_first_in_and_the_last_out_are_told() {
    let mut presence = room();
    assert!(presence.enter(&id("ann")));
    assert!(!presence.enter(&id("ann")));
    assert_eq!(drained(&mut presence), ["+ann"]);
    assert!(presence.exit("ann", 0, ms(0)));
    assert_eq!(drained(&mut presence), [""; 0]);
    assert!(presence.exit("ann", 0, ms(0)));
    assert_eq!(drained(&mut presence), ["-ann"]);
    assert!(!presence.exit("ann", 0, ms(0)));
    assert_eq!((presence.user_count(), presence.connection_count()), (0, 0));
}

#[test]
fn who_comes_back_within_the_grace_was_never_away() {
    let mut presence = room();
    presence.enter(&id("ann"));
    presence.set_info("ann", 7);
    assert_eq!(drained(&mut presence), ["+ann:7"]);
    presence.exit("ann", 100, ms(0));
    assert_eq!((presence.user_count(), presence.get("ann").unwrap().connections), (1, 0));
    assert_eq!(presence.next_timeout(), Some(ms(100)));
    presence.expire(ms(99));
    assert!(!presence.enter(&id("ann")));
    assert_eq!(presence.next_timeout(), None);
    presence.expire(ms(1_000));
    assert_eq!(presence.get("ann").unwrap().info, Some(7));
    assert_eq!(drained(&mut presence), [""; 0]);

    presence.exit("ann", 100, ms(1_000));
    presence.expire(ms(1_100));
    assert_eq!(presence.user_count(), 0);
    assert_eq!(drained(&mut presence), ["-ann"]);
}

#[test]
fn what_happened_between_two_drains_is_told_as_one_change_or_none() {
    let mut presence = room();
    let ann = id("ann");
    presence.enter(&ann);
    presence.exit("ann", 0, ms(0));
    assert!(presence.has_changes());
    assert_eq!(drained(&mut presence), [""; 0], "came and went");

    presence.enter(&ann);
    presence.set_info("ann", 1);
    presence.set_info("ann", 2);
    assert_eq!(drained(&mut presence), ["+ann:2"]);

    presence.set_info("ann", 3);
    presence.set_info("ann", 4);
    assert_eq!(drained(&mut presence), ["=ann:4"]);

    presence.exit("ann", 0, ms(0));
    presence.enter(&ann);
    assert_eq!(drained(&mut presence), ["=ann:0"], "what was said is gone");

    presence.exit("ann", 0, ms(0));
    presence.enter(&ann);
    assert_eq!(drained(&mut presence), [""; 0], "nothing had been said");
}

#[test]
fn pages_follow_each_other_whoever_comes_or_goes() {
    let mut presence = room();
    for user in ["d", "a", "c", "b", "e"] {
        presence.enter(&id(user));
    }
    let mut page = presence.page(None, 2);
    assert_eq!(page.by_ref().map(|(user, _)| &**user).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(page.next_after().map(|user| &**user), Some("b"));

    presence.exit("b", 0, ms(0));
    let mut page = presence.page(Some("b"), 3);
    assert_eq!(page.by_ref().map(|(user, _)| &**user).collect::<Vec<_>>(), ["c", "d", "e"]);
    assert_eq!(page.next_after(), None);
    assert_eq!(presence.page(Some("z"), 3).count(), 0);
}

#[test]
fn a_storm_is_drained_in_batches_in_the_order_it_came() {
    let mut presence = room();
    for n in (0..1_000).rev() {
        presence.enter(&id(&format!("{n:03}")));
    }
    let mut told = Vec::new();
    while presence.has_changes() {
        let before = told.len();
        presence.drain(64, |user, _| told.push(user.to_string()));
        assert!(told.len() - before <= 64);
    }
    assert!(told.iter().rev().is_sorted() && told.len() == 1_000);
    assert_eq!(presence.told.capacity(), 0, "memory comes back");
}

#[derive(Clone, Debug)]
enum Step {
    Enter(u8),
    Exit(u8, u64),
    SetInfo(u8, u32),
    Wait(u64),
    Drain(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let user = 0..5_u8;
    prop_oneof![
        5 => user.clone().prop_map(Step::Enter),
        5 => (user.clone(), 0..50_u64).prop_map(|(user, grace_ms)| Step::Exit(user, grace_ms)),
        2 => (user, any::<u32>()).prop_map(|(user, info)| Step::SetInfo(user, info)),
        3 => (0..30_u64).prop_map(Step::Wait),
        3 => (0..4_usize).prop_map(Step::Drain),
    ]
}

/// Who is there: connections, what they said, the end of their grace.
type Truth = BTreeMap<u8, (u32, Option<u32>, Moment)>;

fn drain(presence: &mut Presence<u32>, limit: usize, heard: &mut BTreeMap<u8, Option<u32>>) {
    presence.drain(limit, |user, change| {
        let user = user.parse::<u8>().unwrap();
        match change {
            Change::Join(info) => assert_eq!(heard.insert(user, info.copied()), None),
            Change::Update(info) => assert!(heard.insert(user, info.copied()).is_some()),
            Change::Leave => assert!(heard.remove(&user).is_some()),
        }
    });
}

proptest! {
    #[test]
    fn who_listens_ends_up_knowing_who_is_there(steps in prop::collection::vec(step(), 1..150)) {
        let mut presence = room();
        let mut truth = Truth::new();
        let mut heard = BTreeMap::new();
        let mut now = Moment::default();
        for step in steps {
            match step {
                Step::Enter(user) => {
                    let new = presence.enter(&id(&user.to_string()));
                    prop_assert_eq!(new, !truth.contains_key(&user));
                    truth.entry(user).or_default().0 += 1;
                }
                Step::Exit(user, grace_ms) => {
                    let there = truth.get_mut(&user).filter(|there| there.0 > 0);
                    let expected = there.is_some();
                    if let Some(there) = there {
                        there.0 -= 1;
                        there.2 = now.plus_ms(grace_ms);
                    }
                    prop_assert_eq!(presence.exit(&user.to_string(), grace_ms, now), expected);
                }
                Step::SetInfo(user, info) => {
                    let there = truth.get_mut(&user);
                    prop_assert_eq!(presence.set_info(&user.to_string(), info), there.is_some());
                    if let Some(there) = there {
                        there.1 = Some(info);
                    }
                }
                Step::Wait(ms) => now = now.plus_ms(ms),
                Step::Drain(limit) => drain(&mut presence, limit, &mut heard),
            }
            presence.expire(now);
            truth.retain(|_, (connections, _, leaves_at)| *connections > 0 || *leaves_at > now);
            prop_assert_eq!(presence.user_count(), truth.len());
            let connections = truth.values().map(|there| u64::from(there.0)).sum::<u64>();
            prop_assert_eq!(presence.connection_count(), connections);
            let leaving = truth.values().filter(|there| there.0 == 0).map(|there| there.2).min();
            prop_assert_eq!(presence.next_timeout(), leaving);
        }
        drain(&mut presence, usize::MAX, &mut heard);
        let said = truth.iter().map(|(user, there)| (*user, there.1)).collect::<BTreeMap<_, _>>();
        prop_assert_eq!(heard, said);
    }
}

#[test]
fn who_has_gone_from_here_is_still_heard_of_elsewhere() {
    let mut presence = room();
    presence.share();
    presence.hear(1, &id("ann"), Some(1));
    presence.enter(&id("ann"));
    presence.exit("ann", 0, ms(0));
    // Before it was told that they went from here, they say something there.
    presence.hear_info("ann", Some(7));
    assert_eq!(presence.get("ann").unwrap().info, Some(7));
    let gone = || Unsaid { user: id("ann"), connections: None, has_said: false, info: None };
    assert_eq!(presence.take_unsaid(9), (vec![gone()], false));
    // What they said here last is told to nobody, but something else may have been passed over for it.
    presence.enter(&id("ann"));
    presence.set_info("ann", 8);
    presence.hear_info("ann", Some(9));
    presence.exit("ann", 0, ms(0));
    assert_eq!(presence.take_unsaid(9), (vec![gone()], true));
}

#[test]
fn who_is_back_before_it_was_told_that_they_went_has_said_nothing() {
    let mut presence = room();
    presence.share();
    let told = |presence: &mut Presence<u32>| {
        let (said, _) = presence.take_unsaid(9);
        said.into_iter().map(|it| (it.connections, it.has_said, it.info)).collect::<Vec<_>>()
    };
    presence.enter(&id("ann"));
    presence.set_info("ann", 7);
    assert_eq!(told(&mut presence), [(Some(1), true, Some(7))]);
    presence.exit("ann", 0, ms(0));
    presence.enter(&id("ann"));
    assert_eq!(told(&mut presence), [(Some(1), true, None)]);
    // Or while it was being told, which was lost.
    presence.set_info("ann", 8);
    told(&mut presence);
    presence.exit("ann", 0, ms(0));
    assert_eq!(told(&mut presence), [(None, false, None)]);
    presence.enter(&id("ann"));
    assert_eq!(told(&mut presence), [(Some(1), false, None)]);
    presence.say_again(&id("ann"), false, true);
    assert_eq!(told(&mut presence), [(Some(1), true, None)]);
}
