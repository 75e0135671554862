//! What is sound of a damaged store: everything that has a right checksum.
//!
//! That is the newest checkpoint that is whole, the records behind it, and, for what is lost of them, the archive and the
//! sound blocks of newer checkpoints. Pieces may come in any order and more than once: of the versions of a key the newest
//! wins (the tables see to that, as they do for recovery by many threads).
//!
//! Older checkpoints than that are left out: a key that was deleted since would come back.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::checkpoint::{self, Pace, Sound, manifest};
use crate::error::{Error, Result};
use crate::format::manifest::{Checkpoint, Manifest};
use crate::format::record::RecordKind;
use crate::format::{KeyspaceId, Op, StoreId, batch_body, names};
use crate::lsn::Lsn;
use crate::memtable::{Memtable, Tracker};
use crate::options::default_persisted;
use crate::recovery::{self, Forking, Unhurried};
use crate::storage::ArchiveTarget;
use crate::storage::archive::{self, Gathered, Place};
use crate::storage::dir::Dir;
use crate::storage::lenient::Lenient;
use crate::wal::{self, Given, Lost, RecordRef, Visit};

use super::keyspaces::Keyspaces;

/// All that is sound.
pub(super) struct Pieces {
    manifest: Option<Manifest>,
    /// There is a manifest, and it is another store's.
    pub(super) is_foreign: bool,
    store_id: Option<StoreId>,
    /// The default keyspace; the others are entered in the end, when all names are known.
    catalog: Catalog,
    tables: BTreeMap<KeyspaceId, Arc<Memtable>>,
    keyspaces: Keyspaces,
    pub(super) lost: Lost,
    last_lsn: Lsn,
    /// How many operations were read, and entries of checkpoints.
    pub(super) operations: u64,
    /// True if a sound record holds no batch: those of a store all do.
    pub(super) holds_others: bool,
    /// A checkpoint that no manifest names and that was taken: its first part, and whether it is whole.
    pub(super) unnamed_checkpoint: Option<(String, bool)>,
    /// The newest checkpoint of which there is something, and not all.
    partial: Lsn,
    /// The disk that all is read from.
    disk: Lenient,
    /// The archive, and why it is not used.
    pub(super) unused_archive: Option<(String, String)>,
}

impl Pieces {
    /// `disk`: that of the directory, which knows what could not be read.
    pub(super) fn gather(dir: &Dir, disk: &Lenient) -> Result<Pieces> {
        let files = dir.list()?;
        let manifest = match files.iter().any(|name| name == names::MANIFEST) {
            true => match manifest::read(dir) {
                Err(Error::Corruption(_)) => None,
                read => Some(read?),
            },
            false => None,
        };
        let is_foreign = manifest.as_ref().is_some_and(|manifest| is_of_another(dir, &files, manifest));
        let manifest = manifest.filter(|_| !is_foreign);
        let mut pieces = Pieces {
            store_id: manifest.as_ref().map(|manifest| manifest.store_id),
            manifest,
            is_foreign,
            catalog: Catalog::new(Tracker::new(Lsn::ZERO)),
            tables: BTreeMap::new(),
            keyspaces: Keyspaces::default(),
            lost: Lost::default(),
            last_lsn: Lsn::ZERO,
            operations: 0,
            holds_others: false,
            unnamed_checkpoint: None,
            partial: Lsn::ZERO,
            disk: disk.clone(),
            unused_archive: None,
        };
        let archive = pieces.archive(dir)?;
        let base = pieces.read_checkpoints(dir, &files, archive.as_ref())?;
        pieces.read_log(dir, base)?;
        if let Some(archive) = archive {
            pieces.read_archive(&archive);
        }
        pieces.keyspaces.forget_dropped();
        pieces.tables.retain(|id, _| !pieces.keyspaces.is_dropped(*id));
        Ok(pieces)
    }

