//! A keyspace whose keys and values have types.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::format::codec;
use crate::format::key::{self, Key, OwnedKey};
use crate::{Entry, Keyspace, Lsn, Snapshot, Transaction, TransactionKeyspace, WriteBatch};

/// A keyspace with keys of type `K` and values of type `V`. Cheap to clone.
///
/// As with the maps of the standard library, keys may be given as what `K` borrows to: a `Table<String, _>` takes `&str`.
///
/// ```
/// use forelog::Db;
/// use forelog::typed::Table;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct Order {
///     item: String,
///     count: u32,
/// }
///
/// let dir = tempfile::tempdir()?;
/// let db = Db::open(dir.path().join("data"))?;
/// let orders = Table::<(String, u64), Order>::new(db.keyspace("orders")?);
/// for number in [300, 7] {
///     orders.put(&("alice".into(), number), &Order { item: "tea".into(), count: 1 })?;
/// }
/// // In the order of the type: 7 comes before 300.
/// let of_alice = orders.range(("alice".into(), 0)..=("alice".into(), u64::MAX));
/// let numbers = of_alice.map(|entry| entry.map(|((_, number), _)| number)).collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(numbers, [7, 300]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Table<K, V> {
    keyspace: Keyspace,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Table<K, V> {
        Table { keyspace: self.keyspace.clone(), types: PhantomData }
    }
}

impl<K, V> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Table").field(&self.keyspace.name()).finish()
    }
}

impl<K: OwnedKey, V: Serialize + DeserializeOwned> Table<K, V> {
    /// The keyspace, read and written as one of these types. What is in it is not looked at.
    pub fn new(keyspace: Keyspace) -> Table<K, V> {
        Table { keyspace, types: PhantomData }
    }

    /// The keyspace itself.
    pub fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    /// Sets a key. As [`Db::put`](crate::Db::put).
    ///
    /// # Errors
    /// As [`Db::put`](crate::Db::put); [`Error::Mistyped`].
    pub fn put<Q: Key + ?Sized>(&self, key: &Q, value: &V) -> Result<Lsn>
    where
        K: Borrow<Q>,
    {
        self.keyspace.put(key::encode(key), self.encode(value)?)
    }

    /// Removes a key; no difference if it is absent. As [`Db::delete`](crate::Db::delete).
    ///
    /// # Errors
    /// As [`Db::put`](crate::Db::put).
    pub fn delete<Q: Key + ?Sized>(&self, key: &Q) -> Result<Lsn>
    where
        K: Borrow<Q>,
    {
        self.keyspace.delete(key::encode(key))
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`Error::Mistyped`] if it is not one of type `V`; [`Error::UnknownKeyspace`] if the keyspace was dropped;
    /// [`Error::Closed`].
    pub fn get<Q: Key + ?Sized>(&self, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
    {
        let bytes = key::encode(key);
        self.keyspace.get(&bytes)?.map(|value| self.decode(&bytes, &value)).transpose()
    }

    /// True if there is the key.
    ///
    /// # Errors
    /// [`Error::UnknownKeyspace`] if the keyspace was dropped; [`Error::Closed`].
    pub fn contains<Q: Key + ?Sized>(&self, key: &Q) -> Result<bool>
    where
        K: Borrow<Q>,
    {
        self.keyspace.contains(key::encode(key))
    }

    /// Replaces the value of a key by what `update` makes of it, and returns the new one. `None` is for absence, both ways.
    /// As [`Db::fetch_update`](crate::Db::fetch_update): `update` may be called more than once.
    ///
    /// # Errors
    /// As [`Table::put`] and [`Table::get`].
    ///
    /// ```
    /// use forelog::Db;
    /// use forelog::typed::Table;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path().join("data"))?;
    /// let visits = Table::<String, u64>::new(db.keyspace("visits")?);
    /// visits.update("/index.html", |count| Some(count.unwrap_or(0) + 1))?;
    /// assert_eq!(visits.update("/index.html", |count| Some(count.unwrap_or(0) + 1))?, Some(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn update<Q: Key + ?Sized>(
        &self,
        key: &Q,
        mut update: impl FnMut(Option<V>) -> Option<V>,
    ) -> Result<Option<V>>
    where
        K: Borrow<Q>,
    {
        let bytes = key::encode(key);
        loop {
            let old = self.keyspace.get(&bytes)?;
            let new = update(old.as_ref().map(|value| self.decode(&bytes, value)).transpose()?);
            if old.is_none() && new.is_none() {
                return Ok(None);
            }
            let encoded = new.as_ref().map(|new| self.encode(new)).transpose()?;
            if self.keyspace.compare_and_swap(&bytes, old.as_deref(), encoded)?.is_ok() {
                return Ok(new);
            }
        }
    }

