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

mod archiver;
mod plan;

pub(crate) use self::archiver::{Absent, Archiver, Archiving};
pub(crate) use self::plan::{Facts, Plan};
pub use self::plan::{FileReason, PruneReport};
