//! Reads whatever of a checkpoint is sound, past damage that loading refuses: blocks, one by one.

use super::part::PartReader;
use crate::error::{Error, Result};
use crate::format::checkpoint::{BlockKind, entries, keyspaces};
use crate::format::manifest::Part;
use crate::format::{KeyspaceId, StoreId, names};
use crate::lsn::Lsn;
use crate::storage::Access;
use crate::storage::dir::Dir;

/// Something of a checkpoint whose checksum is right.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sound<'a> {
    Keyspace { id: KeyspaceId, created: Lsn, name: &'a str },
    Entry { keyspace: KeyspaceId, lsn: Lsn, key: &'a [u8], value: &'a [u8] },
}

/// Reads the parts of the checkpoint at `lsn` of this generation, as many as there are. True if it is whole: each of its
/// parts is there, and sound to its end.
///
/// # Errors
/// [`Error::Io`] for what cannot be read at all; [`Error::UnsupportedFormat`].
pub(crate) fn salvage(
    dir: &Dir,
    store_id: Option<StoreId>,
    (lsn, generation): (Lsn, u64),
    take: &mut dyn FnMut(Sound<'_>),
) -> Result<bool> {
    let is_of_it =
        |name: &String| names::parse_part(name).filter(|part| (part.0, part.1) == (lsn, generation));
    let mut numbers: Vec<u32> = dir.list()?.iter().filter_map(is_of_it).map(|(_, _, part)| part).collect();
    numbers.sort_unstable();
    let mut is_sound = !numbers.is_empty();
    let found = numbers.len();
    for number in numbers {
        let file = dir.open(&names::part(lsn, generation, number), Access::Read)?;
        // How long it should be, and what the footer should say, is no reason to leave out what is there.
        let expected = Part { bytes: file.len()?, entries: 0, digest: 0 };
        let opened = PartReader::of(file, expected, |header| {
            store_id.is_none_or(|id| header.store_id == id) && (header.lsn, header.part) == (lsn, number)
        });
        match opened {
            Ok(reader) => {
                is_sound &= u32::try_from(found) == Ok(reader.header().parts);
                is_sound &= read_blocks(reader, lsn, take)?;
            }
            Err(Error::Corruption(_)) => is_sound = false,
            Err(error) => return Err(error),
        }
    }
    Ok(is_sound)
}

fn read_blocks(mut reader: PartReader, newest: Lsn, take: &mut dyn FnMut(Sound<'_>)) -> Result<bool> {
    let mut is_sound = true;
    loop {
        let damaged = match reader.next() {
            Ok(Some(block)) => {
                let id = block.header.keyspace;
                match block.header.kind {
                    BlockKind::Keyspaces => keyspaces(block.body).flatten().for_each(|space| {
                        let created = Lsn::new(space.created);
                        take(Sound::Keyspace { id: space.id, created, name: space.name });
                    }),
                    BlockKind::Entries => entries(block.body).flatten().for_each(|entry| {
                        let lsn = Lsn::new(entry.lsn);
                        if lsn <= newest {
                            take(Sound::Entry { keyspace: id, lsn, key: entry.key, value: entry.value });
                        }
                    }),
                }
                false
            }
            Ok(None) => return Ok(is_sound),
            Err(Error::Corruption(_)) => true,
            Err(error) => return Err(error),
        };
        if damaged && reader.is_at_end()? {
            return Ok(is_sound);
        }
        if damaged {
            is_sound = false;
            if !reader.skip()? {
                return Ok(false);
            }
        }
    }
}
