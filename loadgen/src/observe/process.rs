//! A process's CPU time and memory, from /proc: of this tool and, if it is told which, the server.

use std::collections::HashMap;
use std::fs;
use std::io;

use serde::Serialize;

/// Less time than this says nothing: the kernel counts in ticks of 10 ms.
pub const SECONDS_MIN: f64 = 0.1;

/// What a process has used so far.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// User and system time.
    pub cpu_ns: u64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// By thread: user and system time.
    threads: HashMap<u32, u64>,
}

/// What a process used between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Share {
    /// CPUs busy with it, on average.
    pub cpus: f64,
    /// The same of its busiest thread.
    pub busiest_thread: f64,
    /// CPU time in nanoseconds.
    pub cpu_ns: u64,
    /// Resident memory at the second look.
    pub resident_bytes: u64,
}

impl Usage {
    /// Looks at a process; `None` is this one.
    pub fn read(pid: Option<u32>) -> io::Result<Self> {
        let root = match pid {
            Some(pid) => format!("/proc/{pid}"),
            None => "/proc/self".to_owned(),
        };
        let tick_ns = tick_ns();
        let mut threads = HashMap::new();
        for entry in fs::read_dir(format!("{root}/task"))?.flatten() {
            // A thread may end between the listing and the look.
            let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
            let id = entry.file_name().to_string_lossy().parse().unwrap_or(0);
            threads.insert(id, ticks(&stat).unwrap_or(0) * tick_ns);
        }
        let stat = fs::read_to_string(format!("{root}/stat"))?;
        let cpu_ns = ticks(&stat).ok_or(io::ErrorKind::InvalidData)? * tick_ns;
        let resident_bytes = resident(&fs::read_to_string(format!("{root}/statm"))?);
        Ok(Self { cpu_ns, resident_bytes, threads })
    }

    /// What was used since `earlier`, `seconds` ago; no share of it below [`SECONDS_MIN`].
    #[must_use]
    pub fn since(&self, earlier: &Self, seconds: f64) -> Share {
        let cpu_ns = self.cpu_ns.saturating_sub(earlier.cpu_ns);
        let busiest = self
            .threads
            .iter()
            .map(|(id, ns)| ns.saturating_sub(earlier.threads.get(id).copied().unwrap_or(0)))
            .max();
        #[expect(clippy::cast_precision_loss, reason = "a share for people")]
        let share = |ns: u64| {
            if seconds < SECONDS_MIN { 0.0 } else { ns as f64 / 1e9 / seconds }
        };
        Share {
            cpus: share(cpu_ns),
            busiest_thread: share(busiest.unwrap_or(0)),
            cpu_ns,
            resident_bytes: self.resident_bytes,
        }
    }
}

/// User and system ticks from a `stat` file: fields 14 and 15, counted after the name, which may
/// hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn resident(statm: &str) -> u64 {
    let pages: u64 =
        statm.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * system_value(libc::_SC_PAGESIZE)
}

fn tick_ns() -> u64 {
    1_000_000_000 / system_value(libc::_SC_CLK_TCK).max(1)
}

#[allow(unsafe_code, reason = "sysconf has no safe wrapper in the crates used here")]
fn system_value(name: libc::c_int) -> u64 {
    // SAFETY: no pointers are passed.
    u64::try_from(unsafe { libc::sysconf(name) }).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]
    use super::*;

    #[test]
    fn names_with_spaces_and_brackets() {
        let stat = "7 (a) b) R 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("nothing"), None);
    }

    #[test]
    fn a_moment_too_short_to_measure_has_no_share() {
        let threads = |ns| HashMap::from([(1, ns)]);
        let before = Usage { cpu_ns: 0, resident_bytes: 0, threads: threads(0) };
        let after = Usage { cpu_ns: 3 << 20, resident_bytes: 9, threads: threads(3 << 20) };
        let share = after.since(&before, 0.000_2);
        assert_eq!((share.cpus, share.busiest_thread), (0.0, 0.0));
        assert_eq!((share.cpu_ns, share.resident_bytes), (3 << 20, 9));
        assert!(after.since(&before, SECONDS_MIN).busiest_thread > 0.03);
    }

    #[test]
    fn this_process_has_memory_and_its_own_pid_says_the_same() {
        let mine = Usage::read(None).unwrap();
        let same = Usage::read(Some(std::process::id())).unwrap();
        assert!(mine.resident_bytes > 100_000);
        assert!(same.cpu_ns >= mine.cpu_ns);
        assert!(Usage::read(Some(u32::MAX)).is_err());
    }
}
