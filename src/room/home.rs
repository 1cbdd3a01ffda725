//! A room on its home core: the authority over its sequence, its history, and who is in it.
//!
//! Invariants: offsets are given here, without a hole; a connection is attached at most once; the
//! links count, for each core, the connections attached there, so a core without any is sent
//! nothing.

mod attendance;
mod bookmark;
mod charter;
mod cursor;
mod guard;
mod heritage;
mod join;
mod kept;
mod life;
mod publish;
mod sent_out;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::bucket::Bucket;
use crate::clock::{Moment, Now};
use crate::hash::{Map, Seed};
use crate::id::{ConnectionAddress, CoreId};
use crate::protocol::{OwnedData, Role};

use super::censor::Censor;
use super::charter::Parent;
use super::config::{Bounds, ConfigError, Layers, Namespace, RoomConfig, Salt, Settings};
use super::history::History;
use super::idempotency::Idempotency;
use super::members::Members;
use super::name::RoomKey;
use super::presence::{Change, Presence};
use super::publication::{Form, FormSet, Publication};
use super::standing::Standing;

pub use charter::entries_of;
pub use cursor::{Overdue, ReaderId};
pub use guard::Guard;
pub use heritage::{Heritage, HeritageStamp, parents};
pub use join::{JoinRequest, Joining, Recovery};

use cursor::Cursors;
use kept::Kept;
use publish::Publisher;
pub use publish::{Accepted, KEYS_ARE_FULL, PublishRequest, too_often};
use sent_out::SentOut;

/// Users of whom a room remembers how often they publish.
const PACES: usize = 10_000;
/// With at most so many users, changes of presence are told at once.
const PROMPT_USERS: usize = 64;
/// How long a room that was made waits for the first to come.
const HOLD_MS: u64 = 60_000;
/// How long changes of presence are collected in a larger room.
const PRESENCE_DELAY_MS: u64 = 200;

/// A connection in the room.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// Whose it is; none: anonymous.
    pub user: Option<Arc<str>>,
    /// Where it comes from.
    pub ip: Option<std::net::IpAddr>,
    /// As whom it acknowledges.
    pub reader: Option<ReaderId>,
    /// How it is written to.
    pub form: Form,
    /// Whether it wants notices of presence.
    pub notices: bool,
    /// What it has published lately, if the room does not remember it of whoever it is.
    pace: Pace,
    /// Up to here it was told what it will not get again.
    told: u64,
    /// Up to here nothing is for it that it has not acknowledged.
    looked: u64,
}

/// What somebody has published lately.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    bucket: Bucket,
    /// When they may publish again, in slow mode.
    next_publish: Moment,
}

/// A core that is sent the room's messages.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Which core.
    pub core: CoreId,
    /// Connections attached there.
    pub attached: u32,
    /// Of those, how many want notices of presence.
    pub notices: u32,
    /// How they are written to; grows while there are any.
    pub forms: FormSet,
    /// Connections there are in the room by themselves, and not counted.
    pub implicit: bool,
}

/// Users who came, went, or said something about themselves, to be told.
pub type PresenceChange = (crate::protocol::PresenceAction, Arc<str>, Option<OwnedData>);

/// A room on its home core.
#[derive(Debug)]
pub struct HomeRoom {
    /// Its name.
    pub key: RoomKey,
    /// Which life of it.
    pub epoch: Arc<str>,
    /// When it was made, in Unix time.
    pub created_at_ms: u64,
    /// What it is configured to be.
    pub config: Arc<RoomConfig>,
    settings: Settings,
    /// What it has from its namespace.
    namespace: Arc<Namespace>,
    /// What the rooms above it have, the nearest first.
    heritage: Vec<Arc<Heritage>>,
    /// From which of them it inherits: those that were above it when it was made so.
    parents: Box<[Parent]>,
    /// Who may hear it through a pattern, as it was found last.
    guard: Option<Arc<Guard>>,
    /// Counts changes of the settings.
    changes: u64,
    /// Roles, invitations, bans, mutes.
    pub members: Members,
    presence: Presence<OwnedData>,
    /// Publications, and the last offset.
    pub history: History<Arc<Publication>>,
    keys: Option<Box<Idempotency>>,
    /// What users have published lately, where that is limited.
    paces: BTreeMap<Publisher, Pace>,
    /// When it is worth looking again which of them need not be remembered.
    paces_fade: Moment,
    /// What may not be said, once something is said.
    censor: Option<Box<Censor>>,
    /// What was acknowledged, where that counts.
    cursors: Option<Box<Cursors>>,
    /// Users' cursors are the broker's to keep.
    shares_cursors: bool,
    attached: Map<ConnectionAddress, Attachment>,
    links: Vec<Link>,
    /// Attached connections without a user.
    anonymous: u64,
    /// The same on other nodes: on each that has said something of the room.
    anonymous_elsewhere: BTreeMap<u64, u32>,
    /// What other nodes were told of those here.
    anonymous_said: u64,
    kept: Kept,
    sent_out: SentOut,
    presence_due: Option<Moment>,
    /// Nobody has come yet, and may until then.
    held_until: Option<Moment>,
    /// Others receive it by a pattern, and are told what comes until then.
    followed_until: Option<Moment>,
    seed: Seed,
}

