//! A keyspace: an independent ordered map in the same log.

use std::ops::RangeBounds;
use std::sync::Arc;

use super::store::Store;
use super::{Db, Snapshot};
use crate::batch::{KeyspaceRef, WriteBatch};
use crate::catalog::Space;
use crate::error::Result;
use crate::format::KeyspaceId;
use crate::lsn::Lsn;
use crate::memtable::{Range, Value};

/// An independent ordered map of a store: see [`Db::keyspace`]. Cheap to clone.
///
/// Its writes go to the store's one log, so a batch may span keyspaces and everything has one order.
#[derive(Clone, Debug)]
pub struct Keyspace {
    db: Db,
    space: Arc<Space>,
}

impl Keyspace {
    pub(super) fn new(db: Db, space: Arc<Space>) -> Keyspace {
        Keyspace { db, space }
    }

    pub(super) fn space(&self) -> &Arc<Space> {
        &self.space
    }

    pub(super) fn db(&self) -> &Db {
        &self.db
    }

    pub(super) fn store(&self) -> &Arc<Store> {
        self.db.store()
    }

    pub(super) fn is_in(&self, store: &Arc<Store>) -> bool {
        Arc::ptr_eq(self.db.store(), store)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.space.name
    }

    /// Its number, as the log has it.
    pub fn id(&self) -> KeyspaceId {
        self.space.id
    }

    /// Sets a key. As [`Db::put`].
    ///
    /// # Errors
    /// As [`Db::put`].
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Lsn> {
        let mut batch = WriteBatch::new();
        batch.put_in(self, key, value);
        self.db.write(batch)
    }

    /// Removes a key; no difference if it is absent. As [`Db::delete`].
    ///
    /// # Errors
    /// As [`Db::put`].
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<Lsn> {
        let mut batch = WriteBatch::new();
        batch.delete_in(self, key);
        self.db.write(batch)
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed).
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.db.store().check_open()?;
        Ok(self.space.table.get(key.as_ref()))
    }

    /// True if the keyspace has the key.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed).
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.get(key)?.is_some())
    }

    /// The entries in a range of keys, in order, as of now. As [`Db::range`].
    pub fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Range {
        self.snapshot().range(range)
    }

    /// The entries whose keys begin so, in order, as of now.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Range {
        self.snapshot().prefix(prefix)
    }

    /// All entries, in order, as of now.
    pub fn iter(&self) -> Range {
        self.snapshot().iter()
    }

    /// A read view that stays as it is now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.db.store(), &self.space)
    }
}

impl From<&Keyspace> for KeyspaceRef {
    fn from(keyspace: &Keyspace) -> KeyspaceRef {
        KeyspaceRef::of_store(keyspace.id(), keyspace.db.store().store_id)
    }
}
