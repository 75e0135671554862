//! The store: [`Db`].
//!
//! ```text
//!  put ─▶ encode ─▶ ┌ judge ─▶ log ┐ ─▶ apply ─▶ sync ─▶ publish ─▶ done
//!                   └─── turn ─────┘              gate
//!  get ─────────────────────────────────────────────────▶ memtable, at the visible LSN
//! ```
//!
//! Writing is in `commit`, reading in `snapshot` and `keyspace`. This file is the map: a handle, and what it can do.
//!
//! Where to read next: `commit`.

mod commit;
mod compare;
mod copies;
mod elsewhere;
mod ends;
mod feed;
mod judge;
mod keyspace;
mod pending;
mod prune;
mod reads;
mod snapshot;
mod stats;
mod store;
mod transaction;
mod transaction_range;
mod upkeep;

use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::batch::WriteBatch;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::event::span;
use crate::format::StoreId;
use crate::lsn::Lsn;
use crate::memtable::{Range, Value};
use crate::options::{Options, WriteOptions, check_durability};
use crate::recovery::{self, RecoveryReport};
use crate::retention::PruneReport;
use crate::storage::dir::Dir;
use crate::wal::Durable;

pub use self::compare::Differs;
pub use self::feed::{Change, Changes};
pub use self::keyspace::Keyspace;
pub use self::snapshot::Snapshot;
pub use self::stats::Stats;
use self::store::Store;
pub use self::transaction::{Conflict, Transaction, TransactionKeyspace};
pub use self::transaction_range::TransactionRange;

/// A durable, ordered, in-memory key-value store.
///
/// A handle is cheap to clone and may be used by many threads. When the last one is dropped, keyspaces included, the
/// store is closed as well as that can be; [`Db::close`] also says whether it worked. Snapshots and ranges do not keep
/// it open: they read on from memory.
///
/// What is promised, whatever happens: a write that was acknowledged under [`Durability::Sync`](crate::Durability)
/// survives a power cut, together with everything before it; a batch is seen whole or not at all; after a crash the
/// store is the state after some LSN that is not below the last one acknowledged so.
///
/// ```
/// use forelog::Db;
///
/// let dir = tempfile::tempdir()?;
/// let db = Db::open(dir.path().join("data"))?;
/// db.put("user:1", "alice")?; // durable when this returns
/// db.put("user:2", "bob")?;
/// assert_eq!(db.get("user:1")?.as_deref(), Some(&b"alice"[..]));
///
/// for entry in db.prefix("user:") {
///     println!("{:?}", entry);
/// }
/// db.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Db {
    handle: Arc<Handle>,
}

/// What all clones of a [`Db`] share. The last one closes the store.
///
/// Not the last of whoever holds the store: snapshots read on after it is closed, and the background threads must not
/// keep it open.
#[derive(Debug)]
struct Handle(Arc<Store>);

impl Drop for Handle {
    fn drop(&mut self) {
        // Whoever wants to know whether this worked calls `close`.
        let _ = self.0.close();
    }
}

impl Options {
    /// Opens the store in a directory of [`Options::storage`]; creates it where there is none.
    ///
    /// # Errors
    /// [`Error::Locked`] if it is open elsewhere; [`Error::Corruption`], [`Error::MissingSegment`] if something that
    /// was durable is damaged or gone; [`Error::UnsupportedFormat`] for a store of another release;
    /// [`Error::NotAStore`] for a directory with other files; [`Error::NoStore`], [`Error::InvalidOption`],
    /// [`Error::Io`]. After an error the directory is as it was, but for what a cut-short creation may leave.
    ///
    /// ```
    /// use std::{sync::Arc, time::Duration};
    /// use forelog::options::{DEFAULT_SEGMENT_BYTES, MAX_SEGMENT_BYTES};
    /// use forelog::storage::MemoryDisk;
    /// use forelog::{CreateMode, Error, Options, RecoveryMode};
    ///
    /// let options = Options::new()
    ///     .storage(Arc::new(MemoryDisk::new()))
    ///     .segment_bytes(DEFAULT_SEGMENT_BYTES / 4)
    ///     .recovery(RecoveryMode::Strict) // an unfinished write at the end is refused, not cut off
    ///     .recovery_threads(2)
    ///     .idle_mark(Some(Duration::from_secs(1)))
    ///     .spare_ahead(false)
    ///     .queue_bytes(1 << 20);
    /// let existing = options.clone().create(CreateMode::Never);
    /// assert!(matches!(existing.clone().open("data"), Err(Error::NoStore { .. })));
    /// let db = options.clone().open("data")?;
    /// assert!(db.created());
    /// db.close()?;
    /// let reader = existing.read_only(true).open("data")?;
    /// assert!(matches!(reader.put("a", "1"), Err(Error::ReadOnly { .. })));
    ///
    /// let too_long = options.segment_bytes(MAX_SEGMENT_BYTES + 1);
    /// assert!(matches!(too_long.open("other"), Err(Error::InvalidOption { option: "segment_bytes", .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(self, path: impl AsRef<Path>) -> Result<Db> {
        let _span = span("open", false);
        let dir = Dir::new(self.storage.clone(), path.as_ref());
        let recovered = if self.beside_writer {
            recovery::open_beside_writer(&dir, &self)?
        } else if self.read_only {
            recovery::open_read_only(&dir, &self)?
        } else {
            recovery::open(&dir, &self)?
        };
        let store = Arc::new(Store::new(dir, self, recovered));
        store.prove_soon();
        Ok(Db { handle: Arc::new(Handle(store)) })
    }
}

