//! A range as a transaction reads it: the snapshot's entries with the transaction's own writes over them.
//!
//! ```text
//!   snapshot     a   c       f   g
//!   own writes       c'  d   ✗           (✗: deleted)
//!   given out    a   c'  d       g
//! ```
//!
//! INVARIANT: what both ends have given out, together with `all`, is in the record by which the transaction is judged
//! before the caller has it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::iter::FusedIterator;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;

use super::reads::RangeRead;
use crate::memtable::{Entry, KeyRange, Range, Value};

/// What a transaction has written to a keyspace; `None`: deleted.
pub(super) type Written = BTreeMap<Vec<u8>, Option<Value>>;

/// The own writes in a range.
pub(super) fn within(written: &Written, (start, end): &KeyRange) -> VecDeque<(Vec<u8>, Option<Value>)> {
    let is_within = |key: &Vec<u8>| match end {
        Bound::Included(end) => key <= end,
        Bound::Excluded(end) => key < end,
        Bound::Unbounded => true,
    };
    // Not both bounds: `BTreeMap::range` panics if the end comes before the start.
    let behind = written.range::<Vec<u8>, _>((start.as_ref(), Bound::Unbounded));
    let within = behind.take_while(|(key, _)| is_within(key));
    within.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The entries of a range in a [`Transaction`](super::Transaction), with its own writes as they were when the range was
/// asked for. An own write that is not committed yet has the LSN 0.
///
/// ```
/// use forelog::{Db, Lsn, TransactionKeyspace, TransactionRange};
///
/// let dir = tempfile::tempdir()?;
/// let db = Db::open(dir.path().join("data"))?;
/// let jobs = db.keyspace("jobs")?;
/// let written = jobs.put("1", "read")?;
/// db.transaction(|tx| {
///     let jobs: TransactionKeyspace<'_> = tx.keyspace(&jobs)?;
///     jobs.put("2", "write")?;
///     let all: TransactionRange = jobs.iter();
///     let lsns: Vec<Lsn> = all.map(|entry| entry.lsn()).collect();
///     assert_eq!(lsns, [written, Lsn::ZERO]);
///     Ok(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TransactionRange {
    base: Range,
    /// Taken from `base` and not given out, from either end.
    next: Option<Entry>,
    next_back: Option<Entry>,
    own: VecDeque<(Vec<u8>, Option<Value>)>,
    read: Arc<Mutex<RangeRead>>,
}

impl TransactionRange {
    pub(super) fn new(
        base: Range,
        own: VecDeque<(Vec<u8>, Option<Value>)>,
        read: Arc<Mutex<RangeRead>>,
    ) -> TransactionRange {
        TransactionRange { base, next: None, next_back: None, own, read }
    }

    /// The next entry; own ones before those of the snapshot with the same key.
    fn merge_next(&mut self) -> Option<Entry> {
        loop {
            let next = self.next.take().or_else(|| self.base.next()).or_else(|| self.next_back.take());
            let order = match (self.own.front(), &next) {
                (Some((own, _)), Some(next)) => own.as_slice().cmp(next.key()),
                (Some(_), None) => Ordering::Less,
                (None, _) => return next,
            };
            if order.is_gt() {
                return next;
            }
            if order.is_lt() {
                self.next = next;
            }
            if let Some((key, Some(value))) = self.own.pop_front() {
                return Some(Entry::new(&key, &value));
            }
        }
    }

    /// The same from the other end.
    fn merge_next_back(&mut self) -> Option<Entry> {
        loop {
            let next = self.next_back.take().or_else(|| self.base.next_back()).or_else(|| self.next.take());
            let order = match (self.own.back(), &next) {
                (Some((own, _)), Some(next)) => own.as_slice().cmp(next.key()),
                (Some(_), None) => Ordering::Greater,
                (None, _) => return next,
            };
            if order.is_lt() {
                return next;
            }
            if order.is_gt() {
                self.next_back = next;
            }
            if let Some((key, Some(value))) = self.own.pop_back() {
                return Some(Entry::new(&key, &value));
            }
        }
    }
}

impl Iterator for TransactionRange {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let entry = self.merge_next();
        self.read.lock().read_front(entry.as_ref());
        entry
    }
}

impl DoubleEndedIterator for TransactionRange {
    fn next_back(&mut self) -> Option<Entry> {
        let entry = self.merge_next_back();
        self.read.lock().read_back(entry.as_ref());
        entry
    }
}

impl FusedIterator for TransactionRange {}

impl fmt::Debug for TransactionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionRange").field("base", &self.base).finish_non_exhaustive()
    }
}
