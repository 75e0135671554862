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

/// A directory of a disk.
#[derive(Clone, Debug)]
pub(crate) struct Dir {
    storage: Arc<dyn Storage>,
    path: PathBuf,
}

impl Dir {
    /// A directory that may or may not exist yet.
    pub(crate) fn new(storage: Arc<dyn Storage>, path: impl Into<PathBuf>) -> Dir {
        Dir { storage, path: path.into() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// The path of a file in this directory.
    pub(crate) fn file_path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A directory in this one.
    pub(crate) fn subdir(&self, name: &str) -> Dir {
        Dir::new(self.storage.clone(), self.path.join(name))
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
        if let Some(parent) = self.path.parent() {
            Dir::new(self.storage.clone(), parent).create_path()?;
        }
        self.create_missing()?;
        self.sync_parent()
    }

    /// The same, and makes the names of all its ancestors durable too.
    fn create_path(&self) -> Result<()> {
        let Some(parent) = self.path.parent() else { return Ok(()) };
        Dir::new(self.storage.clone(), parent).create_path()?;
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
        !matches!(self.storage.list(&self.path), Err(error) if error.kind() == io::ErrorKind::NotFound)
    }

    fn create_missing(&self) -> Result<()> {
        match self.storage.create_dir(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(Error::io("create directory", &self.path, error))
            }
            _ => Ok(()),
        }
    }

    /// Makes the directory's own name durable.
    pub(crate) fn sync_parent(&self) -> Result<()> {
        let Some(parent) = self.path.parent() else { return Ok(()) };
        self.storage.sync_dir(parent).map_err(|error| Error::io("sync directory", parent, error))
    }

    /// Makes the names in the directory durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.storage.sync_dir(&self.path).map_err(|error| Error::io("sync directory", &self.path, error))
    }

    /// The names in the directory, sorted; none if there is no such directory.
    pub(crate) fn list(&self) -> Result<Vec<String>> {
        match self.storage.list(&self.path) {
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
        match self.storage.create(&path) {
            Ok(file) => Ok(DirFile { file, path }),
            Err(error) => Err(Error::io("create", &path, error)),
        }
    }

    pub(crate) fn open(&self, name: &str, access: Access) -> Result<DirFile> {
        let path = self.file_path(name);
        match self.storage.open(&path, access) {
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
        self.storage.rename(&path, &self.file_path(to)).map_err(|error| Error::io("rename", &path, error))
    }

    /// Not durable before [`Dir::sync`].
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        let path = self.file_path(name);
        self.storage.remove(&path).map_err(|error| Error::io("remove", &path, error))
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
            match self.storage.lock(&path, exclusive) {
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

    pub(crate) fn sync_data(&self) -> Result<()> {
        self.file.sync_data().map_err(|error| Error::io("sync", &self.path, error))
    }

    pub(crate) fn sync_all(&self) -> Result<()> {
        self.file.sync_all().map_err(|error| Error::io("sync", &self.path, error))
    }
}
