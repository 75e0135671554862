//! The plan: each file with the reason why it stays or goes.

use std::time::Duration;

use serde::Serialize;

use crate::format::manifest::{Checkpoint, Manifest};
use crate::format::retention::Past;
use crate::lsn::Lsn;
use crate::wal::{SegmentState, SegmentSummary};

/// What pruning did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PruneReport {
    /// The files that go.
    pub removed: Vec<FileReason>,
    /// The files that were copied to the archive this time.
    pub archived: Vec<FileReason>,
    /// The files that stay.
    pub kept: Vec<FileReason>,
}

/// A file of the store, and why it stays or goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileReason {
    /// Its name.
    pub file: String,
    /// The reason.
    pub reason: String,
}

/// What the plan follows from.
pub(crate) struct Facts<'a> {
    pub(crate) manifest: &'a Manifest,
    /// In order; the last one is being written.
    pub(crate) segments: &'a [SegmentSummary],
    /// When each segment's last record was written, at the latest, in microseconds since 1970.
    pub(crate) ended_us: &'a [u64],
    pub(crate) now_us: u64,
    /// The oldest LSN that somebody reads.
    pub(crate) read_from: Option<Lsn>,
    /// With an archive: the last LSN up to which all segments are in it.
    pub(crate) archived: Option<Lsn>,
    /// Whether all checkpoints are in the archive; true without one.
    pub(crate) checkpoints_archived: bool,
}

/// Why something stays that goes once it is archived.
const NOT_ARCHIVED: &str = "it is not in the archive yet, or that cannot be read now";

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The checkpoints that stay.
    pub(crate) checkpoints: Vec<Checkpoint>,
    /// Those that go.
    pub(crate) superseded: Vec<Checkpoint>,
    /// Where the log begins afterwards.
    pub(crate) first_segment: Lsn,
    pub(crate) report: PruneReport,
}

impl Plan {
    pub(crate) fn new(facts: &Facts<'_>) -> Plan {
        let mut report = PruneReport::default();
        let keep = usize::try_from(facts.manifest.options.keep_checkpoints).unwrap_or(usize::MAX);
        let all = &facts.manifest.checkpoints;
        let going = if facts.checkpoints_archived { all.len().saturating_sub(keep) } else { 0 };
        let (superseded, checkpoints) = all.split_at(going);
        for checkpoint in superseded {
            let reason = format!("newer checkpoints are there, and {keep} are kept");
            report.removed.extend(checkpoint.files().map(|file| FileReason { file, reason: reason.clone() }));
        }
        for checkpoint in checkpoints {
            let reason = match facts.checkpoints_archived {
                true => format!("one of the newest checkpoints, of which {keep} are kept"),
                false => NOT_ARCHIVED.to_owned(),
            };
            report.kept.extend(checkpoint.files().map(|file| FileReason { file, reason: reason.clone() }));
        }

        // Judged from the newest to the oldest: limits are counted that way.
        let floor = checkpoints.first().map(Checkpoint::lsn);
        let mut past = Past { count: 0, bytes: 0, age: Duration::ZERO };
        let mut first_segment = facts.manifest.first_segment;
        let mut gone = false;
        let mut judged = Vec::new();
        for (segment, ended_us) in facts.segments.iter().zip(facts.ended_us).rev() {
            let kept = if gone { None } else { kept_because(facts, floor, segment, *ended_us, &mut past) };
            if kept.is_some() {
                first_segment = segment.base_lsn;
            }
            gone = kept.is_none();
            judged.push((segment, kept));
        }
        for (segment, kept) in judged.into_iter().rev() {
            let file = segment.file.to_string();
            match kept {
                Some(reason) => report.kept.push(FileReason { file, reason }),
                None => {
                    let covered = floor.map_or(Lsn::ZERO, |floor| floor);
                    let reason =
                        format!("the checkpoint at LSN {covered} has what it holds, and no limit keeps it");
                    report.removed.push(FileReason { file, reason });
                }
            }
        }
        Plan { checkpoints: checkpoints.to_vec(), superseded: superseded.to_vec(), first_segment, report }
    }
}

