//! When clients come in.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use crate::letter::Letter;
use crate::room::broker::{FromBroker, Kept};
use crate::shard::CoreMessage;

use super::{Bench, PATIENCE, assert_echoes};

/// Far less than word of a link is waited for.
const BRIEF: Duration = Duration::from_millis(200);

#[test]
fn nobody_comes_in_before_there_is_word_of_the_link_to_redis() {
    for is_up in [true, false] {
        let url = Some("redis://127.0.0.1:1".to_owned());
        let (mut bench, listens) = Bench::begin(None, None, |config| config.redis.url = url);
        // A letter of any other kind opens nothing.
        let barred = FromBroker::Barred;
        bench.post(Letter::Core(CoreMessage::FromBroker(Box::new(barred))));
        let told = listens.recv_timeout(BRIEF);
        assert!(matches!(told, Err(RecvTimeoutError::Timeout)), "{told:?}");
        let refused = TcpStream::connect(bench.address).map(drop).map_err(|error| error.kind());
        assert_eq!(refused, Err(ErrorKind::ConnectionRefused));
        assert_eq!(bench.metrics.listening.get(), 0);
        let link = FromBroker::Link { is_up, kept: Kept::default(), number: 1 };
        bench.post(Letter::Core(CoreMessage::FromBroker(Box::new(link))));
        listens.recv_timeout(PATIENCE).unwrap().unwrap();
        assert_eq!(bench.metrics.listening.get(), 1);
        assert_echoes(&mut bench.open_echo(), "in");
        bench.drain();
    }
}
