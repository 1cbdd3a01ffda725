//! Engines, the mesh between them, their clients and one clock, all moved by one source of chance.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::Arc;

use ringroom::clock::{Moment, Now};
use ringroom::config::Config;
use ringroom::hash::Seed;
use ringroom::id::{ConnectionKey, CoreId};
use ringroom::metrics::Core as Metrics;
use ringroom::shard::{Effects, Entry, Input, Opened, Route, Senders, Setup, Shard};
use ringroom::tenant::Tenants;
use ringroom::ws::MessageKind;
use ringroom::ws::close::Fault;

use crate::Checked;
use crate::client::{Arrives, Client, Common, Rules, Stage, Up};
use crate::digest::Digest;
use crate::frames;
use crate::mesh::Mesh;
use crate::message::Codec;
use crate::person::{Person, people};
use crate::profile::Profile;
use crate::random::Random;
use crate::socket::Socket;
use crate::truth::Truth;

/// Unix time at the beginning.
const EPOCH_MS: u64 = 1_700_000_000_000;
/// How long the driver waits for the last bytes of a connection to be taken.
const GOODBYE_MS: u64 = 4_000;

/// An engine and the state of its driver.
pub(crate) struct Core {
    pub(crate) shard: Shard,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) effects: Effects,
    /// Places of connections: which client is there.
    places: Vec<Option<usize>>,
    opened: u32,
}

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) profile: Profile,
    pub(crate) config: Arc<Config>,
    pub(crate) cores: Vec<Core>,
    pub(crate) mesh: Mesh,
    pub(crate) clients: Vec<Client>,
    pub(crate) people: Vec<Person>,
    pub(crate) common: Common,
    pub(crate) draining: bool,
    pub(crate) digest: Digest,
}

impl World {
    pub(crate) fn new(seed: u64, trace: bool) -> Self {
        let mut random = Random::new(seed);
        let profile = Profile::draw(&mut random);
        let config = Arc::new(profile.config());
        let maps = Seed(random.next(), random.next());
        let tenants = Tenants::new(&config);
        let senders = Senders::new(&config, maps);
        let cores = (0..profile.cores).map(|index| {
            let metrics = Arc::<Metrics>::default();
            let setup = Setup {
                core: CoreId(index),
                cores: profile.cores,
                config: Arc::clone(&config),
                seed: maps,
                entropy: Box::new(Random::new(random.next())),
                metrics: Arc::clone(&metrics),
                policy: None,
                tenants: Arc::clone(&tenants),
                senders: Arc::clone(&senders),
                stopwatch: || 0,
            };
            let (effects, places) = (Effects::default(), Vec::new());
            Core { shard: Shard::new(setup), metrics, effects, places, opened: 0 }
        });
        let cores: Vec<_> = cores.collect();
        let rules = Rules {
            session_ttl_ms: config.session.ttl_ms,
            key_window_ms: config.rooms.idempotency_window_ms,
            moderates: profile.moderates,
            refuses: profile.refuses,
        };
        let common = Common {
            truth: Truth::default(),
            sessions: BTreeMap::new(),
            now_ms: EPOCH_MS,
            handed: None,
            rules,
            pages: BTreeMap::new(),
            silences: BTreeMap::new(),
            unmutes: BTreeMap::new(),
            muted_presence: Default::default(),
            acknowledgements: Default::default(),
        };
        Self {
            mesh: Mesh::new(cores.len(), profile.inbox_batches, profile.backlog_bytes),
            random,
            config,
            cores,
            clients: Vec::new(),
            people: people(),
            common,
            draining: false,
            digest: Digest::new(trace),
            profile,
        }
    }

    pub(crate) fn now(&self) -> Now {
        let since_ms = self.common.now_ms - EPOCH_MS;
        Now { moment: Moment::default().plus_ms(since_ms), unix_ms: self.common.now_ms }
    }

