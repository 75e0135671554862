//! Runs from several threads, in any order, against the same operations applied one at a time to the plain form and to
//! a map. Keys are drawn so that runs overlap, fall into one gap, share long prefixes, or are prefixes of each other.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::thread;

use forelog::Lsn;
use forelog::memtable::{Entry, Memtable, Run, TakenIn, Tracker, plain};

use crate::support::{ALL, lsn};

type Op = (Lsn, Vec<u8>, Option<Vec<u8>>);

/// How keys are made from a number.
const SHAPES: [fn(u64) -> Vec<u8>; 6] = [
    |number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().repeat(2),
    |number| number.to_be_bytes().to_vec(),
    |number| format!("user:{number:07}:name").into_bytes(),
    |number| format!("{}{number:07}", "a prefix longer than what fits into a fence ".repeat(2)).into_bytes(),
    // Each a prefix of others; one of them empty.
    |number| vec![0; usize::try_from(number % 700).unwrap()],
    |number| if number % 3 == 0 { vec![] } else { vec![0xff; usize::try_from(number % 90).unwrap()] },
];

/// Operations in the order of their LSNs: mostly puts, over `keys` keys, so that the fewer, the more overwrites.
fn operations(random: &mut fastrand::Rng, count: u64, keys: u64, shape: fn(u64) -> Vec<u8>) -> Vec<Op> {
    (1..=count)
        .map(|number| {
            let value = random.u8(..4) > 0;
            let value = value.then(|| number.to_le_bytes()[..random.usize(..8)].to_vec());
            (lsn(number), shape(random.u64(..keys)), value)
        })
        .collect()
}

fn push_all(operations: &[Op]) -> Run {
    let mut run = Run::new();
    operations.iter().for_each(|(lsn, key, value)| run.push(*lsn, key, value.as_deref()));
    run
}

fn entries(range: impl Iterator<Item = Entry>) -> Vec<(Lsn, Vec<u8>, Vec<u8>)> {
    range.map(|entry| (entry.lsn(), entry.key().to_vec(), entry.value().to_vec())).collect()
}

/// Takes in the runs by some threads, and compares everything that can be read with the model.
fn check(operations: &[Op], runs: Vec<Run>, threads: usize) {
    let tracker = Tracker::new(Lsn::ZERO);
    let table = Arc::new(Memtable::new(tracker.clone()));
    let (mut gained, mut lost) = (0, 0);
    let mut shares: Vec<Vec<Run>> = (0..threads).map(|_| Vec::new()).collect();
    runs.into_iter().enumerate().for_each(|(number, run)| shares[number % threads].push(run));
    thread::scope(|scope| {
        let take_in = |share: Vec<Run>| {
            let table = &table;
            scope.spawn(move || share.into_iter().map(|run| table.take_in(run)).collect::<Vec<TakenIn>>())
        };
        for thread in shares.into_iter().map(take_in).collect::<Vec<_>>() {
            for taken in thread.join().unwrap() {
                gained += taken.gained;
                lost += taken.lost;
            }
        }
    });

    let plain_tracker = Tracker::new(Lsn::ZERO);
    let plain = Arc::new(plain::Memtable::new(plain_tracker.clone()));
    let mut model = BTreeMap::new();
    for (lsn, key, value) in operations {
        plain.apply(*lsn, key, value.as_deref());
        model.insert(key, (*lsn, value));
    }
    let last = lsn(operations.len() as u64);
    tracker.publish(last);
    plain_tracker.publish(last);

    for (key, (lsn, value)) in &model {
        let newest = table.newest(key).unwrap();
        assert_eq!((newest.lsn, newest.value.as_deref()), (*lsn, value.as_deref()), "{key:?}");
        assert_eq!(table.get(key).as_deref(), value.as_deref());
    }
    let tombstones = model.values().filter(|(_, value)| value.is_none()).count();
    let stats = table.stats();
    assert_eq!((stats.versions, stats.tombstones), (model.len(), tombstones), "the losers were dropped");
    let values = |(key, (_, value)): (&&Vec<u8>, &(Lsn, &Option<Vec<u8>>))| {
        value.as_ref().map_or(0, |value| 32 + key.len() + value.len())
    };
    assert_eq!(gained - lost, model.iter().map(values).sum::<usize>());

    let expected = entries(plain.range(ALL, plain_tracker.snapshot()));
    assert_eq!(entries(table.range(ALL, tracker.snapshot())), expected);
    let mut backward = entries(table.range(ALL, tracker.snapshot()).rev());
    backward.reverse();
    assert_eq!(backward, expected);
    if let Some((_, key, _)) = expected.get(expected.len() / 3) {
        let from = (Bound::Excluded(key.clone()), Bound::Unbounded);
        assert_eq!(
            entries(table.range(from, tracker.snapshot())),
            expected[expected.len() / 3 + 1..],
            "behind {key:?}"
        );
    }

    // Tombstones were queued, and go; what is left takes puts and deletes like any table.
    while table.collect_garbage(16) {}
    assert_eq!(table.stats().tombstones, 0);
    for (number, (_, key, _)) in expected.iter().enumerate() {
        table.apply(last.next(), key, (number % 2 == 0).then_some(b"later"));
    }
    tracker.publish(last.next());
    while table.collect_garbage(16) {}
    assert_eq!(table.range(ALL, tracker.snapshot()).count(), expected.len().div_ceil(2));
}

