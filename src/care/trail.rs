//! The trail of all operations, and what is needed to read it.

use std::path::Path;
use std::sync::Arc;

use crate::checkpoint;
use crate::error::{Error, Result};
use crate::format::KeyspaceId;
use crate::recovery::{self, Source};
use crate::storage::dir::Dir;
use crate::storage::{RealDisk, Storage};
use crate::wal::{self, LogReader};

/// All records of the log of a store, and of its archive before it, or of an archive alone, on the real disk; as
/// [`LogReader`] reads a log alone. So the trail of all operations outlives pruning. Where something of it is missing,
/// it begins behind that, and [`LogReader::incomplete`] says why.
///
/// # Errors
/// [`Error::NoStore`] where there is neither a store, nor an archive, nor a log; what is wrong with a header or with the
/// end of the log; [`Error::Io`]. The reader: [`Error::Compacted`] if a writer prunes what it has not read yet.
///
/// ```
/// use std::sync::Arc;
///
/// use forelog::storage::RealDisk;
/// use forelog::{Lsn, Options, care};
///
/// let dir = tempfile::tempdir()?;
/// let (path, archive) = (dir.path().join("data"), dir.path().join("archive"));
/// let db = Options::new().segment_bytes(8192).archive(Some(&archive)).open(&path)?;
/// let users = db.keyspace("users")?;
/// for number in 0..20_u32 {
///     users.put(number.to_be_bytes(), vec![0; 1000])?;
/// }
/// db.checkpoint()?; // the log before it is now in the archive only
/// db.close()?;
///
/// let mut trail = care::read_log(&path)?;
/// assert!(trail.incomplete().is_none());
/// assert_eq!(trail.next().unwrap()?.lsn, Lsn::new(1));
/// // The archive alone, as a program elsewhere may have it:
/// let mut archived = care::read_log_on(Arc::new(RealDisk), &archive)?;
/// assert_eq!(archived.next().unwrap()?.lsn, Lsn::new(1));
/// assert_eq!(care::keyspaces(&path)?, [(users.id(), "users".to_owned())]);
/// assert_eq!(care::keyspaces_on(Arc::new(RealDisk), &archive)?, care::keyspaces(&path)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_log(path: impl AsRef<Path>) -> Result<LogReader> {
    read_log_on(Arc::new(RealDisk), path)
}

/// As [`read_log`], on this disk.
///
/// # Errors
/// As [`read_log`].
pub fn read_log_on(storage: Arc<dyn Storage>, path: impl AsRef<Path>) -> Result<LogReader> {
    let dir = Dir::new(storage.clone(), path.as_ref());
    let files = dir.list()?;
    if !recovery::is_source(&files) {
        return LogReader::open_on(storage, path).map_err(|error| match error {
            Error::NoStore { .. } => recovery::no_store(&dir, &files),
            other => other,
        });
    }
    wal::look_again(&dir, |live| {
        let source = Source::find(&dir, None)?;
        let reader = source.plan(live).map_err(|error| source.told(error))?;
        // An archive may have checkpoints alone.
        let reader = reader.unwrap_or_else(LogReader::empty);
        Ok(reader.of_trail(&source.shown, source.incomplete()))
    })
}

/// The keyspaces that a store's or an archive's newest checkpoint knows, by their numbers, but for the default one. Those
/// that were created since are in the log.
///
/// # Errors
/// [`Error::NoStore`] where there is neither a store nor an archive; [`Error::Corruption`], [`Error::Io`].
pub fn keyspaces(path: impl AsRef<Path>) -> Result<Vec<(KeyspaceId, String)>> {
    keyspaces_on(Arc::new(RealDisk), path)
}

/// As [`keyspaces`], on this disk.
///
/// # Errors
/// As [`keyspaces`].
pub fn keyspaces_on(storage: Arc<dyn Storage>, path: impl AsRef<Path>) -> Result<Vec<(KeyspaceId, String)>> {
    let dir = Dir::new(storage, path.as_ref());
    wal::look_again(&dir, |_| {
        let source = Source::find(&dir, None)?;
        let mut found = Vec::new();
        if let Some(newest) = source.checkpoints.last() {
            checkpoint::keyspaces(&source.trail, source.store_id, newest, &mut |id, _, name| {
                // The number of one that is gone has no name.
                found.extend((!name.is_empty()).then(|| (id, name.to_owned())));
                true
            })?;
        }
        Ok(found)
    })
}
