//! Random histories against a model that keeps every version ever written, for both forms of the table.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use forelog::Lsn;
use forelog::memtable::{self, Entry, KeyRange, Snapshot, Tracker, plain};
use proptest::prelude::*;

use crate::support::{ALL, Table, lsn};

/// One step of a history. Keys are numbers, see `key`; LSNs are given out in the order of the writes.
#[derive(Clone, Debug)]
enum Step {
    /// A run of puts or deletes, `stride` apart, that get their LSNs now and are applied later.
    Write {
        first: u16,
        count: u16,
        stride: u16,
        delete: bool,
    },
    /// Applies some of what is pending, in an order that the seed chooses.
    Apply {
        count: u8,
        seed: u64,
    },
    /// Applies everything below a point between the visible and the last LSN, and publishes it.
    Publish {
        percent: u8,
    },
    Snapshot,
    DropSnapshot(u8),
    Collect {
        budget: u8,
    },
    Get(u16),
    GetAt {
        snapshot: u8,
        key: u16,
    },
    Changed {
        snapshot: u8,
        range: (u16, u16),
    },
    /// Opens an iterator that lives on through later steps.
    Open {
        snapshot: u8,
        range: (Edge, Edge),
    },
    /// Takes up to `count` entries from an open iterator, from the end that each bit of `ends` says.
    Take {
        iterator: u8,
        count: u8,
        ends: u64,
    },
    Close(u8),
}

#[derive(Clone, Debug)]
enum Edge {
    Open,
    Included(u16),
    Excluded(u16),
}

impl Edge {
    fn bound(&self) -> Bound<Vec<u8>> {
        match self {
            Edge::Open => Bound::Unbounded,
            Edge::Included(number) => Bound::Included(key(*number)),
            Edge::Excluded(number) => Bound::Excluded(key(*number)),
        }
    }
}

const KEYS: u16 = 600;

/// Keys that are hard to order and to part, then many with a long common prefix, then short ones.
fn key(number: u16) -> Vec<u8> {
    const AWKWARD: [&[u8]; 12] = [
        b"",
        b"\0",
        b"\0\0",
        b"\0\xff",
        b"a",
        b"a\0",
        b"aa",
        b"user:",
        b"user:0000",
        b"\xff",
        b"\xff\xff",
        b"\xff\0",
    ];
    match number % KEYS {
        number if usize::from(number) < AWKWARD.len() => AWKWARD[usize::from(number)].to_vec(),
        number if number < 400 => format!("user:{number:07}:name").into_bytes(),
        number => vec![number.to_be_bytes()[1], number.to_be_bytes()[0]],
    }
}

fn step() -> impl Strategy<Value = Step> {
    let edge = || {
        prop_oneof![Just(Edge::Open), (0..KEYS).prop_map(Edge::Included), (0..KEYS).prop_map(Edge::Excluded)]
    };
    prop_oneof![
        6 => (0..KEYS, 1..200_u16, prop_oneof![Just(1_u16), 1..7_u16], prop::bool::weighted(0.4))
            .prop_map(|(first, count, stride, delete)| Step::Write { first, count, stride, delete }),
        3 => (any::<u8>(), any::<u64>()).prop_map(|(count, seed)| Step::Apply { count, seed }),
        4 => (0..=100_u8).prop_map(|percent| Step::Publish { percent }),
        2 => Just(Step::Snapshot),
        2 => any::<u8>().prop_map(Step::DropSnapshot),
        4 => (1..40_u8).prop_map(|budget| Step::Collect { budget }),
        2 => any::<u16>().prop_map(Step::Get),
        2 => (any::<u8>(), any::<u16>()).prop_map(|(snapshot, key)| Step::GetAt { snapshot, key }),
        1 => (any::<u8>(), (0..KEYS, 0..KEYS)).prop_map(|(snapshot, range)| Step::Changed { snapshot, range }),
        2 => (any::<u8>(), (edge(), edge())).prop_map(|(snapshot, range)| Step::Open { snapshot, range }),
        4 => (any::<u8>(), any::<u8>(), any::<u64>())
            .prop_map(|(iterator, count, ends)| Step::Take { iterator, count, ends }),
        1 => any::<u8>().prop_map(Step::Close),
    ]
}

/// Every version ever given an LSN.
type Versions = BTreeMap<Vec<u8>, BTreeMap<u64, Option<Vec<u8>>>>;

/// What an entry shows.
type Seen = (Vec<u8>, Vec<u8>, u64);

