//! The handshake's way past the engine's door: at once, or when the control plane has answered; and
//! what the engine has to say to the control plane about who came and who was refused.
//!
//! Invariants: no core waits for the control plane, only a connection does, and not beyond its
//! handshake's deadline; while it waits nothing more is read of it, and what was read counts; what is
//! said to a control plane that does not keep up is counted and dropped.

use std::net::IpAddr;

use tracing::debug;

use crate::clock::Now;
use crate::id::ConnectionKey;
use crate::letter::Letter;
use crate::record::{Actor, Deed, Record, Subject};
use crate::shard::{Admission, Claim, Denied, Entry, Failure, Input, Opened, Page};
use crate::ws::decoder::Decoder;
use crate::ws::handshake;
use crate::ws::head::Head;
use crate::ws::refusal::Refusal;

use super::connection::{Connection, Greeting, Stage};
use super::core::State;
use super::inbound::{Kept, Seat};
use super::intake::{Flow, Intake};

/// When a client that was turned away for want of room may try again.
const RETRY_AFTER_MS: u32 = 5_000;

/// Sources of bad credentials that are told apart until they are next told of.
const SOURCES_MAX: usize = 256;

/// A handshake whose credential is being judged.
#[derive(Debug)]
pub(super) struct Waiting {
    accepted: handshake::Accepted,
    address: Option<IpAddr>,
    page: Option<Page>,
    /// Where that is kept which was read behind it.
    pub(super) behind: Option<Seat>,
}

/// How an upgrade goes on.
pub(super) enum Upgrade {
    /// Frames follow.
    Open(Decoder),
    /// Its credential is being judged.
    Wait {
        /// Whether deflate was agreed on.
        deflate: bool,
    },
}

/// Bad credentials that were not told of yet: where from, why, and how often.
pub(super) type Failures = Vec<(Failure, u64)>;

impl State {
    /// Judges a request that is a handshake, and opens its connection if nothing keeps it out.
    pub(super) fn enter_by(
        &mut self,
        now: Now,
        key: ConnectionKey,
        accepted: handshake::Accepted,
        address: Option<IpAddr>,
        page: Option<Page>,
    ) -> Result<Upgrade, Refusal> {
        let deflate = accepted.deflate.is_some();
        let waiting = Waiting { accepted, address, page, behind: None };
        match self.judge(now, key, &waiting) {
            Admission::Enter(entry) => {
                self.open(now, key, waiting, entry);
                Ok(Upgrade::Open(Decoder::new(deflate)))
            }
            Admission::Refuse(denied) => Err(self.deny(address, denied)),
            Admission::Wait => {
                self.wait(key, Box::new(waiting));
                Ok(Upgrade::Wait { deflate })
            }
        }
    }

    /// Its credential is not judged yet.
    fn wait(&mut self, key: ConnectionKey, waiting: Box<Waiting>) {
        if let Some(greeting) = self.connection(key).and_then(Connection::greeting) {
            greeting.waiting = Some(waiting);
        }
    }

    fn judge(&mut self, now: Now, key: ConnectionKey, waiting: &Waiting) -> Admission {
        if self.shard.shuts_out(now, waiting.address) {
            return Admission::Refuse(Denied::Banned);
        }
        if waiting.accepted.route == handshake::Route::Echo {
            return Admission::Enter(Entry::Open);
        }
        let claim = Claim {
            credential: waiting.accepted.credential.as_ref(),
            tenant: waiting.accepted.tenant.as_deref(),
            page: waiting.page.as_ref(),
        };
        self.shard.admit(now, key, &claim, &mut self.effects)
    }

    fn open(&mut self, now: Now, key: ConnectionKey, waiting: Waiting, entry: Entry) {
        let handshake::Accepted { route, codec, deflate, session, response, .. } = waiting.accepted;
        let Some(connection) = self.connection(key) else { return };
        connection.raw = response;
        let began = connection.greeting().map_or(now.moment, |greeting| greeting.accepted);
        self.metrics.handshakes.add(1);
        self.metrics.handshake_latency.record(now.moment.since_us(began));
        self.advance(key, Stage::Open(waiting.behind));
        let opened = Opened {
            connection: key,
            route,
            codec,
            deflate_up_to: deflate.map_or(0, |agreed| agreed.deflate_up_to),
            address: waiting.address,
            session,
            entry,
        };
        self.shard.handle(now, Input::Opened(Box::new(opened)), &mut self.effects);
        self.effects.dirty.push(key);
    }

    /// Why a handshake is refused; a bad credential counts against its address.
    fn deny(&mut self, address: Option<IpAddr>, denied: Denied) -> Refusal {
        match denied {
            Denied::Credential(refusal) => {
                self.effects.failures.push(Failure { address, refusal });
                Refusal::Credential { word: refusal.word(), status: refusal.status() }
            }
            Denied::Suspended => Refusal::Suspended,
            Denied::Banned => Refusal::ShutOut,
            Denied::Page => Refusal::Origin,
            Denied::TenantFull => Refusal::TenantLimit { retry_after_ms: RETRY_AFTER_MS },
            Denied::CredentialFull => Refusal::CredentialLimit { retry_after_ms: RETRY_AFTER_MS },
        }
    }

