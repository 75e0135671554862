//! The keeper: a background thread that syncs what `Durability::Interval` promised, makes the next segment's file
//! ahead, and writes a sync mark when the log falls idle.
//!
//! It is started by the first write that needs it, and ends when the log is closed. It sleeps until something is due:
//! an idle log costs nothing.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

/// What the keeper can do. An error poisons the log, which is where callers hear of it.
pub(crate) trait Kept: Send + Sync + 'static {
    /// Syncs the log.
    fn sync(&self);
    /// Writes and syncs a sync mark, if it would prove anything.
    fn mark(&self);
    /// Makes the file of the next segment.
    fn prepare(&self);
    /// Wakes the futures whose wait is over, if there are any: also after each of the others.
    fn wake(&self);
    /// One of these has panicked: a listener's doing, or a bug of our own.
    fn panicked(&self);
}

/// Starts, wakes and stops the thread.
#[derive(Debug)]
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    idle_mark: Option<Duration>,
    /// Counts the writes: the log is idle while it stays the same. ORDER: Relaxed, it is only compared with itself.
    writes: AtomicU64,
    /// True while the thread watches for idleness, so that a write need not take the lock to wake it.
    watching: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    stop: bool,
    /// The next segment's file is wanted.
    prepare: bool,
    /// Futures may wait no longer.
    wake: bool,
    /// When a sync is due, if one is.
    sync_by: Option<Instant>,
    /// The thread syncs, or makes a file: it comes back when the disk lets it.
    in_the_disk: bool,
}

impl Keeper {
    pub(crate) fn new(idle_mark: Option<Duration>) -> Keeper {
        let shared = Shared {
            state: Mutex::default(),
            wake: Condvar::new(),
            idle_mark,
            writes: AtomicU64::new(0),
            watching: AtomicBool::new(false),
        };
        Keeper { shared: Arc::new(shared), thread: Mutex::new(None) }
    }

    /// Takes note of a write, which must be synced within `within` if that is given, and of whether the next segment's
    /// file is wanted. `kept` is asked for only when the thread must be started, which does not keep it alive. False if
    /// there is no thread to be had, and so nobody who keeps the interval.
    pub(crate) fn wrote<K: Kept>(
        &self,
        within: Option<Duration>,
        prepare: bool,
        kept: impl FnOnce() -> Weak<K>,
    ) -> bool {
        self.shared.writes.fetch_add(1, Ordering::Relaxed);
        let idle = self.shared.idle_mark.is_some();
        // ORDER: Relaxed. A stale `true` is put right by the thread, which looks for new writes once more after it
        // has stored `false`.
        if within.is_none() && !prepare && (!idle || self.shared.watching.load(Ordering::Relaxed)) {
            return true;
        }
        let mut state = self.shared.state.lock();
        if let Some(delay) = within {
            // A delay beyond what the clock can count is never due.
            state.sync_by = earlier(state.sync_by, Instant::now().checked_add(delay));
        }
        state.prepare |= prepare;
        self.shared.watching.store(idle, Ordering::Relaxed);
        self.shared.wake.notify_one();
        drop(state);
        self.start(kept)
    }

    /// Asks for a sync at once, without waiting for it. False if there is no thread to do it.
    pub(crate) fn sync_soon<K: Kept>(&self, kept: impl FnOnce() -> Weak<K>) -> bool {
        let mut state = self.shared.state.lock();
        state.sync_by = Some(Instant::now());
        self.shared.wake.notify_one();
        drop(state);
        self.start(kept)
    }

    /// Has futures woken that may wait no longer. False if the thread does not run (any more): then it is for the caller.
    pub(crate) fn wake_soon(&self) -> bool {
        if self.thread.lock().is_none() {
            return false;
        }
        let mut state = self.shared.state.lock();
        state.wake = !state.stop;
        self.shared.wake.notify_one();
        state.wake
    }

