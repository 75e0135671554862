//! Shows that what threads read of a store fits one order of all writes, and that this order is that of the LSNs.
//!
//! Threads put, delete, write batches, get, scan, take snapshots, checkpoints and prune, all at once, and note what they
//! did, what came of it, and when it began and ended (on a counter that all share). Afterwards each history is judged:
//!
//! - a read must have seen the state after some LSN, all of it: the newest version of each key up to there;
//! - that LSN must not lie before anything that had ended when the read began: neither a write nor what another read had
//!   seen. Nor must a write get an LSN below what had been seen before it began.
//!
//! That is linearizability, of single keys as of batches and scans, with the LSNs as the witness: so judging takes n log n
//! steps, where a search for any order would take for ever. (The idea of checking histories is that of Wing and Gong,
//! 1993; Jepsen made it common.)
//!
//! Broken on purpose, to see it fail: see each test.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use forelog::storage::{MemoryDisk, Outcome, SimDisk, Storage};
use forelog::{Db, Durability, WriteBatch, WriteOptions};

use support::{DIR, store_on};

const KEYS: u64 = 24;

/// Each value is written once, so it tells who wrote it; `None`: the key is absent.
type State = BTreeMap<u64, Option<u64>>;

/// What was done.
#[derive(Debug)]
enum What {
    /// What a write wrote, and the LSN that it got.
    Wrote(State, u64),
    /// What a read saw of some keys.
    Saw(State),
    /// The same, of a snapshot of this LSN.
    SawAt(State, u64),
    /// What a power cut left, up to this LSN. That may be more than could be seen by then: a write is durable a moment
    /// before it is visible. So reads that begin later may be older, and only later images may not.
    Survived(State, u64),
}

/// An operation, between two moments.
#[derive(Debug)]
struct Event {
    began: u64,
    ended: u64,
    what: What,
}

struct Stage {
    db: Db,
    clock: AtomicU64,
    values: AtomicU64,
    over: AtomicBool,
}

impl Stage {
    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn event(&self, act: impl FnOnce() -> What) -> Event {
        let began = self.now();
        let what = act();
        Event { began, ended: self.now(), what }
    }

    /// What one thread does.
    fn act(&self, seed: u64, durability: Durability) -> Vec<Event> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut events = Vec::new();
        while !self.over.load(Ordering::Relaxed) {
            events.push(match random.u32(..100) {
                0..45 => self.write(&mut random, durability),
                45..80 => {
                    let number = random.u64(..KEYS);
                    self.event(|| {
                        What::Saw(State::from([(number, value(self.db.get(key(number)).unwrap()))]))
                    })
                }
                80..90 => {
                    let (from, reversed) = (random.u64(..KEYS), random.bool());
                    self.event(|| What::Saw(self.scan(from, reversed)))
                }
                90..99 => self.snapshot(&mut random),
                _ => {
                    if random.bool() {
                        self.db.checkpoint().unwrap();
                    } else {
                        self.db.prune(false).unwrap();
                    }
                    continue;
                }
            });
        }
        events
    }

    /// Some keys are put, some deleted, in one step.
    fn write(&self, random: &mut fastrand::Rng, durability: Durability) -> Event {
        let count = if random.u32(..3) == 0 { random.u64(2..6) } else { 1 };
        let mut batch = WriteBatch::new();
        let mut written = State::new();
        for _ in 0..count {
            let number = random.u64(..KEYS);
            let new = (random.u32(..4) > 0).then(|| self.values.fetch_add(1, Ordering::Relaxed));
            written.insert(number, new);
        }
        for (number, new) in &written {
            match new {
                Some(new) => batch.put(key(*number), new.to_be_bytes()),
                None => batch.delete(key(*number)),
            }
        }
        let options = WriteOptions::new().durability(durability);
        self.event(|| What::Wrote(written, self.db.write_with(batch, &options).unwrap().get()))
    }

    /// All keys from this one on: also which are absent.
    fn scan(&self, from: u64, reversed: bool) -> State {
        let mut seen: State = (from..KEYS).map(|number| (number, None)).collect();
        let range = self.db.range(key(from)..);
        let mut take = |entry: forelog::Entry| {
            let number = std::str::from_utf8(entry.key()).unwrap()[4..].parse().unwrap();
            let before = seen.insert(number, Some(number_of(entry.value())));
            assert_eq!(before, Some(None), "a key comes once, and is one of those asked for");
        };
        if reversed {
            range.rev().for_each(&mut take);
        } else {
            range.for_each(&mut take);
        }
        seen
    }

    fn snapshot(&self, random: &mut fastrand::Rng) -> Event {
        self.event(|| {
            let snapshot = self.db.snapshot();
            if random.bool() {
                thread::yield_now();
            }
            let seen = (0..KEYS).map(|number| (number, value(snapshot.get(key(number))))).collect();
            What::SawAt(seen, snapshot.lsn().get())
        })
    }
}

fn key(number: u64) -> String {
    format!("key {number:02}")
}

