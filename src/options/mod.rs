//! What a caller chooses: for a store ([`Options`], whose `open` is in `db`), for a log alone ([`WalOptions`]), for
//! one write ([`Durability`]).
//!
//! An option that is not set follows the store (its manifest), and for a new store the default.

mod checkpoints;
mod durability;

use std::num::NonZero;
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

pub use self::checkpoints::DEFAULT_CHECKPOINT_AFTER_BYTES;
pub(crate) use self::checkpoints::{CheckpointOptions, default_persisted};
pub(crate) use self::durability::shortest_interval;
pub use self::durability::{Durability, WriteOptions};
use crate::error::{Error, Result};
use crate::event::{Events, Listener};
use crate::format::Checksum;
use crate::format::segment::MIN_SEGMENT_BYTES;
use crate::storage::{RealDisk, Storage};

/// The length of a segment unless chosen otherwise: 64 MiB.
pub const DEFAULT_SEGMENT_BYTES: u64 = 64 << 20;

/// The longest segment: 64 GiB.
pub const MAX_SEGMENT_BYTES: u64 = 64 << 30;

/// What opening does with a torn tail, the unfinished end that a crash may leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecoveryMode {
    /// Cut it off, say so in the report, and go on. Nothing that was durable is lost by that.
    #[default]
    TolerateTornTail,
    /// Refuse, as for corruption.
    Strict,
}

/// How a log alone is opened: see [`Wal`](crate::wal::Wal).
///
/// ```
/// use forelog::wal::Wal;
/// use forelog::{Checksum, Durability, WalOptions};
///
/// let dir = tempfile::tempdir()?;
/// let wal = WalOptions::new()
///     .segment_bytes(1 << 20)
///     .checksum(Checksum::Xxh3)
///     .durability(Durability::Buffered)
///     .open(dir.path().join("log"))?;
/// wal.append(b"hello")?;
/// # wal.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct WalOptions {
    pub(crate) segment_bytes: u64,
    pub(crate) checksum: Checksum,
    pub(crate) durability: Durability,
    pub(crate) recovery: RecoveryMode,
    pub(crate) idle_mark: Option<Duration>,
    pub(crate) spare: bool,
    pub(crate) queue_bytes: usize,
    pub(crate) recovery_threads: usize,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) events: Events,
}

impl Default for WalOptions {
    fn default() -> WalOptions {
        WalOptions {
            segment_bytes: DEFAULT_SEGMENT_BYTES,
            checksum: Checksum::default(),
            durability: Durability::default(),
            recovery: RecoveryMode::default(),
            idle_mark: DEFAULT_IDLE_MARK,
            spare: true,
            queue_bytes: DEFAULT_QUEUE_BYTES,
            recovery_threads: default_recovery_threads(),
            storage: Arc::new(RealDisk),
            events: Events::default(),
        }
    }
}

/// How long a log must be idle before it writes a sync mark.
const DEFAULT_IDLE_MARK: Option<Duration> = Some(Duration::from_millis(100));

/// How many bytes may wait in the commit queue.
const DEFAULT_QUEUE_BYTES: usize = 64 << 20;

/// More threads than these are not started unless asked for: they take memory, and a disk that feeds them is rare.
const MOST_RECOVERY_THREADS: usize = 8;

pub(crate) fn default_recovery_threads() -> usize {
    processors().min(MOST_RECOVERY_THREADS)
}

/// How many threads work at the same time. Looked up once: Linux reads several files for it, which was a ninth of the time
/// that it takes to open a small store.
pub(crate) fn processors() -> usize {
    static PROCESSORS: LazyLock<usize> =
        LazyLock::new(|| thread::available_parallelism().map_or(1, NonZero::get));
    *PROCESSORS
}

