//! What is looked at in a store that was put through crashes: all keys, all copies, and what its files must be.

use std::collections::HashSet;
use std::sync::Arc;

use super::store::{COPY, DIR, SEGMENT_BYTES};
use super::timeline::{Seen, State};
use crate::care;
use crate::format::manifest::{Checkpoint, Manifest};
use crate::format::names;
use crate::memtable::Entry;
use crate::storage::SimDisk;
use crate::{DEFAULT_KEYSPACE, Db, Error, Lsn, Options, Result};

/// The copies that are stores: one that was cut short is none.
pub(super) fn copies(disk: &SimDisk) -> Result<Vec<(u64, State)>, String> {
    let mut lsns: Vec<u64> = disk
        .files()
        .iter()
        .filter_map(|path| path.to_str()?.strip_prefix(COPY)?.split('/').next()?.parse().ok())
        .collect();
    lsns.sort_unstable();
    lsns.dedup();
    let mut copies = Vec::new();
    for lsn in lsns {
        match options(disk).read_only(true).open(format!("{COPY}{lsn}")) {
            Ok(db) => copies.push((lsn, all_of(&db)?.state)),
            Err(Error::NoStore { .. } | Error::NotAStore { .. }) => {}
            Err(error) => return Err(format!("the copy at LSN {lsn}: {error}")),
        }
    }
    Ok(copies)
}

/// What has gone from the store is in the archive: together they have every record from the first on.
pub(super) fn trail_is_whole(disk: &SimDisk) -> Result<(), String> {
    let first = manifest_of(disk)?.first_segment;
    let records = care::read_log_on(Arc::new(disk.clone()), DIR).map_err(|error| error.to_string())?;
    let mut next = Lsn::new(1);
    for record in records {
        let lsn = record.map_err(|error| format!("the trail: {error}"))?.lsn;
        if lsn != next {
            return Err(format!("the trail goes on with LSN {lsn} where {next} should come"));
        }
        next = next.next();
    }
    if next < first {
        Err(format!("the trail ends before LSN {next}, and the log begins at {first}"))
    } else {
        Ok(())
    }
}

pub(super) fn options(disk: &SimDisk) -> Options {
    Options::new()
        .storage(Arc::new(disk.clone()))
        .segment_bytes(SEGMENT_BYTES)
        .idle_mark(None)
        .spare_ahead(false)
        .checkpoint_after_bytes(None)
        .recovery_threads(1)
}

pub(super) fn key(space: &str, key: &[u8]) -> Arc<[u8]> {
    [space.as_bytes(), b"/", key].concat().into()
}

/// A keyspace is an entry of the state too: it is there or not.
pub(super) fn keyspace_key(name: &str) -> Arc<[u8]> {
    key("keyspaces", name.as_bytes())
}

/// Everything in every keyspace, read in both directions.
pub(super) fn all_of(db: &Db) -> Result<Seen, String> {
    let mut state = State::new();
    let snapshot = db.snapshot();
    for name in db.keyspaces() {
        let Some(keyspace) = db.find_keyspace(&name) else {
            return Err(format!("the keyspace {name} is listed and not found"));
        };
        let there = snapshot.keyspace(&keyspace).map_err(|error| error.to_string())?;
        let entries: Vec<Entry> = there.iter().collect();
        let mut backward: Vec<Entry> = there.iter().rev().collect();
        backward.reverse();
        if entries.iter().map(Entry::key).ne(backward.iter().map(Entry::key)) {
            return Err(format!("the keyspace {name} reads differently backward"));
        }
        if name != DEFAULT_KEYSPACE {
            state.insert(keyspace_key(&name), [][..].into());
        }
        for entry in entries {
            if keyspace.get(entry.key()).map_err(|error| error.to_string())?.as_deref() != Some(entry.value())
            {
                return Err(format!("{} is iterated and not got", entry.key().escape_ascii()));
            }
            state.insert(key(&name, entry.key()), entry.value().into());
        }
    }
    let lsn = db.visible_lsn().get();
    let (torn, rewritten, lost_copy) = (false, false, false);
    let (from, copies) = (Vec::new(), Vec::new());
    Ok(Seen { lsn, from, oldest: 0, checkpoint: 0, state, copies, torn, rewritten, lost_copy })
}

/// The files that the manifest names are there, and none that belongs to nobody.
pub(super) fn left_behind(disk: &SimDisk) -> Result<(), String> {
    let manifest = manifest_of(disk)?;
    let named: HashSet<String> = manifest.checkpoints.iter().flat_map(Checkpoint::files).collect();
    let files = disk.files();
    let files: HashSet<&str> = files
        .iter()
        .filter_map(|path| path.strip_prefix(DIR).ok()?.to_str())
        .filter(|name| !name.starts_with(names::LOST))
        .collect();
    if let Some(gone) = named.iter().find(|name| !files.contains(name.as_str())) {
        return Err(format!("{gone} is named by the manifest and is not there"));
    }
    let is_left = |name: &&&str| match names::parse_segment(name) {
        Some(base) => base < manifest.first_segment,
        None => ![names::LOCK, names::MANIFEST].contains(*name) && !named.contains(**name),
    };
    files.iter().find(is_left).map_or(Ok(()), |name| Err(format!("{name} is left and belongs to nobody")))
}

pub(super) fn manifest_of(disk: &SimDisk) -> Result<Manifest, String> {
    let bytes = disk.read_file(format!("{DIR}/{}", names::MANIFEST)).unwrap_or_default();
    Manifest::decode(&bytes).map_err(|flaw| format!("the manifest: {flaw:?}"))
}