fn number_of(value: &[u8]) -> u64 {
    u64::from_be_bytes(value.try_into().unwrap())
}

fn value(found: Option<forelog::Value>) -> Option<u64> {
    found.map(|value| number_of(&value))
}

/// LSNs: from the first to before the second.
type Stretch = (u64, u64);

/// After which LSNs a key had a value.
#[derive(Default)]
struct Versions(BTreeMap<(u64, Option<u64>), Vec<Stretch>>);

impl Versions {
    fn of(events: &[Event]) -> Versions {
        let mut by_key: BTreeMap<u64, BTreeMap<u64, Option<u64>>> = BTreeMap::new();
        for event in events {
            let What::Wrote(state, lsn) = &event.what else { continue };
            for (key, value) in state {
                let double = by_key.entry(*key).or_default().insert(*lsn, *value);
                assert!(double.is_none(), "two writes with LSN {lsn}");
            }
        }
        let mut versions = Versions::default();
        for key in 0..KEYS {
            // First of all it is absent.
            let changes = [(0, None)].into_iter().chain(by_key.remove(&key).into_iter().flatten());
            let changes: Vec<(u64, Option<u64>)> = changes.collect();
            let ends = changes.iter().skip(1).map(|(lsn, _)| *lsn).chain([u64::MAX]);
            for ((from, value), to) in changes.iter().zip(ends) {
                versions.0.entry((key, *value)).or_default().push((*from, to));
            }
        }
        versions
    }

    fn when(&self, key: u64, value: Option<u64>) -> &[Stretch] {
        self.0.get(&(key, value)).map_or(&[], |stretches| &stretches[..])
    }

    /// The first LSN, not below `least`, after which all of this was so.
    fn first_from(&self, seen: &State, least: u64) -> Option<u64> {
        let all: Vec<&[Stretch]> = seen.iter().map(|(key, value)| self.when(*key, *value)).collect();
        let mut at = least;
        // Each round moves on to where one more of them holds, or there is none.
        loop {
            let next = all.iter().try_fold(at, |at, stretches| {
                let stretch = stretches.get(stretches.partition_point(|(_, to)| *to <= at))?;
                Some(at.max(stretch.0))
            })?;
            if next == at {
                return Some(at);
            }
            at = next;
        }
    }
}

/// Judges a history. What had been seen or written when an operation began is the least that it must come after.
fn judge(mut events: Vec<Event>) -> Result<(), String> {
    let versions = Versions::of(&events);
    events.sort_by_key(|event| event.began);
    // What ended, and the LSN that it stands for: taken in when something begins later.
    let mut ended: std::collections::BinaryHeap<std::cmp::Reverse<(u64, u64)>> = Default::default();
    let (mut least, mut survived) = (0, 0);
    for event in &events {
        while let Some(std::cmp::Reverse((moment, lsn))) = ended.peek().copied()
            && moment < event.began
        {
            least = least.max(lsn);
            ended.pop();
        }
        let at = match &event.what {
            What::Wrote(_, lsn) if *lsn <= least => Err("a write got an LSN that had been seen"),
            What::Wrote(_, lsn) => Ok(*lsn),
            What::SawAt(_, lsn) if *lsn < least => Err("a snapshot is older than what had been seen"),
            What::Survived(_, lsn) if *lsn < least.max(survived) => {
                Err("a power cut took what had been seen, or had survived another")
            }
            What::SawAt(seen, lsn) | What::Survived(seen, lsn)
                if versions.first_from(seen, *lsn) != Some(*lsn) =>
            {
                Err("a snapshot or an image is not the state after its LSN")
            }
            What::SawAt(_, lsn) => Ok(*lsn),
            What::Survived(_, lsn) => {
                survived = *lsn;
                continue;
            }
            What::Saw(seen) => versions.first_from(seen, least).ok_or("a read saw no state, or an old one"),
        };
        let at = at.map_err(|what| format!("{what}: {least} and {event:?}"))?;
        ended.push(std::cmp::Reverse((event.ended, at)));
    }
    Ok(())
}

