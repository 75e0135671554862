//! Bugs of checkpoints, copies to the archive and restores in a running store, each told by the test that would find it
//! again. Those of an archive that is away, or another one: `archive.rs`.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use forelog::storage::{
    ArchiveTarget, Fault, FaultKind, File, OperationFilter, OperationKind, Outcome, SimDisk,
};
use forelog::{Db, Durability, Error, Lsn, RestoreTarget, WriteBatch, WriteOptions, care};

use support::hook_disk::{HookDisk, Latch};
use support::{ARCHIVE, DIR, by_hand, fill, store_on, until};

/// The write that made a checkpoint due was not visible yet when the checkpoint began: it found nothing new, and no other
/// was ever due again. So was it when a checkpoint by hand came in between.
#[test]
fn a_checkpoint_that_finds_nothing_new_is_not_the_last() {
    for by_hand in [false, true] {
        let db = store_on(&SimDisk::new(1)).checkpoint_after_bytes(Some(2000)).open(DIR).unwrap();
        db.put("large", vec![7; 3500]).unwrap();
        for _ in 0..20 {
            if by_hand {
                db.checkpoint().unwrap();
            }
            let before = db.stats().checkpoint_lsn;
            until("a checkpoint by itself", || {
                fill(&db, 20);
                db.stats().checkpoint_lsn > before
            });
        }
    }
}