    /// Adds to a batch that a key is set: with others, also of other tables, it is written by
    /// [`Db::write`](crate::Db::write).
    ///
    /// # Errors
    /// [`Error::Mistyped`].
    pub fn put_in<Q: Key + ?Sized>(&self, batch: &mut WriteBatch, key: &Q, value: &V) -> Result<()>
    where
        K: Borrow<Q>,
    {
        batch.put_in(&self.keyspace, key::encode(key), self.encode(value)?);
        Ok(())
    }

    /// Adds to a batch that a key is removed.
    pub fn delete_in<Q: Key + ?Sized>(&self, batch: &mut WriteBatch, key: &Q)
    where
        K: Borrow<Q>,
    {
        batch.delete_in(&self.keyspace, key::encode(key));
    }

    /// The entries in a range of keys, in order, as of now; `rev()` goes backward.
    pub fn range(&self, range: impl RangeBounds<K>) -> Entries<K, V> {
        self.range_at(&self.keyspace.snapshot(), range)
    }

    /// All entries, in order, as of now.
    pub fn iter(&self) -> Entries<K, V> {
        self.range(..)
    }

    /// The entries in a range, as a snapshot [of the table's keyspace](Snapshot::keyspace) has them.
    ///
    /// ```
    /// use forelog::typed::{Entries, Table};
    /// use forelog::{Db, WriteBatch};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path().join("data"))?;
    /// let stock = Table::<String, u32>::new(db.keyspace("stock")?);
    /// stock.put("tea", &3)?;
    /// let before = stock.keyspace().snapshot();
    /// let mut batch = WriteBatch::new();
    /// stock.delete_in(&mut batch, "tea");
    /// stock.put_in(&mut batch, "coffee", &1)?;
    /// db.write(batch)?;
    /// let then: Entries<String, u32> = stock.range_at(&before, ..);
    /// assert_eq!(then.collect::<Result<Vec<_>, _>>()?, [("tea".to_owned(), 3)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn range_at(&self, snapshot: &Snapshot, range: impl RangeBounds<K>) -> Entries<K, V> {
        self.entries(Box::new(snapshot.range(encoded(&range))))
    }

    /// The table within a transaction.
    ///
    /// # Errors
    /// As [`Transaction::keyspace`].
    ///
    /// ```
    /// use forelog::Db;
    /// use forelog::typed::Table;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path().join("data"))?;
    /// let accounts = Table::<String, i64>::new(db.keyspace("accounts")?);
    /// accounts.put("alice", &90)?;
    /// db.transaction(|tx| {
    ///     let accounts = accounts.within(tx)?;
    ///     for (name, amount) in [("alice", -30), ("bob", 30)] {
    ///         let balance = accounts.get(name)?.unwrap_or(0);
    ///         accounts.put(name, &(balance + amount))?;
    ///     }
    ///     Ok(())
    /// })?;
    /// assert_eq!(accounts.get("bob")?, Some(30));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn within<'a>(&self, transaction: &'a Transaction) -> Result<TableTransaction<'a, K, V>> {
        Ok(TableTransaction { table: self.clone(), keyspace: transaction.keyspace(&self.keyspace)? })
    }

    fn entries(&self, entries: Box<dyn DoubleEndedIterator<Item = Entry> + Send>) -> Entries<K, V> {
        Entries { table: self.clone(), entries }
    }

    fn encode(&self, value: &V) -> Result<Vec<u8>> {
        codec::encode_value(value)
            .map_err(|error| self.mistyped::<V>(format!("{error}; nothing was written")))
    }

    fn decode(&self, key: &[u8], value: &[u8]) -> Result<V> {
        codec::decode_value(value).map_err(|error| self.undecodable::<V>("the value of", key, &error))
    }

    fn undecodable<T>(&self, what: &str, key: &[u8], error: &str) -> Error {
        let key = key.escape_ascii();
        self.mistyped::<T>(format!("{what} key {key} is none: {error}; read it as what it was written as"))
    }

    fn mistyped<T>(&self, reason: String) -> Error {
        let (keyspace, wanted) = (self.keyspace.name().to_owned(), std::any::type_name::<T>());
        Error::Mistyped { keyspace, wanted, reason }
    }

    fn decode_entry(&self, entry: &Entry) -> Result<(K, V)> {
        let other = || self.undecodable::<K>("the", entry.key(), "these are not its bytes");
        let key = key::decode(entry.key()).ok_or_else(other)?;
        Ok((key, self.decode(entry.key(), entry.value())?))
    }
}

