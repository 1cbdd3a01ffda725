//! Names of things that have no name of their own: cores, connections, tenants, and whoever is known by
//! an address alone.
//!
//! Invariant: an index is never used without its generation, so a name held across a batch of
//! messages can only ever find the thing it was made for, or nothing.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A core thread of this process, or another party of the mesh, by its place in the plan.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoreId(pub u16);

impl CoreId {
    /// The place in an array that has one entry a core.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Debug for CoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "core {}", self.0)
    }
}

/// A connection on the core that holds its socket: a place in that core's slab, and which of the
/// connections that have had this place it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionKey {
    /// The place in the slab.
    pub index: u32,
    /// Counts the connections that have had the place.
    pub generation: u32,
}

/// A connection anywhere in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionAddress {
    /// The core that holds its socket.
    pub core: CoreId,
    /// Which one there.
    pub key: ConnectionKey,
}

/// A process among those on one broker: a part of what tells it from others. Two of a thousand have the same
/// once in thirty times, of ten once in 370,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeTag(u32);

/// What a connection is called outside of its process: where it is, and what nobody can guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionName {
    /// The process that holds its socket.
    pub node: NodeTag,
    /// The core there.
    pub core: CoreId,
    /// The place in that core's slab.
    pub index: u32,
    /// 40 bits.
    pub secret: u64,
}

impl NodeTag {
    const BYTES: usize = 3;

    /// That of a process.
    #[must_use]
    pub fn of(node: u64) -> Self {
        let [.., a, b, c] = node.to_be_bytes();
        Self(u32::from_be_bytes([0, a, b, c]))
    }
}

impl ConnectionName {
    const BYTES: usize = 12;
    const SECRET_BYTES: usize = 5;
    /// A process has at most 1,024 cores, and each of them four million connections.
    const INDEX_BITS: u32 = 22;

    /// With that much of what nobody can guess as it has room for.
    #[must_use]
    pub fn new(node: NodeTag, core: CoreId, index: u32, secret: u64) -> Self {
        Self { node, core, index, secret: secret & !(!0 << (8 * Self::SECRET_BYTES)) }
    }

    /// As it is told.
    #[must_use]
    pub fn to_text(self) -> String {
        let place = u32::from(self.core.0) << Self::INDEX_BITS | self.index;
        let mut bytes = [0; Self::BYTES];
        let (node, rest) = bytes.split_at_mut(NodeTag::BYTES);
        let (secret, at) = rest.split_at_mut(Self::SECRET_BYTES);
        node.copy_from_slice(&self.node.0.to_be_bytes()[1..]);
        secret.copy_from_slice(&self.secret.to_be_bytes()[3..]);
        at.copy_from_slice(&place.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What was told; none if none is called so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; Self::BYTES];
        if URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()? != bytes.len() {
            return None;
        }
        let [n0, n1, n2, s0, s1, s2, s3, s4, place @ ..] = bytes;
        let place = u32::from_be_bytes(place);
        Some(Self {
            node: NodeTag(u32::from_be_bytes([0, n0, n1, n2])),
            core: CoreId((place >> Self::INDEX_BITS) as u16),
            index: place & !(!0 << Self::INDEX_BITS),
            secret: u64::from_be_bytes([0, 0, 0, s0, s1, s2, s3, s4]),
        })
    }
}

/// A tenant, interned at start or when it is first seen; never made from a room's or user's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(pub u32);

impl TenantId {
    /// The tenant of everyone where no tenants are configured.
    pub const DEFAULT: Self = Self(0);
}

/// What limits per address count by: the address, or the /64 that an IPv6 host has to itself.
#[must_use]
pub fn ip_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (!0 << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connections_name_says_where_it_is_and_reads_back() {
        for (node, core, index) in
            [(0, 0, 0), (u64::MAX, 1_023, (1 << 22) - 1), (1 << 23, 3, 70_000)]
        {
            let name = ConnectionName::new(NodeTag::of(node), CoreId(core), index, u64::MAX - 77);
            assert_eq!(ConnectionName::parse(&name.to_text()), Some(name));
            assert_eq!((name.core, name.index), (CoreId(core), index));
        }
        for bad in ["", "short", "not*base64*text!", "AAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(ConnectionName::parse(bad), None, "{bad}");
        }
        assert_ne!(NodeTag::of(1), NodeTag::of(2));
    }

    #[test]
    fn limits_count_by_address_or_by_the_64_of_ipv6() {
        for (address, key) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2::", "2001:db8:1:2::"),
            ("::1", "::"),
        ] {
            let ip = |text: &str| text.parse().expect("an address");
            assert_eq!(ip_key(ip(address)), ip(key));
        }
    }
}
