//! Shows what the commit path does beside a slow, failing or full disk, with real threads: who waits, who is woken, and
//! what the background does. The orders in which threads may run are tried by `tests/schedules.rs`.

#![allow(clippy::unwrap_used)]

mod support;

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use forelog::event::{Event, Listener};
use forelog::storage::{Fault, FaultKind, MemoryDisk, OperationKind, Outcome, SimDisk};
use forelog::{Db, Durability, Durable, Error, Lsn, Options, WriteBatch, WriteOptions};

use support::slow_disk::SlowDisk;
use support::{DIR, log_on, store_on, until};

fn put_buffered(db: &Db, key: &str, value: &[u8]) -> forelog::Result<Lsn> {
    let mut batch = WriteBatch::new();
    batch.put(key, value);
    db.write_with(batch, &WriteOptions::new().durability(Durability::Buffered))
}

/// The disk may begin with a large batch while it is applied, but only where a sync follows: what is buffered is left to
/// the kernel's leisure, and for a single put it would take longer to tell the disk than there is to gain.
#[test]
fn the_disk_is_told_early_of_much_that_a_sync_will_want() {
    let (slow, _, _) = SlowDisk::new();
    let db = store_on(&slow).segment_bytes(1 << 20).open(DIR).unwrap();
    let hundred = || {
        let mut batch = WriteBatch::new();
        (0..100_u8).for_each(|number| batch.put([number], [number; 100]));
        batch
    };
    slow.early_bytes();
    db.put("one", "1").unwrap();
    db.write_with(hundred(), &WriteOptions::new().durability(Durability::Buffered)).unwrap();
    assert_eq!(slow.early_bytes(), []);
    db.write(hundred()).unwrap();
    let told = slow.early_bytes();
    assert!(matches!(told[..], [bytes] if bytes > 10_000), "once, of the whole record: {told:?}");
}

/// Blocks are asked for a stretch at a time, and only by writes that a sync follows: the others do not wait for a commit
/// of the file system's journal. A write that brings blocks enough of its own asks for none.
#[test]
fn the_disk_is_told_what_to_expect_once_a_stretch() {
    let (slow, _, _) = SlowDisk::new();
    let log = log_on(&slow).segment_bytes(800 << 10).idle_mark(None).open(DIR).unwrap();
    let record = 48 + 1000; // a multiple of 8
    let start = 4096;
    assert_eq!(slow.expected(), []);

    log.append_with(&[&[7; 1000]], Durability::Buffered).unwrap();
    assert_eq!(slow.expected(), [], "no sync follows");
    log.append(&[7; 1000]).unwrap();
    let stretch = 64 << 10;
    assert_eq!(slow.expected(), [(start + 2 * record, stretch)]);
    for _ in 0..stretch / record {
        log.append(&[7; 1000]).unwrap();
    }
    assert_eq!(slow.expected(), [], "as far as that goes, nothing more is asked for");
    log.append(&vec![7; 100_000]).unwrap();
    assert_eq!(slow.expected(), [], "what is long has blocks of its own");
    log.append(&[7; 1000]).unwrap();
    let told = slow.expected();
    assert!(matches!(told[..], [(_, len)] if len == stretch), "{told:?}");
    (0..stretch / record).for_each(|_| _ = log.append(&[7; 1000]).unwrap());
    log.append_many(&[&[7; 1000][..]; 5]).unwrap();
    let told = slow.expected();
    assert!(matches!(told[..], [(_, len)] if len == 4 * stretch), "more for a group: {told:?}");
    (0..4).for_each(|_| _ = log.append_many(&[&[7; 1000][..]; 50]).unwrap());

    // The end of a segment, and the next one.
    log.append_many(&[&[7; 155_000], &[7; 155_000]]).unwrap();
    log.append(&[7; 1000]).unwrap();
    let told = slow.expected();
    assert!(matches!(told[..], [(offset, len)] if offset + len == (800 << 10) - 40), "{told:?}");
    log.rotate().unwrap();
    log.append(&[7; 1000]).unwrap();
    assert_eq!(slow.expected(), [(start + record, stretch)]);
}

