//! What cores cannot know by themselves about credentials: keys that a URL names, and what the
//! authorization server or the backend says.
//!
//! Invariants: everything asked of others has a deadline and a bound on its answer; no redirect is
//! followed; keys are fetched by one task a URL, however many cores ask; a credential is sent to the
//! endpoint that the settings name and shows nowhere else.

mod client;
mod identity;
mod keys;
#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, spawn_local};

use crate::auth::{Answer, Policy, Question, Refusal, SourceId};
use crate::config::Config;
use crate::id::CoreId;

use client::Client;
use identity::Oracles;
use keys::KeySet;

/// An answer, and for whom it is.
#[derive(Debug)]
pub(super) struct Found {
    /// None: for every core.
    pub(super) to: Option<CoreId>,
    /// What was found out.
    pub(super) answer: Answer,
}

/// All that is being asked, by one policy.
#[derive(Debug)]
pub(super) struct Inquiry {
    /// What came of it. As many at most as gates have questions, and one for each URL.
    found: UnboundedReceiver<Found>,
    sender: UnboundedSender<Found>,
    policy: u64,
    keys: Vec<KeySet>,
    tasks: Vec<JoinHandle<()>>,
    oracles: Option<Rc<Oracles>>,
}

impl Inquiry {
    /// Begins to fetch what the policy's URLs name. To be called within a `LocalSet`.
    pub(super) fn new(config: &Config, policy: Option<&Arc<Policy>>) -> Self {
        let (sender, found) = unbounded_channel();
        let mut inquiry =
            Self { found, sender, policy: 0, keys: Vec::new(), tasks: Vec::new(), oracles: None };
        inquiry.replace(config, policy);
        inquiry
    }

    /// Goes by another policy from now on.
    pub(super) fn replace(&mut self, config: &Config, policy: Option<&Arc<Policy>>) {
        self.tasks.drain(..).for_each(|task| task.abort());
        self.keys.clear();
        self.oracles = None;
        let Some(policy) = policy else { return };
        self.policy = policy.number();
        let asks = config.auth.hook_url.is_some() || config.auth_introspection.url.is_some();
        if !asks && policy.sources().next().is_none() {
            return;
        }
        let client = match Client::new(config.auth.ca_file.as_deref()) {
            Ok(client) => client,
            Err(error) => {
                tracing::error!(%error, "nobody can be asked about credentials");
                return;
            }
        };
        for (id, source) in policy.sources() {
            let (set, task) = keys::fetching(config, &client, source);
            let (sender, policy) = (self.sender.clone(), self.policy);
            self.tasks.push(spawn_local(task.run(move |keys| {
                let answer = Answer::Keys { policy, source: id, keys };
                // Whoever does not listen any more is about to end.
                let _ = sender.send(Found { to: None, answer });
            })));
            self.keys.push(set);
        }
        self.oracles = Some(Rc::new(Oracles::new(config, &client)));
    }

    /// Asks; the answer comes from [`next`](Self::next).
    pub(super) fn ask(&mut self, from: CoreId, question: Question) {
        match question {
            Question::Keys { policy, source } => match self.key_set(policy, source) {
                Some(set) => set.wanted(),
                None => self.refuse(from, Answer::Keys { policy, source, keys: unavailable() }),
            },
            Question::Identity { policy, fingerprint, whom, kind, secret, wanted_tenant } => {
                let answer = move |said| Answer::Identity { policy, fingerprint, whom, said };
                let Some(oracles) = self.oracles.clone().filter(|_| policy == self.policy) else {
                    return self.refuse(from, answer(unavailable()));
                };
                let sender = self.sender.clone();
                spawn_local(async move {
                    let said = oracles.ask(whom, kind, &secret, wanted_tenant.as_deref()).await;
                    let _ = sender.send(Found { to: Some(from), answer: answer(said) });
                });
            }
        }
    }

    fn key_set(&self, policy: u64, source: SourceId) -> Option<&KeySet> {
        self.keys.get(usize::from(source.0)).filter(|_| policy == self.policy)
    }

    fn refuse(&self, to: CoreId, answer: Answer) {
        let _ = self.sender.send(Found { to: Some(to), answer });
    }

    /// The next answer.
    pub(super) async fn next(&mut self) -> Found {
        match self.found.recv().await {
            Some(found) => found,
            // It holds a sender itself.
            None => std::future::pending().await,
        }
    }
}

fn unavailable() -> Result<Arc<str>, Refusal> {
    Err(Refusal::Unavailable)
}
