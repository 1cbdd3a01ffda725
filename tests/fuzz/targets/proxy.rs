//! A PROXY header comes to one verdict, which more bytes do not change; and one that passes is
//! within its bounds, whatever its extensions say of TLS.
use ringroom::ws::proxy::{VERSION_1_BYTES, VERSION_2_BYTES, encrypted, parse};

pub(crate) fn check(bytes: &[u8]) {
    let whole = parse(bytes);
    let mut pieces = (0..=bytes.len()).map(|end| parse(&bytes[..end]));
    assert_eq!(pieces.find(|verdict| *verdict != Ok(None)).unwrap_or(Ok(None)), whole);

    let longest = if bytes.starts_with(b"P") { VERSION_1_BYTES } else { VERSION_2_BYTES };
    match whole {
        Ok(Some((_, length))) => {
            assert!(length <= longest);
            // What stands in its extensions is read to no more than an answer.
            let says = encrypted(&bytes[..length]);
            assert!(says.is_none() || !bytes.starts_with(b"P"), "version 1 says nothing of TLS");
            // Nothing shorter or longer is the same header.
            assert_eq!(parse(&bytes[..length]), whole);
            assert_eq!(parse(&bytes[..length - 1]), Ok(None));
        }
        Ok(None) => assert!(bytes.len() < longest),
        Err(_) => {}
    }
}
