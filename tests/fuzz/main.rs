//! The fuzz targets without a fuzzer, so that every machine can run them: each goes through its
//! corpus, and through as many mutations of it as `FUZZ_RUNS` says, from the seed `FUZZ_SEED`.
//! `tests/fuzz/run.sh --long` runs the same targets under libFuzzer.

#![allow(clippy::unwrap_used, reason = "a test may")]
#![allow(clippy::cast_possible_truncation, reason = "a test's numbers are small or random")]

mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

const RUNS: u64 = 20_000;
const INPUT_BYTES_MAX: usize = 4_096;

/// Bytes at which parsers change their minds.
const TELLING: [u8; 16] = [
    0x00, 0x01, 0x7E, 0x7F, 0x80, 0x81, 0x88, 0x89, 0xC1, 0xFE, 0xFF, b'\r', b'\n', b',', b';',
    b'"',
];

/// A generator of numbers (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

fn drive(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|it| it.unwrap().path()).collect();
    files.sort();
    let corpus: Vec<Vec<u8>> = files.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(!corpus.is_empty(), "{target} has a corpus");
    let seed = number("FUZZ_SEED", 1);
    let mut chance = Chance(seed);
    for input in &corpus {
        attempt(target, check, input, seed);
    }
    for _ in 0..number("FUZZ_RUNS", RUNS) {
        let input = mutated(&corpus, &mut chance);
        attempt(target, check, &input, seed);
    }
}

fn attempt(target: &str, check: fn(&[u8]), input: &[u8], seed: u64) {
    if catch_unwind(AssertUnwindSafe(|| check(input))).is_err() {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("{target}, seed {seed}, fails for {hex}");
    }
}

fn mutated(corpus: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut input = corpus[chance.below(corpus.len())].clone();
    for _ in 0..=chance.below(6) {
        let at = chance.below(input.len() + 1);
        let end = (at + chance.below(16)).min(input.len());
        match chance.below(7) {
            0 if at < input.len() => input[at] ^= 1 << chance.below(8),
            1 if at < input.len() => input[at] = TELLING[chance.below(TELLING.len())],
            2 => input.insert(at, chance.next() as u8),
            3 => drop(input.drain(at..end)),
            4 => {
                let piece = input[at..end].to_vec();
                input.splice(at..at, piece);
            }
            5 => {
                let other = &corpus[chance.below(corpus.len())];
                let from = chance.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => input.truncate(input.len().max(1) - chance.below(4).min(input.len())),
        }
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

#[test]
fn command() {
    drive("command", targets::command::check);
}

#[test]
fn connection() {
    drive("connection", targets::connection::check);
}

#[test]
fn cookie() {
    drive("cookie", targets::cookie::check);
}

#[test]
fn decoder() {
    drive("decoder", targets::decoder::check);
}

#[test]
fn deflate() {
    drive("deflate", targets::deflate::check);
}

#[test]
fn extension() {
    drive("extension", targets::extension::check);
}

#[test]
fn forwarded() {
    drive("forwarded", targets::forwarded::check);
}

#[test]
fn head() {
    drive("head", targets::head::check);
}

#[test]
fn proxy() {
    drive("proxy", targets::proxy::check);
}

#[test]
fn token() {
    drive("token", targets::token::check);
}
