//! Who is shut out by the operator: users of a tenant, and addresses.
//!
//! Invariants: a ban ends by itself, after as long as was left of it when it was heard of, however the
//! wall clock jumps; how many there are is bounded, and one too many is refused rather than another
//! forgotten.

use std::net::IpAddr;
use std::sync::Arc;

use super::accepted::Accepted;
use super::revocation::TooManyRevocations as TooMany;
use crate::clock::{Moment, Now};
use crate::hash::{Map, Seed};
use crate::id::{TenantId, ip_key};

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
    until: Map<Banned, Moment>,
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
        Self { until: Map::with_hasher(seed), most }
    }

    /// Shuts somebody out until then, in Unix time; who is out already, from now on for this time.
    ///
    /// # Errors
    /// There are too many that still hold.
    pub fn add(&mut self, whom: Banned, until_unix_ms: u64, now: Now) -> Result<(), TooMany> {
        if self.until.len() >= self.most && !self.until.contains_key(&whom) {
            self.until.retain(|_, until| now.moment < *until);
            if self.until.len() >= self.most {
                return Err(TooMany);
            }
        }
        let left_ms = until_unix_ms.saturating_sub(now.unix_ms);
        self.until.insert(whom, now.moment.plus_ms(left_ms));
        Ok(())
    }

    /// Lets somebody in again.
    pub fn remove(&mut self, whom: &Banned) {
        self.until.remove(whom);
    }

    /// Whether an address is shut out.
    #[must_use]
    pub fn cover_address(&self, address: Option<IpAddr>, now: Moment) -> bool {
        !self.until.is_empty() && address.is_some_and(|it| self.holds(&Banned::address(it), now))
    }

    /// Whether the user of a credential is shut out.
    #[must_use]
    pub fn cover_user(&self, accepted: &Accepted, now: Moment) -> bool {
        !self.until.is_empty()
            && accepted.user.as_ref().is_some_and(|user| {
                self.holds(&Banned::User(accepted.tenant, Arc::clone(user)), now)
            })
    }

    fn holds(&self, whom: &Banned, now: Moment) -> bool {
        self.until.get(whom).is_some_and(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So long after the start, when the wall clock showed zero.
    fn at(ms: u64) -> Now {
        Now { moment: Moment::default().plus_ms(ms), unix_ms: ms }
    }

    fn user(tenant: u32, name: &str) -> Accepted {
        Accepted { user: Some(name.into()), ..Accepted::nobody(TenantId(tenant), "t".into()) }
    }

    #[test]
    fn a_ban_is_of_one_user_of_one_tenant_and_ends() {
        let mut bans = Bans::new(Seed(1, 2), 10);
        bans.add(Banned::User(TenantId(1), "ann".into()), 100, at(0)).expect("few");
        assert!(bans.cover_user(&user(1, "ann"), at(99).moment));
        assert!(!bans.cover_user(&user(2, "ann"), at(99).moment), "of another tenant");
        assert!(!bans.cover_user(&user(1, "anna"), at(99).moment));
        assert!(
            !bans.cover_user(&Accepted::nobody(TenantId(1), "t".into()), at(99).moment),
            "anonymous"
        );
        assert!(!bans.cover_user(&user(1, "ann"), at(100).moment), "it is over");
        bans.add(Banned::User(TenantId(1), "ann".into()), 50, at(0)).expect("the same");
        assert!(!bans.cover_user(&user(1, "ann"), at(60).moment), "the later word counts");
    }

    #[test]
    fn a_wall_clock_that_jumps_neither_lifts_nor_prolongs_a_ban() {
        let mut bans = Bans::new(Seed(1, 2), 10);
        let now = Now { unix_ms: 1_000_000, ..at(7) };
        bans.add(Banned::User(TenantId(1), "ann".into()), 1_000_100, now).expect("few");
        assert!(bans.cover_user(&user(1, "ann"), at(106).moment));
        assert!(!bans.cover_user(&user(1, "ann"), at(107).moment));
        bans.add(Banned::User(TenantId(1), "ann".into()), 5, at(10)).expect("few");
        assert!(
            !bans.cover_user(&user(1, "ann"), at(10).moment),
            "it was over when it was heard of"
        );
    }

    #[test]
    fn an_address_is_found_in_all_its_clothes() {
        let mut bans = Bans::new(Seed(1, 2), 10);
        let ip = |text: &str| Some(text.parse().expect("an address"));
        for banned in ["192.0.2.1", "2001:db8::1"] {
            bans.add(Banned::address(banned.parse().expect("one")), 100, at(0)).expect("few");
        }
        for (address, is_out) in [
            ("192.0.2.1", true),
            ("::ffff:192.0.2.1", true),
            ("192.0.2.2", false),
            ("2001:db8::2", true),
            ("2001:db8:0:1::1", false),
        ] {
            assert_eq!(bans.cover_address(ip(address), at(0).moment), is_out, "{address}");
        }
        assert!(!bans.cover_address(None, at(0).moment), "a UNIX socket");
        bans.remove(&Banned::address("192.0.2.1".parse().expect("one")));
        assert!(!bans.cover_address(ip("192.0.2.1"), at(0).moment));
    }

    #[test]
    fn one_too_many_is_refused_until_another_has_ended() {
        let mut bans = Bans::new(Seed(1, 2), 2);
        let whom = |name: &str| Banned::User(TenantId(0), name.into());
        bans.add(whom("a"), 10, at(0)).expect("one");
        bans.add(whom("b"), 20, at(0)).expect("two");
        assert_eq!(bans.add(whom("c"), 30, at(0)), Err(TooMany));
        assert_eq!(bans.add(whom("b"), 30, at(0)), Ok(()), "no more than before");
        assert_eq!(bans.add(whom("c"), 30, at(10)), Ok(()), "the first has ended");
    }
}
