//! The keyspaces of a store: their names, numbers and memtables, and how a batch is applied to them.
//!
//! Commit and recovery apply through the same code, so what is replayed is what was done.
//!
//! A keyspace is created and dropped by logged operations like any others. Its number is never used again: records that
//! are older than a keyspace can never be taken for its own, nor those of a dropped one for anybody's.
//!
//! ```text
//!   LSN    created                     dropped
//!   ───────●───────────────────────────●──────────────────▶
//!          │ there for readers as of   │ kept in memory until no snapshot
//!          │ these LSNs                │ from before is left
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use parking_lot::RwLock;

use crate::batch::SealedBatch;
use crate::format::{KeyspaceId, Op};
use crate::lsn::Lsn;
use crate::memtable::{Memtable, Tracker};

/// The name of the keyspace that every store has.
pub const DEFAULT_KEYSPACE: &str = "default";

/// Behind everything that was logged: only what is dropped is not there.
const END: Lsn = Lsn::MAX.previous();

/// A keyspace with its keys.
#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) id: KeyspaceId,
    pub(crate) name: Arc<str>,
    /// The LSN that created it. Readers see it from then on.
    pub(crate) created: Lsn,
    /// [`Lsn::MAX`] as long as nothing has dropped it. (Not one of `crate::sync`: under shuttle those give the turn away, and
    /// this is read with the catalog's lock held, of which shuttle knows nothing.)
    dropped: AtomicU64,
    pub(crate) table: Arc<Memtable>,
}

impl Space {
    fn new(id: KeyspaceId, name: &str, created: Lsn, table: Arc<Memtable>) -> Arc<Space> {
        let dropped = AtomicU64::new(Lsn::MAX.get());
        Arc::new(Space { id, name: name.into(), created, dropped, table })
    }

    /// The LSN that dropped it; [`Lsn::MAX`] for none. Readers see it until then.
    pub(crate) fn dropped(&self) -> Lsn {
        // ORDER: Relaxed. It is set with the turn, by which writes are judged, and before its LSN is published, by which
        // readers see.
        Lsn::new(self.dropped.load(Ordering::Relaxed))
    }

    /// Whether it is there for a reader as of this LSN.
    pub(crate) fn is_at(&self, lsn: Lsn) -> bool {
        self.created <= lsn && lsn < self.dropped()
    }
}

/// All keyspaces.
#[derive(Debug)]
pub(crate) struct Catalog {
    tracker: Arc<Tracker>,
    /// Held for a look-up or an insertion, never while a table is used. With the dropped ones that somebody may still see.
    spaces: RwLock<Spaces>,
    /// The keyspace that needs no look-up.
    default: Arc<Space>,
}

#[derive(Debug)]
struct Spaces {
    by_id: BTreeMap<KeyspaceId, Arc<Space>>,
    /// The highest number of those that are forgotten.
    gone: KeyspaceId,
}

impl Spaces {
    fn last_id(&self) -> KeyspaceId {
        self.by_id.last_key_value().map_or(self.gone, |(id, _)| self.gone.max(*id))
    }
}

/// An operation names a keyspace that is not there, or creates one that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoSuchKeyspace(pub(crate) KeyspaceId);

impl Catalog {
    /// The default keyspace alone, without a key.
    pub(crate) fn new(tracker: Arc<Tracker>) -> Catalog {
        let table = Arc::new(Memtable::new(tracker.clone()));
        let default = Space::new(KeyspaceId::DEFAULT, DEFAULT_KEYSPACE, Lsn::ZERO, table);
        let by_id = BTreeMap::from([(default.id, default.clone())]);
        Catalog { tracker, spaces: RwLock::new(Spaces { by_id, gone: default.id }), default }
    }

    pub(crate) fn default_space(&self) -> &Arc<Space> {
        &self.default
    }

    pub(crate) fn get(&self, id: KeyspaceId) -> Result<Arc<Space>, NoSuchKeyspace> {
        if id == KeyspaceId::DEFAULT {
            return Ok(self.default.clone());
        }
        self.spaces.read().by_id.get(&id).cloned().ok_or(NoSuchKeyspace(id))
    }

