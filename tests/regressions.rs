//! Bugs of the store that were found once, each told by the test that would find it again. Those of the log are in
//! `stories.rs`.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use forelog::storage::SimDisk;
use forelog::wal::Wal;
use forelog::{Error, Lsn, Options, WalOptions};

fn open_log(disk: &SimDisk, segment_bytes: u64) -> Wal {
    let options = WalOptions::new().storage(Arc::new(disk.clone())).idle_mark(None);
    options.segment_bytes(segment_bytes).open("/log").unwrap()
}

/// The segment that a cut makes took its time from the clock alone: with the clock set back, the log's time ran
/// backwards for the next record after a crash.
#[test]
fn time_never_runs_backwards_across_a_cut() {
    let disk = SimDisk::new(1);
    disk.set_clock_us(2_000_000);
    let wal = open_log(&disk, 8192);
    wal.append_many(&[b"1", b"2"]).unwrap();
    disk.set_clock_us(1_000_000);
    wal.cut_after(Lsn::new(1)).unwrap();
    let wal = open_log(&disk.kill(), 8192);
    wal.append(b"3").unwrap();
    let times: Vec<u64> = wal.read_from(Lsn::new(1)).unwrap().map(|record| record.unwrap().time_us).collect();
    assert!(times.is_sorted(), "{times:?}");
}

/// A path that is a file, or options that cannot work, left a lock file or a directory behind.
#[test]
fn what_is_refused_leaves_no_trace() {
    let disk = SimDisk::new(1);
    disk.write_file("/file", b"text");
    let options = || Options::new().storage(Arc::new(disk.clone())).idle_mark(None);
    assert!(matches!(options().open("/file"), Err(Error::NotAStore { .. })));
    assert!(matches!(options().segment_bytes(0).open("/new"), Err(Error::InvalidOption { .. })));
    assert!(matches!(
        WalOptions::new().storage(Arc::new(disk.clone())).open("/file"),
        Err(Error::NotAStore { .. })
    ));
    assert_eq!(disk.files(), [std::path::PathBuf::from("file")]);
    assert_eq!(disk.read_file("/file").unwrap(), b"text");
}
