#![allow(clippy::unwrap_used, reason = "a test may")]

use std::io;

use super::check::{AT_MOST, AT_MOST_UNLESS_OFF};
use super::follow::FOLLOWERS;
use super::table::{Kind, Unit};
use super::*;

/// Loads `text` as the file `f`, with `flags` of the form `section.key=value`.
fn loaded(text: &str, flags: &[String]) -> Result<Config, Problems> {
    let flags: Vec<Flag> = flags
        .iter()
        .map(|flag| flag.split_once('=').unwrap())
        .map(|(key, value)| Flag {
            name: "--set".to_owned(),
            key: key.to_owned(),
            value: value.to_owned(),
        })
        .collect();
    load(&Sources {
        file: Some(File { name: "f", text }),
        environment: &[],
        flags: &flags,
        cpus_allowed: &[],
        read_secret: &|path| match path.to_str() {
            Some("secret") => Ok("sixteen letters and more".to_owned()),
            _ => Err(io::ErrorKind::NotFound.into()),
        },
    })
}

/// Every other setting out of the way: limits that go with anything that `key` may be.
fn roomy(key: &str) -> Vec<String> {
    [
        "limits.outbox_bytes=1073741824",
        "limits.outbox_total_bytes=1099511627776",
        "limits.recovery_bytes=1073741824",
        "limits.message_bytes=1024",
        "limits.frame_bytes=1024",
        "rooms.receipt_timeout_ms=1",
        "mesh.backlog_bytes=1073741824",
        "handshake.target_bytes=64",
        "handshake.head_bytes=1048576",
    ]
    .into_iter()
    .filter(|setting| !setting.starts_with(&format!("{key}=")))
    .map(str::to_owned)
    .collect()
}

#[test]
fn nothing_given_is_the_default() {
    assert_eq!(loaded("", &[]).unwrap(), Config::default());
}

