//! Iteration, in both directions, without holding a lock.
//!
//! ```text
//!            given out │ front run │         rest          │ back run │ given out
//!   keys  ─────────────┼───────────┼───────────────────────┼──────────┼────────────
//!                      ●─▶ next()  start ──▶       ◀── end   next_back() ◀─●
//! ```
//!
//! Each end works on a *run*: slots of one block's body, shared by reference count under that block's lock. What is
//! not in a run yet is `rest`, an interval of keys. A run takes its keys off the rest, so the two ends can never
//! give out the same key; when the rest is empty, an end goes on with the other's run.
//!
//! INVARIANT: a place is a key, never a position or a block. Blocks partition the keys at every moment, so however
//! they split and merge between two steps, nothing is skipped and nothing repeated. That all blocks show the same
//! moment is the snapshot's doing.

use std::fmt;
use std::hint::black_box;
use std::iter::FusedIterator;
use std::mem;
use std::ops;
use std::sync::Arc;

use crossbeam_epoch as epoch;

use super::body::Body;
use super::bounds::{Interval, KeyRange};
use super::fence::Fence;
use super::tracker::Snapshot;
use super::unrolled::Memtable;
use super::value::Entry;
use super::version::Version;

/// How many versions are touched ahead of the one that is given out.
const AHEAD: usize = 16;

/// The entries of a range, read at one snapshot.
///
/// It holds no lock between two steps, borrows nothing, and can move between threads. It keeps its snapshot alive.
pub struct Range {
    table: Arc<Memtable>,
    snapshot: Snapshot,
    /// The keys that are in neither run yet.
    rest: Interval,
    front: Run,
    back: Run,
}

/// Slots of a body that are still to be given out.
#[derive(Clone)]
struct Run {
    body: Arc<Body>,
    slots: ops::Range<usize>,
    /// The slots whose versions were touched last.
    touched: ops::Range<usize>,
}

impl Range {
    pub(super) fn new(table: Arc<Memtable>, range: &KeyRange, snapshot: Snapshot) -> Range {
        let nothing = Run::new(Arc::default(), 0..0);
        Range { table, snapshot, rest: Interval::of(range), front: nothing.clone(), back: nothing }
    }

    /// The snapshot that is read.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Takes the next block's keys off the front of the rest.
    fn load_front(&mut self) {
        let start = self.rest.start.clone();
        self.front = self.table.locate(&Fence::borrowed(&start), &epoch::pin(), |block, inner| {
            let slots = block.take_front(&inner, &mut self.rest);
            Run::new(Arc::clone(&inner.body), slots)
        });
    }

    /// Takes the last block's keys off the back of the rest.
    fn load_back(&mut self) {
        let end = self.rest.end.clone();
        let end = end.as_deref().map(Fence::borrowed);
        self.back = self.table.locate_below(end.as_ref(), &epoch::pin(), |block, inner| {
            let slots = block.take_back(&inner, &mut self.rest);
            Run::new(Arc::clone(&inner.body), slots)
        });
    }
}

impl Run {
    fn new(body: Arc<Body>, slots: ops::Range<usize>) -> Run {
        Run { body, slots, touched: 0..0 }
    }

    fn next(&mut self) -> Option<usize> {
        let slot = self.slots.next()?;
        self.touch(slot, slot..self.slots.end.min(slot + AHEAD));
        Some(slot)
    }

    fn next_back(&mut self) -> Option<usize> {
        let slot = self.slots.next_back()?;
        self.touch(slot, self.slots.start.max((slot + 1).saturating_sub(AHEAD))..slot + 1);
        Some(slot)
    }

    /// Reads something of each version in `near`, if `slot` has not been read with others before.
    ///
    /// Versions lie all over memory, and counting a reference waits for its cache line before anything else may go
    /// on. Plain loads wait for theirs all at once: a third off the time of a scan.
    fn touch(&mut self, slot: usize, near: ops::Range<usize>) {
        if !self.touched.contains(&slot) {
            black_box(self.body.slots()[near.clone()].iter().map(Version::lsn).max());
            self.touched = near;
        }
    }

    /// The entry of a slot, if the snapshot shows one.
    fn entry(&self, slot: usize, snapshot: &Snapshot) -> Option<Entry> {
        Entry::of(self.body.version_at(slot, snapshot.lsn())?)
    }
}

impl Iterator for Range {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            while let Some(slot) = self.front.next() {
                if let Some(entry) = self.front.entry(slot, &self.snapshot) {
                    return Some(entry);
                }
            }
            if !self.rest.is_empty() {
                self.load_front();
            } else if !self.back.slots.is_empty() {
                mem::swap(&mut self.front, &mut self.back);
            } else {
                return None;
            }
        }
    }
}

impl DoubleEndedIterator for Range {
    fn next_back(&mut self) -> Option<Entry> {
        loop {
            while let Some(slot) = self.back.next_back() {
                if let Some(entry) = self.back.entry(slot, &self.snapshot) {
                    return Some(entry);
                }
            }
            if !self.rest.is_empty() {
                self.load_back();
            } else if !self.front.slots.is_empty() {
                mem::swap(&mut self.front, &mut self.back);
            } else {
                return None;
            }
        }
    }
}

impl FusedIterator for Range {}

impl fmt::Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Range").field("at", &self.snapshot.lsn()).finish_non_exhaustive()
    }
}
