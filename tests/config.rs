//! What a configuration may say, and what is told of one that cannot be used.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::io;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use ringroom::config::{
    self, AuthMode, ClientCertificate, Config, Driver, File, Flag, ListenAddress, Problems, Sources,
};

/// A token that no output may show.
const CANARY: &str = "canary-0123456789abcdef";

fn secrets(path: &Path) -> io::Result<String> {
    match path.to_str() {
        Some("/secrets/token") => Ok(format!("{CANARY}\n")),
        Some("/secrets/short") => Ok("short\n".to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn load(
    text: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str, &str)],
) -> Result<Config, Problems> {
    let own = |text: &str| text.to_owned();
    let environment: Vec<_> = environment.iter().map(|(k, v)| (own(k), own(v))).collect();
    let flags: Vec<_> = flags
        .iter()
        .map(|(name, key, value)| Flag { name: own(name), key: own(key), value: own(value) })
        .collect();
    config::load(&Sources {
        file: Some(File { name: "r.toml", text }),
        environment: &environment,
        flags: &flags,
        cpus_allowed: &[0, 1, 2, 3],
        read_secret: &secrets,
    })
}

fn file(text: &str) -> Result<Config, Problems> {
    load(text, &[], &[])
}

#[track_caller]
fn refused(loaded: Result<Config, Problems>, wanted: &[&str]) {
    let told = loaded.expect_err("refused").to_string();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines, wanted, "\n{told}");
}

fn addresses(config: &Config) -> Vec<String> {
    config.listeners.iter().map(|listener| listener.address.to_string()).collect()
}

#[test]
fn values_of_the_wrong_kind_are_told_with_their_line() {
    for (text, told) in [
        (
            "[limits]\n\nmessage_bytes = 0",
            "r.toml:3: limits.message_bytes: found 0, wanted 256 to 268435456 bytes",
        ),
        (
            "limits.message_bytes = -5",
            "r.toml:1: limits.message_bytes: found -5, wanted 256 to 268435456 bytes",
        ),
        (
            "[limits]\nmessage_bytes = \"64k\"",
            "r.toml:2: limits.message_bytes: found \"64k\", wanted 256 to 268435456 bytes",
        ),
        ("[limits]\ndepth = 1.5", "r.toml:2: limits.depth: found 1.5, wanted 4 to 128"),
        (
            "[limits]\ndepth = 99999999999999999999",
            "r.toml:2: limits.depth: found 99999999999999999999, wanted 4 to 128",
        ),
        (
            "[tcp]\nkeepalive_ms = 1",
            "r.toml:2: tcp.keepalive_ms: found 1, wanted 0 or 1000 to 32767000 ms",
        ),
        ("dev.echo = 1", "r.toml:1: dev.echo: found 1, wanted true or false"),
        (
            "cores.driver = \"kqueue\"",
            "r.toml:1: cores.driver: found \"kqueue\", wanted one of \"auto\", \"uring\", \"epoll\"",
        ),
        (
            "cores.cpus = [0, 0]",
            "r.toml:1: cores.cpus: found an array, wanted CPUs below 1024, each once, such as \
             \"0,2-5\" or [0, 2, 3]",
        ),
        (
            "[control]\naddress = \"localhost:1\"",
            "r.toml:2: control.address: found \"localhost:1\", wanted an IP address and a port, \
             such as \"127.0.0.1:8001\" or \"[::1]:8001\"",
        ),
        ("limits = 3", "r.toml:1: limits: found 3, wanted a table, [limits]"),
        ("limits.depth.deep = 1", "r.toml:1: limits.depth: found a table, wanted 4 to 128"),
        (
            "handshake.origins = [\n  \"https://a.example\",\n  7,\n]",
            "r.toml:3: handshake.origins: found 7, wanted a string that is not empty",
        ),
        (
            "[proxy]\ntrusted = [\n  \"10.0.0.0/8\",\n\n  \"10.0.0.0/33\",\n]",
            "r.toml:5: proxy.trusted: found \"10.0.0.0/33\", wanted an IP address or network, such \
             as \"10.0.0.0/8\" or \"::1\"",
        ),
        (
            "[log]\nfilter = \"a=b=c\"",
            "r.toml:2: log.filter: found \"a=b=c\", wanted a filter such as \"info\" or \
             \"ringroom=debug\"",
        ),
        (
            "handshake.origins = [\"https://a.example/\"]",
            "r.toml:1: handshake.origins: found \"https://a.example/\", wanted \
             \"SCHEME://HOST[:PORT]\", \"null\" or \"*\"",
        ),
    ] {
        refused(file(text), &[told]);
    }
}

