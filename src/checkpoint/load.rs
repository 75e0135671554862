//! Loads a checkpoint: part files, checked block by block, become keys.

use super::part::PartReader;
use super::take::share_out;
use crate::error::{Error, Result};
use crate::format::checkpoint::{BlockKind, PartHeader, entries, keyspaces};
use crate::format::manifest::Checkpoint;
use crate::format::{KeyspaceId, MAX_KEY_BYTES, StoreId};
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
    fn end(&self, gathered: Self::Gathered);
}

/// Loads a checkpoint. After an error, what the sink was given is worthless.
///
/// # Errors
/// [`Error::Corruption`] for what is not what was written, or gone; [`Error::Io`].
pub(crate) fn load<S: Sink>(
    dir: &Dir,
    store_id: StoreId,
    checkpoint: &Checkpoint,
    threads: usize,
    sink: &S,
) -> Result<()> {
    let jobs: Vec<_> = checkpoint.files().zip(&checkpoint.parts).collect();
    let open = |number: u32| -> Result<PartReader> {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let Some((name, part)) = jobs.get(index) else { return Err(Error::Closed) };
        PartReader::open(dir, name, **part, |header: &PartHeader| {
            header.store_id == store_id && header.lsn == checkpoint.lsn() && header.part == number
        })
    };
    // Before anything else, because all parts may have entries of all keyspaces.
    let mut first = open(0)?;
    while let Some(block) = first.next()? {
        if block.header.kind != BlockKind::Keyspaces {
            break;
        }
        let known = keyspaces(block.body).try_for_each(|space| {
            let space = space.ok()?;
            sink.keyspace(space.id, Lsn::new(space.created), space.name).then_some(())
        });
        if known.is_none() {
            return Err(first.damaged());
        }
    }
    share_out(threads, &jobs, |number, _| {
        let mut reader = open(number)?;
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
        sink.end(gathered);
        Ok(())
    })?;
    Ok(())
}
