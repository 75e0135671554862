//! The running log: its end, and what is known to be durable.
//!
//! ```text
//!            tail lock                              the gate's file
//!  append ──▶ LSNs, one write_at ──▶ written ═══▶   sync_data ──▶ durable
//!             (rotation holds both)                 one at a time
//! ```
//!
//! LOCKS: `removing`, `tail`, then the gate's file, then `closed`, then `spare` or `pins`; never the other way round. Appending goes on while
//! the gate syncs: the processor works while the disk does.
//!
//! Where to read next: `gate`, who syncs and who waits; `queue`, who writes for whom; `rotate`, how it goes on in a new
//! segment; `close`, how it ends.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use parking_lot::RwLock;

use super::future::Sleepers;
use super::gate::Gate;
use super::keeper::Keeper;
use super::open::Ready;
use super::pins::{Pin, Pins};
use super::poison::Poison;
use super::replay::{SegmentState, SegmentSummary};
use super::spare::Spare;
use super::tail::{Records, Tail};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::format::StoreId;
use crate::format::record::{RecordKind, stored_bytes};
use crate::format::segment::max_payload_bytes;
use crate::lsn::Lsn;
use crate::options::WalOptions;
use crate::storage::LockGuard;
use crate::storage::dir::{Dir, DirFile};
use crate::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, OnPanic, Ordering};

/// A log that takes records.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) dir: Dir,
    pub(super) options: WalOptions,
    pub(super) store_id: StoreId,
    /// The end of the log. Whoever holds it gives LSNs and writes.
    pub(super) tail: Mutex<Tail>,
    /// The one sync gate.
    pub(super) gate: Gate,
    /// The file of the segment to come.
    pub(super) spare: Spare,
    /// Futures that wait for an LSN to be durable.
    pub(super) sleepers: Arc<Sleepers>,
    /// Some of them may wait no longer. ORDER: Relaxed; whoever sets it comes by to look: [`Waking`].
    owes_wakes: AtomicBool,
    /// The last LSN whose `write_at` has returned. Written under `tail`.
    written: AtomicU64,
    /// The last LSN that survives a power cut. Written with the gate's file locked.
    durable: AtomicU64,
    pub(super) poison: Poison,
    /// Bytes of records written since the log was opened. ORDER: Relaxed; a figure. Written under `tail`.
    appended_bytes: AtomicU64,
    /// How often records were cut off since the log was opened. Written with `tail` and the gate's file held.
    cuts: AtomicU64,
    /// All segments but the last.
    pub(super) closed: RwLock<Vec<SegmentSummary>>,
    /// Who reads the log, and from where on it must stay.
    pub(super) pins: Pins,
    /// Held by whoever removes segments at the beginning of the log: they go one after the other, oldest first.
    pub(super) removing: Mutex<()>,
    /// The directory's lock, until the log is closed. Whoever takes it closes.
    pub(super) lock: Mutex<Option<Box<dyn LockGuard>>>,
}

impl Log {
    pub(super) fn new(dir: Dir, options: WalOptions, mut ready: Ready, lock: Box<dyn LockGuard>) -> Log {
        let closed = std::mem::take(&mut ready.closed);
        let last = ready.position.lsn.previous().get();
        Log {
            dir,
            options,
            store_id: ready.store_id,
            gate: Gate::new(ready.segment.file.clone()),
            spare: Spare::default(),
            sleepers: Arc::default(),
            owes_wakes: AtomicBool::new(false),
            closed: RwLock::new(closed),
            pins: Pins::default(),
            removing: Mutex::new(()),
            tail: Mutex::new(Tail::new(ready)),
            // Opening made everything durable that it read.
            written: AtomicU64::new(last),
            durable: AtomicU64::new(last),
            poison: Poison::default(),
            appended_bytes: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
            lock: Mutex::new(Some(lock)),
        }
    }

