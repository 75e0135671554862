//! What is run before and while the power goes.

use super::draw::Draw;
use super::report::CrashPath;
use super::subject::Subject;
use crate::storage::{OutcomeLimits, SimDisk};

/// One step of a script.
#[derive(Clone, Debug)]
pub(super) enum Step<A> {
    /// Opens, and looks at everything.
    Open,
    /// Does something.
    Act(A),
    /// Closes.
    Close,
}

/// Which script: all of it follows from these three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScriptId {
    pub(super) flavor: Flavor,
    pub(super) variant: u64,
    pub(super) seed: u64,
}

impl ScriptId {
    /// The scripts of these kinds in one round.
    pub(super) fn all(flavors: &[Flavor], seed: u64) -> impl Iterator<Item = ScriptId> {
        flavors.iter().flat_map(move |&flavor| {
            (0..flavor.variants()).map(move |variant| ScriptId { flavor, variant, seed })
        })
    }

    /// As in "log creation 3".
    pub(super) fn full_name<S: Subject>(self, subject: &S) -> String {
        format!("{} {} {}", subject.name(), self.flavor.name(), self.variant)
    }

    pub(super) fn draw(self) -> Draw {
        Draw::new(self.seed, ((self.flavor as u64) << 32) + self.variant)
    }

    /// An empty disk: the same one each time.
    pub(super) fn disk(self) -> SimDisk {
        SimDisk::new(self.draw().next())
    }

    /// How many outcomes are tried at a crash point on a path, in a process after so many that were cut short. More
    /// where there are few by nature.
    pub(super) fn limits(self, depth: usize, path: CrashPath) -> OutcomeLimits {
        let (all_subsets, single_changes, torn_positions, random_subsets) = match (depth, self.flavor, path) {
            // Every script closes, and a close has many steps.
            (0, _, CrashPath::Close) => (5, 20, 8, 4),
            (0, Flavor::Creation, _) => (6, 64, 256, 32),
            (0, Flavor::Cut | Flavor::Rotation, _) => (6, 64, 96, 16),
            (
                0,
                Flavor::Checkpoint | Flavor::Retention,
                CrashPath::Retention | CrashPath::CheckpointRecovery,
            ) => (8, 128, 512, 64),
            (0, Flavor::Archive, CrashPath::Archive) | (0, Flavor::Copy, CrashPath::Copy) => (6, 64, 96, 16),
            (0, Flavor::Archive | Flavor::Copy, CrashPath::CheckpointRecovery) => (6, 64, 256, 16),
            (0, Flavor::Archive | Flavor::Copy, _) => (2, 3, 2, 2),
            (0, Flavor::Checkpoint | Flavor::Retention, CrashPath::Checkpoint) => (3, 5, 8, 3),
            (0, Flavor::Checkpoint | Flavor::Retention, _) => (2, 3, 4, 2),
            (0, ..) => (6, 28, 12, 6),
            (1, ..) => (3, 8, 6, 3),
            _ => (3, 6, 4, 3),
        };
        OutcomeLimits { all_subsets, single_changes, torn_positions, random_subsets }
    }
}

/// The kinds of scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavor {
    /// Many small writes in few segments, some synced, some not, some in groups.
    Append,
    /// Long records: a new segment every few writes.
    Rotation,
    /// Made, and hardly used.
    Creation,
    /// Closed and opened again and again.
    Close,
    /// Cut at both ends, and written again.
    Cut,
    /// A process is killed at each operation; the next one opens, and the power goes.
    Kill,
    /// The same, with a script that cuts.
    KillCut,
    /// Each sync fails once and loses what it should save; then somebody opens, and the power goes.
    FailedSync,
    /// Checkpoints, before and behind openings.
    Checkpoint,
    /// Long values and checkpoints, so that there are segments that go.
    Retention,
    /// The same, with an archive that they go to before.
    Archive,
    /// Backups, and restores to earlier LSNs.
    Copy,
}

impl Flavor {
    /// How many scripts of this kind there are in a round: more where one leads to few images.
    pub(super) const fn variants(self) -> u64 {
        match self {
            Flavor::Creation => 34,
            Flavor::Cut => 6,
            Flavor::Checkpoint => 6,
            Flavor::Retention => 5,
            Flavor::Archive => 3,
            Flavor::Copy => 6,
            _ => 1,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Flavor::Append => "append",
            Flavor::Rotation => "rotation",
            Flavor::Creation => "creation",
            Flavor::Close => "close",
            Flavor::Cut => "cut",
            Flavor::Kill => "kill",
            Flavor::KillCut => "kill-cut",
            Flavor::FailedSync => "failed-sync",
            Flavor::Checkpoint => "checkpoint",
            Flavor::Retention => "retention",
            Flavor::Archive => "archive",
            Flavor::Copy => "copy",
        }
    }
}
