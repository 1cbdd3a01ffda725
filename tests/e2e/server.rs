//! The real binary, on ports of the kernel's choice, for as long as a test holds it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::http;

/// How long anything that must happen may take: far longer than it should, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at something that must happen.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A system call of the child before it becomes the server, such as a limit.
pub(crate) type Before = fn() -> std::io::Result<()>;

/// What a server is started with.
pub(crate) struct Plan {
    arguments: Vec<String>,
    config: String,
    before: Option<Before>,
    environment: Vec<(&'static str, PathBuf)>,
    listens: bool,
}

impl Plan {
    /// One core, `/echo`, loopback.
    pub(crate) fn new() -> Self {
        let plan = Self {
            arguments: Vec::new(),
            config: String::new(),
            before: None,
            environment: Vec::new(),
            listens: true,
        };
        plan.arguments(&["--cores", "1", "--set", "dev.echo=true"])
    }

    pub(crate) fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    pub(crate) fn set(self, setting: &str) -> Self {
        self.arguments(&["--set", setting])
    }

    /// In place of one core.
    pub(crate) fn cores(mut self, count: u16) -> Self {
        // What `new` begins with.
        self.arguments[1] = count.to_string();
        self
    }

    /// The text of its configuration file, which says where it listens.
    pub(crate) fn listeners(mut self, config: &str) -> Self {
        self.config.push_str(config);
        self.listens = false;
        self
    }

    pub(crate) fn before(mut self, before: Before) -> Self {
        self.before = Some(before);
        self
    }

    pub(crate) fn environment(mut self, name: &'static str, path: &Path) -> Self {
        self.environment.push((name, path.to_owned()));
        self
    }

    /// Starts it and waits until it serves.
    pub(crate) fn start(self) -> Server {
        self.spawn().unwrap_or_else(|said| panic!("the server does not serve: {said}"))
    }

    /// Starts it where it must not serve; what it says then.
    pub(crate) fn refuses(self) -> String {
        match self.spawn() {
            Ok(_) => panic!("the server serves"),
            Err(said) => said,
        }
    }

    fn spawn(self) -> Result<Server, String> {
        let folder = folder();
        let config = folder.join("config.toml");
        std::fs::write(&config, &self.config).unwrap();
        let errors = folder.join("errors");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringroom"));
        command.args(["serve", "--control", "127.0.0.1:0", "--config"]).arg(&config);
        if self.listens {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.args(&self.arguments).stdout(Stdio::piped());
        command.stderr(File::create(&errors).unwrap()).envs(self.environment);
        if let Some(before) = self.before {
            before_exec(&mut command, before);
        }
        let mut child = command.spawn().unwrap();
        let greeting = BufReader::new(child.stdout.take().unwrap());
        let (mut addresses, mut control) = (Vec::<SocketAddr>::new(), None);
        for line in greeting.lines().map_while(Result::ok) {
            if let Some(rest) = line.strip_prefix("Control plane: http://") {
                control = rest.split('/').next().and_then(|address| address.parse().ok());
                break;
            }
            let web = line.split("://").nth(1).filter(|_| line.starts_with("ringroom serves on"));
            addresses
                .extend(web.and_then(|rest| rest.split('/').next()?.parse::<SocketAddr>().ok()));
        }
        let Some(control) = control else {
            child.wait().unwrap();
            return Err(std::fs::read_to_string(&errors).unwrap());
        };
        let mut server = Server { child, addresses, control, folder };
        eventually("it is ready, says why it is not, or ends", || {
            let ready = http::try_request(control, "GET", "/ready");
            let is_said =
                |ready: http::Response| ready.status == 200 || ready.text().contains("\"reason\"");
            ready.is_some_and(is_said) || !server.is_running()
        });
        if server.is_running() { Ok(server) } else { Err(server.log()) }
    }
}

#[expect(unsafe_code, reason = "what the child does before the server's image has no safe form")]
fn before_exec(command: &mut Command, before: Before) {
    // SAFETY: a `Before` makes system calls and nothing else, as a child of a process with threads
    // must.
    unsafe { command.pre_exec(before) };
}

/// A server that runs.
pub(crate) struct Server {
    child: Child,
    /// Where clients come in: its TCP listeners, in order.
    pub(crate) addresses: Vec<SocketAddr>,
    control: SocketAddr,
    folder: PathBuf,
}

impl Server {
    pub(crate) fn start() -> Self {
        Plan::new().start()
    }

    /// The first of its addresses.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where the control plane listens.
    pub(crate) fn control_address(&self) -> SocketAddr {
        self.control
    }

    /// A `GET` on the control plane's listener, by whoever has the operator's token.
    pub(crate) fn control(&self, target: &str) -> http::Response {
        self.operate("GET", target).expect("a response")
    }

    fn operate(&self, method: &str, target: &str) -> Option<http::Response> {
        let bearer = format!("Authorization: Bearer {}\r\n", crate::identity::OPERATOR);
        http::try_request_with(self.control, method, target, &bearer)
    }

    /// A fault on request; the status, if the server lives to tell.
    pub(crate) fn fault(&self, fault: &str) -> Option<u16> {
        self.operate("POST", &format!("/faults/{fault}")).map(|answer| answer.status)
    }

    /// The sum of a metric's series whose labels contain `label`.
    pub(crate) fn metric(&self, name: &str, label: &str) -> f64 {
        let text = self.control("/metrics").text();
        let series = text.lines().filter(|line| {
            let end = line.find(['{', ' ']).unwrap_or(0);
            &line[..end] == name && line.contains(label)
        });
        let values: Vec<f64> =
            series.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
        assert!(!values.is_empty(), "there is no {name} {label}:\n{text}");
        values.iter().sum()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("errors")).unwrap()
    }

    /// Writes another configuration file and has it read.
    pub(crate) fn reload(&self, config: &str) {
        let (new, file) = (self.folder.join("new.toml"), self.folder.join("config.toml"));
        std::fs::write(&new, config).unwrap();
        std::fs::rename(new, file).unwrap();
        self.signal("HUP");
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(sent.success(), "kill -s {name} {pid}");
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the server ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// CPU time of all its threads so far, in clock ticks of a hundredth of a second.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // The name may contain spaces; it ends with the last parenthesis.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the server said:\n{}", self.log());
        }
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until it is so, with patience.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        thread::sleep(LOOK_EVERY);
    }
}

/// A folder of a test's own.
pub(crate) fn folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("e2e-{}-{count}", std::process::id());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