    pub(super) fn written(&self) -> Lsn {
        // ORDER: Acquire pairs with the Release after `write_at`: a sync that begins after this load covers the write.
        Lsn::new(self.written.load(Ordering::Acquire))
    }

    pub(super) fn durable(&self) -> Lsn {
        // ORDER: Acquire pairs with the Release after the sync.
        Lsn::new(self.durable.load(Ordering::Acquire))
    }

    /// Bytes of records written since the log was opened.
    pub(super) fn appended_bytes(&self) -> u64 {
        self.appended_bytes.load(Ordering::Relaxed)
    }

    /// Changes with each cut, so that a reader knows that what it has read ahead may be out of the log.
    pub(super) fn cuts(&self) -> u64 {
        // ORDER: Acquire pairs with the Release of a cut, which by then has changed `closed` and the end of the log.
        self.cuts.load(Ordering::Acquire)
    }

    pub(super) fn count_cut(&self) {
        self.cuts.fetch_add(1, Ordering::Release);
    }

    /// The longest payload that is taken.
    pub(super) fn max_payload_bytes(&self) -> u64 {
        max_payload_bytes(self.options.segment_bytes)
    }

    /// Writes records of one kind, in order, with one `write_at` for each stretch that fits into a segment.
    /// Returns the LSN of the last one. They are not synced.
    ///
    /// After an error nothing more is ever appended: a partial record may stand at the end, and what follows it would
    /// not be found again.
    pub(super) fn write(&self, records: Records<'_>) -> Result<Lsn> {
        let limit = self.max_payload_bytes();
        if let Some(long) = records.payloads.iter().find(|payload| payload.len() as u64 > limit) {
            return Err(Error::TooLarge { what: "batch", size: long.len() as u64, limit });
        }
        let mut tail = self.tail.lock();
        if tail.closed {
            return Err(Error::Closed);
        }
        self.poison.check()?;
        let durable = self.durable();
        let result = self.guard(|| self.write_group(&mut tail, records));
        drop(tail);
        if result.is_err() || self.durable() > durable {
            self.owe_wakes();
        }
        result
    }