#[test]
fn settings_that_do_not_exist_are_told_with_what_may_be_meant() {
    for (text, told) in [
        (
            "[limits]\nmesage_bytes = 1",
            "r.toml:2: limits.mesage_bytes: no such setting; did you mean limits.message_bytes?",
        ),
        ("[limit]\ndepth = 9", "r.toml:1: limit: no such setting; did you mean limits?"),
        ("\nlistenn = []", "r.toml:2: listenn: no such setting; did you mean listen?"),
        (
            "colour = \"red\"",
            "r.toml:1: colour: no such setting; `ringroom print-config` shows all there are",
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\nproxy = true",
            "r.toml:3: listener.proxy: no such setting; `ringroom print-config` shows all there are",
        ),
        (
            "[[listener]]\naddress = \"[::1]:1\"\n[[listener]]\naddress = \"[::1]:2\"\ndeflat = 1",
            "r.toml:5: listener.deflat: no such setting; did you mean deflate?",
        ),
    ] {
        refused(file(text), &[told]);
    }
}

#[test]
fn of_a_list_everything_that_is_wrong_is_told() {
    let told = file("[proxy]\ntrusted = [\n\"a\",\n\"::1\",\n7]").unwrap_err().to_string();
    let Some((one, other)) = told.split_once('\n') else { panic!("{told}") };
    assert!(one.starts_with("r.toml:3: proxy.trusted: found \"a\""), "{told}");
    assert!(other.starts_with("r.toml:5: proxy.trusted: found 7"), "{told}");
}

#[test]
fn what_is_no_toml_is_told_once_a_line_and_the_rest_is_read() {
    let told = file("[limits]\ndepth = \nfragments = 0\n[[[x\n").unwrap_err().to_string();
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines.iter().any(|line| line.starts_with("r.toml:2: not TOML: ")), "{told}");
    assert!(lines.iter().any(|line| line.starts_with("r.toml:4: not TOML: ")), "{told}");
    let fragments = "r.toml:3: limits.fragments: found 0, wanted 1 to 16777216";
    assert!(lines.contains(&fragments), "{told}");
    // Of what table the rows behind a broken heading are is not known.
    let told = file("[limits\ndepth = 99999\n[tcp]\nbacklog = 0\n").unwrap_err().to_string();
    let Some((broken, backlog)) = told.split_once('\n') else { panic!("{told}") };
    assert!(broken.starts_with("r.toml:1: not TOML: "), "{told}");
    assert!(backlog.starts_with("r.toml:4: tcp.backlog: found 0"), "{told}");
    // What else may stand in it is not known, so nothing is compared with what it sets.
    refused(
        file("[limits]\noutbox_bytes = 2048\nfragments = 1\nfragments = 2"),
        &["r.toml:4: not TOML: duplicate key"],
    );
}

#[test]
fn a_setting_by_two_names_is_one_too_many() {
    let text = "[admission]\nconnections_per_ip = 1\n[limits]\nconnections_per_ip = 2";
    refused(
        file(text),
        &["r.toml:4: limits.connections_per_ip: given twice, by two names; wanted once"],
    );
    let config = file("limits.connections_per_ip = 3").unwrap();
    assert_eq!(config.admission.connections_per_ip, 3);
    let variable = [("RINGROOM_LIMITS_CONNECTIONS_PER_IP", "4")];
    let config = load("limits.connections_per_ip = 3", &variable, &[]).unwrap();
    assert_eq!(config.admission.connections_per_ip, 4);
}

#[test]
fn all_problems_are_told_together_in_the_order_of_their_sources() {
    let text = "\
listen = [
  \"127.0.0.1:8000\",
  \"nowhere\",
]
[limits]
fragments = 0
[[listener]]
proxy_protocol = 3
";
    refused(
        load(
            text,
            &[("RINGROOM_LIMITS_DEPTH", "900"), ("RINGROOM_LIMIT_DEPTH", "9"), ("HOME", "/")],
            &[("--cores", "cores.count", "x"), ("--set", "tcp.backlok", "1")],
        ),
        &[
            "r.toml:3: listen: found \"nowhere\", wanted \"ADDRESS:PORT\", \"[IPV6]:PORT\" or \
             \"unix:/PATH\" (at most 107 bytes)",
            "r.toml:6: limits.fragments: found 0, wanted 1 to 16777216",
            "r.toml:7: listener.address: missing, and wanted by the rest of its table",
            "r.toml:8: listener.proxy_protocol: found 3, wanted true or false",
            "RINGROOM_LIMITS_DEPTH: limits.depth: found \"900\", wanted 4 to 128",
            "RINGROOM_LIMIT_DEPTH: no such setting; did you mean RINGROOM_LIMITS_DEPTH?",
            "--cores: cores.count: found \"x\", wanted 0 to 256",
            "--set: tcp.backlok: no such setting; did you mean tcp.backlog?",
        ],
    );
}

