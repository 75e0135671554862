//! Segments whose header block is damaged, or that stand under another one's name: their records speak for them.
//!
//! ```text
//!  block    magic ✓  store id ✓  base ✗  salt ✓ … ✗ crc         one byte is wrong, and nobody knows which
//!  records  ▣ ▣ ▣    each header's checksum is seeded with the salt and its place
//! ```
//!
//! The salt that stands in the block proves itself: no other would fit to the checksum of even one record. So if there is
//! such a record, all of them are legible, and the first says by its LSN which segment this is. Which algorithm guards the
//! payloads is found out by trying. For salvage alone: opening refuses such a file, because a header block is synced before
//! its file has a name, and so its damage is never the work of a crash.
//!
//! What cannot be known again is not believed: whether the file belongs to this store is up to the id that stands in
//! the block, and the caller compares it.

use super::evidence::next_header;
use super::segment_reader::{Position, Segment};
use crate::error::{Error, Result};
use crate::format::checksum::{Checksum, Digest};
use crate::format::names;
use crate::format::record::{RECORD_ALIGNMENT, RECORD_HEADER_BYTES, RecordHeader};
use crate::format::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::lsn::Lsn;
use crate::storage::Access;
use crate::storage::dir::{Dir, DirFile};

/// A segment that was opened, and whether its header block is sound.
pub(super) struct Opened {
    pub(super) segment: Segment,
    pub(super) is_sound: bool,
}

/// Opens the file that is named like the segment with this base, however short it is.
///
/// # Errors
/// [`Error::Corruption`] if nothing says what its records are; [`Error::UnsupportedFormat`], [`Error::Io`].
pub(super) fn open(dir: &Dir, base: Lsn) -> Result<Opened> {
    let name = names::segment(base);
    let file = dir.open(&name, Access::Read)?;
    match Segment::of_any_length(name.clone(), file.clone(), base) {
        Ok(segment) => Ok(Opened { segment, is_sound: true }),
        Err(error @ Error::Corruption(_)) => by_its_records(&name, &file, base)?.ok_or(error),
        Err(error) => Err(error),
    }
}

fn by_its_records(name: &str, file: &DirFile, named: Lsn) -> Result<Option<Opened>> {
    let mut block = vec![0; SEGMENT_HEADER_BYTES + RECORD_HEADER_BYTES];
    let filled = file.read_at(&mut block, 0)?;
    let of = |header| Segment { name: name.into(), header, file: file.clone() };
    if let Ok(header) = SegmentHeader::decode(&block[..filled]) {
        // Under another one's name.
        return Ok(Some(Opened { segment: of(header), is_sound: true }));
    }
    if filled < SEGMENT_HEADER_BYTES {
        return Ok(None);
    }
    let (mut header, stated) = SegmentHeader::unchecked(&block);
    let first =
        RecordHeader::decode(&block[SEGMENT_HEADER_BYTES..], header.salt, SEGMENT_HEADER_BYTES as u64);
    header.base = first.map_or(named, |first| first.lsn);
    header.previous_last = header.base.previous();
    header.previous_digest = Digest::default();
    header.proven_to = header.previous_last;
    header.cut = 0;
    header.file_len = header.file_len.min(MAX_FILE_LEN).max(file.len()?);
    let mut segment = of(header);
    let mut known = false;
    let mut at =
        Position { offset: SEGMENT_HEADER_BYTES as u64 - RECORD_ALIGNMENT, ..Position::start(&header) };
    for _ in 0..TRIED_RECORDS {
        let Some((lsn, offset)) = next_header(&segment, at)? else { break };
        known = true;
        if let Some(found) = algorithm_at(&segment, offset, stated)? {
            segment.header.checksum = found;
            break;
        }
        at = Position { lsn, offset, ..at };
    }
    Ok(known.then_some(Opened { segment, is_sound: false }))
}

/// The algorithm that the payload of the record at `offset` is right by, if it is by one.
fn algorithm_at(segment: &Segment, offset: u64, stated: Option<Checksum>) -> Result<Option<Checksum>> {
    let mut bytes = [0; RECORD_HEADER_BYTES];
    segment.file.read_at(&mut bytes, offset)?;
    let Some(header) = RecordHeader::decode(&bytes, segment.header.salt, offset) else { return Ok(None) };
    let begin = offset + RECORD_HEADER_BYTES as u64;
    if begin + u64::from(header.payload_len) > segment.file.len()? {
        return Ok(None);
    }
    let mut payload = vec![0; usize::try_from(header.payload_len).unwrap_or(usize::MAX)];
    let filled = segment.file.read_at(&mut payload, begin)?;
    let is_right =
        |algorithm: &Checksum| filled == payload.len() && algorithm.of(&payload) == header.payload_checksum;
    Ok(stated.into_iter().chain(Checksum::ALL).find(is_right))
}

/// How many records are looked at to find out by which algorithm their payloads are guarded.
const TRIED_RECORDS: usize = 64;

/// No segment is longer, whatever a damaged block says.
const MAX_FILE_LEN: u64 = 64 << 30;
