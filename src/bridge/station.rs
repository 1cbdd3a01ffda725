//! Channels that are not of rooms: the bridge listens to them for as long as it has a link.
//!
//! To add one: a variant, a row in [`all`], and what it does in [`hear`].

use super::call::{self, direct, session};
use super::desk::Desk;
use super::keys::Keys;
use super::map;

/// Which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Station {
    /// This node's own, on which others speak to it, and it hears itself: a link that hears nothing is
    /// none.
    Node,
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
pub(super) fn all(keys: &Keys, node: &str) -> Vec<Row> {
    vec![Row { station: Station::Node, command: "SSUBSCRIBE", channel: keys.node(node) }]
}

/// Something was said. `_channel` is where, also where a pattern is listened to.
pub(super) fn hear(station: Station, _channel: &[u8], payload: &[u8], desk: &mut Desk) {
    match station {
        Station::Node => match payload.split_first() {
            Some((b'D', connection)) => call::displaced(connection, desk),
            Some((b'M', message)) => direct::sent(message, desk),
            Some((b'A', answer)) => direct::answered(answer, desk),
            _ if session::hear(payload, desk) => {}
            _ => desk.echo.heard(payload),
        },
    }
}
