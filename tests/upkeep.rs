//! Bugs of checkpoints, the archive and restores in a running store, each told by the test that would find it again.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use forelog::storage::{
    ArchiveTarget, DirArchive, Fault, FaultKind, File, OperationFilter, OperationKind, Outcome, SimDisk,
    Storage,
};
use forelog::{Db, Durability, Error, Lsn, Options, RestoreTarget, WriteBatch, WriteOptions, care};

use support::hook_disk::{HookDisk, Latch};
use support::{DIR, store_on, until};

const ARCHIVE: &str = "deep/archive";

fn by_hand(disk: &SimDisk) -> Options {
    store_on(disk).checkpoint_after_bytes(None)
}

fn fill(db: &Db, count: u64) {
    (0..count).for_each(|number| _ = db.put(format!("key{}", number % 60), vec![b'v'; 300]).unwrap());
}

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

/// Moves all files below one directory to another, as unmounting and mounting does.
fn mount(disk: &SimDisk, from: &str, to: &str) {
    for path in disk.files() {
        let name = path.to_string_lossy().into_owned();
        if name.contains(from) {
            let moved = PathBuf::from(name.replace(from, to));
            disk.create_dir(moved.parent().unwrap()).ok();
            disk.rename(&path, &moved).unwrap();
        }
    }
}

/// Where the archive's disk was not mounted, an archive was begun anew in its place, and what went into that was a hole in
/// the real one when it came back. So was it within one process.
#[test]
fn an_archive_that_is_gone_is_not_begun_anew() {
    for opened_again in [false, true] {
        let disk = SimDisk::new(1);
        disk.create_dir(Path::new("away")).unwrap();
        let archived = || by_hand(&disk).archive(Some(Path::new(ARCHIVE))).open(DIR).unwrap();
        let mut db = archived();
        fill(&db, 60);
        db.checkpoint().unwrap();
        let before = db.stats();
        assert_eq!((before.segments, before.archive_failure), (1, None));
        mount(&disk, ARCHIVE, "away");
        if opened_again {
            drop(db);
            db = archived();
            assert_eq!(db.stats().archived_lsn, before.archived_lsn, "it is known from the manifest");
        }
        fill(&db, 60);
        db.checkpoint().unwrap();
        let without = db.stats();
        let failure = without.archive_failure.unwrap();
        assert!(failure.contains("gone, or not mounted"), "{failure}");
        assert!(without.segments > 4, "everything stays: {}", without.segments);
        mount(&disk, "away", ARCHIVE);
        fill(&db, 60);
        let last = db.checkpoint().unwrap();
        let back = db.stats();
        assert_eq!((back.segments, back.archive_failure), (1, None));
        let trail = care::read_log_on(Arc::new(disk.clone()), DIR).unwrap();
        assert!(trail.map(|record| record.unwrap().lsn.get()).eq(1..=last.get()), "the trail is whole");
    }
}

/// What was copied once, and kept by a policy, went while the archive was away: this process had seen it there.
#[test]
fn what_was_archived_stays_while_the_archive_is_away() {
    let disk = SimDisk::new(1);
    disk.create_dir(Path::new("away")).unwrap();
    disk.set_clock_us(1_000_000);
    let for_an_hour = by_hand(&disk).retention("any(age:1h)".parse().unwrap());
    let db = for_an_hour.archive(Some(Path::new(ARCHIVE))).open(DIR).unwrap();
    fill(&db, 60);
    db.checkpoint().unwrap();
    let segments = db.stats().segments;
    mount(&disk, ARCHIVE, "away");
    disk.set_clock_us(8_000_000_000);
    db.prune(false).unwrap();
    assert!(segments > 4 && db.stats().archive_failure.is_some());
    assert_eq!(db.stats().segments, segments);
    mount(&disk, "away", ARCHIVE);
    db.prune(false).unwrap();
    assert_eq!((db.stats().segments, db.stats().archive_failure), (1, None));
}

/// An archive whose disk goes before the second segment.
#[derive(Debug)]
struct Going {
    disk: SimDisk,
    archive: DirArchive,
    segments: AtomicU64,
}

