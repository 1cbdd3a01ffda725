//! The loop of one thread: bytes to events, events to the scenario, and the tick.
//!
//! One task per connection reads and calls in here; one task ticks. Both hold the state only
//! between two awaits.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use rustls::ClientConfig;

use super::end::End;
use super::handshake::{self, Request};
use super::link::{ConnectError, Link};
use super::socket;
use super::timer::Timer;
use super::tls::Session;
use super::wire::{Opening, Phase, Wire};
use crate::clock;
use crate::complaint::{Complaints, words};
use crate::control::Stage;
use crate::dialect::{Event, Notice};
use crate::frame::{Header, Malformed, opcode};
use crate::scenario::Scenario;

/// A thread looks at the stage at least so often.
const TICK_MAX_US: u64 = 10_000;
/// How often a full socket is tried again.
const RETRY_US: u64 = 1_000;
const PUBLISH_EVERY_US: u64 = 100_000;
/// How long closing may take once the phase is over.
const CLOSE_WITHIN_US: u64 = 2_000_000;
/// Longest message that is taken from a server.
const MESSAGE_MAX: usize = 16 << 20;
/// How often a paused reader looks whether it may go on.
const PAUSE_US: u64 = 20_000;

/// What a thread's tasks share.
pub struct Driver {
    state: RefCell<State>,
    tls: Option<Arc<ClientConfig>>,
    /// On io_uring the ring waits for sockets; on epoll they must not block.
    blocking: bool,
}

struct State {
    wire: Wire,
    scenario: Box<dyn Scenario>,
    /// Connections under way.
    connecting: usize,
    /// Deadlines of connections under way, in order.
    deadlines: VecDeque<(u64, usize)>,
    alive: usize,
    published_us: u64,
    /// The mark at which counts were told last.
    marked_us: u64,
    planned_us: Option<u64>,
    said_ready: bool,
    said_settled: bool,
    stopping_since_us: Option<u64>,
    complaints: Complaints,
}

impl Driver {
    /// Runs a phase's part on the calling thread's runtime, to its end.
    pub async fn run(
        wire: Wire,
        scenario: Box<dyn Scenario>,
        tls: Option<Arc<ClientConfig>>,
        blocking: bool,
    ) -> io::Result<Complaints> {
        let driver =
            Rc::new(Self { state: RefCell::new(State::new(wire, scenario)), tls, blocking });
        let timer = Timer::new()?;
        {
            let state = &mut *driver.state.borrow_mut();
            state.scenario.begin(&mut state.wire);
        }
        loop {
            let next_us = driver.state.borrow_mut().tick();
            let Some(next_us) = next_us else { break };
            driver.start_openings();
            timer.wait(next_us.saturating_sub(clock::now_us())).await?;
        }
        let mut state = driver.state.borrow_mut();
        state.wire.recorder.publish();
        Ok(std::mem::take(&mut state.complaints))
    }

    /// Starts as many of the wanted connections as may be under way at once.
    fn start_openings(self: &Rc<Self>) {
        loop {
            let state = &mut *self.state.borrow_mut();
            let Some(opening) = state.next_opening() else { return };
            state.connecting += 1;
            state.alive += 1;
            state.wire.recorder.counters.attempted += 1;
            let driver = Rc::clone(self);
            monoio::spawn(async move { driver.serve(opening).await });
        }
    }

    /// A connection's life.
    async fn serve(self: Rc<Self>, opening: Opening) {
        let peer = opening.peer;
        let mut link = None;
        let end = match self.connect(&opening).await {
            Ok(connected) => {
                self.state.borrow_mut().upgraded(peer);
                self.start_openings();
                let link = link.insert(connected);
                loop {
                    if let Err(end) = self.serve_once(peer, link).await {
                        break Some(end);
                    }
                }
            }
            Err(error) => {
                self.state.borrow_mut().complaints.add(error.to_string());
                None
            }
        };
        // The wire must forget the descriptor before it is closed.
        self.state.borrow_mut().ended(peer, end.as_ref());
        drop(link);
        self.start_openings();
    }

