//! What is asked of the simulated disk, one value per call: for counting, for faults, and for telling a reader of a
//! failed test at which call the power went.

use std::fmt;
use std::path::Path;

/// The kind of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperationKind {
    /// `File::read_at`.
    Read,
    /// `File::write_at`.
    Write,
    /// `File::set_len` and `File::allocate`.
    SetLen,
    /// `File::sync_data` and `File::sync_all`.
    Sync,
    /// `Storage::create`.
    Create,
    /// `Storage::open`.
    Open,
    /// `Storage::rename`.
    Rename,
    /// `Storage::remove`.
    Remove,
    /// `Storage::create_dir`.
    CreateDir,
    /// `Storage::list`.
    List,
    /// `Storage::sync_dir`.
    SyncDir,
    /// `Storage::lock`.
    Lock,
}

impl OperationKind {
    /// True for what changes the disk or makes a change durable.
    #[must_use]
    pub fn is_change(self) -> bool {
        !matches!(self, Self::Read | Self::Open | Self::List | Self::Lock)
    }
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation<'a> {
    pub(super) kind: OperationKind,
    pub(super) path: &'a Path,
    pub(super) detail: Detail<'a>,
}

/// What belongs to one kind of call only.
#[derive(Clone, Copy, Debug)]
pub(super) enum Detail<'a> {
    Nothing,
    Range { offset: u64, bytes: usize },
    Length(u64),
    NewName(&'a Path),
}

impl<'a> Operation<'a> {
    pub(super) fn new(kind: OperationKind, path: &'a Path) -> Self {
        Self { kind, path, detail: Detail::Nothing }
    }

    pub(super) fn with(self, detail: Detail<'a>) -> Self {
        Self { detail, ..self }
    }
}

impl fmt::Display for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.kind {
            OperationKind::Read => "read",
            OperationKind::Write => "write",
            OperationKind::SetLen => "set length of",
            OperationKind::Sync => "sync",
            OperationKind::Create => "create",
            OperationKind::Open => "open",
            OperationKind::Rename => "rename",
            OperationKind::Remove => "remove",
            OperationKind::CreateDir => "create directory",
            OperationKind::List => "list",
            OperationKind::SyncDir => "sync directory",
            OperationKind::Lock => "lock",
        };
        write!(f, "{verb} {}", name(self.path))?;
        match self.detail {
            Detail::Nothing => Ok(()),
            Detail::Range { offset, bytes } => write!(f, " @{offset}, {bytes} bytes"),
            Detail::Length(bytes) => write!(f, " to {bytes}"),
            Detail::NewName(to) => write!(f, " to {}", name(to)),
        }
    }
}

/// The last part of a path, which is what tells the files of a store apart.
fn name(path: &Path) -> std::path::Display<'_> {
    path.file_name().map_or(Path::new("/"), Path::new).display()
}
