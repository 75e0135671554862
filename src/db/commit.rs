//! The life of a write: judge → log → apply → sync → publish.
//!
//! ```text
//!              one group at a time            groups side by side
//!   A, B, C ─▶ ┌ judge ─▶ log ┐ ─▶ apply ─▶ [ sync, if one of them asks for it ] ─▶ publish ─▶ A, B, C return
//!              └─── turn ─────┘                gate
//! ```
//!
//! 1. **judge**: what fails gets no LSN and leaves no byte. A write on a condition waits here until all that is logged is
//!    applied, its own group's earlier members included ([`Conditional`]).
//! 2. **log**: the group's records are written, with one `write_at`, not synced.
//! 3. **apply**: their versions go into the memtable, where nobody sees them: readers look at the visible LSN.
//! 4. **sync**, if it was asked for, shared with everybody who waits at the gate.
//! 5. **publish**: the visible LSN moves on, over the longest prefix that is applied and in which each `Sync` record is
//!    durable ([`Pending`]).
//!
//! The first in line does this for all who have joined it ([`Queue`]). Only judging and logging need the turn: while
//! the disk works for one group, the next is judged, logged and applied. Groups may be applied in another order than
//! they were logged in, because applying is commutative: the newest LSN wins.
//!
//! LOCKS: the queue's turn, then those of the log; `pending` is held for a few instructions and takes nothing.
//!
//! What a crash leaves behind: before the log's write returned, nothing or a torn tail; after it, records that
//! recovery may find, whether they were acknowledged or not. Nothing is ever applied that is not in the log before.
//!
//! Where to read next: `pending`, then `wal::queue` and `wal::gate`.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::judge::{Condition, Conditional, Refusal};
use super::pending::Pending;
use super::store::Store;
use crate::batch::{SealedBatch, WriteBatch};
use crate::catalog::NoSuchKeyspace;
use crate::error::{Error, Result};
use crate::event::{Event, span};
use crate::lsn::Lsn;
use crate::options::{Durability, shortest_interval};
use crate::sync::{AtomicBool, MutexGuard, Ordering, yield_before_sleep};
use crate::wal::{Members, Outcome, Wal, Work};

/// What one caller wants written, and what became of it.
#[derive(Debug)]
pub(super) struct Write {
    batch: SealedBatch,
    durability: Durability,
    /// What must hold when it is judged, if anything.
    conditional: Option<Box<Conditional>>,
    outcome: Outcome,
    /// Somebody has taken it on to apply this.
    taken: AtomicBool,
}

impl Write {
    fn wants_sync(&self) -> bool {
        self.durability == Durability::Sync
    }
}

/// What is logged and not published, and who waits for it.
#[derive(Debug)]
pub(super) struct Unpublished {
    pending: Pending,
    /// Threads that wait for others to apply or publish.
    sleeping: usize,
}

impl Unpublished {
    /// Everything up to `applied` is applied and published.
    pub(super) fn new(applied: Lsn) -> Unpublished {
        Unpublished { pending: Pending::new(applied), sleeping: 0 }
    }

    /// A record is logged that must be durable before it is published. To be called in the order of the log.
    pub(super) fn must_be_durable(&mut self, lsn: Lsn) {
        self.pending.must_be_durable(lsn);
    }
}

impl Store {
    pub(super) fn write(self: &Arc<Self>, batch: WriteBatch, durability: Durability) -> Result<Lsn> {
        match self.write_if(batch, durability, None)? {
            Ok(lsn) => Ok(lsn),
            Err(_) => unreachable!("nothing is refused without a condition"),
        }
    }

