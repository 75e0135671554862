//! Reads a segment of the planned log from its beginning to its end; of the last one it says what that end is. Changes
//! nothing.

use std::sync::Arc;

use serde::Serialize;

use super::evidence::{Rest, TailFacts, Verdict, judge, scan_rest, stronger};
use super::plan::Link;
use super::segment_reader::{Found, Position, Segment, SegmentReader, WINDOW_BYTES};
use crate::error::{CorruptionKind, Error, Evidence, EvidenceSource, Result};
use crate::format::names;
use crate::format::record::{RecordHeader, RecordKind};
use crate::format::segment::SegmentHeader;
use crate::lsn::Lsn;
use crate::storage::Access;
use crate::storage::dir::Dir;

/// A record where it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordRef<'a> {
    pub(crate) header: &'a RecordHeader,
    pub(crate) payload: &'a [u8],
    pub(crate) file: &'a Arc<str>,
    pub(crate) offset: u64,
}

/// Takes the records of a segment, in their order.
pub(crate) type Visit<'a> = dyn FnMut(RecordRef<'_>) -> Result<()> + 'a;

/// What one segment holds.
///
/// ```
/// use std::sync::Arc;
///
/// use forelog::storage::MemoryDisk;
/// use forelog::wal::{LogReader, Record, Records, SegmentRecords, SegmentState, SegmentSummary};
/// use forelog::{Lsn, WalOptions};
///
/// let disk = Arc::new(MemoryDisk::new());
/// let wal = WalOptions::new().storage(disk.clone()).segment_bytes(8192).idle_mark(None).open("log")?;
/// wal.append_many(&[b"one", b"two"])?; // with one sync
/// wal.prepare_spare()?; // so that the rotation need not wait for a file
/// wal.rotate()?;
/// wal.append(b"three")?;
/// let segments: Vec<SegmentSummary> = wal.segments();
/// assert_eq!((segments[0].records, segments[0].state), (2, SegmentState::Closed));
/// assert_eq!((segments[1].base_lsn, segments[1].state), (Lsn::new(3), SegmentState::Active));
///
/// // All records, or those of one segment, which another thread may read:
/// let mut records: Records = wal.read_from(Lsn::new(2))?;
/// let record: Record = records.next().unwrap()?;
/// assert_eq!((record.payload.as_slice(), record.file), (&b"two"[..], segments[0].file.clone()));
/// let last: SegmentRecords = wal.segment_readers().pop().unwrap();
/// assert_eq!((last.base_lsn(), last.count()), (Lsn::new(3), 1));
///
/// // From outside, with the mark that closing leaves:
/// wal.close()?;
/// let reader = LogReader::open_on(disk, "log")?.skip_segments_before(Lsn::new(3));
/// let lsns = reader.map(|record| record.map(|record| record.lsn.get())).collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(lsns, [3, 4]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SegmentSummary {
    /// The file's name.
    pub file: Arc<str>,
    /// The LSN of the first record.
    pub base_lsn: Lsn,
    /// The LSN of the last record; `base_lsn - 1` where there is none.
    pub last_lsn: Lsn,
    /// How many records there are.
    pub records: u64,
    /// The file's length in bytes.
    pub bytes: u64,
    /// Of these, the bytes up to the end of the last record. `None` if opening had no need to read them: then a
    /// checkpoint holds what they say.
    pub used_bytes: Option<u64>,
    /// Whether the log goes on behind it.
    pub state: SegmentState,
}

/// Whether the log goes on behind a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SegmentState {
    /// Finished: another segment follows.
    Closed,
    /// The last one, where the log is written.
    Active,
}

impl SegmentSummary {
    pub(super) fn new(segment: &Segment, end: Position, state: SegmentState) -> SegmentSummary {
        SegmentSummary {
            file: segment.name.clone(),
            base_lsn: segment.base(),
            last_lsn: end.lsn.previous(),
            records: end.lsn.distance_from(segment.base()),
            bytes: segment.header.file_len,
            used_bytes: Some(end.offset),
            state,
        }
    }