    async fn connect(&self, opening: &Opening) -> Result<Link, ConnectError> {
        let peer = opening.peer;
        let (target, source, began_us) = {
            let state = &mut *self.state.borrow_mut();
            let now_us = clock::now_us();
            let deadline_us = now_us + state.wire.settings.connect_timeout_us;
            state.deadlines.push_back((deadline_us, peer));
            let index = state.wire.first_peer + peer;
            let settings = &state.wire.settings;
            (
                settings.server(opening.server).clone(),
                settings.sources.of(index),
                opening.intended_us.unwrap_or(now_us),
            )
        };
        let session = match &self.tls {
            Some(config) if target.tls => {
                Some(Box::new(Session::new(Arc::clone(config), &target.host)?))
            }
            _ => None,
        };
        let mut link = Link::begin(target.address, source, opening.receive_buffer)?;
        {
            let connection = &mut self.state.borrow_mut().wire.connections[peer];
            connection.phase = Phase::Connecting;
            connection.socket = link.socket();
            connection.began_us = began_us;
            connection.session = session;
        }
        let connected = link.connected(self.blocking).await.map_err(ConnectError::Io);
        self.unless_late(peer, "not connected", connected)?;
        let upgraded = self.upgrade(opening, &mut link).await;
        self.unless_late(peer, "the upgrade was not answered", upgraded)?;
        Ok(link)
    }

    /// What this side's own patience has ended is told as such.
    fn unless_late<T>(
        &self,
        peer: usize,
        awaited: &'static str,
        result: Result<T, ConnectError>,
    ) -> Result<T, ConnectError> {
        result.map_err(|error| self.state.borrow().wire.late(peer, awaited).unwrap_or(error))
    }

    async fn upgrade(&self, opening: &Opening, link: &mut Link) -> Result<(), ConnectError> {
        let peer = opening.peer;
        let (key, offers_deflate) = {
            let wire = &mut self.state.borrow_mut().wire;
            let settings = Arc::clone(&wire.settings);
            let index = wire.first_peer + peer;
            let key = handshake::key(index as u64 ^ clock::now_us() << 20);
            let request = Request {
                room: &opening.room,
                peer: index,
                session: opening.session.as_deref(),
                subprotocol: wire.dialect.subprotocol(),
                deflate: settings.deflate,
                headers: &settings.headers,
            };
            let bytes = handshake::request(settings.server(opening.server), &request, &key);
            wire.send_raw(peer, &bytes);
            (key, settings.deflate)
        };
        let mut plain = Vec::new();
        loop {
            if link.read().await? == 0 {
                return Err(ConnectError::Ended);
            }
            let wire = &mut self.state.borrow_mut().wire;
            let bytes = wire.decrypt(peer, link, &mut plain)?;
            let answer = handshake::read_response(bytes, &key, offers_deflate);
            if let Some(accepted) = answer.map_err(ConnectError::Refused)? {
                wire.connections[peer].deflate = accepted.deflate;
                wire.put_back(peer, link, plain, accepted.consumed);
                return Ok(());
            }
        }
    }

    /// Uses what is there, then reads once, until the connection is over.
    async fn serve_once(self: &Rc<Self>, peer: usize, link: &mut Link) -> Result<(), End> {
        let paused = self.state.borrow_mut().consume(peer, link)?;
        if paused {
            self.wait_out_pause(peer).await?;
        }
        match link.read().await? {
            0 => Err(End::Silent),
            _ => Ok(()),
        }
    }

    async fn wait_out_pause(&self, peer: usize) -> Result<(), End> {
        let timer = Timer::new()?;
        loop {
            timer.wait(PAUSE_US).await?;
            let state = self.state.borrow();
            let connection = &state.wire.connections[peer];
            // What became of a slow consumer shows when it reads on at the end.
            if !connection.paused || state.wire.control.stage() >= Stage::Drain {
                return Ok(());
            }
            if connection.phase == Phase::Closing {
                return Err(End::Silent);
            }
        }
    }
}

impl State {
    fn new(wire: Wire, scenario: Box<dyn Scenario>) -> Self {
        Self {
            wire,
            scenario,
            connecting: 0,
            deadlines: VecDeque::new(),
            alive: 0,
            published_us: 0,
            marked_us: 0,
            planned_us: None,
            said_ready: false,
            said_settled: false,
            stopping_since_us: None,
            complaints: Complaints::default(),
        }
    }

