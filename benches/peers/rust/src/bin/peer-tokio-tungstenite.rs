//! `tokio-tungstenite`: an echo, and on /broadcast everyone hears everything.

use std::io;
use std::rc::Rc;

use futures_util::{SinkExt, StreamExt};
use ringroom_peers::{Everyone, serve};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

const READ_BUFFER_BYTES: usize = 4_096;

type Socket = WebSocketStream<TcpStream>;

fn main() -> io::Result<()> {
    let everyone = Everyone::new();
    serve(move |stream| connection(stream, Rc::clone(&everyone)))
}

async fn connection(stream: TcpStream, everyone: Rc<Everyone<Message>>) {
    let mut broadcasts = false;
    #[allow(clippy::result_large_err, reason = "the crate's callback is so")]
    let look = |request: &Request, response: Response| {
        broadcasts = request.uri().path() == "/broadcast";
        Ok(response)
    };
    // Its default of 128 KiB costs memory, and CPU in every read, that messages of this size need not.
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
    let accepted = tokio_tungstenite::accept_hdr_async_with_config(stream, look, Some(config));
    let Ok(socket) = accepted.await else { return };
    // An error ends the connection, which is all that a peer of a measurement needs.
    let _ = if broadcasts { broadcast(socket, everyone).await } else { echo(socket).await };
}

async fn echo(mut socket: Socket) -> Result<(), Error> {
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

async fn broadcast(socket: Socket, everyone: Rc<Everyone<Message>>) -> Result<(), Error> {
    let (number, mut owed) = everyone.enter();
    let (mut sink, mut stream) = socket.split();
    tokio::task::spawn_local(async move {
        while let Some(message) = owed.recv().await {
            sink.feed(message).await?;
            // All that is owed by now goes out in one write.
            while let Ok(message) = owed.try_recv() {
                sink.feed(message).await?;
            }
            sink.flush().await?;
        }
        sink.close().await
    });
    while let Some(Ok(message)) = stream.next().await {
        if message.is_text() || message.is_binary() {
            everyone.tell(&message);
        }
    }
    everyone.leave(number);
    Ok(())
}
