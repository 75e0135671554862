//! forelog: a durable, ordered, in-memory key-value store on a segmented write-ahead log.

pub mod batch;
pub mod error;
pub mod event;
pub mod format;
mod lsn;
pub mod memtable;
pub mod options;
pub mod storage;
pub mod wal;

pub use batch::WriteBatch;
pub use error::{Error, Result};
pub use format::Checksum;
pub use lsn::Lsn;
pub use options::{CreateMode, Durability, Options, RecoveryMode, WalOptions, WriteOptions};
