//! From texts to settings: file, then environment, then flags, each over the one before.
//!
//! Invariant: reading goes on after a problem, so that all are told at once; a setting that could
//! not be read keeps its default and takes no part in the checks that follow.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::iter;
use std::path::{Path, PathBuf};

use super::listener::{Draft, Places};
use super::nearest::nearest;
use super::problem::{Cause, Origin, Problem, Problems};
use super::secret::Secret;
use super::setting::{Given, Setting, Wrong};
use super::table::{Bounds, Key, Kind};
use super::{Config, ListenAddress, Listener, check, follow, key, keys};

/// A configuration file.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// As messages call it.
    pub name: &'a str,
    /// What it says.
    pub text: &'a str,
}

/// A flag of the command line that gives a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// As messages call it: `--cores`, `--set limits.depth`.
    pub name: String,
    /// `section.key`, or `listen`.
    pub key: String,
    /// Its value; lists are divided by commas.
    pub value: String,
}

/// Everything a configuration comes from.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The file, if there is one.
    pub file: Option<File<'a>>,
    /// Names and values of environment variables; others than ours are not looked at.
    pub environment: &'a [(String, String)],
    /// In the order given.
    pub flags: &'a [Flag],
    /// CPUs that this process may run on; empty: not known, so not checked.
    pub cpus_allowed: &'a [usize],
    /// Reads the file of a secret.
    pub read_secret: &'a dyn Fn(&Path) -> io::Result<String>,
}

/// What sources give.
#[derive(Debug)]
pub struct Reading {
    /// The settings, or everything that is wrong with them.
    pub config: Result<Config, Problems>,
    /// The listeners as far as each lacks nothing, whatever else is wrong.
    pub listeners: Vec<(Listener, Places)>,
}

/// The settings that `sources` give, or everything that is wrong with them.
pub fn load(sources: &Sources<'_>) -> Result<Config, Problems> {
    read(sources).config
}

/// The same, with the listeners apart, so that of wrong settings it can be told, too, what is wrong with the
/// files that they name.
#[must_use]
pub fn read(sources: &Sources<'_>) -> Reading {
    let mut loading = Loading::new(Config::of_rows(), sources.read_secret);
    if let Some(file) = &sources.file {
        loading.file(file);
    }
    loading.environment(sources.environment);
    loading.flags(sources.flags);
    loading.finish(sources.cpus_allowed)
}

/// What does not go together in settings that were not read from one source, as in a reload that takes some of
/// them. Which CPUs there are is not asked.
#[must_use]
pub fn conflicts(config: &Config) -> Problems {
    let no_secret = |_: &Path| -> io::Result<String> { Err(io::ErrorKind::Unsupported.into()) };
    let drafts = config.listeners.iter().map(|listener| (None, Draft::of(listener))).collect();
    let mut loading = Loading { drafts, ..Loading::new(config.clone(), &no_secret) };
    check::check(&mut loading, &[]);
    Problems(loading.problems)
}

/// What has been read so far.
pub(super) struct Loading<'a> {
    pub(super) config: Config,
    /// Listeners, in the order given.
    pub(super) drafts: Vec<(Option<Origin>, Draft)>,
    /// Where the rows of namespaces and tenants were given, by their whole path.
    pub(super) named: BTreeMap<String, Origin>,
    /// Where each setting was given last.
    pub(super) given: BTreeMap<String, Origin>,
    /// Settings that could not be read.
    failed: BTreeSet<String>,
    /// Whether some of the file is no TOML: then what is set is not known, and not compared.
    pub(super) broken: bool,
    pub(super) problems: Vec<Problem>,
    read_secret: &'a dyn Fn(&Path) -> io::Result<String>,
}

impl<'a> Loading<'a> {
    fn new(config: Config, read_secret: &'a dyn Fn(&Path) -> io::Result<String>) -> Self {
        Self {
            config,
            drafts: Vec::new(),
            named: BTreeMap::new(),
            given: BTreeMap::new(),
            failed: BTreeSet::new(),
            broken: false,
            problems: Vec::new(),
            read_secret,
        }
    }
}

