//! A keyspace: an independent ordered map in the same log; making and dropping it.

use std::ops::RangeBounds;
use std::sync::Arc;

use super::store::Store;
use super::{Db, Snapshot};
use crate::batch::{KeyspaceRef, WriteBatch};
use crate::catalog::Space;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::format::KeyspaceId;
use crate::lsn::Lsn;
use crate::memtable::{Range, Value};

/// An independent ordered map of a store: see [`Db::keyspace`]. Cheap to clone.
///
/// Its writes go to the store's one log, so a batch may span keyspaces and everything has one order.
///
/// ```
/// use forelog::{DEFAULT_KEYSPACE, Db, Keyspace};
///
/// let dir = tempfile::tempdir()?;
/// let db = Db::open(dir.path().join("data"))?;
/// let users: Keyspace = db.keyspace("users")?;
/// users.put("1", "alice")?;
/// users.put("2", "bob")?;
/// assert_eq!((users.approximate_len(), db.approximate_len()), (2, 0));
/// assert_eq!(users.pop_last()?.map(|entry| entry.into_value()).unwrap(), "bob");
///
/// assert_eq!(db.keyspaces(), [DEFAULT_KEYSPACE, "users"]);
/// assert_eq!(db.find_keyspace("users").map(|found| found.id()), Some(users.id()));
/// assert!(db.find_keyspace("user").is_none()); // a slip of the pen makes none
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Keyspace {
    db: Db,
    space: Arc<Space>,
}

impl Db {
    /// The keyspace of this name; creates it, durably, where there is none.
    ///
    /// # Errors
    /// As [`Db::put`].
    ///
    /// ```
    /// use forelog::{Db, WriteBatch};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path().join("data"))?;
    /// let users = db.keyspace("users")?;
    /// let emails = db.keyspace("emails")?;
    /// let mut batch = WriteBatch::new(); // one batch may span keyspaces
    /// batch.put_in(&users, "1", "alice");
    /// batch.put_in(&emails, "alice@example.org", "1");
    /// db.write(batch)?;
    /// assert_eq!(users.get("1")?.as_deref(), Some(&b"alice"[..]));
    /// assert!(db.get("1")?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keyspace(&self, name: &str) -> Result<Keyspace> {
        let space = self.store().keyspace(name)?;
        Ok(Keyspace::new(self.clone(), space))
    }

    /// The keyspace of this name, if there is one.
    pub fn find_keyspace(&self, name: &str) -> Option<Keyspace> {
        let space = self.store().catalog.find_at(name, self.visible_lsn())?;
        Some(Keyspace::new(self.clone(), space))
    }

    /// The names of all keyspaces, in the order of their creation; the default one comes first.
    pub fn keyspaces(&self) -> Vec<String> {
        let spaces = self.store().catalog.all_at(self.visible_lsn());
        spaces.into_iter().map(|space| space.name.to_string()).collect()
    }

    /// Drops a keyspace with all its keys, in one step and one short record; durable when it returns, with its LSN. Its name
    /// is free for a new one.
    ///
    /// A snapshot from before has it still. A handle of it reads nothing any more and its writes are
    /// [`Error::UnknownKeyspace`], also when there is a new keyspace of that name. The memory is freed with the next mark
    /// (100 ms after the last write) or checkpoint for which no snapshot from before is left, or with the last handle.
    /// Who gets or creates the keyspace at the same time may have got the one that is dropped.
    ///
    /// # Errors
    /// [`Error::UnknownKeyspace`] if there is none; [`Error::InvalidOption`] for the default one, which every store has;
    /// otherwise as [`Db::put`].
    ///
    /// ```
    /// use forelog::Db;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path().join("data"))?;
    /// let cache = db.keyspace("cache")?;
    /// cache.put("a", "1")?;
    /// let before = cache.snapshot();
    /// db.drop_keyspace("cache")?;
    /// assert_eq!(db.keyspaces(), ["default"]);
    /// assert!(cache.put("b", "2").is_err());
    /// assert!(before.contains("a"));
    /// assert!(db.keyspace("cache")?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drop_keyspace(&self, name: &str) -> Result<Lsn> {
        self.store().drop_keyspace(name)
    }
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
    /// [`Error::Closed`]; [`Error::UnknownKeyspace`] if it was dropped.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.db.store().check_open()?;
        self.store().check_there(&self.space)?;
        Ok(self.space.table.get(key.as_ref()))
    }

    /// True if the keyspace has the key.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.get(key)?.is_some())
    }

    /// The entries in a range of keys, in order, as of now; none if it was dropped. As [`Db::range`].
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
