//! Makes a sound store of a damaged one: [`repair`], [`salvage`].
//!
//! | the store | in place | into another directory |
//! | --- | --- | --- |
//! | sound | nothing | nothing |
//! | ends in what looks like an unfinished write | cut off, as opening does: nothing proves that it was durable | – |
//! | damaged | nothing | whatever is sound of it, with a list of the LSNs that are lost |
//!
//! What is sound is put together in `pieces`. The damaged store is only read: it is kept for whoever knows more than its
//! bytes say.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::pieces::Pieces;
use super::{Verification, archive, is_damage, verify_once};
use crate::checkpoint::manifest;
use crate::error::{CorruptionKind, Error, Result};
use crate::format::names;
use crate::lsn::Lsn;
use crate::options::{CreateMode, Options, default_recovery_threads};
use crate::recovery;
use crate::storage::dir::Dir;
use crate::storage::lenient::{Lenient, WHOLE};
use crate::storage::{RealDisk, Storage};
use crate::wal::{self, LogStatus, Lost, Problem};

/// What repairing a store takes, or took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Repair {
    /// How the store was found.
    pub status: LogStatus,
    /// What is done; nothing for a sound store.
    pub actions: Vec<RepairAction>,
    /// What is wrong and stays so: damage in the archive, or that it is away. The store does not need it to open.
    pub left: Vec<RepairAction>,
    /// True if all of that happens in the store's own directory ([`repair`]); else it takes another one ([`salvage`]).
    pub in_place: bool,
    /// What is lost by it, as far as anything proves that it was durable once. An unfinished write that is cut off is none.
    pub lost: Vec<LostRange>,
}

/// Something that is done to repair a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RepairAction {
    /// The file that it is about.
    pub file: String,
    /// What is done.
    pub action: String,
}

/// LSNs of which nothing sound is left: what they wrote may be missing, or be there in an older version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LostRange {
    /// The first.
    pub from_lsn: Lsn,
    /// The last. `None` if the file is gone that had the end of the log: nobody knows how long it was.
    pub to_lsn: Option<Lsn>,
}

/// Says what is wrong with the store in a directory of the real disk, and what repairing it would do and lose; changes
/// nothing.
///
/// # Errors
/// [`Error::Locked`] if a writer has it open; [`Error::NoStore`]; [`Error::NotAStore`] for a log alone, whose records only
/// its owner understands, and for an archive, which is restored from; [`Error::UnsupportedFormat`]; [`Error::Io`].
///
/// ```
/// use forelog::{Db, care};
///
/// let dir = tempfile::tempdir()?;
/// let db = Db::open(dir.path().join("data"))?;
/// db.put("a", "1")?;
/// db.close()?;
/// assert!(care::plan_repair(dir.path().join("data"))?.actions.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn plan_repair(path: impl AsRef<Path>) -> Result<Repair> {
    plan_repair_on(Arc::new(RealDisk), path)
}

/// As [`plan_repair`], on this disk.
///
/// # Errors
/// As [`plan_repair`].
pub fn plan_repair_on(storage: Arc<dyn Storage>, path: impl AsRef<Path>) -> Result<Repair> {
    let dir = Dir::new(storage, path.as_ref());
    let _lock = recovery::keep_writers_out(&dir)?;
    Ok(plan(&dir)?.0)
}

/// Repairs what can be repaired in place: cuts off an unfinished write, as opening the store would. The file that has it is
/// copied to `lost/`. Durable when this returns. Any other damage is left as it is, and
/// [`Repair::in_place`] is false.
///
/// # Errors
/// As [`plan_repair`], and as opening the store.
///
/// ```
/// use std::sync::Arc;
///
/// use forelog::care::{self, Repair, RepairAction};
/// use forelog::storage::RealDisk;
/// use forelog::{Db, Options};
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("data");
/// let db = Options::new().segment_bytes(8192).open(&path)?;
/// db.put("a", "1")?;
/// db.close()?;
/// // A write that a power cut has ended half-way:
/// let segment = path.join("00000000000000000001.wal");
/// let mut bytes = std::fs::read(&segment)?;
/// bytes[5000..5004].copy_from_slice(b"half");
/// std::fs::write(&segment, bytes)?;
///
/// let repaired: Repair = care::repair(&path)?;
/// assert!(repaired.in_place && repaired.lost.is_empty());
/// let RepairAction { file, .. } = &repaired.actions[0];
/// assert_eq!(file, "00000000000000000001.wal");
/// assert!(care::repair_on(Arc::new(RealDisk), &path)?.actions.is_empty()); // there is nothing left to do
/// assert!(Db::open(&path)?.contains("a")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn repair(path: impl AsRef<Path>) -> Result<Repair> {
    repair_on(Arc::new(RealDisk), path)
}

