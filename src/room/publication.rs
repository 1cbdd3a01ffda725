//! A message of a room, written once for every form in which this process sends it.
//!
//! Invariants: a publication never changes, so that one copy serves all cores; each form is one
//! whole frame, the same for everyone who is sent it.

use std::fmt;
use std::sync::Arc;

use crate::clock::{Moment, Past, Stopwatch};
use crate::id::ConnectionAddress;
use crate::protocol::event::{Message, Place, Sender};
use crate::protocol::{self, Codec, Event, OwnedData, Priority};
use crate::ws::buffer;
use crate::ws::deflate::{Compressor, Tally};
use crate::ws::frame::{self, Opcode};

use super::filter::Audience;
use super::history;
use super::name::RoomKey;

/// How a publication is written to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Form {
    /// JSON or MessagePack.
    pub codec: Codec,
    /// Deflated, where that makes it smaller.
    pub deflated: bool,
}

impl Form {
    /// How many there are.
    pub const COUNT: usize = 4;
    /// All of them, by index.
    pub const ALL: [Self; Self::COUNT] = [
        Self { codec: Codec::Json, deflated: false },
        Self { codec: Codec::Json, deflated: true },
        Self { codec: Codec::MessagePack, deflated: false },
        Self { codec: Codec::MessagePack, deflated: true },
    ];

    /// Its place in [`Form::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        let codec = match self.codec {
            Codec::Json => 0,
            Codec::MessagePack => 2,
        };
        codec + self.deflated as usize
    }

    /// The same without deflate.
    #[must_use]
    pub const fn plain(self) -> Self {
        Self { codec: self.codec, deflated: false }
    }
}

/// Some forms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FormSet(u8);

impl FormSet {
    /// Adds one.
    pub fn insert(&mut self, form: Form) {
        self.0 |= 1 << form.index();
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// The same without deflate.
    #[must_use]
    pub fn plain(self) -> Self {
        let mut plain = Self::default();
        for form in Form::ALL.into_iter().filter(|form| self.contains(*form)) {
            plain.insert(form.plain());
        }
        plain
    }

    /// Whether `form` is among them.
    #[must_use]
    pub const fn contains(self, form: Form) -> bool {
        self.0 & (1 << form.index()) != 0
    }
}

/// Who published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// None: anonymous.
    pub user: Option<Arc<str>>,
    /// The connection's name.
    pub connection: Arc<str>,
    /// Where that connection is.
    pub address: ConnectionAddress,
}

/// What a publication says, before it is written.
#[derive(Debug)]
pub struct Draft {
    /// Where.
    pub room: RoomKey,
    /// Which life of the room.
    pub epoch: Arc<str>,
    /// Its place; 0: transient.
    pub offset: u64,
    /// Unix time.
    pub at_ms: u64,
    /// The content.
    pub data: OwnedData,
    /// What it is.
    pub event: Option<Box<str>>,
    /// Who published; none: the server's side.
    pub author: Option<Author>,
    /// Not to the connection that published.
    pub exclude_self: bool,
    /// How urgent.
    pub priority: Priority,
    /// Worthless from then on.
    pub expires: Option<Moment>,
    /// When it was published.
    pub published: Past,
    /// Who gets it.
    pub audience: Option<Box<Audience>>,
}

/// A message of a room.
pub struct Publication {
    draft: Draft,
    frames: [Option<Box<[u8]>>; Form::COUNT],
}

impl std::ops::Deref for Publication {
    type Target = Draft;

    fn deref(&self) -> &Draft {
        &self.draft
    }
}

impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.draft.room.name, self.draft.offset)
    }
}

impl Publication {
    /// Writes a draft in `forms`.
    #[must_use]
    pub fn new(draft: Draft, forms: FormSet, press: &mut Press) -> Self {
        let mut frames = [const { None }; Form::COUNT];
        for plain in [Form::ALL[0], Form::ALL[2]] {
            let deflated = Form { deflated: true, ..plain };
            if !forms.contains(plain) && !forms.contains(deflated) {
                continue;
            }
            press.write_body(&draft, plain.codec, false);
            if forms.contains(deflated) {
                frames[deflated.index()] = press.deflated_frame(plain.codec);
            }
            // What is too short to be worth deflating goes out plain to everyone.
            if forms.contains(plain) || frames[deflated.index()].is_none() {
                frames[plain.index()] = Some(press.plain_frame(plain.codec));
            }
        }
        Self { draft, frames }
    }

    /// The frame for a connection of `form`, if it was written.
    #[must_use]
    pub fn frame(&self, form: Form) -> Option<&[u8]> {
        let exact = self.frames[form.index()].as_deref();
        exact.or_else(|| self.frames[form.plain().index()].as_deref())
    }