    /// Does what is due; says when it wants to be called again, `None` at the end.
    fn tick(&mut self) -> Option<u64> {
        let now_us = clock::now_us();
        self.wire.now_us = now_us;
        if let Some(planned_us) = self.planned_us {
            let late_us = now_us.saturating_sub(planned_us);
            self.wire.recorder.lateness.saturating_record(late_us);
        }
        self.wire.retry_blocked();
        self.expire_connects(now_us);
        let mut next_us = now_us + TICK_MAX_US;
        match self.wire.control.stage() {
            Stage::Connect => self.note_ready(),
            Stage::Run => next_us = next_us.min(self.scenario.run(&mut self.wire)),
            Stage::Drain => self.note_settled(),
            Stage::Stop => {
                if self.stopped(now_us) {
                    return None;
                }
            }
        }
        next_us = next_us.min(self.publish(now_us, next_us));
        if self.wire.is_blocked() || !self.wire.openings.is_empty() {
            next_us = next_us.min(now_us + RETRY_US);
        }
        self.planned_us = Some(next_us.max(now_us));
        Some(next_us)
    }

    /// Tells the counts if that is due, at a mark when all before it is done; says when it is next that
    /// it must not be late.
    fn publish(&mut self, now_us: u64, next_us: u64) -> u64 {
        let mark_us = self.wire.control.mark_us();
        let is_marked = mark_us != self.marked_us && now_us >= mark_us && next_us > mark_us;
        if is_marked || now_us >= self.published_us + PUBLISH_EVERY_US {
            self.published_us = now_us;
            self.wire.recorder.publish();
        }
        if is_marked {
            self.marked_us = mark_us;
            self.wire.control.note_marked(now_us);
        }
        if mark_us > now_us { mark_us } else { u64::MAX }
    }

    fn note_ready(&mut self) {
        if !self.said_ready && self.scenario.is_ready(&self.wire) {
            self.said_ready = true;
            // Who hears that this thread is ready sees what it has.
            self.wire.recorder.publish();
            self.wire.control.note_ready(self.wire.now_us);
        }
    }

    fn note_settled(&mut self) {
        if !self.said_settled && self.scenario.is_settled(&self.wire) {
            self.said_settled = true;
            self.wire.control.note_settled();
        }
    }

    /// Closes everything, and waits a little for it.
    fn stopped(&mut self, now_us: u64) -> bool {
        let since_us = match self.stopping_since_us {
            Some(since_us) => since_us,
            None => {
                self.scenario.finish(&mut self.wire);
                self.wire.openings.clear();
                for peer in 0..self.wire.peers() {
                    self.wire.close(peer);
                }
                self.stopping_since_us = Some(now_us);
                now_us
            }
        };
        self.alive == 0 || now_us > since_us + CLOSE_WITHIN_US
    }

    fn next_opening(&mut self) -> Option<Opening> {
        let settings = &self.wire.settings;
        if self.connecting >= settings.connect_concurrency {
            return None;
        }
        let turn_us = self.wire.openings.front()?.intended_us.unwrap_or(0);
        if turn_us > clock::now_us() { None } else { self.wire.openings.pop_front() }
    }

    fn expire_connects(&mut self, now_us: u64) {
        while let Some(&(deadline_us, peer)) = self.deadlines.front() {
            if deadline_us > now_us {
                break;
            }
            self.deadlines.pop_front();
            let connection = &mut self.wire.connections[peer];
            let began_in_time =
                connection.began_us + self.wire.settings.connect_timeout_us > now_us;
            if matches!(connection.phase, Phase::Connecting | Phase::Greeting) && !began_in_time {
                connection.timed_out = true;
                socket::shutdown(connection.socket);
            }
        }
    }

    /// The WebSocket handshake is done.
    fn upgraded(&mut self, peer: usize) {
        if self.wire.dialect.greets() {
            self.wire.connections[peer].phase = Phase::Greeting;
        } else {
            self.opened(peer, None);
        }
    }

