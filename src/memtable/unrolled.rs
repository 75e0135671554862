//! The memtable: an unrolled skip list.
//!
//! ```text
//!   index   "" ─────────────▶ "g" ────────────▶ "p"          a lock-free skip list of low bounds
//!            │                 │                 │
//!   blocks  [a b c .. f]      [g h .. o]        [p .. z]     up to 128 keys each, under a small lock
//! ```
//!
//! A node for each key costs a cache miss with each step; here a step is the next slot of an array, a lookup searches
//! a skip list a hundred times shorter, and the index changes only when a block splits or merges.
//!
//! - **locate**: the index names the block with the greatest low bound ≤ key; lock it; if it does not own the key
//!   (it has split, or merged away, meanwhile) search the index again. Going right from a stale block would not do:
//!   keys also move *left*, when blocks merge.
//! - **visible** is read after the lock was taken: what collection freed before, it freed for a visible LSN not
//!   above this one.
//!
//! Where to read next: `reshape` (split and merge), `range`, `garbage`.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use crossbeam_epoch::{self as epoch, Guard};
use crossbeam_skiplist::base::SkipList;
use parking_lot::{RwLockReadGuard, RwLockWriteGuard};

use super::MemtableStats;
use super::block::{Block, Inner};
use super::body::{BODY_SLOTS, Body};
use super::bounds::{Interval, KeyRange};
use super::directory::Directory;
use super::fence::{Fence, Place};
use super::garbage::Queue;
use super::range::Range;
use super::tracker::{Snapshot, Tracker};
use super::value::{Newest, Value};
use super::version::Version;
use crate::Lsn;

/// The ordered map of one keyspace, with the versions that its readers need.
///
/// Writers and readers share it freely. A reader waits at most for one short critical section of one block; nothing
/// here waits for a disk.
pub struct Memtable {
    pub(super) tracker: Arc<Tracker>,
    /// The blocks by their low bounds. Never empty: the block `""` is there from the start and never merges away.
    ///
    /// A place is inserted when it is new and removed by its own entry; nothing is replaced (crossbeam-skiplist
    /// would unlink the old entry first). Searched through `base` with a pinned guard, and what that hands out by
    /// count is released: otherwise blocks that merged away would never be freed.
    pub(super) index: SkipList<Place, Arc<Block>>,
    /// Where a search looks first.
    pub(super) directory: Directory,
    pub(super) garbage: Queue,
}

impl Memtable {
    /// An empty table that lives by this clock.
    pub fn new(tracker: Arc<Tracker>) -> Memtable {
        let index = SkipList::new(epoch::default_collector().clone());
        let low = Fence::owned(b"");
        let first = Arc::new(Block::new(low.clone(), None, Lsn::ZERO, Body::default()));
        let guard = &epoch::pin();
        let directory = Directory::new();
        directory.add(&first, guard);
        index.get_or_insert(Place(low), first, guard).release(guard);
        Memtable { tracker, index, directory, garbage: Queue::default() }
    }

    /// Puts (`Some`) or deletes (`None`) a key at an LSN. Invisible until the tracker publishes that LSN.
    ///
    /// **Commutative**: of the versions of a key the newest LSN wins, whatever the order of the calls, so a log may
    /// be replayed in any order and by many threads. Three provisos, which the callers see to:
    /// - a batch holds a key once (two operations of one LSN on one key have no order; the second is ignored);
    /// - tombstones stay until every lower LSN has been applied: [`Tracker::publish`] promises that for all up to its
    ///   LSN, and no tombstone above it is collected;
    /// - the removal of a range is applied as the removal of the keys that it removed.
    ///
    /// # Panics
    ///
    /// If the key has 4 GiB or more, which no batch can hold.
    pub fn apply(&self, lsn: Lsn, key: &[u8], value: Option<&[u8]>) {
        let version = Version::new(lsn, key, value);
        let guard = &epoch::pin();
        self.locate_exclusive(&Fence::borrowed(key), guard, |block, mut inner| {
            inner.max_lsn = inner.max_lsn.max(lsn);
            let body = Arc::make_mut(&mut inner.body);
            body.put(version);
            if body.len() >= BODY_SLOTS {
                self.split(block, &mut inner, guard);
            }
            self.note_garbage(block, inner);
        });
    }

