//! The world outside: files, directories, the clock and randomness, behind one trait.
//!
//! Everything that forelog takes from outside goes through [`Storage`], so that the same engine runs on
//!
//! - the **real disk** ([`RealDisk`]), the only place in the library that uses `std::fs`;
//! - an **in-memory disk** ([`MemoryDisk`]), for tests and throw-away stores that need no durability;
//! - a **simulated disk** ([`SimDisk`]), which keeps what is durable apart from what is merely written, injects
//!   errors, and yields any state that a power cut may legally leave behind.
//!
//! What a disk promises, and nothing more:
//!
//! | after | survives a process crash | survives a power cut |
//! | --- | --- | --- |
//! | `write_at`, `set_len`, `create`, `rename`, `remove` | yes | no |
//! | `sync_data` or `sync_all` of the file | yes | its bytes and its length, but **not its name** |
//! | `sync_dir` of its directory | yes | the names in it, as they were when the sync began |
//!
//! An interrupted write changes only bytes that it was changing: not those beside it ("powersafe overwrite", as SQLite calls
//! it: <https://sqlite.org/psow.html>), nor those that it writes as they are. This module knows no format: it moves bytes.
//!
//! Where to read next: `real`, which is short, then `sim`. The two disks in memory share `tree` (names), `content`
//! (bytes) and `locks`.

pub(crate) mod archive;
#[cfg(feature = "lz4")]
mod compressed;
mod content;
pub(crate) mod dir;
pub(crate) mod lenient;
mod locks;
mod memory;
mod real;
mod sim;
mod tree;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use archive::{ArchiveTarget, DirArchive};
#[cfg(feature = "lz4")]
pub use compressed::Compressed;
pub use memory::MemoryDisk;
pub use real::RealDisk;
pub use sim::{
    CrashPoint, Fault, FaultKind, OperationFilter, OperationKind, Outcome, OutcomeLimits, Rest, SimDisk,
};

/// A disk, a clock and a source of randomness.
///
/// Paths are taken as they are. All methods may be called from many threads. Errors are plain [`io::Error`]s:
/// the caller knows what it was doing and adds the place.
///
/// ```
/// use std::io::ErrorKind;
/// use std::path::Path;
///
/// use forelog::storage::{LockGuard, MemoryDisk, RealDisk, Storage};
///
/// let disk = MemoryDisk::new();
/// let writer: Box<dyn LockGuard> = disk.lock(Path::new("LOCK"), true)?;
/// let refused = disk.lock(Path::new("LOCK"), false).unwrap_err();
/// assert_eq!(refused.kind(), ErrorKind::WouldBlock);
/// drop(writer);
/// assert!(disk.lock(Path::new("LOCK"), false).is_ok());
///
/// assert!(RealDisk.absolute(Path::new("data"))?.is_absolute());
/// assert_eq!(disk.absolute(Path::new("data"))?, Path::new("data")); // there is nowhere else to begin
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Storage: fmt::Debug + Send + Sync + 'static {
    /// Creates a new, empty file for reading and writing; fails with `AlreadyExists` where there is one.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Opens an existing file.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>>;

    /// Renames a file, replacing what has the new name. Atomic; durable after `sync_dir` of both directories.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name. Durable after `sync_dir`.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Creates one directory; fails with `AlreadyExists` where there is anything, with `NotFound` without a parent.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, sorted. A name that is not UTF-8 is none of ours and is left out.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes a lock on a file, which exists or is created for it (only when `exclusive`), without waiting.
    /// `WouldBlock` where another handle holds it. The lock ends when the guard is dropped or the process dies.
    fn lock(&self, path: &Path, exclusive: bool) -> io::Result<Box<dyn LockGuard>>;

    /// The path from the root, so that it means the same whatever becomes of the process's current directory. A disk
    /// without a current directory leaves it as it is.
    fn absolute(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_path_buf())
    }

    /// Microseconds since 1970-01-01 UTC. May run backwards: the log copes.
    fn now_us(&self) -> u64;

    /// A number that no other store is likely to draw.
    fn random_u64(&self) -> u64;
}

/// An open file. Positions are explicit, so one handle serves many threads.
///
/// ```
/// use std::path::Path;
///
/// use forelog::storage::{Access, File, Outcome, SimDisk, Storage, read_full_at, write_all_at};
///
/// let disk = SimDisk::new(1);
/// let file = disk.create(Path::new("log"))?;
/// file.allocate(8192)?;
/// file.sync_all()?; // its length; its name is the directory's matter
/// disk.sync_dir(Path::new(""))?;
///
/// file.expect_writes(0, 8192);
/// write_all_at(&*file, b"hello", 0)?;
/// file.start_write_out(0, 5); // while other things are done
/// file.sync_data()?;
/// write_all_at(&*file, b"never synced", 512)?;
///
/// let disk = disk.power_cut(&Outcome::None);
/// let file: &dyn File = &*disk.open(Path::new("log"), Access::Read)?;
/// let mut bytes = vec![1; 10_000];
/// assert_eq!(read_full_at(file, &mut bytes, 0)?, 8192);
/// assert_eq!((&bytes[..5], bytes[512]), (&b"hello"[..], 0));
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait File: fmt::Debug + Send + Sync + 'static {
    /// Reads at most `buffer.len()` bytes; fewer at will; 0 only at the end of the file or for an empty buffer.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes at most `bytes.len()` bytes and says how many; fewer at will.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// The file's length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Cuts or extends the file; what is added reads as zeros.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// Extends the file to `bytes` so that later writes inside do not change its length.
    fn allocate(&self, bytes: u64) -> io::Result<()>;

    /// A sync of these bytes follows soon, so the disk may begin to write them. A hint: it makes nothing durable and may
    /// do nothing, which is what it does unless a disk knows better. What goes wrong is left to the sync to report.
    fn start_write_out(&self, offset: u64, len: u64) {
        let _ = (offset, len);
    }

    /// These bytes, which lie in the file and read as zeros, will be written before long, piece by piece with a sync after
    /// each, so the disk may give out its blocks for them now, all at once. A hint: it changes nothing that can be read,
    /// makes nothing durable and may do nothing, which is what it does unless a disk knows better. What goes wrong is left
    /// to the writes to report.
    fn expect_writes(&self, offset: u64, len: u64) {
        let _ = (offset, len);
    }

    /// Makes written bytes durable, and the length as far as they need it.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes written bytes, the length and the file's other attributes durable.
    fn sync_all(&self) -> io::Result<()>;

    /// True if the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// For reading.
    Read,
    /// For reading and writing.
    ReadWrite,
}

/// Holds a lock until it is dropped.
pub trait LockGuard: fmt::Debug + Send + Sync + 'static {}

/// What a disk answers that is only read.
fn read_only<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this disk is only read"))
}

/// Writes all of `bytes`, going on after short and interrupted writes.
///
/// # Errors
/// The first error of the file; `WriteZero` if it takes no more bytes. How much was written is then unknown.
pub fn write_all_at(file: &dyn File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills as much of `buffer` as the file has from `offset` on, and says how much that was.
///
/// # Errors
/// The first error of the file.
pub fn read_full_at(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
