//! Each fault does what it says, to the call that was meant, and to no other.

use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use super::super::super::{Access, Storage, read_full_at, write_all_at};
use super::super::{Fault, FaultKind, OperationFilter, OperationKind, SimDisk};
use super::{file, files, found_now, write};

/// A disk with the file `f=old` and this fault set.
fn disk_with(fault: Fault) -> (SimDisk, std::sync::Arc<dyn super::File>) {
    let disk = SimDisk::new(1);
    let file = file(&disk, "f", b"old");
    disk.fail(fault);
    (disk, file)
}

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    result.err().unwrap().kind()
}

/// Fails the third write, and from the third on.
#[test]
fn the_nth_call_fails() {
    for (fault, expected) in [
        (Fault::new(FaultKind::Enospc).at(3), "..x.."),
        (Fault::new(FaultKind::Enospc).at(3).forever(), "..xxx"),
        (Fault::new(FaultKind::Enospc).at(0), "x...."),
    ] {
        let (disk, file) = disk_with(fault.on(OperationKind::Write));
        let mut seen = String::new();
        for _ in 0..5 {
            file.read_at(&mut [0; 3], 0).unwrap();
            match file.write_at(b"new", 0) {
                Ok(_) => seen.push('.'),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::StorageFull);
                    seen.push('x');
                }
            }
        }
        assert_eq!(seen, expected);
        assert_eq!(disk.faults_hit(), seen.matches('x').count() as u64);
        disk.clear_faults();
        write(&file, b"new", 0);
    }
}

/// Lets a fault loose on each kind of call: it hits that one and nothing else.
#[test]
fn filters_meet_their_kind() {
    type Call = fn(&SimDisk) -> io::Result<()>;
    let calls: [(OperationKind, Call); 8] = [
        (OperationKind::Create, |disk| disk.create(Path::new("g")).map(drop)),
        (OperationKind::Open, |disk| disk.open(Path::new("f"), Access::Read).map(drop)),
        (OperationKind::CreateDir, |disk| disk.create_dir(Path::new("d"))),
        (OperationKind::Rename, |disk| disk.rename(Path::new("f"), Path::new("h"))),
        (OperationKind::Remove, |disk| disk.remove(Path::new("h"))),
        (OperationKind::List, |disk| disk.list(Path::new("")).map(drop)),
        (OperationKind::Lock, |disk| disk.lock(Path::new("LOCK"), true).map(drop)),
        (OperationKind::SyncDir, |disk| disk.sync_dir(Path::new(""))),
    ];
    for (failing, call) in calls {
        for (other, _) in calls {
            let (disk, _file) = disk_with(Fault::new(FaultKind::Eio).on(other));
            disk.write_file("h", b"");
            assert_eq!(call(&disk).is_err(), failing == other, "{failing:?} under a fault on {other:?}");
        }
        let (disk, _file) = disk_with(Fault::new(FaultKind::Eio).on(OperationFilter::changes()));
        disk.write_file("h", b"");
        assert_eq!(call(&disk).is_err(), failing.is_change(), "{failing:?} under a fault on changes");
    }
    let (disk, _file) = disk_with(Fault::new(FaultKind::Eio).on(OperationFilter::any().named(".wal")));
    disk.create(Path::new("a.txt")).unwrap();
    assert!(disk.rename(Path::new("a.txt"), Path::new("a.wal")).is_err(), "a rename has two names");
    assert_eq!(files(&disk), "a.txt= f=old", "nothing was done");
}

/// Short and interrupted reads and writes are legal, and looped over by the helpers of `storage`.
#[test]
fn short_and_interrupted_calls_are_looped() {
    for fault in [FaultKind::Interrupted, FaultKind::ShortWrite(1), FaultKind::ShortRead(1)] {
        let (disk, file) = disk_with(Fault::new(fault));
        write_all_at(&*file, b"longer", 0).unwrap();
        let mut bytes = [0; 9];
        assert_eq!(read_full_at(&*file, &mut bytes, 0).unwrap(), 6);
        assert_eq!((&bytes[..6], disk.faults_hit()), (&b"longer"[..], 1));
    }
    let (_disk, file) = disk_with(Fault::new(FaultKind::ShortWrite(0)).forever());
    assert_eq!(kind(write_all_at(&*file, b"x", 0)), ErrorKind::WriteZero);
}

/// A write that fails half-way has written half.
#[test]
fn a_partial_write_leaves_its_part() {
    let (disk, file) = disk_with(Fault::new(FaultKind::PartialWriteThenEio(2)));
    disk.record();
    assert_eq!(file.write_at(b"NEW", 0).unwrap_err().raw_os_error(), Some(5));
    assert_eq!(files(&disk), "f=NEd");
    assert_eq!(found_now(&disk), ["f=NEd", "f=old"]);
    assert_eq!(disk.take_crash_points().len(), 1);
}

