//! Takes a checkpoint: the state that a snapshot shows, into part files.
//!
//! The keys are divided into ranges of about the same size, and threads write the ranges, each into a part of its own.
//! All of them read through one snapshot, so together they show one moment, however long it takes.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::Pace;
use super::part::PartWriter;
use crate::catalog::{Catalog, Space};
use crate::error::Result;
use crate::format::checkpoint::{EntryBody, KeyspaceBody, PartHeader};
use crate::format::manifest::{Checkpoint, Part};
use crate::format::{Checksum, StoreId, names};
use crate::memtable::{KeyRange, Snapshot};
use crate::storage::dir::Dir;

/// About how many bytes a part has. Small enough that a few threads that load it share the work evenly.
const PART_BYTES: usize = 32 << 20;

/// What a checkpoint is to be.
pub(crate) struct Taking<'a> {
    pub(crate) store_id: StoreId,
    /// Part of the parts' names. Must never have been used for a checkpoint in this directory.
    pub(crate) generation: u64,
    /// Not before any record that it covers.
    pub(crate) time_us: u64,
    pub(crate) checksum: Checksum,
    /// How many threads write.
    pub(crate) threads: usize,
    pub(crate) pace: Pace<'a>,
}

/// Keys of one keyspace that go into a part.
struct Slice {
    space: Arc<Space>,
    range: KeyRange,
}

/// Writes the state at the snapshot's LSN into a directory. All of it is durable when this returns, and belongs to
/// nobody before a manifest names it.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io), [`Error::Closed`](crate::Error::Closed) if it was given up. The parts are then
/// removed, as far as that works; what stays, the next opening removes.
pub(crate) fn take(
    dir: &Dir,
    catalog: &Catalog,
    snapshot: &Snapshot,
    mut taking: Taking<'_>,
) -> Result<Checkpoint> {
    let lsn = snapshot.lsn();
    let spaces = catalog.all_at(lsn);
    let stats: Vec<_> = spaces.iter().map(|space| space.table.stats()).collect();
    let bytes: usize = stats.iter().map(|stats| stats.bytes).sum();
    let blocks: usize = stats.iter().map(|stats| stats.blocks).sum();
    taking.pace.expect(bytes as u64);
    let parts = divide(&spaces, blocks.div_ceil(bytes.div_ceil(PART_BYTES).max(1)));

    let storage = dir.storage();
    let time_us = taking.time_us;
    let name = |number| names::part(lsn, taking.generation, number);
    let write = |number: u32, slices: &[Slice]| -> Result<Part> {
        let header = PartHeader {
            store_id: taking.store_id,
            lsn,
            salt: storage.random_u64(),
            part: number,
            parts: u32::try_from(parts.len()).unwrap_or(u32::MAX),
            checksum: taking.checksum,
        };
        let mut writer = PartWriter::create(dir, &name(number), header, &taking.pace)?;
        if number == 0 {
            // The default keyspace is always there.
            let last = catalog.last_id_at(lsn);
            let is_gone = spaces.iter().all(|space| space.id < last);
            let gone = is_gone.then_some(KeyspaceBody { id: last, created: 0, name: "" });
            writer.keyspaces(spaces.iter().skip(1).map(|space| keyspace_body(space)).chain(gone))?;
        }
        for slice in slices {
            for entry in slice.space.table.range(slice.range.clone(), snapshot.clone()) {
                let body = EntryBody { lsn: entry.lsn().get(), key: entry.key(), value: entry.value() };
                writer.entry(slice.space.id, &body)?;
            }
        }
        writer.finish()
    };
    let written = share_out(taking.threads, &parts, |number, slices| write(number, slices));
    let taken = written.and_then(|parts| {
        // ORDER: the names are durable before a manifest can state them.
        dir.sync()?;
        Ok(Checkpoint { lsn: lsn.get(), generation: taking.generation, time_us, parts })
    });
    if taken.is_err() {
        (0..).zip(&parts).for_each(|(number, _)| _ = dir.remove(&name(number)));
    }
    taken
}

fn keyspace_body(space: &Space) -> KeyspaceBody<'_> {
    KeyspaceBody { id: space.id, created: space.created.get(), name: &space.name }
}

/// Divides all keys into parts of about so many blocks each.
fn divide(spaces: &[Arc<Space>], blocks_each: usize) -> Vec<Vec<Slice>> {
    let mut parts = vec![Vec::new()];
    let mut blocks_in_last = 0;
    for space in spaces {
        let mut start = Bound::Unbounded;
        for (blocks, cut) in space.table.cut_points(blocks_each) {
            let end = cut.clone().map_or(Bound::Unbounded, Bound::Excluded);
            if blocks_in_last > 0 && blocks_in_last + blocks > blocks_each {
                parts.push(Vec::new());
                blocks_in_last = 0;
            }
            blocks_in_last += blocks;
            if let Some(part) = parts.last_mut() {
                part.push(Slice { space: space.clone(), range: (start, end) });
            }
            start = cut.map_or(Bound::Unbounded, Bound::Included);
        }
    }
    parts
}

/// Lets threads work through the jobs, in any order, and gathers what they make in the order of the jobs. The first
/// failure ends it.
pub(super) fn share_out<J: Sync, T: Send>(
    threads: usize,
    jobs: &[J],
    work: impl Fn(u32, &J) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let run = || -> Result<Vec<(usize, T)>> {
        let mut done = Vec::new();
        loop {
            // ORDER: Relaxed; it only hands out numbers.
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(index) else { return Ok(done) };
            let number = u32::try_from(index).unwrap_or(u32::MAX);
            match work(number, job) {
                Ok(made) => done.push((index, made)),
                Err(error) => {
                    next.store(jobs.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    };
    let helpers = threads.min(jobs.len()).saturating_sub(1);
    let mut done = thread::scope(|scope| {
        let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(run)).collect();
        let own = run();
        helpers.into_iter().fold(own, |done, helper| {
            // A panic of a helper is a bug of our own, or of the caller's disk: it goes on in this thread.
            let more = helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let (mut done, more) = (done?, more?);
            done.extend(more);
            Ok(done)
        })
    })?;
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, made)| made).collect())
}
