//! What happened, told while it happens: for the shell's trace, progress bars, metrics and tests.
//!
//! A listener is called in the thread that did the work, sometimes under a lock of the log: it must be quick and must
//! not call into the store. If it panics, the panic ends there: whoever only listens cannot harm the store. Events of
//! one thread come in their order; those of several may overtake each other. Without a listener nothing is built and
//! nothing is called.

mod traced;

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use crate::format::record::RecordKind;
use crate::lsn::Lsn;

#[cfg(feature = "tracing")]
pub use self::traced::Traced;
pub(crate) use self::traced::span;

/// Hears of events.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use forelog::event::{Event, Listener};
/// use forelog::{Db, Options};
///
/// #[derive(Debug, Default)]
/// struct Syncs(Mutex<u64>);
/// impl Listener for Syncs {
///     fn event(&self, event: &Event<'_>) {
///         if let Event::Synced { .. } = event {
///             *self.0.lock().unwrap() += 1;
///         }
///     }
/// }
///
/// let dir = tempfile::tempdir()?;
/// let syncs = Arc::new(Syncs::default());
/// let db = Options::new().listener(syncs.clone()).open(dir.path().join("data"))?;
/// db.put("a", "1")?;
/// assert!(*syncs.0.lock().unwrap() >= 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Listener: fmt::Debug + Send + Sync + 'static {
    /// Called for each event.
    fn event(&self, event: &Event<'_>);
}

/// Something that happened.
///
/// ```
/// use std::sync::{Arc, Mutex};
///
/// use forelog::Options;
/// use forelog::event::{Event, Listener};
///
/// #[derive(Debug, Default)]
/// struct Steps(Mutex<Vec<&'static str>>);
/// impl Listener for Steps {
///     fn event(&self, event: &Event<'_>) {
///         self.0.lock().unwrap().push(match event {
///             Event::Encoded { .. } => "encoded",
///             Event::Appended { .. } => "appended",
///             Event::Applied { .. } => "applied",
///             Event::Synced { .. } => "synced",
///             Event::Published { .. } => "published",
///             _ => "other",
///         });
///     }
/// }
///
/// let dir = tempfile::tempdir()?;
/// let steps = Arc::new(Steps::default());
/// let db = Options::new().listener(steps.clone()).idle_mark(None).open(dir.path().join("data"))?;
/// steps.0.lock().unwrap().clear();
/// db.put("a", "1")?;
/// assert_eq!(*steps.0.lock().unwrap(), ["encoded", "appended", "applied", "synced", "published"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A caller's batch became bytes.
    Encoded {
        /// Operations in the batch.
        ops: usize,
        /// Bytes of its body.
        bytes: usize,
    },
    /// A record was written to the log. It does not survive a power cut yet.
    Appended {
        /// Its LSN.
        lsn: Lsn,
        /// What it is.
        kind: RecordKind,
        /// The segment's file name.
        file: &'a str,
        /// Where it stands in the file, in bytes.
        offset: u64,
        /// Bytes it takes there.
        bytes: u64,
    },
    /// A batch is in the memtable, invisible so far.
    Applied {
        /// Its LSN.
        lsn: Lsn,
        /// Operations applied.
        ops: usize,
        /// Its body, as the log has it: [`batch_body::ops`](crate::format::batch_body::ops) reads it.
        body: &'a [u8],
    },
    /// The log was synced: everything up to `durable` survives a power cut.
    Synced {
        /// The durable LSN now.
        durable: Lsn,
        /// How long the sync took.
        took: Duration,
    },
    /// Everything up to `visible` can be read.
    Published {
        /// The visible LSN now.
        visible: Lsn,
    },
    /// The log goes on in a new segment.
    Rotated {
        /// The new segment's first LSN.
        base: Lsn,
        /// Its file name.
        file: &'a str,
    },
    /// A write or sync failed; there will be no more writes.
    Poisoned {
        /// The failure.
        cause: &'a crate::Error,
    },
    /// A checkpoint was taken: recovery needs nothing before it.
    Checkpointed {
        /// The LSN whose state it is.
        lsn: Lsn,
    },
    /// Finished files were copied to the archive, and read back there.
    Archived {
        /// How many.
        files: usize,
    },
    /// A checkpoint, or what follows it, has failed. The store goes on; it is tried again later.
    CheckpointFailed {
        /// The failure.
        error: &'a crate::Error,
    },
    /// Recovery has loaded a part of a checkpoint.
    Loaded {
        /// Its file name.
        file: &'a str,
        /// Entries read from it.
        entries: u64,
    },
    /// Recovery has read a segment.
    Replayed {
        /// Its file name.
        file: &'a str,
        /// Records read from it.
        records: u64,
    },
}

/// Where events go: to a listener, or nowhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events(Option<Arc<dyn Listener>>);

impl Events {
    /// Events go to this listener.
    pub(crate) fn to(listener: Arc<dyn Listener>) -> Events {
        Events(Some(listener))
    }

    /// Tells the listener, if there is one. `event` is built only then.
    pub(crate) fn tell<'a>(&self, event: impl FnOnce() -> Event<'a>) {
        if let Some(listener) = &self.0 {
            // The panic's message has been printed. To pass it on would leave a write half done.
            let _ = panic::catch_unwind(AssertUnwindSafe(|| listener.event(&event())));
        }
    }
}
