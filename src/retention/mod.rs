//! What may go: the floor below which recovery needs nothing, and the policy that keeps some of it all the same.
//!
//! ```text
//!    segments   1   100   200   300   400 ▸ being written
//!                              │
//!                      the oldest kept checkpoint, at LSN 350
//!               ◀── past ──▶   ◀── needed: recovery replays from 351
//!               policy, readers, archive: how much of the past stays
//! ```
//!
//! The plan is made from facts and changes nothing: `prune --dry-run` prints it, pruning carries it out. What is kept
//! of the past is always its newest end, so that one number, the manifest's `first_segment`, says where the log begins.
//!
//! ORDER of carrying it out, in `db::upkeep`: archived, verified and synced → the manifest with the new `first_segment`
//! durable → unlinked, oldest first. A crash in between leaves files that the manifest does not name; the next opening
//! removes them.
//!
//! ```
//! use std::sync::Arc;
//!
//! use forelog::Options;
//! use forelog::retention::{FileReason, PruneReport};
//! use forelog::storage::MemoryDisk;
//!
//! let options = Options::new().storage(Arc::new(MemoryDisk::new())).segment_bytes(8192);
//! let db = options.retention("any(count:1)".parse()?).open("data")?;
//! for number in 0..20_u32 {
//!     db.put(number.to_be_bytes(), vec![0; 1000])?;
//! }
//! let report: PruneReport = db.prune(true)?; // only says what would go
//! let FileReason { file, reason } = &report.kept[0];
//! assert_eq!(file, "00000000000000000001.wal");
//! assert_eq!(reason, "there is no checkpoint: recovery needs all of the log");
//!
//! db.checkpoint()?; // and what it has made superfluous is gone when this returns
//! let reasons: Vec<String> = db.prune(true)?.kept.into_iter().map(|kept| kept.reason).collect();
//! assert!(reasons.contains(&"the retention policy keeps it: count:1".to_owned()));
//! assert!(reasons.contains(&"the log is written here".to_owned()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod archiver;
mod plan;

pub(crate) use self::archiver::{Absent, Archiver, Archiving};
pub(crate) use self::plan::{Facts, Plan};
pub use self::plan::{FileReason, PruneReport};