impl ArchiveTarget for Going {
    fn list(&self) -> io::Result<Vec<String>> {
        self.archive.list()
    }
    fn store(
        &self,
        name: &str,
        content: &mut dyn Read,
        check: &dyn Fn(Arc<dyn File>) -> io::Result<()>,
    ) -> io::Result<()> {
        if name.ends_with(".wal") && self.segments.fetch_add(1, Ordering::Relaxed) == 1 {
            mount(&self.disk, ARCHIVE, "away");
        }
        self.archive.store(name, content, check)
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.archive.open(name)
    }
}

/// An archive that went between two of its files: the others went into a new directory in its place, and then from the
/// store.
#[test]
fn an_archive_that_goes_meanwhile_is_missed() {
    let disk = SimDisk::new(1);
    disk.create_dir(Path::new("away")).unwrap();
    let archive = DirArchive::new(Arc::new(disk.clone()), ARCHIVE).unwrap();
    let going = Going { disk: disk.clone(), archive, segments: AtomicU64::new(0) };
    let db = by_hand(&disk).archive_target(Some(Arc::new(going))).open(DIR).unwrap();
    fill(&db, 60);
    let segments = db.stats().segments;
    db.checkpoint().unwrap();
    let stats = db.stats();
    assert!(stats.archive_failure.unwrap().contains("gone, or not mounted"));
    assert_eq!(stats.segments, segments, "all stay");
    disk.create_dir(Path::new("substitute")).unwrap();
    mount(&disk, ARCHIVE, "substitute");
    mount(&disk, "away", ARCHIVE);
    db.prune(false).unwrap();
    assert_eq!((db.stats().segments, db.stats().archive_failure), (1, None));
    let trail = care::read_log_on(Arc::new(disk), ARCHIVE).unwrap();
    let lsns: Vec<u64> = trail.map(|record| record.unwrap().lsn.get()).collect();
    assert!(lsns.len() > 40 && lsns.iter().copied().eq(1..=lsns.len() as u64), "{lsns:?}");
}

/// Where only a checkpoint had gone, and no segment yet, a second archive was begun all the same; nothing led to the LSNs
/// between its checkpoint and the log that the first one had.
#[test]
fn a_checkpoint_that_has_gone_is_missed_too() {
    let disk = SimDisk::new(1);
    disk.create_dir(Path::new("away")).unwrap();
    let db = by_hand(&disk).open("old").unwrap();
    fill(&db, 40);
    db.backup(DIR).unwrap();
    let archived = || by_hand(&disk).archive(Some(Path::new(ARCHIVE))).open(DIR).unwrap();
    let db = archived();
    fill(&db, 3);
    db.checkpoint().unwrap();
    drop(db);
    mount(&disk, ARCHIVE, "away");
    let db = archived();
    fill(&db, 60);
    db.checkpoint().unwrap();
    assert!(db.stats().archive_failure.unwrap().contains("gone, or not mounted"));
    mount(&disk, "away", ARCHIVE);
    db.prune(false).unwrap();
    for lsn in [41, 60] {
        let (disk, target) = (Arc::new(disk.fork()), RestoreTarget::Lsn(Lsn::new(lsn)));
        Db::restore_on(disk, DIR, "out", target).unwrap();
    }
}

/// A slash at the end of the path was another archive, and so the old one was not missed.
#[test]
fn a_slash_more_is_no_other_archive() {
    let disk = SimDisk::new(1);
    disk.create_dir(Path::new("away")).unwrap();
    let failure = |path: String| {
        let db = by_hand(&disk).archive(Some(Path::new(&path))).open(DIR).unwrap();
        fill(&db, 60);
        db.checkpoint().unwrap();
        db.stats().archive_failure
    };
    assert_eq!(failure(ARCHIVE.to_owned()), None);
    mount(&disk, ARCHIVE, "away");
    assert!(failure(format!("{ARCHIVE}/")).is_some());
}

