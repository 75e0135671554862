//! Checkpoints and retention of a running store: when they are taken, by whom, and what goes after them.
//!
//! ```text
//!  a write finds that one is due ──▶ a thread ┐
//!  Db::checkpoint, close ─────────────────────┴▶ parts ─▶ log durable ─▶ manifest ─▶ archive ─▶ manifest ─▶ remove
//! ```
//!
//! LOCKS: `work` is held by whoever changes which files are the store, one at a time, and for as long as a checkpoint
//! takes; nobody who writes or reads takes it. `manifest` is held for a few instructions.
//!
//! INVARIANT: once [`Upkeep::stop`] has returned, nothing here touches the directory: it may have another owner.
//!
//! The background thread holds this, not the store: so the last handle of a store can be dropped, and closes it, while a
//! checkpoint is being taken.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

use super::elsewhere::archive_of;
use crate::catalog::Catalog;
use crate::checkpoint::{self, Pace, Pacing, Taking, manifest};
use crate::error::{Error, Result};
use crate::event::{Event, span};
use crate::format::manifest::{Checkpoint, Manifest};
use crate::lsn::Lsn;
use crate::memtable::Tracker;
use crate::options::{Options, processors};
use crate::retention::Archiver;
use crate::storage::dir::Dir;
use crate::wal::{Keeper, Wal};

/// How many segments of log may come before a checkpoint is written, in hundredths: the pace is such that it has come as
/// far as the log has towards that. This bounds the directory, and no writer ever waits for it:
///
/// ```text
///  the last checkpoint and the new one                    2 checkpoints
///  the log that made it due                               max(checkpoint_after_bytes, the last checkpoint)
///  what comes while it is written                         0.75 segments
///  the oldest segment, whose end alone is needed          < 1 segment
///  the newest, as long from the beginning as at its end   < 1 segment
///  the spare                                              1 segment
///                                                         in all, beside the first two lines, less than 3.75
/// ```
///
/// Up to four, 16 MiB of 64 MiB segments are left for what comes between the last block and the first removal: the
/// last part's sync, the log's, and the manifest's. The bound is that of a disk which is fast enough; on another one the
/// checkpoint goes as fast as it can.
const GROWTH_PERCENT: u64 = 75;

/// After a failure, the next one is tried after this part of the bytes that it would usually take.
const RETRY_PART: u64 = 4;

#[derive(Debug)]
pub(super) struct Upkeep {
    pub(super) dir: Dir,
    pub(super) options: Options,
    pub(super) tracker: Arc<Tracker>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) wal: Arc<Wal>,
    pub(super) keeper: Arc<Keeper>,
    /// Held by whoever changes which files are the store.
    pub(super) work: Mutex<Work>,
    /// As it is on disk.
    pub(super) manifest: Mutex<Manifest>,
    /// The next checkpoint is due when the log has so many bytes, counted from its opening. ORDER: Relaxed; whoever
    /// sees a stale value starts it a write later.
    due_at: AtomicU64,
    thread: Mutex<Background>,
    cancelled: AtomicBool,
    /// How many callers wait for what is under way. ORDER: Relaxed; a hint for the pace.
    pub(super) awaited: AtomicUsize,
    /// Why the last attempt failed, until one works.
    pub(super) failure: Mutex<Option<Error>>,
    /// The same for the archive.
    pub(super) archive_failure: Mutex<Option<Error>>,
    /// All segments up to this LSN are in the archive. ORDER: Relaxed; a figure.
    pub(super) archived: AtomicU64,
}

#[derive(Debug)]
pub(super) struct Work {
    /// For the next manifest, whether it comes to be or not: the names of its parts must be new.
    next_generation: u64,
    pub(super) archiver: Option<Archiver>,
    ended: bool,
}

#[derive(Debug, Default)]
struct Background {
    handle: Option<JoinHandle<()>>,
    stopped: bool,
}

impl Upkeep {
    pub(super) fn new(
        dir: Dir,
        options: Options,
        (tracker, catalog, wal, keeper): (Arc<Tracker>, Arc<Catalog>, Arc<Wal>, Arc<Keeper>),
        manifest: Manifest,
    ) -> Arc<Upkeep> {
        let behind = wal.bytes_behind(newest(&manifest).map_or(Lsn::ZERO, Checkpoint::lsn));
        let due_at = due_after(&manifest).map_or(u64::MAX, |bytes| bytes.saturating_sub(behind));
        let archived = AtomicU64::new(manifest.archived.min(manifest.first_segment.previous()).get());
        let archiver = archive_of(&dir, &options, &manifest).map(Archiver::new);
        let work = Work { next_generation: manifest.generation + 1, archiver, ended: false };
        Arc::new(Upkeep {
            dir,
            options,
            tracker,
            catalog,
            wal,
            keeper,
            work: Mutex::new(work),
            manifest: Mutex::new(manifest),
            due_at: AtomicU64::new(due_at),
            thread: Mutex::default(),
            cancelled: AtomicBool::new(false),
            awaited: AtomicUsize::new(0),
            failure: Mutex::new(None),
            archive_failure: Mutex::new(None),
            archived,
        })
    }

