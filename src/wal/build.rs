//! Builds a segment: under a temporary name first, and under its real name only when it is durable.
//!
//! ```text
//!  create spare.tmp → allocate → header block (and records) → sync → rename to its name → sync the directory
//! ```
//!
//! What a crash leaves behind: before the rename a `*.tmp` file, which the next opening removes; after it a segment
//! whose header, length and first records are whole. The rename itself may be lost until the directory is synced, so
//! nothing may depend on the new segment before [`Builder::name`] returns.

use std::io;

use crate::error::{Error, Result};
use crate::format::names;
use crate::format::record::{RECORD_HEADER_BYTES, RecordHeader};
use crate::format::seal::Seal;
use crate::format::segment::SegmentHeader;
use crate::storage::dir::{Dir, DirFile};

use super::segment_reader::{Position, Segment, WINDOW_BYTES};

/// A segment under construction.
#[derive(Debug)]
pub(super) struct Builder<'a> {
    dir: &'a Dir,
    header: SegmentHeader,
    file: DirFile,
    end: Position,
}

impl<'a> Builder<'a> {
    /// Creates the file with its header block. Any earlier `spare.tmp` must be gone.
    pub(super) fn new(dir: &'a Dir, header: SegmentHeader) -> Result<Builder<'a>> {
        Builder::with_spare(dir, header, None)
    }

    /// The same, in a `spare.tmp` that was made ahead, if there is one.
    pub(super) fn with_spare(
        dir: &'a Dir,
        header: SegmentHeader,
        spare: Option<DirFile>,
    ) -> Result<Builder<'a>> {
        let file = match spare {
            Some(file) => file,
            None => create_empty(dir, header.file_len)?,
        };
        file.write_at(&header.encode(), 0)?;
        Ok(Builder { dir, header, file, end: Position::start(&header) })
    }

    /// Copies a record of another segment: the same in all but its place.
    pub(super) fn append(&mut self, record: &RecordHeader, payload: &[u8]) -> Result<()> {
        let mut bytes = Vec::with_capacity(RECORD_HEADER_BYTES + payload.len());
        bytes.extend_from_slice(&record.encode(self.header.salt, self.end.offset));
        bytes.extend_from_slice(payload);
        self.file.write_at(&bytes, self.end.offset)?;
        self.end = Position {
            offset: self.end.offset + record.stored_bytes(),
            lsn: record.lsn.next(),
            digest: self.end.digest.and(record.lsn, record.kind.tag(), record.payload_checksum),
        };
        Ok(())
    }

    /// Makes the file durable, gives it its name and makes that durable too.
    pub(super) fn name(self) -> Result<(Segment, Position)> {
        self.file.sync_all()?;
        let name = names::segment(self.header.base);
        self.dir.rename(names::SPARE_TMP, &name)?;
        self.dir.sync()?;
        let file = self.file.renamed(self.dir.file_path(&name));
        Ok((Segment { name: name.into(), header: self.header, file }, self.end))
    }
}

/// Creates a `spare.tmp` of this length, all zeros.
pub(super) fn create_empty(dir: &Dir, bytes: u64) -> Result<DirFile> {
    let file = match dir.create(names::SPARE_TMP) {
        // The rest of an attempt that panicked: whoever makes one is alone here, so it is nobody's.
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
            dir.remove(names::SPARE_TMP)?;
            dir.create(names::SPARE_TMP)?
        }
        created => created?,
    };
    file.allocate(bytes)?;
    Ok(file)
}

/// Seals a finished segment: from now on it is known that a successor has its name, durably, so that it is missed
/// when it is gone. Must come after that, and before the first record is written to the successor.
///
/// The seal stands at `offset`: behind the last record, or, where a torn end or a cut leaves other bytes there, in the
/// room at the end of the file, [`SegmentHeader::last_seal_offset`].
pub(super) fn write_seal(segment: &Segment, end: Position, offset: u64) -> Result<()> {
    let seal = Seal {
        last_lsn: end.lsn.previous(),
        digest: end.digest,
        records: end.lsn.distance_from(segment.base()),
    };
    segment.file.write_at(&seal.encode(segment.header.salt, offset), offset)?;
    segment.file.sync_data()
}

/// Copies a segment to `lost/`, durably, before it is replaced by one of the same name, or goes.
/// Nothing there is overwritten: a number is added to the name where it is taken.
pub(crate) fn keep_in_lost(dir: &Dir, name: &str) -> Result<String> {
    let source = dir.open(name, crate::storage::Access::Read)?;
    let lost = dir.subdir(names::LOST);
    lost.create_durably()?;
    let taken = lost.list()?;
    let copy_name = std::iter::once(name.to_owned())
        .chain((1_u64..).map(|number| format!("{name}.{number}")))
        .find(|candidate| !taken.contains(candidate))
        .unwrap_or_else(|| name.to_owned());
    let copy = lost.create(&copy_name)?;
    let len = source.len()?;
    copy.allocate(len)?;
    let mut buffer = vec![0; usize::try_from(len).unwrap_or(usize::MAX).min(WINDOW_BYTES)];
    let mut at = 0;
    while at < len {
        let filled = source.read_at(&mut buffer, at)?;
        if filled == 0 {
            break;
        }
        // Most of a segment is zeros, which the copy reads as already.
        let used = filled - buffer[..filled].iter().rev().take_while(|byte| **byte == 0).count();
        copy.write_at(&buffer[..used], at)?;
        at += filled as u64;
    }
    copy.sync_all()?;
    lost.sync()?;
    Ok(format!("{}/{copy_name}", names::LOST))
}
