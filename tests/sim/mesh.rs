//! Between the engines: order for each pair, inboxes that are full, backlogs that collapse.

use std::collections::VecDeque;

use ringroom::id::CoreId;
use ringroom::shard::CoreMessage;

/// The most messages of a batch.
const BATCH: usize = 16;

/// What waits on one core for another.
#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<CoreMessage>,
    bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Mesh {
    /// By sender, then by receiver.
    lanes: Vec<Vec<Lane>>,
    inboxes: Vec<VecDeque<(CoreId, Vec<CoreMessage>)>>,
    pub(crate) inbox_batches: usize,
    /// Past this, publications collapse.
    pub(crate) backlog_bytes: usize,
    /// Publications that did.
    pub(crate) collapsed: u64,
}

fn core(index: usize) -> CoreId {
    CoreId(u16::try_from(index).expect("there are at most four"))
}

impl Mesh {
    pub(crate) fn new(cores: usize, inbox_batches: usize, backlog_bytes: usize) -> Self {
        Self {
            lanes: (0..cores).map(|_| (0..cores).map(|_| Lane::default()).collect()).collect(),
            inboxes: (0..cores).map(|_| VecDeque::new()).collect(),
            inbox_batches,
            backlog_bytes,
            collapsed: 0,
        }
    }

    pub(crate) fn post(&mut self, from: usize, to: usize, message: CoreMessage) {
        let lane = &mut self.lanes[from][to];
        let is_over = lane.bytes > self.backlog_bytes;
        let message = match message.collapsed().filter(|_| is_over) {
            None => message,
            Some(stand_in) => {
                self.collapsed += 1;
                match lane.waiting.back_mut().map(|last| last.absorb(stand_in.clone())) {
                    Some(Ok(())) => return,
                    Some(Err(stand_in)) => stand_in,
                    None => stand_in,
                }
            }
        };
        lane.bytes += message.cost_bytes();
        lane.waiting.push_back(message);
    }

    /// The end of a core's tick: what fits goes.
    pub(crate) fn deliver(&mut self, from: usize) {
        for (to, lane) in self.lanes[from].iter_mut().enumerate() {
            while !lane.waiting.is_empty() && self.inboxes[to].len() < self.inbox_batches {
                let count = lane.waiting.len().min(BATCH);
                let batch: Vec<_> = lane.waiting.drain(..count).collect();
                lane.bytes -=
                    batch.iter().map(CoreMessage::cost_bytes).sum::<usize>().min(lane.bytes);
                self.inboxes[to].push_back((core(from), batch));
            }
        }
    }

    pub(crate) fn receive(&mut self, at: usize) -> Option<(CoreId, Vec<CoreMessage>)> {
        self.inboxes[at].pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.inboxes.iter().all(VecDeque::is_empty)
            && self.lanes.iter().flatten().all(|lane| lane.waiting.is_empty())
    }
}
