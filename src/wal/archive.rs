//! Copies a finished segment into an archive.
//!
//! ```text
//!  in the store     │ header │ records ··········· │ seal │ 0 0 0 0 0 0 0 │   64 MiB
//!  in the archive   │ header │ records ··········· │ room for a seal │       as long as it must be
//! ```
//!
//! The copy is a segment like any other, in a file that is as long as what it holds: the header states another length,
//! and every record is the same, byte for byte. It has no seal, which would say that another segment is there: how far an
//! archive goes is told by the names of its files.
//!
//! A segment is read through before it is copied, and the copy is read through before it gets its name, both against
//! the digest that the successor states. So what goes afterwards is in the archive, whole.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::Wal;
use super::replay::{RecordRef, Visit};
use super::segment_reader::{Found, Position, Segment, SegmentReader};
use crate::error::{CorruptionKind, Error, Evidence, EvidenceSource, Result};
use crate::format::StoreId;
use crate::format::checksum::Digest;
use crate::format::names;
use crate::format::record::RECORD_ALIGNMENT;
use crate::format::seal::SEAL_BYTES;
use crate::format::segment::{MIN_SEGMENT_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::lsn::Lsn;
use crate::storage::archive::Destination;
use crate::storage::dir::DirFile;
use crate::storage::{Access, File};

impl Wal {
    /// Copies the closed segment of this base, unless it is there, and says how it is called there.
    ///
    /// # Errors
    /// [`Error::Corruption`] of the segment; [`Error::Io`] of the archive, also if it holds another one of that name.
    pub(crate) fn archive(&self, base: Lsn, successor: Lsn, archive: &Destination<'_>) -> Result<String> {
        let dir = &self.log.dir;
        let segment = Segment::open(dir, base, Access::Read)?;
        let SegmentHeader { previous_last: last, previous_digest: digest, .. } =
            Segment::open(dir, successor, Access::Read)?.header;
        let end = read_through(&segment, last, digest)?;
        let name = names::archived(base, last);
        let check = |file: Arc<dyn File>| {
            let copy = DirFile::of(file, Path::new(&name).to_path_buf());
            let copy = Segment::of(name.clone(), copy, base).map_err(io::Error::other)?;
            read_through(&copy, last, digest).map(drop).map_err(io::Error::other)
        };
        let failed = |source| Error::io("archive", segment.file.path(), source);
        if archive.has(&name) {
            // By an earlier process, or by another store: then its digest is another one.
            archive.target.open(&name).and_then(check).map_err(failed)?;
            return Ok(name);
        }
        let used = end.offset.next_multiple_of(RECORD_ALIGNMENT) + SEAL_BYTES as u64;
        let header = SegmentHeader { file_len: used.max(MIN_SEGMENT_BYTES), ..segment.header };
        let content = Copy {
            head: header.encode(),
            file: segment.file.clone(),
            at: 0,
            end: end.offset,
            len: header.file_len,
        };
        archive.store(&name, content, &check).map_err(failed)?;
        Ok(name)
    }
}

/// Reads a segment to its last record and compares the digest; where it ends.
fn read_through(segment: &Segment, last: Lsn, digest: Digest) -> Result<Position> {
    let mut reader = SegmentReader::new(segment.clone());
    let end = reader.skip_to(last.next())?;
    if end.lsn == last.next() && end.digest == digest {
        return Ok(end);
    }
    let evidence = Some(Evidence { lsn: last, source: EvidenceSource::Successor });
    let kind = if end.lsn > last { CorruptionKind::Digest } else { CorruptionKind::RecordHeader };
    Err(Error::corruption(segment.file.path(), end.offset, Some(end.lsn), kind, evidence))
}

/// What a copy in an archive says of itself and of the segment before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ArchivedSegment {
    pub(crate) store_id: StoreId,
    pub(crate) previous_last: Lsn,
    pub(crate) previous_digest: Digest,
    /// What the segment after it must state.
    pub(crate) digest: Digest,
}

/// Reads a copy in an archive from its first to its last record, both of which its name states.
///
/// # Errors
/// [`Error::Corruption`]; [`Error::Io`]; those of `visit`.
pub(crate) fn verify_archived(
    file: Arc<dyn File>,
    path: &Path,
    base: Lsn,
    last: Lsn,
    visit: &mut Visit<'_>,
) -> Result<ArchivedSegment> {
    let segment = Segment::of(names::segment(base), DirFile::of(file, path.to_path_buf()), base)?;
    let SegmentHeader { store_id, previous_last, previous_digest, .. } = segment.header;
    let file = segment.name.clone();
    let mut reader = SegmentReader::new(segment);
    let evidence = || Some(Evidence { lsn: last, source: EvidenceSource::FileName });
    while reader.position().lsn <= last {
        let Position { offset, lsn, .. } = reader.position();
        let kind = match reader.read()? {
            Found::Record { header, offset, payload } => {
                visit(RecordRef { header: &header, payload, file: &file, offset })?;
                continue;
            }
            Found::Seal => CorruptionKind::RecordHeader,
            Found::Nothing(kind) => kind,
        };
        return Err(Error::corruption(path, offset, Some(lsn), kind, evidence()));
    }
    let Position { offset, lsn, digest } = reader.position();
    match reader.read()? {
        Found::Record { .. } => {
            Err(Error::corruption(path, offset, Some(lsn), CorruptionKind::UnexpectedLsn, evidence()))
        }
        Found::Seal | Found::Nothing(_) => {
            Ok(ArchivedSegment { store_id, previous_last, previous_digest, digest })
        }
    }
}

/// The bytes of a copy: another header block, the records, zeros.
struct Copy {
    head: Vec<u8>,
    file: DirFile,
    at: u64,
    /// Where the records end.
    end: u64,
    len: u64,
}

impl Read for Copy {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let until = match self.at {
            at if at < SEGMENT_HEADER_BYTES as u64 => SEGMENT_HEADER_BYTES as u64,
            at if at < self.end => self.end,
            _ => self.len,
        };
        let left = usize::try_from(until - self.at).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        let buffer = &mut buffer[..wanted];
        let at = usize::try_from(self.at).unwrap_or(usize::MAX);
        if until == SEGMENT_HEADER_BYTES as u64 {
            buffer.copy_from_slice(&self.head[at..at + wanted]);
        } else if self.at < self.end {
            let filled = self.file.read_at(buffer, self.at).map_err(io::Error::other)?;
            if filled < wanted {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        } else {
            buffer.fill(0);
        }
        self.at += wanted as u64;
        Ok(wanted)
    }
}
