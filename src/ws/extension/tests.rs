#![allow(clippy::unwrap_used, reason = "a test may")]

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

const PLAIN: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The response to one line of offers, and how long a message may be to be compressed.
fn answer(line: &str) -> Option<(String, u32)> {
    answer_lines(&[line])
}

fn answer_lines(lines: &[&str]) -> Option<(String, u32)> {
    let agreed = negotiate(lines.iter().map(|line| line.as_bytes()))?;
    Some((agreed.response(), agreed.deflate_up_to))
}

fn plain() -> Option<(String, u32)> {
    Some((PLAIN.to_owned(), u32::MAX))
}

fn window(bits: u32) -> Option<(String, u32)> {
    let deflate_up_to = if bits == 15 { u32::MAX } else { 1 << bits };
    Some((format!("{PLAIN}; server_max_window_bits={bits}"), deflate_up_to))
}

#[test]
fn d1_a_bad_parameter_declines_its_offer_and_no_more() {
    for parameter in [
        "unknown",
        "unknown=1",
        "server_no_context_takeover=1",
        "server_no_context_takeover=true",
        "client_no_context_takeover=\"\"",
        "server_no_context_takeover; server_no_context_takeover",
        "client_max_window_bits; client_max_window_bits=10",
        "server_max_window_bits=10; server_max_window_bits=10",
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=0",
        "server_max_window_bits=08",
        "server_max_window_bits=+9",
        "server_max_window_bits=-9",
        "server_max_window_bits=9.0",
        "server_max_window_bits=010",
        "server_max_window_bits=1a",
        "server_max_window_bits=100",
        "server_max_window_bits=\"\"",
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "client_max_window_bits=08",
        "client_max_window_bits=\"\"",
        "a; b; c; d; e",
        "server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9; \
         client_max_window_bits; unknown",
    ] {
        let offer = format!("permessage-deflate; {parameter}");
        assert_eq!(answer(&offer), None, "{parameter}");
        assert_eq!(answer(&format!("{offer}, permessage-deflate")), plain(), "{parameter}");
        let second = answer_lines(&[&offer, "permessage-deflate; server_max_window_bits=9"]);
        assert_eq!(second, window(9), "{parameter}");
    }
}

#[test]
fn d2_the_first_acceptable_offer_is_taken() {
    for (lines, expected) in [
        (&["permessage-deflate; server_max_window_bits=10, permessage-deflate"][..], window(10)),
        (&["permessage-deflate, permessage-deflate; server_max_window_bits=10"], plain()),
        (&["permessage-deflate; x", "permessage-deflate; server_max_window_bits=10"], window(10)),
        (&["foo, bar; baz=1", "x-webkit-deflate-frame", "permessage-deflate"], plain()),
        (&["foo; a=\"permessage-deflate, permessage-deflate\""], None),
        (&["permessage-bzip2"], None),
        (&[""], None),
        (&[",,  ,"], None),
        (&[], None),
        (&[", ,permessage-deflate,"], plain()),
    ] {
        assert_eq!(answer_lines(lines), expected, "{lines:?}");
    }
}

#[test]
fn d3_client_max_window_bits_is_never_answered() {
    for offer in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=10",
        "permessage-deflate; client_max_window_bits=\"15\"",
    ] {
        assert_eq!(answer(offer), plain(), "{offer}");
    }
}

#[test]
fn d4_and_d5_both_sides_go_without_context_takeover_asked_or_not() {
    for offer in [
        "permessage-deflate",
        "permessage-deflate; server_no_context_takeover",
        "permessage-deflate; client_no_context_takeover",
        "permessage-deflate; client_no_context_takeover; server_no_context_takeover; \
         client_max_window_bits",
    ] {
        assert_eq!(answer(offer), plain(), "{offer}");
    }
}

#[test]
fn d6_a_server_window_is_echoed_and_honoured() {
    for bits in 8..=15 {
        let offer = format!("permessage-deflate; server_max_window_bits={bits}");
        assert_eq!(answer(&offer), window(bits));
    }
}

#[test]
fn d7_grammar() {
    for (line, expected) in [
        ("permessage-deflate; server_max_window_bits=\"10\"", window(10)),
        ("permessage-deflate; server_max_window_bits=\"1\\0\"", window(10)),
        ("permessage-deflate; server_max_window_bits=\"\\1\\0\"", window(10)),
        ("permessage-deflate;server_max_window_bits=10", window(10)),
        (" permessage-deflate\t ;  server_max_window_bits = 10 ,", window(10)),
        ("Permessage-Deflate", None),
        ("permessage-deflate; Server_Max_Window_Bits=10", None),
        ("permessage-deflate;", None),
        ("permessage-deflate; ,permessage-deflate", None),
        ("permessage-deflate;; server_no_context_takeover", None),
        ("permessage-deflate server_no_context_takeover", None),
        ("permessage-deflate; server_max_window_bits=", None),
        ("permessage-deflate; server_max_window_bits=\"10", None),
        ("permessage-deflate; server_max_window_bits=\"10\\", None),
        ("permessage-deflate; server_max_window_bits=\"10\\\"", None),
        ("permessage-deflate; server_max_window_bits=\"10\"0", None),
        ("permessage-deflate; =10", None),
        ("=; permessage-deflate", None),
        ("@, permessage-deflate", None),
        ("a=b, permessage-deflate", None),
        ("permessage-deflate, @", plain()),
    ] {
        assert_eq!(answer(line), expected, "{line}");
    }
}

#[test]
fn d7_garbage_costs_no_more_than_its_length() {
    let heaps = [
        "permessage-deflate; a=\"".to_owned() + &"\\a".repeat(500_000),
        "permessage-deflate; a=\"".to_owned() + &"\\\\\\\"".repeat(250_000),
        "permessage-deflate; ".to_owned() + &"a; ".repeat(300_000),
        "permessage-deflate; x, ".repeat(40_000),
        ", ".repeat(500_000),
        "a".repeat(1_000_000),
        " ".repeat(1_000_000),
        "permessage-deflate; a=\"\" ,".repeat(40_000),
    ];
    for heap in heaps {
        let start = Instant::now();
        assert_eq!(answer(&heap), None);
        // A quadratic walk over a megabyte takes minutes.
        assert!(start.elapsed() < Duration::from_secs(5), "{}", &heap[..30]);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(line: Vec<u8>) {
        let _ = negotiate([&line[..]]);
    }

    #[test]
    fn what_is_agreed_is_one_of_nine_answers(
        line in "(permessage-deflate|[;,= ]|server_max_window_bits=1[0-9]|[a-z\"\\\\]){0,12}",
    ) {
        if let Some((response, deflate_up_to)) = answer(&line) {
            let bits = deflate_up_to.checked_ilog2().unwrap();
            let expected = Some((response, deflate_up_to));
            prop_assert!(expected == plain() || expected == window(bits.min(15)));
        }
    }
}
