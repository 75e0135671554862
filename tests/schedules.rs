//! Shows that the commit path keeps its promises whatever the order in which its threads run: the real store on the
//! simulated disk, under [shuttle](https://docs.rs/shuttle), which runs one thread at a time and chooses at each lock,
//! wait and atomic of `src/sync.rs` who goes on. A lost wake-up is a deadlock, which it reports.
//!
//! ```sh
//! RUSTFLAGS="--cfg forelog_shuttle" cargo test --locked --no-default-features --target-dir target/shuttle --test schedules -- --nocapture
//! ```
//!
//! `FORELOG_SCHEDULES=1000000` runs so many in all (300,000 otherwise), `FORELOG_SCHEDULE_SEED=7` others. A failure
//! prints the schedule, which `FORELOG_SCHEDULE='…'` repeats.

#![cfg(forelog_shuttle)]
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use forelog::format::KeyspaceId;
use forelog::storage::{Fault, FaultKind, OperationKind, Outcome, SimDisk};
use forelog::wal::Wal;
use forelog::{Db, Durability, Error, Lsn, WriteBatch, WriteOptions};
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::sync::Mutex;
use shuttle::{Config, Runner, thread};

use support::{DIR, log_on, records_of, store_on};

const WRITERS: u64 = 3;
const WRITES: u64 = 2;

/// Runs a scenario under its share of the schedules, half of them random, half of them with few changes of thread at
/// chosen points (which finds what random ones hardly ever do).
fn explore(scenario: fn()) {
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Ok(schedule) = env::var("FORELOG_SCHEDULE") {
        return shuttle::replay(scenario, &schedule);
    }
    let schedules = usize::try_from(number("FORELOG_SCHEDULES").unwrap_or(300_000)).unwrap() / SCENARIOS;
    let seed = number("FORELOG_SCHEDULE_SEED").unwrap_or(1);
    let started = Instant::now();
    let half = schedules.div_ceil(2);
    let random = RandomScheduler::new_from_seed(seed, half);
    let pct = PctScheduler::new_from_seed(seed, 3, half);
    let runs =
        Runner::new(random, Config::new()).run(scenario) + Runner::new(pct, Config::new()).run(scenario);
    println!("{runs} schedules in {:.1} s, seed {seed}, 0 violations", started.elapsed().as_secs_f64());
}

const SCENARIOS: usize = 9;

/// What the writers were told.
#[derive(Debug, Default)]
struct Told {
    /// Writes that were acknowledged: writer and number, LSN, and whether durably.
    acknowledged: BTreeMap<(u64, u64), (Lsn, bool)>,
    failed: Vec<(u64, u64)>,
    /// A sync has failed and left the cache as the disk is.
    reverted: bool,
}

/// How often a write asks for a sync: always in half of the runs, so that nothing may be visible that is not durable.
#[derive(Clone, Copy)]
struct Mix {
    always_sync: bool,
}

impl Mix {
    fn draw() -> Mix {
        Mix { always_sync: thread_rng().gen_bool(0.5) }
    }

    fn durability(self) -> Durability {
        if self.always_sync || thread_rng().gen_bool(0.6) { Durability::Sync } else { Durability::Buffered }
    }
}

/// Two keys, so that half a batch would be seen.
fn batch(writer: u64, number: u64, bytes: usize) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for side in ["left", "right"] {
        let value = [&number.to_be_bytes()[..], &vec![7; bytes]].concat();
        batch.put(format!("{writer} {side}"), value);
    }
    batch
}

/// What a writer's keys say in a view: `None`, or the number of the last write that is in it.
fn number_in(writer: u64, get: impl Fn(&str) -> Option<forelog::memtable::Value>) -> Option<u64> {
    let side = |side: &str| {
        let value = get(&format!("{writer} {side}"))?;
        Some(u64::from_be_bytes(value[..8].try_into().unwrap()))
    };
    assert_eq!(side("left"), side("right"), "a batch is whole");
    side("left")
}

