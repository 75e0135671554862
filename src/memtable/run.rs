//! The bulk way in, for a table that is being recovered: a run of versions is sorted once, and then merged into the
//! table block by block.
//!
//! ```text
//!  run      b d e │ k l │ z                        sorted by key; of each key the newest version only
//!             │      │     │
//!  blocks   [a c f] [k m] [p q .. y]               each is locked once, and merged in one pass
//!             ▼      ▼     ▼
//!  blocks   [a b c d e f] [k l m] [p q ..] [x y z]   what gets too long is chopped
//! ```
//!
//! One put at a time, each would search the index and the block for its place, cache miss by cache miss, and move half
//! of the block to make room. Here that is paid once for all keys of the run that fall into one block; in an empty
//! table the first run builds full blocks straight away.
//!
//! Many threads may do this at once, with any keys and in any order, because the newest LSN wins: the law that
//! [`Memtable::apply`] states. What loses is dropped on the spot, which [`Memtable::apply`] may not do: it may be what
//! readers see. That is why nobody may read the table yet.

use std::sync::Arc;
use std::vec;

use crossbeam_epoch::{self as epoch, Guard};

use super::block::{Block, Inner};
use super::body::{BODY_SLOTS, Merged};
use super::fence::{Fence, common_prefix, prefix_of};
use super::room::Room;
use super::unrolled::Memtable;
use super::version::Version;
use crate::Lsn;

/// How many keys go into a block that is built here: with room for as many puts again as in one that was split.
pub(super) const FILL: usize = BODY_SLOTS * 3 / 4;

/// Versions on their way into a table, in any order.
///
/// ```
/// use std::sync::Arc;
/// use forelog::Lsn;
/// use forelog::memtable::{Memtable, Run, TakenIn, Tracker};
///
/// let tracker = Tracker::new(Lsn::ZERO);
/// let table = Arc::new(Memtable::new(tracker.clone()));
/// let mut run = Run::new();
/// run.push(Lsn::new(1), b"b", Some(b"old"));
/// run.push(Lsn::new(2), b"a", Some(b"1"));
/// run.push(Lsn::new(3), b"b", Some(b"new"));
/// let taken: TakenIn = table.take_in(run);
/// assert!(taken.gained > 0 && taken.lost == 0);
///
/// let mut later = Run::new();
/// later.push(Lsn::new(4), b"a", None);
/// let tombstones = later.tombstone_bytes();
/// let taken = table.take_in(later);
/// assert!(taken.tombstones_gained == tombstones && taken.lost > 0);
///
/// tracker.publish(Lsn::new(4));
/// assert_eq!(&*table.get(b"b").unwrap(), b"new");
/// assert_eq!(table.get(b"a"), None);
/// ```
#[derive(Debug, Default)]
pub struct Run {
    versions: Vec<Version>,
    /// How many leading bytes all keys share.
    shared: usize,
    /// Two keys were pushed in the wrong order, or the same one twice.
    unsorted: bool,
    /// What all versions take.
    bytes: usize,
    /// What the tombstones among them take.
    tombstone_bytes: usize,
    room: Room,
}

/// What taking in a run changed, so that whoever feeds a table knows how large it has become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakenIn {
    /// Bytes of the values that are in the table now.
    pub gained: usize,
    /// Bytes of the values that were in it and have been replaced or deleted.
    pub lost: usize,
    /// Bytes of the tombstones that came with the run and are in the table now.
    pub tombstones_gained: usize,
    /// Bytes of the tombstones that were in it and have been replaced.
    pub tombstones_lost: usize,
}

/// What sorting takes beside a version: its place in the run, and its prefix and place once more.
const SORTING_BYTES: usize = size_of::<Version>() + size_of::<(u64, Version)>();

impl Run {
    /// Nothing yet.
    pub fn new() -> Run {
        Run::default()
    }

    /// Adds a version; `None` is a deletion.
    ///
    /// # Panics
    ///
    /// If the key has 4 GiB or more, which no batch can hold.
    pub fn push(&mut self, lsn: Lsn, key: &[u8], value: Option<&[u8]>) {
        self.room.extend(self.bytes);
        let version = Version::new(lsn, key, value);
        match self.versions.last().map(Version::key) {
            None => self.shared = key.len(),
            Some(last) => {
                // What each shares with the one before, all share.
                self.shared = common_prefix(&last[..self.shared], key);
                self.unsorted = self.unsorted || last >= key;
            }
        }
        self.bytes += version.bytes();
        if version.is_tombstone() {
            self.tombstone_bytes += version.bytes();
        }
        self.versions.push(version);
    }

