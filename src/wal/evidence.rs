//! Torn or corrupt? The rule of evidence, for the end of the last segment.
//!
//! Where the record with LSN x is expected and does not stand, its position proves nothing: a sector of an unsynced
//! write may reach the disk while an earlier one does not. What proves something is a valid record, header or file
//! that *carries* an LSN known to be durable when it was written. So the rest of the file is scanned to its end, and
//!
//! - evidence for an LSN ≥ x: x was durable, and is gone. That is **corruption**.
//! - no such evidence: x was never acknowledged as durable. That is a **torn tail**, or simply the end.
//!
//! The mere existence of a later record proves nothing: it may be a sector of the same unsynced group.

use super::segment_reader::{Position, Segment, WINDOW_BYTES};
use crate::error::{Evidence, EvidenceSource, Result};
use crate::format::record::{RECORD_ALIGNMENT, RECORD_HEADER_BYTES, RecordHeader, stored_bytes};
use crate::format::seal::Seal;
use crate::lsn::Lsn;

/// What the rest of a segment, behind its last whole record, has to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rest {
    /// True if nothing but zeros follows.
    pub(super) all_zeros: bool,
    /// The strongest evidence found.
    pub(super) evidence: Option<Evidence>,
    /// The seal, if there is one, wherever it stands.
    pub(super) seal: Option<Seal>,
}

/// The stronger of two pieces of evidence.
pub(super) fn stronger(one: Option<Evidence>, other: Option<Evidence>) -> Option<Evidence> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other.lsn > one.lsn { other } else { one }),
        (one, other) => one.or(other),
    }
}

/// Scans a segment from `from` to its end.
pub(super) fn scan_rest(segment: &Segment, from: Position) -> Result<Rest> {
    let mut rest = Rest { all_zeros: true, evidence: None, seal: None };
    rest.all_zeros = look_at_places(segment, from.offset, WINDOW_BYTES, |offset, bytes| {
        rest.evidence = stronger(rest.evidence, evidence_at(segment, from, offset, bytes));
        rest.seal = rest.seal.or_else(|| Seal::decode(bytes, segment.header.salt, offset));
        true
    })?;
    Ok(rest)
}

/// The next record is near most of the time. In bytes.
const NEAR_BYTES: usize = 16 << 10;

/// Finds the first plausible record header behind `from`: its LSN, and where it stands.
pub(super) fn next_header(segment: &Segment, from: Position) -> Result<Option<(Lsn, u64)>> {
    let mut found = None;
    look_at_places(segment, from.offset + RECORD_ALIGNMENT, NEAR_BYTES, |offset, bytes| {
        found = plausible(segment, from, offset, bytes).map(|header| (header.lsn, offset));
        found.is_none()
    })?;
    Ok(found)
}

/// Calls `look` with every place of a segment from `from` on where something may begin, and with the bytes there, until it
/// says that this is enough. Windows of zeros are left out; true if there were no others.
fn look_at_places(
    segment: &Segment,
    from: u64,
    window_bytes: usize,
    mut look: impl FnMut(u64, &[u8]) -> bool,
) -> Result<bool> {
    let mut all_zeros = true;
    let mut window =
        vec![0; window_bytes.min(usize::try_from(segment.header.file_len).unwrap_or(window_bytes))];
    let zeros = vec![0; window.len()];
    let mut at = from;
    loop {
        let left = usize::try_from(segment.header.file_len.saturating_sub(at)).unwrap_or(usize::MAX);
        let left = left.min(window.len());
        let filled = segment.file.read_at(&mut window[..left], at)?;
        let bytes = &window[..filled];
        // Most windows are zeros. Comparing slices is one call of `memcmp`, fast in an unoptimised build too.
        if bytes != &zeros[..filled] {
            all_zeros = false;
            if !(0..filled).step_by(STEP).all(|start| look(at + start as u64, &bytes[start..])) {
                return Ok(false);
            }
        }
        if filled < window.len() || filled < RECORD_HEADER_BYTES {
            return Ok(all_zeros);
        }
        // The next window begins where a header would no longer have fitted into this one.
        at += (filled - RECORD_HEADER_BYTES + STEP) as u64;
    }
}

#[allow(clippy::cast_possible_truncation)] // a constant: 8
const STEP: usize = RECORD_ALIGNMENT as usize;

const _: () = assert!(WINDOW_BYTES.is_multiple_of(STEP) && RECORD_HEADER_BYTES.is_multiple_of(STEP));

/// The evidence that stands at `offset`, if a plausible record header does.
fn evidence_at(segment: &Segment, from: Position, offset: u64, bytes: &[u8]) -> Option<Evidence> {
    let header = plausible(segment, from, offset, bytes)?;
    let source = EvidenceSource::Record { lsn: header.lsn, offset };
    Some(Evidence { lsn: header.durable_lsn, source })
}

/// The record header at `offset`, if it could be one that follows `from`.
fn plausible(segment: &Segment, from: Position, offset: u64, bytes: &[u8]) -> Option<RecordHeader> {
    let header = RecordHeader::decode(bytes, segment.header.salt, offset)?;
    // Between the expected record and this place there is room for so many records, and no more.
    let room = (offset - from.offset) / stored_bytes(0);
    let possible = header.lsn >= from.lsn && header.lsn.distance_from(from.lsn) <= room;
    let end = offset.checked_add(header.stored_bytes());
    let fits = end.is_some_and(|end| end <= segment.header.records_end());
    (fits && possible).then_some(header)
}

