#![allow(clippy::unwrap_used, reason = "a test may")]

use proptest::prelude::*;

use super::*;

fn address(text: &str) -> Source {
    Source::Address(text.parse().unwrap())
}

fn version_2_header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [VERSION_2, &[command, family], &length, body].concat()
}

/// Source and destination of one family, then ports 56324 and 443.
fn addresses(source: &[u8], destination: &[u8]) -> Vec<u8> {
    [source, destination, &[0xdc, 0x04, 0x01, 0xbb]].concat()
}

fn v4() -> Vec<u8> {
    addresses(&[192, 0, 2, 1], &[198, 51, 100, 7])
}

fn v6() -> Vec<u8> {
    let source: Ipv6Addr = "2001:db8::1".parse().unwrap();
    addresses(&source.octets(), &[0; 16])
}

/// Whether all prefixes of a header want more bytes, and anything may follow it.
fn assert_takes(header: &[u8], source: Source) {
    let shown = header.escape_ascii();
    for end in 0..header.len() {
        assert_eq!(parse(&header[..end]), Ok(None), "{end} bytes of {shown}");
    }
    for behind in [&b""[..], b"GET / HTTP/1.1\r\n", b"\0\xff"] {
        let bytes = [header, behind].concat();
        assert_eq!(parse(&bytes), Ok(Some((source, header.len()))), "{shown}");
    }
}

/// Whether bytes are refused, and once refused stay so whatever follows.
fn assert_refuses(bytes: &[u8], fault: Fault) {
    let outcomes: Vec<_> = (0..=bytes.len()).map(|end| parse(&bytes[..end])).collect();
    let first = outcomes.iter().position(Result::is_err);
    let first = first.unwrap_or_else(|| panic!("{} passes", bytes.escape_ascii()));
    assert!(outcomes[..first].iter().all(|outcome| *outcome == Ok(None)));
    assert!(outcomes[first..].iter().all(|outcome| *outcome == Err(fault)), "{outcomes:?}");
}

#[test]
fn version_1_is_read() {
    let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(107 - 16));
    assert_eq!(longest.len(), 107);
    for (line, source) in [
        ("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", address("192.0.2.1:56324")),
        ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", {
            address("255.255.255.255:65535")
        }),
        ("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", address("0.0.0.0:0")),
        ("PROXY TCP6 2001:db8::1 ::1 56324 443\r\n", address("[2001:db8::1]:56324")),
        ("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", address("192.0.2.1:1")),
        ("PROXY UNKNOWN\r\n", Source::Proxy),
        ("PROXY UNKNOWN ffff:f...f:ffff x 65535 y\r\n", Source::Proxy),
        (&longest, Source::Proxy),
    ] {
        assert_takes(line.as_bytes(), source);
    }
}

#[test]
fn version_1_is_read_strictly() {
    for line in [
        "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\rX",
        "PROXY TCP4 192.0.2.1 198.51.100.7 56324\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443 1\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443 \r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.7 56324 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 056324 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 +1 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 65536 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 1 65536\r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.7 1 2\r\n",
        "PROXY TCP4 192.0.2 198.51.100.7 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 192.0.2.1 ::1 1 2\r\n",
        "PROXY TCP6 [::1] ::1 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.7 1 2\r\n",
        "PROXY tcp4 192.0.2.1 198.51.100.7 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY \r\n",
        "PROXY TCP4\x00192.0.2.1 198.51.100.7 1 2\r\n",
        "PROXY TCP4 \u{661}92.0.2.1 198.51.100.7 1 2\r\n",
    ] {
        assert_refuses(line.as_bytes(), Fault::Line);
    }
    for line in ["PROXY UNKNOWN ".to_owned() + &"f".repeat(94), "PROXY ".repeat(30)] {
        assert_refuses(line.as_bytes(), Fault::TooLong);
    }
    let one_too_long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(107 - 15));
    assert_refuses(one_too_long.as_bytes(), Fault::TooLong);
}

#[test]
fn version_2_is_read() {
    let mapped: Ipv6Addr = "::ffff:192.0.2.1".parse().unwrap();
    let mapped = addresses(&mapped.octets(), &[0; 16]);
    let extended = |mut body: Vec<u8>, bytes: usize| {
        body.extend_from_slice(&[0x04, 0, 1, 0]);
        body.resize(body.len() + bytes, 0xee);
        body
    };
    for (command, family, body, source) in [
        (PROXY, 0x11, v4(), address("192.0.2.1:56324")),
        (PROXY, 0x12, v4(), address("192.0.2.1:56324")),
        (PROXY, 0x11, extended(v4(), 300), address("192.0.2.1:56324")),
        (PROXY, 0x21, v6(), address("[2001:db8::1]:56324")),
        (PROXY, 0x22, v6(), address("[2001:db8::1]:56324")),
        (PROXY, 0x21, mapped, address("192.0.2.1:56324")),
        (PROXY, 0x31, vec![b'/'; 216], Source::Unix),
        (PROXY, 0x32, extended(vec![0; 216], 1_020), Source::Unix),
        (PROXY, 0x00, vec![], Source::Proxy),
        (PROXY, 0x00, vec![1; 30], Source::Proxy),
        (LOCAL, 0x00, vec![], Source::Proxy),
        (LOCAL, 0x11, v4(), Source::Proxy),
        (LOCAL, 0x11, vec![], Source::Proxy),
        (LOCAL, 0xee, vec![7; 5], Source::Proxy),
    ] {
        assert_takes(&version_2_header(command, family, &body), source);
    }
}

