//! From the bytes of a socket to inputs of the engine: PROXY header, TLS, request head, frames.
//!
//! Invariants: everything here is synchronous and happens within one borrow of the core's state, so
//! a panic ends in one place; whatever was read behind the end of one step is given to the next.

use std::net::SocketAddr;

use bytes::Bytes;
use tracing::debug;

use crate::clock::Now;
use crate::id::ConnectionKey;
use crate::letter::relay::Opening;
use crate::metrics::HandshakeFailure;
use crate::shard::Input;
use crate::ws::decoder::{Chunk, Decoder, Event};
use crate::ws::handshake;
use crate::ws::head::{self, Head};
use crate::ws::refusal::Refusal;
use crate::ws::{forwarded, proxy};

use super::connection::{Connection, Course, Stage};
use super::core::State;
use super::doors::Upgrade;
use super::inbound::{Held, Kept, Message};
use super::relay::Relay;
use super::tls::{Fed, Tls};

/// Plain bytes decrypted at a time.
const DECRYPT_BYTES: usize = 16 * 1024;

/// When a client that was turned away for want of room may try again.
const RETRY_AFTER_MS: u32 = 5_000;
pub(super) const UNAVAILABLE: Refusal = Refusal::Unavailable { retry_after_ms: RETRY_AFTER_MS };

/// What the reader of a connection expects next.
pub(super) enum Intake {
    /// A PROXY header; what has come of it.
    Proxy(Vec<u8>),
    /// A request head; what has come of it.
    Head(Box<Unread>),
    /// Nothing, until the credential of the request is judged.
    Waiting {
        /// Whether deflate was agreed on.
        deflate: bool,
    },
    /// Frames.
    Open(Decoder),
    /// Frames, of which the engine wants no more for now: what was read and waits is kept.
    Held(Decoder),
    /// Bytes for the control plane.
    Relay,
    /// Nothing: whatever comes is thrown away until the peer ends.
    Deaf,
}

/// A request head that has not ended, and how far it was looked at.
#[derive(Default)]
pub(super) struct Unread {
    bytes: Vec<u8>,
    scan: head::Scan,
}

/// How far frames were taken.
enum Taken {
    /// To the last byte.
    All,
    /// As far as the engine wants; the rest.
    Some(Held),
    /// Nothing more is to be read of this peer.
    Last,
}

/// What a reader does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// Read on.
    On,
    /// Wait until the core lets it read on.
    Pause,
    /// End: no more will come.
    End,
    /// End: the connection is gone, and nothing that it is owed can reach it.
    Gone,
}

impl Intake {
    /// What a new connection begins with.
    pub(super) fn new(begins_with_proxy_header: bool) -> Self {
        if begins_with_proxy_header { Self::Proxy(Vec::new()) } else { Self::Head(Box::default()) }
    }

    /// Takes no more frames until it is [opened](Self::open) again.
    fn hold(&mut self) {
        if let Self::Open(decoder) = self {
            *self = Self::Held(std::mem::replace(decoder, Decoder::new(false)));
        }
    }

    fn open(&mut self) {
        if let Self::Held(decoder) = self {
            *self = Self::Open(std::mem::replace(decoder, Decoder::new(false)));
        }
    }
}

impl State {
    /// Takes bytes that were read from a socket.
    pub(super) fn take(
        &mut self,
        now: Now,
        key: ConnectionKey,
        intake: &mut Intake,
        bytes: &mut [u8],
    ) -> Flow {
        match intake {
            Intake::Waiting { .. } if bytes.is_empty() => {
                return self.take_behind(now, key, intake, bytes);
            }
            Intake::Held(_) if bytes.is_empty() => return self.take_held(now, key, intake),
            Intake::Proxy(_) | Intake::Head(_) => {
                if let Some(greeting) = self.connection(key).and_then(Connection::greeting) {
                    greeting.has_spoken = true;
                }
            }
            _ => {}
        }
        if let Intake::Proxy(unread) = intake {
            if self.connection(key).and_then(Connection::greeting).is_none() {
                *intake = Intake::Deaf;
                return Flow::On;
            }
            unread.extend_from_slice(bytes);
            let mut unread = std::mem::take(unread);
            return match self.take_proxy_header(key, &unread) {
                Ok(None) => {
                    *intake = Intake::Proxy(unread);
                    Flow::On
                }
                Ok(Some(length)) => {
                    *intake = Intake::new(false);
                    self.take_wire(now, key, intake, &mut unread[length..])
                }
                Err(failure) => {
                    self.metrics.handshake_failures.count(failure);
                    // Its end is our doing, and counted.
                    self.retire(now, key);
                    Flow::End
                }
            };
        }
        self.take_wire(now, key, intake, bytes)
    }

