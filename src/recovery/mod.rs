//! From a directory to a running state: what is there, whose is it (`directory`), what does its log say.
//!
//! The log's own part of recovery, down to torn or corrupt, is in `wal::open`. Here its records become keys.
//!
//! Architecture invariant: recovery does not know `db`. It gives parts, out of which `db` builds a store.
//!
//! What an opening has found, it tells. Here the newer of two checkpoints is damaged, and nothing is lost by it:
//!
//! ```
//! use std::sync::Arc;
//!
//! use forelog::Options;
//! use forelog::recovery::{DamagedCheckpoint, RecoveryReport, RecoveryTimes};
//! use forelog::storage::SimDisk;
//!
//! let disk = SimDisk::new(1);
//! let options = Options::new().storage(Arc::new(disk.clone())).segment_bytes(8192).keep_checkpoints(2);
//! let db = options.clone().open("data")?;
//! db.put("a", "1")?;
//! let older = db.checkpoint()?;
//! db.put("b", "2")?;
//! let newer = db.checkpoint()?;
//! db.close()?;
//! let part = disk.files().into_iter().rfind(|file| file.extension() == Some("ckpt".as_ref())).unwrap();
//! disk.write_file(part, b"rotten");
//!
//! let db = options.open("data")?;
//! assert_eq!(db.len(), 2);
//! let report: &RecoveryReport = db.recovery_report();
//! assert_eq!((report.checkpoint, report.checkpoint_entries, report.records), (Some(older), 1, 1));
//! let damaged: &DamagedCheckpoint = &report.damaged_checkpoints[0];
//! assert_eq!(damaged.lsn, newer);
//! let RecoveryTimes { checkpoint, replay, .. } = report.times;
//! assert!(checkpoint + replay <= report.took);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod base;
mod directory;
mod fork;
mod gather;
mod last;
mod replay;
mod restore;
mod source;
#[cfg(test)]
mod trials;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::catalog::Catalog;
use crate::checkpoint::manifest;
use crate::error::{Error, Evidence, EvidenceSource, Result};
use crate::format::manifest::{Checkpoint, Manifest, PersistedOptions};
use crate::format::names;
use crate::lsn::Lsn;
use crate::memtable::Tracker;
use crate::options::{CreateMode, Options, WalOptions, default_persisted};
use crate::storage::LockGuard;
use crate::storage::dir::Dir;
use crate::wal::{self, Given, LogReport, Opening, Piece, Wal};

use self::base::Base;
pub use self::base::DamagedCheckpoint;
pub(crate) use self::base::check_checkpoint;
use self::directory::{check_creatable, is_store, refuse_others};
pub(crate) use self::directory::{check_is_store, has_own_checkpoints, is_archive, is_source, no_store};
pub use self::fork::Copied;
pub(crate) use self::fork::{Forking, check_outside, fork};
pub use self::restore::Target;
pub(crate) use self::restore::{Unhurried, restore};
pub(crate) use self::source::Source;

/// What opening a store found and did.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// True if there was no store and this opening made one.
    pub created: bool,
    /// The LSN of the checkpoint that was loaded; `None` if the log alone was.
    pub checkpoint: Option<Lsn>,
    /// Entries in it.
    pub checkpoint_entries: u64,
    /// Checkpoints that are damaged and were passed over for an older one, or for the whole log.
    pub damaged_checkpoints: Vec<DamagedCheckpoint>,
    /// What was found in the log, and what was done about its end.
    pub log: LogReport,
    /// Data records that were applied.
    pub records: u64,
    /// Operations in them.
    pub operations: u64,
    /// Bytes of the log that were read: of each segment those up to the end of its last record.
    pub bytes: u64,
    /// How many threads read, checked and applied the log.
    pub threads: usize,
    /// Where the time went.
    pub times: RecoveryTimes,
    /// How long it took.
    pub took: Duration,
}

/// Where the time of an opening went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryTimes {
    /// Reading the manifest, and loading the checkpoint.
    pub checkpoint: Duration,
    /// Finding out what the log is: the files' names, the segments' headers.
    pub plan: Duration,
    /// Reading, checking and applying the log, by all threads at once.
    pub replay: Duration,
    /// Of that, applying: sorting and merging into the tables, **added up over the threads**. The rest of
    /// `replay × threads` was reading, checking and decoding, or waiting for the last segment.
    pub merge: Duration,
    /// Making the log ready to be written: writing unproven records again, building a successor of a torn segment.
    pub finish: Duration,
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

