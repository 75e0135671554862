//! A disk of one's own: `cargo run --example custom_storage`.
//!
//! Everything that a store does with files goes through the trait `Storage`. This one counts the calls and passes them on
//! to the real disk; another one might encrypt, or fail on purpose. What a sync promises, it must keep.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use forelog::Options;
use forelog::storage::{Access, File, LockGuard, RealDisk, Storage};

#[derive(Debug, Default)]
struct Counts {
    writes: AtomicU64,
    bytes: AtomicU64,
    syncs: AtomicU64,
}

#[derive(Debug)]
struct Counting {
    disk: RealDisk,
    counts: Arc<Counts>,
}

impl Counting {
    fn file(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(CountingFile { file, counts: self.counts.clone() })
    }

    fn count_sync(&self) {
        self.counts.syncs.fetch_add(1, Ordering::Relaxed);
    }
}

impl Storage for Counting {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.disk.create(path).map(|file| self.file(file))
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        self.disk.open(path, access).map(|file| self.file(file))
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
        self.count_sync();
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
struct CountingFile {
    file: Arc<dyn File>,
    counts: Arc<Counts>,
}

impl File for CountingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let written = self.file.write_at(bytes, offset)?;
        self.counts.writes.fetch_add(1, Ordering::Relaxed);
        self.counts.bytes.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
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
        self.counts.syncs.fetch_add(1, Ordering::Relaxed);
        self.file.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.counts.syncs.fetch_add(1, Ordering::Relaxed);
        self.file.sync_all()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let counts = Arc::new(Counts::default());
    let disk = Counting { disk: RealDisk, counts: counts.clone() };
    let db = Options::new().storage(Arc::new(disk)).open(dir.path().join("data"))?;
    for number in 0..1000_u32 {
        db.put(number.to_be_bytes(), "value")?;
    }
    db.close()?;
    let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
    println!(
        "1,000 puts: {} writes, {} bytes, {} syncs",
        get(&counts.writes),
        get(&counts.bytes),
        get(&counts.syncs)
    );
    Ok(())
}
