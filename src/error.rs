//! What can go wrong, in one enum for the whole crate.
//!
//! A message says what happened, where (file, offset, LSN) and what to do next. A conflict or a failed comparison
//! is a result, not an error. This module knows [`Lsn`] and nothing else, so that every layer can use it without a
//! circle.
//!
//! `docs/COOKBOOK.md` looks into a refusal: "A store that is refused".
//!
//! Where to read next: `format`, whose decoders name most kinds of corruption.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Lsn;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. Cheap to clone: one failed sync answers many waiters.
///
/// ```
/// use forelog::{Db, Error, Options};
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("data");
/// let db = Db::open(&path)?;
/// match Db::open(&path) {
///     Err(Error::Locked { .. }) => {} // one store, one handle that writes
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused an operation.
    #[error("cannot {op} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb: "open", "write", "sync".
        op: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the operating system answered.
        source: Arc<io::Error>,
    },

    /// Bytes that were once durable are now wrong.
    #[error(
        "{0}; nothing was changed; `forelog verify` looks at every file, and `forelog repair` says what can be saved"
    )]
    Corruption(Box<Corruption>),

    /// A log file that must exist does not.
    #[error(
        "the log in {} has no segment that holds LSN {lsn}, although {evidence}; put the file back, or restore a backup; `forelog repair` says what can be saved without it",
        dir.display()
    )]
    MissingSegment {
        /// The store's directory.
        dir: PathBuf,
        /// The first LSN that is missing.
        lsn: Lsn,
        /// What proves that the segment existed.
        evidence: Evidence,
    },

    /// An earlier write or sync failed, so the store takes no more writes. Reads go on.
    ///
    /// A write that was under way when this happened may or may not survive; opening the store again tells.
    #[error(
        "the store takes no more writes since this failed: {cause}; close it, mend the cause, and open it again"
    )]
    Poisoned {
        /// The first failure.
        cause: Arc<Error>,
    },

    /// Another process, or another handle of this one, has the store open.
    #[error("{} is held: the store is open in another process or handle; wait for it, or close it", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },

    /// A key, a value or a batch is beyond its limit. Nothing was written.
    #[error("the {what} has {size} bytes and the limit is {limit}; nothing was written")]
    TooLarge {
        /// What is too large: "key" or "batch".
        what: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },

    /// The file was written by a release whose format this one does not know.
    #[error(
        "{} has format version {found} and this release reads {supported}; use the release that wrote it",
        file.display()
    )]
    UnsupportedFormat {
        /// The file.
        file: PathBuf,
        /// The version that it states.
        found: u32,
        /// The version that this release reads.
        supported: u32,
    },

    /// What was asked for is older than what the log still holds.
    #[error("the log begins at LSN {oldest}; what came before was removed")]
    Compacted {
        /// The oldest LSN that can still be read.
        oldest: Lsn,
    },

    /// A write to a store or log that was opened for reading only.
    #[error("{} was opened for reading only", dir.display())]
    ReadOnly {
        /// The store's directory.
        dir: PathBuf,
    },

    /// The store or the log was closed.
    #[error("the store or log was closed; open it again")]
    Closed,

    /// A backup or a restore would overwrite what is there.
    #[error("there is something in {} already; choose a directory that is missing or empty", path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },

    /// There is no store in this directory, and creating one was not asked for.
    #[error("there is no store in {}", dir.display())]
    NoStore {
        /// The directory.
        dir: PathBuf,
    },

    /// The directory holds files, but not such as a store is made of.
    #[error("{} is not a store: {reason}", dir.display())]
    NotAStore {
        /// The directory.
        dir: PathBuf,
        /// What was found there.
        reason: String,
    },

    /// An option has a value that cannot work.
    #[error("option {option}: {reason}")]
    InvalidOption {
        /// The option's name.
        option: &'static str,
        /// What is wrong with the value, and what would do.
        reason: String,
    },

    /// A value or a key of a [typed table](crate::typed) cannot be read or written as the table's type.
    #[error("keyspace {keyspace} is used as a table of {wanted}: {reason}")]
    Mistyped {
        /// The keyspace's name.
        keyspace: String,
        /// The type of the key or of the value.
        wanted: &'static str,
        /// What is wrong, and where.
        reason: String,
    },

    /// A batch or a call names a keyspace that the store does not have (any more).
    #[error("there is no keyspace {name}; create it with Db::keyspace")]
    UnknownKeyspace {
        /// Its name, or its number where no name is known.
        name: String,
    },
}

