//! Who reads the log, and from which LSN on: what is pinned is not removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::lsn::Lsn;

/// The LSNs that readers have pinned, with how many readers each.
///
/// Whoever pins holds [`Log::closed`](super::log::Log), so that nobody removes a segment between its being found and
/// its being pinned.
#[derive(Clone, Debug, Default)]
pub(super) struct Pins(Arc<Mutex<BTreeMap<Lsn, usize>>>);

impl Pins {
    /// The records from `lsn` on stay for as long as the pin is kept.
    pub(super) fn pin(&self, lsn: Lsn) -> Pin {
        *self.0.lock().entry(lsn).or_default() += 1;
        Pin { pins: self.clone(), lsn }
    }

    /// The oldest LSN that somebody reads.
    pub(super) fn oldest(&self) -> Option<Lsn> {
        self.0.lock().keys().next().copied()
    }
}

/// Keeps the records from an LSN on, until it is dropped.
#[derive(Debug)]
pub(crate) struct Pin {
    pins: Pins,
    lsn: Lsn,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.pins.0.lock();
        if let Some(count) = pins.get_mut(&self.lsn) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.lsn);
            }
        }
    }
}
