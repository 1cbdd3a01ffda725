//! Several engines in one thread, connected by a bus that delivers at once and in order.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use serde_json::Value;

use super::Counting;
use crate::auth::Policy;
use crate::clock::{Moment, Now};
use crate::config::Config;
use crate::hash::Seed;
use crate::id::{ConnectionAddress, ConnectionKey, CoreId, TenantId};
use crate::protocol::Codec;
use crate::room::broker::ToBroker;
use crate::room::name::{RoomKey, RoomName};
use crate::shard::identity::{Identity, Permit, Right};
use crate::shard::message::ToHome;
use crate::shard::{CoreMessage, Effects, Entry, Input, Opened, Route, Senders, Setup, Shard};
use crate::tenant::Tenants;
use crate::ws::MessageKind;

#[derive(Debug)]
struct Granted;

impl Permit for Granted {
    fn allows(&self, right: Right, _on: &str) -> bool {
        !matches!(right, Right::Moderate | Right::Configure)
    }

    fn allows_from_outside(&self, _right: Right, _on: &str) -> bool {
        false
    }
}

/// A room of the tenant that there is without any.
pub(crate) fn room(name: &str) -> RoomKey {
    RoomKey::new(TenantId::DEFAULT, RoomName::parse(name).unwrap())
}

/// Engines and what is on its way between them.
pub(crate) struct Cluster {
    pub(crate) shards: Vec<Shard>,
    pub(crate) now: Now,
    pub(crate) effects: Vec<Effects>,
    letters: VecDeque<(CoreId, CoreId, CoreMessage)>,
    /// What its homes have to say to the broker.
    pub(crate) to_broker: Vec<(CoreId, ToBroker)>,
    /// Messages that an engine has left, or that have come behind one.
    left: Vec<(Address, Vec<u8>)>,
    /// Letters stay where they are until they are let go.
    pub(crate) holds: bool,
    opened: u32,
    /// What tells it from other nodes.
    id: u64,
}

pub(crate) type Address = ConnectionAddress;

impl Cluster {
    pub(crate) fn new(cores: u16, config: Config) -> Self {
        Self::of_node(cores, config, 3)
    }

    /// One of many nodes.
    pub(crate) fn of_node(cores: u16, config: Config, node: u64) -> Self {
        Self::make(cores, config, node, None)
    }

    /// One that checks credentials.
    pub(crate) fn with_policy(cores: u16, config: Config, policy: &Arc<Policy>) -> Self {
        Self::make(cores, config, 3, Some(policy))
    }

