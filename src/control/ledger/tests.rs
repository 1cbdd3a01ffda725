#![allow(clippy::unwrap_used, reason = "a test may")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Ledger, SPARE_LINES, standing};
use crate::decision::{Credentials, Decision, Whom};

/// A folder that is gone after the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let name = format!("ringroom-ledger-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("state")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn revoke(token: &str, until_ms: u64) -> Decision {
    let what = Credentials::Token(token.into());
    Decision::Revoke { tenant: "default".into(), what, issued_before_ms: 1, until_ms }
}

fn whom(user: &str) -> Whom {
    Whom::User { tenant: "default".into(), user: user.into() }
}

fn note(ledger: &Ledger, decision: &Decision) -> bool {
    ledger.note(decision, 0).unwrap().blocking_recv().unwrap_or(false)
}

#[test]
fn what_is_said_to_be_kept_is_there_after_a_restart_and_what_has_ended_is_not() {
    let folder = Folder::new();
    let path = folder.file();
    assert_eq!(standing(&path, 0).unwrap(), [], "a new file");
    let ledger = Ledger::new(Vec::new(), 100, Some(&path)).unwrap();
    let suspended = Decision::State { tenant: "acme".into(), suspended: true };
    let ban = Decision::Ban { whom: whom("bob"), until_ms: 900 };
    for decision in [
        revoke("short", 10),
        revoke("long", 1_000),
        Decision::Ban { whom: whom("ann"), until_ms: 900 },
        ban.clone(),
        suspended.clone(),
        Decision::Unban { whom: whom("ann") },
    ] {
        assert!(note(&ledger, &decision), "{decision:?}");
    }
    assert_eq!(ledger.bans(0), [(whom("bob"), 900)]);
    let found = standing(&path, 20).unwrap();
    assert_eq!(found, [revoke("long", 1_000), ban, suspended]);
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3, "and what has ended is out");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(Ledger::new(found, 100, Some(&path)).unwrap().bans(0), [(whom("bob"), 900)]);
}

#[test]
fn a_line_that_was_cut_off_is_left_out_and_any_other_nonsense_is_named() {
    let folder = Folder::new();
    let path = folder.file();
    let good = super::line(&revoke("a", 100));
    fs::write(&path, format!("{good}{}", &good[..20])).unwrap();
    assert_eq!(standing(&path, 0).unwrap(), [revoke("a", 100)]);
    for nonsense in ["{}\n", "what?\n", "{\"ban\":{\"whom\":\"all\"}}\n", "\n"] {
        fs::write(&path, format!("{good}{nonsense}{good}")).unwrap();
        let error = standing(&path, 0).unwrap_err().to_string();
        assert!(error.contains("state: line 2,"), "{error}");
        let left = fs::read_to_string(&path).unwrap();
        assert_eq!(left, format!("{good}{nonsense}{good}"), "the file is not touched");
    }
    let error = standing(&folder.0, 0).unwrap_err().to_string();
    assert!(error.starts_with(&folder.0.display().to_string()), "{error}");
}

#[test]
fn the_file_does_not_grow_with_what_says_nothing_any_more() {
    let folder = Folder::new();
    let path = folder.file();
    let ledger = Ledger::new(Vec::new(), 100, Some(&path)).unwrap();
    for round in 0..2 * SPARE_LINES as u64 {
        let decision = Decision::Ban { whom: whom("ann"), until_ms: 1_000 + round };
        assert!(note(&ledger, &decision));
    }
    let lines = fs::read_to_string(&path).unwrap().lines().count();
    assert!(lines <= SPARE_LINES + 2, "{lines}");
    let last = Decision::Ban { whom: whom("ann"), until_ms: 999 + 2 * SPARE_LINES as u64 };
    assert_eq!(standing(&path, 0).unwrap(), [last]);
}

#[test]
fn one_too_many_is_not_noted_until_another_has_ended() {
    let folder = Folder::new();
    let ledger = Ledger::new(Vec::new(), 2, Some(&folder.file())).unwrap();
    assert!(note(&ledger, &revoke("a", 10)) && note(&ledger, &revoke("b", 20)));
    assert!(ledger.note(&revoke("c", 30), 0).is_none());
    assert!(note(&ledger, &revoke("a", 15)), "one that is there already is no further one");
    assert!(ledger.note(&revoke("c", 30), 16).is_some());
}

#[test]
fn a_file_that_takes_nothing_is_told_of() {
    let folder = Folder::new();
    let path = folder.0.join("missing").join("state");
    let ledger = Ledger::new(Vec::new(), 10, Some(&path)).unwrap();
    assert!(!note(&ledger, &revoke("a", 10)));
    assert!(standing(&path, 0).is_err());
}