/// As [`repair`], on this disk.
///
/// # Errors
/// As [`repair`].
pub fn repair_on(storage: Arc<dyn Storage>, path: impl AsRef<Path>) -> Result<Repair> {
    let mut repair = plan_repair_on(storage.clone(), &path)?;
    if repair.actions.is_empty() || !repair.in_place {
        return Ok(repair);
    }
    let dir = Dir::new(storage.clone(), path.as_ref());
    let options = Options::new().storage(storage).create(CreateMode::Never);
    let opened = recovery::open(&dir, &options)?;
    if let (Some(torn), Some(action)) = (opened.report.log.torn, repair.actions.first_mut()) {
        // Where the log goes on in another file, the old one goes with the next checkpoint. After the cut, because only whoever
        // has opened the store has it for himself: a crash in between leaves the bytes in that file, as an opening does.
        let kept_in = match torn.kept_in {
            Some(kept_in) => kept_in,
            None => wal::keep_in_lost(&dir, &torn.file)?,
        };
        action.action = format!("{}; its bytes are kept in {kept_in}", action.action);
    }
    if let Some(wal) = opened.wal {
        wal.close()?;
    }
    Ok(repair)
}

/// Writes whatever is sound of a damaged store into a directory that is missing or empty, as a store of its own: it opens,
/// and verifies. The damaged one is only read. Does nothing if the store is sound.
///
/// # Errors
/// As [`plan_repair`]; [`Error::Exists`] if there is anything in `out`; [`Error::InvalidOption`] if `out` lies inside of
/// the store; [`Error::Io`]: what was written until then is removed, as far as that works.
///
/// ```
/// use forelog::{Db, care};
///
/// let dir = tempfile::tempdir()?;
/// let (path, out) = (dir.path().join("data"), dir.path().join("sound"));
/// let db = Db::open(&path)?;
/// db.put("a", "1")?; // LSN 1
/// db.put("b", "2")?; // LSN 2
/// db.close()?;
/// // A byte rots, at the place where the first record has its key.
/// let segment = path.join("00000000000000000001.wal");
/// let mut bytes = std::fs::read(&segment)?;
/// bytes[4096 + 50] ^= 1;
/// std::fs::write(&segment, bytes)?;
///
/// assert!(Db::open(&path).is_err());
/// let salvaged = care::salvage(&path, &out)?;
/// assert_eq!((salvaged.lost[0].from_lsn.get(), salvaged.lost[0].to_lsn.unwrap().get()), (1, 1));
/// assert_eq!(Db::open(&out)?.get("b")?.as_deref(), Some(&b"2"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn salvage(path: impl AsRef<Path>, out: impl AsRef<Path>) -> Result<Repair> {
    salvage_on(Arc::new(RealDisk), path, out)
}

/// As [`salvage`], on this disk.
///
/// # Errors
/// As [`salvage`].
pub fn salvage_on(
    storage: Arc<dyn Storage>,
    path: impl AsRef<Path>,
    out: impl AsRef<Path>,
) -> Result<Repair> {
    let (dir, out) = (Dir::new(storage.clone(), path.as_ref()), Dir::new(storage, out.as_ref()));
    recovery::check_outside(&out, &dir)?;
    if !out.list()?.is_empty() {
        return Err(Error::Exists { path: out.path().to_path_buf() });
    }
    let _lock = recovery::keep_writers_out(&dir)?;
    let (mut repair, pieces) = plan(&dir)?;
    if repair.actions.is_empty() {
        return Ok(repair);
    }
    let pieces = match pieces {
        Some(pieces) => pieces,
        None => Pieces::gather(&dir, &Lenient::new(dir.storage().clone()))?,
    };
    repair.lost = told(&pieces.lost);
    pieces.write(&out)?;
    Ok(repair)
}

