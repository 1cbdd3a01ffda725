//! A connection as its client knows it: what it asked, where it is, and what it must not be told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ringroom::id::ConnectionKey;
use serde_json::Value;

use crate::follow::Follow;
use crate::guarantee::{Acknowledgements, Arrival, Gap};
use crate::message::{Codec, Message};
use crate::person::Person;
use crate::session::{Kept, Sessions};
use crate::socket::Socket;
use crate::stay::Stay;
use crate::truth::{Interest, Reader, RoomId, Truth};

/// What waits for an answer.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Join {
        room: RoomId,
        interest: Interest,
        since: Option<(String, u64)>,
    },
    /// When it was sent, that life of the room had come at least so far, and there were so many
    /// publications.
    Leave {
        room: RoomId,
        last: Option<(String, u64)>,
        publications: usize,
    },
    Publish {
        number: usize,
    },
    Ack {
        room: RoomId,
        /// The life of the room that the client knew of.
        epoch: Option<String>,
        offset: u64,
    },
    History {
        room: RoomId,
        after: Option<u64>,
        before: Option<u64>,
        limit: u64,
        reverse: bool,
    },
    Presence {
        room: RoomId,
    },
    StateSet(Value),
    StateGet,
    Subscribe {
        pattern: String,
        interest: Interest,
    },
    Unsubscribe {
        pattern: String,
    },
    /// A user is muted or banned, in that life of the room, at least until then.
    Silence {
        room: RoomId,
        user: String,
        until_ms: u64,
        epoch: String,
    },
    Unmute((RoomId, String)),
    /// It is taken or refused as the rates say.
    Paced,
    Batch(Vec<u64>),
    /// Whatever comes of it, it is an answer.
    Any,
}

/// What a client writes.
#[derive(Debug)]
pub(crate) enum Up {
    Message(Codec, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16),
    Part,
    Broken,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Arriving,
    Open,
    /// It was told why it is sent away.
    Dismissed,
    /// The server's close frame came.
    Closed,
    Gone,
}

/// What all clients share: they compare what they were told.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) truth: Truth,
    pub(crate) sessions: Sessions,
    pub(crate) now_ms: u64,
    /// What the connection knows from which a session is being taken over.
    pub(crate) handed: Option<Kept>,
    /// Of what the server was configured to do.
    pub(crate) rules: Rules,
    /// Pages of presence that are asked for at rest.
    pub(crate) pages: BTreeMap<RoomId, PresencePage>,
    /// Users that were muted or banned in a room, once their moderators were told so.
    pub(crate) silences: BTreeMap<(RoomId, String), Silence>,
    /// How often somebody has asked to end that, and was not answered yet.
    pub(crate) unmutes: BTreeMap<(RoomId, String), u64>,
    /// What was acknowledged in guaranteed rooms.
    pub(crate) acknowledgements: Acknowledgements,
    /// Rooms whose notices somebody has switched off for a time.
    pub(crate) muted_presence: BTreeSet<RoomId>,
}

/// A user of whom nothing is published any more: from that publication on, those that are taken
/// before a time in a life of the room.
#[derive(Debug)]
pub(crate) struct Silence {
    pub(crate) from: usize,
    pub(crate) until_ms: u64,
    pub(crate) epoch: String,
}

/// What was told of who is in a room.
#[derive(Debug, Default)]
pub(crate) struct PresencePage {
    pub(crate) count: u64,
    pub(crate) users: BTreeMap<String, u64>,
    pub(crate) next: Option<String>,
}

/// What this run does, as far as it decides what may be expected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) session_ttl_ms: u64,
    pub(crate) key_window_ms: u64,
    /// Rooms are deleted and people sent out.
    pub(crate) moderates: bool,
    /// Rates are limited, rooms are small: joins may be refused.
    pub(crate) refuses: bool,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) core: usize,
    pub(crate) key: ConnectionKey,
    pub(crate) person: Person,
    pub(crate) codec: Codec,
    pub(crate) stage: Stage,
    pub(crate) socket: Socket,
    pub(crate) uplink: VecDeque<Up>,
    pub(crate) reader: Reader,
    pub(crate) pending: BTreeMap<u64, Request>,
    pub(crate) last_id: u64,
    pub(crate) stays: BTreeMap<RoomId, Stay>,
    /// Up to where it has said that it had taken a room in. A replay that it asked for meanwhile may
    /// still have been on its way: the server takes its word for it.
    pub(crate) claimed: BTreeMap<RoomId, u64>,
    /// Rooms that come by a pattern: the last that did.
    pub(crate) heard: BTreeMap<RoomId, (String, u64)>,
    pub(crate) patterns: BTreeMap<String, Interest>,
    /// Patterns that came with its session, maybe; none: nobody knows which.
    pub(crate) resumed_patterns: Option<Vec<(String, Interest)>>,
    /// What its first pattern owes it.
    pub(crate) follow: Option<Follow>,
    pub(crate) has_followed: bool,
    /// Messages without an offset that came.
    pub(crate) passing: BTreeSet<(usize, RoomId)>,
    /// The session it came with, and what was known of it then.
    pub(crate) resumes: Option<String>,
    pub(crate) session: Option<String>,
    pub(crate) path_room: Option<RoomId>,
    /// What `state.get` has to say; none: unknown.
    pub(crate) state: Option<Value>,
    /// It once read so slowly that notices may have been spared it.
    pub(crate) lossy: bool,
    /// It does not answer pings, nor the close frame.
    pub(crate) mute: bool,
    pub(crate) errors_without_id: usize,
    /// What came of guaranteed rooms, and what was said to be missing.
    pub(crate) arrivals: Vec<Arrival>,
    pub(crate) gaps: Vec<Gap>,
    /// What the rates said: none, or when to try again.
    pub(crate) verdicts: Vec<Option<u64>>,
    /// It is an echo connection, and waits for these.
    pub(crate) echoes: Option<VecDeque<(u8, Vec<u8>)>>,
    /// All homes know by now that it is there.
    pub(crate) is_settled: bool,
}

