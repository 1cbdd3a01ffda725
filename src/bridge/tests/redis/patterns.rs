//! What the scripts keep of what nodes receive by patterns.

use super::command::Work;
use super::data::Data;
use super::lua::Scripts;
use super::reply::Reply;

#[test]
fn a_node_that_was_not_heard_of_for_long_is_forgotten_though_nobody_else_has_asked() {
    let mut scripts = Scripts::default();
    let hash = scripts.load(include_bytes!("../../script/patterns.lua"));
    let script = scripts.get(hash.as_bytes()).expect("it was loaded");
    let (mut data, mut told) = (Data::default(), Vec::new());
    let mut had_own = |now_ms: u64, says: &str| {
        let now_us = now_ms * 1_000;
        let mut work = Work { data: &mut data, now_us, run: 1, listeners: &|_| 0, told: &mut told };
        let bytes = |text: &&str| text.as_bytes().to_vec();
        let keys: Vec<_> = ["patterns", "watchers", "until", "calls"].iter().map(bytes).collect();
        let words = ["aa", says, "", "", "", "fresh", "120000", "180000", "100"];
        let words: Vec<_> = words.iter().map(bytes).collect();
        let Reply::List(answer) = scripts.run(script, (&keys, &words), &mut work) else {
            panic!("a list")
        };
        answer[3].clone()
    };
    let says = "[[\"default\",\"**\"]]";
    assert_eq!(had_own(1_000_000, says), Reply::Number(0));
    assert_eq!(had_own(1_119_999, ""), Reply::Number(1));
    assert_eq!(had_own(1_239_999, says), Reply::Number(0), "it says it again");
    assert_eq!(had_own(1_240_000, ""), Reply::Number(1));
}
