//! Sees to it that finished segments and checkpoints are in the archive before they may go.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use super::FileReason;
use crate::checkpoint::{self, Pace};
use crate::error::{Error, Result};
use crate::format::manifest::{Checkpoint, Manifest};
use crate::format::names;
use crate::lsn::Lsn;
use crate::storage::archive::Destination;
use crate::storage::dir::Dir;
use crate::storage::{ArchiveTarget, File};
use crate::wal::{SegmentSummary, Wal};

/// What is known about a store's archive. Whoever changes which files are the store holds it.
#[derive(Debug)]
pub(crate) struct Archiver {
    target: Arc<dyn ArchiveTarget>,
    /// All segments up to this LSN are there, as this process has seen for itself.
    archived: Lsn,
    /// The highest LSN of a segment or checkpoint that is there, seen likewise.
    reach: Lsn,
    /// The highest LSN of what this process has stored there.
    added: Lsn,
    /// The generations of the checkpoints that are there, seen likewise.
    checkpoints: Vec<u64>,
    /// It could be looked at the last time. What it had before counts for nothing while it is away.
    is_there: bool,
}

/// What is to be archived: a store at a moment.
pub(crate) struct Archiving<'a> {
    pub(crate) dir: &'a Dir,
    pub(crate) wal: &'a Wal,
    pub(crate) manifest: &'a Manifest,
    /// In order; the last one is being written.
    pub(crate) segments: &'a [SegmentSummary],
    /// How fast that goes, and whether it is to be given up.
    pub(crate) pace: Pace<'a>,
}

impl Archiver {
    pub(crate) fn new(target: Arc<dyn ArchiveTarget>) -> Archiver {
        Archiver {
            target,
            archived: Lsn::ZERO,
            reach: Lsn::ZERO,
            added: Lsn::ZERO,
            checkpoints: Vec::new(),
            is_there: true,
        }
    }

    /// All segments up to this LSN are in the archive.
    pub(crate) fn archived(&self) -> Lsn {
        if self.is_there { self.archived } else { Lsn::ZERO }
    }

    /// Whether all of a manifest's checkpoints are there.
    pub(crate) fn has_checkpoints_of(&self, manifest: &Manifest) -> bool {
        self.is_there
            && manifest.checkpoints.iter().all(|checkpoint| self.checkpoints.contains(&checkpoint.generation))
    }

    /// What [`run`](Archiver::run) would copy, if nothing fails. Changes nothing.
    ///
    /// # Errors
    /// Why it could not.
    pub(crate) fn foresee(&self, archiving: &Archiving<'_>) -> Result<Vec<FileReason>> {
        let Archiving { dir, wal, manifest, segments, .. } = archiving;
        let names = self.look(manifest, wal);
        let names = names.map_err(|source| Error::io("archive", dir.path(), source))?;
        let closed = segments.split_last().map_or(&[][..], |(_, closed)| closed).iter();
        let segments = closed.map(|one| (names::archived(one.base_lsn, one.last_lsn), one.file.to_string()));
        let parts = manifest.checkpoints.iter().flat_map(Checkpoint::files).map(|file| (file.clone(), file));
        let missing = segments.chain(parts).filter(|(name, _)| !names.contains(name));
        let file_reason = |(name, file)| FileReason {
            file,
            reason: format!("not there yet; it is copied to {name} first"),
        };
        Ok(missing.map(file_reason).collect())
    }

    /// Copies what is finished and not there yet: segments, oldest first, then checkpoints. Says what was copied, also
    /// before a failure.
    ///
    /// # Errors
    /// The first failure. [`Error::Closed`] if it is given up.
    pub(crate) fn run(&mut self, mut archiving: Archiving<'_>) -> (Vec<FileReason>, Result<()>) {
        let mut copied = Vec::new();
        let result = self.copy_what_is_finished(&mut archiving, &mut copied);
        match result {
            // In the middle of a file, it comes as an error of the archive.
            Err(_) if archiving.pace.is_cancelled() => (copied, Err(Error::Closed)),
            result => (copied, result),
        }
    }

    fn copy_what_is_finished(
        &mut self,
        archiving: &mut Archiving<'_>,
        copied: &mut Vec<FileReason>,
    ) -> Result<()> {
        let bytes = self.bytes_of(archiving);
        archiving.pace.expect_copies(bytes);
        let failed = |source| Error::io("archive", archiving.dir.path(), source);
        let seen = (self.archived, self.reach, self.checkpoints.clone());
        let claimed = self.claim(archiving.manifest, archiving.wal);
        self.is_there = claimed.is_ok();
        let mut names = claimed.map_err(failed)?;
        let result = self.copy(archiving, &mut names, copied);
        // ORDER: after the copies, which take their time. If it has gone meanwhile, be it for one file only, some went
        // into another place.
        let still_there = self.target.list().and_then(|now| {
            check_that_it_is_there(&now, self.reach)?;
            check_that_all_are_there(&names, now)
        });
        if still_there.is_err() {
            self.is_there = false;
            (self.archived, self.reach, self.checkpoints) = seen;
            copied.clear();
        }
        result.and(still_there.map_err(failed))
    }

