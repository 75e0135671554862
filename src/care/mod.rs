//! Looking after a store on disk, without opening it: [`survey`], [`verify`], [`repair()`].
//!
//! The first two read only, and both work beside a live writer: they take no lock that would stop it, say that it is there,
//! and judge only what is proven to be durable.
//!
//! ```
//! use std::sync::Arc;
//!
//! use forelog::care::{self, CheckpointSummary, LostRange, Repair, Survey, Verification};
//! use forelog::storage::{SimDisk, Storage};
//! use forelog::wal::LogStatus;
//! use forelog::{Lsn, Options};
//!
//! let disk = SimDisk::new(1);
//! let storage: Arc<dyn Storage> = Arc::new(disk.clone());
//! let options = Options::new().storage(storage.clone()).segment_bytes(8192).idle_mark(None);
//! let db = options.clone().open("data")?;
//! db.put("a", "1")?; // LSN 1
//! db.checkpoint()?;
//! db.put("b", "2")?; // LSN 2
//! assert!(care::is_live_on(storage.clone(), "data")?);
//! db.close()?;
//! let survey: Survey = care::survey_on(storage.clone(), "data")?;
//! let CheckpointSummary { lsn, files, .. } = survey.checkpoint.unwrap();
//! assert_eq!((survey.keys, lsn, files.len()), (2, Lsn::new(1), 1));
//!
//! let segment = "data/00000000000000000001.wal";
//! let mut bytes = disk.read_file(segment).unwrap();
//! bytes[4096 + 56 + 48] ^= 1; // LSN 2 rots, at the first byte of its payload
//! disk.write_file(segment, &bytes);
//! let found: Verification = care::verify_on(storage.clone(), "data")?;
//! assert_eq!((found.status, found.problems[0].lsn), (LogStatus::Corrupt, Some(Lsn::new(2))));
//!
//! let plan: Repair = care::plan_repair_on(storage.clone(), "data")?;
//! assert!(!plan.in_place); // it takes another directory
//! let repair = care::salvage_on(storage.clone(), "data", "sound")?;
//! let LostRange { from_lsn, to_lsn, .. } = repair.lost[0];
//! assert_eq!((from_lsn, to_lsn), (Lsn::new(2), Some(Lsn::new(2))));
//! assert!(options.open("sound")?.contains("a")?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod archive;
mod keyspaces;
mod pieces;
mod repair;
mod trail;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::checkpoint::manifest;
use crate::error::{CorruptionKind, Error, Result};
use crate::format::batch_body;
use crate::format::manifest::Manifest;
use crate::format::record::RecordKind;
use crate::format::{Checksum, Op, StoreId, names};
use crate::lsn::Lsn;
use crate::options::default_recovery_threads;
use crate::recovery;
use crate::storage::dir::Dir;
use crate::storage::{RealDisk, Storage};
use crate::wal::{self, Given, LogStatus, LogVerification, Problem, SegmentSummary};

pub use self::repair::{
    LostRange, Repair, RepairAction, plan_repair, plan_repair_on, repair, repair_on, salvage, salvage_on,
};
pub use self::trail::{keyspaces, keyspaces_on, read_log, read_log_on};

/// What is on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Survey {
    /// The id that every file of the store carries.
    pub store_id: StoreId,
    /// True if a writer has the store open.
    pub live: bool,
    /// The oldest LSN that the log holds.
    pub first_lsn: Lsn,
    /// The last LSN that a reader would see; beside a live writer, the last that is proven durable.
    pub visible_lsn: Lsn,
    /// The last LSN that the files prove to be durable.
    pub durable_lsn: Lsn,
    /// Keys with a value, in all keyspaces.
    pub keys: u64,
    /// The keyspaces' names, in the order of their creation.
    pub keyspaces: Vec<String>,
    /// The segments, in order.
    pub segments: Vec<SegmentSummary>,
    /// The newest sound checkpoint.
    pub checkpoint: Option<CheckpointSummary>,
    /// How much of the log is kept that recovery does not need.
    pub retention: String,
    /// How many checkpoints are kept.
    pub keep_checkpoints: u32,
    /// After how many bytes of log a checkpoint is taken; `None`: by hand alone.
    pub checkpoint_after_bytes: Option<u64>,
    /// Where segments and checkpoints are copied to before they go.
    pub archive: Option<String>,
    /// The length of new segments, in bytes.
    pub segment_bytes: u64,
    /// What guards the payloads of new segments.
    pub checksum: Checksum,
    /// True if the log ends in an unfinished write, which opening will cut off.
    pub torn: bool,
}

