//! Reading a whole log, in as many threads as the caller has.
//!
//! ```text
//!  headers ──▶ Opening ──┬─ read(0) ─▶ piece ─┐
//!              (a plan)  ├─ read(1) ─▶ piece ─┼──▶ all of them ──▶ a report, or a log ready to be written (`open`)
//!                        └─ read(2) ─▶ piece ─┘
//! ```
//!
//! Segments can be read apart because each states where the one before it ends, and with which digest: a segment with
//! a successor is whole or it is not, whatever the others hold. Only the last one is judged by evidence.
//!
//! Of several failures that of the lowest segment is told, as if the segments had been read one by one: [`Claims`]
//! hands them out in their order, and what was handed out is read to its end.
//!
//! Not here: what becomes of the records (`recovery`), and of the files (`open`).

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;

use super::plan::{Given, Plan};
use super::replay::{LogEnd, SegmentState, SegmentSummary, Visit, read_bounded, read_last, read_up_to};
use super::segment_reader::Segment;
use crate::error::{CorruptionKind, Error, Result};
use crate::lsn::Lsn;
use crate::storage::Access;
use crate::storage::dir::Dir;

/// A log whose headers were read and whose records were not.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(super) dir: Dir,
    /// The files of the directory.
    pub(super) names: Vec<String>,
    pub(super) plan: Plan,
    given: Given,
    /// Records above are given to nobody.
    until: Lsn,
    /// What is wrong behind that makes no difference.
    lenient: bool,
    /// How the last segment is opened.
    access: Access,
}

/// What reading one segment gave.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(super) summary: SegmentSummary,
    /// The last segment's.
    pub(super) end: Option<LogEnd>,
}

impl Piece {
    /// The file's name.
    pub(crate) fn file(&self) -> &str {
        &self.summary.file
    }
}

impl Opening {
    /// To be read only: the files are not changed. A writer may be at work.
    ///
    /// # Errors
    /// The first thing that is wrong with the files' names and headers.
    pub(crate) fn for_reading(dir: &Dir, given: Given) -> Result<Opening> {
        Opening::new(dir, given, Access::Read)
    }

    /// To be read up to an LSN, which the log has: segments that begin behind it are not read.
    ///
    /// `lenient`: what is wrong behind that LSN makes no difference, nor does what is applied already.
    ///
    /// # Errors
    /// As [`Opening::for_reading`]; if it is lenient, for the segments up to there.
    pub(crate) fn up_to(dir: &Dir, given: Given, until: Lsn, lenient: bool) -> Result<Opening> {
        let names = dir.list()?;
        let mut plan = Plan::read(dir, &names, given, if lenient { until } else { Lsn::MAX })?;
        plan.links.retain(|link| link.header.base <= until);
        Ok(Opening { dir: dir.clone(), names, plan, given, until, lenient, access: Access::Read })
    }

    /// To be written, once it is read: see `Wal::go_on`.
    ///
    /// # Errors
    /// The first thing that is wrong with the files' names and headers.
    pub(crate) fn for_writing(dir: &Dir, given: Given) -> Result<Opening> {
        Opening::new(dir, given, Access::ReadWrite)
    }

    fn new(dir: &Dir, given: Given, access: Access) -> Result<Opening> {
        let names = dir.list()?;
        let plan = Plan::read(dir, &names, given, Lsn::MAX)?;
        Ok(Opening { dir: dir.clone(), names, plan, given, until: Lsn::MAX, lenient: false, access })
    }

    /// The log's directory.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// How many segments there are.
    pub(crate) fn segments(&self) -> usize {
        self.plan.links.len()
    }

    /// The length of their files together.
    pub(crate) fn bytes(&self) -> u64 {
        self.plan.links.iter().map(|link| link.header.file_len).sum()
    }

    /// The LSN of the first record of a segment.
    pub(crate) fn base(&self, index: usize) -> Lsn {
        self.plan.links[index].header.base
    }

