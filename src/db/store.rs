//! What all handles of a store share, and what it does beside writing: keyspaces, syncs, marks, closing.
//!
//! Where to read next: `commit`, the life of a write.

use std::sync::{Arc, Weak};

use super::commit::{Unpublished, Write};
use super::upkeep::Upkeep;
use crate::batch::SealedBatch;
use crate::catalog::{Catalog, DEFAULT_KEYSPACE, NoSuchKeyspace, Space};
use crate::error::{Error, Result};
use crate::event::{Event, Events, span};
use crate::format::{KeyspaceId, MAX_KEY_BYTES, Op, StoreId};
use crate::lsn::Lsn;
use crate::memtable::Tracker;
use crate::options::Options;
use crate::recovery::{Recovered, RecoveryReport};
use crate::storage::LockGuard;
use crate::storage::dir::Dir;
use crate::sync::{AtomicBool, Condvar, Mutex, OnPanic, Ordering};
use crate::wal::{Durable, Keeper, Kept, Queue, Wal};

/// What all handles of a store share.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) dir: Dir,
    options: Options,
    pub(super) store_id: StoreId,
    pub(super) tracker: Arc<Tracker>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) report: RecoveryReport,
    /// `None` when opened for reading only.
    pub(super) wal: Option<Arc<Wal>>,
    /// `None` when opened for reading only.
    pub(super) upkeep: Option<Arc<Upkeep>>,
    /// The directory's lock when opened for reading only; otherwise the log has it.
    lock: Mutex<Option<Box<dyn LockGuard>>>,
    /// Where writers become groups. Whoever has the turn judges and logs.
    pub(super) queue: Arc<Queue<Write>>,
    pub(super) pending: Mutex<Unpublished>,
    /// Told when something was applied or published, if somebody sleeps.
    pub(super) moved: Condvar,
    pub(super) keeper: Arc<Keeper>,
    closed: AtomicBool,
}

impl Store {
    pub(super) fn new(dir: Dir, options: Options, recovered: Recovered) -> Store {
        let Recovered { wal, lock, manifest, tracker, catalog, report } = recovered;
        let applied = tracker.visible();
        let (catalog, wal) = (Arc::new(catalog), wal.map(Arc::new));
        let store_id = manifest.store_id;
        let keeper = Arc::new(Keeper::new(options.idle_mark));
        let queue = Arc::new(Queue::new(options.queue_bytes));
        if let Some(wal) = &wal {
            wal.tell_of_poison(queue.clone());
        }
        let upkeep = wal.clone().map(|wal| {
            let shared = (tracker.clone(), catalog.clone(), wal, keeper.clone());
            Upkeep::new(dir.clone(), options.clone(), shared, manifest)
        });
        Store {
            dir,
            store_id,
            tracker,
            catalog,
            report,
            wal,
            upkeep,
            lock: Mutex::new(lock),
            queue,
            pending: Mutex::new(Unpublished::new(applied)),
            moved: Condvar::default(),
            keeper,
            closed: AtomicBool::new(false),
            options,
        }
    }