/// A write fails while others wait behind a sync that the disk does not finish: they hear of it at once, because no sync
/// after this one would be believed. Reads do not wait for the disk meanwhile, and what is not published is not seen.
///
/// Broken: src/wal/log.rs: `self.gate.wake(); self.owe_wakes();` to `self.owe_wakes();`
#[test]
fn whoever_waits_behind_a_stalled_sync_hears_of_a_failed_write_at_once() {
    let (slow, arrived, go_on) = SlowDisk::new();
    let disk = slow.disk.clone();
    let db = store_on(&slow).open(DIR).unwrap();
    db.put("before", "1").unwrap();
    thread::scope(|scope| {
        let go_on = go_on; // goes when a check fails, and with it the thread that is stalled
        slow.arm();
        let leading = scope.spawn(|| db.put("leads", "1"));
        arrived.recv().unwrap();
        // Logged and applied while the disk works; they wait for the next sync.
        let put = |key: String| db.put(key, "1");
        let waiting: Vec<_> = (0..3).map(|n| scope.spawn(move || put(format!("waits {n}")))).collect();
        until("all are in the log", || db.stats().last_lsn == Lsn::new(5));
        assert!(db.get("before").unwrap().is_some());
        assert!(db.get("leads").unwrap().is_none() && db.get("waits 1").unwrap().is_none());

        disk.fail(Fault::new(FaultKind::Eio).on(OperationKind::Write));
        let failing = Instant::now();
        assert!(matches!(put_buffered(&db, "fails", b"1"), Err(Error::Poisoned { .. })));
        until("all waiters have an answer", || waiting.iter().all(|waiter| waiter.is_finished()));
        let took = failing.elapsed();
        println!("three waiters heard of a failed write after {took:?}, 0 violations");
        // A promise that is generous for what waking takes, and far from the stalled sync, which has no end.
        assert!(took < Duration::from_millis(100), "{took:?}");
        for waiter in waiting {
            assert!(matches!(waiter.join().unwrap(), Err(Error::Poisoned { .. })));
        }
        assert!(!leading.is_finished(), "the sync is still under way");
        go_on.send(()).unwrap();
        let _ = leading.join().unwrap();
    });
    for key in ["waits 0", "waits 1", "waits 2", "fails"] {
        assert!(db.get(key).unwrap().is_none(), "{key} was never published");
    }
    assert!(matches!(db.put("late", "1"), Err(Error::Poisoned { .. })));
}

