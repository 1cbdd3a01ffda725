#![allow(clippy::unwrap_used, reason = "a test may")]

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::exchange::CONNECTIONS_MAX;
use super::{Relays, Stream};
use crate::id::{ConnectionKey, CoreId};
use crate::letter::relay::{Event, Message, Opening, WINDOW_BYTES, Window};

const CORE: CoreId = CoreId(3);

fn connection(index: u32) -> ConnectionKey {
    ConnectionKey { index, generation: 1 }
}

fn tell(relays: &Relays, event: Event) -> Option<Stream> {
    relays.handle(CORE, Message { connection: connection(7), event })
}

fn open(relays: &Relays, bytes: &'static [u8]) -> Option<Stream> {
    let bytes = Bytes::from_static(bytes);
    tell(relays, Event::Open(Box::new(Opening { peer: None, tls: false, bytes })))
}

/// What went out for the one connection of a test.
fn events(relays: &Relays) -> Vec<Event> {
    let outgoing = relays.take_outgoing();
    assert!(
        outgoing.iter().all(|(to, message)| (*to, message.connection) == (CORE, connection(7)))
    );
    outgoing.into_iter().map(|(_, message)| message.event).collect()
}

fn data(length: usize) -> Event {
    Event::Data(Bytes::from(vec![b'x'; length]))
}

#[tokio::test]
async fn bytes_are_read_in_order_and_the_end_is_an_end() {
    let relays = Relays::default();
    let mut stream = open(&relays, b"head ").unwrap();
    tell(&relays, Event::Data(Bytes::from_static(b"and ")));
    tell(&relays, Event::Data(Bytes::from_static(b"rest")));
    tell(&relays, Event::End);
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "head and rest");
}

#[tokio::test]
async fn a_writer_goes_as_far_as_its_window_and_on_with_credit() {
    let relays = Relays::default();
    let mut stream = open(&relays, b"x").unwrap();
    let length = WINDOW_BYTES * 3 + 5;
    let core = async {
        let (mut window, mut received) = (Window::default(), 0);
        while received < length {
            for event in events(&relays) {
                let Event::Data(bytes) = event else { panic!("{event:?}") };
                assert!(bytes.len() <= window.available());
                window.spend(bytes.len());
                received += bytes.len();
                window.grant(bytes.len());
                tell(&relays, Event::Credit(bytes.len()));
            }
            tokio::task::yield_now().await;
        }
    };
    let bytes = vec![0; length];
    let (written, ()) = tokio::join!(stream.write_all(&bytes), core);
    written.unwrap();
}

#[tokio::test]
async fn credit_is_given_for_what_is_consumed_and_for_nothing_else() {
    let relays = Relays::default();
    let mut stream = open(&relays, b"").unwrap();
    tell(&relays, data(WINDOW_BYTES));
    assert_eq!(events(&relays), [], "nothing is consumed yet");
    let mut granted = 0;
    let mut buffer = vec![0; 10_000];
    let mut read = 0;
    while read < WINDOW_BYTES {
        read += stream.read(&mut buffer).await.unwrap();
        for event in events(&relays) {
            let Event::Credit(bytes) = event else { panic!("{event:?}") };
            granted += bytes;
            assert!(granted <= read);
        }
    }
    assert!(granted > WINDOW_BYTES / 2, "{granted} bytes");
    tell(&relays, data(granted));
    assert_eq!(events(&relays), [], "the credit may be used");
}

#[tokio::test]
async fn a_core_that_overruns_its_credit_loses_the_connection() {
    let relays = Relays::default();
    let mut stream = open(&relays, b"12345").unwrap();
    tell(&relays, data(WINDOW_BYTES - 5));
    tell(&relays, data(1));
    assert_eq!(events(&relays), [Event::Reset]);
    assert_eq!(relays.len(), 0);
    let error = stream.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_head_may_be_larger_than_the_window() {
    static HEAD: [u8; WINDOW_BYTES + 1_000] = [b'h'; WINDOW_BYTES + 1_000];
    let relays = Relays::default();
    let mut stream = open(&relays, &HEAD).unwrap();
    stream.read_exact(&mut vec![0; HEAD.len()]).await.unwrap();
    tell(&relays, data(10_000));
    assert!(events(&relays).iter().all(|event| matches!(event, Event::Credit(_))));
}

#[tokio::test]
async fn a_reset_wakes_whoever_waits() {
    let relays = Relays::default();
    let mut stream = open(&relays, b"").unwrap();
    let (read, ()) = tokio::join!(stream.read_u8(), async {
        tokio::task::yield_now().await;
        tell(&relays, Event::Reset);
    });
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert!(stream.write_u8(1).await.is_err());
    drop(stream);
    assert_eq!(events(&relays), [], "a reset is not answered");
}

#[tokio::test]
async fn a_stream_dropped_in_good_order_stays_until_the_client_ends() {
    let relays = Relays::default();
    let mut stream = open(&relays, b"").unwrap();
    tell(&relays, data(20_000));
    stream.write_all(b"bye").await.unwrap();
    stream.shutdown().await.unwrap();
    drop(stream);
    let sent = events(&relays);
    let [Event::Data(_), Event::End, Event::Credit(20_000)] = sent[..] else { panic!("{sent:?}") };
    tell(&relays, data(WINDOW_BYTES - 20_000));
    assert_eq!(events(&relays), [Event::Credit(WINDOW_BYTES - 20_000)], "it is thrown away");
    assert_eq!(relays.len(), 1);
    tell(&relays, Event::End);
    assert_eq!((relays.len(), events(&relays)), (0, vec![]));
}

#[tokio::test]
async fn a_stream_dropped_too_early_is_a_reset() {
    let relays = Relays::default();
    drop(open(&relays, b"").unwrap());
    assert_eq!((relays.len(), events(&relays)), (0, vec![Event::Reset]));
}

#[tokio::test]
async fn what_comes_for_nobody_changes_nothing() {
    let relays = Relays::default();
    for event in [data(5), Event::Credit(9), Event::End, Event::Reset] {
        assert!(tell(&relays, event).is_none());
    }
    assert_eq!((relays.len(), events(&relays)), (0, vec![]));
}

#[tokio::test]
async fn opening_twice_resets() {
    let relays = Relays::default();
    let _first = open(&relays, b"").unwrap();
    assert!(open(&relays, b"").is_none());
    assert_eq!(events(&relays), [Event::Reset]);
}

#[tokio::test]
async fn too_many_connections_are_told_to_try_later() {
    let relays = Relays::default();
    let open = |index: usize| {
        let bytes = Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n");
        let event = Event::Open(Box::new(Opening { peer: None, tls: false, bytes }));
        let connection = connection(u32::try_from(index).unwrap());
        relays.handle(CORE, Message { connection, event })
    };
    let mut streams: Vec<_> = (0..CONNECTIONS_MAX).map(|index| open(index).unwrap()).collect();
    assert!(open(CONNECTIONS_MAX).is_none());
    let answer: Vec<_> =
        relays.take_outgoing().into_iter().map(|(_, message)| message.event).collect();
    let [Event::Data(ref bytes), Event::End] = answer[..] else { panic!("{answer:?}") };
    assert!(bytes.starts_with(b"HTTP/1.1 503 "));
    streams.pop();
    assert!(open(CONNECTIONS_MAX + 1).is_some(), "one that is over makes room");
}
