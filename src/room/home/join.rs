//! Coming into a room, and what was missed before.

use std::sync::Arc;

use crate::clock::{Moment, Now};
use crate::id::ConnectionAddress;
use crate::protocol::{ErrorCode, GapReason, OwnedData, Role};
use crate::room::history::Unrecoverable;
use crate::room::publication::{Form, Publication};
use crate::room::refusal::Refusal;
use crate::room::standing::Action;

use super::{Attachment, HomeRoom, Pace};

/// Who wants to come in, and how.
#[derive(Clone)]
pub struct JoinRequest<'a> {
    /// Which connection.
    pub address: ConnectionAddress,
    /// Where it comes from.
    pub ip: Option<std::net::IpAddr>,
    /// Its session, by which an anonymous one is known.
    pub session: Option<[u8; 16]>,
    /// Whose it is; none: anonymous.
    pub user: Option<&'a Arc<str>>,
    /// How it is written to.
    pub form: Form,
    /// Whether it wants notices of presence.
    pub notices: bool,
    /// The password they gave.
    pub password: Option<&'a str>,
    /// A session comes back: its word counts less than what it has acknowledged.
    pub resumes: bool,
    /// The last that was seen: epoch and offset.
    pub since: Option<(&'a str, u64)>,
    /// How much may be recovered: messages and bytes.
    pub recovery: (u32, u32),
    /// What a room token says: that they may come in, and perhaps as what.
    pub grant: Option<Option<Role>>,
    /// What presence shows of the user, as long as they have said nothing themselves.
    pub info: Option<OwnedData>,
}

/// What the one who came in gets.
#[derive(Debug)]
pub struct Joining {
    /// What they may do.
    pub role: Role,
    /// They came by an invitation, which is used up.
    pub was_invited: bool,
    /// What they missed.
    pub recovery: Recovery,
    /// Up to which offset they may have got it before.
    pub redelivers: u64,
}

/// What somebody who was away gets.
#[derive(Debug)]
pub enum Recovery {
    /// They did not ask.
    None,
    /// All of it.
    Replay(Vec<Arc<Publication>>),
    /// What the room still has of what was not acknowledged, behind what they do not get.
    Rest {
        /// The first offset they do not get; behind the last: they get all.
        from: u64,
        /// The last.
        to: u64,
        /// Why.
        reason: GapReason,
        /// What follows it.
        missed: Vec<Arc<Publication>>,
    },
    /// Nothing now of what was not acknowledged, because it is too much at once: what the room still
    /// has of it is sent piece by piece, as what is not acknowledged in time.
    Owed {
        /// The first offset they do not get now.
        from: u64,
        /// The last.
        to: u64,
        /// Why.
        reason: GapReason,
    },
    /// They say they have seen what was not there yet.
    Ahead,
    /// Not all of it, and none.
    Lost {
        /// The first offset they do not get.
        from: u64,
        /// The last; before the first: none in this life of the room.
        to: u64,
        /// Why.
        reason: GapReason,
    },
}

impl Recovery {
    /// The first offset that is missing, and why, if they get nothing though they are owed what is
    /// behind `acknowledged`.
    fn missing_behind(&self, acknowledged: u64) -> Option<(u64, GapReason)> {
        match *self {
            Self::Lost { from, reason, .. } => Some((from, reason)),
            Self::Ahead => Some((acknowledged + 1, GapReason::HistoryTruncated)),
            _ => None,
        }
    }
}

impl HomeRoom {
    /// Whether a session that comes back is one of a user who was sent out meanwhile.
    fn check_return(&self, user: Option<&str>, resumes: bool, now: Moment) -> Result<(), Refusal> {
        match user.filter(|_| resumes) {
            Some(user) if self.sent_out.holds(user, now) => Err(Refusal::SENT_OUT),
            _ => Ok(()),
        }
    }

    /// Whether this is not the password that the room has.
    #[must_use]
    pub fn is_wrong(&self, password: Option<&str>) -> bool {
        password.zip(self.config.password.as_ref()).is_some_and(|(text, own)| !own.is(text))
    }

