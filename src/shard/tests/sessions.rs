//! Who gets a session that several ask for.

use serde_json::Value;

use super::cluster::{Address, Cluster};
use crate::config::Config;

/// A cluster of three cores, a connection on the first, whose session lives there, and that session.
fn begin() -> (Cluster, Address, String) {
    let mut cluster = Cluster::new(3, Config::default());
    let first = cluster.open_with(0, |_| {});
    let session = cluster.read(first)[0]["session"].as_str().unwrap().to_owned();
    cluster.send(first, r#"{"type":"join","room":"a"}"#);
    cluster.read(first);
    (cluster, first, session)
}

fn ask(cluster: &mut Cluster, core: u16, session: &str) -> Address {
    cluster.open_with(core, |opened| opened.session = Some(session.to_owned()))
}

/// What a connection is told first, and whether it was replaced behind that.
fn told(cluster: &mut Cluster, at: Address) -> (Value, bool) {
    let mut messages = cluster.read(at).into_iter();
    let welcome = messages.next().unwrap();
    assert_eq!(welcome["type"], "welcome");
    (welcome, messages.any(|it| it["reason"] == "replaced"))
}

#[test]
fn an_ask_that_comes_late_from_a_connection_that_is_gone_takes_nothing() {
    let (mut cluster, first, session) = begin();
    cluster.holds = true;
    let gone = ask(&mut cluster, 2, &session);
    cluster.lose(gone);
    let back = ask(&mut cluster, 1, &session);
    for _ in 0..10 {
        cluster.carry_of(1);
        cluster.carry_of(0);
    }
    cluster.holds = false;
    cluster.carry();
    let (welcome, replaced) = told(&mut cluster, back);
    assert_eq!((&welcome["recovered"], replaced), (&true.into(), false));
    assert_eq!(welcome["rooms"][0]["room"], "a");
    assert_eq!(cluster.read(first).last().unwrap()["reason"], "replaced");
    cluster.lose(first);
    cluster.lose(back);
    cluster.wait(100_000);
    let again = ask(&mut cluster, 2, &session);
    assert_eq!(told(&mut cluster, again).0["recovered"], true);
    cluster.lose(again);
    cluster.wait(200_000);
    assert!(cluster.is_empty());
}

#[test]
fn who_had_it_keeps_it_when_the_one_that_asked_is_gone() {
    let (mut cluster, first, session) = begin();
    cluster.holds = true;
    let gone = ask(&mut cluster, 2, &session);
    cluster.lose(gone);
    cluster.holds = false;
    cluster.carry();
    assert!(cluster.read(first).is_empty());
    assert_eq!(cluster.ask(first, r#"{"type":"state.get","id":1}"#)["type"], "ok");
    cluster.lose(first);
    let back = ask(&mut cluster, 1, &session);
    assert_eq!(told(&mut cluster, back).0["recovered"], true);
}

#[test]
fn those_who_ask_at_once_get_it_in_turn() {
    let (mut cluster, first, session) = begin();
    cluster.holds = true;
    let asked = [1, 2, 0, 1, 2].map(|core| ask(&mut cluster, core, &session));
    cluster.lose(asked[1]);
    cluster.holds = false;
    cluster.carry();
    assert_eq!(cluster.read(first).last().unwrap()["reason"], "replaced");
    let welcomed = [0, 2, 3, 4].map(|at| told(&mut cluster, asked[at]));
    assert!(welcomed.iter().all(|(welcome, _)| welcome["recovered"] == true));
    assert_eq!(welcomed.iter().filter(|(_, replaced)| !replaced).count(), 1, "one has it");
    for at in asked.into_iter().chain([first]) {
        cluster.lose(at);
    }
    cluster.wait(200_000);
    assert!(cluster.is_empty());
}

#[test]
fn who_waits_gets_it_from_one_that_is_lost_before_it_was_told_to_let_go() {
    let (mut cluster, first, session) = begin();
    cluster.holds = true;
    let back = [ask(&mut cluster, 1, &session), ask(&mut cluster, 2, &session)];
    cluster.carry_of(1);
    cluster.carry_of(2);
    cluster.lose(first);
    cluster.carry_of(0);
    cluster.lose(back[0]);
    cluster.holds = false;
    cluster.carry();
    let (welcome, replaced) = told(&mut cluster, back[1]);
    assert_eq!((&welcome["recovered"], replaced), (&true.into(), false));
    assert_eq!(welcome["rooms"][0]["room"], "a");
}
