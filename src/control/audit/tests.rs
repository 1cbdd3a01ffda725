use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::*;
use crate::record::Actor;

fn config(records: u32, file: Option<PathBuf>) -> config::Audit {
    config::Audit { records, file, stdout: false }
}

fn record(at_ms: u64) -> Record {
    Record::new(at_ms, Actor::Operator, Deed::Revoke)
}

fn numbers(page: &Page) -> Vec<u64> {
    page.records.iter().map(|entry| entry.number).collect()
}

#[test]
fn memory_holds_the_last_and_pages_go_through_them() {
    let trail = Trail::open(&config(5, None)).expect("no file");
    for at_ms in 1..=8 {
        trail.add(record(at_ms));
    }
    let page = |after, limit| trail.page(&Wanted { after, limit, ..Wanted::default() });
    let first = page(0, 3);
    assert_eq!((numbers(&first), first.next, first.oldest), (vec![4, 5, 6], Some(6), 4));
    let second = page(6, 3);
    assert_eq!((numbers(&second), second.next), (vec![7, 8], None));
    assert!(numbers(&page(8, 3)).is_empty());
    assert!(numbers(&page(u64::MAX - 1, 3)).is_empty());
}

#[test]
fn pages_can_be_of_one_tenant_and_one_kind() {
    let trail = Trail::open(&config(100, None)).expect("no file");
    for tenant in ["acme", "other", "acme"] {
        trail.add(Record { tenant: Some(tenant.into()), ..record(1) });
    }
    trail.add(Record { deed: Deed::Suspend, ..record(2) });
    let of = |tenant: Option<&str>, deed| {
        let tenant = tenant.map(str::to_owned);
        numbers(&trail.page(&Wanted { limit: 10, tenant, deed, ..Wanted::default() }))
    };
    assert_eq!(of(Some("acme"), None), [1, 3]);
    assert_eq!(of(None, Some(Deed::Suspend)), [4]);
    assert!(of(Some("acme"), Some(Deed::Suspend)).is_empty());
}

#[test]
fn every_record_is_a_line_of_the_file_and_a_moved_file_is_made_anew() {
    let folder = std::env::temp_dir().join(format!("ringroom-audit-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("audit.jsonl");
    let trail = Trail::open(&config(10, Some(file.clone()))).expect("a file");
    trail.add(record(1));
    trail.finish();
    std::fs::rename(&file, folder.join("old")).expect("it is there");
    trail.reopen();
    trail.lose(3);
    trail.add(record(2));
    trail.finish();
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("it is there");
    assert_eq!(read("old"), "{\"number\":1,\"at\":1,\"by\":\"operator\",\"action\":\"revoke\"}\n");
    let expected =
        "{\"lost\":3}\n{\"number\":2,\"at\":2,\"by\":\"operator\",\"action\":\"revoke\"}\n";
    assert_eq!(read("audit.jsonl"), expected);
    std::fs::remove_dir_all(&folder).expect("it is ours");
}

#[test]
fn a_file_that_takes_nothing_keeps_nobody_waiting() {
    let full = PathBuf::from("/dev/full");
    let trail = Trail::open(&config(10, Some(full))).expect("it opens");
    let began = Instant::now();
    for at_ms in 0..20_000 {
        trail.add(record(at_ms));
    }
    trail.finish();
    assert!(began.elapsed() < Duration::from_secs(20), "it went on");
    assert_eq!(trail.page(&Wanted { limit: 100, ..Wanted::default() }).records.len(), 10);
}
