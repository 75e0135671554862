//! What a block holds: its keys in order, with their versions.
//!
//! ```text
//!  skip      how many leading bytes all keys share: those that both bounds of the block share
//!  prefixes  | u64 | u64 | u64 | ...    the 8 bytes after those, of each slot: a search mostly stays in here
//!  slots     |  ●  |  ●  |  ●  | ...    the newest version of each key, ascending by key
//!  older     | (1, ●) | (1, ●) | ...    what was newest before, by slot, then the newest first; mostly empty
//! ```
//!
//! A body is plain data under its block's lock. Iterators share it by reference count and writers copy it only if
//! one does (`Arc::make_mut`), so it knows no locks, no bounds and no neighbours.
//!
//! Where to read next: `block`, which owns one.

use std::mem;

use super::fence::{common_prefix, prefix_of};
use super::run::TakenIn;
use super::tracker::Horizon;
use super::version::Version;
use crate::Lsn;

/// How many keys fill a block, which is then split.
pub(super) const BODY_SLOTS: usize = 128;

/// How much room for older versions a block keeps when it has none: a hot block gets some again soon.
const OLDER_ROOM: usize = 4;

/// What a body and a run have become, on its way back into that body and, what is too much for it, into new ones.
///
/// Used again for the next block. A thread keeps it to itself, and a body its own lists: a list that grows or is freed
/// by another thread than the one that made it makes both wait for each other in the allocator.
#[derive(Default)]
pub(super) struct Merged {
    /// As in the body.
    prefixes: Vec<u64>,
    /// As in the body.
    slots: Vec<Version>,
    /// What lost, to be freed by the caller, outside the lock.
    pub(super) losers: Vec<Version>,
    /// What the merges so far have changed.
    pub(super) taken: TakenIn,
}

impl Merged {
    pub(super) fn slots(&self) -> &[Version] {
        &self.slots
    }
}

/// The versions of a block's keys.
#[derive(Clone, Default)]
pub(super) struct Body {
    /// INVARIANT: every key that is looked up or put here shares its first `skip` bytes with all others.
    skip: usize,
    /// INVARIANT: as long as `slots`, and `prefixes[i] == prefix_of(&slots[i].key()[skip..])`.
    prefixes: Vec<u64>,
    /// INVARIANT: ascending by key.
    slots: Vec<Version>,
    /// INVARIANT: ascending by slot, descending by LSN within one, all older than what stands in the slot.
    older: Vec<(usize, Version)>,
    /// How many slots hold a tombstone.
    tombstones: usize,
    /// What all versions take.
    bytes: usize,
}