    /// The length of the PROXY header, once it is whole and its word is taken.
    fn take_proxy_header(
        &mut self,
        key: ConnectionKey,
        bytes: &[u8],
    ) -> Result<Option<usize>, HandshakeFailure> {
        let Some(Connection { stage: Stage::Handshake(greeting), admitted, .. }) =
            self.connections.get_mut(key.index as usize)
        else {
            return Ok(None);
        };
        let peer = greeting.client.map(|peer| peer.ip());
        if !forwarded::is_trusted(peer, &self.config.proxy) {
            return Err(HandshakeFailure::Proxy);
        }
        let Some((source, length)) = proxy::parse(bytes).map_err(|_| HandshakeFailure::Proxy)?
        else {
            return Ok(None);
        };
        if let Some(encrypted) = proxy::encrypted(&bytes[..length]) {
            greeting.encrypted = encrypted;
        }
        if let proxy::Source::Address(client) = source {
            greeting.client = Some(client);
            let counted = admitted.speaks_for(Some(client.ip()));
            counted.map_err(|_| HandshakeFailure::Limit)?;
        }
        Ok(Some(length))
    }

    /// Takes bytes as they are on the wire: encrypted where the listener says so.
    fn take_wire(
        &mut self,
        now: Now,
        key: ConnectionKey,
        intake: &mut Intake,
        bytes: &mut [u8],
    ) -> Flow {
        let Some(connection) = self.connections.get_mut(key.index as usize) else {
            return Flow::End;
        };
        // Nobody listens any more: what comes is not worth decrypting.
        if connection.is_over() || connection.hangs_up() || matches!(intake, Intake::Deaf) {
            return Flow::On;
        }
        if connection.tls.is_none() {
            return self.take_plain(now, key, intake, bytes);
        }
        let mut bytes = &*bytes;
        let mut flow = Flow::On;
        let mut is_decrypted = false;
        let mut plain = std::mem::take(&mut self.decrypted);
        plain.resize(DECRYPT_BYTES, 0);
        while !bytes.is_empty() && flow != Flow::End {
            let fed = self.tls(key).map_or(Ok(Fed::Goodbye), |tls| tls.feed(&mut bytes));
            while flow != Flow::End {
                // It stays in its place: if what follows panics, the goodbye is encrypted, too.
                let count = self.tls(key).map_or(0, |tls| tls.decrypt(&mut plain));
                if count == 0 {
                    break;
                }
                is_decrypted = true;
                // A read is decrypted piece by piece: those that follow one that waits, wait, too.
                flow = self.take_plain(now, key, intake, &mut plain[..count]);
            }
            match fed {
                Ok(Fed::Fine) => {}
                Ok(Fed::Goodbye) => flow = Flow::End,
                Err(error) => {
                    debug!(%error, "TLS ended");
                    *intake = Intake::Deaf;
                    self.fail_tls(now, key);
                    flow = Flow::On;
                    break;
                }
            }
        }
        self.decrypted = plain;
        if !is_decrypted && matches!(intake, Intake::Open(_)) {
            // A large record on a slow line leaves no room for a pong, either.
            self.shard.handle(now, Input::Alive { connection: key }, &mut self.effects);
        }
        if self.tls(key).is_some_and(|tls| tls.wants_to_send()) {
            self.effects.dirty.push(key);
        }
        flow
    }

    /// Ends a connection whose TLS is broken, once its alert is written, behind which nothing may come.
    fn fail_tls(&mut self, now: Now, key: ConnectionKey) {
        let in_handshake = |it: &mut Connection| matches!(it.stage, Stage::Handshake(_));
        if self.connection(key).is_some_and(in_handshake) {
            self.metrics.handshake_failures.count(HandshakeFailure::Tls);
        }
        self.part(now, key);
        if let Some(connection) = self.connection(key) {
            connection.course = Course::EndsSession;
        }
    }

