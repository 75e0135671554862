//! A checkpoint's part file: the entries of a range of keys, sorted, in blocks that are checked one by one.
//!
//! ```text
//!  ┌───────────┬──────────────┬────────┬──────────────┬────────┬─ … ─┬────────┐
//!  │ header 64 │ block header │ body … │ block header │ body … │     │ footer │     nothing behind it
//!  └───────────┴──────────────┴────────┴──────────────┴────────┴─ … ─┴────────┘
//!
//!  header, 64 bytes                          block header, 32 bytes              footer, 40 bytes
//!   0   8  magic "FORECKPT"                   0  4  crc, of bytes 4 to 31         0  8  magic "FOREDONE"
//!   8   4  format version, u32                4  4  keyspace, u32                 8  8  blocks, u64
//!  12   4  header bytes, u32: 64              8  8  body bytes, u64              16  8  entries, u64
//!  16  16  store id                          16  8  body checksum, u64           24  8  digest, u64
//!  32   8  LSN whose state this is           24  4  entries in it, u32           32  4  reserved
//!  40   8  salt                              28  1  kind: 1 entries, 2 keyspaces 36  4  crc, of bytes 0 to 35
//!  48   4  number of the part, u32           29  3  reserved
//!  52   4  how many parts there are, u32
//!  56   1  checksum of bodies
//!  57   3  reserved
//!  60   4  crc, of bytes 0 to 59
//! ```
//!
//! The CRCs of block headers and of the footer are seeded with the salt and with their place in the file, so that
//! stale and misplaced bytes do not pass. The bodies are encoded by [`codec`]. The digest runs over (offset, kind, body
//! checksum) of the blocks; the manifest states it for each part, so that a part that is whole and the wrong one is
//! found out.
//!
//! A part is written once, under a name that was never used before, and synced before the manifest names it. So
//! whatever is wrong with a part that the manifest names is corruption.
//!
//! ```
//! use std::sync::Arc;
//!
//! use forelog::Options;
//! use forelog::format::checkpoint::{self, BLOCK_BYTES, BLOCK_HEADER_BYTES, PART_FOOTER_BYTES, PART_HEADER_BYTES};
//! use forelog::format::checkpoint::{BlockHeader, BlockKind, EntryBody, PartFooter, PartHeader};
//! use forelog::storage::SimDisk;
//!
//! let disk = SimDisk::new(1);
//! let db = Options::new().storage(Arc::new(disk.clone())).segment_bytes(8192).open("data")?;
//! let lsn = db.put("user:1", "alice")?;
//! db.checkpoint()?;
//! let part = disk.files().into_iter().find(|file| file.extension() == Some("ckpt".as_ref())).unwrap();
//! let bytes = disk.read_file(part).unwrap();
//!
//! let header = PartHeader::decode(&bytes).unwrap();
//! assert_eq!(header.encode(), bytes[..PART_HEADER_BYTES]);
//! let block = BlockHeader::decode(&bytes[64..], header.salt, 64).unwrap();
//! let body = &bytes[64 + BLOCK_HEADER_BYTES..][..block.body_bytes as usize];
//! assert_eq!((block.kind, block.body_checksum), (BlockKind::Entries, header.checksum.of(body)));
//! assert!(body.len() < BLOCK_BYTES); // or there would be a second one
//! let entries: Vec<_> = checkpoint::entries(body).collect();
//! assert_eq!(entries, [Ok(EntryBody { lsn: lsn.get(), key: b"user:1", value: b"alice" })]);
//!
//! let at = bytes.len() - PART_FOOTER_BYTES;
//! let footer = PartFooter::decode(&bytes[at..], header.salt, at as u64);
//! assert_eq!(footer, Some(PartFooter::default().and(&block, 64)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use bincode::{BorrowDecode, Encode};

use super::batch_body::KeyspaceId;
use super::checksum::{Checksum, Digest, header_crc};
use super::{FORMAT_VERSION, Flaw, StoreId, codec, field, get_lsn, get_u32, get_u64, put, put_lsn};
use crate::error::CorruptionKind;
use crate::lsn::Lsn;

/// Bytes of a part's header.
pub const PART_HEADER_BYTES: usize = 64;
/// Bytes before a block's body.
pub const BLOCK_HEADER_BYTES: usize = 32;
/// Bytes of a part's footer.
pub const PART_FOOTER_BYTES: usize = 40;

