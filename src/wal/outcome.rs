//! What became of something that was handed in: it is in the log, it is settled, or it has failed.

use std::sync::OnceLock;

use crate::error::{Error, Result};
use crate::lsn::Lsn;
use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// Written by whoever leads, read by whoever waits.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The LSN; 0 before there is one.
    lsn: AtomicU64,
    /// Whoever led has done all that was asked for.
    settled: AtomicBool,
    /// Why it got none, or why it may not be relied on. The first failure stays.
    error: OnceLock<Error>,
}

impl Outcome {
    /// It is in the log.
    pub(crate) fn logged(&self, lsn: Lsn) {
        // ORDER: Release pairs with the Acquire of a follower, who goes on with what is logged.
        self.lsn.store(lsn.get(), Ordering::Release);
    }

    /// It is as durable as was asked for. Being in the log is not enough: whoever leads may panic on the way.
    pub(crate) fn settled(&self) {
        // ORDER: Release pairs with the Acquire in `result`: who sees this sees a failure that came before it.
        self.settled.store(true, Ordering::Release);
    }

    pub(crate) fn failed(&self, error: Error) {
        let _ = self.error.set(error);
    }

    /// The LSN, if it is in the log.
    pub(crate) fn lsn(&self) -> Option<Lsn> {
        match self.lsn.load(Ordering::Acquire) {
            0 => None,
            lsn => Some(Lsn::new(lsn)),
        }
    }

    /// How it ended; `None` if it did not: whoever led has panicked, or, in a poisoned log, is not waited for.
    pub(crate) fn result(&self) -> Option<Result<Lsn>> {
        // ORDER: first. Whoever is not waited for may be at work right now, and fails something before settling it.
        let settled = self.settled.load(Ordering::Acquire);
        match self.error.get() {
            Some(error) => Some(Err(error.clone())),
            None if settled => self.lsn().map(Ok),
            None => None,
        }
    }
}
