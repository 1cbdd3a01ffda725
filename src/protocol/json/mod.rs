//! JSON (RFC 8259), strict: what is no JSON is refused wherever it stands, and so are escapes of
//! half a surrogate pair, which no UTF-8 can hold.

mod entries;
mod object;
mod scan;
mod text;
mod write;

pub(super) use entries::{Entries, Items};
pub(crate) use object::{Object, each_text, texts};
pub(super) use scan::{after_colon, is_end, skip, skip_whitespace, string};
pub(super) use text::escaped;
pub(crate) use text::{said, text};
pub(super) use write::{JsonWriter, write_text};

#[cfg(test)]
mod tests;
