//! Names of things that have no name of their own: cores, connections, tenants, and whoever is known by
//! an address alone.
//!
//! Invariant: an index is never used without its generation, so a name held across a batch of
//! messages can only ever find the thing it was made for, or nothing.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

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