    /// About how much is not there yet.
    fn bytes_of(&self, archiving: &Archiving<'_>) -> u64 {
        let closed = archiving.segments.split_last().map_or(&[][..], |(_, closed)| closed);
        let segments = closed.iter().filter(|segment| segment.last_lsn > self.archived);
        let checkpoints = archiving.manifest.checkpoints.iter();
        let checkpoints = checkpoints.filter(|one| !self.checkpoints.contains(&one.generation));
        segments.map(|segment| segment.bytes).chain(checkpoints.map(Checkpoint::bytes)).sum()
    }

    /// Makes sure that the archive is this store's own: in one of several stores, segments of one could be taken for
    /// those of another. And that it is the one that the past has gone to: in place of a disk that is not mounted there is
    /// often an empty directory, and a second archive begun there would be a hole in the first. Returns what it holds.
    ///
    /// Looked at each time, because a disk may go at any time.
    fn look(&self, manifest: &Manifest, wal: &Wal) -> io::Result<Vec<String>> {
        let names = self.target.list()?;
        if names.iter().any(|name| name == names::MANIFEST) {
            let reason = "a store is there; an archive needs a directory of its own";
            return Err(io::Error::other(reason));
        }
        let begun = manifest.archived.max(self.reach);
        if begun > Lsn::ZERO {
            check_that_it_is_there(&names, begun)?;
        }
        if names.iter().any(|name| name == names::ARCHIVE_OWNER) {
            checkpoint::check_archive_owner(&*self.target, manifest.store_id)?;
        }
        match self.other_past(&names, manifest, wal) {
            Some(reason) => {
                Err(io::Error::other(format!("{reason}; choose another archive, which begins anew")))
            }
            None => Ok(names),
        }
    }

    /// Why what the archive has does not belong to the log of this store: the store was set back to an older copy, or has had
    /// another archive in between. Not all of this can be told, but whatever can be must not go on.
    fn other_past(&self, names: &[String], manifest: &Manifest, wal: &Wal) -> Option<String> {
        const ANOTHER: &str = "the store is an older state, whose past is another one";
        let reach = reach_of(names);
        // What was there before this process added to it has to come from a past of what this process has opened. Its end now
        // proves nothing: a store that was set back grows past what its other past has left in the archive.
        let end = wal.report().last_lsn.max(self.added);
        if reach > end {
            return Some(format!("the archive reaches LSN {reach}, and the store ended at {end}: {ANOTHER}"));
        }
        let own = wal.segments();
        let closed = own.split_last().map_or(&[][..], |(_, closed)| closed);
        let archived = || names.iter().filter_map(|name| names::parse_archived(name));
        let overlaps =
            |one: &SegmentSummary, (base, last): (Lsn, Lsn)| one.base_lsn <= last && base <= one.last_lsn;
        let differs =
            |one: &SegmentSummary, other| overlaps(one, other) && (one.base_lsn, one.last_lsn) != other;
        if let Some((base, last)) = archived().find(|other| closed.iter().any(|one| differs(one, *other))) {
            return Some(format!(
                "the archive has a segment {base} to {last}, and the log other ones there: {ANOTHER}"
            ));
        }
        // A generation is used once.
        let taken = |(lsn, generation): &(Lsn, u64)| {
            manifest.checkpoints.iter().any(|own| own.generation == *generation && own.lsn() != *lsn)
        };
        if let Some((lsn, _)) =
            names.iter().filter_map(|name| names::parse_archived_manifest(name)).find(taken)
        {
            return Some(format!(
                "the archive has a checkpoint at LSN {lsn}, and the store another one: {ANOTHER}"
            ));
        }
        let (last, oldest) = (archived().map(|(_, last)| last).max()?, wal.oldest_lsn());
        (last.next() < oldest).then(|| {
            format!("the archive ends at LSN {last}, and the log begins at {oldest}: what lies between is in neither")
        })
    }