    /// Does what must not end half-way: a failure poisons the log, and so does a panic (a bug of our own, or of the
    /// caller's disk). Those who wait at the gate hear of it at once.
    ///
    /// ORDER: with the locks held under which it happens. Whoever takes one of them next must see the poison: it would
    /// sync again and be told that all is well, or append behind half a record.
    pub(super) fn guard<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let panicked = OnPanic(|| self.poison_after_panic());
        let result = work();
        panicked.all_is_well();
        let result = self.poison.guard(result, &self.options.events);
        if result.is_err() {
            self.gate.wake();
            self.owe_wakes();
        }
        result
    }

    /// Futures may wait no longer.
    pub(super) fn owe_wakes(&self) {
        // ORDER: Release, after what makes the wait end. See `Waking`.
        self.owes_wakes.store(true, Ordering::Release);
    }

    /// Wakes the futures whose wait is over. A waker is the caller's code: it may write, close, or want a lock that
    /// somebody holds who writes. So this is for the background thread, which holds nothing.
    pub(super) fn wake_sleepers(&self) {
        self.sleepers.wake(|lsn| self.is_settled(lsn));
    }

    /// Poisons the log: something that it knows nothing of has failed half-way.
    pub(super) fn poison(&self, cause: Error) {
        let _ = self.guard::<()>(|| Err(cause));
    }

    /// The same because a thread has panicked in the middle of a write or a sync, and others wait for it. (A panic of
    /// our own would be a bug; one of the disk is the caller's.)
    pub(super) fn poison_after_panic(&self) {
        let source = std::io::Error::other("a thread panicked in the middle of it");
        self.poison(Error::io("finish a write to", self.dir.path(), source));
    }

    /// Nobody need wait for this LSN: it is durable, or will not become so before the log is opened again, or was cut off.
    pub(super) fn is_settled(&self, lsn: Lsn) -> bool {
        self.durable() >= lsn || self.poison.is_set() || lsn > self.written()
    }

    pub(super) fn write_group(&self, tail: &mut Tail, records: Records<'_>) -> Result<Lsn> {
        tail.time_us = tail.time_us.max(self.dir.storage().now_us());
        let mut rest = records.payloads;
        while !rest.is_empty() {
            let fitting = tail.fitting(rest);
            if fitting == 0 {
                self.rotate(tail)?;
                continue;
            }
            let payloads;
            (payloads, rest) = rest.split_at(fitting);
            self.write_run(tail, Records { payloads, ..records })?;
        }
        Ok(tail.position.lsn.previous())
    }

    /// Writes records that fit into the segment.
    fn write_run(&self, tail: &mut Tail, records: Records<'_>) -> Result<()> {
        let first = tail.position;
        tail.write(self.durable(), records)?;
        self.appended_bytes.fetch_add(tail.position.offset - first.offset, Ordering::Relaxed);
        if self.options.spare && tail.is_half_full() {
            self.spare.ask();
        }
        // ORDER: Release, see `written`.
        self.written.store(tail.position.lsn.previous().get(), Ordering::Release);
        let (mut lsn, mut offset) = (first.lsn, first.offset);
        let kind = records.kind;
        for payload in records.payloads {
            let bytes = stored_bytes(payload.len() as u64);
            let file = &*tail.segment.name;
            self.options.events.tell(|| Event::Appended { lsn, kind, file, offset, bytes });
            (lsn, offset) = (lsn.next(), offset + bytes);
        }
        Ok(())
    }

    /// Makes the file of the next segment ahead, unless the log has come to its end. It takes a while: no lock of the
    /// log is held but the spare's own.
    pub(super) fn prepare_spare(&self) -> Result<()> {
        self.poison.check()?;
        self.spare.prepare(&self.dir, self.options.segment_bytes)
    }

    /// Waits until everything up to `lsn` is durable, syncing if nobody else does. `callers` is for how many threads
    /// this one waits.
    pub(super) fn sync_to(&self, lsn: Lsn, callers: usize) -> Result<()> {
        if self.durable() >= lsn {
            return Ok(());
        }
        let mut led = false;
        self.gate.pass(
            callers,
            || self.is_settled(lsn),
            |gate| {
                led = true;
                let file = gate.lock();
                // Whoever held the file before may have failed. Who led hears of it below, like those who followed.
                let _ = self.guard(|| {
                    self.poison.check()?;
                    self.sync_file(&file)
                });
            },
        );
        if led {
            self.owe_wakes();
        }
        if self.durable() >= lsn {
            return Ok(());
        }
        self.poison.check()?;
        let reason = format!("{lsn} was cut off the log before it was durable");
        Err(Error::InvalidOption { option: "lsn", reason })
    }

    /// Syncs the gate's file. What is durable then is what was written when the sync *began*.
    pub(super) fn sync_file(&self, file: &MutexGuard<'_, DirFile>) -> Result<()> {
        let written = self.written();
        if self.durable() >= written {
            return Ok(());
        }
        let started = Instant::now();
        file.sync_data()?;
        // ORDER: Release, see `durable`.
        self.durable.store(written.get(), Ordering::Release);
        self.options.events.tell(|| Event::Synced { durable: written, took: started.elapsed() });
        Ok(())
    }

    /// Writes and syncs a mark, which proves that everything before it was durable.
    pub(super) fn mark(&self, kind: RecordKind) -> Result<Lsn> {
        // The mark carries the durable LSN, so what it is to prove must be durable before it is written.
        self.sync_to(self.written(), 1)?;
        let lsn = self.write(Records::mark(kind))?;
        self.sync_to(lsn, 1)?;
        Ok(lsn)
    }

    /// True if a mark would prove something that is not proven yet.
    pub(super) fn wants_mark(&self) -> bool {
        self.tail.lock().wants_mark
    }

    /// All segments as they are at one moment, the last one being the one that is written.
    pub(super) fn segments(&self) -> Vec<SegmentSummary> {
        let tail = self.tail.lock();
        let active = SegmentSummary::new(&tail.segment, tail.position, SegmentState::Active);
        self.closed.read().iter().cloned().chain([active]).collect()
    }

    /// The base of the segment that holds this LSN or will, and the last LSN there; [`Lsn::MAX`] where it is still
    /// being written.
    ///
    /// # Errors
    /// [`Error::Compacted`] if it was removed.
    pub(super) fn segment_of(&self, lsn: Lsn) -> Result<(Lsn, Lsn)> {
        // ORDER: `tail` first, for both looks. A rotation between them would show neither list with the segment.
        let tail = self.tail.lock();
        let closed = self.closed.read();
        let found = closed.iter().find(|segment| segment.last_lsn >= lsn);
        let (base, last) =
            found.map_or((tail.segment.base(), Lsn::MAX), |segment| (segment.base_lsn, segment.last_lsn));
        if base > lsn { Err(Error::Compacted { oldest: base }) } else { Ok((base, last)) }
    }

    /// Keeps the records from `lsn` on from being removed.
    ///
    /// # Errors
    /// [`Error::Compacted`] if they were removed already.
    pub(super) fn pin(&self, lsn: Lsn) -> Result<Pin> {
        let tail = self.tail.lock();
        let closed = self.closed.read();
        let oldest = closed.first().map_or(tail.segment.base(), |segment| segment.base_lsn);
        if lsn < oldest { Err(Error::Compacted { oldest }) } else { Ok(self.pins.pin(lsn)) }
    }

    /// The first LSN that the log still holds; the next to come where it holds none.
    pub(super) fn oldest(&self) -> Lsn {
        let tail = self.tail.lock();
        self.closed.read().first().map_or(tail.segment.base(), |segment| segment.base_lsn)
    }

    /// The end of the log with both locks held, for changes that must see nobody else: see `cut`.
    pub(super) fn exclusive<T>(
        &self,
        change: impl FnOnce(&mut Tail, &mut DirFile) -> Result<T>,
    ) -> Result<T> {
        let mut tail = self.tail.lock();
        if tail.closed {
            return Err(Error::Closed);
        }
        let mut file = self.gate.lock();
        // With the file held: whoever held it before may have failed.
        self.poison.check()?;
        let result = self.guard(|| {
            self.sync_file(&file)?;
            change(&mut tail, &mut file)
        });
        let last = tail.position.lsn.previous().get();
        if result.is_ok() {
            // ORDER: Release, see `written` and `durable`. Both locks are held: nobody else stores.
            self.written.store(last, Ordering::Release);
            self.durable.store(last, Ordering::Release);
        }
        self.owe_wakes();
        result
    }
}

/// For every call from outside that may write or sync: on the way out, also by a panic, sees to it that the futures
/// whose wait is over are woken.
///
/// ORDER: made before any lock, turn or leadership is taken, and so dropped after all of them, because without a
/// background thread it is this one that calls the wakers.
pub(crate) struct Waking<'a> {
    pub(super) log: &'a Log,
    pub(super) keeper: &'a Keeper,
}

impl Drop for Waking<'_> {
    fn drop(&mut self) {
        let Waking { log, keeper } = self;
        // ORDER: Acquire pairs with the Release of whoever owes it: what makes a wait end is seen here.
        let owed = log.owes_wakes.load(Ordering::Relaxed) && log.owes_wakes.swap(false, Ordering::Acquire);
        if !owed || log.sleepers.is_empty() {
            return;
        }
        if !keeper.wake_soon() {
            log.wake_sleepers();
        } else if log.poison.is_set() && keeper.is_in_the_disk() {
            // It may never come back from there, and nobody is to wait for that. Without a thread, for once, they do.
            let sleepers = log.sleepers.clone();
            let thread = thread::Builder::new().name("forelog-waker".to_owned());
            _ = thread.spawn(move || sleepers.wake(|_| true));
        }
    }
}
