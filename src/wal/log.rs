//! The running log: its end, the sync gate, and what is known to be durable.
//!
//! ```text
//!            tail lock                              gate lock
//!  append ──▶ LSNs, one write_at ──▶ written ═══▶   sync_data ──▶ durable
//!             (rotation holds both)                 one at a time
//! ```
//!
//! LOCKS: `tail`, then `gate`, then `closed`; never the other way round. Appending goes on while the gate syncs: the
//! processor works while the disk does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard, RwLock};

use super::build::{Builder, write_seal};
use super::open::{Ready, new_header};
use super::poison::Poison;
use super::replay::{SegmentState, SegmentSummary};
use super::tail::Tail;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::format::StoreId;
use crate::format::record::{RecordKind, stored_bytes};
use crate::format::segment::{SegmentHeader, max_payload_bytes};
use crate::lsn::Lsn;
use crate::options::WalOptions;
use crate::storage::LockGuard;
use crate::storage::dir::{Dir, DirFile};

/// A log that takes records.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) dir: Dir,
    pub(super) options: WalOptions,
    pub(super) store_id: StoreId,
    /// The end of the log. Whoever holds it gives LSNs and writes.
    tail: Mutex<Tail>,
    /// The one sync gate: every sync of the log holds it. The kernel reports a failed writeback once per descriptor;
    /// a second syncer would be told that all is well.
    ///
    /// INVARIANT: what is written and not durable stands in this file, because a rotation syncs the old file, holding
    /// the gate, before it puts the new one here.
    gate: Mutex<DirFile>,
    /// The last LSN whose `write_at` has returned. Written under `tail`.
    written: AtomicU64,
    /// The last LSN that survives a power cut. Written under `gate`.
    durable: AtomicU64,
    pub(super) poison: Poison,
    /// How often records were cut off since the log was opened. Written with `tail` and `gate` held.
    cuts: AtomicU64,
    /// All segments but the last.
    pub(super) closed: RwLock<Vec<SegmentSummary>>,
    /// The directory's lock, until the log is closed. Whoever takes it closes.
    lock: Mutex<Option<Box<dyn LockGuard>>>,
}

