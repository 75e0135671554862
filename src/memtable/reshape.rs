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

/// A block below this looks for a neighbour to merge with.
pub(super) const SMALL: usize = BODY_SLOTS / 4;

/// Two blocks merge when they hold no more than this together: with room left, or the next puts would split again.
const MERGED: usize = BODY_SLOTS * 3 / 4;

impl Memtable {
    /// Gives the upper half of a locked block to a new block to its right.
    pub(super) fn split(&self, left: &Block, inner: &mut Inner, guard: &Guard) {
        let body = Arc::make_mut(&mut inner.body);
        let half = body.len() / 2;
        let upper = body.split_off(half);
        let (Some(below), Some(above)) = (body.slots().last(), upper.slots().first()) else { return };
        let low = Fence::between(below.key(), above.key());

        let garbage = upper.has_garbage();
        let right = Arc::new(Block::new(low.clone(), inner.high.take(), inner.max_lsn, upper));
        // ORDER: into the index while L's lock is held. The keys from `low` on are R's from here, and L, which still
        // claims them, cannot be read before its bound has been lowered.
        let entry = self.index.get_or_insert(Place(low.clone()), Arc::clone(&right), guard);
        assert!(Arc::ptr_eq(entry.value(), &right), "two blocks with one low bound");
        entry.release(guard);
        body.set_bounds(left.low.as_bytes(), Some(low.as_bytes()));
        inner.high = Some(low);
        if garbage {
            self.garbage.push(inner.max_lsn, &right);
        }
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
        drop(going);
        self.note_garbage(left, inner);
    }
}
