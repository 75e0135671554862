//! An output file: written under another name, and named when it is whole. What was there is not touched before.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::failure::Failure;

/// An output file that gets its name when it is whole.
pub struct Draft {
    file: NamedTempFile,
    path: PathBuf,
    force: bool,
}

impl Draft {
    /// Begins a file beside where it is to be.
    pub fn new(path: &Path, force: bool) -> Result<Draft, Failure> {
        check(path, force)?;
        let (path, mode) = replaced(path)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".forelog-").suffix(".tmp");
        builder.permissions(Permissions::from_mode(mode));
        // The temporary name that tempfile adds to its error is nobody's business.
        let file = builder
            .tempfile_in(dir_of(&path))
            .map_err(|error| Failure::file("create", &path, error.kind().into()))?;
        Ok(Draft { file, path, force })
    }

    /// The name that it will have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where to write.
    pub fn sink(&self) -> Result<File, Failure> {
        self.file.as_file().try_clone().map_err(|source| Failure::file("write", &self.path, source))
    }

    /// Syncs the file and gives it its name.
    pub fn keep(self) -> Result<(), Failure> {
        self.file.as_file().sync_all().map_err(|source| Failure::file("sync", &self.path, source))?;
        let named =
            if self.force { self.file.persist(&self.path) } else { self.file.persist_noclobber(&self.path) };
        match named {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Failure::Exists(self.path))
            }
            Err(error) => Err(Failure::file("rename", &self.path, error.error)),
        }
    }
}

/// Whether there may be a file of this name: nothing is overwritten without being asked for, and no directory is made.
pub fn check(path: &Path, force: bool) -> Result<(), Failure> {
    if !force && path.symlink_metadata().is_ok() {
        return Err(Failure::Exists(path.to_path_buf()));
    }
    dir_of(path).metadata().map(drop).map_err(|source| Failure::file("create", path, source))
}

/// The directory that a file is in.
pub fn dir_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The file that is really replaced, which a link may lead to, and the mode that it has or will have.
fn replaced(path: &Path) -> Result<(PathBuf, u32), Failure> {
    // For a new file the user's umask decides who may read it, as for every other one.
    let Ok(there) = path.metadata() else { return Ok((path.to_path_buf(), 0o666)) };
    if !there.is_file() {
        // The new file takes the name of what is there, and nobody wants that of `/dev/null`.
        let reason = "is no file that could be overwritten; without a name the output goes to the screen";
        return Err(Failure::Usage(format!("{} {reason}", path.display())));
    }
    let target = path.canonicalize().map_err(|source| Failure::file("open", path, source))?;
    Ok((target, there.permissions().mode()))
}
