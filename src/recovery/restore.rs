//! Restores a store to any LSN or time: the newest checkpoint that is not above it, and the log up to it, become the
//! state of a new store.

use std::io;

use crate::checkpoint::{Pace, Pacing};
use crate::error::{Error, Evidence, EvidenceSource, Result};
use crate::event::Events;
use crate::format::manifest::Checkpoint;
use crate::lsn::Lsn;
use crate::storage::dir::Dir;
use crate::wal::{self, Given, LogReader, Opening};

use super::base::Base;
use super::directory::{is_source, no_store};
use super::fork::{Copied, Forking, check_outside, fork};
use super::replay;
use super::source::Source;

/// Which state is to be restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// The newest.
    #[default]
    Latest,
    /// The state after this LSN.
    Lsn(Lsn),
    /// The state at this time, in microseconds since 1970-01-01 UTC: after the last record that is not younger. The
    /// log's time never runs backwards.
    TimeUs(u64),
}

/// Restores from a store or an archive into a directory that is missing or empty. A writer may be at work in the store;
/// what it has not made durable is left out.
///
/// # Errors
/// [`Error::NoStore`], [`Error::Exists`]; [`Error::Compacted`] for what is older than anything that is still there,
/// [`Error::MissingSegment`] where a file is gone in between, [`Error::InvalidOption`] for an LSN that is not there yet,
/// and for a directory inside of the source;
/// what opening the store would say.
pub(crate) fn restore(from: &Dir, out: &Dir, target: Target, threads: usize) -> Result<Copied> {
    check_outside(out, from)?;
    // Before a long time of reading.
    if !out.list()?.is_empty() {
        return Err(Error::Exists { path: out.path().to_path_buf() });
    }
    let files = from.list()?;
    if !is_source(&files) {
        return Err(no_store(from, &files));
    }
    let (base, source) = wal::look_again(from, |live| {
        let until = if let Target::Lsn(lsn) = target { Some(lsn) } else { None };
        let source = Source::find(from, until)?;
        let base = load(&source, live, target, threads).map_err(|error| source.told(error))?;
        Ok((base, source))
    })?;
    let Base { tracker, catalog, .. } = &base;
    let snapshot = tracker.snapshot();
    let pace = Pace::new(&Unhurried, None, 1);
    let Source { store_id: parent, options, .. } = source;
    fork(out, Forking { parent, options, catalog, snapshot: &snapshot, threads, pace })
}

/// Nobody is held up by a restore.
pub(crate) struct Unhurried;

impl Pacing for Unhurried {
    fn log_bytes(&self) -> u64 {
        0
    }
    fn is_cancelled(&self) -> bool {
        false
    }
    fn is_awaited(&self) -> bool {
        true
    }
}

/// The state that is wanted, in memory and visible.
fn load(source: &Source, live: bool, target: Target, threads: usize) -> Result<Base> {
    // What is wrong behind the LSN that is wanted makes no difference, and what is wrong before it, reading tells. But of a
    // store and its archive, the whole log has to show that they have one past; and beside a writer, how far it is durable.
    let is_one_with_archive = source.first_segment.is_some() && source.options.archive.is_some();
    let lenient = matches!(target, Target::Lsn(_)) && !live && !is_one_with_archive;
    let (reader, damage) = match source.plan(live) {
        Err(error @ (Error::Corruption(_) | Error::MissingSegment { .. })) if lenient => (None, Some(error)),
        planned => (planned?, None),
    };
    let refuse = |error| damage.clone().unwrap_or(error);
    let end = match damage {
        None => Some(reader.as_ref().map_or(Lsn::ZERO, LogReader::last_lsn)),
        Some(_) => None,
    };
    if let (Some(newest), Some(end)) = (source.checkpoints.last(), end)
        && (source.ends_with_store && !live && newest.lsn() > end)
    {
        // A store's log holds what its checkpoints do.
        let reason = format!(
            "it has a checkpoint at LSN {}, and the store ends at {}: the store is an older state, whose past is another one; \
             restore from the archive alone, or from a copy of the store without one",
            newest.lsn(),
            end
        );
        return Err(Error::io("use the archive of", source.trail.path(), io::Error::other(reason)));
    }
    let wanted = if let Target::Lsn(lsn) = target { lsn } else { Lsn::ZERO };
    let reach = Reach { first: source.bases.first().copied(), last: end.unwrap_or(wanted) };
    let lsn = reach.resolve(source, target, reader)?;
    let usable = reach.leading(&source.checkpoints, lsn);
    let from_nothing = reach.leads(Lsn::ZERO, lsn);
    if usable.is_empty() && !from_nothing {
        return Err(refuse(reach.refusal(source, lsn)));
    }
    let load = |usable: &[Checkpoint], from_nothing| {
        // All that are usable lead there, whatever the log begins with.
        let oldest = usable.first().map_or(Lsn::ZERO, Checkpoint::lsn);
        let log_begins = if from_nothing { Lsn::new(1) } else { oldest.next() };
        Base::load(&source.trail, source.store_id, usable, log_begins, threads, &Events::default())
    };
    // Where what a store has itself leads there, nothing of its archive: that may have what another past has left, of a store
    // that was set back. For the same reason a damaged record on that way is refused, not passed by with a checkpoint that
    // only the archive has: whoever wants that restores from the archive alone.
    let own_log = source.first_segment.filter(|own| reach.first.is_some_and(|first| first <= *own));
    let own = Reach { first: own_log, last: reach.last };
    let own_checkpoints = own.leading(&source.own_checkpoints, lsn);
    let own_from_nothing = own.leads(Lsn::ZERO, lsn);
    let base = match own_from_nothing || !own_checkpoints.is_empty() {
        true => load(&own_checkpoints, own_from_nothing).or_else(|_| load(&usable, from_nothing)),
        false => load(&usable, from_nothing),
    }?;
    if base.lsn() < lsn {
        let given = Given { applied: base.lsn(), ..source.given() };
        let opening = Opening::up_to(&source.trail, given, lsn, lenient).map_err(refuse)?;
        let replayed =
            replay::replay(&opening, opening.segments(), &base.catalog, threads, &Events::default());
        replayed.map_err(refuse)?;
    }
    base.tracker.publish(lsn);
    base.catalog.forget_dropped();
    for space in base.catalog.all() {
        while space.table.collect_garbage(usize::MAX) {}
    }
    Ok(base)
}

