//! A segment's header block: the first 4 KiB of a log file.
//!
//! ```text
//!  ┌────────────────────┬──────────────────────────────────────────────┬────────────┬──────┬─────────┐
//!  │ header block, 4096 │ record │ record │ record │ …                 │ (the seal) │ 0…0  │ file_len│
//!  └────────────────────┴──────────────────────────────────────────────┴────────────┴──────┴─────────┘
//!
//!  offset  bytes  field
//!       0      8  magic            "FORELOG\n"
//!       8      4  format version   u32
//!      12      4  header bytes     u32, 4096
//!      16     16  store id         random, the same in all files of a store
//!      32      8  base LSN         of the first record; also the file's name
//!      40      8  file length      in bytes, fixed
//!      48      8  salt             random, seeds the checksums of record headers and of the seal
//!      56      1  checksum         of payloads: 1 crc32, 2 crc32c, 3 xxh3
//!      57      7  reserved
//!      64      8  previous last    last LSN of the segment before (0: none)
//!      72      8  previous digest  of that segment's records
//!      80      8  proven to        an LSN known to be durable when this file got its name
//!      88      8  created          microseconds since 1970
//!      96      8  cut              how many cuts the log had seen (see `wal::cut`)
//!     104   3988  reserved
//!    4092      4  crc              CRC-32 of bytes 0 to 4091
//! ```
//!
//! The first 12 bytes and the place of the checksum are the same in every version to come, so that a file of
//! another release is told from a damaged one.
//!
//! The block is synced before its file gets its real name. So a bad header under a real name is never the work of a
//! crash: it is always corruption.
//!
//! ```
//! use std::sync::Arc;
//!
//! use forelog::format::segment::{MIN_SEGMENT_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader, max_payload_bytes};
//! use forelog::storage::SimDisk;
//! use forelog::{Lsn, WalOptions};
//!
//! let disk = SimDisk::new(1);
//! let options = WalOptions::new().storage(Arc::new(disk.clone())).segment_bytes(MIN_SEGMENT_BYTES);
//! let wal = options.open("log")?;
//! let bytes = disk.read_file("log/00000000000000000001.wal").unwrap();
//! let header = SegmentHeader::decode(&bytes).unwrap();
//! assert_eq!((header.base, header.file_len), (Lsn::new(1), bytes.len() as u64));
//! assert_eq!(header.encode(), bytes[..SEGMENT_HEADER_BYTES]);
//!
//! assert_eq!(header.records_end(), 8192 - 40); // a seal fits behind the last record
//! assert_eq!(header.last_seal_offset(), 8152);
//! assert_eq!(max_payload_bytes(header.file_len), 8152 - 4096 - 48);
//! assert_eq!(wal.max_payload_bytes(), 4008);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::checksum::{Checksum, Digest};
use super::record::{RECORD_ALIGNMENT, RECORD_HEADER_BYTES, stored_bytes};
use super::seal::SEAL_BYTES;
use super::{FORMAT_VERSION, Flaw, StoreId, field, get_lsn, get_u32, get_u64, put, put_lsn};
use crate::error::CorruptionKind;
use crate::lsn::Lsn;

/// Bytes of the header block. Records begin behind it.
pub const SEGMENT_HEADER_BYTES: usize = 4096;

/// The smallest segment: a header block and 4 KiB for records and the seal.
pub const MIN_SEGMENT_BYTES: u64 = 8192;

const MAGIC: &[u8; 8] = b"FORELOG\n";
const CRC_AT: usize = SEGMENT_HEADER_BYTES - 4;

const _: () = assert!((SEGMENT_HEADER_BYTES as u64).is_multiple_of(RECORD_ALIGNMENT));
const _: () = assert!(MIN_SEGMENT_BYTES > (SEGMENT_HEADER_BYTES + RECORD_HEADER_BYTES + SEAL_BYTES) as u64);

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The store that the file belongs to.
    pub store_id: StoreId,
    /// The LSN of the first record.
    pub base: Lsn,
    /// The file's length in bytes.
    pub file_len: u64,
    /// Seeds the checksums of record headers and of the seal, so that another file's bytes do not pass.
    pub salt: u64,
    /// Guards the payloads.
    pub checksum: Checksum,
    /// The last LSN of the segment before, 0 where there is none.
    pub previous_last: Lsn,
    /// The digest of the segment before, up to `previous_last`.
    pub previous_digest: Digest,
    /// An LSN known to be durable when this file got its name.
    pub proven_to: Lsn,
    /// Microseconds since 1970-01-01 UTC.
    pub created_us: u64,
    /// How many cuts the log had seen.
    pub cut: u64,
}

impl SegmentHeader {
    /// The header block.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; SEGMENT_HEADER_BYTES];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 8, &FORMAT_VERSION.to_le_bytes());
        put(&mut bytes, 12, &4096_u32.to_le_bytes());
        put(&mut bytes, 16, &self.store_id.0);
        put_lsn(&mut bytes, 32, self.base);
        put(&mut bytes, 40, &self.file_len.to_le_bytes());
        put(&mut bytes, 48, &self.salt.to_le_bytes());
        bytes[56] = self.checksum.tag();
        put_lsn(&mut bytes, 64, self.previous_last);
        put(&mut bytes, 72, &self.previous_digest.0.to_le_bytes());
        put_lsn(&mut bytes, 80, self.proven_to);
        put(&mut bytes, 88, &self.created_us.to_le_bytes());
        put(&mut bytes, 96, &self.cut.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        put(&mut bytes, CRC_AT, &crc.to_le_bytes());
        bytes
    }

