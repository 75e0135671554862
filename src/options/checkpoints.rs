//! What a caller chooses about checkpoints, retention and the archive of a store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Options;
use crate::error::{Error, Result};
use crate::format::Retention;
use crate::format::manifest::{Manifest, PersistedOptions};
use crate::lsn::Lsn;
use crate::storage::ArchiveTarget;

/// A checkpoint is taken in the background after so many bytes of log unless chosen otherwise: 64 MiB.
pub const DEFAULT_CHECKPOINT_AFTER_BYTES: u64 = 64 << 20;

/// What is not set follows the store.
#[derive(Clone, Debug, Default)]
pub(crate) struct CheckpointOptions {
    after_bytes: Option<Option<u64>>,
    keep: Option<u32>,
    retention: Option<Retention>,
    archive: Option<Option<PathBuf>>,
    /// Of this opening alone.
    pub(crate) archive_target: Option<Arc<dyn ArchiveTarget>>,
    /// Of this opening alone.
    pub(crate) bytes_per_second: Option<u64>,
    /// Of this opening alone.
    pub(crate) on_close: bool,
}

/// How the log is kept short, and what becomes of what goes.
///
/// ```
/// use forelog::options::DEFAULT_CHECKPOINT_AFTER_BYTES;
/// use forelog::{Db, Options, care};
///
/// let dir = tempfile::tempdir()?;
/// let db = Options::new()
///     .checkpoint_after_bytes(Some(4 * DEFAULT_CHECKPOINT_AFTER_BYTES)) // rarely
///     .keep_checkpoints(2) // should one be damaged
///     .checkpoint_bytes_per_second(Some(64 << 20))
///     .checkpoint_on_close(true)
///     .retention("any(age:7d)".parse()?)
///     .archive(Some(&dir.path().join("archive")))
///     .open(dir.path().join("data"))?;
/// db.put("a", "1")?;
/// db.close()?;
///
/// let db = Db::open(dir.path().join("data"))?; // what stays with the store need not be said again
/// assert_eq!((db.len(), db.recovery_report().records), (1, 0)); // all is in the checkpoint
/// db.close()?;
/// let survey = care::survey(dir.path().join("data"))?;
/// assert_eq!((survey.keep_checkpoints, survey.retention.as_str()), (2, "any(age:7d)"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl Options {
    /// A checkpoint is taken in the background after so many bytes of log, or after as many as the last checkpoint
    /// had if that is more: so the log stays in proportion to the data, and opening need not replay more than that.
    /// `None`: only by [`Db::checkpoint`](crate::Db::checkpoint). Stays with the store.
    /// Default: what the store has, 64 MiB for a new one.
    #[must_use]
    pub fn checkpoint_after_bytes(mut self, bytes: Option<u64>) -> Options {
        self.checkpoints.after_bytes = Some(bytes);
        self
    }

    /// How many checkpoints are kept, at least 1, with the log behind each. More than one takes room, and lets the
    /// store open although the newest is damaged. Stays with the store. Default: what the store has, 1 for a new one.
    #[must_use]
    pub fn keep_checkpoints(mut self, count: u32) -> Options {
        self.checkpoints.keep = Some(count);
        self
    }

    /// How much of the log is kept that recovery needs no more. Stays with the store.
    /// Default: what the store has, `any()` for a new one: nothing.
    #[must_use]
    pub fn retention(mut self, policy: Retention) -> Options {
        self.checkpoints.retention = Some(policy);
        self
    }

    /// The most that checkpoints, and copies to the archive, write to the disk a second, in bytes, so that those who write
    /// and read beside them are not held up. `None`: 32 MiB, and 8 MiB for copies; faster when the log would grow too long
    /// meanwhile, and as fast as it goes when the log is idle and somebody waits, in
    /// [`Db::checkpoint`](crate::Db::checkpoint) or for a store to close. A limit that is set is kept in any case.
    /// Default: `None`.
    #[must_use]
    pub fn checkpoint_bytes_per_second(mut self, bytes: Option<u64>) -> Options {
        self.checkpoints.bytes_per_second = bytes;
        self
    }

    /// Whether closing takes a checkpoint, if there is anything new: then the next opening replays nothing.
    /// Default: `false`.
    #[must_use]
    pub fn checkpoint_on_close(mut self, yes: bool) -> Options {
        self.checkpoints.on_close = yes;
        self
    }

    /// The directory that finished segments and checkpoints are copied to before they go, on the same
    /// [`Storage`](crate::storage::Storage) as the store; `None`: nowhere. Stays with the store. An archive that is gone is
    /// not begun anew, and nothing goes without it. Another directory is another archive, which begins where the log does
    /// now; `None` gives up the one that the store had, also one that was handed in.
    /// Default: what the store has, `None` for a new one.
    #[must_use]
    pub fn archive(mut self, dir: Option<&Path>) -> Options {
        self.checkpoints.archive = Some(dir.map(Path::to_path_buf));
        self
    }

    /// An archive of another kind, in place of [`Options::archive`]: for this opening, because a program cannot be kept
    /// in a manifest. Once something has gone that it has, nothing goes in an opening without it. To begin another one of
    /// this kind, give up the old one in the same opening: `archive(None)`. Default: none.
    #[must_use]
    pub fn archive_target(mut self, target: Option<Arc<dyn ArchiveTarget>>) -> Options {
        self.checkpoints.archive_target = target;
        self
    }

    /// Whether an archive of this opening is another than the store had, so that it begins where the log does now; or
    /// none any more.
    pub(crate) fn begins_another_archive(&self, known: &Manifest) -> bool {
        let chosen = &self.checkpoints;
        // Beside an archive that is handed in, `None` is about a directory only.
        let nothing_to_give_up = chosen.archive_target.is_some() && known.options.archive.is_none();
        let given_up = chosen.archive == Some(None) && !nothing_to_give_up;
        // As paths: a slash more at the end is no other directory.
        let place = |options: &PersistedOptions| options.archive.as_deref().map(PathBuf::from);
        let moved =
            self.persisted(&known.options).is_ok_and(|wanted| place(&wanted) != place(&known.options));
        known.archived > Lsn::ZERO && (given_up || moved)
    }

    /// The options that stay with the store: what is set here, and for the rest what the store has.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a value that cannot work.
    pub(crate) fn persisted(&self, kept: &PersistedOptions) -> Result<PersistedOptions> {
        let refuse = |option, reason: &str| Err(Error::InvalidOption { option, reason: reason.to_owned() });
        let chosen = &self.checkpoints;
        if chosen.keep == Some(0) {
            return refuse("keep_checkpoints", "a store that can be opened has one; keep at least 1");
        }
        if chosen.bytes_per_second == Some(0) {
            return refuse("checkpoint_bytes_per_second", "a checkpoint would never end; choose more than 0");
        }
        let archive = match &chosen.archive {
            None => kept.archive.clone(),
            Some(None) => None,
            // Absolute: it must mean the same wherever the store is opened from.
            Some(Some(dir)) => match self.storage.absolute(dir).ok().as_deref().and_then(Path::to_str) {
                Some(dir) if !dir.is_empty() => Some(dir.to_owned()),
                _ => {
                    return refuse(
                        "archive",
                        "the path must be UTF-8, and lead somewhere: it is kept in the manifest",
                    );
                }
            },
        };
        Ok(PersistedOptions {
            segment_bytes: self.segment_bytes.unwrap_or(kept.segment_bytes),
            checksum: self.checksum.unwrap_or(kept.checksum),
            checkpoint_after_bytes: chosen.after_bytes.unwrap_or(kept.checkpoint_after_bytes),
            keep_checkpoints: chosen.keep.unwrap_or(kept.keep_checkpoints),
            retention: chosen.retention.clone().unwrap_or_else(|| kept.retention.clone()),
            archive,
        })
    }
}

/// What a new store has unless chosen otherwise.
pub(crate) fn default_persisted() -> PersistedOptions {
    PersistedOptions {
        segment_bytes: super::DEFAULT_SEGMENT_BYTES,
        checksum: crate::format::Checksum::default(),
        checkpoint_after_bytes: Some(DEFAULT_CHECKPOINT_AFTER_BYTES),
        keep_checkpoints: 1,
        retention: Retention::default(),
        archive: None,
    }
}
