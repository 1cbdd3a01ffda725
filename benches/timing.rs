//! Whether the time that a refused API key takes says anything of the keys that are known: a verdict by
//! Welch's t-test over interleaved samples, in the manner of dudect.
//!
//! Two kinds of keys that are all refused are asked about in an order that is drawn by lot, each time
//! from the same buffer, which is filled from both kinds without a branch: neither the processor's
//! memory of branches nor its caches know which of them it is. Interruptions only ever add time, so the slowest samples are left out, at
//! several limits that hold for both kinds; the greatest |t| of them counts. Two controls say whether
//! the probe itself is to be trusted here and now: kinds that are the same must not be told apart, and a
//! comparison that stops at the first difference must be.
#![allow(clippy::print_stdout, reason = "the figures and the verdict are its output")]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use fixture::credential::{NOW, api_key_gate};
use ring::digest;
use ringroom::auth::api_key::{self, NewKey, SecretHash};
use ringroom::auth::{Gate, Proof, Refusal, Verdict};
use ringroom::ws::handshake::CredentialKind;

/// From here on kinds are told apart.
const LIMIT: f64 = 4.5;
/// Samples of a pair of kinds, unless `RINGROOM_TIMING_SAMPLES` says otherwise.
const SAMPLES: usize = 2_000_000;
/// Of so many at first nothing is kept.
const WARM: usize = 20_000;
/// Of the fastest samples so many in a hundred count.
const KEPT: [usize; 6] = [100, 99, 95, 90, 75, 50];

/// What is asked about, and how that is called.
type Kind<'a> = (&'a str, &'a str);

fn main() -> ExitCode {
    // `cargo test --benches` shows that it builds; what is timed then is nothing to go by.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let samples = std::env::var("RINGROOM_TIMING_SAMPLES").ok();
    let samples = samples.map_or(SAMPLES, |text| text.parse().expect("a number of samples"));
    let keys = Keys::new();
    let mut gate = api_key_gate(&keys.prefix, SecretHash::parse(&keys.stored).expect("a hash"));
    let mut judge = |key: &str| refuse(&mut gate, key);
    let first = ("the hash differs from its first byte", &*keys.differs_first);
    let last = ("the hash differs in its last byte", &*keys.differs_last);
    let mut verdicts = Vec::new();
    for (one, other) in [
        (first, last),
        (last, ("the prefix is unknown from its first letter", &keys.unknown_first)),
        (last, ("the prefix is unknown in its last letter", &keys.unknown_last)),
    ] {
        verdicts.push(tell_apart(samples, one, other, &mut judge) < LIMIT);
    }
    println!("\nControls:");
    verdicts.push(tell_apart(samples, last, ("the same", last.1), &mut judge) < LIMIT);
    let mut leak = |key: &str| stop_early(&keys.stored, key);
    verdicts.push(tell_apart(samples, first, last, &mut leak) >= LIMIT);
    let [.., same, leaking] = verdicts[..] else { unreachable!("five pairs") };
    let said = match (same && leaking, verdicts.iter().all(|it| *it)) {
        (false, _) => "NO VERDICT: a control is not as it must be; the machine is too noisy",
        (true, false) => "FAILED: kinds of refused keys are told apart",
        (true, true) => "PASSED: no kinds of refused keys are told apart, and the controls hold",
    };
    println!("\n{said}");
    if verdicts.iter().all(|it| *it) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Keys that are refused by a gate that knows one prefix, and one hash.
struct Keys {
    prefix: String,
    stored: String,
    differs_first: String,
    differs_last: String,
    unknown_first: String,
    unknown_last: String,
}

impl Keys {
    fn new() -> Self {
        let make = |secret| NewKey::of(&[1; api_key::PREFIX_BYTES], &[secret; 32]);
        let (near, far) = (make(2), make(3));
        // Nobody finds a secret to a hash: what is stored is the hash of one, but for its last digit.
        let stored = changed(&near.hash.to_string(), |digits| digits.len() - 1);
        let digits = |hash: &SecretHash| hash.to_string().split_off("sha256:".len());
        assert_ne!(digits(&far.hash)[..2], stored["sha256:".len()..][..2], "the first byte");
        let begin = api_key::BEGINNING.len();
        Self {
            unknown_first: changed(&near.key, |_| begin),
            unknown_last: changed(&near.key, |_| begin + near.prefix.len() - 1),
            differs_first: far.key.to_string(),
            differs_last: near.key.to_string(),
            prefix: near.prefix,
            stored,
        }
    }
}

/// A text with another digit in one place.
fn changed(text: &str, at: impl Fn(&str) -> usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let at = at(text);
    bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
    String::from_utf8(bytes).expect("text")
}

fn refuse(gate: &mut Gate, key: &str) {
    let proof = Proof { kind: CredentialKind::ApiKey, secret: key, wanted_tenant: None };
    let verdict = gate.judge(NOW, &proof);
    assert!(matches!(verdict, Verdict::Refused(Refusal::UnknownKey)));
}

/// What must not be done: digits are compared until the first that differs.
fn stop_early(stored: &str, key: &str) {
    let secret = &key[api_key::BEGINNING.len()..].split_once('_').expect("two parts").1;
    let hash = digest::digest(&digest::SHA256, secret.as_bytes());
    let pairs = stored.as_bytes()["sha256:".len()..].chunks(2).zip(hash.as_ref());
    for (digits, byte) in pairs {
        let digit = |digit: u8| char::from(digit).to_digit(16).expect("a digit");
        if black_box(digit(digits[0]) << 4 | digit(digits[1])) != u32::from(*byte) {
            return;
        }
    }
}

/// Draws lots, the same ones in each run.
struct Lots(u64);

impl Lots {
    fn draw(&mut self) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 63 == 1
    }
}