/// What is to be done, and what is sound of a store that is damaged.
fn plan(dir: &Dir) -> Result<(Repair, Option<Pieces>)> {
    let files = dir.list()?;
    if !wal::has_segments(&files) && recovery::is_archive(&files) {
        let reason =
            "it is an archive: restore from it what is sound, to an LSN before the damage".to_owned();
        return Err(Error::NotAStore { dir: dir.path().to_path_buf(), reason });
    }
    let mut left = damage_of_archive(dir);
    // A disk that fails gives some sectors and not others: what cannot be read is damage like any other.
    let disk = Lenient::new(dir.storage().clone());
    let dir = &Dir::new(Arc::new(disk.clone()), dir.path());
    let found = wal::look_for_damage(dir, is_damage, |live| verify_once(dir, live, false))?;
    let Verification { mut status, log_alone, problems, .. } = found;
    let is_torn = |problem: &Problem| problem.kind == "torn";
    if !log_alone && disk.unreadable(dir.path()).is_empty() && problems.iter().all(is_torn) {
        let actions = problems.iter().map(action_for).collect();
        return Ok((Repair { status, actions, left, in_place: true, lost: Vec::new() }, None));
    }
    let pieces = Pieces::gather(dir, &disk)?;
    // Where the end of the log cannot be read, nobody knows that it is an unfinished write.
    let known = problems.iter().filter(|problem| pieces.lost.has_end() || !is_torn(problem));
    let mut actions: Vec<RepairAction> = known.map(action_for).collect();
    // Gathering reads on where verification stops.
    let unreadable = disk.unreadable(dir.path());
    if !unreadable.is_empty() {
        status = LogStatus::Corrupt;
        actions.extend(unreadable.into_iter().map(unreadable_action));
    }
    let is_a_stores = pieces.operations > 0 && (!pieces.holds_others || pieces.unnamed_checkpoint.is_some());
    if log_alone && !is_a_stores {
        let reason = format!(
            "it holds a log alone and no {}; what its records mean only its owner knows, who opens it with wal::Wal",
            names::MANIFEST
        );
        return Err(Error::NotAStore { dir: dir.path().to_path_buf(), reason });
    }
    if log_alone {
        actions.retain(|action| action.file != names::MANIFEST);
        let action = format!("is gone: {WITHOUT_MANIFEST}");
        actions.insert(0, RepairAction { file: names::MANIFEST.to_owned(), action });
    }
    if pieces.is_foreign {
        // Everything else was judged by it.
        let action = format!("is another store's: {WITHOUT_MANIFEST}");
        actions = vec![RepairAction { file: names::MANIFEST.to_owned(), action }];
    }
    if let Some((file, is_whole)) = pieces.unnamed_checkpoint.clone() {
        let what =
            if is_whole { "the checkpoint, which is whole" } else { "what there is of the checkpoint" };
        actions.push(RepairAction { file, action: format!("take {what}") });
    }
    for (id, name) in pieces.nameless() {
        let action =
            format!("its name is lost with the record that created it: take its keys as keyspace {name}");
        actions.push(RepairAction { file: format!("keyspace {id}"), action });
    }
    for (id, name) in pieces.doubtful() {
        let action = format!(
            "keep its name, {name}, which may have been another's in the end: that it was dropped, and a younger one took \
             the name, may have been said in what is lost"
        );
        actions.push(RepairAction { file: format!("keyspace {id}"), action });
    }
    let lost = told(&pieces.lost);
    left.extend(pieces.unused_archive.clone().map(|(file, action)| RepairAction { file, action }));
    Ok((Repair { status, actions, left, in_place: false, lost }, Some(pieces)))
}

/// What is wrong with the store's archive: it is another matter, and nothing that keeps the store from being repaired.
fn damage_of_archive(dir: &Dir) -> Vec<RepairAction> {
    let Ok(manifest) = manifest::read(dir) else { return Vec::new() };
    let Some(path) = &manifest.options.archive else { return Vec::new() };
    match archive::verify(dir.storage(), path, Some(&manifest), default_recovery_threads()) {
        Ok(archived) => archived.problems.into_iter().map(left_alone).collect(),
        Err(error) => vec![RepairAction { file: path.clone(), action: format!("cannot be read: {error}") }],
    }
}

/// What is done where no manifest can be read.
const WITHOUT_MANIFEST: &str = "make another one of what the log and the checkpoints say. It has the default options: what \
     was chosen (retention, archive, length and checksum of segments) is not known any more";

fn action_for(problem: &Problem) -> RepairAction {
    let Problem { file, offset, kind, .. } = problem;
    let action = match kind.as_str() {
        "torn" => {
            format!("cut off the unfinished write at byte {offset}: nothing proves that it was ever durable")
        }
        "missing_segment" => "is gone: take what the files around it say".to_owned(),
        "checkpoint_missing" => "is gone: do without this checkpoint".to_owned(),
        "manifest" => format!("is damaged: {WITHOUT_MANIFEST}"),
        kind => format!("take what is sound of it: {} at byte {offset}", in_words(kind)),
    };
    RepairAction { file: file.clone(), action }
}

fn unreadable_action((file, bytes): (String, Range<u64>)) -> RepairAction {
    let action = match bytes {
        WHOLE => "do without it: it cannot be opened".to_owned(),
        bytes => format!("take what can be read of it: bytes {} to {} cannot", bytes.start, bytes.end - 1),
    };
    RepairAction { file, action }
}

fn in_words(kind: &str) -> String {
    let known = CorruptionKind::ALL.into_iter().find(|known| known.name() == kind);
    known.map_or_else(|| kind.to_owned(), |known| known.to_string())
}

fn left_alone(problem: Problem) -> RepairAction {
    let Problem { file, offset, kind, .. } = problem;
    let what = match kind.as_str() {
        "missing_segment" => "is gone, or not mounted: bring it back".to_owned(),
        "archive_owner_missing" => {
            "is gone: put it back, with the id of the store in it (`forelog info` shows that)".to_owned()
        }
        kind => format!("{} at byte {offset}: put a sound copy in its place", in_words(kind)),
    };
    let action = format!("{what}, or choose another archive for the store, which begins anew");
    RepairAction { file, action }
}

fn told(lost: &Lost) -> Vec<LostRange> {
    let range = |(first, last): &(Lsn, Lsn)| LostRange {
        from_lsn: *first,
        to_lsn: Some(*last).filter(|last| *last < Lsn::MAX),
    };
    lost.0.iter().map(range).collect()
}
