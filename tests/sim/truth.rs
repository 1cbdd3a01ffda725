//! What is known of rooms from what clients were told: which publication has which place. It is the
//! same for all, or somebody was told something else.

use std::collections::BTreeMap;

use crate::Checked;
use crate::message::{Codec, Content};

/// A room of a tenant.
pub(crate) type RoomId = (u32, String);

/// Who of a room is to get a publication.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) users: Option<Vec<String>>,
    pub(crate) exclude_users: Vec<String>,
    pub(crate) team: Option<i64>,
    pub(crate) min_connection_age_ms: Option<u64>,
    pub(crate) max_connections: Option<u64>,
}

/// What became of a publish, as far as its author was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nobody was told yet, and maybe never will be.
    Unknown,
    /// It was taken.
    Taken,
    /// It was one that had been published before.
    Duplicate,
    Refused,
}

/// Something a client published.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    /// Where; none if sent to somebody.
    pub(crate) room: Option<RoomId>,
    pub(crate) tenant: u32,
    pub(crate) author: String,
    pub(crate) user: Option<String>,
    pub(crate) codec: Codec,
    pub(crate) content: Content,
    pub(crate) event: Option<String>,
    /// 0 is low, 3 critical.
    pub(crate) priority: u8,
    pub(crate) transient: bool,
    pub(crate) exclude_self: bool,
    pub(crate) filter: Option<Filter>,
    pub(crate) key: Option<String>,
    pub(crate) ttl_ms: Option<u64>,
    pub(crate) sent_ms: u64,
    pub(crate) outcome: Outcome,
}

/// What a receiver asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interest {
    pub(crate) presence: bool,
    pub(crate) events: Option<Vec<String>>,
    pub(crate) min_priority: u8,
    /// It is a page of history, on which nothing is that is past its time.
    pub(crate) is_page: bool,
}

/// A connection, as far as it decides what it gets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reader {
    pub(crate) name: String,
    /// What its session's connections were called before; none: unknown.
    pub(crate) earlier: Option<Vec<String>>,
    pub(crate) user: Option<String>,
    pub(crate) team: i64,
}

/// Whether a receiver gets a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meant {
    Yes,
    No,
    /// It depends on moments or counts that only the server knows.
    Maybe,
}

impl Publication {
    pub(crate) fn meant(&self, reader: &Reader, interest: &Interest) -> Meant {
        let named = interest
            .events
            .as_ref()
            .is_none_or(|events| self.event.as_ref().is_some_and(|event| events.contains(event)));
        // Whoever goes on with the session of the one that published does not get it, either.
        let once_own = reader.earlier.as_ref().map(|names| names.contains(&self.author));
        let own = self.exclude_self && (self.author == reader.name || once_own == Some(true));
        if !named || self.priority < interest.min_priority || own {
            return Meant::No;
        }
        let may_be_over = interest.is_page && self.ttl_ms.is_some();
        let is_unsure = may_be_over || (self.exclude_self && once_own.is_none());
        let sure = if is_unsure { Meant::Maybe } else { Meant::Yes };
        let Some(filter) = &self.filter else { return sure };
        let user = reader.user.as_ref();
        let in_users =
            filter.users.as_ref().is_none_or(|users| user.is_some_and(|user| users.contains(user)));
        let excluded = user.is_some_and(|user| filter.exclude_users.contains(user));
        let team = filter.team.is_none_or(|team| team == reader.team);
        if !in_users || excluded || !team {
            return Meant::No;
        }
        let counted = filter.min_connection_age_ms.is_some() || filter.max_connections.is_some();
        if counted { Meant::Maybe } else { sure }
    }
}

/// One life of a room.
#[derive(Debug, Default)]
pub(crate) struct Life {
    pub(crate) last: u64,
    pub(crate) at: BTreeMap<u64, usize>,
}

/// An offset that a reader was not given, when nobody knew what it was.
#[derive(Debug)]
pub(crate) struct Doubt {
    pub(crate) room: RoomId,
    pub(crate) epoch: String,
    pub(crate) offset: u64,
    pub(crate) reader: Reader,
    pub(crate) before: Vec<Reader>,
    pub(crate) interest: Interest,
}

/// All that is known.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) publications: Vec<Publication>,
    pub(crate) lives: BTreeMap<(RoomId, String), Life>,
    places: BTreeMap<(usize, RoomId), (String, u64)>,
    pub(crate) doubts: Vec<Doubt>,
}

