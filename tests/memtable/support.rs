//! What the tests share: the two forms behind one trait, and small words for long calls.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use forelog::Lsn;
use forelog::memtable::{self, Entry, KeyRange, MemtableStats, Newest, Snapshot, Tracker, Value, plain};

/// What both forms of the memtable can do.
pub(crate) trait Table: Send + Sync + 'static {
    type Range: DoubleEndedIterator<Item = Entry> + Send + 'static;

    fn new(tracker: Arc<Tracker>) -> Self;
    fn apply(&self, lsn: Lsn, key: &[u8], value: Option<&[u8]>);
    fn get(&self, key: &[u8]) -> Option<Value>;
    fn get_at(&self, key: &[u8], at: Lsn) -> Option<Value>;
    fn newest(&self, key: &[u8]) -> Option<Newest>;
    fn changed_since(&self, range: &KeyRange, since: Lsn) -> Option<Lsn>;
    fn keys_changed_since(&self, keys: &BTreeSet<Vec<u8>>, since: Lsn) -> Option<Lsn>;
    fn range(self: &Arc<Self>, range: KeyRange, snapshot: Snapshot) -> Self::Range;
    fn collect_garbage(&self, budget: usize) -> bool;
    fn stats(&self) -> MemtableStats;
}

macro_rules! table {
    ($table:ty, $range:ty) => {
        impl Table for $table {
            type Range = $range;

            fn new(tracker: Arc<Tracker>) -> Self {
                <$table>::new(tracker)
            }
            fn apply(&self, lsn: Lsn, key: &[u8], value: Option<&[u8]>) {
                self.apply(lsn, key, value);
            }
            fn get(&self, key: &[u8]) -> Option<Value> {
                self.get(key)
            }
            fn get_at(&self, key: &[u8], at: Lsn) -> Option<Value> {
                self.get_at(key, at)
            }
            fn newest(&self, key: &[u8]) -> Option<Newest> {
                self.newest(key)
            }
            fn changed_since(&self, range: &KeyRange, since: Lsn) -> Option<Lsn> {
                self.changed_since(range, since)
            }
            fn keys_changed_since(&self, keys: &BTreeSet<Vec<u8>>, since: Lsn) -> Option<Lsn> {
                self.keys_changed_since(keys, since)
            }
            fn range(self: &Arc<Self>, range: KeyRange, snapshot: Snapshot) -> $range {
                <$table>::range(self, range, snapshot)
            }
            fn collect_garbage(&self, budget: usize) -> bool {
                self.collect_garbage(budget)
            }
            fn stats(&self) -> MemtableStats {
                self.stats()
            }
        }
    };
}

table!(memtable::Memtable, memtable::Range);
table!(plain::Memtable, plain::Range);

/// The whole key space.
pub(crate) const ALL: KeyRange = (Bound::Unbounded, Bound::Unbounded);

pub(crate) fn lsn(number: u64) -> Lsn {
    Lsn::new(number)
}

/// A table under a clock of its own, whose writes are applied and published one by one.
pub(crate) struct Store<T> {
    pub(crate) tracker: Arc<Tracker>,
    pub(crate) table: Arc<T>,
    pub(crate) last: u64,
}

impl<T: Table> Store<T> {
    pub(crate) fn new() -> Store<T> {
        let tracker = Tracker::new(Lsn::ZERO);
        Store { table: Arc::new(T::new(Arc::clone(&tracker))), tracker, last: 0 }
    }

    pub(crate) fn write(&mut self, key: impl AsRef<[u8]>, value: Option<&[u8]>) {
        self.last += 1;
        self.table.apply(lsn(self.last), key.as_ref(), value);
        self.tracker.publish(lsn(self.last));
    }

    pub(crate) fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.write(key, Some(value.as_ref()));
    }

    pub(crate) fn delete(&mut self, key: impl AsRef<[u8]>) {
        self.write(key, None);
    }

    pub(crate) fn collect_all(&self) {
        while self.table.collect_garbage(16) {}
    }

    pub(crate) fn keys(&self) -> Vec<Vec<u8>> {
        self.table.range(ALL, self.tracker.snapshot()).map(|entry| entry.key().to_vec()).collect()
    }
}
