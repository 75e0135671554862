//! The sync gate: one sync at a time, and one for all who wait.
//!
//! ```text
//!   caller 1   leads: gathers ─▶ sync_data ───────────▶ durable ─▶ wakes
//!   caller 2   follows ·········································▶ done
//!   caller 3            (came when the sync had begun) ·········▶ leads the next
//! ```
//!
//! The first who wants a sync leads it; whoever comes before it begins follows. The kernel reports a failed writeback
//! only once per descriptor, so a second syncer would be told that all is well: every sync of the log happens with the
//! gate's file locked.
//!
//! **Gathering.** The callers whom the last sync released are about to come again, each with a write: a sync that
//! begins without them makes them wait for a whole further one. So the leader waits until as many callers are there as
//! the last sync served, or until [`ENOUGH`] are; but no longer than a sync takes, and not at all when the last sync
//! served one. With eight writers this makes one group of eight out of two alternating ones of four. Measured:
//! `docs/decisions/0005-group-commit.md`.
//!
//! LOCKS: `file` may be locked under the log's tail. `crowd` is a leaf: held for a few instructions.

use std::time::{Duration, Instant};

use crate::storage::dir::DirFile;
use crate::sync::{Condvar, Mutex, MutexGuard, yield_until};

/// The gate of a log.
#[derive(Debug)]
pub(super) struct Gate {
    /// The file that is written, to be synced. Whoever syncs, or puts another file here, holds it.
    ///
    /// INVARIANT: what is written and not durable stands in this file, because a rotation syncs the old file, holding
    /// the lock, before it puts the new one here.
    file: Mutex<DirFile>,
    crowd: Mutex<Crowd>,
    /// Told when a leader is done, and when the log is poisoned.
    moved: Condvar,
}

#[derive(Debug, Default)]
struct Crowd {
    /// Somebody leads.
    led: bool,
    /// Callers who came since the last sync began.
    waiting: usize,
    /// Callers whom the last sync served.
    served: usize,
    /// How long it took.
    took: Duration,
    /// Threads that sleep, so that nobody is woken where nobody sleeps.
    sleeping: usize,
}

/// With so many callers a sync is shared well enough. Beyond that it is better to let the disk work while the rest of
/// them come: two alternating groups of thirty keep both the disk and the processors busy.
const ENOUGH: usize = 32;

/// However slow the disk is, gathering burns no more of a processor's time than this.
const MAX_GATHERING: Duration = Duration::from_millis(1);

impl Gate {
    pub(super) fn new(file: DirFile) -> Gate {
        Gate { file: Mutex::new(file), crowd: Mutex::default(), moved: Condvar::default() }
    }

    /// The file, with the right to sync it.
    pub(super) fn lock(&self) -> MutexGuard<'_, DirFile> {
        self.file.lock()
    }

    /// Returns when `over` says so, or at once when the caller is to lead a sync: `sync` must then make `over` true.
    /// `callers` is for how many threads this one speaks.
    ///
    /// A leader reads what is written after it was told to lead, so that it covers all who have come by then.
    pub(super) fn pass(&self, callers: usize, over: impl Fn() -> bool, sync: impl FnOnce(&Gate)) {
        let mut crowd = self.crowd.lock();
        if over() {
            return;
        }
        crowd.waiting += callers;
        while !over() {
            if !crowd.led {
                return self.lead(crowd, sync);
            }
            // To sleep at once, and not to yield first: of those who write only one of each group waits here, and who is
            // woken goes before those who yield, so that the next sync begins as soon as this one ends.
            // Nobody can have changed either answer unseen: leaders and poison tell `moved` after taking the lock.
            crowd.sleeping += 1;
            crowd = self.moved.wait(crowd);
            crowd.sleeping -= 1;
        }
    }

    fn lead(&self, mut crowd: MutexGuard<'_, Crowd>, sync: impl FnOnce(&Gate)) {
        crowd.led = true;
        drop(crowd);
        let mut leading = Leading { gate: self, took: Duration::ZERO };
        self.gather();
        let began = Instant::now();
        sync(self);
        leading.took = began.elapsed();
    }

    /// Waits for those who are expected. See the module's text.
    fn gather(&self) {
        let limit = {
            let crowd = self.crowd.lock();
            crowd.took.min(MAX_GATHERING)
        };
        yield_until(limit, || {
            let crowd = self.crowd.lock();
            crowd.waiting >= crowd.served.min(ENOUGH)
        });
        let mut crowd = self.crowd.lock();
        crowd.served = std::mem::take(&mut crowd.waiting);
    }

    /// True if the last sync served more callers than one: others are about to come.
    pub(super) fn is_shared(&self) -> bool {
        self.crowd.lock().served > 1
    }

    /// Wakes all who sleep, to look again: the log was poisoned.
    pub(super) fn wake(&self) {
        let sleeping = self.crowd.lock().sleeping;
        if sleeping > 0 {
            self.moved.notify_all();
        }
    }
}

/// Ends a leadership, also if the sync panics.
struct Leading<'a> {
    gate: &'a Gate,
    took: Duration,
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        let mut crowd = self.gate.crowd.lock();
        crowd.took = self.took;
        crowd.led = false;
        let sleeping = crowd.sleeping;
        drop(crowd);
        if sleeping > 0 {
            self.gate.moved.notify_all();
        }
    }
}
