//! Loads a checkpoint: part files, checked block by block, become keys.

use super::part::{PartReader, is_part_of};
use super::take::share_out;
use crate::error::Result;
use crate::format::checkpoint::{self as format, BlockKind, entries};
use crate::format::manifest::{Checkpoint, Part};
use crate::format::{KeyspaceId, MAX_KEY_BYTES, StoreId, names};
use crate::lsn::Lsn;
use crate::storage::dir::Dir;

/// Takes in what a checkpoint holds. Called by several threads, with disjoint keys.
pub(crate) trait Sink: Sync {
    /// What one thread gathers of one part.
    type Gathered: Default;

    /// A keyspace beside the default one; before any entry. False if it cannot be: the checkpoint is damaged then.
    fn keyspace(&self, id: KeyspaceId, created: Lsn, name: &str) -> bool;

    /// An entry; those of a part come in the order of their keyspaces and keys. False if there is no such keyspace.
    fn entry(
        &self,
        gathered: &mut Self::Gathered,
        keyspace: KeyspaceId,
        lsn: Lsn,
        key: &[u8],
        value: &[u8],
    ) -> bool;

    /// A part has ended, as it should.
    fn end(&self, gathered: Self::Gathered, file: &str, entries: u64);
}

/// Loads a checkpoint. After an error, what the sink was given is worthless.
///
/// # Errors
/// [`Error::Corruption`](crate::Error::Corruption) for what is not what was written, or gone;
/// [`Error::Io`](crate::Error::Io).
pub(crate) fn load<S: Sink>(
    dir: &Dir,
    store_id: StoreId,
    checkpoint: &Checkpoint,
    threads: usize,
    sink: &S,
) -> Result<()> {
    // Before anything else, because all parts may have entries of all keyspaces.
    keyspaces(dir, store_id, checkpoint, &mut |id, created, name| sink.keyspace(id, created, name))?;
    share_out(threads, &checkpoint.parts, |number, part| {
        let mut reader = open(dir, store_id, checkpoint, number, *part)?;
        let mut gathered = S::Gathered::default();
        while let Some(block) = reader.next()? {
            if block.header.kind != BlockKind::Entries {
                continue;
            }
            let keyspace = block.header.keyspace;
            let mut count = 0;
            let taken = entries(block.body).all(|entry| {
                count += 1;
                entry.is_ok_and(|entry| {
                    entry.lsn <= checkpoint.lsn
                        && entry.key.len() <= MAX_KEY_BYTES
                        && sink.entry(&mut gathered, keyspace, Lsn::new(entry.lsn), entry.key, entry.value)
                })
            });
            if !taken || count != block.header.entries {
                return Err(reader.damaged());
            }
        }
        let file = names::part(checkpoint.lsn(), checkpoint.generation, number);
        sink.end(gathered, &file, part.entries);
        Ok(())
    })?;
    Ok(())
}

/// Tells the keyspaces beside the default one: the beginning of the first part.
///
/// # Errors
/// As [`load`].
pub(crate) fn keyspaces(
    dir: &Dir,
    store_id: StoreId,
    checkpoint: &Checkpoint,
    tell: &mut dyn FnMut(KeyspaceId, Lsn, &str) -> bool,
) -> Result<()> {
    let Some(part) = checkpoint.parts.first() else { return Ok(()) };
    let mut first = open(dir, store_id, checkpoint, 0, *part)?;
    while let Some(block) = first.next()? {
        if block.header.kind != BlockKind::Keyspaces {
            break;
        }
        let sound = format::keyspaces(block.body)
            .all(|space| space.is_ok_and(|space| tell(space.id, Lsn::new(space.created), space.name)));
        if !sound {
            return Err(first.damaged());
        }
    }
    Ok(())
}

fn open(
    dir: &Dir,
    store_id: StoreId,
    checkpoint: &Checkpoint,
    number: u32,
    part: Part,
) -> Result<PartReader> {
    let name = names::part(checkpoint.lsn(), checkpoint.generation, number);
    PartReader::open(dir, &name, part, |header| is_part_of(header, store_id, checkpoint, number))
}