#[test]
fn version_2_is_read_strictly() {
    for (command, family, body, fault) in [
        (0x22, 0x11, v4(), Fault::Command),
        (0x11, 0x11, v4(), Fault::Command),
        (0x01, 0x11, v4(), Fault::Command),
        (0x31, 0x11, v4(), Fault::Command),
        (PROXY, 0x10, v4(), Fault::Family),
        (PROXY, 0x13, v4(), Fault::Family),
        (PROXY, 0x41, v4(), Fault::Family),
        (PROXY, 0x01, v4(), Fault::Family),
        (PROXY, 0x11, v4()[..11].to_vec(), Fault::Length),
        (PROXY, 0x21, v6()[..35].to_vec(), Fault::Length),
        (PROXY, 0x31, vec![0; 215], Fault::Length),
        (PROXY, 0x11, vec![0; VERSION_2_BYTES - 16 + 1], Fault::Length),
        (LOCAL, 0x00, vec![0; VERSION_2_BYTES - 16 + 1], Fault::Length),
        (PROXY, 0x11, vec![0; 65_535], Fault::Length),
    ] {
        assert_refuses(&version_2_header(command, family, &body)[..20], fault);
    }
}

#[test]
fn other_bytes_are_no_header() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"PROXX TCP4",
        b"proxy TCP4",
        b"PROXY\tTCP4",
        b" PROXY ",
        b"\r\n\r\n\0\r\nQUIT\r",
        b"\r\nPROXY",
        b"\x16\x03\x01",
    ] {
        assert_refuses(bytes, Fault::Signature);
    }
    assert_eq!(parse(b""), Ok(None));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_a_verdict_stands(
        version in 0..3, bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let start: &[u8] = match version {
            0 => b"",
            1 => VERSION_1,
            _ => VERSION_2,
        };
        let bytes = [start, &bytes].concat();
        let whole = parse(&bytes);
        let first = (0..=bytes.len()).map(|end| parse(&bytes[..end])).find(|at| *at != Ok(None));
        prop_assert_eq!(whole, first.unwrap_or(Ok(None)));
    }
}

/// An extension of version 2.
fn extension(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    [&[kind], &length[..], value].concat()
}

#[test]
fn an_extension_says_whether_the_client_spoke_tls() {
    let ssl = |flags: u8| extension(SSL, &[flags, 0, 0, 0, 0]);
    let behind = |addresses: Vec<u8>, family, extensions: &[Vec<u8>]| {
        version_2_header(PROXY, family, &[addresses, extensions.concat()].concat())
    };
    let authority = extension(0x02, b"app.example");
    for (header, expected) in [
        (behind(v4(), 0x11, &[ssl(1)]), Some(true)),
        (behind(v6(), 0x21, &[authority.clone(), ssl(7)]), Some(true)),
        (behind(Vec::new(), 0x00, &[ssl(1)]), Some(true)),
        (behind(vec![0; 216], 0x31, &[ssl(1), authority.clone()]), Some(true)),
        (behind(v4(), 0x11, &[ssl(0)]), Some(false)),
        (behind(v4(), 0x11, &[ssl(6)]), Some(false)),
        (behind(v4(), 0x11, &[ssl(1), ssl(0)]), Some(false)),
        (behind(v4(), 0x11, &[ssl(0), ssl(1)]), Some(false)),
        (behind(v4(), 0x11, &[extension(SSL, b"")]), Some(false)),
        (behind(v4(), 0x11, &[]), None),
        (behind(v4(), 0x11, &[authority]), None),
        (behind(v4(), 0x11, &[ssl(1), vec![0x20, 0, 9, 1]]), None),
        (behind(v4(), 0x11, &[vec![0x20, 0]]), None),
        (version_2_header(LOCAL, 0x11, &[v4(), ssl(1)].concat()), None),
        (b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n".to_vec(), None),
    ] {
        let (_, length) = parse(&header).unwrap().unwrap();
        assert_eq!(length, header.len());
        assert_eq!(encrypted(&header), expected, "{}", header.escape_ascii());
    }
}

proptest! {
    #[test]
    fn whatever_stands_in_extensions_is_read_to_its_end(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let header = version_2_header(PROXY, 0x11, &[v4(), bytes].concat());
        let _ = encrypted(&header);
    }
}
