//! What tells two runs apart: a hash of every step and every byte written; and the last steps, for
//! whoever has to understand a failure.

use std::collections::VecDeque;

/// Steps that are shown, unless `RINGROOM_SIM_STEPS` says otherwise.
const SHOWN: usize = 60;

pub(crate) struct Digest {
    hash: u64,
    steps: u64,
    bytes: u64,
    shown: usize,
    /// None: nobody looks.
    last: Option<VecDeque<String>>,
}

impl Digest {
    pub(crate) fn new(trace: bool) -> Self {
        let shown = crate::number_of("RINGROOM_SIM_STEPS");
        let shown = shown.and_then(|it| usize::try_from(it).ok()).unwrap_or(SHOWN);
        Self {
            hash: 0xCBF2_9CE4_8422_2325,
            steps: 0,
            bytes: 0,
            last: trace.then(VecDeque::new),
            shown,
        }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }

    pub(crate) fn step(&mut self, describe: impl FnOnce() -> String) {
        self.steps += 1;
        self.hash = self.hash.wrapping_add(self.steps).wrapping_mul(0x0100_0000_01B3);
        if let Some(last) = &mut self.last {
            let text = format!("{:6} {}", self.steps, describe());
            if last.len() >= self.shown {
                last.pop_front();
            }
            last.push_back(text);
        }
    }

    /// Steps, bytes, and the hash of both.
    pub(crate) fn sum(&self) -> (u64, u64, u64) {
        (self.steps, self.bytes, self.hash)
    }

    pub(crate) fn last_steps(&self) -> String {
        self.last.iter().flatten().map(|step| format!("{step}\n")).collect()
    }
}
