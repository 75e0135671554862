//! Bugs of waiting, each told by the test that would find it again: wakers that were called at the wrong moment, threads
//! that waited for what would never come, and ends that came too early.

#![allow(clippy::unwrap_used)]

mod support;

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use forelog::storage::{Fault, FaultKind, MemoryDisk, OperationKind, Outcome, SimDisk};
use forelog::{Db, Durability, Durable, Error, Lsn, Result, WriteBatch, WriteOptions};

use support::hook_disk::{HookDisk, Latch};
use support::{DIR, log_on, store_on, until};

struct Call(Box<dyn Fn() + Send + Sync>);

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

/// Polls a future whose waker does this; it must not be ready yet.
fn when_durable(future: &mut Durable, call: impl Fn() + Send + Sync + 'static) {
    let waker: Waker = Arc::new(Call(Box::new(call))).into();
    let polled = Pin::new(future).poll(&mut Context::from_waker(&waker));
    assert!(matches!(polled, Poll::Pending));
}

fn put_buffered(db: &Db, key: &str, len: usize) -> Result<Lsn> {
    let mut batch = WriteBatch::new();
    batch.put(key, vec![1; len]);
    db.write_with(batch, &WriteOptions::new().durability(Durability::Buffered))
}

/// Does something in a thread of its own: a failed test must not hang.
fn in_time<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || done.send(work()));
    is_done.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("{what}: waits for ever"))
}

/// Lets the background thread wait in a waker, until the latch is opened.
fn keep_the_background_busy(disk: &HookDisk, db: &Db) -> Latch {
    let lsn = put_buffered(db, "a", 1).unwrap();
    let (busy, syncs) = (Latch::default(), disk.stall("sync_data"));
    let mut keeps_busy = db.durable(lsn).unwrap();
    let here = busy.clone();
    when_durable(&mut keeps_busy, move || here.wait_here());
    syncs.open();
    until("the background thread is busy", || busy.has_arrived());
    busy
}

/// A write whose rotation made an LSN durable woke a future before its own group was applied. A waker that wrote, as
/// wakers may, waited for that group, and so for the thread that it ran in.
#[test]
fn a_waker_that_writes() {
    let db = store_on(&MemoryDisk::new()).open(DIR).unwrap();
    in_time("puts", move || {
        for number in 0..5000 {
            let lsn = put_buffered(&db, &format!("{}", number % 50), 1500).unwrap();
            let mut future = db.durable(lsn).unwrap();
            let writer = db.clone();
            let waker: Waker =
                Arc::new(Call(Box::new(move || drop(put_buffered(&writer, "waker", 1))))).into();
            let _ = Pin::new(&mut future).poll(&mut Context::from_waker(&waker));
        }
    });
}

/// A waker was called by a leader while its followers still waited for it. One that wanted a mutex which a follower
/// held waited for ever.
#[test]
fn a_waker_that_waits_for_a_follower() {
    let disk = HookDisk::new();
    let db = store_on(&disk).open(DIR).unwrap();
    let busy = keep_the_background_busy(&disk, &db);
    let lsn = put_buffered(&db, "b", 2000).unwrap();
    let mut future = db.durable(lsn).unwrap();
    let held = Arc::new(Mutex::new(()));
    let wanted = held.clone();
    when_durable(&mut future, move || drop(wanted.lock().unwrap()));

    let stalled = disk.stall("write");
    let put = |db: &Db, key: &'static str, len| {
        let db = db.clone();
        move || put_buffered(&db, key, len).unwrap()
    };
    let first = thread::spawn(put(&db, "first", 1));
    until("the first write stalls", || stalled.has_arrived());
    let leader = thread::spawn(put(&db, "leader, whose record needs a new segment", 3000));
    thread::sleep(Duration::from_millis(50));
    let follows = put(&db, "follower", 1);
    let follower = thread::spawn(move || {
        let _held = held.lock().unwrap();
        follows()
    });
    thread::sleep(Duration::from_millis(50));
    stalled.open();
    in_time("the group", move || [first, leader, follower].map(|thread| thread.join().unwrap()));
    busy.open();
}