/// Long enough to fail when a rule is broken, short enough for every `cargo test`.
fn round() -> Duration {
    let seconds = std::env::var("FORELOG_STRESS_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(2))
}

/// Cuts the power of copies of the disk, opens them, and reads all: what was seen until then must be there.
fn cut_the_power(stage: &Stage, disk: &SimDisk) -> Vec<Event> {
    let mut events = Vec::new();
    while !stage.over.load(Ordering::Relaxed) {
        let began = stage.now();
        let image = disk.crash_point_now().apply(&Outcome::None);
        let ended = stage.now();
        let db = store_on(&image).open(DIR).unwrap();
        let seen = (0..KEYS).map(|number| (number, value(db.get(key(number)).unwrap()))).collect();
        events.push(Event { began, ended, what: What::Survived(seen, db.visible_lsn().get()) });
        thread::sleep(Duration::from_millis(20));
    }
    events
}

/// `power`: a disk whose power is cut meanwhile. All must be durable before it is seen then.
fn check(
    disk: &(impl Storage + Clone),
    power: Option<&SimDisk>,
    (seed, threads, durability): (u64, u64, Durability),
) {
    let options = store_on(disk).segment_bytes(64 << 10).checkpoint_after_bytes(Some(40_000));
    let db = options.open(DIR).unwrap();
    let zero = AtomicU64::new(0);
    let stage = Stage { db, clock: zero, values: AtomicU64::new(1), over: AtomicBool::new(false) };
    let events: Vec<Event> = thread::scope(|scope| {
        let stage = &stage;
        let acting: Vec<_> = (0..threads)
            .map(|number| scope.spawn(move || stage.act(seed * 100 + number, durability)))
            .collect();
        let cutting = power.map(|disk| scope.spawn(move || cut_the_power(stage, disk)));
        let begun = Instant::now();
        while begun.elapsed() < round() && acting.iter().all(|thread| !thread.is_finished()) {
            thread::sleep(Duration::from_millis(5));
        }
        stage.over.store(true, Ordering::Relaxed);
        acting.into_iter().chain(cutting).flat_map(|thread| thread.join().unwrap()).collect()
    });
    let writes = events.iter().filter(|event| matches!(event.what, What::Wrote(..))).count();
    println!("{} operations, {writes} of them writes, by {threads} threads, {durability:?}", events.len());
    assert!(writes > 100 && events.len() > writes + 100);
    if let Err(wrong) = judge(events) {
        panic!("seed {seed}: {wrong}");
    }
}

/// Broken on purpose: published before it was applied (`db::commit`), a read missed a write that had ended.
#[test]
fn buffered() {
    check(&MemoryDisk::new(), None, (1, 4, Durability::Buffered));
}

/// Broken on purpose: acknowledged before it was published, a read was older than a write that had ended; published before
/// it was durable (`Pending::publishable` without its syncs), a power cut took back what had been seen.
///
/// Broken: src/db/pending.rs: `self.applied.min(held_back)` to `self.applied`
#[test]
fn durable() {
    let disk = SimDisk::new(1);
    check(&disk, Some(&disk), (2, 6, Durability::Sync));
}

/// The judge itself: it must find what it is there for.
#[test]
fn wrong_histories_are_found() {
    let wrote = |began, ended, key, value, lsn| Event {
        began,
        ended,
        what: What::Wrote(State::from([(key, value)]), lsn),
    };
    let saw = |began, ended, seen: &[(u64, Option<u64>)]| Event {
        began,
        ended,
        what: What::Saw(seen.iter().copied().collect()),
    };
    let sound =
        || vec![wrote(0, 1, 1, Some(10), 1), wrote(2, 9, 1, Some(11), 2), wrote(3, 8, 2, Some(12), 3)];
    let with = |more: Vec<Event>| judge(sound().into_iter().chain(more).collect());
    assert_eq!(judge(sound()), Ok(()));
    // While both writes are under way, either state may be seen, and a later read no older one.
    assert_eq!(with(vec![saw(4, 5, &[(1, Some(10))]), saw(6, 7, &[(1, Some(11))])]), Ok(()));
    assert!(with(vec![saw(4, 5, &[(1, Some(11))]), saw(6, 7, &[(1, Some(10))])]).is_err(), "back in time");
    assert!(with(vec![saw(10, 11, &[(1, Some(10))])]).is_err(), "a write that had ended is missed");
    assert!(with(vec![saw(10, 11, &[(1, None)])]).is_err(), "lost");
    assert!(with(vec![saw(4, 5, &[(1, Some(10)), (2, Some(12))])]).is_err(), "the later without the earlier");
    assert_eq!(with(vec![saw(4, 5, &[(1, Some(11)), (2, None)])]), Ok(()));
    assert!(with(vec![saw(4, 5, &[(1, Some(99))])]).is_err(), "nobody wrote that");
    let at = |lsn| Event { began: 20, ended: 21, what: What::SawAt(State::from([(2, Some(12))]), lsn) };
    assert_eq!(with(vec![at(3)]), Ok(()));
    assert!(with(vec![at(2)]).is_err(), "not the state after its LSN");
    // An image may be ahead of what is seen, by what is durable and not visible yet.
    let image = |began, lsn, value| Event {
        began,
        ended: began,
        what: What::Survived(State::from([(2, value)]), lsn),
    };
    let seen_later = saw(6, 7, &[(2, None)]);
    assert_eq!(with(vec![image(5, 3, Some(12)), seen_later]), Ok(()));
    assert!(with(vec![image(5, 3, Some(12)), image(6, 2, None)]).is_err(), "the second image lost something");
    assert!(with(vec![image(20, 2, None)]).is_err(), "an image lost what had been acknowledged");
    assert!(
        judge(vec![wrote(0, 1, 1, Some(10), 5), wrote(2, 3, 1, Some(11), 4)]).is_err(),
        "LSNs against time"
    );
}
