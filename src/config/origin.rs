//! The form of an origin in a list of those that may connect: `https://app.example:8443`.
//!
//! Only the form is looked at here; comparing is the handshake's.

use std::net::Ipv6Addr;

/// Whether `text` is an origin as a browser sends it, `null`, or `*` for any.
pub(super) fn is_origin(text: &str) -> bool {
    matches!(text, "*" | "null")
        || text.split_once("://").is_some_and(|(scheme, rest)| is_scheme(scheme) && is_host(rest))
}

fn is_scheme(scheme: &str) -> bool {
    let goes_on = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(goes_on)
}

/// A host, or a host and a port. Names beyond ASCII are written in punycode.
fn is_host(text: &str) -> bool {
    let (is_host, rest) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((address, rest)) => (address.parse::<Ipv6Addr>().is_ok(), rest),
        None => {
            let end = text.find(':').unwrap_or(text.len());
            let (name, rest) = text.split_at(end);
            let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            (!name.is_empty() && name.bytes().all(of_name), rest)
        }
    };
    let is_port = |digits: &str| {
        digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
    };
    is_host && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
}

#[cfg(test)]
mod tests {
    use super::is_origin;

    #[test]
    fn origins_are_a_scheme_a_host_and_perhaps_a_port() {
        for text in [
            "*",
            "null",
            "https://app.example",
            "HTTP://localhost:3000",
            "https://[::1]:8443",
            "https://192.0.2.1",
            "capacitor://localhost",
            "chrome-extension://abcdef",
            "https://a_b.example.",
        ] {
            assert!(is_origin(text), "{text}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "",
            "app.example",
            "https://",
            "://app.example",
            "1http://a",
            "https://app.example/",
            "https://app.example?x",
            "https://*.example",
            "https://user@app.example",
            "https://a b",
            "https://äpp.example",
            "https://a:",
            "https://a:+80",
            "https://a:65536",
            "https://[::1",
            "https://[::g]",
            "https://[::1]x",
            " https://a",
            "**",
        ] {
            assert!(!is_origin(text), "{text}");
        }
    }
}