/// Some writes of one thread. After an error it goes on: whatever comes after a poisoning must fail, too.
fn write_some(db: &Db, mix: Mix, writer: u64, bytes: usize, told: &Mutex<Told>) {
    let mut failed = false;
    for number in 1..=WRITES {
        let durability = mix.durability();
        let options = WriteOptions::new().durability(durability);
        match db.write_with(batch(writer, number, bytes), &options) {
            Ok(lsn) => {
                assert!(!failed, "nothing is taken after a failure");
                assert!(db.visible_lsn() >= lsn, "read your writes");
                let snapshot = db.snapshot();
                assert_eq!(number_in(writer, |key| snapshot.get(key)), Some(number));
                let durable = durability == Durability::Sync;
                assert!(!durable || db.durable_lsn() >= lsn, "acknowledged before it was durable");
                told.lock().unwrap().acknowledged.insert((writer, number), (lsn, durable));
            }
            Err(Error::Poisoned { .. } | Error::Closed) => {
                failed = true;
                told.lock().unwrap().failed.push((writer, number));
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// Looks while others write: views are whole, and time does not run backwards.
fn look(db: &Db, mix: Mix) {
    let mut seen = [None; WRITERS as usize];
    let mut visible = Lsn::ZERO;
    for _ in 0..2 {
        let snapshot = db.snapshot();
        assert!(snapshot.lsn() >= visible);
        assert!(!mix.always_sync || snapshot.lsn() <= db.durable_lsn(), "visible and not durable");
        visible = snapshot.lsn();
        for (writer, seen) in (0..).zip(&mut seen) {
            let now = number_in(writer, |key| snapshot.get(key));
            assert!(now >= *seen, "a write has gone again");
            *seen = now;
        }
        thread::yield_now();
    }
}

/// The store as it is found after the power went, or the process died, must hold what was acknowledged, and each
/// writer's writes up to some point.
fn check_what_is_left(disk: &SimDisk, told: &Told, durable: Lsn) {
    let seed = thread_rng().r#gen();
    let killed = disk.fork();
    for (image, all_written) in [
        (disk.fork().power_cut(&Outcome::None), false),
        (disk.fork().power_cut(&Outcome::Random { seed, rest: None }), false),
        // What was handed to the operating system is still there, unless a failed sync has thrown it away.
        (killed.kill(), !told.reverted),
    ] {
        let db = store_on(&image).open(DIR).unwrap();
        assert!(
            db.visible_lsn() >= durable,
            "{} is left of {durable} that were called durable",
            db.visible_lsn()
        );
        for writer in 0..WRITERS {
            let found = number_in(writer, |key| db.get(key).unwrap()).unwrap_or(0);
            let safe = told
                .acknowledged
                .iter()
                .filter(|((by, _), (_, durable))| *by == writer && (*durable || all_written));
            let least = safe.map(|((_, number), _)| *number).max().unwrap_or(0);
            assert!(found >= least, "writer {writer}: {found} is left of {least}; {told:?}");
        }
    }
}

fn distinct_lsns(told: &Told) {
    let mut lsns: Vec<Lsn> = told.acknowledged.values().map(|(lsn, _)| *lsn).collect();
    lsns.sort_unstable();
    assert!(lsns.windows(2).all(|pair| pair[0] < pair[1]), "an LSN was given twice");
}

/// Runs the writers and one who looks, and returns what they were told.
fn run(db: &Db, mix: Mix, bytes: usize, meanwhile: impl FnOnce()) -> Told {
    let told = Arc::new(Mutex::new(Told::default()));
    let mut threads: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (db, told) = (db.clone(), told.clone());
            thread::spawn(move || write_some(&db, mix, writer, bytes, &told))
        })
        .collect();
    let reader = db.clone();
    threads.push(thread::spawn(move || look(&reader, mix)));
    meanwhile();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    Arc::into_inner(told).unwrap().into_inner().unwrap()
}

/// Leading and following, Sync and Buffered mixed.
#[test]
fn lead_and_follow() {
    explore(|| {
        let disk = SimDisk::new(1);
        let db = store_on(&disk).open(DIR).unwrap();
        // One batch is judged to be wrong, at times by the leader's own thread: it gets no LSN, and harms nobody.
        let other = db.clone();
        let told = run(&db, Mix::draw(), 10, move || {
            let mut batch = WriteBatch::new();
            batch.put_in(KeyspaceId(99), "a", "1");
            assert!(matches!(other.write(batch), Err(Error::UnknownKeyspace { .. })));
        });
        assert_eq!((told.acknowledged.len() as u64, told.failed.len()), (WRITERS * WRITES, 0));
        distinct_lsns(&told);
        let last = *told.acknowledged.values().map(|(lsn, _)| lsn).max().unwrap();
        assert_eq!(db.visible_lsn(), last, "everything is published in the end");
        check_what_is_left(&disk, &told, db.durable_lsn());
    });
}

/// The same with a new segment every other write, and with a queue that has room for one.
#[test]
fn rotate_in_a_short_queue() {
    explore(|| {
        let disk = SimDisk::new(1);
        let db = store_on(&disk).queue_bytes(1).open(DIR).unwrap();
        let other = db.clone();
        let told = run(&db, Mix::draw(), 900, move || {
            let _ = other.prepare_spare();
            other.sync().unwrap();
        });
        assert_eq!((told.acknowledged.len() as u64, told.failed.len()), (WRITERS * WRITES, 0));
        check_what_is_left(&disk, &told, db.durable_lsn());
    });
}

/// A sync or a write fails once, or for ever, at a random place: everybody returns, what failed is never seen, reads
/// go on, and opening again continues.
#[test]
fn poison() {
    explore(|| {
        let disk = SimDisk::new(1);
        let db = store_on(&disk).open(DIR).unwrap();
        let (kind, on) = *[
            (FaultKind::SyncLost, OperationKind::Sync),
            (FaultKind::SyncLost, OperationKind::Sync),
            (FaultKind::SyncReverted, OperationKind::Sync),
            (FaultKind::Eio, OperationKind::Write),
            (FaultKind::Enospc, OperationKind::Write),
            (FaultKind::PartialWriteThenEio(20), OperationKind::Write),
        ]
        .get(thread_rng().gen_range(0..6_usize))
        .unwrap();
        let fault = Fault::new(kind).on(on).at(thread_rng().gen_range(1..4_u64));
        disk.fail(if thread_rng().gen_bool(0.3) { fault.forever() } else { fault });
        // Some big enough for a rotation.
        let bytes = if thread_rng().gen_bool(0.5) { 1500 } else { 10 };
        let mut told = run(&db, Mix::draw(), bytes, || {});
        told.reverted = kind == FaultKind::SyncReverted;
        distinct_lsns(&told);
        let poisoned = db.stats().poisoned;
        assert_eq!(poisoned, disk.faults_hit() > 0);
        assert!(poisoned || told.failed.is_empty());
        if poisoned {
            assert!(matches!(db.put("late", "1"), Err(Error::Poisoned { .. })));
            assert!(db.get("late").unwrap().is_none());
            // What failed was never published: each writer's last acknowledged write is what is read.
            for writer in 0..WRITERS {
                let last = told.acknowledged.keys().filter(|(by, _)| *by == writer).map(|(_, n)| *n).max();
                assert_eq!(number_in(writer, |key| db.get(key).unwrap()), last, "writer {writer}: {told:?}");
            }
        }
        disk.clear_faults();
        check_what_is_left(&disk, &told, db.durable_lsn());
    });
}

/// A rotation's sync failed, and gave the file free before it said so. Whoever waited to sync it synced once more, was
/// told that all is well, and what the first sync had lost was called durable. The same the other way round.
#[test]
fn nobody_syncs_after_a_sync_that_failed() {
    explore(|| {
        let disk = SimDisk::new(1);
        let db = store_on(&disk).open(DIR).unwrap();
        let buffered = WriteOptions::new().durability(Durability::Buffered);
        db.write_with(batch(0, 1, 900), &buffered).unwrap();
        disk.fail(Fault::new(FaultKind::SyncLost).on(OperationKind::Sync));
        let rotates = db.clone();
        let rotates = thread::spawn(move || rotates.write_with(batch(1, 1, 1500), &buffered).is_ok());
        let synced = db.sync().is_ok();
        let rotated = rotates.join().unwrap();
        assert!(!(synced && rotated), "nobody heard of it");
        assert_eq!(db.durable_lsn(), Lsn::ZERO);
        check_what_is_left(&disk, &Told::default(), db.durable_lsn());
    });
}

/// Somebody closes while the others write.
#[test]
fn close_beside_writers() {
    explore(|| {
        let disk = SimDisk::new(1);
        let db = store_on(&disk).open(DIR).unwrap();
        let closer = db.clone();
        let told = run(&db, Mix::draw(), 10, move || closer.close().unwrap());
        assert!(matches!(db.put("late", "1"), Err(Error::Closed)));
        check_what_is_left(&disk, &told, db.durable_lsn());
        // A clean close makes everything durable that was acknowledged, however it was.
        let found = store_on(&disk.fork().power_cut(&Outcome::None)).open(DIR).unwrap();
        for ((writer, number), _) in &told.acknowledged {
            assert!(number_in(*writer, |key| found.get(key).unwrap()) >= Some(*number));
        }
    });
}

/// Keyspaces are made while others write, sync, and mark.
#[test]
fn keyspaces_marks_and_syncs() {
    explore(|| {
        let disk = SimDisk::new(1);
        let db = store_on(&disk).open(DIR).unwrap();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let db = db.clone();
                thread::spawn(move || {
                    let users = db.keyspace("users").unwrap();
                    let lsn = users.put("a", "1").unwrap();
                    assert!(users.get("a").unwrap().is_some());
                    db.wait_durable(lsn).unwrap();
                    users.id()
                })
            })
            .collect();
        let other = db.clone();
        // A mark proves what is durable, and is itself visible before that.
        let told = run(&db, Mix { always_sync: false }, 10, move || {
            other.mark().unwrap();
            other.sync().unwrap();
        });
        let ids: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_eq!(ids[0], ids[1], "one keyspace of one name");
        check_what_is_left(&disk, &told, db.durable_lsn());
    });
}

