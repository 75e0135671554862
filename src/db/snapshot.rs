//! A read view of one keyspace, pinned at an LSN.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use super::keyspace::Keyspace;
use super::store::Store;
use crate::catalog::Space;
use crate::error::{Error, Result};
use crate::lsn::Lsn;
use crate::memtable::{self, KeyRange, Range, Value};

/// A read view of one keyspace that stays as it was, whatever is written since.
///
/// It holds no lock and may be kept as long as one likes; the versions that only it can see stay in memory so long.
///
/// ```
/// use forelog::Db;
///
/// let dir = tempfile::tempdir()?;
/// let db = Db::open(dir.path().join("data"))?;
/// db.put("a", "old")?;
/// let snapshot = db.snapshot();
/// db.put("a", "new")?;
/// assert_eq!(snapshot.get("a").as_deref(), Some(&b"old"[..]));
/// assert_eq!(db.get("a")?.as_deref(), Some(&b"new"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Dropped before the store is asked to collect what it pinned.
    pin: Option<memtable::Snapshot>,
    lsn: Lsn,
    space: Arc<Space>,
    store: Arc<Store>,
}

impl Snapshot {
    pub(super) fn new(store: &Arc<Store>, space: &Arc<Space>) -> Snapshot {
        let pin = store.tracker.snapshot();
        let lsn = pin.lsn();
        Snapshot { lsn, pin: Some(pin), space: there_at(store, space, lsn), store: store.clone() }
    }

    /// The LSN whose state this is.
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// The same moment, in another keyspace of the same store. One that was dropped by then is empty.
    ///
    /// # Errors
    /// [`Error::UnknownKeyspace`](crate::Error::UnknownKeyspace) for the keyspace of another store.
    ///
    /// ```
    /// use forelog::{Db, Snapshot};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path().join("data"))?;
    /// let (users, emails) = (db.keyspace("users")?, db.keyspace("emails")?);
    /// let of_users: Snapshot = users.snapshot();
    /// emails.put("alice@example.org", "1")?;
    /// let of_emails = of_users.keyspace(&emails)?;
    /// assert_eq!((of_emails.lsn(), of_emails.len()), (of_users.lsn(), 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keyspace(&self, keyspace: &Keyspace) -> Result<Snapshot> {
        // Not by its number, which another store may have given to a keyspace of its own.
        if !keyspace.is_in(&self.store) {
            return Err(Error::UnknownKeyspace { name: keyspace.name().to_owned() });
        }
        Ok(self.of(keyspace.space()))
    }

    /// The same moment, in another keyspace of the same store.
    pub(super) fn of(&self, space: &Arc<Space>) -> Snapshot {
        let mut there = self.clone();
        there.space = there_at(&self.store, space, self.lsn);
        there
    }

    /// The value that the key had.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Value> {
        self.space.table.get_at(key.as_ref(), self.lsn)
    }

    /// True if there was such a key.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> bool {
        self.get(key).is_some()
    }

    /// The entries in a range of keys, in order; `rev()` goes backward.
    pub fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Range {
        self.entries(key_range(&range))
    }

    /// The entries whose keys begin so, in order.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Range {
        self.entries(prefix_range(prefix.as_ref()))
    }

    /// All entries, in order.
    pub fn iter(&self) -> Range {
        self.entries((Bound::Unbounded, Bound::Unbounded))
    }

    pub(super) fn entries(&self, range: KeyRange) -> Range {
        // The pin is there until the snapshot is dropped; without it, a new one would show what is visible now.
        let pin = self.pin.clone().unwrap_or_else(|| self.store.tracker.snapshot());
        self.space.table.range(range, pin)
    }
}

/// The keyspace, or, if it was dropped by then, an empty one.
fn there_at(store: &Store, space: &Arc<Space>, lsn: Lsn) -> Arc<Space> {
    if space.dropped() <= lsn { store.catalog.emptied(space) } else { space.clone() }
}

/// How many blocks of each keyspace are looked at when a snapshot ends.
const GARBAGE_BUDGET: usize = 64;

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.pin.take();
        self.store.collect_garbage(GARBAGE_BUDGET);
    }
}

/// A range of keys as the memtable takes it.
pub(super) fn key_range<K: AsRef<[u8]>>(range: &impl RangeBounds<K>) -> KeyRange {
    let owned = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
    (owned(range.start_bound()), owned(range.end_bound()))
}

/// The range of the keys that begin so.
pub(super) fn prefix_range(prefix: &[u8]) -> KeyRange {
    let end = after_prefix(prefix).map_or(Bound::Unbounded, Bound::Excluded);
    (Bound::Included(prefix.to_vec()), end)
}

/// The first key after all keys with this prefix; `None` if there is none.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.len() - prefix.iter().rev().take_while(|byte| **byte == 0xff).count();
    let mut end = prefix[..kept].to_vec();
    *end.last_mut()? += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    //! Shows where a prefix ends.
    use super::*;

    #[test]
    fn ends_of_prefixes() {
        for (prefix, end) in [
            (&b"a"[..], Some(&b"b"[..])),
            (b"a\xff", Some(b"b")),
            (b"a\xff\x01", Some(b"a\xff\x02")),
            (b"", None),
            (b"\xff\xff", None),
        ] {
            assert_eq!(after_prefix(prefix).as_deref(), end, "{prefix:?}");
        }
    }
}
