//! Writes that depend on the value that a key has: compare and swap, and what is built on it.
//!
//! ```text
//!   A  swaps 1 for 2 ──▶ ┌ line ┐ ──▶ judged by 1: logged as LSN 8
//!   B  swaps 1 for 3 ──▶ └──────┘ ──▶ judged by 2, which A has just applied: refused, no LSN
//! ```
//!
//! The comparison is made where writes have their order, so there is no gap between it and the write.
//!
//! Where to read next: `judge`; `transaction`, for more than one key.

use std::fmt;
use std::sync::Arc;

use super::judge::Condition;
use super::store::Store;
use super::{Db, Keyspace};
use crate::batch::WriteBatch;
use crate::catalog::Space;
use crate::error::Result;
use crate::format::KeyspaceId;
use crate::lsn::Lsn;
use crate::memtable::Value;

/// A comparison that failed: nothing was written. See [`Db::compare_and_swap`].
///
/// ```
/// use forelog::{Db, Differs};
///
/// let dir = tempfile::tempdir()?;
/// let db = Db::open(dir.path().join("data"))?;
/// let claim = |name: &str| db.compare_and_swap("leader", None::<&str>, Some(name));
/// assert!(claim("a")?.is_ok());
/// let refusal: Differs = claim("b")?.unwrap_err();
/// assert_eq!(refusal.to_string(), "the key has another value: b\"a\"");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differs {
    /// The value that the key has; `None` if it has none.
    pub current: Option<Value>,
}

impl fmt::Display for Differs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.current {
            Some(value) => write!(f, "the key has another value: {value:?}"),
            None => write!(f, "the key has no value"),
        }
    }
}

impl std::error::Error for Differs {}

impl Db {
    /// Writes `new` to a key of the default keyspace if it has the value `expected`; `None` is for absence, so
    /// `(Some, None)` deletes and `(None, Some)` inserts. Nobody writes the key between the comparison and the write.
    ///
    /// Returns the LSN of the write, or [`Differs`] with the value that is there: a result, not an error. It has not
    /// been written then, and what it was compared with can be read by everybody.
    ///
    /// # Errors
    /// As [`Db::put`].
    ///
    /// ```
    /// use forelog::Db;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path().join("data"))?;
    /// assert!(db.compare_and_swap("leader", None::<&str>, Some("a"))?.is_ok());
    /// match db.compare_and_swap("leader", None::<&str>, Some("b"))? {
    ///     Ok(lsn) => panic!("written as {lsn}"),
    ///     Err(differs) => assert_eq!(differs.current.as_deref(), Some(&b"a"[..])),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn compare_and_swap(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<impl AsRef<[u8]>>,
        new: Option<impl AsRef<[u8]>>,
    ) -> Result<Result<Lsn, Differs>> {
        self.default_key(key.as_ref()).compare_and_swap(bytes(&expected), bytes(&new))
    }

    /// Replaces the value of a key of the default keyspace by what `update` makes of it, and returns the value before.
    /// `None` is for absence, both ways.
    ///
    /// `update` is called again when somebody else has written meanwhile: only the last call counts. Nothing is written
    /// where it makes nothing of nothing.
    ///
    /// # Errors
    /// As [`Db::put`].
    ///
    /// ```
    /// use forelog::Db;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path().join("data"))?;
    /// let next = |old: Option<&[u8]>| {
    ///     let old = old.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes);
    ///     Some((old + 1).to_be_bytes())
    /// };
    /// assert!(db.fetch_update("counter", next)?.is_none());
    /// assert_eq!(db.fetch_update("counter", next)?.as_deref(), Some(&1_u64.to_be_bytes()[..]));
    /// assert_eq!(db.update_fetch("counter", next)?.as_deref(), Some(&3_u64.to_be_bytes()[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fetch_update<V: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        update: impl FnMut(Option<&[u8]>) -> Option<V>,
    ) -> Result<Option<Value>> {
        Ok(self.default_key(key.as_ref()).update(update)?.0)
    }

    /// As [`Db::fetch_update`], but returns the value after it.
    ///
    /// # Errors
    /// As [`Db::put`].
    pub fn update_fetch<V: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        update: impl FnMut(Option<&[u8]>) -> Option<V>,
    ) -> Result<Option<Value>> {
        Ok(self.default_key(key.as_ref()).update(update)?.1)
    }

    fn default_key<'a>(&'a self, key: &'a [u8]) -> Key<'a> {
        Key { store: self.store(), space: self.store().catalog.default_space(), key }
    }
}

impl Keyspace {
    /// Writes `new` to a key if it has the value `expected`. As [`Db::compare_and_swap`].
    ///
    /// # Errors
    /// As [`Db::put`].
    pub fn compare_and_swap(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<impl AsRef<[u8]>>,
        new: Option<impl AsRef<[u8]>>,
    ) -> Result<Result<Lsn, Differs>> {
        self.key(key.as_ref()).compare_and_swap(bytes(&expected), bytes(&new))
    }

    /// Replaces the value of a key by what `update` makes of it, and returns the value before. As [`Db::fetch_update`].
    ///
    /// # Errors
    /// As [`Db::put`].
    pub fn fetch_update<V: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        update: impl FnMut(Option<&[u8]>) -> Option<V>,
    ) -> Result<Option<Value>> {
        Ok(self.key(key.as_ref()).update(update)?.0)
    }

    /// As [`Keyspace::fetch_update`], but returns the value after it.
    ///
    /// # Errors
    /// As [`Db::put`].
    pub fn update_fetch<V: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        update: impl FnMut(Option<&[u8]>) -> Option<V>,
    ) -> Result<Option<Value>> {
        Ok(self.key(key.as_ref()).update(update)?.1)
    }

    fn key<'a>(&'a self, key: &'a [u8]) -> Key<'a> {
        Key { store: self.store(), space: self.space(), key }
    }
}

fn bytes(value: &Option<impl AsRef<[u8]>>) -> Option<&[u8]> {
    value.as_ref().map(AsRef::as_ref)
}

/// One key of one keyspace.
struct Key<'a> {
    store: &'a Arc<Store>,
    space: &'a Arc<Space>,
    key: &'a [u8],
}

impl Key<'_> {
    fn compare_and_swap(&self, expected: Option<&[u8]>, new: Option<&[u8]>) -> Result<Result<Lsn, Differs>> {
        let mut batch = WriteBatch::new();
        let id: KeyspaceId = self.space.id;
        match new {
            Some(value) => batch.put_in(id, self.key, value),
            None => batch.delete_in(id, self.key),
        }
        let (space, key) = (self.space.clone(), self.key.to_vec());
        let condition = Condition::Holds { space, key, expected: expected.map(<[u8]>::to_vec) };
        let written = self.store.write_if(batch, self.store.options().durability, Some(condition))?;
        Ok(written.map_err(|refusal| Differs { current: refusal.current }))
    }

    /// The value before, and after.
    fn update<V: AsRef<[u8]>>(
        &self,
        mut update: impl FnMut(Option<&[u8]>) -> Option<V>,
    ) -> Result<(Option<Value>, Option<Value>)> {
        self.store.wal()?;
        self.store.check_there(self.space)?;
        let mut old = self.space.table.get(self.key);
        loop {
            let new = update(old.as_deref());
            if old.is_none() && new.is_none() {
                return Ok((None, None));
            }
            match self.compare_and_swap(old.as_deref(), bytes(&new))? {
                Ok(_) => return Ok((old, new.map(|new| Value::new(new.as_ref())))),
                Err(differs) => old = differs.current,
            }
        }
    }
}
