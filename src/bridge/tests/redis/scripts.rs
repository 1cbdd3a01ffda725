//! What scripts decide, each by itself.

use super::command::Work;
use super::data::Data;
use super::lua::Scripts;
use super::reply::Reply;

macro_rules! script {
    ($name:literal) => {
        include_bytes!(concat!("../../script/", $name, ".lua"))
    };
}

/// A stamp of this letter.
fn stamp(letter: &str) -> String {
    letter.repeat(18)
}

/// A server of its own.
#[derive(Default)]
struct Bench {
    scripts: Scripts,
    data: Data,
    now_ms: u64,
    /// How many listen to every channel.
    listeners: usize,
    told: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Bench {
    fn run(&mut self, script: &[u8], keys: &[&str], words: &[&str]) -> Reply {
        let hash = self.scripts.load(script);
        let script = self.scripts.get(hash.as_bytes()).expect("it was loaded");
        let listeners = self.listeners;
        let mut work = Work {
            data: &mut self.data,
            now_us: self.now_ms * 1_000,
            run: 1,
            listeners: &|_| listeners,
            told: &mut self.told,
        };
        let bytes = |all: &[&str]| all.iter().map(|it| it.as_bytes().to_vec()).collect::<Vec<_>>();
        self.scripts.run(script, (&bytes(keys), &bytes(words)), &mut work)
    }

    /// Publishes with this key, by one who has seen so much.
    fn publish(&mut self, key: &str, (epoch, offset): (&str, &str), letter: &str) -> Reply {
        let wire = format!("\u{1}{}", stamp(letter));
        let stamp = stamp(letter);
        let known = [epoch, offset, letter, &stamp, &wire];
        let words = [&known[..], &["10", "100000", "1000", "60000", "60000", "0"]].concat();
        self.run(script!("publish"), &["state", "history", "channel", key], &words)
    }

    /// The epoch, where what was seen is looked for, or must be there.
    fn open(&mut self, (epoch, offset): (&str, &str), letter: &str, trust: &str) -> String {
        let words =
            [epoch, offset, "new", &stamp(letter), trust, "0", "9", "9000", "+", "60000", "60000"];
        match self.run(script!("open"), &["state", "history", "channel", "marks"], &words) {
            Reply::List(parts) => format!("{:?}", parts[0]),
            other => panic!("{other:?}"),
        }
    }
}

fn texts(reply: &Reply) -> String {
    format!("{reply:?}")
}

#[test]
fn who_has_seen_more_than_redis_begins_the_next_epoch_when_they_publish() {
    let mut bench = Bench::default();
    assert_eq!(texts(&bench.publish("a", ("", "0"), "a")), "[\"1.a\", 1, 0, 0]");
    assert_eq!(texts(&bench.publish("b", ("1.a", "1"), "b")), "[\"1.a\", 2, 0, 0]");
    assert_eq!(texts(&bench.publish("c", ("1.a", "9"), "c")), "[\"2.c\", 2, 0, 0]");
    assert_eq!(bench.told[2].1, b"E2.c 1\n");
    let history = bench.data.stream(b"history").expect("it is a stream").expect("it is there");
    assert_eq!(history.entries.keys().map(|id| id.0).collect::<Vec<_>>(), [2]);
    assert_eq!(texts(&bench.publish("d", ("2.other", "1"), "d")), "[\"3.d\", 2, 0, 0]");
    assert_eq!(texts(&bench.publish("e", ("1.a", "9"), "e")), "[\"3.d\", 3, 0, 0]");
}

#[test]
fn what_is_published_once_more_is_written_so_that_replicas_are_waited_for() {
    let mut bench = Bench::default();
    bench.publish("key", ("", "0"), "a");
    let before = bench.data.writes;
    assert_eq!(texts(&bench.publish("key", ("1.a", "1"), "b")), "[\"1.a\", 1, 1, 0]");
    assert!(bench.data.writes > before, "the link waits for what was written before");
    assert_eq!(bench.told.len(), 1);
}

#[test]
fn another_publication_at_the_place_that_was_seen_begins_the_next_epoch() {
    for (seen, letter, trust, epoch) in [
        ("3", "c", "0", "1.a"),
        ("3", "x", "0", "2.new"),
        ("2", "b", "1", "1.a"),
        ("2", "x", "0", "2.new"),
        // It is not kept.
        ("1", "x", "0", "1.a"),
        ("1", "a", "1", "2.new"),
        ("4", "x", "0", "2.new"),
    ] {
        let mut bench = Bench::default();
        bench.publish("a", ("", "0"), "a");
        bench.publish("b", ("1.a", "1"), "b");
        bench.publish("c", ("1.a", "2"), "c");
        bench.run(b"#!lua\nredis.call('XTRIM', KEYS[1], 'MINID', '2')", &["history"], &[]);
        let found = bench.open(("1.a", seen), letter, trust);
        assert_eq!(found, format!("\"{epoch}\""), "{seen} {letter} {trust}");
    }
}

#[test]
fn a_room_ends_when_nobody_listens_and_nobody_who_lives_has_said_that_they_are_there() {
    let keys = ["state", "history", "channel", "there", "decided", "marks"];
    // Who listens, whether all are known (1) and were asked for before (2), who lives; what comes of it.
    for (listeners, is_sure, living, outcome) in [
        (1, "2", "bb", 0),
        (0, "0", "", 2),
        (0, "1", "bb", 2),
        (0, "2", "bb", 2),
        (0, "1", "cc", 1),
        (0, "2", "cc", 1),
    ] {
        let mut bench = Bench { listeners, ..Bench::default() };
        bench.publish("key", ("", "0"), "a");
        for node in ["aa", "bb"] {
            let words = [node, "1", "life", "60000", "1", "it is here"];
            bench.run(script!("say"), &["there", "channel"], &words);
        }
        let words = ["aa", is_sure, "aa", living];
        assert_eq!(bench.run(script!("end"), &keys, &words), Reply::Number(outcome), "{words:?}");
        let left = keys.iter().filter(|key| bench.data.has(key.as_bytes())).count();
        assert_eq!(left, if outcome == 1 { 0 } else { 3 });
    }
}

#[test]
fn connections_that_were_told_over_a_link_that_is_over_count_no_longer() {
    let mut bench = Bench::default();
    let mut enter = |name: &str, link_of_aa: &str| {
        let words = [name, "0", "1", "0", "", "3000", "60000", "1", link_of_aa, "bb.1"];
        bench.run(script!("enter"), &["places"], &words)
    };
    assert_eq!(enter("aa.3 0.1.1", "aa.3"), Reply::text(""));
    assert_eq!(enter("bb.1 0.1.1", "aa.3"), Reply::Number(0), "there is one");
    assert_eq!(enter("bb.1 0.1.1", "aa.4"), Reply::text(""), "it is void");
}

#[test]
fn a_node_that_says_farewell_is_not_there() {
    let mut bench = Bench::default();
    let mut beat = |node: &str, says: &str| {
        let words = [node, "3000", says, "60000"];
        texts(&bench.run(script!("beat"), &["until", "facts"], &words))
    };
    beat("aa", "1 here");
    assert_eq!(beat("bb", "2 here"), "[1, [\"aa\", 1, \"1 here\"], [\"bb\", 1, \"2 here\"]]");
    beat("aa", "");
    assert_eq!(beat("bb", "2 here"), "[0, [\"bb\", 1, \"2 here\"]]");
}

#[test]
fn a_session_is_of_the_node_that_has_fetched_it_last() {
    let mut bench = Bench { now_ms: 1_000, ..Bench::default() };
    let mut keep = |node: &str, says: &str, since: &str, came_ms_ago: &str| {
        let words = [node, "ann", says, "60000", since, came_ms_ago];
        bench.run(script!("keep_session"), &["session"], &words)
    };
    assert_eq!(keep("aa", "first", "500", ""), Reply::Number(1));
    assert_eq!(keep("bb", "second", "500", ""), Reply::Number(0));
    assert_eq!(keep("bb", "second", "501", ""), Reply::Number(1));
    assert_eq!(keep("aa", "third", "500", "500"), Reply::Number(0));
    assert_eq!(keep("aa", "third", "500", "400"), Reply::Number(1), "they came to it since");
    let mut fetch = |node: &str, asked: &str, since: &str| {
        let words = [node, "ann", "60000", asked, since];
        texts(&bench.run(script!("fetch_session"), &["session"], &words))
    };
    assert_eq!(fetch("bb", "", "0"), "[\"aa\", 600]", "that has to let go");
    assert_eq!(fetch("bb", "aa", "599"), "[\"aa\", 600]", "it has taken it again");
    assert_eq!(fetch("bb", "cc", "600"), "[\"aa\", 600]", "another one was asked");
    assert_eq!(fetch("bb", "aa", "600"), "[\"aa\", \"third\", 1000]");
    assert_eq!(fetch("bb", "", "0"), "[\"bb\", \"third\", 1001]", "later than before");
}
