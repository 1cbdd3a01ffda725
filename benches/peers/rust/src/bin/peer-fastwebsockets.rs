//! `fastwebsockets` behind hyper: an echo, and on /broadcast everyone hears everything.

use std::convert::Infallible;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use fastwebsockets::upgrade::{UpgradeFut, is_upgrade_request, upgrade};
use fastwebsockets::{FragmentCollector, Frame, OpCode, Payload, WebSocketError};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use ringroom_peers::{Everyone, serve};
use tokio::net::TcpStream;

/// A message to everyone: its kind, and its content, which all share.
type Said = (OpCode, Bytes);

fn main() -> io::Result<()> {
    let everyone = Everyone::new();
    serve(move |stream| connection(stream, Rc::clone(&everyone)))
}

async fn connection(stream: TcpStream, everyone: Rc<Everyone<Said>>) {
    let service = service_fn(move |request| answer(request, Rc::clone(&everyone)));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // An error ends the connection, which is all that a peer of a measurement needs.
    let _ = connection.with_upgrades().await;
}

async fn answer(
    mut request: Request<Incoming>,
    everyone: Rc<Everyone<Said>>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let broadcasts = request.uri().path() == "/broadcast";
    let upgraded = if is_upgrade_request(&request) { upgrade(&mut request).ok() } else { None };
    let Some((response, socket)) = upgraded else {
        let mut refused = Response::new(Empty::new());
        *refused.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(refused);
    };
    tokio::task::spawn_local(async move {
        let _ = if broadcasts { broadcast(socket, everyone).await } else { echo(socket).await };
    });
    Ok(response)
}

async fn echo(socket: UpgradeFut) -> Result<(), WebSocketError> {
    let mut socket = FragmentCollector::new(socket.await?);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            _ => {}
        }
    }
}

async fn broadcast(socket: UpgradeFut, everyone: Rc<Everyone<Said>>) -> Result<(), WebSocketError> {
    let (mut reader, mut writer) = socket.await?.split(tokio::io::split);
    let (number, mut owed) = everyone.enter();
    tokio::task::spawn_local(async move {
        while let Some((opcode, said)) = owed.recv().await {
            let payload = Payload::Borrowed(&said);
            writer.write_frame(Frame::new(true, opcode, None, payload)).await?;
        }
        Ok::<(), WebSocketError>(())
    });
    let mut answer = |_: Frame<'_>| async { Ok::<(), WebSocketError>(()) };
    while let Ok(frame) = reader.read_frame(&mut answer).await {
        match frame.opcode {
            OpCode::Close => break,
            OpCode::Text | OpCode::Binary => {
                everyone.tell(&(frame.opcode, Bytes::from(frame.payload.to_vec())));
            }
            _ => {}
        }
    }
    everyone.leave(number);
    Ok(())
}