/// The buffer, with one of two texts in it.
fn filled(buffer: String, one: &str, other: &str, is_other: bool) -> String {
    let mask = black_box(u8::from(is_other)).wrapping_neg();
    let mut bytes = buffer.into_bytes();
    for ((byte, a), b) in bytes.iter_mut().zip(one.bytes()).zip(other.bytes()) {
        *byte = a ^ (mask & (a ^ b));
    }
    String::from_utf8(bytes).expect("text")
}

/// The greatest |t| between two kinds.
fn tell_apart(samples: usize, one: Kind<'_>, other: Kind<'_>, ask: &mut dyn FnMut(&str)) -> f64 {
    let mut lots = Lots(0x9E37_79B9_7F4A_7C15);
    let mut taken: [Vec<u64>; 2] = [Vec::new(), Vec::new()];
    assert_eq!(one.1.len(), other.1.len(), "as long as each other");
    let mut buffer = one.1.to_owned();
    for number in 0..WARM + samples {
        let is_other = lots.draw();
        buffer = filled(buffer, one.1, other.1, is_other);
        let began = Instant::now();
        ask(black_box(&buffer));
        let took = began.elapsed();
        if number >= WARM {
            let took = u64::try_from(took.as_nanos()).expect("less than centuries");
            taken[usize::from(is_other)].push(took);
        }
    }
    let mut all = taken.concat();
    all.sort_unstable();
    println!("\n{} | {}", one.0, other.0);
    let mut greatest: f64 = 0.0;
    for kept in KEPT {
        let limit = all[(all.len() * kept / 100).max(1) - 1];
        let [a, b] = [&taken[0], &taken[1]].map(|taken| Moments::of(taken, limit));
        let t = a.welch(&b);
        println!(
            "  fastest {kept:>3} %: {:8.2} ns | {:8.2} ns, t = {t:+.2}{}",
            a.mean,
            b.mean,
            if t.abs() < LIMIT { "" } else { "  (told apart)" }
        );
        greatest = greatest.max(t.abs());
    }
    println!(
        "  |t| = {greatest:.2}, {}",
        if greatest < LIMIT { "below 4.5" } else { "not below 4.5" }
    );
    greatest
}

/// Of samples up to a limit.
struct Moments {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Moments {
    fn of(samples: &[u64], limit: u64) -> Self {
        let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
        for sample in samples.iter().filter(|sample| **sample <= limit) {
            let sample = *sample as f64;
            count += 1.0;
            let off = sample - mean;
            mean += off / count;
            squares += off * (sample - mean);
        }
        Self { count, mean, variance: squares / (count - 1.0) }
    }

    fn welch(&self, other: &Self) -> f64 {
        let spread = self.variance / self.count + other.variance / other.count;
        (self.mean - other.mean) / spread.sqrt()
    }
}