    /// Finds out whose the log is and how far it goes; then the archive, if it is not that of a later state. (If the end of
    /// the log is lost, nobody can tell, and it is taken.)
    fn archive(&mut self, dir: &Dir) -> Result<Option<Archive>> {
        let given = self.manifest.as_ref().map_or(Given::default(), recovery::given);
        let log = salvage_log(&self.disk, dir, given, &mut |_| Ok(()))?;
        self.store_id = self.store_id.or(log.store_id);
        let Some(archive) = Archive::of(dir, self.manifest.as_ref()) else { return Ok(None) };
        if log.lost.has_end() && archive.reach() > log.last_lsn {
            let why = format!(
                "reaches LSN {}, and the store ends at {}: it is that of a later state, with another past, and not used",
                archive.reach(),
                log.last_lsn
            );
            self.unused_archive = Some((archive.parts.path().display().to_string(), why));
            return Ok(None);
        }
        Ok(Some(archive))
    }

    /// Takes the newest checkpoint that is whole, wherever it is, and what is sound of those that are newer. Returns its
    /// LSN.
    fn read_checkpoints(&mut self, dir: &Dir, files: &[String], archive: Option<&Archive>) -> Result<Lsn> {
        let own = self.manifest.iter().flat_map(|manifest| manifest.checkpoints.clone());
        let mut known: Vec<(Dir, Checkpoint)> = own.map(|checkpoint| (dir.clone(), checkpoint)).collect();
        let archived = archive.iter().flat_map(|archive| archive.checkpoints.clone());
        known.extend(archived.filter_map(|checkpoint| Some((archive?.parts.clone(), checkpoint))));
        // Newest first; of two copies that of the store.
        known.sort_by_key(|(_, checkpoint)| Reverse((checkpoint.lsn, checkpoint.generation)));
        for (at, checkpoint) in known {
            let (lsn, generation) = (checkpoint.lsn(), checkpoint.generation);
            let is_own = at.path() == dir.path();
            let checked = match self.store_id {
                Some(id) => recovery::check_checkpoint(&at, id, &checkpoint, 1),
                None => continue,
            };
            match checked {
                Ok(()) => {
                    self.take_blocks(&at, lsn, generation)?;
                    return Ok(lsn);
                }
                Err(Error::Corruption(_)) if is_own => _ = self.take_blocks(&at, lsn, generation)?,
                Err(error) if is_own => return Err(error),
                // Of the archive, what cannot be read is done without.
                Err(_) => {}
            }
        }
        // Without its manifest, or with an old one: the parts of a checkpoint know how many there are. (It may be one that was
        // cut short before a manifest named it. Then it is what could be seen at its LSN, of this past: opening removes such
        // parts, durably, before any LSN is given out again.)
        let parts = files.iter().filter_map(|name| names::parse_part(name));
        let newest_first: BTreeSet<_> =
            parts.map(|(lsn, generation, _)| Reverse((lsn, generation))).collect();
        for Reverse((lsn, generation)) in newest_first {
            let is_whole = self.take_blocks(dir, lsn, generation)?;
            let first = names::part(lsn, generation, 0);
            if is_whole || self.unnamed_checkpoint.is_none() {
                self.unnamed_checkpoint = Some((first, is_whole));
            }
            if is_whole {
                return Ok(lsn);
            }
        }
        Ok(Lsn::ZERO)
    }

    /// True if it is whole.
    fn take_blocks(&mut self, dir: &Dir, lsn: Lsn, generation: u64) -> Result<bool> {
        self.last_lsn = self.last_lsn.max(lsn);
        let is_whole =
            checkpoint::salvage(dir, self.store_id, (lsn, generation), &mut |sound| match sound {
                Sound::Keyspace { id, created, name } => self.create(id, created, name),
                Sound::Entry { keyspace, lsn, key, value } => self.apply(keyspace, lsn, key, Some(value)),
            })?;
        if !is_whole {
            self.partial = self.partial.max(lsn);
        }
        Ok(is_whole)
    }