/// A checkpoint as it stands on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CheckpointSummary {
    /// The LSN whose state it is.
    pub lsn: Lsn,
    /// Bytes of all its files.
    pub bytes: u64,
    /// Its files.
    pub files: Vec<String>,
}

/// True if a writer has the store or the log in a directory of the real disk open.
///
/// # Errors
/// [`Error::Io`].
///
/// ```
/// use forelog::{Db, care};
///
/// let dir = tempfile::tempdir()?;
/// let db = Db::open(dir.path().join("data"))?;
/// assert!(care::is_live(dir.path().join("data"))?);
/// db.close()?;
/// assert!(!care::is_live(dir.path().join("data"))?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn is_live(path: impl AsRef<Path>) -> Result<bool> {
    is_live_on(Arc::new(RealDisk), path)
}

/// As [`is_live`], on this disk.
///
/// # Errors
/// As [`is_live`].
pub fn is_live_on(storage: Arc<dyn Storage>, path: impl AsRef<Path>) -> Result<bool> {
    wal::is_live(&Dir::new(storage, path.as_ref()))
}

/// Surveys the store in a directory of the real disk.
///
/// # Errors
/// [`Error::NoStore`]; what opening would refuse; [`Error::Io`].
///
/// ```
/// use forelog::{Db, care};
///
/// let dir = tempfile::tempdir()?;
/// let db = Db::open(dir.path().join("data"))?;
/// db.put("a", "1")?;
/// db.close()?;
/// let survey = care::survey(dir.path().join("data"))?;
/// assert_eq!((survey.keys, survey.live), (1, false));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn survey(path: impl AsRef<Path>) -> Result<Survey> {
    survey_on(Arc::new(RealDisk), path)
}

/// Surveys the store in a directory of this disk.
///
/// # Errors
/// As [`survey`].
pub fn survey_on(storage: Arc<dyn Storage>, path: impl AsRef<Path>) -> Result<Survey> {
    let dir = Dir::new(storage, path.as_ref());
    wal::look_again(&dir, |live| survey_once(&dir, live))
}

fn survey_once(dir: &Dir, live: bool) -> Result<Survey> {
    recovery::check_is_store(dir, &dir.list()?)?;
    let loaded = recovery::load(dir, live)?;
    let (log, visible) = (&loaded.report.log, loaded.tracker.visible());
    let spaces = loaded.catalog.all_at(visible);
    let keys = spaces.iter().map(|space| {
        let everything = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
        space.table.range(everything, loaded.tracker.snapshot()).count() as u64
    });
    Ok(Survey {
        store_id: loaded.manifest.store_id,
        live,
        first_lsn: loaded.manifest.first_segment,
        visible_lsn: visible,
        durable_lsn: log.proven_lsn,
        keys: keys.sum(),
        keyspaces: spaces.iter().map(|space| space.name.to_string()).collect(),
        segments: log.segments.clone(),
        checkpoint: loaded.manifest.checkpoints.last().map(|newest| CheckpointSummary {
            lsn: newest.lsn(),
            bytes: newest.bytes(),
            files: newest.files().collect(),
        }),
        retention: loaded.manifest.options.retention.to_string(),
        keep_checkpoints: loaded.manifest.options.keep_checkpoints,
        checkpoint_after_bytes: loaded.manifest.options.checkpoint_after_bytes,
        archive: loaded.manifest.options.archive.clone(),
        segment_bytes: loaded.manifest.options.segment_bytes,
        checksum: loaded.manifest.options.checksum,
        torn: log.torn.is_some() && !live,
    })
}