    /// The keyspace that has this name behind all that is logged, visible or not.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Space>> {
        self.find_at(name, END)
    }

    /// The keyspace that has this name for readers as of this LSN.
    pub(crate) fn find_at(&self, name: &str, lsn: Lsn) -> Option<Arc<Space>> {
        let spaces = self.spaces.read();
        spaces.by_id.values().find(|space| &*space.name == name && space.is_at(lsn)).cloned()
    }

    /// All keyspaces in the order of their numbers, the dropped ones included that somebody may still see.
    pub(crate) fn all(&self) -> Vec<Arc<Space>> {
        self.spaces.read().by_id.values().cloned().collect()
    }

    /// All keyspaces in the order of their numbers that are there for readers as of this LSN.
    pub(crate) fn all_at(&self, lsn: Lsn) -> Vec<Arc<Space>> {
        self.spaces.read().by_id.values().filter(|space| space.is_at(lsn)).cloned().collect()
    }

    /// A number that no keyspace has had; `None` if there is none left.
    pub(crate) fn next_id(&self) -> Option<KeyspaceId> {
        self.spaces.read().last_id().0.checked_add(1).map(KeyspaceId)
    }

    /// The highest number that had been given out as of an LSN, at which there is a snapshot.
    pub(crate) fn last_id_at(&self, lsn: Lsn) -> KeyspaceId {
        let spaces = self.spaces.read();
        let known = spaces.by_id.values().filter(|space| space.created <= lsn).map(|space| space.id);
        // What is forgotten was dropped before the oldest snapshot.
        known.max().map_or(spaces.gone, |id| spaces.gone.max(id))
    }

    /// Takes note of a number whose keyspace is gone.
    pub(crate) fn note_gone(&self, id: KeyspaceId) {
        let mut spaces = self.spaces.write();
        spaces.gone = spaces.gone.max(id);
    }

    /// Checks that every keyspace of a batch exists and is not dropped, so that applying it cannot fail.
    pub(crate) fn check(&self, batch: &SealedBatch) -> Result<(), NoSuchKeyspace> {
        batch.changes().try_for_each(|(id, ..)| match id {
            KeyspaceId::DEFAULT => Ok(()),
            id => self.get(id)?.is_at(END).then_some(()).ok_or(NoSuchKeyspace(id)),
        })
    }

    /// Applies a checked batch. Invisible until its LSN is published.
    pub(crate) fn apply(&self, lsn: Lsn, batch: &SealedBatch) -> Result<(), NoSuchKeyspace> {
        batch.changes().try_for_each(|(id, key, value)| self.apply_change(lsn, id, key, value))
    }

    /// Applies one operation of a batch that was read from the log.
    pub(crate) fn apply_op(&self, lsn: Lsn, op: Op<'_>) -> Result<(), NoSuchKeyspace> {
        match op {
            Op::Put { keyspace, key, value } => self.apply_change(lsn, keyspace, key, Some(value)),
            Op::Delete { keyspace, key } => self.apply_change(lsn, keyspace, key, None),
            Op::CreateKeyspace { id, name } => self.create(lsn, id, name, self.new_table()),
            Op::DropKeyspace { id } => self.drop_keyspace(lsn, id),
        }
    }

    fn apply_change(
        &self,
        lsn: Lsn,
        id: KeyspaceId,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), NoSuchKeyspace> {
        if id == KeyspaceId::DEFAULT {
            self.default.table.apply(lsn, key, value);
        } else {
            self.get(id)?.table.apply(lsn, key, value);
        }
        Ok(())
    }

    /// The clock of all tables.
    pub(crate) fn tracker(&self) -> &Arc<Tracker> {
        &self.tracker
    }

    /// An empty table under that clock.
    pub(crate) fn new_table(&self) -> Arc<Memtable> {
        Arc::new(Memtable::new(self.tracker.clone()))
    }

    /// A keyspace like this one without a key, for whoever reads as of when it is gone.
    pub(crate) fn emptied(&self, space: &Space) -> Arc<Space> {
        Space::new(space.id, &space.name, space.created, self.new_table())
    }

    /// Enters a keyspace. Readers see it once the LSN that created it is published.
    pub(crate) fn create(
        &self,
        lsn: Lsn,
        id: KeyspaceId,
        name: &str,
        table: Arc<Memtable>,
    ) -> Result<(), NoSuchKeyspace> {
        let mut spaces = self.spaces.write();
        let in_use = spaces.by_id.values().any(|space| &*space.name == name && space.is_at(END));
        if id <= spaces.last_id() || in_use {
            return Err(NoSuchKeyspace(id));
        }
        spaces.by_id.insert(id, Space::new(id, name, lsn, table));
        Ok(())
    }

    /// Drops a keyspace. Readers see it until the LSN that drops it is published.
    pub(crate) fn drop_keyspace(&self, lsn: Lsn, id: KeyspaceId) -> Result<(), NoSuchKeyspace> {
        let space = self.get(id)?;
        if id == KeyspaceId::DEFAULT || !space.is_at(END) {
            return Err(NoSuchKeyspace(id));
        }
        // ORDER: Relaxed, see `Space::dropped`.
        space.dropped.store(lsn.get(), Ordering::Relaxed);
        Ok(())
    }

    /// Forgets the dropped keyspaces that no reader can see any more, and no record to come belongs to. What they held is
    /// freed by a thread of its own, because that may take seconds, in which syncs may be due; or by whoever has a handle of
    /// one, or a snapshot, and drops that last.
    pub(crate) fn forget_dropped(&self) {
        // ORDER: what is visible first. A snapshot that is taken later is not below it, and one from before is among those
        // that `oldest_snapshot` knows, which waits for whoever is just being taken.
        let visible = self.tracker.visible();
        let oldest = self.tracker.oldest_snapshot().unwrap_or(visible).min(visible);
        let forgotten: Vec<_> = {
            let mut spaces = self.spaces.write();
            let dropped = spaces.by_id.values().filter(|space| space.dropped() <= oldest);
            let ids: Vec<_> = dropped.map(|space| space.id).collect();
            spaces.gone = ids.last().map_or(spaces.gone, |id| spaces.gone.max(*id));
            ids.iter().filter_map(|id| spaces.by_id.remove(id)).collect()
        };
        if !forgotten.is_empty() {
            let freeing = thread::Builder::new().name("forelog-free".to_owned());
            // Without a thread it is freed here.
            let _ = freeing.spawn(move || drop(forgotten));
        }
    }
}

