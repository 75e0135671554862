//! Transactions: reads and writes that happen as if nobody else were there.
//!
//! ```text
//!   begin ──▶ snapshot at LSN s            others write s+1, s+2, …
//!     get, range ──▶ own writes, else the snapshot; noted as read
//!     put, delete ──▶ kept here
//!   commit ──▶ the commit queue, with the condition "nothing that was read was written since s"
//!               ├─ holds: one batch, one LSN
//!               └─ does not: nothing is logged; Conflict
//! ```
//!
//! **Serializable**: a transaction that commits at LSN n has read what the state right before n holds, because nothing of
//! it was written between s and n; so it might as well have run alone at n. One that only reads is as of s. Nobody is
//! locked out and nobody waits: it is the later one to commit that is told. This is optimistic concurrency control with
//! backward validation (Kung and Robinson, 1981), and validating at the log's end is what Hyder does (Bernstein and
//! others, 2011).
//!
//! Where to read next: `reads`, what counts as read; `judge`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use parking_lot::Mutex;

use super::judge::Condition;
use super::reads::Reads;
use super::snapshot::{key_range, prefix_range};
use super::transaction_range::{TransactionRange, Written, within};
use super::{Db, Keyspace};
use crate::batch::WriteBatch;
use crate::catalog::Space;
use crate::error::{Error, Result};
use crate::format::{KeyspaceId, MAX_KEY_BYTES};
use crate::lsn::Lsn;
use crate::memtable::{KeyRange, Value};
use crate::options::{Durability, check_durability};

/// Reads and writes that happen together, as if nobody else were there. See [`Db::transaction`] and [`Db::begin`].
///
/// It reads the store as it was when it began, with its own writes over that. Nothing is written until it commits; if it
/// is dropped instead, nothing is. What it reads stays in memory meanwhile, as for a
/// [`Snapshot`](crate::Snapshot).
#[derive(Debug)]
pub struct Transaction {
    db: Db,
    state: Mutex<State>,
    durability: Durability,
    attempt: u64,
}

#[derive(Debug)]
struct State {
    reads: Reads,
    writes: BTreeMap<KeyspaceId, Written>,
}

/// Another write came between: nothing was written. See [`Transaction::commit`].
///
/// ```
/// use forelog::{Conflict, Db};
///
/// let dir = tempfile::tempdir()?;
/// let db = Db::open(dir.path().join("data"))?;
/// let tx = db.begin();
/// tx.put("seat:1", if tx.contains("seat:1")? { "taken twice" } else { "taken" })?;
/// let read_at = tx.snapshot_lsn();
/// db.put("seat:1", "reserved")?;
/// let conflict: Conflict = tx.commit()?.unwrap_err();
/// assert!(conflict.lsn > read_at);
///
/// // `Db::transaction` begins again by itself.
/// let attempts = db.transaction(|tx| {
///     tx.get("seat:1")?;
///     if tx.attempt() == 1 {
///         db.put("seat:1", "somebody is faster")?;
///     }
///     tx.put("seat:1", "mine")?;
///     Ok(tx.attempt())
/// })?;
/// assert_eq!(attempts, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conflict {
    /// The LSN of a write to something that the transaction had read. It is visible by now.
    pub lsn: Lsn,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the write with LSN {} changed what the transaction had read; begin it again", self.lsn)
    }
}

impl std::error::Error for Conflict {}

