//! Opens a log: what is on disk after a crash becomes a log that can be written.
//!
//! ```text
//!  lock → sync parent and directory → read headers → read records → judge the end → remove *.tmp, then either
//!
//!    nothing but zeros follows   the unproven records are written again in place, the same bytes, and synced
//!    a torn tail follows         a successor is built that holds the unproven records again; the old file stays,
//!                                and gets its seal in the room at its end
//! ```
//!
//! Why are unproven records written again? After a failed sync they may have lived only in the page cache, on pages
//! that the kernel has marked clean: no later sync would save them, yet a caller who reads them now believes them.
//! Once this returns, everything that was read is durable.
//!
//! Why is a torn tail not cut off in place? Because a crash half-way through would leave a mixture of old and new
//! bytes. The successor gets its name in one step, its header bounds the old file, and its new salt keeps the old
//! file's leftovers from ever being read again. A crash at any step opens to the same state.

use super::build::{Builder, keep_in_lost, write_seal};
use super::opening::{Opening, Piece};
use super::plan::{Given, Plan, segment_bases};
use super::replay::{LogEnd, SegmentState, SegmentSummary, Visit};
use super::segment_reader::{Found, Position, Segment, WINDOW_BYTES};
use crate::error::{CorruptionKind, Error, Evidence, Result};
use crate::format::StoreId;
use crate::format::checksum::Digest;
use crate::format::names;
use crate::format::record::RecordKind;
use crate::format::seal::{SEAL_BYTES, Seal};
use crate::format::segment::SegmentHeader;
use crate::lsn::Lsn;
use crate::options::{RecoveryMode, WalOptions};
use crate::storage::dir::Dir;
use crate::storage::{Access, Storage};

/// What opening a log found and did.
///
/// ```
/// use std::sync::Arc;
///
/// use forelog::error::CorruptionKind;
/// use forelog::storage::{Outcome, SimDisk};
/// use forelog::wal::{LogReport, TornTail};
/// use forelog::{Durability, Lsn, WalOptions};
///
/// let options = WalOptions::new().segment_bytes(8192).idle_mark(None).spare_ahead(false);
/// let disk = SimDisk::new(1);
/// let wal = options.clone().storage(Arc::new(disk.clone())).open("log")?;
/// wal.append(b"synced")?;
/// wal.append_with(&[&[b'x'; 1000]], Durability::Buffered)?; // over three sectors of the disk
/// let disk = disk.power_cut(&Outcome::Prefix(1)); // of which the first one has got there
///
/// let wal = options.storage(Arc::new(disk)).open("log")?;
/// let report: &LogReport = wal.report();
/// assert_eq!((report.last_lsn, report.proven_lsn), (Lsn::new(1), Lsn::new(1)));
/// let TornTail { lsn, offset, kind, .. } = report.torn.clone().unwrap();
/// assert_eq!((lsn, offset, kind), (Lsn::new(2), 4096 + 56, CorruptionKind::Payload));
/// assert_eq!(wal.append(b"next")?, lsn); // given out again
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogReport {
    /// The segments, in order.
    pub segments: Vec<SegmentSummary>,
    /// The last LSN of the log.
    pub last_lsn: Lsn,
    /// The highest LSN that something on disk proved to be durable.
    pub proven_lsn: Lsn,
    /// What proved it.
    pub evidence: Option<Evidence>,
    /// The unfinished end, if a crash left one.
    pub torn: Option<TornTail>,
    /// How many records were written again because nothing proved that they were durable.
    pub rewritten: u64,
}

/// The unfinished end of a log, which a crash left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment.
    pub file: String,
    /// Where the first record that is not whole begins, in bytes.
    pub offset: u64,
    /// The LSN that it would have had. It is given out again.
    pub lsn: Lsn,
    /// What stands there.
    pub kind: CorruptionKind,
    /// Where the bytes are kept: `None`, in the file itself; otherwise its copy, because a new file took its name.
    pub kept_in: Option<String>,
}

/// The end of a log that is ready to be written.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) store_id: StoreId,
    pub(super) segment: Segment,
    pub(super) position: Position,
    pub(super) closed: Vec<SegmentSummary>,
    pub(super) time_us: u64,
    pub(super) last_kind: Option<RecordKind>,
}

/// Reads a log and reports on it, changing nothing. A writer may be at work.
pub(crate) fn read_only(dir: &Dir, given: Given, visit: &mut Visit<'_>) -> Result<LogReport> {
    let opening = Opening::for_reading(dir, given)?;
    let pieces = (0..opening.segments()).map(|index| opening.read(index, visit)).collect::<Result<_>>()?;
    Ok(report_on(pieces))
}