    /// Handshakes that waited for what is known now.
    pub(super) fn judge_again(&mut self, now: Now) {
        for key in std::mem::take(&mut self.effects.decided) {
            let Some(connection) = self.connection(key).filter(|it| !it.hangs_up()) else {
                continue;
            };
            let greeting = connection.greeting();
            let Some(mut waiting) = greeting.and_then(|it| it.waiting.take()) else { continue };
            match self.judge(now, key, &waiting) {
                Admission::Enter(entry) => {
                    self.open(now, key, *waiting, entry);
                    self.resume(key);
                }
                Admission::Refuse(denied) => {
                    self.vacate(waiting.behind.take());
                    let refusal = self.deny(waiting.address, denied);
                    self.refuse(now, key, &refusal);
                }
                Admission::Wait => self.wait(key, waiting),
            }
        }
    }

    /// A connection that has waited reads on: as what it has become.
    pub(super) fn take_behind(
        &mut self,
        now: Now,
        key: ConnectionKey,
        intake: &mut Intake,
        bytes: &[u8],
    ) -> Flow {
        let Intake::Waiting { deflate } = *intake else { return Flow::On };
        let mut held = self.take_kept(key).held.unwrap_or_default();
        held.bytes.extend_from_slice(bytes);
        let Some(connection) = self.connection(key) else { return Flow::End };
        let is_judged = matches!(connection.stage, Stage::Open(_));
        if connection.hangs_up() || connection.seat().is_none() {
            *intake = Intake::Deaf;
            return Flow::On;
        }
        if is_judged {
            *intake = Intake::Open(Decoder::new(deflate));
            return self.take_plain(now, key, intake, &mut held.bytes);
        }
        let kept = Kept { unfinished: None, held: Some(held) };
        if self.keep(now, key, kept) {
            *intake = Intake::Deaf;
            return Flow::On;
        }
        Flow::Pause
    }

    /// The page a request came from, where tenants differ in whose pages may connect.
    pub(super) fn page(&self, head: &Head<'_>, tls: bool) -> Option<Page> {
        if self.pages.of.is_empty() {
            return None;
        }
        let text = |name| head.single(name).ok().flatten().map(ToOwned::to_owned);
        Some(Page { origin: text("origin")?, host: text("host").unwrap_or_default(), tls })
    }

    /// Hands on what the engine has to say to the control plane.
    pub(super) fn post_to_control_plane(&mut self, now: Now) {
        for carried in std::mem::take(&mut self.effects.carried) {
            self.tell_control(Letter::Carried(carried), size_of_val(&carried));
        }
        for question in std::mem::take(&mut self.effects.questions) {
            let bytes = size_of_val(&question);
            self.tell_control(Letter::Question(Box::new(question)), bytes);
        }
        for failure in std::mem::take(&mut self.effects.failures) {
            self.note_failure(now, failure);
        }
        for record in std::mem::take(&mut self.effects.records) {
            self.record(record);
        }
    }

    fn tell_control(&mut self, letter: Letter<crate::shard::CoreMessage>, bytes: usize) {
        // The control plane ends after the cores.
        let _ = self.port.post(self.control, letter, bytes);
    }

    /// For the audit trail.
    fn record(&mut self, record: Record) {
        if self.port.is_over(self.control) {
            self.records_lost += 1;
            return;
        }
        let bytes = record.cost_bytes();
        self.tell_control(Letter::Record(Box::new(record)), bytes);
    }

    /// A credential was refused: it counts against its address, which may be shut out for it.
    fn note_failure(&mut self, now: Now, failure: Failure) {
        if failure.refusal.is_temporary() {
            return;
        }
        self.metrics.credentials_refused.add(1);
        let (reason, address) = (failure.refusal.word(), failure.address);
        debug!(reason, ?address, "a credential is refused");
        if let Some(address) = failure.address
            && let Some(until_ms) = self.admission.offend(now, address)
        {
            let mut record = Record::new(now.unix_ms, Actor::Server, Deed::Shut);
            record.subject = Some(Subject::Address(address));
            record.until_ms = Some(until_ms);
            record.reason = Some("bad credentials".into());
            self.record(record);
        }
        // Once there are many it is told how many, and not where from.
        let is_known = self.failures.iter().any(|(known, _)| *known == failure);
        let is_crowded = !is_known && self.failures.len() >= SOURCES_MAX;
        let address = failure.address.filter(|_| !is_crowded);
        let failure = Failure { address, ..failure };
        match self.failures.iter_mut().find(|(known, _)| *known == failure) {
            Some((_, count)) => *count += 1,
            None => self.failures.push((failure, 1)),
        }
    }

    /// Tells of the credentials that were refused since the last time.
    pub(super) fn tell_failures(&mut self, now: Now) {
        for (failure, count) in std::mem::take(&mut self.failures) {
            let mut record = Record::new(now.unix_ms, Actor::Server, Deed::Refuse);
            record.subject = failure.address.map(Subject::Address);
            record.reason = Some(failure.refusal.word().into());
            record.count = count;
            self.record(record);
        }
        let lost = std::mem::take(&mut self.records_lost);
        if lost > 0 {
            self.tell_control(Letter::RecordsLost(lost), 0);
        }
    }

    /// A handshake has had its time: what it is told depends on who was waited for.
    pub(super) fn overdue(&mut self, key: ConnectionKey) -> Refusal {
        match self.connection(key).and_then(Connection::greeting) {
            Some(Greeting { waiting: Some(_), .. }) => {
                Refusal::Credential { word: "unavailable", status: 503 }
            }
            _ => Refusal::Deadline,
        }
    }
}
