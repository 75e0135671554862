//! The plain form of the memtable: a skip list with a node for each version.
//!
//! ```text
//!  a@7 ── a@3 ── b@9 ── b@8 (deleted) ── b@2 ── c@5          key ascending, then LSN descending
//!
//!  get(b) at 8:  the first node at or after (b, 8) is b@8, a tombstone: none
//!  get(b) at 5:  ... is b@2
//!  get(c) at 4:  ... is none of c's: none
//! ```
//!
//! It does what [`Memtable`](super::Memtable) does and shows how little is needed: versions are nodes of their own,
//! so nothing is ever overwritten, and a reader at an LSN passes over what is newer. It is the form to read first
//! and the model that the tests hold the other one against. It is *not* the one that stores use: each step of a scan
//! is a cache miss, and each lookup a dozen.
//!
//! `crossbeam-skiplist` has traps, and three rules keep out of them:
//! - a present key is never inserted again (`insert` would unlink the old node first, and a reader would miss the
//!   key meanwhile): here (key, LSN) is new each time;
//! - iteration goes through `base` with a pinned guard (`SkipMap::range` leaks a reference with each step, and what
//!   was removed would never be freed);
//! - what `base` hands out by count is released.
//!
//! The drawing, read back:
//!
//! ```
//! use std::ops::Bound;
//! use std::sync::Arc;
//!
//! use forelog::Lsn;
//! use forelog::memtable::Tracker;
//! use forelog::memtable::plain::{Memtable, Range};
//!
//! let tracker = Tracker::new(Lsn::ZERO);
//! let table = Arc::new(Memtable::new(tracker.clone()));
//! let versions = [(7, "a", Some("7")), (3, "a", Some("3")), (9, "b", Some("9")), (8, "b", None)];
//! for (lsn, key, value) in versions.into_iter().chain([(2, "b", Some("2")), (5, "c", Some("5"))]) {
//!     table.apply(Lsn::new(lsn), key.as_bytes(), value.map(str::as_bytes)); // in any order
//! }
//! assert_eq!(table.get_at(b"b", Lsn::new(8)), None);
//! assert_eq!(table.get_at(b"b", Lsn::new(5)).unwrap(), "2");
//! assert_eq!(table.get_at(b"c", Lsn::new(4)), None);
//!
//! tracker.publish(Lsn::new(9));
//! let entries: Range = table.range((Bound::Unbounded, Bound::Unbounded), tracker.snapshot());
//! let values: Vec<_> = entries.map(|entry| entry.into_value()).collect();
//! assert_eq!(values, ["7", "9", "5"]);
//! table.collect_garbage(1); // nobody needs the others any more
//! assert_eq!(table.stats().versions, 3);
//! ```
//!
//! Where to read next: the guide's chapter on the memtable, then `unrolled`.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::mem;
use std::ops::Bound;
use std::sync::Arc;

use crossbeam_epoch as epoch;
use crossbeam_skiplist::base::SkipList;
use parking_lot::Mutex;

use super::bounds::Interval;
use super::tracker::{Horizon, Snapshot, Tracker};
use super::value::{Entry, Newest, Value};
use super::version::Version;
use super::{KeyRange, MemtableStats};
use crate::Lsn;

/// An ordered map of versions, one skip-list node each.
pub struct Memtable {
    tracker: Arc<Tracker>,
    /// Nodes are inserted once and removed once, never replaced.
    nodes: SkipList<Node, ()>,
    /// The keys that hold more than one version, or a tombstone. Held for one insertion or one exchange.
    garbage: Mutex<BTreeSet<Vec<u8>>>,
    /// One collection at a time: the removal of a key's versions has an order.
    collecting: Mutex<()>,
}

/// A version in its place: by key, and among versions of a key the newest first.
struct Node(Version);

impl Node {
    /// A node to search with: `lsn` among the versions of `key`. (Costs an allocation; the plain form can afford it.)
    fn probe(key: &[u8], lsn: Lsn) -> Node {
        Node(Version::new(lsn, key, None))
    }

    /// What lies before every version of `key`.
    fn before(key: &[u8]) -> Node {
        Node::probe(key, Lsn::MAX)
    }
}

impl Ord for Node {
    fn cmp(&self, other: &Node) -> Ordering {
        self.0.key().cmp(other.0.key()).then(other.0.lsn().cmp(&self.0.lsn()))
    }
}

impl PartialOrd for Node {
    fn partial_cmp(&self, other: &Node) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Node {}

impl Memtable {
    /// An empty table that lives by this clock.
    pub fn new(tracker: Arc<Tracker>) -> Memtable {
        Memtable {
            tracker,
            nodes: SkipList::new(epoch::default_collector().clone()),
            garbage: Mutex::new(BTreeSet::new()),
            collecting: Mutex::new(()),
        }
    }

