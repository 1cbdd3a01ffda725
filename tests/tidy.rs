//! The structure of the source, held by a test: which layer may know which, how large files and
//! functions may be, and what a pure layer may not touch.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const MEDIAN_FILE_LINES_MAX: usize = 200;

/// A module, and the modules of this crate it may use besides its own.
const ARROWS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("id", &[]),
    ("hash", &["id"]),
    ("node", &["hash"]),
    ("wheel", &["clock"]),
    ("bucket", &["clock", "config", "hash"]),
    ("metrics", &["id", "ws"]),
    ("config", &["origin"]),
    ("origin", &[]),
    ("record", &[]),
    ("decision", &[]),
    ("tenant", &["bucket", "clock", "config", "id"]),
    ("mesh", &["clock", "id"]),
    ("ws", &["clock", "config", "origin", "protocol"]),
    ("protocol", &["config", "ws"]),
    ("room", &["bucket", "clock", "config", "hash", "id", "protocol", "wheel", "ws"]),
    ("auth", &["bucket", "clock", "config", "hash", "id", "protocol", "room", "ws"]),
    (
        "shard",
        &[
            "auth", "bucket", "clock", "config", "decision", "hash", "id", "metrics", "node",
            "origin", "protocol", "record", "room", "tenant", "wheel", "ws",
        ],
    ),
    ("letter", &["auth", "config", "decision", "id", "node", "origin", "record", "shard", "ws"]),
    (
        "net",
        &[
            "auth", "bucket", "clock", "config", "hash", "id", "letter", "mesh", "metrics",
            "origin", "record", "shard", "tenant", "wheel", "ws",
        ],
    ),
    (
        "control",
        &[
            "auth", "clock", "config", "decision", "id", "letter", "mesh", "metrics", "node",
            "record", "shard", "tenant", "ws",
        ],
    ),
    (
        "bridge",
        &[
            "clock", "config", "decision", "hash", "id", "letter", "mesh", "metrics", "node",
            "room", "shard", "tenant",
        ],
    ),
    ("logging", &["config"]),
    (
        "server",
        &[
            "auth", "bridge", "config", "control", "decision", "hash", "id", "letter", "logging",
            "mesh", "metrics", "net", "node", "origin", "shard", "tenant", "ws",
        ],
    ),
];

/// Modules that know nothing but what they are told.
const PURE: &[&str] = &[
    "clock", "id", "hash", "node", "wheel", "bucket", "config", "metrics", "origin", "record",
    "decision", "tenant", "ws", "protocol", "room", "auth", "shard",
];

/// What a pure module may not touch: time, threads, sockets, files, the environment, chance.
const IMPURE: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "UNIX_EPOCH.elapsed",
    "std::thread",
    "std::env",
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UnixStream",
    "RandomState",
    "HashMap::new",
    "HashSet::new",
    "monoio",
    "tokio::",
];

/// Where `unsafe` may stand.
const UNSAFE: &[&str] = &["src/net/", "src/mesh/", "src/ws/deflate"];

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// The top-level module it belongs to: `src/room/name.rs` is of `room`.
    fn module(&self) -> String {
        let inside = self.path.strip_prefix("src").unwrap_or(&self.path);
        let first = inside.components().next().expect("a file has a name");
        Path::new(first.as_os_str())
            .file_stem()
            .expect("it has a stem")
            .to_string_lossy()
            .into_owned()
    }

    fn is_test(&self) -> bool {
        let path = self.path.to_string_lossy();
        path.ends_with("tests.rs") || path.contains("/tests/")
    }

    /// Its lines without comments, and without what stands under `#[cfg(test)]` at the end.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate();
        let code =
            lines.take_while(|(_, line)| line.trim() != "#[cfg(test)]" || line.starts_with(' '));
        code.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn sources(under: &str) -> Vec<Source> {
    let mut found = Vec::new();
    collect(Path::new(under), &mut found);
    assert!(!found.is_empty(), "there is source under {under}");
    found
}

fn collect(folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("its entries can be read").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("source is UTF-8");
            found.push(Source { path, text });
        }
    }
}

fn everything() -> Vec<Source> {
    ["src", "loadgen", "tests", "benches"].iter().flat_map(|under| sources(under)).collect()
}