/// Threads count up by compare-and-swap, another one writes beside them, and a sync may fail: no step is lost, none is made
/// twice, and what a refusal tells of can be read.
#[test]
fn swaps() {
    explore(|| {
        let disk = SimDisk::new(1);
        let db = store_on(&disk).open(DIR).unwrap();
        if thread_rng().gen_bool(0.3) {
            let at = thread_rng().gen_range(1..4_u64);
            disk.fail(Fault::new(FaultKind::SyncLost).on(OperationKind::Sync).at(at));
        }
        let number = |value: Option<&[u8]>| value.map_or(0, |value| u64::from(value[0]));
        let made = Arc::new(Mutex::new(BTreeMap::new()));
        let count = move |db: Db, made: Arc<Mutex<BTreeMap<u64, Lsn>>>| {
            let mut old = db.get("n").unwrap();
            for _ in 0..2 {
                loop {
                    let new = number(old.as_deref()) + 1;
                    match db.compare_and_swap("n", old.as_deref(), Some([new as u8])) {
                        Ok(Ok(lsn)) => {
                            assert!(db.visible_lsn() >= lsn && db.durable_lsn() >= lsn);
                            let twice = made.lock().unwrap().insert(new, lsn);
                            assert_eq!(twice, None, "{new} was made twice");
                            old = db.get("n").unwrap();
                            break;
                        }
                        Ok(Err(differs)) => {
                            let there = number(db.get("n").unwrap().as_deref());
                            assert!(
                                there >= number(differs.current.as_deref()),
                                "told before it could be read"
                            );
                            old = differs.current;
                        }
                        Err(Error::Poisoned { .. }) => return,
                        Err(other) => panic!("{other}"),
                    }
                }
            }
        };
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (db, made) = (db.clone(), made.clone());
                thread::spawn(move || count(db, made))
            })
            .collect();
        let told = Mutex::new(Told::default());
        write_some(&db, Mix { always_sync: false }, 0, 900, &told);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let made = made.lock().unwrap();
        assert!(made.keys().copied().eq(1..=made.len() as u64), "{made:?}");
        assert!(made.values().is_sorted());
        let (poisoned, there) = (db.stats().poisoned, number(db.get("n").unwrap().as_deref()));
        assert!(made.len() == 6 || poisoned);
        assert_eq!(there, made.len() as u64, "what was not acknowledged is not seen");
        disk.clear_faults();
        let left = store_on(&disk.fork().power_cut(&Outcome::None)).open(DIR).unwrap();
        assert!(number(left.get("n").unwrap().as_deref()) >= there);
        check_what_is_left(&disk, &told.into_inner().unwrap(), db.durable_lsn());
    });
}

