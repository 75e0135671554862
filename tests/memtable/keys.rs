//! Keys that are awkward to order, to cut a common prefix from, and to part with a short separator.

use std::collections::BTreeMap;
use std::ops::Bound;

use forelog::memtable;

use crate::support::{ALL, Store};

/// Shows that a table with these keys holds each once, in order, finds each, and finds nothing else, by inserting
/// them in a shuffled order, then deleting every other one and merging what is left.
fn check(name: &str, mut keys: Vec<Vec<u8>>) {
    let mut store = Store::<memtable::Memtable>::new();
    let mut rng = fastrand::Rng::with_seed(5);
    rng.shuffle(&mut keys);
    let mut model = BTreeMap::new();
    for key in &keys {
        store.put(key, store.last.to_string());
        model.insert(key.clone(), (store.last - 1).to_string().into_bytes());
    }
    for delete in [false, true] {
        if delete {
            for key in keys.iter().step_by(2) {
                store.delete(key);
                model.remove(key);
            }
            store.collect_all();
        }
        for key in &keys {
            assert_eq!(store.table.get(key).map(Vec::from), model.get(key).cloned(), "{name}: {key:?}");
            let beside = [key.as_slice(), b"\0"].concat();
            assert_eq!(
                store.table.get(&beside).is_some(),
                model.contains_key(&beside),
                "{name}: beside {key:?}"
            );
        }
        assert!(store.keys().iter().eq(model.keys()), "{name}");
        let backward = store.table.range(ALL, store.tracker.snapshot()).rev();
        assert!(backward.map(|entry| entry.key().to_vec()).eq(model.keys().rev().cloned()), "{name}");
        for _ in 0..50 {
            let (one, other) = (&keys[rng.usize(..keys.len())], &keys[rng.usize(..keys.len())]);
            let (from, to) = (one.min(other), one.max(other));
            let bounds = (Bound::Excluded(from.clone()), Bound::Included(to.clone()));
            let range = store.table.range(bounds.clone(), store.tracker.snapshot());
            let expected = if from == to { 0 } else { model.range(bounds).count() };
            assert_eq!(range.count(), expected, "{name}: {from:?}..={to:?}");
        }
    }
}

#[test]
fn long_common_prefixes() {
    check("user", (0..3000).map(|n| format!("user:{n:07}:name").into_bytes()).collect());
    check("40 equal bytes", (0..3000_u32).map(|n| [&[b'x'; 40][..], &n.to_be_bytes()].concat()).collect());
    check("equal to the last byte", (0..=255_u8).map(|n| [&[7; 100][..], &[n]].concat()).collect());
}

#[test]
fn keys_that_are_prefixes_of_each_other() {
    check("a, aa, aaa", (0..600).map(|n| vec![b'a'; n]).collect());
    check("zeros", (0..600).map(|n| vec![0; n]).collect());
    check("ones", (0..600).map(|n| vec![0xff; n]).collect());
}

#[test]
fn the_extremes_of_a_byte() {
    let bytes = [0, 1, 0x7f, 0x80, 0xfe, 0xff];
    let mut keys = vec![Vec::new()];
    for length in 1..=4 {
        let longer = keys
            .iter()
            .filter(|key| key.len() == length - 1)
            .flat_map(|key| bytes.iter().map(|byte| [key.as_slice(), &[*byte]].concat()).collect::<Vec<_>>());
        keys.extend(longer.collect::<Vec<_>>());
    }
    check("all words over the extremes", keys);
}

#[test]
fn lengths_of_all_kinds() {
    let mut rng = fastrand::Rng::with_seed(3);
    let mut keys: Vec<Vec<u8>> =
        (0..2000).map(|_| (0..rng.usize(..60)).map(|_| rng.u8(b'a'..b'd')).collect()).collect();
    keys.push(vec![1; 100_000]);
    keys.sort();
    keys.dedup();
    check("random", keys);
}