/// A block is closed when its body has this many bytes: enough that headers and checksums cost nothing, and small
/// enough to stay in the cache while it is decoded.
pub const BLOCK_BYTES: usize = 64 << 10;

const MAGIC: &[u8; 8] = b"FORECKPT";
const FOOTER_MAGIC: &[u8; 8] = b"FOREDONE";

const FLAW: Flaw = Flaw::Corrupt(CorruptionKind::Checkpoint);

/// What a part says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartHeader {
    /// The store that the file belongs to.
    pub store_id: StoreId,
    /// The LSN whose state this is.
    pub lsn: Lsn,
    /// Seeds the checksums of block headers and of the footer.
    pub salt: u64,
    /// The part's number in its checkpoint, from 0.
    pub part: u32,
    /// How many parts the checkpoint has.
    pub parts: u32,
    /// Guards the bodies.
    pub checksum: Checksum,
}

impl PartHeader {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; PART_HEADER_BYTES] {
        let mut bytes = [0; PART_HEADER_BYTES];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 8, &FORMAT_VERSION.to_le_bytes());
        put(&mut bytes, 12, &64_u32.to_le_bytes());
        put(&mut bytes, 16, &self.store_id.0);
        put_lsn(&mut bytes, 32, self.lsn);
        put(&mut bytes, 40, &self.salt.to_le_bytes());
        put(&mut bytes, 48, &self.part.to_le_bytes());
        put(&mut bytes, 52, &self.parts.to_le_bytes());
        bytes[56] = self.checksum.tag();
        let crc = crc32fast::hash(&bytes[..60]);
        put(&mut bytes, 60, &crc.to_le_bytes());
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`Flaw::Version`] for a sound header of another release, [`Flaw::Corrupt`] for anything that is not sound.
    pub fn decode(bytes: &[u8]) -> Result<PartHeader, Flaw> {
        let bytes = bytes.get(..PART_HEADER_BYTES).ok_or(FLAW)?;
        if !bytes.starts_with(MAGIC) || crc32fast::hash(&bytes[..60]) != get_u32(bytes, 60) {
            return Err(FLAW);
        }
        if get_u32(bytes, 8) != FORMAT_VERSION {
            return Err(Flaw::Version(get_u32(bytes, 8)));
        }
        Ok(PartHeader {
            store_id: StoreId(field(bytes, 16)),
            lsn: get_lsn(bytes, 32),
            salt: get_u64(bytes, 40),
            part: get_u32(bytes, 48),
            parts: get_u32(bytes, 52),
            checksum: Checksum::from_tag(bytes[56]).ok_or(FLAW)?,
        })
    }
}

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// Entries of one keyspace, sorted by key.
    Entries,
    /// The keyspaces beside the default one. Only in the first part.
    Keyspaces,
}

impl BlockKind {
    /// Its number on disk. 0 is no block.
    pub const fn tag(self) -> u8 {
        match self {
            BlockKind::Entries => 1,
            BlockKind::Keyspaces => 2,
        }
    }
}

/// The fixed part of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// Bytes of the body.
    pub body_bytes: u64,
    /// The body's checksum, by the algorithm that the part's header states.
    pub body_checksum: u64,
    /// The keyspace of the entries; 0 for a block of keyspaces.
    pub keyspace: KeyspaceId,
    /// How many entries the body has.
    pub entries: u32,
    /// What it holds.
    pub kind: BlockKind,
}

impl BlockHeader {
    /// The header's bytes for a block at `offset` of the part with this salt.
    pub fn encode(&self, salt: u64, offset: u64) -> [u8; BLOCK_HEADER_BYTES] {
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        put(&mut bytes, 4, &self.keyspace.0.to_le_bytes());
        put(&mut bytes, 8, &self.body_bytes.to_le_bytes());
        put(&mut bytes, 16, &self.body_checksum.to_le_bytes());
        put(&mut bytes, 24, &self.entries.to_le_bytes());
        bytes[28] = self.kind.tag();
        let crc = header_crc(salt, offset, &bytes[4..]);
        put(&mut bytes, 0, &crc.to_le_bytes());
        bytes
    }

