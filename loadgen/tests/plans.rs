//! Plans of several phases: what is found out before the first, and what is told when not all have run.

#![allow(unsafe_code, reason = "a filter of system calls has no safe wrapper")]

mod stub;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use stub::Manner;

const BINARY: &str = env!("CARGO_BIN_EXE_ringroom-loadgen");

/// A file of this test's own.
fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// The command that runs a plan of these phases against an echo.
fn command(name: &str, phases: &str) -> (Command, PathBuf) {
    let (plan, json) = (file(&format!("{name}.toml")), file(&format!("{name}.json")));
    fs::write(&plan, phases).expect("the target folder can be written");
    let _ = fs::remove_file(&json);
    let url = format!("ws://{}/", stub::start(Manner::default()));
    let mut command = Command::new(BINARY);
    command.args(["--dialect", "raw", "--url", &url, "--json"]).arg(&json).arg("plan").arg(&plan);
    (command, json)
}

/// Refuses the process a table of descriptors for each of its threads, as some containers do.
fn refuse_unshare() -> std::io::Result<()> {
    const ERRNO_OF_EPERM: u32 = libc::SECCOMP_RET_ERRNO | 1;
    let unshare = u32::try_from(libc::SYS_unshare).expect("a small number");
    let step = |code: u32, jf: u8, k: u32| libc::sock_filter {
        code: u16::try_from(code).expect("a small number"),
        jt: 0,
        jf,
        k,
    };
    let mut steps = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, unshare),
        step(libc::BPF_RET | libc::BPF_K, 0, ERRNO_OF_EPERM),
        step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: 4, filter: steps.as_mut_ptr() };
    // SAFETY: the filter and its steps live through both calls.
    let refused = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) != 0
    };
    if refused { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

#[test]
fn a_plan_that_cannot_be_run_to_its_end_is_not_begun() {
    let phases = "[[phase]]\nscenario = \"echo\"\nconnections = 2\nseconds = 600\n\
                  [[phase]]\nscenario = \"hold\"\nconnections = 2000000\n";
    let (mut command, json) = command("too-many", phases);
    // SAFETY: the child only makes system calls.
    unsafe { command.pre_exec(refuse_unshare) };
    let output = command.output().expect("it can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*output.stdout), (Some(2), &b""[..]), "{said}");
    assert!(said.contains("too-many.toml:5: phase 2 (hold): this process may hold "), "{said}");
    assert!(!json.exists());
}

#[test]
fn an_interrupted_plan_says_what_did_not_run() {
    let phases = "[[phase]]\nscenario = \"hold\"\nconnections = 3\nseconds = 600\n".repeat(3);
    let (mut command, json) = command("interrupted", &phases);
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("it can be run");
    let lines = BufReader::new(child.stderr.as_mut().expect("piped")).lines();
    lines.map_while(Result::ok).find(|line| line.contains(" 3 open")).expect("a line a second");
    let done = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(done.expect("it can be run").success());
    let mut text = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut text).expect("text");
    assert_eq!(child.wait().expect("it ends").code(), Some(1), "{text}");
    assert!(text.ends_with("\nINVALID\n  2 of 3 phases did not run\n"), "{text}");
    assert!(!text.contains("made anew"), "{text}");
    let report: Value =
        serde_json::from_slice(&fs::read(json).expect("written")).expect("it is JSON");
    assert_eq!(report["verdict"], "INVALID");
    assert_eq!(report["doubts"], serde_json::json!(["2 of 3 phases did not run"]));
}
