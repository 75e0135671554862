//! What a store and its archive hold together: every checkpoint, and the longest log without a gap.
//!
//! ```text
//!  archive   1-99.wal  100-180.wal  181-260.wal    checkpoints at 90, 170, 250
//!  store                            181.wal  261.wal ▸ written           at 250
//!            └───────── one log, from 1 on ──────────┘
//! ```
//!
//! Both are read as if they were one directory ([`Gathered`]): a segment that is in both is read in the store.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::checkpoint::{self, manifest};
use crate::error::{Error, Evidence, EvidenceSource, Result};
use crate::format::manifest::{Checkpoint, Manifest, PersistedOptions};
use crate::format::{StoreId, names};
use crate::lsn::Lsn;
use crate::options::default_persisted;
use crate::storage::ArchiveTarget;
use crate::storage::archive::{self, Gathered, Place};
use crate::storage::dir::Dir;
use crate::wal::{self, Given, LogReader};

use super::directory::is_archive;

/// What there is to restore from, and to read.
#[derive(Debug)]
pub(crate) struct Source {
    /// Segments and parts of checkpoints, wherever they are.
    pub(crate) trail: Dir,
    pub(crate) store_id: StoreId,
    pub(crate) options: PersistedOptions,
    /// True if the log goes on to the end of a store's. Not that of an archive, and not one up to a gap.
    pub(crate) ends_with_store: bool,
    /// Where a store's own log begins; `None` for an archive.
    pub(crate) first_segment: Option<Lsn>,
    /// Oldest first.
    pub(crate) checkpoints: Vec<Checkpoint>,
    /// Those of them that a store has itself.
    pub(crate) own_checkpoints: Vec<Checkpoint>,
    /// The bases of the segments, ascending, without a gap up to the end.
    pub(crate) bases: Vec<Lsn>,
    /// Where a segment really is, if not under its own name in the directory: as a path from there.
    pub(crate) shown: BTreeMap<Lsn, Arc<str>>,
    /// A checkpoint of the archive that is damaged, and left out.
    pub(crate) damaged: Option<Error>,
    /// Why the store's archive cannot be read: the store is all there is then.
    pub(crate) away: Option<Error>,
    /// Where segments are missing before those, or behind them: the first LSN that is not there, and one that is.
    pub(crate) missing: Option<(Lsn, Lsn)>,
    /// How far the log must reach.
    proven: Option<Evidence>,
}

/// A segment on its way into the trail: its base, its last LSN where the name says it, and where it is.
type Segment = (Lsn, Option<Lsn>, Place);

impl Source {
    /// Looks at a directory that is a store or an archive. `until`: no more of the log is wanted than the segment which
    /// has this LSN, and what is missing behind it does not matter.
    ///
    /// # Errors
    /// [`Error::NoStore`] if it is neither; what is wrong with a manifest; [`Error::Io`].
    pub(crate) fn find(dir: &Dir, until: Option<Lsn>) -> Result<Source> {
        Source::with_target(dir, None, until)
    }

    /// The same; `target`: the archive of a store, in place of what its manifest names.
    pub(crate) fn with_target(
        dir: &Dir,
        target: Option<&Arc<dyn ArchiveTarget>>,
        until: Option<Lsn>,
    ) -> Result<Source> {
        let files = dir.list()?;
        if files.iter().any(|name| name == names::MANIFEST) {
            return Source::of_store(dir, &files, manifest::read(dir)?, target, until);
        }
        if !is_archive(&files) {
            return Err(Error::NoStore { dir: dir.path().to_path_buf() });
        }
        let mut found = Found::default();
        found.add_archive(dir, dir.path(), None)?;
        let newest = found.manifests.iter().max_by_key(|manifest| manifest.durable_lsn).cloned();
        let mut source = found.gather(dir, newest.as_ref().map(|newest| newest.store_id), None, until);
        source.ends_with_store = false;
        match newest {
            Some(newest) => source.options = newest.options,
            None => source.store_id = wal::store_id_of(&source.trail, source.bases.first().copied())?,
        }
        Ok(source)
    }

