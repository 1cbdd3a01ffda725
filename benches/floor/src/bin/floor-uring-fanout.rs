//! Bare fan-out on io_uring: what anyone says goes to everyone, one send operation per connection
//! and turn of the loop, all submitted at once, all from the same bytes.

use std::io;

use clap::Parser;
use ringroom_floor::server::{Answer, Heard, Service, serve};
use ringroom_floor::{Listen, frame};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    listen: Listen,
}

/// What was said in this turn, as frames.
#[derive(Default)]
struct Fanout(Vec<u8>);

impl Service for Fanout {
    fn hear(&mut self, bytes: &mut [u8]) -> io::Result<Heard> {
        let (mut consumed, mut closing, mut answer) = (0, false, Vec::new());
        while let Some(frame) = frame::take_frame(bytes, consumed)? {
            consumed = frame.payload.end;
            closing |= frame.is_close();
            let Some(first) = frame.answer() else { continue };
            let out = if frame.is_data() { &mut self.0 } else { &mut answer };
            frame::append_server_frame(out, first, &bytes[frame.payload]);
        }
        Ok(Heard { consumed, closing, answer: Answer::Apart(answer) })
    }

    fn take_said(&mut self) -> Option<Vec<u8>> {
        if self.0.is_empty() { None } else { Some(std::mem::take(&mut self.0)) }
    }
}

fn main() -> io::Result<()> {
    serve(&Command::parse().listen, Fanout::default())
}