#[test]
fn settings_that_do_not_go_together_are_told_where_they_were_given() {
    for (text, told) in [
        (
            "[limits]\nframe_bytes = 70000",
            "r.toml:2: limits.frame_bytes: found 70000, wanted at most limits.message_bytes = \
             65536: a frame is part of a message",
        ),
        (
            "[limits]\n\noutbox_bytes = 4096",
            "r.toml:3: limits.outbox_bytes: found 4096, wanted at least limits.message_bytes = \
             65536: an outbox must hold a message",
        ),
        (
            "cores.count = 1\n[limits]\noutbox_bytes = 4194304\noutbox_total_bytes = 2097152",
            "r.toml:4: limits.outbox_total_bytes: found 2097152, wanted at least 4194304: \
             limits.outbox_bytes = 4194304 for each core (1)",
        ),
        (
            "handshake.target_bytes = 20000",
            "r.toml:1: handshake.target_bytes: found 20000, wanted at most handshake.head_bytes = \
             16384: a target is part of a head",
        ),
        (
            "rate.bytes_per_second = 10",
            "r.toml:1: rate.bytes_per_second: found 10, wanted at least limits.message_bytes = \
             65536: else a message of full size never passes",
        ),
        (
            "rooms.idempotency_window_ms = 1000",
            "r.toml:1: rooms.idempotency_window_ms: found 1000, wanted at least \
             rooms.receipt_timeout_ms = 2000: who retries after a lost receipt must find the key \
             remembered",
        ),
        (
            "[rate]\nmessages_per_second = 5\nburst = 0",
            "r.toml:3: rate.burst: found 0, wanted at least 1: with rate.messages_per_second set \
             and no burst, nothing ever passes",
        ),
        (
            "cores.cpus = \"2-5\"",
            "r.toml:1: cores.cpus: found 4,5, wanted some of 0-3, on which this process may run",
        ),
        (
            "proxy.header = \"forwarded\"",
            "r.toml:1: proxy.header: found a header with proxy.trusted empty, so it is never read; \
             wanted the proxy's network in proxy.trusted",
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\nproxy_protocol = true",
            "r.toml:1: listener.proxy_protocol: found true with proxy.trusted empty, which closes \
             every connection; wanted the proxy's network in proxy.trusted",
        ),
        (
            "listen = [\"127.0.0.1:1\",\n\"127.0.0.1:1\"]",
            "r.toml:2: listen: found 127.0.0.1:1 a second time, wanted each address once",
        ),
        (
            "control.address = \"127.0.0.1:8000\"",
            "r.toml:1: control.address: found 127.0.0.1:8000 a second time, wanted each address \
             once",
        ),
        ("\nlisten = []", "r.toml:2: listen: found no address, wanted at least one"),
    ] {
        refused(file(text), &[told]);
    }
}

#[test]
fn a_setting_that_could_not_be_read_is_not_compared() {
    // Else the default of `message_bytes` would be told to be too much for the outbox.
    refused(
        file("[limits]\noutbox_bytes = 2048\nmessage_bytes = \"1k\""),
        &["r.toml:3: limits.message_bytes: found \"1k\", wanted 256 to 268435456 bytes"],
    );
}

