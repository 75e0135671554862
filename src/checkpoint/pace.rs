//! How fast a checkpoint writes and old files go, so that those who work beside it are not held up.
//!
//! A checkpoint and the log share a disk. A checkpoint that writes as fast as it can fills the disk's queue, and a sync
//! of the log then waits behind megabytes of it. So it writes at an even rate, and gives what it has written to the
//! disk at once instead of leaving it to a burst of the page cache (`File::start_write_out`).
//!
//! Without a rate of the user's choice, the rate follows from what is going on:
//!
//! | the log | the checkpoint |
//! | --- | --- |
//! | is idle, and somebody waits for the checkpoint | goes as fast as it can |
//! | grows so fast that it would be too long when the checkpoint ends | as fast as is needed for that |
//! | else | 32 MiB a second |
//!
//! An idle log alone is no reason to hurry: there may be readers, and beside a checkpoint at full speed gets were seen to
//! run at about half of their speed, on two processors that others used too. (Beside a mere scan: at two thirds.)
//!
//! A copy to the archive has more time ([`Pace::expect_copies`]): it goes at 8 MiB a second while the log is written, and
//! at least four times as fast as the log grows, so that the archive keeps up. A put that meets a write of the copy
//! waits for it, in few long stretches as in many short ones; so what counts is for how much of the time the disk has
//! such writes.
//!
//! Removing files holds up syncs too: each waits for the disk to take note that the space is free. So there is a break
//! after each file while the log is written ([`Breaks`]).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// What a checkpoint writes a second while the log is written, in bytes.
const DEFAULT_RATE: u64 = 32 << 20;

/// The same for a copy to the archive.
const COPY_RATE: u64 = 8 << 20;

/// How much faster than the log grows a copy goes at least.
const COPY_LEAD: u64 = 4;

/// How long the log must have been left alone to be called idle.
const IDLE: Duration = Duration::from_millis(50);

/// The longest nap: how soon a change of circumstances, or a cancellation, is noticed.
const NAP: Duration = Duration::from_millis(5);

/// What the pace depends on, as it is at this moment.
pub(crate) trait Pacing: Sync {
    /// Bytes of log written since the store was opened.
    fn log_bytes(&self) -> u64;
    /// True if the checkpoint is to be given up.
    fn is_cancelled(&self) -> bool;
    /// True if a caller waits until it has ended.
    fn is_awaited(&self) -> bool;
}

/// The pace of one checkpoint, shared by the threads that write it.
pub(crate) struct Pace<'a> {
    pacing: &'a dyn Pacing,
    /// The user's choice, in bytes a second.
    limit: Option<u64>,
    /// Without one, this while the log is written.
    default_rate: u64,
    /// About how many bytes the checkpoint will have.
    expected_bytes: u64,
    /// How much the log may grow meanwhile.
    log_growth: u64,
    log_at_start: u64,
    started: Instant,
    written: AtomicU64,
    /// The log's bytes when it was last seen to grow, and when that was, in microseconds since the start.
    /// ORDER: Relaxed, both; a thread that sees the one without the other waits a nap too long or too short.
    last_log_bytes: AtomicU64,
    last_growth_us: AtomicU64,
}

impl<'a> Pace<'a> {
    pub(crate) fn new(pacing: &'a dyn Pacing, limit: Option<u64>, log_growth: u64) -> Pace<'a> {
        let log_at_start = pacing.log_bytes();
        Pace {
            pacing,
            limit,
            default_rate: DEFAULT_RATE,
            expected_bytes: 0,
            log_growth,
            log_at_start,
            started: Instant::now(),
            written: AtomicU64::new(0),
            last_log_bytes: AtomicU64::new(log_at_start),
            last_growth_us: AtomicU64::new(0),
        }
    }

    /// Tells how long the checkpoint will probably be.
    pub(crate) fn expect(&mut self, bytes: u64) {
        self.expected_bytes = bytes;
    }

    /// Tells how much will probably be copied to the archive, instead.
    pub(crate) fn expect_copies(&mut self, bytes: u64) {
        self.expected_bytes = bytes;
        self.log_growth = bytes / COPY_LEAD;
        self.default_rate = COPY_RATE;
    }

    /// Counts bytes that were written, and waits as long as the pace demands.
    ///
    /// # Errors
    /// [`Error::Closed`] if the checkpoint is to be given up.
    pub(crate) fn spend(&self, bytes: u64) -> Result<()> {
        let written = self.written.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let rate = self.limit.unwrap_or(self.default_rate);
        loop {
            if self.pacing.is_cancelled() {
                return Err(Error::Closed);
            }
            let elapsed = self.started.elapsed();
            let due = Duration::from_secs_f64(written as f64 / rate as f64);
            if elapsed >= due || self.limit.is_none() && self.may_hurry(written, elapsed) {
                return Ok(());
            }
            std::thread::sleep(NAP.min(due - elapsed));
        }
    }

    /// True if what it is the pace of is to be given up.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.pacing.is_cancelled()
    }

    /// True while the log is idle and somebody waits, or the log has grown further than the checkpoint has come.
    fn may_hurry(&self, written: u64, elapsed: Duration) -> bool {
        let log_bytes = self.pacing.log_bytes();
        let now_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        if self.last_log_bytes.swap(log_bytes, Ordering::Relaxed) != log_bytes {
            self.last_growth_us.store(now_us, Ordering::Relaxed);
        }
        let quiet_us = now_us.saturating_sub(self.last_growth_us.load(Ordering::Relaxed));
        let idle = Duration::from_micros(quiet_us) >= IDLE || log_bytes == self.log_at_start;
        let grown = log_bytes.saturating_sub(self.log_at_start) as f64 / self.log_growth.max(1) as f64;
        let done = written as f64 / self.expected_bytes.max(1) as f64;
        idle && self.pacing.is_awaited() || grown > done
    }
}

