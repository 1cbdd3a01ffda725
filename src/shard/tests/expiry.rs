//! Credentials that run out by a wall clock that jumps.

use std::sync::Arc;

use super::cluster::{Address, Cluster};
use crate::config::Config;
use crate::shard::identity::Identity;

const HOUR_MS: u64 = 3_600_000;

fn cluster() -> Cluster {
    let mut config = Config::default();
    config.auth.leeway_ms = 0;
    Cluster::new(1, config)
}

/// A connection whose credential runs out in so many milliseconds.
fn open_for(cluster: &mut Cluster, ms: u64) -> Address {
    let expires_at_ms = Some(cluster.now.unix_ms + ms);
    cluster.shards[0].assume(Arc::new(Identity { expires_at_ms, ..Identity::anonymous() }));
    cluster.open_with(0, |_| {})
}

fn is_sent_away(cluster: &mut Cluster, at: Address) -> bool {
    cluster.read(at).iter().any(|message| message["reason"] == "token_expired")
}

#[test]
fn a_clock_that_jumps_on_sends_away_within_a_minute_whose_time_is_over() {
    let mut cluster = cluster();
    let over = open_for(&mut cluster, HOUR_MS / 2);
    let valid = open_for(&mut cluster, 2 * HOUR_MS);
    cluster.now.unix_ms += HOUR_MS;
    assert!(!is_sent_away(&mut cluster, over), "nobody is sent away by the jump itself");
    cluster.wait(60_000);
    assert!(is_sent_away(&mut cluster, over));
    assert!(!is_sent_away(&mut cluster, valid));
}

#[test]
fn a_clock_that_jumps_back_lets_stay_until_it_is_set_right() {
    let mut cluster = cluster();
    let at = open_for(&mut cluster, 1_000);
    cluster.now.unix_ms -= HOUR_MS;
    cluster.wait(5_000);
    assert!(!is_sent_away(&mut cluster, at), "an hour is left by the clock");
    cluster.now.unix_ms += HOUR_MS;
    cluster.wait(60_000);
    assert!(is_sent_away(&mut cluster, at));
}
