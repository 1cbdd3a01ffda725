//! Holds idle connections, answers heartbeats, and expects that none is lost.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{IDLE_US, Plan, Scenario, Settled, room_name};
use crate::dialect::{Command, Dialect, Event, Notice};
use crate::net::wire::{Opening, Phase, Wire};

/// Options of `hold`.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// Connections.
    #[arg(short = 'n', long, default_value_t = 1_000)]
    pub connections: usize,
    /// How long to hold them all.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Put each connection into a room with so many members (0: into none).
    #[arg(long, default_value_t = 0)]
    pub members: usize,
}

impl Default for Hold {
    fn default() -> Self {
        super::from_defaults()
    }
}

impl Plan for Hold {
    fn name(&self) -> &'static str {
        "hold"
    }

    fn peers(&self) -> usize {
        self.connections
    }

    fn seconds(&self) -> f64 {
        self.seconds
    }

    fn expects_messages(&self) -> bool {
        false
    }

    fn lacks(&self, dialect: &dyn Dialect) -> Option<&'static str> {
        let joins = dialect.command(Command::Join { room: "", since: None }).is_some();
        (self.members > 0 && !joins).then_some("join a room")
    }

    fn scenario(&self, wire: &Wire) -> Box<dyn Scenario> {
        Box::new(Holding { members: self.members, settled: Settled::new(wire.peers()) })
    }
}

struct Holding {
    members: usize,
    settled: Settled,
}

impl Scenario for Holding {
    fn begin(&mut self, wire: &mut Wire) {
        for peer in 0..wire.peers() {
            wire.open(Opening { peer, ..Opening::default() });
        }
    }

    fn opened(&mut self, wire: &mut Wire, peer: usize, _welcome: Option<Notice>) {
        if let Some(index) = (wire.first_peer + peer).checked_div(self.members) {
            let room = room_name(wire.payload.run(), index);
            if wire.command(peer, Command::Join { room: &room, since: None }) {
                return;
            }
        }
        self.settled.note(peer);
    }

    fn received(&mut self, wire: &mut Wire, peer: usize, event: Event<'_>) {
        match event {
            Event::Notice(Notice::Joined { .. } | Notice::Done) => {
                wire.recorder.counters.answered += 1;
                self.settled.note(peer);
            }
            Event::Notice(Notice::Failed { .. }) => self.settled.note(peer),
            _ => {}
        }
    }

    fn closed(&mut self, _wire: &mut Wire, peer: usize, _phase: Phase) {
        self.settled.note(peer);
    }

    fn is_ready(&self, _wire: &Wire) -> bool {
        self.settled.all()
    }

    fn run(&mut self, wire: &mut Wire) -> u64 {
        wire.now_us + IDLE_US
    }
}