/// A panic in the background thread was the last that was heard of checkpoints.
#[test]
fn checkpoints_survive_a_panic() {
    let disk = HookDisk::new();
    let db = store_on(&disk).checkpoint_after_bytes(Some(20_000)).open(DIR).unwrap();
    let once = AtomicBool::new(false);
    disk.set(move |call, path| {
        let is_part = call == "create" && path.extension().is_some_and(|ending| ending == "ckpt");
        assert!(!is_part || once.swap(true, Ordering::SeqCst), "the disk panics, as this test wants it");
    });
    until("the panic is told", || {
        fill(&db, 5);
        db.stats().checkpoint_failure.is_some()
    });
    until("another attempt", || {
        fill(&db, 5);
        db.stats().checkpoint_lsn.is_some()
    });
    assert_eq!(db.stats().checkpoint_failure, None);
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// While a close took its checkpoint, writes were taken and nobody kept their intervals; and a future was never woken.
#[test]
fn who_writes_beside_a_close_is_served_to_the_end() {
    let disk = HookDisk::new();
    let options = store_on(&disk).checkpoint_after_bytes(None).checkpoint_on_close(true);
    let db = options.open(DIR).unwrap();
    db.put("a", "1").unwrap();
    let (latch, once) = (Latch::default(), AtomicBool::new(false));
    let here = latch.clone();
    disk.set(move |call, path| {
        let is_part = call == "sync_all" && path.extension().is_some_and(|ending| ending == "ckpt");
        if is_part && !once.swap(true, Ordering::SeqCst) {
            here.wait_here();
        }
    });
    let closing = db.clone();
    let closer = thread::spawn(move || closing.close());
    until("the checkpoint stalls", || latch.has_arrived());
    let write = |durability| {
        let mut batch = WriteBatch::new();
        batch.put("k", "v");
        db.write_with(batch, &WriteOptions::new().durability(durability)).unwrap()
    };
    let lsn = write(Durability::Interval(Duration::from_millis(5)));
    until("the interval is kept", || db.durable_lsn() >= lsn);
    let lsn = write(Durability::Buffered);
    let mut future = db.durable(lsn).unwrap();
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let waker: Waker = flag.clone().into();
    let pending = matches!(Pin::new(&mut future).poll(&mut Context::from_waker(&waker)), Poll::Pending);
    latch.open();
    closer.join().unwrap().unwrap();
    until("the future is woken", || !pending || flag.0.load(Ordering::SeqCst));
}

/// The directory of an archive was relied on although the sync of its name had failed: a power cut took all of it, and
/// the originals were gone. So were single names in it.
#[test]
fn what_is_relied_on_in_an_archive_is_durable() {
    for (dir, at) in [("deep", 1), ("archive", 1), ("archive", 2), ("archive", 3), ("archive", 4)] {
        let disk = SimDisk::new(1);
        let archived = || by_hand(&disk).archive(Some(Path::new(ARCHIVE))).open(DIR).unwrap();
        let db = archived();
        fill(&db, 60);
        let on = OperationFilter::from(OperationKind::SyncDir).named(dir);
        disk.fail(Fault::new(FaultKind::Eio).on(on).at(at));
        db.checkpoint().unwrap();
        assert!(db.stats().archive_failure.is_some(), "{dir} {at}");
        disk.clear_faults();
        drop(db);
        let db = archived();
        fill(&db, 60);
        db.checkpoint().unwrap();
        assert_eq!(db.stats().archive_failure, None, "{dir} {at}: it is made up for");
        let first = db.prune(true).unwrap().kept.len();
        assert!(first < 5, "{dir} {at}: what is archived has gone");
        let after = disk.power_cut(&Outcome::None);
        let trail = care::read_log_on(Arc::new(after.clone()), DIR).unwrap();
        assert!(trail.map(|record| record.unwrap().lsn.get()).eq(1..=db.durable_lsn().get()), "{dir} {at}");
        Db::restore_on(Arc::new(after), DIR, "out", RestoreTarget::Lsn(Lsn::new(25))).unwrap();
    }
}

/// One failed sync in the archive's directory left a name that every later attempt stumbled over.
#[test]
fn archiving_goes_on_after_a_failure() {
    let disk = SimDisk::new(1);
    let db = by_hand(&disk).archive(Some(Path::new(ARCHIVE))).open(DIR).unwrap();
    fill(&db, 60);
    let on = OperationFilter::from(OperationKind::SyncDir).named("archive");
    disk.fail(Fault::new(FaultKind::Eio).on(on).at(3));
    db.checkpoint().unwrap();
    assert!(db.stats().archive_failure.is_some());
    fill(&db, 60);
    db.checkpoint().unwrap();
    let stats = db.stats();
    assert_eq!((stats.archive_failure, stats.segments), (None, 1));
}

/// An archive in a directory that is a store, its own or another one, lost what it was given.
#[test]
fn an_archive_is_no_store() {
    let disk = SimDisk::new(1);
    by_hand(&disk).open("other").unwrap().close().unwrap();
    for archive in [DIR, "other"] {
        let disk = disk.fork();
        let db = by_hand(&disk).archive(Some(Path::new(archive))).open(DIR).unwrap();
        fill(&db, 60);
        db.checkpoint().unwrap();
        let stats = db.stats();
        assert!(stats.archive_failure.unwrap().contains("a store is there"), "{archive}");
        assert!(stats.segments > 2, "nothing goes");
    }
}

/// An archive that takes its time.
#[derive(Debug)]
struct Slow;

impl ArchiveTarget for Slow {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
    fn store(
        &self,
        _: &str,
        content: &mut dyn Read,
        _: &dyn Fn(Arc<dyn File>) -> io::Result<()>,
    ) -> io::Result<()> {
        thread::sleep(Duration::from_millis(100));
        io::copy(content, &mut io::sink()).map(drop)
    }
    fn open(&self, _: &str) -> io::Result<Arc<dyn File>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// A close waited for everything that was to be archived, not only for the file that was under way.
#[test]
fn a_close_gives_up_archiving() {
    let disk = SimDisk::new(1);
    let options = store_on(&disk).checkpoint_after_bytes(Some(20_000)).archive_target(Some(Arc::new(Slow)));
    let db = options.open(DIR).unwrap();
    fill(&db, 700);
    until("a checkpoint", || db.stats().checkpoint_lsn.is_some());
    db.close().unwrap();
    assert!(db.stats().segments > 10, "not all of it was copied");
}

/// Copying to the archive went as fast as it could, whatever limit was set and whoever waited for the disk; and a close
/// waited until a whole segment was copied.
#[test]
fn an_archive_is_added_to_at_the_pace_of_a_checkpoint() {
    let disk = SimDisk::new(1);
    let db = by_hand(&disk).open(DIR).unwrap();
    fill(&db, 60);
    db.close().unwrap();
    let archived = by_hand(&disk).archive(Some(Path::new(ARCHIVE)));
    let in_archive = |ending: &str| {
        let files = disk.files();
        let ends = |file: &&PathBuf| file.to_string_lossy().ends_with(ending);
        files.iter().filter(|file| file.to_string_lossy().contains(ARCHIVE)).filter(ends).count()
    };
    // A segment would take an hour.
    let db = archived.clone().checkpoint_bytes_per_second(Some(1)).open(DIR).unwrap();
    let pruned = thread::spawn({
        let db = db.clone();
        move || db.prune(false)
    });
    until("a segment is on its way", || in_archive(".wal.tmp") == 1);
    db.close().unwrap();
    let report = pruned.join().unwrap().unwrap();
    assert_eq!((report.archived.len(), report.removed.len()), (0, 0));
    assert_eq!((in_archive(".wal"), in_archive(".tmp"), db.stats().archive_failure), (0, 0, None));
    let db = archived.open(DIR).unwrap();
    db.prune(false).unwrap();
    assert!(in_archive(".wal") > 2, "{:?}", disk.files());
}

/// A file that could not be removed poisoned the store, although nothing was wrong with its log.
#[test]
fn a_failed_removal_does_not_poison() {
    let disk = SimDisk::new(1);
    let db = by_hand(&disk).open(DIR).unwrap();
    fill(&db, 60);
    disk.fail(Fault::new(FaultKind::Eio).on(OperationKind::Remove));
    db.checkpoint().unwrap();
    assert!(db.stats().checkpoint_failure.unwrap().contains("cannot remove"));
    fill(&db, 10);
    db.prune(false).unwrap();
    assert_eq!((db.stats().checkpoint_failure, db.stats().segments), (None, 2));
}

/// A time between the last segment of an archive and its newest checkpoint gave an older state without a word; and a
/// checkpoint of a clock that had run back was taken for an early one.
#[test]
fn a_time_that_an_archive_has_not_is_refused() {
    let disk = SimDisk::new(1);
    let second = 1_000_000;
    disk.set_clock_us(10 * second);
    let db = by_hand(&disk).archive(Some(Path::new(ARCHIVE))).open(DIR).unwrap();
    fill(&db, 40);
    disk.set_clock_us(20 * second);
    let between = db.put("late", "1").unwrap();
    disk.set_clock_us(5 * second);
    let covered = db.checkpoint().unwrap();
    assert_eq!(covered, between);
    let restore = |time_us, out: &str| {
        let target = RestoreTarget::TimeUs(time_us);
        Db::restore_on(Arc::new(disk.clone()), ARCHIVE, out, target).map(|copied| copied.lsn)
    };
    let unknown = restore(15 * second, "one");
    assert!(matches!(unknown, Err(Error::Compacted { oldest }) if oldest == covered), "{unknown:?}");
    assert_eq!(restore(6 * second, "two").unwrap(), Lsn::ZERO);
    assert_eq!(restore(30 * second, "three").unwrap(), covered);
}

/// What the log held already counts, when a store is opened: it needs no more than was left until the next checkpoint.
#[test]
fn what_was_written_before_counts() {
    let disk = SimDisk::new(1);
    let options = || store_on(&disk).checkpoint_after_bytes(Some(30_000)).checkpoint_on_close(false);
    let db = options().open(DIR).unwrap();
    fill(&db, 70); // some 25,000 bytes
    db.close().unwrap();
    assert_eq!(db.stats().checkpoint_lsn, None);
    drop(db);
    let db = options().open(DIR).unwrap();
    fill(&db, 5);
    thread::sleep(Duration::from_millis(50));
    assert_eq!(db.stats().checkpoint_lsn, None, "not yet");
    fill(&db, 20);
    until("a checkpoint by itself", || db.stats().checkpoint_lsn.is_some());
    db.close().unwrap();
    let behind_it = db.stats().checkpoint_lsn;
    drop(db);
    let db = options().open(DIR).unwrap();
    fill(&db, 5);
    thread::sleep(Duration::from_millis(50));
    assert_eq!(db.stats().checkpoint_lsn, behind_it, "only what lies behind it counts");
}

/// A policy of age counts from when a segment's last record was written, to the second.
#[test]
fn age_counts_from_the_last_record() {
    const SECOND: u64 = 1_000_000;
    let disk = SimDisk::new(1);
    disk.set_clock_us(1_000_000 * SECOND);
    let policy = "any(age:60s)".parse().unwrap();
    let db = by_hand(&disk).retention(policy).open(DIR).unwrap();
    fill(&db, 30);
    disk.set_clock_us(1_000_010 * SECOND);
    fill(&db, 30);
    db.checkpoint().unwrap();
    let all = db.stats().segments;
    let left = |clock: u64| {
        disk.set_clock_us(clock * SECOND);
        db.prune(false).unwrap();
        db.stats().segments
    };
    assert_eq!(left(1_000_059), all);
    let young = left(1_000_065);
    assert!(1 < young && young < all, "{young} of {all}");
    assert_eq!(left(1_000_071), 1);
}
