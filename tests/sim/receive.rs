//! What a client makes of what it is told, and what it objects to.

use serde_json::{Value, json};

use crate::Checked;
use crate::client::{Client, Common, Request, Stage, Up, covers};
use crate::frames::{self, Frame};
use crate::message::Codec;
use crate::session::{Kept, Session};
use crate::stay::Stay;
use crate::truth::{Interest, Meant, Outcome, RoomId};

fn text<'a>(value: &'a Value, name: &str) -> Checked<&'a str> {
    value[name].as_str().ok_or_else(|| format!("no text {name} in {value}"))
}

fn number(value: &Value, name: &str) -> Checked<u64> {
    value[name].as_u64().ok_or_else(|| format!("no number {name} in {value}"))
}

/// `epoch` and `offset`
fn place(value: &Value) -> Checked<(String, u64)> {
    Ok((text(value, "epoch")?.to_owned(), number(value, "offset")?))
}

impl Client {
    /// A frame came. `me` is what others call it.
    pub(crate) fn take(&mut self, me: usize, frame: &Frame, common: &mut Common) -> Checked {
        match frame.opcode {
            frames::PING => {
                if !self.mute {
                    self.uplink.push_back(Up::Pong(frame.payload.clone()));
                }
                return Ok(());
            }
            frames::PONG => return Ok(()),
            frames::CLOSE => {
                self.stage = Stage::Closed;
                if !self.mute {
                    self.uplink.push_back(Up::Close(1000));
                }
                return Ok(());
            }
            _ => {}
        }
        let expected = if self.codec == Codec::Json { frames::TEXT } else { frames::BINARY };
        if frame.opcode != expected {
            return Err("a message in the wrong codec".into());
        }
        if self.stage >= Stage::Dismissed {
            return Err("a message follows disconnect".into());
        }
        let value = frames::value(frame)?;
        let kind = text(&value, "type")?;
        if self.stage == Stage::Arriving && !matches!(kind, "welcome" | "disconnect") {
            return Err(format!("{kind} comes before welcome"));
        }
        match kind {
            "welcome" => self.on_welcome(me, &value, common),
            "ok" | "error" | "pong" => self.on_answer(kind, &value, common),
            "message" => self.on_message(&value, frame, common),
            "gap" => self.on_gap(&value, common),
            "presence" => self.on_presence(&value, common),
            "left" => self.on_left(&value),
            "room" => Ok(()),
            "disconnect" => {
                self.stage = Stage::Dismissed;
                text(&value, "reason").map(|_| ())
            }
            other => Err(format!("{other} is not expected")),
        }
    }

