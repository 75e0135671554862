//! Where finished files go for good: [`ArchiveTarget`], and the one that is a directory.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Access, File, LockGuard, Storage, read_only, write_all_at};

/// A place for copies of finished segments and checkpoints. They are written once and never changed.
///
/// [`DirArchive`] is one; an object store could be another. Calls come from one thread at a time and may take their
/// time: nobody who writes or reads the store waits for them.
///
/// ```
/// use std::io::{self, Read};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// use forelog::Options;
/// use forelog::storage::{ArchiveTarget, DirArchive, File, MemoryDisk};
///
/// #[derive(Debug)]
/// struct Counted(DirArchive, AtomicUsize);
/// impl ArchiveTarget for Counted {
///     fn list(&self) -> io::Result<Vec<String>> {
///         self.0.list()
///     }
///     fn store(
///         &self, name: &str, content: &mut dyn Read, check: &dyn Fn(Arc<dyn File>) -> io::Result<()>,
///     ) -> io::Result<()> {
///         self.0.store(name, content, check)?;
///         self.1.fetch_add(1, Ordering::Relaxed);
///         Ok(())
///     }
///     fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
///         self.0.open(name)
///     }
/// }
///
/// let archive = DirArchive::new(Arc::new(MemoryDisk::new()), "archive")?;
/// let archive = Arc::new(Counted(archive, AtomicUsize::new(0)));
/// let options = Options::new().storage(Arc::new(MemoryDisk::new())).archive_target(Some(archive.clone()));
/// let db = options.open("data")?;
/// db.put("a", "1")?;
/// db.checkpoint()?; // and it is copied
/// assert_eq!(archive.1.load(Ordering::Relaxed), archive.list()?.len());
/// assert_eq!(archive.list()?.iter().filter(|name| name.ends_with(".ckpt")).count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait ArchiveTarget: fmt::Debug + Send + Sync + 'static {
    /// The names of all objects that are there as a whole.
    ///
    /// # Errors
    /// Of the target.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Stores an object. When this returns, it is durable and there as a whole; after an error, it is not there under
    /// its name.
    ///
    /// `check` must be called on what was stored before that gets its name, and its error passed on: it reads the copy
    /// back.
    ///
    /// # Errors
    /// `AlreadyExists` if the name is taken, and durable, as are all others by then: nothing is overwritten. Those of `content`, of `check`, of the target.
    fn store(
        &self,
        name: &str,
        content: &mut dyn Read,
        check: &dyn Fn(Arc<dyn File>) -> io::Result<()>,
    ) -> io::Result<()>;

    /// Opens an object for reading.
    ///
    /// # Errors
    /// `NotFound`, or others of the target.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;
}

/// An archive that is a directory of some disk.
///
/// ```text
///  copy to NAME.tmp → sync → check → rename to NAME → sync the directory
/// ```
#[derive(Clone, Debug)]
pub struct DirArchive {
    storage: Arc<dyn Storage>,
    path: PathBuf,
}

/// The archive in a directory, of which what is compressed can be read, too, if this library knows how.
///
/// # Errors
/// As [`DirArchive::new`].
pub(crate) fn readable(storage: &Arc<dyn Storage>, path: &Path) -> io::Result<Arc<dyn ArchiveTarget>> {
    let archive = DirArchive::new(storage.clone(), path)?;
    #[cfg(feature = "lz4")]
    let archive = super::Compressed::new(archive);
    Ok(Arc::new(archive))
}

/// How much is copied at once.
const CHUNK_BYTES: usize = 256 << 10;

impl DirArchive {
    /// The archive in a directory, which is created by the first object that goes there.
    ///
    /// # Errors
    /// If a relative path leads nowhere.
    pub fn new(storage: Arc<dyn Storage>, path: impl AsRef<Path>) -> io::Result<DirArchive> {
        let path = storage.absolute(path.as_ref())?;
        Ok(DirArchive { storage, path })
    }

    /// The same at a path that is absolute already. If it is not, what is done there fails.
    pub(crate) fn at(storage: Arc<dyn Storage>, path: impl Into<PathBuf>) -> DirArchive {
        DirArchive { storage, path: path.into() }
    }

    /// Makes the directory and its missing ancestors, each durable in its parent.
    fn create(&self, path: &Path) -> io::Result<()> {
        let Some(parent) = path.parent() else { return Ok(()) };
        match self.storage.list(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            // Whoever made it may have died before its sync.
            Ok(_) => {
                return match self.storage.sync_dir(parent) {
                    // Then it is not this process's kind that has made it.
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
                    synced => synced,
                };
            }
        }
        self.create(parent)?;
        match self.storage.create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        self.storage.sync_dir(parent)
    }

    /// Says where it happened: who archives knows the store only.
    fn at_place<T>(&self, name: &str, result: io::Result<T>) -> io::Result<T> {
        let place = self.path.join(name);
        result.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", place.display())))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        match self.storage.list(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            listed => Ok(listed?.into_iter().filter(|name| !name.ends_with(".tmp")).collect()),
        }
    }

    fn copy(&self, tmp: &Path, content: &mut dyn Read) -> io::Result<()> {
        let file = match self.storage.create(tmp) {
            // What an interrupted copy has left.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.storage.remove(tmp)?;
                self.storage.create(tmp)?
            }
            created => created?,
        };
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut at = 0;
        loop {
            let read = match content.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if read == 0 {
                return file.sync_all();
            }
            write_all_at(&*file, &chunk[..read], at)?;
            // As it comes, so that the copy does not meet the log's syncs in one burst.
            file.start_write_out(at, read as u64);
            at += read as u64;
        }
    }
}

