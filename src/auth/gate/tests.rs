mod others;
mod tenants;

use std::sync::Arc;

use super::{Gate, Limits, Verdict};
use crate::auth::Algorithm::{EdDsa, Es256, Hs256};
use crate::auth::key::VerifyingKey;
use crate::auth::revocation::issued_before_ms;
use crate::auth::tests::support::{
    HEADER, NOW, NOW_MS, SECRET, at, gate, pair, proof, setup, signed, trust,
};
use crate::auth::{
    Answer, KeySource, Permit, Policy, Question, Refusal, Revocation, Revoked, Right, RoomVerdict,
    Setup, SourceId, Strategy, Trust, Whom,
};
use crate::hash::Seed;
use crate::id::TenantId;
use crate::room::name::RoomName;

const ED: &str =
    r#"{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

/// A set with the public half of our own key of Ed25519, under this name.
fn set(kid: &str) -> Arc<str> {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let body: String = crate::auth::tests::support::ED25519_PUBLIC
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    let x = URL_SAFE_NO_PAD.encode(&STANDARD.decode(body).expect("PEM")[12..]);
    format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{x}"}}]}}"#).into()
}

fn with_source() -> Gate {
    let source = KeySource { url: "https://id.example/keys".into(), issuer: None, algorithm: None };
    gate(setup(Trust { sources: vec![source], ..Trust::default() }))
}

fn token(kid: &str) -> String {
    signed_until(kid, NOW + 100_000)
}

