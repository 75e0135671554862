//! The real disk: the only place in the library that uses `std::fs`.
//!
//! Each method is the obvious system call; what is worth knowing stands beside it. Errors pass unchanged.
//!
//! Where to read next: `sim`, for what these calls do *not* promise.

use std::fs::{self, OpenOptions, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
#[cfg(target_os = "linux")]
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

#[cfg(target_os = "linux")]
use rustix::fs::{Advice, StatVfs, fadvise, fstatvfs};

use super::{Access, File, LockGuard, Storage};

#[cfg(not(unix))]
compile_error!(
    "forelog needs positioned reads and writes and synced directories, which it knows only on Unix; \
     on Windows use it inside WSL"
);

/// The file system of the operating system.
///
/// ```
/// use forelog::storage::{RealDisk, Storage};
///
/// let names = RealDisk.list(std::path::Path::new("src/storage"))?;
/// assert!(names.contains(&"real.rs".to_owned()));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RealDisk;

/// Small pieces: what is written with one call Linux keeps in one piece in its page cache, and looks through it whole
/// at each sync of a part.
#[cfg(target_os = "linux")]
static ZEROS: [u8; 16 << 10] = [0; 16 << 10];

/// So many free bytes are no little room.
#[cfg(target_os = "linux")]
const PLENTY: u64 = 64 << 20;

impl Storage for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        refuse_pipes(path)?;
        let file = OpenOptions::new().read(true).write(access == Access::ReadWrite).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(or_here(dir))? {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // On Unix a directory opens like a file, and syncing it makes the names in it durable.
        fs::File::open(or_here(dir))?.sync_all()
    }

    fn lock(&self, path: &Path, exclusive: bool) -> io::Result<Box<dyn LockGuard>> {
        // The kernel ends the lock with the descriptor, so `kill -9` leaves no stale lock behind. The file itself
        // stays: removing it would let two processes hold locks on two files of the same name.
        refuse_pipes(path)?;
        let (file, taken) = if exclusive {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
            let taken = file.try_lock();
            (file, taken)
        } else {
            let file = fs::File::open(path)?;
            let taken = file.try_lock_shared();
            (file, taken)
        };
        match taken {
            Ok(()) => Ok(Box::new(RealLock { file })),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn absolute(&self, path: &Path) -> io::Result<PathBuf> {
        std::path::absolute(path)
    }

    fn now_us(&self) -> u64 {
        now_us()
    }

    fn random_u64(&self) -> u64 {
        random_u64()
    }
}

/// Opening a named pipe would wait, perhaps for ever, for somebody at its other end. What is not there is left to the
/// call that opens it.
fn refuse_pipes(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.file_type().is_fifo() => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a named pipe, not a file"))
        }
        _ => Ok(()),
    }
}

/// An open file of the operating system; closed, without a sync, when dropped.
#[derive(Debug)]
struct RealFile(fs::File);

impl File for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        // A sparse extension is enough: what costs sync rate is that the length changes with each append, and that
        // it prevents. Writing real zeros was measured and is no faster.
        if self.len()? < bytes { self.0.set_len(bytes) } else { Ok(()) }
    }

    #[cfg(target_os = "linux")]
    fn start_write_out(&self, offset: u64, len: u64) {
        // "Not needed" makes Linux begin to write what is dirty, and forget only what is clean: nothing here, as it was
        // just written. `sync_file_range` says the same more plainly, but has no safe wrapper. No bytes would mean all.
        if let Some(len) = NonZeroU64::new(len) {
            let _ = fadvise(&self.0, offset, Some(len), Advice::DontNeed);
        }
    }

    #[cfg(target_os = "linux")]
    fn expect_writes(&self, offset: u64, len: u64) {
        // Zeros over the zeros of a hole. A sync of bytes that fall into a hole must also save where the file system has
        // put them, with a commit of its journal.
        // Where there is little room it is left to what has something to say, a checkpoint perhaps that makes room.
        let is_roomy = |room: StatVfs| room.f_bavail.saturating_mul(room.f_frsize) > PLENTY;
        if !fstatvfs(&self.0).is_ok_and(is_roomy) {
            return;
        }
        let Ok(end) = self.len() else { return };
        let end = offset.saturating_add(len).min(end);
        let mut at = offset;
        while at < end {
            let rest = usize::try_from(end - at).unwrap_or(usize::MAX);
            match self.0.write_at(&ZEROS[..rest.min(ZEROS.len())], at) {
                Ok(written) if written > 0 => at += written as u64,
                _ => return,
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        // `fdatasync` on Linux; `F_FULLFSYNC` on macOS, where a plain `fsync` stops at the drive's own cache.
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

#[derive(Debug)]
struct RealLock {
    file: fs::File,
}

impl LockGuard for RealLock {}

impl Drop for RealLock {
    fn drop(&mut self) {
        // Closing the file would not do: the lock lives as long as any copy of the descriptor, and a child that
        // another thread is just starting holds a copy until it executes. A failure leaves it to the closing.
        let _ = self.file.unlock();
    }
}

/// The operating system's clock; shared with the in-memory disk.
pub(super) fn now_us() -> u64 {
    // A clock before 1970 reads as 0, one beyond the year 586,000 as the maximum: the log copes with either.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// The operating system's randomness; shared with the in-memory disk.
pub(super) fn random_u64() -> u64 {
    // Where the system's source fails, the seed of std's hash maps and the time are still unlikely to be drawn
    // twice. Identity is at stake here, not secrecy.
    getrandom::u64().unwrap_or_else(|_| {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u64(now_us());
        hasher.finish()
    })
}

/// `Path::parent` of a relative name is the empty path, which the system does not open.
fn or_here(dir: &Path) -> &Path {
    if dir.as_os_str().is_empty() { Path::new(".") } else { dir }
}
