//! The way in: the session that is resumed or begun, and the rooms that come with it.

use serde_json::Value;

use crate::Checked;
use crate::client::{Client, Common, Stage};
use crate::receive::{place, text};
use crate::session::{Kept, Session};
use crate::stay::Stay;
use crate::truth::Interest;

impl Client {
    pub(crate) fn on_welcome(&mut self, me: usize, value: &Value, common: &mut Common) -> Checked {
        if self.stage != Stage::Arriving {
            return Err("welcome comes twice".into());
        }
        self.stage = Stage::Open;
        self.reader.name = text(value, "connection")?.to_owned();
        if value["user"].as_str() != self.person.user.as_deref() {
            return Err(format!("welcome is for {}", value["user"]));
        }
        let session = text(value, "session")?.to_owned();
        let recovered = value["recovered"].as_bool() == Some(true);
        let kept = self.resume(me, &session, recovered, common)?;
        if let Some(kept) = &kept {
            self.reader.earlier = kept.names.clone().filter(|_| !kept.is_vague);
        }
        let rooms = value["rooms"].as_array().ok_or("welcome has no rooms")?;
        for entry in rooms {
            self.arrive_in(entry, kept.as_ref(), common)?;
        }
        if let Some(kept) = kept {
            self.state.clone_from(&kept.state);
            self.resumed_patterns = kept.patterns.clone().filter(|_| !kept.is_vague);
            let missing = kept
                .stays
                .keys()
                .filter(|room| !self.stays.contains_key(*room) && !kept.unsure.contains(*room));
            let missing: Vec<_> = missing.collect();
            if !missing.is_empty()
                && !kept.is_vague
                && !common.rules.moderates
                && !common.rules.refuses
            {
                return Err(format!("a resumed session is no longer in {missing:?}"));
            }
        }
        self.session = Some(session);
        Ok(())
    }

    /// Whether the session is the one it should be; what it was left with, if it is resumed.
    fn resume(
        &mut self,
        me: usize,
        session: &str,
        recovered: bool,
        common: &mut Common,
    ) -> Checked<Option<Kept>> {
        let person = (self.person.tenant, self.person.user.clone());
        let asked = self.resumes.clone();
        let mut kept = None;
        if let Some(record) = asked.as_ref().and_then(|asked| common.sessions.get_mut(asked)) {
            record.askers.remove(&me);
            let own = record.person == person;
            if recovered && !own {
                return Err("a session was resumed by somebody else".into());
            }
            let lives = record
                .lost
                .as_ref()
                .is_none_or(|(at, _)| common.now_ms < at + common.rules.session_ttl_ms);
            if own && lives && !record.contested && !record.aborted && !recovered {
                return Err("a session that lives was not resumed".into());
            }
            if recovered {
                let left = record.lost.take().map(|(_, kept)| kept);
                let mut left = left.or(common.handed.take()).unwrap_or_default();
                left.unsure.append(&mut record.paths);
                kept = Some(left);
                if let Some(kept) = kept.as_mut().filter(|_| record.contested || record.aborted) {
                    kept.state = None;
                    kept.is_vague = record.contested;
                }
                record.holder = me;
                record.aborted = false;
            }
        } else if recovered {
            return Err("a session was resumed that nobody had".into());
        }
        if recovered != (asked.as_deref() == Some(session)) {
            return Err(format!("welcome to {session}, recovered: {recovered}, after {asked:?}"));
        }
        if !recovered {
            self.state = Some(Value::Null);
            let record = Session {
                person,
                holder: me,
                lost: None,
                askers: Default::default(),
                paths: Default::default(),
                contested: false,
                aborted: false,
            };
            if common.sessions.insert(session.to_owned(), record).is_some() {
                return Err("two sessions have one secret".into());
            }
        }
        Ok(kept)
    }

    /// A room in `welcome`.
    fn arrive_in(&mut self, entry: &Value, kept: Option<&Kept>, common: &mut Common) -> Checked {
        let room = self.room(text(entry, "room")?);
        let (epoch, offset) = place(entry)?;
        common.truth.reaches(&room, &epoch, offset);
        let before = kept.and_then(|kept| kept.stays.get(&room));
        let may_be_new = self.path_room.as_ref() == Some(&room)
            || kept.is_some_and(|kept| kept.is_vague || kept.unsure.contains(&room));
        let stay = match before {
            _ if kept.is_some_and(|kept| kept.is_vague) => Stay::vague(epoch),
            Some(_) if kept.is_some_and(|kept| kept.unsure.contains(&room)) => {
                // What it asked for once more, without hearing of it, it may be given now.
                common.acknowledgements.forget_reader(&room, &self.whose());
                Stay::vague(epoch)
            }
            Some(before) if before.epoch.as_deref() == Some(&*epoch) => {
                let claimed = kept.and_then(|kept| kept.claimed.get(&room));
                let reader = kept.map_or(&self.reader, |kept| &kept.reader);
                let claimed = claimed.copied().unwrap_or(0);
                common.acknowledgements.forget_reader(&room, &self.whose());
                let others = common.acknowledgements.claimed(&room, &self.whose());
                before.resumed(&room, reader, claimed.max(others))
            }
            // It may have been sent out of the room that ended, and not have heard of it.
            Some(_) if common.rules.moderates && self.path_room.as_ref() == Some(&room) => {
                Stay::vague(epoch)
            }
            Some(before) => {
                // The room has begun anew: all of it is owed, or said to be missing. It may be given, and
                // is then called recovered, where a connection that was lost came back to it while it
                // was empty.
                let mut stay = Stay::new(Some(epoch), Some(0), before.interest.clone());
                stay.is_vague = before.is_vague;
                stay
            }
            None if self.path_room.as_ref() == Some(&room) && kept.is_none() => {
                Stay::new(Some(epoch), Some(offset), Interest::default())
            }
            None if may_be_new => Stay::vague(epoch),
            None => return Err(format!("welcome to {room:?}, which was not asked for")),
        };
        if self.stays.insert(room, stay).is_some() {
            return Err("welcome has a room twice".into());
        }
        Ok(())
    }
}