/// The setters that [`Options`] and [`WalOptions`] share, with one text for both.
macro_rules! shared_setters {
    () => {
        /// When a write is acknowledged, unless the write says otherwise. Default: [`Durability::Sync`].
        #[must_use]
        pub fn durability(mut self, durability: Durability) -> Self {
            self.durability = durability;
            self
        }

        /// What opening does with a torn tail. Default: [`RecoveryMode::TolerateTornTail`].
        #[must_use]
        pub fn recovery(mut self, mode: RecoveryMode) -> Self {
            self.recovery = mode;
            self
        }

        /// How long the log must be idle before a sync mark is written, which proves that everything before it was
        /// durable: damage to it is from then on called corruption. `None`: never, and no background thread for it.
        /// Default: 100 ms.
        #[must_use]
        pub fn idle_mark(mut self, after: Option<Duration>) -> Self {
            self.idle_mark = after;
            self
        }

        /// Whether the file of the next segment is made ahead, by a background thread, when the current one is half
        /// full. Otherwise the write that finds its segment full makes it. The file is sparse: it takes no room on the
        /// disk before it is written. Default: `true`.
        #[must_use]
        pub fn spare_ahead(mut self, yes: bool) -> Self {
            self.spare = yes;
            self
        }

        /// How many bytes of payload may stand in line behind a write that is being logged, and so how large a group
        /// gets: a write that finds more waits outside. One write beside the leader's is always let in, however long.
        /// Less bounds the memory of many threads with large batches; more gains nothing. Default: 64 MiB.
        #[must_use]
        pub fn queue_bytes(mut self, bytes: usize) -> Self {
            self.queue_bytes = bytes;
            self
        }

        /// How many threads read, check and apply the log while it is opened; the one that opens is among them, so with 1
        /// it does everything itself. What is recovered does not depend on it, nor does which error is told.
        /// Default: as many as there are processors, at most 8. 0 is refused.
        #[must_use]
        pub fn recovery_threads(mut self, threads: usize) -> Self {
            self.recovery_threads = threads;
            self
        }

        /// The disk, clock and randomness. Default: [`RealDisk`].
        #[must_use]
        pub fn storage(mut self, storage: Arc<dyn Storage>) -> Self {
            self.storage = storage;
            self
        }

        /// Who hears of events. Default: nobody.
        #[must_use]
        pub fn listener(mut self, listener: Arc<dyn Listener>) -> Self {
            self.events = Events::to(listener);
            self
        }
    };
}

impl WalOptions {
    /// The defaults.
    pub fn new() -> WalOptions {
        WalOptions::default()
    }

    /// The length of new segments, in bytes: 8 KiB to 64 GiB. Default: 64 MiB. It bounds the longest record.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> WalOptions {
        self.segment_bytes = bytes;
        self
    }

    /// Guards the payloads of new segments. Default: [`Checksum::Crc32`].
    #[must_use]
    pub fn checksum(mut self, algorithm: Checksum) -> WalOptions {
        self.checksum = algorithm;
        self
    }

    shared_setters!();

    /// # Errors
    /// [`Error::InvalidOption`] for a value that cannot work.
    pub(crate) fn check(&self) -> Result<()> {
        check_segment_bytes(self.segment_bytes)?;
        check_recovery_threads(self.recovery_threads)?;
        check_durability(self.durability)
    }
}

pub(crate) fn check_durability(durability: Durability) -> Result<()> {
    if durability == Durability::Interval(Duration::ZERO) {
        let reason = "an interval of 0 is Durability::Sync; choose that".to_owned();
        return Err(Error::InvalidOption { option: "durability", reason });
    }
    Ok(())
}

fn check_recovery_threads(threads: usize) -> Result<()> {
    if threads > 0 {
        return Ok(());
    }
    let reason = "somebody has to read the log; choose 1 or more".to_owned();
    Err(Error::InvalidOption { option: "recovery_threads", reason })
}

fn check_segment_bytes(bytes: u64) -> Result<()> {
    if (MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES).contains(&bytes) {
        return Ok(());
    }
    Err(Error::InvalidOption {
        option: "segment_bytes",
        reason: format!("{bytes} is not within {MIN_SEGMENT_BYTES} to {MAX_SEGMENT_BYTES}"),
    })
}

