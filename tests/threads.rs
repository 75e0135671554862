//! Shows that the power may go while many threads write: what any of them was told, or could read, is still there.
//!
//! The crash enumeration runs one thread, so that it can be repeated. Here threads sync, write and rotate at the same
//! time, and the disk is looked at in the middle; what was acknowledged is read first, the disk afterwards.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use forelog::storage::{Outcome, SimDisk};
use forelog::{Durability, WriteBatch, WriteOptions};

use support::{DIR, log_on, payload, records_of, store_on};

const WRITERS: u64 = 4;

/// Each write is one of these: most wait for the disk, some do not.
fn durability(number: u64) -> Durability {
    if number.is_multiple_of(3) { Durability::Buffered } else { Durability::Sync }
}

/// Runs the writers, cuts the power of copies of the disk meanwhile, and gives each to `check` with the highest LSN that
/// was known to be safe.
fn check(
    disk: &SimDisk,
    write: impl Fn(u64, u64) -> (u64, Durability) + Sync,
    safe: impl Fn() -> u64,
    check: impl Fn(&SimDisk, u64),
) {
    let stop = AtomicBool::new(false);
    let acknowledged = AtomicU64::new(0);
    let mut images = 0;
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (stop, acknowledged, write) = (&stop, &acknowledged, &write);
            scope.spawn(move || {
                for number in (0..).take_while(|_| !stop.load(Ordering::Relaxed)) {
                    let (lsn, durability) = write(writer, number);
                    if durability == Durability::Sync {
                        acknowledged.fetch_max(lsn, Ordering::SeqCst);
                    }
                }
            });
        }
        let look = || {
            let until = Instant::now() + Duration::from_millis(1500);
            while Instant::now() < until {
                let known = acknowledged.load(Ordering::SeqCst).max(safe());
                let point = disk.crash_point_now();
                let first = images * 8;
                let random = (first..first + 3).map(|seed| Outcome::Random { seed, rest: None });
                for outcome in [Outcome::None, Outcome::All].into_iter().chain(random) {
                    check(&point.apply(&outcome), known);
                    images += 1;
                }
            }
        };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(look));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
    println!("{images} images while {} LSNs were acknowledged", acknowledged.load(Ordering::SeqCst));
    assert!(images > 10 && acknowledged.load(Ordering::SeqCst) > 50);
}

#[test]
fn a_log() {
    let disk = SimDisk::new(1);
    let wal = log_on(&disk).open(DIR).unwrap();
    check(
        &disk,
        |writer, number| {
            let durability = durability(number);
            let payload = payload(writer, if number % 7 == 0 { 2000 } else { 50 });
            let lsn = wal.append_with(&[&payload], durability).unwrap().get();
            if writer == 0 && number % 50 == 49 {
                wal.remove_before(forelog::Lsn::new(lsn.saturating_sub(50))).unwrap();
            }
            (lsn, durability)
        },
        || wal.durable_lsn().get(),
        |image, known| {
            let found = log_on(image).open(DIR).unwrap();
            assert!(found.last_lsn().get() >= known, "{} of {known}", found.last_lsn());
            let first = found.oldest_lsn().get();
            let dense =
                records_of(&found).iter().map(|record| record.lsn.get()).eq(first..=found.last_lsn().get());
            assert!(dense);
        },
    );
}

#[test]
fn a_store() {
    let disk = SimDisk::new(1);
    let db = store_on(&disk).open(DIR).unwrap();
    let users = db.keyspace("users").unwrap();
    check(
        &disk,
        |writer, number| {
            let durability = durability(number);
            let mut batch = WriteBatch::new();
            let value = number.to_be_bytes();
            batch.put(format!("{writer}"), value);
            batch.put_in(&users, format!("{writer}"), value);
            batch.put(format!("{writer} fills"), vec![7; if number % 7 == 0 { 2000 } else { 20 }]);
            let lsn = db.write_with(batch, &WriteOptions::new().durability(durability)).unwrap();
            assert!(db.visible_lsn() >= lsn, "read your writes");
            (lsn.get(), durability)
        },
        || db.durable_lsn().get(),
        |image, known| {
            let found = store_on(image).open(DIR).unwrap();
            assert!(found.visible_lsn().get() >= known, "{} of {known}", found.visible_lsn());
            let users = found.find_keyspace("users").unwrap();
            for writer in 0..WRITERS {
                let key = format!("{writer}");
                assert_eq!(found.get(&key).unwrap(), users.get(&key).unwrap(), "a batch is whole");
            }
        },
    );
}
