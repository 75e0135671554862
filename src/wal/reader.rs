//! Reading a log: beside its own writer, one segment by itself, or from outside.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::log::Log;
use super::look::look_again;
use super::pins::Pin;
use super::plan::{Given, Plan};
use super::replay::{missing, read_last};
use super::segment_reader::{Found, Segment, SegmentReader};
use crate::error::{CorruptionKind, Error, Evidence, EvidenceSource, Result};
use crate::format::names;
use crate::format::record::RecordKind;
use crate::lsn::Lsn;
use crate::storage::dir::Dir;
use crate::storage::{Access, RealDisk, Storage};

/// A record, read back from the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// Its LSN.
    pub lsn: Lsn,
    /// What was known to be durable when it was written.
    pub durable_lsn: Lsn,
    /// When it was written, in microseconds since 1970-01-01 UTC; never below the time of an earlier record.
    pub time_us: u64,
    /// What it is. Marks have an LSN and no payload.
    pub kind: RecordKind,
    /// The name of its segment.
    pub file: Arc<str>,
    /// Where it stands there, in bytes.
    pub offset: u64,
    /// Bytes that it takes there.
    pub bytes: u64,
    /// What was appended.
    pub payload: Vec<u8>,
}

/// What stands where a record should.
enum NoRecord {
    /// The seal: the segment was finished here.
    Seal,
    Flaw(CorruptionKind),
}

/// The record at the reader's position; otherwise what stands there.
fn read_record(reader: &mut SegmentReader) -> Result<Result<Record, NoRecord>> {
    let file = reader.segment().name.clone();
    Ok(match reader.read()? {
        Found::Record { header, offset, payload } => Ok(Record {
            lsn: header.lsn,
            durable_lsn: header.durable_lsn,
            time_us: header.time_us,
            kind: header.kind,
            file,
            offset,
            bytes: header.stored_bytes(),
            payload: payload.to_vec(),
        }),
        Found::Seal => Err(NoRecord::Seal),
        Found::Nothing(kind) => Err(NoRecord::Flaw(kind)),
    })
}

/// The records of a running log from some LSN on, marks included: see [`Wal::read_from`](super::Wal::read_from).
///
/// It ends at the durable LSN. Asked again later, it goes on from there.
#[derive(Debug)]
pub struct Records {
    log: Arc<Log>,
    next: Lsn,
    /// Stands before `next`.
    reader: Option<BoundedReader>,
    /// Keeps what is to be read: moved on with each segment.
    pin: Pin,
}

/// A reader of one segment, and how far that segment is part of the log.
#[derive(Debug)]
struct BoundedReader {
    reader: SegmentReader,
    /// The segment's last LSN. What a cut or a torn end left behind it is sound to the bit, and not in the log.
    /// [`Lsn::MAX`] while the log is written there.
    until: Lsn,
    /// [`Log::cuts`] before this was opened.
    cuts: u64,
}

impl Records {
    pub(super) fn new(log: Arc<Log>, from: Lsn) -> Result<Records> {
        let pin = log.pin(from)?;
        Ok(Records { log, next: from, reader: None, pin })
    }

    fn read_next(&mut self) -> Result<Record> {
        let cuts = self.log.cuts();
        self.reader.take_if(|bounded| bounded.until < self.next || bounded.cuts != cuts);
        // The record is durable, so it is there: but what was read ahead may be too old, or this segment at its end.
        if let Some(BoundedReader { reader, .. }) = &mut self.reader {
            if let Ok(record) = read_record(reader)? {
                return Ok(record);
            }
            reader.forget_window();
            if let Ok(record) = read_record(reader)? {
                return Ok(record);
            }
        }
        let (base, until) = self.log.segment_of(self.next)?;
        self.pin = self.log.pin(self.next)?;
        let mut reader = SegmentReader::new(Segment::open(&self.log.dir, base, Access::Read)?);
        let at = reader.skip_to(self.next)?;
        let record = read_record(&mut reader)?.map_err(|found| {
            let kind = if let NoRecord::Flaw(kind) = found { kind } else { CorruptionKind::RecordHeader };
            let evidence = Evidence { lsn: self.log.durable(), source: EvidenceSource::Memory };
            Error::corruption(reader.segment().file.path(), at.offset, Some(at.lsn), kind, Some(evidence))
        })?;
        // Kept only where it has come to the next record: whoever asks again after a failure must not go on from elsewhere.
        self.reader = Some(BoundedReader { reader, until, cuts });
        Ok(record)
    }
}

