//! The write-ahead log, usable alone: [`Wal`].
//!
//! ```text
//!  00000000000000000001.wal                 00000000000000000412.wal
//!  ┌────────┬───┬───┬───┬─ … ─┬──────┐      ┌────────┬─────┬─────┬───────────────────────┐
//!  │ header │ 1 │ 2 │ 3 │     │ seal │      │ header │ 412 │ 413 │ zeros, up to its size │
//!  └────────┴───┴───┴───┴─ … ─┴──────┘      └────────┴─────┴─────┴───────────────────────┘
//!                                            └ states the last LSN and the digest of the file before
//! ```
//!
//! A record is **durable** when a sync that began after its write has succeeded. Only the last segment can be torn;
//! whether its end is torn or corrupt is decided by *evidence* (the module `evidence`).
//!
//! Architecture invariant: the log knows neither the memtable nor the store. It carries bytes. What a manifest or a
//! checkpoint proves about it is given to its opening.
//!
//! Where to read next, in this order: `log` (the sync gate, rotation), `tail` (appending), `build` (how a segment gets its
//! name), `evidence` and `replay` (reading it back), `open` (after a crash), `cut`, `keeper`, `reader`, `verify`.

mod build;
mod cut;
mod evidence;
mod keeper;
mod log;
mod open;
mod plan;
mod poison;
mod reader;
mod replay;
mod segment_reader;
mod tail;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use crate::error::{Error, Result};
use crate::format::StoreId;
use crate::format::names;
use crate::format::record::RecordKind;
use crate::lsn::Lsn;
use crate::options::{Durability, WalOptions};
use crate::storage::LockGuard;
use crate::storage::dir::Dir;

pub(crate) use self::keeper::{Keeper, Kept};
use self::log::Log;
pub use self::open::{LogReport, TornTail};
pub(crate) use self::open::{has_segments, new_store_id, read_only};
pub(crate) use self::plan::Given;
pub(crate) use self::reader::look_again;
pub use self::reader::{LogReader, Record, Records, SegmentRecords};
pub(crate) use self::replay::{RecordRef, Visit};
pub use self::replay::{SegmentState, SegmentSummary};
pub(crate) use self::verify::verify;
pub use self::verify::{LogStatus, LogVerification, Problem};

/// A write-ahead log: numbered records in segment files, durable when the log says so.
///
/// Many threads may append; their order is the order of the LSNs. Dropping the log closes it as well as it can;
/// [`Wal::close`] also says whether that worked.
///
/// ```
/// use forelog::wal::Wal;
///
/// let dir = tempfile::tempdir()?;
/// let wal = Wal::open(dir.path().join("log"))?;
/// let lsn = wal.append(b"hello")?; // durable now: the default is Durability::Sync
/// assert_eq!(wal.durable_lsn(), lsn);
///
/// for record in wal.read_from(lsn)? {
///     assert_eq!(record?.payload, b"hello");
/// }
/// wal.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Wal {
    log: Arc<Log>,
    /// `None` inside a store, which has a keeper of its own.
    keeper: Option<Keeper>,
    report: LogReport,
}