/// A failed sync marks the pages clean: syncing again saves nothing, writing the same bytes again does.
#[test]
fn a_lost_sync_is_not_made_good_by_another() {
    let (disk, file) = disk_with(Fault::new(FaultKind::SyncLost));
    write(&file, b"new", 0);
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    assert_eq!(files(&disk), "f=new", "still in the cache");
    assert_eq!(found_now(&disk), ["f=old"], "and nowhere else");
    assert_eq!(found_now(&disk.kill()), ["f=old"]);
    let (disk, file) = disk_with(Fault::new(FaultKind::SyncLost));
    write(&file, b"new", 0);
    assert!(file.sync_data().is_err());
    write(&file, b"ne", 0);
    file.sync_data().unwrap();
    assert_eq!(found_now(&disk), ["f=new"], "a rewritten sector is saved whole");
}

/// A failed sync may also throw away what it should have saved: bytes, length, and names.
#[test]
fn a_reverted_sync_empties_the_cache() {
    let (disk, file) = disk_with(Fault::new(FaultKind::SyncReverted));
    write(&file, b"newer", 0);
    assert!(file.sync_data().is_err());
    assert_eq!((files(&disk), found_now(&disk)), ("f=old".into(), vec!["f=old".into()]));

    let (disk, _file) = disk_with(Fault::new(FaultKind::SyncReverted));
    disk.create_dir(Path::new("d")).unwrap();
    disk.create(Path::new("d/lost")).unwrap();
    disk.rename(Path::new("f"), Path::new("g")).unwrap();
    assert!(disk.sync_dir(Path::new("")).is_err());
    assert_eq!((files(&disk), found_now(&disk)), ("f=old".into(), vec!["f=old".into()]));
    disk.create_dir(Path::new("d")).unwrap();
    assert_eq!(disk.list(Path::new("d")).unwrap(), [""; 0]);
}

/// A directory's sync that is lost takes its names along.
#[test]
fn a_lost_directory_sync_loses_names() {
    let (disk, _file) = disk_with(Fault::new(FaultKind::SyncLost));
    disk.rename(Path::new("f"), Path::new("g")).unwrap();
    assert!(disk.sync_dir(Path::new("")).is_err());
    disk.sync_dir(Path::new("")).unwrap();
    assert_eq!((files(&disk), found_now(&disk)), ("g=old".into(), vec!["f=old".into()]));
}

/// While a sync stalls, others read; what they write meanwhile is not saved by it.
#[test]
fn a_stalled_sync_blocks_nobody() {
    let (disk, file) = disk_with(Fault::new(FaultKind::SyncStall(Duration::from_millis(300))));
    write(&file, b"new", 0);
    let began = std::time::Instant::now();
    std::thread::scope(|scope| {
        let sync = scope.spawn(|| file.sync_data());
        while disk.faults_hit() == 0 {
            std::thread::yield_now();
        }
        assert_eq!(files(&disk), "f=new");
        write(&file, b"NEW", 0);
        assert!(began.elapsed() < Duration::from_millis(300), "reads and writes go on");
        sync.join().unwrap().unwrap();
    });
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(found_now(&disk), ["f=NEW", "f=new"]);
}

/// Fills a small disk: writes get short, then fail; lengths count even when nothing is written; removing makes room.
#[test]
fn a_full_disk_takes_what_fits() {
    let (disk, file) = disk_with(Fault::new(FaultKind::Eio).at(u64::MAX));
    disk.set_quota(10);
    assert_eq!(file.write_at(b"0123456789ab", 0).unwrap(), 10);
    assert_eq!(kind(file.write_at(b"ab", 10)), ErrorKind::StorageFull);
    file.write_at(b"overwriting is free", 0).unwrap();
    let second = disk.create(Path::new("g")).unwrap();
    assert_eq!(kind(second.allocate(1)), ErrorKind::StorageFull);
    file.set_len(4).unwrap();
    second.allocate(6).unwrap();
    assert_eq!(kind(second.set_len(7)), ErrorKind::StorageFull);
    disk.remove(Path::new("g")).unwrap();
    assert_eq!(kind(file.set_len(5)), ErrorKind::StorageFull, "an open file still takes its room");
    drop(second);
    file.set_len(10).unwrap();
    assert_eq!(kind(file.set_len(u64::MAX)), ErrorKind::InvalidInput);
}

/// Whoever says that writes are to be expected vouches for zeros: a disk may write zeros there.
#[test]
fn writes_may_be_expected_only_where_zeros_are() {
    let disk = SimDisk::new(1);
    let file = file(&disk, "f", b"ab");
    file.set_len(2000).unwrap();
    write(&file, b"z", 1000);
    for (offset, len) in [(2, 998), (1001, 999), (1001, u64::MAX), (5000, 1), (1000, 0)] {
        file.expect_writes(offset, len);
    }
    for (offset, len) in [(1, 1), (0, 2), (2, 999), (1000, 1), (900, u64::MAX)] {
        let refused = catch_unwind(AssertUnwindSafe(|| file.expect_writes(offset, len)));
        assert!(refused.is_err(), "{len} bytes at {offset}");
    }
    let bytes = disk.read_file(Path::new("f")).unwrap();
    assert_eq!(bytes.len(), 2000);
    // Who damages a file on purpose is no mistake of its user.
    disk.write_file(Path::new("f"), &bytes);
    file.expect_writes(900, u64::MAX);
}