/// A close called wakers with the queue's turn held: one that closed, too, waited for itself.
#[test]
fn a_waker_that_closes() {
    let disk = HookDisk::new();
    let db = store_on(&disk).open(DIR).unwrap();
    let stalled = disk.stall("sync_data");
    let lsn = put_buffered(&db, "a", 1).unwrap();
    let _asked = db.durable(lsn).unwrap();
    until("the background thread syncs", || stalled.has_arrived());
    let lsn = put_buffered(&db, "b", 1).unwrap();
    let mut future = db.durable(lsn).unwrap();
    let closer = db.clone();
    when_durable(&mut future, move || closer.close().unwrap());
    let closing = thread::spawn(move || db.close());
    thread::sleep(Duration::from_millis(20));
    stalled.open();
    in_time("close", move || closing.join().unwrap()).unwrap();
}

/// A disk that panicked in a write had wakers called under the log's locks.
#[test]
fn a_waker_that_writes_when_the_disk_panics() {
    let disk = HookDisk::new();
    let db = store_on(&disk).open(DIR).unwrap();
    let lsn = put_buffered(&db, "a", 1).unwrap();
    let (stalled, once) = (Latch::default(), AtomicBool::new(false));
    let here = stalled.clone();
    disk.set(move |call, _| match call {
        "sync_data" if !once.swap(true, Ordering::SeqCst) => here.wait_here(),
        "write" => panic!("the disk panics, as this test wants it"),
        _ => {}
    });
    let mut future = db.durable(lsn).unwrap();
    until("the background thread syncs", || stalled.has_arrived());
    let writer = db.clone();
    when_durable(&mut future, move || assert!(writer.put("waker", "1").is_err()));
    let putter = db.clone();
    let panicking = thread::spawn(move || putter.put("b", "1"));
    in_time("the put that panics", move || panicking.join()).unwrap_err();
    let other = db.clone();
    assert!(in_time("another put", move || other.put("c", "1")).is_err());
    stalled.open();
}

/// The last handle was dropped while the background thread worked: the store stayed open, with its lock, until that was
/// done, and what was written was not synced.
#[test]
fn the_last_handle_closes_whoever_is_at_work() {
    let disk = HookDisk::new();
    let db = store_on(&disk).spare_ahead(true).open(DIR).unwrap();
    let stalled = disk.stall("sync_all");
    put_buffered(&db, "a", 3000).unwrap();
    until("a spare is being made", || stalled.has_arrived());
    put_buffered(&db, "b", 1).unwrap();
    let snapshot = db.snapshot();
    let dropping = thread::spawn(move || drop(db));
    thread::sleep(Duration::from_millis(20));
    stalled.open();
    in_time("drop", move || dropping.join().unwrap());
    // A snapshot reads on, and does not keep the store open.
    let cut = disk.disk.fork().power_cut(&Outcome::None);
    assert_eq!(store_on(&cut).open(DIR).unwrap().stats().keys, 2);
    assert_eq!(store_on(&disk).open(DIR).unwrap().stats().keys, 2);
    assert_eq!(snapshot.iter().count(), 2);
}

/// Followers of a leader that was stuck in a sync heard of another's failed write only when the disk answered; so did
/// whoever came to a poisoned store while a write was stuck.
#[test]
fn followers_of_a_stuck_leader_hear_of_a_failure_at_once() {
    let disk = HookDisk::new();
    let db = store_on(&disk).open(DIR).unwrap();
    db.put("before", "1").unwrap();
    let stalled_write = disk.stall("write");
    let first = db.clone();
    let first = thread::spawn(move || put_buffered(&first, "first", 1));
    until("the first write stalls", || stalled_write.has_arrived());
    let mut group = Vec::new();
    for number in 0..4 {
        let db = db.clone();
        group.push(thread::spawn(move || db.put(format!("{number}"), "1")));
        thread::sleep(Duration::from_millis(30));
    }
    let stalled_sync = disk.stall("sync_data");
    stalled_write.open();
    until("the group's sync stalls", || stalled_sync.has_arrived());
    first.join().unwrap().unwrap();
    disk.disk.fail(Fault::new(FaultKind::Eio).on(OperationKind::Write));
    assert!(put_buffered(&db, "fails", 1).is_err());
    let finished = || group.iter().filter(|thread| thread.is_finished()).count();
    until("all but the one in the sync are told", || finished() == 3);
    assert!(matches!(db.put("later", "1"), Err(Error::Poisoned { .. })));
    stalled_sync.open();
    for thread in group {
        assert!(matches!(thread.join().unwrap(), Err(Error::Poisoned { .. })));
    }
    assert_eq!(db.iter().count(), 2, "what was told of the failure is never seen");
}

