//! Copies a checkpoint into an archive, finds those that are there, and whose archive it is.
//!
//! A checkpoint's parts go first, under their own names, each read through before it gets its name; then a manifest
//! that names this checkpoint alone. A checkpoint without its manifest is none.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::part::{PartReader, is_part_of};
use crate::error::{Error, Result};
use crate::format::manifest::{Checkpoint, MAX_MANIFEST_BYTES, Manifest, Part};
use crate::format::{StoreId, names};
use crate::lsn::Lsn;
use crate::storage::archive::Destination;
use crate::storage::dir::{Dir, DirFile};
use crate::storage::{Access, ArchiveTarget, File, read_full_at};

/// Copies a checkpoint of this manifest, unless it is there; returns the name of its manifest.
///
/// # Errors
/// [`Error::Corruption`] of a part; [`Error::Io`] of the archive, also if it holds another file of a name.
pub(crate) fn archive(
    dir: &Dir,
    manifest: &Manifest,
    checkpoint: &Checkpoint,
    archive: &Destination<'_>,
) -> Result<String> {
    let title = names::archived_checkpoint(checkpoint.lsn(), checkpoint.generation);
    let alone = Manifest {
        first_segment: checkpoint.lsn().next(),
        durable_lsn: checkpoint.lsn(),
        archived: Lsn::ZERO,
        checkpoints: vec![checkpoint.clone()],
        ..manifest.clone()
    };
    let failed = |source| Error::io("archive", &dir.file_path(&title), source);
    let is_there = archive.has(&title);
    if is_there {
        let there = read_manifest(archive.target, &title)?;
        if there.store_id != alone.store_id || there.checkpoints != alone.checkpoints {
            return Err(failed(io::Error::other("another checkpoint of this name is there")));
        }
    }
    for (number, (name, part)) in (0..).zip(checkpoint.files().zip(&checkpoint.parts)) {
        let check = |file: Arc<dyn File>| {
            let copy = DirFile::of(file, Path::new(&name).to_path_buf());
            read_through(copy, manifest.store_id, checkpoint, number, *part).map_err(io::Error::other)
        };
        let stored = if archive.has(&name) {
            // By an earlier process, or by an attempt that did not come to its end. It may have come to harm since.
            archive.target.open(&name).and_then(check)
        } else {
            let content = Content { file: dir.open(&name, Access::Read)?, at: 0 };
            archive.store(&name, content, &check)
        };
        stored.map_err(|source| Error::io("archive", &dir.file_path(&name), source))?;
    }
    if is_there {
        return Ok(title);
    }
    let bytes = alone.encode();
    let check = |file: Arc<dyn File>| {
        let mut copy = vec![0; bytes.len() + 1];
        let filled = read_full_at(&*file, &mut copy, 0)?;
        if copy[..filled] == bytes { Ok(()) } else { Err(io::Error::other("the copy differs")) }
    };
    archive.store(&title, &bytes[..], &check).map_err(failed)?;
    Ok(title)
}

/// That an archive is that of a store, as the object says that names its owner.
///
/// # Errors
/// `NotFound` if nothing says whose it is; that it is another store's; those of the archive.
pub(crate) fn check_archive_owner(target: &dyn ArchiveTarget, store_id: StoreId) -> io::Result<()> {
    check_owner_file(&*target.open(names::ARCHIVE_OWNER)?, store_id)
}

/// The same, for the object itself.
pub(crate) fn check_owner_file(file: &dyn File, store_id: StoreId) -> io::Result<()> {
    let owner = store_id.to_string();
    let mut bytes = vec![0; owner.len() + 1];
    let filled = read_full_at(file, &mut bytes, 0)?;
    if bytes[..filled] == *owner.as_bytes() {
        return Ok(());
    }
    let found = bytes[..filled].escape_ascii();
    let reason = format!("the archive belongs to store {found}, and this is {owner}; choose another one");
    Err(io::Error::other(reason))
}

/// The manifest of an archived checkpoint.
pub(crate) fn read_manifest(target: &dyn ArchiveTarget, name: &str) -> Result<Manifest> {
    let path = Path::new(name);
    let read = |file: Arc<dyn File>| {
        let mut bytes =
            vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX).min(MAX_MANIFEST_BYTES + 1)];
        let filled = read_full_at(&*file, &mut bytes, 0)?;
        bytes.truncate(filled);
        Ok(bytes)
    };
    let bytes = target.open(name).and_then(read).map_err(|source| Error::io("read", path, source))?;
    Manifest::decode(&bytes).map_err(|flaw| flaw.at(path, 0, None))
}

fn read_through(
    copy: DirFile,
    store_id: StoreId,
    checkpoint: &Checkpoint,
    number: u32,
    part: Part,
) -> Result<()> {
    let mut reader = PartReader::of(copy, part, |header| is_part_of(header, store_id, checkpoint, number))?;
    while reader.next()?.is_some() {}
    Ok(())
}

/// A file from its beginning to its end.
struct Content {
    file: DirFile,
    at: u64,
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let filled = self.file.read_at(buffer, self.at).map_err(io::Error::other)?;
        self.at += filled as u64;
        Ok(filled)
    }
}
