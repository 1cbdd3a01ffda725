//! The commands that make credentials and look into them, as a shell sees them.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const SECRET: &str = "canary-secret-of-thirty-two-bytes-or-so";

struct Said {
    code: i32,
    out: String,
    err: String,
}

fn ringroom(arguments: &[&str], input: &str) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringroom"))
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads nothing may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// A folder with a secret and a configuration that goes by it.
fn configured(name: &str, more: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("credentials-{name}"));
    fs::create_dir_all(&folder).unwrap();
    let (secret, config) = (folder.join("secret"), folder.join("ringroom.toml"));
    fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let secret = secret.display();
    let text = format!(
        "[handshake]\norigins = [\"https://app.example\"]\n[auth.jwt]\nsecret_file = \"{secret}\"\n\
         [auth.cookie]\nkeys = [{{ id = \"c1\", secret_file = \"{secret}\" }}]\n{more}"
    );
    fs::write(&config, text).unwrap();
    config.display().to_string()
}

#[test]
fn a_token_that_is_made_is_accepted_and_says_what_was_asked_for() {
    let config = configured("token", "");
    let claims = r#"{"join":["team"],"info":{"name":"Ann"}}"#;
    let made = ringroom(
        &["token", "create", "--config", &config, "--user", "ann", "--claims", claims],
        "",
    );
    assert_eq!((made.code, &*made.err), (0, ""), "{}", made.out);
    let seen = ringroom(&["token", "verify", "--config", &config], &made.out);
    assert_eq!(seen.code, 0, "{}", seen.err);
    let seen: serde_json::Value = serde_json::from_str(&seen.out).unwrap();
    assert_eq!((&seen["user"], &seen["tenant"]), (&"ann".into(), &"default".into()));
    assert_eq!((&seen["join"][0], &seen["info"]["name"]), (&"team".into(), &"Ann".into()));
}

#[test]
fn a_token_that_is_bad_is_refused_with_a_word_and_shows_nowhere() {
    let config = configured("refused", "");
    let brief = ["--user", "ann", "--expires-in", "0", "--set", "auth.leeway_ms=0"];
    let made = ringroom(&[&["token", "create", "--config", &config], &brief[..]].concat(), "");
    let verify = ["token", "verify", "--config", &config, "--set", "auth.leeway_ms=0"];
    let room = ringroom(&["token", "create", "--config", &config, "--room", "team"], "");
    for (token, word) in [
        (made.out.trim().to_owned(), "expired"),
        (format!("{}x", made.out.trim()), "signature"),
        (format!("{}=", made.out.trim()), "malformed"),
        (room.out.trim().to_owned(), "header"),
        ("canary-opaque".to_owned(), "unsupported"),
        ("canary.canary.canary".to_owned(), "malformed"),
    ] {
        let seen = ringroom(&verify, &token);
        let expected = format!("ringroom: refused: {word}\n");
        assert_eq!((seen.code, &*seen.out, seen.err), (1, "", expected));
    }
}

#[test]
fn a_room_token_is_looked_into_for_its_room() {
    let config = configured("room", "[tenants.default]\n[tenants.acme]\n");
    let create = ["token", "create", "--config", &config, "--room", "team", "--role", "member"];
    let made = ringroom(&[&create[..], &["--user", "ann"]].concat(), "");
    assert_eq!(made.code, 0, "{}", made.err);
    let verify = |more: &[&str], token: &str| {
        ringroom(&[&["token", "verify", "--config", &config], more].concat(), token)
    };
    let seen = verify(&["--room", "team", "--user", "ann"], &made.out);
    assert_eq!(seen.code, 0, "{}", seen.err);
    let seen: serde_json::Value = serde_json::from_str(&seen.out).unwrap();
    assert_eq!((&seen["room"], &seen["role"]), (&"team".into(), &"member".into()));
    assert_eq!((&seen["user"], &seen["tenant"]), (&"ann".into(), &"default".into()));
    assert!(seen["expires_at"].is_u64(), "{seen}");
    for (more, word) in [
        (&["--room", "other", "--user", "ann"][..], "refused: not_for_this"),
        (&["--room", "team", "--user", "bob"], "refused: not_for_this"),
        (&["--room", "team"], "refused: not_for_this"),
        (&["--room", "team", "--user", "ann", "--tenant", "acme"], "refused: not_for_this"),
        (
            &["--room", "team", "--user", "ann", "--set", "auth.jwt.issuers=[\"a\"]"],
            "refused: issuer",
        ),
    ] {
        let seen = verify(more, &made.out);
        assert_eq!(
            (seen.code, &*seen.out, seen.err),
            (1, "", format!("ringroom: {word}\n")),
            "{more:?}"
        );
    }
    let identity = ringroom(&["token", "create", "--config", &config, "--user", "ann"], "");
    let seen = verify(&["--room", "team"], &identity.out);
    assert_eq!((seen.code, &*seen.err), (1, "ringroom: refused: header\n"));
    for wrong in [
        &["--room", "@all"][..],
        &["--room", "team", "--tenant", "nobody"],
        &["--user", "ann"],
        &["--room", "team", "--cookie"],
    ] {
        let seen = verify(wrong, &made.out);
        assert_eq!((seen.code, &*seen.out), (2, ""), "{wrong:?}: {}", seen.err);
    }
}

