//! Several nodes on a Redis that is none, and their links to it.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Counting;
use super::cluster::Cluster;
use super::store::{Link, Store};

/// Nodes, and what they are on.
pub(super) struct Fleet {
    pub(super) store: Store,
    pub(super) nodes: Vec<Cluster>,
    pub(super) links: Vec<Link>,
    pub(super) random: Counting,
}

impl Fleet {
    /// Nodes that are not linked yet.
    pub(super) fn new(nodes: impl IntoIterator<Item = Cluster>, seed: u64) -> Self {
        let nodes: Vec<_> = nodes.into_iter().collect();
        let links = (0..nodes.len()).map(Link::of).collect();
        Self { store: Store::default(), nodes, links, random: Counting(seed) }
    }

    pub(super) fn below(&mut self, most: usize) -> usize {
        self.random.below(most)
    }

    /// A node's link ends; what was on its way is carried out or not.
    pub(super) fn cut(&mut self, node: usize, arrives: bool) {
        self.links[node].cut(&mut self.nodes[node], &mut self.store, arrives);
    }

    pub(super) fn restore(&mut self, node: usize) {
        self.links[node].restore(&mut self.nodes[node]);
    }

    /// There is a link that was not there before, and the others stay.
    pub(super) fn relink(&mut self, node: usize) {
        self.links[node].relink(&mut self.nodes[node], &mut self.store);
    }

    pub(super) fn restore_all(&mut self) {
        (0..self.nodes.len()).for_each(|node| self.restore(node));
    }

    /// Redis takes the next command of a node.
    pub(super) fn execute(&mut self, node: usize) {
        self.links[node].execute(&mut self.nodes[node], &mut self.store);
    }

    /// A node takes the next of what came.
    pub(super) fn deliver(&mut self, node: usize) {
        self.links[node].deliver(&mut self.nodes[node]);
    }

    /// All who listen are told what Redis has told.
    pub(super) fn spread(&mut self) {
        Link::spread(&mut self.links, &mut self.store);
    }

    /// Everything that is on its way arrives, and what follows from that.
    pub(super) fn carry(&mut self) {
        self.carry_of(0..self.nodes.len());
    }

    /// The same, of some of the nodes; they fall quiet.
    pub(super) fn carry_of(&mut self, nodes: impl IntoIterator<Item = usize>) {
        let nodes: Vec<_> = nodes.into_iter().collect();
        for _ in 0..2_000 {
            for &node in &nodes {
                self.execute(node);
                self.spread();
                self.deliver(node);
            }
            let is_done =
                |&node: &usize| self.links[node].is_idle() && self.nodes[node].to_broker.is_empty();
            if nodes.iter().all(is_done) {
                return;
            }
        }
        panic!("nodes and their Redis have always something to say to each other");
    }

    /// Time passes, and nothing arrives.
    pub(super) fn wait(&mut self, ms: u64) {
        self.nodes.iter_mut().for_each(|node| node.wait(ms));
    }
}

/// Runs of one kind, one for each seed; one that fails says which it is.
pub(crate) fn each_seed(kind: &str, seeds: Range<u64>, mut run: impl FnMut(u64)) {
    for seed in seeds {
        let result = catch_unwind(AssertUnwindSafe(|| run(seed)));
        assert!(result.is_ok(), "seed {seed} {kind}");
    }
}
