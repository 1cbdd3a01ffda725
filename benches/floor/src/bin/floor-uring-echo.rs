//! Bare echo on io_uring: multishot receives into provided buffers, answered in place, sends
//! batched by the loop.

use std::io;

use clap::Parser;
use ringroom_floor::server::{Answer, Heard, Service, serve};
use ringroom_floor::{Listen, frame};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    listen: Listen,
}

struct Echo;

impl Service for Echo {
    fn hear(&mut self, bytes: &mut [u8]) -> io::Result<Heard> {
        let answered = frame::answer_in_place(bytes)?;
        Ok(Heard {
            consumed: answered.consumed,
            closing: answered.closing,
            answer: Answer::InPlace(answered.produced),
        })
    }
}

fn main() -> io::Result<()> {
    serve(&Command::parse().listen, Echo)
}
