//! How blocks split and merge while everybody reads and writes.
//!
//! ```text
//!  split     [a .. m] high x          L is locked throughout
//!            index gets "g" ─▶ R      R is whole before anyone can find it; nobody can read L meanwhile
//!            [a .. f] high g   [g .. m] high x
//!
//!  merge     [a .. c] high g   [g h] high x         L is locked, then R: always ascending, so no deadlock
//!            [a .. h] high x   dead                 R leaves the index before either lock goes
//! ```
//!
//! Whoever finds L or R in the middle of this waits for its lock, and then asks [`Block::owns`]: a reader of a key
//! that has moved is told no, and searches the index again.

use std::mem;
use std::sync::Arc;

use crossbeam_epoch::{self as epoch, Guard};

use super::block::{Block, Inner};
use super::body::{BODY_SLOTS, Body};
use super::fence::{Fence, Place};
use super::unrolled::Memtable;
use crate::Lsn;

/// A block below this looks for a neighbour to merge with.
pub(super) const SMALL: usize = BODY_SLOTS / 4;

/// Two blocks merge when they hold no more than this together: with room left, or the next puts would split again.
const MERGED: usize = BODY_SLOTS * 3 / 4;

impl Memtable {
    /// Gives the upper half of a locked block to a new block to its right.
    pub(super) fn split(&self, left: &Block, inner: &mut Inner, guard: &Guard) {
        let body = Arc::make_mut(&mut inner.body);
        let upper = body.split_off(body.len() / 2);
        let Some(below) = body.slots().last() else { return };
        let low = self.link(below.key(), upper, inner.high.take(), inner.max_lsn, guard);
        body.set_bounds(left.low.as_bytes(), Some(low.as_bytes()));
        inner.high = Some(low);
    }