fn signed_until(kid: &str, exp: u64) -> String {
    let header = format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#);
    signed(EdDsa, &header, &format!(r#"{{"sub":"ann","exp":{exp}}}"#))
}

/// In a word.
fn word(gate: &mut Gate, at_ms: u64, secret: &str) -> Result<&'static str, Refusal> {
    match gate.judge(at(at_ms), &proof(secret)) {
        Verdict::Accepted(_) => Ok("accepted"),
        Verdict::Refused(refusal) => Err(refusal),
        Verdict::Ask(_) => Ok("asked"),
    }
}

fn learn(gate: &mut Gate, at_ms: u64, keys: Result<Arc<str>, Refusal>) -> bool {
    gate.learn(at(at_ms), &Answer::Keys { policy: 1, source: SourceId(0), keys })
}

#[test]
fn keys_of_a_url_are_asked_for_learned_and_replaced() {
    let mut gate = with_source();
    assert_eq!(word(&mut gate, NOW_MS, &token("a")), Ok("asked"));
    assert!(learn(&mut gate, NOW_MS, Ok(set("a"))));
    assert_eq!(word(&mut gate, NOW_MS, &token("a")), Ok("accepted"));
    let at = |seconds: u64| NOW_MS + seconds * 1_000;
    // It may be newer than the set: nobody is to blame, and the URL is left alone for a while.
    assert_eq!(word(&mut gate, at(1), &token("b")), Err(Refusal::Unavailable));
    assert_eq!(word(&mut gate, at(10), &token("b")), Ok("asked"));
    learn(&mut gate, at(10), Ok(set("a")));
    assert_eq!(word(&mut gate, at(10), &token("b")), Err(Refusal::UnknownKey), "it was asked for");
    assert_eq!(word(&mut gate, at(11), &token("c")), Err(Refusal::Unavailable), "this was not");
    learn(&mut gate, at(15), Ok(set("a")));
    assert_eq!(word(&mut gate, at(16), &token("b")), Err(Refusal::UnknownKey), "nor is it there");
    assert_eq!(word(&mut gate, at(25), &token("b")), Ok("asked"), "it may be now");
    assert!(learn(&mut gate, at(25), Ok(set("b"))));
    assert_eq!(word(&mut gate, at(25), &token("b")), Ok("accepted"));
    let gone = word(&mut gate, at(26), &token("a"));
    assert_eq!(gone, Err(Refusal::UnknownKey), "remembered no more");
    learn(&mut gate, at(40), Err(Refusal::Unavailable));
    assert_eq!(word(&mut gate, at(40), &token("d")), Err(Refusal::Unavailable), "nobody knows");
    assert_eq!(word(&mut gate, at(42), &token("d")), Ok("asked"));
}

#[test]
fn names_that_no_set_has_are_remembered_up_to_a_limit() {
    let mut gate = with_source();
    learn(&mut gate, NOW_MS, Ok(set("a")));
    for round in 1..100 {
        let at_ms = NOW_MS + round * 10_000;
        for index in 0..20 {
            assert_eq!(word(&mut gate, at_ms, &token(&format!("{round}.{index}"))), Ok("asked"));
        }
        learn(&mut gate, at_ms, Ok(set("a")));
        let found =
            |gate: &mut Gate, index: u64| word(gate, at_ms, &token(&format!("{round}.{index}")));
        assert_eq!(found(&mut gate, 0), Err(Refusal::UnknownKey));
        assert_eq!(found(&mut gate, 19), Err(Refusal::Unavailable), "one of too many: later");
    }
    let shown = format!("{:?}", gate.sources);
    assert!(shown.matches("Key(…)").count() <= 100, "{shown}");
}

#[test]
fn a_url_that_gives_no_keys_costs_its_own_tokens_alone() {
    let mut gate = with_source();
    assert_eq!(word(&mut gate, NOW_MS, &token("a")), Ok("asked"));
    for nothing in [Err(Refusal::Unavailable), Ok("<html>".into()), Ok("{}".into())] {
        learn(&mut gate, NOW_MS, nothing);
        assert_eq!(word(&mut gate, NOW_MS, &token("a")), Err(Refusal::Unavailable));
    }
    assert_eq!(word(&mut gate, NOW_MS + 2_000, &token("a")), Ok("asked"), "again after a while");
    learn(&mut gate, NOW_MS + 2_000, Ok(set("a")));
    assert_eq!(word(&mut gate, NOW_MS + 2_000, &token("a")), Ok("accepted"));
    learn(&mut gate, NOW_MS + 3_000, Err(Refusal::Unavailable));
    assert_eq!(
        word(&mut gate, NOW_MS + 3_000, &token("a")),
        Ok("accepted"),
        "what was learned stays"
    );
    let day_ms = 24 * 60 * 60 * 1_000;
    let long = gate.sources.keys(SourceId(0), at(NOW_MS + 2_000 + day_ms).moment);
    assert!(long.is_empty(), "but no longer than a day");
    let at_ms = NOW_MS + 2_000 + day_ms;
    let fresh = |kid| signed_until(kid, NOW + 200_000);
    assert_eq!(word(&mut gate, at_ms, &fresh("a")), Ok("asked"), "then as if none was known");
    learn(&mut gate, at_ms, Err(Refusal::Unavailable));
    assert_eq!(word(&mut gate, at_ms, &fresh("a")), Err(Refusal::Unavailable));
}

#[test]
fn a_set_that_is_empty_withdraws_all_its_keys_and_an_odd_key_none() {
    let mut gate = with_source();
    let odd = set("a").replace("\"keys\":[", "\"keys\":[{\"kty\":\"RSA\",\"n\":5},");
    assert!(learn(&mut gate, NOW_MS, Ok(odd.into())));
    assert_eq!(word(&mut gate, NOW_MS, &token("a")), Ok("accepted"));
    learn(&mut gate, NOW_MS + 20_000, Ok("<html>".into()));
    assert_eq!(word(&mut gate, NOW_MS + 20_000, &token("a")), Ok("accepted"));
    assert!(learn(&mut gate, NOW_MS + 30_000, Ok(r#"{"keys":[]}"#.into())));
    assert!(word(&mut gate, NOW_MS + 30_000, &token("a")).is_err(), "good no more");
}

#[test]
fn another_issuer_s_url_is_not_asked() {
    let source = |issuer: &str| KeySource {
        url: format!("https://{issuer}/keys").into(),
        issuer: Some(issuer.into()),
        algorithm: None,
    };
    let mut gate =
        gate(setup(Trust { sources: vec![source("a"), source("b")], ..Trust::default() }));
    let token = |issuer: &str| {
        let payload = format!(r#"{{"sub":"ann","iss":"{issuer}","exp":{}}}"#, NOW + 60);
        signed(EdDsa, r#"{"alg":"EdDSA","kid":"k"}"#, &payload)
    };
    for (issuer, expected) in [("a", Some(0)), ("b", Some(1)), ("c", None)] {
        match gate.judge(at(NOW_MS), &proof(&token(issuer))) {
            Verdict::Ask(Question::Keys { source, policy: 1 }) => {
                assert_eq!(Some(source.0), expected, "{issuer}");
            }
            Verdict::Refused(refusal) => {
                assert_eq!((refusal, expected), (Refusal::UnknownKey, None));
            }
            other => panic!("{other:?}"),
        }
    }
    let keys = Ok(set("k"));
    gate.learn(at(NOW_MS), &Answer::Keys { policy: 1, source: SourceId(0), keys });
    assert_eq!(word(&mut gate, NOW_MS, &token("a")), Ok("accepted"));
    assert_eq!(word(&mut gate, NOW_MS, &token("b")), Ok("asked"), "the same kid, another issuer");
}

fn asking(introspection: bool, hook: bool) -> Gate {
    gate(Setup { introspection, hook, ..setup(Trust::default()) })
}

fn ask(gate: &mut Gate, secret: &str) -> Question {
    match gate.judge(at(NOW_MS), &proof(secret)) {
        Verdict::Ask(question) => question,
        other => panic!("{other:?}"),
    }
}

fn answer(question: &Question, said: Result<&str, Refusal>) -> Answer {
    let Question::Identity { policy, fingerprint, whom, .. } = question else {
        panic!("{question:?}")
    };
    let said = said.map(Arc::from);
    Answer::Identity { policy: *policy, fingerprint: *fingerprint, whom: *whom, said }
}

#[test]
fn an_opaque_token_is_what_the_authorization_server_says() {
    let live = format!(r#"{{"active":true,"sub":"ann","tenant":"acme","exp":{}}}"#, NOW + 600);
    for (said, expected) in [
        (Ok(&*live), Ok("accepted")),
        (Ok(r#"{"active":false}"#), Err(Refusal::Denied)),
        (Ok(r#"{"sub":"ann"}"#), Err(Refusal::Denied)),
        (Ok(r#"{"active":"true","sub":"ann"}"#), Err(Refusal::Claims)),
        (Ok(r#"{"active":true}"#), Err(Refusal::Claims)),
        (Ok(r#"{"active":true,"active":false,"sub":"ann"}"#), Err(Refusal::Unavailable)),
        (Ok(r#"{"active":true,"sub":"ann","exp":1}"#), Err(Refusal::Expired)),
        (Ok(r#"{"active":true,"sub":"ann","aud":"others"}"#), Err(Refusal::Audience)),
        (Ok("<html>"), Err(Refusal::Unavailable)),
        (Err(Refusal::Unavailable), Err(Refusal::Unavailable)),
        (Err(Refusal::Busy), Err(Refusal::Busy)),
    ] {
        let mut gate = asking(true, false);
        let question = ask(&mut gate, "opaque");
        assert!(gate.learn(at(NOW_MS), &answer(&question, said)));
        assert_eq!(word(&mut gate, NOW_MS, "opaque"), expected, "{said:?}");
    }
}

#[test]
fn the_hook_says_who_it_is_and_perhaps_nobody() {
    let mut gate = asking(false, true);
    let said = r#"{"user":null,"permissions":["join"],"roles":[]}"#;
    let question = ask(&mut gate, "ticket");
    assert!(matches!(question, Question::Identity { whom: Whom::Hook, .. }));
    assert!(gate.learn(at(NOW_MS), &answer(&question, Ok(said))));
    let Verdict::Accepted(nobody) = gate.judge(at(NOW_MS), &proof("ticket")) else {
        panic!("refused")
    };
    assert_eq!((nobody.strategy, nobody.user.as_deref()), (Strategy::Hook, None));
    assert!(nobody.rights.allows(Right::Join, "x") && !nobody.rights.allows(Right::Publish, "x"));
    let later = word(&mut gate, NOW_MS + 60_000, "ticket");
    assert_eq!(later, Ok("asked"), "believed for so long and asked again");
}

#[test]
fn what_is_not_remembered_is_for_one_who_asked() {
    let hook = || Setup { hook: true, ..setup(Trust::default()) };
    let ann = r#"{"user":"ann"}"#;
    for (case, setup, cached, said) in [
        ("the backend says so", hook(), 100, r#"{"user":"ann","once":true}"#),
        ("nothing is believed", Setup { believe_ms: 0, ..hook() }, 100, ann),
        ("nothing is cached", hook(), 0, ann),
    ] {
        let limits = Limits { cached, ..Limits::default() };
        let mut gate = Gate::new(Arc::new(Policy::new(setup)), limits, Seed(1, 2));
        let question = ask(&mut gate, "ticket");
        assert!(gate.learn(at(NOW_MS), &answer(&question, Ok(said))));
        assert_eq!(word(&mut gate, NOW_MS, "ticket"), Ok("accepted"), "{case}");
        assert_eq!(word(&mut gate, NOW_MS, "ticket"), Ok("asked"), "{case}");
        assert!(gate.learn(at(NOW_MS), &answer(&question, Err(Refusal::Denied))));
        assert_eq!(word(&mut gate, NOW_MS, "ticket"), Err(Refusal::Denied), "{case}");
    }
    let limits = Limits { cached: 1, ..Limits::default() };
    let mut gate = Gate::new(Arc::new(Policy::new(hook())), limits, Seed(1, 2));
    let question = ask(&mut gate, "ticket");
    assert!(gate.learn(at(NOW_MS), &answer(&question, Ok(ann))));
    for _ in 0..2 {
        assert_eq!(word(&mut gate, NOW_MS, "ticket"), Ok("accepted"), "one is remembered");
    }
}

#[test]
fn an_answer_that_nobody_fetches_is_for_nobody_later() {
    let policy = Policy::new(Setup { hook: true, believe_ms: 0, ..setup(Trust::default()) });
    let mut gate =
        Gate::new(Arc::new(policy), Limits { questions: 4, ..Limits::default() }, Seed(1, 2));
    let question = ask(&mut gate, "ticket");
    assert!(gate.learn(at(NOW_MS), &answer(&question, Ok(r#"{"user":"ann"}"#))));
    assert_eq!(word(&mut gate, NOW_MS + 10_000, "ticket"), Ok("asked"));
    for index in 0..1_000 {
        let question = ask(&mut gate, &format!("{index}"));
        assert!(gate.learn(at(NOW_MS), &answer(&question, Ok(r#"{"user":"ann"}"#))));
        assert!(gate.remembered() <= 8, "{}", gate.remembered());
    }
}

#[test]
fn questions_are_bounded_and_an_answer_makes_room() {
    let policy = Arc::new(Policy::new(Setup { hook: true, ..setup(Trust::default()) }));
    let mut gate = Gate::new(policy, Limits { questions: 2, ..Limits::default() }, Seed(1, 2));
    let first = ask(&mut gate, "1");
    ask(&mut gate, "2");
    assert_eq!(word(&mut gate, NOW_MS, "3"), Err(Refusal::Busy));
    assert_eq!(word(&mut gate, NOW_MS, "1"), Ok("asked"), "it is one of them");
    gate.learn(at(NOW_MS), &answer(&first, Err(Refusal::Denied)));
    assert_eq!(word(&mut gate, NOW_MS, "3"), Ok("asked"));
    assert_eq!(word(&mut gate, NOW_MS + 30_000, "4"), Ok("asked"), "lost ones make room");
}

#[test]
fn an_answer_to_another_policy_is_void() {
    let mut gate = asking(false, true);
    let question = ask(&mut gate, "ticket");
    gate.replace(Arc::new(Policy::new(Setup { number: 2, hook: true, ..setup(Trust::default()) })));
    assert!(!gate.learn(at(NOW_MS), &answer(&question, Ok(r#"{"user":"ann"}"#))));
    assert_eq!(word(&mut gate, NOW_MS, "ticket"), Ok("asked"));
    assert!(!learn(&mut gate, NOW_MS, Ok(format!("{{\"keys\":[{ED}]}}").into())));
}

#[test]
fn what_is_remembered_is_bounded_and_bad_ones_drive_out_no_good_one() {
    let key = VerifyingKey::secret(Hs256, SECRET).expect("a key");
    let policy = Arc::new(Policy::new(setup(trust([key]))));
    let mut gate = Gate::new(policy, Limits { cached: 100, ..Limits::default() }, Seed(1, 2));
    let good = signed(Hs256, HEADER, &format!(r#"{{"sub":"ann","exp":{}}}"#, NOW + 60));
    assert_eq!(word(&mut gate, NOW_MS, &good), Ok("accepted"));
    let remembered = |gate: &mut Gate| {
        let key = super::Key::of(gate.seed, false, &good);
        gate.cache.get(&key, at(NOW_MS)).is_some()
    };
    for index in 0..10_000 {
        assert!(word(&mut gate, NOW_MS, &format!("{good}{index}")).is_err());
        assert!(gate.remembered() <= 200, "{}", gate.remembered());
    }
    assert!(remembered(&mut gate));
    for index in 0..10_000 {
        let payload = format!(r#"{{"sub":"u{index}","exp":{}}}"#, NOW + 60);
        assert_eq!(word(&mut gate, NOW_MS, &signed(Hs256, HEADER, &payload)), Ok("accepted"));
        assert!(gate.remembered() <= 200, "{}", gate.remembered());
    }
    assert!(!remembered(&mut gate), "good ones do");
}

#[test]
fn a_replaced_policy_is_gone_by_at_once() {
    let mut gate = gate(setup(trust([pair(Es256).1])));
    let token =
        signed(Es256, r#"{"alg":"ES256"}"#, &format!(r#"{{"sub":"a","exp":{}}}"#, NOW + 60));
    assert_eq!(word(&mut gate, NOW_MS, &token), Ok("accepted"));
    gate.replace(Arc::new(Policy::new(setup(trust([pair(EdDsa).1])))));
    assert_eq!(word(&mut gate, NOW_MS, &token), Err(Refusal::Algorithm));
}

fn revoke_ann(gate: &mut Gate, now_ms: u64) {
    let (tenant, what) = (TenantId::DEFAULT, Revoked::User("ann".into()));
    let issued_before_ms = issued_before_ms(now_ms, gate.policy().leeway_ms());
    let revocation = Revocation { tenant, what, issued_before_ms, until_ms: now_ms + 1_000_000 };
    gate.revoke(now_ms, revocation).expect("there is room");
}

#[test]
fn a_revocation_of_a_user_takes_back_the_room_tokens_made_for_them_before() {
    let mut gate = gate(setup(trust([pair(Hs256).1])));
    let header = r#"{"alg":"HS256","typ":"room+jwt"}"#;
    let token = |more: &str| {
        let exp = NOW + 600;
        signed(Hs256, header, &format!(r#"{{"room":"vip","exp":{exp}{more}}}"#))
    };
    let room = RoomName::parse("vip").expect("a name");
    let judge = |gate: &mut Gate, more: &str| {
        let user = Some("ann");
        match gate.judge_room(at(NOW_MS + 2_000), &token(more), TenantId::DEFAULT, &room, user) {
            RoomVerdict::Granted(_) => Ok(()),
            RoomVerdict::Refused(refusal) => Err(refusal),
            RoomVerdict::Ask(question) => panic!("asked: {question:?}"),
        }
    };
    let before = format!(r#","sub":"ann","iat":{}"#, NOW - 1);
    assert_eq!(judge(&mut gate, &before), Ok(()));
    revoke_ann(&mut gate, NOW_MS + 1_000);
    for (more, expected) in [
        (before, Err(Refusal::Revoked)),
        (r#","sub":"ann""#.to_owned(), Err(Refusal::Revoked)),
        (format!(r#","sub":"ann","iat":{}"#, NOW + 20), Err(Refusal::Revoked)),
        (format!(r#","sub":"ann","iat":{}"#, NOW + 32), Ok(())),
        (format!(r#","iat":{}"#, NOW - 1), Ok(())),
    ] {
        assert_eq!(judge(&mut gate, &more), expected, "{more}");
    }
}

#[test]
fn what_was_there_at_a_revocation_is_older_though_its_clock_was_ahead_and_nobody_has_seen_it() {
    let token = |iat: u64| {
        let payload = format!(r#"{{"sub":"ann","exp":{},"iat":{iat}}}"#, NOW + 600);
        signed(Hs256, r#"{"alg":"HS256"}"#, &payload)
    };
    let ahead = token(NOW + 35);
    for (case, is_seen, is_forgotten) in
        [("warm", true, false), ("forgotten", true, true), ("cold", false, false)]
    {
        let mut gate = gate(setup(trust([pair(Hs256).1])));
        if is_seen {
            let Verdict::Accepted(accepted) = gate.judge(at(NOW_MS + 5_000), &proof(&ahead)) else {
                panic!("{case}")
            };
            revoke_ann(&mut gate, NOW_MS + 5_000);
            assert!(gate.is_revoked(NOW_MS + 5_000, &accepted), "its connection ends");
        } else {
            revoke_ann(&mut gate, NOW_MS + 5_000);
        }
        for later_ms in [5_000, 25_000, 60_000] {
            if is_forgotten {
                let policy = Arc::clone(gate.policy());
                gate.replace(policy);
            }
            let found = word(&mut gate, NOW_MS + later_ms, &ahead);
            assert_eq!(found, Err(Refusal::Revoked), "{case}, {later_ms} ms later");
        }
        let new = word(&mut gate, NOW_MS + 36_000, &token(NOW + 36));
        assert_eq!(new, Ok("accepted"), "{case}: a new login");
    }
}