    fn opened(&mut self, peer: usize, welcome: Option<Notice>) {
        let now_us = clock::now_us();
        self.wire.now_us = now_us;
        self.connecting -= 1;
        let connection = &mut self.wire.connections[peer];
        connection.phase = Phase::Open;
        let took_us = now_us.saturating_sub(connection.began_us);
        self.wire.recorder.handshake.saturating_record(took_us.max(1));
        self.wire.recorder.counters.opened += 1;
        if self.stopping_since_us.is_some() {
            self.wire.close(peer);
        } else {
            self.scenario.opened(&mut self.wire, peer, welcome);
        }
    }

    /// A connection is over, however far it came; `end` says why, unless that is told.
    fn ended(&mut self, peer: usize, end: Option<&End>) {
        self.alive -= 1;
        self.wire.now_us = clock::now_us();
        let phase = self.wire.phase(peer);
        let broken = matches!(end, Some(End::Broken(_)));
        if let Some(end) = end
            && (phase != Phase::Closing || broken)
        {
            self.complaints.add(self.wire.told(peer, end));
        }
        self.wire.vacate(peer);
        let counters = &mut self.wire.recorder.counters;
        match phase {
            Phase::Vacant | Phase::Connecting | Phase::Greeting => {
                self.connecting -= 1;
                counters.refused += 1;
            }
            Phase::Open | Phase::Closing if broken => counters.violations += 1,
            Phase::Open => counters.dropped += 1,
            Phase::Closing => counters.closed += 1,
        }
        if self.stopping_since_us.is_none() {
            self.scenario.closed(&mut self.wire, peer, phase);
        }
    }

    /// Uses every whole frame in the link's buffer. `true`: nothing more is to be read for now.
    fn consume(&mut self, peer: usize, link: &mut Link) -> Result<bool, End> {
        self.wire.now_us = clock::now_us();
        if self.wire.connections[peer].session.is_some() {
            let mut plain = std::mem::take(&mut self.wire.connections[peer].plain);
            let read = self.wire.decrypt(peer, link, &mut plain).map(|_| ());
            let used = read.map_err(End::Io).and_then(|()| self.frames(peer, &plain));
            let (consumed, _) = used?;
            plain.drain(..consumed);
            self.wire.connections[peer].plain = plain;
            return Ok(self.wire.connections[peer].paused);
        }
        let buffer = link.buffer();
        self.wire.recorder.counters.bytes_in += buffer.take_fresh() as u64;
        let (consumed, wanted) = self.frames(peer, buffer.filled())?;
        buffer.consume(consumed, wanted);
        Ok(self.wire.connections[peer].paused)
    }

    /// Handles the whole frames in `bytes`; says how many bytes they took, and how many the next
    /// one needs.
    fn frames(&mut self, peer: usize, bytes: &[u8]) -> Result<(usize, usize), End> {
        let mut consumed = 0;
        while let Some(header) = Header::parse(&bytes[consumed..], MESSAGE_MAX)? {
            let payload = consumed + header.header_len;
            let end = payload + header.payload_len;
            if end > bytes.len() {
                return Ok((consumed, end - consumed));
            }
            self.frame(peer, header, &bytes[payload..end])?;
            consumed = end;
        }
        Ok((consumed, 0))
    }

    fn frame(&mut self, peer: usize, header: Header, payload: &[u8]) -> Result<(), End> {
        if header.compressed && !self.wire.connections[peer].deflate {
            return Err(End::Broken(Malformed::Reserved));
        }
        match header.opcode {
            opcode::TEXT | opcode::BINARY if header.is_final => {
                self.message(peer, header.opcode, header.compressed, payload);
            }
            opcode::TEXT | opcode::BINARY | opcode::CONTINUATION => {
                self.fragment(peer, header, payload)?;
            }
            opcode::PING => {
                self.wire.recorder.counters.pings += 1;
                let sent = self.wire.send_message(peer, opcode::PONG, payload);
                if sent && self.wire.phase(peer) == Phase::Open {
                    self.scenario.answered_ping(peer);
                }
            }
            opcode::PONG => {}
            opcode::CLOSE => {
                // Answered and over: the server closes the socket, or this side in its stead.
                self.wire.send_message(peer, opcode::CLOSE, payload);
                return Err(End::closed(payload));
            }
            _ => return Err(End::Broken(Malformed::Opcode)),
        }
        Ok(())
    }

