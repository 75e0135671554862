//! Which files are the log, before any record is read.
//!
//! ```text
//!  names → headers → those that a cut superseded, those below the floor → a chain, each bounded by its successor
//! ```
//!
//! A segment with a successor must yield exactly `base ..= successor.base - 1`, with the digest that the successor
//! states. What lies behind that bound is never read: it may be the rest of a torn tail.

use std::path::Path;

use super::segment_reader::Segment;
use crate::error::{CorruptionKind, Error, Evidence, EvidenceSource, Result};
use crate::format::StoreId;
use crate::format::checksum::Digest;
use crate::format::names;
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
}

/// A segment's place in the chain.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) segment: Segment,
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
    /// Reads the headers of a directory's segments.
    ///
    /// # Errors
    /// The first thing that is wrong. [`Plan::links_of`] is the same for a caller who wants to go on.
    pub(super) fn read(dir: &Dir, names: &[String], given: Given, access: Access) -> Result<Plan> {
        let segments = segment_bases(names)
            .into_iter()
            .filter(|base| given.first_segment.is_none_or(|first| *base >= first))
            .map(|base| Segment::open(dir, base, access))
            .collect::<Result<Vec<_>>>()?;
        let plan = Plan::link(segments);
        plan.check(dir.path(), given)?;
        Ok(plan)
    }

    /// Leaves out what a cut superseded and links the rest.
    ///
    /// A cut (`wal::cut`) names a segment with a higher cut number, and everything at or above its base that has a
    /// lower one is out of the log from that moment.
    pub(super) fn link(segments: Vec<Segment>) -> Plan {
        let mut plan = Plan::default();
        let mut cuts = 0;
        for segment in segments {
            if segment.header.cut < cuts {
                plan.superseded.push(segment.base());
                continue;
            }
            cuts = segment.header.cut;
            if let Some(before) = plan.links.last_mut() {
                before.bound = Some((segment.header.previous_last, segment.header.previous_digest));
            }
            plan.links.push(Link { segment, bound: None });
        }
        plan
    }

    /// Checks that the chain begins where it must and that all its segments belong to one store.
    fn check(&self, dir: &Path, given: Given) -> Result<()> {
        let begins = self.links.first().map(|link| link.segment.base());
        if let Some(first) = given.first_segment
            && begins != Some(first)
        {
            let evidence = Evidence { lsn: first, source: EvidenceSource::Manifest };
            return Err(Error::MissingSegment { dir: dir.to_path_buf(), lsn: first, evidence });
        }
        let store_id = given.store_id.or(self.links.first().map(|link| link.segment.header.store_id));
        for link in &self.links {
            if Some(link.segment.header.store_id) != store_id {
                return Err(foreign(&link.segment));
            }
        }
        Ok(())
    }
}

pub(super) fn foreign(segment: &Segment) -> Error {
    let kind = CorruptionKind::ForeignStore;
    Error::corruption(segment.file.path(), 16, Some(segment.base()), kind, None)
}
