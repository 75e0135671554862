//! From a directory to a running state: what is there, whose is it, what does its log say.
//!
//! | # | `MANIFEST` | segments | other files | what it is |
//! | --- | --- | --- | --- | --- |
//! | 1 | yes | – | – | a store: recover it |
//! | 2 | no | none | only `LOCK` and `*.tmp` | nothing yet, or a creation that was cut short: create |
//! | 3 | no | one, without a record | only `LOCK` and `*.tmp` | a creation that was cut short: create |
//! | 4 | no | anything else | – | a log without its manifest: refuse |
//! | 5 | no | – | any | somebody else's directory: refuse |
//!
//! The log's own part of recovery, down to torn or corrupt, is in `wal::open`. Here its records become keys.
//!
//! Architecture invariant: recovery does not know `db`. It gives parts, out of which `db` builds a store.

mod base;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::catalog::Catalog;
use crate::checkpoint::manifest;
use crate::error::{CorruptionKind, Error, Evidence, EvidenceSource, Result};
use crate::event::{Event, Events};
use crate::format::batch_body;
use crate::format::manifest::{Checkpoint, Manifest, PersistedOptions};
use crate::format::names;
use crate::format::record::RecordKind;
use crate::lsn::Lsn;
use crate::memtable::Tracker;
use crate::options::{CreateMode, Options, WalOptions, default_persisted};
use crate::storage::LockGuard;
use crate::storage::dir::Dir;
use crate::wal::{self, Given, LogReport, RecordRef, Wal};

use self::base::Base;
pub use self::base::DamagedCheckpoint;
pub(crate) use self::base::check_checkpoint;

/// What opening a store found and did.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// True if there was no store and this opening made one.
    pub created: bool,
    /// The LSN of the checkpoint that was loaded; `None` if the log alone was.
    pub checkpoint: Option<Lsn>,
    /// Checkpoints that are damaged and were passed over for an older one, or for the whole log.
    pub damaged_checkpoints: Vec<DamagedCheckpoint>,
    /// What was found in the log, and what was done about its end.
    pub log: LogReport,
    /// Data records that were applied.
    pub records: u64,
    /// Operations in them.
    pub operations: u64,
    /// How long it took.
    pub took: Duration,
}

/// The parts of an open store.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// `None` when opened for reading only.
    pub(crate) wal: Option<Wal>,
    /// Held by a store that was opened for reading only; otherwise the log holds it.
    pub(crate) lock: Option<Box<dyn LockGuard>>,
    pub(crate) manifest: Manifest,
    pub(crate) tracker: Arc<Tracker>,
    pub(crate) catalog: Catalog,
    pub(crate) report: RecoveryReport,
}

/// Opens or creates the store in a directory, for writing.
pub(crate) fn open(dir: &Dir, options: &Options) -> Result<Recovered> {
    let started = Instant::now();
    options.check()?;
    // Looked at before anything is made: a file, a typo, or somebody else's directory must not be touched.
    let files = dir.list()?;
    if !is_store(&files) && options.create == CreateMode::Never {
        return Err(no_store(dir, &files));
    }
    refuse_others(dir, &files)?;
    dir.create_durably()?;
    let lock = dir.lock(names::LOCK, true)?;
    // A killed predecessor's renames may be in the cache only.
    dir.sync()?;
    let files = dir.list()?;
    let mut recovered = if is_store(&files) {
        recover(dir, options, lock)?
    } else {
        check_creatable(dir, &files)?;
        create(dir, options, lock)?
    };
    recovered.report.took = started.elapsed();
    Ok(recovered)
}