#[test]
fn keys_are_taken_from_files() {
    let testdata = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/auth/testdata");
    let file = |name: &str| testdata.join(name).display().to_string();
    let public = file("p256_public.pem");
    let key = format!("keys = [{{ algorithm = \"ES256\", public_key_file = \"{public}\" }}]\n");
    let config = configured("files", "");
    let text = fs::read_to_string(&config)
        .unwrap()
        .replace("[auth.cookie]", &format!("{key}[auth.cookie]"));
    fs::write(&config, text).unwrap();
    let private = file("p256.pem");
    let create = ["token", "create", "--user", "ann", "--key-file", &private, "--algorithm"];
    let made = ringroom(&[&create[..], &["ES256"]].concat(), "");
    assert_eq!(made.code, 0, "{}", made.err);
    assert_eq!(ringroom(&["token", "verify", "--config", &config], &made.out).code, 0);
    for wrong in ["RS256", "HS256", "EdDSA"] {
        let said = ringroom(&[&create[..], &[wrong]].concat(), "");
        assert_eq!((said.code, &*said.out), (2, ""), "{wrong}");
    }
    let said = ringroom(&[&create[..], &["none"]].concat(), "");
    assert!(said.code == 2 && said.err.contains("HS256"), "{}", said.err);
}

#[test]
fn an_api_key_is_known_by_the_lines_that_are_printed_with_it() {
    let limits = ["--connections", "5", "--messages-per-second", "20"];
    let create = ["key", "create", "--permission", "publish", "--user", "billing"];
    let made = ringroom(&[&create[..], &limits].concat(), "");
    assert_eq!(made.code, 0, "{}", made.err);
    let (key, lines) = made.out.split_once("\n\n").unwrap();
    // The secret is base64url and may contain a `_` itself.
    let secret = key.splitn(3, '_').nth(2).unwrap();
    assert!(key.starts_with("rr_") && secret.len() == 43 && !lines.contains(secret), "{lines}");
    let config = configured("key", lines);
    let seen = ringroom(&["token", "verify", "--config", &config, key], "");
    assert_eq!(seen.code, 0, "{}", seen.err);
    assert!(seen.out.contains("\"billing\"") && seen.out.contains("\"api_key\""), "{}", seen.out);
    let said = ringroom(&["key", "create", "--permission", "everything"], "");
    assert_eq!(said.code, 2);
}

#[test]
fn a_session_is_signed_by_the_key_of_the_configuration() {
    let config = configured("cookie", "");
    let made = ringroom(&["cookie", "sign", "--config", &config, "--user", "ann"], "");
    assert!(made.code == 0 && made.out.starts_with("v1.c1."), "{}{}", made.out, made.err);
    let seen = ringroom(&["token", "verify", "--cookie", "--config", &config], &made.out);
    assert!(seen.code == 0 && seen.out.contains("\"cookie\""), "{}{}", seen.out, seen.err);
    let other =
        ringroom(&["cookie", "sign", "--config", &config, "--user", "a", "--key-id", "x"], "");
    assert_eq!(other.code, 2);
}

#[test]
fn a_configuration_whose_keys_cannot_be_used_is_told_of_and_shows_no_secret() {
    let config = configured("short", "");
    fs::write(config.replace("ringroom.toml", "secret"), "canary-too-short-secret").unwrap();
    let said = ringroom(&["check-config", "--config", &config], "");
    assert_eq!((said.code, &*said.out), (2, ""));
    assert!(said.err.contains("auth.jwt.secret") && said.err.contains("32 bytes"), "{}", said.err);
    assert!(said.err.contains("auth.cookie.keys, entry 1"), "{}", said.err);
    assert!(!said.err.contains("canary-too"), "{}", said.err);
    let shown = ringroom(&["print-config", "--config", &configured("print", "")], "");
    assert!(shown.out.contains("[auth.cookie]") && !shown.out.contains("canary"), "{}", shown.out);
}
