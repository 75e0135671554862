//! The clock of all memtables of a store, and the register of its snapshots.
//!
//! Two questions are answered here, and nothing else: *what may be read* (everything up to the visible LSN) and
//! *what must be kept* (the versions that the visible LSN or a live snapshot still needs). Keys and values are not
//! known here.
//!
//! ```text
//!            kept for s1   kept for s2            kept: visible      kept: unpublished
//!                 |             |                      |                  |
//!  lsn ──────●────┼───○────●────┼──────○────○──────●───┼──────────●───────●─────▶
//!                s1            s2                    visible
//!            ● one key's versions that stay    ○ versions that nobody can read any more
//! ```
//!
//! Where to read next: `version`, what a version is; `plain`, the simplest table that lives by this clock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::Lsn;

/// One clock and one register of snapshots for all memtables of a store.
///
/// ```
/// use forelog::Lsn;
/// use forelog::memtable::Tracker;
///
/// let tracker = Tracker::new(Lsn::new(7));
/// let snapshot = tracker.snapshot();
/// tracker.publish(Lsn::new(9));
/// assert_eq!(tracker.visible(), Lsn::new(9));
/// assert_eq!(snapshot.lsn(), Lsn::new(7));
/// assert_eq!(tracker.oldest_snapshot(), Some(Lsn::new(7)));
/// ```
pub struct Tracker {
    /// Every LSN up to this one has been applied and can be read. Moves forward only.
    ///
    /// Stored with `SeqCst`: with `live` it takes part in an argument over two locations, see [`Tracker::snapshot`].
    visible: AtomicU64,
    /// How many snapshots are registered, so that garbage collection need not lock when there is none.
    ///
    /// Written only under the lock of `pins`; read without it.
    live: AtomicUsize,
    /// The live snapshots, by LSN. Held for a few instructions, never together with another lock.
    ///
    /// INVARIANT: strictly ascending. A new pin is read from `visible` under this lock, and `visible` never falls,
    /// so a new pin belongs at the end.
    pins: Mutex<Vec<Pin>>,
}

/// One LSN that is pinned, and by how many snapshots.
struct Pin {
    lsn: Lsn,
    count: usize,
}

impl Tracker {
    /// A clock that stands at `visible`: what recovery brought back, or [`Lsn::ZERO`] for a new store.
    pub fn new(visible: Lsn) -> Arc<Tracker> {
        Arc::new(Tracker {
            visible: AtomicU64::new(visible.get()),
            live: AtomicUsize::new(0),
            pins: Mutex::new(Vec::new()),
        })
    }

    /// The LSN up to which everything can be read.
    pub fn visible(&self) -> Lsn {
        Lsn::new(self.visible.load(Ordering::SeqCst))
    }

    /// Moves the visible LSN forward to `lsn`; an `lsn` below it changes nothing.
    ///
    /// Contract: every LSN up to `lsn` has been applied to its memtable, and nothing at or below it is applied
    /// later. Readers rely on it for whole batches, garbage collection for dropping tombstones.
    pub fn publish(&self, lsn: Lsn) {
        self.visible.fetch_max(lsn.get(), Ordering::SeqCst);
    }

    /// A read view, pinned at the visible LSN: what it can see stays readable until it is dropped.
    pub fn snapshot(self: &Arc<Self>) -> Snapshot {
        let mut pins = self.pins.lock();
        // ORDER: first raise the count, then read `visible`; `horizon` reads them the other way round. In the one
        // order of all SeqCst operations, either the collector saw the count (and takes the lock), or its reading
        // of `visible` came before this one, and then what it keeps for its own `visible` serves this pin too:
        //
        //      snapshot:   live += 1 ──▶ read visible
        //      collector:  read visible ──▶ read live
        self.live.fetch_add(1, Ordering::SeqCst);
        open_window(1);
        let lsn = self.visible();
        match pins.last_mut() {
            Some(last) if last.lsn == lsn => last.count += 1,
            _ => pins.push(Pin { lsn, count: 1 }),
        }
        Snapshot { tracker: Arc::clone(self), lsn }
    }

