//! Reads the manifest, and replaces it as a whole.
//!
//! ```text
//!  MANIFEST.tmp → sync → rename to MANIFEST → sync the directory
//! ```
//!
//! A crash before the rename leaves the old manifest and a `*.tmp` that the next opening removes; after it, the new
//! one. It is written when a store is created, when its kept options change, and when checkpoints or the beginning of the
//! log do: never on the commit path.

use crate::error::{Error, Result};
use crate::format::manifest::{MAX_MANIFEST_BYTES, Manifest};
use crate::format::names;
use crate::storage::dir::Dir;

/// The manifest of a directory that has one.
///
/// # Errors
/// [`Error::Corruption`](crate::Error::Corruption) and
/// [`Error::UnsupportedFormat`](crate::Error::UnsupportedFormat) for what is not a sound manifest of this release.
pub(crate) fn read(dir: &Dir) -> Result<Manifest> {
    let bytes = dir.read_whole(names::MANIFEST, MAX_MANIFEST_BYTES)?;
    Manifest::decode(&bytes).map_err(|flaw| flaw.at(&dir.file_path(names::MANIFEST), 0, None))
}

/// Puts a manifest in the place of the one that may be there. Durable when this returns.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io); the old manifest is then still there, or the new one is.
pub(crate) fn write(dir: &Dir, manifest: &Manifest) -> Result<()> {
    if dir.list()?.iter().any(|name| name == names::MANIFEST_TMP) {
        dir.remove(names::MANIFEST_TMP)?;
    }
    let renamed = write_tmp(dir, manifest).and_then(|()| dir.rename(names::MANIFEST_TMP, names::MANIFEST));
    if renamed.is_err() {
        // A full disk: what was begun takes room. If it cannot be removed either, the next opening does it.
        let _ = dir.remove(names::MANIFEST_TMP);
    }
    renamed?;
    dir.sync()
}

fn write_tmp(dir: &Dir, manifest: &Manifest) -> Result<()> {
    let bytes = manifest.encode();
    if bytes.len() > MAX_MANIFEST_BYTES {
        let (size, limit) = (bytes.len() as u64, MAX_MANIFEST_BYTES as u64);
        return Err(Error::TooLarge { what: "manifest", size, limit });
    }
    let file = dir.create(names::MANIFEST_TMP)?;
    file.write_at(&bytes, 0)?;
    file.sync_all()
}
