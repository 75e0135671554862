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
//! Not behind a segment's seal: what stands there may be the rest of a torn end, whose LSNs were given out again in the
//! next file. And not behind damage where there should be a seal and is none, for the same reason.
//!
//! Of the last segment, what is lost reaches as far as evidence says that the log was durable; behind that, an unfinished
//! write is no loss. A file whose header is damaged is read by what its records say of it (`headless`); if they say
//! nothing, all of it is lost, as is what should stand in files that are gone. If it is the last one, nobody knows how much that is:
//! the stretch has no end, which is [`Lsn::MAX`].

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::evidence::{next_header, scan_rest};
use super::headless::{self, Opened};
use super::plan::{Given, Plan, segment_bases};
use super::replay::{RecordRef, Visit};
use super::segment_reader::{Found, Position, Segment, SegmentReader};
use crate::error::{Error, Result};
use crate::format::record::{RECORD_HEADER_BYTES, RecordHeader};
use crate::format::{StoreId, names};
use crate::lsn::Lsn;
use crate::storage::File;
use crate::storage::dir::{Dir, DirFile};

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

    /// True if it is known how far it goes.
    pub(crate) fn has_end(&self) -> bool {
        self.0.last().is_none_or(|(_, last)| *last < Lsn::MAX)
    }

    /// How many lie between these two.
    pub(crate) fn between(&self, after: Lsn, before: Lsn) -> u64 {
        let inside =
            |(first, last): &(Lsn, Lsn)| before.min(last.next()).distance_from(after.next().max(*first));
        self.0.iter().map(inside).fold(0, u64::saturating_add)
    }

    /// True if one of them is among these two and what lies between them.
    pub(crate) fn meets(&self, from: Lsn, to: Lsn) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < from);
        self.0.get(at).is_some_and(|(first, _)| *first <= to)
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
    /// Where the last segment ends, if it is there.
    pub(crate) end: Option<LastBytes>,
}

/// What stands where the log ends: nothing, or an unfinished write.
#[derive(Debug)]
pub(crate) struct LastBytes {
    /// The segment's file.
    pub(crate) file: Arc<str>,
    /// The bytes that make it the end.
    pub(crate) bytes: Range<u64>,
    /// The LSN that would stand there.
    pub(crate) next: Lsn,
}

