//! What the engine tells the audit trail: who moderated whom, and who made, changed or ended a room.

use crate::protocol::ModerationAction;
use crate::record::{Actor, Deed, Record, Subject, cut};
use crate::room::name::RoomKey;

use super::Shard;
use super::ask::{ModerateAsk, Target};
use super::message::Asker;

impl Shard {
    /// Tells of a deed in a room; `say` adds what else there is to say.
    pub(super) fn record(
        &mut self,
        room: &RoomKey,
        asker: &Asker,
        deed: Deed,
        say: impl FnOnce(&mut Record),
    ) {
        let by = Actor::User(asker.user().map(|user| cut(user).into()));
        let mut record = Record::new(self.outbound.now.unix_ms, by, deed);
        record.tenant = Some(cut(&asker.identity.tenant_name).into());
        record.room = Some(cut(room.name.as_str()).into());
        say(&mut record);
        self.outbound.effects.records.push(record);
    }

    /// Tells of a command that moderates.
    pub(super) fn record_moderation(&mut self, room: &RoomKey, asker: &Asker, ask: &ModerateAsk) {
        let deed = match ask.action {
            ModerationAction::Invite => Deed::Invite,
            ModerationAction::Ban => Deed::Ban,
            ModerationAction::Unban => Deed::Unban,
            ModerationAction::Mute => Deed::Mute,
            ModerationAction::Unmute => Deed::Unmute,
            ModerationAction::Kick => Deed::Kick,
            ModerationAction::Role => Deed::Role,
        };
        let now_ms = self.outbound.now.unix_ms;
        self.record(room, asker, deed, |record| {
            record.subject = Some(match &ask.target {
                Target::User(user) => Subject::User(cut(user).into()),
                Target::Address(address) => Subject::Address(*address),
            });
            record.until_ms = ask.for_ms.map(|for_ms| now_ms.saturating_add(for_ms));
            record.reason = ask.reason.as_deref().map(|reason| cut(reason).to_owned().into());
        });
    }
}