/// Holds the store's lock in the shared mode. A copy may have come without its lock file; then there is nobody.
pub(crate) fn keep_writers_out(dir: &Dir) -> Result<Option<Box<dyn LockGuard>>> {
    match dir.lock(names::LOCK, false) {
        Ok(lock) => Ok(Some(lock)),
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens the store in a directory for reading, changing nothing.
pub(crate) fn open_read_only(dir: &Dir, options: &Options) -> Result<Recovered> {
    let started = Instant::now();
    options.check()?;
    check_is_store(dir, &dir.list()?)?;
    let lock = keep_writers_out(dir)?;
    let mut recovered = load_by(dir, false, options)?;
    recovered.lock = lock;
    recovered.report.took = started.elapsed();
    Ok(recovered)
}

/// The same without a lock, also beside a writer: with what is proven to be durable.
///
/// That nobody is at work when this begins says nothing: a writer may come meanwhile, and one that was killed has left
/// what a power cut may yet take.
pub(crate) fn open_beside_writer(dir: &Dir, options: &Options) -> Result<Recovered> {
    let started = Instant::now();
    options.check()?;
    let mut recovered = wal::look_again(dir, |_| {
        check_is_store(dir, &dir.list()?)?;
        load_by(dir, true, options)
    })?;
    recovered.report.took = started.elapsed();
    Ok(recovered)
}

/// Reads the store in a directory without a lock; `live` if a writer may be at work. What is not proven to be durable is
/// applied then, but not published.
pub(crate) fn load(dir: &Dir, live: bool) -> Result<Recovered> {
    load_by(dir, live, &Options::new())
}

fn load_by(dir: &Dir, live: bool, options: &Options) -> Result<Recovered> {
    let (mut recovered, given) = Recovered::begin(dir, options)?;
    let planning = Instant::now();
    let opening = Opening::for_reading(dir, given)?;
    recovered.report.times.plan = planning.elapsed();
    // Beside a writer, the last segment waits for all others: see `last`.
    let segments = opening.segments().saturating_sub(usize::from(live));
    let mut pieces = recovered.replay(&opening, segments, options)?;
    if live {
        pieces.extend(last::apply_last(&opening, &recovered.catalog)?);
    }
    let log = wal::report_on(pieces);
    let visible = if live { log.proven_lsn } else { log.last_lsn };
    recovered.publish(visible, log);
    Ok(recovered)
}

impl Recovered {
    /// Reads the manifest and the checkpoint, and says what both know about the log.
    fn begin(dir: &Dir, options: &Options) -> Result<(Recovered, Given)> {
        let (loading, threads) = (Instant::now(), options.recovery_threads);
        let mut manifest = manifest::read(dir)?;
        let given = given(&manifest);
        let base = Base::load(
            dir,
            manifest.store_id,
            &manifest.checkpoints,
            manifest.first_segment,
            threads,
            &options.events,
        )?;
        // What was found to be damaged is not relied on again: it goes with the next checkpoint.
        let is_damaged = |lsn| base.damaged.iter().any(|damaged| damaged.lsn == lsn);
        manifest.checkpoints.retain(|checkpoint| !is_damaged(checkpoint.lsn()));
        let given = Given { applied: base.lsn(), ..given };
        let mut recovered = Recovered::on(manifest, base);
        recovered.report.times.checkpoint = loading.elapsed();
        Ok((recovered, given))
    }

    /// A store that has the state of its checkpoint.
    fn on(manifest: Manifest, base: Base) -> Recovered {
        let Base { tracker, catalog, checkpoint, damaged } = base;
        let report = RecoveryReport {
            checkpoint: checkpoint.as_ref().map(Checkpoint::lsn),
            checkpoint_entries: checkpoint.map_or(0, |checkpoint| checkpoint.entries()),
            damaged_checkpoints: damaged,
            ..RecoveryReport::default()
        };
        Recovered { wal: None, lock: None, manifest, tracker, catalog, report }
    }

    /// Applies the first segments of a log.
    fn replay(&mut self, opening: &Opening, segments: usize, options: &Options) -> Result<Vec<Piece>> {
        let started = Instant::now();
        let (threads, events) = (options.recovery_threads, &options.events);
        let (pieces, totals) = replay::replay(opening, segments, &self.catalog, threads, events)?;
        self.report.records = totals.records;
        self.report.operations = totals.operations;
        self.report.threads = totals.threads;
        self.report.times.merge = totals.merging;
        self.report.times.replay = started.elapsed();
        Ok(pieces)
    }

    /// Lets readers see everything up to `visible`.
    fn publish(&mut self, visible: Lsn, log: LogReport) {
        self.tracker.publish(visible);
        self.catalog.forget_dropped();
        for space in self.catalog.all() {
            while space.table.collect_garbage(usize::MAX) {}
        }
        self.report.bytes = log.segments.iter().filter_map(|segment| segment.used_bytes).sum();
        self.report.log = log;
    }
}

/// What the manifest knows about the log.
pub(crate) fn given(manifest: &Manifest) -> Given {
    let known = Evidence { lsn: manifest.durable_lsn, source: EvidenceSource::Manifest };
    // A checkpoint that the manifest names never holds what the log could lose, damaged or not: a log that ends below it
    // would give LSNs out again that opening takes for applied.
    let newest = manifest.checkpoints.last();
    let newest = newest.map(|newest| Evidence { lsn: newest.lsn(), source: EvidenceSource::Checkpoint });
    let proven = newest.filter(|newest| newest.lsn > known.lsn).unwrap_or(known);
    Given {
        first_segment: Some(manifest.first_segment),
        proven: Some(proven),
        store_id: Some(manifest.store_id),
        ..Given::default()
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
        archived: Lsn::ZERO,
        checkpoints: Vec::new(),
        options: persisted,
    };
    if let Err(error) = manifest::write(dir, &manifest) {
        // Closed in good order, the log would have a record, and a log with records and no manifest is never taken
        // for a creation that was cut short.
        wal.abandon();
        return Err(error);
    }
    let mut recovered = Recovered::on(manifest, Base::empty());
    recovered.report.created = true;
    recovered.report.threads = 1;
    recovered.report.log = wal.report().clone();
    recovered.wal = Some(wal);
    Ok(recovered)
}

fn recover(dir: &Dir, options: &Options, lock: Box<dyn LockGuard>) -> Result<Recovered> {
    let (mut recovered, given) = Recovered::begin(dir, options)?;
    let wanted = options.persisted(&recovered.manifest.options)?;
    let planning = Instant::now();
    let opening = Opening::for_writing(dir, given)?;
    recovered.report.times.plan = planning.elapsed();
    let pieces = recovered.replay(&opening, opening.segments(), options)?;
    let finishing = Instant::now();
    let wal = Wal::go_on(opening, wal_options(options, &wanted), lock, pieces)?;
    let log = wal.report().clone();
    remove_left_behind(dir, &recovered.manifest)?;
    let other_archive = options.begins_another_archive(&recovered.manifest);
    if other_archive || wanted != recovered.manifest.options {
        let manifest = &mut recovered.manifest;
        if other_archive {
            manifest.archived = Lsn::ZERO;
        }
        manifest.options = wanted;
        manifest.generation += 1;
        manifest.durable_lsn = log.last_lsn;
        manifest::write(dir, manifest)?;
    }
    recovered.report.times.finish = finishing.elapsed();
    recovered.publish(log.last_lsn, log);
    recovered.wal = Some(wal);
    Ok(recovered)
}

/// Removes what an interrupted checkpoint or retention has left: parts that no manifest names, segments below the first.
///
/// ORDER: after everything was read and the log is ready, so that a store that cannot be opened stays as it was found.
/// The manifest is durable by then: opening has synced the directory. And durably, before an LSN is given out again: a part
/// that came back would be a checkpoint of another past.
fn remove_left_behind(dir: &Dir, manifest: &Manifest) -> Result<()> {
    let named: HashSet<String> =
        manifest::read(dir)?.checkpoints.iter().flat_map(Checkpoint::files).collect();
    let is_left = |name: &&String| match names::parse_segment(name) {
        Some(base) => base < manifest.first_segment,
        None => names::is_part(name) && !named.contains(*name),
    };
    let files = dir.list()?;
    let left: Vec<&String> = files.iter().filter(is_left).collect();
    left.iter().try_for_each(|name| dir.remove(name))?;
    if left.is_empty() { Ok(()) } else { dir.sync() }
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
        recovery_threads: options.recovery_threads,
        storage: options.storage.clone(),
        events: options.events.clone(),
    }
}
