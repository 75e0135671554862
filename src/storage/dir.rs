//! A directory and the files in it, with errors that say what was tried and where.
//!
//! [`Storage`] answers plain `io::Error`s. The layers above work in one directory and by file names, and want every
//! failure to name its place: this is the thin wrapper between.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::{Access, File, LockGuard, Storage, read_full_at, write_all_at};
use crate::error::{Error, Result};
use crate::sync::Mutex;

/// A directory of a disk.
#[derive(Clone, Debug)]
pub(crate) struct Dir {
    storage: Arc<dyn Storage>,
    /// As it was given: for messages.
    path: PathBuf,
    /// From the root: for the disk. A process may change its current directory while a store is open.
    at: PathBuf,
    /// The first failure of [`Dir::sync`], which is all that this handle and its clones say from then on.
    ///
    /// Held during a sync. The kernel reports a failed one once: to whoever syncs next, all would seem well, although a
    /// name of theirs may be what was lost. So there is one sync at a time, and none after a failed one.
    unsynced: Arc<Mutex<Option<Error>>>,
}

impl Dir {
    /// A directory that may or may not exist yet.
    pub(crate) fn new(storage: Arc<dyn Storage>, path: impl Into<PathBuf>) -> Dir {
        let path = path.into();
        // Without a current directory, a relative path leads nowhere: the first call on it says so.
        let at = storage.absolute(&path).unwrap_or_else(|_| path.clone());
        Dir { storage, path, at, unsynced: Arc::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// True for whatever is below that directory, as far as paths say.
    pub(crate) fn is_inside(&self, outer: &Dir) -> bool {
        self.at != outer.at && self.at.starts_with(&outer.at)
    }

    pub(crate) fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// The path of a file in this directory.
    pub(crate) fn file_path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Where a file of this directory is, from the root.
    pub(crate) fn place_of(&self, name: &str) -> PathBuf {
        self.at.join(name)
    }

    /// A directory in this one.
    pub(crate) fn subdir(&self, name: &str) -> Dir {
        self.related(self.path.join(name), self.at.join(name))
    }

    /// The directory that this one is in.
    fn parent(&self) -> Option<Dir> {
        let at = self.at.parent()?;
        let shown = self.path.parent().filter(|shown| !shown.as_os_str().is_empty());
        Some(self.related(shown.unwrap_or(at).to_path_buf(), at.to_path_buf()))
    }

    fn related(&self, path: PathBuf, at: PathBuf) -> Dir {
        Dir { storage: self.storage.clone(), path, at, unsynced: Arc::default() }
    }

    /// Makes the directory and its missing ancestors, each with its name durable. Where it exists, only its own name is
    /// made durable: the process that made it may have died before its sync.
    ///
    /// ORDER: what is above a directory is durable before the directory is made. So a directory that exists stands for
    /// its ancestors, however many processes have died on the way, and later openings need not look at them.
    pub(crate) fn create_durably(&self) -> Result<()> {
        if self.exists() {
            return self.sync_parent_if_readable();
        }
        if let Some(parent) = self.parent() {
            parent.create_path()?;
        }
        self.create_missing()?;
        self.sync_parent()
    }

    /// The same, and makes the names of all its ancestors durable too.
    fn create_path(&self) -> Result<()> {
        let Some(parent) = self.parent() else { return Ok(()) };
        parent.create_path()?;
        if self.exists() {
            return self.sync_parent_if_readable();
        }
        self.create_missing()?;
        self.sync_parent()
    }

    /// Makes the name of a directory durable that exists. Where its parent may not be read, and so not be synced, a
    /// process like this one cannot have made it: it would have failed.
    fn sync_parent_if_readable(&self) -> Result<()> {
        match self.sync_parent() {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            result => result,
        }
    }

    /// True if there is anything of this name, be it a file or a directory that may not be read.
    fn exists(&self) -> bool {
        !matches!(self.storage.list(&self.at), Err(error) if error.kind() == io::ErrorKind::NotFound)
    }

    fn create_missing(&self) -> Result<()> {
        match self.storage.create_dir(&self.at) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(Error::io("create directory", &self.path, error))
            }
            _ => Ok(()),
        }
    }

    /// Makes the directory's own name durable.
    pub(crate) fn sync_parent(&self) -> Result<()> {
        self.parent().map_or(Ok(()), |parent| parent.sync())
    }

    /// Makes the names in the directory durable. Once this has failed, it fails for good.
    pub(crate) fn sync(&self) -> Result<()> {
        let mut unsynced = self.unsynced.lock();
        if let Some(error) = &*unsynced {
            return Err(error.clone());
        }
        let result = self.storage.sync_dir(&self.at);
        result.map_err(|error| {
            let error = Error::io("sync directory", &self.path, error);
            *unsynced = Some(error.clone());
            error
        })
    }

