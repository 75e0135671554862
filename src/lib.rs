//! forelog: a durable, ordered, in-memory key-value store on a segmented write-ahead log.

pub mod error;
mod lsn;
pub mod memtable;
pub mod storage;

pub use error::{Error, Result};
pub use lsn::Lsn;
