//! The life of the links: servers are found, links are made, found to have ended, and made again.
//!
//! Invariant: every core is told when the first link begins and the last one ends, every room when the
//! one to its slot ends; every call that waits for one that ends is failed.

use std::time::Duration;

use tokio::task::JoinError;

use crate::config::RedisUrl;
use crate::metrics::LinkState;
use crate::node::Facts;
use crate::room::broker::{Fault, FromBroker, Kept};
use crate::room::name::RoomKey;

use super::call::{Agree, Beat, End, Tell, session};
use super::lines::Line;
use super::link::{Link, Maker, kept};
use super::map::{self, Map};
use super::queue::Waiting;
use super::run::Bridge;
use super::time;
use super::way::Pace;

/// The first pause between two attempts to connect is at most so long.
const RECONNECT_FIRST_MS: u64 = 50;
/// How long what is still to be said may take when the node ends.
const FAREWELL_MS: u64 = 500;
/// How long a slot that is on its way is given before it is asked for again.
const MOVING_MS: u64 = 25;

/// A link that was made, or not: its number, where to, and what is wrong.
pub(super) type Made = (u64, RedisUrl, Result<Link, LinkState>);

impl Bridge {
    /// How long something may wait for Redis.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_millis(self.desk.config.redis.timeout_ms)
    }

    /// Finds out where the servers are, after as long a pause as the failed attempts make it.
    pub(super) fn find(&mut self) {
        let desk = &self.desk;
        let pause_ms = match self.attempts {
            0 => 0,
            n => {
                let most = RECONNECT_FIRST_MS << n.min(16);
                desk.chance() % most.min(desk.config.redis.reconnect_max_ms).max(1)
            }
        };
        self.find_after(pause_ms);
    }

    /// Finds out where slots are that a server said it does not have.
    pub(super) fn find_soon(&mut self, is_known: bool) {
        self.find_after(if is_known { 0 } else { MOVING_MS });
    }

    fn find_after(&mut self, pause_ms: u64) {
        self.is_find_wanted = !self.finding.is_empty();
        if self.is_find_wanted {
            return;
        }
        let config = self.desk.config.clone();
        let connection = |line: &Line| (line.url.clone(), line.link.mouth.connection.clone());
        let known = self.lines.iter().map(|(_, line)| connection(line)).collect();
        let turn = self.desk.chance();
        let patience = self.patience() * 4;
        self.finding.spawn_local(async move {
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            let found = map::find(&config.redis, known, turn);
            tokio::time::timeout(patience, found).await.unwrap_or(Err(LinkState::Lost))
        });
    }

    /// It is known where the servers are, or nobody tells.
    pub(super) fn found(&mut self, found: Result<Result<Map, LinkState>, JoinError>) {
        match found.unwrap_or(Err(LinkState::Lost)) {
            Ok(map) => {
                if map != *self.lines.map() {
                    tracing::info!(primaries = map.primaries().len(), "Redis is found");
                    let before = self.lines.set_map(map);
                    self.heed_moves(&before);
                    for line in self.lines.needless() {
                        self.fall(line, LinkState::Lost);
                    }
                }
                self.astray.found();
                self.hear_where_they_are();
                self.note_state();
                for url in self.lines.missing() {
                    self.connect(url);
                }
            }
            Err(state) => self.fail_attempt(state),
        }
        if std::mem::take(&mut self.is_find_wanted) {
            self.find_soon(false);
        }
    }

    /// The server that has what the nodes agree on.
    fn keeper(&self) -> Option<RedisUrl> {
        self.lines.map().server(map::slot(self.desk.keys.form().as_bytes())).cloned()
    }

    fn connect(&mut self, url: RedisUrl) {
        if self.dialing.contains(&url) {
            return;
        }
        self.dialing.push(url.clone());
        self.last_line += 1;
        let (number, patience) = (self.last_line, self.patience() * 4);
        let maker = Maker {
            config: self.desk.config.clone(),
            keys: self.desk.keys.clone(),
            scripts: self.desk.scripts.clone(),
            inbox: self.inbox.clone(),
            metrics: self.desk.metrics.clone(),
            forms: self.desk.forms(),
            keeper: self.keeper(),
        };
        self.connecting.spawn_local(async move {
            let made = tokio::time::timeout(patience, maker.make(&url, number)).await;
            (number, url, made.unwrap_or(Err(LinkState::Lost)))
        });
    }

    /// An attempt to connect is over.
    pub(super) fn linked(&mut self, made: Result<Made, JoinError>) {
        let Ok((number, url, made)) = made else {
            self.dialing.clear();
            return self.fail_attempt(LinkState::Lost);
        };
        self.dialing.retain(|other| *other != url);
        match made {
            Ok(link) if self.lines.missing().contains(&url) => self.begin(number, url, link),
            // It is no primary any more.
            Ok(_) => {}
            Err(state) => self.fail_attempt(state),
        }
    }

    fn begin(&mut self, number: u64, url: RedisUrl, link: Link) {
        tracing::info!(%url, attempts = self.attempts, kept = ?link.kept, "a link to Redis is up");
        let is_first = self.lines.is_empty();
        self.desk.watch.meet(link.server);
        self.lines.insert(number, Line::new(url, link));
        self.desk.metrics.connects.add(1);
        // The cores are told before everyone else is.
        self.is_new = true;
        self.is_barred = false;
        self.settle_stations();
        self.look_after_backends();
        if self.lines.of(map::slot(self.desk.keys.form().as_bytes())) == Some(number) {
            self.desk.nodes.are_elsewhere();
        }
        self.desk.next_link();
        // Before this node says anything of itself, others can know that it lives.
        self.beat();
        self.desk.tell_all(true, self.lines.kept());
        if !is_first {
            // Those that were open elsewhere, or could not be opened; at the first, all are.
            let (lines, watch) = (&self.lines, &self.desk.watch);
            for room in watch.misheard(|watched| lines.of(watched.slot) != Some(number)) {
                self.desk.owe(room);
            }
        }
    }

    /// Others may have taken this node for one that is no more while it could not beat.
    pub(super) fn heed_pause(&mut self) {
        if self.desk.nodes.take_pause() && !self.lines.is_empty() {
            self.desk.next_link();
            self.desk.tell_all(true, self.lines.kept());
        }
    }

    /// The server that has what nodes say of themselves was emptied: as if it were another one, all is told
    /// and asked anew.
    pub(super) fn heed_loss(&mut self) {
        if self.desk.nodes.take_loss()
            && let Some(line) = self.lines.of(map::slot(self.desk.keys.form().as_bytes()))
        {
            self.fall(line, LinkState::Lost);
        }
    }

    /// Tells Redis of places of users.
    pub(super) fn tell_places(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        let link = self.desk.nodes.link();
        while let Some(word) = self.desk.entrances.next() {
            self.ask(Box::new(Tell { word, link }));
        }
        self.desk.settle_link();
    }

    fn fail_attempt(&mut self, state: LinkState) {
        if self.trouble != state {
            tracing::warn!(state = state.word(), "there is no link to Redis");
            self.trouble = state;
        }
        self.note_state();
        self.bar_if(state);
        if self.attempts == 0 && self.lines.is_empty() {
            // Cores wait for the first word.
            self.desk.tell_all(false, Kept::default());
        }
        self.attempts += 1;
        self.find();
    }

    /// The nodes here write in a form that this one does not know: it cannot be one of them, and does
    /// not act as if it were alone, until it can.
    fn bar_if(&mut self, state: LinkState) {
        if state != LinkState::OtherVersion || std::mem::replace(&mut self.is_barred, true) {
            return;
        }
        let (form, (oldest, newest)) = (self.desk.metrics.form.get(), self.desk.forms().own());
        let version = env!("CARGO_PKG_VERSION");
        tracing::error!(
            form,
            oldest,
            newest,
            version,
            "the nodes on this Redis write another form than this version knows: nothing is served"
        );
        self.desk.tell_cores(|| FromBroker::Barred);
    }

    /// The form in force may have become one that this node does not know, while it could not say that
    /// it was there.
    pub(super) fn heed_form(&mut self) {
        let form = self.desk.metrics.form.get();
        if form != 0 && !self.lines.is_empty() && !self.desk.forms().hold(form) {
            let state = LinkState::OtherVersion;
            self.lines.numbers().into_iter().for_each(|number| self.fall(number, state));
        }
    }

    /// Says how the links are.
    pub(super) fn note_state(&self) {
        self.desk.note(self.lines.state(self.trouble, time::now()));
    }

    /// A link has ended.
    pub(super) fn fall(&mut self, number: u64, state: LinkState) {
        let Some(mut line) = self.lines.remove(number) else { return };
        // It was made in vain, and so may be the next one.
        self.attempts += u32::from(!line.is_proven);
        session::forget(&mut self.desk);
        tracing::warn!(state = state.word(), url = %line.url, "a link to Redis has ended");
        self.trouble = state;
        self.note_state();
        let paces = line.ways.paces();
        for waiting in paces.into_iter().flat_map(|pace| line.way(pace).drain()) {
            waiting.call.fail(Fault::Unsent, &mut self.desk);
        }
        let rooms = self.desk.watch.unlink(number);
        for waiting in self.recall(number, &rooms) {
            waiting.call.fail(Fault::Unsent, &mut self.desk);
        }
        if self.lines.is_empty() {
            self.desk.tell_all(false, Kept::default());
            self.bar_if(state);
        } else {
            rooms.into_iter().for_each(|room| self.sever(room));
            // What the others keep holds for the rest.
            self.desk.tell_kept(self.lines.kept());
        }
        self.desk.echo.forget();
        self.settle_stations();
        self.find();
    }

    /// What waits to be asked of rooms whose line has ended: their homes ask anew.
    fn recall(&mut self, line: u64, rooms: &[RoomKey]) -> Vec<Waiting> {
        let watch = &self.desk.watch;
        let is_of_line = |waiting: &Waiting| {
            waiting.call.room_to_hear().is_some_and(|(room, _)| watch.fell_with(room, line))
        };
        let mut recalled = self.astray.part(is_of_line);
        for way in self.lines.iter_mut().flat_map(|line| line.ways.all()) {
            recalled.extend(way.part(is_of_line));
        }
        recalled.extend(rooms.iter().filter_map(|room| self.parked.remove(room)).flatten());
        recalled
    }

    fn sever(&mut self, room: RoomKey) {
        if let Some(core) = self.desk.watch.get(&room).map(|watched| watched.core) {
            self.desk.post(core, FromBroker::Severed { room });
        }
    }

    /// Once in a while: rooms that nobody needs any more, calls that have waited too long, and whether
    /// every link still answers and hears.
    pub(super) fn look(&mut self) {
        let grace = Duration::from_millis(self.desk.config.redis.grace_ms);
        for (line, channel) in self.desk.watch.sweep(grace) {
            if let Some(line) = self.lines.get(line) {
                line.link.ear.unsubscribe(&channel);
            }
        }
        for room in self.desk.doubted() {
            self.ask(Box::new(End { room, again: true }));
        }
        self.desk.entrances.look();
        self.expire();
        let (patience, now) = (self.patience(), time::now());
        for number in self.lines.numbers() {
            let Some(line) = self.lines.get_mut(number) else { continue };
            if line.link.ear.is_overdue(patience) {
                self.fall(number, LinkState::Lost);
                continue;
            }
            line.link.ear.verify();
            let is_quiet = line.way(Pace::Plain).is_clear();
            if is_quiet || !line.is_proven || line.refusal.state(now).is_some() {
                self.probe(number);
            }
        }
        self.note_state();
        self.survey();
        self.look_after_backends();
        self.echo();
    }

    /// This node lives.
    pub(super) fn beat(&mut self) {
        if !self.lines.is_empty() {
            let beat = Beat::next(&mut self.desk);
            self.ask(Box::new(beat));
            self.ask(Box::new(Agree));
        }
    }

    /// There is something new about this node; whether it takes connections is told at once.
    pub(super) fn say_of_itself(&mut self, facts: Facts) {
        let is_urgent = self.desk.nodes.state() != Some(facts.state);
        self.desk.nodes.say(facts);
        if is_urgent {
            self.beat();
        }
    }

    /// The node ends: what waits goes out, and others need not find out by themselves that it is no
    /// more.
    pub(super) async fn say_goodbye(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        self.receive();
        self.desk.is_leaving = true;
        self.ask(Box::new(Beat::last()));
        let patience = Duration::from_millis(self.desk.config.redis.timeout_ms.min(FAREWELL_MS));
        let said = async {
            loop {
                self.hear();
                self.ask_next();
                self.dispatch();
                let Some(outcome) = self.pipelines.join_next().await else { return };
                self.finish(outcome);
            }
        };
        // If that is too long, others find out.
        let _ = tokio::time::timeout(patience, said).await;
    }

    fn expire(&mut self) {
        let (patience, now) = (self.patience(), time::now());
        let mut expired = self.astray.expire(patience);
        for calls in self.parked.values_mut() {
            expired.extend(calls.extract_if(.., |waiting| waiting.is_older(patience, now)));
        }
        self.parked.retain(|_, calls| !calls.is_empty());
        // The others' turn comes, or the client gives up.
        let ways = self.lines.iter_mut().flat_map(|line| line.ways.all());
        expired.extend(ways.flat_map(|way| way.expire(patience)));
        for waiting in expired {
            waiting.call.fail(Fault::Unsent, &mut self.desk);
        }
    }

    /// The node hears itself, or the link by which it should has lost its subscriptions.
    fn echo(&mut self) {
        if self.desk.echo.is_overdue(self.patience() * 2) {
            self.desk.echo.forget();
            let slot = map::slot(self.desk.keys.node(&self.desk.node).as_bytes());
            if let Some(line) = self.lines.of(slot) {
                self.fall(line, LinkState::Lost);
            }
        }
        if let Some(echo) = self.desk.echo.next() {
            self.ask(Box::new(echo));
        }
    }

    /// Every few looks: where the servers are, and how safe they keep things.
    fn survey(&mut self) {
        const LOOKS: u32 = 8;
        self.looks = (self.looks + 1) % LOOKS;
        if self.looks != 0 || self.lines.is_empty() {
            return;
        }
        if self.finding.is_empty() && self.lines.missing().is_empty() {
            self.find_soon(true);
        }
        for (number, line) in self.lines.iter() {
            let connection = line.link.mouth.connection.clone();
            self.surveys.spawn_local(async move { (number, kept(&connection).await.ok()) });
        }
    }

    /// A server has said how safe it keeps things.
    pub(super) fn surveyed(&mut self, number: u64, kept: Option<Kept>) {
        let (Some(kept), Some(line)) = (kept, self.lines.get_mut(number)) else { return };
        line.link.kept = kept;
        self.desk.tell_kept(self.lines.kept());
    }
}
