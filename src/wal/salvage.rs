//! Reads whatever of a log is sound, past damage that opening refuses, and says which LSNs are lost.
//!
//! ```text
//!  records   41  42  ##  44  ######  47 │ 48 …        # damage
//!  read      41  42      44          47   48 …
//!  lost              43      45–46
//! ```
//!
//! Behind damage, reading goes on at the next record header that is sound: its checksum is seeded with the file's salt
//! and with its place, so that nothing else passes for one. Whatever LSN of the segment is not met on the way is lost.
//!
//! Of the last segment, what is lost reaches as far as evidence says that the log was durable; behind that, an unfinished
//! write is no loss. Of a file whose header is damaged all is lost, because without the salt no record can be told from
//! other bytes; and so is what should stand in files that are gone. If it is the last one, nobody knows how much that is:
//! the stretch has no end, which is [`Lsn::MAX`].

use std::path::Path;
use std::sync::Arc;

use super::evidence::{next_header, scan_rest};
use super::plan::{Given, Plan, segment_bases};
use super::replay::{RecordRef, Visit};
use super::segment_reader::{Found, Position, Segment, SegmentReader};
use crate::error::{Error, Result};
use crate::format::{StoreId, names};
use crate::lsn::Lsn;
use crate::storage::dir::{Dir, DirFile};
use crate::storage::{Access, File};

/// LSNs of which nothing sound was found: stretches from a first to a last one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost(pub(crate) Vec<(Lsn, Lsn)>);

impl Lost {
    /// Adds a stretch, which may be empty.
    pub(crate) fn add(&mut self, first: Lsn, last: Lsn) {
        match self.0.last_mut() {
            _ if first > last => {}
            Some((begin, end)) if *begin <= first && end.next() >= first => *end = last.max(*end),
            Some((begin, _)) if first < *begin => {
                let mut stretches = std::mem::take(&mut self.0);
                stretches.push((first, last));
                stretches.sort_unstable();
                stretches.into_iter().for_each(|(first, last)| self.add(first, last));
            }
            _ => self.0.push((first, last)),
        }
    }

    /// Takes out an LSN that was found after all.
    pub(crate) fn remove(&mut self, lsn: Lsn) {
        let Some(at) = self.0.iter().position(|(first, last)| (*first..=*last).contains(&lsn)) else {
            return;
        };
        let (first, last) = self.0[at];
        let parts = [(first, lsn.previous()), (lsn.next(), last)];
        self.0.splice(at..=at, parts.into_iter().filter(|(first, last)| first <= last));
    }