impl Body {
    /// How many keys there are, deleted ones included.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn slots(&self) -> &[Version] {
        &self.slots
    }

    pub(super) fn tombstones(&self) -> usize {
        self.tombstones
    }

    pub(super) fn versions(&self) -> usize {
        self.slots.len() + self.older.len()
    }

    /// Memory taken by the versions and by the lists of them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
            + self.prefixes.capacity() * size_of::<u64>()
            + self.slots.capacity() * size_of::<Version>()
            + self.older.capacity() * size_of::<(usize, Version)>()
    }

    /// Whether collection may find something here, now or later.
    pub(super) fn has_garbage(&self) -> bool {
        self.tombstones > 0 || !self.older.is_empty()
    }

    /// The slot of a key, or where it would go.
    pub(super) fn find(&self, key: &[u8]) -> Result<usize, usize> {
        let prefix = prefix_of(&key[self.skip..]);
        let first = self.prefixes.partition_point(|other| *other < prefix);
        if self.prefixes.get(first) != Some(&prefix) {
            return Err(first);
        }
        // Real keys share long prefixes (`user:0000001:name`), so ties are searched by halves as well.
        let mut after = first + 1;
        if self.prefixes.get(after) == Some(&prefix) {
            after += self.prefixes[after..].partition_point(|other| *other == prefix);
        }
        match self.slots[first..after].binary_search_by(|slot| slot.key().cmp(key)) {
            Ok(at) => Ok(first + at),
            Err(at) => Err(first + at),
        }
    }

    /// The first slot whose key is not below `key`.
    pub(super) fn first_from(&self, key: &[u8]) -> usize {
        self.find(key).unwrap_or_else(|at| at)
    }

    /// The newest version of a key at or below `at`.
    pub(super) fn version_at(&self, slot: usize, at: Lsn) -> Option<&Version> {
        let newest = &self.slots[slot];
        if newest.lsn() <= at {
            return Some(newest);
        }
        let older = &self.older[self.older_of(slot)..];
        older.iter().take_while(|(of, _)| *of == slot).map(|(_, version)| version).find(|v| v.lsn() <= at)
    }

    /// Puts a version in its place: into the slot if it is the newest of its key, else among the older ones.
    /// A version that is here already changes nothing.
    pub(super) fn put(&mut self, version: Version) {
        let slot = match self.find(version.key()) {
            Ok(slot) => slot,
            Err(slot) => return self.insert_slot(slot, version),
        };
        let newest = self.slots[slot].lsn();
        if version.lsn() > newest {
            self.bytes += version.bytes();
            self.tombstones += usize::from(version.is_tombstone());
            let replaced = mem::replace(&mut self.slots[slot], version);
            self.tombstones -= usize::from(replaced.is_tombstone());
            let at = self.older_of(slot);
            self.older.insert(at, (slot, replaced));
        } else if version.lsn() < newest {
            let at =
                self.older.partition_point(|(of, v)| *of < slot || *of == slot && v.lsn() > version.lsn());
            let present = self.older.get(at).is_some_and(|(of, v)| *of == slot && v.lsn() == version.lsn());
            if !present {
                self.bytes += version.bytes();
                self.older.insert(at, (slot, version));
            }
        }
    }

    /// Merges versions, ascending by key and one of each, with what is here, into `merged`; the newest of a key stays. The
    /// highest LSN among the new ones. Then, [`Body::take_back`].
    ///
    /// Contract: nobody reads the table yet, so no older version is kept.
    pub(super) fn merge_into(&mut self, run: impl Iterator<Item = Version>, merged: &mut Merged) -> Lsn {
        self.bytes -= self.older.iter().map(|(_, version)| version.bytes()).sum::<usize>();
        merged.losers.extend(self.older.drain(..).map(|(_, version)| version));
        let mut max_lsn = Lsn::ZERO;
        let (mut prefixes, mut slots) = (&self.prefixes[..], self.slots.drain(..));
        for version in run {
            max_lsn = max_lsn.max(version.lsn());
            let prefix = prefix_of(&version.key()[self.skip..]);
            let below = |(other, slot): &(&u64, &Version)| {
                **other < prefix || **other == prefix && slot.key() < version.key()
            };
            let count = prefixes.iter().zip(slots.as_slice()).take_while(below).count();
            let (lower, rest) = prefixes.split_at(count);
            merged.prefixes.extend_from_slice(lower);
            merged.slots.extend(slots.by_ref().take(count));
            let is_here = rest.first() == Some(&prefix) && slots.as_slice()[0].key() == version.key();
            let here = if is_here { slots.next() } else { None };
            prefixes = &rest[usize::from(is_here)..];
            let winner = match here {
                Some(here) if here.lsn() >= version.lsn() => {
                    merged.losers.push(version);
                    here
                }
                here => {
                    self.bytes += version.bytes();
                    self.tombstones += usize::from(version.is_tombstone());
                    merged.taken.count_gain(&version);
                    if let Some(loser) = here {
                        self.bytes -= loser.bytes();
                        self.tombstones -= usize::from(loser.is_tombstone());
                        merged.taken.count_loss(&loser);
                        merged.losers.push(loser);
                    }
                    version
                }
            };
            merged.prefixes.push(prefix);
            merged.slots.push(winner);
        }
        merged.prefixes.extend_from_slice(prefixes);
        merged.slots.extend(slots);
        self.prefixes.clear();
        max_lsn
    }

    /// Takes the last keys of `merged`, from slot `at` on, as a body of its own.
    pub(super) fn give_away(&mut self, merged: &mut Merged, at: usize) -> Body {
        let mut upper = Body { skip: self.skip, ..Body::default() };
        upper.prefixes = split_with_room(&mut merged.prefixes, at);
        upper.slots = split_with_room(&mut merged.slots, at);
        upper.count();
        self.tombstones -= upper.tombstones;
        self.bytes -= upper.bytes;
        upper
    }

    /// Takes back what is left of `merged`, which fits into a block.
    pub(super) fn take_back(&mut self, merged: &mut Merged) {
        self.prefixes.reserve(BODY_SLOTS);
        self.slots.reserve(BODY_SLOTS);
        self.prefixes.append(&mut merged.prefixes);
        self.slots.append(&mut merged.slots);
    }

    /// Takes out what no reader needs. The caller frees it, outside the lock.
    pub(super) fn sweep(&mut self, horizon: &Horizon) -> Vec<Version> {
        let mut swept = Vec::new();
        // ORDER: the older versions first, see `sweep_tombstones`.
        self.sweep_older(horizon, &mut swept);
        if self.tombstones > 0 {
            self.sweep_tombstones(horizon, &mut swept);
        }
        self.bytes -= swept.iter().map(Version::bytes).sum::<usize>();
        swept
    }

    /// The upper half of the keys, as a body of its own.
    pub(super) fn split_off(&mut self, at: usize) -> Body {
        let older_at = self.older_of(at);
        let mut upper = Body {
            skip: self.skip,
            prefixes: split_with_room(&mut self.prefixes, at),
            slots: split_with_room(&mut self.slots, at),
            older: self.older.split_off(older_at),
            tombstones: 0,
            bytes: 0,
        };
        for (slot, _) in &mut upper.older {
            *slot -= at;
        }
        upper.count();
        self.tombstones -= upper.tombstones;
        self.bytes -= upper.bytes;
        upper
    }

    /// Takes over the keys of the body to the right.
    ///
    /// Contract: both were told the bounds of the whole by [`Body::set_bounds`].
    pub(super) fn append(&mut self, mut right: Body) {
        debug_assert_eq!(self.skip, right.skip);
        let offset = self.slots.len();
        self.prefixes.append(&mut right.prefixes);
        self.slots.append(&mut right.slots);
        self.older.extend(right.older.into_iter().map(|(slot, version)| (slot + offset, version)));
        self.tombstones += right.tombstones;
        self.bytes += right.bytes;
    }

    /// Tells the body between which keys it stands, so that it can skip what all keys there share.
    ///
    /// Whatever lies between two keys begins with what these two share. So this depends on the bounds alone, and no
    /// put can make it wrong.
    pub(super) fn set_bounds(&mut self, low: &[u8], high: Option<&[u8]>) {
        let skip = high.map_or(0, |high| common_prefix(low, high));
        if skip != self.skip {
            self.skip = skip;
            for (prefix, slot) in self.prefixes.iter_mut().zip(&self.slots) {
                *prefix = prefix_of(&slot.key()[skip..]);
            }
        }
    }

    /// Counts anew.
    fn count(&mut self) {
        self.tombstones = self.slots.iter().filter(|slot| slot.is_tombstone()).count();
        self.bytes = self.slots.iter().chain(self.older.iter().map(|(_, v)| v)).map(Version::bytes).sum();
    }

    fn insert_slot(&mut self, slot: usize, version: Version) {
        for (of, _) in self.older.iter_mut().rev().take_while(|(of, _)| *of >= slot) {
            *of += 1;
        }
        self.bytes += version.bytes();
        self.tombstones += usize::from(version.is_tombstone());
        self.prefixes.insert(slot, prefix_of(&version.key()[self.skip..]));
        self.slots.insert(slot, version);
    }

    /// Where the older versions of a slot begin.
    fn older_of(&self, slot: usize) -> usize {
        self.older.partition_point(|(of, _)| *of < slot)
    }

    fn sweep_older(&mut self, horizon: &Horizon, swept: &mut Vec<Version>) {
        let mut newer = None;
        let slots = &self.slots;
        let gone = self.older.extract_if(.., |(slot, version)| {
            // The next newer version of the same key, swept or not: the one before it here, or the slot.
            let newer_lsn = match newer.replace((*slot, version.lsn())) {
                Some((of, lsn)) if of == *slot => lsn,
                _ => slots[*slot].lsn(),
            };
            !horizon.keeps(version.lsn(), Some(newer_lsn))
        });
        swept.extend(gone.map(|(_, version)| version));
        if self.older.is_empty() {
            self.older.shrink_to(OLDER_ROOM);
        }
    }

    fn sweep_tombstones(&mut self, horizon: &Horizon, swept: &mut Vec<Version>) {
        let goes = |version: &Version| version.is_tombstone() && horizon.drops_tombstone(version.lsn());
        let gone: Vec<bool> = self.slots.iter().map(goes).collect();
        // Where each slot moves to: as many places down as slots before it go.
        let mut kept = 0;
        let mut moved = Vec::with_capacity(gone.len());
        for gone in &gone {
            moved.push(kept);
            kept += usize::from(!gone);
        }
        if kept == gone.len() {
            return;
        }
        for (slot, _) in &mut self.older {
            // INVARIANT: no older version stands beside a tombstone that goes, or the deleted value would come back.
            // With no reader below the tombstone, `sweep_older` has just taken them all.
            debug_assert!(!gone[*slot]);
            *slot = moved[*slot];
        }
        let mut going = gone.iter();
        self.prefixes.retain(|_| going.next() == Some(&false));
        let mut going = gone.iter();
        swept.extend(self.slots.extract_if(.., |_| going.next() == Some(&true)));
        self.tombstones -= gone.len() - kept;
    }
}

/// `Vec::split_off`, with room for a whole block: growing by doubling would stop beside it.
fn split_with_room<T>(list: &mut Vec<T>, at: usize) -> Vec<T> {
    let mut upper = Vec::with_capacity(BODY_SLOTS);
    upper.extend(list.drain(at..));
    upper
}