    fn make(cores: u16, config: Config, node: u64, policy: Option<&Arc<Policy>>) -> Self {
        let config = Arc::new(config);
        let tenants = Tenants::new(&config);
        let senders = Senders::new(&config, Seed(3, 4));
        let shards = (0..cores).map(|core| {
            Shard::new(Setup {
                core: CoreId(core),
                cores,
                config: Arc::clone(&config),
                seed: Seed(node, 4),
                entropy: Box::new(Counting(node * 1_000 - 2_999 + u64::from(core))),
                metrics: Arc::default(),
                policy: policy.cloned(),
                tenants: Arc::clone(&tenants),
                senders: Arc::clone(&senders),
                stopwatch: || 0,
            })
        });
        Self {
            shards: shards.collect(),
            now: Now { unix_ms: 1_700_000_000_000, ..Now::default() },
            effects: (0..cores).map(|_| Effects::default()).collect(),
            letters: VecDeque::new(),
            to_broker: Vec::new(),
            left: Vec::new(),
            holds: false,
            opened: 0,
            id: crate::node::id(Seed(node, 4)),
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn open_with(&mut self, core: u16, make: impl FnOnce(&mut Opened)) -> Address {
        self.opened += 1;
        let key = ConnectionKey { index: self.opened, generation: self.opened };
        let mut opened = Opened {
            connection: key,
            route: Route::Rooms(None),
            codec: Codec::Json,
            deflate_up_to: 0,
            address: None,
            session: None,
            entry: Entry::Open,
        };
        make(&mut opened);
        let at = Address { core: CoreId(core), key };
        self.input(at, Input::Opened(Box::new(opened)));
        at
    }

    /// A connection of a user who may do everything but govern rooms without a role there, on its
    /// way to its welcome.
    pub(crate) fn open_as(
        &mut self,
        core: u16,
        user: &str,
        make: impl FnOnce(&mut Opened),
    ) -> Address {
        self.open_granted(core, user, Arc::new(Granted), make)
    }

    /// The same, of one who may do what `permit` says.
    pub(crate) fn open_granted(
        &mut self,
        core: u16,
        user: &str,
        permit: Arc<dyn Permit>,
        make: impl FnOnce(&mut Opened),
    ) -> Address {
        let identity = Identity { user: Some(user.into()), permit, ..Identity::anonymous() };
        self.shards[usize::from(core)].assume(Arc::new(identity));
        let at = self.open_with(core, make);
        self.shards[usize::from(core)].assume(Arc::new(Identity::anonymous()));
        at
    }

    /// A user's connection that has been welcomed.
    pub(crate) fn user(&mut self, core: u16, user: &str) -> Address {
        let at = self.open_as(core, user, |_| {});
        assert_eq!(self.read(at)[0]["type"], "welcome");
        at
    }

    /// A connection that has been welcomed.
    pub(crate) fn open(&mut self, core: u16) -> Address {
        let at = self.open_with(core, |_| {});
        assert_eq!(self.read(at)[0]["type"], "welcome");
        at
    }

    pub(crate) fn input(&mut self, at: Address, input: Input<'_>) {
        let core = at.core.index();
        self.shards[core].handle(self.now, input, &mut self.effects[core]);
        self.carry();
    }

    pub(crate) fn send(&mut self, at: Address, text: &str) {
        let payload = text.as_bytes().to_vec();
        match self.left.iter().any(|(sender, _)| *sender == at) {
            true => self.left.push((at, payload)),
            false => self.hand_in(at, payload),
        }
        self.carry();
    }

    /// Hands in a message; it is kept if the engine leaves it.
    fn hand_in(&mut self, at: Address, mut payload: Vec<u8>) {
        let (core, connection, kind) = (at.core.index(), at.key, MessageKind::Text);
        let input = Input::Message { connection, kind, payload: &mut payload, frames: 1 };
        self.shards[core].handle(self.now, input, &mut self.effects[core]);
        if self.shards[core].is_within_message(connection) {
            self.left.insert(0, (at, payload));
        }
    }

    /// Hands in again the first message that was left and is wanted now; false if there is none.
    fn hand_in_again(&mut self) -> bool {
        let mut seen = Vec::new();
        let wanted = self.left.iter().position(|(at, _)| {
            let is_first = !seen.contains(at);
            seen.push(*at);
            is_first && self.shards[at.core.index()].wants_reading(at.key)
        });
        let Some(wanted) = wanted else { return false };
        let (at, payload) = self.left.remove(wanted);
        self.hand_in(at, payload);
        true
    }

    /// Sends a command and reads everything up to its answer, which is last.
    pub(crate) fn ask(&mut self, at: Address, text: &str) -> Value {
        self.send(at, text);
        self.read(at).pop().unwrap_or_else(|| panic!("no answer to {text}"))
    }

    pub(crate) fn lose(&mut self, at: Address) {
        self.input(at, Input::Lost { connection: at.key });
    }

    /// A core is told something by the party behind the control plane.
    pub(crate) fn hear(&mut self, core: CoreId, message: CoreMessage) {
        let behind = u16::try_from(self.shards.len() + 1).unwrap();
        let (at, from) = (core.index(), CoreId(behind));
        let input = Input::Core { from, message };
        self.shards[at].handle(self.now, input, &mut self.effects[at]);
        self.carry();
    }

    /// Moves letters until there are none.
    pub(crate) fn carry(&mut self) {
        loop {
            for (core, effects) in self.effects.iter_mut().enumerate() {
                for (to, message) in effects.letters.drain(..) {
                    let from = CoreId(u16::try_from(core).unwrap());
                    assert_ne!(from, to, "an engine writes to itself");
                    self.letters.push_back((from, to, message));
                }
            }
            let next = if self.holds { None } else { self.letters.pop_front() };
            let Some((from, to, message)) = next else {
                if !self.hand_in_again() {
                    return;
                }
                continue;
            };
            let to = to.index();
            if let CoreMessage::ToBroker(message) = message {
                assert!(to > self.shards.len(), "the broker comes behind the control plane");
                self.to_broker.push((from, *message));
                continue;
            }
            let input = Input::Core { from, message };
            self.shards[to].handle(self.now, input, &mut self.effects[to]);
        }
    }

    /// Moves the letters that one core has written, and leaves those of others where they are.
    pub(crate) fn carry_of(&mut self, core: u16) {
        let others = self.letters.iter().filter(|(from, ..)| from.0 != core).count();
        for _ in 0..self.letters.len() {
            let Some((from, to, message)) = self.letters.pop_front() else { break };
            if from.0 != core {
                self.letters.push_back((from, to, message));
                continue;
            }
            let (to, input) = (to.index(), Input::Core { from, message });
            self.shards[to].handle(self.now, input, &mut self.effects[to]);
        }
        assert!(self.holds && self.letters.len() == others);
        self.carry();
    }

    /// Rooms that cores were told of as called, while letters are held.
    pub(crate) fn called(&self) -> Vec<String> {
        let rooms = self.letters.iter().filter_map(|(.., message)| match message {
            CoreMessage::Home(ToHome::Called { room, .. }) => Some(room.name.as_str().to_owned()),
            _ => None,
        });
        rooms.collect()
    }

    /// Ends a tick everywhere.
    pub(crate) fn settle(&mut self) {
        for _ in 0..3 {
            for (shard, effects) in self.shards.iter_mut().zip(&mut self.effects) {
                shard.settle(self.now, effects);
            }
            self.carry();
        }
        for shard in &self.shards {
            shard.audit().unwrap();
        }
    }

    pub(crate) fn wait(&mut self, ms: u64) {
        self.wait_until(self.now.moment.plus_ms(ms));
    }

    pub(crate) fn wait_until(&mut self, until: Moment) {
        loop {
            let next = self.shards.iter().filter_map(Shard::next_timeout).min();
            let Some(next) = next.filter(|next| *next <= until) else { break };
            let passed = next.since_ms(self.now.moment);
            self.now.moment = self.now.moment.max(next);
            self.now.unix_ms += passed;
            for (shard, effects) in self.shards.iter_mut().zip(&mut self.effects) {
                shard.handle_timeout(self.now, effects);
            }
            self.carry();
        }
        self.now.unix_ms += until.since_ms(self.now.moment);
        self.now.moment = until;
    }

    /// The frames a connection is written: opcode and payload.
    pub(crate) fn frames(&mut self, at: Address) -> Vec<(u8, Vec<u8>)> {
        self.settle();
        let mut bytes = Vec::new();
        while let Some(outbox) = self.shards[at.core.index()].outbox(at.key) {
            let mut slices = [IoSlice::new(&[]); 16];
            let count = outbox.gather(&mut slices);
            let taken: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
            if taken.is_empty() {
                break;
            }
            outbox.advance(taken.len());
            self.input(at, Input::Written { connection: at.key });
            bytes.extend(taken);
        }
        split(&bytes)
    }

    /// The messages a connection is written.
    pub(crate) fn read(&mut self, at: Address) -> Vec<Value> {
        let frames = self.frames(at);
        let texts = frames.iter().filter(|(opcode, _)| *opcode == 1);
        texts.map(|(_, payload)| serde_json::from_slice(payload).unwrap()).collect()
    }

    /// The offsets of the messages a connection is written, gaps as negative ranges' ends.
    pub(crate) fn offsets(&mut self, at: Address) -> Vec<i64> {
        let messages = self.read(at);
        messages
            .iter()
            .flat_map(|message| match message["type"].as_str() {
                Some("message") => vec![message["offset"].as_i64().unwrap_or(0)],
                Some("gap") => {
                    vec![-message["from"].as_i64().unwrap(), -message["to"].as_i64().unwrap()]
                }
                _ => Vec::new(),
            })
            .collect()
    }

    /// Whether nothing is left of anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| {
            shard.hub.is_empty()
                && shard.homes.rooms.is_empty()
                && shard.sessions.len() == 0
                && shard.outbound.pool.budget.held_bytes() == 0
                && shard.homes.receipts.len() == 0
                && shard.inheritance.is_empty()
                && shard.broker.is_idle()
        })
    }
}

/// Frames of a server: opcode and payload.
fn split(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (header, len) = match bytes[1] {
            126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
            127 => (
                10,
                usize::try_from(u64::from_be_bytes(*bytes[2..].first_chunk().unwrap())).unwrap(),
            ),
            short => (2, usize::from(short)),
        };
        frames.push((bytes[0] & 0x0F, bytes[header..header + len].to_vec()));
        bytes = &bytes[header + len..];
    }
    frames
}
