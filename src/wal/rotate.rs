//! How the log goes on in a new segment.
//!
//! What a crash leaves behind at each step: before the new segment has its name, a `*.tmp`; after it, a log whose last
//! segment is empty, and whose last but one may lack its seal, which the next opening writes.

use super::build::{Builder, write_seal};
use super::log::Log;
use super::open::new_header;
use super::replay::{SegmentState, SegmentSummary};
use super::tail::Tail;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::format::segment::SegmentHeader;
use crate::storage::dir::DirFile;
use crate::sync::MutexGuard;

impl Log {
    /// Goes on in a new segment. The order of the steps is the protocol: each was checked to be needed.
    ///
    /// ```text
    ///  sync k → publish durable → k+1 as spare.tmp, synced → its name, directory synced → seal k, synced → write to k+1
    /// ```
    pub(super) fn rotate(&self, tail: &mut Tail) -> Result<()> {
        let mut file = self.gate.lock();
        self.guard(|| self.rotate_locked(tail, &mut file))
    }

    fn rotate_locked(&self, tail: &mut Tail, file: &mut MutexGuard<'_, DirFile>) -> Result<()> {
        // Whoever held the file may have failed: a second sync would say that all is well.
        self.poison.check()?;
        self.sync_file(file)?;
        let old = tail.segment.clone();
        let end = tail.position;
        let fresh = new_header(&self.dir, &self.options, self.store_id);
        // A segment without a record, too short for the one to come, is replaced: the new one takes its name.
        let replaces = end.lsn == old.base();
        let previous_digest = if replaces { old.header.previous_digest } else { end.digest };
        let header = SegmentHeader {
            base: end.lsn,
            previous_last: end.lsn.previous(),
            previous_digest,
            proven_to: end.lsn.previous(),
            created_us: fresh.created_us.max(tail.time_us),
            cut: old.header.cut,
            ..fresh
        };
        let (segment, position) =
            self.spare.give(|spare| Builder::with_spare(&self.dir, header, spare)?.name())?;
        if !replaces {
            write_seal(&old, end, end.offset)?;
            self.closed.write().push(SegmentSummary::new(&old, end, SegmentState::Closed));
        }
        **file = segment.file.clone();
        tail.go_on_in(segment, position);
        let name = &*tail.segment.name;
        self.options.events.tell(|| Event::Rotated { base: tail.segment.base(), file: name });
        Ok(())
    }

    /// Goes on in a new segment by hand; nothing happens while the last one is empty.
    pub(super) fn rotate_by_hand(&self) -> Result<()> {
        let mut tail = self.tail.lock();
        if tail.closed {
            return Err(Error::Closed);
        }
        self.poison.check()?;
        if tail.position.lsn == tail.segment.base() {
            return Ok(());
        }
        let rotated = self.rotate(&mut tail);
        self.owe_wakes();
        rotated
    }
}
