//! What replaying begins with: the newest checkpoint that is sound, or nothing.
//!
//! | # | checkpoints that the manifest names | the log begins at | replaying begins with |
//! | --- | --- | --- | --- |
//! | 1 | the newest is sound | – | it |
//! | 2 | the newest is damaged, an older one is sound | – | the older one: the log behind it is kept as long as it is |
//! | 3 | all are damaged | LSN 1 | nothing: the log has everything |
//! | 4 | all are damaged | later | nothing: refuse, with what is wrong with the newest |
//! | 5 | there is none | LSN 1 | nothing |
//! | 6 | there is none | later | nothing: refuse, the manifest contradicts itself |
//!
//! A checkpoint that ends before the log begins counts as none: between the two, records would be missing.
//!
//! A damaged checkpoint is reported and left as it is; the log is never touched because of one. A checkpoint that
//! cannot be *read* (the disk says so), or that another release has written, is neither sound nor damaged: opening fails.

use std::sync::Arc;

use crate::catalog::{Catalog, Space};
use crate::checkpoint::{self, Sink};
use crate::error::{CorruptionKind, Error, Result};
use crate::event::{Event, Events};
use crate::format::manifest::Checkpoint;
use crate::format::{Flaw, KeyspaceId, StoreId, names};
use crate::lsn::Lsn;
use crate::memtable::{Run, Tracker};
use crate::storage::dir::Dir;

/// A checkpoint that was found to be damaged.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DamagedCheckpoint {
    /// The LSN whose state it was to be.
    pub lsn: Lsn,
    /// What is wrong with it.
    pub error: Error,
}

/// What replaying begins with.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) tracker: Arc<Tracker>,
    pub(super) catalog: Catalog,
    /// The checkpoint that was loaded.
    pub(super) checkpoint: Option<Checkpoint>,
    pub(super) damaged: Vec<DamagedCheckpoint>,
}

impl Base {
    /// An empty state.
    pub(super) fn empty() -> Base {
        let tracker = Tracker::new(Lsn::ZERO);
        Base { catalog: Catalog::new(tracker.clone()), tracker, checkpoint: None, damaged: Vec::new() }
    }

    /// The LSN whose state this is. Records up to it are not applied again.
    pub(super) fn lsn(&self) -> Lsn {
        self.checkpoint.as_ref().map_or(Lsn::ZERO, Checkpoint::lsn)
    }

    /// Loads the newest sound checkpoint: the rows of the table.
    pub(super) fn load(
        dir: &Dir,
        store_id: StoreId,
        checkpoints: &[Checkpoint],
        log_begins: Lsn,
        threads: usize,
        events: &Events,
    ) -> Result<Base> {
        let mut damaged = Vec::new();
        let reaches_the_log = |checkpoint: &&Checkpoint| checkpoint.lsn().next() >= log_begins;
        for checkpoint in checkpoints.iter().rev().take_while(reaches_the_log) {
            let base = Base::empty();
            match checkpoint::load(
                dir,
                store_id,
                checkpoint,
                threads,
                &Loading { catalog: &base.catalog, events },
            ) {
                Ok(()) => {
                    base.tracker.publish(checkpoint.lsn());
                    return Ok(Base { checkpoint: Some(checkpoint.clone()), damaged, ..base });
                }
                Err(error @ Error::Corruption(_)) => {
                    damaged.push(DamagedCheckpoint { lsn: checkpoint.lsn(), error });
                }
                Err(error) => return Err(error),
            }
        }
        if log_begins <= Lsn::new(1) {
            return Ok(Base { damaged, ..Base::empty() });
        }
        Err(damaged.into_iter().next().map_or_else(
            || Flaw::Corrupt(CorruptionKind::Manifest).at(&dir.file_path(names::MANIFEST), 0, None),
            |newest| newest.error,
        ))
    }
}

/// After so many bytes of versions, a run of sorted entries goes into its table.
const RUN_BYTES: usize = 4 << 20;

/// Entries of a checkpoint becoming keys: runs that are sorted already, disjoint between threads.
struct Loading<'a> {
    catalog: &'a Catalog,
    events: &'a Events,
}

/// What a thread has read and not put into a table yet.
#[derive(Default)]
struct Gathered {
    /// Where it goes.
    space: Option<Arc<Space>>,
    run: Run,
}

impl Gathered {
    fn take_in(&mut self) {
        if let Some(space) = &self.space {
            space.table.take_in(std::mem::take(&mut self.run));
        }
    }
}

impl Sink for Loading<'_> {
    type Gathered = Gathered;

    fn keyspace(&self, id: KeyspaceId, created: Lsn, name: &str) -> bool {
        if name.is_empty() {
            // The highest number that there was, of one that is gone.
            self.catalog.note_gone(id);
            return true;
        }
        self.catalog.create(created, id, name, self.catalog.new_table()).is_ok()
    }

    fn entry(
        &self,
        gathered: &mut Gathered,
        keyspace: KeyspaceId,
        lsn: Lsn,
        key: &[u8],
        value: &[u8],
    ) -> bool {
        let here = gathered.space.as_ref().is_some_and(|space| space.id == keyspace);
        if !here || gathered.run.bytes() >= RUN_BYTES {
            gathered.take_in();
        }
        if !here {
            gathered.space = self.catalog.get(keyspace).ok();
        }
        gathered.run.push(lsn, key, Some(value));
        gathered.space.is_some()
    }

    fn end(&self, mut gathered: Gathered, file: &str, entries: u64) {
        gathered.take_in();
        self.events.tell(|| Event::Loaded { file, entries });
    }
}

/// Checks a checkpoint and keeps nothing of it.
///
/// # Errors
/// As opening would say it.
pub(crate) fn check_checkpoint(
    dir: &Dir,
    store_id: StoreId,
    checkpoint: &Checkpoint,
    threads: usize,
) -> Result<()> {
    struct Nothing;
    impl Sink for Nothing {
        type Gathered = ();
        fn keyspace(&self, _: KeyspaceId, _: Lsn, _: &str) -> bool {
            true
        }
        fn entry(&self, (): &mut (), _: KeyspaceId, _: Lsn, _: &[u8], _: &[u8]) -> bool {
            true
        }
        fn end(&self, (): (), _: &str, _: u64) {}
    }
    checkpoint::load(dir, store_id, checkpoint, threads, &Nothing)
}
