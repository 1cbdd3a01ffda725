//! The command line as a shell sees it: what it prints, where, and with which exit code.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

struct Said {
    code: i32,
    out: String,
    err: String,
}

fn ringroom(arguments: &[&str], environment: &[(&str, &str)]) -> Said {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_ringroom"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    Said {
        code: status.code().unwrap(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

/// A file of its own for the test called `name`.
fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn version_and_help_go_to_the_standard_output_with_code_0() {
    let version = ringroom(&["--version"], &[]);
    assert_eq!((version.code, version.err.as_str()), (0, ""));
    assert_eq!(version.out, format!("ringroom {}\n", env!("CARGO_PKG_VERSION")));
    let help = ringroom(&["--help"], &[]);
    assert_eq!(help.code, 0);
    for word in [
        "serve",
        "check-config",
        "print-config",
        "probe",
        "--config",
        "--listen",
        "--control",
        "--cpus",
        "--cores",
        "--driver",
        "--share-port",
        "--set",
    ] {
        assert!(help.out.contains(word), "{word}\n{}", help.out);
    }
}

#[test]
fn a_wrong_usage_is_code_2() {
    for arguments in [
        vec!["--nonsense"],
        vec!["nonsense"],
        vec!["serve", "--cores"],
        vec!["--set", "limits.depth"],
        vec!["probe", "--connections", "0"],
        vec!["probe", "--connections", "many"],
        vec!["--cores", "1", "--cores", "2"],
        vec!["--cores", "1", "check-config"],
    ] {
        let said = ringroom(&arguments, &[]);
        assert_eq!(said.code, 2, "{arguments:?}: {}{}", said.out, said.err);
        assert!(said.out.is_empty() && !said.err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_wrong_configuration_is_code_2_for_every_command_that_reads_it() {
    let bad = file("bad.toml", "[limits]\ndepth = 0\n");
    let bad = bad.to_str().unwrap();
    let told = format!(
        "ringroom: the configuration cannot be used:\n\
         {bad}:2: limits.depth: found 0, wanted 4 to 128\n\
         RINGROOM_TCP_BACKLOG: tcp.backlog: found \"x\", wanted 1 to 65535\n\
         --driver: cores.driver: found \"none\", wanted one of \"auto\", \"uring\", \"epoll\"\n"
    );
    for command in [&[][..], &["serve"], &["check-config"], &["print-config"]] {
        let flags = ["--config", bad, "--driver", "none"];
        let said = ringroom(&[command, &flags].concat(), &[("RINGROOM_TCP_BACKLOG", "x")]);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{command:?}");
        assert_eq!(said.err, told, "{command:?}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_code_2_and_named() {
    let said = ringroom(&["check-config", "--config", "/nonexistent/r.toml"], &[]);
    assert_eq!(said.code, 2);
    assert!(said.err.starts_with("ringroom: /nonexistent/r.toml: No such file"), "{}", said.err);
    let endless = ringroom(&["check-config", "--config", "/dev/zero"], &[]);
    assert_eq!(endless.code, 2);
    assert!(endless.err.contains("/dev/zero: file too large"), "{}", endless.err);
    let by_variable = ringroom(&["check-config"], &[("RINGROOM_CONFIG", "/nonexistent/v.toml")]);
    assert!(by_variable.err.contains("/nonexistent/v.toml"), "{}", by_variable.err);
}

/// What serving would refuse, checking refuses as well.
#[test]
fn certificates_that_do_not_serve_are_no_valid_configuration() {
    let pair = || {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let ((certificate, key), (_, other)) = (pair(), pair());
    let [certificate, key, other] =
        [("certificate.pem", certificate), ("key.pem", key), ("other.pem", other)]
            .map(|(name, text)| file(name, &text).to_str().unwrap().to_owned());
    let nowhere = "/nonexistent/certificate.pem";
    for (certificate, key, told) in [
        (certificate.as_str(), key.as_str(), None),
        (nowhere, &key, Some("/nonexistent/certificate.pem (No such file")),
        (&certificate, &other, Some("wanted the private key of the certificate")),
        (&key, &key, Some("wanted certificates in PEM")),
    ] {
        let files = format!("certificate_file = {certificate:?}, key_file = {key:?}");
        let text = format!("[[listener]]\naddress = \"127.0.0.1:0\"\ntls = {{ {files} }}\n");
        let said =
            ringroom(&["check-config", "--config", file("tls.toml", &text).to_str().unwrap()], &[]);
        assert_eq!(said.code, if told.is_some() { 2 } else { 0 }, "{}", said.err);
        assert!(said.err.contains(told.unwrap_or_default()), "{}", said.err);
    }
}

/// Of each listener each file, with its line, and beside them whatever else is wrong.
#[test]
fn every_file_of_every_listener_is_told_that_does_not_serve() {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let [certificate, key, other] =
        [("all-certificate", certificate), ("all-key", key.serialize_pem()), ("all-other", other)]
            .map(|(name, text)| file(name, &text).to_str().unwrap().to_owned());
    let text = format!(
        "[[listener]]
address = \"127.0.0.1:0\"
[listener.tls]
certificate_file = \"/nonexistent/certificate\"
key_file = {certificate:?}
[[listener]]
address = \"127.0.0.1:0\"
tls = {{ certificate_file = {certificate:?}, key_file = {other:?} }}
[[listener]]
address = \"127.0.0.1:0\"
[listener.tls]
certificate_file = {certificate:?}
key_file = {key:?}
client_certificate = \"required\"
client_ca_file = {key:?}
[limits]
depth = 0
"
    );
    let config = file("all-tls.toml", &text);
    let config = config.to_str().unwrap();
    let said = ringroom(&["check-config", "--config", config], &[]);
    assert_eq!(said.code, 2, "{}", said.out);
    let lines: Vec<&str> = said.err.lines().skip(1).collect();
    let tls = |line: u8, row, found: &str| {
        format!("{config}:{line}: listener.tls.{row}: found {found} (")
    };
    for (begins, wanted) in [
        (format!("{config}:17: limits.depth: found 0"), "wanted 4 to 128"),
        (
            tls(4, "certificate_file", "/nonexistent/certificate"),
            "No such file or directory (os error 2)), wanted a file that can be read",
        ),
        (tls(5, "key_file", &certificate), "), wanted a private key in PEM"),
        (
            tls(8, "key_file", &other),
            "), wanted the private key of the certificate in certificate_file",
        ),
        (tls(15, "client_ca_file", &key), "), wanted root certificates in PEM"),
    ] {
        let is_told = |line: &&str| line.starts_with(&begins) && line.ends_with(wanted);
        assert!(lines.iter().any(is_told), "{begins}… {wanted}\n{}", said.err);
    }
    assert_eq!(lines.len(), 5, "{}", said.err);
}

#[test]
fn every_flag_reaches_its_setting() {
    let said = ringroom(
        &[
            "print-config",
            "--listen",
            "127.0.0.1:9000",
            "--listen",
            "unix:/tmp/ringroom-cli-test.sock",
            "--control",
            "127.0.0.1:9001",
            "--cpus",
            "0",
            "--cores",
            "3",
            "--driver",
            "epoll",
            "--share-port",
            "--set",
            "limits.depth=9",
            "--set=handshake.origins=https://a.example,https://b.example",
        ],
        &[],
    );
    assert_eq!(said.code, 0, "{}", said.err);
    for line in [
        "address = \"127.0.0.1:9000\"",
        "address = \"unix:/tmp/ringroom-cli-test.sock\"",
        "address = \"127.0.0.1:9001\"",
        "cpus = \"0\"",
        "count = 3",
        "driver = \"epoll\"",
        "share_port = true",
        "depth = 9",
        "origins = [\"https://a.example\", \"https://b.example\"]",
    ] {
        assert!(said.out.lines().any(|printed| printed == line), "{line}\n{}", said.out);
    }
}

#[test]
fn what_print_config_prints_check_config_takes() {
    let printed = ringroom(&["print-config", "--set", "limits.depth=9"], &[]);
    assert_eq!(printed.code, 0);
    let path = file("printed.toml", &printed.out);
    let path = path.to_str().unwrap();
    let checked = ringroom(&["check-config", "--config", path], &[]);
    assert_eq!((checked.code, checked.err.as_str()), (0, ""));
    assert_eq!(
        checked.out,
        "the configuration is valid: listeners 127.0.0.1:8000; control 127.0.0.1:8001\n"
    );
    let again = ringroom(&["print-config", "--config", path], &[]);
    assert_eq!(again.out, printed.out);
}

#[test]
fn no_output_shows_a_secret() {
    const CANARY: &str = "canary-0123456789abcdef";
    let secret = file("token", CANARY);
    let secret = secret.to_str().unwrap();
    let bad = file("open.toml", &format!("[control]\ntoken = \"{CANARY}\"\n"));
    let bad = bad.to_str().unwrap();
    let by_variable = [("RINGROOM_CONTROL_TOKEN", CANARY)];
    let by_file = [("RINGROOM_CONTROL_TOKEN_FILE", secret)];
    for (arguments, environment, code) in [
        (vec!["print-config"], &by_variable, 0),
        (vec!["check-config"], &by_variable, 0),
        (vec!["print-config"], &by_file, 0),
        (vec!["check-config", "--config", bad], &by_file, 2),
        (vec!["check-config", "--set", &format!("control.token={CANARY}")], &by_file, 2),
    ] {
        let said = ringroom(&arguments, environment);
        assert_eq!(said.code, code, "{}", said.err);
        assert!(!said.out.contains("canary") && !said.err.contains("canary"), "{arguments:?}");
    }
}

#[test]
fn whoever_stops_reading_makes_nothing_fail() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringroom"))
        .arg("print-config")
        .env_clear()
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_probe_says_the_same_to_people_and_to_machines() {
    let easy = ["probe", "--connections", "1", "--json"];
    let said = ringroom(&easy, &[]);
    let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let sufficient = report["sufficient"].as_bool().unwrap();
    assert_eq!(said.code, if sufficient { 0 } else { 3 });
    assert_eq!(report["connections"], 1);

    let text = ringroom(&["probe", "--connections", "1"], &[]);
    assert_eq!(text.code, said.code);
    for finding in report["findings"].as_array().unwrap() {
        assert!(text.out.contains(finding["subject"].as_str().unwrap()), "{}", text.out);
    }
}

#[test]
fn the_probe_ends_with_code_3_where_something_essential_is_short() {
    let mut shell = Command::new("sh");
    let script = format!("ulimit -n 64; exec {} probe --json", env!("CARGO_BIN_EXE_ringroom"));
    let output = shell.args(["-c", &script]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["sufficient"], false);
    let findings = report["findings"].as_array().unwrap();
    let limit = findings.iter().find(|finding| finding["subject"] == "RLIMIT_NOFILE").unwrap();
    assert_eq!(limit["verdict"], "short");
    assert_eq!(limit["found"], "64");
}

#[test]
fn the_page_starts_the_binary_where_its_first_command_has_built_it() {
    let page = fs::read_to_string("README.md").unwrap();
    let start = page.split("\n## ").find(|part| part.starts_with("Start\n")).unwrap();
    let commands = start.split("```sh\n").skip(1).flat_map(|block| {
        block.split("```").next().unwrap().lines().map(|line| line.trim_start_matches("token=$("))
    });
    let mut binaries = 0;
    for command in commands {
        let program = command.split(' ').next().unwrap();
        match program {
            "cargo" | "openssl" | "export" => {}
            "target/release/ringroom" => binaries += 1,
            path => assert!(PathBuf::from(path).is_file(), "{command}: no such command yet"),
        }
    }
    assert!(binaries > 1);
}