impl Db {
    /// Runs `work` as one transaction: all of its reads and writes happen at one moment, or none of its writes happen at
    /// all. It is run again when another write came between, and may thus run many times under contention
    /// ([`Transaction::attempt`] counts, and an error gives up). When this returns, its writes are as durable as those of
    /// a [`put`](Db::put).
    ///
    /// # Errors
    /// That of `work`, which ends the transaction without a write; otherwise as [`Db::put`].
    ///
    /// ```
    /// use forelog::Db;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path().join("data"))?;
    /// db.put("alice", [90])?;
    /// db.put("bob", [10])?;
    /// let paid = db.transaction(|tx| {
    ///     let (from, to) = (tx.get("alice")?.map_or(0, |v| v[0]), tx.get("bob")?.map_or(0, |v| v[0]));
    ///     if from < 30 {
    ///         return Ok(false);
    ///     }
    ///     tx.put("alice", [from - 30])?;
    ///     tx.put("bob", [to + 30])?;
    ///     Ok(true)
    /// })?;
    /// assert!(paid);
    /// assert_eq!(db.get("bob")?.as_deref(), Some(&[40][..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn transaction<T>(&self, work: impl FnMut(&Transaction) -> Result<T>) -> Result<T> {
        self.try_transaction(work)
    }

    /// The same for work that has errors of its own.
    ///
    /// # Errors
    /// As [`Db::transaction`].
    ///
    /// ```
    /// use forelog::Db;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path().join("data"))?;
    /// let taken: Result<(), Box<dyn std::error::Error>> = db.try_transaction(|tx| {
    ///     tx.put("seat:1", "taken")?;
    ///     Err("changed my mind")?
    /// });
    /// assert!(taken.is_err() && !db.contains("seat:1")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_transaction<T, E: From<Error>>(
        &self,
        mut work: impl FnMut(&Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let transaction = Transaction { attempt, ..self.begin() };
            let value = work(&transaction)?;
            if transaction.commit()?.is_ok() {
                return Ok(value);
            }
        }
    }

    /// Begins a transaction that the caller commits.
    ///
    /// ```
    /// use forelog::Db;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path().join("data"))?;
    /// let tx = db.begin();
    /// assert!(tx.get("name")?.is_none());
    /// tx.put("name", "mine")?;
    /// let lsn = db.put("name", "somebody else's")?;
    /// match tx.commit()? {
    ///     Ok(lsn) => panic!("committed as {lsn}"),
    ///     Err(conflict) => assert_eq!(conflict.lsn, lsn),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn begin(&self) -> Transaction {
        let state = State { reads: Reads::new(self.snapshot()), writes: BTreeMap::new() };
        let durability = self.store().options().durability;
        Transaction { db: self.clone(), state: Mutex::new(state), durability, attempt: 1 }
    }
}

impl Transaction {
    /// How often [`Db::transaction`] has begun it: 1 the first time.
    pub fn attempt(&self) -> u64 {
        self.attempt
    }

    /// The LSN whose state it reads.
    pub fn snapshot_lsn(&self) -> Lsn {
        self.state.lock().reads.snapshot.lsn()
    }

    /// The durability of its writes, if not that of the store.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for an interval of 0.
    pub fn durability(self, durability: Durability) -> Result<Transaction> {
        check_durability(durability)?;
        Ok(Transaction { durability, ..self })
    }

