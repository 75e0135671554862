//! What collection frees, what it keeps, and that memory really returns.

use std::collections::BTreeSet;
use std::ops::{self, Bound};

use forelog::memtable::{self, plain};

use crate::support::{ALL, Store, Table, lsn};

/// Shows that one long snapshot does not make hot keys grow: a thousand overwrites under it leave two versions, the
/// snapshot's and the newest. Guards `Horizon::keeps` (a reader *between*, not a reader above).
fn a_hot_key_stays_small<T: Table>() {
    let mut store = Store::<T>::new();
    store.put("hot", "first");
    let long = store.tracker.snapshot();
    for round in 0..1000 {
        store.put("hot", round.to_string());
        store.table.collect_garbage(1);
        assert!(store.table.stats().versions <= 3, "{:?}", store.table.stats());
    }
    let middle = store.tracker.snapshot();
    store.put("hot", "last");
    store.collect_all();
    assert_eq!(store.table.stats().versions, 3);
    assert!(store.table.get_at(b"hot", long.lsn()).is_some_and(|value| value == "first"));
    assert!(store.table.get_at(b"hot", middle.lsn()).is_some_and(|value| value == "999"));

    // The younger snapshot ends first: what it alone kept goes with the next sweep of that block.
    drop(middle);
    store.put("hot", "very last");
    store.collect_all();
    assert_eq!(store.table.stats().versions, 2);
    drop(long);
    store.collect_all();
    assert_eq!(store.table.stats().versions, 1);
}

#[test]
fn a_hot_key_stays_small_under_a_long_snapshot() {
    a_hot_key_stays_small::<memtable::Memtable>();
    a_hot_key_stays_small::<plain::Memtable>();
}

/// Shows that the end of the oldest snapshot frees what it kept although younger ones live on and nobody writes.
/// Guards: `Queue::wake` wakes for another oldest snapshot, not only for none.
#[test]
fn the_oldest_snapshot_takes_its_versions_along() {
    let mut store = Store::<memtable::Memtable>::new();
    let mut snapshots = Vec::new();
    for round in 0..4 {
        for number in 0..1000_u32 {
            store.put(number.to_be_bytes(), [round; 8]);
        }
        snapshots.push(store.tracker.snapshot());
        store.collect_all();
    }
    for left in (1..=3).rev() {
        assert_eq!(store.table.stats().versions, (left + 1) * 1000);
        snapshots.remove(0);
        store.collect_all();
    }
    assert_eq!(store.table.stats().versions, 1000);
}

/// Shows that a transaction learns of exactly the changes after its snapshot, wherever splits and merges have put
/// them: first of inserts alone, then of deletes that empty most blocks.
/// Guards: the highest LSN of a block is handed on in `split` and in `merge`.
#[test]
fn changes_are_found_through_splits_and_merges() {
    let mut store = Store::<memtable::Memtable>::new();
    let one = |number: u32| {
        (Bound::Included(number.to_be_bytes().to_vec()), Bound::Excluded((number + 1).to_be_bytes().to_vec()))
    };
    (0..500).for_each(|number: u32| store.put(number.to_be_bytes(), "old"));
    let since = store.tracker.snapshot();
    (500..1000).for_each(|number: u32| store.put(number.to_be_bytes(), "new"));
    let keys = |numbers: ops::Range<u32>| -> BTreeSet<Vec<u8>> {
        numbers.map(|number| number.to_be_bytes().to_vec()).collect()
    };
    for number in 0..1000 {
        let of_keys = |numbers| store.table.keys_changed_since(&keys(numbers), since.lsn()).is_some();
        assert_eq!((of_keys(number..number + 1), of_keys(0..number + 1)), (number >= 500, number >= 500));
        assert_eq!(store.table.changed_since(&one(number), since.lsn()).is_some(), number >= 500, "{number}");
    }
    drop(since);
    (0..1000).filter(|number| number % 100 > 0).for_each(|number: u32| store.delete(number.to_be_bytes()));
    let since = store.tracker.snapshot();
    store.put(950_u32.to_be_bytes(), "newest");
    store.collect_all();
    // Ten that stayed, the newest one, and for the snapshot that it had been deleted.
    assert_eq!(store.table.stats().versions, 12);
    for number in 0..1000 {
        assert_eq!(store.table.changed_since(&one(number), since.lsn()).is_some(), number == 950, "{number}");
    }
    let newest = Some(store.tracker.visible());
    assert_eq!(store.table.keys_changed_since(&keys(0..1000), since.lsn()), newest);
    assert_eq!(store.table.keys_changed_since(&keys(0..950), since.lsn()), None);
    assert_eq!(store.table.changed_since(&ALL, since.lsn()), Some(store.tracker.visible()));
}