    /// True if one of them lies between these two.
    pub(crate) fn meets(&self, from: Lsn, to: Lsn) -> bool {
        self.0.iter().any(|(first, last)| *first <= to && *last >= from)
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Salvaged {
    pub(crate) lost: Lost,
    /// Whose log it is; `None` if no header says it.
    pub(crate) store_id: Option<StoreId>,
    /// The LSN that the oldest file is named by.
    pub(crate) begins: Option<Lsn>,
    /// The last LSN of which anything is known: read, or lost.
    pub(crate) last_lsn: Lsn,
}

/// Reads the log of a directory, from `given.first_segment` on.
///
/// # Errors
/// [`Error::Io`] for what cannot be read at all; [`Error::UnsupportedFormat`]; those of `visit`.
pub(crate) fn salvage(dir: &Dir, given: Given, visit: &mut Visit<'_>) -> Result<Salvaged> {
    let mut found = Salvaged { store_id: given.store_id, ..Salvaged::default() };
    let (mut headers, mut unreadable) = (Vec::new(), Vec::new());
    let bases = segment_bases(&dir.list()?).into_iter();
    for base in bases.filter(|base| given.first_segment.is_none_or(|first| *base >= first)) {
        match Segment::open(dir, base, Access::Read) {
            Ok(segment)
                if *found.store_id.get_or_insert(segment.header.store_id) == segment.header.store_id =>
            {
                headers.push(segment.header);
            }
            // Another store's: as good as gone.
            Ok(_) | Err(Error::Corruption(_)) => unreadable.push(base),
            Err(error) => return Err(error),
        }
    }
    let mut visit = |record: RecordRef<'_>| {
        found.last_lsn = found.last_lsn.max(record.header.lsn);
        visit(record)
    };
    let proven = given.proven.map_or(Lsn::ZERO, |evidence| evidence.lsn);
    let plan = Plan::link(headers);
    let oldest =
        plan.links.first().map(|link| link.header.base).into_iter().chain(unreadable.first().copied());
    let begins = oldest.min();
    let mut expected = given.first_segment.or(begins).unwrap_or(Lsn::new(1));
    for link in &plan.links {
        let base = link.header.base;
        found.lost.add(expected, base.previous());
        let segment = Segment::open(dir, base, Access::Read)?;
        // A successor that cannot be read bounds it all the same: what stands behind the bound may be the rest of a torn
        // end, whose LSNs were given out again.
        let unreadable = unreadable.iter().find(|other| **other > base).map(|other| other.previous());
        let successor = link.bound.map(|(last, _)| last);
        expected = match unreadable.into_iter().chain(successor).min() {
            Some(last) => {
                read_sound(&segment, last, &mut visit, &mut found.lost)?;
                last.next()
            }
            None => read_last_sound(&segment, proven, &mut visit, &mut found.lost)?,
        };
    }
    let end_is_gone = plan.links.is_empty() || unreadable.last().is_some_and(|base| *base >= expected);
    found.lost.add(expected, if end_is_gone { Lsn::MAX } else { proven });
    found.begins = begins;
    found.last_lsn = found.last_lsn.max(proven);
    Ok(found)
}

/// Reads what is sound of an archived segment, which has the LSNs from `base` to `last`.
///
/// # Errors
/// As [`salvage`]; [`Error::Corruption`] if its header is damaged.
pub(crate) fn salvage_archived(
    file: Arc<dyn File>,
    path: &Path,
    (base, last): (Lsn, Lsn),
    visit: &mut Visit<'_>,
) -> Result<()> {
    let segment = Segment::of(names::segment(base), DirFile::of(file, path.to_path_buf()), base)?;
    read_sound(&segment, last, visit, &mut Lost::default())
}

/// Reads the records of a segment up to `last`.
fn read_sound(segment: &Segment, last: Lsn, visit: &mut Visit<'_>, lost: &mut Lost) -> Result<()> {
    let mut reader = SegmentReader::new(segment.clone());
    loop {
        let at = reader.position();
        if at.lsn > last {
            return Ok(());
        }
        if let Found::Record { header, offset, payload } = reader.read()? {
            visit(RecordRef { header: &header, payload, file: &segment.name, offset })?;
            continue;
        }
        match next_header(segment, at)?.filter(|(lsn, _)| *lsn <= last) {
            Some(next) => go_on(&mut reader, next, lost),
            None => {
                lost.add(at.lsn, last);
                return Ok(());
            }
        }
    }
}

/// The same for the last segment. Returns the LSN behind its last; [`Lsn::MAX`] if another one is gone that came next.
fn read_last_sound(segment: &Segment, proven: Lsn, visit: &mut Visit<'_>, lost: &mut Lost) -> Result<Lsn> {
    let mut reader = SegmentReader::new(segment.clone());
    // How far the log was durable, as far as that is known.
    let mut reach = proven.max(segment.header.proven_to);
    loop {
        let at = reader.position();
        if let Found::Record { header, offset, payload } = reader.read()? {
            reach = reach.max(header.durable_lsn);
            visit(RecordRef { header: &header, payload, file: &segment.name, offset })?;
            continue;
        }
        let rest = scan_rest(segment, at)?;
        let evidence = rest.evidence.map(|evidence| evidence.lsn);
        let sealed = rest.seal.map(|seal| seal.last_lsn);
        reach = evidence.into_iter().chain(sealed).fold(reach, Lsn::max);
        let next = if reach >= at.lsn { next_header(segment, at)? } else { None };
        match next {
            Some(next) => go_on(&mut reader, next, lost),
            None => {
                if sealed.is_some() {
                    lost.add(at.lsn, Lsn::MAX);
                    return Ok(Lsn::MAX);
                }
                lost.add(at.lsn, reach);
                return Ok(at.lsn.max(reach.next()));
            }
        }
    }
}

/// Goes on at a record header behind damage.
fn go_on(reader: &mut SegmentReader, (lsn, offset): (Lsn, u64), lost: &mut Lost) {
    let at = reader.position();
    lost.add(at.lsn, lsn.previous());
    reader.go_to(Position { offset, lsn, ..at });
}

#[cfg(test)]
mod tests {
    //! Shows that stretches are joined and divided as they should be. What is read of a damaged log: `tests/repair.rs`.
    use super::*;

    fn lost(stretches: &[(u64, u64)]) -> Lost {
        Lost(stretches.iter().map(|(first, last)| (Lsn::new(*first), Lsn::new(*last))).collect())
    }

    #[test]
    fn stretches() {
        let mut found = Lost::default();
        for (first, last) in [(3, 2), (10, 12), (3, 5), (6, 6), (9, 8)] {
            found.add(Lsn::new(first), Lsn::new(last));
        }
        assert_eq!(found, lost(&[(3, 6), (10, 12)]));
        assert!(found.meets(Lsn::new(6), Lsn::new(9)) && !found.meets(Lsn::new(7), Lsn::new(9)));
        for lsn in [4, 10, 1, 6] {
            found.remove(Lsn::new(lsn));
        }
        assert_eq!(found, lost(&[(3, 3), (5, 5), (11, 12)]));
    }
}