#[test]
fn a_listener_is_told_what_it_lacks() {
    const LACKS: &str = "missing, and wanted by the rest of its table";
    for (rows, told) in [
        ("deflate = true", format!("r.toml:1: listener.address: {LACKS}")),
        (
            "address = \"127.0.0.1:1\"\n[listener.tls]\nkey_file = \"k\"",
            format!("r.toml:1: listener.tls.certificate_file: {LACKS}"),
        ),
        (
            "address = \"127.0.0.1:1\"\ntls = { certificate_file = \"c\" }",
            format!("r.toml:1: listener.tls.key_file: {LACKS}"),
        ),
        (
            "address = \"127.0.0.1:1\"\n[listener.tls]\nkey_file = \"k\"\ncertificate_file = \"c\"\n\
             client_certificate = \"required\"",
            format!("r.toml:1: listener.tls.client_ca_file: {LACKS}"),
        ),
        (
            "address = \"127.0.0.1:1\"\ntls = 3",
            "r.toml:3: listener.tls: found 3, wanted a table".to_owned(),
        ),
        (
            "address = \"127.0.0.1:1\"\n[listener.tls]\nkey_file = \"k\"\ncertificate_file = 9",
            "r.toml:5: listener.tls.certificate_file: found 9, wanted the path of a file"
                .to_owned(),
        ),
    ] {
        refused(file(&format!("[[listener]]\n{rows}")), &[&told]);
    }
}

#[test]
fn listeners_are_short_or_long_and_both() {
    let config = file(
        "listen = [\"127.0.0.1:8000\", \"[::1]:8000\", \"unix:/run/x.sock\"]\n\
         deflate.enabled = false\n\
         proxy.trusted = [\"10.0.0.0/8\", \"::1\"]\n\
         [[listener]]\n\
         address = \"127.0.0.1:8443\"\n\
         proxy_protocol = true\n\
         deflate = true\n\
         [listener.tls]\n\
         certificate_file = \"c.pem\"\n\
         key_file = \"k.pem\"\n\
         client_ca_file = \"ca.pem\"\n\
         client_certificate = \"optional\"\n",
    )
    .unwrap();
    assert_eq!(
        addresses(&config),
        ["127.0.0.1:8000", "[::1]:8000", "unix:/run/x.sock", "127.0.0.1:8443"]
    );
    let [plain, .., long] = config.listeners.as_slice() else { panic!("four listeners") };
    assert!(plain.tls.is_none() && !plain.deflate && !plain.proxy_protocol);
    assert!(long.deflate && long.proxy_protocol);
    let tls = long.tls.as_ref().unwrap();
    assert_eq!(tls.certificate_file, PathBuf::from("c.pem"));
    assert_eq!(tls.client_ca_file, Some(PathBuf::from("ca.pem")));
    assert_eq!(tls.client_certificate, ClientCertificate::Optional);
    assert_eq!(config.proxy.trusted.len(), 2);
}

#[test]
fn flags_go_over_the_environment_and_that_over_the_file() {
    let text =
        "listen = [\"127.0.0.1:1\"]\n[limits]\ndepth = 10\nfragments = 10\nbad_messages = 10";
    let environment = [
        ("RINGROOM_LIMITS_FRAGMENTS", "20"),
        ("RINGROOM_LIMITS_BAD_MESSAGES", "20"),
        ("RINGROOM_LISTEN", "127.0.0.1:2, [::1]:2"),
        ("RINGROOM_CORES_CPUS", "0,2-3"),
        ("RINGROOM_PROXY_TRUSTED", "10.0.0.0/8,192.0.2.1"),
        ("RINGROOM_HANDSHAKE_ORIGINS", ""),
    ];
    let flags = [
        ("--set", "limits.bad_messages", "30"),
        ("--driver", "cores.driver", "epoll"),
        ("--share-port", "tcp.share_port", "true"),
    ];
    let config = load(text, &environment, &flags).unwrap();
    let limits = &config.limits;
    assert_eq!((limits.depth, limits.fragments, limits.bad_messages), (10, 20, 30));
    assert_eq!(addresses(&config), ["127.0.0.1:2", "[::1]:2"]);
    assert_eq!(config.cores.cpus, [0, 2, 3]);
    assert_eq!(config.cores.driver, Driver::Epoll);
    assert!(config.tcp.share_port);
    assert_eq!(config.proxy.trusted.len(), 2);

    let listen = [("--listen", "listen", "127.0.0.1:3"), ("--listen", "listen", "unix:/x")];
    let config = load(text, &environment, &listen).unwrap();
    assert_eq!(addresses(&config), ["127.0.0.1:3", "unix:/x"]);
}

#[test]
fn variables_that_kubernetes_sets_for_a_service_of_our_name_are_none_of_ours() {
    let environment = [
        ("RINGROOM_SERVICE_HOST", "10.0.0.1"),
        ("RINGROOM_SERVICE_PORT", "8000"),
        ("RINGROOM_SERVICE_PORT_WS", "8000"),
        ("RINGROOM_PORT", "tcp://10.0.0.1:8000"),
        ("RINGROOM_PORT_8000_TCP_ADDR", "10.0.0.1"),
        ("RINGROOM_CONFIG", "/etc/ringroom.toml"),
        ("RINGROOMS", "1"),
    ];
    assert_eq!(load("", &environment, &[]).unwrap(), Config::default());
    refused(
        load("", &[("RINGROOM_PORTS", "1")], &[]),
        &["RINGROOM_PORTS: no such setting; `ringroom print-config` shows all there are"],
    );
}