#[cfg(test)]
mod tests {
    //! Shows when a dropped keyspace is gone from memory, and that its number is not forgotten with it.
    use super::*;

    const A: KeyspaceId = KeyspaceId(1);

    #[test]
    fn what_is_dropped_is_freed_when_nobody_can_see_it() {
        let tracker = Tracker::new(Lsn::ZERO);
        let catalog = Catalog::new(tracker.clone());
        catalog.create(Lsn::new(1), A, "a", catalog.new_table()).unwrap();
        let table = Arc::downgrade(&catalog.get(A).unwrap().table);
        tracker.publish(Lsn::new(1));
        let before = tracker.snapshot();
        catalog.drop_keyspace(Lsn::new(2), A).unwrap();
        let is_there = || {
            catalog.forget_dropped();
            assert_eq!(catalog.next_id(), Some(KeyspaceId(2)));
            table.upgrade().is_some()
        };
        assert!(is_there(), "it is not published");
        tracker.publish(Lsn::new(2));
        assert!(is_there(), "a snapshot sees it");
        assert_eq!((catalog.all_at(before.lsn()).len(), catalog.all_at(Lsn::new(2)).len()), (2, 1));
        let at_the_end = tracker.snapshot();
        drop(before);
        let began = std::time::Instant::now();
        while is_there() {
            assert!(began.elapsed().as_secs() < 60, "it is not freed");
            thread::yield_now();
        }
        assert_eq!(catalog.last_id_at(at_the_end.lsn()), A);
        assert!(catalog.create(Lsn::new(3), A, "again", catalog.new_table()).is_err());
    }
}
