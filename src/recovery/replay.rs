//! Records becoming keys, by many threads at once.
//!
//! ```text
//!  segments    1 ─────▶ reader ──▶ runs ──▶ sort, merge ─┐
//!              2 ─────▶ reader ──▶ runs ──▶ sort, merge ─┼─▶ tables      a reader merges what it has read
//!              3 ─────▶ reader ──▶ runs ─┐               │
//!              none left: helper  ◀──────┘ sort, merge ──┘               or hands it to one that has nothing to read
//! ```
//!
//! The order does not matter, because the newest LSN wins ([`Memtable::apply`](crate::memtable::Memtable::apply) states
//! the law). Two things rest on it that are not obvious:
//!
//! - **Tombstones.** A deletion that was merged before the put that it deletes must still be there when the put comes.
//!   Collection removes no tombstone above the visible LSN, so this moves only as far as everything below is merged:
//!   the *floor*. Without it, a log of puts and deletes would not fit into memory. And when there are many above it,
//!   whoever does not read at the floor stops reading and helps who does.
//! - **Keyspaces** may be used before their creation is read: see `gather`.
//!
//! Memory is bounded: what was read and is not merged takes no more than [`IN_FLIGHT_BYTES`] and a fifth of what has
//! been merged so far. The fraction is what makes merging cheap: the larger a run, the more of its keys fall into one
//! block. Two threads that shared one fifth would meet each block twice as often as one thread does, so there is a
//! second fifth for several, if what was merged has stayed: then what is read will stay too, and takes little more
//! memory unmerged than merged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLock};

use super::gather::{Gathered, Ledger, first_error};
use crate::catalog::Catalog;
use crate::error::Result;
use crate::event::{Event, Events};
use crate::format::KeyspaceId;
use crate::format::record::RecordKind;
use crate::lsn::Lsn;
use crate::memtable::{Memtable, Tracker};
use crate::wal::{Claims, Opening, Piece, RecordRef, in_threads};

/// How much all threads together may hold unmerged while the tables are small.
const IN_FLIGHT_BYTES: usize = 16 << 20;

/// And while they are large: this part of them.
const IN_FLIGHT_PART: u128 = 5;

/// Tombstones above the floor may take this part of that.
const TOMBSTONE_PART: usize = 4;

/// A thread that has nothing to read is given runs of at least this part of the full length.
const SHARED_PART: usize = 4;

/// A segment of so many bytes keeps a further thread busy.
const BYTES_PER_THREAD: u64 = 16 << 20;

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    /// Data records.
    pub(super) records: u64,
    pub(super) operations: u64,
    pub(super) threads: usize,
    /// Added up over all threads.
    pub(super) merging: Duration,
}

/// Reads the first `segments` of a log and applies their records to the tables of a catalog. What a checkpoint has put
/// there before stays, where it is newer.
///
/// # Errors
/// Of several, the one that stands lowest in the log.
pub(super) fn replay(
    opening: &Opening,
    segments: usize,
    catalog: &Catalog,
    threads: usize,
    events: &Events,
) -> Result<(Vec<Piece>, Totals)> {
    replay_within(IN_FLIGHT_BYTES, opening, segments, catalog, threads, events)
}

pub(super) fn replay_within(
    in_flight_bytes: usize,
    opening: &Opening,
    segments: usize,
    catalog: &Catalog,
    threads: usize,
    events: &Events,
) -> Result<(Vec<Piece>, Totals)> {
    let worth = usize::try_from(opening.bytes() / BYTES_PER_THREAD).unwrap_or(usize::MAX);
    let threads = threads.min(segments.max(worth)).max(1);
    let held = catalog.all().iter().map(|space| space.table.stats().bytes).sum();
    let replay = Replay {
        opening,
        events,
        tracker: catalog.tracker(),
        new_table: &|| catalog.new_table(),
        tables: RwLock::new(catalog.all().iter().map(|space| (space.id, space.table.clone())).collect()),
        threads,
        in_flight_bytes,
        held: AtomicI64::new(signed(held)),
        gained: AtomicU64::new(held as u64),
        tombstones: AtomicUsize::new(0),
        idle: AtomicUsize::new(0),
        merging: AtomicU64::new(0),
        state: Mutex::new(State {
            claims: Claims::new(segments),
            unmerged: Vec::new(),
            handed: Vec::new(),
            readers: 0,
            ledger: Ledger::default(),
            totals: Totals { threads, ..Totals::default() },
        }),
        changed: Condvar::new(),
    };
    in_threads(threads, &|| replay.work());
    let merging = Duration::from_nanos(replay.merging.into_inner());
    let State { claims, ledger, totals, .. } = replay.state.into_inner();
    let wrong = ledger.settle(catalog, replay.tables.into_inner()).err();
    let pieces = first_error(opening, claims.finish(), wrong)?;
    Ok((pieces, Totals { merging, ..totals }))
}