    fn fragment(&mut self, peer: usize, header: Header, payload: &[u8]) -> Result<(), Malformed> {
        let connection = &mut self.wire.connections[peer];
        let begins = header.opcode != opcode::CONTINUATION;
        if begins == (connection.fragment_opcode != 0) {
            return Err(Malformed::Pieces);
        }
        if begins {
            connection.fragment_opcode = header.opcode;
            connection.fragment_compressed = header.compressed;
            connection.fragments.clear();
        }
        if connection.fragments.len() + payload.len() > MESSAGE_MAX {
            return Err(Malformed::Length);
        }
        connection.fragments.extend_from_slice(payload);
        if header.is_final {
            let whole = std::mem::take(&mut connection.fragments);
            let opcode = std::mem::take(&mut connection.fragment_opcode);
            let compressed = connection.fragment_compressed;
            self.message(peer, opcode, compressed, &whole);
        }
        Ok(())
    }

    fn message(&mut self, peer: usize, opcode: u8, compressed: bool, bytes: &[u8]) {
        if !compressed {
            return self.event(peer, opcode, bytes);
        }
        match self.wire.deflate.inflate(bytes, MESSAGE_MAX) {
            Some(inflated) => {
                self.event(peer, opcode, &inflated.bytes);
                self.wire.deflate.give_back(inflated);
            }
            None => self.wire.recorder.counters.corrupt += 1,
        }
    }

    fn event(&mut self, peer: usize, opcode: u8, bytes: &[u8]) {
        let event = self.wire.dialect.read(opcode, bytes);
        match event {
            Event::Notice(welcome @ Notice::Welcome { .. })
                if self.wire.phase(peer) == Phase::Greeting =>
            {
                return self.opened(peer, Some(welcome));
            }
            Event::Malformed => self.wire.recorder.counters.corrupt += 1,
            Event::Notice(Notice::Failed { ref code }) => {
                self.wire.recorder.counters.errors += 1;
                self.complaints.add(format!("the server answered with the error {}", words(code)));
            }
            Event::Notice(Notice::Disconnect { ref reason }) => {
                self.complaints
                    .add(format!("the server said that it disconnects: {}", words(reason)));
            }
            Event::Notice(Notice::Gap { count }) => {
                self.wire.recorder.counters.announced_gaps += count;
            }
            _ => {}
        }
        if self.wire.phase(peer) == Phase::Open {
            self.scenario.received(&mut self.wire, peer, event);
        }
    }
}

impl Wire {
    /// What to say of a connection that did not open, if it was this side that gave up.
    fn late(&self, peer: usize, awaited: &'static str) -> Option<ConnectError> {
        #[expect(clippy::cast_precision_loss, reason = "seconds for people")]
        let seconds = self.settings.connect_timeout_us as f64 / 1e6;
        self.connections[peer].timed_out.then_some(ConnectError::Late { awaited, seconds })
    }

    /// What to say of the end of a connection that was upgraded.
    fn told(&self, peer: usize, end: &End) -> String {
        match self.late(peer, "no greeting (is the dialect the server's own?)") {
            Some(late) => late.to_string(),
            None if self.phase(peer) == Phase::Greeting => format!("before it greeted, {end}"),
            None => end.to_string(),
        }
    }

    /// The bytes received and not used: the link's own, or what TLS made of them.
    fn decrypt<'a>(
        &mut self,
        peer: usize,
        link: &'a mut Link,
        plain: &'a mut Vec<u8>,
    ) -> io::Result<&'a [u8]> {
        self.recorder.counters.bytes_in += link.buffer().take_fresh() as u64;
        let Some(session) = &mut self.connections[peer].session else {
            return Ok(link.buffer().filled());
        };
        let buffer = link.buffer();
        session.receive(buffer.filled(), plain)?;
        let used = buffer.filled().len();
        buffer.consume(used, 0);
        self.flush_session(peer);
        Ok(plain)
    }

    /// Keeps what followed the response head for the frames' reader.
    fn put_back(&mut self, peer: usize, link: &mut Link, mut plain: Vec<u8>, consumed: usize) {
        if self.connections[peer].session.is_some() {
            plain.drain(..consumed);
            self.connections[peer].plain = plain;
        } else {
            link.buffer().consume(consumed, 0);
        }
    }
}
