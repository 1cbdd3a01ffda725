//! The file of decisions, written by a thread of its own: a disk that is slow stops that thread and
//! whoever waits to hear that a decision is kept, and nothing else.
//!
//! Invariants: a line is whole or not there; the file is replaced by a rename, so that whoever reads
//! it sees the old one or the new one; only its owner can read it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, rename};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use tokio::sync::oneshot;

use crate::decision::Decision;

/// Lines that may wait to be written.
const WAITING_MAX: usize = 256;
/// The longest file that is read: far more than the most decisions take.
const FILE_BYTES: u64 = 1 << 30;

/// What the thread is told.
enum Task {
    Append(String, oneshot::Sender<bool>),
    Replace(String, oneshot::Sender<bool>),
}

/// The way to the thread that writes.
#[derive(Debug)]
pub(super) struct StateFile(SyncSender<Task>);

impl StateFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let (tasks, waiting) = sync_channel(WAITING_MAX);
        let path = path.to_owned();
        thread::Builder::new().name("state".to_owned()).spawn(move || write(&path, &waiting))?;
        Ok(Self(tasks))
    }

    /// Adds a line; true when it is on the disk.
    pub(super) fn append(&self, line: String) -> oneshot::Receiver<bool> {
        self.tell(|done| Task::Append(line, done))
    }

    /// Replaces all lines.
    pub(super) fn replace(&self, text: String) -> oneshot::Receiver<bool> {
        self.tell(|done| Task::Replace(text, done))
    }

    fn tell(&self, task: impl FnOnce(oneshot::Sender<bool>) -> Task) -> oneshot::Receiver<bool> {
        let (done, written) = oneshot::channel();
        // What does not fit is dropped, and whoever waits for it hears that.
        let _ = self.0.try_send(task(done));
        written
    }
}

/// The thread.
fn write(path: &Path, waiting: &Receiver<Task>) {
    while let Ok(task) = waiting.recv() {
        let (result, done) = match task {
            Task::Append(line, done) => (append(path, &line), done),
            Task::Replace(text, done) => (replace(path, &text), done),
        };
        if let Err(error) = &result {
            let path = path.display();
            tracing::error!(%path, %error, "a decision is not kept over a restart");
        }
        // Whoever waited may have given up.
        let _ = done.send(result.is_ok());
    }
}

/// The file is opened each time: another process may have replaced it, as in a hot restart.
pub(super) fn append(path: &Path, line: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let length = file.metadata()?.len();
    let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_data());
    if written.is_err() {
        // Half a line would spoil the next one. Where not even this works, reading says so.
        let _ = file.set_len(length);
    }
    written
}

pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    rename(&new, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

/// All lines, in their order. The last one is left out if it has no end: its writing was cut off,
/// and nobody was told that it is kept.
pub(super) fn read(path: &Path) -> io::Result<Vec<Decision>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(named(path, &error)),
    };
    let mut text = String::new();
    file.take(FILE_BYTES).read_to_string(&mut text).map_err(|error| named(path, &error))?;
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    if whole < text.len() {
        tracing::warn!(path = %path.display(), "the last line has no end, and is left out");
    }
    let lines = text[..whole].lines().enumerate();
    lines
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|error| {
                let (path, number, column) = (path.display(), index + 1, error.column());
                let what = format!(
                    "{path}: line {number}, column {column} is no decision; mend the file, or \
                     remove it if revocations, bans and suspensions may be forgotten"
                );
                io::Error::new(io::ErrorKind::InvalidData, what)
            })
        })
        .collect()
}

/// An error that names the file.
pub(super) fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