/// Which records there are.
struct Reach {
    first: Option<Lsn>,
    /// As far as it is known.
    last: Lsn,
}

impl Reach {
    /// Whether the state at `from` and the log lead to the state at `to`.
    fn leads(&self, from: Lsn, to: Lsn) -> bool {
        let has_log = self.first.is_some_and(|first| first <= from.next()) && to <= self.last;
        from == to || from < to && has_log
    }

    /// The checkpoints from whose states the log leads to that at `to`.
    fn leading(&self, checkpoints: &[Checkpoint], to: Lsn) -> Vec<Checkpoint> {
        checkpoints.iter().filter(|checkpoint| self.leads(checkpoint.lsn(), to)).cloned().collect()
    }

    /// The LSN that is meant.
    fn resolve(&self, source: &Source, target: Target, reader: Option<LogReader>) -> Result<Lsn> {
        // An archive may have a checkpoint and not yet the segment that its LSN stands in.
        let beyond = source.checkpoints.last().filter(|newest| newest.lsn() > self.last);
        match target {
            Target::Latest => Ok(beyond.map_or(self.last, Checkpoint::lsn)),
            Target::Lsn(lsn) => Ok(lsn),
            Target::TimeUs(time_us) => {
                if let Some(newest) = beyond.filter(|newest| newest.time_us <= time_us) {
                    return Ok(newest.lsn());
                }
                let at = reader.map_or(Ok(None), |reader| reader.last_at(time_us))?;
                if let Some(newest) = beyond.filter(|_| at == Some(self.last)) {
                    // Records between the two are not there, and one of them may be meant.
                    return Err(Error::Compacted { oldest: newest.lsn() });
                }
                let begins = self.first.unwrap_or(Lsn::new(1));
                match at {
                    Some(lsn) => Ok(lsn),
                    // Before the first write of all there was nothing.
                    None if begins == Lsn::new(1) => Ok(Lsn::ZERO),
                    // What came before the log was older, but how much of it nobody knows any more.
                    None => Err(source.incomplete().unwrap_or(Error::Compacted { oldest: begins })),
                }
            }
        }
    }

    /// Why an LSN cannot be had.
    fn refusal(&self, source: &Source, lsn: Lsn) -> Error {
        if let Some(damaged) = &source.damaged {
            return damaged.clone();
        }
        let newest = source.checkpoints.last().map_or(Lsn::ZERO, Checkpoint::lsn);
        let is_in_a_gap = source.missing.is_some_and(|(_, there)| lsn < there);
        if lsn > self.last.max(newest) && !is_in_a_gap {
            let reason = format!("{lsn} is not there yet; the last one is {}", self.last.max(newest));
            return Error::InvalidOption { option: "to_lsn", reason };
        }
        if let Some(incomplete) = source.incomplete() {
            return incomplete;
        }
        let next_state = source.checkpoints.iter().map(Checkpoint::lsn).find(|state| *state > lsn);
        if let (Some(state), Some(_)) =
            (next_state, self.first.filter(|first| *first <= lsn && lsn > self.last))
        {
            // The log ends before it, and a checkpoint says that it went on.
            let evidence = Evidence { lsn: state, source: EvidenceSource::Checkpoint };
            return Error::MissingSegment {
                dir: source.trail.path().to_path_buf(),
                lsn: self.last.next(),
                evidence,
            };
        }
        Error::Compacted { oldest: next_state.or(self.first).unwrap_or(Lsn::ZERO) }
    }
}