#[test]
fn anyone_from_anywhere_is_refused_until_somebody_says_so() {
    let open_to_all = |origin: &str, address: &str| {
        format!(
            "{origin}: listen: found {address}, which other machines can reach, with no \
             authentication; wanted a loopback address or a UNIX socket, or auth.mode = \"open\" \
             if anyone may connect"
        )
    };
    for address in
        ["0.0.0.0:8000", "[::]:8000", "192.0.2.1:8000", "[2001:db8::1]:1", "[::ffff:10.0.0.1]:1"]
    {
        let text = format!("listen = [\n\"127.0.0.1:1\",\n\"{address}\"]");
        let address: ListenAddress = address.parse().unwrap();
        refused(file(&text), &[&open_to_all("r.toml:3", &address.to_string())]);
        let config = file(&format!("auth.mode = \"open\"\n{text}")).unwrap();
        assert_eq!(config.auth.mode, AuthMode::Open);
        assert_eq!(config.listeners.len(), 2);
    }
    for address in ["127.8.9.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "unix:/x", "127.0.0.1:0"] {
        assert!(load("", &[("RINGROOM_LISTEN", address)], &[]).is_ok(), "{address}");
    }
    refused(
        load("", &[], &[("--listen", "listen", "0.0.0.0:1")]),
        &[&open_to_all("--listen", "0.0.0.0:1")],
    );
}

#[test]
fn the_control_plane_is_on_loopback_or_wants_a_token() {
    let text = "control.address = \"0.0.0.0:8001\"";
    refused(
        file(text),
        &[
            "r.toml:1: control.address: found 0.0.0.0:8001, which other machines can reach, with no \
           token; wanted a loopback address, or control.token_file or RINGROOM_CONTROL_TOKEN",
        ],
    );
    let config = load(text, &[("RINGROOM_CONTROL_TOKEN", CANARY)], &[]).unwrap();
    assert_eq!(config.control.token.unwrap().expose(), CANARY);
}

#[test]
fn secrets_come_from_files_and_variables_alone_and_show_nowhere() {
    let by_file = "control.token_file = \"/secrets/token\"";
    let named = [("RINGROOM_CONTROL_TOKEN_FILE", "/secrets/token")];
    let given = [("RINGROOM_CONTROL_TOKEN", CANARY)];
    let flagged = [("--set", "control.token_file", "/secrets/token")];
    for config in [
        file(by_file).unwrap(),
        load("", &named, &[]).unwrap(),
        load("", &given, &[]).unwrap(),
        load("", &[], &flagged).unwrap(),
    ] {
        assert_eq!(config.control.token.as_ref().unwrap().expose(), CANARY);
        let shown = format!("{config:?} {config:#?} {}", config::print(&config));
        assert!(!shown.contains("canary"), "{shown}");
    }
    let printed = config::print(&file(by_file).unwrap());
    assert!(printed.contains("\ntoken_file = \"/secrets/token\"\n"), "{printed}");

    let remedy = "control.token: found a secret where it can be read, wanted in a file that \
                  control.token_file names, or in the variable RINGROOM_CONTROL_TOKEN";
    let in_the_open = format!("control.token = \"{CANARY}\"");
    refused(file(&in_the_open), &[&format!("r.toml:1: {remedy}")]);
    let flag = [("--set", "control.token", CANARY)];
    refused(load("", &[], &flag), &[&format!("--set: {remedy}")]);
    for (name, told) in [
        (
            "/secrets/none",
            "r.toml:1: control.token_file: found /secrets/none (entity not found), wanted a file \
             that can be read",
        ),
        (
            "/secrets/short",
            "r.toml:1: control.token: found a shorter secret, wanted at least 16 bytes",
        ),
    ] {
        refused(file(&format!("control.token_file = \"{name}\"")), &[told]);
    }
    let short = load("", &[("RINGROOM_CONTROL_TOKEN", "canary")], &[]).unwrap_err();
    assert!(!format!("{short} {short:?}").contains("canary"));
}