fn seen(entry: Entry) -> Seen {
    (entry.key().to_vec(), entry.value().to_vec(), entry.lsn().get())
}

struct History<T: Table> {
    tracker: Arc<Tracker>,
    table: Arc<T>,
    model: Versions,
    last: u64,
    pending: Vec<(u64, Vec<u8>)>,
    snapshots: Vec<Snapshot>,
    iterators: Vec<(T::Range, VecDeque<Seen>)>,
}

impl<T: Table> History<T> {
    fn new() -> Self {
        let tracker = Tracker::new(Lsn::ZERO);
        History {
            table: Arc::new(T::new(Arc::clone(&tracker))),
            tracker,
            model: Versions::new(),
            last: 0,
            pending: Vec::new(),
            snapshots: Vec::new(),
            iterators: Vec::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Write { first, count, stride, delete } => {
                for number in 0..count {
                    self.last += 1;
                    let key = key(first.wrapping_add(number.wrapping_mul(stride)));
                    let value = (!delete).then(|| self.last.to_string().into_bytes());
                    self.model.entry(key.clone()).or_default().insert(self.last, value);
                    self.pending.push((self.last, key));
                }
            }
            Step::Apply { count, seed } => {
                fastrand::Rng::with_seed(seed).shuffle(&mut self.pending);
                let rest = self.pending.len().saturating_sub(usize::from(count));
                for (lsn, key) in self.pending.split_off(rest) {
                    self.apply(lsn, &key);
                }
            }
            Step::Publish { percent } => {
                let visible = self.tracker.visible().get();
                self.publish(visible + (self.last - visible) * u64::from(percent) / 100);
            }
            Step::Snapshot => self.snapshots.push(self.tracker.snapshot()),
            Step::DropSnapshot(which) => {
                if let Some(at) = usize::from(which).checked_rem(self.snapshots.len()) {
                    self.snapshots.swap_remove(at);
                }
            }
            Step::Collect { budget } => {
                self.table.collect_garbage(usize::from(budget));
            }
            Step::Get(number) => {
                let key = key(number);
                let expected = shown(&self.model, &key, self.tracker.visible().get());
                assert_eq!(self.table.get(&key).map(Vec::from), expected.map(|(_, value, _)| value));
            }
            Step::GetAt { snapshot, key: number } => {
                let (key, at) = (key(number), self.snapshot(snapshot).lsn());
                let expected = shown(&self.model, &key, at.get());
                // Through a snapshot of its own if there is none: the contract of `get_at` wants the pin alive.
                let _pin = self.tracker.snapshot();
                assert_eq!(self.table.get_at(&key, at).map(Vec::from), expected.map(|(_, value, _)| value));
            }
            Step::Changed { snapshot, range: (from, to) } => {
                let snapshot = self.snapshot(snapshot);
                let range = (Bound::Included(key(from)), Bound::Excluded(key(to)));
                // Of the range all, and of its keys every second one, as if each had been asked for.
                let keys: BTreeSet<Vec<u8>> =
                    (from..to).step_by(2).map(key).filter(|key| key_in(&range, key)).collect();
                let since = snapshot.lsn();
                let changes = |is_asked: &dyn Fn(&[u8]) -> bool| -> Vec<u64> {
                    let changed = self.applied().filter(|(lsn, key)| *lsn > since.get() && is_asked(key));
                    changed.map(|(lsn, _)| lsn).collect()
                };
                for (told, changes) in [
                    (self.table.changed_since(&range, since), changes(&|key| key_in(&range, key))),
                    (self.table.keys_changed_since(&keys, since), changes(&|key| keys.contains(key))),
                ] {
                    match told {
                        Some(lsn) => assert!(changes.contains(&lsn.get())),
                        None => assert!(changes.is_empty()),
                    }
                }
            }
            Step::Open { snapshot, range: (from, to) } => {
                let snapshot = self.snapshot(snapshot);
                let range = (from.bound(), to.bound());
                let expected = self.scan(&range, snapshot.lsn());
                self.iterators.push((self.table.range(range, snapshot), expected));
            }
            Step::Take { iterator, count, ends } => {
                if let Some(at) = usize::from(iterator).checked_rem(self.iterators.len()) {
                    let (iterator, expected) = &mut self.iterators[at];
                    take(iterator, expected, count.into(), ends);
                }
            }
            Step::Close(which) => {
                if let Some(at) = usize::from(which).checked_rem(self.iterators.len()) {
                    drop(self.iterators.swap_remove(at));
                }
            }
        }
    }

