//! The negotiation of permessage-deflate (RFC 7692 §7.1): offers in, at most one agreement out.
//!
//! Both sides always go without context takeover, so no connection holds a deflate state and a
//! message is compressed once for all its receivers. A window smaller than deflate's own is
//! honoured by not compressing what is longer than it: without takeover, a message of at most 2^N
//! bytes can not refer further back than that.
//!
//! Invariants: linear in the length of the header; an offer that is not understood whole is
//! declined and never fails the handshake; behind a malformed one nothing is read.

mod offers;

use offers::{Offer, Offers};

/// The name as registered. Like those of its parameters it is compared to the letter.
const NAME: &[u8] = b"permessage-deflate";

/// What both sides settled on; without it nothing is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The longest message that may be sent compressed.
    pub deflate_up_to: u32,
    /// Bits of the window that the client asked the server to keep within.
    server_window_bits: Option<u8>,
}

impl Agreed {
    /// The value of `Sec-WebSocket-Extensions` in the response.
    ///
    /// `client_max_window_bits` is not among it, offered or not: the inflater takes any window.
    #[must_use]
    pub fn response(self) -> String {
        let mut value =
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover".to_owned();
        if let Some(bits) = self.server_window_bits {
            value.push_str(&format!("; server_max_window_bits={bits}"));
        }
        value
    }
}

/// Takes the first acceptable offer of the lines of `Sec-WebSocket-Extensions`, in order.
pub fn negotiate<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Option<Agreed> {
    for line in lines {
        let mut offers = Offers::new(line);
        while let Some(offer) = offers.next().ok()? {
            if let Some(agreed) = accept(&offer) {
                return Some(agreed);
            }
        }
    }
    None
}

/// Whether an offer can be accepted, and as what.
fn accept(offer: &Offer<'_>) -> Option<Agreed> {
    if offer.name != NAME || offer.too_many {
        return None;
    }
    let mut server_window_bits = None;
    for (index, parameter) in offer.parameters.iter().enumerate() {
        let given_before = &offer.parameters[..index];
        if given_before.iter().any(|other| other.name == parameter.name) {
            return None;
        }
        match parameter.name {
            b"server_no_context_takeover" | b"client_no_context_takeover" => {
                if parameter.value.is_some() {
                    return None;
                }
            }
            b"server_max_window_bits" => {
                server_window_bits = Some(window_bits(parameter.value.as_deref()?)?);
            }
            b"client_max_window_bits" => {
                // Without a value it only says that the client knows the parameter.
                if let Some(value) = &parameter.value {
                    window_bits(value)?;
                }
            }
            _ => return None,
        }
    }
    // 2^15 is as far back as deflate can refer: no limit at all.
    let deflate_up_to = match server_window_bits {
        Some(bits) if bits < 15 => 1 << bits,
        _ => u32::MAX,
    };
    Some(Agreed { deflate_up_to, server_window_bits })
}

/// 8 to 15, in decimal, without a leading zero.
fn window_bits(value: &[u8]) -> Option<u8> {
    match *value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
