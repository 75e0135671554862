//! The simulated disk: tells what is durable from what is merely written, and can be cut off at any moment.
//!
//! ```text
//!  write, set_len,              sync of one file, or of one directory
//!  create, rename, ...                       |
//!        |                                   v
//!        v            pending changes                    durable image
//!  cached image  =  [sector][length][name][sector]...  +  (bytes, names)
//!        |                   |                               |
//!        v                   '--- any subset survives ---.---'
//!  what reads see                                        v
//!                                           what is there when power is back
//! ```
//!
//! The rules, which are as harsh as file systems are allowed to be, and no harsher:
//!
//! - A file's sync saves its bytes and its length, **never its name**; a directory's sync saves the names in it. A new
//!   directory is itself a name in its parent.
//! - Unsynced changes survive a power cut independently of each other: each 512-byte sector holds one of the contents
//!   that it had since its last sync, the length is one of the lengths, and each create, rename or remove happened
//!   or did not.
//! - A sector that was being written may be torn at any byte. Behind the tear, and only at bytes that the write was
//!   *changing*, there may be old bytes, zeros or garbage. That the others are left alone ("powersafe overwrite") is
//!   an assumption: without it no log could put two records into one sector.
//! - A process crash ([`SimDisk::kill`]) loses nothing that was written, and saves nothing either.
//!
//! It does *not* model a disk that lies about a successful sync, or rots; for the latter [`SimDisk::write_file`] puts
//! damaged bytes in place.
//!
//! Where to read next: `image` (the model, in one place), `outcome` (what a power cut may do), `crash`, `fault`;
//! `state` ties them together, `calls` and `file` put the traits in front.

mod calls;
mod crash;
mod fault;
mod file;
mod image;
mod operation;
mod outcome;
mod random;
mod state;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::content::Content;
use super::tree::normal;
pub use crash::CrashPoint;
pub use fault::{Fault, FaultKind, OperationFilter};
use image::Image;
pub use operation::OperationKind;
pub use outcome::{Outcome, OutcomeLimits, Rest};
use state::{Ambient, State};

/// A disk in memory that knows what would survive a power cut, and that fails on command.
///
/// A clone is the same disk. All that it does follows from the seed and the calls: its clock starts at 2024-01-01 and
/// ticks by 1 µs with each look at it, and its randomness is a fixed sequence. Paths are relative to its root, which
/// is there from the start; `/`, `.` and the empty path all mean the root.
///
/// # Example
///
/// A file that is synced, but whose name is not:
///
/// ```
/// use forelog::storage::{Outcome, OutcomeLimits, SimDisk, Storage, write_all_at};
/// use std::path::Path;
///
/// let disk = SimDisk::new(42);
/// disk.create(Path::new("old"))?;
/// disk.sync_dir(Path::new(""))?;
///
/// let new = disk.create(Path::new("new"))?;
/// write_all_at(&*new, b"precious", 0)?;
/// new.sync_all()?;
/// assert_eq!(disk.power_cut(&Outcome::None).list(Path::new(""))?, ["old"]);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Every state that a power cut may leave, at every operation:
///
/// ```
/// # use forelog::storage::{Outcome, OutcomeLimits, SimDisk, Storage, write_all_at};
/// # use std::path::Path;
/// let disk = SimDisk::new(42);
/// disk.record();
/// let log = disk.create(Path::new("log"))?;
/// disk.sync_dir(Path::new(""))?;
/// write_all_at(&*log, b"hello", 0)?;
/// log.sync_data()?;
/// for point in disk.take_crash_points() {
///     for outcome in point.outcomes(&OutcomeLimits::default(), 42) {
///         let found = point.apply(&outcome);
///         let log = found.read_file("log").unwrap_or_default();
///         assert!(log.len() <= 5, "after {outcome:?} at {point}");
///     }
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    /// Whose handle this is; see [`SimDisk::kill`].
    process: u64,
}

