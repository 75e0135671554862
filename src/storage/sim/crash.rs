//! A moment at which the power may go, and the disks that may be found afterwards.

use std::fmt;

use super::SimDisk;
use super::image::{Change, Image, SECTOR};
use super::outcome::{self, Fate, Outcome, OutcomeLimits, Scene};
use super::state::{Ambient, State};

/// The disk as it is when an operation begins, with that operation under way.
///
/// Made by [`SimDisk::record`] before each change and each sync, or by [`SimDisk::crash_point_now`].
///
/// ```
/// use std::sync::Arc;
///
/// use forelog::storage::{CrashPoint, OutcomeLimits, SimDisk};
/// use forelog::{Db, Options, Result};
///
/// fn open(disk: &SimDisk) -> Result<Db> {
///     Options::new().storage(Arc::new(disk.clone())).segment_bytes(8192).recovery_threads(1).open("data")
/// }
///
/// let disk = SimDisk::new(42);
/// let db = open(&disk)?;
/// disk.record();
/// for number in 1..=3_u8 {
///     db.put("count", [number])?;
///     disk.set_note(number.into()); // acknowledged: no power cut takes it back from here on
/// }
/// let points: Vec<CrashPoint> = disk.take_crash_points();
/// let limits = OutcomeLimits { torn_positions: 4, random_subsets: 4, ..OutcomeLimits::default() };
/// for point in &points {
///     for outcome in point.outcomes(&limits, 42) {
///         let found = open(&point.apply(&outcome))?.get("count")?.map_or(0, |count| u64::from(count[0]));
///         assert!(found == point.note || found == point.note + 1, "{found} after {outcome:?} at {point}");
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct CrashPoint {
    /// The number of the operation under way, as counted by [`SimDisk::operations`].
    pub operation: u64,
    /// What [`SimDisk::set_note`] was last told.
    pub note: u64,
    pub(super) description: String,
    pub(super) durable: Image,
    /// What is not durable, in order; from `under_way` on, what the operation under way does.
    pub(super) changes: Vec<Change>,
    pub(super) under_way: usize,
    /// Where the operation writes, and how much, if it is a write.
    pub(super) write: Option<(u64, usize)>,
    pub(super) ambient: Ambient,
}

impl CrashPoint {
    /// The operation under way, as in `write 00000000000000000001.wal @4096, 64 bytes`.
    #[must_use]
    pub fn describe(&self) -> String {
        self.description.clone()
    }

    /// How many changes are not durable, those under way included.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.changes.len()
    }

    /// The ways in which a power cut here may turn out: every subset of the changes where they are few; otherwise
    /// none and all, each prefix, each one missing and each alone; the write under way torn at each byte that it
    /// changes, with old bytes, zeros or garbage behind; and random subsets with random tears. The seed decides the
    /// random ones, and what is left out where `limits` are exceeded. A few of them lead to equal disks, which
    /// [`SimDisk::fingerprint`] tells.
    pub fn outcomes(&self, limits: &OutcomeLimits, seed: u64) -> impl Iterator<Item = Outcome> + use<> {
        let seed = super::random::mix(seed, self.operation);
        outcome::enumerate(self.changes.len(), &self.tears(), limits, seed).into_iter()
    }

    /// The disk when power is back. Everything on it is durable, and nobody has it open.
    #[must_use]
    pub fn apply(&self, outcome: &Outcome) -> SimDisk {
        let scene = Scene { under_way: self.under_way, write_offset: self.write.map(|(offset, _)| offset) };
        let mut image = self.durable.clone();
        for (index, change) in self.changes.iter().enumerate() {
            match outcome.fate(index, change, &scene) {
                Fate::Lost => {}
                Fate::Kept => image.apply(change),
                Fate::Torn { at, rest } => image.apply_torn(change, at, rest, outcome.noise()),
            }
        }
        image.settle();
        SimDisk::from_state(State::new(image, self.ambient))
    }

    /// The places behind which a tear makes a difference: 0, and behind each byte but the last that the write changes.
    fn tears(&self) -> Vec<usize> {
        let Some((offset, len)) = self.write else { return Vec::new() };
        let mut before = self.durable.clone();
        self.changes[..self.under_way].iter().for_each(|change| before.apply(change));

        let mut tears = vec![0];
        for change in &self.changes[self.under_way..] {
            let Change::Sector { file, index, bytes } = change else { continue };
            let old = before.sector(*file, *index).map_or([0; SECTOR], |old| **old);
            let start = index.saturating_mul(SECTOR as u64);
            for (at, (old, new)) in (start..).zip(old.iter().zip(bytes.iter())) {
                // A byte that only makes the file longer changes it too.
                let changed = old != new || at >= before.len(*file);
                let behind = usize::try_from((at + 1).saturating_sub(offset)).unwrap_or(len);
                if changed && behind > 0 && behind < len {
                    tears.push(behind);
                }
            }
        }
        tears
    }
}

impl fmt::Display for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, note) = (self.operation, self.note);
        write!(f, "operation {number} (note {note}): {}", self.description)
    }
}

impl fmt::Debug for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CrashPoint({self}; {} changes)", self.changes.len())
    }
}
