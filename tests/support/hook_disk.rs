//! A disk on which a test steps in before each call that changes something: to stall it, or to panic in it.

#![allow(dead_code, clippy::unwrap_used)]

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use forelog::storage::{Access, File, LockGuard, SimDisk, Storage};
use parking_lot::Mutex;

type Hook = Arc<dyn Fn(&str, &Path) + Send + Sync>;
type Stretch = (&'static str, Range<u64>);

/// A simulated disk that calls a hook with the name of the call and the path.
#[derive(Clone)]
pub(crate) struct HookDisk {
    pub(crate) disk: SimDisk,
    hook: Arc<Mutex<Option<Hook>>>,
    /// Bytes of files of this name that cannot be read.
    unreadable: Arc<Mutex<Vec<Stretch>>>,
}

impl HookDisk {
    pub(crate) fn new() -> HookDisk {
        HookDisk { disk: SimDisk::new(1), hook: Arc::default(), unreadable: Arc::default() }
    }

    /// From now on these bytes of the files of this name cannot be read; without any, such a file cannot be opened.
    pub(crate) fn lose(&self, file: &'static str, bytes: Range<u64>) {
        self.unreadable.lock().push((file, bytes));
    }

    pub(crate) fn set(&self, hook: impl Fn(&str, &Path) + Send + Sync + 'static) {
        *self.hook.lock() = Some(Arc::new(hook));
    }

    /// The next call of this name stalls until the latch is opened.
    pub(crate) fn stall(&self, call: &'static str) -> Latch {
        let (latch, once) = (Latch::default(), AtomicBool::new(false));
        let stalled = latch.clone();
        self.set(move |name, _| {
            if name == call && !once.swap(true, Ordering::SeqCst) {
                stalled.wait_here();
            }
        });
        latch
    }

    fn call(&self, name: &str, path: &Path) {
        let hook = self.hook.lock().clone();
        if let Some(hook) = hook {
            hook(name, path);
        }
    }

    fn file(&self, file: Arc<dyn File>, path: &Path) -> Arc<dyn File> {
        Arc::new(HookFile { file, disk: self.clone(), path: path.to_path_buf() })
    }
}

impl fmt::Debug for HookDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookDisk")
    }
}

/// Keeps a thread where it is, and lets the test know that it is there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latch(Arc<(AtomicBool, AtomicBool)>);

impl Latch {
    pub(crate) fn wait_here(&self) {
        self.0.0.store(true, Ordering::SeqCst);
        while !self.0.1.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn has_arrived(&self) -> bool {
        self.0.0.load(Ordering::SeqCst)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.1.load(Ordering::SeqCst)
    }

    pub(crate) fn open(&self) {
        self.0.1.store(true, Ordering::SeqCst);
    }
}

/// Nothing stays stalled when its test fails.
impl Drop for Latch {
    fn drop(&mut self) {
        if thread::panicking() {
            self.open();
        }
    }
}

impl Storage for HookDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.call("create", path);
        Ok(self.file(self.disk.create(path)?, path))
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        if self.unreadable.lock().iter().any(|(file, bytes)| path.ends_with(file) && bytes.is_empty()) {
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(self.file(self.disk.open(path, access)?, path))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("rename", from);
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call("remove", path);
        self.disk.remove(path)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.call("sync_dir", dir);
        self.disk.sync_dir(dir)
    }
    fn lock(&self, path: &Path, exclusive: bool) -> io::Result<Box<dyn LockGuard>> {
        self.disk.lock(path, exclusive)
    }
    fn now_us(&self) -> u64 {
        self.disk.now_us()
    }
    fn random_u64(&self) -> u64 {
        self.disk.random_u64()
    }
}

#[derive(Debug)]
struct HookFile {
    file: Arc<dyn File>,
    disk: HookDisk,
    path: PathBuf,
}

impl File for HookFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let end = offset + buffer.len() as u64;
        let is_lost =
            |(file, bytes): &Stretch| self.path.ends_with(file) && bytes.start < end && offset < bytes.end;
        if self.disk.unreadable.lock().iter().any(is_lost) {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.file.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.disk.call("write", &self.path);
        self.file.write_at(bytes, offset)
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
    fn sync_data(&self) -> io::Result<()> {
        self.disk.call("sync_data", &self.path);
        self.file.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.disk.call("sync_all", &self.path);
        self.file.sync_all()
    }
}