    /// Puts (`Some`) or deletes (`None`) a key at an LSN; invisible until that LSN is published.
    ///
    /// Commutative: of the versions of a key the newest LSN wins, whatever the order of the calls, provided that
    /// a batch holds a key once, and that nothing at or below a published LSN is still to come.
    pub fn apply(&self, lsn: Lsn, key: &[u8], value: Option<&[u8]>) {
        let guard = &epoch::pin();
        let node = Node(Version::new(lsn, key, value));
        self.nodes.get_or_insert(node, (), guard).release(guard);
        // Of two threads that put versions of one key, the later to look sees both.
        if value.is_none() || self.versions_of(key, guard).len() > 1 {
            self.garbage.lock().insert(key.to_vec());
        }
    }

    /// The value of a key at the visible LSN.
    pub fn get(&self, key: &[u8]) -> Option<Value> {
        // Without a pin the visible version could be overwritten, published and collected before it is found.
        let snapshot = self.tracker.snapshot();
        self.get_at(key, snapshot.lsn())
    }

    /// The value of a key at an LSN that a live snapshot pins.
    pub fn get_at(&self, key: &[u8], at: Lsn) -> Option<Value> {
        let guard = &epoch::pin();
        let found = self.nodes.lower_bound(Bound::Included(&Node::probe(key, at)), guard)?;
        let version = &found.key().0;
        if version.key() == key { Value::of(version) } else { None }
    }

    /// The newest thing applied to a key, published or not.
    pub fn newest(&self, key: &[u8]) -> Option<Newest> {
        let guard = &epoch::pin();
        let found = self.nodes.lower_bound(Bound::Included(&Node::before(key)), guard)?;
        let version = &found.key().0;
        (version.key() == key).then(|| Newest::of(version))
    }

    /// Whether anything was applied to any of these keys after `since`, published or not: the LSN of such a change.
    pub fn keys_changed_since(&self, keys: &BTreeSet<Vec<u8>>, since: Lsn) -> Option<Lsn> {
        let newest = keys.iter().filter_map(|key| self.newest(key));
        newest.map(|newest| newest.lsn).find(|lsn| *lsn > since)
    }

    /// Whether anything in the range was applied after `since`, published or not: the LSN of such a change.
    pub fn changed_since(&self, range: &KeyRange, since: Lsn) -> Option<Lsn> {
        let interval = Interval::of(range);
        let guard = &epoch::pin();
        let mut at = self.nodes.lower_bound(Bound::Included(&Node::before(&interval.start)), guard);
        while let Some(node) = at.filter(|node| interval.is_below_end(node.key().0.key())) {
            if node.key().0.lsn() > since {
                return Some(node.key().0.lsn());
            }
            at = node.next();
        }
        None
    }

    /// The entries of a range as the snapshot shows them, in both directions.
    pub fn range(self: &Arc<Self>, range: KeyRange, snapshot: Snapshot) -> Range {
        Range { table: Arc::clone(self), snapshot, rest: Interval::of(&range) }
    }

    /// Frees what no reader needs any more. The plain form goes through all its garbage at once, whatever the budget,
    /// and so never has more to do.
    pub fn collect_garbage(&self, _budget: usize) -> bool {
        let _one_at_a_time = self.collecting.lock();
        let mut keys = mem::take(&mut *self.garbage.lock());
        let horizon = self.tracker.horizon();
        keys.retain(|key| self.collect_key(key, &horizon));
        self.garbage.lock().append(&mut keys);
        false
    }

    /// What the table holds, counted one by one.
    pub fn stats(&self) -> MemtableStats {
        let guard = &epoch::pin();
        let mut stats = MemtableStats::default();
        let mut newest_of: BTreeMap<Vec<u8>, bool> = BTreeMap::new();
        for node in self.nodes.iter(guard) {
            let version = &node.key().0;
            stats.versions += 1;
            stats.bytes += version.bytes();
            newest_of.entry(version.key().to_vec()).or_insert(version.is_tombstone());
        }
        stats.blocks = stats.versions;
        stats.tombstones = newest_of.values().filter(|deleted| **deleted).count();
        stats.keys = newest_of.len() - stats.tombstones;
        stats
    }

    /// Removes what no reader needs of one key; whether it still holds more than one plain version.
    fn collect_key(&self, key: &[u8], horizon: &Horizon) -> bool {
        let guard = &epoch::pin();
        let versions = self.versions_of(key, guard);
        let mut left = versions.len();
        // ORDER: the oldest first. A tombstone that went before what it hides would bring a deleted value back.
        for (at, version) in versions.iter().enumerate().rev() {
            let newer = at.checked_sub(1).map(|newer| versions[newer].lsn());
            let last_tombstone = at == 0 && left == 1 && version.is_tombstone();
            if !horizon.keeps(version.lsn(), newer)
                || last_tombstone && horizon.drops_tombstone(version.lsn())
            {
                if let Some(removed) = self.nodes.remove(&Node::probe(key, version.lsn()), guard) {
                    removed.release(guard);
                }
                left -= 1;
            }
        }
        left > 1 || left == 1 && versions[0].is_tombstone()
    }

