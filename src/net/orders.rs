//! What the control plane tells a core.

use std::sync::Arc;

use crate::clock::Now;
use crate::letter::{Fault, Letter, Order, Reload};
use crate::shard::{CoreMessage, Input};

use super::core::{Deadline, State};
use super::life::GOODBYE_MS;
use super::listener::{Listener, Pace};

impl State {
    /// A letter that is not of another core.
    pub(super) fn take_letter(&mut self, now: Now, letter: Letter<CoreMessage>) {
        match letter {
            Letter::Relay(message) => self.take_relay(now, message),
            Letter::Order(order) => self.obey(now, order),
            Letter::Edict { number, edict } => {
                self.shard.handle(now, Input::Edict { number, edict }, &mut self.effects);
            }
            Letter::Answer(answer) => {
                self.shard.handle(now, Input::Answer(answer), &mut self.effects);
            }
            // What cores say to each other, and to the control plane.
            Letter::Core(_)
            | Letter::Carried(_)
            | Letter::Question(_)
            | Letter::Record(_)
            | Letter::Facts(_)
            | Letter::Nodes(_)
            | Letter::Share(_)
            | Letter::Shared(_)
            | Letter::RecordsLost(_) => {}
        }
    }

    fn obey(&mut self, now: Now, order: Order) {
        match order {
            Order::Drain { window_ms } => {
                self.metrics.draining.set(1);
                self.shard.handle(now, Input::Drain { window_ms }, &mut self.effects);
                // Not in this very tick: who waits to be accepted comes in before the window ends.
                let end = now.moment.plus_ms(window_ms.max(1));
                self.wheel.insert(end, Deadline::DrainEnd);
                self.all_end_at = Some(end.plus_ms(GOODBYE_MS));
                self.linger(now);
            }
            Order::Admit => self.wait.knows_decisions = true,
            Order::Reload(reload) => self.reload(now, &reload),
            Order::Fault(fault) if self.config.dev.faults => self.act_up(fault),
            Order::Fault(_) => {}
        }
    }

    /// Goes by new settings: what comes in from now on is judged by them.
    fn reload(&mut self, now: Now, reload: &Reload) {
        self.config = Arc::clone(&reload.config);
        self.listeners = Listener::all(&reload.config, reload.tls.clone());
        self.origins = Arc::clone(&reload.origins);
        self.pace = Pace::new(&reload.config.admission);
        self.pages = Arc::clone(&reload.pages);
        self.shard.believe_pages(Arc::clone(&reload.pages));
        if let Some(policy) = &reload.policy {
            self.shard.go_by(now, Arc::clone(policy), &mut self.effects);
        }
    }

    /// For the test suite only: what must never happen, on request.
    fn act_up(&mut self, fault: Fault) {
        match fault {
            Fault::Panic => panic!("a panic on request"),
            Fault::Clock { by_ms } => self.jumped_us = by_ms.saturating_mul(1_000),
            Fault::Wedge { for_ms } => {
                std::thread::sleep(std::time::Duration::from_millis(for_ms));
            }
        }
    }
}
