//! Faults: which call fails, and how.

use std::io;
use std::time::Duration;

use super::operation::{Detail, Operation, OperationKind};

/// A fault to come: the `at`-th call that matches `on` fails in the way of `kind`, and with `forever` each one after
/// it as well.
///
/// ```
/// use forelog::storage::{Fault, FaultKind, OperationKind, SimDisk, Storage};
/// use std::path::Path;
///
/// let disk = SimDisk::new(1);
/// disk.fail(Fault::new(FaultKind::Enospc).on(OperationKind::Write).at(2));
/// let file = disk.create(Path::new("log"))?;
/// assert!(file.write_at(b"fits", 0).is_ok());
/// assert!(file.write_at(b"does not", 4).is_err());
/// assert!(file.write_at(b"fits again", 4).is_ok());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which of the matching calls, counted from when the fault is set; 1 is the next one, and so is 0.
    pub at: u64,
    /// What happens.
    pub kind: FaultKind,
    /// Whether all later matching calls fail too.
    pub forever: bool,
    /// Which calls match. Those that the kind does not apply to never do, nor count.
    pub on: OperationFilter,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// `EIO`; nothing is done.
    Eio,
    /// `ENOSPC`; nothing is done.
    Enospc,
    /// `EINTR`; nothing is done, and the call may simply be repeated.
    Interrupted,
    /// A read that returns at most so many bytes, which is legal.
    ShortRead(usize),
    /// A write that takes at most so many bytes, which is legal.
    ShortWrite(usize),
    /// A write of which so many bytes are in the cache when it fails with `EIO`.
    PartialWriteThenEio(usize),
    /// A sync that fails with `EIO` and marks the pages clean: they stay in the cache, but no later sync makes them
    /// durable unless they are written again. This is what Linux does.
    SyncLost,
    /// A sync that fails with `EIO`, after which the cache holds what is durable.
    SyncReverted,
    /// A sync that does its work and then takes this long to return. It does not block other calls.
    SyncStall(Duration),
}

/// Which calls a fault is about.
///
/// ```
/// use std::sync::Arc;
///
/// use forelog::Options;
/// use forelog::storage::{Fault, FaultKind, OperationFilter, OperationKind, SimDisk};
///
/// let disk = SimDisk::new(1);
/// let options = Options::new().storage(Arc::new(disk.clone())).segment_bytes(8192).idle_mark(None);
/// let db = options.open("data")?;
/// db.put("a", "1")?;
///
/// let manifest = OperationFilter::changes().named("MANIFEST"); // also `MANIFEST.tmp`
/// assert!(OperationKind::Rename.is_change() && !OperationKind::Read.is_change());
/// disk.fail(Fault::new(FaultKind::Enospc).on(manifest).forever());
/// assert!(db.checkpoint().is_err() && db.checkpoint().is_err());
/// assert!(disk.faults_hit() >= 2);
/// db.put("a", "2")?; // the log is well
///
/// disk.clear_faults(); // somebody has made room
/// db.checkpoint()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationFilter {
    kinds: Kinds,
    name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kinds {
    Any,
    Changes,
    Only(OperationKind),
}

impl Fault {
    /// The next call that the kind applies to, once.
    #[must_use]
    pub fn new(kind: FaultKind) -> Self {
        Self { at: 1, kind, forever: false, on: OperationFilter::any() }
    }

    /// The same fault at the n-th matching call.
    #[must_use]
    pub fn at(self, at: u64) -> Self {
        Self { at, ..self }
    }

    /// The same fault, for all later matching calls as well.
    #[must_use]
    pub fn forever(self) -> Self {
        Self { forever: true, ..self }
    }

    /// The same fault on calls of one kind, or those of a filter.
    #[must_use]
    pub fn on(self, filter: impl Into<OperationFilter>) -> Self {
        Self { on: filter.into(), ..self }
    }
}

impl OperationFilter {
    /// All calls.
    #[must_use]
    pub fn any() -> Self {
        Self { kinds: Kinds::Any, name: String::new() }
    }

    /// The calls that change the disk or make a change durable: see [`OperationKind::is_change`].
    #[must_use]
    pub fn changes() -> Self {
        Self { kinds: Kinds::Changes, ..Self::any() }
    }

    /// Of these calls, only those on paths that contain `name`. A rename has two. An open file goes by the path that it
    /// was opened under, also when it is renamed: the segment that a log is written to may be `spare.tmp`.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    fn matches(&self, operation: &Operation<'_>) -> bool {
        let kind = match self.kinds {
            Kinds::Any => true,
            Kinds::Changes => operation.kind.is_change(),
            Kinds::Only(kind) => operation.kind == kind,
        };
        let named = |path: &std::path::Path| path.to_string_lossy().contains(&self.name);
        kind && (named(operation.path) || matches!(operation.detail, Detail::NewName(to) if named(to)))
    }
}

impl From<OperationKind> for OperationFilter {
    fn from(kind: OperationKind) -> Self {
        Self { kinds: Kinds::Only(kind), ..Self::any() }
    }
}

impl FaultKind {
    fn applies_to(self, kind: OperationKind) -> bool {
        match self {
            Self::Eio | Self::Enospc | Self::Interrupted => true,
            Self::ShortRead(_) => kind == OperationKind::Read,
            Self::ShortWrite(_) | Self::PartialWriteThenEio(_) => kind == OperationKind::Write,
            Self::SyncLost | Self::SyncReverted | Self::SyncStall(_) => {
                matches!(kind, OperationKind::Sync | OperationKind::SyncDir)
            }
        }
    }
}

/// The faults that are set.
#[derive(Default)]
pub(super) struct Faults {
    /// Each with the number of matching calls seen so far.
    armed: Vec<(Fault, u64)>,
    pub(super) hits: u64,
}

impl Faults {
    pub(super) fn arm(&mut self, fault: Fault) {
        self.armed.push((fault, 0));
    }

    pub(super) fn disarm(&mut self) {
        self.armed.clear();
    }

    /// Counts a call, and says what happens to it. The plain errors are returned as such; what is left is for the
    /// call itself to act out.
    pub(super) fn strike(&mut self, operation: &Operation<'_>) -> io::Result<Option<FaultKind>> {
        let mut struck = None;
        self.armed.retain_mut(|(fault, seen)| {
            if !fault.kind.applies_to(operation.kind) || !fault.on.matches(operation) {
                return true;
            }
            *seen += 1;
            let due = *seen >= fault.at;
            if due && struck.is_none() {
                struck = Some(fault.kind);
            }
            !due || fault.forever
        });
        self.hits += u64::from(struck.is_some());
        match struck {
            Some(FaultKind::Eio) => Err(eio()),
            Some(FaultKind::Enospc) => Err(enospc()),
            Some(FaultKind::Interrupted) => Err(io::ErrorKind::Interrupted.into()),
            other => Ok(other),
        }
    }
}

pub(super) fn eio() -> io::Error {
    // The number of EIO on every Unix.
    io::Error::from_raw_os_error(5)
}

pub(super) fn enospc() -> io::Error {
    // The number of ENOSPC on every Unix.
    io::Error::from_raw_os_error(28)
}
