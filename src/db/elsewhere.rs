//! What a running store writes elsewhere: its archive, and backups.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::upkeep::{Awaited, Upkeep, Work};
use crate::error::{Error, Result};
use crate::event::{Event, span};
use crate::format::manifest::Manifest;
use crate::lsn::Lsn;
use crate::options::Options;
use crate::recovery::{Copied, Forking, fork};
use crate::retention::{Absent, Archiving, FileReason};
use crate::storage::dir::Dir;
use crate::storage::{ArchiveTarget, DirArchive};
use crate::wal::SegmentSummary;

impl Upkeep {
    /// Writes what is visible into another directory, as a store of its own.
    pub(super) fn backup(&self, out: &Dir, threads: usize) -> Result<Copied> {
        let _span = span("backup", false);
        let _waking = self.wal.waking(&self.keeper);
        let _awaited = Awaited::new(&self.awaited);
        // Not beside a checkpoint: they would take twice from the disk what one may.
        let work = self.work.lock();
        self.check(&work)?;
        let snapshot = self.tracker.snapshot();
        // What a backup has, this store must not lose.
        self.wal.wait_durable_for(snapshot.lsn(), 1)?;
        let old = self.manifest();
        let pace = self.pace(&old);
        let (parent, options, catalog) = (old.store_id, old.options, &*self.catalog);
        fork(out, Forking { parent, options, catalog, snapshot: &snapshot, threads, pace })
    }

    /// Copies to the archive what is not there yet. A failure keeps what is not there, and shows in `stats`.
    pub(super) fn archive(
        &self,
        work: &mut Work,
        manifest: &Manifest,
        segments: &[SegmentSummary],
    ) -> Vec<FileReason> {
        let Some(archiver) = &mut work.archiver else { return Vec::new() };
        let (dir, wal, pace) = (&self.dir, &*self.wal, self.pace(manifest));
        let (copied, result) = archiver.run(Archiving { dir, wal, manifest, segments, pace });
        self.archived.fetch_max(archiver.archived().get(), Ordering::Relaxed);
        if matches!(result, Err(Error::Closed)) {
            // Given up by a close: nobody's failure.
            return copied;
        }
        if let Err(error) = &result {
            self.events().tell(|| Event::CheckpointFailed { error });
        }
        if !copied.is_empty() {
            self.events().tell(|| Event::Archived { files: copied.len() });
        }
        *self.archive_failure.lock() = result.err();
        copied
    }

    /// What [`archive`](Upkeep::archive) would copy; `None` if it could not, which shows in `stats`, or if there is no
    /// archive.
    pub(super) fn foresee_archiving(
        &self,
        work: &Work,
        manifest: &Manifest,
        segments: &[SegmentSummary],
    ) -> Option<Vec<FileReason>> {
        let (dir, wal, pace) = (&self.dir, &*self.wal, self.pace(manifest));
        match work.archiver.as_ref()?.foresee(&Archiving { dir, wal, manifest, segments, pace }) {
            Ok(foreseen) => Some(foreseen),
            Err(error) => {
                *self.archive_failure.lock() = Some(error);
                None
            }
        }
    }

    /// With an archive: all segments up to this LSN are in it, and why the last attempt to add to it failed, if it did.
    pub(super) fn archived(&self) -> Option<(Lsn, Option<Error>)> {
        let has_archive = archive_of(&self.dir, &self.options, &self.manifest.lock()).is_some();
        has_archive
            .then(|| (Lsn::new(self.archived.load(Ordering::Relaxed)), self.archive_failure.lock().clone()))
    }
}

/// Where a store's archive is: the target that was handed in, or the directory that its manifest names.
pub(super) fn archive_of(
    dir: &Dir,
    options: &Options,
    manifest: &Manifest,
) -> Option<Arc<dyn ArchiveTarget>> {
    if let Some(target) = &options.checkpoints.archive_target {
        return Some(target.clone());
    }
    match &manifest.options.archive {
        Some(path) => Some(Arc::new(DirArchive::at(dir.storage().clone(), path))),
        None if manifest.archived > Lsn::ZERO => Some(Arc::new(Absent)),
        None => None,
    }
}