/// How a store is opened.
///
/// ```
/// use forelog::{Durability, Options};
///
/// let dir = tempfile::tempdir()?;
/// let db = Options::new()
///     .segment_bytes(1 << 20)
///     .durability(Durability::Buffered)
///     .open(dir.path().join("data"))?;
/// db.put("a", "1")?;
/// # db.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) segment_bytes: Option<u64>,
    pub(crate) checksum: Option<Checksum>,
    pub(crate) durability: Durability,
    pub(crate) recovery: RecoveryMode,
    pub(crate) idle_mark: Option<Duration>,
    pub(crate) spare: bool,
    pub(crate) queue_bytes: usize,
    pub(crate) recovery_threads: usize,
    pub(crate) create: CreateMode,
    pub(crate) read_only: bool,
    pub(crate) beside_writer: bool,
    pub(crate) checkpoints: CheckpointOptions,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) events: Events,
}

/// What opening does where there is no store, and where there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CreateMode {
    /// Create a store where there is none.
    #[default]
    IfMissing,
    /// Refuse with [`Error::NoStore`] where there is none.
    Never,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: None,
            checksum: None,
            durability: Durability::default(),
            recovery: RecoveryMode::default(),
            idle_mark: DEFAULT_IDLE_MARK,
            spare: true,
            queue_bytes: DEFAULT_QUEUE_BYTES,
            recovery_threads: default_recovery_threads(),
            create: CreateMode::default(),
            read_only: false,
            beside_writer: false,
            checkpoints: CheckpointOptions::default(),
            storage: Arc::new(RealDisk),
            events: Events::default(),
        }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Options {
        Options::default()
    }

    /// The length of new segments, in bytes: 8 KiB to 64 GiB. It bounds the largest batch, and stays with the store.
    /// Default: what the store has, 64 MiB for a new one.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Options {
        self.segment_bytes = Some(bytes);
        self
    }

    /// Guards the payloads of new segments, and stays with the store.
    /// Default: what the store has, [`Checksum::Crc32`] for a new one.
    #[must_use]
    pub fn checksum(mut self, algorithm: Checksum) -> Options {
        self.checksum = Some(algorithm);
        self
    }

    /// What happens where there is no store. Default: [`CreateMode::IfMissing`].
    #[must_use]
    pub fn create(mut self, mode: CreateMode) -> Options {
        self.create = mode;
        self
    }

    /// Opens for reading only: nothing on disk is changed, a torn tail is only left out, and there must be a store. What a
    /// killed writer has left is shown as the next opening would keep it; until then a power cut may take what that writer
    /// had not made durable ([`Db::durable_lsn`](crate::Db::durable_lsn) says what is proven to be).
    /// Many read-only handles may be open at once, but none beside one that writes (but see
    /// [`beside_writer`](Options::beside_writer)). Default: `false`.
    #[must_use]
    pub fn read_only(mut self, yes: bool) -> Options {
        self.read_only = yes;
        self
    }

    /// Opens for reading only, as [`read_only`](Options::read_only) does, but beside a writer as well, who does not notice.
    /// What is there is what is proven to be durable, whether a writer lives or not: it stays so, and may be less than the
    /// next opening would keep. (After a power cut it may be less than was seen before it, until an opening has proven it
    /// again: what was durable is still there, but what proved it may not be.) For looking at a store that is in use; whoever
    /// wants to follow it opens it again. Default: `false`.
    ///
    /// ```
    /// use forelog::{Db, Options};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path().join("data"))?;
    /// db.put("a", "1")?;
    /// db.mark()?; // beside a writer only what a later record proves counts as durable
    /// let seen = Options::new().beside_writer(true).open(dir.path().join("data"))?;
    /// assert!(seen.contains("a")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn beside_writer(mut self, yes: bool) -> Options {
        self.beside_writer = yes;
        self
    }

    shared_setters!();

    /// # Errors
    /// [`Error::InvalidOption`] for a value that cannot work.
    pub(crate) fn check(&self) -> Result<()> {
        self.segment_bytes.map_or(Ok(()), check_segment_bytes)?;
        check_recovery_threads(self.recovery_threads)?;
        check_durability(self.durability)
    }
}

#[cfg(test)]
mod tests {
    //! Shows which segment lengths are taken.
    use super::*;

    #[test]
    fn segment_lengths() {
        for (bytes, ok) in [(0, false), (8191, false), (8192, true), (64 << 30, true), (u64::MAX, false)] {
            assert_eq!(check_segment_bytes(bytes).is_ok(), ok, "{bytes}");
        }
    }
}
