//! The keyspaces of a store: their names, numbers and memtables, and how a batch is applied to them.
//!
//! Commit and recovery apply through the same code, so what is replayed is what was done.
//!
//! A keyspace is created by a logged operation like any other. Its number is never used again: records that are older
//! than a keyspace can never be taken for its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::batch::SealedBatch;
use crate::format::{KeyspaceId, Op};
use crate::lsn::Lsn;
use crate::memtable::{Memtable, Tracker};

/// The name of the keyspace that every store has.
pub const DEFAULT_KEYSPACE: &str = "default";

/// A keyspace with its keys.
#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) id: KeyspaceId,
    pub(crate) name: Arc<str>,
    /// The LSN that created it. Readers see it from then on.
    pub(crate) created: Lsn,
    pub(crate) table: Arc<Memtable>,
}

/// All keyspaces.
#[derive(Debug)]
pub(crate) struct Catalog {
    tracker: Arc<Tracker>,
    /// Held for a look-up or an insertion, never while a table is used.
    spaces: RwLock<BTreeMap<KeyspaceId, Arc<Space>>>,
    /// The keyspace that needs no look-up.
    default: Arc<Space>,
}

/// An operation names a keyspace that is not there, or creates one that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoSuchKeyspace(pub(crate) KeyspaceId);

impl Catalog {
    /// The default keyspace alone, without a key.
    pub(crate) fn new(tracker: Arc<Tracker>) -> Catalog {
        let default = Arc::new(Space {
            id: KeyspaceId::DEFAULT,
            name: DEFAULT_KEYSPACE.into(),
            created: Lsn::ZERO,
            table: Arc::new(Memtable::new(tracker.clone())),
        });
        let spaces = RwLock::new(BTreeMap::from([(default.id, default.clone())]));
        Catalog { tracker, spaces, default }
    }

    pub(crate) fn default_space(&self) -> &Arc<Space> {
        &self.default
    }

    pub(crate) fn get(&self, id: KeyspaceId) -> Result<Arc<Space>, NoSuchKeyspace> {
        if id == KeyspaceId::DEFAULT {
            return Ok(self.default.clone());
        }
        self.spaces.read().get(&id).cloned().ok_or(NoSuchKeyspace(id))
    }

    /// The keyspace of this name, created visibly or not.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Space>> {
        self.spaces.read().values().find(|space| &*space.name == name).cloned()
    }

    /// All keyspaces in the order of their numbers.
    pub(crate) fn all(&self) -> Vec<Arc<Space>> {
        self.spaces.read().values().cloned().collect()
    }

    /// A number that no keyspace has had; `None` if there is none left.
    pub(crate) fn next_id(&self) -> Option<KeyspaceId> {
        let last = self.spaces.read().last_key_value().map_or(0, |(id, _)| id.0);
        last.checked_add(1).map(KeyspaceId)
    }

    /// Checks that every keyspace of a batch exists, so that applying it cannot fail.
    pub(crate) fn check(&self, batch: &SealedBatch) -> Result<(), NoSuchKeyspace> {
        batch.changes().try_for_each(|(id, ..)| match id {
            KeyspaceId::DEFAULT => Ok(()),
            id => self.get(id).map(|_| ()),
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

    /// Enters a keyspace. Readers see it once the LSN that created it is published.
    pub(crate) fn create(
        &self,
        lsn: Lsn,
        id: KeyspaceId,
        name: &str,
        table: Arc<Memtable>,
    ) -> Result<(), NoSuchKeyspace> {
        let mut spaces = self.spaces.write();
        if spaces.contains_key(&id) || spaces.values().any(|space| &*space.name == name) {
            return Err(NoSuchKeyspace(id));
        }
        spaces.insert(id, Arc::new(Space { id, name: name.into(), created: lsn, table }));
        Ok(())
    }
}
