//! What a store does with the log inside it, and other users of a log do not: it has its own queue and keeper.

use std::sync::Arc;

use super::Wal;
use super::future::Durable;
use super::keeper::{Keeper, Kept};
use super::log::{Log, Waking};
use super::poison::Alarm;
use super::segment_reader::Segment;
use super::tail::Records;
use crate::error::{Error, Result};
use crate::format::record::RecordKind;
use crate::format::segment::SEGMENT_HEADER_BYTES;
use crate::lsn::Lsn;
use crate::storage::Access;

impl Wal {
    /// # Errors
    /// [`Error::TooLarge`] for a payload that no segment could hold.
    pub(crate) fn check_size(&self, payload_bytes: usize) -> Result<()> {
        let (size, limit) = (payload_bytes as u64, self.max_payload_bytes());
        if size <= limit { Ok(()) } else { Err(Error::TooLarge { what: "batch", size, limit }) }
    }

    /// Poisons the log: a write of which it knows nothing has failed half-way.
    pub(crate) fn poison(&self, cause: Error) {
        self.log.poison(cause);
    }

    /// To be made at the beginning of every call that may write or sync. `keeper` calls the wakers, if it runs.
    pub(crate) fn waking<'a>(&'a self, keeper: &'a Keeper) -> Waking<'a> {
        Waking { log: &self.log, keeper }
    }

    /// Wakes the futures whose wait is over.
    pub(crate) fn wake_sleepers(&self) {
        self.log.wake_sleepers();
    }

    /// Who is to hear of the first failed write or sync, while it happens.
    pub(crate) fn tell_of_poison(&self, alarm: Arc<dyn Alarm>) {
        self.log.poison.tell(alarm);
    }

    /// As [`Wal::close`], for a caller that holds locks of its own: wakes nobody. `ended` is called when all of the log is
    /// durable and the directory still locked.
    pub(crate) fn end(&self, ended: impl FnOnce()) -> Result<()> {
        self.log.close(ended)
    }

    /// As [`Wal::remove_before`], for a caller that holds locks of its own: wakes nobody.
    pub(crate) fn drop_before(&self, lsn: Lsn) -> Result<usize> {
        self.log.remove_before(lsn)
    }

    /// Poisons the log because a thread has panicked in the middle of a write.
    pub(crate) fn poison_after_panic(&self) {
        self.log.poison_after_panic();
    }

    /// Writes records and nothing else: no sync, no keeper. For the store, which has its own. `sync_follows`: it will
    /// ask for one at once.
    pub(crate) fn write(&self, payloads: &[&[u8]], sync_follows: bool) -> Result<Lsn> {
        self.log.write(Records { kind: RecordKind::Data, payloads, sync_follows })
    }

    /// True if a mark would prove something that is not proven yet.
    pub(crate) fn wants_mark(&self) -> bool {
        self.log.wants_mark()
    }

    /// Writes a sync mark and does not sync it; `None` if there is nothing to prove.
    pub(crate) fn write_mark(&self) -> Result<Option<Lsn>> {
        if !self.log.wants_mark() {
            return Ok(None);
        }
        self.log.write(Records::mark(RecordKind::SyncMark)).map(Some)
    }

    /// The same, for as many callers as wait behind this one.
    pub(crate) fn wait_durable_for(&self, lsn: Lsn, callers: usize) -> Result<()> {
        self.check_given_out(lsn)?;
        self.log.sync_to(lsn, callers)
    }

    /// The same, but nobody has been asked for the sync.
    pub(crate) fn durable_unasked(&self, lsn: Lsn) -> Result<Durable> {
        self.check_given_out(lsn)?;
        Ok(Durable::new(self.log.clone(), lsn))
    }

    /// Bytes of records written since the log was opened.
    pub(crate) fn appended_bytes(&self) -> u64 {
        self.log.appended_bytes()
    }

    /// The time of the last record, in microseconds since 1970.
    pub(crate) fn time_us(&self) -> u64 {
        self.log.tail.lock().time_us
    }

    /// About how many bytes of records lie behind `lsn`.
    pub(crate) fn bytes_behind(&self, lsn: Lsn) -> u64 {
        let behind = self.segments().into_iter().filter(|segment| segment.last_lsn > lsn);
        behind
            .map(|segment| {
                segment.used_bytes.unwrap_or(segment.bytes).saturating_sub(SEGMENT_HEADER_BYTES as u64)
            })
            .sum()
    }

    /// The oldest LSN that a reader of this log has pinned.
    pub(crate) fn oldest_read(&self) -> Option<Lsn> {
        self.log.pins.oldest()
    }

    /// When the segment of this base was made, in microseconds since 1970.
    pub(crate) fn segment_created_us(&self, base: Lsn) -> Result<u64> {
        Ok(Segment::open(&self.log.dir, base, Access::Read)?.header.created_us)
    }

    /// True if the next segment's file should be made soon.
    pub(crate) fn wants_spare(&self) -> bool {
        self.log.spare.is_wanted()
    }

    /// True if the last sync served more writers than one.
    pub(crate) fn shares_syncs(&self) -> bool {
        self.log.gate.is_shared()
    }

    /// # Errors
    /// [`Error::Poisoned`] after a failed write or sync.
    pub(crate) fn check_poison(&self) -> Result<()> {
        self.log.poison.check()
    }
}

impl Kept for Log {
    fn wake(&self) {
        self.wake_sleepers();
    }

    fn sync(&self) {
        // A failure poisons the log: the next writer hears of it.
        let _ = self.sync_to(self.written(), 1);
    }

    fn panicked(&self) {
        self.poison_after_panic();
    }

    fn prepare(&self) {
        // The rotation tries again, and says what is wrong.
        let _ = self.prepare_spare();
    }

    fn mark(&self) {
        if self.wants_mark() {
            let _ = Log::mark(self, RecordKind::SyncMark);
        }
    }
}
