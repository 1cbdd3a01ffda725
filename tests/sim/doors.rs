//! Engines with credentials, and a mesh on which every delivery is chance: for what must hold
//! whatever overtakes what.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::IpAddr;
use std::sync::Arc;

use ringroom::auth::{
    self, Accepted, Custom, Permission, Policy, Proof, Refusal, RightsBuilder, Strategy,
};
use ringroom::clock::Now;
use ringroom::config::{Config, Tenant};
use ringroom::hash::Seed;
use ringroom::id::{ConnectionAddress, ConnectionKey, CoreId};
use ringroom::metrics::Core as Metrics;
use ringroom::protocol::Codec;
use ringroom::shard::{
    Admission, Claim, CoreMessage, Edict, Effects, Input, Opened, Route, Senders, Setup, Shard,
};
use ringroom::tenant::Tenants;
use ringroom::ws::MessageKind;
use ringroom::ws::handshake::{Credential, CredentialKind};
use serde_json::Value;

use crate::random::Random;

/// Believes `tenant/user/id`, and lets it do everything.
#[derive(Debug)]
struct Words(Arc<Tenants>);

impl Custom for Words {
    fn judge(&self, now_ms: u64, proof: &Proof<'_>) -> Option<Result<Arc<Accepted>, Refusal>> {
        let mut words = proof.secret.split('/');
        let (tenant, user, id) = (words.next()?, words.next()?, words.next()?);
        let Some(tenant) = self.0.find(tenant) else { return Some(Err(Refusal::UnknownTenant)) };
        let mut rights = RightsBuilder::default();
        rights.state(&Permission::All);
        let accepted = Accepted {
            strategy: Strategy::Custom,
            user: Some(user.into()),
            token_id: Some(id.into()),
            issued_at_ms: Some(now_ms - 1),
            rights: Arc::new(rights.finish().expect("one permission")),
            ..Accepted::nobody(tenant, Arc::clone(&self.0.get(tenant).name))
        };
        Some(Ok(Arc::new(accepted)))
    }
}

/// Engines, and what is on its way between them.
pub(crate) struct Cluster {
    pub(crate) random: Random,
    pub(crate) tenants: Arc<Tenants>,
    shards: Vec<Shard>,
    metrics: Vec<Arc<Metrics>>,
    effects: Vec<Effects>,
    /// By sender and receiver, each in order.
    lanes: Vec<Vec<VecDeque<CoreMessage>>>,
    /// Cores that have carried out the edict.
    pub(crate) carried: usize,
    opened: u32,
    now: Now,
}

impl Cluster {
    pub(crate) fn new(cores: u16, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut config = Config::default();
        config.limits.connections_per_user = 20;
        for tenant in ["t0", "t1"] {
            config.tenants.insert(tenant.to_owned(), Tenant::default());
        }
        let config = Arc::new(config);
        let tenants = Tenants::new(&config);
        let custom: Arc<dyn Custom> = Arc::new(Words(Arc::clone(&tenants)));
        let setup = auth::Setup { custom: Some(custom), ..auth::Setup::default() };
        let policy = Arc::new(Policy::new(setup));
        let metrics: Vec<Arc<Metrics>> = (0..cores).map(|_| Arc::default()).collect();
        let maps = Seed(random.next(), random.next());
        let senders = Senders::new(&config, maps);
        let shards = (0..cores).zip(&metrics).map(|(core, metrics)| {
            Shard::new(Setup {
                core: CoreId(core),
                cores,
                config: Arc::clone(&config),
                seed: maps,
                entropy: Box::new(Random::new(seed ^ u64::from(core))),
                metrics: Arc::clone(metrics),
                policy: Some(Arc::clone(&policy)),
                senders: Arc::clone(&senders),
                tenants: Arc::clone(&tenants),
                stopwatch: || 0,
            })
        });
        let count = usize::from(cores);
        Self {
            shards: shards.collect(),
            random,
            tenants,
            metrics,
            effects: (0..cores).map(|_| Effects::default()).collect(),
            lanes: (0..count).map(|_| vec![VecDeque::new(); count]).collect(),
            carried: 0,
            opened: 0,
            now: Now { unix_ms: 1_700_000_000_000, ..Now::default() },
        }
    }

    /// The time, in Unix time: the credentials that are shown were made a moment before.
    pub(crate) fn now_ms(&self) -> u64 {
        self.now.unix_ms
    }

    pub(crate) fn cores(&self) -> usize {
        self.shards.len()
    }