    /// The block header that stands at `offset`, or `None` if these bytes are none.
    pub fn decode(bytes: &[u8], salt: u64, offset: u64) -> Option<BlockHeader> {
        let bytes = bytes.get(..BLOCK_HEADER_BYTES)?;
        let kind =
            [BlockKind::Entries, BlockKind::Keyspaces].into_iter().find(|kind| kind.tag() == bytes[28])?;
        let sound = bytes[29..].iter().all(|byte| *byte == 0)
            && header_crc(salt, offset, &bytes[4..]) == get_u32(bytes, 0);
        sound.then(|| BlockHeader {
            body_bytes: get_u64(bytes, 8),
            body_checksum: get_u64(bytes, 16),
            keyspace: KeyspaceId(get_u32(bytes, 4)),
            entries: get_u32(bytes, 24),
            kind,
        })
    }
}

/// The end of a part: what must stand before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartFooter {
    /// How many blocks there are.
    pub blocks: u64,
    /// How many entries of keyspaces there are in them.
    pub entries: u64,
    /// The digest of the blocks.
    pub digest: Digest,
}

impl PartFooter {
    /// The footer after one more block.
    #[must_use]
    pub fn and(self, block: &BlockHeader, offset: u64) -> PartFooter {
        let entries = if block.kind == BlockKind::Entries { u64::from(block.entries) } else { 0 };
        PartFooter {
            blocks: self.blocks.saturating_add(1),
            entries: self.entries.saturating_add(entries),
            digest: self.digest.and(Lsn::new(offset), block.kind.tag(), block.body_checksum),
        }
    }

    /// The footer's bytes at `offset` of the part with this salt.
    pub fn encode(&self, salt: u64, offset: u64) -> [u8; PART_FOOTER_BYTES] {
        let mut bytes = [0; PART_FOOTER_BYTES];
        put(&mut bytes, 0, FOOTER_MAGIC);
        put(&mut bytes, 8, &self.blocks.to_le_bytes());
        put(&mut bytes, 16, &self.entries.to_le_bytes());
        put(&mut bytes, 24, &self.digest.0.to_le_bytes());
        let crc = header_crc(salt, offset, &bytes[..36]);
        put(&mut bytes, 36, &crc.to_le_bytes());
        bytes
    }

    /// The footer that stands at `offset`, or `None` if these bytes are none.
    pub fn decode(bytes: &[u8], salt: u64, offset: u64) -> Option<PartFooter> {
        let bytes = bytes.get(..PART_FOOTER_BYTES)?;
        let sound = bytes.starts_with(FOOTER_MAGIC)
            && bytes[32..36].iter().all(|byte| *byte == 0)
            && header_crc(salt, offset, &bytes[..36]) == get_u32(bytes, 36);
        sound.then(|| PartFooter {
            blocks: get_u64(bytes, 8),
            entries: get_u64(bytes, 16),
            digest: Digest(get_u64(bytes, 24)),
        })
    }
}

/// A key with its value and the LSN that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct EntryBody<'a> {
    /// The LSN of the batch that wrote it.
    pub lsn: u64,
    /// The key.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
}

impl EntryBody<'_> {
    /// Appends the entry's bytes.
    pub fn append_to(&self, body: &mut Vec<u8>) {
        codec::append(self, body);
    }
}

/// A keyspace as it stands in a checkpoint. The last one has no name if the highest number that was given out was that of
/// a keyspace that is gone: no other one may get it.
///
/// ```
/// # use forelog::format::{KeyspaceId, checkpoint::{KeyspaceBody, keyspaces}};
/// let mut body = Vec::new();
/// KeyspaceBody { id: KeyspaceId(3), created: 4, name: "users" }.append_to(&mut body);
/// assert_eq!(keyspaces(&body).next().unwrap().unwrap().name, "users");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct KeyspaceBody<'a> {
    /// Its number.
    pub id: KeyspaceId,
    /// The LSN that created it.
    pub created: u64,
    /// Its name.
    pub name: &'a str,
}

impl KeyspaceBody<'_> {
    /// Appends the keyspace's bytes.
    pub fn append_to(&self, body: &mut Vec<u8>) {
        codec::append(self, body);
    }
}

/// Reads the entries of a body, in their order; after an error comes nothing more.
pub fn entries(body: &[u8]) -> impl Iterator<Item = Result<EntryBody<'_>, Flaw>> {
    items(body)
}

