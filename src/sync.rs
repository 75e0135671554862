//! The locks and atomics of the commit path, in one place, so that another set can stand in for them.
//!
//! Normally they are those of `std`. Built with `--cfg forelog_shuttle` they are those of
//! [shuttle](https://docs.rs/shuttle), which runs threads one at a time and chooses at each lock, wait and atomic who
//! goes on: `tests/schedules.rs` drives the real store through hundreds of thousands of such schedules. So whatever
//! decides on the commit path who leads, who waits and who is woken uses this module and nothing else.
//!
//! Not here: the background thread (`wal::keeper`), which lives by the clock, and shuttle knows no time; locks that
//! are held for a few instructions and never while another is wanted (the memtable's blocks, the catalog). Seen from
//! outside, what they guard happens in one step.

#[cfg(not(forelog_shuttle))]
use std::{sync as imp, thread};

#[cfg(forelog_shuttle)]
use shuttle::{sync as imp, thread};

use std::sync::{PoisonError, TryLockError};
use std::time::Duration;

pub(crate) use imp::MutexGuard;
pub(crate) use imp::atomic::{AtomicBool, AtomicU64, Ordering};

/// A mutex that does not poison: a thread that panics while it holds one leaves what the mutex guards in order, or
/// poisons the whole log, which is said where it happens.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(imp::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex(imp::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Mutex<T> {
    /// As `lock`, for a mutex that is held for about a microsecond at a time, and much in demand: looks again for that
    /// long, then lets others run for a few turns, and only then goes to sleep, because to be woken takes far longer.
    pub(crate) fn lock_soon(&self) -> MutexGuard<'_, T> {
        let mut guard = self.try_lock();
        spin_until(|| {
            guard = guard.take().or_else(|| self.try_lock());
            guard.is_some()
        });
        yield_before_sleep(|| {
            guard = guard.take().or_else(|| self.try_lock());
            guard.is_some()
        });
        guard.unwrap_or_else(|| self.lock())
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// Looks some hundred times, which takes about two microseconds. (Under shuttle nobody else would run meanwhile.)
fn spin_until(mut over: impl FnMut() -> bool) {
    if cfg!(not(forelog_shuttle)) {
        for _ in 0..SPINS {
            if over() {
                return;
            }
            for _ in 0..8 {
                std::hint::spin_loop();
            }
        }
    }
}

const SPINS: u32 = 40;

/// A condition that threads wait for.
#[derive(Debug, Default)]
pub(crate) struct Condvar(imp::Condvar);

impl Condvar {
    /// Lets go of the lock, waits to be woken, and takes it again. May return for no reason.
    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, but for about as long as this at most. (Schedules know no time, and no scenario needs it.)
    #[cfg(not(forelog_shuttle))]
    pub(crate) fn wait_for<'a, T>(&self, guard: MutexGuard<'a, T>, limit: Duration) -> MutexGuard<'a, T> {
        self.0.wait_timeout(guard, limit).unwrap_or_else(PoisonError::into_inner).0
    }

    #[cfg(forelog_shuttle)]
    pub(crate) fn wait_for<'a, T>(&self, guard: MutexGuard<'a, T>, _: Duration) -> MutexGuard<'a, T> {
        self.wait(guard)
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// Does something if it is dropped by a panic, and nothing if it is told that all went well.
pub(crate) struct OnPanic<F: Fn()>(pub(crate) F);

impl<F: Fn()> OnPanic<F> {
    pub(crate) fn all_is_well(self) {
        std::mem::forget(self);
    }
}

impl<F: Fn()> Drop for OnPanic<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Lets the other threads run that want to.
pub(crate) fn yield_now() {
    thread::yield_now();
}

/// Waits by letting others run, until `over` says so or the time is up. Schedules know no time: under shuttle it is
/// up after a few turns.
pub(crate) fn yield_until(limit: Duration, mut over: impl FnMut() -> bool) {
    if over() {
        return;
    }
    #[cfg(not(forelog_shuttle))]
    {
        let began = std::time::Instant::now();
        while began.elapsed() < limit {
            yield_now();
            if over() {
                return;
            }
        }
    }
    #[cfg(forelog_shuttle)]
    for _ in 0..u32::from(!limit.is_zero()) * 2 {
        yield_now();
        if over() {
            return;
        }
    }
}

/// How often a thread that waits lets others run before it goes to sleep.
///
/// To sleep and to be woken costs two system calls, and on the waker's side a call to another processor for each
/// thread; while many threads wait for one sync, that is more work than all the rest of their writes. A turn of
/// yielding costs half a microsecond when nobody else wants to run, and lasts the longer the more threads do, so that
/// sixty-four writers hardly ever sleep and a lone one gives up after about 20 microseconds.
/// Measured: `docs/decisions/0005-group-commit.md`.
#[cfg(not(forelog_shuttle))]
pub(crate) const TURNS_BEFORE_SLEEP: u32 = 40;
#[cfg(forelog_shuttle)]
pub(crate) const TURNS_BEFORE_SLEEP: u32 = 1;

/// Lets others run for [`TURNS_BEFORE_SLEEP`] turns at most; true if `over` said so meanwhile.
pub(crate) fn yield_before_sleep(mut over: impl FnMut() -> bool) -> bool {
    for _ in 0..TURNS_BEFORE_SLEEP {
        if over() {
            return true;
        }
        yield_now();
    }
    over()
}
