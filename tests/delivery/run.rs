//! One run: a server or several nodes, rooms and clients, and what they noted down.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::doors::{Doors, Knocks};
use crate::history::{Epoch, History, Names, Place, Promise, Room};
use crate::link::{Arrival, Codec, Link};
use crate::people;
use crate::restarts::{self, Restarts};
use crate::trouble::{self, Trouble};

/// How large a run is.
#[derive(Clone, Debug)]
pub(crate) struct Size {
    pub(crate) publishers: usize,
    pub(crate) rooms: usize,
    pub(crate) connections: usize,
    pub(crate) seconds: u64,
    /// Between two things that a member does, at most.
    pub(crate) pause_ms: usize,
    /// Between two messages of a publisher.
    pub(crate) every_ms: u64,
    pub(crate) seed: u64,
}

/// What befalls those who serve, meanwhile.
pub(crate) enum Happening<'a> {
    Nothing,
    /// Their Redis is in trouble.
    Trouble(&'a mut Trouble),
    /// Processes take over from each other.
    Restarts(&'a mut Restarts),
}

impl Happening<'_> {
    /// The one that all rooms are in.
    fn namespace(&self) -> Option<&'static str> {
        match self {
            Happening::Trouble(trouble) => Some(trouble.namespace),
            Happening::Nothing | Happening::Restarts(_) => None,
        }
    }
}

/// More than there are lives of rooms in a run.
const LIVES: usize = 1_000_000;

/// What nobody knows of yet is told within this, mostly.
const CALM: Duration = Duration::from_millis(200);

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Acting,
    /// Nobody publishes any more, or begins anything.
    Finishing,
    /// All that was published is known.
    Settling,
    Over,
}

/// A room, which is as its namespace says.
#[derive(Debug)]
pub(crate) struct RoomPlan {
    pub(crate) name: String,
    pub(crate) promise: Promise,
    /// Bytes of its messages, at most.
    pub(crate) padding: usize,
    /// So much is said that readers who stall fall behind.
    pub(crate) is_loud: bool,
}

/// The namespaces of the rooms.
pub(crate) const NAMESPACES: &str = r#"
[namespaces.flood]
slow_consumer = "drop_oldest"

[namespaces.crowd]
slow_consumer = "drop_newest"
history_size = 50

[namespaces.brief]
history_size = 20

[namespaces.exact]
mode = "reliable"
history_size = 100_000
history_bytes = 67_108_864
history_ttl_ms = 3_600_000
"#;

/// Those that only Redis makes possible.
pub(crate) const SAFE: &str = r#"
[namespaces.safe]
mode = "guaranteed"
durability = "always"
history_size = 100_000
history_bytes = 67_108_864
history_ttl_ms = 3_600_000

[namespaces.soon]
mode = "reliable"
durability = "everysec"
history_size = 100_000
history_bytes = 67_108_864
history_ttl_ms = 3_600_000
"#;

impl RoomPlan {
    fn new(number: usize, happening: &Happening<'_>) -> Self {
        let (namespace, promise, padding) = match (happening.namespace(), number % 10) {
            (Some(namespace), _) => (namespace, Promise::Exact, 200),
            // Everybody comes back at once, and whoever is owed more than is read in time is let go.
            (None, 0 | 5) if matches!(happening, Happening::Restarts(_)) => {
                ("plain", Promise::Announced, 200)
            }
            (None, 0) => ("flood", Promise::Announced, 16_000),
            (None, 5) => ("crowd", Promise::Announced, 16_000),
            (None, 1 | 4 | 6 | 9) => ("exact", Promise::Exact, 200),
            (None, 2) => ("brief", Promise::Announced, 200),
            (None, _) => ("plain", Promise::Announced, 200),
        };
        let name = format!("{namespace}:{number}");
        Self { name, promise, padding, is_loud: padding > 200 }
    }
}

/// What the clients of a run share.
pub(crate) struct Run {
    /// One for each node.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) doors: Doors,
    pub(crate) seed: u64,
    pub(crate) rooms: Vec<RoomPlan>,
    pub(crate) pause_ms: usize,
    /// How long anything may take that must happen.
    pub(crate) patience: Duration,
    stage: Cell<Stage>,
    /// How many processes have been taken over from.
    pub(crate) round: Cell<usize>,
    epochs: RefCell<(Names, Vec<String>)>,
    heads: RefCell<Vec<(Epoch, u64)>>,
    /// Clients go on with their sessions at any node; what a Redis in trouble was not told of a
    /// session, only its own node knows.
    pub(crate) roams: bool,
    /// Nobody publishes for a while.
    pub(crate) is_paused: Cell<bool>,
    publishing: Cell<usize>,
    settled: Cell<usize>,
    present: RefCell<Vec<usize>>,
}

impl Run {
    pub(crate) fn stage(&self) -> Stage {
        self.stage.get()
    }

    pub(crate) fn room(&self, name: &str) -> Room {
        let number = name.split(':').nth(1).and_then(|number| number.parse().ok());
        number.expect("a room of this run")
    }

    /// Later lives of a room are greater, also where somebody hears of an earlier one later: Redis
    /// numbers them.
    pub(crate) fn epoch(&self, text: &str) -> Epoch {
        let (names, texts) = &mut *self.epochs.borrow_mut();
        let epoch = names.of(text);
        if epoch == texts.len() {
            texts.push(text.to_owned());
        }
        let number = text.split_once('.').and_then(|(number, _)| number.parse::<usize>().ok());
        number.unwrap_or(0) * LIVES + epoch
    }

    pub(crate) fn epoch_text(&self, epoch: Epoch) -> String {
        self.epochs.borrow().1[epoch % LIVES].clone()
    }

