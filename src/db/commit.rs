//! The life of a write: judge → log → apply → sync → publish.
//!
//! 1. **judge**: what fails gets no LSN and leaves no byte.
//! 2. **log**: the record is written, not synced.
//! 3. **apply**: its versions go into the memtable, where nobody sees them: readers look at the visible LSN.
//! 4. **sync**, if it was asked for, shared with everybody who waits at the gate.
//! 5. **publish**: the visible LSN moves on, over the longest prefix in which each `Sync` record is durable.
//!
//! The first three happen under the commit lock, so the order of the log is the order of the memtable. The sync does
//! not: the next writer logs and applies while the disk works.
//!
//! LOCKS: `commit`, then those of the log; `pending` is held for a few instructions and takes nothing.
//!
//! What a crash leaves behind: before the log's write returned, nothing or a torn tail; after it, a record that
//! recovery may find, whether it was acknowledged or not. Nothing is ever applied that is not in the log before.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::unknown_keyspace;
use crate::batch::{SealedBatch, WriteBatch};
use crate::catalog::{Catalog, NoSuchKeyspace, Space};
use crate::error::{Error, Result};
use crate::event::{Event, Events};
use crate::format::{MAX_KEY_BYTES, Op, StoreId};
use crate::lsn::Lsn;
use crate::memtable::Tracker;
use crate::options::{Durability, Options};
use crate::recovery::{Recovered, RecoveryReport};
use crate::storage::LockGuard;
use crate::storage::dir::Dir;
use crate::wal::{Keeper, Kept, Wal};

/// What all handles of a store share.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) dir: Dir,
    options: Options,
    pub(super) store_id: StoreId,
    pub(super) tracker: Arc<Tracker>,
    pub(super) catalog: Catalog,
    pub(super) report: RecoveryReport,
    /// `None` when opened for reading only.
    pub(super) wal: Option<Wal>,
    /// The directory's lock when opened for reading only; otherwise the log has it.
    lock: Mutex<Option<Box<dyn LockGuard>>>,
    /// Held while a batch is judged, logged and applied.
    commit: Mutex<()>,
    pending: Mutex<Pending>,
    keeper: Keeper,
    closed: AtomicBool,
}

/// What is applied and not yet published.
#[derive(Debug)]
struct Pending {
    /// The last LSN applied. INVARIANT: every LSN up to it is applied.
    applied: Lsn,
    /// The records that may be published only when they are durable, ascending.
    syncs: VecDeque<Lsn>,
}

impl Pending {
    /// The end of the longest prefix in which each `Sync` record is durable.
    fn publishable(&mut self, durable: Lsn) -> Lsn {
        while self.syncs.front().is_some_and(|lsn| *lsn <= durable) {
            self.syncs.pop_front();
        }
        self.syncs.front().map_or(self.applied, |lsn| lsn.previous())
    }
}

