//! Verifies an archive: each object by itself, and that the segments follow each other.
//!
//! Nobody changes what is in an archive, so a writer at work makes no difference: what it adds meanwhile is not seen.

use std::path::Path;
use std::sync::Arc;

use super::decodable;
use crate::checkpoint;
use crate::error::{CorruptionKind, Error, Evidence, EvidenceSource, Result};
use crate::format::manifest::Manifest;
use crate::format::{StoreId, names};
use crate::lsn::Lsn;
use crate::recovery;
use crate::storage::archive::{self, Gathered, Place};
use crate::storage::dir::Dir;
use crate::storage::{ArchiveTarget, Storage, read_full_at};
use crate::wal::{self, ArchivedSegment, Problem};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Archived {
    /// True if anything of an archive was there.
    pub(super) any: bool,
    pub(super) records: u64,
    pub(super) problems: Vec<Problem>,
}

/// Reads all objects of the archive in a directory. `of`: the manifest of the store that it belongs to; then files are
/// named with the archive's path.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn verify(
    storage: &Arc<dyn Storage>,
    path: &str,
    of: Option<&Manifest>,
    threads: usize,
) -> Result<Archived> {
    let failed = |source| Error::io("list the archive", path.as_ref(), source);
    let target = archive::readable(storage, path.as_ref()).map_err(failed)?;
    let names = target.list().map_err(failed)?;
    let mut reading = Reading {
        path,
        of,
        store_id: of.map(|manifest| manifest.store_id),
        threads,
        found: Archived::default(),
        target,
    };
    reading.segments(&names)?;
    reading.checkpoints(&names)?;
    reading.owner(&names)?;
    Ok(reading.found)
}

struct Reading<'a> {
    path: &'a str,
    of: Option<&'a Manifest>,
    /// Whose it is: the first object tells, where no manifest does.
    store_id: Option<StoreId>,
    threads: usize,
    found: Archived,
    target: Arc<dyn ArchiveTarget>,
}

