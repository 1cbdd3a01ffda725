//! Channels that are not of rooms: the bridge listens to them for as long as it has a link.
//!
//! To add one: a variant, a row in [`all`], and what it does in [`hear`].

use crate::config::RedisInterop;

use super::call::{self, session};
use super::desk::Desk;
use super::foreign;
use super::keys::Keys;
use super::map;

/// Which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Station {
    /// This node's own, on which others speak to it, and it hears itself: a link that hears nothing is
    /// none.
    Node,
    /// Those of backends that know nothing but `PUBLISH`.
    Backends,
}

/// A channel, and the command by which it is listened to.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) station: Station,
    /// `SSUBSCRIBE`, `SUBSCRIBE`, or `PSUBSCRIBE` of a pattern with nothing of a user in it.
    pub(super) command: &'static str,
    /// The channel, or the pattern.
    pub(super) channel: String,
}

impl Row {
    /// The slot that it belongs to; none if every server of a cluster tells it.
    pub(super) fn slot(&self) -> Option<u16> {
        (self.command == "SSUBSCRIBE").then(|| map::slot(self.channel.as_bytes()))
    }
}

/// All of them.
pub(super) fn all(keys: &Keys, node: &str, interop: Option<&RedisInterop>) -> Vec<Row> {
    let node = Row { station: Station::Node, command: "SSUBSCRIBE", channel: keys.node(node) };
    let backends = interop.map(|interop| Row {
        station: Station::Backends,
        command: "PSUBSCRIBE",
        channel: interop.pattern(),
    });
    [node].into_iter().chain(backends).collect()
}

/// Something was said. `channel` is where, also where a pattern is listened to.
pub(super) fn hear(station: Station, channel: &[u8], payload: &[u8], desk: &mut Desk) {
    match station {
        Station::Node => match payload.split_first() {
            Some((b'D', connection)) => call::displaced(connection, desk),
            _ if session::hear(payload, desk) => {}
            _ => desk.echo.heard(payload),
        },
        Station::Backends => foreign::hear(channel, payload, desk),
    }
}
