//! Shows that a look at a store gives no false alarm when a writer comes and goes meanwhile, and shows nothing that is not
//! durable when one comes and stays: a disk that lets one in before the n-th read, for each n.

#![allow(clippy::unwrap_used)]

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use forelog::storage::{Access, File, LockGuard, MemoryDisk, Storage};
use forelog::wal::{LogReader, LogStatus};
use forelog::{Db, Durability, Lsn, Options, WriteBatch, WriteOptions, care};

/// The disk of one who looks: before one of its reads, somebody else opens the store, writes, and closes it or stays.
#[derive(Clone, Debug)]
struct Watched {
    disk: Arc<MemoryDisk>,
    reads_left: Arc<AtomicI64>,
    come: fn(&Arc<MemoryDisk>) -> Option<Db>,
    stayed: Arc<Mutex<Option<Db>>>,
}

#[derive(Debug)]
struct WatchedFile(Arc<dyn File>, Watched);

fn open(disk: &Arc<MemoryDisk>) -> Db {
    let options = Options::new().storage(disk.clone()).segment_bytes(8192);
    options.idle_mark(None).spare_ahead(false).open("/store").unwrap()
}

fn write_and_leave(disk: &Arc<MemoryDisk>) -> Option<Db> {
    let db = open(disk);
    db.put("a", "1").unwrap();
    db.put("b", "2").unwrap();
    db.close().unwrap();
    None
}

/// None of what it writes is durable.
fn write_and_stay(disk: &Arc<MemoryDisk>) -> Option<Db> {
    let db = open(disk);
    for key in ["c", "d", "e"] {
        let mut batch = WriteBatch::new();
        batch.put(key, "3");
        db.write_with(batch, &WriteOptions::new().durability(Durability::Buffered)).unwrap();
    }
    Some(db)
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
            *self.1.stayed.lock().unwrap() = (self.1.come)(&self.1.disk);
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
fn before_each_read(come: fn(&Arc<MemoryDisk>) -> Option<Db>, look: impl Fn(Arc<dyn Storage>, i64)) {
    for reads in 0.. {
        let disk = Arc::new(MemoryDisk::new());
        write_and_leave(&disk);
        let left = Arc::new(AtomicI64::new(reads));
        let watched = Watched { disk, reads_left: left.clone(), come, stayed: Arc::default() };
        look(Arc::new(watched), reads);
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
    before_each_read(write_and_leave, |disk, reads| {
        let found = care::verify_on(disk, "/store").unwrap();
        assert_eq!(found.status, LogStatus::Clean, "before read {reads}: {found:?}");
    });
}

/// The same in a survey, which refused the store or called it torn.
#[test]
fn survey() {
    before_each_read(write_and_leave, |disk, reads| {
        let survey = care::survey_on(disk, "/store").unwrap_or_else(|error| panic!("{reads}: {error}"));
        assert!(!survey.torn, "before read {reads}");
        assert_eq!(survey.keys, 2);
    });
}

/// Whoever found nobody at work took all that was there for durable, and showed what a writer wrote who came meanwhile.
///
/// Broken: src/recovery/mod.rs: `load_by(dir, true, options)` to `load_by(dir, false, options)`
/// Broken: src/wal/look.rs: `let has_come = after.1 && !before.1;` to `let has_come = false;`
#[test]
fn what_is_not_durable_is_not_shown() {
    before_each_read(write_and_stay, |disk, reads| {
        let beside = Options::new().storage(disk).beside_writer(true).open("/store").unwrap();
        assert_eq!(beside.len(), 2, "before read {reads}");
        assert!(beside.visible_lsn() <= beside.durable_lsn());
    });
    before_each_read(write_and_stay, |disk, reads| {
        // Where it looks, at most: what comes later it does not see.
        let last = LogReader::open_on(disk.clone(), "/store").unwrap().last().unwrap().unwrap();
        assert!(last.lsn <= Lsn::new(3), "before read {reads}: {}", last.lsn);
    });
}