/// A [`Table`] in a [`Transaction`].
///
/// ```
/// use forelog::Db;
/// use forelog::typed::{Table, TableTransaction};
///
/// fn take(stock: &TableTransaction<'_, String, u32>, item: &str) -> forelog::Result<bool> {
///     let count = stock.get(item)?.unwrap_or(0);
///     if count > 0 {
///         stock.put(item, &(count - 1))?;
///     }
///     Ok(count > 0)
/// }
///
/// let dir = tempfile::tempdir()?;
/// let db = Db::open(dir.path().join("data"))?;
/// let stock = Table::new(db.keyspace("stock")?);
/// stock.put("tea", &1)?;
/// assert!(db.transaction(|tx| take(&stock.within(tx)?, "tea"))?);
/// assert!(!db.transaction(|tx| take(&stock.within(tx)?, "tea"))?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TableTransaction<'a, K, V> {
    table: Table<K, V>,
    keyspace: TransactionKeyspace<'a>,
}

impl<K: OwnedKey, V: Serialize + DeserializeOwned> TableTransaction<'_, K, V> {
    /// The value of a key, own writes included.
    ///
    /// # Errors
    /// As [`Table::get`].
    pub fn get<Q: Key + ?Sized>(&self, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
    {
        let bytes = key::encode(key);
        self.keyspace.get(&bytes)?.map(|value| self.table.decode(&bytes, &value)).transpose()
    }

    /// Sets a key.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Mistyped`].
    pub fn put<Q: Key + ?Sized>(&self, key: &Q, value: &V) -> Result<()>
    where
        K: Borrow<Q>,
    {
        self.keyspace.put(key::encode(key), self.table.encode(value)?)
    }

    /// Removes a key; no difference if it is absent.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn delete<Q: Key + ?Sized>(&self, key: &Q) -> Result<()>
    where
        K: Borrow<Q>,
    {
        self.keyspace.delete(key::encode(key))
    }

    /// The entries in a range of keys, in order, own writes included; `rev()` goes backward.
    pub fn range(&self, range: impl RangeBounds<K>) -> Entries<K, V> {
        self.table.entries(Box::new(self.keyspace.range(encoded(&range))))
    }

    /// All entries, in order.
    pub fn iter(&self) -> Entries<K, V> {
        self.range(..)
    }
}

/// The entries of a range of a [`Table`]. An entry that is none of its types is an error, and the next one is given out
/// all the same.
pub struct Entries<K, V> {
    table: Table<K, V>,
    entries: Box<dyn DoubleEndedIterator<Item = Entry> + Send>,
}

impl<K: OwnedKey, V: Serialize + DeserializeOwned> Iterator for Entries<K, V> {
    type Item = Result<(K, V)>;

    fn next(&mut self) -> Option<Result<(K, V)>> {
        self.entries.next().map(|entry| self.table.decode_entry(&entry))
    }
}

impl<K: OwnedKey, V: Serialize + DeserializeOwned> DoubleEndedIterator for Entries<K, V> {
    fn next_back(&mut self) -> Option<Result<(K, V)>> {
        self.entries.next_back().map(|entry| self.table.decode_entry(&entry))
    }
}

impl<K, V> fmt::Debug for Entries<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").field("table", &self.table).finish_non_exhaustive()
    }
}

fn encoded<K: Key>(range: &impl RangeBounds<K>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let bytes = |bound: Bound<&K>| bound.map(key::encode);
    (bytes(range.start_bound()), bytes(range.end_bound()))
}
