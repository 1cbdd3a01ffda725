//! What is done to members.

super::words! {
    /// What a moderation command does; the word is the one after `room.`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum ModerationAction {
        /// May join.
        Invite => "invite",
        /// May not join.
        Ban => "ban",
        /// May join again.
        Unban => "unban",
        /// May not publish.
        Mute => "mute",
        /// May publish again.
        Unmute => "unmute",
        /// Is sent out.
        Kick => "kick",
        /// Gets a role.
        Role => "role",
    }
}
