//! Writes one part of a checkpoint, and reads it back.
//!
//! A writer gathers entries in a block's body and writes block after block, each with one call. A reader checks what
//! it gives out: nothing of a block is seen before its checksum is, and nothing of a part is believed to be all of it
//! before the footer and the manifest say so.

use super::Pace;
use crate::error::{CorruptionKind, Error, Result};
use crate::format::checkpoint::{
    BLOCK_BYTES, BLOCK_HEADER_BYTES, BlockHeader, BlockKind, EntryBody, KeyspaceBody, PART_FOOTER_BYTES,
    PART_HEADER_BYTES, PartFooter, PartHeader,
};
use crate::format::manifest::{Checkpoint, Part};
use crate::format::{Flaw, KeyspaceId, StoreId};
use crate::storage::Access;
use crate::storage::dir::{Dir, DirFile};

/// Writes a part.
pub(super) struct PartWriter<'a> {
    file: DirFile,
    header: PartHeader,
    pace: &'a Pace<'a>,
    at: u64,
    footer: PartFooter,
    /// Room for the block's header, and its body.
    block: Vec<u8>,
    keyspace: KeyspaceId,
    entries: u32,
}

impl<'a> PartWriter<'a> {
    /// Creates the file, which must not exist.
    pub(super) fn create(
        dir: &Dir,
        name: &str,
        header: PartHeader,
        pace: &'a Pace<'a>,
    ) -> Result<PartWriter<'a>> {
        let file = dir.create(name)?;
        file.write_at(&header.encode(), 0)?;
        Ok(PartWriter {
            file,
            header,
            pace,
            at: PART_HEADER_BYTES as u64,
            footer: PartFooter::default(),
            block: vec![0; BLOCK_HEADER_BYTES],
            keyspace: KeyspaceId::DEFAULT,
            entries: 0,
        })
    }

    /// Writes the block of the keyspaces. Comes before all entries.
    pub(super) fn keyspaces<'k>(&mut self, spaces: impl Iterator<Item = KeyspaceBody<'k>>) -> Result<()> {
        for space in spaces {
            space.append_to(&mut self.block);
            self.entries += 1;
        }
        self.end_block(BlockKind::Keyspaces)
    }

    /// Writes an entry. Entries come in the order of their keyspaces and keys.
    pub(super) fn entry(&mut self, keyspace: KeyspaceId, entry: &EntryBody<'_>) -> Result<()> {
        if keyspace != self.keyspace || self.block.len() >= BLOCK_BYTES {
            self.end_block(BlockKind::Entries)?;
            self.keyspace = keyspace;
        }
        entry.append_to(&mut self.block);
        self.entries += 1;
        Ok(())
    }

    /// Writes the footer and makes the part durable, but for its name.
    pub(super) fn finish(mut self) -> Result<Part> {
        self.end_block(BlockKind::Entries)?;
        self.file.write_at(&self.footer.encode(self.header.salt, self.at), self.at)?;
        self.file.sync_all()?;
        let PartFooter { entries, digest, .. } = self.footer;
        Ok(Part { bytes: self.at + PART_FOOTER_BYTES as u64, entries, digest: digest.0 })
    }

    fn end_block(&mut self, kind: BlockKind) -> Result<()> {
        if self.entries == 0 {
            return Ok(());
        }
        let body = &self.block[BLOCK_HEADER_BYTES..];
        let header = BlockHeader {
            body_bytes: body.len() as u64,
            body_checksum: self.header.checksum.of(body),
            keyspace: self.keyspace,
            entries: self.entries,
            kind,
        };
        self.block[..BLOCK_HEADER_BYTES].copy_from_slice(&header.encode(self.header.salt, self.at));
        self.file.write_at(&self.block, self.at)?;
        let bytes = self.block.len() as u64;
        // Written out as it comes: left to the page cache, all of it would meet the log's syncs in one burst.
        self.file.start_write_out(self.at, bytes);
        self.footer = self.footer.and(&header, self.at);
        self.at += bytes;
        self.block.truncate(BLOCK_HEADER_BYTES);
        self.entries = 0;
        self.pace.spend(bytes)
    }
}

/// True for the header of this part of a checkpoint.
pub(super) fn is_part_of(header: &PartHeader, store_id: StoreId, of: &Checkpoint, number: u32) -> bool {
    let parts = u32::try_from(of.parts.len()).unwrap_or(u32::MAX);
    (header.store_id, header.lsn, header.part, header.parts) == (store_id, of.lsn(), number, parts)
}

