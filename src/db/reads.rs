//! What a transaction has read: by which it is judged.
//!
//! ```text
//!   asked for       [────────────────────────────────)
//!   given out        a  c  f                  x        by next() and next_back()
//!   really read     [───────]                [───────)
//! ```
//!
//! A key counts whether it was there or not. Of a range counts what was really read of it, the gaps between the keys
//! included: a key that is inserted there later (a phantom) is a change like any other.
//!
//! LOCKS: a range's lock is a leaf, held for a few instructions.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;

use super::snapshot::Snapshot;
use crate::catalog::Space;
use crate::format::KeyspaceId;
use crate::lsn::Lsn;
use crate::memtable::{Entry, KeyRange};

/// What was read at one snapshot. It holds the snapshot: until it is judged, no deletion since may be forgotten.
#[derive(Debug)]
pub(super) struct Reads {
    pub(super) snapshot: Snapshot,
    keys: BTreeMap<KeyspaceId, (Arc<Space>, BTreeSet<Vec<u8>>)>,
    ranges: Vec<Arc<Mutex<RangeRead>>>,
}

/// How far a range was read, from both ends.
#[derive(Debug)]
pub(super) struct RangeRead {
    space: Arc<Space>,
    asked: KeyRange,
    front: Option<Entry>,
    back: Option<Entry>,
    all: bool,
}

impl Reads {
    pub(super) fn new(snapshot: Snapshot) -> Reads {
        Reads { snapshot, keys: BTreeMap::new(), ranges: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.ranges.is_empty()
    }

    pub(super) fn key(&mut self, space: &Arc<Space>, key: &[u8]) {
        let (_, keys) = self.keys.entry(space.id).or_insert_with(|| (space.clone(), BTreeSet::new()));
        if !keys.contains(key) {
            keys.insert(key.to_vec());
        }
    }

    /// A range that is going to be read: whoever reads it says how far.
    pub(super) fn range(&mut self, space: &Arc<Space>, asked: KeyRange) -> Arc<Mutex<RangeRead>> {
        let read = RangeRead { space: space.clone(), asked, front: None, back: None, all: false };
        let read = Arc::new(Mutex::new(read));
        self.ranges.push(read.clone());
        read
    }

    /// The LSN of something that was written since to what was read, if there is anything.
    ///
    /// Dropping a keyspace writes to all of it.
    pub(super) fn written_since(&self) -> Option<Lsn> {
        let since = self.snapshot.lsn();
        let mut of_keys = self.keys.values().filter_map(|(space, keys)| {
            dropped(space, since).or_else(|| space.table.keys_changed_since(keys, since))
        });
        let of_ranges = || self.ranges.iter().find_map(|range| range.lock().written_since(since));
        of_keys.next().or_else(of_ranges)
    }
}

fn dropped(space: &Space, since: Lsn) -> Option<Lsn> {
    Some(space.dropped()).filter(|lsn| (since.next()..Lsn::MAX).contains(lsn))
}

impl RangeRead {
    /// The next entry was given out; `None`: there was no other.
    pub(super) fn read_front(&mut self, entry: Option<&Entry>) {
        self.all |= entry.is_none();
        self.front = entry.cloned().or(self.front.take());
    }

    /// The last entry was given out; `None`: there was no other.
    pub(super) fn read_back(&mut self, entry: Option<&Entry>) {
        self.all |= entry.is_none();
        self.back = entry.cloned().or(self.back.take());
    }

    fn written_since(&self, since: Lsn) -> Option<Lsn> {
        let changed = |range: &KeyRange| {
            dropped(&self.space, since).or_else(|| self.space.table.changed_since(range, since))
        };
        let (start, end) = &self.asked;
        if self.all {
            return changed(&self.asked);
        }
        let through = |entry: &Entry| (start.clone(), Bound::Included(entry.key().to_vec()));
        let from = |entry: &Entry| (Bound::Included(entry.key().to_vec()), end.clone());
        let front = self.front.as_ref().and_then(|entry| changed(&through(entry)));
        front.or_else(|| self.back.as_ref().and_then(|entry| changed(&from(entry))))
    }
}