    /// Looks at it, and begins it if it is new. All that it holds is durable then.
    fn claim(&self, manifest: &Manifest, wal: &Wal) -> io::Result<Vec<String>> {
        let mut names = self.look(manifest, wal)?;
        let owner = manifest.store_id.to_string();
        let is_ours = |file: Arc<dyn File>| checkpoint::check_owner_file(&*file, manifest.store_id);
        // If it is there already, this makes sure that all names are durable: an earlier process may have died before.
        match self.target.store(names::ARCHIVE_OWNER, &mut owner.as_bytes(), &is_ours) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                checkpoint::check_archive_owner(&*self.target, manifest.store_id)?;
            }
            stored => {
                stored?;
                names.push(names::ARCHIVE_OWNER.to_owned());
            }
        }
        Ok(names)
    }

    fn copy(
        &mut self,
        archiving: &Archiving<'_>,
        names: &mut Vec<String>,
        copied: &mut Vec<FileReason>,
    ) -> Result<()> {
        let Archiving { dir, wal, manifest, segments, pace } = archiving;
        let target = &*self.target;
        let sent = |bytes| pace.spend(bytes).map_err(io::Error::other);
        let mut note = |names: &mut Vec<String>, name: String, file: String| {
            // One that was there was copied by an earlier process.
            if !names.contains(&name) {
                let reason = format!("copied to {name}, and read back");
                copied.push(FileReason { file, reason });
                names.push(name);
            }
        };
        for pair in segments.windows(2) {
            let [segment, successor] = pair else { continue };
            if segment.last_lsn > self.archived {
                pace.spend(0)?;
                let archive = Destination { target, names, sent: &sent };
                let name = wal.archive(segment.base_lsn, successor.base_lsn, &archive)?;
                note(names, name, segment.file.to_string());
                self.archived = segment.last_lsn;
                self.reach = self.reach.max(segment.last_lsn);
                self.added = self.added.max(self.reach);
            }
        }
        for checkpoint in &manifest.checkpoints {
            if !self.checkpoints.contains(&checkpoint.generation) {
                pace.spend(0)?;
                let archive = Destination { target, names, sent: &sent };
                let name = checkpoint::archive(dir, manifest, checkpoint, &archive)?;
                for file in checkpoint.files() {
                    note(names, file.clone(), file);
                }
                names.push(name);
                self.checkpoints.push(checkpoint.generation);
                self.reach = self.reach.max(checkpoint.lsn());
                self.added = self.added.max(self.reach);
            }
        }
        Ok(())
    }
}

/// The highest LSN that these names speak of.
fn reach_of(names: &[String]) -> Lsn {
    let segment = |name: &String| names::parse_archived(name).map(|(_, last)| last);
    let lsns = names.iter().filter_map(|name| segment(name).or(names::parse_archived_checkpoint(name)));
    lsns.max().unwrap_or(Lsn::ZERO)
}

/// That all that was seen or copied is among the names that are there now.
fn check_that_all_are_there(names: &[String], now: Vec<String>) -> io::Result<()> {
    let now: HashSet<String> = now.into_iter().collect();
    match names.iter().find(|name| !now.contains(*name)) {
        Some(gone) => {
            let reason = format!("{gone} was there, and is gone; nothing goes until all of it is back");
            Err(io::Error::new(io::ErrorKind::NotFound, reason))
        }
        None => Ok(()),
    }
}

/// That an archive which has the log up to an LSN is the one with these names.
fn check_that_it_is_there(names: &[String], begun: Lsn) -> io::Result<()> {
    let reach = reach_of(names);
    let what = match names.iter().any(|name| name == names::ARCHIVE_OWNER) {
        false if names.iter().any(|name| name.starts_with(names::ARCHIVE_OWNER)) => {
            "is compressed, and must be handed in by a program".to_owned()
        }
        false if names.is_empty() => "is gone, or not mounted".to_owned(),
        false => format!(
            "is gone, or not mounted, or has lost its file {}, which says whose it is",
            names::ARCHIVE_OWNER
        ),
        true if reach < begun => format!("ends at LSN {reach}"),
        true => return Ok(()),
    };
    let reason = format!(
        "the archive {what}, although it had the log up to LSN {begun}; nothing goes until it is back, or another one is chosen, which begins anew"
    );
    Err(io::Error::new(io::ErrorKind::NotFound, reason))
}

/// Stands for the archive that a program has handed in, where none is: see [`Options::archive_target`].
///
/// [`Options::archive_target`]: crate::Options::archive_target
#[derive(Debug)]
pub(crate) struct Absent;

impl ArchiveTarget for Absent {
    fn list(&self) -> io::Result<Vec<String>> {
        let reason = "a program has handed an archive in, and this opening has none; open the store with it, or give it up with `Options::archive(None)`";
        Err(io::Error::new(io::ErrorKind::NotFound, reason))
    }

    fn store(
        &self,
        _: &str,
        _: &mut dyn io::Read,
        _: &dyn Fn(Arc<dyn File>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.list().map(drop)
    }

    fn open(&self, _: &str) -> io::Result<Arc<dyn File>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

#[cfg(test)]
mod tests {
    //! Shows what is said of an archive that is not the one it was.
    use super::*;

    #[test]
    fn an_archive_that_is_not_there_is_told_apart() {
        let check = |names: &[&str], begun: u64| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            check_that_it_is_there(&names, Lsn::new(begun)).map_err(|error| error.to_string())
        };
        let owner = names::ARCHIVE_OWNER;
        let segment = names::archived(Lsn::new(1), Lsn::new(4));
        let compressed = format!("{owner}.lz4");
        assert!(check(&[], 5).unwrap_err().contains("is gone, or not mounted,"));
        assert!(check(&[&segment], 4).unwrap_err().contains("has lost its file"));
        assert!(check(&[&compressed, &segment], 4).unwrap_err().contains("is compressed"));
        assert!(check(&[owner, &segment], 5).unwrap_err().contains("ends at LSN 4"));
        assert_eq!(check(&[owner, &segment], 4), Ok(()));
    }
}