    /// How many versions there are.
    pub fn len(&self) -> usize {
        self.versions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    /// Of [`Run::bytes`], what tombstones take by themselves.
    pub fn tombstone_bytes(&self) -> usize {
        self.tombstone_bytes
    }

    /// Memory that the run takes while it is sorted, in bytes, without what the allocator adds.
    pub fn bytes(&self) -> usize {
        self.bytes + self.versions.len() * SORTING_BYTES
    }

    /// Ascending by key, the newest version of each.
    fn sorted(self) -> Vec<Version> {
        if !self.unsorted {
            return self.versions;
        }
        let shared = self.shared;
        // Behind what all keys share, so that real ones (`user:0000001:name`) differ within these 8 bytes and are
        // sorted without a look at the keys, each of which would be a cache miss.
        let with_prefix = |version: Version| (prefix_of(&version.key()[shared..]), version);
        let mut sorted: Vec<(u64, Version)> = self.versions.into_iter().map(with_prefix).collect();
        sorted.sort_unstable_by(|(prefix, version), (other_prefix, other)| {
            prefix
                .cmp(other_prefix)
                .then_with(|| version.key().cmp(other.key()))
                .then_with(|| other.lsn().cmp(&version.lsn()))
        });
        sorted.dedup_by(|(prefix, version), (newer_prefix, newer)| {
            prefix == newer_prefix && version.key() == newer.key()
        });
        sorted.into_iter().map(|(_, version)| version).collect()
    }
}

impl TakenIn {
    pub(super) fn count_gain(&mut self, version: &Version) {
        let sum = if version.is_tombstone() { &mut self.tombstones_gained } else { &mut self.gained };
        *sum += version.bytes();
    }

    pub(super) fn count_loss(&mut self, version: &Version) {
        let sum = if version.is_tombstone() { &mut self.tombstones_lost } else { &mut self.lost };
        *sum += version.bytes();
    }
}

impl Memtable {
    /// Takes in all versions of a run; many threads may do so at once. Of the versions of a key the newest LSN wins,
    /// in whatever order they come, as with [`Memtable::apply`] and under its provisos.
    ///
    /// Contract: the table is being recovered, and nobody reads it: there is no snapshot, no iterator, no `get`. So
    /// the version that loses is dropped at once, be it the visible one.
    pub fn take_in(&self, run: Run) -> TakenIn {
        let mut rest = run.sorted().into_iter();
        let mut merged = Merged::default();
        let guard = &epoch::pin();
        while let Some(first) = rest.as_slice().first() {
            let key = Fence::owned(first.key());
            self.locate_exclusive(&key, guard, |block, mut inner| {
                let own = rest_below(&mut rest, inner.high.as_ref());
                let max_lsn = Arc::make_mut(&mut inner.body).merge_into(own, &mut merged);
                inner.max_lsn = inner.max_lsn.max(max_lsn);
                self.put_back(block, &mut inner, &mut merged, guard);
                self.note_garbage(block, inner);
            });
            // ORDER: freed after the lock is gone.
            merged.losers.clear();
        }
        merged.taken
    }

    /// Gives a locked block what it and a run have become. What is too much for it goes into new blocks to its right.
    fn put_back(&self, left: &Block, inner: &mut Inner, merged: &mut Merged, guard: &Guard) {
        let body = Arc::make_mut(&mut inner.body);
        let len = merged.slots().len();
        let pieces = if len < BODY_SLOTS { 1 } else { len.div_ceil(FILL) };
        // ORDER: from the right, so that where a new block ends another begins already.
        for piece in (1..pieces).rev() {
            let at = len * piece / pieces;
            let upper = body.give_away(merged, at);
            let below = merged.slots()[at - 1].key();
            inner.high = Some(self.link(below, upper, inner.high.take(), inner.max_lsn, guard));
        }
        body.take_back(merged);
        body.set_bounds(left.low.as_bytes(), inner.high.as_ref().map(Fence::as_bytes));
    }
}

/// Takes the front of a sorted run, up to the first key that is not below `high`.
fn rest_below<'r>(
    rest: &'r mut vec::IntoIter<Version>,
    high: Option<&Fence<'static>>,
) -> impl Iterator<Item = Version> + use<'r> {
    let below = |version: &&Version| high.is_none_or(|high| Fence::borrowed(version.key()) < *high);
    let count = rest.as_slice().iter().take_while(below).count();
    rest.by_ref().take(count)
}