    /// Reads a segment and gives its records to `visit`, in their order, but for those that are applied already.
    ///
    /// # Errors
    /// What is wrong with the segment; what `visit` says.
    pub(crate) fn read(&self, index: usize, visit: &mut Visit<'_>) -> Result<Piece> {
        let link = &self.plan.links[index];
        let (applied, until) = (self.given.applied, self.until);
        let visit: &mut Visit<'_> = &mut |record| {
            if record.header.lsn > applied && record.header.lsn <= until { visit(record) } else { Ok(()) }
        };
        let Some((last, _)) = link.bound else {
            if self.lenient {
                return Ok(Piece { summary: read_up_to(&self.dir, link, until, visit)?, end: None });
            }
            let segment = Segment::open(&self.dir, link.header.base, self.access)?;
            let end = read_last(&self.dir, &segment, self.given.proven, visit)?;
            let summary = SegmentSummary::new(&segment, end.position, SegmentState::Active);
            return Ok(Piece { summary, end: Some(end) });
        };
        // The one before the last is read in any case: it may need its seal, behind its last record.
        let before_last = !self.lenient && index + 2 == self.segments();
        if last <= applied && !before_last {
            return Ok(Piece { summary: SegmentSummary::unread(&link.header, last), end: None });
        }
        let summary = match read_bounded(&self.dir, link, visit) {
            Err(error) if self.lenient && is_behind(&error, until) => {
                SegmentSummary::unread(&link.header, last)
            }
            read => read?,
        };
        Ok(Piece { summary, end: None })
    }

    /// Reads and checks all segments, by up to so many threads.
    ///
    /// # Errors
    /// That of the lowest segment.
    pub(crate) fn read_all(&self, threads: usize) -> Result<Vec<Piece>> {
        let claims = Mutex::new(Claims::new(self.segments()));
        let read = || {
            loop {
                // Its own statement: the lock must not be held while reading.
                let claimed = claims.lock().claim();
                let Some(index) = claimed else { break };
                let result = self.read(index, &mut |_| Ok(()));
                claims.lock().settle(index, result);
            }
        };
        in_threads(threads.min(self.segments()), &read);
        claims.into_inner().finish().map_err(|failure| failure.error)
    }
}

/// True if what was read up to this LSN was sound before something else was not. Records that are not those that the next
/// segment states (the digest) are no such case: nobody knows from which on.
fn is_behind(error: &Error, until: Lsn) -> bool {
    match error {
        Error::Corruption(found) => {
            found.kind != CorruptionKind::Digest && found.lsn.is_some_and(|lsn| lsn > until)
        }
        Error::MissingSegment { lsn, .. } => *lsn > until,
        _ => false,
    }
}

/// Runs `work` in so many threads at once, the caller's among them; in fewer if the system gives no more.
pub(crate) fn in_threads(threads: usize, work: &(impl Fn() + Sync)) {
    thread::scope(|scope| {
        for number in 1..threads {
            let builder = thread::Builder::new().name(format!("forelog-recovery-{number}"));
            if builder.spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
}

/// What `work` makes of each of these, by so many threads; in their order.
pub(crate) fn map_in_threads<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(items.len())));
    in_threads(threads.min(items.len()), &|| {
        // ORDER: Relaxed. Each number is taken once, whatever else is seen.
        while let index = next.fetch_add(1, Ordering::Relaxed)
            && let Some(item) = items.get(index)
        {
            let result = work(item);
            done.lock().push((index, result));
        }
    });
    let mut done = done.into_inner();
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Which segments are being read, and what came of it.
#[derive(Debug)]
pub(crate) struct Claims {
    next: usize,
    pieces: Vec<Option<Piece>>,
    failure: Option<Failure>,
}

/// The lowest segment that could not be read.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) index: usize,
    pub(crate) error: Error,
}

impl Claims {
    /// So many segments are to be read, from the first on.
    pub(crate) fn new(segments: usize) -> Claims {
        Claims { next: 0, pieces: (0..segments).map(|_| None).collect(), failure: None }
    }

    /// The next segment for the caller to read. `None` if all are taken or one has failed.
    pub(crate) fn claim(&mut self) -> Option<usize> {
        // INVARIANT: ascending, so that every segment below a failed one is being read, or was.
        let index = self.next().filter(|_| self.failure.is_none())?;
        self.next += 1;
        Some(index)
    }

    /// The lowest segment that nobody has taken.
    pub(crate) fn next(&self) -> Option<usize> {
        (self.next < self.pieces.len()).then_some(self.next)
    }

    /// What came of a segment that was claimed.
    pub(crate) fn settle(&mut self, index: usize, result: Result<Piece>) {
        match result {
            Ok(piece) => self.pieces[index] = Some(piece),
            Err(error) => {
                if self.failure.as_ref().is_none_or(|failure| index < failure.index) {
                    self.failure = Some(Failure { index, error });
                }
            }
        }
    }

    /// The pieces of all segments, when nobody reads any more.
    pub(crate) fn finish(self) -> std::result::Result<Vec<Piece>, Failure> {
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(self.pieces.into_iter().flatten().collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    //! Shows which failure is told, whatever the order in which threads come back.
    use super::*;

    #[test]
    fn the_lowest_failure_is_told_and_nothing_is_begun_after_one() {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut claims = Claims::new(5);
            assert_eq!([claims.claim(), claims.claim(), claims.claim()], [Some(0), Some(1), Some(2)]);
            for index in order {
                claims.settle(index, Err(Error::Closed));
                assert_eq!(claims.claim(), None, "after a failure");
            }
            assert_eq!(claims.next(), Some(3));
            assert_eq!(claims.finish().unwrap_err().index, 0, "{order:?}");
        }
    }
}
