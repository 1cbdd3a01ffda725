//! A real `redis-server`, on a port of its own, for as long as a test holds it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::server::{PATIENCE, eventually, folder};

/// A server and its folder.
pub(crate) struct Store {
    child: Option<Child>,
    pub(crate) port: u16,
    pub(crate) folder: PathBuf,
    settings: Vec<String>,
    is_sentinel: bool,
}

/// Whether there is a `redis-server` to test with; says so loudly if not.
pub(crate) fn is_missing() -> bool {
    let found = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status();
    if found.is_err() {
        eprintln!("!! SKIPPED: there is no redis-server on the PATH");
    }
    found.is_err()
}

impl Store {
    /// Starts one with these settings, which stand as they do in its configuration file.
    pub(crate) fn start(settings: &[&str]) -> Self {
        Self::begin(settings, false)
    }

    /// A Sentinel that watches this primary, and calls it `main`.
    pub(crate) fn sentinel(primary: &Self) -> Self {
        let monitor = format!("sentinel monitor main 127.0.0.1 {} 2", primary.port);
        let settings = [
            monitor.as_str(),
            "sentinel down-after-milliseconds main 1000",
            "sentinel failover-timeout main 6000",
        ];
        Self::begin(&settings, true)
    }

    fn begin(settings: &[&str], is_sentinel: bool) -> Self {
        let port = port();
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let folder = folder();
        // A process of the same id may have left what its Redis had written.
        std::fs::remove_dir_all(&folder).unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        let mut store = Self { child: None, port, folder, settings, is_sentinel };
        store.run();
        store
    }

    /// One that has written what it has answered for.
    pub(crate) fn durable() -> Self {
        Self::start(&["appendonly yes", "appendfsync always"])
    }

    /// Starts it, again.
    pub(crate) fn run(&mut self) {
        let mut config = format!(
            "port {}\nbind 127.0.0.1\ndir {}\nlogfile log\n",
            self.port,
            self.folder.display()
        );
        if !self.is_sentinel {
            config.push_str("save \"\"\n");
        }
        for setting in &self.settings {
            config.push_str(setting);
            config.push('\n');
        }
        let file = self.folder.join("redis.conf");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new("redis-server");
        command.arg(&file);
        if self.is_sentinel {
            command.arg("--sentinel");
        }
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        let port = self.port;
        eventually("Redis takes connections", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Has it take no writes, because it could not save what it has.
    pub(crate) fn fail_to_save(&self) {
        // In place of the file.
        std::fs::create_dir(self.folder.join("dump.rdb")).unwrap();
        assert_eq!(self.say(&["CONFIG", "SET", "save", "3600 1"]), "+OK");
        eventually("it could not be saved", || {
            self.say(&["BGSAVE"]);
            self.fact("persistence", "rdb_last_bgsave_status") == "err"
        });
    }

    /// A command, and the first line of what it is answered.
    pub(crate) fn say(&self, words: &[impl AsRef<[u8]>]) -> String {
        let mut wire = self.connect();
        wire.write_all(&command(words)).unwrap();
        let mut line = String::new();
        BufReader::new(wire).read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// A command that is answered by a list of texts.
    pub(crate) fn list(&self, words: &[&str]) -> Vec<String> {
        let mut wire = BufReader::new(self.connect());
        wire.get_mut().write_all(&command(words)).unwrap();
        let count = number(&mut wire);
        let mut list = Vec::new();
        for _ in 0..count {
            let mut text = vec![0; number(&mut wire) + 2];
            wire.read_exact(&mut text).unwrap();
            list.push(String::from_utf8_lossy(&text[..text.len() - 2]).into_owned());
        }
        list
    }

    /// The same, with a password first.
    pub(crate) fn say_as(&self, password: &str, words: &[&str]) -> String {
        let mut wire = self.connect();
        wire.write_all(&command(&["AUTH", password])).unwrap();
        wire.write_all(&command(words)).unwrap();
        let mut lines = BufReader::new(wire).lines().map_while(Result::ok);
        assert_eq!(lines.next().as_deref(), Some("+OK"));
        lines.next().unwrap_or_default()
    }

    /// A command, and all of what it is answered, as the command line shows it.
    pub(crate) fn read(&self, words: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        let said = command.args(["-p", &self.port.to_string()]).args(words).output().unwrap();
        String::from_utf8(said.stdout).unwrap()
    }

    /// What it says of itself.
    pub(crate) fn fact(&self, section: &str, name: &str) -> String {
        let info = self.read(&["INFO", section]);
        let found = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        found.unwrap_or_default().trim().to_owned()
    }

    /// Starts it again with one more setting.
    pub(crate) fn add(&mut self, setting: &str) {
        self.settings.push(setting.to_owned());
    }

    /// Everything that Redis is told while `act` goes on.
    pub(crate) fn watch(&self, act: impl FnOnce()) -> String {
        let mut wire = self.connect();
        wire.write_all(&command(&["MONITOR"])).unwrap();
        let mut ok = [0; 5];
        wire.read_exact(&mut ok).unwrap();
        assert_eq!(&ok, b"+OK\r\n");
        act();
        self.say(&["ECHO", "the-end-of-it"]);
        let mut seen = String::new();
        for line in BufReader::new(wire).lines() {
            let line = line.unwrap();
            if line.contains("the-end-of-it") {
                return seen;
            }
            seen.push_str(&line);
            seen.push('\n');
        }
        panic!("MONITOR has ended");
    }

    fn connect(&self) -> TcpStream {
        let wire = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        wire.set_read_timeout(Some(PATIENCE)).unwrap();
        wire
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A port that nobody has, and so is the one of the cluster's own talk, which is higher by 10,000.
fn port() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let other = port.checked_add(10_000);
        if other.is_some_and(|other| TcpListener::bind(("127.0.0.1", other)).is_ok()) {
            return port;
        }
    }
}

/// The number behind the first letter of a line.
fn number(wire: &mut impl BufRead) -> usize {
    let mut line = String::new();
    wire.read_line(&mut line).unwrap();
    line.trim_end()[1..].parse().unwrap()
}

fn command(words: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words.iter().map(AsRef::as_ref) {
        bytes.extend(format!("${}\r\n", word.len()).into_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
