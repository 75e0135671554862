//! Figures about an open store.

use serde::Serialize;

use super::store::Store;
use crate::format::manifest::Checkpoint;
use crate::lsn::Lsn;

/// Figures about a store, taken one after the other while it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Everything up to this LSN can be read.
    pub visible_lsn: Lsn,
    /// Everything up to this LSN survives a power cut.
    pub durable_lsn: Lsn,
    /// The last LSN that was given out.
    pub last_lsn: Lsn,
    /// Keyspaces, the default one included.
    pub keyspaces: usize,
    /// Keys with a value, in all keyspaces.
    pub keys: usize,
    /// Versions in memory, older ones and tombstones included.
    pub versions: usize,
    /// Deletions that still stand in memory.
    pub tombstones: usize,
    /// Memory of versions and blocks, in bytes.
    pub memory_bytes: usize,
    /// Live snapshots, and ranges that are being read.
    pub snapshots: usize,
    /// Segments of the log.
    pub segments: usize,
    /// Their length on disk, in bytes.
    pub log_bytes: u64,
    /// The LSN of the newest checkpoint: opening replays only what comes after it.
    pub checkpoint_lsn: Option<Lsn>,
    /// Its length on disk, in bytes.
    pub checkpoint_bytes: u64,
    /// Why the last checkpoint, or what follows one, has failed, if none has worked since.
    pub checkpoint_failure: Option<String>,
    /// With an archive: all segments up to this LSN are known to be in it.
    pub archived_lsn: Option<Lsn>,
    /// Why nothing could be added to the archive the last time, if so. What is not there is kept.
    pub archive_failure: Option<String>,
    /// True after a failed write or sync: the store takes no more writes.
    pub poisoned: bool,
}

impl Stats {
    pub(super) fn of(store: &Store) -> Stats {
        let segments = match &store.wal {
            Some(wal) => wal.segments(),
            None => store.report.log.segments.clone(),
        };
        let upkeep = store.upkeep.as_ref();
        let checkpoint = upkeep.and_then(|upkeep| upkeep.newest());
        let archived = upkeep.and_then(|upkeep| upkeep.archived());
        let mut stats = Stats {
            visible_lsn: store.tracker.visible(),
            durable_lsn: store.durable(),
            last_lsn: store.last_lsn(),
            keyspaces: 0,
            keys: 0,
            versions: 0,
            tombstones: 0,
            memory_bytes: 0,
            snapshots: store.tracker.snapshots(),
            segments: segments.len(),
            log_bytes: segments.iter().map(|segment| segment.bytes).sum(),
            checkpoint_lsn: checkpoint.as_ref().map_or(store.report.checkpoint, |newest| Some(newest.lsn())),
            checkpoint_bytes: checkpoint.as_ref().map_or(0, Checkpoint::bytes),
            checkpoint_failure: upkeep.and_then(|upkeep| upkeep.failure()).map(|error| error.to_string()),
            archived_lsn: archived.as_ref().map(|(lsn, _)| *lsn),
            archive_failure: archived.and_then(|(_, failure)| failure).map(|error| error.to_string()),
            poisoned: store.wal.as_ref().is_some_and(|wal| wal.is_poisoned()),
        };
        for space in store.catalog.all_at(stats.visible_lsn) {
            let table = space.table.stats();
            stats.keyspaces += 1;
            stats.keys += table.keys;
            stats.versions += table.versions;
            stats.tombstones += table.tombstones;
            stats.memory_bytes += table.bytes;
        }
        stats
    }
}
