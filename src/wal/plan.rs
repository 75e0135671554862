//! Which files are the log, before any record is read.
//!
//! ```text
//!  names → headers → those that a cut superseded, those below the floor → a chain, each bounded by its successor
//! ```
//!
//! A segment with a successor must yield exactly `base ..= successor.base - 1`, with the digest that the successor
//! states. What lies behind that bound is never read: it may be the rest of a torn tail.

use super::segment_reader::Segment;
use crate::error::{CorruptionKind, Error, Evidence, EvidenceSource, Result};
use crate::format::StoreId;
use crate::format::checksum::Digest;
use crate::format::names;
use crate::format::segment::SegmentHeader;
use crate::lsn::Lsn;
use crate::storage::Access;
use crate::storage::dir::Dir;

/// What others know about the log: the manifest and the checkpoint of a store. A log alone is given nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Given {
    /// The segment that must be the first; those below are no part of the log. `None`: the oldest there is.
    pub(crate) first_segment: Option<Lsn>,
    /// An LSN that the log must reach.
    pub(crate) proven: Option<Evidence>,
    /// The store that the segments must belong to. `None`: that of the first one.
    pub(crate) store_id: Option<StoreId>,
    /// Everything up to this LSN is in a checkpoint already: these records are given to nobody, and segments that hold
    /// no other are not read.
    pub(crate) applied: Lsn,
}

/// A segment's place in the chain. The file is not kept open: a log may have more segments than a process descriptors.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) header: SegmentHeader,
    /// What the successor states: the last LSN of this segment and the digest up to it. `None` for the last segment.
    pub(super) bound: Option<(Lsn, Digest)>,
}

/// The log as its headers describe it.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// In the order of their LSNs.
    pub(super) links: Vec<Link>,
    /// Segments that a cut took out of the log: still on disk, read by nobody.
    pub(super) superseded: Vec<Lsn>,
}

/// The bases of all files that are named like a segment, ascending.
pub(super) fn segment_bases(names: &[String]) -> Vec<Lsn> {
    names.iter().filter_map(|name| names::parse_segment(name)).collect()
}

impl Plan {
    /// Reads the headers of a directory's segments, of those that begin at `until` or before. The header of the next one is
    /// read, too, for what it says of the one before it. If it is damaged, it says nothing; and neither does that of a
    /// segment of which all is applied, if only a state is wanted and no log to go on with (`until` is an LSN of it).
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(super) fn read(dir: &Dir, names: &[String], given: Given, until: Lsn) -> Result<Plan> {
        let mut headers = Vec::new();
        let mut bases = segment_bases(names).into_iter().peekable();
        while let Some(base) = bases.next() {
            if given.first_segment.is_some_and(|first| base < first) {
                continue;
            }
            // No cut can be among these files then: a store never makes one, and a log alone is wanted as a whole.
            let is_applied = bases.peek().is_some_and(|next| *next <= given.applied.next());
            match Segment::open(dir, base, Access::Read) {
                Ok(segment) => headers.push(segment.header),
                Err(_) if base > until || is_applied && until < Lsn::MAX => {}
                Err(error) => return Err(error),
            }
            if base > until {
                break;
            }
        }
        let mut plan = Plan::link(headers);
        plan.links.retain(|link| link.header.base <= until);
        plan.check(dir, given)?;
        Ok(plan)
    }

    /// Leaves out what a cut superseded and links the rest.
    ///
    /// A cut (`wal::cut`) names a segment with a higher cut number, and everything at or above its base that has a
    /// lower one is out of the log from that moment.
    pub(super) fn link(headers: Vec<SegmentHeader>) -> Plan {
        let mut plan = Plan::default();
        let mut cuts = 0;
        for header in headers {
            if header.cut < cuts {
                plan.superseded.push(header.base);
                continue;
            }
            cuts = header.cut;
            if let Some(before) = plan.links.last_mut() {
                before.bound = Some((header.previous_last, header.previous_digest));
            }
            plan.links.push(Link { header, bound: None });
        }
        plan
    }

    /// Checks that the chain begins where it must and that all its segments belong to one store.
    fn check(&self, dir: &Dir, given: Given) -> Result<()> {
        let begins = self.links.first().map(|link| link.header.base);
        if let Some(first) = given.first_segment
            && begins != Some(first)
        {
            let evidence = Evidence { lsn: first, source: EvidenceSource::FirstSegment };
            return Err(Error::MissingSegment { dir: dir.path().to_path_buf(), lsn: first, evidence });
        }
        let store_id = given.store_id.or(self.links.first().map(|link| link.header.store_id));
        for link in &self.links {
            if Some(link.header.store_id) != store_id {
                return Err(foreign(dir, link.header.base));
            }
        }
        Ok(())
    }
}

/// The error for a segment that belongs to another store.
pub(super) fn foreign(dir: &Dir, base: Lsn) -> Error {
    let path = dir.file_path(&names::segment(base));
    Error::corruption(&path, 16, Some(base), CorruptionKind::ForeignStore, None)
}
