//! What the tests of the log and the store share: small segments on a simulated disk, and what is read back.

#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod history;
pub(crate) mod hook_disk;
pub(crate) mod slow_disk;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use forelog::format::record::RecordKind;
use forelog::storage::{SimDisk, Storage};
use forelog::wal::{LogReader, Record, Wal};
use forelog::{Db, Lsn, Options, WalOptions};

/// Where the log or the store of a test is.
pub(crate) const DIR: &str = "data";

/// The smallest segments, so that little is needed to fill one.
pub(crate) const SEGMENT_BYTES: u64 = 8192;

/// A log without a background thread.
pub(crate) fn log_on(disk: &(impl Storage + Clone)) -> WalOptions {
    WalOptions::new()
        .storage(Arc::new(disk.clone()))
        .segment_bytes(SEGMENT_BYTES)
        .idle_mark(None)
        .spare_ahead(false)
}

/// A store without a background thread.
pub(crate) fn store_on(disk: &(impl Storage + Clone)) -> Options {
    Options::new()
        .storage(Arc::new(disk.clone()))
        .segment_bytes(SEGMENT_BYTES)
        .idle_mark(None)
        .spare_ahead(false)
}

/// Where its archive is.
pub(crate) const ARCHIVE: &str = "deep/archive";

/// The same, which takes checkpoints only when it is told to.
pub(crate) fn by_hand(disk: &(impl Storage + Clone)) -> Options {
    store_on(disk).checkpoint_after_bytes(None)
}

/// Fills segments: about ten puts each.
pub(crate) fn fill(db: &Db, count: u64) {
    (0..count).for_each(|number| _ = db.put(format!("key{}", number % 60), vec![b'v'; 300]).unwrap());
}

/// All that an open log holds, marks included.
pub(crate) fn records_of(wal: &Wal) -> Vec<Record> {
    wal.read_from(wal.oldest_lsn()).unwrap().map(Result::unwrap).collect()
}

/// The payloads with their LSNs, without marks.
pub(crate) fn data(records: &[Record]) -> Vec<(u64, Vec<u8>)> {
    let data = records.iter().filter(|record| record.kind == RecordKind::Data);
    data.map(|record| (record.lsn.get(), record.payload.clone())).collect()
}

/// The payloads of a log that nobody has open.
pub(crate) fn data_of_closed(disk: &SimDisk) -> Vec<(u64, Vec<u8>)> {
    let reader = LogReader::open_on(Arc::new(disk.clone()), DIR).unwrap();
    data(&reader.map(Result::unwrap).collect::<Vec<_>>())
}

/// A payload that tells where it comes from when it turns up in a dump.
pub(crate) fn payload(number: u64, len: usize) -> Vec<u8> {
    format!("<{number}>").bytes().cycle().take(len).collect()
}

/// The path of a segment.
pub(crate) fn segment(base: u64) -> String {
    format!("{DIR}/{}", forelog::format::names::segment(Lsn::new(base)))
}

/// The paths of all segments, in order.
pub(crate) fn segments(disk: &SimDisk) -> Vec<String> {
    let files = disk.files().into_iter().map(|path| path.to_string_lossy().into_owned());
    files.filter(|path| path.ends_with(".wal") && !path.contains("/lost/")).collect()
}

/// Waits for what another thread does. A failed test must not hang.
pub(crate) fn until(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(20), "never: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