    fn of_store(
        dir: &Dir,
        files: &[String],
        manifest: Manifest,
        target: Option<&Arc<dyn ArchiveTarget>>,
        until: Option<Lsn>,
    ) -> Result<Source> {
        let mut found = Found::default();
        if let Err(error) = found.add_archive_of_store(dir, target, &manifest) {
            // Nothing of it, rather than a part. What cannot be had without it is refused with this.
            found = Found { away: Some(error), ..Found::default() };
        }
        let at = |name: &str| Place::Disk(dir.storage().clone(), dir.place_of(name));
        for name in files {
            if let Some(base) = names::parse_segment(name).filter(|base| *base >= manifest.first_segment) {
                found.segments.retain(|(archived, ..)| *archived != base);
                found.segments.push((base, None, at(name)));
                found.shown.remove(&base);
            }
        }
        for name in manifest.checkpoints.iter().flat_map(Checkpoint::files) {
            let place = at(&name);
            found.parts.push((name, place));
        }
        found.manifests.push(manifest.clone());
        let proven = Evidence { lsn: manifest.durable_lsn, source: EvidenceSource::Manifest };
        let mut source = found.gather(dir, Some(manifest.store_id), Some(proven), until);
        source.options = manifest.options;
        source.own_checkpoints = manifest.checkpoints;
        source.first_segment = Some(manifest.first_segment);
        let begins = source.bases.first().copied().filter(|begins| *begins > manifest.first_segment);
        source.missing = source.missing.or(begins.map(|begins| (manifest.first_segment, begins)));
        Ok(source)
    }

    /// What the archive of an open store has of its log, up to `until`; `None` if there is no archive. `target`: one that
    /// the manifest does not know.
    ///
    /// # Errors
    /// [`Error::Io`]; the archive of another store.
    pub(crate) fn of_archive(
        dir: &Dir,
        target: Option<&Arc<dyn ArchiveTarget>>,
        manifest: &Manifest,
        until: Lsn,
    ) -> Result<Option<Source>> {
        if target.is_none() && manifest.options.archive.is_none() {
            return Ok(None);
        }
        let mut found = Found::default();
        found.add_archive_of_store(dir, target, manifest)?;
        Ok(Some(found.gather(dir, Some(manifest.store_id), None, Some(until))))
    }

    /// Looks at the log; `None` for an archive that has none.
    ///
    /// # Errors
    /// Those of [`LogReader::plan`]; [`Error::MissingSegment`] for a store that has none.
    pub(crate) fn plan(&self, live: bool) -> Result<Option<LogReader>> {
        match (self.bases.first(), self.first_segment) {
            (Some(_), _) => LogReader::plan(&self.trail, self.given(), live).map(Some),
            (None, None) => Ok(None),
            (None, Some(lsn)) => {
                let evidence = Evidence { lsn, source: EvidenceSource::FirstSegment };
                Err(Error::MissingSegment { dir: self.trail.path().to_path_buf(), lsn, evidence })
            }
        }
    }

    /// What is known about the log of the trail, beside what its files say.
    pub(crate) fn given(&self) -> Given {
        Given { store_id: Some(self.store_id), proven: self.proven, ..Given::default() }
    }

    /// The same error, but told of the file that was really read.
    pub(crate) fn told(&self, error: Error) -> Error {
        error.told_of(|path| {
            let base = names::parse_segment(path.file_name()?.to_str()?)?;
            Some(path.with_file_name(&**self.shown.get(&base)?))
        })
    }

    /// Why there is not all that there was, if something is missing.
    pub(crate) fn incomplete(&self) -> Option<Error> {
        if self.away.is_some() {
            return self.away.clone();
        }
        let (lsn, there) = self.missing?;
        let evidence = match self.first_segment {
            Some(first) if first == lsn => Evidence { lsn, source: EvidenceSource::FirstSegment },
            _ => Evidence { lsn: there, source: EvidenceSource::FileName },
        };
        Some(Error::MissingSegment { dir: self.trail.path().to_path_buf(), lsn, evidence })
    }
}

/// What was found so far.
#[derive(Default)]
struct Found {
    segments: Vec<Segment>,
    shown: BTreeMap<Lsn, Arc<str>>,
    parts: Vec<(String, Place)>,
    manifests: Vec<Manifest>,
    damaged: Option<Error>,
    away: Option<Error>,
}

impl Found {
    /// `of`: the store that it belongs to, if that is known.
    fn add_archive(&mut self, dir: &Dir, path: &Path, of: Option<&Manifest>) -> Result<()> {
        let target = archive::readable(dir.storage(), path)
            .map_err(|source| Error::io("read the archive", path, source))?;
        self.add_objects(dir, &target, path, of)
    }

    /// Adds what the archive of a store has, if there is one: this one, or that of the manifest.
    fn add_archive_of_store(
        &mut self,
        dir: &Dir,
        target: Option<&Arc<dyn ArchiveTarget>>,
        manifest: &Manifest,
    ) -> Result<()> {
        match (target, &manifest.options.archive) {
            (Some(target), _) => self.add_objects(dir, target, dir.path(), Some(manifest)),
            (None, Some(path)) => self.add_archive(dir, path.as_ref(), Some(manifest)),
            (None, None) => Ok(()),
        }
    }