    /// A connection comes in, or changes how it is in.
    ///
    /// # Errors
    /// Why not; nothing is changed then.
    pub fn join(&mut self, request: &JoinRequest<'_>, now: Now) -> Result<Joining, Refusal> {
        let user = request.user.map(|user| &**user);
        let standing = self.standing(user, request.ip, now.moment);
        let proven = match (&self.config.password, request.password) {
            (Some(password), Some(text)) => password.is(text),
            // A session that comes back to the same life of the room has shown it before.
            _ => {
                let was_in = request.since.is_some_and(|(epoch, _)| *epoch == *self.epoch);
                request.grant.is_some() || (request.resumes && was_in)
            }
        };
        // Nobody asks to be in a reserved room, and nobody can be kept out of one.
        let by_itself = self.key.name.is_reserved();
        if !by_itself {
            standing
                .may(Action::Join { proven }, &self.config)
                .map_err(|denied| denied.refusal(now.moment))?;
        }
        self.check_return(user, request.resumes, now.moment)?;
        let is_new = user.is_none_or(|user| self.presence.get(user).is_none());
        let is_attached = self.is_attached(request.address);
        let is_full = !by_itself && self.user_count() >= u64::from(self.config.max_members);
        if is_new && !is_attached && is_full {
            return Err(Refusal::new(ErrorCode::RoomFull, "the room is full"));
        }
        let was_invited = standing.invited;
        if let Some(user) = user {
            self.sent_out.comes(user);
        }
        if let Some(user) = user {
            let invited_as = self.members.accept(user, now.moment).map(|it| it.role);
            let role = invited_as.max(request.grant.flatten());
            // Neither takes a role away.
            if let Some(role) = role.filter(|role| self.members.role(user) < *role) {
                // The list of members is full: then they are let in and no more.
                let _ = self.members.set_role(user, role, now.unix_ms);
            }
        }
        self.held_until = None;
        let was_here = self.is_attached(request.address);
        self.attach(request, now.moment);
        let cursor = self.resume_cursor(request, was_here, now.moment);
        let owed_after = cursor.map(|cursor| self.owed_after(cursor, request));
        let epoch = Arc::clone(&self.epoch);
        let since = match (owed_after, request.since) {
            (Some(offset), None) => Some((&*epoch, offset)),
            (Some(offset), Some((since, _))) if request.resumes && *since == *epoch => {
                Some((&*epoch, offset))
            }
            (_, since) => since,
        };
        let mut recovery = self.recover(since, request.recovery, now.moment);
        if let Some(offset) = owed_after.filter(|offset| *offset < self.offset())
            && let Some((from, reason)) = recovery.missing_behind(offset)
        {
            recovery = self.rest(offset, (from, reason), request.recovery, now.moment);
            let dropped = self.history.dropped();
            if let Some(attachment) = self.attached.get_mut(&request.address) {
                attachment.told = dropped;
            }
        }
        let redelivers = cursor.map_or(0, |cursor| cursor.sent);
        Ok(Joining { role: self.role(user), was_invited, recovery, redelivers })
    }

    fn attach(&mut self, request: &JoinRequest<'_>, now: Moment) {
        let before = self.attached.get_mut(&request.address);
        let (is_new, had_notices) = match before {
            Some(attachment) => {
                let had_notices = attachment.notices;
                attachment.notices = request.notices;
                attachment.form = request.form;
                // It may want something else now.
                attachment.looked = 0;
                (false, had_notices)
            }
            None => {
                let attachment = Attachment {
                    user: request.user.cloned(),
                    ip: request.ip,
                    reader: request.reader(),
                    form: request.form,
                    notices: request.notices,
                    pace: Pace::default(),
                    told: 0,
                    looked: 0,
                };
                self.attached.insert(request.address, attachment);
                (true, false)
            }
        };
        if is_new {
            match request.user {
                Some(user) => {
                    let is_first = self.presence.enter(user);
                    if let Some(info) = request.info.clone().filter(|_| is_first) {
                        self.presence.set_info(user, info);
                    }
                }
                None => self.anonymous += 1,
            }
            self.plan_presence(now);
        }
        let link = self.link(request.address.core);
        link.attached += u32::from(is_new);
        link.notices = link.notices + u32::from(request.notices) - u32::from(had_notices);
        link.forms.insert(request.form);
    }

    /// What is left of what was not acknowledged, unless that is more than may be sent at once. They
    /// miss what is before it, from `from` on.
    fn rest(
        &mut self,
        acknowledged: u64,
        (from, reason): (u64, GapReason),
        (messages, bytes): (u32, u32),
        now: Moment,
    ) -> Recovery {
        let (to, last) = (acknowledged.max(self.history.dropped()), self.offset());
        match self.history.recover(to, messages as usize, bytes.into(), now) {
            Ok(missed) => Recovery::Rest { from, to, reason, missed: missed.cloned().collect() },
            Err(_) => Recovery::Owed { from, to: last, reason },
        }
    }

    fn recover(
        &mut self,
        since: Option<(&str, u64)>,
        (messages, bytes): (u32, u32),
        now: Moment,
    ) -> Recovery {
        let Some((epoch, offset)) = since else { return Recovery::None };
        let last = self.offset();
        if *epoch != *self.epoch {
            // Nobody knows what came after that in another life of the room, though there is nothing in this one.
            return Recovery::Lost { from: 1, to: last, reason: GapReason::EpochChanged };
        }
        match self.history.recover(offset, messages as usize, bytes.into(), now) {
            Ok(missed) => Recovery::Replay(missed.cloned().collect()),
            Err(Unrecoverable::Ahead) => Recovery::Ahead,
            Err(_) => {
                Recovery::Lost { from: offset + 1, to: last, reason: GapReason::HistoryTruncated }
            }
        }
    }
}
