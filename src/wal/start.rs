//! How a log comes to be: made anew, or recovered; alone, or inside a store.

use std::path::Path;
use std::sync::Arc;

use super::Wal;
use super::append::Alone;
use super::log::Log;
use super::open::{self, LogReport, has_segments, new_store_id};
use super::opening::{Opening, Piece};
use super::plan::Given;
use crate::error::{Error, Result};
use crate::format::StoreId;
use crate::format::names;
use crate::lsn::Lsn;
use crate::options::WalOptions;
use crate::storage::LockGuard;
use crate::storage::dir::Dir;

impl WalOptions {
    /// Opens the log in a directory of [`WalOptions::storage`], creating both where they are missing.
    ///
    /// # Errors
    /// [`Error::Locked`] if it is open elsewhere, [`Error::Corruption`] and [`Error::MissingSegment`] if something
    /// that was durable is damaged or gone, [`Error::NotAStore`] for a directory with other files,
    /// [`Error::InvalidOption`], [`Error::Io`].
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use forelog::storage::{Fault, FaultKind, OperationKind, SimDisk};
    /// use forelog::{Error, WalOptions};
    ///
    /// let disk = SimDisk::new(1);
    /// let options = WalOptions::new()
    ///     .storage(Arc::new(disk.clone()))
    ///     .segment_bytes(8192)
    ///     .idle_mark(None)
    ///     .spare_ahead(false) // with these two, and no interval, there is no background thread
    ///     .queue_bytes(1 << 20)
    ///     .recovery_threads(1);
    /// let wal = options.clone().open("log")?;
    /// let mut payload = vec![b'x'; wal.max_payload_bytes() as usize];
    /// wal.append(&payload)?;
    /// payload.push(b'x');
    /// assert!(matches!(wal.append(&payload), Err(Error::TooLarge { .. })));
    ///
    /// disk.fail(Fault::new(FaultKind::SyncLost).on(OperationKind::Sync));
    /// assert!(wal.append(b"perhaps").is_err());
    /// assert!(wal.is_poisoned()); // a sync is not tried again: opening anew tells what is there
    /// let store_id = wal.store_id();
    /// drop(wal);
    /// let wal = options.open("log")?;
    /// assert!(!wal.is_poisoned() && wal.store_id() == store_id);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(self, path: impl AsRef<Path>) -> Result<Wal> {
        self.check()?;
        let dir = Dir::new(self.storage.clone(), path.as_ref());
        // Looked at before anything is made: what is somebody else's, or a file, must not be touched.
        refuse_others(&dir, &dir.list()?)?;
        dir.create_durably()?;
        let lock = dir.lock(names::LOCK, true)?;
        dir.sync()?;
        let files = dir.list()?;
        refuse_others(&dir, &files)?;
        let alone = Alone::new(&self);
        if has_segments(&files) {
            let opening = Opening::for_writing(&dir, Given::default())?;
            let pieces = opening.read_all(self.recovery_threads)?;
            let mut wal = Wal::go_on(opening, self, lock, pieces)?;
            wal.tell_of_poison(alone.queue.clone());
            if wal.wants_mark() {
                // What a killed writer has left is durable by now, but nothing on disk proves it.
                alone.keeper.wrote(None, false, || Arc::downgrade(&wal.log));
            }
            wal.alone = Some(alone);
            return Ok(wal);
        }
        let store_id = new_store_id(&*self.storage);
        let mut wal = Wal::create(dir, self, store_id, lock)?;
        wal.tell_of_poison(alone.queue.clone());
        wal.alone = Some(alone);
        Ok(wal)
    }
}

/// Refuses a directory with files that are no log's.
fn refuse_others(dir: &Dir, files: &[String]) -> Result<()> {
    let refuse = |reason: String| Err(Error::NotAStore { dir: dir.path().to_path_buf(), reason });
    if files.iter().any(|name| name == names::MANIFEST) {
        return refuse("it is a whole store, not a log alone; open it with Db::open".to_owned());
    }
    let unknown = |name: &&String| *name != names::LOCK && !names::is_tmp(name);
    match files.iter().find(unknown) {
        Some(name) if !has_segments(files) => {
            refuse(format!("it holds {name:?} and no log; choose an empty directory"))
        }
        _ => Ok(()),
    }
}

impl Wal {
    /// Makes a new log in a locked directory without segments.
    pub(crate) fn create(
        dir: Dir,
        options: WalOptions,
        store_id: StoreId,
        lock: Box<dyn LockGuard>,
    ) -> Result<Wal> {
        open::remove_unfinished(&dir, &dir.list()?)?;
        let ready = open::create(&dir, &options, store_id, Lsn::new(1))?;
        let log = Arc::new(Log::new(dir, options, ready, lock));
        Ok(Wal { log, alone: None, report: LogReport::default() })
    }

    /// Makes a log without records in a locked directory without segments: its first LSN will be `base`.
    pub(crate) fn create_empty(dir: &Dir, options: &WalOptions, store_id: StoreId, base: Lsn) -> Result<()> {
        options.check()?;
        open::create(dir, options, store_id, base).map(drop)
    }

    /// Goes on with the log in a locked directory, of which every piece was read.
    pub(crate) fn go_on(
        opening: Opening,
        options: WalOptions,
        lock: Box<dyn LockGuard>,
        pieces: Vec<Piece>,
    ) -> Result<Wal> {
        let (ready, report) = open::recover(&opening, &options, pieces)?;
        let log = Arc::new(Log::new(opening.dir, options, ready, lock));
        Ok(Wal { log, alone: None, report })
    }

    /// Lets go of a log that was just made and that nobody will miss: not even a close mark is written.
    pub(crate) fn abandon(self) {
        self.log.abandon();
    }
}
