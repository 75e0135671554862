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
//! Where to read next, in this order: `log` (writing), `rotate`, `tail` (appending), `queue` and `gate` (one write and one
//! sync for many threads), `build` and `spare` (how a segment comes to its name), `evidence` and `replay` (reading it
//! back), `opening` (by many threads), `open` (after a crash), `cut`, `keeper`, `future`, `reader`, `verify`, `salvage`.

mod append;
mod archive;
mod build;
mod close;
mod cut;
mod evidence;
mod future;
mod gate;
mod headless;
mod inside;
mod keeper;
mod log;
mod look;
mod members;
mod open;
mod opening;
mod outcome;
mod pins;
mod plan;
mod poison;
mod queue;
mod reader;
mod remove;
mod replay;
mod rotate;
mod salvage;
mod segment_reader;
mod spare;
mod start;
mod tail;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::StoreId;
use crate::format::record::RecordKind;
use crate::lsn::Lsn;
use crate::options::{Durability, WalOptions, check_durability};

use self::append::{Alone, Append, Appending};
pub(crate) use self::archive::{ArchivedSegment, verify_archived};
pub(crate) use self::build::keep_in_lost;
pub use self::future::Durable;
pub(crate) use self::keeper::{Keeper, Kept};
use self::log::Log;
pub(crate) use self::look::{is_live, look_again, look_for_damage};
pub(crate) use self::members::Members;
pub(crate) use self::open::store_id_of;
pub use self::open::{LogReport, TornTail};
pub(crate) use self::open::{has_segments, new_store_id, read_only, report_on};
pub(crate) use self::opening::{Claims, Failure, Opening, Piece, in_threads, map_in_threads};
pub(crate) use self::outcome::Outcome;
pub(crate) use self::plan::Given;
pub(crate) use self::queue::{Queue, Work};
pub use self::reader::{LogReader, Record, Records, SegmentRecords};
pub(crate) use self::replay::{RecordRef, Visit};
pub use self::replay::{SegmentState, SegmentSummary};
pub(crate) use self::salvage::{Lost, Salvaged, salvage, salvage_archived};
pub(crate) use self::verify::verify_once;
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
    /// How threads come to write, and who syncs in the background. `None` inside a store, which has its own.
    alone: Option<Alone>,
    report: LogReport,
}