/// The same of a log alone. Who asked for no sync has what it asked for; nobody else has.
#[test]
fn so_do_those_of_a_log_alone() {
    let disk = HookDisk::new();
    let wal = Arc::new(log_on(&disk).open(DIR).unwrap());
    let append = |durability: Durability| {
        let wal = wal.clone();
        thread::spawn(move || wal.append_with(&[b"a"], durability))
    };
    let stalled_write = disk.stall("write");
    let first = append(Durability::Buffered);
    until("the first write stalls", || stalled_write.has_arrived());
    let [leader, buffered, durable] =
        [Durability::Sync, Durability::Buffered, Durability::Sync].map(|durability| {
            let appending = append(durability);
            thread::sleep(Duration::from_millis(100)); // so that they come in this order
            appending
        });
    let stalled_sync = disk.stall("sync_data");
    stalled_write.open();
    until("the group's sync stalls", || stalled_sync.has_arrived());
    assert_eq!(first.join().unwrap().unwrap(), Lsn::new(1));
    disk.disk.fail(Fault::new(FaultKind::Eio).on(OperationKind::Write));
    assert!(append(Durability::Buffered).join().unwrap().is_err());
    until("the followers are told", || buffered.is_finished() && durable.is_finished());
    assert_eq!(buffered.join().unwrap().unwrap(), Lsn::new(3));
    assert!(matches!(durable.join().unwrap(), Err(Error::Poisoned { .. })));
    stalled_sync.open();
    assert_eq!(leader.join().unwrap().unwrap(), Lsn::new(2), "its own sync has succeeded");
}

/// What waits while the disk is stalled is bounded: who finds the line full waits outside of it, and is in a later group.
#[test]
fn a_line_is_no_longer_than_its_bound() {
    let disk = HookDisk::new();
    let log = log_on(&disk).segment_bytes(1 << 16).queue_bytes(2000).durability(Durability::Buffered);
    let wal = Arc::new(log.open(DIR).unwrap());
    let writes = Arc::new(AtomicUsize::new(0));
    let (latch, counted) = (Latch::default(), writes.clone());
    let stalled = latch.clone();
    disk.set(move |call, _| {
        if call == "write" && counted.fetch_add(1, Ordering::SeqCst) == 0 {
            stalled.wait_here();
        }
    });
    let append = || {
        let wal = wal.clone();
        thread::spawn(move || wal.append(&[1; 1000]).unwrap())
    };
    let mut appending = vec![append()];
    until("the first write stalls", || latch.has_arrived());
    appending.extend((0..8).map(|_| append()));
    thread::sleep(Duration::from_millis(100)); // or some come later still, and are no group of those that wait
    latch.open();
    appending.into_iter().for_each(|appending| _ = appending.join().unwrap());
    // A leader and two followers each: without the bound it would be one group.
    assert!(writes.load(Ordering::SeqCst) >= 4, "{writes:?} writes");
}

