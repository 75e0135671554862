//! Checkpoints, and the manifest that names them.
//!
//! ```text
//!   memory at LSN s ──▶ range of keys ──▶ part 0 ┐
//!   (a snapshot,   ──▶ range of keys ──▶ part 1 ├─▶ synced, directory synced ─▶ log durable to s ─▶ manifest
//!    writers go on) ──▶ range of keys ──▶ part 2 ┘
//! ```
//!
//! A checkpoint is the state at an LSN. It is taken through a snapshot of the memtables: nothing stops, nothing is
//! copied, and memory grows only by the versions that are superseded meanwhile. (The idea of a virtual point of
//! consistency is that of CALC, Ren, Diamond, Abadi, Thomson 2016; here it comes with the versions.)
//!
//! What a crash leaves behind: before the manifest has its name, parts that no manifest names, which the next opening
//! removes; after it, the new checkpoint. The old one goes only after that.
//!
//! Architecture invariant: nothing here decides when a checkpoint is taken, or what it makes superfluous; that is for
//! `db` and `retention`.
//!
//! Where to read next: [`format::checkpoint`](crate::format::checkpoint) for the bytes, `take`, `part`, `load`; `pace`
//! for how the disk is shared; `recovery` for who loads it.

mod archive;
mod load;
pub(crate) mod manifest;
mod pace;
mod part;
mod salvage;
mod take;

pub(crate) use self::archive::{archive, check_archive_owner, check_owner_file, read_manifest};
pub(crate) use self::load::{Sink, keyspaces, load};
pub(crate) use self::pace::{Breaks, Pace, Pacing};
pub(crate) use self::salvage::{Sound, salvage};
pub(crate) use self::take::{Taking, take};
