//! The real disk, with a progress bar for what is read and written on it: for commands that work long in one call.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use forelog::storage::{Access, File, LockGuard, RealDisk, Storage};

use crate::args::Globals;
use crate::progress::Progress;

/// Does something on the real disk, and shows how many bytes of it are done if it takes long.
pub fn on_disk<T>(verb: &'static str, globals: &Globals, work: impl FnOnce(Arc<dyn Storage>) -> T) -> T {
    if !Progress::is_wanted(globals.quiet) {
        return work(Arc::new(RealDisk));
    }
    let progress = Arc::new(Mutex::new(Some(Progress::of_bytes(verb, globals.quiet))));
    let done = work(Arc::new(Watched { progress: progress.clone() }));
    // Others may hold the disk longer than this takes, but the bar goes.
    progress.lock().unwrap_or_else(PoisonError::into_inner).take();
    done
}

#[derive(Clone, Debug)]
struct Watched {
    progress: Arc<Mutex<Option<Progress>>>,
}

impl Watched {
    fn file(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(WatchedFile { file, disk: self.clone() })
    }

    fn count(&self, bytes: usize) {
        if let Some(progress) = &mut *self.progress.lock().unwrap_or_else(PoisonError::into_inner) {
            progress.add(bytes as u64);
        }
    }
}

impl Storage for Watched {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        RealDisk.create(path).map(|file| self.file(file))
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        RealDisk.open(path, access).map(|file| self.file(file))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_dir(dir)
    }
    fn lock(&self, path: &Path, exclusive: bool) -> io::Result<Box<dyn LockGuard>> {
        RealDisk.lock(path, exclusive)
    }
    fn absolute(&self, path: &Path) -> io::Result<PathBuf> {
        RealDisk.absolute(path)
    }
    fn now_us(&self) -> u64 {
        RealDisk.now_us()
    }
    fn random_u64(&self) -> u64 {
        RealDisk.random_u64()
    }
}

#[derive(Debug)]
struct WatchedFile {
    file: Arc<dyn File>,
    disk: Watched,
}

impl File for WatchedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset).inspect(|bytes| self.disk.count(*bytes))
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset).inspect(|bytes| self.disk.count(*bytes))
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }
    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.file.allocate(bytes)
    }
    fn start_write_out(&self, offset: u64, len: u64) {
        self.file.start_write_out(offset, len);
    }
    fn expect_writes(&self, offset: u64, len: u64) {
        self.file.expect_writes(offset, len);
    }
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}