/// Who comes, and how.
pub(crate) struct Arrives {
    pub(crate) core: usize,
    pub(crate) key: ConnectionKey,
    pub(crate) person: Person,
    pub(crate) codec: Codec,
    pub(crate) session: Option<String>,
    pub(crate) room: Option<String>,
    pub(crate) mute: bool,
}

impl Client {
    pub(crate) fn new(arrives: Arrives, socket: Socket) -> Self {
        let Arrives { core, key, person, codec, session, room, mute } = arrives;
        let (user, team) = (person.user.clone(), person.team);
        Self {
            core,
            key,
            path_room: room.map(|room| (person.tenant, room)),
            person,
            codec,
            stage: Stage::Arriving,
            socket,
            uplink: VecDeque::new(),
            reader: Reader { name: String::new(), earlier: Some(Vec::new()), user, team },
            pending: BTreeMap::new(),
            last_id: 0,
            stays: BTreeMap::new(),
            claimed: BTreeMap::new(),
            heard: BTreeMap::new(),
            patterns: BTreeMap::new(),
            resumed_patterns: Some(Vec::new()),
            follow: None,
            has_followed: false,
            passing: BTreeSet::new(),
            arrivals: Vec::new(),
            gaps: Vec::new(),
            verdicts: Vec::new(),
            echoes: None,
            resumes: session,
            session: None,
            state: None,
            lossy: false,
            mute,
            errors_without_id: 0,
            is_settled: false,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    pub(crate) fn room(&self, name: &str) -> RoomId {
        (self.person.tenant, name.to_owned())
    }

    /// Sends a message; with an id if something is to become of it.
    pub(crate) fn ask(&mut self, message: Message, request: Option<Request>, codec: Codec) {
        let message = self.register(message, request);
        self.uplink.push_back(Up::Message(codec, message.encode(codec)));
    }

    /// Gives a message its id.
    pub(crate) fn register(&mut self, message: Message, request: Option<Request>) -> Message {
        let Some(request) = request else { return message };
        if let Request::Subscribe { pattern, .. } | Request::Unsubscribe { pattern } = &request {
            self.end_follow(pattern);
        }
        self.last_id += 1;
        self.pending.insert(self.last_id, request);
        // Half of the ids are text.
        match self.last_id % 2 {
            0 => message.with("id", self.last_id),
            _ => message.with("id", self.last_id.to_string()),
        }
    }

    /// As whom it acknowledges what it is given of a guaranteed room.
    pub(crate) fn whose(&self) -> String {
        match &self.person.user {
            Some(user) => format!("user {user}"),
            None => format!("session {:?}", self.session),
        }
    }

    /// Whether a request of that kind waits for its answer.
    pub(crate) fn awaits(&self, is: impl Fn(&Request) -> bool) -> bool {
        self.pending.values().any(is)
    }

    /// What its session knows of where it is.
    pub(crate) fn keep(&self) -> Kept {
        let mut unsure = BTreeSet::new();
        for request in self.pending.values() {
            if let Request::Join { room, .. } | Request::Leave { room, .. } = request {
                unsure.insert(room.clone());
            }
        }
        unsure.extend(self.path_room.clone());
        let held = self.patterns.iter().map(|(pattern, it)| (pattern.clone(), it.clone()));
        let mut patterns: Vec<_> = held.collect();
        for request in self.pending.values() {
            if let Request::Subscribe { pattern, interest } = request {
                patterns.push((pattern.clone(), interest.clone()));
            }
        }
        let stays = self.stays.iter().filter(|(room, _)| !room.1.starts_with('@'));
        let state_is_sure = !self.awaits(|request| matches!(request, Request::StateSet(_)));
        Kept {
            reader: self.reader.clone(),
            stays: stays.map(|(room, stay)| (room.clone(), stay.clone())).collect(),
            unsure,
            claimed: self.claimed.clone(),
            patterns: self.resumed_patterns.clone().map(|resumed| [resumed, patterns].concat()),
            names: self.reader.earlier.clone().map(|mut names| {
                names.push(self.reader.name.clone());
                names
            }),
            is_vague: false,
            state: self.state.clone().filter(|_| state_is_sure),
        }
    }
}

/// Whether a pattern of these tests covers a room.
pub(crate) fn covers(pattern: &str, room: &str) -> bool {
    if room.starts_with('@') {
        return false;
    }
    match pattern.strip_suffix("**") {
        Some(prefix) => room.starts_with(prefix),
        None => {
            let prefix = pattern.strip_suffix('*').unwrap_or(pattern);
            room.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && !rest.contains('/'))
        }
    }
}
