//! What goes when a checkpoint has made it superfluous, and in which order.
//!
//! ```text
//!  archived, read back ─▶ the manifest that does not need it, durable ─▶ removed, oldest first
//! ```

use super::upkeep::{Awaited, Upkeep, Work};
use crate::checkpoint::Breaks;
use crate::error::{Error, Result};
use crate::event::span;
use crate::format::manifest::{Checkpoint, Manifest};
use crate::format::{Limit, Retention};
use crate::lsn::Lsn;
use crate::retention::{Archiver, Facts, Plan, PruneReport};
use crate::wal::SegmentSummary;

impl Upkeep {
    /// Removes what recovery needs no more and no policy keeps; with `dry_run`, only says what that is.
    pub(super) fn prune(&self, dry_run: bool) -> Result<PruneReport> {
        let _span = span("prune", false);
        let _waking = self.wal.waking(&self.keeper);
        let _awaited = Awaited::new(&self.awaited);
        let mut work = self.work.lock();
        let result = self.prune_locked(&mut work, dry_run);
        match &result {
            Ok(_) if dry_run => {}
            Ok(_) => _ = self.failure.lock().take(),
            Err(Error::Closed) => {}
            Err(error) => self.note_failure(error.clone()),
        }
        result
    }

    pub(super) fn prune_locked(&self, work: &mut Work, dry_run: bool) -> Result<PruneReport> {
        self.check(work)?;
        let old = self.manifest();
        let segments = self.wal.segments();
        // What a dry run foresees counts as archived: it is when something goes.
        let foreseen = dry_run.then(|| self.foresee_archiving(work, &old, &segments)).flatten();
        let copied = if dry_run { Vec::new() } else { self.archive(work, &old, &segments) };
        let archiver = work.archiver.as_ref();
        let archived = archiver.map_or(Lsn::ZERO, Archiver::archived).max(old.archived);
        let facts = Facts {
            manifest: &old,
            segments: &segments,
            ended_us: &self.ends_of(&segments, &old.options.retention)?,
            now_us: self.dir.storage().now_us(),
            read_from: self.wal.oldest_read(),
            archived: if foreseen.is_some() { Some(Lsn::MAX) } else { archiver.map(Archiver::archived) },
            checkpoints_archived: foreseen.is_some()
                || archiver.is_none_or(|archiver| archiver.has_checkpoints_of(&old)),
        };
        let mut plan = Plan::new(&facts);
        plan.report.archived = foreseen.unwrap_or(copied);
        if dry_run {
            return Ok(plan.report);
        }
        // A checkpoint that goes is in the archive, too, and what follows it in the log perhaps not yet.
        let gone = plan.superseded.last().filter(|_| archiver.is_some()).map_or(Lsn::ZERO, Checkpoint::lsn);
        let archived = archived.max(gone);
        let mut breaks = Breaks::new(self);
        if plan.first_segment > old.first_segment || !plan.superseded.is_empty() {
            let generation = work.generation();
            let Plan { checkpoints, first_segment, .. } = plan.clone();
            let durable_lsn = self.wal.durable_lsn();
            let new = Manifest { generation, durable_lsn, archived, checkpoints, first_segment, ..old };
            self.write_manifest(new)?;
            // ORDER: only now. What the manifest named before this line was needed before it.
            for (file, part) in plan.superseded.iter().flat_map(|gone| gone.files().zip(&gone.parts)) {
                self.dir.remove(&file)?;
                breaks.removed(part.bytes);
            }
        }
        for segment in segments.iter().filter(|segment| segment.base_lsn < plan.first_segment) {
            self.wal.drop_before(segment.last_lsn.next())?;
            breaks.removed(segment.bytes);
        }
        Ok(plan.report)
    }

    /// When each segment's last record was written, at the latest: when its successor was made. Looked up only for a
    /// policy that asks for it.
    fn ends_of(&self, segments: &[SegmentSummary], policy: &Retention) -> Result<Vec<u64>> {
        let (Retention::Any(limits) | Retention::All(limits)) = policy;
        if !limits.iter().any(|limit| matches!(limit, Limit::Age(_))) {
            return Ok(vec![0; segments.len()]);
        }
        let mut ends = Vec::with_capacity(segments.len());
        for successor in segments.iter().skip(1) {
            ends.push(self.wal.segment_created_us(successor.base_lsn)?);
        }
        ends.push(u64::MAX);
        Ok(ends)
    }
}
