//! How threads come to write to a log that stands alone: they share writes and syncs, see `queue` and `gate`.

use std::sync::Arc;

use super::Wal;
use super::keeper::Keeper;
use super::members::Members;
use super::outcome::Outcome;
use super::queue::{Queue, Work};
use super::tail::Records;
use crate::error::{Error, Result};
use crate::format::record::RecordKind;
use crate::lsn::Lsn;
use crate::options::{Durability, WalOptions, shortest_interval};

/// What a log has beside its files when no store is around it.
#[derive(Debug)]
pub(super) struct Alone {
    pub(super) queue: Arc<Queue<Append>>,
    pub(super) keeper: Keeper,
}

impl Alone {
    pub(super) fn new(options: &WalOptions) -> Alone {
        Alone { queue: Arc::new(Queue::new(options.queue_bytes)), keeper: Keeper::new(options.idle_mark) }
    }
}

/// What one caller wants appended, and what became of it: the LSN is that of the last payload.
#[derive(Debug)]
pub(super) struct Append {
    payloads: Vec<Vec<u8>>,
    durability: Durability,
    outcome: Outcome,
}

impl Append {
    pub(super) fn new(payloads: &[&[u8]], durability: Durability) -> Append {
        let payloads = payloads.iter().map(|payload| payload.to_vec()).collect();
        Append { payloads, durability, outcome: Outcome::default() }
    }

    fn wants_sync(&self) -> bool {
        self.durability == Durability::Sync
    }
}

/// The work on what is appended.
pub(super) struct Appending<'a> {
    pub(super) wal: &'a Wal,
    pub(super) alone: &'a Alone,
}

impl Work for Appending<'_> {
    type Item = Append;
    type Result = Result<Lsn>;

    fn bytes(&self, append: &Append) -> usize {
        append.payloads.iter().map(Vec::len).sum()
    }

    /// Writes what a group wants appended, one caller's behind the other's.
    fn log(&self, group: &Members<Append>) {
        let payloads: Vec<&[u8]> =
            group.iter().flat_map(|append| &append.payloads).map(Vec::as_slice).collect();
        let sync_follows = group.iter().any(Append::wants_sync);
        let records = Records { kind: RecordKind::Data, payloads: &payloads, sync_follows };
        match self.wal.log.write(records) {
            Ok(last) => {
                let mut lsn = last.before(payloads.len() as u64);
                for append in group.iter() {
                    lsn = lsn.after(append.payloads.len() as u64);
                    append.outcome.logged(lsn);
                }
            }
            Err(error) => group.iter().for_each(|append| append.outcome.failed(error.clone())),
        }
    }

    fn meanwhile(&self, _: &Append) {}

    /// Sees to it that a group is as durable as its members want. One that asks for no sync is acknowledged all the
    /// same if the sync of another fails.
    fn finish(&self, group: &Members<Append>) {
        let log = &self.wal.log;
        if group.iter().all(|append| append.outcome.lsn().is_none()) {
            return;
        }
        let within = shortest_interval(group.iter().map(|append| append.durability));
        let kept = self.alone.keeper.wrote(within, log.spare.is_wanted(), || Arc::downgrade(log));
        // Without a thread that keeps the interval, this one does at once what is due later.
        let due_now = within.is_some() && !kept;
        let synced = || group.iter().filter(|append| append.wants_sync() || due_now);
        if let Some(lsn) = synced().filter_map(|append| append.outcome.lsn()).last()
            && let Err(error) = log.sync_to(lsn, synced().count())
        {
            synced().for_each(|append| append.outcome.failed(error.clone()));
        }
        group.iter().for_each(|append| append.outcome.settled());
    }

    fn panicked(&self) {
        self.wal.poison_after_panic();
    }

    fn result(&self, append: &Append) -> Result<Lsn> {
        append.outcome.result().unwrap_or_else(|| {
            // Nobody waits for a leader once the log is poisoned: what it has reached by now must do.
            let enough = |lsn: &Lsn| !append.wants_sync() || *lsn <= self.wal.durable_lsn();
            match append.outcome.lsn().filter(enough) {
                Some(lsn) => Ok(lsn),
                None => Err(self.wal.check_poison().err().unwrap_or(Error::Closed)),
            }
        })
    }
}