/// What happens to the disk, and what is known about it.
impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::from_state(State::new(Image::default(), Ambient::new(seed)))
    }

    fn from_state(state: State) -> Self {
        Self { process: state.process, state: Arc::new(Mutex::new(state)) }
    }

    /// An independent copy: same names, bytes, unsynced changes, clock, randomness, quota and note; no locks, open
    /// files, faults or recorded crash points.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::from_state(self.state.lock().fork())
    }

    /// Kills the process that uses the disk, and returns the handle of the next one. What was written stays in the
    /// cache, unsynced changes stay unsynced, locks are free. All calls through the old handles, its files' included,
    /// fail from now on. Faults and recording go on.
    ///
    /// ```
    /// use std::path::Path;
    /// use forelog::storage::{Outcome, SimDisk, Storage, write_all_at};
    ///
    /// let disk = SimDisk::new(42);
    /// let empty = disk.fingerprint();
    /// let file = disk.create(Path::new("log"))?;
    /// write_all_at(&*file, b"hello", 0)?;
    /// assert_eq!((disk.operations(), disk.unsynced_changes()), (2, 3)); // the name, the length, a sector
    /// let apart = disk.fork();
    ///
    /// let disk = disk.kill();
    /// assert!(file.sync_all().is_err());
    /// assert_eq!(disk.read_file("log").as_deref(), Some(&b"hello"[..]));
    /// // And if the power went as well?
    /// let point = disk.crash_point_now();
    /// assert_eq!(point.apply(&Outcome::None).fingerprint(), empty);
    ///
    /// assert!(apart.remove_file("log"));
    /// assert_eq!((apart.files().len(), disk.files().len()), (0, 1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn kill(&self) -> Self {
        let process = self.state.lock().next_process();
        Self { state: Arc::clone(&self.state), process }
    }

    /// Cuts the power between two operations, and returns the disk as it is when power is back. All calls through
    /// old handles fail from now on.
    #[must_use]
    pub fn power_cut(&self, outcome: &Outcome) -> Self {
        let mut state = self.state.lock();
        state.next_process();
        state.crash_point().apply(outcome)
    }

    /// The power cut that may happen now, between two operations. Changes nothing.
    #[must_use]
    pub fn crash_point_now(&self) -> CrashPoint {
        self.state.lock().crash_point()
    }

    /// Starts keeping a crash point before each operation that changes the disk or syncs.
    pub fn record(&self) {
        self.state.lock().recorded.get_or_insert_default();
    }

    /// Stops recording, and returns what was recorded.
    #[must_use]
    pub fn take_crash_points(&self) -> Vec<CrashPoint> {
        self.state.lock().recorded.take().unwrap_or_default()
    }

    /// Stores a number in each later crash point, such as the last acknowledged LSN.
    pub fn set_note(&self, note: u64) {
        self.state.lock().ambient.note = note;
    }

    /// Arms a fault, beside those that are armed already. The first of them to be due wins.
    pub fn fail(&self, fault: Fault) {
        self.state.lock().faults.arm(fault);
    }

    /// Disarms all faults.
    pub fn clear_faults(&self) {
        self.state.lock().faults.disarm();
    }

    /// How many calls have been hit by a fault.
    #[must_use]
    pub fn faults_hit(&self) -> u64 {
        self.state.lock().faults.hits
    }

    /// How many calls the disk has had since it was made: everything but `len`, the clock and randomness.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// Bounds the sum of all file lengths; 4 GiB from the start. Beyond it, `ENOSPC`.
    ///
    /// ```
    /// use std::{io::ErrorKind, path::Path};
    /// use forelog::storage::{SimDisk, Storage};
    ///
    /// let disk = SimDisk::new(42);
    /// disk.set_quota(4096);
    /// let file = disk.create(Path::new("log"))?;
    /// assert_eq!(file.allocate(8192).unwrap_err().kind(), ErrorKind::StorageFull);
    /// assert!(file.allocate(4096).is_ok());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_quota(&self, bytes: u64) {
        self.state.lock().ambient.quota = bytes;
    }

    /// Sets the clock, also backwards.
    pub fn set_clock_us(&self, us: u64) {
        self.state.lock().ambient.clock_us = us;
    }

    /// How many changes a power cut may lose now.
    #[must_use]
    pub fn unsynced_changes(&self) -> usize {
        self.state.lock().pending.len()
    }

    /// A hash of all that is durable: names, lengths and bytes. Equal disks have equal fingerprints.
    #[must_use]
    pub fn fingerprint(&self) -> u128 {
        self.state.lock().durable.fingerprint()
    }
}

/// Past the rules: looking at files and damaging them. None of this is counted, recorded or hit by faults.
impl SimDisk {
    /// All files, sorted by path.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.state.lock().files()
    }

    /// The bytes of a file as reads would see them.
    #[must_use]
    pub fn read_file(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let state = self.state.lock();
        let content = state.cached.content(*state.cached.names.file(&normal(path.as_ref())).ok()?);
        let mut bytes = vec![0; usize::try_from(content.len()).ok()?];
        content.read_at(&mut bytes, 0).ok()?;
        Some(bytes)
    }

    /// Puts a file in place, with its directories if need be, all durable at once. Nothing happens where a directory
    /// has that name, or a file that of one of its directories.
    pub fn write_file(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        let path = normal(path.as_ref());
        let mut content = Content::default();
        let mut state = self.state.lock();
        let free = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
        let usable = state.cached.names.file(&path).map_or_else(free, |_| true);
        if usable && content.write_at(bytes, 0).is_ok() {
            state.place(&path, Some(content));
        }
    }

    /// Takes a file's name away, durably and at once. True if there was one.
    pub fn remove_file(&self, path: impl AsRef<Path>) -> bool {
        let path = normal(path.as_ref());
        let mut state = self.state.lock();
        let there = state.cached.names.file(&path).is_ok();
        if there {
            state.place(&path, None);
        }
        there
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").field("process", &self.process).finish_non_exhaustive()
    }
}