    /// Adds what an archive has that was opened.
    fn add_objects(
        &mut self,
        dir: &Dir,
        target: &Arc<dyn ArchiveTarget>,
        path: &Path,
        of: Option<&Manifest>,
    ) -> Result<()> {
        let failed = |source| Error::io("read the archive", path, source);
        let names = target.list().map_err(failed)?;
        if let Some(manifest) = of {
            if names.iter().any(|name| name == names::ARCHIVE_OWNER) {
                checkpoint::check_archive_owner(&**target, manifest.store_id).map_err(failed)?;
            } else if names.is_empty() && manifest.archived > Lsn::ZERO {
                let reason = "it is gone, or not mounted, or compressed by a program";
                return Err(failed(io::Error::new(io::ErrorKind::NotFound, reason)));
            }
        }
        let is_elsewhere = dir.path() != path;
        for name in names {
            let place = Place::Archive(target.clone(), name.clone());
            if let Some((base, last)) = names::parse_archived(&name) {
                self.segments.push((base, Some(last), place));
                let shown = if is_elsewhere { path.join(name).to_string_lossy().into_owned() } else { name };
                self.shown.insert(base, shown.into());
            } else if names::is_part(&name) {
                self.parts.push((name, place));
            } else if names::parse_archived_checkpoint(&name).is_some() {
                match checkpoint::read_manifest(&**target, &name) {
                    Ok(manifest) => self.manifests.push(manifest),
                    // One checkpoint less to begin with. What cannot be had without it is refused with this.
                    Err(error @ Error::Corruption(_)) => self.damaged = Some(error),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn gather(
        mut self,
        dir: &Dir,
        store_id: Option<StoreId>,
        mut proven: Option<Evidence>,
        until: Option<Lsn>,
    ) -> Source {
        self.segments.sort_by_key(|(base, ..)| *base);
        // An archive may have one both compressed and plain.
        self.segments.dedup_by_key(|(base, last, _)| (*base, *last));
        let gaps = (0..self.segments.len()).filter_map(|at| Some((at, gap_before(&self.segments, at)?)));
        let gaps: Vec<(usize, Lsn)> = gaps.collect();
        // The stretch between two gaps that is wanted, or else the newest.
        let wanted = |(at, _): &&(usize, Lsn)| until.is_some_and(|until| self.segments[*at].0 > until);
        let behind = gaps.iter().find(wanted).copied();
        let is_in_it = |(_, lsn): &(usize, Lsn)| until.is_some_and(|until| until >= *lsn);
        let before = gaps.iter().rfind(|gap| behind.is_none_or(|behind| gap.0 < behind.0)).copied();
        // Whoever does not find what is wanted in the stretch has missed it there.
        let missing = behind.filter(is_in_it).or(before).map(|(at, lsn)| (lsn, self.segments[at].0));
        if let Some((end, _)) = behind {
            self.segments.truncate(end);
            proven = None;
        }
        let first = before.map_or(0, |(at, _)| at);
        let segments = self.segments.split_off(first);
        // Its name says how far an archived segment reaches; it has no successor that would.
        let named = segments.last().and_then(|(_, last, _)| *last);
        let named = named.map(|lsn| Evidence { lsn, source: EvidenceSource::FileName });
        let bases = segments.iter().map(|(base, ..)| *base).collect();
        let mut gathered = Gathered::default();
        for (base, _, place) in segments {
            gathered.add(names::segment(base), place);
        }
        // The store's own come last and take the place of copies.
        self.parts.into_iter().for_each(|(name, place)| gathered.add(name, place));
        let own = self.manifests.iter().filter(|manifest| Some(manifest.store_id) == store_id);
        let mut checkpoints: Vec<Checkpoint> =
            own.flat_map(|manifest| manifest.checkpoints.clone()).collect();
        checkpoints.sort_by_key(|checkpoint| (checkpoint.lsn, checkpoint.generation));
        checkpoints.dedup();
        let trail = Dir::new(Arc::new(gathered), dir.path());
        let proven = [proven, named].into_iter().flatten().max_by_key(|evidence| evidence.lsn);
        let (store_id, options) = (store_id.unwrap_or(StoreId([0; 16])), default_persisted());
        Source {
            trail,
            store_id,
            options,
            ends_with_store: behind.is_none(),
            first_segment: None,
            checkpoints,
            own_checkpoints: Vec::new(),
            bases,
            shown: self.shown,
            damaged: self.damaged,
            away: self.away,
            missing,
            proven,
        }
    }
}

/// The first LSN that is missing before a segment; `None` where it follows the one before it, or is the first.
fn gap_before(segments: &[Segment], at: usize) -> Option<Lsn> {
    let (_, last, _) = segments.get(at.checked_sub(1)?)?;
    // Without a name that says it, a segment ends where the next one begins, or is found out to be damaged.
    last.map(Lsn::next).filter(|next| *next != segments[at].0)
}