    /// What a killed writer has left is durable by now, but nothing on disk proves it: the mark of an idle store will.
    pub(super) fn prove_soon(self: &Arc<Self>) {
        if self.wal.as_ref().is_some_and(|wal| wal.wants_mark()) {
            self.keeper.wrote(None, false, || -> Weak<Store> { Arc::downgrade(self) });
        }
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    pub(super) fn events(&self) -> &Events {
        &self.options.events
    }

    /// # Errors
    /// [`Error::Closed`].
    pub(super) fn check_open(&self) -> Result<()> {
        // ORDER: Relaxed. A call beside a close may go either way.
        if self.closed.load(Ordering::Relaxed) { Err(Error::Closed) } else { Ok(()) }
    }

    /// The log of a store that can be written.
    pub(super) fn wal(&self) -> Result<&Wal> {
        self.check_open()?;
        self.wal.as_deref().ok_or_else(|| Error::ReadOnly { dir: self.dir.path().to_path_buf() })
    }

    /// The keyspace of this name; logs its creation if there is none.
    pub(super) fn keyspace(self: &Arc<Self>, name: &str) -> Result<Arc<Space>> {
        if let Some(space) = self.catalog.find_at(name, self.tracker.visible()) {
            return Ok(space);
        }
        let wal = self.wal()?;
        let _waking = wal.waking(&self.keeper);
        wal.check_poison()?;
        if name.is_empty() {
            let reason = "a keyspace needs a name".to_owned();
            return Err(Error::InvalidOption { option: "keyspace", reason });
        }
        if name.len() > MAX_KEY_BYTES {
            let (size, limit) = (name.len() as u64, MAX_KEY_BYTES as u64);
            return Err(Error::TooLarge { what: "keyspace's name", size, limit });
        }
        let space = self.queue.alone(|| match self.catalog.find(name) {
            // Another thread has just logged its creation: wait for that to be published.
            Some(space) => Ok(space),
            None => self.with_turn(wal, || self.create_keyspace(wal, name)),
        });
        let space = space?;
        wal.wait_durable(space.created)?;
        self.publish(wal);
        self.wait_written(wal, space.created)?;
        Ok(space)
    }

    /// Runs what writes to the log with the turn, by itself.
    fn with_turn<T>(self: &Arc<Self>, wal: &Wal, write: impl FnOnce() -> T) -> T {
        let panicked = OnPanic(|| wal.poison_after_panic());
        let written = write();
        panicked.all_is_well();
        self.keeper.wrote(None, wal.wants_spare(), || -> Weak<Store> { Arc::downgrade(self) });
        written
    }

    /// Waits until a record is visible, and then has the background look whether a checkpoint is due.
    fn wait_written(&self, wal: &Wal, lsn: Lsn) -> Result<()> {
        self.wait_published(wal, lsn)?;
        if let Some(upkeep) = &self.upkeep {
            upkeep.wrote();
        }
        Ok(())
    }

    fn create_keyspace(&self, wal: &Wal, name: &str) -> Result<Arc<Space>> {
        let Some(id) = self.catalog.next_id() else {
            let limit = u64::from(u32::MAX);
            return Err(Error::TooLarge { what: "number of the next keyspace", size: limit + 1, limit });
        };
        self.log_op(wal, Op::CreateKeyspace { id, name }).map_err(|error| match error {
            // It was the caller who chose the name, and not the record around it.
            Error::TooLarge { size, limit, .. } => {
                let name_bytes = name.len() as u64;
                let limit = limit.saturating_sub(size.saturating_sub(name_bytes));
                Error::TooLarge { what: "keyspace's name", size: name_bytes, limit }
            }
            error => error,
        })?;
        self.catalog.get(id).map_err(|NoSuchKeyspace(id)| self.unknown_keyspace(id))
    }

    /// Drops the keyspace of this name.
    pub(super) fn drop_keyspace(self: &Arc<Self>, name: &str) -> Result<Lsn> {
        let wal = self.wal()?;
        let _waking = wal.waking(&self.keeper);
        wal.check_poison()?;
        if name == DEFAULT_KEYSPACE {
            let reason = "every store has the default one, which stays; its keys can be removed".to_owned();
            return Err(Error::InvalidOption { option: "keyspace", reason });
        }
        let dropped = self.queue.alone(|| {
            let Some(space) = self.catalog.find(name) else { return Ok(None) };
            // What is logged before may be applied after this. Nobody will see it.
            self.with_turn(wal, || self.log_op(wal, Op::DropKeyspace { id: space.id })).map(Some)
        });
        if let Some(lsn) = dropped? {
            self.wait_written(wal, lsn)?;
            return Ok(lsn);
        }
        if self.catalog.find_at(name, self.tracker.visible()).is_some() {
            // Another thread has just dropped it: that is visible when it is told.
            self.wait_published(wal, wal.last_lsn())?;
        }
        Err(Error::UnknownKeyspace { name: name.to_owned() })
    }

    /// That a keyspace is there for readers.
    pub(super) fn check_there(&self, space: &Space) -> Result<()> {
        if space.dropped() > self.tracker.visible() {
            return Ok(());
        }
        Err(Error::UnknownKeyspace { name: space.name.to_string() })
    }

    /// Returns when everybody sees that those keyspaces of a batch are dropped that are. A drop that comes to nothing, because
    /// its sync fails, is an error here: nobody may be told of it.
    pub(super) fn wait_for_drops(&self, wal: &Wal, batch: &SealedBatch) -> Result<()> {
        for space in batch.changes().filter_map(|(id, ..)| self.catalog.get(id).ok()) {
            if space.dropped() < Lsn::MAX {
                self.wait_published(wal, space.dropped())?;
            }
        }
        Ok(())
    }

    /// The error for a keyspace that cannot be written to.
    pub(super) fn unknown_keyspace(&self, id: KeyspaceId) -> Error {
        let name = self.catalog.get(id).map(|space| space.name.to_string());
        Error::UnknownKeyspace { name: name.unwrap_or_else(|_| format!("with number {id}")) }
    }

    /// Logs and applies what becomes of a keyspace. Called with the turn, so that later batches are judged by it.
    fn log_op(&self, wal: &Wal, op: Op<'_>) -> Result<Lsn> {
        let mut body = Vec::new();
        op.append_to(&mut body);
        let lsn = wal.write(&[&body], false)?;
        self.pending.lock().must_be_durable(lsn);
        let applied = self.catalog.apply_op(lsn, op);
        self.events().tell(|| Event::Applied { lsn, ops: 1, body: &body });
        self.applied(wal, lsn, lsn);
        applied.map_err(|NoSuchKeyspace(id)| self.unknown_keyspace(id))?;
        Ok(lsn)
    }

    /// Collects garbage in all keyspaces, in up to `budget` blocks of each.
    pub(super) fn collect_garbage(&self, budget: usize) {
        for space in self.catalog.all() {
            space.table.collect_garbage(budget);
        }
    }

    pub(super) fn durable(&self) -> Lsn {
        // A store that was opened for reading only knows what the files prove.
        self.wal.as_ref().map_or(self.report.log.proven_lsn, |wal| wal.durable_lsn())
    }

    /// The last LSN that was given out.
    pub(super) fn last_lsn(&self) -> Lsn {
        self.wal.as_ref().map_or(self.report.log.last_lsn, |wal| wal.last_lsn())
    }

    pub(super) fn sync(&self) -> Result<Lsn> {
        let wal = self.wal()?;
        let _waking = wal.waking(&self.keeper);
        let durable = wal.sync()?;
        self.publish(wal);
        Ok(durable)
    }

    pub(super) fn wait_durable(&self, lsn: Lsn) -> Result<()> {
        if self.wal.is_none() && lsn <= self.durable() {
            return self.check_open();
        }
        let wal = self.wal()?;
        let _waking = wal.waking(&self.keeper);
        wal.wait_durable(lsn)?;
        self.publish(wal);
        Ok(())
    }

    /// See [`Db::durable`](super::Db::durable).
    pub(super) fn durable_future(self: &Arc<Self>, lsn: Lsn) -> Result<Durable> {
        let wal = self.wal()?;
        let future = wal.durable_unasked(lsn)?;
        if wal.durable_lsn() < lsn && !self.keeper.sync_soon(|| Arc::downgrade(self)) {
            // There is no thread to be had: better to block than to wait for ever.
            self.wait_durable(lsn)?;
        }
        Ok(future)
    }

    /// See [`Db::mark`](super::Db::mark). The turn is held for the write alone, not for the syncs around it.
    pub(super) fn mark(&self) -> Result<()> {
        let wal = self.wal()?;
        let _waking = wal.waking(&self.keeper);
        wal.sync()?;
        let marked = self.queue.alone(|| {
            let panicked = OnPanic(|| wal.poison_after_panic());
            let marked = wal.write_mark();
            if let Ok(Some(lsn)) = marked {
                self.applied(wal, lsn, lsn);
            }
            panicked.all_is_well();
            marked
        });
        if let Some(lsn) = marked? {
            wal.wait_durable(lsn)?;
        }
        self.publish(wal);
        self.catalog.forget_dropped();
        Ok(())
    }

    pub(super) fn prepare_spare(&self) -> Result<()> {
        self.wal()?.prepare_spare()
    }

    /// What looks after checkpoints and retention, of a store that can be written.
    pub(super) fn upkeep(&self) -> Result<&Arc<Upkeep>> {
        self.check_open()?;
        self.upkeep.as_ref().ok_or_else(|| Error::ReadOnly { dir: self.dir.path().to_path_buf() })
    }

    pub(super) fn close(&self) -> Result<()> {
        let _span = span("close", false);
        let _waking = self.wal.as_ref().map(|wal| wal.waking(&self.keeper));
        // ORDER: before the log, with which the right to the directory goes; and before the keeper, because this may take
        // long, and writes go on meanwhile.
        let checkpoint = self.upkeep.as_ref().map_or(Ok(()), |upkeep| upkeep.stop());
        self.keeper.stop();
        let closed = self.queue.alone(|| {
            // ORDER: Relaxed, see `check_open`; writers are kept out by the turn and by the log itself.
            if self.closed.swap(true, Ordering::Relaxed) {
                return Ok(());
            }
            self.lock.lock().take();
            let Some(wal) = &self.wal else { return Ok(()) };
            // Groups that are logged may still be applied beside this: only the close mark is ours to count.
            let last = wal.last_lsn();
            let mut stated = Ok(());
            wal.end(|| {
                if let Some(upkeep) = &self.upkeep {
                    stated = upkeep.state_durable(wal.durable_lsn());
                }
            })?;
            if wal.last_lsn() > last {
                self.applied(wal, last.next(), wal.last_lsn());
            }
            self.publish(wal);
            stated
        });
        closed.and(checkpoint)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Whoever wants to know whether this worked calls `close`.
        let _ = self.close();
    }
}

impl Kept for Store {
    fn wake(&self) {
        if let Some(wal) = &self.wal {
            wal.wake_sleepers();
        }
    }

    fn sync(&self) {
        // A failure poisons the log: the next writer hears of it.
        let _ = Store::sync(self);
    }

    fn mark(&self) {
        let _ = Store::mark(self);
        self.collect_garbage(usize::MAX);
    }

    fn panicked(&self) {
        if let Some(wal) = &self.wal {
            wal.poison_after_panic();
        }
    }

    fn prepare(&self) {
        // The rotation tries again, and says what is wrong.
        let _ = self.prepare_spare();
    }
}