/// Reads the keyspaces of a body, in their order; after an error comes nothing more.
pub fn keyspaces(body: &[u8]) -> impl Iterator<Item = Result<KeyspaceBody<'_>, Flaw>> {
    items(body)
}

fn items<'a, T: BorrowDecode<'a, ()>>(body: &'a [u8]) -> impl Iterator<Item = Result<T, Flaw>> {
    let mut rest = body;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let item = codec::borrow_one(rest);
        rest = item.as_ref().and_then(|(_, taken)| rest.get(*taken..)).unwrap_or_default();
        Some(item.map(|(item, _)| item).ok_or(FLAW))
    })
}

#[cfg(test)]
mod tests {
    //! Shows that each piece is read back as written, and that any changed bit and any other place is refused.
    use super::*;

    const SALT: u64 = 0x1234_5678_9abc_def0;

    fn header() -> PartHeader {
        let store_id = StoreId([7; 16]);
        PartHeader { store_id, lsn: Lsn::new(57), salt: SALT, part: 3, parts: 5, checksum: Checksum::Xxh3 }
    }

    fn every_bit_counts(bytes: &[u8], decodes: impl Fn(&[u8]) -> bool) {
        assert!(decodes(bytes));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!decodes(&flipped), "bit {bit}");
        }
        assert!(!decodes(&bytes[..bytes.len() - 1]));
    }

    #[test]
    fn a_header_is_read_back_and_guarded() {
        assert_eq!(PartHeader::decode(&header().encode()), Ok(header()));
        every_bit_counts(&header().encode(), |bytes| PartHeader::decode(bytes).is_ok());
    }

    #[test]
    fn another_version_is_not_damage() {
        let mut bytes = header().encode();
        put(&mut bytes, 8, &9_u32.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..60]);
        put(&mut bytes, 60, &crc.to_le_bytes());
        assert_eq!(PartHeader::decode(&bytes), Err(Flaw::Version(9)));
    }

    #[test]
    fn block_headers_and_footers_belong_to_their_place() {
        let block = BlockHeader {
            body_bytes: 9,
            body_checksum: 77,
            keyspace: KeyspaceId(2),
            entries: 1,
            kind: BlockKind::Entries,
        };
        assert_eq!(BlockHeader::decode(&block.encode(SALT, 64), SALT, 64), Some(block));
        assert_eq!(BlockHeader::decode(&block.encode(SALT, 64), SALT, 72), None);
        assert_eq!(BlockHeader::decode(&block.encode(SALT, 64), SALT + 1, 64), None);
        every_bit_counts(&block.encode(SALT, 64), |bytes| BlockHeader::decode(bytes, SALT, 64).is_some());

        let footer = PartFooter::default().and(&block, 64);
        assert_eq!((footer.blocks, footer.entries), (1, 1));
        assert_ne!(footer.digest, PartFooter::default().and(&block, 72).digest);
        assert_eq!(PartFooter::decode(&footer.encode(SALT, 105), SALT, 105), Some(footer));
        assert_eq!(PartFooter::decode(&footer.encode(SALT, 105), SALT, 106), None);
        every_bit_counts(&footer.encode(SALT, 105), |bytes| PartFooter::decode(bytes, SALT, 105).is_some());
    }

    #[test]
    fn bodies_are_read_back_and_cuts_are_errors() {
        let entry = EntryBody { lsn: 300, key: b"k", value: b"vv" };
        let mut body = Vec::new();
        entry.append_to(&mut body);
        assert_eq!(body, b"\xfb\x2c\x01\x01k\x02vv");
        assert_eq!(entries(&body).collect::<Vec<_>>(), [Ok(entry)]);
        for len in 1..body.len() {
            assert_eq!(entries(&body[..len]).collect::<Vec<_>>(), [Err(FLAW)], "{len}");
        }
        let keyspace = KeyspaceBody { id: KeyspaceId(3), created: 4, name: "users" };
        let mut body = Vec::new();
        keyspace.append_to(&mut body);
        assert_eq!(body, b"\x03\x04\x05users");
        assert_eq!(keyspaces(&body).collect::<Vec<_>>(), [Ok(keyspace)]);
    }
}
