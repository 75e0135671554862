//! Readers, writers and collectors at once, on real threads, for a few seconds.
//!
//! Each test says which line of the source it guards: with that line taken away, it failed.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use forelog::Lsn;
use forelog::memtable::{Memtable, Tracker};

use crate::support::{ALL, lsn};

/// Long enough to fail when a rule is broken, short enough for every `cargo test`.
fn round() -> Duration {
    let seconds = std::env::var("FORELOG_STRESS_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(2))
}

/// A clock, a table and a flag that ends the test, for scoped threads to share.
struct Stage {
    tracker: Arc<Tracker>,
    table: Arc<Memtable>,
    last: AtomicU64,
    over: AtomicBool,
}

/// What one thread does until the test is over; the number is its seed.
type Work<'a> = &'a (dyn Fn(&Stage, u64) + Sync);

impl Stage {
    fn new() -> Stage {
        let tracker = Tracker::new(Lsn::ZERO);
        Stage {
            table: Arc::new(Memtable::new(Arc::clone(&tracker))),
            tracker,
            last: AtomicU64::new(0),
            over: AtomicBool::new(false),
        }
    }

    fn is_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// For the one thread that writes: one LSN, applied and published.
    fn write(&self, key: &[u8], value: Option<&[u8]>) -> u64 {
        let at = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.table.apply(lsn(at), key, value);
        self.tracker.publish(lsn(at));
        at
    }

    fn run(&self, threads: &[Work<'_>]) {
        thread::scope(|scope| {
            for (seed, work) in (1..).zip(threads) {
                scope.spawn(move || {
                    let _ends_all = EndsAll(self);
                    work(self, seed);
                });
            }
            let start = Instant::now();
            while self.is_on() && start.elapsed() < round() {
                thread::sleep(Duration::from_millis(10));
            }
            self.over.store(true, Ordering::Relaxed);
        });
    }
}

/// A thread that panics ends the test at once, instead of leaving the others to spin.
struct EndsAll<'a>(&'a Stage);

impl Drop for EndsAll<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

/// Every fourth key is never deleted; the others come and go in waves, so that blocks split and merge all the time.
const KEYS: u32 = 12_000;

fn key(number: u32) -> Vec<u8> {
    format!("k{number:06}").into_bytes()
}

fn stays(number: u32) -> bool {
    number.is_multiple_of(4)
}

/// Fills a stretch of keys, empties it again, and moves on, publishing and collecting as a store does.
fn waves(stage: &Stage, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    while stage.is_on() {
        let first = rng.u32(..KEYS);
        let stretch = || (first..first + 2000).map(|number| number % KEYS).filter(|number| !stays(*number));
        for value in [Some(&b"here"[..]), None] {
            for number in stretch() {
                stage.write(&key(number), value);
                stage.table.collect_garbage(2);
            }
            for number in stretch().filter(|number| number % 64 == 1) {
                stage.write(&key(number - 1), Some(b"again"));
            }
        }
        while stage.table.collect_garbage(8) {}
    }
}

fn fill(stage: &Stage) {
    for number in (0..KEYS).filter(|number| stays(*number)) {
        stage.write(&key(number), Some(b"stays"));
    }
}

/// Shows that a reader never misses a key that is there, by reading keys that are never deleted while blocks split
/// and merge around them and the keys themselves are overwritten.
///
/// Guards: the `owns` check in `locate`; `right.dead = true` in `merge`; in `get`, reading `visible` under the lock;
/// in the plain form's place, crossbeam-skiplist's `insert` over a present key, which unlinks it first.
#[test]
fn a_get_never_misses_a_key_that_stays() {
    let stage = Stage::new();
    fill(&stage);
    let reader = |stage: &Stage, seed: u64| {
        let mut rng = fastrand::Rng::with_seed(seed);
        while stage.is_on() {
            let number = rng.u32(..KEYS / 4) * 4;
            assert!(stage.table.get(&key(number)).is_some(), "key {number} was missed");
        }
    };
    stage.run(&[&waves, &reader, &reader]);
}

/// Shows that a scan, in either direction, gives every key that stays once and in order, and nothing twice.
///
/// Guards: in `load_front`, locating the block anew; in `load_back`, `owns_below`; the order of the steps of `merge`.
#[test]
fn a_scan_sees_each_key_that_stays_once() {
    let stage = Stage::new();
    fill(&stage);
    let reader = |stage: &Stage, seed: u64| {
        let mut rng = fastrand::Rng::with_seed(seed);
        while stage.is_on() {
            let (from, to) = (rng.u32(..KEYS), rng.u32(..KEYS));
            let (from, to) = (from.min(to), from.max(to));
            let range = (Bound::Included(key(from)), Bound::Excluded(key(to)));
            let mut range = stage.table.range(range, stage.tracker.snapshot());
            // From both ends at once: they meet somewhere.
            let (mut front, mut back) = (Vec::new(), Vec::new());
            loop {
                let (entry, list) =
                    if rng.bool() { (range.next(), &mut front) } else { (range.next_back(), &mut back) };
                let Some(entry) = entry else { break };
                list.push(entry.key().to_vec());
            }
            front.extend(back.into_iter().rev());
            assert!(front.is_sorted_by(|a, b| a < b), "out of order or twice");
            let stayed =
                front.iter().filter(|key| stays(String::from_utf8_lossy(&key[1..]).parse().unwrap()));
            assert_eq!(stayed.count(), (from..to).filter(|number| stays(*number)).count(), "{from}..{to}");
        }
    };
    stage.run(&[&waves, &reader, &reader]);
}

/// Shows that a snapshot shows exactly the state at its LSN, across all blocks, while that state is overwritten,
/// deleted and collected. The writer turns all keys to its next round number, one LSN each, in one fixed order; so
/// the LSN of a snapshot alone tells what each key must hold.
///
/// Guards: `Horizon::keeps`; in `sweep`, older versions before tombstones.
#[test]
fn a_snapshot_shows_the_state_at_its_lsn() {
    const SIZE: u64 = 700;
    let stage = Stage::new();
    let name = |at: u64| key(u32::try_from(at * 421 % SIZE).unwrap());
    // The write of LSN `at` puts its number, or deletes in every third round.
    let value = |at: u64| (at / SIZE % 3 != 2).then(|| at.to_string().into_bytes());
    let writer = |stage: &Stage, _: u64| {
        while stage.is_on() {
            let at = stage.last.load(Ordering::Relaxed) + 1;
            stage.write(&name(at), value(at).as_deref());
            stage.table.collect_garbage(2);
        }
    };
    let reader = |stage: &Stage, seed: u64| {
        let mut rng = fastrand::Rng::with_seed(seed);
        while stage.is_on() {
            let snapshot = stage.tracker.snapshot();
            let at = snapshot.lsn().get();
            let mut expected: Vec<_> = (at.saturating_sub(SIZE) + 1..=at)
                .filter_map(|at| value(at).map(|value| (name(at), value)))
                .collect();
            expected.sort();
            if rng.bool() {
                let entries = stage.table.range(ALL, snapshot);
                let entries: Vec<_> = entries.map(|e| (e.key().to_vec(), e.value().to_vec())).collect();
                assert_eq!(entries, expected, "a scan at {at}");
            } else {
                for (key, value) in expected {
                    assert_eq!(
                        stage.table.get_at(&key, snapshot.lsn()).map(Vec::from),
                        Some(value),
                        "at {at}"
                    );
                }
            }
        }
    };
    let collector = |stage: &Stage, _: u64| {
        while stage.is_on() {
            stage.table.collect_garbage(64);
            thread::yield_now();
        }
    };
    stage.run(&[&writer, &reader, &reader, &collector]);
    while stage.table.collect_garbage(64) {}
    let stats = stage.table.stats();
    assert_eq!((stats.versions, stats.tombstones), (stats.keys, 0), "garbage is left that nobody reads");
}

/// Shows that a read without a snapshot sees the newest published version of a key that is overwritten all the time:
/// it never misses the key and never goes back.
///
/// Guards: `visible` read under the lock in `get`.
#[test]
fn a_get_never_goes_back_in_time() {
    let stage = Stage::new();
    stage.write(b"hot", Some(&1_u64.to_be_bytes()));
    let writer = |stage: &Stage, _: u64| {
        while stage.is_on() {
            let at = stage.last.load(Ordering::Relaxed) + 1;
            stage.write(b"hot", Some(&at.to_be_bytes()));
            stage.table.collect_garbage(1);
        }
    };
    let reader = |stage: &Stage, _: u64| {
        let mut newest = 0;
        while stage.is_on() {
            let published = stage.tracker.visible().get();
            let value = stage.table.get(b"hot").expect("the key was missed");
            let at = u64::from_be_bytes(value[..].try_into().unwrap());
            assert!(at >= published && at >= newest, "read {at} after {published} was published");
            newest = at;
        }
    };
    stage.run(&[&writer, &reader, &reader]);
}

/// Shows that nothing slips between taking a snapshot and what collection believes to be unneeded: each LSN writes
/// the one key, so a snapshot must find exactly its own LSN there, however briefly it lives.
///
/// Guards: that `Tracker::horizon` asks for the list of snapshots at all. (The order of two reads in it is guarded
/// beside it: only a unit test can open that window.)
#[test]
fn a_snapshot_is_safe_from_its_first_moment() {
    let stage = Stage::new();
    stage.write(b"hot", Some(&1_u64.to_be_bytes()));
    let writer = |stage: &Stage, _: u64| {
        while stage.is_on() {
            let at = stage.last.load(Ordering::Relaxed) + 1;
            stage.write(b"hot", Some(&at.to_be_bytes()));
            stage.table.collect_garbage(1);
        }
    };
    let reader = |stage: &Stage, _: u64| {
        while stage.is_on() {
            let snapshot = stage.tracker.snapshot();
            let value = stage.table.get_at(b"hot", snapshot.lsn()).expect("the key was missed");
            assert_eq!(value, snapshot.lsn().get().to_be_bytes(), "not what was visible at the snapshot");
        }
    };
    stage.run(&[&writer, &reader, &reader]);
}

/// Shows that many writers may apply at once, each its own LSNs in its own order, as recovery does: the newest LSN
/// of each key wins.
///
/// Guards: in `split`, the index before the bound; `owns` in `locate_exclusive`.
#[test]
fn many_writers_apply_in_any_order() {
    const LSNS: u64 = 200_000;
    let stage = Stage::new();
    let name = |at: u64| key(u32::try_from(at * 7919 % 30_011).unwrap());
    thread::scope(|scope| {
        for part in 0..4 {
            let stage = &stage;
            scope.spawn(move || {
                let mut mine: Vec<u64> = (1..=LSNS).filter(|at| at % 4 == part).collect();
                fastrand::Rng::with_seed(part).shuffle(&mut mine);
                for at in mine {
                    let value = (at % 5 > 0).then(|| at.to_be_bytes());
                    stage.table.apply(lsn(at), &name(at), value.as_ref().map(|value| &value[..]));
                }
            });
        }
    });
    stage.tracker.publish(lsn(LSNS));
    while stage.table.collect_garbage(64) {}
    let newest: std::collections::BTreeMap<_, _> = (1..=LSNS).map(|at| (name(at), at)).collect();
    let expected = newest.into_iter().filter(|(_, at)| at % 5 > 0);
    let entries = stage.table.range(ALL, stage.tracker.snapshot());
    assert!(entries.map(|entry| (entry.key().to_vec(), entry.lsn().get())).eq(expected));
}
