//! A hint where a key's block may be: faster than the index, and allowed to be wrong.
//!
//! ```text
//!   pages   "" ──────────────────────▶ "k"                  a skip list again, a hundred times shorter
//!            │                          │
//!   hints   [ ""● "b"● .. "j"● ]       [ "k"● "m"● .. ]     low bounds and their blocks, sorted, under a lock
//! ```
//!
//! The index has a node for each block, and the lower half of a search in it runs through nodes that no cache holds:
//! more than half of a lookup's time in a table of a million keys. This is the same unrolling once more, with the
//! blocks in place of the keys, and a page of it stays in the cache.
//!
//! It is *not* the index: a hint may be missing or stale, because whoever follows one asks [`Block::owns`] and falls
//! back to the index. So pages split, but need not merge, nothing here is searched twice, and no rule of the blocks
//! depends on it. (Take the call away that asks it, and the tests pass.)

use std::ops::Bound;
use std::sync::Arc;

use crossbeam_epoch::{self as epoch, Guard};
use crossbeam_skiplist::base::SkipList;
use parking_lot::RwLock;

use super::block::Block;
use super::fence::{Fence, Place};

/// How many hints fill a page, which is then split.
const PAGE_HINTS: usize = 128;

/// Hints to all blocks of a table.
pub(super) struct Directory {
    /// By the first low bound that a page may hold. Inserted once, never removed: what remains of a table that has
    /// shrunk is an empty page for every ten thousand keys that it had.
    pages: SkipList<Place, Arc<Page>>,
}

struct Page {
    low: Fence<'static>,
    /// A leaf among locks: no other is wanted while it is held. It may be taken under a block's lock.
    hints: RwLock<Hints>,
}

struct Hints {
    /// The first low bound that belongs to the next page.
    high: Option<Fence<'static>>,
    /// Ascending by low bound.
    list: Vec<(Fence<'static>, Arc<Block>)>,
}

impl Directory {
    pub(super) fn new() -> Directory {
        let pages = SkipList::new(epoch::default_collector().clone());
        let page = Page::new(Fence::owned(b""), None, Vec::new());
        let guard = &epoch::pin();
        pages.get_or_insert(Place(page.low.clone()), Arc::new(page), guard).release(guard);
        Directory { pages }
    }

    /// The block that probably owns `key`.
    pub(super) fn hint(&self, key: &Fence<'_>, guard: &Guard) -> Option<Arc<Block>> {
        let hints = self.page(key, guard)?.hints.read();
        let after = hints.list.partition_point(|(low, _)| low <= key);
        Some(Arc::clone(&hints.list[after.checked_sub(1)?].1))
    }

    /// Tells of a new block.
    pub(super) fn add(&self, block: &Arc<Block>, guard: &Guard) {
        let Some(page) = self.page(&block.low, guard) else { return };
        let mut hints = page.hints.write();
        // The page may have split since it was found. Then the hint is not given: one lookup more in the index.
        if hints.high.as_ref().is_some_and(|high| *high <= block.low) {
            return;
        }
        let at = hints.list.partition_point(|(low, _)| *low < block.low);
        hints.list.insert(at, (block.low.clone(), Arc::clone(block)));
        if hints.list.len() >= PAGE_HINTS {
            let upper = hints.list.split_off(PAGE_HINTS / 2);
            let low = upper[0].0.clone();
            let right = Page::new(low.clone(), hints.high.take(), upper);
            self.pages.get_or_insert(Place(low.clone()), Arc::new(right), guard).release(guard);
            hints.high = Some(low);
        }
    }

    /// Tells that a block is dead.
    pub(super) fn remove(&self, block: &Arc<Block>, guard: &Guard) {
        let Some(page) = self.page(&block.low, guard) else { return };
        let mut hints = page.hints.write();
        if let Ok(at) = hints.list.binary_search_by(|(low, _)| low.cmp(&block.low))
            && Arc::ptr_eq(&hints.list[at].1, block)
        {
            hints.list.remove(at);
        }
        if hints.list.is_empty() {
            hints.list = Vec::new();
        }
    }

    /// Memory taken by the pages, in bytes.
    pub(super) fn bytes(&self, guard: &Guard) -> usize {
        let page = |page: &Page| {
            size_of::<Page>() + page.hints.read().list.capacity() * size_of::<(Fence<'_>, Arc<Block>)>()
        };
        self.pages.iter(guard).map(|entry| page(entry.value())).sum()
    }

    fn page<'g>(&'g self, key: &Fence<'_>, guard: &'g Guard) -> Option<&'g Page> {
        self.pages.upper_bound(Bound::Included(key), guard).map(|entry| &**entry.value())
    }
}

impl Page {
    fn new(
        low: Fence<'static>,
        high: Option<Fence<'static>>,
        list: Vec<(Fence<'static>, Arc<Block>)>,
    ) -> Page {
        Page { low, hints: RwLock::new(Hints { high, list }) }
    }
}