    /// The newest checkpoint.
    pub(super) fn newest(&self) -> Option<Checkpoint> {
        newest(&self.manifest.lock()).cloned()
    }

    /// The manifest as it is now.
    pub(super) fn manifest(&self) -> Manifest {
        self.manifest.lock().clone()
    }

    /// Why the last checkpoint or pruning failed, if none has worked since.
    pub(super) fn failure(&self) -> Option<Error> {
        self.failure.lock().clone()
    }

    /// Something was written: starts a checkpoint if one is due.
    pub(super) fn wrote(self: &Arc<Self>) {
        if self.wal.appended_bytes() < self.due_at.load(Ordering::Relaxed) {
            return;
        }
        let mut background = self.thread.lock();
        let running = background.handle.as_ref().is_some_and(|handle| !handle.is_finished());
        if running || background.stopped {
            return;
        }
        // Not before this one has ended, which says when the next is due.
        self.due_at.store(u64::MAX, Ordering::Relaxed);
        let upkeep = self.clone();
        let thread = thread::Builder::new().name("forelog-checkpoint".to_owned());
        match thread.spawn(move || upkeep.run()) {
            Ok(handle) => background.handle = Some(handle),
            Err(error) => self.note_failure(Error::io("start a thread for", self.dir.path(), error)),
        }
    }

    fn run(&self) {
        // How it ends is in `stats`, and in an event. A panic (of the caller's disk or archive) must not be the last that
        // is heard of checkpoints.
        if panic::catch_unwind(AssertUnwindSafe(|| self.checkpoint_by(1))).is_err() {
            let source = io::Error::other("a thread panicked in the middle of it");
            self.note_failure(Error::io("take a checkpoint of", self.dir.path(), source));
        }
    }

    /// Takes a checkpoint of what is visible, if that is newer than the last one, and prunes. Returns its LSN.
    pub(super) fn checkpoint(&self) -> Result<Lsn> {
        // Before the lock: so a checkpoint that is under way already hurries, too.
        let _awaited = Awaited::new(&self.awaited);
        self.checkpoint_by(available_threads())
    }

    fn checkpoint_by(&self, threads: usize) -> Result<Lsn> {
        let _span = span("checkpoint", false);
        let _waking = self.wal.waking(&self.keeper);
        let mut work = self.work.lock();
        let result = self.take(&mut work, threads);
        match &result {
            Ok(_) => {
                self.failure.lock().take();
                // The checkpoint is there, whatever becomes of the rest; that shows in `stats`.
                if let Err(error) = self.prune_locked(&mut work, false) {
                    self.note_failure(error);
                }
            }
            // Given up by a close: nobody's failure.
            Err(Error::Closed) => {}
            Err(error) => self.note_failure(error.clone()),
        }
        result
    }

    fn take(&self, work: &mut Work, threads: usize) -> Result<Lsn> {
        self.check(work)?;
        let snapshot = self.tracker.snapshot();
        let lsn = snapshot.lsn();
        let appended = self.wal.appended_bytes();
        let old = self.manifest();
        let last = newest(&old).map_or(Lsn::ZERO, Checkpoint::lsn);
        if lsn <= last {
            drop(snapshot);
            self.catalog.forget_dropped();
            self.is_due_after(appended, due_after(&old));
            return Ok(last);
        }
        let generation = work.generation();
        let pace = self.pace(&old);
        let checksum = old.options.checksum;
        // The log's time never runs backwards, whatever the clock does.
        let time_us = self.dir.storage().now_us().max(self.wal.time_us());
        let taking = Taking { store_id: old.store_id, generation, time_us, checksum, threads, pace };
        let taken = checkpoint::take(&self.dir, &self.catalog, &snapshot, taking)?;
        drop(snapshot);
        self.catalog.forget_dropped();
        self.catalog.all().iter().for_each(|space| while space.table.collect_garbage(64) {});

        // ORDER: a checkpoint never holds what the log could lose. What was visible is written; it is durable now.
        let adopted = self.wal.wait_durable_for(lsn, 1).and_then(|()| {
            let mut new = Manifest { generation, durable_lsn: self.wal.durable_lsn(), ..old };
            new.checkpoints.push(taken.clone());
            self.write_manifest(new)
        });
        if let Err(error) = adopted {
            self.remove_unless_named(&taken);
            return Err(error);
        }
        let due = due_after(&self.manifest.lock());
        self.is_due_after(appended, due);
        self.events().tell(|| Event::Checkpointed { lsn });
        Ok(lsn)
    }

    /// Says when the next one is due. To be said on every way out: while one runs, none is.
    fn is_due_after(&self, appended: u64, bytes: Option<u64>) {
        let due_at = bytes.map_or(u64::MAX, |bytes| appended.saturating_add(bytes));
        self.due_at.store(due_at, Ordering::Relaxed);
    }

