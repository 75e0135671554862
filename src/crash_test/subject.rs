//! What is put through crashes: a log alone, or a whole store.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::draw::Draw;
use super::report::CrashPath;
use super::script::{Flavor, Step};
use super::timeline::{Changes, Seen};
use crate::Result;
use crate::event::{Event, Listener};
use crate::storage::SimDisk;

/// What an action does to the timeline, if it succeeds. If it fails, it may have.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    /// So many records, in this order.
    Grow(Vec<Changes>),
    /// One record, or none where it would say nothing new.
    MayGrow(Changes),
    /// The log ends at this LSN.
    Cut(u64),
    /// Whole segments below this LSN go.
    RemoveBefore(u64),
    /// Nothing that can be read, but the next opening may begin with this checkpoint; and must, once it is complete.
    Checkpoint(u64),
    /// A store of its own comes to be, with the state at this LSN.
    Copy(u64),
    /// Nothing that can be read.
    Nothing,
}

/// Opens, changes and reads what is tested.
pub(super) trait Subject: Sync {
    /// An open log or store.
    type Handle;
    /// Something that can be done to it.
    type Action: Clone + Debug;

    /// Its name in violations.
    fn name(&self) -> &'static str;

    /// The kinds of scripts that can be written for it.
    fn flavors(&self) -> &'static [Flavor];

    /// How many operations lie between two at which a process is killed.
    fn kill_step(&self) -> u64 {
        1
    }

    /// The steps of a script.
    fn script(&self, flavor: Flavor, draw: &mut Draw) -> Vec<Step<Self::Action>>;

    /// What is done to what a crash has left: first a durable write that tells apart before and after.
    fn follow_up(&self, draw: &mut Draw) -> Vec<Self::Action>;

    /// Opens it on a disk. The watch hears of its events.
    fn open(&self, disk: &SimDisk, watch: &Arc<Watch>) -> Result<Self::Handle>;

    /// Reads all of it, just opened.
    ///
    /// # Errors
    /// What cannot be read, contradicts itself, or should not be on the disk any more.
    fn look(&self, disk: &SimDisk, handle: &Self::Handle) -> Result<Seen, String>;

    /// Reads all of it from outside, without opening; with `None`, what this finds says nothing.
    ///
    /// # Errors
    /// What cannot be read.
    fn peek(&self, disk: &SimDisk) -> Result<Option<Seen>, String>;

    /// Looks for damage beside the open handle.
    ///
    /// # Errors
    /// What was found.
    fn verify(&self, disk: &SimDisk, handle: &Self::Handle) -> Result<(), String>;

    /// Lets the newest checkpoint rot on a disk that nobody has open, and opens it: what was seen is there all the
    /// same, or opening says what is wrong. False where there is none.
    ///
    /// # Errors
    /// What was found instead.
    fn rot(&self, disk: &SimDisk, seen: &Seen, draw: &mut Draw) -> Result<bool, String>;

    /// What an action would do now.
    fn effect(&self, handle: &Self::Handle, action: &Self::Action) -> Effect;

    /// Does it.
    fn act(&self, disk: &SimDisk, handle: &Self::Handle, action: &Self::Action) -> Result<()>;

    /// On which path an action is, if nothing better is known.
    fn path(&self, action: &Self::Action) -> CrashPath;

    /// The record that closing writes.
    fn close_mark(&self, handle: &Self::Handle) -> Changes;

    /// Closes it.
    fn close(&self, handle: &Self::Handle) -> Result<()>;

    /// The last LSN given out, the last durable one, and the oldest (0 where that is not told).
    fn lsns(&self, handle: &Self::Handle) -> (u64, u64, u64);
}

/// Listens to what is tested: keeps the disk's note at the durable LSN, counts rotations, and knows when a checkpoint
/// was complete.
#[derive(Debug)]
pub(super) struct Watch {
    disk: SimDisk,
    rotations: AtomicU64,
    checkpointed_at: AtomicU64,
    archived_at: AtomicU64,
}

impl Watch {
    pub(super) fn new(disk: &SimDisk) -> Arc<Watch> {
        Arc::new(Watch {
            disk: disk.clone(),
            rotations: AtomicU64::new(0),
            checkpointed_at: AtomicU64::new(0),
            archived_at: AtomicU64::new(0),
        })
    }

    /// ORDER: Relaxed, it is read in the thread that counts.
    pub(super) fn rotations(&self) -> u64 {
        self.rotations.load(Ordering::Relaxed)
    }

    /// The operation of the disk after which the last checkpoint was complete. ORDER: as above.
    pub(super) fn checkpointed_at(&self) -> u64 {
        self.checkpointed_at.load(Ordering::Relaxed)
    }
}

impl Watch {
    /// The operation of the disk after which the last files were in the archive. ORDER: as above.
    pub(super) fn archived_at(&self) -> u64 {
        self.archived_at.load(Ordering::Relaxed)
    }
}

impl Listener for Watch {
    fn event(&self, event: &Event<'_>) {
        match event {
            // From this moment on somebody may rely on it, so each later crash point must keep it.
            Event::Synced { durable, .. } => self.disk.set_note(durable.get()),
            Event::Rotated { .. } => _ = self.rotations.fetch_add(1, Ordering::Relaxed),
            Event::Checkpointed { .. } => {
                self.checkpointed_at.store(self.disk.operations(), Ordering::Relaxed);
            }
            Event::Archived { .. } => self.archived_at.store(self.disk.operations(), Ordering::Relaxed),
            _ => {}
        }
    }
}