/// What is known of somebody by a room's lists and those `above` it, the nearest first. A ban
/// counts as it does in the room where it was made, and below that whatever they are there.
fn standing_in(
    members: &Members,
    above: &mut dyn Iterator<Item = &Members>,
    who: (Option<&str>, Option<std::net::IpAddr>),
    now: Moment,
) -> Standing {
    let standing = match above.next() {
        Some(parent) => standing_in(parent, above, who, now),
        None => Standing::default(),
    };
    members.standing(who.0, who.1, standing, now)
}

impl HomeRoom {
    /// A room that begins now.
    #[must_use]
    pub fn new(
        key: RoomKey,
        epoch: Arc<str>,
        namespace: Arc<Namespace>,
        seed: Seed,
        now: Now,
    ) -> Self {
        Self {
            key,
            epoch,
            created_at_ms: now.unix_ms,
            history: History::new(namespace.config.history, 0),
            config: Arc::clone(&namespace.config),
            settings: Settings::default(),
            namespace,
            heritage: Vec::new(),
            parents: Box::default(),
            guard: None,
            changes: 0,
            members: Members::default(),
            presence: Presence::new(seed),
            keys: None,
            paces: BTreeMap::new(),
            paces_fade: Moment::default(),
            censor: None,
            cursors: None,
            shares_cursors: false,
            attached: Map::with_hasher(seed),
            links: Vec::new(),
            anonymous: 0,
            anonymous_elsewhere: BTreeMap::new(),
            anonymous_said: 0,
            kept: Kept::default(),
            sent_out: SentOut::default(),
            presence_due: None,
            held_until: None,
            followed_until: None,
            seed,
        }
    }

