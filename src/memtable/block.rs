//! A block: a run of neighbouring keys under one small lock.
//!
//! Blocks partition the key space. A block owns the keys from its low bound, which never changes, up to its high
//! bound, which is the low bound of the next block:
//!
//! ```text
//!   ""              "g"                "p"                 none: no bound
//!    ├── block "" ───┼──── block "g" ───┼──── block "p" ───▶
//! ```
//!
//! Blocks split and merge beneath whoever looks for one, so a block that was found is only a guess until its lock is
//! held and [`Inner::owns`] has said yes. This is the rule on which everything else here rests.
//!
//! Where to read next: `unrolled`, which finds, splits and merges blocks.

use std::ops::Range;
use std::sync::Arc;

use parking_lot::RwLock;

use super::body::Body;
use super::bounds::Interval;
use super::fence::Fence;
use crate::Lsn;

/// One block of the table.
pub(super) struct Block {
    /// The first key that this block may hold. Never changes, so it is read without the lock.
    pub(super) low: Fence<'static>,
    /// Held shared to look something up or to clone the body, exclusively for a put, a sweep, a split or a merge.
    ///
    /// ORDER: two blocks are locked only to merge them, and then always the lower one first. No other lock is taken
    /// while one is held (the index is lock-free).
    pub(super) inner: RwLock<Inner>,
}

/// What a block's lock guards.
pub(super) struct Inner {
    /// Merged into its left neighbour: it owns nothing any more, and whoever found it searches again.
    pub(super) dead: bool,
    /// The first key that belongs to the next block; `None` if there is none.
    pub(super) high: Option<Fence<'static>>,
    /// No version in here, unpublished ones included, is above this. Never falls, so it may say too much.
    pub(super) max_lsn: Lsn,
    /// Stands in the queue of blocks to sweep.
    pub(super) queued: bool,
    /// Stands in the list of blocks that keep something for a snapshot.
    pub(super) parked: bool,
    /// Shared with iterators that are in this block: changed through `Arc::make_mut`.
    pub(super) body: Arc<Body>,
}

impl Block {
    /// A block with this body, which is told its bounds. If it holds garbage, the caller queues it.
    pub(super) fn new(
        low: Fence<'static>,
        high: Option<Fence<'static>>,
        max_lsn: Lsn,
        mut body: Body,
    ) -> Block {
        body.set_bounds(low.as_bytes(), high.as_ref().map(Fence::as_bytes));
        let inner = Inner {
            dead: false,
            high,
            max_lsn,
            queued: body.has_garbage(),
            parked: false,
            body: Arc::new(body),
        };
        Block { low, inner: RwLock::new(inner) }
    }

    /// Whether this block is the one for `key`. To be asked under the lock, always.
    pub(super) fn owns(&self, inner: &Inner, key: &Fence<'_>) -> bool {
        !inner.dead && self.low <= *key && inner.high.as_ref().is_none_or(|high| key < high)
    }

    /// Whether this block is the one that ends at `end` or holds it, and so holds the last keys below `end`
    /// (`None`: the last keys of all). To be asked under the lock, always.
    pub(super) fn owns_below(&self, inner: &Inner, end: Option<&Fence<'_>>) -> bool {
        !inner.dead
            && match (end, &inner.high) {
                (Some(end), high) => self.low < *end && high.as_ref().is_none_or(|high| end <= high),
                (None, high) => high.is_none(),
            }
    }

    /// Cuts off the front of `rest` what this block, which owns its start, holds of it; which slots that are.
    pub(super) fn take_front(&self, inner: &Inner, rest: &mut Interval) -> Range<usize> {
        let from = inner.body.first_from(&rest.start);
        match (&rest.end, &inner.high) {
            (Some(end), high) if high.as_ref().is_none_or(|high| **end < *high.as_bytes()) => {
                let to = inner.body.first_from(end);
                rest.close();
                from..to
            }
            (_, Some(high)) => {
                rest.start_at(high.as_bytes());
                from..inner.body.len()
            }
            (_, None) => {
                rest.close();
                from..inner.body.len()
            }
        }
    }

    /// Cuts off the back of `rest` what this block, which owns the keys below its end, holds of it.
    pub(super) fn take_back(&self, inner: &Inner, rest: &mut Interval) -> Range<usize> {
        let to = match (&rest.end, &inner.high) {
            (Some(end), high) if high.as_ref().is_none_or(|high| **end < *high.as_bytes()) => {
                inner.body.first_from(end)
            }
            _ => inner.body.len(),
        };
        if *rest.start >= *self.low.as_bytes() {
            let from = inner.body.first_from(&rest.start);
            rest.close();
            from..to
        } else {
            rest.end_at(self.low.as_bytes());
            0..to
        }
    }
}