    /// How many snapshots are live.
    pub fn snapshots(&self) -> usize {
        self.live.load(Ordering::SeqCst)
    }

    /// The oldest LSN that a snapshot holds, if there is any snapshot.
    pub fn oldest_snapshot(&self) -> Option<Lsn> {
        self.pins.lock().first().map(|pin| pin.lsn)
    }

    /// What must be kept, as of now. It errs on the side of keeping: whoever registers or publishes later needs
    /// nothing that this horizon gives up.
    pub(super) fn horizon(&self) -> Horizon {
        // ORDER: `visible` before `live`, see `snapshot`.
        let visible = self.visible();
        open_window(6);
        if self.live.load(Ordering::SeqCst) == 0 {
            return Horizon { visible, pinned: Vec::new() };
        }
        let pins = self.pins.lock();
        // ORDER: `visible` again, under the lock: no pin of the list can then be above it, and none that is
        // registered later can be below it.
        let visible = self.visible();
        Horizon { visible, pinned: pins.iter().map(|pin| pin.lsn).collect() }
    }

    /// One more snapshot at an LSN that is already pinned.
    fn pin_again(&self, lsn: Lsn) {
        let mut pins = self.pins.lock();
        if let Ok(at) = pins.binary_search_by_key(&lsn, |pin| pin.lsn) {
            pins[at].count += 1;
        }
        self.live.fetch_add(1, Ordering::SeqCst);
    }

    fn unpin(&self, lsn: Lsn) {
        let mut pins = self.pins.lock();
        if let Ok(at) = pins.binary_search_by_key(&lsn, |pin| pin.lsn) {
            pins[at].count -= 1;
            if pins[at].count == 0 {
                pins.remove(at);
            }
        }
        self.live.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Stands between two steps whose order matters. In this crate's own tests it invites other threads in, which a test
/// could otherwise hope for only once in a million rounds. (`turns` differ, so that one window fits into the other.)
fn open_window(turns: usize) {
    if cfg!(test) {
        (0..turns).for_each(|_| std::thread::yield_now());
    }
}

impl fmt::Debug for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracker")
            .field("visible", &self.visible())
            .field("snapshots", &self.snapshots())
            .finish_non_exhaustive()
    }
}

/// A read view of memory, pinned at an LSN.
///
/// While it lives, every version that is visible at its LSN stays. A clone is a further pin at the same LSN.
pub struct Snapshot {
    tracker: Arc<Tracker>,
    lsn: Lsn,
}

impl Snapshot {
    /// The LSN that this snapshot shows.
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }
}

impl Clone for Snapshot {
    fn clone(&self) -> Snapshot {
        self.tracker.pin_again(self.lsn);
        Snapshot { tracker: Arc::clone(&self.tracker), lsn: self.lsn }
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.tracker.unpin(self.lsn);
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({})", self.lsn)
    }
}

/// What garbage collection must keep: the visible LSN and the pinned ones at some moment.
#[derive(Debug)]
pub(super) struct Horizon {
    visible: Lsn,
    /// Ascending, none above `visible`.
    pinned: Vec<Lsn>,
}

impl Horizon {
    pub(super) fn visible(&self) -> Lsn {
        self.visible
    }

    /// The oldest LSN that a snapshot holds.
    pub(super) fn oldest_pin(&self) -> Option<Lsn> {
        self.pinned.first().copied()
    }

    /// Whether a version must stay: it is not published yet, or some reader stands between it and the next newer
    /// version of its key (`None`: it is the newest).
    ///
    /// "Some reader between", not "a reader above": otherwise one long snapshot would keep every later version of
    /// a hot key.
    pub(super) fn keeps(&self, version: Lsn, newer: Option<Lsn>) -> bool {
        let Some(newer) = newer else { return true };
        if version > self.visible || newer > self.visible {
            return true;
        }
        let first_at_or_above = self.pinned.partition_point(|pin| *pin < version);
        self.pinned.get(first_at_or_above).is_some_and(|pin| *pin < newer)
    }