impl Error {
    /// An I/O error with its place.
    pub(crate) fn io(op: &'static str, path: &Path, source: io::Error) -> Error {
        Error::Io { op, path: path.to_path_buf(), source: Arc::new(source) }
    }

    /// The same, but told of another file where `real` knows one: of that which was really read.
    pub(crate) fn told_of(mut self, real: impl Fn(&Path) -> Option<PathBuf>) -> Error {
        let place = match &mut self {
            Error::Io { path, .. } => Some(path),
            Error::Corruption(corruption) => Some(&mut corruption.file),
            Error::UnsupportedFormat { file, .. } => Some(file),
            _ => None,
        };
        if let Some(place) = place
            && let Some(real) = real(place)
        {
            *place = real;
        }
        self
    }

    /// Bytes that are wrong, with their place and what proves that they were once right.
    pub(crate) fn corruption(
        file: &Path,
        offset: u64,
        lsn: Option<Lsn>,
        kind: CorruptionKind,
        evidence: Option<Evidence>,
    ) -> Error {
        Error::Corruption(Box::new(Corruption { file: file.to_path_buf(), offset, lsn, kind, evidence }))
    }
}

/// Which bytes are wrong, how, and what proves that they were once right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// The file.
    pub file: PathBuf,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// The LSN that should stand there, where it is known.
    pub lsn: Option<Lsn>,
    /// What is wrong.
    pub kind: CorruptionKind,
    /// What proves that the bytes were durable, where a proof is needed to tell damage from a torn tail.
    pub evidence: Option<Evidence>,
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is corrupt at byte {}", self.file.display(), self.offset)?;
        if let Some(lsn) = self.lsn {
            write!(f, " (LSN {lsn})")?;
        }
        write!(f, ": {}", self.kind)?;
        if let Some(evidence) = &self.evidence {
            write!(f, ", and {evidence}")?;
        }
        Ok(())
    }
}

/// How bytes are wrong.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CorruptionKind {
    /// A segment's header block: magic, checksum or a field that contradicts the file.
    SegmentHeader,
    /// The file is shorter than its header says.
    ShortFile,
    /// No valid record header where a record must begin.
    RecordHeader,
    /// The record's payload does not match its checksum.
    Payload,
    /// A valid record, but not the one that belongs here.
    UnexpectedLsn,
    /// The records of a segment are not those that its successor states.
    Digest,
    /// The file belongs to another store.
    ForeignStore,
    /// The segment does not follow the one before it.
    BrokenChain,
    /// A batch body that passes its checksum and still cannot be decoded.
    BatchBody,
    /// The manifest.
    Manifest,
    /// The manifest is gone, and checkpoints show that there was one.
    ManifestMissing,
    /// A part of a checkpoint: damaged, or not the one that the manifest states.
    Checkpoint,
    /// A part of a checkpoint that the manifest states is gone.
    CheckpointMissing,
    /// The log ends before an LSN that is proven durable.
    LogTooShort,
}

impl CorruptionKind {
    /// All there are.
    pub const ALL: [CorruptionKind; 14] = [
        CorruptionKind::SegmentHeader,
        CorruptionKind::ShortFile,
        CorruptionKind::RecordHeader,
        CorruptionKind::Payload,
        CorruptionKind::UnexpectedLsn,
        CorruptionKind::Digest,
        CorruptionKind::ForeignStore,
        CorruptionKind::BrokenChain,
        CorruptionKind::BatchBody,
        CorruptionKind::Manifest,
        CorruptionKind::ManifestMissing,
        CorruptionKind::Checkpoint,
        CorruptionKind::CheckpointMissing,
        CorruptionKind::LogTooShort,
    ];

