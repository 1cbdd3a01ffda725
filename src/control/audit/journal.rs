//! Records as JSON lines, written by a thread of its own: a disk that is full, slow or gone stops
//! that thread and nothing else.
//!
//! Invariant: a record is written whole or not at all, as far as the file takes it; those that were
//! not are counted, and the count is the next line that can be written.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::Entry;

/// Records that may wait to be written.
const WAITING_MAX: usize = 4_096;
/// How long an ending process waits for the last of them.
const FINISH: Duration = Duration::from_secs(1);

/// What the thread is told.
enum Line {
    Record(Arc<Entry>),
    Reopen,
    Finish(SyncSender<()>),
}

/// The way to the thread that writes.
#[derive(Debug)]
pub(super) struct Journal {
    lines: SyncSender<Line>,
    /// Records that were not written, and have not been told of.
    lost: Arc<AtomicU64>,
}

/// Where the lines go.
enum Sink {
    File { path: PathBuf, file: Option<File> },
    Stdout(io::Stdout),
}

impl Journal {
    /// Appends to a file, and makes it if there is none: readable by its owner alone.
    pub(super) fn file(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        Self::start(Sink::File { path: path.to_owned(), file: Some(file) })
    }

    /// Writes to the standard output.
    pub(super) fn stdout() -> io::Result<Self> {
        Self::start(Sink::Stdout(io::stdout()))
    }

    fn start(sink: Sink) -> io::Result<Self> {
        let (lines, waiting) = sync_channel(WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let journal = Self { lines, lost: Arc::clone(&lost) };
        thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || Writer { sink, lost, is_failing: false }.run(&waiting))?;
        Ok(journal)
    }

    pub(super) fn write(&self, entry: &Arc<Entry>) {
        if self.lines.try_send(Line::Record(Arc::clone(entry))).is_err() {
            self.lose(1);
        }
    }

    pub(super) fn lose(&self, count: u64) {
        self.lost.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn reopen(&self) {
        // Where so much waits, the file is not being written anyway.
        let _ = self.lines.try_send(Line::Reopen);
    }

    pub(super) fn finish(&self) {
        let (done, finished) = sync_channel(1);
        if self.lines.try_send(Line::Finish(done)).is_ok() {
            // A file that takes nothing does not keep the process.
            let _ = finished.recv_timeout(FINISH);
        }
    }
}

/// The thread's side.
struct Writer {
    sink: Sink,
    lost: Arc<AtomicU64>,
    is_failing: bool,
}

impl Writer {
    fn run(mut self, waiting: &Receiver<Line>) {
        while let Ok(line) = waiting.recv() {
            match line {
                Line::Record(entry) => self.record(&entry),
                Line::Reopen => self.sink.reopen(),
                Line::Finish(done) => drop(done.send(())),
            }
        }
    }

    fn record(&mut self, entry: &Entry) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 && self.sink.write(&format!("{{\"lost\":{lost}}}\n")).is_err() {
            self.lost.fetch_add(lost, Ordering::Relaxed);
        }
        let mut line = serde_json::to_string(entry).unwrap_or_default();
        line.push('\n');
        let written = self.sink.write(&line);
        if let Err(error) = &written {
            self.lost.fetch_add(1, Ordering::Relaxed);
            if !self.is_failing {
                tracing::error!(%error, "the audit trail cannot be written; records are counted");
            }
        }
        self.is_failing = written.is_err();
    }
}

impl Sink {
    fn write(&mut self, line: &str) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => {
                stdout.write_all(line.as_bytes())?;
                stdout.flush()
            }
            Self::File { path, file } => {
                let open = match file {
                    Some(file) => file,
                    None => file.insert(open(path)?),
                };
                // One write for a line, so that a full disk cuts no line in half that it could
                // have refused. What it did cut ends at the next line's beginning.
                let written = open.write_all(line.as_bytes());
                if written.is_err() {
                    let _ = open.write_all(b"\n");
                }
                written
            }
        }
    }

    fn reopen(&mut self) {
        if let Self::File { file, .. } = self {
            *file = None;
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}
