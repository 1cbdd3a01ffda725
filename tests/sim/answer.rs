//! What a client makes of answers: each to something it asked, once.

use serde_json::Value;

use crate::Checked;
use crate::client::{Client, Common, Request, Silence};
use crate::guarantee::is_guaranteed;
use crate::receive::{number, place, text};
use crate::stay::Stay;
use crate::truth::{Interest, Meant, Outcome, RoomId};

impl Common {
    /// A user is muted or banned, unless somebody may be ending that already.
    fn silence(&mut self, whom: (RoomId, String), until_ms: u64, epoch: String) {
        let from = self.truth.publications.len();
        if self.unmutes.get(&whom).is_none_or(|unanswered| *unanswered == 0) {
            self.silences.insert(whom, Silence { from, until_ms, epoch });
        }
    }
}

impl Client {
    pub(crate) fn on_answer(&mut self, kind: &str, value: &Value, common: &mut Common) -> Checked {
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
        if let Request::Unmute(whom) = &request
            && let Some(unanswered) = common.unmutes.get_mut(whom)
        {
            *unanswered -= 1;
        }
        if let Request::Paced = request {
            return self.on_paced(kind, value);
        }
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
            Request::Leave { room, last, publications } => {
                self.on_left(room, last, publications, common)
            }
            Request::Publish { number } => self.on_published(number, value, common),
            Request::Ack { room, epoch, offset } => {
                let stay = self.stays.get_mut(&room);
                // It says nothing of a life of the room that began after it was said.
                if let Some(stay) = stay.filter(|it| it.epoch == epoch && it.is_at(offset)) {
                    stay.acknowledged = stay.acknowledged.max(offset);
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
                self.begin_follow(&pattern, &interest);
                self.patterns.insert(pattern, interest);
                Ok(())
            }
            Request::Unsubscribe { pattern } => {
                self.patterns.remove(&pattern);
                if let Some(resumed) = &mut self.resumed_patterns {
                    resumed.retain(|(held, _)| *held != pattern);
                }
                Ok(())
            }
            Request::Batch(members) => {
                match members.iter().find(|member| self.pending.contains_key(member)) {
                    Some(member) => Err(format!("a batch is answered before its message {member}")),
                    None => Ok(()),
                }
            }
            Request::Silence { room, user, until_ms, epoch } => {
                common.silence((room, user), until_ms, epoch);
                Ok(())
            }
            Request::Unmute(_) | Request::Paced | Request::Any => Ok(()),
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
        let (guaranteed, asked) = (is_guaranteed(&room), since.is_some());
        let was_there = self.stays.contains_key(&room);
        let position = match since {
            // Where the reader's cursor is.
            None if guaranteed && !was_there => None,
            None if guaranteed => Some(offset),
            Some(_) if guaranteed && !recovered => None,
            None if recovered => return Err("recovered without since".into()),
            Some((then, from)) if recovered && then == epoch => {
                if from > offset {
                    return Err(format!("recovered from {from} of {offset}"));
                }
                Some(from)
            }
            Some(_) if recovered && offset > 0 => return Err("recovered another epoch".into()),
            _ => Some(offset),
        };
        let mut stay = Stay::new(Some(epoch), position, interest);
        // What it has asked for once more may come once more.
        stay.acknowledged = acknowledged.min(position.unwrap_or(0));
        if asked {
            common.acknowledgements.forget_reader(&room, &self.whose());
        }
        stay.is_recovered = recovered;
        stay.claimed = common.acknowledgements.claimed(&room, &self.whose());
        self.heard.remove(&room);
        self.restart_follow(&room);
        self.stays.insert(room, stay);
        Ok(())
    }

    /// Whatever was there before it asked, and whatever it had published, comes before the answer.
    fn on_left(
        &mut self,
        room: RoomId,
        last: Option<(String, u64)>,
        publications: usize,
        common: &mut Common,
    ) -> Checked {
        self.restart_follow(&room);
        let stay = self.stays.remove(&room);
        let mut stay = stay.ok_or_else(|| format!("left {room:?} and was not in it"))?;
        let (Some(epoch), Some(position)) = (stay.epoch.clone(), stay.position) else {
            return Ok(());
        };
        let told = last.filter(|(then, _)| *then == epoch).map(|(_, last)| last);
        let own = |number: &usize| {
            let publication = &common.truth.publications[*number];
            *number < publications && publication.author == self.reader.name
        };
        let life = common.truth.lives.get(&(room.clone(), epoch.clone()));
        let later = life.into_iter().flat_map(|life| life.at.range(position + 1..));
        let own = later.filter(|(_, number)| own(number)).map(|(offset, _)| *offset).max();
        if let Some(last) = told.max(own) {
            stay.reach(&mut common.truth, &room, &self.reader, last)?;
        }
        self.heard.insert(room, (epoch, stay.position.unwrap_or(position)));
        Ok(())
    }

    fn on_published(&mut self, number: usize, value: &Value, common: &mut Common) -> Checked {
        let truth = &mut common.truth;
        let publication = &mut truth.publications[number];
        let duplicate = value["duplicate"].as_bool() == Some(true);
        publication.outcome = if duplicate { Outcome::Duplicate } else { Outcome::Taken };
        let (delivered, total) = (value["delivered"].as_u64(), value["total"].as_u64());
        if delivered.zip(total).is_some_and(|(delivered, total)| delivered > total) {
            return Err(format!("{delivered:?} of {total:?} took it"));
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
                && !self.reader.earlier.iter().flatten().any(|it| *it == publication.author)
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
            let reader = self.reader.clone();
            let interest = Interest { is_page: true, ..Interest::default() };
            let between = (two[0] + 1, two[1] - 1);
            common.truth.skip(room, &epoch, between, (&reader, &[]), &interest)?;
        }
        Ok(())
    }
}
