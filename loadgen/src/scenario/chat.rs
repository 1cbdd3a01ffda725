//! Talks as people do: some publish, and meanwhile members leave and come back, ask who is there
//! and what was said.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::fanout::{FanningOut, Fanout};
use super::members::{self, OverRooms};
use super::turns::Turns;
use super::{BURST_MAX, Scenario, room_name};
use crate::dialect::{Command, Dialect, Event, Notice};
use crate::net::wire::{Phase, Wire};

/// Messages asked for at once.
const HISTORY_LIMIT: u32 = 20;

/// Options of `chat`.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chat {
    /// The rooms, as of `fanout`.
    #[command(flatten)]
    #[serde(flatten)]
    pub fanout: Fanout,
    /// Commands a second over all members: leaving and coming back, presence, history in turn.
    #[arg(long, default_value_t = 100.0)]
    pub commands: f64,
}

impl Default for Chat {
    fn default() -> Self {
        super::from_defaults()
    }
}

impl OverRooms for Chat {
    const NAME: &'static str = "chat";
    const RATE: &'static str = "--commands";

    fn rooms(&self) -> &Fanout {
        &self.fanout
    }

    fn added(&self) -> Option<(&'static str, f64)> {
        Some(("commands", self.commands))
    }

    fn lacks(&self, dialect: &dyn Dialect) -> Option<&'static str> {
        let needed = [
            (Command::Leave { room: "" }, "leave a room"),
            (Command::Presence { room: "" }, "ask who is in a room"),
            (Command::History { room: "", limit: 1 }, "ask what was said in a room"),
        ];
        let lacking = needed.into_iter().find(|(command, _)| dialect.command(*command).is_none());
        lacking.map(|(_, words)| words)
    }

    fn part(&self, wire: &Wire) -> Box<dyn Scenario> {
        let inner = self.fanout.part(wire);
        Box::new(Chatting {
            turns: members::turns(self.commands, &self.fanout, &inner, wire),
            inner,
            members: vec![Member::Joined; wire.peers()],
            next_command: 0,
        })
    }
}

/// What a member does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Joined,
    /// The answer to its `leave` is awaited; messages may still come.
    Leaving,
    /// Out, and the answer to its `join` is awaited: nothing may come before.
    Joining,
    /// A question is open.
    Asking,
}

struct Chatting {
    inner: FanningOut,
    turns: Turns,
    members: Vec<Member>,
    next_command: u8,
}

impl Chatting {
    /// Has a member do the next thing; whether it could be asked for.
    fn command(&mut self, wire: &mut Wire, peer: usize) -> bool {
        let room = room_name(wire.payload.run(), self.inner.layout.room(peer));
        self.next_command = (self.next_command + 1) % 3;
        let (command, state) = match self.next_command {
            0 => (Command::Leave { room: &room }, Member::Leaving),
            1 => (Command::Presence { room: &room }, Member::Asking),
            _ => (Command::History { room: &room, limit: HISTORY_LIMIT }, Member::Asking),
        };
        let asked = wire.command(peer, command);
        if asked {
            self.members[peer] = state;
        }
        asked
    }

    fn answered(&mut self, wire: &mut Wire, peer: usize) {
        wire.recorder.counters.answered += 1;
        self.members[peer] = match self.members[peer] {
            Member::Leaving => {
                let room = room_name(wire.payload.run(), self.inner.layout.room(peer));
                wire.command(peer, Command::Join { room: &room, since: None });
                Member::Joining
            }
            Member::Joining => {
                self.inner.begin_anew(wire, peer);
                Member::Joined
            }
            Member::Asking | Member::Joined => Member::Joined,
        };
    }
}

impl Scenario for Chatting {
    fn begin(&mut self, wire: &mut Wire) {
        self.inner.begin(wire);
    }

    fn opened(&mut self, wire: &mut Wire, peer: usize, welcome: Option<Notice>) {
        self.inner.opened(wire, peer, welcome);
    }

    fn received(&mut self, wire: &mut Wire, peer: usize, event: Event<'_>) {
        let state = self.members[peer];
        match &event {
            Event::Message(_) if state == Member::Joining => {
                wire.recorder.counters.misdelivered += 1;
            }
            Event::Notice(Notice::Joined { .. } | Notice::Done) if state != Member::Joined => {
                self.answered(wire, peer);
            }
            Event::Notice(Notice::Failed { .. }) if state != Member::Joined => {
                self.members[peer] = Member::Joined;
            }
            _ => self.inner.received(wire, peer, event),
        }
    }

    fn closed(&mut self, wire: &mut Wire, peer: usize, phase: Phase) {
        self.inner.closed(wire, peer, phase);
    }

    fn is_ready(&self, wire: &Wire) -> bool {
        self.inner.is_ready(wire)
    }

    fn run(&mut self, wire: &mut Wire) -> u64 {
        for _ in 0..BURST_MAX {
            let is_free = |wire: &Wire, peer: usize| {
                self.members[peer] == Member::Joined && members::may_leave(wire, &self.inner, peer)
            };
            let Some(peer) = self.turns.take(wire, is_free) else { break };
            if self.command(wire, peer) {
                wire.recorder.counters.turns += 1;
            } else {
                wire.recorder.counters.missed += 1;
            }
        }
        self.inner.run(wire).min(self.turns.next_us())
    }

    fn is_settled(&self, wire: &Wire) -> bool {
        let all_in = self.members.iter().all(|state| *state == Member::Joined);
        all_in && self.inner.is_settled(wire)
    }

    fn finish(&mut self, wire: &mut Wire) {
        self.turns.finish(wire);
        self.inner.finish(wire);
    }
}
