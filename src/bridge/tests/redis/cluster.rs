//! Slots: each server of a cluster has as many as the others, one after the other.

use super::reply::Reply;
use crate::bridge::map;
use crate::bridge::tests::network;

const SLOTS: usize = 16_384;

/// A server's place among all.
pub(super) type Place = (usize, usize);

/// Whether a server has a key.
pub(super) fn has((at, count): Place, key: &[u8]) -> bool {
    usize::from(map::slot(key)) * count / SLOTS == at
}

/// What a node is told of who has which slot.
pub(super) fn slots(count: usize, node: usize) -> Reply {
    let number = |number: usize| Reply::count(number);
    let one = |at: usize| {
        let first = |at: usize| (at * SLOTS).div_ceil(count);
        let server = vec![Reply::text(network::host_of(node, at)), number(6379)];
        Reply::List(vec![number(first(at)), number(first(at + 1) - 1), Reply::List(server)])
    };
    Reply::List((0..count).map(one).collect())
}

#[test]
fn every_slot_has_one_server() {
    for count in 1..4 {
        let Reply::List(all) = slots(count, 0) else { panic!("a list") };
        let mut next = 0;
        for server in all {
            let Reply::List(range) = server else { panic!("a range") };
            let [Reply::Number(first), Reply::Number(last), _] = range.as_slice() else {
                panic!("{range:?}")
            };
            assert_eq!((*first, *first < *last), (next, true));
            next = last + 1;
        }
        assert_eq!(next, 16_384);
        let owners = (0..count).filter(|at| has((*at, count), b"{nodes}"));
        assert_eq!(owners.count(), 1);
    }
}
