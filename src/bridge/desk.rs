//! What every part of the bridge works with: names, scripts, what is listened to, and the way to the
//! cores.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::Moment;
use crate::config::Config;
use crate::decision::shared::News;
use crate::hash::Seed;
use crate::id::CoreId;
use crate::letter::Letter;
use crate::mesh::Port;
use crate::metrics::{self, LinkState};
use crate::node::Known;
use crate::room::broker::{FromBroker, Kept};
use crate::room::entrance::Place;
use crate::room::name::RoomKey;
use crate::shard::{CoreMessage, Entropy};

use super::call::session::Wanted;
use super::call::{Awaited, Call, Forms};
use super::entrances::Entrances;
use super::keys::{Keys, RoomKeys};
use super::map;
use super::nodes::{Nodes, node_name};
use super::owed::Owed;
use super::script::Scripts;
use super::station;
use super::time;
use super::watch::Watch;

/// Rooms that may have ended and are asked about again.
const DOUBTFUL_MAX: usize = 16_384;

/// The bridge, without its link and what waits for it.
pub(super) struct Desk {
    pub(super) config: Arc<Config>,
    pub(super) started: Instant,
    pub(super) port: Port<Letter<CoreMessage>>,
    pub(super) cores: u16,
    pub(super) metrics: Arc<metrics::Bridge>,
    pub(super) keys: Arc<Keys>,
    pub(super) scripts: Arc<Scripts>,
    pub(super) watch: Watch,
    /// What tells this node from others, for as long as it runs.
    pub(super) node: String,
    /// The others.
    pub(super) nodes: Nodes,
    pub(super) echo: Awaited,
    /// By which line each station is listened to.
    pub(super) stations: Vec<Option<u64>>,
    /// What is to be asked because of an answer.
    pub(super) next: Vec<Box<dyn Call>>,
    pub(super) wanted: Wanted,
    pub(super) entrances: Entrances,
    /// How safe all servers keep things, as cores were told last.
    kept: Kept,
    /// It says goodbye.
    pub(super) is_leaving: bool,
    /// Rooms that missed something on the way to their cores.
    owed: Owed,
    /// Rooms that nobody follows but a node that may be no more, and since when that was not known.
    doubtful: VecDeque<(Instant, RoomKey)>,
    entropy: RefCell<Box<dyn Entropy>>,
}

impl Desk {
    pub(super) fn new(
        config: Arc<Config>,
        started: Instant,
        port: Port<Letter<CoreMessage>>,
        cores: u16,
        metrics: Arc<metrics::Bridge>,
        keys: Keys,
        (node, mut entropy): (u64, Box<dyn Entropy>),
    ) -> Self {
        let seed = Seed(draw(&mut *entropy), draw(&mut *entropy));
        let nodes = Nodes::new(node, config.redis.lease_ms);
        let node = node_name(node);
        let rows = station::all(&keys, &node);
        Self {
            stations: vec![None; rows.len()],
            watch: Watch::new(rows, seed),
            echo: Awaited::default(),
            wanted: Wanted::default(),
            entrances: Entrances::default(),
            kept: Kept::default(),
            is_leaving: false,
            next: Vec::new(),
            node,
            nodes,
            keys: Arc::new(keys),
            scripts: Arc::new(Scripts::new()),
            owed: Owed::new(cores),
            doubtful: VecDeque::new(),
            entropy: RefCell::new(entropy),
            config,
            started,
            port,
            cores,
            metrics,
        }
    }

    pub(super) fn now(&self) -> Moment {
        Moment { us: u64::try_from(time::elapsed(self.started).as_micros()).unwrap_or(u64::MAX) }
    }

    /// Tells a core something.
    pub(super) fn post(&mut self, core: CoreId, message: FromBroker) {
        self.post_to(core, CoreMessage::FromBroker(Box::new(message)));
    }

    /// Tells a core something that is not of the broker.
    pub(super) fn post_to(&mut self, core: CoreId, message: CoreMessage) {
        let bytes = message.cost_bytes();
        // The plan of the mesh knows every core, and cores end before the bridge.
        let _ = self.port.post(core, Letter::Core(message), bytes);
    }

    /// Something is to be asked because of what was answered.
    pub(super) fn ask_next(&mut self, call: Box<dyn Call>) {
        self.next.push(call);
    }

    /// Tells all cores how the link is.
    pub(super) fn tell_all(&mut self, is_up: bool, kept: Kept) {
        self.kept = kept;
        let number = self.nodes.link();
        self.tell_cores(|| FromBroker::Link { is_up, kept, number });
    }

    /// Servers are others, or keep things otherwise: tells all cores, if it makes a difference.
    pub(super) fn tell_kept(&mut self, kept: Kept) {
        if kept != self.kept {
            tracing::info!(?kept, "Redis keeps things otherwise");
            self.tell_all(true, kept);
        }
    }

    /// Tells all cores something.
    pub(super) fn tell_cores(&mut self, message: impl Fn() -> FromBroker) {
        for core in (0..self.cores).map(CoreId) {
            self.post(core, message());
        }
    }

    /// Tells the control plane which nodes there are.
    pub(super) fn tell_nodes(&mut self) {
        let nodes: Vec<_> = self.nodes.known().to_vec();
        let bytes = nodes.len() * size_of::<Known>();
        // As above.
        let _ = self.port.post(CoreId(self.cores), Letter::Nodes(nodes.into()), bytes);
    }