    /// The same if a condition holds. A refusal, which is a result, is visible when it is told.
    pub(super) fn write_if(
        self: &Arc<Self>,
        batch: WriteBatch,
        durability: Durability,
        condition: Option<Condition>,
    ) -> Result<Result<Lsn, Refusal>> {
        let _span = span("write", true);
        let wal = self.wal()?;
        let _waking = wal.waking(&self.keeper);
        // A poisoned store answers at once, whoever may be stuck in a call that never returns.
        wal.check_poison()?;
        if !batch.is_for(self.store_id) {
            let name = "that a handle of another store names".to_owned();
            return Err(Error::UnknownKeyspace { name });
        }
        let batch = batch.seal()?;
        if batch.len() == 0 {
            return Ok(Ok(self.tracker.visible()));
        }
        // Before it joins others: what is too long must not fail with them, or they with it.
        wal.check_size(batch.body().len())?;
        self.events().tell(|| Event::Encoded { ops: batch.len(), bytes: batch.body().len() });
        let conditional = condition.map(Conditional::new);
        let (outcome, taken) = (Outcome::default(), AtomicBool::new(false));
        let write = Write { batch, durability, conditional, outcome, taken };
        let gather = durability == Durability::Sync && wal.shares_syncs();
        self.queue.pass(write, gather, &Writing { store: self, wal })
    }

    /// Takes note of a run of records that is applied, and publishes what that allows.
    pub(super) fn applied(&self, wal: &Wal, first: Lsn, last: Lsn) {
        let mut unpublished = self.pending.lock();
        unpublished.pending.applied(first, last);
        self.publish_locked(wal, unpublished);
    }

    pub(super) fn publish(&self, wal: &Wal) {
        self.publish_locked(wal, self.pending.lock());
    }

    /// Step 5. A poisoned store publishes nothing more: what it cannot vouch for is never seen.
    fn publish_locked(&self, wal: &Wal, mut unpublished: MutexGuard<'_, Unpublished>) {
        let before = self.tracker.visible();
        let mut visible = before;
        if !wal.is_poisoned() {
            visible = visible.max(unpublished.pending.publishable(wal.durable_lsn()));
            // Under the lock, so that what is applied cannot be ahead of what was published with it.
            self.tracker.publish(visible);
        }
        let sleeping = unpublished.sleeping;
        drop(unpublished);
        if sleeping > 0 {
            self.moved.notify_all();
        }
        if visible > before {
            self.events().tell(|| Event::Published { visible });
        }
    }

    /// Returns when everything that is logged is applied, which other threads are doing. Called with the turn, so that
    /// nothing more is logged meanwhile; applying needs no turn.
    fn wait_applied(&self, wal: &Wal) -> Result<()> {
        let last = wal.last_lsn();
        let is_applied = || self.pending.lock().pending.applied_to() >= last;
        while !yield_before_sleep(is_applied) {
            // A thread that panicked while it applied has poisoned the log. One that failed to write has got no LSN.
            wal.check_poison()?;
            let mut unpublished = self.pending.lock();
            if unpublished.pending.applied_to() < last && !wal.is_poisoned() {
                unpublished.sleeping += 1;
                unpublished = self.moved.wait(unpublished);
                unpublished.sleeping -= 1;
            }
        }
        Ok(())
    }