fn report(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn arrows_point_down_only() {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut problems = Vec::new();
    for source in sources("src") {
        let module = source.module();
        if ["lib", "main", "cli"].contains(&module.as_str()) || source.is_test() {
            continue;
        }
        let Some(may) = allowed.get(module.as_str()) else {
            problems.push(format!("{}: module {module} has no row here", source.path.display()));
            continue;
        };
        for (line, text) in source.code() {
            for used in text.split("crate::").skip(1) {
                let used: String =
                    used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let known = allowed.contains_key(used.as_str());
                if known && used != module && !may.contains(&used.as_str()) {
                    let place = source.path.display();
                    problems.push(format!("{place}:{}: {module} may not know {used}", line + 1));
                }
            }
        }
    }
    report(&problems);
}

#[test]
fn pure_layers_are_told_everything() {
    let mut problems = Vec::new();
    for source in sources("src").iter().filter(|source| PURE.contains(&source.module().as_str())) {
        if source.is_test() {
            continue;
        }
        for (line, text) in source.code() {
            for word in IMPURE.iter().filter(|word| text.contains(**word)) {
                problems.push(format!("{}:{}: {word}", source.path.display(), line + 1));
            }
        }
    }
    report(&problems);
}

/// A test holds the clock of the bridge, which it reads in one place.
#[test]
fn the_bridge_reads_no_clock_by_itself() {
    let mut problems = Vec::new();
    for source in sources("src/bridge").iter().filter(|source| !source.is_test()) {
        if source.path.ends_with("bridge/time.rs") {
            continue;
        }
        for (line, text) in source.code() {
            for word in ["Instant::now", ".elapsed()"].iter().filter(|word| text.contains(**word)) {
                problems.push(format!("{}:{}: {word}", source.path.display(), line + 1));
            }
        }
    }
    report(&problems);
}

/// What monoio does not forgive, and what it does to a core.
const UNFORGIVEN: &[(&str, &str)] = &[
    ("select!", "a read or accept that loses the race loses bytes or descriptors"),
    ("monoio::time", "its timers starve while the queue is not empty: the wheel has all of them"),
    (
        "monoio::net::TcpListener",
        "its accept spins at EMFILE and leaves descriptors open in children",
    ),
    (".accept(", "as above"),
    ("yield_now", "a task that wakes itself starves timers and sockets"),
    ("wake_by_ref", "as above, where it is the task's own"),
];

#[test]
fn the_data_plane_does_nothing_that_its_runtime_does_not_forgive() {
    let mut problems = Vec::new();
    for source in sources("src/net").iter().filter(|source| !source.is_test()) {
        for (line, text) in source.code() {
            for (word, harm) in UNFORGIVEN.iter().filter(|(word, _)| text.contains(word)) {
                problems.push(format!("{}:{}: {word}: {harm}", source.path.display(), line + 1));
            }
        }
    }
    report(&problems);
}

/// No wakers from other threads (`sync`), no thread pool, no runtime by macro.
#[test]
fn monoio_has_the_features_it_may_have_and_no_others() {
    let text = fs::read_to_string("Cargo.toml").expect("the manifest can be read");
    let manifest: toml::Table = text.parse().expect("it is TOML");
    let monoio = &manifest["workspace"]["dependencies"]["monoio"];
    assert_eq!(monoio["version"].as_str(), Some("=0.2.4"), "its traps were looked for in this one");
    assert_eq!(monoio["default-features"].as_bool(), Some(false));
    let features = monoio["features"].as_array().expect("a list");
    let features: Vec<&str> = features.iter().filter_map(toml::Value::as_str).collect();
    assert_eq!(features, ["iouring", "legacy", "bytes"]);
    // A member that asked for more would give it to all.
    let members = manifest["workspace"]["members"].as_array().expect("a list");
    for member in members.iter().filter_map(toml::Value::as_str) {
        let path = Path::new(member).join("Cargo.toml");
        let text = fs::read_to_string(&path).expect("a manifest can be read");
        let manifest: toml::Table = text.parse().expect("it is TOML");
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let asked = manifest.get(kind).and_then(|all| all.get("monoio"));
            assert!(asked.is_none_or(|it| it.get("features").is_none()), "{}", path.display());
        }
    }
}

#[test]
fn unsafe_stands_where_it_may() {
    let mut problems = Vec::new();
    for source in sources("src") {
        let path = source.path.to_string_lossy();
        if UNSAFE.iter().any(|allowed| path.starts_with(allowed)) {
            continue;
        }
        for (line, text) in source.code() {
            if ["unsafe {", "unsafe fn", "unsafe impl"].iter().any(|word| text.contains(word)) {
                problems.push(format!("{path}:{}: unsafe", line + 1));
            }
        }
    }
    report(&problems);
}

/// Fields that hold what must not show, by the end of their names; of sessions, the ids as texts.
const SECRETS: &[&str] = &["secret", "password", "token", "credential", "session"];