/// The report on a log of which every piece was read.
pub(crate) fn report_on(pieces: Vec<Piece>) -> LogReport {
    let (segments, end) = put_together(pieces);
    report(segments, end.as_ref())
}

/// The segments in order and the log's end; `None` for a log without segments.
fn put_together(mut pieces: Vec<Piece>) -> (Vec<SegmentSummary>, Option<LogEnd>) {
    let end = pieces.last_mut().and_then(|last| last.end.take());
    (pieces.into_iter().map(|piece| piece.summary).collect(), end)
}

fn report(segments: Vec<SegmentSummary>, end: Option<&LogEnd>) -> LogReport {
    let Some(end) = end else { return LogReport::default() };
    LogReport {
        segments,
        last_lsn: end.position.lsn.previous(),
        proven_lsn: end.proven_lsn().min(end.position.lsn.previous()),
        evidence: end.proven,
        torn: end.torn.then(|| TornTail {
            file: end.segment.name.to_string(),
            offset: end.position.offset,
            lsn: end.position.lsn,
            kind: end.flaw,
            kept_in: None,
        }),
        rewritten: 0,
    }
}

/// Makes a new log: its first segment. The directory exists, is locked and holds no segment.
pub(super) fn create(dir: &Dir, options: &WalOptions, store_id: StoreId, base: Lsn) -> Result<Ready> {
    // What lies before it, if anything does, is in a checkpoint.
    let (previous_last, proven_to) = (base.previous(), base.previous());
    let header = SegmentHeader { base, previous_last, proven_to, ..new_header(dir, options, store_id) };
    let time_us = header.created_us;
    let (segment, position) = Builder::new(dir, header)?.name()?;
    Ok(Ready { store_id, segment, position, closed: Vec::new(), time_us, last_kind: None })
}

/// Makes a log ready to be written, of which every piece was read.
pub(super) fn recover(
    opening: &Opening,
    options: &WalOptions,
    pieces: Vec<Piece>,
) -> Result<(Ready, LogReport)> {
    let dir = &opening.dir;
    let (mut segments, end) = put_together(pieces);
    let Some(end) = end else { return Err(Error::NoStore { dir: dir.path().to_path_buf() }) };
    let mut report = report(segments.clone(), Some(&end));
    if let Some(torn) = &report.torn
        && options.recovery == RecoveryMode::Strict
    {
        return Err(Error::corruption(end.segment.file.path(), torn.offset, Some(torn.lsn), torn.kind, None));
    }

    // ORDER: nothing is changed before this line, so that a log that cannot be opened stays as it was found; and what
    // a cut superseded goes before a successor is built, which may be given the name of one of them.
    remove_unfinished(dir, &opening.names)?;
    remove_superseded(dir, &opening.plan)?;
    report.rewritten = end.position.lsn.distance_from(end.first_unproven());
    segments.truncate(segments.len().saturating_sub(1));
    let (segment, position) = if end.torn {
        let (segment, from, position, kept_in) = build_successor(dir, options, &end)?;
        if kept_in.is_none() {
            segments.push(SegmentSummary::new(&end.segment, from, SegmentState::Closed));
        }
        if let Some(torn) = &mut report.torn {
            torn.kept_in = kept_in;
        }
        (segment, position)
    } else {
        rewrite_in_place(&end)?;
        (end.segment.clone(), end.position)
    };
    if let Some(before) = segments.last() {
        see_to_seal(dir, before, &segment.header, position.lsn)?;
    }

    let ready = Ready {
        store_id: segment.header.store_id,
        segment,
        position,
        closed: segments,
        time_us: end.time_us,
        last_kind: end.last_kind,
    };
    Ok((ready, report))
}

/// Seals the segment before the last one, if a crash came between the last one's name and the seal, or if it is the
/// torn one. Without a seal it would look like the end of the log when the last one is gone.
///
/// A seal that can be read may not be on the disk: if its sync failed, it is in the cache alone, on pages marked clean. It
/// was synced for sure if a record stands behind what the last segment had when it got its name, because no record is
/// written there before. Otherwise it is written once more, the same bytes.
fn see_to_seal(dir: &Dir, before: &SegmentSummary, successor: &SegmentHeader, next: Lsn) -> Result<()> {
    let is_synced = next > successor.proven_to.next();
    // INVARIANT: the segment before the last one is always read, see `Opening::read`.
    let Some(used_bytes) = before.used_bytes else { return Ok(()) };
    let segment = Segment::open(dir, before.base_lsn, Access::ReadWrite)?;
    let last_place = segment.header.last_seal_offset();
    let mut place = last_place;
    for offset in [used_bytes, last_place] {
        let mut bytes = [0; SEAL_BYTES];
        let filled = segment.file.read_at(&mut bytes, offset)?;
        if Seal::decode(&bytes[..filled], segment.header.salt, offset).is_some() {
            if is_synced {
                return Ok(());
            }
            place = offset;
            break;
        }
    }
    let (offset, lsn, digest) = (used_bytes, successor.base, successor.previous_digest);
    write_seal(&segment, Position { offset, lsn, digest }, place)
}

