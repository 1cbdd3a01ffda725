//! What the scripts keep of a room's history, and how it is read.

use super::command::Work;
use super::data::Data;
use super::lua::Scripts;
use super::reply::Reply;

const PUBLISH: &[u8] = include_bytes!("../../script/publish.lua");
const OPEN: &[u8] = include_bytes!("../../script/open.lua");

/// The stamp of all publications.
const STAMP: &str = "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// A room on a server of its own.
#[derive(Default)]
struct Room {
    scripts: Scripts,
    data: Data,
    now_ms: u64,
}

/// Publications, bytes and milliseconds.
type Bounds = (usize, usize, u64);

/// A publication of so many bytes, with its time where it is written.
fn wire(bytes: usize, at_ms: u64) -> Vec<u8> {
    let mut wire = vec![0; bytes];
    wire[20] = 0xCF;
    wire[21..29].copy_from_slice(&at_ms.to_be_bytes());
    wire
}

impl Room {
    fn run(&mut self, script: &[u8], keys: &[&str], words: &[&[u8]]) -> Vec<Reply> {
        let hash = self.scripts.load(script);
        let script = self.scripts.get(hash.as_bytes()).expect("it was loaded");
        self.data.expire(self.now_ms);
        let (now_us, told) = (self.now_ms * 1_000, &mut Vec::new());
        let mut work = Work { data: &mut self.data, now_us, run: 1, listeners: &|_| 0, told };
        let keys: Vec<_> = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
        let words: Vec<_> = words.iter().map(|word| word.to_vec()).collect();
        match self.scripts.run(script, (&keys, &words), &mut work) {
            Reply::List(items) => items,
            other => panic!("no list: {other:?}"),
        }
    }

    fn publish(&mut self, bytes: usize, (count_max, bytes_max, age_max_ms): Bounds) {
        let wire = wire(bytes, self.now_ms);
        let bounds = [count_max as u64, bytes_max as u64, age_max_ms].map(|most| most.to_string());
        let mut words = [&b""[..], b"0", b"fresh", STAMP.as_bytes(), &wire].to_vec();
        words.extend(bounds.iter().map(String::as_bytes));
        words.extend([&b"60000000"[..], b"0", b"0"]);
        self.run(PUBLISH, &["state", "history", "channel"], &words);
    }

    /// The offsets that are kept.
    fn kept(&self) -> Vec<u64> {
        let stream = self.data.stream(b"history").expect("it is a stream");
        stream.into_iter().flat_map(|stream| stream.entries.keys().map(|id| id.0)).collect()
    }

    /// One page, where what was seen must be there: its offsets, and whether there may be more.
    fn page(
        &mut self,
        (seen, all): (&str, &str),
        (count, bytes): (usize, usize),
        last: &str,
    ) -> (Vec<u64>, bool) {
        let (count, bytes) = (count.to_string(), bytes.to_string());
        let epoch = if (seen, last) == ("0", "+") { "" } else { "1.fresh" };
        let words = [epoch, seen, "other", STAMP, "1", all, &count, &bytes, last, "60000", "60000"];
        let words = words.map(str::as_bytes);
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
fn of_a_history_as_much_is_kept_as_its_bounds_allow_and_a_little_more() {
    const WIDE: Bounds = (1_000, 1_000_000, 10_000_000);
    for (bounds, least, most) in [
        ((16, WIDE.1, WIDE.2), 16, 32),
        ((WIDE.0, 1_600, WIDE.2), 16, 18),
        ((WIDE.0, 99, WIDE.2), 1, 1),
        // A minute and two seconds.
        ((WIDE.0, WIDE.1, 2_000), 62, 78),
    ] {
        let mut room = Room::default();
        for last in 1..=200 {
            room.now_ms += 1_000;
            room.publish(100, bounds);
            let kept = room.kept();
            assert_eq!(kept.last(), Some(&(last as u64)), "the last one always stays");
            assert!((least.min(last)..=most).contains(&kept.len()), "{bounds:?}: {kept:?}");
        }
    }
}

#[test]
fn what_is_far_too_much_goes_bit_by_bit() {
    const SMALL: Bounds = (10_000, 1_000, 1_000_000);
    let mut room = Room::default();
    for _ in 0..3_000 {
        room.publish(100, (10_000, 1_000_000, 1_000_000));
    }
    // Of two one is worth a look.
    room.publish(100, SMALL);
    for most in [1_978, 955, 11, 11] {
        room.publish(100, SMALL);
        let count = room.kept().len();
        assert!((10..=most).contains(&count), "{count}, not {most}");
    }
    // When all of it has run out, what there was counts no longer.
    room.now_ms += 2_000_000;
    for count in 1..=10 {
        room.publish(100, SMALL);
        assert_eq!(room.kept().len(), count);
    }
}

#[test]
fn small_ones_in_front_of_large_ones_do_not_keep_these() {
    const BOUNDS: Bounds = (100_000, 400_000, 1_000_000);
    let mut room = Room::default();
    for _ in 0..3_000 {
        room.publish(110, BOUNDS);
    }
    let mut most = 0;
    for _ in 0..60 {
        room.publish(20_000, BOUNDS);
        let stream = room.data.stream(b"history").expect("it is a stream").expect("it is there");
        most = most.max(stream.entries.values().map(|fields| fields[1].len()).sum());
    }
    // An eighth, and what comes while the small ones go.
    assert!((400_000..=400_000 + 50_000 + 3 * 20_000).contains(&most), "{most}");
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

#[test]
fn what_is_trimmed_while_pages_are_read_is_not_taken_for_lost() {
    const WIDE: Bounds = (100, 100_000, 1_000);
    let mut room = Room::default();
    for _ in 0..40 {
        room.publish(100, WIDE);
    }
    let down = |from: u64, to: u64| (to..=from).rev().collect::<Vec<_>>();
    assert_eq!(room.page(("2", "1"), (100, 1_500), "+"), (down(40, 25), true));
    for _ in 0..24 {
        room.publish(100, (100, 5_000, 1_000));
    }
    let kept = room.kept();
    assert!((3..24).contains(&kept[0]), "what was seen has gone: {kept:?}");
    assert_eq!(room.page(("2", "1"), (100, 100_000), "24"), (down(24, kept[0]), false));
    assert_eq!(room.kept(), kept);
    // The room has ended, or begun anew.
    room.data = Data::default();
    assert_eq!(room.page(("2", "1"), (100, 100_000), "24"), (Vec::new(), false));
    assert!(room.data.hash(b"state").is_ok_and(|state| state.is_none()), "it is only read");
    assert_eq!(room.page(("2", "1"), (100, 100_000), "+"), (Vec::new(), false));
    assert!(room.data.hash(b"state").is_ok_and(|state| state.is_some()));
}