/// Opens the store in a directory for reading, changing nothing.
pub(crate) fn open_read_only(dir: &Dir) -> Result<Recovered> {
    let started = Instant::now();
    let files = dir.list()?;
    if !is_store(&files) {
        return Err(no_store(dir, &files));
    }
    let lock = match dir.lock(names::LOCK, false) {
        Ok(lock) => Some(lock),
        // A copy that came without its lock file: there is nobody to keep out.
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let mut recovered = load(dir, false, default_threads())?;
    recovered.lock = lock;
    recovered.report.took = started.elapsed();
    Ok(recovered)
}

/// Reads the store in a directory without a lock; `live` if a writer may be at work. What that writer has not proven
/// to be durable is applied, but not published.
pub(crate) fn load(dir: &Dir, live: bool, threads: usize) -> Result<Recovered> {
    let mut manifest = manifest::read(dir)?;
    let base = Base::load(dir, &manifest, threads)?;
    forget_damaged(&mut manifest, &base);
    let mut replay = Replay::new(dir, Events::default(), base);
    let log = wal::read_only(dir, given(&manifest), &mut |record| replay.apply(record))?;
    let visible = if live { log.proven_lsn } else { log.last_lsn };
    Ok(replay.finish(visible, log, manifest))
}

fn is_store(files: &[String]) -> bool {
    files.iter().any(|name| name == names::MANIFEST)
}

/// What the manifest knows about the log.
pub(crate) fn given(manifest: &Manifest) -> Given {
    let proven = Evidence { lsn: manifest.durable_lsn, source: EvidenceSource::Manifest };
    Given {
        first_segment: Some(manifest.first_segment),
        proven: Some(proven),
        store_id: Some(manifest.store_id),
    }
}

/// Why there is no store to open: what stands in the way of making one, or nothing at all.
fn no_store(dir: &Dir, files: &[String]) -> Error {
    let dir_path = dir.path().to_path_buf();
    check_creatable(dir, files).err().unwrap_or(Error::NoStore { dir: dir_path })
}

/// Row 5 of the table.
fn refuse_others(dir: &Dir, files: &[String]) -> Result<()> {
    let unknown =
        |name: &&String| *name != names::LOCK && !names::is_tmp(name) && names::parse_segment(name).is_none();
    match files.iter().find(unknown) {
        Some(name) if !is_store(files) => {
            let reason = format!("it holds {name:?} and no {}; choose an empty directory", names::MANIFEST);
            Err(Error::NotAStore { dir: dir.path().to_path_buf(), reason })
        }
        _ => Ok(()),
    }
}

/// Rows 2 to 5 of the table.
fn check_creatable(dir: &Dir, files: &[String]) -> Result<()> {
    refuse_others(dir, files)?;
    let refuse = |reason: String| Err(Error::NotAStore { dir: dir.path().to_path_buf(), reason });
    if !wal::has_segments(files) {
        return Ok(());
    }
    let mut records = 0;
    let log = wal::read_only(dir, Given::default(), &mut |_| {
        records += 1;
        Ok(())
    })?;
    match &log.segments[..] {
        [first] if first.base_lsn == Lsn::new(1) && records == 0 && log.torn.is_none() => Ok(()),
        _ => refuse(format!(
            "it holds a log and no {}; a log alone is opened with wal::Wal, a store that lost its manifest is restored from a backup",
            names::MANIFEST
        )),
    }
}

fn create(dir: &Dir, options: &Options, lock: Box<dyn LockGuard>) -> Result<Recovered> {
    let persisted = options.persisted(&default_persisted())?;
    let wal_options = wal_options(options, &persisted);
    let store_id = wal::new_store_id(&**dir.storage());
    let wal = Wal::create(dir.clone(), wal_options, store_id, lock)?;
    // Only now is it a store: everything that the manifest names is durable.
    let manifest = Manifest {
        store_id,
        parent: None,
        generation: 1,
        first_segment: Lsn::new(1),
        durable_lsn: Lsn::ZERO,
        checkpoints: Vec::new(),
        options: persisted,
    };
    if let Err(error) = manifest::write(dir, &manifest) {
        // Closed in good order, the log would have a record, and a log with records and no manifest is never taken
        // for a creation that was cut short.
        wal.abandon();
        return Err(error);
    }
    let mut recovered = Replay::new(dir, options.events.clone(), Base::empty()).finish(
        Lsn::ZERO,
        wal.report().clone(),
        manifest,
    );
    recovered.wal = Some(wal);
    recovered.report.created = true;
    Ok(recovered)
}

fn recover(dir: &Dir, options: &Options, lock: Box<dyn LockGuard>) -> Result<Recovered> {
    let mut manifest = manifest::read(dir)?;
    let wanted = options.persisted(&manifest.options)?;
    let wal_options = wal_options(options, &wanted);
    let base = Base::load(dir, &manifest, default_threads())?;
    forget_damaged(&mut manifest, &base);
    let mut replay = Replay::new(dir, options.events.clone(), base);
    let given = given(&manifest);
    let (wal, log) = Wal::recover(dir.clone(), wal_options, given, lock, &mut |record| replay.apply(record))?;
    remove_left_behind(dir, &manifest)?;
    if wanted != manifest.options {
        manifest.options = wanted;
        manifest.generation += 1;
        manifest.durable_lsn = log.last_lsn;
        manifest::write(dir, &manifest)?;
    }
    let mut recovered = replay.finish(log.last_lsn, log, manifest);
    recovered.wal = Some(wal);
    Ok(recovered)
}

/// What was found to be damaged is not relied on again: it goes with the next checkpoint.
fn forget_damaged(manifest: &mut Manifest, base: &Base) {
    let is_damaged = |lsn| base.damaged.iter().any(|damaged| damaged.lsn == lsn);
    manifest.checkpoints.retain(|checkpoint| !is_damaged(checkpoint.lsn()));
}

/// Removes what an interrupted checkpoint or retention has left: parts that no manifest names, segments below the first.
///
/// ORDER: after everything was read and the log is ready, so that a store that cannot be opened stays as it was found.
/// The manifest is durable by then: opening has synced the directory.
fn remove_left_behind(dir: &Dir, manifest: &Manifest) -> Result<()> {
    let named: HashSet<String> =
        manifest::read(dir)?.checkpoints.iter().flat_map(Checkpoint::files).collect();
    let is_left = |name: &&String| match names::parse_segment(name) {
        Some(base) => base < manifest.first_segment,
        None => names::is_part(name) && !named.contains(*name),
    };
    dir.list()?.iter().filter(is_left).try_for_each(|name| dir.remove(name))
}

/// How many threads load and replay.
fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(8)
}

