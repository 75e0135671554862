//! Shows that a look at a store gives no false alarm when a writer comes and goes meanwhile: a disk that lets one in
//! before the n-th read, for each n.

#![allow(clippy::unwrap_used)]

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use forelog::storage::{Access, File, LockGuard, MemoryDisk, Storage};
use forelog::wal::LogStatus;
use forelog::{Options, care};

/// The disk of one who looks: before one of its reads, somebody else opens the store, writes and closes it.
#[derive(Clone, Debug)]
struct Watched {
    disk: Arc<MemoryDisk>,
    reads_left: Arc<AtomicI64>,
}

#[derive(Debug)]
struct WatchedFile(Arc<dyn File>, Watched);

fn write_and_leave(disk: &Arc<MemoryDisk>) {
    let db = Options::new()
        .storage(disk.clone())
        .segment_bytes(8192)
        .idle_mark(None)
        .spare_ahead(false)
        .open("/store")
        .unwrap();
    db.put("a", "1").unwrap();
    db.put("b", "2").unwrap();
    db.close().unwrap();
}

impl Storage for Watched {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(WatchedFile(self.disk.open(path, access)?, self.clone())))
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.disk.create(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
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

impl File for WatchedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.1.reads_left.fetch_sub(1, Ordering::Relaxed) == 0 {
            write_and_leave(&self.1.disk);
        }
        self.0.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }
    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.0.allocate(bytes)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

/// Lets a writer in before each read of a look, until the look is over before.
fn before_each_read(look: impl Fn(Arc<dyn Storage>, i64)) {
    for reads in 0.. {
        let disk = Arc::new(MemoryDisk::new());
        write_and_leave(&disk);
        let left = Arc::new(AtomicI64::new(reads));
        look(Arc::new(Watched { disk, reads_left: left.clone() }), reads);
        if left.load(Ordering::Relaxed) >= 0 {
            assert!(reads > 3, "the look reads");
            return;
        }
    }
}

/// Verification read the end of the log, the writer wrote there and left, and what was found behind that end by then
/// proved that something was missing: a sound store was called corrupt.
#[test]
fn verification() {
    before_each_read(|disk, reads| {
        let found = care::verify_on(disk, "/store").unwrap();
        assert_eq!(found.status, LogStatus::Clean, "before read {reads}: {found:?}");
    });
}

/// The same in a survey, which refused the store or called it torn.
#[test]
fn survey() {
    before_each_read(|disk, reads| {
        let survey = care::survey_on(disk, "/store").unwrap_or_else(|error| panic!("{reads}: {error}"));
        assert!(!survey.torn, "before read {reads}");
        assert_eq!(survey.keys, 2);
    });
}
