//! Copies of a store: backups of a running one, and restores of what was.

use std::path::Path;
use std::sync::Arc;

use super::Db;
use super::upkeep::available_threads;
use crate::error::Result;
use crate::recovery::{self, Copied, Target};
use crate::storage::dir::Dir;
use crate::storage::{RealDisk, Storage};

impl Db {
    /// Writes the state as it is now into another directory of the same disk, as a store of its own: with another id, and
    /// with the next LSN to go on from. Writers and readers go on meanwhile.
    ///
    /// Durable when it returns. It has no past: to go back to an earlier LSN, restore from this store or from its archive.
    ///
    /// # Errors
    /// [`Error::Exists`](crate::Error::Exists) unless the directory is missing or empty;
    /// [`Error::InvalidOption`](crate::Error::InvalidOption) if it lies inside of the store; [`Error::Io`](crate::Error::Io):
    /// what was made is removed, as far as that works; [`Error::Poisoned`](crate::Error::Poisoned),
    /// [`Error::ReadOnly`](crate::Error::ReadOnly), [`Error::Closed`](crate::Error::Closed).
    ///
    /// ```
    /// use forelog::Db;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path().join("data"))?;
    /// db.put("a", "1")?;
    /// let copied = db.backup(dir.path().join("copy"))?;
    /// db.put("a", "2")?;
    ///
    /// let copy = Db::open(dir.path().join("copy"))?;
    /// assert_eq!(copy.get("a")?.as_deref(), Some(&b"1"[..]));
    /// assert_eq!(copy.put("b", "3")?, copied.lsn.next());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn backup(&self, path: impl AsRef<Path>) -> Result<Copied> {
        let store = self.store();
        let out = Dir::new(store.dir.storage().clone(), path.as_ref());
        recovery::check_outside(&out, &store.dir)?;
        store.upkeep()?.backup(&out, available_threads())
    }

    /// Restores a store to an LSN or a time, from a store (and its archive) or from an archive, into a directory that is
    /// missing or empty. The result is a store of its own, with another id. The source is only read; a writer may be at
    /// work in it, of which only what is durable is taken.
    ///
    /// Durable when it returns.
    ///
    /// # Errors
    /// [`Error::NoStore`](crate::Error::NoStore) if there is neither a store nor an archive;
    /// [`Error::Exists`](crate::Error::Exists); [`Error::Compacted`](crate::Error::Compacted) for a state that is older
    /// than what is still there; [`Error::InvalidOption`](crate::Error::InvalidOption) for an LSN that is not there yet, and
    /// for a directory inside of the source; and what opening the source would say.
    ///
    /// ```
    /// use forelog::{Db, RestoreTarget};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path().join("data"))?;
    /// let good = db.put("a", "1")?;
    /// db.delete("a")?; // a mistake
    /// db.close()?;
    ///
    /// Db::restore(dir.path().join("data"), dir.path().join("rescued"), RestoreTarget::Lsn(good))?;
    /// let rescued = Db::open(dir.path().join("rescued"))?;
    /// assert_eq!(rescued.get("a")?.as_deref(), Some(&b"1"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn restore(from: impl AsRef<Path>, into: impl AsRef<Path>, target: Target) -> Result<Copied> {
        Db::restore_on(Arc::new(RealDisk), from, into, target)
    }

    /// As [`Db::restore`], on this disk.
    ///
    /// # Errors
    /// As [`Db::restore`].
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use forelog::recovery::{Copied, Target};
    /// use forelog::storage::{SimDisk, Storage};
    /// use forelog::{Db, Options};
    ///
    /// const TEN_O_CLOCK: u64 = 1_800_000_000_000_000; // in microseconds
    ///
    /// let disk = SimDisk::new(1);
    /// let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    /// let db = Options::new().storage(storage.clone()).segment_bytes(8192).open("data")?;
    /// let good = db.put("a", "1")?;
    /// disk.set_clock_us(TEN_O_CLOCK);
    /// db.delete("a")?; // a mistake
    /// db.close()?;
    ///
    /// let copied: Copied = Db::restore_on(storage.clone(), "data", "rescued", Target::TimeUs(TEN_O_CLOCK - 1))?;
    /// assert!(copied.lsn >= good);
    /// let rescued = Options::new().storage(storage).open("rescued")?;
    /// assert!(rescued.contains("a")? && rescued.store_id() != db.store_id());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn restore_on(
        storage: Arc<dyn Storage>,
        from: impl AsRef<Path>,
        into: impl AsRef<Path>,
        target: Target,
    ) -> Result<Copied> {
        let from = Dir::new(storage.clone(), from.as_ref());
        let into = Dir::new(storage, into.as_ref());
        recovery::restore(&from, &into, target, available_threads())
    }
}