/// Two threads drop one keyspace while a third writes to it and a fourth looks, and a sync may fail: one of the two drops
/// it, both are told when it is gone for everybody, what was written in it was written before, and each snapshot has all
/// of it or nothing.
#[test]
fn drops() {
    explore(|| {
        let disk = SimDisk::new(1);
        let db = store_on(&disk).open(DIR).unwrap();
        let users = db.keyspace("users").unwrap();
        users.put("a", "0").unwrap();
        let fails = thread_rng().gen_bool(0.3);
        if fails {
            let at = thread_rng().gen_range(1..4_u64);
            disk.fail(Fault::new(FaultKind::SyncLost).on(OperationKind::Sync).at(at));
        }
        let droppers: Vec<_> = (0..2)
            .map(|_| {
                let db = db.clone();
                thread::spawn(move || {
                    let dropped = match db.drop_keyspace("users") {
                        Ok(lsn) => {
                            assert!(db.durable_lsn() >= lsn, "told before it was durable");
                            Some(lsn)
                        }
                        Err(Error::UnknownKeyspace { .. }) => None,
                        Err(Error::Poisoned { .. }) => return None,
                        Err(other) => panic!("{other}"),
                    };
                    assert_eq!(db.keyspaces(), ["default"], "told before it could be seen");
                    dropped
                })
            })
            .collect();
        let writer = {
            let (db, users) = (db.clone(), users.clone());
            thread::spawn(move || {
                let (mut last, mut refused) = (Lsn::ZERO, false);
                for number in ["1", "2", "3"] {
                    match users.put("a", number) {
                        Ok(lsn) => {
                            assert!(!refused, "it was gone");
                            last = lsn;
                        }
                        Err(Error::UnknownKeyspace { .. }) => {
                            refused = true;
                            assert_eq!(db.keyspaces(), ["default"], "told before it could be seen");
                        }
                        Err(Error::Poisoned { .. }) => refused = true,
                        Err(other) => panic!("{other}"),
                    }
                }
                last
            })
        };
        let mut seen = Vec::new();
        for _ in 0..4 {
            let snapshot = db.snapshot();
            let there = snapshot.keyspace(&users).unwrap();
            assert_eq!(there.get("a").is_some(), there.len() == 1);
            seen.push((snapshot.lsn(), there.contains("a")));
            thread::yield_now();
        }
        let dropped: Vec<Lsn> = droppers.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
        let written = writer.join().unwrap();
        assert!(dropped.len() == 1 || fails && dropped.is_empty(), "{dropped:?}");
        let end = dropped.first().copied().unwrap_or(Lsn::MAX);
        assert!(written < end, "written at {written} into what was dropped at {end}");
        assert!(seen.iter().all(|(lsn, there)| *there == (*lsn < end)), "{seen:?}, dropped at {end}");
        disk.clear_faults();
        let left = store_on(&disk.fork().power_cut(&Outcome::None)).open(DIR).unwrap();
        assert!(dropped.is_empty() || left.keyspaces() == ["default"], "it has come back");
        if !db.stats().poisoned {
            assert!(db.keyspace("users").unwrap().id() > users.id(), "a number was given out twice");
        }
    });
}