    /// How fast a checkpoint goes that begins now.
    pub(super) fn pace(&self, manifest: &Manifest) -> Pace<'_> {
        let growth = manifest.options.segment_bytes.saturating_mul(GROWTH_PERCENT) / 100;
        Pace::new(self, self.options.checkpoints.bytes_per_second, growth)
    }

    /// Puts a manifest in place. Nobody else does so: `work` is held.
    pub(super) fn write_manifest(&self, new: Manifest) -> Result<()> {
        manifest::write(&self.dir, &new)?;
        *self.manifest.lock() = new;
        Ok(())
    }

    /// Has the manifest state that everything up to here is durable, if it does not yet. The log's own proof of a clean close
    /// stands right behind what it proves, and one bad sector may take both.
    ///
    /// A disk without room for it is no failure: the log is whole and closed without this proof.
    pub(super) fn state_durable(&self, lsn: Lsn) -> Result<()> {
        let mut work = self.work.lock();
        let old = self.manifest();
        if old.durable_lsn >= lsn {
            return Ok(());
        }
        // A checkpoint that was passed over is still named on disk: it goes when there is a newer one, not because the store is
        // closed. A manifest that is not the one we wrote or opened is not gone by.
        let on_disk = manifest::read(&self.dir).ok();
        let is_ours = |named: &Manifest| (named.store_id, named.generation) == (old.store_id, old.generation);
        let named = on_disk.filter(is_ours).unwrap_or(old);
        let generation = work.generation();
        match self.write_manifest(Manifest { generation, durable_lsn: lsn, ..named }) {
            Err(Error::Io { source, .. })
                if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                Ok(())
            }
            written => written,
        }
    }

    /// Removes the parts of a checkpoint that was not adopted; not if its manifest may be the one that is on disk.
    fn remove_unless_named(&self, taken: &Checkpoint) {
        if let Ok(on_disk) = manifest::read(&self.dir)
            && !on_disk.checkpoints.contains(taken)
        {
            taken.files().for_each(|file| _ = self.dir.remove(&file));
        }
    }

    pub(super) fn check(&self, work: &Work) -> Result<()> {
        if work.ended || self.is_cancelled() {
            return Err(Error::Closed);
        }
        self.wal.check_poison()
    }

    pub(super) fn note_failure(&self, error: Error) {
        self.events().tell(|| Event::CheckpointFailed { error: &error });
        let retry = due_after(&self.manifest.lock()).map(|bytes| (bytes / RETRY_PART).max(1));
        self.is_due_after(self.wal.appended_bytes(), retry);
        *self.failure.lock() = Some(error);
    }

    pub(super) fn events(&self) -> &crate::event::Events {
        &self.options.events
    }

    /// Takes a last checkpoint if that was asked for, gives up what is under way otherwise, and ends. Returns what
    /// became of the last checkpoint.
    pub(super) fn stop(&self) -> Result<()> {
        let wanted = self.options.checkpoints.on_close && !self.wal.is_poisoned();
        let last = if wanted { self.checkpoint().map(|_| ()) } else { Ok(()) };
        self.cancelled.store(true, Ordering::Relaxed);
        self.work.lock().ended = true;
        let thread = {
            let mut background = self.thread.lock();
            background.stopped = true;
            background.handle.take()
        };
        // It may be the one that closes: a waker that it calls may do so.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            // It does not panic; if it did, that was told where it happened.
            let _ = thread.join();
        }
        match last {
            Err(Error::Closed) => Ok(()),
            last => last,
        }
    }
}

impl Work {
    pub(super) fn generation(&mut self) -> u64 {
        let generation = self.next_generation;
        self.next_generation += 1;
        generation
    }
}

impl Pacing for Upkeep {
    fn log_bytes(&self) -> u64 {
        self.wal.appended_bytes()
    }

    fn is_cancelled(&self) -> bool {
        // ORDER: Relaxed. It is looked at again and again.
        self.cancelled.load(Ordering::Relaxed)
    }

    fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Relaxed) > 0
    }
}

/// A caller that waits, for as long as this lives.
pub(super) struct Awaited<'a>(&'a AtomicUsize);

impl Awaited<'_> {
    pub(super) fn new(count: &AtomicUsize) -> Awaited<'_> {
        count.fetch_add(1, Ordering::Relaxed);
        Awaited(count)
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many threads write a checkpoint that somebody waits for.
pub(super) fn available_threads() -> usize {
    processors().min(4)
}

fn newest(manifest: &Manifest) -> Option<&Checkpoint> {
    manifest.checkpoints.last()
}

/// After how many bytes of log a checkpoint is due; `None`: never by itself.
fn due_after(manifest: &Manifest) -> Option<u64> {
    let after = manifest.options.checkpoint_after_bytes?;
    Some(after.max(newest(manifest).map_or(0, Checkpoint::bytes)))
}