    /// A name for machines: `snake_case`, stable.
    pub const fn name(self) -> &'static str {
        match self {
            CorruptionKind::SegmentHeader => "segment_header",
            CorruptionKind::ShortFile => "short_file",
            CorruptionKind::RecordHeader => "record_header",
            CorruptionKind::Payload => "payload",
            CorruptionKind::UnexpectedLsn => "unexpected_lsn",
            CorruptionKind::Digest => "digest",
            CorruptionKind::ForeignStore => "foreign_store",
            CorruptionKind::BrokenChain => "broken_chain",
            CorruptionKind::BatchBody => "batch_body",
            CorruptionKind::Manifest => "manifest",
            CorruptionKind::ManifestMissing => "manifest_missing",
            CorruptionKind::Checkpoint => "checkpoint",
            CorruptionKind::CheckpointMissing => "checkpoint_missing",
            CorruptionKind::LogTooShort => "log_too_short",
        }
    }
}

impl fmt::Display for CorruptionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CorruptionKind::SegmentHeader => "the segment's header is damaged",
            CorruptionKind::ShortFile => "the file is shorter than its header says",
            CorruptionKind::RecordHeader => "no valid record header",
            CorruptionKind::Payload => "checksum mismatch",
            CorruptionKind::UnexpectedLsn => "another record stands here",
            CorruptionKind::Digest => "the records are not those that the next segment states",
            CorruptionKind::ForeignStore => "the file belongs to another store",
            CorruptionKind::BrokenChain => "the segment does not follow the one before it",
            CorruptionKind::BatchBody => "the batch cannot be decoded",
            CorruptionKind::Manifest => "the manifest is damaged",
            CorruptionKind::ManifestMissing => "the manifest is gone",
            CorruptionKind::Checkpoint => "the part of the checkpoint is not what was written",
            CorruptionKind::CheckpointMissing => "the part of the checkpoint is gone",
            CorruptionKind::LogTooShort => "the log ends too early",
        })
    }
}

/// A valid record, header or file that proves that an LSN was durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Every record up to this one was durable.
    pub lsn: Lsn,
    /// What says so.
    pub source: EvidenceSource,
}

/// Where evidence was found.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvidenceSource {
    /// The record with this LSN, which was written when the evidence was already known.
    Record {
        /// The record's LSN.
        lsn: Lsn,
        /// Where it stands in its file, in bytes.
        offset: u64,
    },
    /// The header of the segment itself.
    SegmentHeader,
    /// The segment that follows.
    Successor,
    /// The seal at the end of a segment.
    Seal,
    /// The manifest.
    Manifest,
    /// The name of an archived segment, which states its last LSN.
    FileName,
    /// The manifest, which names the segment that begins with this LSN as the first.
    FirstSegment,
    /// A checkpoint.
    Checkpoint,
    /// The running log itself, which has not yet put it on disk anywhere else.
    Memory,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            EvidenceSource::Record { lsn, offset } => write!(f, "LSN {lsn} at byte {offset} proves")?,
            EvidenceSource::SegmentHeader => f.write_str("the segment's header proves")?,
            EvidenceSource::Successor => f.write_str("the next segment proves")?,
            EvidenceSource::Seal => f.write_str("the segment's seal proves")?,
            EvidenceSource::Manifest => f.write_str("the manifest proves")?,
            EvidenceSource::FirstSegment => {
                return write!(f, "the manifest says that the log begins with LSN {}", self.lsn);
            }
            EvidenceSource::FileName => f.write_str("the archived file's name proves")?,
            EvidenceSource::Checkpoint => f.write_str("a checkpoint proves")?,
            EvidenceSource::Memory => f.write_str("the running log knows")?,
        }
        write!(f, " that LSN {} was durable", self.lsn)
    }
}