    fn tls(&mut self, key: ConnectionKey) -> Option<&mut Tls> {
        self.connections.get_mut(key.index as usize)?.tls.as_deref_mut()
    }

    pub(super) fn take_plain(
        &mut self,
        now: Now,
        key: ConnectionKey,
        intake: &mut Intake,
        bytes: &mut [u8],
    ) -> Flow {
        match intake {
            Intake::Open(decoder) => {
                if let Some(unfinished) = self.take_kept(key).unfinished {
                    decoder.resume(unfinished);
                }
                let taken = self.take_frames(now, key, decoder, bytes);
                let unfinished = decoder.suspend();
                match taken {
                    Taken::All => self.keep_on(now, key, intake, Kept { unfinished, held: None }),
                    Taken::Some(held) => {
                        intake.hold();
                        let held = Some(Box::new(held));
                        self.keep_on(now, key, intake, Kept { unfinished, held })
                    }
                    Taken::Last => {
                        *intake = Intake::Deaf;
                        Flow::On
                    }
                }
            }
            Intake::Held(_) => {
                let mut kept = self.take_kept(key);
                kept.held.get_or_insert_default().bytes.extend_from_slice(bytes);
                self.keep_on(now, key, intake, kept)
            }
            Intake::Head(unread) => {
                let mut unread = std::mem::take(&mut **unread);
                unread.bytes.extend_from_slice(bytes);
                self.take_head(now, key, intake, unread)
            }
            Intake::Waiting { .. } => self.take_behind(now, key, intake, bytes),
            Intake::Relay => self.take_relayed(key, bytes),
            Intake::Deaf | Intake::Proxy(_) => Flow::On,
        }
    }

    fn take_head(
        &mut self,
        now: Now,
        key: ConnectionKey,
        intake: &mut Intake,
        mut unread: Unread,
    ) -> Flow {
        let mut bytes = std::mem::take(&mut unread.bytes);
        let answer = match unread.scan.parse(&bytes, &self.config.handshake) {
            Ok(None) => {
                unread.bytes = bytes;
                *intake = Intake::Head(Box::new(unread));
                return Flow::On;
            }
            Ok(Some((head, length))) if self.concerns_us(key, &head) => {
                self.upgrade(now, key, &head).map(|accepted| (accepted, length))
            }
            Ok(Some((head, _))) => match handshake::check_plain(&head) {
                Ok(()) => {
                    *intake = Intake::Relay;
                    return self.open_relay(key, Bytes::from(bytes));
                }
                Err(refusal) => Err(refusal),
            },
            Err(refusal) => Err(refusal),
        };
        match answer {
            Ok((Upgrade::Open(decoder), length)) => {
                *intake = Intake::Open(decoder);
                self.take_plain(now, key, intake, &mut bytes[length..])
            }
            Ok((Upgrade::Wait { deflate }, length)) => {
                *intake = Intake::Waiting { deflate };
                self.take_behind(now, key, intake, &bytes[length..])
            }
            Err(refusal) => {
                *intake = Intake::Deaf;
                self.refuse(now, key, &refusal);
                Flow::On
            }
        }
    }

    /// Whether a request is for the data plane; all else is relayed.
    fn concerns_us(&self, key: ConnectionKey, head: &Head<'_>) -> bool {
        let listener = self.connections.get(key.index as usize).map_or(0, |it| it.listener);
        handshake::concerns(
            head,
            &self.listeners[usize::from(listener)].policy(
                &self.config,
                &self.origins,
                &self.pages,
                None,
            ),
        )
    }

