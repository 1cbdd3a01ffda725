//! What must hold for any bytes, a module for each of the parsers, and one for a whole connection.

pub(crate) mod command;
pub(crate) mod connection;
pub(crate) mod cookie;
pub(crate) mod decoder;
pub(crate) mod deflate;
pub(crate) mod extension;
pub(crate) mod forwarded;
pub(crate) mod head;
pub(crate) mod proxy;
pub(crate) mod token;