    /// What the headers say of a segment that ends with `last`.
    pub(super) fn unread(header: &SegmentHeader, last: Lsn) -> SegmentSummary {
        SegmentSummary {
            file: names::segment(header.base).into(),
            base_lsn: header.base,
            last_lsn: last,
            records: last.next().distance_from(header.base),
            bytes: header.file_len,
            used_bytes: None,
            state: SegmentState::Closed,
        }
    }
}

/// The end of the log, as its last segment shows it.
#[derive(Clone, Debug)]
pub(super) struct LogEnd {
    pub(super) segment: Segment,
    /// Behind the last whole record.
    pub(super) position: Position,
    /// The strongest evidence there is, from whatever source.
    pub(super) proven: Option<Evidence>,
    /// [`Verdict::End`] or [`Verdict::Torn`]; the others are errors.
    pub(super) torn: bool,
    /// What stands where the next record would.
    pub(super) flaw: CorruptionKind,
    /// The time of the last record; if there is none, of the file's creation.
    pub(super) time_us: u64,
    /// What the last record of the segment is.
    pub(super) last_kind: Option<RecordKind>,
    /// Places on the way, ascending: so that one near the end is found again without reading everything before it.
    landmarks: Vec<Position>,
}

impl LogEnd {
    pub(super) fn proven_lsn(&self) -> Lsn {
        self.proven.map_or(Lsn::ZERO, |evidence| evidence.lsn)
    }

    /// The first LSN that nothing proves to be durable.
    pub(super) fn first_unproven(&self) -> Lsn {
        self.proven_lsn().next().clamp(self.segment.base(), self.position.lsn)
    }

    /// A reader at the first record that nothing proves to be durable.
    ///
    /// # Errors
    /// [`Error::Corruption`]: a record that was whole a moment ago is not any more.
    pub(super) fn reader_of_unproven(&self) -> Result<SegmentReader> {
        let from = self.first_unproven();
        let before = self.landmarks.iter().rfind(|landmark| landmark.lsn <= from);
        let mut reader = SegmentReader::new(self.segment.clone());
        if let Some(landmark) = before {
            reader.go_to(*landmark);
        }
        let at = reader.skip_to(from)?;
        if at.lsn == from { Ok(reader) } else { Err(self.changed_meanwhile(at)) }
    }

    /// The medium is failing under our hands.
    pub(super) fn changed_meanwhile(&self, at: Position) -> Error {
        Error::corruption(self.segment.file.path(), at.offset, Some(at.lsn), CorruptionKind::Payload, None)
    }
}

/// Reads a segment that has a successor: it must hold exactly what the successor states.
pub(super) fn read_bounded(dir: &Dir, link: &Link, visit: &mut Visit<'_>) -> Result<SegmentSummary> {
    let segment = &Segment::open(dir, link.header.base, Access::Read)?;
    let (last, digest) = link.bound.unwrap_or_default();
    let evidence = Some(Evidence { lsn: last, source: EvidenceSource::Successor });
    let mut reader = SegmentReader::new(segment.clone());
    while reader.position().lsn <= last {
        let at = reader.position();
        let kind = match reader.read()? {
            Found::Record { header, offset, payload } => {
                visit(RecordRef { header: &header, payload, file: &segment.name, offset })?;
                continue;
            }
            // The segment was finished here, and the next file begins later: one between them is gone.
            Found::Seal => return Err(missing(dir, at.lsn, last, EvidenceSource::Successor)),
            Found::Nothing(kind) => kind,
        };
        return Err(Error::corruption(segment.file.path(), at.offset, Some(at.lsn), kind, evidence));
    }
    let end = reader.position();
    if end.digest != digest || end.lsn != last.next() {
        let kind = CorruptionKind::Digest;
        return Err(Error::corruption(segment.file.path(), end.offset, Some(last), kind, evidence));
    }
    Ok(SegmentSummary::new(segment, end, SegmentState::Closed))
}

