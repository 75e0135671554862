//! How blocks split while everybody reads and writes.
//!
//! ```text
//!  split     [a .. m] high x          L is locked throughout
//!            index gets "g" ─▶ R      R is whole before anyone can find it; nobody can read L meanwhile
//!            [a .. f] high g   [g .. m] high x
//! ```
//!
//! Whoever finds L in the middle of this waits for its lock, and then asks [`Block::owns`]: a reader of a key
//! that has moved is told no, and searches the index again.

use std::sync::Arc;

use crossbeam_epoch::Guard;

use super::block::{Block, Inner};
use super::fence::{Fence, Place};
use super::unrolled::Memtable;

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
}
