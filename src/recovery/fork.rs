//! Writes a state as a store of its own: what a backup and a restore have in common.
//!
//! ```text
//!  directory, lock → checkpoint at s → a log without records, from s + 1 → manifest
//! ```
//!
//! The copy is a new store: it has an id of its own, and says which store it was taken from and at which LSN. From there
//! on each goes its own way, so neither's segments or checkpoints can be taken for the other's.
//!
//! What a crash leaves behind: before the manifest, a directory that is no store; nothing that was there before.

use serde::Serialize;

use crate::catalog::Catalog;
use crate::checkpoint::{self, Pace, Taking, manifest};
use crate::error::{Error, Result};
use crate::format::manifest::{Manifest, Parent, PersistedOptions};
use crate::format::{StoreId, names};
use crate::lsn::Lsn;
use crate::memtable::Snapshot;
use crate::options::WalOptions;
use crate::storage::dir::Dir;
use crate::wal::{self, Wal};

/// A store that was made from another: by a backup, or by a restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Copied {
    /// The LSN whose state it has. The next write gets the one after it.
    pub lsn: Lsn,
    /// How many files it has.
    pub files: u64,
    /// Their length together, in bytes.
    pub bytes: u64,
    /// Its id.
    pub store_id: StoreId,
}

/// What is to be written.
pub(crate) struct Forking<'a> {
    pub(crate) parent: StoreId,
    pub(crate) options: PersistedOptions,
    pub(crate) catalog: &'a Catalog,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) threads: usize,
    pub(crate) pace: Pace<'a>,
}

/// Makes a store in a directory that is missing or empty.
///
/// # Errors
/// [`Error::Exists`] if there is anything; [`Error::Io`]: what was made until then is removed, as far as that works.
pub(crate) fn fork(out: &Dir, forking: Forking<'_>) -> Result<Copied> {
    if !out.list()?.is_empty() {
        return Err(exists(out));
    }
    out.create_durably()?;
    let lock = out.lock(names::LOCK, true)?;
    out.sync()?;
    // Again, with the lock: two may have come at once.
    if out.list()?.iter().any(|name| name != names::LOCK) {
        return Err(exists(out));
    }
    let made = write(out, forking);
    if made.is_err() {
        for name in out.list().unwrap_or_default() {
            let _ = out.remove(&name);
        }
    }
    drop(lock);
    made
}

/// Checks that a store is not made inside of the one that it is made from, where it would stand in the way.
///
/// # Errors
/// [`Error::InvalidOption`].
pub(crate) fn check_outside(out: &Dir, of: &Dir) -> Result<()> {
    if !out.is_inside(of) {
        return Ok(());
    }
    let reason = format!("{} is inside of the store that it is to be made from", out.path().display());
    Err(Error::InvalidOption { option: "out", reason })
}

fn exists(out: &Dir) -> Error {
    Error::Exists { path: out.path().to_path_buf() }
}

fn write(out: &Dir, forking: Forking<'_>) -> Result<Copied> {
    let Forking { parent, options, catalog, snapshot, threads, pace } = forking;
    let (storage, lsn) = (out.storage().clone(), snapshot.lsn());
    let store_id = wal::new_store_id(&*storage);
    // Two stores in one archive would be refused: the copy gets one of its own if it is to have one.
    let options = PersistedOptions { archive: None, ..options };
    let (generation, checksum) = (1, options.checksum);
    let taking = Taking { store_id, generation, time_us: storage.now_us(), checksum, threads, pace };
    let taken = checkpoint::take(out, catalog, snapshot, taking)?;
    let wal_options = WalOptions { segment_bytes: options.segment_bytes, checksum, ..WalOptions::new() };
    Wal::create_empty(out, &wal_options, store_id, lsn.next())?;
    let manifest = Manifest {
        store_id,
        parent: Some(Parent { store_id: parent, fork_lsn: lsn.get() }),
        generation,
        first_segment: lsn.next(),
        durable_lsn: lsn,
        archived: Lsn::ZERO,
        checkpoints: vec![taken],
        options,
    };
    // ORDER: last. From here on it is a store.
    manifest::write(out, &manifest)?;
    let files = out.list()?;
    let lens = files.iter().map(|name| out.open(name, crate::storage::Access::Read)?.len());
    let bytes = lens.sum::<Result<u64>>()?;
    Ok(Copied { lsn, files: files.len() as u64, bytes, store_id })
}
