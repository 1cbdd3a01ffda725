//! Echo connections: every message comes back, in order, with its opcode and byte for byte.

use std::collections::VecDeque;

use ringroom::shard::Route;

use crate::Checked;
use crate::client::{Client, Up};
use crate::frames::{self, Frame};
use crate::message::Codec;
use crate::person::Person;
use crate::world::World;

impl World {
    pub(crate) fn open_echo(&mut self, core: usize, person: Person) {
        self.enter(core, person, None, Route::Echo);
    }

    /// Sends something that no other connection has a use for.
    pub(crate) fn act_echo(&mut self, me: usize, codec: Codec) {
        let len = *self.random.pick(&[0, 1, 125, 126, 700, 3_000]);
        let first = self.random.below(26);
        let letters = (0..len).map(|at| b'a' + u8::try_from((first + at) % 26).expect("a letter"));
        let payload: Vec<u8> = letters.collect();
        let opcode = if codec == Codec::Json { frames::TEXT } else { frames::BINARY };
        let client = &mut self.clients[me];
        if let Some(echoes) = &mut client.echoes {
            echoes.push_back((opcode, payload.clone()));
        }
        client.uplink.push_back(Up::Message(codec, payload));
    }
}

impl Client {
    pub(crate) fn take_echo(&mut self, frame: &Frame) -> Checked {
        let sent = self.echoes.as_mut().and_then(VecDeque::pop_front);
        if sent.as_ref().is_some_and(|sent| *sent == (frame.opcode, frame.payload.clone())) {
            return Ok(());
        }
        let (sent, came) = (sent.map(|sent| sent.1.len()), frame.payload.len());
        Err(format!("{came} bytes came back where {sent:?} had been sent"))
    }
}