    /// Tells the control plane something about decisions for all nodes.
    pub(super) fn tell_decisions(&mut self, news: News) {
        let bytes = match &news {
            News::Read { lines, .. } => lines.iter().map(|line| line.len()).sum(),
            News::Noted(..) | News::Unread => size_of::<News>(),
        };
        // As above.
        let _ = self.port.post(CoreId(self.cores), Letter::Shared(Box::new(news)), bytes);
    }

    /// A room missed something; its core is told when it has room for it.
    pub(super) fn owe(&mut self, room: RoomKey) {
        self.metrics.missed.add(1);
        if let Some(core) = self.watch.get(&room).map(|watched| watched.core) {
            self.owed.add(core, room);
        }
    }

    /// So have all rooms.
    pub(super) fn owe_all(&mut self) {
        let needed: Vec<_> = self.watch.needed().map(|(room, _)| room.clone()).collect();
        needed.into_iter().for_each(|room| self.owe(room));
    }

    /// What was told of the places of users may be lost, or void: cores tell it anew, over the next link.
    pub(super) fn next_link(&mut self) {
        self.nodes.next_link();
        self.entrances.renew();
    }

    /// A core tells of connections, and since when they are there; they may be all that it has over the link
    /// of that number.
    pub(super) fn hold(&mut self, from: CoreId, places: &[(Place, Moment)], all_of: Option<u64>) {
        places.iter().for_each(|(place, since)| self.entrances.hold(place.clone(), *since));
        if all_of == Some(self.nodes.link()) {
            self.entrances.all_of(from);
        }
    }

    /// Others hear of the present link once all places are told over it.
    pub(super) fn settle_link(&mut self) {
        if !self.nodes.is_held() && self.entrances.is_done(self.cores) {
            self.nodes.hold();
        }
    }

    /// It is not known yet whether a room has ended. Those that are too many run out.
    pub(super) fn doubt_end(&mut self, room: RoomKey) {
        if self.doubtful.len() < DOUBTFUL_MAX {
            self.doubtful.push_back((time::now(), room));
        }
    }

    /// Rooms of which it should be known by now, and that nobody here needs again.
    pub(super) fn doubted(&mut self) -> Vec<RoomKey> {
        let lease = Duration::from_millis(self.config.redis.lease_ms);
        let due =
            self.doubtful.iter().take_while(|(since, _)| time::elapsed(*since) >= lease).count();
        let rooms = self.doubtful.drain(..due).map(|(_, room)| room);
        rooms.filter(|room| self.watch.get(room).is_none()).collect()
    }

    /// Tells cores that have caught up what they have missed.
    pub(super) fn tell_owed(&mut self) {
        for core in (0..self.cores).map(CoreId) {
            while !self.port.is_over(core)
                && let Some(room) = self.owed.next(core)
            {
                // Nobody may need it any more.
                if self.watch.get(&room).is_some() {
                    self.post(core, FromBroker::Missed { room });
                }
            }
        }
    }

    /// Whether no room is owed word of what it missed.
    #[cfg(test)]
    pub(super) fn has_told(&self) -> bool {
        self.owed.is_empty()
    }

    /// The forms that this node knows, and what Redis has told of them.
    pub(super) fn forms(&self) -> Forms {
        Forms::new(&self.config, self.metrics.form.get())
    }

    /// What a room is called in Redis.
    pub(super) fn names(&self, room: &RoomKey) -> Cow<'_, RoomKeys> {
        match self.watch.get(room) {
            Some(watched) => Cow::Borrowed(&watched.keys),
            None => Cow::Owned(self.keys.room(room)),
        }
    }

    /// Where a room is in a cluster.
    pub(super) fn slot(&self, room: &RoomKey) -> u16 {
        let channel = || self.keys.room(room).channel();
        self.watch.slot(room).unwrap_or_else(|| map::slot(channel().as_bytes()))
    }

    /// The link is in another state, which is told once.
    pub(super) fn note(&self, state: LinkState) {
        if self.metrics.link() != state {
            self.metrics.set_link(state);
        }
    }

    pub(super) fn chance(&self) -> u64 {
        draw(&mut **self.entropy.borrow_mut())
    }
}

fn draw(entropy: &mut dyn Entropy) -> u64 {
    let mut bytes = [0; 8];
    entropy.fill(&mut bytes);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::mesh;
    use crate::tenant::Tenants;

    /// One of a node with so many cores, that nobody listens to.
    pub(in crate::bridge) fn desk(cores: u16) -> Desk {
        let config = Arc::new(Config::default());
        // The control plane takes part, too.
        let plan = mesh::Plan { parties: cores + 2, inbox_batches: 8, backlog_bytes: 1 << 20 };
        let mut ports = mesh::build(plan).expect("the kernel gives descriptors");
        let port = ports.pop().expect("there are some");
        let keys = Keys::new("p", &Tenants::new(&config));
        let node = (1, Box::new(Same) as Box<dyn Entropy>);
        Desk::new(config, Instant::now(), port, cores, Arc::default(), keys, node)
    }

    /// Nothing here is left to chance.
    #[derive(Debug)]
    struct Same;

    impl Entropy for Same {
        fn fill(&mut self, bytes: &mut [u8]) {
            bytes.fill(1);
        }
    }
}