    /// The names in the directory, sorted; none if there is no such directory.
    pub(crate) fn list(&self) -> Result<Vec<String>> {
        match self.storage.list(&self.at) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                let reason = "it is a file, not a directory".to_owned();
                Err(Error::NotAStore { dir: self.path.clone(), reason })
            }
            other => other.map_err(|error| Error::io("list directory", &self.path, error)),
        }
    }

    pub(crate) fn create(&self, name: &str) -> Result<DirFile> {
        let path = self.file_path(name);
        match self.storage.create(&self.at.join(name)) {
            Ok(file) => Ok(DirFile { file, path }),
            Err(error) => Err(Error::io("create", &path, error)),
        }
    }

    pub(crate) fn open(&self, name: &str, access: Access) -> Result<DirFile> {
        let path = self.file_path(name);
        match self.storage.open(&self.at.join(name), access) {
            Ok(file) => Ok(DirFile { file, path }),
            Err(error) => Err(Error::io("open", &path, error)),
        }
    }

    /// All bytes of a file that has at most `limit`; the first `limit + 1` of a longer one.
    pub(crate) fn read_whole(&self, name: &str, limit: usize) -> Result<Vec<u8>> {
        let file = self.open(name, Access::Read)?;
        let len = usize::try_from(file.len()?).unwrap_or(usize::MAX).min(limit.saturating_add(1));
        let mut bytes = vec![0; len];
        let filled = file.read_at(&mut bytes, 0)?;
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Not durable before [`Dir::sync`].
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<()> {
        let path = self.file_path(from);
        let (old, new) = (self.at.join(from), self.at.join(to));
        self.storage.rename(&old, &new).map_err(|error| Error::io("rename", &path, error))
    }

    /// Not durable before [`Dir::sync`].
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        let path = self.file_path(name);
        self.storage.remove(&self.at.join(name)).map_err(|error| Error::io("remove", &path, error))
    }

    /// Takes the lock file of this name, exclusively or shared with other readers.
    ///
    /// Whoever only looks whether a writer is there holds a shared lock for a moment. That must not look like a
    /// writer to one who is just coming, so an exclusive lock is tried a few times.
    pub(crate) fn lock(&self, name: &str, exclusive: bool) -> Result<Box<dyn LockGuard>> {
        let path = self.file_path(name);
        let mut tries = if exclusive { LOCK_TRIES } else { 1 };
        loop {
            tries -= 1;
            match self.storage.lock(&self.at.join(name), exclusive) {
                Ok(guard) => return Ok(guard),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Err(Error::io("lock", &path, error));
                }
                Err(_) if tries == 0 => return Err(Error::Locked { path }),
                Err(_) => thread::sleep(LOCK_PAUSE),
            }
        }
    }
}

const LOCK_TRIES: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// An open file that knows its path.
#[derive(Clone, Debug)]
pub(crate) struct DirFile {
    file: Arc<dyn File>,
    path: PathBuf,
}

impl DirFile {
    /// A file that was opened by other means, to be called by this path.
    pub(crate) fn of(file: Arc<dyn File>, path: PathBuf) -> DirFile {
        DirFile { file, path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The same open file under the name that it was given since.
    pub(crate) fn renamed(self, path: PathBuf) -> DirFile {
        DirFile { path, ..self }
    }

    pub(crate) fn len(&self) -> Result<u64> {
        self.file.len().map_err(|error| Error::io("read the length of", &self.path, error))
    }

    /// Fills the buffer as far as the file reaches and says how far that was.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        read_full_at(&*self.file, buffer, offset).map_err(|error| Error::io("read", &self.path, error))
    }

    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        write_all_at(&*self.file, bytes, offset).map_err(|error| Error::io("write", &self.path, error))
    }

    pub(crate) fn allocate(&self, bytes: u64) -> Result<()> {
        self.file.allocate(bytes).map_err(|error| Error::io("allocate", &self.path, error))
    }

    /// A sync of these bytes follows soon.
    pub(crate) fn start_write_out(&self, offset: u64, len: u64) {
        self.file.start_write_out(offset, len);
    }

    /// These bytes, which read as zeros, will be written before long.
    pub(crate) fn expect_writes(&self, offset: u64, len: u64) {
        self.file.expect_writes(offset, len);
    }

    pub(crate) fn sync_data(&self) -> Result<()> {
        self.file.sync_data().map_err(|error| Error::io("sync", &self.path, error))
    }

    pub(crate) fn sync_all(&self) -> Result<()> {
        self.file.sync_all().map_err(|error| Error::io("sync", &self.path, error))
    }
}