fn wal_options(options: &Options, persisted: &PersistedOptions) -> WalOptions {
    WalOptions {
        segment_bytes: persisted.segment_bytes,
        checksum: persisted.checksum,
        durability: options.durability,
        recovery: options.recovery,
        idle_mark: options.idle_mark,
        spare: options.spare,
        queue_bytes: options.queue_bytes,
        storage: options.storage.clone(),
        events: options.events.clone(),
    }
}

/// Records becoming keys.
#[derive(Debug)]
struct Replay {
    dir: PathBuf,
    base: Base,
    records: u64,
    operations: u64,
    /// The segment that is being read, and how many records it gave.
    file: (Arc<str>, u64),
    events: Events,
}

/// After so many records garbage is collected: a log may hold far more overwritten versions than fit into memory.
const RECORDS_PER_COLLECTION: u64 = 256;

impl Replay {
    fn new(dir: &Dir, events: Events, base: Base) -> Replay {
        Replay {
            dir: dir.path().to_path_buf(),
            base,
            records: 0,
            operations: 0,
            file: ("".into(), 0),
            events,
        }
    }

    fn apply(&mut self, record: RecordRef<'_>) -> Result<()> {
        if self.file.0 != *record.file {
            self.tell_progress();
            self.file = (record.file.clone(), 0);
        }
        self.file.1 += 1;
        let lsn = record.header.lsn;
        if record.header.kind == RecordKind::Data && lsn > self.base.lsn() {
            self.records += 1;
            for op in batch_body::ops(record.payload) {
                let applied = op.is_ok_and(|op| self.base.catalog.apply_op(lsn, op).is_ok());
                if !applied {
                    let (path, kind) = (self.dir.join(&**record.file), CorruptionKind::BatchBody);
                    return Err(Error::corruption(&path, record.offset, Some(lsn), kind, None));
                }
                self.operations += 1;
            }
        }
        if self.file.1.is_multiple_of(RECORDS_PER_COLLECTION) {
            // Every record below this one has been applied, and what this one carries as durable is below it.
            self.base.tracker.publish(record.header.durable_lsn);
            self.collect_garbage();
        }
        Ok(())
    }

    fn collect_garbage(&self) {
        for space in self.base.catalog.all() {
            while space.table.collect_garbage(usize::MAX) {}
        }
    }

    fn tell_progress(&self) {
        let (file, records) = &self.file;
        if *records > 0 {
            self.events.tell(|| Event::Replayed { file, records: *records });
        }
    }

    fn finish(self, visible: Lsn, log: LogReport, manifest: Manifest) -> Recovered {
        self.tell_progress();
        self.base.tracker.publish(visible);
        self.collect_garbage();
        let Base { tracker, catalog, checkpoint, damaged } = self.base;
        let report = RecoveryReport {
            created: false,
            checkpoint: checkpoint.as_ref().map(Checkpoint::lsn),
            damaged_checkpoints: damaged,
            log,
            records: self.records,
            operations: self.operations,
            took: Duration::ZERO,
        };
        Recovered { wal: None, lock: None, manifest, tracker, catalog, report }
    }
}