/// Reads a part, block by block.
pub(super) struct PartReader {
    file: DirFile,
    header: PartHeader,
    expected: Part,
    at: u64,
    footer: PartFooter,
    body: Vec<u8>,
}

/// A block whose checksum is right.
pub(super) struct Block<'a> {
    pub(super) header: BlockHeader,
    pub(super) body: &'a [u8],
}

impl PartReader {
    /// Opens a part and checks that it is the one that is wanted: of this store, checkpoint and number.
    pub(super) fn open(
        dir: &Dir,
        name: &str,
        expected: Part,
        is_wanted: impl FnOnce(&PartHeader) -> bool,
    ) -> Result<PartReader> {
        let file = match dir.open(name, Access::Read) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                let kind = CorruptionKind::CheckpointMissing;
                return Err(Error::corruption(&dir.file_path(name), 0, None, kind, None));
            }
            opened => opened?,
        };
        PartReader::of(file, expected, is_wanted)
    }

    /// The same for a file that is open.
    pub(super) fn of(
        file: DirFile,
        expected: Part,
        is_wanted: impl FnOnce(&PartHeader) -> bool,
    ) -> Result<PartReader> {
        let mut bytes = [0; PART_HEADER_BYTES];
        let filled = file.read_at(&mut bytes, 0)?;
        let header = PartHeader::decode(&bytes[..filled]).map_err(|flaw| flaw.at(file.path(), 0, None))?;
        let at = PART_HEADER_BYTES as u64;
        let footer = PartFooter::default();
        let reader = PartReader { file, header, expected, at, footer, body: Vec::new() };
        if !is_wanted(&header) || reader.file.len()? != expected.bytes {
            return Err(reader.damaged());
        }
        Ok(reader)
    }

    pub(super) fn header(&self) -> &PartHeader {
        &self.header
    }

    /// The next block; `None` when the part has ended as its footer and the manifest say.
    pub(super) fn next(&mut self) -> Result<Option<Block<'_>>> {
        let mut bytes = [0; PART_FOOTER_BYTES];
        let filled = self.file.read_at(&mut bytes, self.at)?;
        let salt = self.header.salt;
        let Some(header) = BlockHeader::decode(&bytes[..filled], salt, self.at) else {
            return self.end(&bytes[..filled]).map(|()| None);
        };
        // The length comes from a checked header, and is bounded by the file all the same.
        let left = self.expected.bytes.saturating_sub(self.at + BLOCK_HEADER_BYTES as u64);
        let len = usize::try_from(header.body_bytes.min(left)).unwrap_or(usize::MAX);
        self.body.resize(len, 0);
        let filled = self.file.read_at(&mut self.body, self.at + BLOCK_HEADER_BYTES as u64)?;
        if filled as u64 != header.body_bytes || self.header.checksum.of(&self.body) != header.body_checksum {
            return Err(self.damaged());
        }
        self.footer = self.footer.and(&header, self.at);
        self.at += BLOCK_HEADER_BYTES as u64 + header.body_bytes;
        Ok(Some(Block { header, body: &self.body }))
    }

    /// True if the footer stands here, and fits what was read, whatever the manifest says.
    pub(super) fn is_at_end(&self) -> Result<bool> {
        let mut bytes = [0; PART_FOOTER_BYTES];
        let filled = self.file.read_at(&mut bytes, self.at)?;
        Ok(PartFooter::decode(&bytes[..filled], self.header.salt, self.at) == Some(self.footer))
    }

    /// Moves behind a block whose body is damaged. False if it is the header: then nothing says where the next one begins.
    pub(super) fn skip(&mut self) -> Result<bool> {
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        let filled = self.file.read_at(&mut bytes, self.at)?;
        let header = BlockHeader::decode(&bytes[..filled], self.header.salt, self.at);
        let next =
            header.and_then(|header| self.at.checked_add(BLOCK_HEADER_BYTES as u64 + header.body_bytes));
        self.at = next.unwrap_or(self.at);
        Ok(next.is_some())
    }

    /// The error for damage at the place where the next block is expected.
    pub(super) fn damaged(&self) -> Error {
        let flaw = Flaw::Corrupt(CorruptionKind::Checkpoint);
        flaw.at(self.file.path(), self.at, Some(self.header.lsn))
    }

    fn end(&self, bytes: &[u8]) -> Result<()> {
        let footer = PartFooter::decode(bytes, self.header.salt, self.at);
        let whole = footer == Some(self.footer)
            && self.at + PART_FOOTER_BYTES as u64 == self.expected.bytes
            && self.footer.entries == self.expected.entries
            && self.footer.digest.0 == self.expected.digest;
        if whole { Ok(()) } else { Err(self.damaged()) }
    }
}