/// Why a segment stays; `None` if it goes. Everything newer stays, or it would not be asked.
fn kept_because(
    facts: &Facts<'_>,
    floor: Option<Lsn>,
    segment: &SegmentSummary,
    ended_us: u64,
    past: &mut Past,
) -> Option<String> {
    if segment.state == SegmentState::Active {
        return Some("the log is written here".to_owned());
    }
    let Some(floor) = floor else {
        return Some("there is no checkpoint: recovery needs all of the log".to_owned());
    };
    if segment.last_lsn > floor {
        return Some(format!("recovery needs what comes after the checkpoint at LSN {floor}"));
    }
    past.count += 1;
    past.bytes = past.bytes.saturating_add(segment.bytes);
    // A clock that has run backwards makes it younger than it is: it stays longer.
    past.age = Duration::from_micros(facts.now_us.saturating_sub(ended_us));
    if let Some(lsn) = facts.read_from.filter(|lsn| segment.last_lsn >= *lsn) {
        return Some(format!("a reader is at LSN {lsn}"));
    }
    if facts.archived.is_some_and(|archived| segment.last_lsn > archived) {
        return Some(NOT_ARCHIVED.to_owned());
    }
    facts
        .manifest
        .options
        .retention
        .keeps(past)
        .map(|limit| format!("the retention policy keeps it: {limit}"))
}

#[cfg(test)]
mod tests {
    //! Shows what each fact and each policy keeps of ten segments of ten records.
    use super::*;
    use crate::format::StoreId;
    use crate::format::manifest::Part;
    use crate::options::default_persisted;

    fn segments() -> Vec<SegmentSummary> {
        let segment = |number: u64| SegmentSummary {
            file: format!("{number}").into(),
            base_lsn: Lsn::new(number * 10 + 1),
            last_lsn: Lsn::new(number * 10 + 10),
            records: 10,
            bytes: 1000,
            used_bytes: Some(900),
            state: if number == 9 { SegmentState::Active } else { SegmentState::Closed },
        };
        (0..10).map(segment).collect()
    }

    fn first_kept(policy: &str, checkpoints: &[u64], change: impl FnOnce(&mut Facts<'_>)) -> (u64, usize) {
        let part = Part { bytes: 1, entries: 0, digest: 0 };
        let checkpoint =
            |lsn: &u64| Checkpoint { lsn: *lsn, generation: *lsn, time_us: 0, parts: vec![part] };
        let mut options = default_persisted();
        options.retention = policy.parse().unwrap();
        options.keep_checkpoints = 2;
        let manifest = Manifest {
            store_id: StoreId([0; 16]),
            parent: None,
            generation: 1,
            first_segment: Lsn::new(1),
            durable_lsn: Lsn::ZERO,
            archived: Lsn::ZERO,
            checkpoints: checkpoints.iter().map(checkpoint).collect(),
            options,
        };
        let ended_us: Vec<u64> = (1..=10).map(|number| number * 1_000_000).collect();
        let segments = segments();
        let mut facts = Facts {
            manifest: &manifest,
            segments: &segments,
            ended_us: &ended_us,
            now_us: 10_000_000,
            read_from: None,
            archived: None,
            checkpoints_archived: true,
        };
        change(&mut facts);
        let plan = Plan::new(&facts);
        assert_eq!(plan.report.kept.len() + plan.report.removed.len(), 10 + checkpoints.len());
        (plan.first_segment.get(), plan.superseded.len())
    }

    #[test]
    fn the_floor_and_the_policies() {
        let nothing = |_: &mut Facts<'_>| {};
        assert_eq!(first_kept("any()", &[], nothing), (1, 0), "no checkpoint");
        assert_eq!(first_kept("any()", &[75], nothing), (71, 0));
        assert_eq!(first_kept("any()", &[80], nothing), (81, 0), "the whole segment is covered");
        assert_eq!(first_kept("any()", &[35, 75], nothing), (31, 0), "two are kept, and the log behind both");
        assert_eq!(first_kept("any()", &[35, 55, 75], nothing), (51, 1));
        assert_eq!(first_kept("any(count:2)", &[75], nothing), (51, 0));
        assert_eq!(first_kept("any(bytes:2999B)", &[75], nothing), (51, 0));
        assert_eq!(first_kept("any(age:6s)", &[75], nothing), (31, 0));
        assert_eq!(first_kept("all(age:6s,count:1)", &[75], nothing), (61, 0));
        assert_eq!(first_kept("all()", &[75], nothing), (1, 0));
    }

    #[test]
    fn readers_the_archive_and_a_clock_that_runs_backwards() {
        let check = |change: fn(&mut Facts<'_>), expected| {
            assert_eq!(first_kept("any()", &[75], change).0, expected);
        };
        check(|facts| facts.read_from = Some(Lsn::new(42)), 41);
        check(|facts| facts.read_from = Some(Lsn::new(99)), 71);
        check(|facts| facts.archived = Some(Lsn::new(20)), 21);
        check(|facts| facts.archived = Some(Lsn::new(90)), 71);
        assert_eq!(first_kept("any()", &[35, 55, 75], |facts| facts.checkpoints_archived = false), (31, 0));
        let back = |facts: &mut Facts<'_>| facts.now_us = 1;
        assert_eq!(first_kept("any(age:6s)", &[75], back).0, 1, "kept longer, never shorter");
    }
}