    /// A connection by a credential, on any core; none: it is not let in.
    pub(crate) fn open(
        &mut self,
        credential: &str,
        session: Option<String>,
    ) -> Option<ConnectionAddress> {
        let core = self.random.below(self.shards.len());
        self.opened += 1;
        let key = ConnectionKey { index: self.opened, generation: self.opened };
        let secret = credential.to_owned();
        let credential = Credential { kind: CredentialKind::Bearer, secret: secret.into() };
        let claim = Claim { credential: Some(&credential), tenant: None, page: None };
        let address = Some(address_of(&credential.secret));
        let (shard, effects) = (&mut self.shards[core], &mut self.effects[core]);
        if shard.shuts_out(self.now, address) {
            return None;
        }
        let Admission::Enter(entry) = shard.admit(self.now, key, &claim, effects) else {
            return None;
        };
        let opened = Opened {
            connection: key,
            route: Route::Rooms(None),
            codec: Codec::Json,
            deflate_up_to: 0,
            address,
            session: session.map(Into::into),
            entry,
        };
        let core = CoreId(u16::try_from(core).expect("there are few"));
        let at = ConnectionAddress { core, key };
        self.input(core.index(), Input::Opened(Box::new(opened)));
        Some(at)
    }

    fn input(&mut self, core: usize, input: Input<'_>) {
        self.shards[core].handle(self.now, input, &mut self.effects[core]);
        self.collect(core);
    }

    fn collect(&mut self, core: usize) {
        let effects = &mut self.effects[core];
        self.carried += std::mem::take(&mut effects.carried).len();
        for (to, message) in effects.letters.drain(..) {
            self.lanes[core][to.index()].push_back(message);
        }
    }

    pub(crate) fn say(&mut self, at: ConnectionAddress, message: &Value) {
        let mut payload = message.to_string().into_bytes();
        let input = Input::Message {
            connection: at.key,
            kind: MessageKind::Text,
            payload: &mut payload,
            frames: 1,
        };
        self.input(at.core.index(), input);
    }

    /// The socket of a connection is gone.
    pub(crate) fn lose(&mut self, at: ConnectionAddress) {
        self.input(at.core.index(), Input::Lost { connection: at.key });
    }

    pub(crate) fn edict(&mut self, core: usize, edict: &Edict) {
        self.input(core, Input::Edict { number: 1, edict: edict.clone() });
    }

    /// One message of those on their way arrives, or a core ends its tick; false: nothing is left.
    pub(crate) fn step(&mut self) -> bool {
        let count = self.shards.len();
        let first = self.random.below(count * count);
        for offset in 0..count * count {
            let lane = (first + offset) % (count * count);
            let (from, to) = (lane / count, lane % count);
            if let Some(message) = self.lanes[from][to].pop_front() {
                let from = CoreId(u16::try_from(from).expect("there are few"));
                self.input(to, Input::Core { from, message });
                return true;
            }
        }
        false
    }

    /// Until nothing is on its way.
    pub(crate) fn rest(&mut self) {
        while self.step() {}
        for core in 0..self.shards.len() {
            self.shards[core].settle(self.now, &mut self.effects[core]);
            self.collect(core);
        }
    }

    pub(crate) fn wait(&mut self, ms: u64) {
        self.now.moment = self.now.moment.plus_ms(ms);
        self.now.unix_ms += ms;
        for core in 0..self.shards.len() {
            self.shards[core].handle_timeout(self.now, &mut self.effects[core]);
            self.collect(core);
        }
    }

    /// Messages that rooms have taken so far.
    pub(crate) fn published(&self) -> u64 {
        self.metrics.iter().map(|metrics| metrics.published.get()).sum()
    }

    /// What a connection was sent since it was last asked.
    pub(crate) fn hear(&mut self, at: ConnectionAddress) -> Vec<Value> {
        let core = at.core.index();
        self.shards[core].settle(self.now, &mut self.effects[core]);
        self.collect(core);
        let Some(outbox) = self.shards[core].outbox(at.key) else { return Vec::new() };
        let mut bytes = Vec::new();
        loop {
            let mut slices = [IoSlice::new(&[]); 16];
            let count = outbox.gather(&mut slices);
            let round: Vec<u8> = slices[..count].iter().flat_map(|it| it.to_vec()).collect();
            if round.is_empty() {
                break;
            }
            outbox.advance(round.len());
            bytes.extend(round);
        }
        self.input(core, Input::Written { connection: at.key });
        messages(&bytes)
    }
}

/// The messages of the text frames in `bytes`.
fn messages(mut bytes: &[u8]) -> Vec<Value> {
    let mut messages = Vec::new();
    while let [first, length, rest @ ..] = bytes {
        let (length, rest) = match (length, rest) {
            (126, [high, low, rest @ ..]) => (usize::from(*high) << 8 | usize::from(*low), rest),
            (length, rest) => (usize::from(*length), rest),
        };
        if *first == 0x81 {
            messages.push(serde_json::from_slice(&rest[..length]).expect("a message is JSON"));
        }
        bytes = &rest[length..];
    }
    messages
}

/// Where somebody with this credential comes from: each user has an address of their own.
pub(crate) fn address_of(credential: &str) -> IpAddr {
    let user = credential.split('/').nth(1).unwrap_or_default();
    IpAddr::from([10, 0, 0, user.bytes().fold(0, u8::wrapping_add)])
}