    /// All versions of a key, the newest first.
    fn versions_of(&self, key: &[u8], guard: &epoch::Guard) -> Vec<Version> {
        let mut versions = Vec::new();
        let mut at = self.nodes.lower_bound(Bound::Included(&Node::before(key)), guard);
        while let Some(node) = at.filter(|node| node.key().0.key() == key) {
            versions.push(node.key().0.clone());
            at = node.next();
        }
        versions
    }

    /// The first entry at or after `start` that a snapshot at `at` shows.
    fn first_from(&self, interval: &Interval, at: Lsn) -> Option<Entry> {
        let guard = &epoch::pin();
        let mut node = self.nodes.lower_bound(Bound::Included(&Node::before(&interval.start)), guard)?;
        while interval.is_below_end(node.key().0.key()) {
            let version = &node.key().0;
            if version.lsn() > at {
                node = node.next()?;
            } else if let Some(entry) = Entry::of(version) {
                return Some(entry);
            } else {
                // Deleted at `at`: past all older versions, to the next key.
                let last = Node::probe(version.key(), Lsn::ZERO);
                node = self.nodes.lower_bound(Bound::Excluded(&last), guard)?;
            }
        }
        None
    }

    /// The last entry before `end` that a snapshot at `at` shows.
    fn last_before(&self, interval: &Interval, at: Lsn) -> Option<Entry> {
        let guard = &epoch::pin();
        let mut end = interval.end.as_deref().map(Node::before);
        loop {
            let bound = end.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let node = self.nodes.upper_bound(bound, guard)?;
            let key = node.key().0.key();
            if !interval.is_from_start(key) {
                return None;
            }
            // The node found is the key's oldest version, perhaps one that is just being removed: it names the key,
            // and the lookup finds the version.
            let shown = self.nodes.lower_bound(Bound::Included(&Node::probe(key, at)), guard);
            let shown = shown.filter(|shown| shown.key().0.key() == key);
            if let Some(entry) = shown.and_then(|shown| Entry::of(&shown.key().0)) {
                return Some(entry);
            }
            end = Some(Node::before(key));
        }
    }
}

impl fmt::Debug for Memtable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("plain::Memtable").finish_non_exhaustive()
    }
}

/// The entries of a range, read at one snapshot. Its place is a key, not a node: nothing is held between two steps.
pub struct Range {
    table: Arc<Memtable>,
    snapshot: Snapshot,
    /// What neither end has given out yet.
    rest: Interval,
}

impl Iterator for Range {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let entry = self.table.first_from(&self.rest, self.snapshot.lsn());
        match &entry {
            Some(entry) => self.rest.start_after(entry.key()),
            None => self.rest.close(),
        }
        entry
    }
}

impl DoubleEndedIterator for Range {
    fn next_back(&mut self) -> Option<Entry> {
        let entry = self.table.last_before(&self.rest, self.snapshot.lsn());
        match &entry {
            Some(entry) => self.rest.end_at(entry.key()),
            None => self.rest.close(),
        }
        entry
    }
}

impl fmt::Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("plain::Range").field("at", &self.snapshot.lsn()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The drawing at the top of this file, read back.
    #[test]
    fn a_reader_sees_the_newest_version_at_or_below_its_lsn() {
        let tracker = Tracker::new(Lsn::ZERO);
        let table = Memtable::new(Arc::clone(&tracker));
        for (lsn, key, value) in [
            (7, "a", Some("7")),
            (2, "b", Some("2")),
            (9, "b", Some("9")),
            (5, "c", Some("5")),
            (3, "a", Some("3")),
        ] {
            table.apply(Lsn::new(lsn), key.as_bytes(), value.map(str::as_bytes));
        }
        table.apply(Lsn::new(8), b"b", None);

        let check = |key: &str, at, expected: Option<&str>| {
            let value = table.get_at(key.as_bytes(), Lsn::new(at));
            assert_eq!(value.as_deref(), expected.map(str::as_bytes), "{key} at {at}");
        };
        check("b", 9, Some("9"));
        check("b", 8, None);
        check("b", 5, Some("2"));
        check("b", 1, None);
        check("c", 4, None);
        check("a", 6, Some("3"));
        assert_eq!(table.get(b"a"), None); // nothing is published
        tracker.publish(Lsn::new(9));
        assert!(table.get(b"a").is_some_and(|value| value == "7"));
    }
}
