//! The memtable: every key of a keyspace, with the versions that readers may still need, ordered, in memory.
//!
//! ```text
//!   commit ── apply(lsn, key, value) ──▶ ┌──────────┐ ◀── get, range ── readers, at the visible LSN
//!   commit ── publish(lsn) ──▶ Tracker ──│ Memtable │                   or at a snapshot's
//!   commit ── collect_garbage() ───────▶ └──────────┘
//! ```
//!
//! A put first *applies* its version, which nobody sees, and is *published* once it may be read. So a table holds up
//! to three kinds of versions of a key: unpublished ones, the visible one, and older ones that a snapshot pins.
//! Everything else is garbage and is collected.
//!
//! Not here: durability, batches, LSNs being given out. The memtable does not know that there is a log; it can be
//! filled from one in any order (see [`Memtable::apply`] and [`Memtable::take_in`]).
//!
//! ```
//! use std::collections::BTreeSet;
//! use std::ops::Bound;
//! use std::sync::Arc;
//!
//! use forelog::Lsn;
//! use forelog::memtable::{Entry, KeyRange, Memtable, MemtableStats, Newest, Range, Snapshot, Tracker};
//!
//! let tracker = Tracker::new(Lsn::ZERO);
//! let table = Arc::new(Memtable::new(tracker.clone()));
//! table.apply(Lsn::new(1), b"a", Some(b"old"));
//! tracker.publish(Lsn::new(1));
//! let before: Snapshot = tracker.snapshot();
//!
//! table.apply(Lsn::new(2), b"a", Some(b"new")); // seen by nobody, but by conditions
//! assert_eq!(table.get(b"a").unwrap(), "old");
//! let Newest { lsn, value } = table.newest(b"a").unwrap();
//! assert_eq!((lsn, value.as_deref()), (Lsn::new(2), Some(&b"new"[..])));
//! let everything: KeyRange = (Bound::Unbounded, Bound::Unbounded);
//! assert_eq!(table.changed_since(&everything, before.lsn()), Some(Lsn::new(2)));
//! assert_eq!(table.keys_changed_since(&BTreeSet::from([b"a".to_vec()]), before.lsn()), Some(Lsn::new(2)));
//!
//! tracker.publish(Lsn::new(2));
//! let mut entries: Range = table.range(everything, tracker.snapshot());
//! assert_eq!(entries.next().map(Entry::into_value).unwrap(), "new");
//! assert_eq!(table.get_at(b"a", before.lsn()).unwrap(), "old"); // pinned
//! assert_eq!((table.stats().versions, tracker.snapshots()), (2, 2)); // the range has one, too
//!
//! drop((before, entries));
//! while table.collect_garbage(16) {}
//! let MemtableStats { keys, versions, tombstones, .. } = table.stats();
//! assert_eq!((keys, versions, tombstones), (1, 1, 0));
//! ```
//!
//! Where to read next, each on top of the one before:
//! - `tracker`, what may be read and what must be kept; `version`, one allocation for each;
//! - [`plain`], the whole idea as a skip list of versions: the form to learn from, and the tests' model;
//! - `body` and `block`, a hundred neighbouring keys under one lock; `unrolled`, the table of such blocks, which is
//!   [`Memtable`]; then how it changes shape (`reshape`), is read in order (`range`), and is cleaned (`garbage`);
//! - `run`, how recovery fills one.

mod block;
mod body;
mod bounds;
mod directory;
mod fence;
mod garbage;
pub mod plain;
mod range;
mod reshape;
mod room;
mod run;
mod tracker;
mod unrolled;
mod value;
mod version;

pub use bounds::KeyRange;
pub use range::Range;
pub use run::{Run, TakenIn};
pub use tracker::{Snapshot, Tracker};
pub use unrolled::Memtable;
pub use value::{Entry, Newest, Value};

/// What a memtable holds, counted block by block: exact for each block, and for the whole if nobody writes meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemtableStats {
    /// Keys that have a value, published or not.
    pub keys: usize,
    /// Versions of all kinds: newest and older, values and tombstones.
    pub versions: usize,
    /// Keys whose newest version says "deleted". Collection removes them when no reader needs them.
    pub tombstones: usize,
    /// Memory for versions and blocks, in bytes, without what the allocator adds.
    pub bytes: usize,
    /// Blocks (in the plain form: nodes).
    pub blocks: usize,
}