struct Replay<'a> {
    opening: &'a Opening,
    events: &'a Events,
    tracker: &'a Arc<Tracker>,
    new_table: &'a (dyn Fn() -> Arc<Memtable> + Sync),
    /// Made when they are first used. Held for a look-up or an insertion.
    tables: RwLock<BTreeMap<KeyspaceId, Arc<Memtable>>>,
    threads: usize,
    /// [`IN_FLIGHT_BYTES`], unless a test wants many short runs.
    in_flight_bytes: usize,
    /// About how many bytes of values the tables hold. A hint for the length of runs, hence `Relaxed`; signed, because a
    /// thread may lose what another has not counted yet.
    held: AtomicI64,
    /// How many bytes of values the tables held or were given. A hint, too.
    gained: AtomicU64,
    /// How many bytes of tombstones the tables hold, and the runs that are being merged. A hint too.
    tombstones: AtomicUsize,
    /// How many threads wait for runs. A hint, hence `Relaxed`; what it leads to is decided under `state`.
    idle: AtomicUsize,
    /// Nanoseconds, added up.
    merging: AtomicU64,
    /// Held for a few instructions, and never while a table is used or a file is read.
    state: Mutex<State>,
    /// Runs were handed over or merged, or a reader has finished: what waiting threads look at may be different now.
    changed: Condvar,
}

struct State {
    claims: Claims,
    /// The `from` of everything that was claimed or gathered and is not merged: below all of them, and below the next
    /// segment, everything is merged.
    ///
    /// ORDER: entered before the segment is claimed by the same lock, or before the one that it continues is removed.
    /// So there is no moment at which the floor could rise above something that is still to come.
    unmerged: Vec<Lsn>,
    /// For whoever is idle.
    handed: Vec<Gathered>,
    /// Threads that may still hand something over.
    readers: usize,
    ledger: Ledger,
    totals: Totals,
}

