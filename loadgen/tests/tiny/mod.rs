//! The smallest echo server: frames of up to 125 bytes, returned as they came but for the mask,
//! compressed ones too. It allocates nothing per message.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::upgrade;

/// Starts it. `headers` go into the response; `begin` runs first on each of its threads; `wrap`
/// may put TLS around a connection.
pub(crate) fn start<S: Read + Write>(
    headers: &'static str,
    begin: fn(),
    wrap: impl Fn(TcpStream) -> S + Clone + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        begin();
        for stream in listener.incoming().flatten() {
            let wrap = wrap.clone();
            thread::spawn(move || {
                begin();
                stream.set_nodelay(true).expect("a TCP socket");
                echo(wrap(stream), headers)
            });
        }
    });
    address
}

fn echo(mut stream: impl Read + Write, headers: &str) -> Option<()> {
    upgrade::accept(&mut stream, headers)?;
    let mut frame = [0; 256];
    loop {
        stream.flush().ok()?;
        stream.read_exact(&mut frame[..6]).ok()?;
        let len = usize::from(frame[1] & 0x7f);
        let mask = [frame[2], frame[3], frame[4], frame[5]];
        stream.read_exact(&mut frame[2..2 + len]).ok()?;
        frame[1] &= 0x7f;
        for (index, byte) in frame[2..2 + len].iter_mut().enumerate() {
            *byte ^= mask[index % 4];
        }
        stream.write_all(&frame[..2 + len]).ok()?;
        if frame[0] & 0x0f == 8 {
            return None;
        }
    }
}