    /// Takes the records behind the checkpoint at `base`.
    fn read_log(&mut self, dir: &Dir, base: Lsn) -> Result<()> {
        let given = self.manifest.as_ref().map_or(Given::default(), recovery::given);
        let mut undecodable = Vec::new();
        let disk = self.disk.clone();
        let log = salvage_log(&disk, dir, given, &mut |record| {
            if record.header.lsn > base && !self.take(&record) {
                undecodable.push(record.header.lsn);
            }
            Ok(())
        })?;
        // What lies between the checkpoint and the log.
        let begins = given.first_segment.or(log.begins).unwrap_or(self.last_lsn.next());
        self.lost.add(base.next(), begins.previous());
        for (first, last) in log.lost.0 {
            self.lost.add(first.max(base.next()), last);
        }
        undecodable.into_iter().for_each(|lsn| self.lost.add(lsn, lsn));
        // Some of a checkpoint is there, and no log that would have the rest of its batches.
        self.lost.add(log.last_lsn.next(), self.partial);
        self.last_lsn = self.last_lsn.max(log.last_lsn);
        Ok(())
    }

    /// Takes from the archive what is lost. What cannot be read there stays lost.
    fn read_archive(&mut self, archive: &Archive) {
        for (base, last, name) in &archive.segments {
            if !self.lost.meets(*base, *last) {
                continue;
            }
            let Ok(file) = archive.target.open(name) else { continue };
            let (mut found, lost) = (Vec::new(), self.lost.clone());
            // What was read before an error is sound.
            let _ = wal::salvage_archived(file, Path::new(name), (*base, *last), &mut |record| {
                let lsn = record.header.lsn;
                if lost.meets(lsn, lsn) && self.take(&record) {
                    found.push(lsn);
                }
                Ok(())
            });
            found.into_iter().for_each(|lsn| self.lost.remove(lsn));
        }
    }

    /// Takes a record; false if it holds no batch.
    fn take(&mut self, record: &RecordRef<'_>) -> bool {
        if record.header.kind != RecordKind::Data {
            return true;
        }
        // All or nothing, as batches are.
        if batch_body::ops(record.payload).any(|op| op.is_err()) {
            self.holds_others = true;
            return false;
        }
        let lsn = record.header.lsn;
        self.last_lsn = self.last_lsn.max(lsn);
        for op in batch_body::ops(record.payload).flatten() {
            match op {
                Op::Put { keyspace, key, value } => self.apply(keyspace, lsn, key, Some(value)),
                Op::Delete { keyspace, key } => self.apply(keyspace, lsn, key, None),
                Op::CreateKeyspace { id, name } => self.create(id, lsn, name),
                Op::DropKeyspace { id } => {
                    self.operations += 1;
                    self.keyspaces.touch(id, lsn);
                    self.keyspaces.drop(id);
                }
            }
        }
        true
    }

    fn create(&mut self, id: KeyspaceId, created: Lsn, name: &str) {
        self.operations += 1;
        self.keyspaces.create(id, created, name);
    }

    fn apply(&mut self, id: KeyspaceId, lsn: Lsn, key: &[u8], value: Option<&[u8]>) {
        self.operations += 1;
        let table = match id {
            KeyspaceId::DEFAULT => &self.catalog.default_space().table,
            id => {
                self.keyspaces.touch(id, lsn);
                self.tables.entry(id).or_insert_with(|| self.catalog.new_table())
            }
        };
        table.apply(lsn, key, value);
    }

    /// The keyspaces of which keys are there and not the record that created them, by the names that they get.
    pub(super) fn nameless(&self) -> Vec<(KeyspaceId, String)> {
        self.keyspaces.names_for(self.tables.keys())
    }

    /// The keyspaces of which nobody knows whether they had their name to the end.
    pub(super) fn doubtful(&self) -> impl Iterator<Item = (KeyspaceId, &str)> {
        self.keyspaces.doubtful(&self.lost)
    }