/// A log alone: appends of one or several payloads, with a failed sync now and then, and a close at the end.
#[test]
fn a_log_alone() {
    explore(|| {
        let disk = SimDisk::new(1);
        let wal = Arc::new(log_on(&disk).open(DIR).unwrap());
        if thread_rng().gen_bool(0.5) {
            disk.fail(
                Fault::new(FaultKind::SyncLost).on(OperationKind::Sync).at(thread_rng().gen_range(1..4_u64)),
            );
        }
        let safe = Arc::new(AtomicU64::new(0));
        let mix = Mix::draw();
        let append = move |wal: Arc<Wal>, safe: Arc<AtomicU64>, writer: u8| {
            for number in 0..2 {
                let durability = mix.durability();
                let payloads: [&[u8]; 2] = [&[writer, number, 0], &[writer, number, 1]];
                match wal.append_with(&payloads[..1 + usize::from(writer % 2)], durability) {
                    Ok(lsn) if durability == Durability::Sync => {
                        assert!(wal.durable_lsn() >= lsn);
                        safe.fetch_max(lsn.get(), Ordering::SeqCst);
                    }
                    Ok(_) => {}
                    Err(Error::Poisoned { .. }) => assert!(wal.is_poisoned()),
                    Err(other) => panic!("{other}"),
                }
            }
        };
        let threads: Vec<_> = (0..3)
            .map(|writer| {
                let (wal, safe) = (wal.clone(), safe.clone());
                thread::spawn(move || append(wal, safe, writer))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let poisoned = wal.is_poisoned();
        assert_eq!(poisoned, disk.faults_hit() > 0);
        disk.clear_faults();
        let found = log_on(&disk.fork().power_cut(&Outcome::None)).open(DIR).unwrap();
        let safe = safe.load(Ordering::SeqCst);
        assert!(found.last_lsn().get() >= safe, "{} is left of {safe}", found.last_lsn());
        let records = records_of(&found);
        assert!(records.iter().map(|record| record.lsn.get()).eq(1..=found.last_lsn().get()));
        assert_eq!(wal.close().is_err(), poisoned);
    });
}