    /// Returns when `over` says so, or about when the time is up. `over` is asked again whenever something was published.
    pub(super) fn wait_moved(&self, limit: Duration, over: impl Fn() -> bool) {
        let began = Instant::now();
        let mut unpublished = self.pending.lock();
        while !over() {
            let Some(left) = limit.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) else {
                return;
            };
            unpublished.sleeping += 1;
            // A checkpoint's sync makes things durable and publishes nothing: of that nobody is told.
            unpublished = self.moved.wait_for(unpublished, left.min(LOOK_AGAIN));
            unpublished.sleeping -= 1;
        }
    }

    /// What a write makes superfluous, it also removes, as far as it can be removed by now.
    fn collect_garbage_of(&self, batch: &SealedBatch) {
        let mut last = None;
        for (id, ..) in batch.changes() {
            if last != Some(id)
                && let Ok(space) = self.catalog.get(id)
            {
                space.table.collect_garbage(batch.len() + 1);
            }
            last = Some(id);
        }
    }

    /// What a poisoned store has published: no more will be. So a write that is told of the failure is never seen.
    fn visible_for_good(&self) -> Lsn {
        // ORDER: the lock first. Whoever publishes looks for the poison with the lock held; who has done so before we
        // got it has also published.
        let _unpublished = self.pending.lock();
        self.tracker.visible()
    }

    /// Returns when `lsn`, which is logged and applied, is visible. What stands before it in the log may have to be
    /// synced first, which is done here, or to be applied, which another thread is doing.
    pub(super) fn wait_published(&self, wal: &Wal, lsn: Lsn) -> Result<()> {
        while self.tracker.visible() < lsn {
            wal.check_poison()?;
            self.publish(wal);
            let held_back_by = self.pending.lock().pending.first_sync_up_to(lsn);
            if let Some(sync) = held_back_by {
                wal.wait_durable_for(sync, 1)?;
            } else if !yield_before_sleep(|| self.tracker.visible() >= lsn) {
                let mut unpublished = self.pending.lock();
                // From here on nothing is applied or published unseen: that takes the lock, and looks who sleeps.
                if unpublished.pending.publishable(wal.durable_lsn()) < lsn && !wal.is_poisoned() {
                    unpublished.sleeping += 1;
                    unpublished = self.moved.wait(unpublished);
                    unpublished.sleeping -= 1;
                }
            }
        }
        Ok(())
    }
}

/// How long nobody is told of what has become durable, at most.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The work on what is written.
struct Writing<'a> {
    store: &'a Arc<Store>,
    wal: &'a Wal,
}

impl Writing<'_> {
    /// Step 1: whether the batch can be applied, and may be, now that everything before it in the log is known.
    fn judge(&self, write: &Write) -> bool {
        let checked = self.store.catalog.check(&write.batch);
        let checked = checked.map_err(|NoSuchKeyspace(id)| self.store.unknown_keyspace(id)).and_then(|()| {
            let Some(conditional) = &write.conditional else { return Ok(true) };
            self.store.wait_applied(self.wal)?;
            Ok(conditional.holds())
        });
        checked.unwrap_or_else(|error| {
            write.outcome.failed(error);
            false
        })
    }

    /// Step 2: writes what was judged to be fine, and gives it its LSNs.
    fn log_judged(&self, judged: &[&Write]) {
        let (one, many);
        let bodies: &[&[u8]] = match judged {
            [] => return,
            [write] => {
                one = [write.batch.body()];
                &one
            }
            _ => {
                many = judged.iter().map(|write| write.batch.body()).collect::<Vec<_>>();
                &many
            }
        };
        let sync_follows = judged.iter().any(|write| write.wants_sync());
        let last = match self.wal.write(bodies, sync_follows) {
            Ok(last) => last,
            Err(error) => return judged.iter().for_each(|write| write.outcome.failed(error.clone())),
        };
        let first = last.before(bodies.len() as u64).next();
        let logged = || (0..).zip(judged).map(|(number, write)| (first.after(number), write));
        if sync_follows {
            let mut unpublished = self.store.pending.lock();
            let syncs = logged().filter(|(_, write)| write.wants_sync());
            syncs.for_each(|(lsn, _)| unpublished.must_be_durable(lsn));
        }
        // ORDER: last. From here on a follower may apply, and what is applied may be published.
        logged().for_each(|(lsn, write)| write.outcome.logged(lsn));
    }

    /// Step 3, once for each write, by whoever comes first: its own thread, if that is awake, or its leader.
    fn apply(&self, write: &Write) {
        let Some(lsn) = write.outcome.lsn() else { return };
        // ORDER: Relaxed. It only decides who applies; what is applied is found through the memtable.
        if write.taken.load(Ordering::Relaxed) || write.taken.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Err(NoSuchKeyspace(id)) = self.store.catalog.apply(lsn, &write.batch) {
            // It was there when the batch was judged. Nothing may be published without it.
            self.wal.poison(self.store.unknown_keyspace(id));
        }
        self.store.events().tell(|| Event::Applied { lsn, ops: write.batch.len(), body: write.batch.body() });
        self.store.applied(self.wal, lsn, lsn);
    }
}