    /// Makes a block of what stood in the upper part of a locked block: behind the key `below`, and below `high`. Where
    /// it begins.
    ///
    /// Contract: the body is not empty, and the caller lowers the locked block's bound before it lets go.
    pub(super) fn link(
        &self,
        below: &[u8],
        upper: Body,
        high: Option<Fence<'static>>,
        max_lsn: Lsn,
        guard: &Guard,
    ) -> Fence<'static> {
        let low = Fence::between(below, upper.slots()[0].key());
        let garbage = upper.has_garbage();
        let right = Arc::new(Block::new(low.clone(), high, max_lsn, upper));
        // ORDER: into the index while L's lock is held. The keys from `low` on are R's from here, and L, which still
        // claims them, cannot be read before its bound has been lowered.
        let entry = self.index.get_or_insert(Place(low.clone()), Arc::clone(&right), guard);
        assert!(Arc::ptr_eq(entry.value(), &right), "two blocks with one low bound");
        entry.release(guard);
        self.directory.add(&right, guard);
        if garbage {
            self.garbage.push(max_lsn, &right);
        }
        low
    }

    /// Merges a block that has become small with its neighbours, as far as they fit together.
    pub(super) fn merge_around(&self, block: &Arc<Block>) {
        let guard = &epoch::pin();
        let high = block.inner.read().high.clone();
        if let Some(right) = high.and_then(|high| self.index.get(&high, guard)) {
            self.merge(block, right.value(), guard);
        }
        // The first block has nothing below it, and so is never the right one of two: it never goes.
        if !block.low.as_bytes().is_empty() {
            let left = self.candidate_below(Some(&block.low), guard);
            self.merge(left, block, guard);
        }
    }

    /// Moves everything of `right` into `left`, if they are still neighbours and fit.
    fn merge(&self, left: &Arc<Block>, right: &Arc<Block>, guard: &Guard) {
        // ORDER: the lower block first, here and everywhere.
        let mut inner = left.inner.write();
        let mut going = right.inner.write();
        // INVARIANT: what was found without a lock is checked under it: both live, and nothing between them.
        if inner.dead || going.dead || inner.high.as_ref() != Some(&right.low) {
            return;
        }
        let (one, other) = (inner.body.len(), going.body.len());
        if one.min(other) >= SMALL || one + other > MERGED && one.min(other) > 0 {
            return;
        }

        inner.high = going.high.take();
        inner.max_lsn = inner.max_lsn.max(going.max_lsn);
        let high = inner.high.clone();
        let high = high.as_ref().map(Fence::as_bytes);
        // R is left with an empty body, so that whoever still holds its entry holds no versions with it.
        let moved = mem::replace(&mut going.body, Arc::new(Body::default()));
        let mut moved = Arc::unwrap_or_clone(moved);
        moved.set_bounds(left.low.as_bytes(), high);
        let body = Arc::make_mut(&mut inner.body);
        body.set_bounds(left.low.as_bytes(), high);
        body.append(moved);

        going.dead = true;
        // ORDER: R's place goes before either lock does. After that, L may split and put a new block in the same
        // place, which a removal by key could hit.
        if let Some(entry) = self.index.get(&right.low, guard) {
            debug_assert!(Arc::ptr_eq(entry.value(), right), "a live block stands in its place");
            entry.remove();
        }
        self.directory.remove(right, guard);
        drop(going);
        self.note_garbage(left, inner);
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Bound;
    use std::sync::Weak;

    use super::super::tracker::Tracker;
    use super::super::version::Version;
    use super::*;

    /// Shows that a merge looks again at what it was told, under the locks, by telling it wrong: of blocks that are no
    /// neighbours, and of a block that is dead. Nothing may change.
    ///
    /// Guards: the conditions at the top of `merge`, which a race leads it to once in a million times.
    #[test]
    fn a_merge_refuses_what_is_no_neighbour() {
        let tracker = Tracker::new(Lsn::ZERO);
        let table = Arc::new(Memtable::new(Arc::clone(&tracker)));
        for key in 0..300_u64 {
            table.apply(Lsn::new(key + 1), &key.to_be_bytes(), Some(b"v"));
        }
        tracker.publish(Lsn::new(300));
        let guard = &epoch::pin();
        let blocks = || table.index.iter(guard).map(|entry| Arc::clone(entry.value())).collect::<Vec<_>>();
        let before = blocks();
        assert_eq!(before.len(), 4);
        // Small enough to merge, whatever they are neighbours of.
        (0..300_u64)
            .filter(|key| key % 10 > 0)
            .for_each(|key| table.apply(Lsn::new(301), &key.to_be_bytes(), None));
        tracker.publish(Lsn::new(301));
        let horizon = tracker.horizon();
        for block in &before {
            drop(Arc::make_mut(&mut block.inner.write().body).sweep(&horizon));
        }

        table.merge(&before[0], &before[2], guard);
        table.merge(&before[1], &before[3], guard);
        assert_eq!(blocks().len(), 4);
        table.merge(&before[1], &before[2], guard);
        assert_eq!(blocks().len(), 3);
        table.merge(&before[1], &before[2], guard); // dead by now
        table.merge(&before[2], &before[3], guard);
        assert_eq!(blocks().len(), 3);
        assert_eq!(table.range((Bound::Unbounded, Bound::Unbounded), tracker.snapshot()).count(), 30);
    }

    /// Shows that what was deleted is really freed, blocks and versions, although scans passed all of it, by keeping
    /// only weak hold of the blocks, and a count on each version.
    ///
    /// Guards: what the index hands out by count is released; a merged block leaves index and directory; its body is
    /// emptied. (`SkipMap::range` would fail here: it leaks a reference with each step.)
    #[test]
    fn merged_blocks_and_deleted_versions_are_freed() {
        let tracker = Tracker::new(Lsn::ZERO);
        let table = Arc::new(Memtable::new(Arc::clone(&tracker)));
        let mut last = 0;
        let mut write = |key: u32, value: Option<&[u8]>| {
            last += 1;
            table.apply(Lsn::new(last), &key.to_be_bytes(), value);
            tracker.publish(Lsn::new(last));
        };
        (0..10_000).for_each(|key| write(key, Some(b"value")));
        let everything = || table.range((Bound::Unbounded, Bound::Unbounded), tracker.snapshot());
        assert_eq!((everything().count(), everything().rev().count()), (10_000, 10_000));

        let (blocks, versions) = {
            let guard = &epoch::pin();
            let blocks: Vec<Arc<Block>> = table.index.iter(guard).map(|e| Arc::clone(e.value())).collect();
            let versions = |block: &Arc<Block>| block.inner.read().body.slots().to_vec();
            let versions: Vec<Version> = blocks.iter().flat_map(versions).collect();
            (blocks.iter().map(Arc::downgrade).collect::<Vec<Weak<Block>>>(), versions)
        };
        assert!(blocks.len() > 100 && versions.len() == 10_000);
        (0..10_000).for_each(|key| write(key, None));
        while table.collect_garbage(16) {}

        assert!(versions.iter().all(|version| version.holders() == 1), "a version is held beside this list");
        // The list frees its nodes some epochs later. Other tests pin too, so this may take some turns.
        let live = || blocks.iter().filter(|block| block.strong_count() > 0).count();
        for _ in 0..10_000 {
            if live() <= 1 {
                break;
            }
            epoch::pin().flush();
            std::thread::yield_now();
        }
        assert_eq!(live(), 1, "of {} blocks only the first is left", blocks.len());
    }
}