#[test]
fn a_reload_can_say_what_has_changed() {
    let (before, token) = (file("limits.depth = 9").unwrap(), [("RINGROOM_CONTROL_TOKEN", CANARY)]);
    assert!(config::differences(&before, &before).is_empty());
    let plain = "[[listener]]\naddress = \"127.0.0.1:8000\"\ndeflate = false";
    let after = load(plain, &token, &[]).unwrap();
    let changed = ["listener 127.0.0.1:8000 deflate", "control.token", "limits.depth"];
    assert_eq!(config::differences(&before, &after), changed);
    assert_eq!(config::differences(&after, &before), changed);
}

#[test]
fn what_is_printed_loads_and_is_the_same() {
    let elaborate = "\
listen = [\"127.0.0.1:8000\", \"unix:/run/a \\\"quoted\\\" path.sock\"]
auth.mode = \"open\"
proxy = { trusted = [\"10.0.0.0/8\", \"2001:db8::/32\"], header = \"x-forwarded-for\" }
handshake.origins = [\"https://a.example\", \"http://b.example:81\"]
cores = { cpus = [0, 1, 3], count = 7, driver = \"epoll\" }
limits = { message_bytes = 131072, depth = 9 }
rate.messages_per_second = 50
control.token_file = \"/secrets/token\"
[[listener]]
address = \"0.0.0.0:443\"
deflate = false
proxy_protocol = true
[listener.tls]
certificate_file = \"c\"
key_file = \"k\"
client_ca_file = \"ca\"
client_certificate = \"required\"
[[listener]]
address = \"[::]:444\"
tls = { certificate_file = \"c\", key_file = \"k\" }
";
    for text in ["", "auth.mode = \"open\"", elaborate] {
        let config = file(text).unwrap();
        let printed = config::print(&config);
        assert_eq!(file(&printed).unwrap(), config, "{printed}");
        assert_eq!(config::print(&file(&printed).unwrap()), printed);
    }
}

#[test]
fn what_is_printed_explains_itself() {
    let printed = config::print(&Config::default());
    let mut above: Vec<&str> = Vec::new();
    let mut settings = 0;
    for line in printed.lines() {
        let is_comment = line.starts_with("# Default: ");
        if (line.contains(" = ") || line.ends_with(" =")) && !is_comment {
            let [.., reason, default] = above.as_slice() else { panic!("{line} has no comment") };
            assert!(reason.starts_with("# ") && reason.ends_with('.'), "{reason}\n{line}");
            assert!(default.starts_with("# Default: ") && default.contains(" Takes: "), "{line}");
            settings += 1;
        }
        above.push(line);
    }
    assert!(settings > 70, "{settings}");
    for line in [
        "# Default: 65536. Takes: 256 to 268435456 bytes.",
        "# Default: as limits.message_bytes. Takes: 125 to 268435456 bytes.",
        "# Default: 5; 0 in open mode. Takes: 0 to 1000000.",
        "# connections_per_user = 0",
        "interval_ms = 25000",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}\n{printed}");
    }
}

#[test]
fn what_was_found_is_shortened_and_kept_on_its_line() {
    let long = format!("cores.driver = \"{}\"", "x".repeat(500));
    let told = file(&long).unwrap_err().to_string();
    assert!(told.len() < 200 && told.contains("x…\""), "{told}");
    let told = file("cores.driver = \"a\\n\\u001b[31mb\"").unwrap_err().to_string();
    assert_eq!(told.lines().count(), 1);
    assert!(!told.contains('\u{1b}'), "{told}");
    let told = file("\"a\\n\\u001b[31mb\" = 1").unwrap_err().to_string();
    assert_eq!(told.lines().count(), 1);
    assert!(!told.contains('\u{1b}'), "{told}");
}

proptest! {
    #[test]
    fn any_text_is_read_or_told_of(text in "(?s).{0,200}") {
        if let Err(problems) = file(&text) {
            prop_assert!(!problems.0.is_empty());
            prop_assert!(!problems.to_string().is_empty());
        }
    }

    #[test]
    fn a_printed_file_with_a_hole_is_read_or_told_of(from in 0usize..14_000, length in 1usize..80) {
        let mut printed = config::print(&Config::default()).into_bytes();
        let from = from.min(printed.len());
        printed.drain(from..(from + length).min(printed.len()));
        if let Ok(text) = String::from_utf8(printed)
            && let Err(problems) = file(&text)
        {
            prop_assert!(!problems.0.is_empty());
        }
    }
}
