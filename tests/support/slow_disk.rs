//! A disk on which a test decides when a sync goes on.

#![allow(dead_code, clippy::unwrap_used)]

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use forelog::storage::{Access, File, LockGuard, SimDisk, Storage};
use parking_lot::Mutex;

/// A simulated disk whose file syncs wait, once armed: one message when a sync arrives, one to let it go on.
#[derive(Clone, Debug)]
pub(crate) struct SlowDisk {
    pub(crate) disk: SimDisk,
    gate: Arc<Mutex<Gate>>,
}

#[derive(Debug)]
struct Gate {
    armed: bool,
    arrived: Sender<()>,
    go_on: Receiver<()>,
    early_bytes: Vec<u64>,
    expected: Vec<(u64, u64)>,
}

impl SlowDisk {
    /// From now on, the next sync waits.
    pub(crate) fn arm(&self) {
        self.gate.lock().armed = true;
    }

    /// How many bytes the disk was told to begin with, each time since this was last asked.
    pub(crate) fn early_bytes(&self) -> Vec<u64> {
        std::mem::take(&mut self.gate.lock().early_bytes)
    }

    /// Which ranges the disk was told to expect writes to, since this was last asked: offset and length.
    pub(crate) fn expected(&self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.gate.lock().expected)
    }

    pub(crate) fn new() -> (SlowDisk, Receiver<()>, Sender<()>) {
        let (arrived, has_arrived) = channel();
        let (let_go, go_on) = channel();
        let (early_bytes, expected) = Default::default();
        let gate = Arc::new(Mutex::new(Gate { armed: false, arrived, go_on, early_bytes, expected }));
        (SlowDisk { disk: SimDisk::new(1), gate }, has_arrived, let_go)
    }
}

impl Storage for SlowDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(SlowFile { file: self.disk.create(path)?, gate: self.gate.clone() }))
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        self.disk.open(path, access)
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

#[derive(Debug)]
struct SlowFile {
    file: Arc<dyn File>,
    gate: Arc<Mutex<Gate>>,
}

impl File for SlowFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
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
    fn start_write_out(&self, _: u64, len: u64) {
        self.gate.lock().early_bytes.push(len);
    }
    fn expect_writes(&self, offset: u64, len: u64) {
        self.gate.lock().expected.push((offset, len));
        self.file.expect_writes(offset, len);
    }
    fn sync_data(&self) -> io::Result<()> {
        let mut gate = self.gate.lock();
        if std::mem::take(&mut gate.armed) {
            gate.arrived.send(()).unwrap();
            gate.go_on.recv().unwrap();
        }
        self.file.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}
