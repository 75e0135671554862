//! forelog is a durable, ordered, in-memory key-value store on a segmented write-ahead log.
//!
//! Every write goes to the log before it is applied to an ordered table in memory. Reading never touches the disk;
//! opening rebuilds memory from the newest checkpoint and the log behind it. What was acknowledged survives a power cut, and after any crash the store is
//! the state after some write that is not earlier than the last acknowledged one.
//!
//! ```
//! use forelog::Db;
//!
//! let dir = tempfile::tempdir()?;
//! let db = Db::open(dir.path().join("data"))?;
//! db.put("user:1", "alice")?; // survives a power cut from here on
//! assert_eq!(db.get("user:1")?.as_deref(), Some(&b"alice"[..]));
//!
//! for entry in db.range("user:".."user;") {
//!     println!("{} = {}", entry.key().escape_ascii(), entry.value().escape_ascii());
//! }
//! db.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where things are
//!
//! | if you want to | look at |
//! | --- | --- |
//! | store keys and values | [`Db`], [`WriteBatch`], [`Keyspace`], [`Snapshot`] |
//! | read and write as if alone | [`Db::transaction`], [`Db::compare_and_swap`] |
//! | follow what changes | [`Db::changes_since`], [`Db::watch_prefix`] |
//! | store your own types | [`typed::Table`] |
//! | choose what a write survives | [`Durability`], [`Options`] |
//! | use the log alone | [`wal::Wal`], [`WalOptions`] |
//! | keep the log short, and its past | [`Db::checkpoint`], [`Retention`], [`Options::archive`] |
//! | copy a store, go back to any LSN | [`Db::backup`], [`Db::restore`] |
//! | see what happened in a crash | [`RecoveryReport`], [`care::verify`] |
//! | test your own code against power cuts | [`storage::SimDisk`]; [`crash_test`] does it to the store itself |
//! | hear of every step of a write | [`event`]; with the feature `tracing`, `event::Traced` |
//! | know the bytes | [`format`](mod@format) |
//!
//! # How to read the source
//!
//! The modules stand in one order, and each imports only from those before it; a test holds that. To learn how a log
//! and a recovery really work, read from the middle: `db::commit` (the life of a write), then [`batch`], [`wal`],
//! [`format`](mod@format), [`storage`], [`memtable`], and last [`recovery`].
//!
//! Architecture invariants: no `unsafe` code, no memory maps (a vanished page is a signal, not an error), no `std::fs`
//! outside the real disk, no printing, no panic on any input, file or fault.

pub mod batch;
pub mod care;
mod catalog;
mod checkpoint;
pub mod crash_test;
mod db;
pub mod error;
pub mod event;
pub mod format;
mod lsn;
pub mod memtable;
pub mod options;
pub mod recovery;
pub mod retention;
pub mod storage;
mod sync;
pub mod typed;
pub mod wal;

pub use batch::WriteBatch;
pub use catalog::DEFAULT_KEYSPACE;
pub use db::{
    Change, Changes, Conflict, Db, Differs, Keyspace, Snapshot, Stats, Transaction, TransactionKeyspace,
    TransactionRange,
};
pub use error::{Error, Result};
pub use format::{Checksum, KeyspaceId, Limit, Op, Retention};
pub use lsn::Lsn;
pub use memtable::{Entry, Range, Value};
pub use options::{CreateMode, Durability, Options, RecoveryMode, WalOptions, WriteOptions};
pub use recovery::{Copied, RecoveryReport, RecoveryTimes, Target as RestoreTarget};
pub use wal::Durable;

/// The code of the README, the cookbook and the guide is compiled and run, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../docs/COOKBOOK.md")]
#[doc = include_str!("../docs/guide/feed.md")]
struct Readme;
