//! The rows of the table: what is measured, and beside what.

use std::path::Path;

use forelog::{Durability, Options};

use super::work::{self, Work};
use super::{Result, Run};

/// One row.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// The row that it is compared with; empty for none.
    pub(crate) beside: &'static str,
    kind: Kind,
}

enum Kind {
    /// The disk alone: `write_at` of a put's bytes into a preallocated file, with a sync after each, or without. The file
    /// has its length, or, with `zeros`, also its blocks.
    Raw { synced: bool, zeros: bool, operations: u32 },
    /// A store.
    Store { work: Work, threads: u32, operations: u32, durability: Durability, segment_bytes: u64 },
}

const SEGMENT: u64 = 64 << 20;
const RAW_SYNC: &str = "raw write + sync";
const RAW_WRITE: &str = "raw write, no sync";

const fn raw(name: &'static str, beside: &'static str, synced: bool, zeros: bool, operations: u32) -> Row {
    Row { name, beside, kind: Kind::Raw { synced, zeros, operations } }
}

const fn durable(name: &'static str, work: Work, threads: u32, operations: u32) -> Row {
    let kind =
        Kind::Store { work, threads, operations, durability: Durability::Sync, segment_bytes: SEGMENT };
    Row { name, beside: RAW_SYNC, kind }
}

const fn buffered(name: &'static str, work: Work, threads: u32, operations: u32) -> Row {
    let kind =
        Kind::Store { work, threads, operations, durability: Durability::Buffered, segment_bytes: SEGMENT };
    Row { name, beside: RAW_WRITE, kind }
}

/// What a put becomes that depends on something.
const fn conditional(name: &'static str, beside: &'static str, work: Work, threads: u32) -> Row {
    let row = durable(name, work, threads, if threads == 1 { 5_000 } else { 24_000 });
    Row { beside, ..row }
}

/// All rows. `operations` are for all threads together.
pub(crate) const ROWS: [Row; 19] = [
    raw(RAW_SYNC, "", true, false, 5_000),
    raw("raw write + sync, into zeros", RAW_SYNC, true, true, 5_000),
    durable("durable put, 1 thread", Work::NewKeys, 1, 5_000),
    durable("durable put, 2 threads", Work::NewKeys, 2, 8_000),
    durable("durable put, 8 threads", Work::NewKeys, 8, 24_000),
    durable("durable put, 64 threads", Work::NewKeys, 64, 100_000),
    durable("durable batches of 100 (puts)", Work::Batches, 1, 100_000),
    conditional("durable swap, 1 thread", "durable put, 1 thread", Work::Swaps, 1),
    conditional("durable swap, 8 threads", "durable put, 8 threads", Work::Swaps, 8),
    conditional("durable transaction, 1 thread", "durable put, 1 thread", Work::Transactions, 1),
    conditional("durable transaction, 8 threads", "durable put, 8 threads", Work::Transactions, 8),
    Row {
        name: "durable put, 128 KiB segments",
        beside: "durable put, 1 thread",
        kind: Kind::Store {
            work: Work::NewKeys,
            threads: 1,
            operations: 10_000,
            durability: Durability::Sync,
            segment_bytes: 128 << 10,
        },
    },
    raw(RAW_WRITE, "", false, false, 1_000_000),
    buffered("buffered put, 1 thread", Work::NewKeys, 1, 1_000_000),
    buffered("buffered put, 2 threads", Work::NewKeys, 2, 1_000_000),
    buffered("buffered overwrite of 10 k keys", Work::HotKeys, 1, 1_000_000),
    buffered("get, 1 thread, of 1 M keys", Work::Gets, 1, 1_000_000),
    buffered("get, 2 threads, of 1 M keys", Work::Gets, 2, 2_000_000),
    buffered("scan of 1 M entries", Work::Scan, 1, 1_000_000),
];

impl Row {
    /// Runs it once, on a path where nothing is.
    pub(crate) fn run(&self, path: &Path) -> Result<Run> {
        match self.kind {
            Kind::Raw { synced, zeros, operations } => work::raw(path, SEGMENT, synced, zeros, operations),
            Kind::Store { work, threads, operations, durability, segment_bytes } => {
                let db = Options::new().segment_bytes(segment_bytes).durability(durability).open(path)?;
                let run = work::run(&db, work, durability == Durability::Sync, threads, operations)?;
                db.close()?;
                Ok(run)
            }
        }
    }
}