#[test]
fn every_number_is_taken_within_its_bounds_and_refused_clearly_beyond_them() {
    let numbers: Vec<_> = keys().filter(|key| key.kind == Kind::Number).collect();
    assert!(numbers.len() > 50, "the table has its numbers");
    for key in numbers {
        let bounds = &key.bounds;
        assert!(bounds.low <= bounds.high, "{}", key.path());
        for number in
            [0, 1, bounds.low.saturating_sub(1), bounds.low, bounds.high, bounds.high + 1, u64::MAX]
        {
            let mut flags = roomy(&key.path());
            flags.push(format!("{}={number}", key.path()));
            match loaded("", &flags) {
                Ok(config) => {
                    assert!(bounds.allow(number), "{} took {number}", key.path());
                    assert_eq!((key.number)(&config), Some(number), "{}", key.path());
                }
                Err(problems) => {
                    // Within the bounds, another setting may be in the way; then both are named.
                    let told = problems.to_string();
                    assert!(told.contains(&key.path()), "{told}");
                    assert!(
                        told.contains(&format!("found {number}"))
                            || told.contains(&format!("found \"{number}\""))
                            || bounds.allow(number),
                        "{told}"
                    );
                    assert!(told.contains("wanted"), "{told}");
                    if !bounds.allow(number) {
                        assert_eq!(problems.0.len(), 1, "{told}");
                        assert!(told.contains(&bounds.to_string()), "{told}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_default_is_within_its_bounds_and_its_type() {
    for key in keys().filter(|key| key.kind == Kind::Number) {
        let row = (key.number)(&Config::of_rows()).unwrap();
        assert!(key.bounds.allow(row), "{} = {row}", key.path());
        let high = format!("{}={}", key.path(), key.bounds.high);
        let told = loaded("", &[high]).err().map(|problems| problems.to_string());
        let text = told.unwrap_or_default();
        assert!(!text.contains(&key.bounds.to_string()), "the type holds the bound: {text}");
    }
}

#[test]
fn every_setting_is_documented_in_one_sentence_and_named_by_its_unit() {
    for key in keys() {
        let reason = key.reason.trim();
        assert!(reason.len() >= 12 && reason.ends_with('.'), "{}: {reason}", key.path());
        assert!(reason.chars().next().unwrap().is_uppercase(), "{}: {reason}", key.path());
        let by_name = [
            ("_ms", Unit::Milliseconds),
            ("_us", Unit::Microseconds),
            ("bytes_per_second", Unit::BytesPerSecond),
            ("_per_second", Unit::PerSecond),
            ("_per_minute", Unit::PerMinute),
            ("_bytes", Unit::Bytes),
        ];
        let unit = by_name.iter().find(|(end, _)| key.name.ends_with(end));
        let unit = unit.map_or(Unit::Count, |(_, unit)| *unit);
        assert_eq!(key.bounds.unit, unit, "{}", key.path());
    }
}

#[test]
fn names_are_unambiguous() {
    let mut variables: Vec<String> = keys().map(table::Key::variable).collect();
    variables.sort_unstable();
    variables.dedup();
    assert_eq!(variables.len(), keys().count());
    for section in SECTIONS {
        // A variable is divided at its first underscore; and a service named `ringroom` makes
        // Kubernetes set variables that begin with these.
        assert!(!section.name.contains('_'), "{}", section.name);
        assert!(!["port", "service", "listen", "listener", "config"].contains(&section.name));
    }
}

#[test]
fn the_table_says_what_the_protocol_says() {
    let config = loaded("auth.mode = \"open\"", &[]).unwrap();
    for (path, default) in [
        ("limits.message_bytes", 65_536),
        ("limits.frame_bytes", 65_536),
        ("limits.fragments", 1_024),
        ("limits.batch_messages", 100),
        ("limits.bad_messages", 10),
        ("limits.outbox_bytes", 1 << 20),
        ("limits.state_bytes", 4_096),
        ("limits.rooms_per_connection", 128),
        ("limits.recovery_messages", 1_000),
        ("limits.recovery_bytes", 1 << 20),
        ("limits.connections_per_user", 0),
        ("limits.connections_per_ip", 0),
        ("auth.timeout_ms", 10_000),
        ("heartbeat.interval_ms", 25_000),
        ("heartbeat.max_missed", 3),
        ("session.ttl_ms", 120_000),
        ("presence.grace_ms", 2_000),
        ("rooms.ack_timeout_ms", 30_000),
        ("rooms.receipt_timeout_ms", 2_000),
        ("rooms.idempotency_window_ms", 300_000),
        ("rooms.idempotency_keys", 100_000),
        ("rooms.history_size", 0),
        ("rooms.reliable_history_size", 100),
        ("rooms.history_ttl_ms", 300_000),
        ("rooms.max_members", 100_000),
    ] {
        assert_eq!((key(path).unwrap().number)(&config), Some(default), "{path}");
    }
    // What open mode turns off.
    let rows = Config::of_rows();
    assert_eq!(rows.limits.connections_per_user, 5);
    assert_eq!(rows.admission.connections_per_ip, 100);
    assert_eq!(rows.rate.messages_per_second, 100);
    assert_eq!(rows.rate.burst, 200);
    assert_eq!(rows.rate.bytes_per_second, 1 << 20);
}

#[test]
fn each_core_has_room_for_a_message_in_parts_and_for_an_outbox() {
    for (text, told) in [
        (
            "cores.cpus = \"0-3\"\n[limits]\ninbox_total_bytes = 262143",
            "f:3: limits.inbox_total_bytes: found 262143, wanted at least 262144: \
             limits.message_bytes = 65536 for each core (4)",
        ),
        (
            "cores.count = 1\n[limits]\ninbox_total_bytes = 4096",
            "f:3: limits.inbox_total_bytes: found 4096, wanted at least 65536: \
             limits.message_bytes = 65536 for each core (1)",
        ),
        (
            "cores.count = 32\nmesh.backlog_bytes = 67108864\n[limits]\nmessage_bytes = 67108864\n\
             outbox_bytes = 67108864\noutbox_total_bytes = 2147483648\nrecovery_bytes = 67108864",
            "f:4: limits.message_bytes: found 67108864, wanted at most 8388608: what each core (32) \
             has of limits.inbox_total_bytes",
        ),
        (
            "cores.count = 16\n[limits]\noutbox_total_bytes = 1048576",
            "f:3: limits.outbox_total_bytes: found 1048576, wanted at least 16777216: \
             limits.outbox_bytes = 1048576 for each core (16)",
        ),
        (
            "cores.count = 16\n[limits]\noutbox_bytes = 134217728",
            "f:3: limits.outbox_bytes: found 134217728, wanted at most 67108864: what each core (16) \
             has of limits.outbox_total_bytes",
        ),
    ] {
        let problems = loaded(&format!("{text}\n"), &[]).unwrap_err();
        assert_eq!(problems.0.iter().map(ToString::to_string).collect::<Vec<_>>(), [told]);
    }
    let enough = "cores.cpus = \"0-3\"\nlimits.inbox_total_bytes = 262144";
    assert!(loaded(enough, &[]).is_ok());
}

#[test]
fn comparisons_name_numbers() {
    for (less, more, because) in AT_MOST.iter().chain(AT_MOST_UNLESS_OFF) {
        for path in [less, more] {
            let key = key(path).unwrap_or_else(|| panic!("{path} is no row"));
            assert_eq!(key.kind, Kind::Number, "{path}");
        }
        assert!(!because.is_empty());
    }
}

#[test]
fn followers_name_rows_and_stay_within_their_bounds() {
    for follower in FOLLOWERS {
        assert_eq!(key(follower.path).unwrap().path(), follower.path);
    }
    for setting in [
        "limits.message_bytes=256",
        "limits.message_bytes=268435456",
        "rate.messages_per_second=10000000",
    ] {
        let mut flags = roomy("limits.message_bytes");
        flags.retain(|flag| !flag.starts_with("limits.frame_bytes"));
        flags.push(setting.to_owned());
        let config = loaded("", &flags).unwrap();
        assert_eq!(config.limits.frame_bytes, config.limits.message_bytes);
        assert!(config.rate.burst >= config.rate.messages_per_second);
    }
}

#[test]
fn what_is_set_follows_nothing() {
    let text = "admission.connections_per_ip = 7\nlimits.frame_bytes = 999\nrate.burst = 3";
    let config = loaded(text, &[]).unwrap();
    assert_eq!(config.admission.connections_per_ip, 7);
    assert_eq!(config.limits.frame_bytes, 999);
    assert_eq!(config.rate.burst, 3);
    assert_eq!(config.rate.messages_per_second, 0);
}

#[test]
fn every_setting_can_be_given_as_it_is_printed_by_file_and_by_variable() {
    let config = Config::default();
    for key in keys().filter(|key| key.kind != Kind::Secret) {
        // What has no value by default is printed as a comment.
        let Some(shown) = (key.show)(&config) else { continue };
        let in_file = format!("{} = {shown}", key.path());
        assert_eq!(loaded(&in_file, &[]).unwrap(), config, "{in_file}");
        let bare = shown.replace(['"', '[', ']'], "");
        let variable = load(&Sources {
            file: None,
            environment: &[(key.variable(), bare)],
            flags: &[],
            cpus_allowed: &[],
            read_secret: &|path| match path.to_str() {
                Some("secret") => Ok("sixteen letters and more".to_owned()),
                _ => Err(io::ErrorKind::NotFound.into()),
            },
        });
        assert_eq!(variable.unwrap(), config, "{}", key.variable());
    }
}

#[test]
fn a_namespace_is_a_table_of_what_its_rooms_are() {
    let text = r#"
[namespaces]
strict = true
[namespaces.chat]
mode = "reliable"
rate = { per_second = 5, burst = 9 }
type = "private"
[namespaces."@all"]
history_size = 3
"#;
    let config = loaded(text, &[]).unwrap();
    assert!(config.namespaces.strict);
    let chat = &config.namespace_rooms["chat"];
    assert_eq!(chat.mode, Some(RoomMode::Reliable));
    assert_eq!(chat.r#type, Some(RoomType::Private));
    assert_eq!(chat.rate, Some(RoomRate { per_second: 5, burst: 9 }));
    assert_eq!(config.namespace_rooms["@all"].history_size, Some(3));
    assert_eq!(loaded(&print(&config), &[]).unwrap(), config, "what is printed loads");
    assert_eq!(differences(&config, &Config::default()), ["namespaces", "namespaces.strict"]);
}

#[test]
fn what_is_wrong_in_a_namespace_is_told_with_its_line() {
    for (row, key) in [
        ("mood = 1", "namespaces.chat.mood"),
        ("mode = \"best\"", "namespaces.chat.mode"),
        ("max_members = 0", "namespaces.chat.max_members"),
        ("rate = { per_second = 5, burst = 0 }", "namespaces.chat.rate"),
        ("rate = 5", "namespaces.chat.rate"),
        ("message_bytes = 1_000_000", "namespaces.chat.message_bytes"),
        ("history_bytes = 1_000_000_000", "namespaces.chat.history_bytes"),
    ] {
        let problems = loaded(&format!("[namespaces.chat]\n{row}\n"), &[]).unwrap_err();
        let problem = &problems.0[0];
        assert_eq!((problems.0.len(), &*problem.key), (1, key));
        assert_eq!(problem.origin, Some(Origin::File { name: "f".to_owned(), line: 2 }), "{row}");
    }
    let text = "[namespaces.chat]\nhistory_size = 0\nmode = \"guaranteed\"\n";
    assert_eq!(loaded(text, &[]).unwrap_err().0[0].key, "namespaces.chat.history_size");
    for name in ["\"@other\"", "\"a:b\""] {
        let text = format!("[namespaces.{name}]\nmode = \"reliable\"\n");
        assert_eq!(loaded(&text, &[]).unwrap_err().0[0].key, "namespaces", "{name}");
    }
}

#[test]
fn a_tenant_is_a_table_of_its_limits_and_its_namespaces() {
    let text = r#"
[tenants.acme]
origins = ["https://acme.example"]
connections = 5
bytes_per_second = 1_000
[tenants.acme.namespaces.chat]
mode = "reliable"
[tenants.other]
suspended = true
"#;
    let config = loaded(text, &[]).unwrap();
    let acme = &config.tenants["acme"];
    assert_eq!((acme.rows.connections, acme.rows.rooms), (5, 0));
    assert_eq!(acme.rows.origins, ["https://acme.example"]);
    assert_eq!(acme.namespace_rooms["chat"].mode, Some(RoomMode::Reliable));
    assert!(config.tenants["other"].rows.suspended && config.namespace_rooms.is_empty());
    assert_eq!(loaded(&print(&config), &[]).unwrap(), config, "what is printed loads");
    assert_eq!(differences(&config, &Config::default()), ["tenants"]);
}

#[test]
fn what_is_wrong_in_a_tenant_is_told_with_its_line() {
    for (row, key) in [
        ("room = 1", "tenants.acme.room"),
        ("rooms = -1", "tenants.acme.rooms"),
        ("origins = [\"acme.example\"]", "tenants.acme.origins"),
        ("history_bytes = 1_000_000_000", "tenants.acme.history_bytes"),
        ("namespaces = 5", "tenants.acme.namespaces"),
        ("namespaces.chat = 5", "tenants.acme.namespaces.chat"),
        ("namespaces.chat.mood = 5", "tenants.acme.namespaces.chat.mood"),
        ("namespaces.chat.message_bytes = 1_000_000", "tenants.acme.namespaces.chat.message_bytes"),
    ] {
        let problems = loaded(&format!("[tenants.acme]\n{row}\n"), &[]).unwrap_err();
        let problem = &problems.0[0];
        assert_eq!((problems.0.len(), &*problem.key), (1, key));
        assert_eq!(problem.origin, Some(Origin::File { name: "f".to_owned(), line: 2 }), "{row}");
    }
    for text in ["[tenants.\"\"]\n", "[tenants.\"a\\nb\"]\n", "tenants = 3\n"] {
        assert_eq!(loaded(text, &[]).unwrap_err().0[0].key, "tenants", "{text}");
    }
}

#[test]
fn what_does_not_go_together_of_redis_is_refused_by_name() {
    let url = "url = \"redis://a\"";
    let tls = "url = \"rediss://a\"";
    let sentinels = "sentinels = [\"redis://a\"]\nmaster = \"main\"";
    let several = "cluster = true\nurl = \"redis://a,redis://b\"";
    let password = "password_file = \"secret\"";
    for good in [
        url,
        tls,
        sentinels,
        several,
        "url = \"unix:///run/redis.sock\"",
        &format!("{url}\nusername = \"ringroom\"\n{password}"),
        &format!("{tls}\nca_file = \"ca.pem\"\ncertificate_file = \"c\"\nkey_file = \"k\""),
        &format!("{sentinels}\nsentinel_username = \"s\"\nsentinel_{password}"),
    ] {
        let told = loaded(&format!("[redis]\n{good}\n"), &[]).err();
        assert!(told.is_none(), "{good}: {told:?}");
    }
    for (row, others, key) in [
        ("url = \"redis://a/1\"", "", "url"),
        ("url = \"redis://a,redis://b\"", "", "url"),
        ("url = \"redis://a,rediss://b\"", "cluster = true", "url"),
        ("url = \"redis://a,unix:///b\"", "cluster = true", "url"),
        (url, sentinels, "url"),
        ("sentinels = [\"redis://a\", \"rediss://b\"]", "master = \"main\"", "sentinels"),
        ("sentinels = [\"redis://a\", \"b\"]", "master = \"main\"", "sentinels"),
        ("cluster = true", "", "cluster"),
        ("master = \"main\"", url, "master"),
        ("sentinel_username = \"s\"", &format!("{url}\nsentinel_{password}"), "sentinel_username"),
        ("sentinel_username = \"s\"", sentinels, "sentinel_username"),
        ("username = \"ringroom\"", url, "username"),
        ("ca_file = \"ca.pem\"", url, "ca_file"),
        ("ca_file = \"ca.pem\"", "url = \"unix:///run/redis.sock\"", "ca_file"),
        ("certificate_file = \"c\"", "key_file = \"k\"\nurl = \"redis://a\"", "certificate_file"),
        ("certificate_file = \"c\"", tls, "certificate_file"),
        ("key_file = \"k\"", tls, "key_file"),
    ] {
        let problems = loaded(&format!("[redis]\n{row}\n{others}\n"), &[]).unwrap_err();
        let told = problems.0.iter().find(|told| *told.key == format!("redis.{key}"));
        let told = told.unwrap_or_else(|| panic!("{row}, {others}: {problems}"));
        assert_eq!(told.origin, Some(Origin::File { name: "f".to_owned(), line: 2 }), "{row}");
    }
    let text = "[redis]\nurl = \"redis://a\"\nusername = \"u\"\nca_file = \"c\"\nmaster = \"m\"\n";
    assert_eq!(loaded(text, &[]).unwrap_err().0.len(), 3, "all are told together");
}

#[test]
fn channels_of_backends_go_with_the_rest_or_are_refused_by_name() {
    let url = "[redis]\nurl = \"redis://10.0.0.5\"\n";
    let on = "[redis.interop]\nenabled = true\n";
    let config = loaded(&format!("{url}{on}"), &[]).unwrap();
    assert_eq!(config.redis_interop.pattern(), "ws:*");
    assert_eq!(config.redis_interop.tenant, "default");
    assert!(!Config::default().redis_interop.enabled);
    let tenants = "[tenants.acme]\nrooms = 5\n";
    let ours = "prefix = \"app/v1.ws:\"\ntenant = \"acme\"\n";
    let config = loaded(&format!("{url}{on}{ours}{tenants}"), &[]).unwrap();
    assert_eq!(config.redis_interop.pattern(), "app/v1.ws:*");
    for (before, row, key) in [
        (on, "", "enabled"),
        (url, "prefix = \"\"", "prefix"),
        (url, "prefix = \"ws:*\"", "prefix"),
        (url, "prefix = \"w?:\"", "prefix"),
        (url, "prefix = \"[w]s:\"", "prefix"),
        (url, "prefix = \"ws\\\\:\"", "prefix"),
        (url, "prefix = \"w s:\"", "prefix"),
        (url, "prefix = \"wß:\"", "prefix"),
        (url, "prefix = \"ring\"", "prefix"),
        (url, "prefix = \"ringroom:\"", "prefix"),
        (url, "prefix = \"ringroom:{nodes}\"", "prefix"),
        (url, "prefix = \"ringroom:ws:\"", "prefix"),
        (url, "tenant = \"acme\"", "tenant"),
        (url, "tenant = \"\"", "tenant"),
    ] {
        let text = if before == on { on.to_owned() } else { format!("{url}{on}{row}\n") };
        let problems = loaded(&text, &[]).unwrap_err();
        let key = format!("redis.interop.{key}");
        assert_eq!((problems.0.len(), &*problems.0[0].key), (1, &*key), "{row}: {problems}");
        assert!(problems.0[0].origin.is_some(), "{row}: {problems}");
    }
    // Only what begins like our keys is ours.
    for prefix in ["ringroom-ws:", "ringrooms:", "ws:ringroom:"] {
        let text = format!("{url}{on}prefix = \"{prefix}\"\n");
        assert!(loaded(&text, &[]).is_ok(), "{prefix}");
    }
    let text = format!("{url}{on}{tenants}");
    let told = loaded(&text, &[]).unwrap_err().to_string();
    assert!(told.contains("redis.interop.tenant") && told.contains("one of the tenants"), "{told}");
}

#[test]
fn where_tls_is_required_somebody_can_come_by_it() {
    let on = "[handshake]\nrequire_tls = true\n";
    let proxy = "[proxy]\ntrusted = [\"10.0.0.0/8\"]\n";
    let header = "header = \"x-forwarded-for\"\n";
    let listener = |rows: &str| format!("[[listener]]\naddress = \"127.0.0.1:0\"\n{rows}");
    let tls = listener("tls = { certificate_file = \"c\", key_file = \"k\" }\n");
    let proxied = listener("proxy_protocol = true\n");
    let unix = "[[listener]]\naddress = \"unix:/run/x\"\n";
    for good in [
        format!("{on}{tls}"),
        format!("{on}{tls}{}", listener("").replace(":0", ":1")),
        format!("{on}{proxy}{header}"),
        format!("{on}{proxy}{proxied}"),
        format!("{on}{unix}proxy_protocol = true\n"),
        listener(""),
    ] {
        assert!(loaded(&good, &[]).is_ok(), "{good}: {:?}", loaded(&good, &[]));
    }
    for bad in [on.to_owned(), format!("{on}{proxy}"), format!("{on}{unix}")] {
        let problems = loaded(&bad, &[]).unwrap_err();
        assert_eq!(problems.0.len(), 1, "{problems}");
        assert_eq!(problems.0[0].key, "handshake.require_tls");
        assert_eq!(problems.0[0].origin, Some(Origin::File { name: "f".to_owned(), line: 2 }));
        assert!(problems.to_string().contains("wanted a listener with TLS"), "{problems}");
    }
}
