//! A PROXY header comes to one verdict, which more bytes do not change; and one that passes is
//! within its bounds.
use ringroom::ws::proxy::{VERSION_1_BYTES, VERSION_2_BYTES, parse};

pub(crate) fn check(bytes: &[u8]) {
    let whole = parse(bytes);
    let mut pieces = (0..=bytes.len()).map(|end| parse(&bytes[..end]));
    assert_eq!(pieces.find(|verdict| *verdict != Ok(None)).unwrap_or(Ok(None)), whole);

    let longest = if bytes.starts_with(b"P") { VERSION_1_BYTES } else { VERSION_2_BYTES };
    match whole {
        Ok(Some((_, length))) => {
            assert!(length <= longest);
            // Nothing shorter or longer is the same header.
            assert_eq!(parse(&bytes[..length]), whole);
            assert_eq!(parse(&bytes[..length - 1]), Ok(None));
        }
        Ok(None) => assert!(bytes.len() < longest),
        Err(_) => {}
    }
}
