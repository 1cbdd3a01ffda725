//! What a client makes of what it is told, and what it objects to.

use serde_json::{Value, json};

use crate::Checked;
use crate::client::{Client, Common, Stage, Up, covers};
use crate::frames::{self, Frame};
use crate::guarantee::{Arrival, Gap, is_guaranteed};
use crate::message::Codec;

use crate::stay::Stay;
use crate::truth::{Interest, Meant, Outcome, RoomId};

pub(crate) fn text<'a>(value: &'a Value, name: &str) -> Checked<&'a str> {
    value[name].as_str().ok_or_else(|| format!("no text {name} in {value}"))
}

pub(crate) fn number(value: &Value, name: &str) -> Checked<u64> {
    value[name].as_u64().ok_or_else(|| format!("no number {name} in {value}"))
}

/// `epoch` and `offset`
pub(crate) fn place(value: &Value) -> Checked<(String, u64)> {
    Ok((text(value, "epoch")?.to_owned(), number(value, "offset")?))
}

impl Common {
    /// Nothing comes of one who was muted or banned, from the answer to that on.
    fn check_silence(&self, index: usize, room: &RoomId, epoch: &str, at_ms: u64) -> Checked {
        let publication = &self.truth.publications[index];
        let Some(user) = &publication.user else { return Ok(()) };
        let silence = self.silences.get(&(room.clone(), user.clone()));
        let is_silent = silence.is_some_and(|silence| {
            silence.epoch == epoch && silence.from <= index && at_ms < silence.until_ms
        });
        if is_silent {
            return Err(format!("{user} was silenced in {room:?} and published {index}"));
        }
        Ok(())
    }
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
        if self.echoes.is_some() {
            return self.take_echo(frame);
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
            "left" => self.on_sent_out(&value, common),
            "room" => Ok(()),
            "disconnect" => {
                self.stage = Stage::Dismissed;
                text(&value, "reason").map(|_| ())
            }
            other => Err(format!("{other} is not expected")),
        }
    }

    /// Which publication a message is, if it is as it was sent.
    pub(crate) fn publication(&self, value: &Value, common: &Common) -> Checked<usize> {
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
            && (value.get("redelivered").is_none() || value["redelivered"] == true);
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
        common.check_silence(index, &room, &epoch, at_ms)?;
        // It is in such a room by itself, and gone from it for a moment where its session moves.
        let known = self.stays.get(&room).is_some_and(|it| it.epoch.as_deref() == Some(&*epoch));
        if room.1.starts_with('@') && !known {
            let mut stay = Stay::new(None, None, Interest::default());
            stay.is_vague = !self.is_settled;
            self.stays.insert(room.clone(), stay);
        }
        let redelivered = value.get("redelivered").is_some();
        if is_guaranteed(&room) {
            self.arrivals.push(Arrival {
                room: room.clone(),
                offset,
                redelivered,
                at_ms: common.now_ms,
            });
        }
        if redelivered {
            let whose = self.whose();
            common.acknowledgements.check_redelivery(&room, &epoch, &whose, offset)?;
        }
        if let Some(stay) = self.stays.get_mut(&room) {
            let place = (&*epoch, offset);
            return stay.message(&mut common.truth, &room, &self.reader, place, redelivered);
        }
        if redelivered {
            return Err(format!("{offset} of {room:?} comes again to one who is not in it"));
        }
        self.check_covered(index, &room, common)?;
        self.follow(&room, &epoch, (offset, offset), common)?;
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
        let covered = |(pattern, interest): (&String, &Interest)| {
            covers(pattern, &room.1) && publication.meant(&self.reader, interest) != Meant::No
        };
        let resumed = self.resumed_patterns.as_ref();
        let comes_back =
            resumed.is_none_or(|held| held.iter().any(|(pattern, it)| covered((pattern, it))));
        if comes_back || self.patterns.iter().any(covered) {
            Ok(())
        } else {
            Err(format!("a message of {room:?}, in which {} is not", self.reader.name))
        }
    }

    fn on_gap(&mut self, value: &Value, common: &mut Common) -> Checked {
        let room = self.room(text(value, "room")?);
        let (epoch, reason) = (text(value, "epoch")?, text(value, "reason")?);
        let (from, to) = (number(value, "from")?, number(value, "to")?);
        if is_guaranteed(&room) {
            self.gaps.push(Gap { room: room.clone(), from, to, reason: reason.to_owned() });
        }
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
        let resumed = self.resumed_patterns.as_ref();
        let comes_back = resumed.is_none_or(|held| held.iter().any(|(it, _)| covers(it, &room.1)));
        if !comes_back && !self.patterns.keys().any(|pattern| covers(pattern, &room.1)) {
            return Err(format!("a gap of {room:?}, in which {} is not", self.reader.name));
        }
        common.truth.reaches(&room, epoch, to);
        self.follow(&room, epoch, (from, to), common)
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

    fn on_sent_out(&mut self, value: &Value, common: &mut Common) -> Checked {
        let room = self.room(text(value, "room")?);
        common.acknowledgements.forget(&room);
        self.stays.remove(&room);
        Ok(())
    }

    /// A state to keep.
    pub(crate) fn some_state(number: u64) -> Value {
        json!({ "kept": number })
    }
}