    /// Makes a WebSocket of the connection, or says why not.
    fn upgrade(
        &mut self,
        now: Now,
        key: ConnectionKey,
        head: &Head<'_>,
    ) -> Result<Upgrade, Refusal> {
        let Some(Connection { stage: Stage::Handshake(greeting), admitted, listener, .. }) =
            self.connections.get_mut(key.index as usize)
        else {
            return Err(UNAVAILABLE);
        };
        let listener = &self.listeners[usize::from(*listener)];
        let peer = greeting.client.map(|client| client.ip());
        let client = forwarded::client(peer, head, &self.config.proxy);
        if self.config.handshake.require_tls
            && !forwarded::is_encrypted(peer, greeting.encrypted, head, &self.config.proxy)
        {
            return Err(Refusal::Plain);
        }
        if client != peer {
            greeting.client = client.map(|ip| SocketAddr::new(ip, 0));
            let too_many = Refusal::AddressLimit { retry_after_ms: RETRY_AFTER_MS };
            admitted.speaks_for(client).map_err(|_| too_many)?;
        }
        if let Some(left_ms) = self.admission.ban_left_ms(now.moment, client) {
            let retry_after_ms = u32::try_from(left_ms).unwrap_or(u32::MAX);
            return Err(Refusal::Banned { retry_after_ms });
        }
        let cookie = self.shard.policy().and_then(|policy| policy.cookie_name());
        let policy = listener.policy(&self.config, &self.origins, &self.pages, cookie);
        let accepted = handshake::accept(head, &policy)?;
        let page = self.page(head, listener.tls.is_some());
        self.enter_by(now, key, accepted, client, page)
    }

    /// The handshake is over, and its deadline with it.
    pub(super) fn advance(&mut self, key: ConnectionKey, stage: Stage) {
        self.enter(&stage);
        let Some(connection) = self.connections.get_mut(key.index as usize) else {
            return;
        };
        let before = std::mem::replace(&mut connection.stage, stage);
        connection.admitted.upgraded();
        if let Some(timer) = connection.deadline.take() {
            self.wheel.cancel(timer);
        }
        self.leave(&before);
    }

    /// Answers with an error and ends.
    pub(super) fn refuse(&mut self, now: Now, key: ConnectionKey, refusal: &Refusal) {
        self.metrics.handshake_failures.count(failure(*refusal));
        if let Some(connection) = self.connections.get_mut(key.index as usize) {
            connection.raw = refusal.response();
        }
        self.part(now, key);
    }

    /// Keeps what is not done with; how its reader goes on.
    fn keep_on(&mut self, now: Now, key: ConnectionKey, intake: &mut Intake, kept: Kept) -> Flow {
        if !kept.is_nothing() && self.keep(now, key, kept) {
            *intake = Intake::Deaf;
        }
        match intake {
            Intake::Deaf => Flow::On,
            Intake::Open(_) if self.shard.wants_reading(key) => Flow::On,
            _ => Flow::Pause,
        }
    }

    /// Goes on with what was read already, if the engine wants it now.
    fn take_held(&mut self, now: Now, key: ConnectionKey, intake: &mut Intake) -> Flow {
        let Some(connection) = self.connection(key) else { return Flow::End };
        if connection.is_over() || connection.hangs_up() {
            *intake = Intake::Deaf;
            return Flow::On;
        }
        if !self.shard.wants_reading(key) || !self.hand_in_again(now, key) {
            return Flow::Pause;
        }
        let Kept { unfinished, held } = self.take_kept(key);
        intake.open();
        if let (Intake::Open(decoder), Some(unfinished)) = (&mut *intake, unfinished) {
            decoder.resume(unfinished);
        }
        let mut bytes = held.map_or_else(Vec::new, |held| held.bytes);
        self.take_plain(now, key, intake, &mut bytes)
    }

    /// Hands the engine the message again that it has left; whether it is done with it.
    fn hand_in_again(&mut self, now: Now, key: ConnectionKey) -> bool {
        let Some(Connection { stage: Stage::Open(Some(seat)), .. }) =
            self.connections.get(key.index as usize)
        else {
            return true;
        };
        let Some(Message { kind, payload, frames }) = self.inbound.message(seat) else {
            return true;
        };
        let input = Input::Message { connection: key, kind: *kind, payload, frames: *frames };
        self.shard.handle(now, input, &mut self.effects);
        !self.shard.is_within_message(key)
    }

