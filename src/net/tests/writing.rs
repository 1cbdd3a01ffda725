//! What one write takes, and what it leaves.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;

use monoio::{LegacyDriver, RuntimeBuilder};

use super::Ones;
use crate::clock::Now;
use crate::config::Config;
use crate::hash::Seed;
use crate::id::{ConnectionKey, CoreId};
use crate::net::Admission;
use crate::net::connection::{Connection, Course, Stage, Written};
use crate::net::stream::Stream;
use crate::protocol::Codec;
use crate::shard::{Effects, Entry, Input, Opened, Route, Senders, Setup, Shard};
use crate::tenant::Tenants;
use crate::ws::MessageKind;

const KEY: ConnectionKey = ConnectionKey { index: 0, generation: 1 };

fn shard() -> Shard {
    let config = Arc::new(Config::default());
    Shard::new(Setup {
        core: CoreId(0),
        cores: 1,
        seed: Seed(1, 2),
        entropy: Box::new(Ones),
        metrics: Arc::default(),
        policy: None,
        tenants: Tenants::new(&config),
        senders: Senders::new(&config, Seed(1, 2)),
        stopwatch: || 0,
        config,
    })
}

/// A connection that has joined a room.
fn open(shard: &mut Shard, now: Now, effects: &mut Effects) {
    let opened = Opened {
        connection: KEY,
        route: Route::Rooms(None),
        codec: Codec::Json,
        deflate_up_to: 0,
        address: None,
        session: None,
        entry: Entry::Open,
    };
    shard.handle(now, Input::Opened(Box::new(opened)), effects);
    say(shard, now, effects, r#"{"type":"join","room":"r"}"#);
    if let Some(outbox) = shard.outbox(KEY) {
        outbox.advance(outbox.pending_bytes());
    }
}

fn say(shard: &mut Shard, now: Now, effects: &mut Effects, text: &str) {
    let mut payload = text.as_bytes().to_vec();
    let kind = MessageKind::Text;
    let input = Input::Message { connection: KEY, kind, payload: &mut payload, frames: 1 };
    shard.handle(now, input, effects);
    shard.settle(now, effects);
}

fn connection(socket: UnixStream) -> Connection {
    socket.set_nonblocking(true).unwrap();
    Connection {
        stream: Rc::new(Stream::new(socket.into()).unwrap()),
        generation: KEY.generation,
        stage: Stage::Open(None),
        listener: 0,
        raw: Vec::new(),
        tls: None,
        admitted: Admission::new(&Config::default().admission, Seed(1, 2)).admit(None).unwrap(),
        deadline: None,
        paused: None,
        is_blocked: false,
        course: Course::On,
    }
}

/// The kernel was offered it and took nothing: that is not a reason to write it when its time is over.
#[test]
fn what_the_kernel_did_not_take_still_expires() {
    let mut runtime = RuntimeBuilder::<LegacyDriver>::new().build().unwrap();
    runtime.block_on(async {
        let (mut shard, mut effects, mut now) = (shard(), Effects::default(), Now::default());
        open(&mut shard, now, &mut effects);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut connection = connection(ours);
        connection.raw = vec![b'x'; 8 << 20];
        let mut count = 0;
        assert!(matches!(connection.write(None, &mut count), Written::Blocked));
        connection.raw = Vec::new();
        for _ in 0..40 {
            say(
                &mut shard,
                now,
                &mut effects,
                r#"{"type":"publish","room":"r","data":"stale","ttl_ms":50}"#,
            );
        }
        let written = connection.write(shard.outbox(KEY), &mut count);
        assert!(matches!(written, Written::Blocked), "the kernel takes no more");
        now.moment = now.moment.plus_ms(100);
        shard.handle(now, Input::Written { connection: KEY }, &mut effects);

        theirs.set_nonblocking(true).unwrap();
        let mut read = vec![0; usize::try_from(count).unwrap()];
        theirs.read_exact(&mut read).unwrap();
        assert!(matches!(connection.write(shard.outbox(KEY), &mut count), Written::All));
        let mut rest = Vec::new();
        drop(connection);
        theirs.read_to_end(&mut rest).unwrap();
        let rest = String::from_utf8_lossy(&rest);
        assert!(rest.contains(r#""reason":"expired""#) && !rest.contains("stale"), "{rest}");
    });
}