    /// The transaction in another keyspace of the same store.
    ///
    /// # Errors
    /// [`Error::UnknownKeyspace`] for the keyspace of another store, and for one that was dropped before the transaction
    /// began.
    ///
    /// ```
    /// use forelog::Db;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path().join("data"))?;
    /// let (users, emails) = (db.keyspace("users")?, db.keyspace("emails")?);
    /// db.transaction(|tx| {
    ///     tx.keyspace(&users)?.put("1", "alice")?;
    ///     tx.keyspace(&emails)?.put("alice@example.org", "1")
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keyspace(&self, keyspace: &Keyspace) -> Result<TransactionKeyspace<'_>> {
        if !keyspace.is_in(self.db.store()) || keyspace.space().dropped() <= self.snapshot_lsn() {
            return Err(Error::UnknownKeyspace { name: keyspace.name().to_owned() });
        }
        Ok(TransactionKeyspace { transaction: self, space: keyspace.space().clone() })
    }

    pub(super) fn default_keyspace(&self) -> TransactionKeyspace<'_> {
        let space = self.db.store().catalog.default_space().clone();
        TransactionKeyspace { transaction: self, space }
    }

    /// The value of a key of the default keyspace.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.default_keyspace().get(key)
    }

    /// True if the default keyspace has the key.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.default_keyspace().contains(key)
    }

    /// Sets a key of the default keyspace.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a key; what makes the batch too large is found by the commit.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.default_keyspace().put(key, value)
    }

    /// Removes a key of the default keyspace; no difference if it is absent.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<()> {
        self.default_keyspace().delete(key)
    }

    /// The entries of the default keyspace in a range of keys, in order; `rev()` goes backward. The transaction's own
    /// writes are among them, as they are now. What is really read of the range counts as read.
    pub fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> TransactionRange {
        self.default_keyspace().range(range)
    }

    /// The entries of the default keyspace whose keys begin so, in order. As [`Transaction::range`].
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> TransactionRange {
        self.default_keyspace().prefix(prefix)
    }

    /// All entries of the default keyspace, in order. As [`Transaction::range`].
    pub fn iter(&self) -> TransactionRange {
        self.default_keyspace().iter()
    }

    /// Writes everything, as one batch, unless somebody else has written since to what was read: then nothing. Returns
    /// the LSN; of a transaction without a write, which always commits, the one whose state it has read.
    ///
    /// A [`Conflict`] is a result, not an error; what it names is visible by then, so a new attempt sees it.
    ///
    /// # Errors
    /// As [`Db::put`].
    pub fn commit(self) -> Result<Result<Lsn, Conflict>> {
        let State { reads, writes } = self.state.into_inner();
        let mut batch = WriteBatch::new();
        for (id, written) in &writes {
            for (key, value) in written {
                match value {
                    Some(value) => batch.put_in(*id, key, value),
                    None => batch.delete_in(*id, key),
                }
            }
        }
        if batch.is_empty() {
            return Ok(Ok(reads.snapshot.lsn()));
        }
        let condition = (!reads.is_empty()).then_some(Condition::Unchanged(reads));
        let written = self.db.store().write_if(batch, self.durability, condition)?;
        Ok(written.map_err(|refusal| Conflict { lsn: refusal.lsn }))
    }
}

/// A [`Transaction`] in one keyspace.
#[derive(Clone, Debug)]
pub struct TransactionKeyspace<'a> {
    transaction: &'a Transaction,
    space: Arc<Space>,
}

impl TransactionKeyspace<'_> {
    /// The value of a key.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.transaction.db.store().check_open()?;
        let key = key.as_ref();
        let mut state = self.transaction.state.lock();
        if let Some(own) = state.writes.get(&self.space.id).and_then(|written| written.get(key)) {
            return Ok(own.clone());
        }
        state.reads.key(&self.space, key);
        Ok(self.space.table.get_at(key, state.reads.snapshot.lsn()))
    }

    /// True if the keyspace has the key.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.get(key)?.is_some())
    }

    /// Sets a key.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a key; what makes the batch too large is found by the commit.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.write(key.as_ref(), Some(Value::new(value.as_ref())))
    }

    /// Removes a key; no difference if it is absent.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<()> {
        self.write(key.as_ref(), None)
    }

    fn write(&self, key: &[u8], value: Option<Value>) -> Result<()> {
        if key.len() > MAX_KEY_BYTES {
            let (size, limit) = (key.len() as u64, MAX_KEY_BYTES as u64);
            return Err(Error::TooLarge { what: "key", size, limit });
        }
        let mut state = self.transaction.state.lock();
        state.writes.entry(self.space.id).or_default().insert(key.to_vec(), value);
        Ok(())
    }

    /// The entries in a range of keys, in order. As [`Transaction::range`].
    pub fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> TransactionRange {
        self.entries(key_range(&range))
    }

    /// The entries whose keys begin so, in order.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> TransactionRange {
        self.entries(prefix_range(prefix.as_ref()))
    }

    /// All entries, in order.
    pub fn iter(&self) -> TransactionRange {
        self.entries((Bound::Unbounded, Bound::Unbounded))
    }

    fn entries(&self, asked: KeyRange) -> TransactionRange {
        let mut state = self.transaction.state.lock();
        let own = state.writes.get(&self.space.id);
        let own = own.map(|written| within(written, &asked)).unwrap_or_default();
        let base = state.reads.snapshot.of(&self.space).entries(asked.clone());
        TransactionRange::new(base, own, state.reads.range(&self.space, asked))
    }
}
