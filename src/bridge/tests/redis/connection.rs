//! A connection: what comes is carried out in its order, what is said goes out in its own.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, ReadHalf, WriteHalf,
};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use super::reply::take_command;
use super::{Redis, Taken};

/// Serves a client until one of both ends it.
pub(super) async fn serve(
    redis: Redis,
    stream: DuplexStream,
    number: u64,
    said: UnboundedReceiver<Vec<u8>>,
) {
    let Some(ended) = redis.ended(number) else { return };
    let (mut reader, writer) = tokio::io::split(stream);
    let mut speaking = JoinSet::new();
    speaking.spawn_local(say(redis.clone(), writer, number, said));
    let mut read = Vec::new();
    tokio::select! {
        biased;
        () = ended.notified() => {}
        () = listen(&redis, &mut reader, number, &mut read) => {}
    }
    // If it is still there, what has come is carried out.
    take_rest(&mut reader, &mut read).await;
    while let Some(words) = take_command(&mut read) {
        if matches!(redis.0.borrow_mut().take(number, &words), Taken::Gone) {
            break;
        }
    }
    redis.0.borrow_mut().connections.remove(&number);
}

async fn listen(
    redis: &Redis,
    reader: &mut ReadHalf<DuplexStream>,
    number: u64,
    read: &mut Vec<u8>,
) {
    while redis.awake(number).await {
        let Some(words) = take_command(read) else {
            if !matches!(reader.read_buf(read).await, Ok(1..)) {
                return;
            }
            redis.delay().await;
            continue;
        };
        let taken = redis.0.borrow_mut().take(number, &words);
        match taken {
            Taken::Answered => {}
            Taken::Waits(count, patience) => {
                let reply = redis.replicate(number, (count, patience)).await;
                if let Some(connection) = redis.0.borrow().connections.get(&number) {
                    connection.say(&reply);
                }
            }
            Taken::Gone => return,
        }
        // Others get their turn in the middle of a pipeline.
        let is_slow = redis.0.borrow_mut().below(16) == 0;
        if is_slow {
            redis.delay().await;
        }
    }
}

async fn say(
    redis: Redis,
    mut writer: WriteHalf<DuplexStream>,
    number: u64,
    mut said: UnboundedReceiver<Vec<u8>>,
) {
    while let Some(mut bytes) = said.recv().await {
        redis.delay().await;
        if !redis.awake(number).await {
            return;
        }
        while let Ok(more) = said.try_recv() {
            bytes.extend(more);
        }
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// Takes what has come, and waits for nothing.
async fn take_rest(reader: &mut ReadHalf<DuplexStream>, read: &mut Vec<u8>) {
    loop {
        let mut bytes = [0; 4_096];
        let count = poll_fn(|context| {
            let mut buffer = ReadBuf::new(&mut bytes);
            let polled = Pin::new(&mut *reader).poll_read(context, &mut buffer);
            Poll::Ready(if matches!(polled, Poll::Ready(Ok(()))) {
                buffer.filled().len()
            } else {
                0
            })
        });
        let count = count.await;
        if count == 0 {
            return;
        }
        read.extend_from_slice(&bytes[..count]);
    }
}
