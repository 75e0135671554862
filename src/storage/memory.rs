//! The in-memory disk: a plain file system for tests and throw-away stores.
//!
//! It keeps nothing apart: what is written is what there is, and syncs do nothing. For power cuts see `sim`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::content::{Content, checked_end};
use super::locks::Locks;
use super::tree::{Node, Tree, normal};
use super::{Access, File, LockGuard, Storage, real};

/// Big enough that the map of chunks costs little, small enough that a sparse file stays small.
type Bytes = Content<4096>;

/// A file system in memory, gone with its last clone. A clone is the same disk. The empty path, `.` and `/` are all
/// its root, which is there from the start. The clock and the randomness are the operating system's.
///
/// ```
/// use forelog::storage::{MemoryDisk, Storage};
/// use std::path::Path;
///
/// let disk = MemoryDisk::new();
/// disk.create(Path::new("a.txt"))?.write_at(b"hello", 0)?;
/// assert_eq!(disk.clone().list(Path::new(""))?, ["a.txt"]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct MemoryDisk {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    /// A name holds its file, and so does each open handle: a removed file lives on until it is closed.
    names: Tree<Arc<RwLock<Bytes>>>,
    locks: Locks,
}

impl MemoryDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Storage for MemoryDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let path = normal(path);
        let names = &mut self.shared.lock().names;
        names.vacant(&path)?;
        let bytes = Arc::<RwLock<Bytes>>::default();
        names.set(path, Some(Node::File(Arc::clone(&bytes))));
        Ok(Arc::new(MemoryFile { bytes, access: Access::ReadWrite }))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        let bytes = Arc::clone(self.shared.lock().names.file(&normal(path))?);
        Ok(Arc::new(MemoryFile { bytes, access }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (normal(from), normal(to));
        let names = &mut self.shared.lock().names;
        let file = Arc::clone(names.file(&from)?);
        names.replaceable(&to)?;
        names.set(from, None);
        names.set(to, Some(Node::File(file)));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let path = normal(path);
        let names = &mut self.shared.lock().names;
        names.file(&path)?;
        names.set(path, None);
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let path = normal(path);
        let names = &mut self.shared.lock().names;
        names.vacant(&path)?;
        names.set(path, Some(Node::Dir));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.shared.lock().names.list(&normal(dir))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.shared.lock().names.dir(&normal(dir))
    }

    fn lock(&self, path: &Path, exclusive: bool) -> io::Result<Box<dyn LockGuard>> {
        let path = normal(path);
        let mut shared = self.shared.lock();
        if exclusive && shared.names.get(&path).is_none() {
            shared.names.vacant(&path)?;
            shared.names.set(path.clone(), Some(Node::File(Arc::default())));
        }
        shared.names.file(&path)?;
        shared.locks.take(&path, exclusive)?;
        Ok(Box::new(MemoryLock { disk: self.clone(), path }))
    }

    fn now_us(&self) -> u64 {
        real::now_us()
    }

    fn random_u64(&self) -> u64 {
        real::random_u64()
    }
}

impl fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDisk").finish_non_exhaustive()
    }
}

struct MemoryFile {
    bytes: Arc<RwLock<Bytes>>,
    access: Access,
}

impl MemoryFile {
    fn writable(&self) -> io::Result<()> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::Read => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }
}

impl File for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.bytes.read().read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.writable()?;
        self.bytes.write().write_at(bytes, offset)?;
        Ok(bytes.len())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.read().len())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.writable()?;
        checked_end(bytes, 0)?;
        self.bytes.write().set_len(bytes);
        Ok(())
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.writable()?;
        checked_end(bytes, 0)?;
        let mut content = self.bytes.write();
        let extended = content.len().max(bytes);
        content.set_len(extended);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for MemoryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryFile").field("bytes", &self.bytes.read().len()).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct MemoryLock {
    disk: MemoryDisk,
    path: PathBuf,
}

impl LockGuard for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.disk.shared.lock().locks.release(&self.path);
    }
}