    /// Connections whose sockets are there.
    pub(crate) fn alive(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.clients.len()).filter(|index| self.clients[*index].stage != Stage::Gone)
    }

    /// A handshake was accepted.
    pub(crate) fn open(
        &mut self,
        core: usize,
        person: Person,
        session: Option<String>,
        room: Option<String>,
    ) -> usize {
        self.enter(core, person, session, Route::Rooms(room))
    }

    /// A handshake was accepted, of whatever kind: the client it is of.
    pub(crate) fn enter(
        &mut self,
        core: usize,
        person: Person,
        session: Option<String>,
        route: Route,
    ) -> usize {
        let room = match &route {
            Route::Rooms(room) => room.clone(),
            Route::Echo => None,
        };
        let codec = if self.random.percent(60) { Codec::Json } else { Codec::MessagePack };
        let deflated = self.profile.deflates && self.random.percent(50);
        let driver = &mut self.cores[core];
        let place = driver.places.iter().position(Option::is_none).unwrap_or_else(|| {
            driver.places.push(None);
            driver.places.len() - 1
        });
        driver.opened += 1;
        let index = u32::try_from(place).expect("there are few");
        let key = ConnectionKey { index, generation: driver.opened };
        let me = self.clients.len();
        driver.places[place] = Some(me);
        let capacity = *self.random.pick(&[200, 1_500, 6_000, 60_000, 60_000]);
        if let Some(record) = session.as_ref().and_then(|it| self.common.sessions.get_mut(it)) {
            record.contested |= !record.askers.is_empty();
            record.askers.insert(me);
        }
        self.digest.step(|| {
            let user = &person.user;
            format!("open {me} on core {core} for {user:?} session {session:?} room {room:?}")
        });
        self.cores[core].shard.assume(Arc::clone(&person.identity));
        let mute = self.random.percent(5);
        let arrival = Arrives { core, key, person, codec, session: session.clone(), room, mute };
        let mut client = Client::new(arrival, Socket::new(capacity, deflated));
        if route == Route::Echo {
            client.stage = Stage::Open;
            client.echoes = Some(Default::default());
        }
        self.clients.push(client);
        let opened = Opened {
            connection: key,
            route,
            codec: codec.spoken(),
            deflate_up_to: if deflated { u32::MAX } else { 0 },
            address: None,
            session: session.map(Into::into),
            entry: Entry::Open,
        };
        self.input(core, Input::Opened(Box::new(opened)));
        me
    }

    pub(crate) fn input(&mut self, core: usize, input: Input<'_>) {
        let now = self.now();
        let driver = &mut self.cores[core];
        driver.shard.handle(now, input, &mut driver.effects);
    }

    /// One thing of what a client has written is read by the server; false if it reads nothing now.
    pub(crate) fn hear(&mut self, me: usize) -> bool {
        let client = &mut self.clients[me];
        let (core, connection) = (client.core, client.key);
        if client.stage == Stage::Gone || !self.cores[core].shard.wants_reading(connection) {
            return false;
        }
        let Some(up) = client.uplink.pop_front() else { return false };
        self.digest.step(|| format!("client {me} says {}", describe(&up)));
        match up {
            Up::Message(codec, mut payload) => {
                let kind = match codec {
                    Codec::Json => MessageKind::Text,
                    Codec::MessagePack => MessageKind::Binary,
                };
                self.input(
                    core,
                    Input::Message { connection, kind, payload: &mut payload, frames: 1 },
                );
                if self.cores[core].shard.is_within_message(connection) {
                    self.clients[me].uplink.push_front(Up::Message(codec, payload));
                }
            }
            Up::Ping(payload) => self.input(core, Input::Ping { connection, payload: &payload }),
            Up::Pong(payload) => self.input(core, Input::Pong { connection, payload: &payload }),
            Up::Close(code) => {
                self.input(core, Input::CloseFrame { connection, code: Some(code) });
                self.clients[me].uplink.clear();
            }
            Up::Part => self.input(core, Input::Alive { connection }),
            Up::Broken => {
                self.input(core, Input::Fault { connection, fault: Fault::InvalidText });
                self.clients[me].uplink.clear();
            }
        }
        true
    }

    /// The socket is gone.
    pub(crate) fn lose(&mut self, me: usize) {
        let client = &mut self.clients[me];
        if client.stage == Stage::Gone {
            return;
        }
        client.stage = Stage::Gone;
        let (core, connection) = (client.core, client.key);
        let kept = client.keep();
        let now_ms = self.common.now_ms;
        if let Some(session) = &client.session {
            let record = self.common.sessions.get_mut(session).filter(|it| it.holder == me);
            if let Some(record) = record {
                record.lost = Some((now_ms, kept));
            }
        } else if let Some(asked) = client.resumes.clone() {
            self.abort_resume(me, &asked);
        }
        self.digest.step(|| format!("client {me} is lost"));
        self.cores[core].places[connection.index as usize] = None;
        self.clients[me].socket.flight = None;
        self.input(core, Input::Lost { connection });
    }

    /// A connection that asked for a session went before it was welcomed.
    fn abort_resume(&mut self, me: usize, asked: &str) {
        let Some(record) = self.common.sessions.get_mut(asked) else { return };
        record.askers.remove(&me);
        record.aborted = true;
        if let Some((lost_ms, _)) = &mut record.lost {
            *lost_ms = self.common.now_ms;
        }
        record.paths.extend(self.clients[me].path_room.clone());
    }

    /// A core's tick, as the driver runs it: what came, timers, the engine's end of the tick, writes.
    pub(crate) fn tick(&mut self, core: usize, batches: usize) -> Checked {
        self.digest.step(|| format!("tick of core {core}, {batches} batches"));
        let now = self.now();
        for _ in 0..batches {
            let Some((from, messages)) = self.mesh.receive(core) else { break };
            for message in messages {
                self.input(core, Input::Core { from, message });
            }
        }
        let driver = &mut self.cores[core];
        if driver.shard.next_timeout().is_some_and(|due| due <= now.moment) {
            driver.shard.handle_timeout(now, &mut driver.effects);
        }
        driver.shard.settle(now, &mut driver.effects);
        for (to, message) in driver.effects.letters.drain(..) {
            if to.index() == core {
                return Err("an engine writes to itself over the mesh".into());
            }
            self.mesh.post(core, to.index(), message);
        }
        self.mesh.deliver(core);
        self.flush(core)
    }

    fn client_at(&self, core: usize, key: ConnectionKey) -> Option<usize> {
        let me = *self.cores[core].places.get(key.index as usize)?;
        me.filter(|me| self.clients[*me].key == key)
    }

    fn flush(&mut self, core: usize) -> Checked {
        for key in std::mem::take(&mut self.cores[core].effects.hangups) {
            if let Some(me) = self.client_at(core, key) {
                self.clients[me].socket.hangs_up = Some(self.common.now_ms + GOODBYE_MS);
                self.cores[core].effects.dirty.push(key);
            }
        }
        let effects = &mut self.cores[core].effects;
        let dirty = std::mem::take(&mut effects.dirty);
        for key in dirty.into_iter().chain(std::mem::take(&mut effects.crowd)) {
            if let Some(me) = self.client_at(core, key) {
                self.write(me)?;
            }
        }
        for key in std::mem::take(&mut self.cores[core].effects.aborts) {
            if let Some(me) = self.client_at(core, key) {
                self.lose(me);
            }
        }
        Ok(())
    }

    /// Writes what there is for a client, as far as its socket takes it.
    fn write(&mut self, me: usize) -> Checked {
        let now_ms = self.common.now_ms;
        let client = &mut self.clients[me];
        if client.socket.blocked || client.socket.flight.is_some() {
            return Ok(());
        }
        let (core, connection) = (client.core, client.key);
        let pieces = 1 + self.random.below(16);
        let flies = self.random.percent(self.profile.flight_percent);
        let Some(outbox) = self.cores[core].shard.outbox(connection) else { return Ok(()) };
        let waiting = outbox.pending_bytes();
        client.lossy |= waiting >= self.config.limits.outbox_bytes as usize / 2;
        if waiting > self.profile.outbox_bound(&self.config) {
            return Err(format!("{waiting} bytes wait for client {me}"));
        }
        loop {
            let mut slices = [IoSlice::new(&[]); 16];
            let gathered = outbox.gather(&mut slices[..pieces]);
            let bytes: Vec<u8> = slices[..gathered].iter().flat_map(|it| it.to_vec()).collect();
            if gathered == 0 {
                break;
            }
            if flies {
                client.socket.flight = Some((bytes, now_ms));
                break;
            }
            let taken = bytes.len().min(client.socket.room());
            outbox.advance(taken);
            self.digest.bytes(&bytes[..taken]);
            client.socket.write(&bytes[..taken], now_ms);
            if taken < bytes.len() {
                client.socket.blocked = true;
                client.lossy = true;
                break;
            }
        }
        let is_empty = outbox.is_empty();
        if client.socket.flight.is_none() {
            self.input(core, Input::Written { connection });
            if is_empty && self.clients[me].socket.hangs_up.is_some() {
                self.part(me)?;
            }
        }
        Ok(())
    }

    /// The driver ends a connection; the client still reads what the kernel has.
    fn part(&mut self, me: usize) -> Checked {
        if !self.clients[me].socket.deaf {
            self.read(me, usize::MAX)?;
        }
        self.lose(me);
        Ok(())
    }

    /// A write that was under way is done: some of it was taken.
    pub(crate) fn land(&mut self, me: usize) {
        let client = &mut self.clients[me];
        let Some((bytes, at_ms)) = client.socket.flight.take() else { return };
        let (core, connection) = (client.core, client.key);
        let most = bytes.len().min(client.socket.room());
        let taken = self.random.below(most + 1);
        self.digest.step(|| format!("{taken} bytes of {} reach client {me}", bytes.len()));
        let Some(outbox) = self.cores[core].shard.outbox(connection) else { return };
        outbox.advance(taken);
        self.digest.bytes(&bytes[..taken]);
        client.socket.write(&bytes[..taken], at_ms);
        if taken == 0 && most == 0 {
            client.socket.blocked = true;
            client.lossy = true;
        }
        self.input(core, Input::Written { connection });
        self.cores[core].effects.dirty.push(connection);
    }

    /// A client reads, and makes of it what it can.
    pub(crate) fn read(&mut self, me: usize, most: usize) -> Checked {
        self.clients[me].socket.read(most);
        while let Some(frame) = self.clients[me].socket.decoder.next()? {
            if self.clients[me].stage == Stage::Arriving {
                self.common.handed = self.predecessor(me);
            }
            let (now_ms, opcode) = (self.common.now_ms, frame.opcode);
            self.digest.step(|| {
                format!("{now_ms} client {me} reads {}", frames::show(opcode, &frame.payload))
            });
            let client = &mut self.clients[me];
            client
                .take(me, &frame, &mut self.common)
                .map_err(|what| format!("client {me}: {what}"))?;
        }
        let client = &mut self.clients[me];
        if client.socket.blocked && client.socket.room() > 0 && client.stage != Stage::Gone {
            client.socket.blocked = false;
            let (core, key) = (client.core, client.key);
            self.cores[core].effects.dirty.push(key);
        }
        Ok(())
    }

    /// What the connection knows whose session this one asked for.
    fn predecessor(&self, me: usize) -> Option<crate::session::Kept> {
        let asked = self.clients[me].resumes.as_ref()?;
        Some(self.clients[self.common.sessions.get(asked)?.holder].keep())
    }

    /// Time passes; sockets that are to end do.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.common.now_ms += ms;
        let now_ms = self.common.now_ms;
        self.digest.step(|| format!("{ms} ms pass"));
        let late: Vec<_> = self
            .alive()
            .filter(|me| self.clients[*me].socket.hangs_up.is_some_and(|at| at <= now_ms))
            .collect();
        for me in late {
            self.lose(me);
        }
    }

    /// Looks at every engine from the inside.
    pub(crate) fn audit(&self) -> Checked {
        for core in &self.cores {
            core.shard.audit().map_err(|violation| format!("{violation:?}"))?;
        }
        Ok(())
    }
}

fn describe(up: &Up) -> String {
    match up {
        Up::Message(Codec::Json, bytes) => frames::show(frames::TEXT, bytes),
        Up::Message(Codec::MessagePack, bytes) => frames::show(frames::BINARY, bytes),
        Up::Ping(_) => "ping".into(),
        Up::Pong(_) => "pong".into(),
        other => format!("{other:?}"),
    }
}