impl ArchiveTarget for DirArchive {
    fn list(&self) -> io::Result<Vec<String>> {
        self.at_place("", self.names())
    }

    fn store(
        &self,
        name: &str,
        content: &mut dyn Read,
        check: &dyn Fn(Arc<dyn File>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.at_place(name, self.store_new(name, content, check))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.at_place(name, self.storage.open(&self.path.join(name), Access::Read))
    }
}

impl DirArchive {
    fn store_new(
        &self,
        name: &str,
        content: &mut dyn Read,
        check: &dyn Fn(Arc<dyn File>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.create(&self.path)?;
        if self.names()?.iter().any(|taken| taken == name) {
            // Whoever stored it may have died before its sync, and it is relied on from here on.
            self.storage.sync_dir(&self.path)?;
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (tmp, path) = (self.path.join(format!("{name}.tmp")), self.path.join(name));
        let checked =
            self.copy(&tmp, content).and_then(|()| self.storage.open(&tmp, Access::Read)).and_then(check);
        if let Err(error) = checked {
            // It takes room. If it stays, the next attempt removes it.
            let _ = self.storage.remove(&tmp);
            return Err(error);
        }
        self.storage.rename(&tmp, &path)?;
        let synced = self.storage.sync_dir(&self.path);
        if synced.is_err() {
            // After an error it is not there. If it stays all the same, it is looked at anew.
            let _ = self.storage.remove(&path);
        }
        synced
    }
}

/// An archive as one who copies to it sees it: what is there, and how fast it may be added to.
pub(crate) struct Destination<'a> {
    pub(crate) target: &'a dyn ArchiveTarget,
    /// The names of what is there.
    pub(crate) names: &'a [String],
    /// Told of each stretch of bytes that is on its way; waits as long as the pace demands, or says to give up.
    pub(crate) sent: &'a dyn Fn(u64) -> io::Result<()>,
}

impl Destination<'_> {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|there| there == name)
    }

    /// As [`ArchiveTarget::store`], at the pace.
    pub(crate) fn store(
        &self,
        name: &str,
        content: impl Read,
        check: &dyn Fn(Arc<dyn File>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.target.store(name, &mut Paced { content, sent: self.sent }, check)
    }
}

/// Content that is read no faster than its pace allows.
struct Paced<'a, R> {
    content: R,
    sent: &'a dyn Fn(u64) -> io::Result<()>,
}

impl<R: Read> Read for Paced<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        (self.sent)(read as u64)?;
        Ok(read)
    }
}

/// Files of several places, to be read as if they were one directory. Nothing in it can be changed.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// By the names that they have here.
    files: std::collections::BTreeMap<String, Place>,
}

/// Where a file is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// In a directory.
    Disk(Arc<dyn Storage>, PathBuf),
    /// In an archive, under this name.
    Archive(Arc<dyn ArchiveTarget>, String),
}

impl Gathered {
    /// Adds a file under a name; it takes the place of one that has it already.
    pub(crate) fn add(&mut self, name: String, place: Place) {
        self.files.insert(name, place);
    }
}

impl Storage for Gathered {
    fn create(&self, _: &Path) -> io::Result<Arc<dyn File>> {
        read_only()
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match self.files.get(name) {
            _ if access == Access::ReadWrite => read_only(),
            Some(Place::Disk(storage, path)) => storage.open(path, access),
            Some(Place::Archive(target, name)) => target.open(name),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        read_only()
    }
    fn remove(&self, _: &Path) -> io::Result<()> {
        read_only()
    }
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        read_only()
    }
    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(self.files.keys().cloned().collect())
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        read_only()
    }
    fn lock(&self, _: &Path, _: bool) -> io::Result<Box<dyn LockGuard>> {
        // Whoever reads what was gathered has looked for a writer in the store itself.
        Err(io::ErrorKind::NotFound.into())
    }
    fn now_us(&self) -> u64 {
        0
    }
    fn random_u64(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    //! Shows that an object is there as a whole or not at all, that nothing is overwritten, and that the check decides.
    use super::super::SimDisk;
    use super::*;

    fn read(file: &dyn File) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        super::super::read_full_at(file, &mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn objects_are_stored_once_and_checked() {
        let disk = SimDisk::new(1);
        let archive = DirArchive::new(Arc::new(disk.clone()), "far/away").unwrap();
        assert_eq!(archive.list().unwrap(), Vec::<String>::new());
        let content = vec![7; 300_000];
        let refuse = |_: Arc<dyn File>| Err(io::Error::other("not what was sent"));
        assert!(archive.store("a", &mut &content[..], &refuse).is_err());
        assert_eq!(archive.list().unwrap(), Vec::<String>::new());
        let check = |file: Arc<dyn File>| {
            assert_eq!(read(&*file), content);
            Ok(())
        };
        archive.store("a", &mut &content[..], &check).unwrap();
        let again = archive.store("a", &mut &b"other"[..], &|_| Ok(()));
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        // It is durable, directory and all.
        let after = disk.power_cut(&super::super::Outcome::None);
        let archive = DirArchive::new(Arc::new(after), "far/away").unwrap();
        assert_eq!(archive.list().unwrap(), ["a"]);
        assert_eq!(read(&*archive.open("a").unwrap()), content);
        assert_eq!(archive.open("b").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