    /// True while the thread does something that may take as long as the disk likes. If it is false after
    /// [`wake_soon`](Keeper::wake_soon), those are woken before the disk is touched again.
    pub(crate) fn is_in_the_disk(&self) -> bool {
        self.shared.state.lock().in_the_disk
    }

    /// Starts the thread if it does not run; false if that cannot be done.
    fn start<K: Kept>(&self, kept: impl FnOnce() -> Weak<K>) -> bool {
        if self.shared.state.lock().stop {
            return false;
        }
        let mut thread = self.thread.lock();
        if thread.is_none() {
            let (shared, kept) = (self.shared.clone(), kept());
            *thread = thread::Builder::new()
                .name("forelog-keeper".to_owned())
                .spawn(move || shared.run(&kept))
                .ok();
        }
        thread.is_some()
    }

    /// Ends the thread and waits for it.
    pub(crate) fn stop(&self) {
        self.shared.state.lock().stop = true;
        self.shared.wake.notify_one();
        let thread = self.thread.lock().take();
        // The keeper may itself hold the last handle of its log and so be the one who closes it.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            // The thread does not panic; if it did, that would be told where it happened.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run<K: Kept>(&self, kept: &Weak<K>) {
        let mut state = self.state.lock();
        let (mut seen, mut seen_at) = (0, Instant::now());
        while !state.stop {
            if std::mem::take(&mut state.wake) {
                if !self.unlocked(&mut state, kept, Kept::wake) {
                    return;
                }
                continue;
            }
            let now = Instant::now();
            if state.sync_by.is_some_and(|due| due <= now) {
                state.sync_by = None;
                if !self.in_the_disk(&mut state, kept, Kept::sync) {
                    return;
                }
                continue;
            }
            if std::mem::take(&mut state.prepare) {
                if !self.in_the_disk(&mut state, kept, Kept::prepare) {
                    return;
                }
                continue;
            }
            let mut next = state.sync_by;
            if let Some(idle) = self.idle_mark.filter(|_| self.watching.load(Ordering::Relaxed)) {
                let writes = self.writes.load(Ordering::Relaxed);
                if writes != seen {
                    (seen, seen_at) = (writes, now);
                } else if now.duration_since(seen_at) >= idle {
                    self.watching.store(false, Ordering::Relaxed);
                    if !self.in_the_disk(&mut state, kept, Kept::mark) {
                        return;
                    }
                    // A write that came meanwhile may have seen `watching` still true and not woken us.
                    if self.writes.load(Ordering::Relaxed) != seen {
                        self.watching.store(true, Ordering::Relaxed);
                    }
                    continue;
                }
                next = earlier(next, seen_at.checked_add(idle));
            }
            match next {
                Some(due) => {
                    self.wake.wait_until(&mut state, due);
                }
                None => self.wake.wait(&mut state),
            }
        }
    }

    fn in_the_disk<K: Kept>(&self, state: &mut MutexGuard<'_, State>, kept: &Weak<K>, work: fn(&K)) -> bool {
        state.in_the_disk = true;
        let is_there = self.unlocked(state, kept, work);
        state.in_the_disk = false;
        is_there
    }

    /// Does some work without holding the state; false if the log is gone.
    ///
    /// The handle is dropped before the state is locked again: if it is the last one, dropping it closes the log,
    /// which stops this keeper, which locks the state.
    fn unlocked<K: Kept>(&self, state: &mut MutexGuard<'_, State>, kept: &Weak<K>, work: fn(&K)) -> bool {
        MutexGuard::unlocked(state, || match kept.upgrade() {
            Some(kept) => {
                // A panic must not end the thread: others wait for what it does.
                if panic::catch_unwind(AssertUnwindSafe(|| work(&kept))).is_err() {
                    kept.panicked();
                }
                kept.wake();
                true
            }
            None => false,
        })
    }
}

/// The earlier of two moments that may never come.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
