//! The state after a failed write or sync: no more writes, ever, until the log is opened again.
//!
//! A sync is never tried a second time. After a failure the kernel marks the pages clean, so that a second sync has
//! nothing to do and says that all is well (<https://wiki.postgresql.org/wiki/Fsync_Errors>).

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::error::{Error, Result};
use crate::event::{Event, Events};
use crate::sync::{AtomicBool, Ordering};

/// Hears of the first failure while it happens, under the locks under which it does: must be quick, and take none but its
/// own.
pub(crate) trait Alarm: fmt::Debug + Send + Sync {
    /// There will be no more writes: whoever waits for one need wait no longer.
    fn poisoned(&self);
}

/// Set once, by the first failure.
#[derive(Debug, Default)]
pub(super) struct Poison {
    /// Where threads wait that the log does not know.
    alarm: OnceLock<Arc<dyn Alarm>>,
    cause: OnceLock<Arc<Error>>,
    /// True once there is a cause. ORDER: Release, after the cause; Acquire, before it is read.
    set: AtomicBool,
}

impl Poison {
    /// Whom to tell of the first failure. To be said once, before anything is written.
    pub(super) fn tell(&self, alarm: Arc<dyn Alarm>) {
        let _ = self.alarm.set(alarm);
    }

    /// # Errors
    /// [`Error::Poisoned`] after a failure.
    pub(super) fn check(&self) -> Result<()> {
        if !self.is_set() {
            return Ok(());
        }
        match self.cause.get() {
            Some(cause) => Err(Error::Poisoned { cause: cause.clone() }),
            None => Ok(()),
        }
    }

    pub(super) fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    /// Passes a success on; a failure poisons, and every caller gets the first one.
    pub(super) fn guard<T>(&self, result: Result<T>, events: &Events) -> Result<T> {
        let cause = match result {
            Ok(value) => return Ok(value),
            Err(Error::Poisoned { cause }) => cause,
            Err(error) => Arc::new(error),
        };
        let first = self.cause.get_or_init(|| cause.clone());
        if !self.set.swap(true, Ordering::AcqRel) {
            if let Some(alarm) = self.alarm.get() {
                alarm.poisoned();
            }
            events.tell(|| Event::Poisoned { cause: first });
        }
        Err(Error::Poisoned { cause: first.clone() })
    }
}