/// Reads the log of a directory, from `given.first_segment` on.
///
/// # Errors
/// [`Error::Io`] for what cannot be read at all; [`Error::UnsupportedFormat`]; those of `visit`.
pub(crate) fn salvage(dir: &Dir, given: Given, visit: &mut Visit<'_>) -> Result<Salvaged> {
    let mut found = Salvaged::default();
    let is_wanted = |base: &Lsn| given.first_segment.is_none_or(|first| *base >= first);
    let (mut bases, mut heads) = (Vec::new(), Vec::new());
    for named in segment_bases(&dir.list()?) {
        // Not kept open: a log may have more segments than a process descriptors.
        match headless::open(dir, named) {
            Ok(Opened { segment, is_sound }) => heads.push((segment.header, named, is_sound)),
            Err(Error::Corruption(_)) => bases.extend(Some(named).filter(is_wanted)),
            Err(error) => return Err(error),
        }
    }
    heads.retain(|(header, ..)| is_wanted(&header.base));
    // In their order; of two with one base, that whose name it is.
    heads.sort_by_key(|(header, named, is_sound)| (header.base, header.base != *named, !is_sound));
    heads.dedup_by_key(|(header, ..)| header.base);
    bases.extend(heads.iter().map(|(header, ..)| header.base));
    bases.sort_unstable();
    bases.dedup();
    // A damaged header says whose the log is only if no sound one does.
    let says = heads.iter().find(|(_, _, is_sound)| *is_sound).or(heads.first());
    found.store_id = given.store_id.or(says.map(|(header, ..)| header.store_id));
    // Another store's: as good as gone.
    heads.retain(|(header, ..)| Some(header.store_id) == found.store_id);
    let named: BTreeMap<Lsn, Lsn> = heads.iter().map(|(header, named, _)| (header.base, *named)).collect();
    let headers = heads.into_iter().map(|(header, ..)| header).collect();
    let mut visit = |record: RecordRef<'_>| {
        found.last_lsn = found.last_lsn.max(record.header.lsn);
        visit(record)
    };
    let proven = given.proven.map_or(Lsn::ZERO, |evidence| evidence.lsn);
    let plan = Plan::link(headers);
    let begins = bases.first().copied();
    let mut expected = given.first_segment.or(begins).unwrap_or(Lsn::new(1));
    let mut last_read = None;
    for link in &plan.links {
        let base = link.header.base;
        let segment = match headless::open(dir, named.get(&base).copied().unwrap_or(base)) {
            // A disk that fails gives a sector now and not then.
            Err(Error::Corruption(_)) => continue,
            opened => opened?.segment,
        };
        last_read = Some(base);
        found.lost.add(expected, base.previous());
        let end = match link.bound {
            Some((last, _)) => End::Successor(last),
            None => End::Proven(proven.max(link.header.proven_to)),
        };
        expected = read_sound(&segment, end, &mut visit, (&mut found.lost, &mut found.end))?;
    }
    let last_base = bases.last().copied().unwrap_or(Lsn::ZERO);
    // A file that could not be read is the last one.
    let end_is_gone = last_read.is_none_or(|last_read| last_read < last_base && expected <= last_base);
    found.lost.add(expected, if end_is_gone { Lsn::MAX } else { proven });
    found.begins = begins;
    // Nothing is given out again that was given out for sure.
    let lost = found.lost.0.iter().map(|(_, last)| *last).filter(|last| *last < Lsn::MAX).max();
    found.last_lsn = found.last_lsn.max(proven).max(lost.unwrap_or(Lsn::ZERO)).max(last_base.previous());
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
    let segment = Segment::of_any_length(names::segment(base), DirFile::of(file, path.to_path_buf()), base)?;
    // A copy ends with its last record: nothing stands behind it.
    read_sound(&segment, End::Copied(last), visit, (&mut Lost::default(), &mut None)).map(drop)
}

/// What is known about the end of a segment from elsewhere.
#[derive(Clone, Copy)]
enum End {
    /// Another one follows, which begins behind this LSN; between the two others may be missing.
    Successor(Lsn),
    /// It is the last one, and the log was durable up to here.
    Proven(Lsn),
    /// It is an archive's, and has this LSN as its last.
    Copied(Lsn),
}

/// Reads the records of a segment, as far as they are its own. Returns the LSN that the next one should begin with;
/// [`Lsn::MAX`] if it is gone, and nobody knows how far the log went.
fn read_sound(
    segment: &Segment,
    end: End,
    visit: &mut Visit<'_>,
    (lost, last_bytes): (&mut Lost, &mut Option<LastBytes>),
) -> Result<Lsn> {
    let mut reader = SegmentReader::new(segment.clone());
    let (End::Successor(mut reach) | End::Proven(mut reach) | End::Copied(mut reach)) = end;
    let is_last = matches!(end, End::Proven(_));
    // What stands behind the first flaw. Looked at once: it says the same of all that follow.
    let mut rest = None;
    loop {
        let at = reader.position();
        if !is_last && at.lsn > reach {
            return Ok(at.lsn);
        }
        if let Found::Record { header, offset, payload } = reader.read()? {
            if is_last {
                reach = reach.max(header.durable_lsn);
            }
            visit(RecordRef { header: &header, payload, file: &segment.name, offset })?;
            continue;
        }
        let rest = match rest {
            Some(rest) => rest,
            None => *rest.insert(scan_rest(segment, at)?),
        };
        let sealed = rest.seal.map(|seal| seal.last_lsn);
        if is_last {
            reach = reach.max(rest.evidence.map_or(Lsn::ZERO, |evidence| evidence.lsn));
        }
        let until = match (end, sealed) {
            (End::Copied(last), _) => last,
            (_, Some(sealed)) => sealed,
            (End::Successor(_), None) => Lsn::ZERO,
            (End::Proven(_), None) if reach >= at.lsn => Lsn::MAX,
            (End::Proven(_), None) => Lsn::ZERO,
        };
        if at.lsn <= until
            && let Some(next) = next_header(segment, at)?.filter(|(lsn, _)| *lsn <= until)
        {
            go_on(&mut reader, next, lost);
            continue;
        }
        // Another file came next, or this one was cut short.
        let is_end_gone = is_last && (sealed.is_some() || segment.file.len()? < segment.header.file_len);
        lost.add(at.lsn, if is_end_gone { Lsn::MAX } else { reach });
        *last_bytes = Some(what_stands_at(segment, at)?).filter(|_| is_last);
        return Ok(if is_end_gone { Lsn::MAX } else { at.lsn.max(reach.next()) });
    }
}