/// Shows that everything deleted is everything freed, by filling, deleting and collecting until only the first,
/// empty block is left. Guards the merge, and the removal of merged blocks from the index.
#[test]
fn deleting_everything_leaves_one_empty_block() {
    let mut store = Store::<memtable::Memtable>::new();
    let empty = store.table.stats();
    for order in [1, 7, 9_999] {
        for number in 0..20_000_u32 {
            store.put((number * 7919 % 20_000).to_be_bytes(), [1; 50]);
        }
        let full = store.table.stats();
        assert!(full.keys == 20_000 && full.blocks > 20_000 / 128, "{full:?}");
        for number in 0..20_000_u32 {
            store.delete((number * order % 20_000).to_be_bytes());
            store.table.collect_garbage(1);
        }
        store.collect_all();
        let left = store.table.stats();
        assert_eq!((left.keys, left.versions, left.tombstones, left.blocks), (0, 0, 0, 1));
        assert!(left.bytes < empty.bytes + 10_000, "{left:?}, at first {empty:?}");
    }
}

/// Shows that blocks shrink together while keys remain, by deleting nine of ten.
#[test]
fn thinned_out_blocks_merge() {
    let mut store = Store::<memtable::Memtable>::new();
    for number in 0..20_000_u32 {
        store.put(number.to_be_bytes(), "x");
    }
    let full = store.table.stats().blocks;
    for number in (0..20_000_u32).filter(|number| number % 10 != 0) {
        store.delete(number.to_be_bytes());
    }
    store.collect_all();
    let left = store.table.stats();
    assert_eq!((left.keys, left.versions), (2000, 2000));
    assert!(left.blocks <= full / 4, "{} of {full} blocks are left", left.blocks);
    assert_eq!(store.keys().len(), 2000);
}

/// Shows that scans take no hold of what they pass: after scans in both directions, deletes free everything.
/// (`SkipMap::range` leaks a reference with each step, so that what it passed is never freed.)
#[test]
fn what_was_scanned_is_freed_all_the_same() {
    let mut store = Store::<memtable::Memtable>::new();
    for number in 0..5000_u32 {
        store.put(number.to_be_bytes(), "x");
    }
    for _ in 0..10 {
        let snapshot = store.tracker.snapshot();
        assert_eq!(store.table.range(ALL, snapshot.clone()).count(), 5000);
        assert_eq!(store.table.range(ALL, snapshot).rev().count(), 5000);
    }
    for number in 0..5000_u32 {
        store.delete(number.to_be_bytes());
    }
    store.collect_all();
    assert_eq!((store.table.stats().versions, store.table.stats().blocks), (0, 1));
}

/// Shows that an open iterator keeps what it will show, and that dropping it lets that go.
fn an_iterator_keeps_what_it_shows<T: Table>() {
    let mut store = Store::<T>::new();
    for number in 0..1000_u32 {
        store.put(number.to_be_bytes(), "old");
    }
    let mut range = store.table.range(ALL, store.tracker.snapshot());
    assert!(range.next().is_some());
    for number in 0..1000_u32 {
        store.delete(number.to_be_bytes());
    }
    store.collect_all();
    assert_eq!(store.table.stats().keys, 0);
    assert_eq!(store.table.stats().tombstones, 1000);
    assert_eq!(range.by_ref().take(500).filter(|entry| entry.value() == b"old").count(), 500);
    drop(range);
    store.collect_all();
    assert_eq!(store.table.stats().versions, 0);
}

#[test]
fn an_iterator_keeps_what_it_shows_in_both_forms() {
    an_iterator_keeps_what_it_shows::<memtable::Memtable>();
    an_iterator_keeps_what_it_shows::<plain::Memtable>();
}