/// One of a group is too large: it is told before it joins, and costs the others nothing.
#[test]
fn what_is_too_large_is_its_own_writers_matter() {
    let disk = HookDisk::new();
    let db = store_on(&disk).open(DIR).unwrap();
    let put = |key: &'static str, len: usize| {
        let db = db.clone();
        let putting = thread::spawn(move || db.put(key, vec![1; len]));
        thread::sleep(Duration::from_millis(30));
        putting
    };
    let stalled = disk.stall("write");
    let first = put("first", 1);
    until("the first write stalls", || stalled.has_arrived());
    let others = [put("leads", 1), put("large", 10_000), put("follows", 1)];
    stalled.open();
    first.join().unwrap().unwrap();
    let [leads, large, follows] = others.map(|other| other.join().unwrap());
    assert!(matches!(large, Err(Error::TooLarge { .. })), "{large:?}");
    leads.unwrap();
    follows.unwrap();
}

/// A future that nobody waits for any more keeps no waker, and so nothing that the waker keeps.
#[test]
fn a_future_that_is_dropped_leaves_no_waker() {
    let kept = Arc::new(Call(Box::new(|| {})));
    let disk = HookDisk::new();
    let db = store_on(&disk).open(DIR).unwrap();
    let busy = keep_the_background_busy(&disk, &db);
    let lsn = put_buffered(&db, "b", 1).unwrap();
    let mut future = db.durable(lsn).unwrap();
    let waker = Waker::from(kept.clone());
    assert!(Pin::new(&mut future).poll(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
    assert_eq!(Arc::strong_count(&kept), 2, "the store has one");
    drop(future);
    assert_eq!(Arc::strong_count(&kept), 1);
    busy.open();
}

/// The file of the next segment is there before it is wanted.
#[test]
fn the_next_segments_file_is_made_in_the_background() {
    let disk = SimDisk::new(1);
    let wal = log_on(&disk).spare_ahead(true).open(DIR).unwrap();
    (0..3).for_each(|_| _ = wal.append(&[1; 1000]).unwrap());
    until("the file is made", || disk.files().iter().any(|file| file.ends_with("spare.tmp")));
}

/// The second of two closes returned while the first was still syncing.
#[test]
fn a_close_returns_when_the_log_is_closed() {
    let disk = HookDisk::new();
    let wal = Arc::new(log_on(&disk).durability(Durability::Buffered).open(DIR).unwrap());
    wal.append(b"a").unwrap();
    let stalled = disk.stall("sync_data");
    let closers = [0, 1].map(|_| {
        let wal = wal.clone();
        thread::spawn(move || wal.close())
    });
    until("a close syncs", || stalled.has_arrived());
    thread::sleep(Duration::from_millis(20));
    assert!(closers.iter().all(|closer| !closer.is_finished()));
    stalled.open();
    in_time("close", move || closers.map(|closer| closer.join().unwrap().unwrap()));
    assert_eq!(wal.durable_lsn(), wal.last_lsn());
}

/// A cut looked where the log begins, and then found the segment gone that it wanted: it called that corruption and
/// poisoned the log.
#[test]
fn a_cut_beside_a_removal() {
    for round in 0..3000_u32 {
        let log = log_on(&MemoryDisk::new()).durability(Durability::Buffered);
        let wal = Arc::new(log.open(DIR).unwrap());
        (0..6).for_each(|number| _ = wal.append(&[number; 3000]).unwrap());
        let remover = wal.clone();
        let removing = thread::spawn(move || {
            (0..round % 50 * 20).for_each(|_| std::hint::spin_loop());
            remover.remove_before(Lsn::new(5))
        });
        let cut = wal.cut_after(Lsn::new(2));
        let removed = removing.join().unwrap();
        assert!(!wal.is_poisoned(), "{round}: cut {cut:?}, removed {removed:?}");
    }
}

/// The future of an LSN that was cut off said that it survives.
#[test]
fn a_future_of_what_was_cut_off_fails() {
    let wal = log_on(&SimDisk::new(1)).durability(Durability::Buffered).open(DIR).unwrap();
    (0..3).for_each(|number| _ = wal.append(&[number]).unwrap());
    let mut future = wal.durable(Lsn::new(3)).unwrap();
    wal.cut_after(Lsn::new(1)).unwrap();
    let polled = Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Err(Error::InvalidOption { .. }))), "{polled:?}");
}

