//! The life of the link: it is made, found to have ended, and made again.
//!
//! Invariant: every core is told of each link that begins or ends, and every call that waits for one
//! that ends is failed.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinError;

use crate::metrics::LinkState;
use crate::node::Facts;
use crate::room::broker::{Fault, Kept};

use super::call::Beat;
use super::link::{self, Heard, Link};
use super::pipeline::{Errand, each};
use super::run::Bridge;
use super::watch::Subject;
use super::{news, station};

/// The first pause between two attempts to connect is at most so long.
const RECONNECT_FIRST_MS: u64 = 50;
/// How long what is still to be said may take when the node ends.
const FAREWELL_MS: u64 = 500;

impl Bridge {
    pub(super) fn connect(&mut self) {
        let desk = &self.desk;
        let (config, keys) = (Arc::clone(&desk.config), Arc::clone(&desk.keys));
        let scripts = Arc::clone(&desk.scripts);
        let pause_ms = match self.attempts {
            0 => 0,
            n => {
                let most = RECONNECT_FIRST_MS << n.min(16);
                desk.chance() % most.min(config.redis.reconnect_max_ms).max(1)
            }
        };
        self.attempts += 1;
        let patience = Duration::from_millis(config.redis.timeout_ms) * 4;
        self.connecting.spawn_local(async move {
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            let made = link::make(&config.redis, &keys, &scripts);
            tokio::time::timeout(patience, made).await.unwrap_or(Err(LinkState::Lost))
        });
    }

    /// An attempt to connect is over.
    pub(super) fn linked(&mut self, made: Result<Result<Link, LinkState>, JoinError>) {
        match made.unwrap_or(Err(LinkState::Lost)) {
            Ok(link) => {
                tracing::info!(attempts = self.attempts, kept = ?link.kept, "the link to Redis is up");
                self.links += 1;
                self.attempts = 0;
                self.desk.watch.link(&link.server);
                self.desk.metrics.connects.add(1);
                self.desk.metrics.set_link(LinkState::Up);
                let kept = link.kept;
                self.link = Some(link);
                let mut stations = redis::pipe();
                for row in self.desk.watch.stations() {
                    let mut command = redis::cmd(row.command);
                    command.arg(&row.channel);
                    stations.add_command(command);
                }
                let count = stations.len();
                self.send(stations, Errand::Subscribe(count));
                self.desk.nodes.linked();
                // Before this node says anything of itself, others can know that it lives.
                self.beat();
                self.desk.tell_all(true, kept);
            }
            Err(state) => {
                if self.desk.metrics.link() != state {
                    tracing::warn!(state = state.word(), "there is no link to Redis");
                    self.desk.metrics.set_link(state);
                }
                self.connect();
            }
        }
    }

    /// The link has ended.
    pub(super) fn fall(&mut self, state: LinkState) {
        if self.link.take().is_none() {
            return;
        }
        tracing::warn!(state = state.word(), "the link to Redis has ended");
        self.links += 1;
        self.desk.metrics.set_link(state);
        self.desk.watch.unlink();
        self.desk.echo.forget();
        for waiting in self.queue.drain() {
            waiting.call.fail(Fault::Lost, &mut self.desk);
        }
        self.desk.tell_all(false, Kept::Memory);
        self.connect();
    }

    /// This node lives.
    pub(super) fn beat(&mut self) {
        if self.link.is_some() {
            let beat = Beat::next(&mut self.desk);
            self.ask(Box::new(beat));
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
        if self.link.is_none() {
            return;
        }
        self.receive();
        self.ask(Box::new(Beat::last()));
        let patience = Duration::from_millis(self.desk.config.redis.timeout_ms.min(FAREWELL_MS));
        let said = async {
            loop {
                self.dispatch();
                let Some(outcome) = self.pipelines.join_next().await else { return };
                self.finish(outcome);
            }
        };
        // If that is too long, others find out.
        let _ = tokio::time::timeout(patience, said).await;
    }

    /// Hands on what was heard.
    pub(super) fn hear(&mut self) {
        let Some(link) = &self.link else { return };
        let (heard, has_missed, has_ended) = link.ear.take();
        let desk = &mut self.desk;
        for Heard { by, channel, payload } in heard {
            desk.metrics.heard.add(1);
            match desk.watch.heard(&by) {
                Some(Subject::Room(room)) => news::hear(room, &payload, desk),
                Some(Subject::Station(station)) => station::hear(station, &channel, &payload, desk),
                None => {}
            }
        }
        if has_missed {
            self.desk.owe_all();
        }
        if has_ended {
            self.fall(LinkState::Lost);
        }
    }

    /// Once in a while: rooms that nobody needs any more, and whether the link still answers and hears.
    pub(super) fn look(&mut self) {
        let redis = &self.desk.config.redis;
        let (grace, patience_ms) = (Duration::from_millis(redis.grace_ms), 2 * redis.timeout_ms);
        let silent = self.desk.watch.sweep(grace);
        if self.link.is_none() {
            return;
        }
        if self.desk.echo.is_overdue(Duration::from_millis(patience_ms)) {
            return self.fall(LinkState::Lost);
        }
        if !silent.is_empty() {
            self.send(each("SUNSUBSCRIBE", silent), Errand::Chore);
        }
        if let Some(echo) = self.desk.echo.next() {
            self.ask(Box::new(echo));
        }
    }
}
