//! Reads a whole log, changes nothing, and names everything that is wrong.
//!
//! Opening stops at the first problem. Verification goes on: each segment is judged by itself, as far as its bound
//! is known from the names of the files. So several threads judge several segments at once; what they found is put
//! together in the order of the log.

use serde::Serialize;

use super::evidence::scan_rest;
use super::look::look_for_damage;
use super::opening::map_in_threads;
use super::plan::{Given, Link, Plan, foreign, segment_bases};
use super::replay::{LogEnd, RecordRef, SegmentSummary, missing, read_bounded, read_last};
use super::segment_reader::{Segment, SegmentReader};
use super::{SegmentState, TornTail};
use crate::error::{Error, EvidenceSource, Result};
use crate::format::names;
use crate::lsn::Lsn;
use crate::storage::Access;
use crate::storage::dir::Dir;

/// What a log is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogStatus {
    /// Whole to its end.
    #[default]
    Clean,
    /// Whole, but for an unfinished write at its end, which opening will cut off.
    Torn,
    /// Something that was durable is wrong or missing.
    Corrupt,
    /// A writer has it open; what is durable is whole.
    Live,
}

/// Something that is wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file's name.
    pub file: String,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// The LSN that should stand there, where it is known.
    pub lsn: Option<Lsn>,
    /// What is wrong, in `snake_case`: the name of a [`CorruptionKind`](crate::error::CorruptionKind),
    /// `missing_segment`, `torn`, or `compression` for an archived file that cannot be unpacked.
    pub kind: String,
    /// What proves that it was right once.
    pub evidence: Option<String>,
}

impl Problem {
    /// The problem that an error describes; `None` for one that is no damage, such as a failed read or a file of
    /// another release.
    pub(crate) fn of(error: &Error, name: &str) -> Option<Problem> {
        Some(match error {
            Error::Corruption(corruption) => Problem {
                file: corruption
                    .file
                    .file_name()
                    .map_or_else(|| name.to_owned(), |name| name.to_string_lossy().into_owned()),
                offset: corruption.offset,
                lsn: corruption.lsn,
                kind: corruption.kind.name().to_owned(),
                evidence: corruption.evidence.as_ref().map(ToString::to_string),
            },
            Error::MissingSegment { lsn, evidence, .. } => Problem {
                file: names::segment(*lsn),
                offset: 0,
                lsn: Some(*lsn),
                kind: "missing_segment".to_owned(),
                evidence: Some(evidence.to_string()),
            },
            _ => return None,
        })
    }
}

/// What verification found.
///
/// ```
/// use std::sync::Arc;
///
/// use forelog::storage::SimDisk;
/// use forelog::wal::{LogStatus, LogVerification, Problem};
/// use forelog::{Lsn, WalOptions};
///
/// let disk = SimDisk::new(1);
/// let options = WalOptions::new().storage(Arc::new(disk.clone())).segment_bytes(8192).idle_mark(None);
/// let wal = options.open("log")?;
/// wal.append(b"one")?;
/// wal.append(b"two")?;
/// let mut bytes = disk.read_file("log/00000000000000000001.wal").unwrap();
/// bytes[4096 + 48] ^= 1; // the first record rots, at the first byte of its payload
/// disk.write_file("log/00000000000000000001.wal", &bytes);
///
/// let found: LogVerification = wal.verify()?;
/// assert_eq!(found.status, LogStatus::Corrupt);
/// let problem: &Problem = &found.problems[0];
/// assert_eq!((problem.offset, problem.lsn, problem.kind.as_str()), (4096, Some(Lsn::new(1)), "payload"));
/// assert_eq!(problem.evidence.as_deref(), Some("LSN 2 at byte 4152 proves that LSN 1 was durable"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogVerification {
    /// The verdict.
    pub status: LogStatus,
    /// How many whole records were read.
    pub records: u64,
    /// The last LSN that opening would keep; beside a live writer, the last that is proven durable.
    pub last_lsn: Lsn,
    /// The segments that are whole.
    pub segments: Vec<SegmentSummary>,
    /// What is wrong, a torn tail included.
    pub problems: Vec<Problem>,
    /// The unfinished end, if there is one.
    pub torn: Option<TornTail>,
}

/// Looks at a record that is sound, by any of several threads.
pub(crate) type Check<'a> = dyn Fn(RecordRef<'_>) -> Result<()> + Sync + 'a;

/// Verifies the log in a directory. Beside a writer `check` may be given records more than once.
pub(crate) fn verify(dir: &Dir, given: Given, threads: usize, check: &Check<'_>) -> Result<LogVerification> {
    let is_damage = |found: &LogVerification| matches!(found.status, LogStatus::Corrupt | LogStatus::Torn);
    look_for_damage(dir, is_damage, |live| verify_once(dir, given, live, (threads, check)))
}

