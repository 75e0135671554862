//! What is logged and not yet published, and how far publishing may go.
//!
//! ```text
//!   LSN      40   41   42   43   44   45
//!   applied   x    x    x    x         x      contiguous up to 43; 45 is ahead of 44
//!   Sync           x         x                41 and 43 ask for a sync
//!   durable  ──────────▶                      up to 41
//!   visible  ───────────────▶                 up to 42: 43 is applied, but must be durable first
//! ```
//!
//! Groups are logged one after the other, but applied side by side, so one may be ready before another that comes
//! before it. Visibility keeps the log's order all the same: it is the longest prefix that is applied and in which each
//! `Sync` record is durable.
//!
//! Plain data under a lock of its owner; no threads here.

use std::collections::{BTreeMap, VecDeque};

use crate::lsn::Lsn;

/// Which LSNs may be published.
#[derive(Debug)]
pub(super) struct Pending {
    /// INVARIANT: every LSN up to it is applied.
    applied: Lsn,
    /// Runs that are applied while something before them is not: first LSN to last.
    ahead: BTreeMap<Lsn, Lsn>,
    /// The records that may be published only when they are durable, ascending.
    syncs: VecDeque<Lsn>,
}

impl Pending {
    /// Everything up to `applied` is applied and published.
    pub(super) fn new(applied: Lsn) -> Pending {
        Pending { applied, ahead: BTreeMap::new(), syncs: VecDeque::new() }
    }

    /// A record is logged that must be durable before it is published. To be called in the order of the log.
    pub(super) fn must_be_durable(&mut self, lsn: Lsn) {
        debug_assert!(self.syncs.back().is_none_or(|last| *last < lsn));
        self.syncs.push_back(lsn);
    }

    /// A run of records is applied.
    pub(super) fn applied(&mut self, first: Lsn, last: Lsn) {
        debug_assert!(first > self.applied, "{first} was applied before");
        if first != self.applied.next() {
            self.ahead.insert(first, last);
            return;
        }
        self.applied = last;
        while let Some(last) = self.ahead.remove(&self.applied.next()) {
            self.applied = last;
        }
    }

    /// Everything up to it is applied.
    pub(super) fn applied_to(&self) -> Lsn {
        self.applied
    }

    /// How far publishing may go, if everything up to `durable` is durable.
    pub(super) fn publishable(&mut self, durable: Lsn) -> Lsn {
        while self.syncs.front().is_some_and(|lsn| *lsn <= durable) {
            self.syncs.pop_front();
        }
        let held_back = self.syncs.front().map_or(Lsn::MAX, |lsn| lsn.previous());
        self.applied.min(held_back)
    }

    /// The first record that must become durable before `lsn` can be published, if there is one.
    pub(super) fn first_sync_up_to(&self, lsn: Lsn) -> Option<Lsn> {
        self.syncs.front().copied().filter(|first| *first <= lsn)
    }
}

#[cfg(test)]
mod tests {
    //! Shows how far publishing may go, step by step, as in the picture above.
    use super::*;

    fn lsn(number: u64) -> Lsn {
        Lsn::new(number)
    }

    #[test]
    fn publishing_waits_for_what_comes_before() {
        let mut pending = Pending::new(lsn(39));
        assert_eq!(pending.publishable(lsn(39)), lsn(39));
        pending.must_be_durable(lsn(41));
        pending.must_be_durable(lsn(43));
        pending.applied(lsn(45), lsn(45)); // ahead
        assert_eq!(pending.publishable(lsn(39)), lsn(39));
        pending.applied(lsn(40), lsn(42));
        assert_eq!(pending.publishable(lsn(39)), lsn(40), "41 is not durable");
        assert_eq!(pending.first_sync_up_to(lsn(40)), None);
        assert_eq!(pending.first_sync_up_to(lsn(42)), Some(lsn(41)));
        assert_eq!(pending.publishable(lsn(41)), lsn(42), "43 is not applied");
        pending.applied(lsn(43), lsn(44));
        assert_eq!(pending.publishable(lsn(42)), lsn(42), "43 is not durable");
        assert_eq!(pending.publishable(lsn(43)), lsn(45), "45 has waited for 44");
        assert_eq!(pending.first_sync_up_to(lsn(99)), None);
    }
}
