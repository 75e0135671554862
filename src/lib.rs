//! forelog: a durable, ordered, in-memory key-value store on a segmented write-ahead log.

pub mod batch;
pub mod care;
mod catalog;
mod checkpoint;
mod db;
pub mod error;
pub mod event;
pub mod format;
mod lsn;
pub mod memtable;
pub mod options;
pub mod recovery;
pub mod storage;
pub mod wal;

pub use batch::WriteBatch;
pub use catalog::DEFAULT_KEYSPACE;
pub use db::{Db, Keyspace, Snapshot, Stats};
pub use error::{Error, Result};
pub use format::Checksum;
pub use lsn::Lsn;
pub use memtable::{Entry, Range, Value};
pub use options::{CreateMode, Durability, Options, RecoveryMode, WalOptions, WriteOptions};
pub use recovery::RecoveryReport;
