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
//! filled from one in any order (see [`Memtable::apply`]).
//!
//! Where to read next: `tracker` (what may be read, what must be kept), `version`, then [`plain`], which is the whole
//! idea in its simplest form.

mod bounds;
pub mod plain;
mod tracker;
mod value;
mod version;

pub use bounds::KeyRange;
pub use plain::{Memtable, Range};
pub use tracker::{Snapshot, Tracker};
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