    /// Decodes frames, as many as the engine wants.
    fn take_frames(
        &mut self,
        now: Now,
        key: ConnectionKey,
        decoder: &mut Decoder,
        bytes: &mut [u8],
    ) -> Taken {
        let mut made_something = bytes.is_empty();
        let mut chunk = Chunk::new(bytes);
        loop {
            if !chunk.rest().is_empty() && !self.shard.wants_reading(key) {
                return Taken::Some(Held { message: None, bytes: chunk.rest().to_vec() });
            }
            let event = match decoder.next(&mut chunk, &self.frame_limits, &mut self.scratch) {
                Ok(None) => break,
                Ok(Some(event)) => event,
                Err(fault) => {
                    let input = Input::Fault { connection: key, fault };
                    self.shard.handle(now, input, &mut self.effects);
                    return Taken::Last;
                }
            };
            made_something = true;
            let input = match event {
                Event::Message { kind, payload, frames } => {
                    self.metrics.messages_in.add(1);
                    let input =
                        Input::Message { connection: key, kind, payload: &mut *payload, frames };
                    self.shard.handle(now, input, &mut self.effects);
                    if self.shard.is_within_message(key) {
                        let message = Message { kind, payload: (&*payload).into(), frames };
                        return Taken::Some(Held {
                            message: Some(message),
                            bytes: chunk.rest().to_vec(),
                        });
                    }
                    continue;
                }
                Event::Ping(payload) => Input::Ping { connection: key, payload },
                Event::Pong(payload) => Input::Pong { connection: key, payload },
                Event::Close { code, .. } => {
                    let input = Input::CloseFrame { connection: key, code };
                    self.shard.handle(now, input, &mut self.effects);
                    return Taken::Last;
                }
            };
            self.shard.handle(now, input, &mut self.effects);
        }
        if !made_something {
            // A large message on a slow line leaves no room for a pong.
            self.shard.handle(now, Input::Alive { connection: key }, &mut self.effects);
        }
        Taken::All
    }

    /// Hands a plain HTTP connection to the control plane.
    fn open_relay(&mut self, key: ConnectionKey, bytes: Bytes) -> Flow {
        let Some(connection) = self.connections.get_mut(key.index as usize) else {
            return Flow::End;
        };
        let tls = self.listeners[usize::from(connection.listener)].tls.is_some();
        let peer = connection.greeting().and_then(|greeting| greeting.client);
        self.metrics.relays.add(1);
        let (relay, message) = Relay::open(key, Opening { peer, tls, bytes });
        let is_full = relay.is_full();
        self.advance(key, Stage::Relay(relay));
        self.post_to_control(message);
        if is_full { Flow::Pause } else { Flow::On }
    }

    fn take_relayed(&mut self, key: ConnectionKey, bytes: &[u8]) -> Flow {
        let Some(relay) = self.relay(key) else {
            return Flow::On;
        };
        relay.hold(bytes);
        self.pass_on(key);
        if self.relay(key).is_some_and(|relay| relay.is_full()) { Flow::Pause } else { Flow::On }
    }
}

/// What a refusal counts as.
fn failure(refusal: Refusal) -> HandshakeFailure {
    match refusal {
        Refusal::TargetTooLong | Refusal::HeadTooLarge | Refusal::TooManyHeaders => {
            HandshakeFailure::TooLarge
        }
        Refusal::Deadline => HandshakeFailure::Deadline,
        Refusal::NotFound => HandshakeFailure::NotFound,
        Refusal::Method | Refusal::OldHttp | Refusal::HttpVersion | Refusal::NotAnUpgrade => {
            HandshakeFailure::Unsupported
        }
        Refusal::Plain => HandshakeFailure::Tls,
        Refusal::WebSocketVersion => HandshakeFailure::Version,
        Refusal::Origin | Refusal::OriginMissing => HandshakeFailure::Origin,
        Refusal::Subprotocol => HandshakeFailure::Subprotocol,
        Refusal::TwoCredentials
        | Refusal::Unauthorized
        | Refusal::Forbidden
        | Refusal::Credential { .. }
        | Refusal::Suspended
        | Refusal::ShutOut
        | Refusal::Tenant => HandshakeFailure::Credentials,
        Refusal::AddressLimit { .. }
        | Refusal::TenantLimit { .. }
        | Refusal::CredentialLimit { .. }
        | Refusal::Banned { .. }
        | Refusal::Unavailable { .. } => HandshakeFailure::Limit,
        Refusal::RequestLine
        | Refusal::HeaderLine
        | Refusal::RepeatedHeader
        | Refusal::HeaderNotText
        | Refusal::Body
        | Refusal::TargetForm
        | Refusal::PercentEncoding
        | Refusal::Host
        | Refusal::Connection
        | Refusal::Key
        | Refusal::SubprotocolSyntax
        | Refusal::RepeatedParameter => HandshakeFailure::BadRequest,
    }
}