impl Reading<'_> {
    fn segments(&mut self, names: &[String]) -> Result<()> {
        let parse =
            |name: &String| names::parse_archived(name).map(|(base, last)| (base, last, name.clone()));
        let mut segments: Vec<(Lsn, Lsn, String)> = names.iter().filter_map(parse).collect();
        segments.sort();
        // One may be there both compressed and plain.
        segments.dedup();
        let read = wal::map_in_threads(self.threads, &segments, |segment| self.read(segment));
        let mut before: Option<(Lsn, Option<ArchivedSegment>)> = None;
        for ((base, last, name), (records, read)) in segments.into_iter().zip(read) {
            self.found.any = true;
            self.found.records += records;
            let segment = self.ours(read, &name)?;
            if let Some((end, before)) = before {
                if end.next() != base {
                    self.missing(end.next(), Evidence { lsn: base, source: EvidenceSource::FileName });
                } else if let (Some(before), Some(segment)) = (before, &segment)
                    && (segment.previous_last, segment.previous_digest) != (end, before.digest)
                {
                    let kind = CorruptionKind::BrokenChain;
                    self.note(&Error::corruption(Path::new(&name), 0, Some(base), kind, None), &name)?;
                }
            }
            before = Some((last, segment));
        }
        let Some(manifest) = self.of else { return Ok(()) };
        let end = before.map_or(Lsn::ZERO, |(end, _)| end);
        let checkpoints = names.iter().filter_map(|name| names::parse_archived_checkpoint(name));
        let (reach, begun) = (checkpoints.fold(end, Lsn::max), manifest.archived);
        if reach < begun {
            // It is not there, or not the one that the past has gone to.
            self.missing(reach.next(), Evidence { lsn: begun, source: EvidenceSource::Manifest });
        } else if end > Lsn::ZERO && end.next() < manifest.first_segment {
            let evidence = Evidence { lsn: manifest.first_segment, source: EvidenceSource::FirstSegment };
            self.missing(end.next(), evidence);
        }
        Ok(())
    }

    /// Reads a segment: how many records it has, and what it says of itself and of the one before it.
    fn read(&self, (base, last, name): &(Lsn, Lsn, String)) -> (u64, Result<ArchivedSegment>) {
        let path = Path::new(name);
        let mut records = 0;
        let read =
            self.target.open(name).map_err(|source| Error::io("read", path, source)).and_then(|file| {
                wal::verify_archived(file, path, *base, *last, &mut |record| {
                    records += 1;
                    decodable(path, &record)
                })
            });
        (records, read)
    }

    /// A segment that was read; `None` if something is wrong with it.
    fn ours(&mut self, read: Result<ArchivedSegment>, name: &str) -> Result<Option<ArchivedSegment>> {
        let checked =
            read.and_then(|segment| self.is_ours(segment.store_id, Path::new(name)).map(|()| segment));
        match checked {
            Ok(segment) => Ok(Some(segment)),
            Err(error) => self.note(&error, name).map(|()| None),
        }
    }

    fn checkpoints(&mut self, names: &[String]) -> Result<()> {
        let mut parts = Gathered::default();
        for name in names.iter().filter(|name| names::is_part(name)) {
            parts.add(name.clone(), Place::Archive(self.target.clone(), name.clone()));
        }
        let parts = Dir::new(Arc::new(parts), self.path);
        for name in names.iter().filter(|name| names::parse_archived_checkpoint(name).is_some()) {
            self.found.any = true;
            let checked = checkpoint::read_manifest(&*self.target, name).and_then(|manifest| {
                self.is_ours(manifest.store_id, Path::new(name))?;
                let check = |one| recovery::check_checkpoint(&parts, manifest.store_id, one, self.threads);
                manifest.checkpoints.iter().try_for_each(check)
            });
            if let Err(error) = checked {
                self.note(&error, name)?;
            }
        }
        Ok(())
    }

    /// The object that says whose the archive is, against what all others say.
    fn owner(&mut self, names: &[String]) -> Result<()> {
        let name = names::ARCHIVE_OWNER;
        let is_there = names.iter().any(|there| there == name);
        let begun = self.of.map_or(Lsn::ZERO, |manifest| manifest.archived);
        if !is_there && self.found.any && begun > Lsn::ZERO {
            let (kind, evidence) = (
                "archive_owner_missing".to_owned(),
                format!("the manifest proves that LSN {begun} was archived"),
            );
            let file = self.shown(name);
            self.found.problems.push(Problem { file, offset: 0, lsn: None, kind, evidence: Some(evidence) });
        }
        let Some(expected) = self.store_id.filter(|_| is_there) else { return Ok(()) };
        let expected = expected.to_string();
        let mut bytes = vec![0; expected.len() + 1];
        let read = self.target.open(name).and_then(|file| read_full_at(&*file, &mut bytes, 0));
        let error = match read {
            Ok(filled) if bytes[..filled] == *expected.as_bytes() => return Ok(()),
            Ok(_) => Error::corruption(Path::new(name), 0, None, CorruptionKind::ForeignStore, None),
            Err(source) => Error::io("read", Path::new(name), source),
        };
        self.note(&error, name)
    }

    fn is_ours(&mut self, found: StoreId, path: &Path) -> Result<()> {
        match *self.store_id.get_or_insert(found) == found {
            true => Ok(()),
            false => Err(Error::corruption(path, 0, None, CorruptionKind::ForeignStore, None)),
        }
    }

    fn missing(&mut self, lsn: Lsn, evidence: Evidence) {
        let problem = Problem {
            file: self.shown(&names::segment(lsn)),
            offset: 0,
            lsn: Some(lsn),
            kind: "missing_segment".to_owned(),
            evidence: Some(evidence.to_string()),
        };
        self.found.problems.push(problem);
    }

    /// Takes note of a problem; passes on an error that says nothing about the files.
    fn note(&mut self, error: &Error, name: &str) -> Result<()> {
        let mut problem = match (Problem::of(error, name), error) {
            (Some(problem), _) => problem,
            (None, Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::InvalidData => Problem {
                file: name.to_owned(),
                offset: 0,
                lsn: None,
                kind: "compression".to_owned(),
                evidence: None,
            },
            (None, _) => return Err(error.clone()),
        };
        problem.file = self.shown(&problem.file);
        self.found.problems.push(problem);
        Ok(())
    }

    fn shown(&self, name: &str) -> String {
        if self.of.is_some() { format!("{}/{name}", self.path) } else { name.to_owned() }
    }
}