    /// A publication is known to be.
    pub(crate) fn saw(&self, place: Place) {
        let head = &mut self.heads.borrow_mut()[place.room];
        *head = (place.epoch, place.offset).max(*head);
    }

    /// The last place of a room that anybody knows.
    pub(crate) fn head(&self, room: Room) -> (Epoch, u64) {
        self.heads.borrow()[room]
    }

    pub(crate) fn publisher_done(&self) {
        self.publishing.set(self.publishing.get() - 1);
    }

    /// Somebody who is in these rooms has all there is, or has not any more.
    pub(crate) fn settled(&self, rooms: &[Room], is_so: bool) {
        let count = |before: usize| if is_so { before + 1 } else { before - 1 };
        self.settled.set(count(self.settled.get()));
        for &room in rooms {
            let present = &mut self.present.borrow_mut()[room];
            *present = count(*present);
        }
    }
}

/// What a run left.
pub(crate) struct Outcome {
    pub(crate) histories: Vec<History>,
    pub(crate) promises: Vec<Promise>,
    /// By room: who says to be there, and how many the server counts.
    pub(crate) present: Vec<(u64, u64)>,
    pub(crate) knocks: Knocks,
}

/// Runs it against these servers.
pub(crate) fn run(size: &Size, addresses: Vec<SocketAddr>, happening: Happening<'_>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, direct(size, addresses, happening))
}

async fn direct(size: &Size, addresses: Vec<SocketAddr>, happening: Happening<'_>) -> Outcome {
    let are_taken_over = matches!(happening, Happening::Restarts(_));
    let may_stall = matches!(happening, Happening::Nothing);
    let rooms: Vec<_> = (0..size.rooms).map(|room| RoomPlan::new(room, &happening)).collect();
    let promises = rooms.iter().map(|room| room.promise).collect();
    let run = Rc::new(Run {
        addresses,
        doors: Doors { are_taken_over, ..Doors::default() },
        seed: size.seed,
        pause_ms: size.pause_ms,
        patience: Duration::from_secs(60),
        stage: Cell::new(Stage::Acting),
        round: Cell::new(0),
        epochs: RefCell::default(),
        heads: RefCell::new(vec![(0, 0); rooms.len()]),
        roams: happening.namespace().is_none(),
        is_paused: Cell::new(false),
        publishing: Cell::new(size.publishers),
        settled: Cell::new(0),
        present: RefCell::new(vec![0; rooms.len()]),
        rooms,
    });
    let mut tasks = Vec::new();
    for me in 0..size.connections {
        let is_slow = may_stall && me >= size.publishers && me % 16 < 2;
        let client = Client::new(me, Rc::clone(&run), is_slow);
        let every = Duration::from_millis(size.every_ms);
        tasks.push(if me < size.publishers {
            tokio::task::spawn_local(people::publish(client, me, every))
        } else {
            tokio::task::spawn_local(people::live(client))
        });
        if me % 64 == 63 {
            sleep(Duration::from_millis(5)).await;
        }
    }
    sleep(Duration::from_secs(size.seconds)).await;
    match happening {
        Happening::Nothing => {}
        Happening::Trouble(trouble) => trouble::befall(trouble, &run).await,
        Happening::Restarts(restarts) => restarts::restart(restarts, &run).await,
    }
    run.stage.set(Stage::Finishing);
    eventually(&run, &tasks, "publishes are answered", || run.publishing.get() == 0).await;
    run.stage.set(Stage::Settling);
    // The second time for what was published without an answer, of which nobody knew the first time.
    for _ in 0..2 {
        sleep(CALM).await;
        let are_settled = || run.settled.get() == size.connections;
        eventually(&run, &tasks, "clients settle", are_settled).await;
    }
    // Nodes count each for itself.
    let present = match run.addresses.len() {
        1 => count_present(&run).await,
        _ => Vec::new(),
    };
    run.stage.set(Stage::Over);
    let mut histories = Vec::new();
    for task in tasks {
        histories.push(task.await.expect("a client is content"));
    }
    Outcome { histories, promises, present, knocks: run.doors.knocks.get() }
}

/// Waits until it is so; no client's history is over by then.
async fn eventually(
    run: &Run,
    tasks: &[JoinHandle<History>],
    what: &str,
    is_so: impl Fn() -> bool,
) {
    let until = Instant::now() + run.patience * 2;
    while !is_so() {
        assert!(!tasks.iter().any(JoinHandle::is_finished), "a client gave up");
        assert!(Instant::now() < until, "{what}: not within {:?}", run.patience * 2);
        sleep(Duration::from_millis(50)).await;
    }
}

/// A command of somebody who is in no room.
async fn ask(inspector: &mut Link, mut command: Value) -> Value {
    command["id"] = 1.into();
    inspector.send(&command).await.unwrap();
    loop {
        let Arrival::Value(value) = inspector.receive().await else { panic!("the end came") };
        if value["id"] == 1 {
            assert_eq!(value["type"], "ok", "{command}: {value}");
            return value;
        }
    }
}

/// Who says to be in each room, and how many the server counts, once it has had time to notice.
async fn count_present(run: &Run) -> Vec<(u64, u64)> {
    let until = Instant::now() + run.patience;
    let mut inspector = Link::open(run.addresses[0], Codec::Json, None, false).await.unwrap();
    loop {
        let mut counts = Vec::new();
        for (room, plan) in run.rooms.iter().enumerate() {
            let info = ask(&mut inspector, json!({ "type": "room.info", "room": plan.name })).await;
            let counted = info["user_count"].as_u64().expect("a count");
            counts.push((run.present.borrow()[room] as u64, counted));
        }
        if counts.iter().all(|(said, counted)| said == counted) || Instant::now() > until {
            return counts;
        }
        sleep(Duration::from_millis(100)).await;
    }
}
