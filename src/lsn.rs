//! The log sequence number: the only currency of the crate.
//!
//! Every record of the log has one, dense, from 1. Commits, snapshots, checkpoints and restores are all named by
//! an LSN. It is a newtype so that it cannot be swapped with an offset, a length or a time.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A log sequence number: the place of a record in the log's one order.
///
/// The first record is LSN 1. [`Lsn::ZERO`] stands for "before the first".
///
/// ```
/// use forelog::Lsn;
///
/// assert_eq!(Lsn::ZERO.next(), Lsn::new(1));
/// assert_eq!(Lsn::new(7).to_string(), "7");
/// assert_eq!(Lsn::new(9).distance_from(Lsn::new(7)), 2);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lsn(u64);

impl Lsn {
    /// Before the first record.
    pub const ZERO: Lsn = Lsn(0);
    /// After every record that a log can hold: as a bound, "no limit".
    pub const MAX: Lsn = Lsn(u64::MAX);

    /// The LSN of this number.
    pub const fn new(number: u64) -> Lsn {
        Lsn(number)
    }

    /// The plain number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The LSN after this one ([`Lsn::MAX`] has none and stays itself: 2^64 records are out of reach).
    #[must_use]
    pub const fn next(self) -> Lsn {
        Lsn(self.0.saturating_add(1))
    }

    /// The LSN before this one ([`Lsn::ZERO`] stays itself).
    #[must_use]
    pub const fn previous(self) -> Lsn {
        Lsn(self.0.saturating_sub(1))
    }

    /// The LSN that comes so many later.
    #[must_use]
    pub(crate) const fn after(self, count: u64) -> Lsn {
        Lsn(self.0.saturating_add(count))
    }

    /// The LSN that comes so many earlier ([`Lsn::ZERO`] at the least).
    #[must_use]
    pub(crate) const fn before(self, count: u64) -> Lsn {
        Lsn(self.0.saturating_sub(count))
    }

    /// How many LSNs lie between `earlier` and this one (0 if `earlier` is later).
    pub const fn distance_from(self, earlier: Lsn) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u64> for Lsn {
    fn from(number: u64) -> Lsn {
        Lsn(number)
    }
}

impl From<Lsn> for u64 {
    fn from(lsn: Lsn) -> u64 {
        lsn.0
    }
}