/// What verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Verification {
    /// The verdict.
    pub status: LogStatus,
    /// True if there is a log and no manifest: a log alone, or a store that lost its manifest.
    pub log_alone: bool,
    /// How many whole records of the log were read; of an archive alone, its own.
    pub records: u64,
    /// How many whole records of the store's archive were read, some of which are in the log, too; `None` if it has none
    /// that can be found from here.
    pub archived_records: Option<u64>,
    /// The segments that are whole.
    pub segments: Vec<SegmentSummary>,
    /// What is wrong, a torn tail included.
    pub problems: Vec<Problem>,
}

/// Reads every byte of the store and of its archive, of a log alone, or of an archive, in a directory of the real disk,
/// by as many threads as there are processors; changes nothing. An archive that a program has handed in
/// ([`Options::archive_target`](crate::Options::archive_target)) is not known here; where it is a directory, it can be
/// verified by itself.
///
/// # Errors
/// [`Error::NoStore`], [`Error::Io`]. Damage is no error but part of the result.
///
/// ```
/// use forelog::{Db, care};
/// use forelog::wal::LogStatus;
///
/// let dir = tempfile::tempdir()?;
/// let db = Db::open(dir.path().join("data"))?;
/// db.put("a", "1")?;
/// db.close()?;
/// let verification = care::verify(dir.path().join("data"))?;
/// assert_eq!(verification.status, LogStatus::Clean);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verify(path: impl AsRef<Path>) -> Result<Verification> {
    verify_on(Arc::new(RealDisk), path)
}

/// As [`verify`], on this disk.
///
/// # Errors
/// As [`verify`].
pub fn verify_on(storage: Arc<dyn Storage>, path: impl AsRef<Path>) -> Result<Verification> {
    let dir = Dir::new(storage, path.as_ref());
    // The manifest is read anew with each look: beside a writer, an old one names what has gone since.
    wal::look_for_damage(&dir, is_damage, |live| verify_once(&dir, live, true))
}

/// Worth a second look: a writer that has come meanwhile may have changed what was being read.
fn is_damage(found: &Verification) -> bool {
    matches!(found.status, LogStatus::Corrupt | LogStatus::Torn)
}

/// `with_archive`: that of the store, too.
fn verify_once(dir: &Dir, live: bool, with_archive: bool) -> Result<Verification> {
    let files = dir.list()?;
    let has_manifest = files.iter().any(|name| name == names::MANIFEST);
    let has_log = wal::has_segments(&files);
    let has_checkpoints = recovery::has_own_checkpoints(&files);
    if !has_log && !has_manifest && !has_checkpoints {
        return verify_archive(dir);
    }
    let threads = default_recovery_threads();
    let (mut problems, mut archived_records) = (Vec::new(), None);
    let manifest = match has_manifest.then(|| manifest::read(dir)) {
        Some(Err(error)) => {
            problems.push(Problem::of(&error, names::MANIFEST).ok_or(error)?);
            None
        }
        read => read.transpose()?,
    };
    let given = manifest.as_ref().map_or(Given::default(), recovery::given);
    let (batches, others) = (AtomicU64::new(0), AtomicU64::new(0));
    let check = |record: wal::RecordRef<'_>| {
        if given.store_id.is_some() {
            return decodable(&dir.file_path(record.file), &record);
        }
        // A log alone carries any bytes.
        if record.header.kind == RecordKind::Data && !record.payload.is_empty() {
            // ORDER: Relaxed. They are read when all threads have ended.
            batches.fetch_add(u64::from(names_something(record.payload)), Ordering::Relaxed);
            others.fetch_add(u64::from(!is_batch(record.payload)), Ordering::Relaxed);
        }
        Ok(())
    };
    // At once after the manifest, because what that names goes before long beside a writer.
    let log = match has_log || manifest.is_some() {
        true => wal::verify_once(dir, given, live, (threads, &check))?,
        false => LogVerification::default(),
    };
    // A copy that is being made gets its manifest last.
    if !has_manifest && !live {
        let holds_batches = batches.into_inner() > 0 && others.into_inner() == 0;
        problems.extend(manifest_missing(has_checkpoints, holds_batches));
    }
    if let Some(manifest) = manifest {
        problems.extend(damaged_checkpoints(dir, &manifest, threads)?);
        if let Some(path) = manifest.options.archive.as_ref().filter(|_| with_archive) {
            let archived = archive::verify(dir.storage(), path, Some(&manifest), threads)?;
            problems.extend(archived.problems);
            archived_records = Some(archived.records);
        }
    }
    problems.extend(log.problems);
    let damaged = problems.iter().any(|problem| problem.kind != "torn");
    let status = if damaged { LogStatus::Corrupt } else { log.status };
    let (log_alone, records, segments) = (!has_manifest, log.records, log.segments);
    Ok(Verification { status, log_alone, records, archived_records, segments, problems })
}