/// A segment that an archive has twice, compressed and plain, was taken for a gap before it.
#[test]
#[cfg(feature = "lz4")]
fn an_archive_may_have_a_segment_twice() {
    let disk = SimDisk::new(1);
    let run = |options: Options| {
        let db = options.open(DIR).unwrap();
        fill(&db, 60);
        db.checkpoint().unwrap();
        db.stats().archive_failure
    };
    let plain = DirArchive::new(Arc::new(disk.clone()), ARCHIVE).unwrap();
    let compressed = Arc::new(forelog::storage::Compressed::new(plain));
    let all = by_hand(&disk).archive(Some(Path::new(ARCHIVE))).retention("all()".parse().unwrap());
    assert_eq!(run(all.archive_target(Some(compressed))), None);
    assert_eq!(run(by_hand(&disk)), None);
    assert_eq!(run(by_hand(&disk).retention("any()".parse().unwrap())), None);
    let trail = care::read_log_on(Arc::new(disk.clone()), DIR).unwrap();
    let lsns: Vec<u64> = trail.map(|record| record.unwrap().lsn.get()).collect();
    assert!(lsns.len() > 180 && lsns.iter().copied().eq(1..=lsns.len() as u64), "{lsns:?}");
    Db::restore_on(Arc::new(disk), DIR, "out", RestoreTarget::Lsn(Lsn::new(40))).unwrap();
}

/// An archive that a program hands in is not kept with the store: an opening without it, as by the command line, removed
/// what should have gone there.
#[test]
fn nothing_goes_while_the_programs_archive_is_not_handed_in() {
    let disk = SimDisk::new(1);
    let target = DirArchive::new(Arc::new(disk.clone()), ARCHIVE).unwrap();
    let handed_in = || by_hand(&disk).archive_target(Some(Arc::new(target.clone())));
    let pruned = |options: Options| {
        let db = options.open(DIR).unwrap();
        fill(&db, 60);
        db.checkpoint().unwrap();
        (db.stats().segments == 1, db.stats().archive_failure)
    };
    assert_eq!(pruned(handed_in()), (true, None));
    let (gone, failure) = pruned(by_hand(&disk));
    assert!(!gone && failure.unwrap().contains("a program has handed an archive in"));
    assert_eq!(pruned(handed_in()), (true, None));
    let trail = care::read_log_on(Arc::new(disk.clone()), ARCHIVE).unwrap();
    assert!(trail.map(|record| record.unwrap().lsn.get()).eq(1..=178), "without a hole");
    // Given up, or another one: that begins where the log does now.
    assert_eq!(pruned(by_hand(&disk).archive(None)), (true, None));
    assert_eq!(pruned(by_hand(&disk)), (true, None));
    assert_eq!(pruned(by_hand(&disk).archive(Some(Path::new("first")))), (true, None));
    assert_eq!(pruned(by_hand(&disk).archive(Some(Path::new("second")))), (true, None));
    let third = DirArchive::new(Arc::new(disk.clone()), "third").unwrap();
    assert_eq!(pruned(by_hand(&disk).archive(None).archive_target(Some(Arc::new(third)))), (true, None));
}

/// A damaged manifest of one archived checkpoint refused everything, also what had no need of it.
#[test]
fn a_damaged_checkpoint_of_an_archive_is_done_without() {
    let disk = SimDisk::new(1);
    let db = by_hand(&disk).archive(Some(Path::new(ARCHIVE))).open(DIR).unwrap();
    fill(&db, 60);
    db.checkpoint().unwrap();
    db.close().unwrap();
    let is_manifest = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "manifest");
    let path = disk.files().into_iter().find(is_manifest).unwrap();
    let mut bytes = disk.read_file(&path).unwrap();
    bytes[30] ^= 1;
    disk.write_file(&path, &bytes);
    for (number, target) in [RestoreTarget::Latest, RestoreTarget::Lsn(Lsn::new(25))].into_iter().enumerate()
    {
        Db::restore_on(Arc::new(disk.clone()), DIR, format!("out{number}"), target).unwrap();
    }
}