    /// The last offset.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.history.last()
    }

    /// Users there, on all nodes; each anonymous connection counts for one.
    #[must_use]
    pub fn user_count(&self) -> u64 {
        let elsewhere: u64 = self.anonymous_elsewhere.values().map(|count| u64::from(*count)).sum();
        self.presence.user_count() as u64 + self.anonymous + elsewhere
    }

    /// The users who are there.
    #[must_use]
    pub fn presence(&self) -> &Presence<OwnedData> {
        &self.presence
    }

    /// The cores that are sent its messages.
    #[must_use]
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// The connections in it.
    pub fn attached(&self) -> impl Iterator<Item = (&ConnectionAddress, &Attachment)> {
        self.attached.iter()
    }

    /// Whether a connection is in it.
    #[must_use]
    pub fn is_attached(&self, address: ConnectionAddress) -> bool {
        self.attached.contains_key(&address)
    }

    /// Whether nobody needs it any more.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        // Other nodes are not told that somebody left before their grace is over.
        self.attached.is_empty()
            && !(self.presence.is_shared() && self.presence.is_leaving())
            && self.kept.is_none()
            && !self.owes_bookmarks()
            && self.held_until.is_none()
            && self.followed_until.is_none()
            && !self.config.persistent
            && !self.links.iter().any(|link| link.implicit)
            && (!self.key.name.is_reserved() || self.history.is_empty())
    }

    /// What is known of a user.
    #[must_use]
    pub fn standing(
        &self,
        user: Option<&str>,
        ip: Option<std::net::IpAddr>,
        now: Moment,
    ) -> Standing {
        let mut above = self.heritage().map(|heritage| &heritage.members);
        standing_in(&self.members, &mut above, (user, ip), now)
    }

    /// A user's role.
    #[must_use]
    pub fn role(&self, user: Option<&str>) -> Role {
        let Some(user) = user else { return Role::Guest };
        let above = self.heritage().map(|heritage| heritage.members.role(user));
        above.fold(self.members.role(user), Role::max)
    }

    /// Changes what is set.
    ///
    /// # Errors
    /// What is wrong with it; nothing is changed then.
    pub fn configure(
        &mut self,
        patch: &crate::protocol::RoomPatch,
        bounds: &Bounds,
        salt: Salt,
        now: Moment,
    ) -> Result<(), ConfigError> {
        self.settings.apply(patch, bounds, salt)?;
        if let Some(parents) = self.parents_by(patch) {
            self.parents = parents;
        }
        self.changes += 1;
        self.resolve(bounds, now);
        Ok(())
    }

    /// What the room is if `own` is set for it and it inherits from `parents`.
    fn resolved(&self, own: &Settings, parents: &[Parent], bounds: &Bounds) -> RoomConfig {
        let parents = self.heritage_from(parents).map(|heritage| &heritage.settings);
        let parents: Vec<_> = parents.collect();
        let layers = Layers { own, parents: &parents, namespace: &self.namespace.settings };
        RoomConfig::resolve(layers, bounds)
    }

    /// Makes of all that is set what the room is. False if that is what it was.
    fn resolve(&mut self, bounds: &Bounds, now: Moment) -> bool {
        let config = self.resolved(&self.settings, &self.parents, bounds);
        if config == *self.config {
            return false;
        }
        if config.word_filter != self.config.word_filter {
            self.censor = None;
        }
        self.config = Arc::new(config);
        self.history.set_bounds(self.config.history, now);
        self.adopt_mode(now);
        true
    }

    /// Keeps the room for a while though nobody is in it.
    pub fn hold(&mut self, now: Moment) {
        self.held_until = Some(now.plus_ms(HOLD_MS));
    }

    /// Keeps the room until then, because it is received by a pattern.
    pub fn follow_until(&mut self, until: Moment) {
        self.followed_until = self.followed_until.max(Some(until));
    }

    /// Whether it is kept for that.
    #[must_use]
    pub fn is_followed(&self, now: Moment) -> bool {
        self.followed_until.is_some_and(|until| until > now)
    }

    /// A core has connections that are in the room by themselves, or has them no more.
    pub fn attach_implicitly(&mut self, core: CoreId, form: Option<Form>) {
        match form {
            Some(form) => {
                let link = self.link(core);
                link.implicit = true;
                link.forms.insert(form);
            }
            None => {
                self.link(core).implicit = false;
                self.unlink_idle();
            }
        }
    }

    /// A connection is gone; its session may keep the life of the room it was in, even if it was sent
    /// out before that was known where it was: the session is heard of again. False if it was not in it.
    pub fn detach(
        &mut self,
        address: ConnectionAddress,
        kept: Option<&str>,
        grace_ms: u64,
        now: Moment,
    ) -> bool {
        if let Some(epoch) = kept {
            self.kept.count(epoch, &self.epoch, 1);
        }
        let Some(attachment) = self.attached.remove(&address) else { return false };
        if self.attached.capacity() > 64 && self.attached.len() * 4 < self.attached.capacity() {
            self.attached.shrink_to(self.attached.len() * 2);
        }
        self.note_sent(attachment.reader.as_ref(), now);
        match &attachment.user {
            Some(user) => {
                self.presence.exit(user, grace_ms, now);
            }
            None => self.anonymous -= 1,
        }
        let link = self.link(address.core);
        link.attached -= 1;
        link.notices -= u32::from(attachment.notices);
        self.unlink_idle();
        self.plan_presence(now);
        true
    }

    /// A connection leaves, and wants nothing that was not acknowledged, unless its user is a member.
    pub fn leave(&mut self, address: ConnectionAddress, grace_ms: u64, now: Moment) -> bool {
        let reader = self.attached.get(&address).and_then(|it| it.reader.clone());
        if let Some(reader) = reader.filter(|it| !self.has_another(it)) {
            self.note_left(&reader, now);
        }
        self.detach(address, None, grace_ms, now)
    }

    /// A session that kept the room since it was in this life of it will not come back, or has.
    pub fn forget(&mut self, epoch: &str) {
        self.kept.count(epoch, &self.epoch, -1);
    }

    /// A user is sent out: their sessions that wait for a connection do not bring them back before
    /// `until`, when all of them are over. They may still come anew.
    pub fn send_out(&mut self, user: &str, until: Moment, now: Moment) {
        self.sent_out.add(user, until, now);
    }

    /// All connections of a user, for sending them out.
    #[must_use]
    pub fn connections_of(&self, user: &str) -> Vec<ConnectionAddress> {
        let mut found: Vec<_> = self
            .attached
            .iter()
            .filter(|(_, attachment)| attachment.user.as_deref() == Some(user))
            .map(|(address, _)| *address)
            .collect();
        found.sort_unstable();
        found
    }

    /// A user says something about themselves. False if the user is not there.
    pub fn set_info(&mut self, user: &str, info: OwnedData, now: Moment) -> bool {
        let there = self.presence.set_info(user, info);
        self.plan_presence(now);
        there
    }

    /// What is to be told of presence now.
    pub fn take_presence(&mut self, now: Moment) -> Vec<PresenceChange> {
        use crate::protocol::PresenceAction as Action;
        self.presence.expire(now);
        self.plan_presence(now);
        if self.presence_due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.presence_due = None;
        let mut changes = Vec::new();
        let told = self.config.presence;
        self.presence.drain(usize::MAX, |user, change| {
            let (action, info) = match change {
                Change::Join(info) => (Action::Join, info),
                Change::Leave => (Action::Leave, None),
                Change::Update(info) => (Action::Update, info),
            };
            if told {
                changes.push((action, Arc::clone(user), info.cloned()));
            }
        });
        changes
    }

    /// When it is to be looked at next: presence to tell, a grace that ends, history that is old.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Moment> {
        let history = self.history.next_expiry();
        let keys = self.keys.as_ref().and_then(|keys| keys.next_expiry());
        let cursors = self.cursors.as_ref().and_then(|cursors| cursors.next_timeout());
        let presence = self.presence.next_timeout();
        let held = [self.held_until, self.followed_until].into_iter().flatten().min();
        [self.presence_due, presence, history, keys, held, cursors].into_iter().flatten().min()
    }

    /// Forgets what is too old.
    pub fn expire(&mut self, now: Moment) {
        self.history.trim(now);
        self.held_until = self.held_until.filter(|until| *until > now);
        self.followed_until = self.followed_until.filter(|until| *until > now);
        if let Some(keys) = &mut self.keys {
            keys.expire(now);
            if keys.is_empty() {
                self.keys = None;
            }
        }
    }

    /// Decides when the changes of presence are told.
    fn plan_presence(&mut self, now: Moment) {
        if self.presence_due.is_some() || !self.presence.has_changes() {
            return;
        }
        let crowded = self.presence.user_count() > PROMPT_USERS;
        self.presence_due = Some(if crowded { now.plus_ms(PRESENCE_DELAY_MS) } else { now });
    }

    fn link(&mut self, core: CoreId) -> &mut Link {
        let at = self.links.iter().position(|link| link.core == core).unwrap_or_else(|| {
            let forms = FormSet::default();
            self.links.push(Link { core, attached: 0, notices: 0, forms, implicit: false });
            self.links.len() - 1
        });
        &mut self.links[at]
    }

    fn unlink_idle(&mut self) {
        self.links.retain(|link| link.attached > 0 || link.implicit);
    }

    /// What must always hold.
    ///
    /// # Errors
    /// Which of it does not.
    pub fn audit(&self) -> Result<(), &'static str> {
        let anonymous = self.attached.values().filter(|it| it.user.is_none()).count() as u64;
        if anonymous != self.anonymous {
            return Err("anonymous connections are miscounted");
        }
        let users = self.attached.len() as u64 - anonymous;
        if users != self.presence.connection_count() {
            return Err("presence does not count the attached connections");
        }
        for link in &self.links {
            let here = self.attached.iter().filter(|(address, _)| address.core == link.core);
            let (attached, notices) = here.fold((0, 0), |(attached, notices), (_, it)| {
                (attached + 1, notices + u32::from(it.notices))
            });
            if (attached, notices) != (link.attached, link.notices) {
                return Err("a link miscounts its connections");
            }
        }
        let linked: u64 = self.links.iter().map(|link| u64::from(link.attached)).sum();
        if linked != self.attached.len() as u64 {
            return Err("a connection is attached without a link");
        }
        Ok(())
    }
}
