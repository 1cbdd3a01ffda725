//! The client's address, and whether it came by TLS, where trusted proxies stand between it and us.
//!
//! Each proxy appends to the right what it saw, so the list is read from the right, and ends at the
//! first address that is not a trusted proxy's: what stands to the left of that one is a mere claim
//! of that client, and so is all of it where the peer itself is not trusted.
//!
//! Invariants: an untrusted sender cannot change the outcome by what it writes; linear; an IPv4
//! address in IPv6 clothes is the IPv4 address.

mod element;

use std::net::IpAddr;

use crate::config;
use crate::config::AddressHeader;

use super::head::Head;

/// The client's address: the peer's own, or what trusted proxies say. `peer` is the socket's
/// address or what a PROXY header said; none for a UNIX socket, whose peers the operator chose by
/// the permissions of its path, so they are trusted.
///
/// Where a trusted proxy's word cannot be read (`unknown`, a made-up name, nonsense), the address
/// is that proxy's.
#[must_use]
pub fn client(peer: Option<IpAddr>, head: &Head<'_>, proxy: &config::Proxy) -> Option<IpAddr> {
    match proxy.header {
        AddressHeader::None => peer.map(|peer| peer.to_canonical()),
        AddressHeader::XForwardedFor => {
            let lines = head.lines("x-forwarded-for").rev();
            let hops = lines.flat_map(|line| line.rsplit(|byte| *byte == b','));
            let hops = hops.map(<[u8]>::trim_ascii).filter(|hop| !hop.is_empty());
            walk(peer, hops.map(element::address), proxy)
        }
        AddressHeader::Forwarded => {
            let hops = head.lines("forwarded").rev().flat_map(element::from_the_right);
            walk(peer, hops.map(element::forwarded_for), proxy)
        }
    }
}

/// Whether the client came by TLS. `nearest` says it of the peer; where trusted proxies say by header
/// how they were reached, that holds, and all of them must say so: any that is not sure could be the
/// one that the client spoke to.
#[must_use]
pub fn is_encrypted(
    peer: Option<IpAddr>,
    nearest: bool,
    head: &Head<'_>,
    proxy: &config::Proxy,
) -> bool {
    let said: Vec<Option<&[u8]>> = match proxy.header {
        _ if !is_trusted(peer, proxy) => Vec::new(),
        AddressHeader::None => Vec::new(),
        AddressHeader::XForwardedFor => {
            // It does not tell who said what, so whatever a client says too can only be to its harm.
            let words = head.lines("x-forwarded-proto");
            let words = words.flat_map(|line| line.split(|byte| *byte == b','));
            let words = words.map(<[u8]>::trim_ascii).filter(|word| !word.is_empty());
            words.map(Some).collect()
        }
        AddressHeader::Forwarded => {
            let mut sender = Some(peer);
            let hops = head.lines("forwarded").rev().flat_map(element::from_the_right);
            let trusted = hops.take_while(|hop| {
                let is_theirs = sender.is_some_and(|sender| is_trusted(sender, proxy));
                sender = element::forwarded_for(hop).map(Some);
                is_theirs
            });
            trusted.map(|hop| element::parameter(hop, b"proto")).collect()
        }
    };
    if said.iter().all(Option::is_none) {
        return nearest;
    }
    said.into_iter().all(|word| {
        word.is_some_and(|it| it.eq_ignore_ascii_case(b"https") || it.eq_ignore_ascii_case(b"wss"))
    })
}

/// Whether a peer may speak for clients, by header or by PROXY protocol.
#[must_use]
pub fn is_trusted(peer: Option<IpAddr>, proxy: &config::Proxy) -> bool {
    let Some(peer) = peer else { return true };
    let peer = peer.to_canonical();
    proxy.trusted.iter().any(|network| network.contains(&peer))
}

/// From the peer outwards, as far as the trust goes.
fn walk(
    peer: Option<IpAddr>,
    hops: impl Iterator<Item = Option<IpAddr>>,
    proxy: &config::Proxy,
) -> Option<IpAddr> {
    let mut client = peer.map(|peer| peer.to_canonical());
    for hop in hops {
        if !is_trusted(client, proxy) {
            break;
        }
        let Some(address) = hop else { break };
        client = Some(address.to_canonical());
    }
    client
}

#[cfg(test)]
mod tests;