/// Looks at a log once.
pub(crate) fn verify_once(
    dir: &Dir,
    given: Given,
    live: bool,
    (threads, check): (usize, &Check<'_>),
) -> Result<LogVerification> {
    let mut found = LogVerification::default();
    let bases: Vec<Lsn> = segment_bases(&dir.list()?)
        .into_iter()
        .filter(|base| given.first_segment.is_none_or(|first| *base >= first))
        .collect();
    if bases.is_empty() && given.first_segment.is_none() {
        return Err(Error::NoStore { dir: dir.path().to_path_buf() });
    }
    if let Some(first) = given.first_segment
        && bases.first() != Some(&first)
    {
        let evidence = crate::error::Evidence { lsn: first, source: EvidenceSource::FirstSegment };
        found.note(&Error::MissingSegment { dir: dir.path().to_path_buf(), lsn: first, evidence }, "")?;
    }

    let (mut opened, mut unreadable) = (Vec::new(), Vec::new());
    let mut store_id = given.store_id;
    for base in &bases {
        let checked = Segment::open(dir, *base, Access::Read).and_then(|segment| {
            match *store_id.get_or_insert(segment.header.store_id) == segment.header.store_id {
                true => Ok(segment.header),
                false => Err(foreign(dir, *base)),
            }
        });
        match checked {
            Ok(segment) => opened.push(segment),
            Err(error) => {
                found.note(&error, &names::segment(*base))?;
                unreadable.push(*base);
            }
        }
    }
    let plan = Plan::link(opened);
    let last_base = bases.last().copied();
    for (link, judged) in plan.links.iter().zip(judge_all(dir, &plan, given, last_base, threads, check)) {
        // Where the last file's header is bad, this one is not the last, and its end says nothing.
        let Some(Judged { records, result }) = judged else { continue };
        found.records += records;
        match result {
            Ok((summary, end)) => {
                if let Some(end) = end {
                    found.note_end(&summary, &end, live);
                }
                found.segments.push(summary);
            }
            // Of that one it was told above what is wrong.
            Err(Error::MissingSegment { lsn, .. }) if unreadable.contains(&lsn) => {}
            Err(error) => {
                found.note(&error, &names::segment(link.header.base))?;
                // Reading ended at the damage, and so it did not come to what follows.
                let gone = if matches!(error, Error::Corruption(_)) { gone_behind(dir, link)? } else { None };
                if let Some(lsn) = gone.filter(|lsn| !unreadable.contains(lsn)) {
                    let last = link.bound.unwrap_or_default().0;
                    found.note(&missing(dir, lsn, last, EvidenceSource::Successor), "")?;
                }
            }
        }
    }
    found.status = match (&found.problems[..], &found.torn) {
        ([_, ..], _) => LogStatus::Corrupt,
        ([], _) if live => LogStatus::Live,
        ([], Some(_)) => LogStatus::Torn,
        ([], None) => LogStatus::Clean,
    };
    if let Some(torn) = &found.torn {
        let (file, offset, lsn) = (torn.file.clone(), torn.offset, Some(torn.lsn));
        found.problems.push(Problem { file, offset, lsn, kind: "torn".to_owned(), evidence: None });
    }
    Ok(found)
}

/// Where the next segment should begin that is gone: if this one is finished before the one that follows it now. `None` if
/// nothing says so, or nothing more than was told already.
fn gone_behind(dir: &Dir, link: &Link) -> Result<Option<Lsn>> {
    let Some((last, _)) = link.bound else { return Ok(None) };
    let segment = match Segment::open(dir, link.header.base, Access::Read) {
        // A disk that fails gives a sector now and not then.
        Err(Error::Corruption(_)) => return Ok(None),
        opened => opened?,
    };
    let at = SegmentReader::new(segment.clone()).position();
    let sealed = scan_rest(&segment, at)?.seal.map(|seal| seal.last_lsn);
    Ok(sealed.filter(|sealed| *sealed < last).map(Lsn::next))
}

/// A log of less bytes is read sooner than a thread is made.
const WORTH_A_THREAD: u64 = 1 << 20;

/// What one segment is like.
struct Judged {
    records: u64,
    result: Result<(SegmentSummary, Option<LogEnd>)>,
}

/// Judges all segments, by so many threads; in their order. `None` for one whose end says nothing.
fn judge_all(
    dir: &Dir,
    plan: &Plan,
    given: Given,
    last_base: Option<Lsn>,
    threads: usize,
    check: &Check<'_>,
) -> Vec<Option<Judged>> {
    let bytes: u64 = plan.links.iter().map(|link| link.header.file_len).sum();
    let threads = if bytes < WORTH_A_THREAD { 1 } else { threads };
    map_in_threads(threads, &plan.links, |link| {
        let is_judged = link.bound.is_some() || Some(link.header.base) == last_base;
        is_judged.then(|| judge_segment(dir, link, given, check))
    })
}

fn judge_segment(dir: &Dir, link: &Link, given: Given, check: &Check<'_>) -> Judged {
    let mut records = 0;
    let mut count = |record: RecordRef<'_>| {
        records += 1;
        check(record)
    };
    let result = match link.bound {
        Some(_) => read_bounded(dir, link, &mut count).map(|summary| (summary, None)),
        None => Segment::open(dir, link.header.base, Access::Read).and_then(|segment| {
            let end = read_last(dir, &segment, given.proven, &mut count)?;
            Ok((SegmentSummary::new(&segment, end.position, SegmentState::Active), Some(end)))
        }),
    };
    Judged { records, result }
}

impl LogVerification {
    /// Takes note of where the log ends.
    fn note_end(&mut self, summary: &SegmentSummary, end: &LogEnd, live: bool) {
        if end.torn && !live {
            self.torn = Some(TornTail {
                file: summary.file.to_string(),
                offset: end.position.offset,
                lsn: end.position.lsn,
                kind: end.flaw,
                kept_in: None,
            });
        }
        let last = end.position.lsn.previous();
        self.last_lsn = if live { end.proven_lsn().min(last) } else { last };
    }

    /// Takes note of a problem; passes on an error that says nothing about the files.
    fn note(&mut self, error: &Error, name: &str) -> Result<()> {
        let problem = Problem::of(error, name).ok_or_else(|| error.clone())?;
        self.problems.push(problem);
        Ok(())
    }
}