impl WalOptions {
    /// Opens the log in a directory of [`WalOptions::storage`], creating both where they are missing.
    ///
    /// # Errors
    /// [`Error::Locked`] if it is open elsewhere, [`Error::Corruption`] and [`Error::MissingSegment`] if something
    /// that was durable is damaged or gone, [`Error::NotAStore`] for a directory with other files,
    /// [`Error::InvalidOption`], [`Error::Io`].
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
        let keeper = Keeper::new(self.idle_mark);
        if has_segments(&files) {
            let (mut wal, report) = Wal::recover(dir, self, Given::default(), lock, &mut |_| Ok(()))?;
            wal.keeper = Some(keeper);
            wal.report = report;
            return Ok(wal);
        }
        let store_id = new_store_id(&*self.storage);
        let mut wal = Wal::create(dir, self, store_id, lock)?;
        wal.keeper = Some(keeper);
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
    /// Opens the log in a directory of the real disk with the default options, creating both where they are missing.
    ///
    /// # Errors
    /// As [`WalOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Wal> {
        WalOptions::new().open(path)
    }

    /// Makes a new log in a locked directory without segments.
    pub(crate) fn create(
        dir: Dir,
        options: WalOptions,
        store_id: StoreId,
        lock: Box<dyn LockGuard>,
    ) -> Result<Wal> {
        open::remove_unfinished(&dir, &dir.list()?)?;
        let ready = open::create(&dir, &options, store_id)?;
        let log = Arc::new(Log::new(dir, options, ready, lock));
        Ok(Wal { log, keeper: None, report: LogReport::default() })
    }

    /// Recovers the log in a locked directory with segments, and gives its records to `visit`.
    pub(crate) fn recover(
        dir: Dir,
        options: WalOptions,
        given: Given,
        lock: Box<dyn LockGuard>,
        visit: &mut Visit<'_>,
    ) -> Result<(Wal, LogReport)> {
        let (ready, report) = open::recover(&dir, &options, given, visit)?;
        let log = Arc::new(Log::new(dir, options, ready, lock));
        Ok((Wal { log, keeper: None, report: report.clone() }, report))
    }

    /// Appends a record with the log's own durability and returns its LSN.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond [`Wal::max_payload_bytes`], before anything is written; [`Error::Poisoned`] after
    /// a failed write or sync; [`Error::Closed`].
    pub fn append(&self, payload: &[u8]) -> Result<Lsn> {
        self.append_with(&[payload], self.log.options.durability)
    }

    /// Appends records, one behind the other, with one sync. Returns the LSN of the last; the others come just before.
    /// Without payloads, nothing happens and the last LSN of the log is returned.
    ///
    /// The records are not a unit: after a crash, any number of the first ones may be there.
    ///
    /// # Errors
    /// As [`Wal::append`].
    pub fn append_many(&self, payloads: &[&[u8]]) -> Result<Lsn> {
        self.append_with(payloads, self.log.options.durability)
    }

    /// Appends records with a durability of their own.
    ///
    /// # Errors
    /// As [`Wal::append`].
    pub fn append_with(&self, payloads: &[&[u8]], durability: Durability) -> Result<Lsn> {
        if payloads.is_empty() {
            return Ok(self.last_lsn());
        }
        let lsn = self.log.write(RecordKind::Data, payloads)?;
        if let Some(keeper) = &self.keeper {
            let within = match durability {
                Durability::Interval(delay) => Some(delay),
                Durability::Sync | Durability::Buffered => None,
            };
            keeper.wrote(within, || -> Weak<Log> { Arc::downgrade(&self.log) });
        }
        if durability == Durability::Sync {
            self.log.sync_to(lsn)?;
        }
        Ok(lsn)
    }

    /// Writes records and nothing else: no sync, no keeper. For the store, which has its own.
    pub(crate) fn write(&self, payloads: &[&[u8]]) -> Result<Lsn> {
        self.log.write(RecordKind::Data, payloads)
    }

    /// Writes a sync mark and does not sync it; `None` if there is nothing to prove.
    pub(crate) fn write_mark(&self) -> Result<Option<Lsn>> {
        if !self.log.wants_mark() {
            return Ok(None);
        }
        self.log.write(RecordKind::SyncMark, &[&[]]).map(Some)
    }

    /// Makes everything durable that was appended so far, and returns the durable LSN.
    ///
    /// # Errors
    /// [`Error::Poisoned`]; the outcome of what was not durable is then unknown.
    pub fn sync(&self) -> Result<Lsn> {
        self.log.poison.check()?;
        self.log.sync_to(self.log.written())?;
        Ok(self.log.durable())
    }

    /// Returns once everything up to `lsn` is durable, and sees to the sync.
    ///
    /// # Errors
    /// [`Error::Poisoned`]. An LSN that was not given out yet is [`Error::InvalidOption`]: it would wait for ever.
    pub fn wait_durable(&self, lsn: Lsn) -> Result<()> {
        let last = self.last_lsn();
        if lsn > last {
            let reason = format!("{lsn} was not given out yet; the last one is {last}");
            return Err(Error::InvalidOption { option: "lsn", reason });
        }
        self.log.sync_to(lsn)
    }

    /// Writes and syncs a sync mark, as the background thread does when the log falls idle: from here on it is proven
    /// that everything before was durable, so that damage to it is told from a torn tail. Returns the mark's LSN, or
    /// the last LSN if there is nothing to prove.
    ///
    /// # Errors
    /// As [`Wal::append`].
    pub fn mark(&self) -> Result<Lsn> {
        if !self.log.wants_mark() {
            return Ok(self.last_lsn());
        }
        self.log.mark(RecordKind::SyncMark)
    }

    /// The last LSN that was given out.
    pub fn last_lsn(&self) -> Lsn {
        self.log.written()
    }

    /// The oldest LSN that the log still holds; the next to be given out where it holds none.
    pub fn oldest_lsn(&self) -> Lsn {
        self.log.oldest()
    }

    /// True after a failed write or sync: the log takes no more records.
    pub fn is_poisoned(&self) -> bool {
        self.log.poison.check().is_err()
    }

    /// Everything up to this LSN survives a power cut.
    pub fn durable_lsn(&self) -> Lsn {
        self.log.durable()
    }

    /// The longest payload that a record can have, in bytes. It follows from the segment's length.
    pub fn max_payload_bytes(&self) -> u64 {
        self.log.max_payload_bytes()
    }

    /// What opening the log found and did.
    pub fn report(&self) -> &LogReport {
        &self.report
    }

    /// The log's directory.
    pub fn path(&self) -> PathBuf {
        self.log.dir.path().to_path_buf()
    }

    /// The id that every file of the log carries.
    pub fn store_id(&self) -> StoreId {
        self.log.store_id
    }

    /// The records from `lsn` on, up to the durable LSN, marks included. When more became durable, the same iterator
    /// goes on.
    ///
    /// # Errors
    /// [`Error::Compacted`] if `lsn` was removed.
    pub fn read_from(&self, lsn: Lsn) -> Result<Records> {
        Records::new(self.log.clone(), lsn.max(Lsn::new(1)))
    }

    /// One reader for each segment, to be used by as many threads; each ends at what is durable now.
    pub fn segment_readers(&self) -> Vec<SegmentRecords> {
        let durable = self.durable_lsn();
        self.segments()
            .into_iter()
            .map(|summary| {
                let until = summary.last_lsn.min(durable);
                SegmentRecords::new(self.log.dir.clone(), summary.base_lsn, until)
            })
            .collect()
    }

    /// The segments, in order. The last one is being written.
    pub fn segments(&self) -> Vec<SegmentSummary> {
        self.log.segments()
    }

    /// Goes on in a new segment; nothing happens while the last one is empty.
    ///
    /// # Errors
    /// As [`Wal::append`].
    pub fn rotate(&self) -> Result<()> {
        self.log.rotate_by_hand()
    }

    /// Removes the segments whose records all lie below `lsn`; the last segment stays. Returns how many went.
    ///
    /// # Errors
    /// As [`Wal::append`].
    pub fn remove_before(&self, lsn: Lsn) -> Result<usize> {
        self.log.remove_before(lsn)
    }

    /// Removes every record above `lsn`, in one step that a crash cannot halve. Their LSNs are given out again, so
    /// nobody may rely on the removed records any more; nothing should be appended meanwhile.
    ///
    /// # Errors
    /// [`Error::Compacted`] if what lies behind `lsn` was removed at the other end; otherwise as [`Wal::append`].
    pub fn cut_after(&self, lsn: Lsn) -> Result<()> {
        self.log.cut_after(lsn)
    }

    /// Reads everything, changes nothing, and names what is wrong. The log may be written meanwhile.
    ///
    /// # Errors
    /// [`Error::Io`]. Damage is no error but part of the result.
    pub fn verify(&self) -> Result<LogVerification> {
        let given = Given { store_id: Some(self.log.store_id), ..Given::default() };
        verify(&self.log.dir, given, &mut |_| Ok(()))
    }

    /// Syncs, writes a close mark and gives the directory free. Later writes are [`Error::Closed`].
    ///
    /// # Errors
    /// [`Error::Poisoned`]: then nothing is written.
    pub fn close(&self) -> Result<()> {
        if let Some(keeper) = &self.keeper {
            keeper.stop();
        }
        self.log.close()
    }
}

impl Wal {
    /// Lets go of a log that was just made and that nobody will miss: not even a close mark is written.
    pub(crate) fn abandon(self) {
        self.log.abandon();
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        // Whoever wants to know whether this worked calls `close`.
        let _ = self.close();
    }
}

impl Kept for Log {
    fn sync(&self) {
        // A failure poisons the log: the next writer hears of it.
        let _ = self.sync_to(self.written());
    }

    fn mark(&self) {
        if self.wants_mark() {
            let _ = Log::mark(self, RecordKind::SyncMark);
        }
    }
}