impl Truth {
    /// Somebody was told that a room has come so far.
    pub(crate) fn reaches(&mut self, room: &RoomId, epoch: &str, offset: u64) {
        let life = self.lives.entry((room.clone(), epoch.to_owned())).or_default();
        life.last = life.last.max(offset);
    }

    /// Somebody was told where a publication is.
    pub(crate) fn place(
        &mut self,
        number: usize,
        room: &RoomId,
        epoch: &str,
        offset: u64,
    ) -> Checked {
        self.reaches(room, epoch, offset);
        let here = (epoch.to_owned(), offset);
        let known = self.places.entry((number, room.clone())).or_insert_with(|| here.clone());
        if *known != here {
            return Err(format!(
                "publication {number} is at {known:?} and at {here:?} of {room:?}"
            ));
        }
        let life = self.lives.entry((room.clone(), here.0)).or_default();
        let there = *life.at.entry(offset).or_insert(number);
        if there != number {
            return Err(format!("{offset} of {room:?} is publication {there} and {number}"));
        }
        Ok(())
    }

    pub(crate) fn at(&self, room: &RoomId, epoch: &str, offset: u64) -> Option<usize> {
        self.lives.get(&(room.clone(), epoch.to_owned()))?.at.get(&offset).copied()
    }

    pub(crate) fn is_placed(&self, number: usize) -> bool {
        self.places
            .range((number, (0, String::new()))..)
            .next()
            .is_some_and(|((n, _), _)| *n == number)
    }

    pub(crate) fn last(&self, room: &RoomId, epoch: &str) -> u64 {
        self.lives.get(&(room.clone(), epoch.to_owned())).map_or(0, |life| life.last)
    }

    /// A reader is not given the offsets from `from` to `to`: each has to be one not meant for it, or
    /// for a connection whose session it goes on with.
    pub(crate) fn skip(
        &mut self,
        room: &RoomId,
        epoch: &str,
        (from, to): (u64, u64),
        (reader, before): (&Reader, &[Reader]),
        interest: &Interest,
    ) -> Checked {
        for offset in from..=to {
            match self.at(room, epoch, offset) {
                Some(number) => {
                    self.check_skipped(number, room, offset, (reader, before), interest)?;
                }
                None => self.doubts.push(Doubt {
                    room: room.clone(),
                    epoch: epoch.to_owned(),
                    offset,
                    reader: reader.clone(),
                    before: before.to_vec(),
                    interest: interest.clone(),
                }),
            }
        }
        Ok(())
    }

    fn check_skipped(
        &self,
        number: usize,
        room: &RoomId,
        offset: u64,
        (reader, before): (&Reader, &[Reader]),
        interest: &Interest,
    ) -> Checked {
        let publication = &self.publications[number];
        let is_owed = |reader| publication.meant(reader, interest) == Meant::Yes;
        if is_owed(reader) && before.iter().all(is_owed) {
            let Publication { event, priority, exclude_self, filter, ttl_ms, .. } = publication;
            return Err(format!(
                "{reader:?} with {interest:?} was given neither {offset} of {room:?} nor a gap: \
                 publication {number}, {event:?}, priority {priority}, exclude_self \
                 {exclude_self}, {filter:?}, ttl {ttl_ms:?}"
            ));
        }
        Ok(())
    }

    /// All has come to rest: what was in doubt is known, or its author never learned of it.
    pub(crate) fn settle_doubts(&mut self) -> Checked {
        for doubt in std::mem::take(&mut self.doubts) {
            if let Some(number) = self.at(&doubt.room, &doubt.epoch, doubt.offset) {
                self.check_skipped(
                    number,
                    &doubt.room,
                    doubt.offset,
                    (&doubt.reader, &doubt.before),
                    &doubt.interest,
                )?;
            }
        }
        // Each offset that nobody knows needs a publish of which nobody was told.
        let mut unknown: BTreeMap<&RoomId, u64> = BTreeMap::new();
        for ((room, _), life) in &self.lives {
            *unknown.entry(room).or_default() += life.last - life.at.len() as u64;
        }
        for (room, unknown) in unknown {
            let candidates = self.publications.iter().enumerate().filter(|(number, it)| {
                let may_be_there = match &it.room {
                    Some(there) => there == room,
                    None => room.1.starts_with("@user/") && it.tenant == room.0,
                };
                may_be_there
                    && !it.transient
                    && !self.places.contains_key(&(*number, room.clone()))
                    && (it.room.is_none() || it.outcome == Outcome::Unknown)
            });
            if unknown > candidates.count() as u64 {
                return Err(format!("{room:?} has {unknown} offsets that no publish explains"));
            }
        }
        Ok(())
    }
}
