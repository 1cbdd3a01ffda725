//! The places of the control plane's own listener, of which whoever waits longest for a request gives way.
//!
//! Invariant: there are no more connections than places; one whose request is worked on keeps its place.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

/// Who has one.
pub(super) struct Places {
    count: usize,
    connections: JoinSet<()>,
    taken: Vec<Taken>,
    /// A request was answered.
    answered: Rc<Notify>,
}

struct Taken {
    place: Place,
    connection: AbortHandle,
}

/// What is known of a connection.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Since when it waits for a request, or for its answer to be read; none while that is made.
    waits_since: Rc<Cell<Option<Instant>>>,
    answered: Rc<Notify>,
}

impl Place {
    fn new(answered: Rc<Notify>) -> Self {
        Self { waits_since: Rc::new(Cell::new(Some(Instant::now()))), answered }
    }

    /// One that nobody else wants.
    pub(super) fn apart() -> Self {
        Self::new(Rc::default())
    }

    /// Its request is worked on until the guard goes.
    pub(super) fn work(&self) -> Work {
        self.waits_since.set(None);
        Work(self.clone())
    }
}

/// A request is worked on.
pub(super) struct Work(Place);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.waits_since.set(Some(Instant::now()));
        self.0.answered.notify_one();
    }
}

impl Places {
    /// So many, all free.
    pub(super) fn new(count: usize) -> Self {
        Self { count, connections: JoinSet::new(), taken: Vec::new(), answered: Rc::default() }
    }

    /// Waits until there is a free place: somebody's whose request is not worked on, which takes no time, or
    /// no longer than the answer to a request.
    pub(super) async fn make_room(&mut self) {
        while self.connections.try_join_next().is_some() {}
        self.taken.retain(|taken| !taken.connection.is_finished());
        while self.connections.len() >= self.count {
            let since =
                |taken: &Taken| Some((taken.place.waits_since.get()?, taken.connection.clone()));
            match self.taken.iter().filter_map(since).min_by_key(|(since, _)| *since) {
                Some((_, connection)) => {
                    connection.abort();
                    // That one, or another that ended by itself.
                    let _ = self.connections.join_next().await;
                    self.taken.retain(|taken| !taken.connection.is_finished());
                }
                None => tokio::select! {
                    () = self.answered.notified() => {}
                    _ = self.connections.join_next() => {}
                },
            }
        }
    }

    /// Gives a place to a connection, on this thread.
    pub(super) fn give<F>(&mut self, connection: impl FnOnce(Place) -> F)
    where
        F: Future<Output = ()> + 'static,
    {
        let place = Place::new(Rc::clone(&self.answered));
        let connection = self.connections.spawn_local(connection(place.clone()));
        self.taken.push(Taken { place, connection });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::task::LocalSet;
    use tokio::time::{sleep, timeout};

    use super::*;

    /// Lives until it is told to go; says so when it goes.
    async fn connection(_place: Place, gone: Rc<Cell<bool>>) {
        struct Gone(Rc<Cell<bool>>);
        impl Drop for Gone {
            fn drop(&mut self) {
                self.0.set(true);
            }
        }
        let _gone = Gone(gone);
        std::future::pending::<()>().await;
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_longest_gives_way_and_nobody_who_is_answered() {
        let all = async {
            let mut places = Places::new(3);
            let gone: [Rc<Cell<bool>>; 4] = Default::default();
            for gone in &gone[..3] {
                places.make_room().await;
                places.give(|place| connection(place, Rc::clone(gone)));
                sleep(Duration::from_secs(1)).await;
            }
            let are_gone = || gone.each_ref().map(|gone| gone.get());
            let first = places.taken[0].place.work();
            places.make_room().await;
            assert_eq!(are_gone(), [false, true, false, false], "the first is answered");
            places.give(|place| connection(place, Rc::clone(&gone[3])));
            drop(first);
            places.make_room().await;
            assert_eq!(are_gone(), [false, true, true, false], "it waits since a moment ago");
            places.give(|place| connection(place, Rc::default()));
            let all: Vec<Work> = places.taken.iter().map(|taken| taken.place.work()).collect();
            let room = timeout(Duration::from_secs(60), places.make_room()).await;
            assert!(room.is_err(), "all are answered");
            tokio::join!(places.make_room(), async { drop(all) });
            assert_eq!(places.taken.len(), 2, "and then they wait again");
        };
        LocalSet::new().run_until(all).await;
    }
}
