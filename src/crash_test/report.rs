//! What an enumeration tried and found.

use std::collections::BTreeMap;
use std::fmt;

/// What the process was doing when the power went, or what had happened before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CrashPath {
    /// Records were being appended, synced or marked.
    Append,
    /// The log was going on in a new segment.
    Rotation,
    /// A log or store was being made, or what a crash had left of it was being made anew.
    Creation,
    /// It was being closed.
    Close,
    /// What an earlier process left was being opened, from the log alone.
    Recovery,
    /// The same, from a checkpoint and the log behind it.
    CheckpointRecovery,
    /// A checkpoint was being taken, up to the manifest that names it.
    Checkpoint,
    /// What recovery needs no more was being removed.
    Retention,
    /// What is finished was being copied to the archive.
    Archive,
    /// A store was being made from another: by a backup, or by a restore to an earlier LSN.
    Copy,
    /// The end of the log was being cut off.
    CutAfter,
    /// The beginning of the log was being removed.
    RemoveBefore,
    /// A process had been killed, and the power went during or after the next one's opening.
    KillThenPowerCut,
    /// A sync had failed, and the power went during or after the next opening.
    FailedSync,
}

impl CrashPath {
    /// All of them.
    pub const ALL: [CrashPath; 14] = [
        CrashPath::Append,
        CrashPath::Rotation,
        CrashPath::Creation,
        CrashPath::Close,
        CrashPath::Recovery,
        CrashPath::CheckpointRecovery,
        CrashPath::Checkpoint,
        CrashPath::Retention,
        CrashPath::Archive,
        CrashPath::Copy,
        CrashPath::CutAfter,
        CrashPath::RemoveBefore,
        CrashPath::KillThenPowerCut,
        CrashPath::FailedSync,
    ];

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            CrashPath::Append => "append",
            CrashPath::Rotation => "rotation",
            CrashPath::Creation => "creation",
            CrashPath::Close => "close",
            CrashPath::Recovery => "recovery",
            CrashPath::CheckpointRecovery => "ckpt recovery",
            CrashPath::Checkpoint => "checkpoint",
            CrashPath::Retention => "retention",
            CrashPath::Archive => "archive",
            CrashPath::Copy => "backup, restore",
            CrashPath::CutAfter => "cut-after",
            CrashPath::RemoveBefore => "remove-before",
            CrashPath::KillThenPowerCut => "kill, power cut",
            CrashPath::FailedSync => "failed sync",
        }
    }
}

/// A state that must not be: everything needed to see it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The kind of script.
    pub script: String,
    /// The seed of the script: `CrashTest::new(seed).only(script)` runs it again.
    pub seed: u64,
    /// What was under way.
    pub path: CrashPath,
    /// The crash points and their outcomes, the innermost last.
    pub crashes: Vec<String>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { script, seed, path, crashes, message } = self;
        writeln!(f, "{message}\n  script {script:?}, seed {seed}, path {}", path.name())?;
        crashes.iter().try_for_each(|crash| writeln!(f, "  {crash}"))
    }
}

/// What was tried on one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathCounts {
    /// Crash points.
    pub points: u64,
    /// Outcomes applied to them.
    pub outcomes: u64,
    /// Images that no other outcome had led to before.
    pub distinct: u64,
}

/// The result of [`CrashTest::run`](super::CrashTest::run).
///
/// ```
/// use forelog::crash_test::{CrashPath, CrashReport, CrashTest, PathCounts, Violation};
///
/// let report: CrashReport = CrashTest::new(42).rounds(1).only("log close").run();
/// let PathCounts { points, outcomes, distinct } = report.paths[&CrashPath::Close];
/// assert!(points > 0 && distinct > 0 && distinct <= outcomes);
/// for Violation { script, seed, message, .. } in &report.violations {
///     panic!("{message}: CrashTest::new({seed}).only({script:?}) shows it again");
/// }
/// let table = report.to_string();
/// assert!(CrashPath::ALL.iter().all(|path| table.contains(path.name())));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CrashReport {
    /// For each path, what was tried.
    pub paths: BTreeMap<CrashPath, PathCounts>,
    /// Distinct images of a crash inside an opening, by depth: `[once, twice]`.
    pub nested: [u64; 2],
    /// Distinct images whose opening found a torn tail.
    pub torn: u64,
    /// Distinct images whose opening wrote unproven records again.
    pub rewritten: u64,
    /// Distinct images whose opening copied a segment to `lost/`.
    pub lost_copies: u64,
    /// Distinct images that were opened once more with their newest checkpoint damaged.
    pub rotten: u64,
    /// Openings of a log or store, all told.
    pub openings: u64,
    /// What must not be. The first few of each script; `violation_count` counts all.
    pub violations: Vec<Violation>,
    /// How many states must not be.
    pub violation_count: u64,
}

/// How many violations of one script are kept in full.
const KEPT_VIOLATIONS: usize = 5;

impl CrashReport {
    /// Distinct images, all paths together.
    pub fn distinct_images(&self) -> u64 {
        self.paths.values().map(|counts| counts.distinct).sum()
    }

    /// Takes in what another thread or script found.
    pub(super) fn add(&mut self, other: CrashReport) {
        for (path, counts) in other.paths {
            let sum = self.paths.entry(path).or_default();
            sum.points += counts.points;
            sum.outcomes += counts.outcomes;
            sum.distinct += counts.distinct;
        }
        self.nested = [self.nested[0] + other.nested[0], self.nested[1] + other.nested[1]];
        self.torn += other.torn;
        self.rewritten += other.rewritten;
        self.lost_copies += other.lost_copies;
        self.rotten += other.rotten;
        self.openings += other.openings;
        self.violations.extend(other.violations);
        self.violation_count += other.violation_count;
    }

    pub(super) fn note(&mut self, violation: Violation) {
        self.violation_count += 1;
        if self.violations.len() < KEPT_VIOLATIONS {
            self.violations.push(violation);
        }
    }
}

/// The table that the tests print.
impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.distinct_images();
        writeln!(
            f,
            "{:<16} {:>8} {:>10} {:>16} {:>7}",
            "path", "points", "outcomes", "distinct images", "share"
        )?;
        for path in CrashPath::ALL {
            let PathCounts { points, outcomes, distinct } =
                self.paths.get(&path).copied().unwrap_or_default();
            let share = distinct * 1000 / all.max(1);
            let (whole, tenth) = (share / 10, share % 10);
            writeln!(
                f,
                "{:<16} {points:>8} {outcomes:>10} {distinct:>16} {whole:>4}.{tenth} %",
                path.name()
            )?;
        }
        writeln!(f, "{:<16} {all:>36}", "all")?;
        writeln!(f, "crashes inside an opening: {} once, {} twice", self.nested[0], self.nested[1])?;
        writeln!(
            f,
            "openings: {}; of the images {} were torn, {} had records written again, {} were copied to lost/",
            self.openings, self.torn, self.rewritten, self.lost_copies
        )?;
        writeln!(f, "images opened again with their newest checkpoint damaged: {}", self.rotten)?;
        write!(f, "violations: {}", self.violation_count)
    }
}