/// An archive that held nothing but a checkpoint was not missed by the process that had begun it: a second one was begun
/// in its place, and a checkpoint went that was in neither the store nor there.
#[test]
fn an_archive_of_a_checkpoint_alone_is_missed() {
    for keep in [1, 2] {
        let disk = SimDisk::new(1);
        disk.create_dir(Path::new("away")).unwrap();
        let db = by_hand(&disk).open(DIR).unwrap();
        fill(&db, 60);
        let first = db.checkpoint().unwrap();
        db.close().unwrap();
        let options = by_hand(&disk).keep_checkpoints(keep).archive(Some(Path::new(ARCHIVE)));
        let db = options.open(DIR).unwrap();
        assert_eq!(db.prune(false).unwrap().archived.len(), 1);
        mount(&disk, ARCHIVE, "away");
        for _ in 0..keep {
            fill(&db, 60);
            db.checkpoint().unwrap();
        }
        let failure = db.stats().archive_failure.unwrap();
        assert!(failure.contains("is gone, or not mounted"), "{failure}");
        db.close().unwrap();
        Db::restore_on(Arc::new(disk), DIR, "out", RestoreTarget::Lsn(first)).unwrap();
    }
}

/// A part of an archived checkpoint came to harm; the next process believed the checkpoint's manifest, and removed the
/// store's own copy. What is missing is copied again now, and what is damaged keeps the copy.
#[test]
fn a_checkpoint_goes_only_if_all_of_it_is_archived() {
    for is_missing in [true, false] {
        let disk = SimDisk::new(1);
        let options = by_hand(&disk).archive(Some(Path::new(ARCHIVE)));
        let db = options.clone().open(DIR).unwrap();
        fill(&db, 60);
        let first = db.checkpoint().unwrap();
        db.close().unwrap();
        let is_part = |path: &PathBuf| path.starts_with(ARCHIVE) && path.to_string_lossy().ends_with(".ckpt");
        let part = disk.files().into_iter().find(is_part).unwrap();
        let bytes = disk.read_file(&part).unwrap();
        if is_missing {
            disk.remove(&part).unwrap();
        } else {
            disk.write_file(&part, &bytes[..100]);
        }
        let db = options.open(DIR).unwrap();
        fill(&db, 60);
        db.checkpoint().unwrap();
        assert_eq!(db.stats().archive_failure.is_none(), is_missing);
        db.close().unwrap();
        let own = disk
            .files()
            .iter()
            .filter(|path| path.starts_with(DIR))
            .any(|path| path.ends_with(part.file_name().unwrap()));
        assert_eq!(own, !is_missing, "the store's own copy");
        if is_missing {
            assert_eq!(disk.read_file(&part).unwrap(), bytes);
            Db::restore_on(Arc::new(disk), DIR, "out", RestoreTarget::Lsn(first)).unwrap();
        }
    }
}

/// An archive whose disk goes before one file and is back before the next.
#[derive(Debug)]
struct Blink {
    disk: SimDisk,
    archive: DirArchive,
    segments: AtomicU64,
}

impl ArchiveTarget for Blink {
    fn list(&self) -> io::Result<Vec<String>> {
        self.archive.list()
    }
    fn store(
        &self,
        name: &str,
        content: &mut dyn Read,
        check: &dyn Fn(Arc<dyn File>) -> io::Result<()>,
    ) -> io::Result<()> {
        if name.ends_with(".wal") {
            match self.segments.fetch_add(1, Ordering::Relaxed) {
                1 => mount(&self.disk, ARCHIVE, "away"),
                2 => {
                    mount(&self.disk, ARCHIVE, "substitute");
                    mount(&self.disk, "away", ARCHIVE);
                }
                _ => {}
            }
        }
        self.archive.store(name, content, check)
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.archive.open(name)
    }
}