    /// The value of a key at the visible LSN.
    pub fn get(&self, key: &[u8]) -> Option<Value> {
        self.locate(&Fence::borrowed(key), &epoch::pin(), |_, inner| {
            // ORDER: `visible` after the lock. Read before it, it could fall behind a collection of this block,
            // which then has freed the version that this LSN needs.
            let at = self.tracker.visible();
            Self::read(&inner, key, at)
        })
    }

    /// The value of a key at `at`.
    ///
    /// Contract: a live snapshot pins `at`, or what it shows may be gone.
    pub fn get_at(&self, key: &[u8], at: Lsn) -> Option<Value> {
        self.locate(&Fence::borrowed(key), &epoch::pin(), |_, inner| Self::read(&inner, key, at))
    }

    /// The newest thing applied to a key, published or not: what the condition of a later batch is judged against.
    ///
    /// `None` if the key was never put, or if its deletion is so old that no reader can tell the difference.
    pub fn newest(&self, key: &[u8]) -> Option<Newest> {
        self.locate(&Fence::borrowed(key), &epoch::pin(), |_, inner| {
            let slot = inner.body.find(key).ok()?;
            Some(Newest::of(&inner.body.slots()[slot]))
        })
    }

    /// Whether any of these keys was put or deleted after `since`, published or not: the LSN of such a change.
    ///
    /// Goes from block to block, not from key to key: where none of a block's versions is newer, none of its keys is looked at.
    /// Other writes wait for this, so a million keys must not mean a million searches.
    ///
    /// Contract: as [`changed_since`](Memtable::changed_since).
    pub fn keys_changed_since(&self, keys: &BTreeSet<Vec<u8>>, since: Lsn) -> Option<Lsn> {
        let mut next = keys.first();
        let mut change = None;
        while let Some(key) = next.filter(|_| change.is_none()) {
            next = self.locate(&Fence::borrowed(key), &epoch::pin(), |_, inner| {
                let high = inner.high.as_ref().map(Fence::as_bytes);
                if inner.max_lsn > since {
                    let here = (Bound::Included(&key[..]), high.map_or(Bound::Unbounded, Bound::Excluded));
                    let slots = keys.range::<[u8], _>(here).filter_map(|key| inner.body.find(key).ok());
                    change = slots.map(|slot| inner.body.slots()[slot].lsn()).find(|lsn| *lsn > since);
                }
                high.and_then(|high| keys.range::<[u8], _>((Bound::Included(high), Bound::Unbounded)).next())
            });
        }
        change
    }

    /// Whether any key of the range was put or deleted after `since`, published or not: the LSN of such a change.
    ///
    /// A block none of whose versions is newer is passed without a look at its keys.
    ///
    /// Contract: a live snapshot pins `since`, so that no later deletion has been forgotten.
    pub fn changed_since(&self, range: &KeyRange, since: Lsn) -> Option<Lsn> {
        let mut rest = Interval::of(range);
        let mut change = None;
        while change.is_none() && !rest.is_empty() {
            let start = rest.start.clone();
            self.locate(&Fence::borrowed(&start), &epoch::pin(), |block, inner| {
                let slots = block.take_front(&inner, &mut rest);
                if inner.max_lsn > since {
                    change = inner.body.slots()[slots].iter().map(Version::lsn).find(|lsn| *lsn > since);
                }
            });
        }
        change
    }

    /// The entries of a range as the snapshot shows them, in both directions.
    pub fn range(self: &Arc<Self>, range: KeyRange, snapshot: Snapshot) -> Range {
        Range::new(Arc::clone(self), &range, snapshot)
    }

    /// What the table holds. Visits every block: about a millisecond for a million keys.
    pub fn stats(&self) -> MemtableStats {
        let guard = &epoch::pin();
        let mut stats = MemtableStats { bytes: self.directory.bytes(guard), ..MemtableStats::default() };
        for entry in self.index.iter(guard) {
            let inner = entry.value().inner.read();
            if !inner.dead {
                stats.blocks += 1;
                stats.keys += inner.body.len() - inner.body.tombstones();
                stats.tombstones += inner.body.tombstones();
                stats.versions += inner.body.versions();
                stats.bytes += size_of::<Block>() + size_of::<Body>() + inner.body.bytes();
            }
        }
        stats
    }

