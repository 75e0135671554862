//! The state after a failed write or sync: no more writes, ever, until the log is opened again.
//!
//! A sync is never tried a second time. After a failure the kernel marks the pages clean, so that a second sync has
//! nothing to do and says that all is well (<https://wiki.postgresql.org/wiki/Fsync_Errors>).

use std::sync::{Arc, OnceLock};

use crate::error::{Error, Result};
use crate::event::{Event, Events};

/// Set once, by the first failure.
#[derive(Debug, Default)]
pub(super) struct Poison(OnceLock<Arc<Error>>);

impl Poison {
    /// # Errors
    /// [`Error::Poisoned`] after a failure.
    pub(super) fn check(&self) -> Result<()> {
        match self.0.get() {
            None => Ok(()),
            Some(cause) => Err(Error::Poisoned { cause: cause.clone() }),
        }
    }

    /// Passes a success on; a failure poisons, and every caller gets the first one.
    pub(super) fn guard<T>(&self, result: Result<T>, events: &Events) -> Result<T> {
        let cause = match result {
            Ok(value) => return Ok(value),
            Err(Error::Poisoned { cause }) => cause,
            Err(error) => Arc::new(error),
        };
        let first = self.0.get_or_init(|| {
            events.tell(|| Event::Poisoned { cause: &cause });
            cause.clone()
        });
        Err(Error::Poisoned { cause: first.clone() })
    }
}