/// Writes the unproven records once more where they stand, the same bytes, and syncs them.
fn rewrite_in_place(end: &LogEnd) -> Result<()> {
    let from = end.reader_of_unproven()?.position().offset;
    if from == end.position.offset {
        return Ok(());
    }
    let most = usize::try_from(end.position.offset - from).unwrap_or(usize::MAX);
    let mut buffer = vec![0; most.min(WINDOW_BYTES)];
    let mut at = from;
    while at < end.position.offset {
        let left = usize::try_from(end.position.offset - at).unwrap_or(usize::MAX).min(buffer.len());
        let filled = end.segment.file.read_at(&mut buffer[..left], at)?;
        if filled == 0 {
            break;
        }
        end.segment.file.write_at(&buffer[..filled], at)?;
        at += filled as u64;
    }
    end.segment.file.sync_data()
}

/// Builds the segment that takes over from a torn one: that segment, where it takes over, and where it ends. Also says
/// where the torn one was copied, if its name is taken.
fn build_successor(
    dir: &Dir,
    options: &WalOptions,
    end: &LogEnd,
) -> Result<(Segment, Position, Position, Option<String>)> {
    let old = end.segment.header;
    let mut reader = end.reader_of_unproven()?;
    let from = reader.position();
    let fresh = new_header(dir, options, old.store_id);
    let same_name = from.lsn == old.base;
    let (previous_last, previous_digest) =
        if same_name { (old.previous_last, old.previous_digest) } else { (from.lsn.previous(), from.digest) };
    let header = SegmentHeader {
        base: from.lsn,
        previous_last,
        previous_digest,
        // Room for all that the old file held, whose payload checksums are taken over as they are.
        file_len: fresh.file_len.max(old.file_len),
        checksum: old.checksum,
        proven_to: end.position.lsn.previous(),
        created_us: fresh.created_us.max(end.time_us),
        cut: old.cut,
        ..fresh
    };
    let mut builder = Builder::new(dir, header)?;
    while reader.position().lsn < end.position.lsn {
        match reader.read()? {
            Found::Record { header, payload, .. } => builder.append(&header, payload)?,
            Found::Seal | Found::Nothing(_) => {
                return Err(end.changed_meanwhile(reader.position()));
            }
        }
    }
    let kept_in = if same_name { Some(keep_in_lost(dir, &names::segment(old.base))?) } else { None };
    let (segment, position) = builder.name()?;
    Ok((segment, from, position, kept_in))
}

pub(super) fn remove_unfinished(dir: &Dir, names: &[String]) -> Result<()> {
    names.iter().filter(|name| names::is_tmp(name)).try_for_each(|name| dir.remove(name))
}

/// A cut took them out of the log; the process that made it may have died before removing them.
fn remove_superseded(dir: &Dir, plan: &Plan) -> Result<()> {
    plan.superseded.iter().try_for_each(|base| dir.remove(&names::segment(*base)))
}

/// The header of a log's very first segment; later ones change what differs.
pub(super) fn new_header(dir: &Dir, options: &WalOptions, store_id: StoreId) -> SegmentHeader {
    let storage = dir.storage();
    SegmentHeader {
        store_id,
        base: Lsn::new(1),
        file_len: options.segment_bytes,
        salt: storage.random_u64(),
        checksum: options.checksum,
        previous_last: Lsn::ZERO,
        previous_digest: Digest::default(),
        proven_to: Lsn::ZERO,
        created_us: storage.now_us(),
        cut: 0,
    }
}

pub(crate) fn new_store_id(storage: &dyn Storage) -> StoreId {
    StoreId::from_random([storage.random_u64(), storage.random_u64()])
}

/// The store that the segment of this base belongs to.
pub(crate) fn store_id_of(dir: &Dir, base: Option<Lsn>) -> Result<StoreId> {
    let Some(base) = base else { return Err(Error::NoStore { dir: dir.path().to_path_buf() }) };
    Ok(Segment::open(dir, base, Access::Read)?.header.store_id)
}

/// True if the directory holds at least one file that is named like a segment.
pub(crate) fn has_segments(names: &[String]) -> bool {
    !segment_bases(names).is_empty()
}