/// Reads a segment without a successor up to one of its records, whatever stands behind that.
pub(super) fn read_up_to(
    dir: &Dir,
    link: &Link,
    until: Lsn,
    visit: &mut Visit<'_>,
) -> Result<SegmentSummary> {
    let segment = &Segment::open(dir, link.header.base, Access::Read)?;
    let mut reader = SegmentReader::new(segment.clone());
    while reader.position().lsn <= until {
        let at = reader.position();
        let kind = match reader.read()? {
            Found::Record { header, offset, payload } => {
                visit(RecordRef { header: &header, payload, file: &segment.name, offset })?;
                continue;
            }
            // Another one followed.
            Found::Seal => return Err(missing(dir, at.lsn, at.lsn.previous(), EvidenceSource::Seal)),
            Found::Nothing(kind) => kind,
        };
        return Err(Error::corruption(segment.file.path(), at.offset, Some(at.lsn), kind, None));
    }
    Ok(SegmentSummary::new(segment, reader.position(), SegmentState::Active))
}

/// Reads the last segment up to its end and judges that end.
///
/// A writer may be adding records meanwhile, and where none is, one may come and go. What stands behind a missing record may mean that both were written after the reader had looked: so
/// the place is read once more.
pub(super) fn read_last(
    dir: &Dir,
    segment: &Segment,
    given: Option<Evidence>,
    visit: &mut Visit<'_>,
) -> Result<LogEnd> {
    let header = segment.header;
    let own = Evidence { lsn: header.proven_to, source: EvidenceSource::SegmentHeader };
    let mut proven = stronger(given, Some(own));
    let mut reader = SegmentReader::new(segment.clone());
    let (mut time_us, mut last_kind) = (header.created_us, None);
    let mut judged_at = None;
    let mut landmarks = vec![reader.position()];
    loop {
        let at = reader.position();
        if landmarks.last().is_some_and(|last| at.offset - last.offset >= WINDOW_BYTES as u64) {
            landmarks.push(at);
        }
        let flaw = match reader.read()? {
            Found::Record { header, offset, payload } => {
                let source = EvidenceSource::Record { lsn: header.lsn, offset };
                proven = stronger(proven, Some(Evidence { lsn: header.durable_lsn, source }));
                (time_us, last_kind) = (header.time_us, Some(header.kind));
                visit(RecordRef { header: &header, payload, file: &segment.name, offset })?;
                continue;
            }
            Found::Seal => CorruptionKind::RecordHeader,
            Found::Nothing(flaw) => flaw,
        };
        let Rest { all_zeros, evidence, seal } = scan_rest(segment, at)?;
        let strongest = stronger(proven, evidence);
        let proven_lsn = strongest.map_or(Lsn::ZERO, |evidence| evidence.lsn);
        let facts = TailFacts { expected: at.lsn, proven: proven_lsn, sealed: seal.is_some(), all_zeros };
        let verdict = judge(facts);
        if matches!(verdict, Verdict::Corrupt | Verdict::Torn) && judged_at != Some(at) {
            judged_at = Some(at);
            reader.forget_window();
            continue;
        }
        let torn = match verdict {
            Verdict::SuccessorMissing => {
                let sealed_at = seal.map_or(Lsn::ZERO, |seal| seal.last_lsn);
                return Err(missing(dir, sealed_at.next(), sealed_at, EvidenceSource::Seal));
            }
            Verdict::Corrupt => {
                let kind = if all_zeros { CorruptionKind::LogTooShort } else { flaw };
                return Err(Error::corruption(segment.file.path(), at.offset, Some(at.lsn), kind, strongest));
            }
            Verdict::End => false,
            Verdict::Torn => true,
        };
        let segment = segment.clone();
        let proven = strongest;
        return Ok(LogEnd { segment, position: at, proven, torn, flaw, time_us, last_kind, landmarks });
    }
}

/// The segment that should begin with this LSN is gone.
pub(super) fn missing(dir: &Dir, lsn: Lsn, proven: Lsn, source: EvidenceSource) -> Error {
    Error::MissingSegment { dir: dir.path().to_path_buf(), lsn, evidence: Evidence { lsn: proven, source } }
}
