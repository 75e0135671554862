//! Garbage: versions that no reader needs any more, and the queue of the blocks that hold some.
//!
//! A put cannot free what it replaces: until it is published, that is still the visible version. So the block goes
//! on a queue, and whoever publishes, or is idle, works some of it off.
//!
//! ```text
//!            put, delete, or a sweep that
//!            found unpublished versions              visible ≥ its LSN            nothing left
//!  (block) ───────────────────────────────▶ queued ─────────────────────▶ sweep ─────────────▶ (block)
//!                                                                          │ ▲
//!                        something is kept for a snapshot: parked ◀────────┘ │
//!                        the oldest snapshot has changed: woken ─────────────┘
//! ```
//!
//! Not here: what may go (`tracker::Horizon`) and how a body lets go of it (`Body::sweep`).

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use parking_lot::{Mutex, RwLockWriteGuard};

use super::block::{Block, Inner};
use super::reshape::SMALL;
use super::tracker::Horizon;
use super::unrolled::Memtable;
use super::version::Version;
use crate::Lsn;

/// The blocks that hold garbage.
#[derive(Default)]
pub(super) struct Queue {
    /// Held for one push or pop, and never while a block's lock is wanted.
    lists: Mutex<Lists>,
}

#[derive(Default)]
struct Lists {
    /// In the order of the puts; each to be swept once its LSN is visible. A block is in here once: `Inner::queued`.
    queued: VecDeque<(Lsn, Arc<Block>)>,
    /// What only the end of a snapshot can free. A block is in here or in `woken` once: `Inner::parked`.
    parked: Vec<Arc<Block>>,
    /// The oldest snapshot when these were parked.
    parked_by: Option<Lsn>,
    /// Parked before, to be swept again.
    woken: Vec<Arc<Block>>,
}

/// Which list a block was taken from.
enum From {
    Queued,
    Woken,
}

impl Queue {
    pub(super) fn push(&self, due: Lsn, block: &Arc<Block>) {
        self.lists.lock().queued.push_back((due, Arc::clone(block)));
    }

    fn park(&self, block: &Arc<Block>, horizon: &Horizon) {
        let mut lists = self.lists.lock();
        if lists.parked.is_empty() {
            lists.parked_by = horizon.oldest_pin();
        }
        // Two collectors may know different snapshots as the oldest. One of them is behind: sweep again.
        let list = if lists.parked_by == horizon.oldest_pin() { &mut lists.parked } else { &mut lists.woken };
        list.push(Arc::clone(block));
    }

    /// The next block that is worth a sweep.
    ///
    /// First wakes what was parked, if the oldest snapshot is not the one that it was parked for. The oldest, and not
    /// any: scans come and go all the time beside a long snapshot, and what one of them kept in a block is bounded and
    /// goes with the next sweep there.
    fn pop(&self, horizon: &Horizon) -> Option<(Arc<Block>, From)> {
        let mut lists = self.lists.lock();
        if lists.parked_by != horizon.oldest_pin() && !lists.parked.is_empty() {
            let mut parked = mem::take(&mut lists.parked);
            lists.woken.append(&mut parked);
        }
        if let Some(block) = lists.woken.pop() {
            return Some((block, From::Woken));
        }
        let due = lists.queued.front().is_some_and(|(due, _)| *due <= horizon.visible());
        if due { lists.queued.pop_front().map(|(_, block)| (block, From::Queued)) } else { None }
    }

    /// The next queued block, be it due or not.
    fn pop_undue(&self) -> Option<Arc<Block>> {
        self.lists.lock().queued.pop_front().map(|(_, block)| block)
    }
}

impl Memtable {
    /// Frees what no reader needs any more, in up to `budget` blocks; whether it is worth calling again at once.
    ///
    /// To be called after each publish (with a budget of about the number of puts published, so that garbage cannot
    /// outgrow collection), and when the store is idle, until it says no: that catches what a snapshot has left.
    pub fn collect_garbage(&self, budget: usize) -> bool {
        let horizon = self.tracker.horizon();
        for _ in 0..budget {
            let Some((block, from)) = self.garbage.pop(&horizon) else { return false };
            self.sweep(&block, from, &horizon);
        }
        true
    }

    /// Frees what may go, in all blocks that are due. How many bytes of tombstones have gone.
    pub(crate) fn collect_due(&self) -> usize {
        let horizon = self.tracker.horizon();
        let mut freed = 0;
        while let Some((block, from)) = self.garbage.pop(&horizon) {
            freed += self.sweep(&block, from, &horizon);
        }
        freed
    }

    /// Frees what may go, in all blocks that hold garbage, due or not. How many bytes of tombstones have gone.
    ///
    /// A block is due when all of it is visible, and stands behind those that came before it. Where LSNs come out of
    /// order, as in recovery, that may be long after most of it has become garbage.
    pub(crate) fn collect_undue(&self) -> usize {
        let horizon = self.tracker.horizon();
        let blocks = self.garbage.lists.lock().queued.len();
        (0..blocks)
            .map_while(|_| self.garbage.pop_undue())
            .map(|block| self.sweep(&block, From::Queued, &horizon))
            .sum()
    }

    /// Queues a block whose lock is held, if it holds garbage and is not queued yet. Lets go of the lock.
    pub(super) fn note_garbage(&self, block: &Arc<Block>, mut inner: RwLockWriteGuard<'_, Inner>) {
        if inner.body.has_garbage() && !inner.queued {
            inner.queued = true;
            let due = inner.max_lsn;
            drop(inner);
            self.garbage.push(due, block);
        }
    }

    /// Sweeps a block; how many bytes of tombstones have gone.
    fn sweep(&self, block: &Arc<Block>, from: From, horizon: &Horizon) -> usize {
        let mut inner = block.inner.write();
        match from {
            From::Queued => inner.queued = false,
            From::Woken => inner.parked = false,
        }
        if inner.dead || !inner.body.has_garbage() {
            return 0;
        }
        let before = inner.body.len();
        let swept = Arc::make_mut(&mut inner.body).sweep(horizon);
        let after = inner.body.len();

        if inner.max_lsn > horizon.visible() {
            // Perhaps some of it waits to be published.
            self.note_garbage(block, inner);
        } else if inner.body.has_garbage() && !inner.parked {
            inner.parked = true;
            drop(inner);
            self.garbage.park(block, horizon);
        } else {
            drop(inner);
        }
        // ORDER: freed after the lock is gone, so that no reader waits for the allocator.
        let tombstones = swept.iter().filter(|version| version.is_tombstone()).map(Version::bytes).sum();
        drop(swept);
        if after < before && after < SMALL {
            self.merge_around(block);
        }
        tombstones
    }
}
