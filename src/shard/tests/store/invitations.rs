//! To which rooms users are invited.

use std::sync::Arc;

use super::Store;
use crate::room::broker::News;
use crate::room::charter::Entry;
use crate::room::invited::Invited;
use crate::room::name::{RoomKey, RoomKind};

impl Store {
    pub(super) fn invite(&mut self, user: RoomKey, invited: Invited) {
        let all = self.invited.entry(user.clone()).or_default();
        all.retain(|it| it.room != invited.room);
        all.push(invited.clone());
        self.told.push((user, News::Invited(Arc::new(invited))));
    }

    /// Those invitations of a user that hold.
    pub(super) fn invited(&self, user: &RoomKey) -> impl Iterator<Item = Invited> + use<> {
        let RoomKind::User(name) = user.name.kind() else { panic!("no user: {user:?}") };
        let holds = |invited: &&Invited| {
            let charter = self.charter(&RoomKey::new(user.tenant, invited.room.clone()));
            charter
                .entries
                .iter()
                .any(|it| matches!(it, Entry::Invited(it, Some(_)) if **it == *name))
        };
        let all = self.invited.get(user).into_iter().flatten();
        all.filter(holds).cloned().collect::<Vec<_>>().into_iter()
    }
}