/// Every shape of keys, from one key up to so many that blocks split while other threads merge into them.
#[test]
fn runs_equal_single_puts() {
    let seed = 20_261_125;
    let mut random = fastrand::Rng::with_seed(seed);
    for shape in SHAPES {
        for (count, keys) in [(1, 1), (50, 5), (127, 10_000), (128, 10_000), (3000, 400), (20_000, 100_000)] {
            for (threads, most) in [(1, 30_000), (3, 700), (4, 60)] {
                let operations = operations(&mut random, count, keys, shape);
                let mut runs = Vec::new();
                let mut rest = &operations[..];
                while !rest.is_empty() {
                    let (run, after) = rest.split_at(random.usize(..most).clamp(1, rest.len()));
                    runs.push(push_all(run));
                    rest = after;
                }
                random.shuffle(&mut runs);
                check(&operations, runs, threads);
            }
        }
    }
}

/// What a checkpoint gives: sorted runs without a common key, each from another thread, all into an empty table.
#[test]
fn sorted_disjoint_runs() {
    for shape in [SHAPES[1], SHAPES[2], SHAPES[3]] {
        let mut operations: Vec<Op> =
            (1..=40_000).map(|number| (lsn(number), shape(number * 3), Some(b"v".to_vec()))).collect();
        let runs = operations.chunks(1300).map(push_all).collect();
        check(&operations, runs, 4);
        // And in each other's gaps.
        operations.retain(|(lsn, ..)| lsn.get() % 2 == 0);
        (1..).zip(&mut operations).for_each(|(number, operation)| operation.0 = lsn(number));
        let (even, odd): (Vec<_>, Vec<_>) =
            operations.iter().cloned().partition(|(lsn, ..)| lsn.get() % 2 == 0);
        check(&operations, vec![push_all(&even), push_all(&odd)], 2);
    }
}

/// Runs and single puts may be mixed: an old version that a put has kept loses like any other.
#[test]
fn a_run_meets_single_puts() {
    let tracker = Tracker::new(Lsn::ZERO);
    let table = Arc::new(Memtable::new(tracker.clone()));
    for number in 1..=1000 {
        table.apply(lsn(number), &(number % 100).to_be_bytes(), Some(b"single"));
    }
    let mut run = Run::new();
    for key in 0..50_u64 {
        run.push(lsn(1001 + key), &key.to_be_bytes(), None);
        run.push(lsn(1 + key), &(key + 50).to_be_bytes(), Some(b"too old"));
    }
    assert_eq!(run.len(), 100);
    table.take_in(run);
    tracker.publish(lsn(2000));
    assert_eq!(table.stats().versions, 100);
    while table.collect_garbage(16) {}
    let left = entries(table.range(ALL, tracker.snapshot()));
    assert_eq!(left.len(), 50);
    assert!(left.iter().all(|(_, _, value)| value == b"single"));
}