/// Verifies a directory that can only be an archive.
fn verify_archive(dir: &Dir) -> Result<Verification> {
    let path = dir.path().to_string_lossy();
    let archive::Archived { any: true, records, problems } =
        archive::verify(dir.storage(), &path, None, default_recovery_threads())?
    else {
        return Err(Error::NoStore { dir: dir.path().to_path_buf() });
    };
    let status = if problems.is_empty() { LogStatus::Clean } else { LogStatus::Corrupt };
    let (log_alone, archived_records, segments) = (false, None, Vec::new());
    Ok(Verification { status, log_alone, records, archived_records, segments, problems })
}

/// What shows that a directory without a manifest was a store. A log alone has no checkpoints, and its records are its
/// owner's: that all of them should pass for batches would be more than chance.
fn manifest_missing(has_checkpoints: bool, holds_batches: bool) -> Option<Problem> {
    let evidence = match (has_checkpoints, holds_batches) {
        (true, _) => "there are parts of checkpoints, which only a store has",
        (false, true) => "all records hold batches, as those of a store do",
        (false, false) => return None,
    };
    let kind = CorruptionKind::ManifestMissing.name().to_owned();
    let (file, evidence) = (names::MANIFEST.to_owned(), Some(evidence.to_owned()));
    Some(Problem { file, offset: 0, lsn: None, kind, evidence })
}

/// True for a batch with a key that is not empty. A log alone may have zeros, or few bytes, that pass for a batch of empty
/// ones; a store may have a few of these among others.
fn names_something(payload: &[u8]) -> bool {
    batch_body::ops(payload).flatten().any(|op| match op {
        Op::Put { key, .. } | Op::Delete { key, .. } => !key.is_empty(),
        Op::CreateKeyspace { name, .. } => !name.is_empty(),
        Op::DropKeyspace { .. } => false,
    })
}

/// What is wrong with the checkpoints that a manifest names: the first damage of each.
fn damaged_checkpoints(dir: &Dir, manifest: &Manifest, threads: usize) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for checkpoint in &manifest.checkpoints {
        if let Err(error) = recovery::check_checkpoint(dir, manifest.store_id, checkpoint, threads) {
            let file = checkpoint.files().next().unwrap_or_default();
            problems.push(Problem::of(&error, &file).ok_or(error)?);
        }
    }
    Ok(problems)
}

/// That a record of a store holds a batch, if it holds anything.
fn decodable(path: &Path, record: &wal::RecordRef<'_>) -> Result<()> {
    if record.header.kind != RecordKind::Data || is_batch(record.payload) {
        return Ok(());
    }
    let kind = CorruptionKind::BatchBody;
    Err(Error::corruption(path, record.offset, Some(record.header.lsn), kind, None))
}

fn is_batch(payload: &[u8]) -> bool {
    batch_body::ops(payload).all(|op| op.is_ok())
}
