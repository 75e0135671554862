//! Reads one segment from its header block to the last record that belongs to it.
//!
//! This is the only code that walks records: opening, readers and verification all use it. It judges nothing: where
//! the next record should stand and does not, it says what stands there instead, and the caller, who knows the bound
//! and the evidence, decides what that means.

use std::sync::Arc;

use crate::error::{CorruptionKind, Error, Result};
use crate::format::checksum::Digest;
use crate::format::names;
use crate::format::record::{RECORD_HEADER_BYTES, RecordHeader};
use crate::format::seal::{SEAL_BYTES, Seal};
use crate::format::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::lsn::Lsn;
use crate::storage::Access;
use crate::storage::dir::{Dir, DirFile};

/// How much is read at once.
pub(super) const WINDOW_BYTES: usize = 1 << 20;

/// An open segment whose header is sound.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) name: Arc<str>,
    pub(super) header: SegmentHeader,
    pub(super) file: DirFile,
}

impl Segment {
    /// Opens the segment of this name and checks its header block: nothing else of it can be trusted before.
    pub(super) fn open(dir: &Dir, base: Lsn, access: Access) -> Result<Segment> {
        let name = names::segment(base);
        Segment::of(name.clone(), dir.open(&name, access)?, base)
    }

    /// The same for a file that is open.
    pub(super) fn of(name: String, file: DirFile, base: Lsn) -> Result<Segment> {
        let segment = Segment::of_any_length(name, file, base)?;
        let len = segment.file.len()?;
        if len < segment.header.file_len {
            return Err(Error::corruption(segment.file.path(), len, None, CorruptionKind::ShortFile, None));
        }
        Ok(segment)
    }

    /// The same for one that may have been cut short.
    pub(super) fn of_any_length(name: String, file: DirFile, base: Lsn) -> Result<Segment> {
        let mut block = vec![0; SEGMENT_HEADER_BYTES];
        let filled = file.read_at(&mut block, 0)?;
        let header =
            SegmentHeader::decode(&block[..filled]).map_err(|flaw| flaw.at(file.path(), 0, Some(base)))?;
        if header.base != base {
            let kind = CorruptionKind::SegmentHeader;
            return Err(Error::corruption(file.path(), 32, Some(base), kind, None));
        }
        Ok(Segment { name: name.into(), header, file })
    }

    pub(super) fn base(&self) -> Lsn {
        self.header.base
    }
}

/// What stands where the next record is expected.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// That record.
    Record { header: RecordHeader, offset: u64, payload: &'a [u8] },
    /// The seal: the segment was finished here.
    Seal,
    /// Neither: zeros, a torn record, damage.
    Nothing(CorruptionKind),
}

/// A place between two records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Where the next record begins, in bytes.
    pub(super) offset: u64,
    /// The LSN that it must have.
    pub(super) lsn: Lsn,
    /// The digest of the records before it.
    pub(super) digest: Digest,
}

impl Position {
    pub(super) fn start(header: &SegmentHeader) -> Position {
        Position { offset: SEGMENT_HEADER_BYTES as u64, lsn: header.base, digest: Digest::default() }
    }
}

/// Walks the records of a segment.
#[derive(Debug)]
pub(super) struct SegmentReader {
    segment: Segment,
    at: Position,
    window: Window,
}

impl SegmentReader {
    pub(super) fn new(segment: Segment) -> SegmentReader {
        let at = Position::start(&segment.header);
        SegmentReader { segment, at, window: Window::default() }
    }

    pub(super) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Where the next record is expected.
    pub(super) fn position(&self) -> Position {
        self.at
    }

    /// Goes on from a place where a reader of this segment has been.
    pub(super) fn go_to(&mut self, place: Position) {
        self.at = place;
    }

    /// Forgets what was read ahead: beside a live writer it may have changed.
    pub(super) fn forget_window(&mut self) {
        self.window = Window::default();
    }

    /// What stands at the position; moves behind it if it is a record.
    pub(super) fn read(&mut self) -> Result<Found<'_>> {
        let Position { offset, lsn, digest } = self.at;
        let SegmentHeader { salt, checksum, .. } = self.segment.header;
        let end = self.segment.header.records_end();
        let front = self.window.get(&self.segment, offset, RECORD_HEADER_BYTES)?;
        let Some(header) = RecordHeader::decode(front, salt, offset) else {
            return Ok(match Seal::decode(front, salt, offset) {
                Some(_) => Found::Seal,
                None => Found::Nothing(CorruptionKind::RecordHeader),
            });
        };
        if header.lsn != lsn {
            return Ok(Found::Nothing(CorruptionKind::UnexpectedLsn));
        }
        let stored = header.stored_bytes();
        // The length comes from a checked header, and is bounded by the file all the same.
        let Some(next) = offset.checked_add(stored).filter(|next| *next <= end) else {
            return Ok(Found::Nothing(CorruptionKind::RecordHeader));
        };
        let Ok(record_bytes) = usize::try_from(RECORD_HEADER_BYTES as u64 + u64::from(header.payload_len))
        else {
            return Ok(Found::Nothing(CorruptionKind::RecordHeader));
        };
        let record = self.window.get(&self.segment, offset, record_bytes)?;
        let payload = record.get(RECORD_HEADER_BYTES..).unwrap_or_default();
        if record.len() < record_bytes || checksum.of(payload) != header.payload_checksum {
            return Ok(Found::Nothing(CorruptionKind::Payload));
        }
        let digest = digest.and(lsn, header.kind.tag(), header.payload_checksum);
        self.at = Position { offset: next, lsn: lsn.next(), digest };
        Ok(Found::Record { header, offset, payload })
    }

    /// Goes on to the place before `lsn`, which must not lie behind the position; stays where a record is missing.
    pub(super) fn skip_to(&mut self, lsn: Lsn) -> Result<Position> {
        while self.at.lsn < lsn {
            if !matches!(self.read()?, Found::Record { .. }) {
                break;
            }
        }
        Ok(self.at)
    }
}

const _: () =
    assert!(SEAL_BYTES <= RECORD_HEADER_BYTES, "a seal is read through the window of a record header");

/// A stretch of the file in memory, moved forward as the reader goes.
#[derive(Debug, Default)]
struct Window {
    at: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// The `len` bytes at `offset`; fewer at the end of the file.
    fn get(&mut self, segment: &Segment, offset: u64, len: usize) -> Result<&[u8]> {
        let covered = offset
            .checked_sub(self.at)
            .and_then(|skip| usize::try_from(skip).ok())
            .filter(|skip| skip.saturating_add(len) <= self.bytes.len());
        let start = match covered {
            Some(start) => start,
            None => {
                let rest =
                    usize::try_from(segment.header.file_len.saturating_sub(offset)).unwrap_or(usize::MAX);
                // After a failure nothing is in here: what `read_at` has left would pass for the file's.
                let mut bytes = std::mem::take(&mut self.bytes);
                bytes.resize(len.max(WINDOW_BYTES).min(rest), 0);
                let filled = segment.file.read_at(&mut bytes, offset)?;
                bytes.truncate(filled);
                *self = Window { at: offset, bytes };
                0
            }
        };
        let end = start.saturating_add(len).min(self.bytes.len());
        Ok(&self.bytes[start..end])
    }
}
