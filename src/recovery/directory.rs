//! What a directory is, by the names of its files.
//!
//! | # | `MANIFEST` | segments | other files | what it is |
//! | --- | --- | --- | --- | --- |
//! | 1 | yes | – | – | a store: recover it |
//! | 2 | no | none | only `LOCK` and `*.tmp` | nothing yet, or a creation that was cut short: create |
//! | 3 | no | one, without a record | only `LOCK` and `*.tmp` | a creation that was cut short: create |
//! | 4 | no | anything else | – | a log alone, or a store that lost its manifest: refuse |
//! | 5 | no | – | parts of checkpoints | a store that lost its manifest, or a copy that was cut short: refuse |
//! | 6 | no | – | an archive's | an archive: refuse |
//! | 7 | no | – | any other | somebody else's directory: refuse |

use crate::error::{CorruptionKind, Error, Result};
use crate::format::names;
use crate::lsn::Lsn;
use crate::storage::dir::Dir;
use crate::wal::{self, Given};

pub(super) fn is_store(files: &[String]) -> bool {
    files.iter().any(|name| name == names::MANIFEST)
}

/// Refuses a directory without a manifest.
///
/// # Errors
/// What was found in place of a store.
pub(crate) fn check_is_store(dir: &Dir, files: &[String]) -> Result<()> {
    if is_store(files) { Ok(()) } else { Err(no_store(dir, files)) }
}

/// Why there is no store to open: what stands in the way of making one, or nothing at all.
pub(crate) fn no_store(dir: &Dir, files: &[String]) -> Error {
    let dir_path = dir.path().to_path_buf();
    check_creatable(dir, files).err().unwrap_or(Error::NoStore { dir: dir_path })
}

/// True if there are parts of checkpoints that are not an archive's: then there was a store.
pub(crate) fn has_own_checkpoints(files: &[String]) -> bool {
    files.iter().any(|name| names::is_part(name)) && !is_archive(files)
}

/// True for the files of a store or of an archive: what can be restored from.
pub(crate) fn is_source(files: &[String]) -> bool {
    is_store(files) || is_archive(files)
}

/// True for the files of an archive.
pub(crate) fn is_archive(files: &[String]) -> bool {
    files.iter().any(|name| name == names::ARCHIVE_OWNER || names::is_archived(name))
}

/// Rows 5 to 7 of the table.
pub(super) fn refuse_others(dir: &Dir, files: &[String]) -> Result<()> {
    if is_store(files) {
        return Ok(());
    }
    let refuse = |reason: String| Err(Error::NotAStore { dir: dir.path().to_path_buf(), reason });
    if has_own_checkpoints(files) {
        // That of a copy is of the first generation, and its manifest comes last; that of a store never is.
        let is_copys =
            |name: &String| names::parse_part(name).is_none_or(|(_, generation, _)| generation == 1);
        if files.iter().all(is_copys) {
            return refuse(format!(
                "a backup or a restore into it was cut short, or it lost its {}: remove it and make it again, or see what `forelog repair` says",
                names::MANIFEST
            ));
        }
        let kind = CorruptionKind::ManifestMissing;
        return Err(Error::corruption(&dir.file_path(names::MANIFEST), 0, None, kind, None));
    }
    if is_archive(files) {
        return refuse("it is an archive; `forelog restore` makes a store of it".to_owned());
    }
    let unknown =
        |name: &&String| *name != names::LOCK && !names::is_tmp(name) && names::parse_segment(name).is_none();
    match files.iter().find(unknown) {
        Some(name) => {
            refuse(format!("it holds {name:?} and no {}; choose an empty directory", names::MANIFEST))
        }
        None => Ok(()),
    }
}

/// Rows 2 to 7 of the table.
pub(super) fn check_creatable(dir: &Dir, files: &[String]) -> Result<()> {
    refuse_others(dir, files)?;
    if !wal::has_segments(files) {
        return Ok(());
    }
    let mut records = 0;
    let log = wal::read_only(dir, Given::default(), &mut |_| {
        records += 1;
        Ok(())
    })?;
    match &log.segments[..] {
        [first] if first.base_lsn == Lsn::new(1) && records == 0 && log.torn.is_none() => Ok(()),
        _ => {
            let reason = format!(
                "it holds a log and no {}; a log alone is opened with wal::Wal; of a store that lost its manifest, `forelog repair` makes another one",
                names::MANIFEST
            );
            Err(Error::NotAStore { dir: dir.path().to_path_buf(), reason })
        }
    }
}