/// What is known about the end of the last segment, for [`judge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TailFacts {
    /// The LSN that is expected next.
    pub(super) expected: Lsn,
    /// The highest LSN that evidence proves to have been durable, from whatever source.
    pub(super) proven: Lsn,
    /// True if the seal stands where the next record is expected, or anywhere behind.
    pub(super) sealed: bool,
    /// True if nothing but zeros follows.
    pub(super) all_zeros: bool,
}

/// What the end of the last segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The expected record was durable and is gone.
    Corrupt,
    /// The segment is finished; the one that follows is gone.
    SuccessorMissing,
    /// The log ends here.
    End,
    /// An unfinished write stands here.
    Torn,
}

/// The decision table. Each row holds only where the rows above do not.
///
/// | # | sealed | proven ≥ expected | all zeros | verdict |
/// | --- | --- | --- | --- | --- |
/// | 1 | yes | – | – | successor missing: a seal is written only after the successor has its name |
/// | 2 | – | yes | – | corrupt, zeros included |
/// | 3 | – | – | yes | the end |
/// | 4 | – | – | – | torn |
pub(super) fn judge(facts: TailFacts) -> Verdict {
    match facts {
        TailFacts { sealed: true, .. } => Verdict::SuccessorMissing,
        TailFacts { proven, expected, .. } if proven >= expected => Verdict::Corrupt,
        TailFacts { all_zeros: true, .. } => Verdict::End,
        _ => Verdict::Torn,
    }
}

#[cfg(test)]
mod tests {
    //! Enumerates all inputs of the decision table; shows which places are looked at, and what may stand there.
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::format::checksum::{Checksum, Digest};
    use crate::format::record::RecordKind;
    use crate::format::segment::SegmentHeader;
    use crate::format::{StoreId, names};
    use crate::storage::dir::Dir;
    use crate::storage::{Access, SimDisk};

    /// A segment that holds nothing but sevens behind its header.
    fn segment(file_len: u64) -> Segment {
        let header = SegmentHeader {
            store_id: StoreId([1; 16]),
            base: Lsn::new(1),
            file_len,
            salt: 99,
            checksum: Checksum::Crc32,
            previous_last: Lsn::ZERO,
            previous_digest: Digest::default(),
            proven_to: Lsn::ZERO,
            created_us: 0,
            cut: 0,
        };
        let disk = SimDisk::new(1);
        let mut bytes = header.encode();
        bytes.resize(usize::try_from(file_len).unwrap(), 7);
        disk.write_file(format!("log/{}", names::segment(Lsn::new(1))), &bytes);
        Segment::open(&Dir::new(Arc::new(disk), "log"), Lsn::new(1), Access::Read).unwrap()
    }

    /// However the windows lie, each place is seen with all the bytes that a header may have there.
    #[test]
    fn no_place_is_left_out_between_two_windows() {
        let segment = segment(8192);
        for (window, from) in [(64, 4096), (104, 4104), (256, 4104), (4096, 4096), (1 << 20, 4200)] {
            let mut seen = BTreeMap::new();
            let zeros = look_at_places(&segment, from, window, |offset, bytes| {
                let most = seen.entry(offset).or_insert(0);
                *most = bytes.len().max(*most);
                true
            });
            assert!(!zeros.unwrap());
            let expected: Vec<u64> = (from..8192).step_by(STEP).collect();
            assert!(seen.keys().copied().eq(expected), "windows of {window} bytes");
            for (offset, most) in seen {
                assert!(
                    most as u64 >= (8192 - offset).min(RECORD_HEADER_BYTES as u64),
                    "{offset} of {window}"
                );
            }
        }
    }

    /// A header proves nothing where it cannot stand: before it there must be room for the records that are missing, and
    /// behind it for its own.
    #[test]
    fn a_header_needs_room_before_it_and_behind() {
        let segment = segment(8192);
        let from = Position { offset: 4096 + 80, lsn: Lsn::new(5), digest: Digest::default() };
        let is_plausible = |lsn, offset, payload_len| {
            let header = RecordHeader {
                payload_len,
                lsn: Lsn::new(lsn),
                durable_lsn: Lsn::new(lsn - 1),
                time_us: 0,
                payload_checksum: 0,
                kind: RecordKind::Data,
            };
            plausible(&segment, from, offset, &header.encode(99, offset)).is_some()
        };
        // Room for two empty records: 5 and 6. So 7 may stand there, and 8 may not, nor may what came before.
        let offset = from.offset + 2 * stored_bytes(0);
        let fits = (4..=8).filter(|lsn| is_plausible(*lsn, offset, 0));
        assert!(fits.eq(5..=7));
        assert!(!is_plausible(7, offset - 8, 0));
        let room = u32::try_from(segment.header.records_end() - offset).unwrap();
        let longest = room - u32::try_from(RECORD_HEADER_BYTES).unwrap();
        assert!(is_plausible(7, offset, longest / 8 * 8) && !is_plausible(7, offset, longest + 8));
    }

    #[test]
    fn every_row() {
        let expected = Lsn::new(5);
        for (sealed, proven, all_zeros, verdict) in [
            (true, 4, false, Verdict::SuccessorMissing),
            (true, 5, false, Verdict::SuccessorMissing),
            (true, 4, true, Verdict::SuccessorMissing),
            (true, 5, true, Verdict::SuccessorMissing),
            (false, 5, false, Verdict::Corrupt),
            (false, 5, true, Verdict::Corrupt),
            (false, 6, true, Verdict::Corrupt),
            (false, 4, true, Verdict::End),
            (false, 4, false, Verdict::Torn),
            (false, 0, false, Verdict::Torn),
        ] {
            let facts = TailFacts { expected, proven: Lsn::new(proven), sealed, all_zeros };
            assert_eq!(judge(facts), verdict, "{facts:?}");
        }
    }
}
