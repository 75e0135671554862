//! What the simulated disk promises to the tests that stand on it.
//!
//! A disk that forgives a missing sync makes every crash test above it worthless, and one that takes more than a power
//! cut can take makes them fail for nothing. So both directions are shown: `durability`, `faults` and
//! `outcomes` by example, `model` against naive models in plain arrays and maps.

mod durability;
mod faults;
mod model;
mod outcomes;

use std::path::Path;
use std::sync::Arc;

use super::super::{File, Storage, write_all_at};
use super::{CrashPoint, Outcome, SimDisk};

/// A file at the root whose name and bytes are durable.
fn file(disk: &SimDisk, name: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = disk.create(Path::new(name)).unwrap();
    write(&file, bytes, 0);
    file.sync_all().unwrap();
    disk.sync_dir(Path::new("")).unwrap();
    file
}

fn write(file: &Arc<dyn File>, bytes: &[u8], offset: u64) {
    write_all_at(&**file, bytes, offset).unwrap();
}

/// All files as text, in order: `a=one b=two`.
fn files(disk: &SimDisk) -> String {
    let text = |path: &Path| String::from_utf8_lossy(&disk.read_file(path).unwrap()).into_owned();
    let files: Vec<String> =
        disk.files().iter().map(|path| format!("{}={}", path.display(), text(path))).collect();
    files.join(" ")
}

/// What may be found after a power cut, nothing being torn: sorted, each once.
fn found(point: &CrashPoint) -> Vec<String> {
    let subsets = 0..1_u64 << point.changes();
    let mut found: Vec<String> = subsets.map(|bits| files(&point.apply(&Outcome::Subset(bits)))).collect();
    found.sort();
    found.dedup();
    found
}

/// What may be found after a power cut now.
fn found_now(disk: &SimDisk) -> Vec<String> {
    found(&disk.crash_point_now())
}