    fn finish(mut self) {
        for (mut iterator, mut expected) in self.iterators.drain(..) {
            take(&mut iterator, &mut expected, usize::MAX, 0x5555_aaaa_0ff0_cc33);
        }
        for snapshot in &self.snapshots {
            let entries = self.table.range(ALL, snapshot.clone()).map(seen).collect::<VecDeque<_>>();
            assert_eq!(entries, self.scan(&ALL, snapshot.lsn()));
        }
        self.snapshots.clear();
        self.publish(self.last);
        while self.table.collect_garbage(3) {}
        let expected = self.scan(&ALL, lsn(self.last));
        let backward = self.table.range(ALL, self.tracker.snapshot()).rev().map(seen);
        assert!(backward.eq(expected.iter().rev().cloned()));
        // Nobody reads an old version now: one for each key is left, and no tombstone.
        let stats = self.table.stats();
        assert_eq!((stats.keys, stats.versions, stats.tombstones), (expected.len(), expected.len(), 0));
    }

    fn apply(&self, at: u64, key: &[u8]) {
        self.table.apply(lsn(at), key, self.model[key][&at].as_deref());
    }

    fn publish(&mut self, target: u64) {
        let (due, later) = self.pending.drain(..).partition(|(lsn, _)| *lsn <= target);
        self.pending = later;
        let due: Vec<(u64, Vec<u8>)> = due;
        for (lsn, key) in due {
            self.apply(lsn, &key);
        }
        self.tracker.publish(lsn(target));
    }

    /// An existing snapshot, or a new one if there is none.
    fn snapshot(&self, which: u8) -> Snapshot {
        match usize::from(which).checked_rem(self.snapshots.len()) {
            Some(at) => self.snapshots[at].clone(),
            None => self.tracker.snapshot(),
        }
    }

    /// What has been applied, published or not.
    fn applied(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let pending = |lsn| self.pending.iter().any(|(other, _)| *other == lsn);
        let all = self.model.iter().flat_map(|(key, versions)| versions.keys().map(|lsn| (*lsn, &**key)));
        all.filter(move |(lsn, _)| !pending(*lsn))
    }

    fn scan(&self, range: &KeyRange, at: Lsn) -> VecDeque<Seen> {
        let keys = self.model.keys().filter(|key| key_in(range, key));
        keys.filter_map(|key| shown(&self.model, key, at.get())).collect()
    }
}

fn take<R: DoubleEndedIterator<Item = Entry>>(
    iterator: &mut R,
    expected: &mut VecDeque<Seen>,
    count: usize,
    ends: u64,
) {
    for step in 0..count {
        let front = ends >> (step % 64) & 1 == 0;
        let (got, want) = if front {
            (iterator.next(), expected.pop_front())
        } else {
            (iterator.next_back(), expected.pop_back())
        };
        assert_eq!(got.map(seen), want);
        if expected.is_empty() {
            assert!(iterator.next().is_none() && iterator.next_back().is_none());
            return;
        }
    }
}

/// What the model shows of a key at an LSN.
fn shown(model: &Versions, key: &[u8], at: u64) -> Option<Seen> {
    let (lsn, value) = model.get(key)?.range(..=at).next_back()?;
    value.as_ref().map(|value| (key.to_vec(), value.clone(), *lsn))
}

fn key_in((from, to): &KeyRange, key: &[u8]) -> bool {
    let after_start = match from {
        Bound::Included(start) => start.as_slice() <= key,
        Bound::Excluded(start) => start.as_slice() < key,
        Bound::Unbounded => true,
    };
    let before_end = match to {
        Bound::Included(end) => key <= end.as_slice(),
        Bound::Excluded(end) => key < end.as_slice(),
        Bound::Unbounded => true,
    };
    after_start && before_end
}

fn check<T: Table>(steps: Vec<Step>) {
    let mut history = History::<T>::new();
    for step in steps {
        history.step(step);
    }
    history.finish();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// The unrolled form shows what the model shows, step by step, and in the end keeps nothing else.
    #[test]
    fn the_unrolled_form_agrees_with_the_model(steps in prop::collection::vec(step(), 1..80)) {
        check::<memtable::Memtable>(steps);
    }

    /// So does the plain form, against the same model.
    #[test]
    fn the_plain_form_agrees_with_the_model(steps in prop::collection::vec(step(), 1..40)) {
        check::<plain::Memtable>(steps);
    }
}