    /// Whether a tombstone that has no older version beside it may go: no reader is below it, and (by the contract
    /// of [`Tracker::publish`]) every lower LSN has been applied, so that nothing can come that it would hide.
    pub(super) fn drops_tombstone(&self, tombstone: Lsn) -> bool {
        tombstone <= self.oldest_pin().unwrap_or(self.visible)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;

    fn lsn(number: u64) -> Lsn {
        Lsn::new(number)
    }

    /// The keep rule, case by case, against pins at 10 and 20 and visible at 30.
    #[test]
    fn a_version_stays_only_for_a_reader_that_needs_that_very_one() {
        let horizon = Horizon { visible: lsn(30), pinned: vec![lsn(10), lsn(20)] };
        let check = |version, newer: Option<u64>, expected| {
            assert_eq!(horizon.keeps(lsn(version), newer.map(lsn)), expected, "{version} before {newer:?}");
        };
        check(5, None, true); // the newest
        check(5, Some(10), false); // the pin at 10 reads the newer one
        check(5, Some(11), true); // the pin at 10 reads this one
        check(10, Some(11), true);
        check(11, Some(20), false); // nobody stands between
        check(11, Some(21), true);
        check(21, Some(30), false);
        check(21, Some(31), true); // visible reads this one
        check(31, Some(32), true); // not published: it may yet be the visible one
    }

    /// A tombstone goes when no reader is below it.
    #[test]
    fn a_tombstone_waits_for_the_oldest_reader() {
        let pinned = Horizon { visible: lsn(30), pinned: vec![lsn(10)] };
        assert!(pinned.drops_tombstone(lsn(10)));
        assert!(!pinned.drops_tombstone(lsn(11)));
        let free = Horizon { visible: lsn(30), pinned: vec![] };
        assert!(free.drops_tombstone(lsn(30)));
        assert!(!free.drops_tombstone(lsn(31)));
    }

    /// Pins are counted by LSN, in any order of drops, and clones count.
    #[test]
    fn snapshots_register_and_leave() {
        let tracker = Tracker::new(lsn(1));
        let first = tracker.snapshot();
        let again = first.clone();
        tracker.publish(lsn(5));
        tracker.publish(lsn(3)); // never back
        let second = tracker.snapshot();
        assert_eq!((first.lsn(), again.lsn(), second.lsn()), (lsn(1), lsn(1), lsn(5)));
        assert_eq!(tracker.snapshots(), 3);
        drop(first);
        assert_eq!(tracker.oldest_snapshot(), Some(lsn(1)));
        drop(again);
        assert_eq!(tracker.oldest_snapshot(), Some(lsn(5)));
        drop(second);
        assert_eq!((tracker.oldest_snapshot(), tracker.snapshots()), (None, 0));
    }

    /// Shows that no horizon gives up what a live snapshot needs, however the two meet: a reader that holds a
    /// snapshot says so, and a collector that reads this *after* it got its horizon must find the pin honoured.
    ///
    /// Guards: the order of `live` and `visible` in `snapshot`, and in `horizon`.
    #[test]
    fn no_snapshot_slips_past_a_horizon() {
        let tracker = Tracker::new(lsn(1));
        let (held, over) = (AtomicU64::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    tracker.publish(tracker.visible().next());
                    thread::yield_now();
                }
            });
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let snapshot = tracker.snapshot();
                    held.store(snapshot.lsn().get(), Ordering::SeqCst);
                    (0..4).for_each(|_| thread::yield_now());
                    held.store(0, Ordering::SeqCst);
                }
            });
            let missed = (0..20_000).find_map(|_| {
                let horizon = tracker.horizon();
                (0..4).find_map(|_| {
                    thread::yield_now();
                    let held = lsn(held.load(Ordering::SeqCst));
                    let safe = held == Lsn::ZERO || held >= horizon.visible || horizon.pinned.contains(&held);
                    (!safe).then(|| format!("{held} is held, but {horizon:?}"))
                })
            });
            over.store(true, Ordering::SeqCst);
            assert!(missed.is_none(), "{missed:?}");
        });
    }
}