/// While one group syncs, the next ones are logged and applied, and share the sync after it.
#[test]
fn the_next_group_is_written_while_the_disk_works() {
    let (slow, arrived, go_on) = SlowDisk::new();
    let disk = slow.disk.clone();
    let db = store_on(&slow).open(DIR).unwrap();
    thread::scope(|scope| {
        let go_on = go_on; // goes when a check fails, and with it the thread that is stalled
        slow.arm();
        let first = scope.spawn(|| db.put("first", "1"));
        arrived.recv().unwrap();
        let put = |key: String| db.put(key, "1");
        let next: Vec<_> = (0..8).map(|n| scope.spawn(move || put(format!("{n}")))).collect();
        until("all are in the log", || db.stats().last_lsn == Lsn::new(9));
        until("and in the memtable", || db.stats().keys == 9);
        assert_eq!((db.visible_lsn(), db.durable_lsn()), (Lsn::ZERO, Lsn::ZERO));
        let before = disk.operations();
        go_on.send(()).unwrap();
        first.join().unwrap().unwrap();
        next.into_iter().for_each(|thread| _ = thread.join().unwrap().unwrap());
        // The first thread's sync, which began before the others wrote, and one more for all of them.
        assert_eq!(disk.operations() - before, 2);
    });
    let found = store_on(&disk.power_cut(&Outcome::None)).open(DIR).unwrap();
    assert_eq!(found.stats().keys, 9);
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The smallest executor: parks until woken.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Arc::new(Unpark(thread::current())).into();
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Many futures, each in a thread that only parks: all are woken, and what they waited for survives a power cut.
#[test]
fn a_future_resolves_when_its_lsn_is_durable() {
    let disk = SimDisk::new(1);
    let db = store_on(&disk).open(DIR).unwrap();
    thread::scope(|scope| {
        for writer in 0..8 {
            let db = &db;
            scope.spawn(move || {
                for number in 0..50 {
                    let lsn = put_buffered(db, &format!("{writer} {number}"), b"1").unwrap();
                    block_on(db.durable(lsn).unwrap()).unwrap();
                    assert!(db.durable_lsn() >= lsn);
                }
            });
        }
    });
    assert!(matches!(db.durable(Lsn::new(401)), Err(Error::InvalidOption { .. })), "not given out yet");
    let found = store_on(&disk.power_cut(&Outcome::None)).open(DIR).unwrap();
    assert_eq!(found.stats().keys, 400);
}

/// A future that waits is woken by a failure, by a close, and by somebody else's sync; one that is dropped is forgotten.
#[test]
fn a_future_is_woken_however_its_wait_ends() {
    // A failed sync.
    let (slow, arrived, go_on) = SlowDisk::new();
    let db = store_on(&slow).open(DIR).unwrap();
    let lsn = put_buffered(&db, "a", b"1").unwrap();
    slow.arm();
    let future = db.durable(lsn).unwrap();
    arrived.recv().unwrap();
    slow.disk.fail(Fault::new(FaultKind::SyncLost).on(OperationKind::Sync));
    let forgotten = db.durable(lsn).unwrap();
    drop(forgotten);
    let waits = thread::spawn(move || block_on(future));
    go_on.send(()).unwrap();
    assert!(matches!(waits.join().unwrap(), Err(Error::Poisoned { .. })));

    // A close, and a sync of another thread; for a log alone as well.
    let db = store_on(&SimDisk::new(1)).open(DIR).unwrap();
    let lsn = put_buffered(&db, "a", b"1").unwrap();
    let future = db.durable(lsn).unwrap();
    db.close().unwrap();
    block_on(future).unwrap();
    let wal = log_on(&SimDisk::new(1)).durability(Durability::Buffered).open(DIR).unwrap();
    let lsn = wal.append(b"a").unwrap();
    let future = wal.durable(lsn).unwrap();
    wal.sync().unwrap();
    block_on(future).unwrap();
}

/// Panics at every event.
#[derive(Debug)]
struct Panics;

impl Listener for Panics {
    fn event(&self, event: &Event<'_>) {
        panic!("a listener that breaks its promise at {event:?}");
    }
}

/// A listener only listens: its panic ends where it began, in every step of a write, a rotation and a close.
///
/// Broken: src/event/mod.rs: `let _ = panic::catch_unwind(AssertUnwindSafe(|| listener.event(&event())));` to `listener.event(&event());`
#[test]
fn a_listener_that_panics_harms_nobody() {
    let disk = SimDisk::new(1);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {})); // a hundred messages
    let db = store_on(&disk).listener(Arc::new(Panics)).open(DIR).unwrap();
    db.keyspace("users").unwrap().put("a", "1").unwrap();
    db.mark().unwrap();
    let lsns: Vec<_> = (0..8).map(|number| db.put(format!("{number}"), [7; 1000]).unwrap()).collect();
    block_on(db.durable(lsns[7]).unwrap()).unwrap();
    let closed = db.close();
    std::panic::set_hook(hook);
    closed.unwrap();
    let found = store_on(&disk.power_cut(&Outcome::None)).open(DIR).unwrap();
    assert_eq!((found.stats().keys, found.recovery_report().log.segments.len()), (9, 3));
}

/// A disk of the caller's own panics in a sync. The panic is its caller's, but the others must not wait for ever for what
/// that thread had begun: the store is poisoned, everybody returns, and opening again finds what was acknowledged.
#[test]
fn a_disk_that_panics_leaves_nobody_waiting() {
    let (slow, arrived, go_on) = SlowDisk::new();
    let disk = slow.disk.clone();
    let db = store_on(&slow).open(DIR).unwrap();
    db.put("before", "1").unwrap();
    slow.arm();
    thread::scope(|scope| {
        let leading = scope.spawn(|| db.put("leads", "1"));
        arrived.recv().unwrap();
        let put = |key: String| db.put(key, "1");
        let waiting: Vec<_> = (0..4).map(|n| scope.spawn(move || put(format!("waits {n}")))).collect();
        until("all are in the log", || db.stats().last_lsn == Lsn::new(6));
        let future = db.durable(Lsn::new(6)).unwrap();
        let awaiting = scope.spawn(|| block_on(future));
        drop(go_on); // which makes the sync panic
        assert!(leading.join().is_err());
        for waiter in waiting {
            assert!(matches!(waiter.join().unwrap(), Err(Error::Poisoned { .. })));
        }
        assert!(matches!(awaiting.join().unwrap(), Err(Error::Poisoned { .. })));
    });
    assert!(matches!(db.put("late", "1"), Err(Error::Poisoned { .. })));
    assert!(matches!(db.close(), Err(Error::Poisoned { .. })));
    let found = store_on(&disk.power_cut(&Outcome::None)).open(DIR).unwrap();
    assert!(found.get("before").unwrap().is_some());
}

