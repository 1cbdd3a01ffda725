//! The thread that writes: whoever logs puts a line in its queue and goes on.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

/// Lines that may wait.
pub(super) const LINES_MAX: usize = 1_024;
/// What the end waits for the lines that are left, where standard error takes nothing.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// Where lines are put.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    lines: Sender<Entry>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Entry {
    Line(String),
    /// Everything before this is to be written; the drop of the sender says that it is.
    Flush(Sender<()>),
}

impl Queue {
    /// Queues a line without its end, or drops it if too many wait.
    pub(super) fn push(&self, line: String) {
        if self.lines.try_send(Entry::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The thread. When this is dropped, all lines before are written.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Queue,
}

impl Writer {
    pub(super) fn start(target: impl Write + Send + 'static) -> io::Result<Self> {
        let (sender, receiver) = bounded(LINES_MAX);
        let queue = Queue { lines: sender, dropped: Arc::default() };
        let dropped = Arc::clone(&queue.dropped);
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(&receiver, &dropped, target))?;
        Ok(Self { queue })
    }

    pub(super) fn queue(&self) -> Queue {
        self.queue.clone()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let (written, wait) = bounded(0);
        let flush = Entry::Flush(written);
        if self.queue.lines.send_timeout(flush, FLUSH_MAX).is_ok() {
            // Nothing is ever sent: it ends by the sender's drop, or by the time.
            let _ = wait.recv_timeout(FLUSH_MAX);
        }
    }
}

/// Errors of the target are nobody's to hear of: it is where errors go.
fn write_all(lines: &Receiver<Entry>, dropped: &AtomicU64, target: impl Write) {
    let mut target = BufWriter::new(target);
    while let Ok(first) = lines.recv() {
        for entry in std::iter::once(first).chain(lines.try_iter().take(LINES_MAX)) {
            match entry {
                Entry::Line(line) => {
                    let _ =
                        target.write_all(line.as_bytes()).and_then(|()| target.write_all(b"\n"));
                }
                Entry::Flush(written) => {
                    tell_dropped(dropped, &mut target);
                    let _ = target.flush();
                    drop(written);
                }
            }
        }
        tell_dropped(dropped, &mut target);
        let _ = target.flush();
    }
}

fn tell_dropped(dropped: &AtomicU64, target: &mut impl Write) {
    let count = dropped.swap(0, Ordering::Relaxed);
    if count > 0 {
        let _ = writeln!(target, "{{\"level\":\"WARN\",\"log_lines_dropped\":{count}}}");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panics with it").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_was_queued_is_written_before_the_end() {
        let sink = Sink::default();
        let writer = Writer::start(sink.clone()).expect("a thread");
        (0..100).for_each(|line| writer.queue().push(format!("line {line}")));
        drop(writer);
        let text = String::from_utf8(sink.0.lock().expect("unpoisoned").clone()).expect("text");
        let expected: String = (0..100).map(|line| format!("line {line}\n")).collect();
        assert_eq!(text, expected);
    }

    #[test]
    fn nobody_waits_for_a_target_that_is_stuck_and_the_loss_is_told() {
        let sink = Sink::default();
        let held = Arc::clone(&sink.0);
        let stuck = held.lock().expect("nobody panics with it");
        let writer = Writer::start(sink).expect("a thread");
        let queue = writer.queue();
        let lines = LINES_MAX * 3;
        (0..lines).for_each(|line| queue.push(format!("line {line}")));
        assert!(queue.dropped.load(Ordering::Relaxed) > 0);
        drop(stuck);
        drop(writer);
        let text = String::from_utf8(held.lock().expect("unpoisoned").clone()).expect("text");
        let (told, written): (Vec<_>, Vec<_>) =
            text.lines().partition(|line| line.contains("log_lines_dropped"));
        let lost: usize = told
            .iter()
            .filter_map(|line| line.rsplit_once(':')?.1.trim_end_matches('}').parse::<usize>().ok())
            .sum();
        assert_eq!(written.len() + lost, lines, "{told:?}");
    }
}
