//! The ways in which a power cut may turn out.
//!
//! An outcome is a rule, not an image: small, printable, and the same each time it is applied to the same crash point.
//! Changes count from 0 in the order in which they were made; those of the operation under way come last.

use super::image::{Change, SECTOR};
use super::random::{below, mix};

/// Which of the unsynced changes survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// None of them: what was synced is all there is.
    None,
    /// All of them, the operation under way included.
    All,
    /// The first so many.
    Prefix(usize),
    /// All but this one.
    Missing(usize),
    /// Only this one.
    Alone(usize),
    /// Those whose bit is set, the lowest bit being the first change's. Later ones than 64 are lost.
    Subset(u64),
    /// All earlier ones, and the first `at` bytes of the write under way; what it was changing behind them is `rest`.
    /// Without a write under way the same as `All`.
    Torn {
        /// How many bytes of the write are sound.
        at: usize,
        /// What the others are.
        rest: Rest,
    },
    /// Each by the throw of a coin, sectors also torn.
    Random {
        /// Decides the coin, its bias, and where sectors tear.
        seed: u64,
        /// What torn sectors hold behind the tear; `None` for now this, now that.
        rest: Option<Rest>,
    },
}

/// What bytes hold that an interrupted write was changing and did not reach.
///
/// ```
/// use std::path::Path;
/// use forelog::storage::{Access, Outcome, Rest, SimDisk, Storage};
///
/// let disk = SimDisk::new(42);
/// disk.write_file("log", b"old old");
/// let log = disk.open(Path::new("log"), Access::ReadWrite)?;
/// disk.record();
/// log.write_at(b"new new", 0)?;
/// let points = disk.take_crash_points();
/// let torn = |rest| points[0].apply(&Outcome::Torn { at: 3, rest }).read_file("log").unwrap();
/// assert_eq!(torn(Rest::Old), b"new old");
/// assert_eq!(torn(Rest::Zero), b"new \0\0\0"); // what it was not changing is never touched
/// assert!(torn(Rest::Garbage).starts_with(b"new "));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rest {
    /// What they held before.
    Old,
    /// Zeros.
    Zero,
    /// Anything.
    Garbage,
}

/// How many outcomes of each sort are tried. Where there are more, a spread sample is taken, another for each seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutcomeLimits {
    /// Up to how many changes every subset is tried, at most 16. Beyond, the three sorts of `single_changes`.
    pub all_subsets: usize,
    /// How many prefixes, how many with one change missing, and how many with one alone.
    pub single_changes: usize,
    /// At how many bytes the write under way is torn (for each of the three sorts of rest).
    pub torn_positions: usize,
    /// How many random subsets.
    pub random_subsets: usize,
}

impl Default for OutcomeLimits {
    fn default() -> Self {
        Self { all_subsets: 5, single_changes: 256, torn_positions: 64, random_subsets: 16 }
    }
}

/// What becomes of one change.
pub(super) enum Fate {
    Lost,
    Kept,
    /// A sector or a length, interrupted at this byte of the file.
    Torn {
        at: u64,
        rest: Rest,
    },
}

/// What an outcome knows of the crash it is applied to.
pub(super) struct Scene {
    /// The first change of the operation under way.
    pub(super) under_way: usize,
    /// Where the write under way begins, if it is one.
    pub(super) write_offset: Option<u64>,
}

impl Outcome {
    /// What becomes of the change of this index.
    pub(super) fn fate(&self, index: usize, change: &Change, scene: &Scene) -> Fate {
        let kept = match *self {
            Self::None => false,
            Self::All => true,
            Self::Prefix(count) => index < count,
            Self::Missing(missing) => index != missing,
            Self::Alone(alone) => index == alone,
            Self::Subset(bits) => index < 64 && bits >> index & 1 == 1,
            Self::Torn { at, rest } => match scene.write_offset {
                Some(offset) if index >= scene.under_way => {
                    return Fate::Torn { at: offset.saturating_add(at as u64), rest };
                }
                _ => true,
            },
            Self::Random { seed, rest } => return random_fate(seed, rest, index, change),
        };
        if kept { Fate::Kept } else { Fate::Lost }
    }

    /// What garbage is made from.
    pub(super) fn noise(&self) -> u64 {
        match *self {
            Self::Random { seed, .. } => seed,
            Self::Torn { at, .. } => at as u64,
            _ => 0,
        }
    }
}

fn random_fate(seed: u64, rest: Option<Rest>, index: usize, change: &Change) -> Fate {
    // One bias for the whole outcome: fair coins alone would hardly ever keep or lose nearly everything.
    let bias = mix(seed, u64::MAX) % 7 + 1;
    let draw = mix(seed, index as u64);
    if draw % 8 >= bias {
        return Fate::Lost;
    }
    match change {
        Change::Sector { index, .. } if (draw >> 8).is_multiple_of(4) => {
            let at = index.saturating_mul(SECTOR as u64).saturating_add((draw >> 16) % SECTOR as u64);
            let any = [Rest::Old, Rest::Zero, Rest::Garbage][below(draw >> 32, 3)];
            Fate::Torn { at, rest: rest.unwrap_or(any) }
        }
        _ => Fate::Kept,
    }
}

/// All outcomes of `changes` changes, of which the write under way (if any) may tear behind each of the bytes at
/// `tears`. Outcomes that are the same by their form are listed once.
pub(super) fn enumerate(changes: usize, tears: &[usize], limits: &OutcomeLimits, seed: u64) -> Vec<Outcome> {
    let mut outcomes = vec![Outcome::None];
    if changes == 0 {
        return outcomes;
    }
    outcomes.push(Outcome::All);
    if changes <= limits.all_subsets.min(16) {
        outcomes.extend((1..(1 << changes) - 1).map(Outcome::Subset));
    } else {
        let each = |from: usize, to: usize| sample((from..to).collect(), limits.single_changes, seed);
        outcomes.extend(each(1, changes).map(Outcome::Prefix));
        // The last one missing is a prefix, and so is the first one alone.
        outcomes.extend(each(0, changes - 1).map(Outcome::Missing));
        outcomes.extend(each(1, changes).map(Outcome::Alone));
    }
    for at in sample(tears.to_vec(), limits.torn_positions, seed) {
        // Old bytes behind nothing at all: that is the write's changes lost, which is listed above.
        let rests = [Rest::Old, Rest::Zero, Rest::Garbage].into_iter().skip(usize::from(at == 0));
        outcomes.extend(rests.map(|rest| Outcome::Torn { at, rest }));
    }
    let random = |index: usize| Outcome::Random { seed: mix(seed, index as u64), rest: None };
    outcomes.extend((0..limits.random_subsets).map(random));
    outcomes
}

/// At most `limit` of the items: one, by chance, out of each of as many equal stretches.
fn sample(items: Vec<usize>, limit: usize, seed: u64) -> impl Iterator<Item = usize> {
    let (count, takes) = (items.len(), limit.min(items.len()));
    (0..takes).map(move |stretch| {
        let (from, to) = (stretch * count / takes, (stretch + 1) * count / takes);
        items[from + below(mix(seed, stretch as u64), to - from)]
    })
}
