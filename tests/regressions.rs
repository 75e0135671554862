//! Bugs that were found once, each told by the test that would find it again.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use forelog::event::{Event, Listener};
use forelog::storage::{MemoryDisk, SimDisk};
use forelog::wal::Wal;
use forelog::{Db, Durability, Error, Lsn, Options, WalOptions};

fn open_log(disk: &SimDisk, segment_bytes: u64) -> Wal {
    let options = WalOptions::new().storage(Arc::new(disk.clone())).idle_mark(None);
    options.segment_bytes(segment_bytes).open("/log").unwrap()
}

fn payloads(wal: &Wal, from: u64) -> Vec<String> {
    let records = wal.read_from(Lsn::new(from)).unwrap();
    records.map(|record| String::from_utf8(record.unwrap().payload).unwrap()).collect()
}

/// A reader that began before the cut's place went on in the old file, past what its successor had cut off, and gave
/// out removed records: `read_from(1)` said "old" where `read_from(2)` said "new".
#[test]
fn reading_across_a_cut_gives_what_is_in_the_log() {
    let disk = SimDisk::new(1);
    let wal = open_log(&disk, 8192);
    wal.append(b"1").unwrap();
    wal.append(b"old").unwrap();
    let mut running = wal.read_from(Lsn::new(1)).unwrap();
    assert_eq!(running.next().unwrap().unwrap().payload, b"1");
    wal.cut_after(Lsn::new(1)).unwrap();
    wal.append(b"new").unwrap();
    assert_eq!(payloads(&wal, 1), ["1", "new"]);
    assert_eq!(running.next().unwrap().unwrap().payload, b"new", "a reader that was already in the old file");
    wal.close().unwrap();
    let wal = open_log(&disk, 8192);
    assert_eq!(payloads(&wal, 1)[..2], ["1", "new"]);
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

/// A segment without a record was followed by one of the same base, so of the same name, when a record came that was
/// too long for it: the log then listed both, and sealed a file that was gone.
#[test]
fn a_segment_without_a_record_is_replaced_by_a_longer_one() {
    let disk = SimDisk::new(1);
    drop(open_log(&disk, 8192));
    let wal = open_log(&disk, 8192);
    wal.rotate().unwrap();
    let base = wal.segments().last().unwrap().base_lsn;
    let disk = disk.kill();
    drop(wal);
    let wal = open_log(&disk, 1 << 20);
    let lsn = wal.append(&[7; 100_000]).unwrap();
    assert_eq!(lsn, base);
    assert_eq!(wal.segments().iter().filter(|segment| segment.base_lsn == base).count(), 1);
    wal.append(b"next").unwrap();
    wal.close().unwrap();
    let wal = open_log(&disk, 1 << 20);
    assert_eq!(wal.read_from(lsn).unwrap().next().unwrap().unwrap().payload.len(), 100_000);
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

/// The background thread added the interval to the time of day, and one that ends beyond the end of time panicked: in
/// a write that stood in the log already. The same with the time of idleness, in the thread.
#[test]
fn an_interval_may_be_for_ever() {
    let options = Options::new().storage(Arc::new(MemoryDisk::new())).idle_mark(Some(Duration::MAX));
    let db = options.durability(Durability::Interval(Duration::MAX)).open("/store").unwrap();
    db.put("a", "1").unwrap();
    db.put("b", "2").unwrap();
    db.close().unwrap();
}

/// A snapshot looked a keyspace up by its number alone, and showed its own one of the same number for that of another
/// store.
#[test]
fn a_snapshot_knows_the_keyspaces_of_its_own_store_only() {
    let open = || Options::new().storage(Arc::new(MemoryDisk::new())).open("/store").unwrap();
    let (one, other) = (open(), open());
    let here = one.keyspace("here").unwrap();
    here.put("a", "1").unwrap();
    let there = other.keyspace("there").unwrap();
    let snapshot = one.snapshot();
    assert!(snapshot.keyspace(&here).unwrap().contains("a"));
    assert!(matches!(snapshot.keyspace(&there), Err(Error::UnknownKeyspace { name }) if name == "there"));
    let default = Db::find_keyspace(&other, "default").unwrap();
    assert!(snapshot.keyspace(&default).is_err());
}

/// Appends a record while the sync before the first mark is under way.
#[derive(Debug, Default)]
struct Late(OnceLock<Weak<Wal>>, OnceLock<()>);

impl Listener for Late {
    fn event(&self, event: &Event<'_>) {
        if let (Event::Synced { .. }, Some(wal)) = (event, self.0.get().and_then(Weak::upgrade))
            && self.1.set(()).is_ok()
        {
            wal.append_with(&[b"late"], Durability::Buffered).unwrap();
        }
    }
}

/// A mark proves what was durable when it was written, and a record that came between the mark's sync and the mark is
/// not among that. Yet no further mark was written for it, so rot in it could be taken for a torn tail.
#[test]
fn a_record_that_comes_before_a_mark_unsynced_gets_a_mark_of_its_own() {
    let late = Arc::new(Late::default());
    let options = WalOptions::new().storage(Arc::new(MemoryDisk::new())).idle_mark(None);
    let wal = Arc::new(options.listener(late.clone()).open("/log").unwrap());
    late.0.set(Arc::downgrade(&wal)).unwrap();
    wal.append_with(&[b"1"], Durability::Buffered).unwrap();
    assert_eq!(wal.mark().unwrap(), Lsn::new(3), "1, late, the mark");
    assert_eq!(wal.mark().unwrap(), Lsn::new(4), "late is not proven yet");
    assert_eq!(wal.mark().unwrap(), Lsn::new(4), "everything is proven");
    let last = wal.read_from(Lsn::new(4)).unwrap().next().unwrap().unwrap();
    assert_eq!(last.durable_lsn, Lsn::new(3));
}