/// A disk that panicked while a spare was made left `spare.tmp` behind, and the next rotation poisoned the store.
#[test]
fn the_rest_of_a_spare_is_in_nobodys_way() {
    let disk = HookDisk::new();
    let db = store_on(&disk).open(DIR).unwrap();
    disk.set(|call, _| assert!(call != "sync_all", "the disk panics, as this test wants it"));
    let preparer = db.clone();
    thread::spawn(move || preparer.prepare_spare()).join().unwrap_err();
    disk.set(|_, _| {});
    for number in 0..5 {
        db.put(format!("{number}"), [1; 3000]).unwrap();
    }
}

/// Calls of a store other than `put` called wakers in their own thread, although there is a background thread for that.
/// Who held a lock that the waker wanted waited for itself.
#[test]
fn no_call_wakes_while_its_caller_holds_something() {
    let calls: [fn(&Db, Lsn); 5] = [
        |db, _| _ = db.put("c", "1").unwrap(),
        |db, _| _ = db.sync().unwrap(),
        |db, lsn| db.wait_durable(lsn).unwrap(),
        |db, _| db.mark().unwrap(),
        |db, _| _ = db.keyspace("users").unwrap(),
    ];
    for call in calls {
        let disk = HookDisk::new();
        let db = store_on(&disk).open(DIR).unwrap();
        let busy = keep_the_background_busy(&disk, &db);
        let lsn = put_buffered(&db, "b", 10).unwrap();
        let mut future = db.durable(lsn).unwrap();
        let held = Arc::new(Mutex::new(()));
        let wanted = held.clone();
        when_durable(&mut future, move || drop(wanted.lock().unwrap()));
        let caller = db.clone();
        in_time("the call", move || {
            let _held = held.lock().unwrap();
            call(&caller, lsn);
        });
        busy.open();
    }
}

/// A future did not hear of a failure while the background thread was stuck in the disk, although who waits without a
/// future heard of it at once.
#[test]
fn a_future_hears_of_a_failure_while_the_background_is_stuck() {
    let disk = HookDisk::new();
    let db = store_on(&disk).open(DIR).unwrap();
    let stalled = disk.stall("sync_data");
    let lsn = put_buffered(&db, "a", 1).unwrap();
    let mut future = db.durable(lsn).unwrap();
    until("the background thread syncs", || stalled.has_arrived());
    let woken = Arc::new(AtomicBool::new(false));
    let wakes = woken.clone();
    when_durable(&mut future, move || wakes.store(true, Ordering::SeqCst));
    disk.disk.fail(Fault::new(FaultKind::Eio).on(OperationKind::Write));
    assert!(matches!(put_buffered(&db, "fails", 1), Err(Error::Poisoned { .. })));
    until("the future is woken", || woken.load(Ordering::SeqCst));
    assert!(!stalled.is_open());
    stalled.open();
}

/// The same of a log alone, whose calls see to the wakers themselves.
#[test]
fn so_does_one_of_a_log_alone() {
    let disk = HookDisk::new();
    let wal = log_on(&disk).open(DIR).unwrap();
    let stalled = disk.stall("sync_data");
    let lsn = wal.append_with(&[b"a"], Durability::Buffered).unwrap();
    let mut future = wal.durable(lsn).unwrap();
    until("the background thread syncs", || stalled.has_arrived());
    let woken = Arc::new(AtomicBool::new(false));
    let wakes = woken.clone();
    when_durable(&mut future, move || wakes.store(true, Ordering::SeqCst));
    disk.disk.fail(Fault::new(FaultKind::Eio).on(OperationKind::Write));
    assert!(matches!(wal.append_with(&[b"fails"], Durability::Buffered), Err(Error::Poisoned { .. })));
    until("the future is woken", || woken.load(Ordering::SeqCst));
    assert!(!stalled.is_open());
    stalled.open();
}

