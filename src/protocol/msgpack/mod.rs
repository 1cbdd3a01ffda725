//! MessagePack, strict: text is UTF-8, keys of maps are text, and the reserved marker is refused.

mod entries;
mod scan;
mod write;

pub(super) use entries::{Entries, Items, text};
pub(super) use scan::{Head, skip};
pub(super) use write::{
    Container, MessagePackWriter, begin, end, write_double, write_signed, write_text,
    write_unsigned,
};

#[cfg(test)]
mod tests;
