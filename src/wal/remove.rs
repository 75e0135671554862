//! Removes old segments at the beginning of the log, beside those who write and read it.
//!
//! One segment at a time, oldest first, each removal durable before the next: a power cut may undo any unsynced
//! removal, and a hole in the middle would be taken for a lost file.
//!
//! No lock that a writer takes is held while the disk works. A segment leaves the list of segments first, so that
//! nobody opens it any more; who reads in it has pinned it, and then it stays ([`Pins`](super::pins::Pins)).

use super::log::Log;
use super::replay::SegmentSummary;
use crate::error::{Error, Result};
use crate::lsn::Lsn;

impl Log {
    /// Removes every closed segment whose records all lie below `lsn`, and below what readers have pinned. Returns how
    /// many went.
    pub(super) fn remove_before(&self, lsn: Lsn) -> Result<usize> {
        let _removing = self.removing.lock();
        let mut removed = 0;
        loop {
            if self.tail.lock().closed {
                return Err(Error::Closed);
            }
            self.poison.check()?;
            let Some(oldest) = self.take_oldest_below(lsn) else { return Ok(removed) };
            // A file that cannot be removed does no harm to the log. A name that may come back does: what comes after
            // would stand behind a hole.
            let gone = self.dir.remove(&oldest.file).and_then(|()| self.guard(|| self.dir.sync()));
            if let Err(error) = gone {
                // It may still be there: then it is still the first.
                self.closed.write().insert(0, oldest);
                return Err(error);
            }
            removed += 1;
        }
    }

    fn take_oldest_below(&self, lsn: Lsn) -> Option<SegmentSummary> {
        let mut closed = self.closed.write();
        // ORDER: with `closed` held, as readers pin: none can have found the segment and not have pinned it.
        let limit = self.pins.oldest().map_or(lsn, |pinned| pinned.min(lsn));
        closed.first().is_some_and(|oldest| oldest.last_lsn < limit).then(|| closed.remove(0))
    }
}