/// A removal that was under way went on in the directory when `close` had given it free: it took a file of the next owner,
/// of the same name, with what that had acknowledged.
#[test]
fn a_removal_ends_before_the_directory_is_given_free() {
    let disk = HookDisk::new();
    let wal = Arc::new(log_on(&disk).durability(Durability::Buffered).open(DIR).unwrap());
    (0..6).for_each(|number| _ = wal.append(&[number; 3000]).unwrap());
    let stalled = disk.stall("remove");
    let removing = thread::spawn({
        let wal = wal.clone();
        move || wal.remove_before(Lsn::new(5))
    });
    until("a removal stalls", || stalled.has_arrived());
    let closing = thread::spawn(move || wal.close());
    let again = |_| {
        thread::sleep(Duration::from_millis(10));
        log_on(&disk).open(DIR).ok()
    };
    // Without the order, the next owner comes within a few of these.
    assert!((0..20).find_map(again).is_none(), "the directory has another owner while a file is removed");
    stalled.open();
    let late = removing.join().unwrap();
    assert!(matches!(late, Ok(_) | Err(Error::Closed)), "{late:?}");
    closing.join().unwrap().unwrap();
    let again = log_on(&disk).open(DIR).unwrap();
    assert_eq!(again.verify().unwrap().problems, []);
}

/// Where no thread can be started, an interval is kept by whoever writes. Beside a durable write it was kept by nobody, if
/// a rotation came between the two.
///
/// Runs itself in a process in which a thread with a stack of the usual size cannot be had.
#[test]
fn an_interval_is_kept_without_a_thread() {
    const TOO_MUCH: &str = "140737488355328";
    if std::env::var("RUST_MIN_STACK").is_ok_and(|stack| stack == TOO_MUCH) {
        return interval_without_a_thread();
    }
    in_a_process_of_its_own("an_interval_is_kept_without_a_thread", ("RUST_MIN_STACK", TOO_MUCH));
}

/// Runs one test of this file again, with something in its environment that tells it so.
fn in_a_process_of_its_own(test: &str, told: (&str, &str)) {
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    let output = again.args([test, "--test-threads=1"]).env(told.0, told.1).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

/// A closed store leaves no thread behind.
#[cfg(target_os = "linux")]
#[test]
fn a_close_ends_the_background_thread() {
    const ALONE: &str = "FORELOG_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        return in_a_process_of_its_own("a_close_ends_the_background_thread", (ALONE, "1"));
    }
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    for _ in 0..5 {
        let interval = Durability::Interval(Duration::from_secs(60));
        let db = store_on(&SimDisk::new(1)).durability(interval).open(DIR).unwrap();
        db.put("a", "1").unwrap();
        db.close().unwrap();
        let wal = log_on(&SimDisk::new(1)).durability(interval).open(DIR).unwrap();
        wal.append(b"a").unwrap();
        wal.close().unwrap();
    }
    // The system takes a moment to forget one that was waited for.
    until("they end", || threads() == before);
}

fn interval_without_a_thread() {
    fn write(db: &Db, key: &'static str, len: usize, durability: Durability) -> thread::JoinHandle<Lsn> {
        let db = db.clone();
        let write = move || {
            let mut batch = WriteBatch::new();
            batch.put(key, vec![1; len]);
            db.write_with(batch, &WriteOptions::new().durability(durability)).unwrap()
        };
        thread::Builder::new().stack_size(1 << 20).spawn(write).unwrap()
    }
    assert!(thread::Builder::new().spawn(|| ()).is_err(), "or this shows nothing");
    let interval = Durability::Interval(Duration::from_millis(10));
    let disk = HookDisk::new();
    let db = store_on(&disk).open(DIR).unwrap();
    let stalled = disk.stall("write");
    let first = write(&db, "first", 1, Durability::Buffered);
    until("the first write stalls", || stalled.has_arrived());
    // These two make a group, whose second does not fit into the segment of the first.
    let leader = write(&db, "durable", 2000, Durability::Sync);
    thread::sleep(Duration::from_millis(50));
    let follower = write(&db, "interval", 3000, interval);
    thread::sleep(Duration::from_millis(50));
    stalled.open();
    first.join().unwrap();
    let last = leader.join().unwrap().max(follower.join().unwrap());
    assert!(db.durable_lsn() >= last, "nobody will sync it");
}
