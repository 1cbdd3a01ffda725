//! `Sec-WebSocket-Protocol`: the form of messages, and a place for a browser's token, which can set
//! no other header.

use crate::protocol::Codec;
use crate::ws::head::{Head, is_token};
use crate::ws::refusal::{JSON_SUBPROTOCOL, MESSAGE_PACK_SUBPROTOCOL, Refusal};

/// In front of a token.
const TOKEN_PREFIX: &str = "ringroom.token.";

/// What was offered.
#[derive(Default)]
pub(super) struct Offered<'a> {
    /// The first form of ours; none if nothing was offered.
    pub(super) codec: Option<Codec>,
    /// The token.
    pub(super) token: Option<&'a str>,
}

/// The subprotocol's name.
pub(super) fn name(codec: Codec) -> &'static str {
    match codec {
        Codec::Json => JSON_SUBPROTOCOL,
        Codec::MessagePack => MESSAGE_PACK_SUBPROTOCOL,
    }
}

/// Chooses in the order of the offer.
pub(super) fn read<'a>(head: &Head<'a>) -> Result<Offered<'a>, Refusal> {
    let mut offered = Offered::default();
    let mut any = false;
    for element in head.list("sec-websocket-protocol") {
        any = true;
        if !element.iter().all(|byte| is_token(*byte)) {
            return Err(Refusal::SubprotocolSyntax);
        }
        let element = std::str::from_utf8(element).map_err(|_| Refusal::SubprotocolSyntax)?;
        if let Some(token) = element.strip_prefix(TOKEN_PREFIX) {
            if offered.token.is_some_and(|other| other != token) {
                return Err(Refusal::TwoCredentials);
            }
            offered.token = Some(token);
        } else if offered.codec.is_none() {
            let ours = [Codec::Json, Codec::MessagePack];
            offered.codec = ours.into_iter().find(|codec| name(*codec) == element);
        }
    }
    // A token alone is refused too: it is never echoed, and a browser that offered something and
    // is answered with nothing gives up without saying why.
    if any && offered.codec.is_none() { Err(Refusal::Subprotocol) } else { Ok(offered) }
}