/// How long the break after a removed file is. A removal takes about two milliseconds and holds up the sync beside it: of a
/// thread that puts ten thousand times a second, that is then one put in some hundreds. Of puts that come seldom it is
/// about one in 25, where without breaks it was each that came meanwhile.
const BREAK: Duration = Duration::from_millis(50);

/// The breaks between files that are removed while the log is written.
///
/// INVARIANT: files go at least twice as fast as the log grows, so that breaks never make a directory grow: where
/// segments are short and the log is fast, there are none.
pub(crate) struct Breaks<'a> {
    pacing: &'a dyn Pacing,
    log_at_start: u64,
    last_log_bytes: u64,
    last_growth: Option<Instant>,
    freed: u64,
}

impl<'a> Breaks<'a> {
    pub(crate) fn new(pacing: &'a dyn Pacing) -> Breaks<'a> {
        let log_at_start = pacing.log_bytes();
        Breaks { pacing, log_at_start, last_log_bytes: log_at_start, last_growth: None, freed: 0 }
    }

    /// A file of so many bytes was removed.
    pub(crate) fn removed(&mut self, bytes: u64) {
        self.freed = self.freed.saturating_add(bytes);
        let began = Instant::now();
        while began.elapsed() < BREAK && self.is_called_for() && !self.pacing.is_cancelled() {
            std::thread::sleep(NAP);
        }
    }

    /// True while the log is written, and not as fast as files go.
    fn is_called_for(&mut self) -> bool {
        let log_bytes = self.pacing.log_bytes();
        if std::mem::replace(&mut self.last_log_bytes, log_bytes) != log_bytes {
            self.last_growth = Some(Instant::now());
        }
        let grown = log_bytes.saturating_sub(self.log_at_start);
        let written = self.last_growth.is_some_and(|last| last.elapsed() < IDLE);
        written && grown < self.freed / 2
    }
}

#[cfg(test)]
mod tests {
    //! Shows the three rows of the table, and that a limit is kept, without relying on how long anything takes: what
    //! would wait for minutes is told to give up instead.
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[derive(Default)]
    struct World {
        log: AtomicU64,
        cancelled: AtomicBool,
        awaited: AtomicBool,
    }

    impl Pacing for World {
        fn log_bytes(&self) -> u64 {
            self.log.load(Ordering::Relaxed)
        }
        fn is_cancelled(&self) -> bool {
            self.cancelled.load(Ordering::Relaxed)
        }
        fn is_awaited(&self) -> bool {
            self.awaited.load(Ordering::Relaxed)
        }
    }

    const GIB: u64 = 1 << 30;

    /// Spends a gigabyte after the log has grown by so much: true if that did not have to wait.
    fn goes_on(limit: Option<u64>, log_grown: u64, awaited: bool) -> bool {
        goes_on_after(|pace| pace.expect(2 * GIB), limit, log_grown, awaited)
    }

    fn goes_on_after(
        expect: impl Fn(&mut Pace<'_>),
        limit: Option<u64>,
        log_grown: u64,
        awaited: bool,
    ) -> bool {
        let world = World { awaited: awaited.into(), ..World::default() };
        let mut pace = Pace::new(&world, limit, 100 << 20);
        expect(&mut pace);
        world.log.store(log_grown, Ordering::Relaxed);
        std::thread::scope(|scope| {
            let spent = scope.spawn(|| pace.spend(GIB).is_ok());
            // The log goes on, so that it is never idle; a wait of half a minute is given up.
            while !spent.is_finished() && pace.started.elapsed() < IDLE * 4 {
                world.log.fetch_add(u64::from(log_grown > 0), Ordering::Relaxed);
                std::thread::sleep(NAP);
            }
            world.cancelled.store(true, Ordering::Relaxed);
            spent.join().unwrap()
        })
    }

    #[test]
    fn the_rows_of_the_table() {
        assert!(goes_on(None, 0, true), "idle, and somebody waits");
        assert!(!goes_on(None, 0, false), "idle, and nobody does");
        assert!(!goes_on(None, 1 << 20, true), "written");
        assert!(goes_on(None, 90 << 20, false), "grows faster than the checkpoint");
        assert!(!goes_on(Some(1 << 20), 0, true), "a limit is kept, idle or not");
        assert!(!goes_on(Some(1 << 20), 90 << 20, true), "and however the log grows");
    }

    #[test]
    fn copies_go_four_times_as_fast_as_the_log_grows() {
        let copies = |log_grown| goes_on_after(|pace| pace.expect_copies(2 * GIB), None, log_grown, false);
        assert!(!copies(GIB / 5), "a fifth of what was copied");
        assert!(copies(GIB / 3), "a third");
    }

    #[test]
    fn breaks_are_for_a_log_that_is_written_slowly() {
        let world = World::default();
        let mut breaks = Breaks::new(&world);
        let mut is_called_for = |freed, log: u64| {
            breaks.freed = freed;
            world.log.store(log, Ordering::Relaxed);
            breaks.is_called_for()
        };
        assert!(!is_called_for(1000, 0), "nobody writes");
        assert!(is_called_for(1000, 1), "somebody does");
        assert!(!is_called_for(1000, 500), "so fast that files must go faster");
        assert!(is_called_for(2000, 501));
    }
}