impl Iterator for Records {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Result<Record>> {
        if self.next > self.log.durable() {
            return None;
        }
        let result = self.read_next();
        if result.is_ok() {
            self.next = self.next.next();
        }
        Some(result)
    }
}

/// The records of one segment, read independently of all others: see
/// [`Wal::segment_readers`](super::Wal::segment_readers). It may be sent to another thread.
///
/// The file is opened by the first read, so that a log of many segments needs few descriptors.
#[derive(Debug)]
pub struct SegmentRecords {
    dir: Dir,
    base: Lsn,
    until: Lsn,
    /// What the records say in place of the file's name, if not that.
    shown: Option<Arc<str>>,
    reader: Option<SegmentReader>,
    failed: bool,
}

impl SegmentRecords {
    pub(super) fn new(dir: Dir, base: Lsn, until: Lsn) -> SegmentRecords {
        SegmentRecords { dir, base, until, shown: None, reader: None, failed: false }
    }

    /// The segment's file name.
    pub fn file(&self) -> String {
        names::segment(self.base)
    }

    /// The LSN of its first record.
    pub fn base_lsn(&self) -> Lsn {
        self.base
    }

    /// The last LSN that will be read.
    pub fn last_lsn(&self) -> Lsn {
        self.until
    }

    fn created_us(&self) -> Result<u64> {
        Ok(Segment::open(&self.dir, self.base, Access::Read)?.header.created_us)
    }

    /// Of the file that is really read, if that is not the one of its name.
    fn told(&self, error: Error) -> Error {
        error.told_of(|path| Some(path.with_file_name(&**self.shown.as_ref()?)))
    }

    /// A segment that was there a moment ago was removed by a writer: nobody is kept from that by a reader in another
    /// process. From an archive nobody removes anything.
    fn gone(&self, error: Error) -> Error {
        match &error {
            Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound && self.shown.is_none() => {
                Error::Compacted { oldest: self.until.next() }
            }
            _ => error,
        }
    }

    fn read_next(&mut self) -> Result<Record> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => {
                let mut segment =
                    Segment::open(&self.dir, self.base, Access::Read).map_err(|error| self.gone(error))?;
                if let Some(shown) = &self.shown {
                    segment.name = shown.clone();
                }
                self.reader.insert(SegmentReader::new(segment))
            }
        };
        let at = reader.position();
        read_record(reader)?.map_err(|found| {
            let NoRecord::Flaw(kind) = found else {
                // The segment was finished here, and the next file begins later: one between them is gone.
                return missing(&self.dir, at.lsn, self.until, EvidenceSource::Successor);
            };
            let evidence = Evidence { lsn: self.until, source: EvidenceSource::Successor };
            Error::corruption(reader.segment().file.path(), at.offset, Some(at.lsn), kind, Some(evidence))
        })
    }
}

impl Iterator for SegmentRecords {
    type Item = Result<Record>;

    /// After an error comes nothing more.
    fn next(&mut self) -> Option<Result<Record>> {
        let at = self.reader.as_ref().map_or(self.base, |reader| reader.position().lsn);
        if self.failed || at > self.until {
            return None;
        }
        let result = self.read_next().map_err(|error| self.told(error));
        self.failed = result.is_err();
        Some(result)
    }
}

/// The records of a log that this process does not hold open, from the oldest on; changes nothing.
///
/// Beside a live writer it ends at what the files prove to be durable; otherwise at the last whole record, which is
/// what opening would keep.
///
/// ```
/// use forelog::wal::LogReader;
/// use forelog::WalOptions;
///
/// let dir = tempfile::tempdir()?;
/// let wal = WalOptions::new().open(dir.path().join("log"))?;
/// wal.append(b"hello")?;
/// wal.close()?;
///
/// let records = LogReader::open(dir.path().join("log"))?.collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(records[0].payload, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LogReader {
    segments: VecDeque<SegmentRecords>,
    live: bool,
    incomplete: Option<Error>,
}

