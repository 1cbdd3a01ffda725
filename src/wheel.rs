//! Timers: a hierarchical wheel with a resolution of one millisecond.
//!
//! Ten levels of 64 slots cover every [`Moment`]. A timer lies at the level of the highest digit (in
//! base 64) in which its tick differs from the wheel's, in the slot that digit names; when the wheel
//! enters a slot of a higher level, its timers move down. Inserting and cancelling are O(1), a timer
//! moves at most nine times in its life, and finding the earliest is two bit scans.
//!
//! Invariants:
//! - A timer never fires early, and once the wheel is driven past its deadline it fires exactly once
//!   or was cancelled.
//! - Timers fire in the order of their ticks (deadlines rounded up to the millisecond; what was
//!   already past when it was inserted counts as due then), and in the order of insertion within one.
//! - A level's slots all lie ahead of the wheel's own digit (level 0: not behind it), and all of them
//!   before any slot of a higher level. So one position in time has exactly one slot, which is why a
//!   timer need not remember its own.
//! - A key finds the timer it was given for, or nothing.

#[cfg(test)]
mod tests;

use std::num::NonZeroU32;

use crate::clock::Moment;

const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
/// Enough for every tick: `u64::MAX` microseconds are less than 2^54 milliseconds.
const LEVELS: usize = 10;
const US_PER_TICK: u64 = 1_000;
/// No node.
const NIL: u32 = u32::MAX;

/// Names one timer of one wheel. As small as it gets, because every connection keeps some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timer {
    index: u32,
    generation: NonZeroU32,
}

/// Timers that each carry a `T`.
#[derive(Debug)]
pub struct Wheel<T> {
    /// How far the wheel has turned: every timer with an earlier tick has fired.
    elapsed: u64,
    /// The first node of each slot's ring, or [`NIL`].
    slots: [[u32; SLOTS]; LEVELS],
    /// One bit for each slot that is not empty.
    occupied: [u64; LEVELS],
    /// One bit for each level that is not empty.
    levels: u32,
    nodes: Vec<Node<T>>,
    /// The first of the vacant nodes, which are chained by `next`.
    vacant: u32,
    len: usize,
}

#[derive(Debug)]
struct Node<T> {
    /// The tick in two halves, so that a node aligns to four bytes and is not padded to eight.
    tick: [u32; 2],
    /// Counts the timers that have had this node.
    generation: NonZeroU32,
    /// Ring within a slot: the first node's `previous` is the last.
    next: u32,
    previous: u32,
    value: Option<T>,
}

impl<T> Default for Wheel<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Wheel<T> {
    /// An empty wheel at the beginning of time.
    #[must_use]
    pub fn new() -> Self {
        Self {
            elapsed: 0,
            slots: [[NIL; SLOTS]; LEVELS],
            occupied: [0; LEVELS],
            levels: 0,
            nodes: Vec::new(),
            vacant: NIL,
            len: 0,
        }
    }

    /// Timers that have neither fired nor been cancelled.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets a timer. A `deadline` that is past is due at once.
    pub fn insert(&mut self, deadline: Moment, value: T) -> Timer {
        let tick = deadline.us.div_ceil(US_PER_TICK).max(self.elapsed);
        let index = self.occupy(tick, value);
        self.link(index, tick);
        self.len += 1;
        Timer { index, generation: self.nodes[index as usize].generation }
    }

    /// Takes a timer back, with what it carried; nothing if it fired or was cancelled before.
    pub fn cancel(&mut self, timer: Timer) -> Option<T> {
        let node = self.nodes.get(timer.index as usize)?;
        if node.generation != timer.generation || node.value.is_none() {
            return None;
        }
        self.unlink(timer.index);
        self.vacate(timer.index)
    }

    /// When [`expire`](Self::expire) is worth calling again: never later than the earliest timer.
    /// It may be earlier for a timer that is far off, whose slot has to be opened first: at most
    /// nine times in the life of a timer.
    #[must_use]
    pub fn next(&self) -> Option<Moment> {
        let (_, _, tick) = self.earliest()?;
        Some(Moment { us: tick.saturating_mul(US_PER_TICK) })
    }

    /// One timer that is due at `now`, the earliest first; nothing once there are none. A `now`
    /// before an earlier one finds nothing new.
    pub fn expire(&mut self, now: Moment) -> Option<T> {
        let now_tick = now.us / US_PER_TICK;
        while let Some((level, slot, tick)) = self.earliest() {
            if tick > now_tick {
                break;
            }
            self.elapsed = tick;
            if level == 0 {
                let index = self.slots[0][slot];
                self.unlink(index);
                return self.vacate(index);
            }
            self.open(level, slot);
        }
        // No slot begins at or before `now_tick`, so moving there enters none.
        self.elapsed = self.elapsed.max(now_tick);
        None
    }

