//! Who is shut out by the operator: users of a tenant, and addresses.
//!
//! Invariants: a ban ends by itself; how many there are is bounded, and one too many is refused
//! rather than another forgotten.

use std::net::IpAddr;
use std::sync::Arc;

use super::accepted::Accepted;
use super::revocation::TooManyRevocations as TooMany;
use crate::hash::{Map, Seed};
use crate::id::TenantId;
use crate::ws::forwarded::ip_key;

/// Who is shut out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Banned {
    /// A user.
    User(TenantId, Arc<str>),
    /// An address; of IPv6 the /64 that a host has to itself.
    Address(IpAddr),
}

/// Who is shut out, and until when.
#[derive(Debug)]
pub struct Bans {
    until_ms: Map<Banned, u64>,
    most: usize,
}

impl Banned {
    /// The form by which an address is found again.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        Self::Address(ip_key(address))
    }
}

impl Bans {
    /// None yet, and never more than `most`.
    #[must_use]
    pub fn new(seed: Seed, most: usize) -> Self {
        Self { until_ms: Map::with_hasher(seed), most }
    }

    /// Shuts somebody out; who is out already, from now on for this time.
    ///
    /// # Errors
    /// There are too many that still hold.
    pub fn add(&mut self, whom: Banned, until_ms: u64, now_unix_ms: u64) -> Result<(), TooMany> {
        if self.until_ms.len() >= self.most && !self.until_ms.contains_key(&whom) {
            self.until_ms.retain(|_, until_ms| now_unix_ms < *until_ms);
            if self.until_ms.len() >= self.most {
                return Err(TooMany);
            }
        }
        self.until_ms.insert(whom, until_ms);
        Ok(())
    }

    /// Lets somebody in again.
    pub fn remove(&mut self, whom: &Banned) {
        self.until_ms.remove(whom);
    }

    /// Whether an address is shut out.
    #[must_use]
    pub fn cover_address(&self, address: Option<IpAddr>, now_unix_ms: u64) -> bool {
        !self.until_ms.is_empty()
            && address.is_some_and(|it| self.holds(&Banned::address(it), now_unix_ms))
    }

    /// Whether the user of a credential is shut out.
    #[must_use]
    pub fn cover_user(&self, accepted: &Accepted, now_unix_ms: u64) -> bool {
        !self.until_ms.is_empty()
            && accepted.user.as_ref().is_some_and(|user| {
                self.holds(&Banned::User(accepted.tenant, Arc::clone(user)), now_unix_ms)
            })
    }

    fn holds(&self, whom: &Banned, now_unix_ms: u64) -> bool {
        self.until_ms.get(whom).is_some_and(|until_ms| now_unix_ms < *until_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(tenant: u32, name: &str) -> Accepted {
        Accepted { user: Some(name.into()), ..Accepted::nobody(TenantId(tenant), "t".into()) }
    }

    #[test]
    fn a_ban_is_of_one_user_of_one_tenant_and_ends() {
        let mut bans = Bans::new(Seed(1, 2), 10);
        bans.add(Banned::User(TenantId(1), "ann".into()), 100, 0).expect("few");
        assert!(bans.cover_user(&user(1, "ann"), 99));
        assert!(!bans.cover_user(&user(2, "ann"), 99), "of another tenant");
        assert!(!bans.cover_user(&user(1, "anna"), 99));
        assert!(!bans.cover_user(&Accepted::nobody(TenantId(1), "t".into()), 99), "anonymous");
        assert!(!bans.cover_user(&user(1, "ann"), 100), "it is over");
        bans.add(Banned::User(TenantId(1), "ann".into()), 50, 0).expect("the same");
        assert!(!bans.cover_user(&user(1, "ann"), 60), "the later word counts");
    }

    #[test]
    fn an_address_is_found_in_all_its_clothes() {
        let mut bans = Bans::new(Seed(1, 2), 10);
        let ip = |text: &str| Some(text.parse().expect("an address"));
        for banned in ["192.0.2.1", "2001:db8::1"] {
            bans.add(Banned::address(banned.parse().expect("one")), 100, 0).expect("few");
        }
        for (address, is_out) in [
            ("192.0.2.1", true),
            ("::ffff:192.0.2.1", true),
            ("192.0.2.2", false),
            ("2001:db8::2", true),
            ("2001:db8:0:1::1", false),
        ] {
            assert_eq!(bans.cover_address(ip(address), 0), is_out, "{address}");
        }
        assert!(!bans.cover_address(None, 0), "a UNIX socket");
        bans.remove(&Banned::address("192.0.2.1".parse().expect("one")));
        assert!(!bans.cover_address(ip("192.0.2.1"), 0));
    }

    #[test]
    fn one_too_many_is_refused_until_another_has_ended() {
        let mut bans = Bans::new(Seed(1, 2), 2);
        let whom = |name: &str| Banned::User(TenantId(0), name.into());
        bans.add(whom("a"), 10, 0).expect("one");
        bans.add(whom("b"), 20, 0).expect("two");
        assert_eq!(bans.add(whom("c"), 30, 0), Err(TooMany));
        assert_eq!(bans.add(whom("b"), 30, 0), Ok(()), "no more than before");
        assert_eq!(bans.add(whom("c"), 30, 10), Ok(()), "the first has ended");
    }
}