impl Db {
    /// Opens the store in a directory of the real disk with the default options; creates it where there is none.
    ///
    /// # Errors
    /// As [`Options::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Db> {
        Options::new().open(path)
    }

    fn store(&self) -> &Arc<Store> {
        &self.handle.0
    }

    /// Sets a key of the default keyspace. Returns the LSN of the write.
    ///
    /// Durable when it returns, as far as the store's [`Durability`](crate::Durability) says; visible to every thread.
    ///
    /// # Errors
    /// [`Error::TooLarge`] before anything is written; [`Error::Poisoned`] after a failed write or sync: whether
    /// this write survives is then unknown until the store is opened again; [`Error::ReadOnly`], [`Error::Closed`].
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Lsn> {
        let mut batch = WriteBatch::new();
        batch.put(key, value);
        self.write(batch)
    }

    /// Removes a key of the default keyspace; no difference if it is absent. Returns the LSN of the write.
    ///
    /// # Errors
    /// As [`Db::put`].
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<Lsn> {
        let mut batch = WriteBatch::new();
        batch.delete(key);
        self.write(batch)
    }

    /// Writes a batch: all of it, or nothing. Returns its LSN; for an empty batch, which has none, the visible LSN.
    ///
    /// # Errors
    /// As [`Db::put`], and [`Error::UnknownKeyspace`].
    pub fn write(&self, batch: WriteBatch) -> Result<Lsn> {
        self.store().write(batch, self.store().options().durability)
    }

    /// Writes a batch with a durability of its own. An empty batch waits for nothing.
    ///
    /// # Errors
    /// As [`Db::write`]; [`Error::InvalidOption`] for an interval of 0.
    ///
    /// ```
    /// use forelog::{Db, Durability, WriteBatch, WriteOptions};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path().join("data"))?;
    /// let mut batch = WriteBatch::new();
    /// batch.put("seen:1", "just a hint");
    /// let lsn = db.write_with(batch, &WriteOptions::new().durability(Durability::Buffered))?;
    /// db.wait_durable(lsn)?; // when it turns out to matter
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_with(&self, batch: WriteBatch, options: &WriteOptions) -> Result<Lsn> {
        let durability = options.durability.unwrap_or(self.store().options().durability);
        check_durability(durability)?;
        self.store().write(batch, durability)
    }

    /// The value of a key of the default keyspace.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.store().check_open()?;
        Ok(self.store().catalog.default_space().table.get(key.as_ref()))
    }

    /// True if the default keyspace has the key.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.get(key)?.is_some())
    }

    /// The entries of the default keyspace in a range of keys, in order, as of now; `rev()` goes backward.
    ///
    /// A range reads memory only and goes on doing so after the store is closed.
    pub fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Range {
        self.snapshot().range(range)
    }

    /// The entries of the default keyspace whose keys begin so, in order, as of now.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Range {
        self.snapshot().prefix(prefix)
    }

    /// All entries of the default keyspace, in order, as of now.
    pub fn iter(&self) -> Range {
        self.snapshot().iter()
    }

    /// A read view of the default keyspace that stays as it is now.
    ///
    /// It costs nothing but the memory of what is overwritten while it lives.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.store(), self.store().catalog.default_space())
    }

    /// Makes everything durable that was written so far, and returns the durable LSN.
    ///
    /// # Errors
    /// [`Error::Poisoned`], [`Error::ReadOnly`], [`Error::Closed`].
    pub fn sync(&self) -> Result<Lsn> {
        self.store().sync()
    }

    /// Returns once everything up to `lsn` is durable, and sees to the sync. In a store that was opened for reading: whether it
    /// is proven to be.
    ///
    /// # Errors
    /// As [`Db::sync`]; [`Error::InvalidOption`] for an LSN that was not given out yet.
    pub fn wait_durable(&self, lsn: Lsn) -> Result<()> {
        self.store().wait_durable(lsn)
    }

    /// A future that resolves once everything up to `lsn` is durable. It needs no runtime and blocks no thread: the
    /// sync is done in the background, and has been asked for when this returns. (Where the system gives no thread for
    /// that, this call itself syncs.) `examples/durable_async.rs` shows it.
    ///
    /// # Errors
    /// As [`Db::sync`]; [`Error::InvalidOption`] for an LSN that was not given out yet. The future: [`Error::Poisoned`].
    pub fn durable(&self, lsn: Lsn) -> Result<Durable> {
        self.store().durable_future(lsn)
    }

    /// Makes the file of the log's next segment ahead of time, as the background thread does when the current one is
    /// half full. Nothing happens if it is there.
    ///
    /// # Errors
    /// [`Error::Io`]: the store goes on, and tries again when the file is needed; [`Error::Poisoned`],
    /// [`Error::ReadOnly`], [`Error::Closed`].
    pub fn prepare_spare(&self) -> Result<()> {
        self.store().prepare_spare()
    }

    /// Writes and syncs a sync mark, as the background thread does when the store falls idle: from here on it is
    /// proven that everything before was durable, so that damage to it is told from a torn tail.
    ///
    /// # Errors
    /// As [`Db::sync`].
    pub fn mark(&self) -> Result<()> {
        self.store().mark()
    }

    /// Takes a checkpoint: the state as it is now, on disk, so that opening need not replay what came before, and the
    /// segments that hold it may go (see [`Options::retention`]). Writers and readers go on meanwhile. Returns its LSN;
    /// if nothing was written since the last one, that one's.
    ///
    /// Durable when it returns, and so is every write up to that LSN. What goes after it is removed before this returns,
    /// too; a failure of that shows in [`Stats::checkpoint_failure`], because the checkpoint is there.
    ///
    /// # Errors
    /// [`Error::Io`]: the store goes on, with the checkpoint that it had; [`Error::Poisoned`], [`Error::ReadOnly`];
    /// [`Error::Closed`], also if the store is closed meanwhile.
    ///
    /// ```
    /// use forelog::Db;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path().join("data"))?;
    /// db.put("a", "1")?;
    /// let lsn = db.checkpoint()?;
    /// db.put("b", "2")?;
    /// db.close()?;
    ///
    /// let db = Db::open(dir.path().join("data"))?;
    /// assert_eq!(db.recovery_report().checkpoint, Some(lsn)); // one record was replayed, not two
    /// assert_eq!(db.recovery_report().records, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn checkpoint(&self) -> Result<Lsn> {
        self.store().upkeep()?.checkpoint()
    }

    /// Removes the segments and checkpoints that recovery needs no more and that no policy keeps, as each checkpoint does
    /// by itself. With `dry_run`, says what would go and why what stays is kept, and changes nothing.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Poisoned`], [`Error::ReadOnly`], [`Error::Closed`].
    pub fn prune(&self, dry_run: bool) -> Result<PruneReport> {
        self.store().upkeep()?.prune(dry_run)
    }

    /// Everything up to this LSN survives a power cut.
    pub fn durable_lsn(&self) -> Lsn {
        self.store().durable()
    }

    /// Everything up to this LSN can be read.
    pub fn visible_lsn(&self) -> Lsn {
        self.store().tracker.visible()
    }

    /// True if this opening made the store.
    pub fn created(&self) -> bool {
        self.store().report.created
    }

    /// What opening the store found and did.
    pub fn recovery_report(&self) -> &RecoveryReport {
        &self.store().report
    }

    /// Figures about the store as it is now. Visits every block of the memtables: about a millisecond for a million
    /// keys. Waits while the log goes on in a new segment, which takes some syncs.
    pub fn stats(&self) -> Stats {
        Stats::of(self.store())
    }

    /// The store's directory.
    pub fn path(&self) -> PathBuf {
        self.store().dir.path().to_path_buf()
    }

    /// The id that every file of the store carries.
    pub fn store_id(&self) -> StoreId {
        self.store().store_id
    }

    /// Syncs, writes a close mark and gives the directory free, for all handles. Later calls are [`Error::Closed`];
    /// snapshots and ranges go on reading memory. A second close does nothing.
    ///
    /// # Errors
    /// [`Error::Poisoned`]: then nothing is written, and the next opening finds what survived. [`Error::Io`] if only the
    /// manifest could not be written, in which a close states how much is durable: the log is whole and closed then.
    pub fn close(&self) -> Result<()> {
        self.store().close()
    }
}