impl Log {
    pub(super) fn new(dir: Dir, options: WalOptions, mut ready: Ready, lock: Box<dyn LockGuard>) -> Log {
        let closed = std::mem::take(&mut ready.closed);
        let last = ready.position.lsn.previous().get();
        Log {
            dir,
            options,
            store_id: ready.store_id,
            gate: Mutex::new(ready.segment.file.clone()),
            closed: RwLock::new(closed),
            tail: Mutex::new(Tail::new(ready)),
            // Opening made everything durable that it read.
            written: AtomicU64::new(last),
            durable: AtomicU64::new(last),
            poison: Poison::default(),
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
    pub(super) fn write(&self, kind: RecordKind, payloads: &[&[u8]]) -> Result<Lsn> {
        let limit = self.max_payload_bytes();
        if let Some(long) = payloads.iter().find(|payload| payload.len() as u64 > limit) {
            return Err(Error::TooLarge { what: "batch", size: long.len() as u64, limit });
        }
        let mut tail = self.tail.lock();
        if tail.closed {
            return Err(Error::Closed);
        }
        self.poison.check()?;
        let result = self.write_group(&mut tail, kind, payloads);
        self.poison.guard(result, &self.options.events)
    }

    fn write_group(&self, tail: &mut Tail, kind: RecordKind, payloads: &[&[u8]]) -> Result<Lsn> {
        tail.time_us = tail.time_us.max(self.dir.storage().now_us());
        let mut from = 0;
        while from < payloads.len() {
            let fitting = tail.fitting(&payloads[from..]);
            if fitting == 0 {
                self.rotate(tail)?;
                continue;
            }
            let until = from + fitting;
            self.write_run(tail, kind, &payloads[from..until])?;
            from = until;
        }
        Ok(tail.position.lsn.previous())
    }

    /// Writes records that fit into the segment.
    fn write_run(&self, tail: &mut Tail, kind: RecordKind, payloads: &[&[u8]]) -> Result<()> {
        let first = tail.position;
        tail.write(kind, self.durable(), payloads)?;
        // ORDER: Release, see `written`.
        self.written.store(tail.position.lsn.previous().get(), Ordering::Release);
        let (mut lsn, mut offset) = (first.lsn, first.offset);
        for payload in payloads {
            let bytes = stored_bytes(payload.len() as u64);
            let file = &*tail.segment.name;
            self.options.events.tell(|| Event::Appended { lsn, kind, file, offset, bytes });
            (lsn, offset) = (lsn.next(), offset + bytes);
        }
        Ok(())
    }

    /// Goes on in a new segment. The order of the steps is the protocol: each was checked to be needed.
    ///
    /// ```text
    ///  sync k → publish durable → k+1 as spare.tmp, synced → its name, directory synced → seal k, synced → write to k+1
    /// ```
    fn rotate(&self, tail: &mut Tail) -> Result<()> {
        let mut gate = self.gate.lock();
        // Whoever held the gate may have failed: a second sync would say that all is well.
        self.poison.check()?;
        self.sync_file(&gate)?;
        let old = tail.segment.clone();
        let end = tail.position;
        let fresh = new_header(&self.dir, &self.options, self.store_id);
        // A segment without a record, too short for the one to come, is replaced: the new one takes its name.
        let replaces = end.lsn == old.base();
        let previous_digest = if replaces { old.header.previous_digest } else { end.digest };
        let header = SegmentHeader {
            base: end.lsn,
            previous_last: end.lsn.previous(),
            previous_digest,
            proven_to: end.lsn.previous(),
            created_us: fresh.created_us.max(tail.time_us),
            cut: old.header.cut,
            ..fresh
        };
        let (segment, position) = Builder::new(&self.dir, header)?.name()?;
        if !replaces {
            write_seal(&old, end, end.offset)?;
            self.closed.write().push(SegmentSummary::new(&old, end, SegmentState::Closed));
        }
        *gate = segment.file.clone();
        self.options.events.tell(|| Event::Rotated { base: segment.base(), file: &segment.name });
        tail.go_on_in(segment, position);
        Ok(())
    }

    /// Goes on in a new segment by hand; nothing happens while the last one is empty.
    pub(super) fn rotate_by_hand(&self) -> Result<()> {
        let mut tail = self.tail.lock();
        if tail.closed {
            return Err(Error::Closed);
        }
        self.poison.check()?;
        if tail.position.lsn == tail.segment.base() {
            return Ok(());
        }
        let result = self.rotate(&mut tail);
        self.poison.guard(result, &self.options.events)
    }

    /// Waits until everything up to `lsn` is durable, syncing if nobody else does.
    pub(super) fn sync_to(&self, lsn: Lsn) -> Result<()> {
        if self.durable() >= lsn {
            return Ok(());
        }
        let gate = self.gate.lock();
        // Whoever held the gate before may have done it for us: this is group commit at its simplest.
        if self.durable() >= lsn {
            return Ok(());
        }
        self.poison.check()?;
        let result = self.sync_file(&gate);
        self.poison.guard(result, &self.options.events)
    }

    /// Syncs the gate's file. What is durable then is what was written when the sync *began*.
    fn sync_file(&self, gate: &MutexGuard<'_, DirFile>) -> Result<()> {
        let written = self.written();
        if self.durable() >= written {
            return Ok(());
        }
        let started = Instant::now();
        gate.sync_data()?;
        // ORDER: Release, see `durable`.
        self.durable.store(written.get(), Ordering::Release);
        self.options.events.tell(|| Event::Synced { durable: written, took: started.elapsed() });
        Ok(())
    }

    /// Writes and syncs a mark, which proves that everything before it was durable.
    pub(super) fn mark(&self, kind: RecordKind) -> Result<Lsn> {
        // The mark carries the durable LSN, so what it is to prove must be durable before it is written.
        self.sync_to(self.written())?;
        let lsn = self.write(kind, &[&[]])?;
        self.sync_to(lsn)?;
        Ok(lsn)
    }

    /// True if a mark would prove something that is not proven yet.
    pub(super) fn wants_mark(&self) -> bool {
        self.tail.lock().wants_mark
    }

    /// Syncs, writes the close mark and gives up the lock. A poisoned log writes nothing. Later calls do nothing.
    pub(super) fn close(&self) -> Result<()> {
        let Some(lock) = self.lock.lock().take() else { return Ok(()) };
        let result = self.poison.check().and_then(|()| self.end_with_mark());
        self.tail.lock().closed = true;
        drop(lock);
        result
    }

    /// Gives up the lock and writes nothing: for a log that nobody will miss.
    pub(super) fn abandon(&self) {
        self.tail.lock().closed = true;
        self.lock.lock().take();
    }

    /// Writes the close mark, behind which nothing can come, and syncs it.
    fn end_with_mark(&self) -> Result<()> {
        // What the mark is to prove must be durable before it is written.
        self.sync_to(self.written())?;
        let mut tail = self.tail.lock();
        // ORDER: closed in the same moment. A write of another thread that came behind the mark would not be synced
        // by anyone, although an interval was promised for it.
        tail.closed = true;
        // A log that was only opened and read keeps the close mark that it has.
        if !tail.appended_since_open && tail.last_kind == Some(RecordKind::CloseMark) {
            return Ok(());
        }
        self.poison.check()?;
        let result = self.write_group(&mut tail, RecordKind::CloseMark, &[&[]]);
        drop(tail);
        self.sync_to(self.poison.guard(result, &self.options.events)?)
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
        let mut gate = self.gate.lock();
        // With the gate held: whoever held it before may have failed.
        self.poison.check()?;
        let result = self.sync_file(&gate).and_then(|()| change(&mut tail, &mut gate));
        let last = tail.position.lsn.previous().get();
        if result.is_ok() {
            // ORDER: Release, see `written` and `durable`. Both locks are held: nobody else stores.
            self.written.store(last, Ordering::Release);
            self.durable.store(last, Ordering::Release);
        }
        self.poison.guard(result, &self.options.events)
    }
}