impl Work for Writing<'_> {
    type Item = Write;
    type Result = Result<Result<Lsn, Refusal>>;

    fn bytes(&self, write: &Write) -> usize {
        write.batch.body().len()
    }

    /// Steps 1 and 2.
    fn log(&self, group: &Members<Write>) {
        // One write alone is the common case, and others wait for the turn: nothing is allocated for it.
        if group.is_one() {
            let alone = Some(group.leader()).filter(|write| self.judge(write));
            self.log_judged(alone.as_slice());
        } else {
            let mut judged = Vec::new();
            for write in group.iter() {
                if write.conditional.is_some() {
                    // It is judged by these, too.
                    self.log_judged(&judged);
                    judged.drain(..).for_each(|write| self.apply(write));
                }
                if self.judge(write) {
                    judged.push(write);
                }
            }
            self.log_judged(&judged);
        }
    }

    /// Step 3 of a follower that is awake.
    fn meanwhile(&self, write: &Write) {
        self.apply(write);
    }

    /// Steps 3 to 5: returns when the records are as durable as was asked for, and visible.
    fn finish(&self, group: &Members<Write>) {
        let Writing { store, wal } = self;
        let logged = || group.iter().filter_map(|write| Some((write.outcome.lsn()?, write)));
        let Some((last, _)) = logged().last() else { return };
        self.apply(group.leader());
        let within = shortest_interval(group.iter().map(|write| write.durability));
        let kept = store.keeper.wrote(within, wal.wants_spare(), || -> Weak<Store> { Arc::downgrade(store) });
        let syncs = || logged().filter(|(_, write)| write.wants_sync());
        // What those who sleep have not done; who is awake does its own beside this. Before the sync: then the disk works
        // for another group, or for nobody.
        group.followers().for_each(|write| self.apply(write));
        // Without a thread that keeps the interval, this one does at once what is due later.
        let due_now = within.is_some() && !kept;
        let synced = match syncs().last() {
            _ if due_now => wal.wait_durable_for(last, syncs().count().max(1)),
            // The rest of the group stands in line with these: visibility keeps the log's order.
            Some((lsn, _)) => wal.wait_durable_for(lsn, syncs().count()),
            None => Ok(()),
        };
        let ended = synced.and_then(|()| store.wait_published(wal, last));
        // After it is visible: a checkpoint that is due has what made it due.
        if let Some(upkeep) = &store.upkeep {
            upkeep.wrote();
        }
        let visible = if ended.is_ok() { last } else { store.visible_for_good() };
        for (lsn, write) in logged() {
            match &ended {
                Err(error) if lsn > visible => write.outcome.failed(error.clone()),
                _ => write.outcome.settled(),
            }
        }
    }

    fn panicked(&self) {
        self.wal.poison_after_panic();
        // Whoever waits for what this thread was to apply.
        self.store.publish(self.wal);
    }

    fn result(&self, write: &Write) -> Self::Result {
        if let Some(refusal) = write.conditional.as_ref().and_then(|conditional| conditional.refusal.get()) {
            self.store.wait_published(self.wal, refusal.lsn)?;
            return Ok(Err(refusal.clone()));
        }
        let lsn = match write.outcome.result() {
            Some(Err(error @ Error::UnknownKeyspace { .. })) => {
                self.store.wait_for_drops(self.wal, &write.batch)?;
                return Err(error);
            }
            Some(result) => result?,
            // Nobody waits for a leader once the log is poisoned: what is visible by now is so for good.
            None => {
                let error = self.wal.check_poison().err().unwrap_or(Error::Closed);
                let visible = self.store.visible_for_good();
                write.outcome.lsn().filter(|lsn| *lsn <= visible).ok_or(error)?
            }
        };
        self.store.collect_garbage_of(&write.batch);
        Ok(Ok(lsn))
    }
}