/// Shows that a value outlives everything: overwritten, deleted, collected, and the table dropped.
#[test]
fn a_value_outlives_its_table() {
    let mut store = Store::<memtable::Memtable>::new();
    store.put("k", "kept");
    let value = store.table.get(b"k").unwrap();
    let entry = store.table.range(ALL, store.tracker.snapshot()).next().unwrap();
    store.delete("k");
    store.collect_all();
    drop(store);
    assert_eq!(value, "kept");
    assert_eq!((entry.key(), entry.value(), entry.lsn()), (&b"k"[..], &b"kept"[..], lsn(1)));
}

/// Shows that nothing unpublished shows or counts as newest-visible, and that nothing the visible state needs is
/// collected for it, as in a store that was poisoned between apply and publish.
fn unpublished_versions_never_show<T: Table>() {
    let mut store = Store::<T>::new();
    for number in 0..300_u32 {
        store.put(number.to_be_bytes(), "published");
    }
    for number in 0..300_u32 {
        let value = (number % 2 == 0).then_some(&b"never"[..]);
        store.table.apply(lsn(1000 + u64::from(number)), &number.to_be_bytes(), value);
    }
    store.table.apply(lsn(2000), b"new", Some(b"never"));
    store.collect_all();
    let entries: Vec<_> = store.table.range(ALL, store.tracker.snapshot()).collect();
    assert_eq!(entries.len(), 300);
    assert!(entries.iter().all(|entry| entry.value() == b"published"));
    assert!(store.table.get(b"new").is_none());
    assert!(
        (0..300_u32).all(|number| store.table.get(&number.to_be_bytes()).is_some_and(|v| v == "published"))
    );
    // Who judges a condition does see them.
    assert!(store.table.newest(b"new").is_some_and(|newest| newest.lsn == lsn(2000)));
    assert!(store.table.newest(&1_u32.to_be_bytes()).is_some_and(|newest| newest.value.is_none()));
}

#[test]
fn unpublished_versions_never_show_in_either_form() {
    unpublished_versions_never_show::<memtable::Memtable>();
    unpublished_versions_never_show::<plain::Memtable>();
}

/// Shows that collection does bounded work and says truly whether there is more: with a budget of one, a thousand
/// dirty keys over many blocks take many calls, and a call that says no leaves nothing behind.
#[test]
fn collection_works_in_small_pieces() {
    let mut store = Store::<memtable::Memtable>::new();
    for round in 0..2 {
        for number in 0..5000_u32 {
            store.put(number.to_be_bytes(), [round; 8]);
        }
    }
    assert_eq!(store.table.stats().versions, 10_000);
    assert!(store.table.collect_garbage(1));
    let after_one = store.table.stats().versions;
    assert!((9_800..10_000).contains(&after_one), "one block was swept: {after_one} versions left");
    let mut calls = 1;
    while store.table.collect_garbage(1) {
        calls += 1;
    }
    assert!(calls > 30, "{calls} calls");
    assert_eq!(store.table.stats().versions, 5000);
}

/// Shows the law that parallel recovery rests on: in whatever order a history is applied, the state after publishing
/// it is the same, deletions and older versions included.
fn any_order_gives_the_same_state<T: Table>() {
    let mut rng = fastrand::Rng::with_seed(11);
    let mut history: Vec<(u64, [u8; 2], Option<[u8; 8]>)> = (1..=5000_u64)
        .map(|at| (at, rng.u16(..700).to_be_bytes(), (rng.u8(..3) > 0).then(|| at.to_be_bytes())))
        .collect();
    let mut states = Vec::new();
    for _ in 0..4 {
        let store = Store::<T>::new();
        for (at, key, value) in &history {
            store.table.apply(lsn(*at), key, value.as_ref().map(|value| &value[..]));
            // Collection meanwhile must not forget a tombstone that an older put is still to meet.
            if at % 50 == 0 {
                store.table.collect_garbage(100);
            }
        }
        store.tracker.publish(lsn(5000));
        store.collect_all();
        let entries = store.table.range(ALL, store.tracker.snapshot());
        states.push(entries.map(|e| (e.key().to_vec(), e.value().to_vec(), e.lsn())).collect::<Vec<_>>());
        assert_eq!(store.table.stats().versions, states[0].len());
        rng.shuffle(&mut history);
    }
    assert!(states.windows(2).all(|two| two[0] == two[1]));
}

#[test]
fn any_order_of_applying_gives_the_same_state() {
    any_order_gives_the_same_state::<memtable::Memtable>();
    any_order_gives_the_same_state::<plain::Memtable>();
}
