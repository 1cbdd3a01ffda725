//! One run: episodes of chance, each brought to rest, and an end.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ringroom::shard::Input;

use crate::Checked;
use crate::client::{Stage, Up};
use crate::world::World;

/// What came of a run.
pub(crate) struct Report {
    pub(crate) outcome: Checked,
    /// Steps, bytes written, and a hash of both.
    pub(crate) digest: (u64, u64, u64),
    pub(crate) last_steps: String,
}

/// Runs a seed, and survives what it does.
pub(crate) fn run(seed: u64, trace: bool) -> Report {
    let mut world = World::new(seed, trace);
    let outcome = catch_unwind(AssertUnwindSafe(|| world.live()));
    let outcome = outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("with no words");
        Err(format!("it panicked: {text}"))
    });
    Report { outcome, digest: world.digest.sum(), last_steps: world.digest.last_steps() }
}

impl World {
    fn live(&mut self) -> Checked {
        for _ in 0..3 {
            for _ in 0..self.profile.steps {
                self.step()?;
                self.audit()?;
            }
            self.rest()?;
            self.note_acknowledgements();
            if self.profile.refuses {
                self.check_rates()?;
            } else if self.profile.guarantees {
                self.check_guarantees()?;
            }
        }
        if self.profile.drains {
            self.drain()?;
        }
        self.end()
    }

    /// Something happens.
    fn step(&mut self) -> Checked {
        let alive: Vec<_> = self.alive().collect();
        if alive.is_empty() || (alive.len() < self.profile.population && self.random.percent(20)) {
            self.arrive();
            return Ok(());
        }
        let me = *self.random.pick(&alive);
        match self.random.weighted(&[40, 25, 30, 20, 10, 6, 2, 1]) {
            0 => self.act(me),
            1 => while self.hear(me) && self.random.percent(70) {},
            2 => {
                let core = self.random.below(self.cores.len());
                let batches = 1 + self.random.below(4);
                self.tick(core, batches)?;
            }
            3 => self.read_some(me)?,
            4 => self.land(me),
            5 => {
                let most = *self.random.pick(&[1, 1, 20, self.profile.long_ms]);
                let ms = self.random.between(1, most);
                self.pass(ms);
            }
            6 => self.turn(me),
            _ => self.interrupt(me)?,
        }
        Ok(())
    }

    /// Somebody new, or somebody who goes on with a session, not always their own.
    fn arrive(&mut self) {
        let core = self.random.below(self.cores.len());
        let mut person = self.random.pick(&self.people).clone();
        let mut session = None;
        if self.random.percent(50) {
            let rush = self.random.percent(10);
            let known = self.common.sessions.iter();
            let known = known.filter(|(_, it)| rush || (it.askers.is_empty() && !it.contested));
            let known: Vec<_> = known.map(|(session, _)| session).collect();
            if !known.is_empty() {
                session = Some((*self.random.pick(&known)).clone());
            }
        }
        let record = session.as_ref().and_then(|session| self.common.sessions.get(session));
        if let Some(record) = record.filter(|_| self.random.percent(90)) {
            let same = |it: &&crate::person::Person| (it.tenant, it.user.clone()) == record.person;
            person = self.people.iter().find(same).unwrap_or(&person).clone();
        }
        let room = self.random.percent(15).then(|| "a".to_owned());
        if self.random.percent(4) {
            self.open_echo(core, person);
        } else {
            self.open(core, person, session, room);
        }
    }

    fn read_some(&mut self, me: usize) -> Checked {
        if self.clients[me].socket.deaf || self.random.percent(self.profile.stall_percent) {
            return Ok(());
        }
        let most = *self.random.pick(&[1, 100, 5_000, usize::MAX]);
        self.read(me, most)
    }

    /// A connection takes a turn for the worse, mostly.
    fn turn(&mut self, me: usize) {
        let client = &mut self.clients[me];
        match self.random.below(8) {
            0..=2 => self.lose(me),
            3 => client.uplink.push_back(Up::Close(1000)),
            4 => client.socket.deaf = self.profile.stall_percent > 0,
            5 => client.uplink.push_back(Up::Broken),
            6 => client.uplink.push_back(Up::Ping(b"there?".to_vec())),
            _ => client.uplink.push_back(Up::Part),
        }
    }

    /// A connection asks for what it has missed, reads the beginning of it, and is lost; somebody goes
    /// on with its session at once.
    fn interrupt(&mut self, me: usize) -> Checked {
        if !self.clients[me].is_open() || self.clients[me].echoes.is_some() {
            return Ok(());
        }
        let (message, request) = self.join(me);
        let codec = self.clients[me].codec;
        self.clients[me].ask(message, request, codec);
        while self.hear(me) {}
        for _ in 0..3 {
            for core in 0..self.cores.len() {
                self.tick(core, usize::MAX)?;
            }
        }
        if self.clients[me].stage == Stage::Gone {
            // The server had been sending it away.
            return Ok(());
        }
        let most = *self.random.pick(&[100, 200, 400, 1_500]);
        self.read(me, most)?;
        let (person, session) = (self.clients[me].person.clone(), self.clients[me].session.clone());
        self.lose(me);
        let core = self.random.below(self.cores.len());
        self.open(core, person, session, None);
        Ok(())
    }

    fn drain(&mut self) -> Checked {
        self.digest.step(|| "drain".into());
        for core in 0..self.cores.len() {
            self.input(core, Input::Drain { window_ms: 300 });
        }
        self.draining = true;
        self.arrive();
        for me in self.alive().collect::<Vec<_>>() {
            self.clients[me].socket.deaf = false;
        }
        self.quiesce()?;
        self.let_pass(20_000)?;
        match self.alive().find(|me| self.clients[*me].stage != Stage::Gone) {
            Some(me) => Err(format!("client {me} is still there after a drain")),
            None => Ok(()),
        }
    }
}