impl Wal {
    /// Opens the log in a directory of the real disk with the default options, creating both where they are missing.
    ///
    /// # Errors
    /// As [`WalOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Wal> {
        WalOptions::new().open(path)
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
        check_durability(durability)?;
        let Some(alone) = self.alone.as_ref().filter(|_| !payloads.is_empty()) else {
            return Ok(self.last_lsn());
        };
        let _waking = self.waking_alone();
        // Before it joins others: what is too long must not fail with them, or they with it. And a poisoned log answers
        // at once, whoever may be stuck in a call that never returns.
        self.log.poison.check()?;
        payloads.iter().try_for_each(|payload| self.check_size(payload.len()))?;
        let gather = durability == Durability::Sync && self.log.gate.is_shared();
        alone.queue.pass(Append::new(payloads, durability), gather, &Appending { wal: self, alone })
    }

    /// Makes everything durable that was appended so far, and returns the durable LSN.
    ///
    /// # Errors
    /// [`Error::Poisoned`]; the outcome of what was not durable is then unknown.
    pub fn sync(&self) -> Result<Lsn> {
        let _waking = self.waking_alone();
        self.log.poison.check()?;
        self.log.sync_to(self.log.written(), 1)?;
        Ok(self.log.durable())
    }

    /// Returns once everything up to `lsn` is durable, and sees to the sync.
    ///
    /// # Errors
    /// [`Error::Poisoned`]. An LSN that was not given out yet is [`Error::InvalidOption`]: it would wait for ever.
    pub fn wait_durable(&self, lsn: Lsn) -> Result<()> {
        let _waking = self.waking_alone();
        self.wait_durable_for(lsn, 1)
    }

    /// A future that resolves once everything up to `lsn` is durable. It needs no runtime and blocks no thread: the
    /// sync is done in the background, and has been asked for when this returns. (Where the system gives no thread for
    /// that, this call itself syncs.)
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for an LSN that was not given out yet. The future, and that sync: [`Error::Poisoned`].
    ///
    /// ```
    /// use forelog::{Durability, WalOptions};
    /// # use std::{future::Future, pin::pin, sync::Arc, task::{Context, Poll, Wake}, thread::{self, Thread}};
    /// # struct Unpark(Thread);
    /// # impl Wake for Unpark { fn wake(self: Arc<Self>) { self.0.unpark() } }
    /// # fn block_on<F: Future>(future: F) -> F::Output {
    /// #     let (mut future, waker) = (pin!(future), Arc::new(Unpark(thread::current())).into());
    /// #     loop {
    /// #         match future.as_mut().poll(&mut Context::from_waker(&waker)) {
    /// #             Poll::Ready(output) => return output,
    /// #             Poll::Pending => thread::park(),
    /// #         }
    /// #     }
    /// # }
    ///
    /// let dir = tempfile::tempdir()?;
    /// let wal = WalOptions::new().durability(Durability::Buffered).open(dir.path().join("log"))?;
    /// let lsn = wal.append(b"written, not synced")?;
    /// block_on(wal.durable(lsn)?)?; // any executor will do
    /// assert!(wal.durable_lsn() >= lsn);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn durable(&self, lsn: Lsn) -> Result<Durable> {
        let _waking = self.waking_alone();
        let future = self.durable_unasked(lsn)?;
        if let Some(alone) = self.alone.as_ref().filter(|_| !self.log.is_settled(lsn))
            && !alone.keeper.sync_soon(|| Arc::downgrade(&self.log))
        {
            // There is no thread to be had: better to block than to wait for ever.
            self.log.sync_to(lsn, 1)?;
        }
        Ok(future)
    }

    /// See [`Waking`](log::Waking). Inside a store it is the store that has one.
    fn waking_alone(&self) -> Option<log::Waking<'_>> {
        self.alone.as_ref().map(|alone| self.waking(&alone.keeper))
    }

    fn check_given_out(&self, lsn: Lsn) -> Result<()> {
        check_given_out(lsn, self.last_lsn())
    }

    /// Makes the file of the next segment ahead of time, as the background thread does when the current one is half
    /// full. Nothing happens if it is there.
    ///
    /// # Errors
    /// [`Error::Io`]: the log is not poisoned by it, and the rotation tries again; [`Error::Poisoned`],
    /// [`Error::Closed`].
    pub fn prepare_spare(&self) -> Result<()> {
        self.log.prepare_spare()
    }

    /// Writes and syncs a sync mark, as the background thread does when the log falls idle: from here on it is proven
    /// that everything before was durable, so that damage to it is told from a torn tail. Returns the mark's LSN, or
    /// the last LSN if there is nothing to prove.
    ///
    /// # Errors
    /// As [`Wal::append`].
    pub fn mark(&self) -> Result<Lsn> {
        let _waking = self.waking_alone();
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
        self.log.poison.is_set()
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
        let _waking = self.waking_alone();
        self.log.rotate_by_hand()
    }

    /// Removes the segments whose records all lie below `lsn`; the last segment stays, and so does what readers of
    /// [`Wal::read_from`] are in. Writers and readers go on meanwhile. Returns how many went.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that cannot be removed: the log goes on, and it is the first one still. Otherwise as
    /// [`Wal::append`].
    pub fn remove_before(&self, lsn: Lsn) -> Result<usize> {
        let _waking = self.waking_alone();
        self.log.remove_before(lsn)
    }

    /// Removes every record above `lsn`, in one step that a crash cannot halve. Their LSNs are given out again, so
    /// nobody may rely on the removed records any more; nothing should be appended meanwhile.
    ///
    /// # Errors
    /// [`Error::Compacted`] if what lies behind `lsn` was removed at the other end; otherwise as [`Wal::append`].
    pub fn cut_after(&self, lsn: Lsn) -> Result<()> {
        let _waking = self.waking_alone();
        self.log.cut_after(lsn)
    }

    /// Reads everything, changes nothing, and names what is wrong. The log may be written meanwhile.
    ///
    /// # Errors
    /// [`Error::Io`]. Damage is no error but part of the result.
    pub fn verify(&self) -> Result<LogVerification> {
        let given = Given { store_id: Some(self.log.store_id), ..Given::default() };
        verify::verify(&self.log.dir, given, self.log.options.recovery_threads, &|_| Ok(()))
    }

    /// Syncs, writes a close mark and gives the directory free. Later writes are [`Error::Closed`].
    ///
    /// # Errors
    /// [`Error::Poisoned`]: then nothing is written.
    pub fn close(&self) -> Result<()> {
        let _waking = self.waking_alone();
        if let Some(alone) = &self.alone {
            alone.keeper.stop();
        }
        self.log.close(|| ())
    }
}

/// # Errors
/// [`Error::InvalidOption`] for an LSN beyond the last one that was given out.
pub(crate) fn check_given_out(lsn: Lsn, last: Lsn) -> Result<()> {
    if lsn <= last {
        return Ok(());
    }
    let reason = format!("{lsn} was not given out yet; the last one is {last}");
    Err(Error::InvalidOption { option: "lsn", reason })
}

impl Drop for Wal {
    fn drop(&mut self) {
        // Whoever wants to know whether this worked calls `close`.
        let _ = self.close();
    }
}