impl Replay<'_> {
    /// What each thread does: read while there is something to read, then help.
    fn work(&self) {
        self.state.lock().readers += 1;
        let reading = Reading(self);
        let mut ledger = Ledger::default();
        let mut totals = Totals::default();
        let mut gathered = None;
        while let Some(index) = self.claim(&mut gathered) {
            let result = self.read(index, &mut gathered, &mut ledger, &mut totals);
            self.state.lock().claims.settle(index, result);
        }
        let mut state = self.state.lock();
        state.ledger.merge(ledger);
        state.totals.records += totals.records;
        state.totals.operations += totals.operations;
        drop(state);
        if let Some(gathered) = gathered {
            self.merge(gathered);
        }
        drop(reading);
        while let Some(gathered) = self.wait_for_runs(|state| state.readers == 0) {
            self.merge(gathered);
        }
    }

    /// The next segment to read. What was gathered so far stays, or begins there.
    fn claim(&self, gathered: &mut Option<Gathered>) -> Option<usize> {
        let mut state = self.state.lock();
        let index = state.claims.claim()?;
        let base = self.opening.base(index);
        match gathered {
            Some(gathered) if gathered.bytes > 0 => {}
            Some(empty) => {
                state.replace(empty.from, Some(base));
                empty.from = base;
                // Another reader may be the lowest now.
                self.changed.notify_all();
            }
            None => {
                state.unmerged.push(base);
                *gathered = Some(Gathered::new(base));
            }
        }
        Some(index)
    }

    fn read(
        &self,
        index: usize,
        gathered: &mut Option<Gathered>,
        ledger: &mut Ledger,
        totals: &mut Totals,
    ) -> Result<Piece> {
        let mut records = 0;
        let piece = self.opening.read(index, &mut |record: RecordRef<'_>| {
            records += 1;
            let Some(gathered) = gathered.as_mut().filter(|_| record.header.kind == RecordKind::Data) else {
                return Ok(());
            };
            totals.records += 1;
            totals.operations += gathered.take(&record, self.opening.path(), ledger)?;
            if self.is_full(gathered) {
                self.pass_on(gathered, record.header.lsn.next());
            }
            Ok(())
        })?;
        if records > 0 {
            let file = piece.file();
            self.events.tell(|| Event::Replayed { file, records });
        }
        Ok(piece)
    }

    /// What all threads together may hold unmerged.
    fn allowance(&self) -> usize {
        let held = u128::try_from(self.held.load(Ordering::Relaxed)).unwrap_or(0);
        let gained = u128::from(self.gained.load(Ordering::Relaxed)).max(held).max(1);
        let stayed = if self.threads > 1 { held * held / gained } else { 0 };
        let more = usize::try_from((held + stayed) / IN_FLIGHT_PART).unwrap_or(0);
        self.in_flight_bytes.saturating_add(more)
    }

    /// How much tombstones may take that are above the floor.
    fn tombstone_allowance(&self) -> usize {
        self.allowance() / TOMBSTONE_PART
    }

    fn is_full(&self, gathered: &Gathered) -> bool {
        let most = self.allowance() / self.threads;
        gathered.bytes >= most
            || gathered.bytes >= most / SHARED_PART && self.idle.load(Ordering::Relaxed) > 0
    }

    /// Merges what was gathered, or has it merged by a thread that waits for that. The next is gathered from `from`.
    fn pass_on(&self, gathered: &mut Gathered, from: Lsn) {
        self.let_the_floor_rise(gathered);
        let full = std::mem::replace(gathered, Gathered::new(from));
        let mut state = self.state.lock();
        state.unmerged.push(from);
        if self.idle.load(Ordering::Relaxed) > state.handed.len() {
            state.handed.push(full);
            drop(state);
            self.changed.notify_all();
        } else {
            drop(state);
            self.merge(full);
        }
    }

    /// Waits while there are too many tombstones that cannot be collected, and helps meanwhile. What stands at the floor
    /// never waits: it is what the others wait for.
    fn let_the_floor_rise(&self, gathered: &Gathered) {
        let is_fine = |state: &State| {
            let tombstones = self.tombstones.load(Ordering::Relaxed) + gathered.tombstone_bytes;
            tombstones <= self.tombstone_allowance()
                || state.unmerged.iter().all(|from| *from >= gathered.from)
        };
        while let Some(handed) = self.wait_for_runs(is_fine) {
            self.merge(handed);
        }
    }

    fn merge(&self, gathered: Gathered) {
        let began = Instant::now();
        let from = gathered.from;
        // ORDER: counted before they are in a table, where another thread may collect them at once.
        let tombstones = gathered.tombstone_bytes;
        self.tombstones.fetch_add(tombstones, Ordering::Relaxed);
        let mut taken_in = 0;
        for (id, run) in gathered.runs() {
            let taken = self.table(id).take_in(run);
            self.gained.fetch_add(taken.gained as u64, Ordering::Relaxed);
            self.held.fetch_add(signed(taken.gained) - signed(taken.lost), Ordering::Relaxed);
            self.tombstones.fetch_sub(taken.tombstones_lost, Ordering::Relaxed);
            taken_in += taken.tombstones_gained;
        }
        self.tombstones.fetch_sub(tombstones - taken_in, Ordering::Relaxed);
        let floor = {
            let mut state = self.state.lock();
            state.replace(from, None);
            let next = state.claims.next().map(|index| self.opening.base(index));
            state.unmerged.iter().copied().chain(next).min()
        };
        if let Some(floor) = floor {
            self.tracker.publish(floor.previous());
        }
        self.collect(Memtable::collect_due);
        if self.tombstones.load(Ordering::Relaxed) > self.tombstone_allowance() {
            self.collect(Memtable::collect_undue);
        }
        self.wake_all();
        let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.merging.fetch_add(took, Ordering::Relaxed);
    }

    fn collect(&self, collect: impl Fn(&Memtable) -> usize) {
        let tables: Vec<Arc<Memtable>> = self.tables.read().values().cloned().collect();
        let freed = tables.iter().map(|table| collect(table)).sum();
        self.tombstones.fetch_sub(freed, Ordering::Relaxed);
    }

    /// ORDER: under the lock, so that nobody looks, is overtaken by this, and then waits.
    fn wake_all(&self) {
        let state = self.state.lock();
        self.changed.notify_all();
        drop(state);
    }

    fn table(&self, id: KeyspaceId) -> Arc<Memtable> {
        if let Some(table) = self.tables.read().get(&id) {
            return table.clone();
        }
        self.tables.write().entry(id).or_insert_with(self.new_table).clone()
    }

    /// Waits for runs that a reader has handed over. `None` as soon as `is_over`, but not while there are any.
    fn wait_for_runs(&self, is_over: impl Fn(&State) -> bool) -> Option<Gathered> {
        let mut state = self.state.lock();
        self.idle.fetch_add(1, Ordering::Relaxed);
        let handed = loop {
            if let Some(handed) = state.handed.pop() {
                break Some(handed);
            }
            if is_over(&state) {
                break None;
            }
            self.changed.wait(&mut state);
        };
        self.idle.fetch_sub(1, Ordering::Relaxed);
        handed
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl State {
    /// Removes one LSN from what is unmerged, and enters another.
    fn replace(&mut self, from: Lsn, by: Option<Lsn>) {
        if let Some(at) = self.unmerged.iter().position(|other| *other == from) {
            self.unmerged.swap_remove(at);
        }
        self.unmerged.extend(by);
    }
}

/// A thread that reads. If it panics (a disk of the user's may), the others must not wait for it.
struct Reading<'a>(&'a Replay<'a>);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.state.lock().readers -= 1;
        self.0.changed.notify_all();
    }
}