    /// Whether it has no place in the room's sequence.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.draft.offset == 0
    }

    /// What is written to a connection of that form, or a little more.
    #[must_use]
    pub fn written_bytes(&self, form: Form) -> usize {
        const AROUND_BYTES: usize = 512;
        let draft = &self.draft;
        let estimate =
            || AROUND_BYTES + draft.room.name.as_str().len() + draft.data.as_data().bytes().len();
        self.frame(form).map_or_else(estimate, <[u8]>::len)
    }

    /// What it holds in memory.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let frames: usize = self.frames.iter().flatten().map(|frame| frame.len()).sum();
        let event = self.draft.event.as_ref().map_or(0, |event| event.len());
        let audience = self.draft.audience.as_ref().map_or(0, |audience| audience.bytes());
        size_of::<Self>() + frames + event + audience + self.draft.data.as_data().bytes().len()
    }
}

impl history::Entry for Publication {
    fn offset(&self) -> u64 {
        self.draft.offset
    }

    fn bytes(&self) -> usize {
        self.held_bytes()
    }

    fn published_at(&self) -> Past {
        self.draft.published
    }
}

impl Draft {
    /// As it is said to a client.
    #[must_use]
    pub fn message(&self, redelivered: bool) -> Message<'_> {
        let from = self
            .author
            .as_ref()
            .map(|author| Sender { user: author.user.as_deref(), connection: &author.connection });
        Message {
            room: self.room.name.as_str(),
            at: (self.offset > 0).then_some(Place { epoch: &self.epoch, offset: self.offset }),
            data: self.data.as_data(),
            event: self.event.as_deref(),
            from,
            at_ms: self.at_ms,
            priority: self.priority,
            redelivered,
        }
    }
}

/// Writes frames, with buffers that are kept.
#[derive(Debug)]
pub struct Press {
    compressor: Compressor,
    deflate_from_bytes: usize,
    body: Vec<u8>,
    deflated: Vec<u8>,
}

impl Press {
    /// A press that deflates messages of at least `deflate_from_bytes`.
    #[must_use]
    pub fn new(level: u8, deflate_from_bytes: u32, stopwatch: Stopwatch) -> Self {
        Self {
            compressor: Compressor::timed(level, stopwatch),
            deflate_from_bytes: deflate_from_bytes as usize,
            body: Vec::new(),
            deflated: Vec::new(),
        }
    }

    /// Gives back what large messages have taken.
    pub fn give_back(&mut self) {
        buffer::give_back(&mut self.body);
        buffer::give_back(&mut self.deflated);
    }

    /// What was deflated since the last call.
    pub fn take_tally(&mut self) -> Tally {
        self.compressor.take_tally()
    }

    /// The frame of an event.
    pub fn frame(&mut self, event: &Event<'_>, codec: Codec) -> Box<[u8]> {
        self.body.clear();
        protocol::encode(event, codec, &mut self.body);
        self.plain_frame(codec)
    }

    /// The plain frame of a publication, for a form that its home did not write.
    pub fn message(&mut self, draft: &Draft, codec: Codec, redelivered: bool) -> Box<[u8]> {
        self.write_body(draft, codec, redelivered);
        self.plain_frame(codec)
    }

    /// The frame of `payload`, deflated if that is worth it and it is not longer than `up_to`.
    pub fn write(&mut self, out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], up_to: usize) {
        self.deflated.clear();
        let deflated = payload.len() >= self.deflate_from_bytes
            && payload.len() <= up_to
            && self.compressor.compress(payload, &mut self.deflated);
        frame::write(out, opcode, deflated, if deflated { &self.deflated } else { payload });
    }

    fn write_body(&mut self, draft: &Draft, codec: Codec, redelivered: bool) {
        self.body.clear();
        protocol::encode(&Event::Message(draft.message(redelivered)), codec, &mut self.body);
    }

    fn plain_frame(&mut self, codec: Codec) -> Box<[u8]> {
        let mut out = Vec::with_capacity(frame::header_len(self.body.len()) + self.body.len());
        frame::write(&mut out, opcode(codec), false, &self.body);
        out.into_boxed_slice()
    }

    fn deflated_frame(&mut self, codec: Codec) -> Option<Box<[u8]>> {
        self.deflated.clear();
        let smaller = self.body.len() >= self.deflate_from_bytes
            && self.compressor.compress(&self.body, &mut self.deflated);
        smaller.then(|| {
            let mut out =
                Vec::with_capacity(frame::header_len(self.deflated.len()) + self.deflated.len());
            frame::write(&mut out, opcode(codec), true, &self.deflated);
            out.into_boxed_slice()
        })
    }
}

/// What a codec's frames are.
#[must_use]
pub const fn opcode(codec: Codec) -> Opcode {
    match codec {
        Codec::Json => Opcode::Text,
        Codec::MessagePack => Opcode::Binary,
    }
}
