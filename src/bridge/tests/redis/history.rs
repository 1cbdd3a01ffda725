//! What the scripts keep of a room's history, and how it is read.

use super::command::Work;
use super::data::Data;
use super::lua::Scripts;
use super::reply::Reply;

const PUBLISH: &[u8] = include_bytes!("../../script/publish.lua");
const OPEN: &[u8] = include_bytes!("../../script/open.lua");

/// A room on a server of its own.
#[derive(Default)]
struct Room {
    scripts: Scripts,
    data: Data,
    now_ms: u64,
}

/// Publications, bytes and milliseconds.
type Bounds = (usize, usize, u64);

impl Room {
    fn run(&mut self, script: &[u8], keys: &[&str], words: &[&str]) -> Vec<Reply> {
        let hash = self.scripts.load(script);
        let script = self.scripts.get(hash.as_bytes()).expect("it was loaded");
        self.data.expire(self.now_ms);
        let (now_us, told) = (self.now_ms * 1_000, &mut Vec::new());
        let mut work = Work { data: &mut self.data, now_us, run: 1, listeners: &|_| 0, told };
        let bytes = |texts: &[&str]| -> Vec<_> {
            texts.iter().map(|text| text.as_bytes().to_vec()).collect()
        };
        match self.scripts.run(script, (&bytes(keys), &bytes(words)), &mut work) {
            Reply::List(items) => items,
            other => panic!("no list: {other:?}"),
        }
    }

    fn publish(&mut self, bytes: usize, (count_max, bytes_max, age_max_ms): Bounds) {
        let [count_max, bytes_max] = [count_max, bytes_max].map(|most| most.to_string());
        let (wire, age_max_ms) = ("x".repeat(bytes), age_max_ms.to_string());
        let words = ["", "0", "fresh", "", &wire, &count_max, &bytes_max, &age_max_ms];
        let words = [&words[..], &["60000000", "0", "0"]].concat();
        self.run(PUBLISH, &["state", "history", "channel"], &words);
    }

    /// The offsets that are kept.
    fn kept(&self) -> Vec<u64> {
        let stream = self.data.stream(b"history").expect("it is a stream");
        stream.into_iter().flat_map(|stream| stream.entries.keys().map(|id| id.0)).collect()
    }

    /// What the state says of it: bytes, and since when the first is there.
    fn said(&self) -> [u64; 2] {
        let state = self.data.hash(b"state").expect("it is a hash").expect("it is there");
        [&b"bytes"[..], b"since"].map(|field| {
            let text = String::from_utf8(state[field].clone()).expect("digits");
            text.parse().expect("a number")
        })
    }

    /// One page: its offsets, and whether there may be more.
    fn page(
        &mut self,
        (seen, all): (&str, &str),
        (count, bytes): (usize, usize),
        last: &str,
    ) -> (Vec<u64>, bool) {
        let (count, bytes) = (count.to_string(), bytes.to_string());
        let epoch = if seen == "0" { "" } else { "1.fresh" };
        let words =
            [epoch, seen, "other", "", "0", all, &count, &bytes, last, "60000000", "60000000"];
        let keys = ["state", "history", "channel", "marks"];
        let answer = self.run(OPEN, &keys, &words);
        let Reply::List(entries) = &answer[3] else { panic!("{answer:?}") };
        let offset = |entry: &Reply| match entry {
            Reply::List(parts) => match &parts[0] {
                Reply::Text(id) => {
                    let id = std::str::from_utf8(id).expect("an ID");
                    id.split('-').next().expect("an offset").parse().expect("a number")
                }
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        (entries.iter().map(offset).collect(), answer[4] == Reply::Number(1))
    }
}

#[test]
fn of_a_history_as_much_is_kept_as_its_bounds_allow_and_an_eighth() {
    const WIDE: Bounds = (1_000, 1_000_000, 1_000_000);
    for (bounds, least) in [
        ((16, WIDE.1, WIDE.2), 16),
        ((1, WIDE.1, WIDE.2), 1),
        ((WIDE.0, 1_600, WIDE.2), 16),
        ((WIDE.0, 99, WIDE.2), 1),
        ((WIDE.0, WIDE.1, 160), 16),
    ] {
        let mut room = Room::default();
        for last in 1..=100 {
            room.now_ms += 10;
            room.publish(100, bounds);
            let kept = room.kept();
            let count = kept.len();
            assert!(
                (least.min(last)..=least + least / 8 + 1).contains(&count),
                "{bounds:?}: {kept:?}"
            );
            assert_eq!(kept.last(), Some(&(last as u64)), "the last one always stays");
            assert_eq!(room.said()[0], 100 * count as u64);
            assert!(room.said()[1] <= 10 * kept[0], "none is taken for younger than it is");
        }
    }
}

#[test]
fn what_has_run_out_counts_no_longer_and_what_is_far_too_much_goes_bit_by_bit() {
    let mut room = Room::default();
    for _ in 0..200 {
        room.publish(10, (1_000, 10_000, 50));
    }
    assert_eq!(room.said(), [2_000, 0]);
    // The room is made a smaller one.
    for count in [169, 138, 107, 76, 45, 14, 10] {
        room.publish(10, (10, 10_000, 50));
        assert_eq!(room.kept().len(), count);
    }
    room.now_ms = 1_000;
    room.publish(10, (10, 10_000, 50));
    assert_eq!((room.kept(), room.said()), (vec![208], [10, 1_000]));
}

#[test]
fn a_room_is_read_in_pages_from_its_end() {
    let mut room = Room::default();
    for _ in 0..40 {
        room.publish(100, (100, 100_000, 1_000));
    }
    let down = |from: u64, to: u64| (to..=from).rev().collect::<Vec<_>>();
    assert_eq!(room.page(("0", "0"), (100, 100_000), "+"), (down(40, 1), false));
    assert_eq!(room.page(("0", "0"), (100, 1_500), "+"), (down(40, 25), true));
    assert_eq!(room.page(("0", "0"), (100, 1_500), "24"), (down(24, 9), true));
    assert_eq!(room.page(("0", "0"), (100, 1_500), "8"), (down(8, 1), false));
    assert_eq!(room.page(("0", "0"), (100, 1_500), "0"), (Vec::new(), false));
    assert_eq!(room.page(("0", "0"), (11, 100_000), "+"), (down(40, 30), true));
    assert_eq!(room.page(("33", "0"), (100, 100_000), "+"), (down(40, 34), false));
    assert_eq!(room.page(("33", "1"), (100, 100_000), "+"), (down(40, 1), false));
    assert_eq!(room.page(("40", "0"), (100, 100_000), "+"), (Vec::new(), false));
}
