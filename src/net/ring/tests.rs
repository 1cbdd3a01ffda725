#![allow(clippy::unwrap_used, reason = "a test may")]

use super::Kind::{Cooperative, Deferred, Epoll, Plain};
use super::*;

const WANTED: u32 = 1_024;

/// Kinds and sizes, in order.
type Asked = Vec<(Kind, u32)>;

/// What is got and what was asked for on the way, where the kernel answers with these errors.
fn choice(
    driver: Driver,
    entries: u32,
    kernel: impl Fn(usize, Kind, u32) -> Option<libc::c_int>,
) -> (io::Result<(Kind, u32)>, Asked) {
    let mut asked = Vec::new();
    let found = choose(driver, entries, Duration::ZERO, |kind, size| {
        asked.push((kind, size));
        match kernel(asked.len(), kind, size) {
            Some(error) => Err(io::Error::from_raw_os_error(error)),
            None => Ok(size),
        }
    });
    (found.map(|(size, kind)| (kind, size)), asked)
}

/// One attempt and its repetitions.
fn patient(kind: Kind, size: u32) -> Asked {
    vec![(kind, size); 1 + RETRIES as usize]
}

#[test]
fn a_kernel_that_knows_no_flag_gives_a_plainer_ring() {
    for (unknown, got) in
        [(&[][..], Deferred), (&[Deferred], Cooperative), (&[Deferred, Cooperative], Plain)]
    {
        let (found, asked) = choice(Driver::Auto, WANTED, |_, kind, _| {
            unknown.contains(&kind).then_some(libc::EINVAL)
        });
        assert_eq!(found.unwrap(), (got, WANTED));
        let all = [unknown, &[got]].concat();
        assert_eq!(asked, all.into_iter().map(|kind| (kind, WANTED)).collect::<Vec<_>>());
    }
}

#[test]
fn a_kernel_without_rings_gives_epoll_and_is_refused_where_a_ring_must_be() {
    let without = |error| move |_: usize, kind, _: u32| (kind != Epoll).then_some(error);
    let (found, asked) = choice(Driver::Auto, WANTED, without(libc::EINVAL));
    assert_eq!(found.unwrap(), (Epoll, WANTED));
    assert_eq!(asked, [Deferred, Cooperative, Plain, Epoll].map(|kind| (kind, WANTED)));
    // No flag mends what else may be wrong.
    let (found, asked) = choice(Driver::Auto, WANTED, without(libc::EPERM));
    assert_eq!(found.unwrap(), (Epoll, WANTED));
    assert_eq!(asked, [Deferred, Epoll].map(|kind| (kind, WANTED)));

    let (found, asked) = choice(Driver::Uring, WANTED, without(libc::EPERM));
    let error = found.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("cores.driver insists on"), "{error}");
    assert_eq!(asked, [(Deferred, WANTED)]);
}

#[test]
fn memory_that_is_short_is_waited_for_and_then_a_smaller_ring_taken() {
    // The last ring's memory is free again after a while.
    let (found, asked) = choice(Driver::Auto, WANTED, |attempt, _, _| {
        (attempt <= RETRIES as usize).then_some(libc::ENOMEM)
    });
    assert_eq!((found.unwrap(), asked), ((Deferred, WANTED), patient(Deferred, WANTED)));

    let (found, asked) =
        choice(Driver::Auto, WANTED, |_, _, size| (size > ENTRIES_MIN).then_some(libc::ENOMEM));
    assert_eq!(found.unwrap(), (Deferred, ENTRIES_MIN));
    let halves = [patient(Deferred, WANTED), patient(Deferred, WANTED / 2)].concat();
    assert_eq!(asked, [halves, vec![(Deferred, ENTRIES_MIN)]].concat());

    let (found, asked) =
        choice(Driver::Auto, 300, |_, kind, _| (kind != Epoll).then_some(libc::ENOMEM));
    assert_eq!(found.unwrap(), (Epoll, 300));
    let smaller = [patient(Deferred, 300), patient(Deferred, ENTRIES_MIN)].concat();
    assert_eq!(asked, [smaller, vec![(Epoll, 300)]].concat());

    // Short memory and an old kernel at once.
    let (found, asked) = choice(Driver::Uring, ENTRIES_MIN, |_, kind, _| match kind {
        Deferred => Some(libc::EINVAL),
        _ => Some(libc::ENOMEM),
    });
    assert!(found.is_err());
    let all = [vec![(Deferred, ENTRIES_MIN)], patient(Cooperative, ENTRIES_MIN)].concat();
    assert_eq!(asked, all);
}

#[test]
fn no_ring_is_asked_for_where_epoll_is_and_none_is_smaller_than_it_may_be() {
    let (found, asked) = choice(Driver::Epoll, WANTED, |_, _, _| None);
    assert_eq!((found.unwrap(), asked), ((Epoll, WANTED), vec![(Epoll, WANTED)]));
    let (found, _) = choice(Driver::Epoll, WANTED, |_, _, _| Some(libc::EMFILE));
    assert_eq!(found.unwrap_err().raw_os_error(), Some(libc::EMFILE));
    let (found, asked) = choice(Driver::Auto, 8, |_, _, _| None);
    assert_eq!((found.unwrap(), asked.len()), ((Deferred, ENTRIES_MIN), 1));
}
