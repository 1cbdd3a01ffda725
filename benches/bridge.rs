//! The bridge alone: publishes in a closed loop through the queues by which a core asks it, and nothing
//! else of a node. It prints how many were heard in how long, and what each thread spent on it.
//!
//! A publication counts when it has come back as news; then the room's next one goes out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use clap::Parser;
use fixture::engine::Counting;
use ringroom::bridge;
use ringroom::clock::Moment;
use ringroom::config::Config;
use ringroom::id::CoreId;
use ringroom::letter::Letter;
use ringroom::mesh::{self, Port};
use ringroom::room::broker::{FromBroker, Keep, News, Publish, Seen, Stamp, ToBroker};
use ringroom::room::name::RoomKey;
use ringroom::shard::CoreMessage;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The one core, the control plane, and the bridge.
const CORES: u16 = 1;
const BRIDGE: CoreId = CoreId(2);
const NODE: u64 = 1;

/// Publishes through the bridge alone.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where Redis is.
    #[arg(long)]
    redis: String,
    /// Rooms.
    #[arg(long, default_value_t = 200)]
    rooms: u32,
    /// Publications of each on their way.
    #[arg(long, default_value_t = 64)]
    in_flight: u32,
    /// Bytes of a publication, as nodes write it.
    #[arg(long, default_value_t = 160)]
    size: usize,
    /// How long it measures.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How long it publishes before.
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
}

/// What a core is to the bridge.
struct Home {
    port: Port<Letter<CoreMessage>>,
    control: Port<Letter<CoreMessage>>,
    began: Instant,
    rooms: HashMap<RoomKey, Option<Seen>>,
    in_flight: u32,
    size: usize,
    last_ticket: u64,
    heard: u64,
}

impl Home {
    /// Takes what the bridge has to say.
    fn hear(&mut self) {
        while self.control.receive().is_some() {}
        while let Some(batch) = self.port.receive() {
            for letter in batch.messages {
                if let Letter::Core(CoreMessage::FromBroker(message)) = letter {
                    self.take(*message);
                }
            }
        }
    }

    fn take(&mut self, message: FromBroker) {
        match message {
            FromBroker::Link { is_up: true, .. } => self.open(),
            FromBroker::Opened { room, outcome } => {
                let life = outcome.expect("Redis opens rooms");
                let seen = Seen { epoch: life.epoch, offset: life.offset, stamp: life.stamp };
                self.rooms.insert(room.clone(), Some(seen));
                (0..self.in_flight).for_each(|_| self.publish(&room));
            }
            FromBroker::News { room, news: News::Publication { epoch, offset, wire } } => {
                self.heard += 1;
                let stamp = wire.get(1..=Stamp::BYTES).and_then(Stamp::from_bytes);
                self.rooms.insert(room.clone(), Some(Seen { epoch, offset, stamp }));
                self.publish(&room);
            }
            FromBroker::Published { outcome, .. } => {
                outcome.expect("Redis places what is published");
            }
            FromBroker::Missed { .. } => panic!("the driver does not keep up"),
            _ => {}
        }
    }

    fn open(&mut self) {
        let rooms: Vec<_> = self.rooms.keys().cloned().collect();
        for room in rooms {
            self.ask(ToBroker::Open { room, seen: None, all: false, lasts: false });
        }
    }

    fn publish(&mut self, room: &RoomKey) {
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        let stamp = Stamp { node: NODE, core: 0, ticket };
        let mut wire = vec![b'x'; self.size];
        wire[0] = ringroom::room::wire::VERSION;
        wire[1..=Stamp::BYTES].copy_from_slice(&stamp.to_bytes());
        self.ask(ToBroker::Publish(Publish {
            ticket,
            room: room.clone(),
            seen: self.rooms[room].clone(),
            keep: Keep { size: 0, bytes: 0, ttl_ms: 0, replicas: 0 },
            key: None,
            pace: None,
            wire: wire.into(),
        }));
    }

    fn ask(&mut self, message: ToBroker) {
        let message = CoreMessage::ToBroker(Box::new(message));
        let bytes = message.cost_bytes();
        self.port.post(BRIDGE, Letter::Core(message), bytes).expect("the bridge is there");
    }

    /// Works until then, as the loop of a core does: takes all there is, hands over, sleeps.
    fn run(&mut self, until: Instant) {
        while Instant::now() < until {
            self.hear();
            let us = u64::try_from(self.began.elapsed().as_micros()).expect("a run is short");
            self.port.deliver(Moment { us });
            if self.port.fall_asleep() {
                self.sleep();
            }
            self.port.wake();
        }
    }

    /// Until the bridge rings, or a little while.
    fn sleep(&mut self) {
        let mut bell = [PollFd::from_borrowed_fd(self.port.doorbell_fd(), PollFlags::IN)];
        let most = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
        poll(&mut bell, Some(&most)).expect("a doorbell can be waited for");
        self.port.clear_doorbell();
    }
}

/// CPU time of the thread of that name, in nanoseconds.
fn spent_ns(name: &str) -> io::Result<u64> {
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if fs::read_to_string(task.join("comm"))?.trim() == name {
            let spent = fs::read_to_string(task.join("schedstat"))?;
            let first = spent.split(' ').next().and_then(|ns| ns.parse().ok());
            return first.ok_or_else(|| io::Error::other("the scheduler does not account"));
        }
    }
    Err(io::Error::other(format!("no thread is called {name}")))
}

#[allow(clippy::print_stdout, reason = "what it measured is what it is for")]
fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let mut config = Config::default();
    config.redis.url = Some(arguments.redis);
    // A Redis that has much to do answers late, and is not to count as lost for it.
    config.redis.timeout_ms = 10_000;
    let began = Instant::now();
    let plan = mesh::Plan {
        parties: CORES + 2,
        inbox_batches: config.mesh.inbox_batches as usize,
        backlog_bytes: config.mesh.backlog_bytes,
    };
    let ports: [_; CORES as usize + 2] = mesh::build(plan)?.try_into().expect("one for each party");
    let [core, control, port] = ports;
    let (stop, stopped) = bridge::stop();
    let thread = thread::Builder::new().name("bridge".to_owned()).spawn(move || {
        bridge::run(bridge::Plan {
            config: Arc::new(config),
            started: began,
            port,
            cores: CORES,
            node: NODE,
            entropy: Box::new(Counting(1)),
            metrics: Arc::default(),
            stopped,
        })
    })?;
    let mut home = Home {
        port: core,
        control,
        began,
        rooms: fixture::rooms(arguments.rooms).into_iter().map(|room| (room, None)).collect(),
        in_flight: arguments.in_flight,
        size: arguments.size.max(1 + Stamp::BYTES),
        last_ticket: 0,
        heard: 0,
    };
    home.run(Instant::now() + Duration::from_secs_f64(arguments.warmup));
    let (heard, from) = (home.heard, Instant::now());
    let before = [spent_ns("bridge")?, spent_ns("bridge-alone")?];
    home.run(from + Duration::from_secs_f64(arguments.seconds));
    let (heard, seconds) = (home.heard - heard, from.elapsed().as_secs_f64());
    let [of_bridge, of_driver] =
        [spent_ns("bridge")? - before[0], spent_ns("bridge-alone")? - before[1]];
    let all = home.heard;
    println!(
        r#"{{"publishes":{heard},"all":{all},"seconds":{seconds},"bridge_ns":{of_bridge},"driver_ns":{of_driver}}}"#
    );
    stop.stop();
    thread.join().expect("the bridge does not panic")
}