    fn on_welcome(&mut self, me: usize, value: &Value, common: &mut Common) -> Checked {
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
        let rooms = value["rooms"].as_array().ok_or("welcome has no rooms")?;
        for entry in rooms {
            self.arrive_in(entry, kept.as_ref(), common)?;
        }
        if let Some(kept) = kept {
            self.state.clone_from(&kept.state);
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
        let recovered = entry["recovered"].as_bool() == Some(true);
        let before = kept.and_then(|kept| kept.stays.get(&room));
        let may_be_new = self.path_room.as_ref() == Some(&room)
            || kept.is_some_and(|kept| kept.is_vague || kept.unsure.contains(&room));
        let stay = match before {
            _ if kept.is_some_and(|kept| kept.is_vague) => Stay::vague(epoch),
            Some(_) if kept.is_some_and(|kept| kept.unsure.contains(&room)) => Stay::vague(epoch),
            Some(before) if before.epoch.as_deref() == Some(&*epoch) => {
                before.resumed(kept.map_or(&self.reader, |kept| &kept.reader))
            }
            Some(before) => {
                // The room has begun anew: all of it is owed, or said to be missing.
                let mut stay = Stay::new(Some(epoch), Some(0), before.interest.clone());
                if recovered && offset > 0 {
                    return Err(format!("{room:?} is recovered from another epoch"));
                }
                stay.acknowledged = 0;
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

    fn on_answer(&mut self, kind: &str, value: &Value, common: &mut Common) -> Checked {
        let id = match &value["id"] {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        if value.get("id").is_none() {
            self.errors_without_id += 1;
            return match kind {
                "ok" => Err("ok without an id".into()),
                _ => Ok(()),
            };
        }
        let request = id.and_then(|id| self.pending.remove(&id));
        let Some(request) = request else {
            return Err(format!("an answer to nothing: {value}"));
        };
        match kind {
            "ok" => self.on_ok(request, value, common),
            "error" => {
                text(value, "code")?;
                if let Request::Batch(members) = &request {
                    // It was refused as a whole.
                    self.pending.retain(|id, _| !members.contains(id));
                }
                if let Request::Publish { number } = request {
                    let publication = &mut common.truth.publications[number];
                    let code = text(value, "code")?;
                    publication.outcome = Outcome::Refused;
                    if common.truth.is_placed(number) {
                        return Err(format!("publication {number} was delivered and is {code}"));
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn on_ok(&mut self, request: Request, value: &Value, common: &mut Common) -> Checked {
        match request {
            Request::Join { room, interest, since } => {
                self.on_joined(room, interest, since, value, common)
            }
            Request::Leave { room, last } => match self.stays.remove(&room) {
                Some(mut stay) => {
                    // Whatever was there before it asked comes before the answer.
                    let last = last.filter(|(epoch, _)| stay.epoch.as_ref() == Some(epoch));
                    if let Some((_, last)) = last {
                        stay.reach(&mut common.truth, &room, &self.reader, last)?;
                    }
                    if let (Some(epoch), Some(position)) = (stay.epoch, stay.position) {
                        self.heard.insert(room, (epoch, position));
                    }
                    Ok(())
                }
                None => Err(format!("left {room:?} and was not in it")),
            },
            Request::Publish { number } => self.on_published(number, value, common),
            Request::Ack { room, offset } => {
                if let Some(stay) = self.stays.get_mut(&room) {
                    if stay.position.is_none_or(|position| offset <= position) {
                        stay.acknowledged = stay.acknowledged.max(offset);
                    }
                }
                Ok(())
            }
            Request::StateSet(state) => {
                self.state = Some(state);
                Ok(())
            }
            Request::StateGet => match &self.state {
                Some(state)
                    if value["data"] != *state
                        && !self.awaits(|it| matches!(it, Request::StateSet(_))) =>
                {
                    Err(format!("the state is {} and was set to {state}", value["data"]))
                }
                _ => Ok(()),
            },
            Request::History { room, after, before, limit, reverse } => {
                self.on_history(&room, (after, before), limit, reverse, value, common)
            }
            Request::Presence { room } => {
                let page = common.pages.entry(room).or_default();
                page.count = number(value, "count")?;
                for user in value["users"].as_array().ok_or("no users")? {
                    let connections = number(user, "connections")?;
                    if page.users.insert(text(user, "user")?.to_owned(), connections).is_some() {
                        return Err("a user is on two pages".into());
                    }
                }
                page.next = value["next"].as_str().map(str::to_owned);
                Ok(())
            }
            Request::Subscribe { pattern, interest } => {
                self.patterns.insert(pattern, interest);
                Ok(())
            }
            Request::Unsubscribe { pattern } => {
                self.patterns.remove(&pattern);
                Ok(())
            }
            Request::Batch(members) => {
                match members.iter().find(|member| self.pending.contains_key(member)) {
                    Some(member) => Err(format!("a batch is answered before its message {member}")),
                    None => Ok(()),
                }
            }
            Request::Any => Ok(()),
        }
    }

    fn on_joined(
        &mut self,
        room: RoomId,
        interest: Interest,
        since: Option<(String, u64)>,
        value: &Value,
        common: &mut Common,
    ) -> Checked {
        let (epoch, offset) = place(value)?;
        let recovered = value["recovered"].as_bool() == Some(true);
        common.truth.reaches(&room, &epoch, offset);
        let mut acknowledged = 0;
        if let Some(before) = self.stays.get_mut(&room) {
            if before.epoch.as_ref().is_some_and(|before| *before != epoch) {
                return Err(format!("{room:?} began anew while somebody was in it"));
            }
            before.reach(&mut common.truth, &room, &self.reader, offset)?;
            acknowledged = before.acknowledged;
        }
        let position = match since {
            None if recovered => return Err("recovered without since".into()),
            Some((then, from)) if recovered && then == epoch => {
                if from > offset {
                    return Err(format!("recovered from {from} of {offset}"));
                }
                from
            }
            Some(_) if recovered && offset > 0 => return Err("recovered another epoch".into()),
            _ => offset,
        };
        let mut stay = Stay::new(Some(epoch), Some(position), interest);
        stay.acknowledged = acknowledged;
        self.heard.remove(&room);
        self.stays.insert(room, stay);
        Ok(())
    }

    fn on_published(&mut self, number: usize, value: &Value, common: &mut Common) -> Checked {
        let truth = &mut common.truth;
        let publication = &mut truth.publications[number];
        let duplicate = value["duplicate"].as_bool() == Some(true);
        publication.outcome = if duplicate { Outcome::Duplicate } else { Outcome::Taken };
        if let (Some(delivered), Some(total)) =
            (value["delivered"].as_u64(), value["total"].as_u64())
        {
            if delivered > total {
                return Err(format!("{delivered} of {total} took it"));
            }
        }
        let Some(room) = publication.room.clone() else { return Ok(()) };
        if duplicate {
            let key = publication.key.clone();
            if key.is_none() || truth.is_placed(number) {
                return Err(format!("publication {number} is a duplicate and was delivered"));
            }
            if value.get("offset").is_some() {
                let (epoch, offset) = place(value)?;
                let first = truth.at(&room, &epoch, offset);
                let differs = first.is_some_and(|first| truth.publications[first].key != key);
                if differs {
                    return Err(format!("publication {number} is no duplicate of {first:?}"));
                }
            }
            return Ok(());
        }
        if publication.transient {
            return match value.get("offset") {
                Some(offset) => Err(format!("a transient message has offset {offset}")),
                None => Ok(()),
            };
        }
        let (epoch, offset) = place(value)?;
        truth.place(number, &room, &epoch, offset)?;
        self.check_key(number, &room, &epoch, common)
    }

    /// No other publication with the same key was taken within the window.
    fn check_key(&self, number: usize, room: &RoomId, epoch: &str, common: &Common) -> Checked {
        let truth = &common.truth;
        let this = &truth.publications[number];
        let Some(key) = &this.key else { return Ok(()) };
        let Some(life) = truth.lives.get(&(room.clone(), epoch.to_owned())) else { return Ok(()) };
        for other in life.at.values().filter(|other| **other != number) {
            let other = &truth.publications[*other];
            let earliest = other.sent_ms.min(this.sent_ms);
            let window_is_open = common.now_ms < earliest + common.rules.key_window_ms;
            if other.key.as_ref() == Some(key) && window_is_open {
                return Err(format!("key {key} was taken twice in {room:?}"));
            }
        }
        Ok(())
    }

    fn on_history(
        &mut self,
        room: &RoomId,
        (after, before): (Option<u64>, Option<u64>),
        limit: u64,
        reverse: bool,
        value: &Value,
        common: &mut Common,
    ) -> Checked {
        let (epoch, last) = place(value)?;
        common.truth.reaches(room, &epoch, last);
        let messages = value["messages"].as_array().ok_or("history without messages")?;
        if messages.len() as u64 > limit {
            return Err(format!("{} messages of at most {limit}", messages.len()));
        }
        let mut offsets = Vec::new();
        for message in messages {
            let (in_epoch, offset) = place(message)?;
            if in_epoch != epoch || text(message, "room")? != room.1 {
                return Err("history of another room".into());
            }
            let index = self.publication(message, common)?;
            common.truth.place(index, room, &epoch, offset)?;
            let publication = &common.truth.publications[index];
            let hidden = publication.filter.is_some()
                && publication.author != self.reader.name
                && publication.meant(&self.reader, &Interest::default()) == Meant::No;
            if hidden {
                return Err(format!("history shows {offset} of {room:?} to one it is not for"));
            }
            offsets.push(offset);
        }
        if reverse {
            offsets.reverse();
        }
        let ordered = offsets.windows(2).all(|two| two[0] < two[1]);
        let low = after.is_none_or(|after| offsets.first().is_none_or(|first| *first > after));
        let high = before.is_none_or(|before| offsets.last().is_none_or(|last| *last < before));
        if !ordered || !low || !high || offsets.last().is_some_and(|end| *end > last) {
            return Err(format!("history {offsets:?} after {after:?} before {before:?}"));
        }
        // What is not in the page, between its ends, is not for this one.
        for two in offsets.windows(2) {
            let (reader, interest) = (self.reader.clone(), Interest::default());
            let between = (two[0] + 1, two[1] - 1);
            common.truth.skip(room, &epoch, between, (&reader, None), &interest)?;
        }
        Ok(())
    }

    /// Which publication a message is, if it is as it was sent.
    fn publication(&self, value: &Value, common: &Common) -> Checked<usize> {
        let index = number(&value["data"], "n")?;
        let index = usize::try_from(index).map_err(|_| "no such publication")?;
        let truth = &common.truth;
        let publication = truth.publications.get(index).ok_or("no such publication")?;
        let room = text(value, "room")?;
        let fits = match &publication.room {
            Some((tenant, name)) => name == room && *tenant == self.person.tenant,
            None => room.starts_with("@user/") && publication.tenant == self.person.tenant,
        };
        let priorities = ["low", "normal", "high", "critical"];
        let priority = value["priority"].as_str().unwrap_or("normal");
        let same = fits
            && value["event"].as_str() == publication.event.as_deref()
            && priorities[usize::from(publication.priority)] == priority
            && value["from"]["connection"].as_str() == Some(&*publication.author)
            && value["from"]["user"].as_str() == publication.user.as_deref()
            && value.get("redelivered").is_none();
        if !same {
            return Err(format!("{value} is not as it was sent: {publication:?}"));
        }
        if matches!(publication.outcome, Outcome::Duplicate | Outcome::Refused) {
            return Err(format!("publication {index} was {:?}", publication.outcome));
        }
        Ok(index)
    }

    fn on_message(&mut self, value: &Value, frame: &Frame, common: &mut Common) -> Checked {
        let index = self.publication(value, common)?;
        let room = self.room(text(value, "room")?);
        let publication = &common.truth.publications[index];
        let raw = publication.content.bytes(self.codec);
        let is_raw = publication.codec == self.codec;
        if is_raw && !frame.payload.windows(raw.len()).any(|window| window == raw) {
            return Err(format!("data of publication {index} is not byte for byte"));
        }
        let at_ms = number(value, "at")?;
        if publication.ttl_ms.is_some_and(|ttl_ms| frame.written_ms >= at_ms + ttl_ms) {
            return Err(format!("publication {index} was written though it had expired"));
        }
        if value.get("offset").is_none() {
            return self.on_passing(index, room, common);
        }
        if publication.transient {
            return Err(format!("publication {index} is transient and has an offset"));
        }
        let (epoch, offset) = place(value)?;
        common.truth.place(index, &room, &epoch, offset)?;
        // It is in such a room by itself, and gone from it for a moment where its session moves.
        let known = self.stays.get(&room).is_some_and(|it| it.epoch.as_deref() == Some(&*epoch));
        if room.1.starts_with('@') && !known {
            let stay = Stay::new(None, None, Interest::default());
            self.stays.insert(room.clone(), stay);
        }
        if let Some(stay) = self.stays.get_mut(&room) {
            return stay.message(&mut common.truth, &room, &self.reader, (&epoch, offset));
        }
        self.check_covered(index, &room, common)?;
        let heard = self.heard.insert(room.clone(), (epoch.clone(), offset));
        match heard {
            Some((then, last)) if then == epoch && last >= offset => {
                Err(format!("{offset} of {room:?} after {last}, by a pattern"))
            }
            _ => Ok(()),
        }
    }

    /// A message without an offset.
    fn on_passing(&mut self, index: usize, room: RoomId, common: &Common) -> Checked {
        let publication = &common.truth.publications[index];
        if !publication.transient && publication.room.is_some() {
            return Err(format!("publication {index} has lost its offset"));
        }
        match self.stays.get(&room) {
            Some(stay) => {
                let meant = publication.meant(&self.reader, &stay.interest);
                if meant == Meant::No && !stay.is_vague {
                    return Err(format!("transient {index} is not meant for {:?}", self.reader));
                }
            }
            None if room.1.starts_with('@') => {}
            None => self.check_covered(index, &room, common)?,
        }
        if self.passing.insert((index, room)) {
            Ok(())
        } else {
            Err(format!("transient {index} comes twice"))
        }
    }

    /// A message of a room that was not joined comes by a pattern.
    fn check_covered(&self, index: usize, room: &RoomId, common: &Common) -> Checked {
        let publication = &common.truth.publications[index];
        let covered = self.patterns.iter().any(|(pattern, interest)| {
            covers(pattern, &room.1) && publication.meant(&self.reader, interest) != Meant::No
        });
        if covered {
            Ok(())
        } else {
            Err(format!("a message of {room:?}, in which {} is not", self.reader.name))
        }
    }

    fn on_gap(&mut self, value: &Value, common: &mut Common) -> Checked {
        let room = self.room(text(value, "room")?);
        let (epoch, reason) = (text(value, "epoch")?, text(value, "reason")?);
        let (from, to) = (number(value, "from")?, number(value, "to")?);
        let known = self.stays.get(&room).is_some_and(|it| it.epoch.as_deref() == Some(epoch));
        if room.1.starts_with('@') && !known {
            self.stays.remove(&room);
        }
        if let Some(stay) = self.stays.get_mut(&room) {
            let range = (epoch, from, to);
            return stay.gap(&mut common.truth, &room, &self.reader, range, reason);
        }
        if room.1.starts_with('@') {
            return Ok(());
        }
        if !self.patterns.keys().any(|pattern| covers(pattern, &room.1)) {
            return Err(format!("a gap of {room:?}, in which {} is not", self.reader.name));
        }
        Ok(())
    }

    fn on_presence(&mut self, value: &Value, common: &Common) -> Checked {
        let room = self.room(text(value, "room")?);
        let strict = !self.lossy && !common.muted_presence.contains(&room);
        match self.stays.get_mut(&room) {
            Some(stay) if stay.interest.presence || stay.is_vague => {
                stay.notice(text(value, "user")?, text(value, "action")?, strict)
            }
            _ => Err(format!("a notice of {room:?} that was not asked for")),
        }
    }

    fn on_left(&mut self, value: &Value) -> Checked {
        let room = self.room(text(value, "room")?);
        self.stays.remove(&room);
        Ok(())
    }

    /// A state to keep.
    pub(crate) fn some_state(number: u64) -> Value {
        json!({ "kept": number })
    }
}
