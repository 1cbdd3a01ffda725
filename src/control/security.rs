//! What every response of the control plane says to browsers.

use axum::http::header::{self, HeaderName, HeaderValue};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

const HEADERS: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// What nothing but the page may go beyond.
const CLOSED: &str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'";

/// Adds what a response has not said itself.
pub(super) async fn protect(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(CLOSED));
    response
}

/// The policy of a page: the scripts and styles that stand in it, by their hashes, and connections
/// to where it came from. Anything else, markup put there by a message included, does not run.
pub(super) fn page_policy(page: &str) -> String {
    format!(
        "default-src 'none'; script-src{}; style-src{}; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hashes(page, "script"),
        hashes(page, "style"),
    )
}

/// The hash of each `<element …>…</element>`, as a policy names it.
fn hashes(page: &str, element: &str) -> String {
    let (open, close) = (format!("<{element}"), format!("</{element}>"));
    let mut sources = String::new();
    let mut rest = page;
    while let Some(found) = inner(rest, &open, &close) {
        let hash = STANDARD.encode(digest(&SHA256, found.text.as_bytes()));
        sources.push_str(&format!(" 'sha256-{hash}'"));
        rest = found.rest;
    }
    if sources.is_empty() { " 'none'".to_owned() } else { sources }
}

struct Inner<'a> {
    text: &'a str,
    rest: &'a str,
}

fn inner<'a>(page: &'a str, open: &str, close: &str) -> Option<Inner<'a>> {
    let tag = page.split_once(open)?.1;
    let (text, rest) = tag.split_once('>')?.1.split_once(close)?;
    Some(Inner { text, rest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_names_each_script_and_style() {
        let page = "<style>a{}</style><script>1</script><p><script type=\"module\">2</script>";
        let policy = page_policy(page);
        let hash = |text: &str| STANDARD.encode(digest(&SHA256, text.as_bytes()));
        for text in ["a{}", "1", "2"] {
            assert!(policy.contains(&format!("'sha256-{}'", hash(text))), "{text} in {policy}");
        }
        assert_eq!(policy.matches("sha256-").count(), 3);
    }

    #[test]
    fn a_page_without_scripts_may_run_none() {
        let policy = page_policy("<p>text</p>");
        assert!(policy.contains("script-src 'none'; style-src 'none'"), "{policy}");
    }
}