    /// Divides the keys into ranges of so many blocks: for each, how many blocks it has now, and the key behind it;
    /// `None` for the last range. Blocks that split or merge meanwhile only make the ranges less even.
    pub(crate) fn cut_points(&self, blocks_each: usize) -> Vec<(usize, Option<Vec<u8>>)> {
        let guard = &epoch::pin();
        let mut cuts = Vec::new();
        let mut blocks = 0;
        for entry in self.index.iter(guard) {
            if blocks >= blocks_each.max(1) {
                cuts.push((blocks, Some(entry.key().0.as_bytes().to_vec())));
                blocks = 0;
            }
            blocks += 1;
        }
        cuts.push((blocks, None));
        cuts
    }

    /// Calls `read` with the block that owns `key`, locked shared.
    pub(super) fn locate<T>(
        &self,
        key: &Fence<'_>,
        guard: &Guard,
        read: impl FnOnce(&Arc<Block>, RwLockReadGuard<'_, Inner>) -> T,
    ) -> T {
        let mut hint = self.directory.hint(key, guard);
        loop {
            {
                let block = hint.as_ref().unwrap_or_else(|| self.candidate(key, guard));
                let inner = block.inner.read();
                // INVARIANT: under the lock, always: since it was found, the block may have given its upper half
                // away, or have merged into its neighbour. Then the index knows better, if not yet, then soon.
                if block.owns(&inner, key) {
                    return read(block, inner);
                }
            }
            hint = None;
        }
    }

    /// Calls `write` with the block that owns `key`, locked exclusively.
    pub(super) fn locate_exclusive<T>(
        &self,
        key: &Fence<'_>,
        guard: &Guard,
        write: impl FnOnce(&Arc<Block>, RwLockWriteGuard<'_, Inner>) -> T,
    ) -> T {
        let mut hint = self.directory.hint(key, guard);
        loop {
            {
                let block = hint.as_ref().unwrap_or_else(|| self.candidate(key, guard));
                let inner = block.inner.write();
                // INVARIANT: as in `locate`.
                if block.owns(&inner, key) {
                    return write(block, inner);
                }
            }
            hint = None;
        }
    }

    /// Calls `read` with the block that holds the last keys below `end`, locked shared.
    pub(super) fn locate_below<T>(
        &self,
        end: Option<&Fence<'_>>,
        guard: &Guard,
        read: impl FnOnce(&Arc<Block>, RwLockReadGuard<'_, Inner>) -> T,
    ) -> T {
        loop {
            let block = self.candidate_below(end, guard);
            let inner = block.inner.read();
            // INVARIANT: as in `locate`.
            if block.owns_below(&inner, end) {
                return read(block, inner);
            }
        }
    }

    /// The index's guess for `key`: right unless blocks split or merge just now.
    fn candidate<'g>(&'g self, key: &Fence<'_>, guard: &'g Guard) -> &'g Arc<Block> {
        match self.index.upper_bound(Bound::Included(key), guard) {
            Some(entry) => entry.value(),
            None => unreachable!("the block \"\" never leaves the index"),
        }
    }

    /// The index's guess for the block that holds the last keys below `end`.
    pub(super) fn candidate_below<'g>(&'g self, end: Option<&Fence<'_>>, guard: &'g Guard) -> &'g Arc<Block> {
        let bound = end.map_or(Bound::Unbounded, Bound::Excluded);
        match self.index.upper_bound(bound, guard) {
            Some(entry) => entry.value(),
            None => unreachable!("nothing lies below the key \"\", and nobody asks for it"),
        }
    }

    fn read(inner: &Inner, key: &[u8], at: Lsn) -> Option<Value> {
        let slot = inner.body.find(key).ok()?;
        Value::of(inner.body.version_at(slot, at)?)
    }
}

impl fmt::Debug for Memtable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memtable").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