/// The record that is unfinished there, or room for a header.
fn what_stands_at(segment: &Segment, at: Position) -> Result<LastBytes> {
    let mut bytes = [0; RECORD_HEADER_BYTES];
    let filled = segment.file.read_at(&mut bytes, at.offset)?;
    let header = RecordHeader::decode(&bytes[..filled], segment.header.salt, at.offset);
    let len = header.map_or(RECORD_HEADER_BYTES as u64, |header| header.stored_bytes());
    let bytes = at.offset..at.offset.saturating_add(len);
    Ok(LastBytes { file: segment.name.clone(), bytes, next: at.lsn })
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
    use proptest::prelude::*;

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

    #[test]
    fn stretches_are_joined() {
        let added = |stretches: &[(u64, u64)]| {
            let mut found = Lost::default();
            stretches.iter().for_each(|(first, last)| found.add(Lsn::new(*first), Lsn::new(*last)));
            found
        };
        assert_eq!(added(&[(3, 2)]), lost(&[]), "an empty one");
        assert_eq!(added(&[(1, 2), (3, 4)]), lost(&[(1, 4)]), "neighbours");
        assert_eq!(added(&[(1, 2), (4, 5)]), lost(&[(1, 2), (4, 5)]));
        assert_eq!(added(&[(1, 9), (3, 4)]), lost(&[(1, 9)]));
        assert_eq!(added(&[(5, 6), (1, 2)]), lost(&[(1, 2), (5, 6)]));
        assert_eq!(added(&[(5, 6), (1, 4)]), lost(&[(1, 6)]));
        assert!(added(&[(5, 6)]).has_end() && !added(&[(5, u64::MAX)]).has_end() && lost(&[]).has_end());
    }

    proptest! {
        /// As sets of the numbers below 30 do.
        #[test]
        fn as_sets_do(
            steps in proptest::collection::vec((any::<bool>(), 1..28_u64, 0..6_u64), 0..12),
            (from, len) in (0..30_u64, 0..6_u64),
        ) {
            let (mut found, mut model) = (Lost::default(), std::collections::BTreeSet::new());
            for (adds, first, len) in steps {
                if adds {
                    found.add(Lsn::new(first), Lsn::new(first + len));
                    model.extend(first..=first + len);
                } else {
                    found.remove(Lsn::new(first));
                    model.remove(&first);
                }
            }
            let numbers: Vec<u64> = found.0.iter().flat_map(|(first, last)| first.get()..=last.get()).collect();
            prop_assert_eq!(numbers, model.iter().copied().collect::<Vec<_>>());
            prop_assert!(found.0.windows(2).all(|pair| pair[0].1 < pair[1].0));
            let meets = model.range(from..=from + len).next().is_some();
            prop_assert_eq!(found.meets(Lsn::new(from), Lsn::new(from + len)), meets);
            let between = model.iter().filter(|lsn| (from + 1..from + len).contains(lsn)).count() as u64;
            prop_assert_eq!(found.between(Lsn::new(from), Lsn::new(from + len)), between);
        }
    }
}
