//! Cuts records off the end of the log.
//!
//! A cut must happen in one step although many files go. The step is the rename that gives a new
//! segment its name. Its header carries a higher *cut* number than all before it:
//!
//! ```text
//!   1.wal (cut 0)   100.wal (cut 0)   200.wal (cut 0)      cut after 150 ──▶  151.wal (cut 1)
//!
//!   in order: 1 (0), 100 (0), 151 (1), 200 (0)  ──▶  200 comes after a higher cut number: it is out of the log
//! ```
//!
//! `151.wal` bounds `100.wal`, whose records from 151 on are never read again. Before the rename nothing has happened;
//! after it, everything has. The files that are out are removed then, or by the next opening.

use super::build::{Builder, write_seal};
use super::log::Log;
use super::open::new_header;
use super::replay::{SegmentState, SegmentSummary};
use super::segment_reader::{Segment, SegmentReader};
use crate::error::{CorruptionKind, Error, Result};
use crate::format::names;
use crate::format::segment::SegmentHeader;
use crate::lsn::Lsn;
use crate::storage::Access;

impl Log {
    /// Removes every record above `lsn`.
    pub(super) fn cut_after(&self, lsn: Lsn) -> Result<()> {
        // So that what is there does not go between the look and the cut.
        let _removing = self.removing.lock();
        let oldest = self.oldest();
        if lsn.next() < oldest {
            return Err(Error::Compacted { oldest });
        }
        self.exclusive(|tail, file| {
            let first_gone = lsn.next();
            if first_gone >= tail.position.lsn {
                return Ok(());
            }
            let mut closed = self.closed.write();
            // The segment that holds the first record to go; it is the last one if no closed one does.
            let base = closed
                .iter()
                .find(|segment| segment.last_lsn >= first_gone)
                .map_or(tail.segment.base(), |segment| segment.base_lsn);
            let segment = Segment::open(&self.dir, base, Access::ReadWrite)?;
            let mut reader = SegmentReader::new(segment);
            let at = reader.skip_to(first_gone)?;
            let old = reader.segment();
            if at.lsn != first_gone {
                let kind = CorruptionKind::RecordHeader;
                return Err(Error::corruption(old.file.path(), at.offset, Some(at.lsn), kind, None));
            }
            let (previous_last, previous_digest) = if base == first_gone {
                (old.header.previous_last, old.header.previous_digest)
            } else {
                (lsn, at.digest)
            };
            let fresh = new_header(&self.dir, &self.options, self.store_id);
            let header = SegmentHeader {
                base: first_gone,
                previous_last,
                previous_digest,
                proven_to: lsn,
                created_us: fresh.created_us.max(tail.time_us),
                cut: tail.segment.header.cut + 1,
                ..fresh
            };
            let (successor, position) =
                self.spare.give(|spare| Builder::with_spare(&self.dir, header, spare)?.name())?;

            // The cut has happened. What follows only tidies up.
            let mut gone: Vec<Lsn> = closed.iter().map(|segment| segment.base_lsn).collect();
            gone.push(tail.segment.base());
            gone.retain(|base| *base > first_gone);
            closed.retain(|segment| segment.base_lsn < base);
            if base < first_gone {
                write_seal(old, at, old.header.last_seal_offset())?;
                closed.push(SegmentSummary::new(old, at, SegmentState::Closed));
            }
            *file = successor.file.clone();
            tail.go_on_in(successor, position);
            self.count_cut();
            gone.into_iter().try_for_each(|base| self.dir.remove(&names::segment(base)))?;
            self.dir.sync()
        })
    }
}
