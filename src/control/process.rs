//! What the operating system knows of this process, read from `/proc`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::metrics::{Core, ProcessFacts, Registry};

/// The facts as of now. What cannot be read is 0.
pub(super) fn facts(registry: &Registry, started: Instant) -> ProcessFacts {
    ProcessFacts {
        resident_bytes: fs::read_to_string("/proc/self/status")
            .map_or(0, |text| resident_bytes(&text)),
        descriptors: descriptors_of_process(registry),
        descriptors_per_table: descriptors_per_table(),
        uptime_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}

/// The processor time that the process has used. What cannot be read is none.
pub(super) fn cpu_time() -> Duration {
    fs::read_to_string("/proc/self/stat").ok().and_then(|stat| used(&stat)).unwrap_or_default()
}

/// Descriptors in the table of a core's thread; none if it has not begun.
pub(super) fn descriptors(core: &Core) -> Option<u64> {
    let thread_id = core.thread_id.get();
    (thread_id != 0).then(|| open_descriptors(format!("/proc/self/task/{thread_id}/fd").as_ref()))
}

/// What a core's thread does, as the kernel sees it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ThreadState {
    /// `R`: it runs, and so spins; `S`, `D`: it waits in the kernel.
    state: char,
    /// The system call it waits in, and its arguments; `running` if in none.
    system_call: String,
}

/// For the log, when a core does not come round; none if it has not begun.
pub(super) fn thread_state(core: &Core) -> Option<ThreadState> {
    let task = format!("/proc/self/task/{}", core.thread_id.get());
    let stat = fs::read_to_string(format!("{task}/stat")).ok()?;
    let system_call = fs::read_to_string(format!("{task}/syscall")).unwrap_or_default();
    Some(ThreadState { state: state(&stat)?, system_call: system_call.trim().to_owned() })
}

/// The name of a thread stands in parentheses and may hold some itself.
fn state(stat: &str) -> Option<char> {
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// By the process itself and by the kernel for it, in hundredths of a second.
fn used(stat: &str) -> Option<Duration> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * ticks()?.saturating_add(ticks()?)))
}

/// The soft limit on descriptors, which holds for each table by itself; 0: unknown.
pub(super) fn descriptors_per_table() -> u64 {
    fs::read_to_string("/proc/self/limits").map_or(0, |text| soft_limit(&text))
}

/// Tables that threads share are counted once for each thread: an upper bound.
fn descriptors_of_process(registry: &Registry) -> u64 {
    let cores: u64 = registry.cores().filter_map(|(_, core)| descriptors(core)).sum();
    cores + open_descriptors("/proc/thread-self/fd".as_ref())
}

/// Since Linux 6.2 the directory's size is the number of open descriptors; before, it is counted.
fn open_descriptors(directory: &Path) -> u64 {
    match fs::metadata(directory) {
        Ok(about) if about.len() > 0 => about.len(),
        _ => fs::read_dir(directory).map_or(0, |entries| entries.count() as u64),
    }
}

fn resident_bytes(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
    kilobytes.map_or(0, |kilobytes: u64| kilobytes * 1_024)
}

fn soft_limit(limits: &str) -> u64 {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    match line.and_then(|line| line.split_whitespace().next()) {
        Some("unlimited") => u64::MAX,
        Some(number) => number.parse().unwrap_or(0),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        let status = "Name:\tx\nVmHWM:\t    9000 kB\nVmRSS:\t    1234 kB\nThreads:\t1\n";
        assert_eq!(resident_bytes(status), 1_234 * 1_024);
        assert_eq!(resident_bytes("VmRSS:\t garbage"), 0);
        let limits = "Limit  Soft Limit  Hard Limit  Units\n\
                      Max open files            1024                 20000                files\n";
        assert_eq!(soft_limit(limits), 1_024);
        assert_eq!(soft_limit("Max open files unlimited unlimited files"), u64::MAX);
        assert_eq!(soft_limit(""), 0);
        assert_eq!(state("12 (core (0) x) S 1 2 3"), Some('S'));
        assert_eq!(state("garbage"), None);
        let stat = "12 (core (0) x) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0";
        assert_eq!(used(stat), Some(Duration::from_millis(1_750)));
        assert_eq!(used("garbage"), None);
    }

    #[test]
    fn a_core_that_runs_has_a_state_and_descriptors_and_another_has_none() {
        let core = Core::default();
        assert_eq!((thread_state(&core), descriptors(&core)), (None, None));
        core.thread_id.set(std::process::id().into());
        assert!(thread_state(&core).is_some());
        assert!(descriptors(&core).is_some_and(|count| count >= 3));
    }

    #[test]
    fn this_process_has_memory_and_descriptors() {
        let facts = facts(&Registry::new(1), Instant::now());
        assert!(facts.resident_bytes > 100_000);
        assert!(facts.descriptors >= 3);
        assert!(facts.descriptors_per_table > facts.descriptors);
    }
}
