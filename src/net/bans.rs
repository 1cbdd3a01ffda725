//! Addresses that have shown too many bad credentials, and are shut out for a time.
//!
//! Invariants: who waits out the ban begins anew; how many addresses are remembered is bounded, and
//! those that are shut out are the last to be forgotten.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::bucket::{Bucket, Quota};
use crate::clock::{Moment, Now};
use crate::hash::{Map, Seed};
use crate::id::ip_key;

/// Addresses that are remembered.
const ADDRESSES_MAX: usize = 65_536;

/// Who has offended.
#[derive(Debug)]
pub(super) struct Bans {
    quota: Quota,
    ban_ms: u64,
    offenders: Mutex<Map<IpAddr, Offender>>,
}

#[derive(Debug, Default)]
struct Offender {
    offences: Bucket,
    banned_until: Moment,
}

impl Bans {
    pub(super) fn new(offences_per_minute: u32, ban_ms: u64, seed: Seed) -> Self {
        let quota = Quota::per_minute(offences_per_minute);
        Self { quota, ban_ms, offenders: Mutex::new(Map::with_hasher(seed)) }
    }

    /// An address has offended; if it is shut out for that, until when in Unix time.
    pub(super) fn offend(&self, now: Now, address: IpAddr) -> Option<u64> {
        if self.quota.is_unlimited() {
            return None;
        }
        let mut offenders = self.offenders.lock().unwrap_or_else(PoisonError::into_inner);
        if offenders.len() >= ADDRESSES_MAX {
            let quota = self.quota;
            offenders.retain(|_, it| {
                it.banned_until > now.moment || !it.offences.is_full(quota, now.moment)
            });
            if offenders.len() >= ADDRESSES_MAX {
                offenders.retain(|_, it| it.banned_until > now.moment);
            }
            if offenders.len() >= ADDRESSES_MAX {
                return None;
            }
        }
        let offender = offenders.entry(ip_key(address)).or_default();
        if offender.banned_until > now.moment
            || offender.offences.take(self.quota, now.moment, 1).is_ok()
        {
            return None;
        }
        *offender =
            Offender { banned_until: now.moment.plus_ms(self.ban_ms), ..Offender::default() };
        Some(now.unix_ms.saturating_add(self.ban_ms))
    }

    /// Whether an address is shut out: for how many milliseconds yet.
    pub(super) fn left_ms(&self, now: Moment, address: Option<IpAddr>) -> Option<u64> {
        if self.quota.is_unlimited() {
            return None;
        }
        let offenders = self.offenders.lock().unwrap_or_else(PoisonError::into_inner);
        let until = offenders.get(&ip_key(address?))?.banned_until;
        (until > now).then(|| until.since_us(now).div_ceil(1_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now { moment: Moment::default().plus_ms(ms), unix_ms: 1_000_000 + ms }
    }

    #[test]
    fn too_many_offences_shut_an_address_out_for_its_time() {
        let bans = Bans::new(3, 10_000, Seed(1, 2));
        let address: IpAddr = "192.0.2.1".parse().expect("an address");
        for _ in 0..3 {
            assert_eq!(bans.offend(at(0), address), None);
        }
        assert_eq!(bans.left_ms(at(0).moment, Some(address)), None);
        assert_eq!(bans.offend(at(0), address), Some(1_010_000));
        assert_eq!(bans.offend(at(1), address), None, "it is shut out already");
        assert_eq!(bans.left_ms(at(4_000).moment, Some(address)), Some(6_000));
        assert_eq!(bans.left_ms(at(10_000).moment, Some(address)), None);
        assert_eq!(bans.offend(at(10_000), address), None, "it begins anew");
        let other: IpAddr = "192.0.2.2".parse().expect("an address");
        assert_eq!(bans.left_ms(at(0).moment, Some(other)), None);
    }

    #[test]
    fn without_a_limit_nobody_is_remembered() {
        let bans = Bans::new(0, 10_000, Seed(1, 2));
        let address: IpAddr = "192.0.2.1".parse().expect("an address");
        assert!((0..1_000).all(|_| bans.offend(at(0), address).is_none()));
        assert!(bans.offenders.lock().expect("not poisoned").is_empty());
    }
}