/// Types that do not hide what is in them. What hides it is `Secret`, `Zeroed`, or a type of its own.
const BARE: &[&str] = &["str", "String", "u8"];

#[test]
fn what_holds_a_secret_does_not_derive_debug() {
    let mut problems = Vec::new();
    for source in sources("src") {
        if source.is_test() {
            continue;
        }
        for (number, line) in shown_secrets(&source.code().collect::<Vec<_>>()) {
            let (place, text) = (source.path.display(), line.trim());
            problems.push(format!("{place}:{}: {text}, in a type that derives Debug", number + 1));
        }
    }
    report(&problems);
}

/// Bare secrets in types that derive `Debug`, whose ends are found by the indentation of rustfmt.
fn shown_secrets<'a>(code: &[(usize, &'a str)]) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    for (at, (_, line)) in code.iter().enumerate() {
        let derive = line.trim_start();
        if !derive.starts_with("#[derive(") || !derive.contains("Debug") {
            continue;
        }
        let indent = &line[..line.len() - derive.len()];
        let is_end = |line: &str| {
            let outer = line.strip_prefix(indent).filter(|it| !it.starts_with(' '));
            outer.is_some_and(|it| it.starts_with('}') || it.ends_with(';'))
        };
        let body = code[at + 1..].iter().take_while(|(_, line)| !is_end(line));
        found.extend(body.filter(|(_, line)| is_bare_secret(line)));
    }
    found
}

#[test]
fn a_type_that_derives_debug_ends_where_it_does() {
    let source = "
    #[derive(Clone, Debug)]
    enum Shown {
        One {
            password: String,
        },
        Other,
    }
    struct Hidden {
        password: String,
    }
#[derive(Debug)]
struct Place(u8);
struct Other {
    secret: String,
}
";
    let code: Vec<_> = source.lines().enumerate().collect();
    let found = shown_secrets(&code);
    assert_eq!(found, [(4, "            password: String,")]);
}

/// Whether a line is a field, such as `password: Option<String>,`, whose text Debug would show.
fn is_bare_secret(line: &str) -> bool {
    let Some((name, kind)) = line.trim().split_once(": ") else { return false };
    let name = name.rsplit(' ').next().unwrap_or_default();
    let is_secret = name.rsplit('_').next().is_some_and(|word| SECRETS.contains(&word));
    let mut types = kind.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    // The bytes of a session's id are numbers of the engine's, and go into no text but `welcome`.
    let is_id = name.ends_with("session") && kind.contains("u8; 16");
    is_secret && !is_id && types.any(|it| BARE.contains(&it))
}

#[test]
fn a_bare_secret_is_found() {
    for line in [
        "    pub password: Option<&'a str>,",
        "    pub(super) client_secret: Zeroizing<String>,",
        "token: [u8; 32],",
        "session: Option<String>,",
    ] {
        assert!(is_bare_secret(line), "{line}");
    }
    for line in [
        "    pub password: Option<Secret<'a>>,",
        "    pub token_id: Option<Arc<str>>,",
        "    secret_file: Option<String>,",
        "    by_token: bool,",
        "    let token = text;",
        "    session: [u8; 16],",
    ] {
        assert!(!is_bare_secret(line), "{line}");
    }
}

#[test]
fn files_and_functions_stay_small() {
    let mut problems = Vec::new();
    let mut sizes = Vec::new();
    for source in everything() {
        let lines = source.text.lines().count();
        if source.path.starts_with("src") {
            sizes.push(lines);
        }
        if lines > FILE_LINES_MAX {
            problems.push(format!("{}: {lines} lines", source.path.display()));
        }
        problems.extend(long_functions(&source));
    }
    sizes.sort_unstable();
    let median = sizes[sizes.len() / 2];
    if median > MEDIAN_FILE_LINES_MAX {
        problems.push(format!("the median file of src has {median} lines"));
    }
    report(&problems);
}

/// Functions that are too long, by the indentation that rustfmt gives their ends.
fn long_functions(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut long = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        if !is_function(code) {
            continue;
        }
        let end_line = format!("{}}}", &line[..line.len() - code.len()]);
        let end = lines[start..].iter().position(|line| *line == end_line);
        let count = end.map_or(1, |end| end + 1);
        if count > FUNCTION_LINES_MAX {
            let place = source.path.display();
            long.push(format!("{place}:{}: a function of {count} lines", start + 1));
        }
    }
    long
}

fn is_function(code: &str) -> bool {
    let mut words = code.split(' ').skip_while(|word| {
        ["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe"].contains(word)
    });
    words.next() == Some("fn") && !code.ends_with(';') && !code.ends_with('}')
}