    /// Writes all of it as a store.
    pub(super) fn write(mut self, out: &Dir) -> Result<()> {
        for (id, name) in self.nameless() {
            self.keyspaces.create(id, Lsn::ZERO, &name);
        }
        for (id, created, name) in self.keyspaces.named() {
            let table = self.tables.remove(&id).unwrap_or_else(|| self.catalog.new_table());
            // Refused is only what no store of ours says: the number of the default keyspace, or its name.
            let entered = self.catalog.create(created, id, name, table.clone());
            entered.or_else(|_| self.catalog.create(created, id, &format!("{name}-{}", id.0), table)).ok();
        }
        let tracker = self.catalog.tracker().clone();
        tracker.publish(self.last_lsn);
        for space in self.catalog.all() {
            while space.table.collect_garbage(usize::MAX) {}
        }
        let options = self.manifest.map_or_else(default_persisted, |manifest| manifest.options);
        let parent = self.store_id.unwrap_or(StoreId([0; 16]));
        let (catalog, snapshot, pace) = (&self.catalog, &tracker.snapshot(), Pace::new(&Unhurried, None, 1));
        recovery::fork(out, Forking { parent, options, catalog, snapshot, threads: 1, pace }).map(drop)
    }
}

/// Whether all that says whose it is says another store than the manifest does: then it is that which does not belong here.
fn is_of_another(dir: &Dir, files: &[String], manifest: &Manifest) -> bool {
    let bases = files.iter().filter_map(|name| names::parse_segment(name));
    let mut ids = bases.filter_map(|base| wal::store_id_of(dir, Some(base)).ok());
    let first = ids.next();
    first.is_some_and(|id| id != manifest.store_id && ids.all(|other| other == id))
}

/// Reads the log, and tells what is lost of it: if it ends where something cannot be read, nobody knows how far it went.
fn salvage_log(disk: &Lenient, dir: &Dir, given: Given, visit: &mut Visit<'_>) -> Result<wal::Salvaged> {
    let mut log = wal::salvage(dir, given, visit)?;
    if let Some(end) = &log.end {
        let mut unreadable = disk.unreadable(dir.path()).into_iter();
        let meets = |(file, bytes): (String, Range<u64>)| {
            *file == *end.file && bytes.start < end.bytes.end && end.bytes.start < bytes.end
        };
        if unreadable.any(meets) {
            log.lost.add(end.next, Lsn::MAX);
        }
    }
    Ok(log)
}

/// What a store's archive has, if it can be read.
struct Archive {
    target: Arc<dyn ArchiveTarget>,
    segments: Vec<(Lsn, Lsn, String)>,
    checkpoints: Vec<Checkpoint>,
    /// The checkpoints' parts.
    parts: Dir,
}

impl Archive {
    /// The highest LSN that it speaks of.
    fn reach(&self) -> Lsn {
        let segments = self.segments.iter().map(|(_, last, _)| *last);
        segments.chain(self.checkpoints.iter().map(Checkpoint::lsn)).max().unwrap_or(Lsn::ZERO)
    }

    fn of(dir: &Dir, manifest: Option<&Manifest>) -> Option<Archive> {
        let manifest = manifest?;
        let path = Path::new(manifest.options.archive.as_ref()?);
        let target = archive::readable(dir.storage(), path).ok()?;
        checkpoint::check_archive_owner(&*target, manifest.store_id).ok()?;
        let names = target.list().ok()?;
        let segment =
            |name: &String| names::parse_archived(name).map(|(base, last)| (base, last, name.clone()));
        let is_manifest = |name: &&String| names::parse_archived_checkpoint(name).is_some();
        let manifests = names.iter().filter(is_manifest);
        let read = |name: &String| checkpoint::read_manifest(&*target, name).ok();
        let checkpoints = manifests.filter_map(read).flat_map(|manifest| manifest.checkpoints).collect();
        let mut parts = Gathered::default();
        for name in names.iter().filter(|name| names::is_part(name)) {
            parts.add(name.clone(), Place::Archive(target.clone(), name.clone()));
        }
        let segments = names.iter().filter_map(segment).collect();
        Some(Archive { segments, checkpoints, parts: Dir::new(Arc::new(parts), path), target })
    }
}