/// The same in the background thread, for whose sync a future waits.
#[test]
fn a_panic_in_the_background_wakes_a_future() {
    let (slow, _, go_on) = SlowDisk::new();
    let wal = log_on(&slow).durability(Durability::Buffered).open(DIR).unwrap();
    let lsn = wal.append(b"a").unwrap();
    drop(go_on);
    slow.arm();
    assert!(matches!(block_on(wal.durable(lsn).unwrap()), Err(Error::Poisoned { .. })));
    assert!(wal.is_poisoned());
}

/// Does something when it is woken, and when it is dropped.
struct Task {
    woken: Box<dyn Fn() + Send + Sync>,
    /// A future that goes with the task.
    _other: Option<Durable>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        (self.woken)();
    }
}

fn poll_once(future: &mut Durable, task: Task) {
    let waker = Arc::new(task).into();
    assert!(std::pin::Pin::new(future).poll(&mut Context::from_waker(&waker)).is_pending());
}

/// A waker is called, cloned and dropped without any lock: it may write to the store, and be the last to hold a task that
/// holds another future.
#[test]
fn a_waker_may_do_what_it_likes() {
    let (slow, arrived, go_on) = SlowDisk::new();
    let db = store_on(&slow).open(DIR).unwrap();
    let lsn = put_buffered(&db, "a", b"1").unwrap();
    slow.arm();
    let (mut first, mut second) = (db.durable(lsn).unwrap(), db.durable(lsn).unwrap());
    arrived.recv().unwrap();
    let (told, wrote) = mpsc::channel();
    let writes = db.clone();
    let woken = Box::new(move || told.send(writes.put("from a waker", "1").is_ok()).unwrap());
    poll_once(&mut first, Task { woken, _other: None });
    poll_once(&mut second, Task { woken: Box::new(|| {}), _other: Some(db.durable(lsn).unwrap()) });
    // Another waker takes the place of the one that holds a future, and then the future goes.
    let other = Some(db.durable(lsn).unwrap());
    poll_once(&mut second, Task { woken: Box::new(|| {}), _other: other });
    drop(second);
    go_on.send(()).unwrap();
    assert!(wrote.recv_timeout(Duration::from_secs(10)).unwrap());
    assert!(db.get("from a waker").unwrap().is_some());
}

/// The next segment's file is made in the background once the current one is half full, and not at all if that is turned
/// off; a rotation uses it; a clean close leaves none behind.
#[test]
fn a_spare_is_made_ahead() {
    let disk = MemoryDisk::new();
    let has_spare = || {
        let names = forelog::storage::Storage::list(&disk, std::path::Path::new(DIR)).unwrap();
        names.contains(&"spare.tmp".to_owned())
    };
    let options = || Options::new().storage(Arc::new(disk.clone())).segment_bytes(8192).idle_mark(None);
    let db = options().open(DIR).unwrap();
    db.put("a", [7; 100]).unwrap();
    thread::sleep(Duration::from_millis(20));
    assert!(!has_spare(), "too early");
    db.put("b", [7; 2100]).unwrap();
    until("a spare is made", has_spare);
    db.put("c", [7; 2500]).unwrap();
    assert_eq!(db.stats().segments, 2);
    until("and another one, for this half is long", has_spare);
    db.close().unwrap();
    assert!(!has_spare(), "left behind");

    let db = options().spare_ahead(false).open(DIR).unwrap();
    db.put("d", [7; 2500]).unwrap();
    thread::sleep(Duration::from_millis(20));
    assert!(!has_spare(), "turned off");
    assert_eq!(db.stats().segments, 3);
}

/// A spare that cannot be made is not the log's failure: the store takes writes, and tries again when it needs the file.
#[test]
fn a_spare_that_cannot_be_made_harms_nobody() {
    let disk = SimDisk::new(1);
    let db = store_on(&disk).open(DIR).unwrap();
    db.put("a", [7; 2000]).unwrap();
    disk.fail(Fault::new(FaultKind::Enospc).on(OperationKind::Create));
    assert!(matches!(db.prepare_spare(), Err(Error::Io { .. })));
    for number in 0..10 {
        db.put(format!("{number}"), [7; 2000]).unwrap();
    }
    assert!(db.stats().segments > 4);
    db.close().unwrap();
    assert!(matches!(db.prepare_spare(), Err(Error::Closed)));
}