    /// Reads a header block.
    ///
    /// # Errors
    /// [`Flaw::Version`] for a sound block of another release, [`Flaw::Corrupt`] for anything that is not sound.
    pub fn decode(bytes: &[u8]) -> Result<SegmentHeader, Flaw> {
        let flaw = Flaw::Corrupt(CorruptionKind::SegmentHeader);
        let bytes = bytes.get(..SEGMENT_HEADER_BYTES).ok_or(flaw)?;
        if !bytes.starts_with(MAGIC) || crc32fast::hash(&bytes[..CRC_AT]) != get_u32(bytes, CRC_AT) {
            return Err(flaw);
        }
        if get_u32(bytes, 8) != FORMAT_VERSION {
            return Err(Flaw::Version(get_u32(bytes, 8)));
        }
        let (header, checksum) = SegmentHeader::unchecked(bytes);
        checksum.ok_or(flaw)?;
        let sensible = header.base > Lsn::ZERO
            && header.file_len >= MIN_SEGMENT_BYTES
            && header.previous_last == header.base.previous();
        if sensible { Ok(header) } else { Err(flaw) }
    }

    /// What stands in the first 104 bytes of a block, which may be damaged; and the algorithm, if that is one.
    pub(crate) fn unchecked(bytes: &[u8]) -> (SegmentHeader, Option<Checksum>) {
        let checksum = Checksum::from_tag(bytes[56]);
        let header = SegmentHeader {
            store_id: StoreId(field(bytes, 16)),
            base: get_lsn(bytes, 32),
            file_len: get_u64(bytes, 40),
            salt: get_u64(bytes, 48),
            checksum: checksum.unwrap_or_default(),
            previous_last: get_lsn(bytes, 64),
            previous_digest: Digest(get_u64(bytes, 72)),
            proven_to: get_lsn(bytes, 80),
            created_us: get_u64(bytes, 88),
            cut: get_u64(bytes, 96),
        };
        (header, checksum)
    }

    /// Where the seal stands if it cannot follow the last record, because a torn end or a cut left other bytes there:
    /// in the room that no record ever takes.
    pub fn last_seal_offset(&self) -> u64 {
        self.records_end() - self.records_end() % RECORD_ALIGNMENT
    }

    /// Where records must end, so that the seal still fits.
    pub fn records_end(&self) -> u64 {
        records_end(self.file_len)
    }
}

const fn records_end(file_len: u64) -> u64 {
    file_len - SEAL_BYTES as u64
}

/// The longest payload that a record in a segment of this length can have (and that a `u32` can state).
pub const fn max_payload_bytes(file_len: u64) -> u64 {
    let room = records_end(file_len).saturating_sub(SEGMENT_HEADER_BYTES as u64);
    let payload = (room - room % RECORD_ALIGNMENT).saturating_sub(stored_bytes(0));
    if payload < u32::MAX as u64 { payload } else { u32::MAX as u64 }
}

#[cfg(test)]
mod tests {
    //! Shows that a header block is read back as written, that any changed bit is refused, and that a block of
    //! another version is told from a damaged one.
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            store_id: StoreId([7; 16]),
            base: Lsn::new(57),
            file_len: 1 << 20,
            salt: 0x1234_5678_9abc_def0,
            checksum: Checksum::Xxh3,
            previous_last: Lsn::new(56),
            previous_digest: Digest(99),
            proven_to: Lsn::new(56),
            created_us: 1_700_000_000_000_000,
            cut: 1,
        }
    }

    #[test]
    fn round_trip_and_every_bit() {
        let bytes = header().encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(SegmentHeader::decode(&flipped), Err(Flaw::Corrupt(_))), "bit {bit}");
        }
    }

    #[test]
    fn another_version_is_not_damage() {
        let mut bytes = header().encode();
        put(&mut bytes, 8, &2_u32.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        put(&mut bytes, CRC_AT, &crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Err(Flaw::Version(2)));
    }

    #[test]
    fn a_sound_block_that_makes_no_sense_is_refused() {
        for senseless in [
            SegmentHeader { base: Lsn::ZERO, previous_last: Lsn::ZERO, ..header() },
            SegmentHeader { file_len: MIN_SEGMENT_BYTES - 1, ..header() },
            SegmentHeader { previous_last: Lsn::new(55), ..header() },
        ] {
            assert!(
                matches!(SegmentHeader::decode(&senseless.encode()), Err(Flaw::Corrupt(_))),
                "{senseless:?}"
            );
        }
        let shortest = SegmentHeader { file_len: MIN_SEGMENT_BYTES, ..header() };
        assert_eq!(SegmentHeader::decode(&shortest.encode()), Ok(shortest));
    }

    #[test]
    fn the_last_seal_stands_on_a_step_and_fits() {
        for file_len in [8192, 8195, 1 << 20] {
            let header = SegmentHeader { file_len, ..header() };
            let (seal, end) = (header.last_seal_offset(), header.records_end());
            assert_eq!(end, file_len - SEAL_BYTES as u64);
            assert!(
                seal % RECORD_ALIGNMENT == 0 && seal <= end && seal + RECORD_ALIGNMENT > end,
                "{file_len}"
            );
        }
    }

    #[test]
    fn the_longest_payload_fits_with_the_seal() {
        for file_len in [MIN_SEGMENT_BYTES, 8195, 1 << 20] {
            let end = SEGMENT_HEADER_BYTES as u64 + stored_bytes(max_payload_bytes(file_len));
            assert!(end + SEAL_BYTES as u64 <= file_len, "{file_len}");
            let beyond = SEGMENT_HEADER_BYTES as u64 + stored_bytes(max_payload_bytes(file_len) + 1);
            assert!(beyond + SEAL_BYTES as u64 > file_len, "{file_len}");
        }
    }
}