impl Loading<'_> {
    /// Where `path` was given, if it was.
    pub(super) fn origin(&self, path: &str) -> Option<&Origin> {
        self.given.get(path)
    }

    /// Whether `path` could be read.
    pub(super) fn sound(&self, path: &str) -> bool {
        !self.failed.contains(path)
    }

    /// The same of everything that begins with `start`.
    pub(super) fn sound_below(&self, start: &str) -> bool {
        !self.failed.iter().any(|path| path.starts_with(start))
    }

    /// Tells a problem.
    pub(super) fn problem(&mut self, origin: Option<Origin>, key: impl Into<String>, cause: Cause) {
        self.problems.push(Problem { origin, key: key.into(), cause });
    }

    /// Tells that what `path` was given cannot be taken.
    pub(super) fn wrong(&mut self, origin: Origin, path: &str, wrong: Wrong) {
        self.failed.insert(path.to_owned());
        let cause = Cause::Invalid { found: wrong.found, wanted: wrong.wanted };
        self.problem(Some(origin), path, cause);
    }

    /// The same of a list, for each item that cannot; `at` knows the place of an offset in a file.
    pub(super) fn all_wrong(
        &mut self,
        at: impl Fn(Option<usize>) -> Origin,
        path: &str,
        mut wrong: Wrong,
    ) {
        let others = std::mem::take(&mut wrong.others);
        for wrong in iter::once(wrong).chain(others) {
            self.wrong(at(wrong.offset), path, wrong);
        }
    }

    fn finish(mut self, cpus_allowed: &[usize]) -> Reading {
        follow::follow(&mut self.config, |path| self.given.contains_key(path));
        match self.origin("listen").cloned() {
            _ if !self.drafts.is_empty() || !self.sound("listen") => {}
            Some(origin) => self.problem(Some(origin), "listen", Cause::NoListener),
            None => self.drafts.push((None, Draft::plain(ListenAddress::default()))),
        }
        let mut listeners = Vec::new();
        if !self.broken {
            check::check(&mut self, cpus_allowed);
            let deflate = self.config.deflate.enabled;
            listeners
                .extend(self.drafts.into_iter().filter_map(|(_, draft)| draft.finish(deflate)));
        }
        if !self.problems.is_empty() {
            return Reading { config: Err(Problems(self.problems)), listeners };
        }
        self.config.listeners = listeners.iter().map(|(listener, _)| listener.clone()).collect();
        Reading { config: Ok(self.config), listeners }
    }
}

/// One setting, from anywhere.
impl Loading<'_> {
    /// Takes what `path` was given; `at` knows the place of an offset in a file.
    pub(super) fn setting(
        &mut self,
        path: &str,
        given: Given<'_>,
        at: impl Fn(Option<usize>) -> Origin,
    ) {
        let origin = at(None);
        match key(path) {
            Some(key) if key.kind == Kind::Secret => {
                let cause = Cause::SecretInTheOpen {
                    file_key: format!("{}.{}", key.section, key.written()),
                    variable: key.variable(),
                };
                self.problem(Some(origin), key.path(), cause);
            }
            Some(key) => {
                let in_file = matches!(self.given.get(&key.path()), Some(Origin::File { .. }));
                if in_file && matches!(origin, Origin::File { .. }) {
                    return self.problem(Some(origin), path, Cause::Twice);
                }
                match (key.apply)(&mut self.config, &given, &key.bounds) {
                    Ok(()) => _ = self.given.insert(key.path(), origin),
                    Err(wrong) => self.all_wrong(at, &key.path(), wrong),
                }
            }
            None if is_secret_file(path) => self.secret_file(path, given, origin),
            None => {
                let known: Vec<String> =
                    keys().map(|key| format!("{}.{}", key.section, key.written())).collect();
                let nearest = nearest(path, known.iter().map(String::as_str)).map(str::to_owned);
                self.problem(Some(origin), path, Cause::Unknown { nearest });
            }
        }
    }

    fn secret_file(&mut self, path: &str, given: Given<'_>, origin: Origin) {
        let Some(key) = path.strip_suffix("_file").and_then(key) else { return };
        let file = match PathBuf::read(&given, &Bounds::NONE) {
            Ok(file) => file,
            Err(wrong) => return self.wrong(origin, path, wrong),
        };
        match (self.read_secret)(&file) {
            Ok(text) => self.secret(key, &text, Some(file), origin),
            Err(error) => {
                self.failed.insert(key.path());
                let cause = Cause::SecretUnreadable { file, error: error.kind() };
                self.problem(Some(origin), path, cause);
            }
        }
    }

    /// Takes the secret itself.
    pub(super) fn secret(
        &mut self,
        key: &Key<Config>,
        text: &str,
        file: Option<PathBuf>,
        origin: Origin,
    ) {
        let Some(secret) = Secret::new(text, file) else {
            self.failed.insert(key.path());
            let cause = Cause::SecretTooShort { least_bytes: Secret::MIN_BYTES };
            return self.problem(Some(origin), key.path(), cause);
        };
        match (key.apply)(&mut self.config, &Given::Secret(&secret), &key.bounds) {
            Ok(()) => _ = self.given.insert(key.path(), origin),
            Err(wrong) => self.wrong(origin, &key.path(), wrong),
        }
    }
}

/// Whether `path` names the file of a secret.
pub(super) fn is_secret_file(path: &str) -> bool {
    path.strip_suffix("_file").and_then(key).is_some_and(|key| key.kind == Kind::Secret)
}