/// The look after the copies was at how far the archive reaches. It reached far enough, and a segment in the middle had
/// gone into another directory, and then from the store.
#[test]
fn an_archive_that_was_away_for_one_file_is_found_out() {
    let disk = SimDisk::new(1);
    disk.create_dir(Path::new("away")).unwrap();
    disk.create_dir(Path::new("substitute")).unwrap();
    let archive = DirArchive::new(Arc::new(disk.clone()), ARCHIVE).unwrap();
    let blink = Blink { disk: disk.clone(), archive, segments: AtomicU64::new(0) };
    let db = by_hand(&disk).archive_target(Some(Arc::new(blink))).open(DIR).unwrap();
    fill(&db, 60);
    let segments = db.stats().segments;
    db.checkpoint().unwrap();
    let stats = db.stats();
    assert!(stats.archive_failure.unwrap().contains("is gone"));
    assert_eq!(stats.segments, segments, "nothing has gone");
    // The next time it is copied again.
    db.prune(false).unwrap();
    assert_eq!((db.stats().archive_failure, db.stats().segments), (None, 1));
    let trail = care::read_log_on(Arc::new(disk), ARCHIVE).unwrap();
    let lsns: Vec<u64> = trail.map(|record| record.unwrap().lsn.get()).collect();
    assert!(lsns.len() > 40 && lsns.iter().copied().eq(1..=lsns.len() as u64), "{lsns:?}");
}

/// A store set back to an older copy of its directory went on beside the archive of what it had been later: restoring
/// gave a state that it had never had.
#[test]
fn an_archive_of_a_later_state_is_refused() {
    let disk = SimDisk::new(1);
    let open = |disk: &SimDisk| by_hand(disk).archive(Some(Path::new(ARCHIVE))).open(DIR).unwrap();
    let db = open(&disk);
    fill(&db, 60);
    db.checkpoint().unwrap();
    db.close().unwrap();
    let older = disk.fork();
    let db = open(&disk);
    fill(&db, 100);
    db.checkpoint().unwrap();
    db.close().unwrap();
    for path in disk.files().iter().filter(|path| path.starts_with(ARCHIVE)) {
        older.write_file(path, &disk.read_file(path).unwrap());
    }
    let db = open(&older);
    fill(&db, 20);
    db.checkpoint().unwrap();
    let failure = db.stats().archive_failure.unwrap();
    assert!(failure.contains("it is an older state"), "{failure}");
}

/// A process died between the name of a copy and the sync of the archive's directory. The next one found the copy, read it
/// back and removed the original: a power cut took the name.
#[test]
fn what_an_earlier_process_archived_is_made_durable() {
    let hook = HookDisk::new();
    let options = store_on(&hook).checkpoint_after_bytes(None).archive(Some(Path::new(ARCHIVE)));
    let db = options.clone().open(DIR).unwrap();
    fill(&db, 60);
    db.checkpoint().unwrap();
    fill(&db, 5);
    db.checkpoint().unwrap();
    db.put("large", vec![1; 3900]).unwrap(); // goes into the next segment
    let (renamed, died) = (AtomicBool::new(false), Arc::new(AtomicBool::new(false)));
    let dies = died.clone();
    hook.set(move |call, path| {
        if dies.load(Ordering::SeqCst) || !path.to_string_lossy().contains("archive") {
            return;
        }
        let was_renamed = renamed.fetch_or(call == "rename", Ordering::SeqCst);
        let dies_now = call == "sync_dir" && was_renamed;
        dies.store(dies_now, Ordering::SeqCst);
        assert!(!dies_now, "the process dies, as this test wants it");
    });
    let dying = db.clone();
    assert!(thread::spawn(move || dying.prune(false)).join().is_err());
    assert!(died.load(Ordering::SeqCst));
    drop(db);
    let db = options.open(DIR).unwrap();
    db.prune(false).unwrap();
    assert_eq!((db.stats().archive_failure, db.stats().segments), (None, 1));
    let last = db.durable_lsn().get();
    let after = hook.disk.power_cut(&Outcome::None);
    let trail = care::read_log_on(Arc::new(after), DIR).unwrap();
    let lsns: Vec<u64> = trail.map(|record| record.unwrap().lsn.get()).collect();
    assert!(lsns.iter().copied().eq(1..=last), "{lsns:?}");
}