impl Store {
    pub(super) fn new(dir: Dir, options: Options, recovered: Recovered) -> Store {
        let Recovered { wal, lock, manifest, tracker, catalog, report } = recovered;
        let applied = tracker.visible();
        Store {
            dir,
            store_id: manifest.store_id,
            tracker,
            catalog,
            report,
            wal,
            lock: Mutex::new(lock),
            commit: Mutex::new(()),
            pending: Mutex::new(Pending { applied, syncs: VecDeque::new() }),
            keeper: Keeper::new(options.idle_mark),
            closed: AtomicBool::new(false),
            options,
        }
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    fn events(&self) -> &Events {
        &self.options.events
    }

    /// # Errors
    /// [`Error::Closed`].
    pub(super) fn check_open(&self) -> Result<()> {
        // ORDER: Relaxed. A call beside a close may go either way.
        if self.closed.load(Ordering::Relaxed) { Err(Error::Closed) } else { Ok(()) }
    }

    /// The log of a store that can be written.
    fn wal(&self) -> Result<&Wal> {
        self.check_open()?;
        self.wal.as_ref().ok_or_else(|| Error::ReadOnly { dir: self.dir.path().to_path_buf() })
    }

    pub(super) fn write(self: &Arc<Self>, batch: WriteBatch, durability: Durability) -> Result<Lsn> {
        let wal = self.wal()?;
        let batch = batch.seal()?;
        if batch.len() == 0 {
            return Ok(self.tracker.visible());
        }
        self.events().tell(|| Event::Encoded { ops: batch.len(), bytes: batch.body().len() });
        let lsn = {
            let _commit = self.commit.lock();
            self.catalog.check(&batch).map_err(|NoSuchKeyspace(id)| unknown_keyspace(id))?;
            let lsn = wal.write(&[batch.body()])?;
            self.catalog.apply(lsn, &batch).map_err(|NoSuchKeyspace(id)| unknown_keyspace(id))?;
            self.applied(lsn, batch.len(), durability);
            lsn
        };
        self.finish(wal, lsn, durability)?;
        self.collect_garbage_of(&batch);
        Ok(lsn)
    }

    /// The keyspace of this name; logs its creation if there is none.
    pub(super) fn keyspace(self: &Arc<Self>, name: &str) -> Result<Arc<Space>> {
        if let Some(space) = self.catalog.find(name).filter(|space| space.created <= self.tracker.visible()) {
            return Ok(space);
        }
        let wal = self.wal()?;
        if name.is_empty() {
            let reason = "a keyspace needs a name".to_owned();
            return Err(Error::InvalidOption { option: "keyspace", reason });
        }
        if name.len() > MAX_KEY_BYTES {
            let (size, limit) = (name.len() as u64, MAX_KEY_BYTES as u64);
            return Err(Error::TooLarge { what: "keyspace's name", size, limit });
        }
        let commit = self.commit.lock();
        let space = match self.catalog.find(name) {
            // Another thread has just logged its creation: wait for that to be published.
            Some(space) => space,
            None => {
                let id = self.catalog.next_id();
                let op = Op::CreateKeyspace { id, name };
                let mut body = Vec::new();
                op.append_to(&mut body);
                let lsn = wal.write(&[&body])?;
                let created = self.catalog.apply_op(lsn, op).and_then(|()| self.catalog.get(id));
                let space = created.map_err(|NoSuchKeyspace(id)| unknown_keyspace(id))?;
                self.applied(lsn, 1, Durability::Sync);
                space
            }
        };
        drop(commit);
        self.finish(wal, space.created, Durability::Sync)?;
        Ok(space)
    }

    /// Takes note of a record that is logged and applied. Called under the commit lock.
    fn applied(&self, lsn: Lsn, ops: usize, durability: Durability) {
        let mut pending = self.pending.lock();
        pending.applied = lsn;
        if durability == Durability::Sync {
            pending.syncs.push_back(lsn);
        }
        drop(pending);
        self.events().tell(|| Event::Applied { lsn, ops });
    }

    /// Steps 4 and 5: returns when the record is as durable as was asked for, and visible.
    fn finish(self: &Arc<Self>, wal: &Wal, lsn: Lsn, durability: Durability) -> Result<()> {
        let within = match durability {
            Durability::Interval(delay) => Some(delay),
            Durability::Sync | Durability::Buffered => None,
        };
        self.keeper.wrote(within, || -> Weak<Store> { Arc::downgrade(self) });
        if durability == Durability::Sync {
            wal.wait_durable(lsn)?;
        }
        self.publish(wal);
        // A record that need not be durable itself may stand behind one that must: visibility keeps the log's order.
        while let Some(before) = self.held_back_by(lsn) {
            wal.wait_durable(before)?;
            self.publish(wal);
        }
        Ok(())
    }

    /// The record that must be durable before `lsn` can be published, if `lsn` is not published yet.
    fn held_back_by(&self, lsn: Lsn) -> Option<Lsn> {
        if self.tracker.visible() >= lsn {
            return None;
        }
        self.pending.lock().syncs.front().copied().filter(|first| *first <= lsn)
    }

    fn publish(&self, wal: &Wal) {
        let mut pending = self.pending.lock();
        let visible = pending.publishable(wal.durable_lsn());
        let moved = visible > self.tracker.visible();
        // Under the lock, so that `applied` cannot be ahead of what was published with it.
        self.tracker.publish(visible);
        drop(pending);
        if moved {
            self.events().tell(|| Event::Published { visible });
        }
    }

    /// What a write makes superfluous, it also removes, as far as it can be removed by now.
    fn collect_garbage_of(&self, batch: &SealedBatch) {
        let mut last = None;
        for (id, ..) in batch.changes() {
            if last != Some(id)
                && let Ok(space) = self.catalog.get(id)
            {
                space.table.collect_garbage(batch.len() + 1);
            }
            last = Some(id);
        }
    }

    /// Collects garbage in all keyspaces, in up to `budget` blocks of each.
    pub(super) fn collect_garbage(&self, budget: usize) {
        for space in self.catalog.all() {
            space.table.collect_garbage(budget);
        }
    }

    pub(super) fn durable(&self) -> Lsn {
        // A store that was opened for reading only knows what the files prove.
        self.wal.as_ref().map_or(self.report.log.proven_lsn, Wal::durable_lsn)
    }

    pub(super) fn sync(&self) -> Result<Lsn> {
        let wal = self.wal()?;
        let durable = wal.sync()?;
        self.publish(wal);
        Ok(durable)
    }

    pub(super) fn wait_durable(&self, lsn: Lsn) -> Result<()> {
        let wal = self.wal()?;
        wal.wait_durable(lsn)?;
        self.publish(wal);
        Ok(())
    }

    /// See [`Db::mark`](super::Db::mark). The commit lock is held for the write alone, not for the syncs around it.
    pub(super) fn mark(&self) -> Result<()> {
        let wal = self.wal()?;
        wal.sync()?;
        let lsn = {
            let _commit = self.commit.lock();
            let lsn = wal.write_mark()?;
            if let Some(lsn) = lsn {
                self.pending.lock().applied = lsn;
            }
            lsn
        };
        if let Some(lsn) = lsn {
            wal.wait_durable(lsn)?;
        }
        self.publish(wal);
        Ok(())
    }

    pub(super) fn close(&self) -> Result<()> {
        self.keeper.stop();
        let _commit = self.commit.lock();
        // ORDER: Relaxed, see `check_open`; writers are kept out by the commit lock and by the log itself.
        if self.closed.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        self.lock.lock().take();
        let Some(wal) = &self.wal else { return Ok(()) };
        wal.close()?;
        self.pending.lock().applied = wal.last_lsn();
        self.publish(wal);
        Ok(())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Whoever wants to know whether this worked calls `close`.
        let _ = self.close();
    }
}

impl Kept for Store {
    fn sync(&self) {
        // A failure poisons the log: the next writer hears of it.
        let _ = Store::sync(self);
    }

    fn mark(&self) {
        let _ = Store::mark(self);
        self.collect_garbage(usize::MAX);
    }
}
