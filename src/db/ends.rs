//! The first and the last key, how many there are, and removing them: small things over ranges and transactions.

use std::ops::RangeBounds;

use super::snapshot::key_range;
use super::transaction::TransactionKeyspace;
use super::{Db, Keyspace, Snapshot, Transaction};
use crate::error::Result;
use crate::memtable::Entry;

impl Snapshot {
    /// The entry with the lowest key.
    pub fn first(&self) -> Option<Entry> {
        self.iter().next()
    }

    /// The entry with the highest key.
    pub fn last(&self) -> Option<Entry> {
        self.iter().next_back()
    }

    /// How many keys there are. Goes through all of them: about 30 milliseconds for a million.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// True if there is no key.
    pub fn is_empty(&self) -> bool {
        self.first().is_none()
    }
}

impl Db {
    /// The entry of the default keyspace with the lowest key, as of now.
    pub fn first(&self) -> Option<Entry> {
        self.snapshot().first()
    }

    /// The entry of the default keyspace with the highest key, as of now.
    pub fn last(&self) -> Option<Entry> {
        self.snapshot().last()
    }

    /// How many keys the default keyspace has, as of now. Goes through all of them: about 30 milliseconds for a million.
    pub fn len(&self) -> usize {
        self.snapshot().len()
    }

    /// The same, counted block by block: about a millisecond for a million keys. Exact if nobody writes meanwhile.
    pub fn approximate_len(&self) -> usize {
        self.store().catalog.default_space().table.stats().keys
    }

    /// True if the default keyspace has no key, as of now.
    pub fn is_empty(&self) -> bool {
        self.first().is_none()
    }

    /// Removes the entry of the default keyspace with the lowest key, and returns it: nobody else gets the same one.
    /// Durable when it returns, as a [`delete`](Db::delete).
    ///
    /// # Errors
    /// As [`Db::put`].
    ///
    /// ```
    /// use forelog::Db;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path().join("data"))?;
    /// db.put("job:1", "read")?;
    /// db.put("job:2", "write")?;
    /// assert!(db.pop_first()?.is_some_and(|job| job.value() == b"read"));
    /// assert_eq!(db.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pop_first(&self) -> Result<Option<Entry>> {
        self.transaction(|tx| pop(&tx.default_keyspace(), false))
    }

    /// The same with the highest key.
    ///
    /// # Errors
    /// As [`Db::put`].
    pub fn pop_last(&self) -> Result<Option<Entry>> {
        self.transaction(|tx| pop(&tx.default_keyspace(), true))
    }

    /// Removes all keys of the default keyspace in a range, in one step, and returns how many there were. The log gets
    /// each of these keys.
    ///
    /// # Errors
    /// As [`Db::put`]. [`Error::TooLarge`](crate::Error::TooLarge), and nothing is removed, if the keys do not fit into one
    /// record of the log, whose limit follows from the length of a segment: then in several steps.
    ///
    /// ```
    /// use forelog::Db;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path().join("data"))?;
    /// for day in ["2024-12-30", "2024-12-31", "2025-01-01"] {
    ///     db.put(day, "…")?;
    /// }
    /// assert_eq!(db.remove_range(.."2025")?, 2);
    /// assert_eq!(db.first().unwrap().key(), b"2025-01-01");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove_range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<usize> {
        self.transaction(|tx| remove(&tx.default_keyspace(), &range))
    }
}

impl Keyspace {
    /// The entry with the lowest key, as of now.
    pub fn first(&self) -> Option<Entry> {
        self.snapshot().first()
    }

    /// The entry with the highest key, as of now.
    pub fn last(&self) -> Option<Entry> {
        self.snapshot().last()
    }

    /// How many keys there are, as of now. As [`Db::len`].
    pub fn len(&self) -> usize {
        self.snapshot().len()
    }

    /// The same, counted block by block. As [`Db::approximate_len`].
    pub fn approximate_len(&self) -> usize {
        if self.store().check_there(self.space()).is_ok() { self.space().table.stats().keys } else { 0 }
    }

    /// True if there is no key, as of now.
    pub fn is_empty(&self) -> bool {
        self.first().is_none()
    }

    /// Removes the entry with the lowest key, and returns it. As [`Db::pop_first`].
    ///
    /// # Errors
    /// As [`Db::put`].
    pub fn pop_first(&self) -> Result<Option<Entry>> {
        self.transaction(|tx| pop(tx, false))
    }

    /// The same with the highest key.
    ///
    /// # Errors
    /// As [`Db::put`].
    pub fn pop_last(&self) -> Result<Option<Entry>> {
        self.transaction(|tx| pop(tx, true))
    }

    /// Removes all keys in a range, in one step, and returns how many there were. As [`Db::remove_range`].
    ///
    /// # Errors
    /// As [`Db::remove_range`].
    pub fn remove_range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<usize> {
        self.transaction(|tx| remove(tx, &range))
    }

    fn transaction<T>(&self, work: impl Fn(&TransactionKeyspace<'_>) -> Result<T>) -> Result<T> {
        self.db().transaction(|tx: &Transaction| work(&tx.keyspace(self)?))
    }
}

fn pop(tx: &TransactionKeyspace<'_>, last: bool) -> Result<Option<Entry>> {
    let entry = if last { tx.iter().next_back() } else { tx.iter().next() };
    if let Some(entry) = &entry {
        tx.delete(entry.key())?;
    }
    Ok(entry)
}

fn remove<K: AsRef<[u8]>>(tx: &TransactionKeyspace<'_>, range: &impl RangeBounds<K>) -> Result<usize> {
    let mut count = 0;
    for entry in tx.range(key_range(range)) {
        tx.delete(entry.key())?;
        count += 1;
    }
    Ok(count)
}
