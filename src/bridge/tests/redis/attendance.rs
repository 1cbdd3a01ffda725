//! What the scripts keep of who is in a room.

use super::command::Work;
use super::data::Data;
use super::lua::Scripts;

/// A room on a server of its own, where a node says something of one user.
#[derive(Default)]
struct Room {
    scripts: Scripts,
    data: Data,
}

impl Room {
    fn run(&mut self, script: &[u8], words: &[&str]) {
        let hash = self.scripts.load(script);
        let script = self.scripts.get(hash.as_bytes()).expect("it was loaded");
        let told = &mut Vec::new();
        let mut work = Work { data: &mut self.data, now_us: 0, run: 1, listeners: &|_| 0, told };
        let bytes = |text: &&str| text.as_bytes().to_vec();
        let keys: Vec<_> = ["there", "channel"].iter().map(bytes).collect();
        let words: Vec<_> = words.iter().map(bytes).collect();
        self.scripts.run(script, (&keys, &words), &mut work);
    }

    /// Says of a user how many connections they have ('': they have gone). What is kept of them then.
    fn say(&mut self, link: &str, connections: &str) -> Option<String> {
        let words = ["aa", link, "fresh", "60000", "0", "", "ann", connections, "0", ""];
        self.run(include_bytes!("../../script/say.lua"), &words);
        self.kept()
    }

    /// Takes back all of it.
    fn take_back(&mut self, link: &str) -> Option<String> {
        self.run(include_bytes!("../../script/forget.lua"), &["aa", "", link]);
        self.kept()
    }

    fn kept(&self) -> Option<String> {
        let hash = self.data.hash(b"there").expect("it is a hash").expect("it is there");
        hash.get(&b"uann"[..]).map(|value| value.escape_ascii().to_string())
    }
}

#[test]
fn what_a_node_says_comes_late_by_an_earlier_link_and_is_not_taken() {
    let mut room = Room::default();
    let kept = |count: u32| Some(format!("aa:{count} \\n"));
    assert_eq!(room.say("1", "1"), kept(1));
    assert_eq!(room.say("2", "2"), kept(2));
    assert_eq!((room.say("1", ""), room.take_back("1")), (kept(2), kept(2)));
    assert_eq!(room.say("2", "1"), kept(1));
    assert_eq!(room.take_back("3"), None);
    assert_eq!(room.say("2", "1"), None, "it was taken back since");
    assert_eq!(room.say("3", "1"), kept(1), "they have come again");
    // Others find that the node is no more.
    room.take_back("");
    assert_eq!(room.take_back("4"), None);
    assert_eq!(room.say("3", "1"), None);
}
