//! The inside of a bridge that has ended: nothing is on its way, and nothing is owed.

use crate::bridge::run::Bridge;

impl Bridge {
    pub(super) fn check_is_idle(&self) {
        assert!(
            self.pipelines.is_empty() && self.on_way.is_empty(),
            "pipelines: {:?}",
            self.on_way
        );
        assert!(self.astray.is_empty(), "{:?}", self.astray);
        assert!(self.parked.is_empty(), "{:?}", self.parked);
        assert!(self.desk.next.is_empty(), "{:?}", self.desk.next);
        assert!(self.desk.has_told(), "rooms are owed something");
        assert!(self.desk.entrances.is_done(self.desk.cores), "{:?}", self.desk.entrances);
        assert!(self.places.are_free(), "{:?}", self.places);
        assert_eq!(self.desk.watch.len(), 0, "rooms are watched");
    }
}
