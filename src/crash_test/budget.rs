//! How many images are judged, where not all of them are.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::draw::Draw;

/// About how many distinct images a round leads to.
const IN_A_ROUND: u64 = 250_000;

/// What may still be tried. Shared by all threads; nothing but counts hangs on it, hence `Relaxed` everywhere.
pub(super) struct Budget<'a> {
    most: u64,
    /// Of so many outcomes one is tried, so that what there is to see is seen from the first step to the last.
    one_in: u64,
    judged: AtomicU64,
    stopped: AtomicBool,
    go_on: &'a (dyn Fn(u64) -> bool + Sync),
}

impl<'a> Budget<'a> {
    /// For so many distinct images; for all of them without a number.
    pub(super) fn new(images: Option<u64>, go_on: &'a (dyn Fn(u64) -> bool + Sync)) -> Budget<'a> {
        let most = images.unwrap_or(u64::MAX);
        Budget {
            most,
            one_in: IN_A_ROUND / most.clamp(1, IN_A_ROUND),
            judged: AtomicU64::new(0),
            stopped: AtomicBool::new(most == 0),
            go_on,
        }
    }

    /// True if this outcome is to be tried.
    pub(super) fn takes(&self, draw: &mut Draw) -> bool {
        !self.is_spent() && (self.one_in == 1 || draw.one_in(self.one_in))
    }

    /// A distinct image was judged. False if it is one too many.
    pub(super) fn count(&self) -> bool {
        let judged = self.judged.fetch_add(1, Ordering::Relaxed) + 1;
        if judged >= self.most || !(self.go_on)(judged) {
            self.stopped.store(true, Ordering::Relaxed);
        }
        judged <= self.most
    }

    pub(super) fn judged(&self) -> u64 {
        self.judged.load(Ordering::Relaxed).min(self.most)
    }

    pub(super) fn is_spent(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}
