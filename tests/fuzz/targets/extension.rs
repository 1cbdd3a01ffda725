//! Offers of extensions, a line each, come to one of nine answers or none; and what stands behind
//! an offer that was taken changes nothing.
use ringroom::ws::extension::negotiate;

const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

pub(crate) fn check(bytes: &[u8]) {
    let lines = || bytes.split(|byte| *byte == b'\n');
    let agreed = negotiate(lines());
    if let Some(agreed) = agreed {
        let response = agreed.response();
        let rest = response.strip_prefix(ANSWER).expect("every answer begins alike");
        let window = match rest.strip_prefix("; server_max_window_bits=") {
            Some(bits) => bits.parse().expect("a number"),
            None => {
                assert_eq!(rest, "");
                15
            }
        };
        assert!((8..=15).contains(&window));
        let honoured = if window == 15 { u32::MAX } else { 1 << window };
        assert_eq!(agreed.deflate_up_to, honoured);
        assert_eq!(negotiate(lines().chain([&b"\"permessage-deflate"[..]])), Some(agreed));
    }
    // Without the name no offer is ours.
    if !bytes.windows(18).any(|window| window == b"permessage-deflate") {
        assert_eq!(agreed, None);
    }
}