    /// The first slot that is not empty, and the tick at which it begins.
    fn earliest(&self) -> Option<(usize, usize, u64)> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros();
        let slot = self.occupied[level as usize].trailing_zeros();
        let shift = level * DIGIT_BITS;
        let above = self.elapsed >> (shift + DIGIT_BITS) << (shift + DIGIT_BITS);
        Some((level as usize, slot as usize, above | u64::from(slot) << shift))
    }

    /// Moves the timers of a slot that the wheel has just entered to the levels below, in order.
    fn open(&mut self, level: usize, slot: usize) {
        let mut index = std::mem::replace(&mut self.slots[level][slot], NIL);
        self.clear(level, slot);
        let last = self.nodes[index as usize].previous;
        loop {
            let next = self.nodes[index as usize].next;
            self.link(index, self.nodes[index as usize].tick());
            if index == last {
                return;
            }
            index = next;
        }
    }

    /// Where a tick that is not past lies, seen from where the wheel is.
    fn place(&self, tick: u64) -> (usize, usize) {
        let differing = (self.elapsed ^ tick) | 1;
        let level = (u64::BITS - 1 - differing.leading_zeros()) / DIGIT_BITS;
        (level as usize, digit(tick, level))
    }

    /// Appends a node to the ring of its slot.
    fn link(&mut self, index: u32, tick: u64) {
        let (level, slot) = self.place(tick);
        let first = self.slots[level][slot];
        let (next, previous) = if first == NIL {
            self.slots[level][slot] = index;
            self.occupied[level] |= 1 << slot;
            self.levels |= 1 << level;
            (index, index)
        } else {
            let last = std::mem::replace(&mut self.nodes[first as usize].previous, index);
            self.nodes[last as usize].next = index;
            (first, last)
        };
        let node = &mut self.nodes[index as usize];
        node.next = next;
        node.previous = previous;
    }

    /// Takes a node out of the ring of its slot.
    fn unlink(&mut self, index: u32) {
        let node = &self.nodes[index as usize];
        let (next, previous) = (node.next, node.previous);
        let (level, slot) = self.place(node.tick());
        if next == index {
            self.slots[level][slot] = NIL;
            self.clear(level, slot);
            return;
        }
        self.nodes[next as usize].previous = previous;
        self.nodes[previous as usize].next = next;
        if self.slots[level][slot] == index {
            self.slots[level][slot] = next;
        }
    }

    /// Notes that a slot is empty.
    fn clear(&mut self, level: usize, slot: usize) {
        self.occupied[level] &= !(1 << slot);
        if self.occupied[level] == 0 {
            self.levels &= !(1 << level);
        }
    }

    /// Takes a vacant node, or a new one.
    fn occupy(&mut self, tick: u64, value: T) -> u32 {
        let tick = split(tick);
        if self.vacant != NIL {
            let index = self.vacant;
            let node = &mut self.nodes[index as usize];
            self.vacant = node.next;
            node.tick = tick;
            node.value = Some(value);
            return index;
        }
        let index = u32::try_from(self.nodes.len()).ok().filter(|index| *index != NIL);
        let index = index.expect("four billion timers do not fit in memory");
        let generation = NonZeroU32::MIN;
        self.nodes.push(Node { tick, generation, next: NIL, previous: NIL, value: Some(value) });
        index
    }

    /// Gives an unlinked node back; whoever still holds its key finds nothing.
    fn vacate(&mut self, index: u32) -> Option<T> {
        let node = &mut self.nodes[index as usize];
        node.generation = node.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        node.next = self.vacant;
        self.vacant = index;
        self.len -= 1;
        node.value.take()
    }
}

impl<T> Node<T> {
    fn tick(&self) -> u64 {
        u64::from(self.tick[0]) << 32 | u64::from(self.tick[1])
    }
}

/// The digit of a tick in base [`SLOTS`] that a level looks at.
#[allow(clippy::cast_possible_truncation, reason = "only the low bits are wanted")]
fn digit(tick: u64, level: u32) -> usize {
    (tick >> (level * DIGIT_BITS)) as usize % SLOTS
}

/// The high and the low half.
#[allow(clippy::cast_possible_truncation, reason = "that is how the low half is taken")]
fn split(tick: u64) -> [u32; 2] {
    [(tick >> 32) as u32, tick as u32]
}