impl LogReader {
    /// Reads the log in a directory of the real disk.
    ///
    /// # Errors
    /// [`Error::NoStore`] where there is no log; what is wrong with a segment's header, or with the end of the log.
    pub fn open(dir: impl AsRef<Path>) -> Result<LogReader> {
        LogReader::open_on(Arc::new(RealDisk), dir)
    }

    /// Reads the log in a directory of this disk.
    ///
    /// # Errors
    /// As [`LogReader::open`].
    pub fn open_on(storage: Arc<dyn Storage>, dir: impl AsRef<Path>) -> Result<LogReader> {
        let dir = Dir::new(storage, dir.as_ref());
        look_again(&dir, |live| LogReader::plan(&dir, Given::default(), live))
    }

    /// Looks at the log once.
    pub(crate) fn plan(dir: &Dir, given: Given, live: bool) -> Result<LogReader> {
        let plan = Plan::read(dir, &dir.list()?, given, Lsn::MAX)?;
        if plan.links.is_empty() {
            return Err(Error::NoStore { dir: dir.path().to_path_buf() });
        }
        let mut segments = VecDeque::with_capacity(plan.links.len());
        for link in plan.links {
            let base = link.header.base;
            let until = match link.bound {
                Some((last, _)) => last,
                None => {
                    let segment = Segment::open(dir, base, Access::Read)?;
                    let end = read_last(dir, &segment, given.proven, &mut |_| Ok(()))?;
                    let last = end.position.lsn.previous();
                    if live { end.proven_lsn().min(last) } else { last }
                }
            };
            segments.push_back(SegmentRecords::new(dir.clone(), base, until));
        }
        Ok(LogReader { segments, live, incomplete: None })
    }

    /// A log of which nothing is there.
    pub(crate) fn empty() -> LogReader {
        LogReader { segments: VecDeque::new(), live: false, incomplete: None }
    }

    /// Lets the records of some segments name another file, and says what is missing before them.
    pub(crate) fn of_trail(
        mut self,
        shown: &BTreeMap<Lsn, Arc<str>>,
        incomplete: Option<Error>,
    ) -> LogReader {
        for segment in &mut self.segments {
            segment.shown = shown.get(&segment.base).cloned();
        }
        self.incomplete = incomplete;
        self
    }

    /// The last LSN that will be read.
    pub(crate) fn last_lsn(&self) -> Lsn {
        self.segments.back().map_or(Lsn::ZERO, SegmentRecords::last_lsn)
    }

    /// The last LSN whose record is not younger than this time; `None` if that lies before the log.
    pub(crate) fn last_at(self, time_us: u64) -> Result<Option<Lsn>> {
        // A segment is not older than any record before it. So all before the last one that was made by then are meant.
        let mut begin = None;
        for (index, segment) in self.segments.iter().enumerate() {
            if segment.created_us()? <= time_us {
                begin = Some((index, segment.base.previous()));
            }
        }
        let mut found = begin.map(|(_, before)| before);
        for record in self.segments.into_iter().skip(begin.map_or(0, |(index, _)| index)).flatten() {
            let record = record?;
            if record.time_us > time_us {
                break;
            }
            found = Some(record.lsn);
        }
        Ok(found)
    }

    /// Leaves out the segments that end before this LSN. The first record may still come before it.
    #[must_use]
    pub fn skip_segments_before(mut self, lsn: Lsn) -> LogReader {
        while self.segments.len() > 1 && self.segments.front().is_some_and(|first| first.last_lsn() < lsn) {
            self.segments.pop_front();
        }
        self
    }

    /// True if a writer has the log open.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Why it begins later than it should: the archive that has what came before is away or another store's, or a file in
    /// it is missing. `None` if nothing is known to be missing, and for a log alone.
    pub fn incomplete(&self) -> Option<&Error> {
        self.incomplete.as_ref()
    }
}

impl Iterator for LogReader {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Result<Record>> {
        loop {
            match self.segments.front_mut()?.next() {
                Some(Err(error)) => {
                    self.segments.clear();
                    return Some(Err(error));
                }
                Some(record) => return Some(record),
                None => self.segments.pop_front(),
            };
        }
    }
}
