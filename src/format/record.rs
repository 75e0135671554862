//! A record: one batch, or one mark, as it stands in the log.
//!
//! ```text
//!  offset 0      4             8     16            24        32                 40     41      42
//!  ┌───────────┬─────────────┬─────┬─────────────┬─────────┬──────────────────┬──────┬───────┬──────────┬─────────┬─────┐
//!  │header_crc │ payload_len │ lsn │ durable_lsn │ time_us │ payload_checksum │ kind │ flags │ reserved │ payload │ 0…0 │
//!  │ u32       │ u32         │ u64 │ u64         │ u64     │ u64              │ u8   │ u8    │ 6 bytes  │         │     │
//!  └───────────┴─────────────┴─────┴─────────────┴─────────┴──────────────────┴──────┴───────┴──────────┴─────────┴─────┘
//!  ╰─ header_crc covers: segment salt, offset of the record, and everything up to the payload ────────╯      to a multiple of 8
//! ```
//!
//! The length is trusted only after `header_crc`, so a wrong one never allocates. `durable_lsn` is what was known to
//! be durable when the record was written: this is what makes a later record *evidence* about earlier ones (`wal`).
//!
//! ```
//! use forelog::format::record::{RECORD_ALIGNMENT, RECORD_HEADER_BYTES, RecordHeader, RecordKind, stored_bytes};
//! use forelog::{Checksum, Lsn};
//!
//! let (salt, offset) = (0x5a17, 4096);
//! let header = RecordHeader {
//!     payload_len: 5,
//!     lsn: Lsn::new(43),
//!     durable_lsn: Lsn::new(42),
//!     time_us: 1_700_000_000_000_000,
//!     payload_checksum: Checksum::Crc32.of(b"hello"),
//!     kind: RecordKind::Data,
//! };
//! let bytes = header.encode(salt, offset);
//! assert_eq!((bytes.len(), bytes[40]), (RECORD_HEADER_BYTES, RecordKind::Data.tag()));
//! assert_eq!(RecordHeader::decode(&bytes, salt, offset), Some(header));
//! assert_eq!(RecordHeader::decode(&bytes, salt, offset + RECORD_ALIGNMENT), None); // it belongs to its place
//! assert_eq!((header.stored_bytes(), stored_bytes(5)), (56, 56)); // 48 and 5, and 3 zeros
//! ```
//!
//! Where to read next: [`segment`](super::segment).

use super::checksum::header_crc;
use super::{get_lsn, get_u32, get_u64, put, put_lsn};
use crate::lsn::Lsn;

/// Bytes before the payload.
pub const RECORD_HEADER_BYTES: usize = 48;

/// Records begin at multiples of this.
pub const RECORD_ALIGNMENT: u64 = 8;

const _: () = assert!((RECORD_HEADER_BYTES as u64).is_multiple_of(RECORD_ALIGNMENT));

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// A payload of the log's user.
    Data,
    /// No payload: written and synced when the log falls idle. Its `durable_lsn` proves what came before.
    SyncMark,
    /// No payload: the log was closed in good order.
    CloseMark,
}

impl RecordKind {
    /// Its number on disk. 0 is no record, so that zeros never look like one.
    pub const fn tag(self) -> u8 {
        match self {
            RecordKind::Data => 1,
            RecordKind::SyncMark => 2,
            RecordKind::CloseMark => 3,
        }
    }

    /// Its name in listings: `data`, `sync-mark`, `close-mark`.
    pub const fn name(self) -> &'static str {
        match self {
            RecordKind::Data => "data",
            RecordKind::SyncMark => "sync-mark",
            RecordKind::CloseMark => "close-mark",
        }
    }

    fn from_tag(tag: u8) -> Option<RecordKind> {
        [RecordKind::Data, RecordKind::SyncMark, RecordKind::CloseMark]
            .into_iter()
            .find(|kind| kind.tag() == tag)
    }
}

/// The fixed part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Bytes of payload.
    pub payload_len: u32,
    /// The record's LSN.
    pub lsn: Lsn,
    /// What was known to be durable when this was written; always below `lsn`.
    pub durable_lsn: Lsn,
    /// Microseconds since 1970-01-01 UTC; never below that of an earlier record.
    pub time_us: u64,
    /// The payload's checksum, by the algorithm that the segment's header states.
    pub payload_checksum: u64,
    /// What the record is.
    pub kind: RecordKind,
}

impl RecordHeader {
    /// The header's bytes for a record at `offset` of the segment with this salt.
    pub fn encode(&self, salt: u64, offset: u64) -> [u8; RECORD_HEADER_BYTES] {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        put(&mut bytes, 4, &self.payload_len.to_le_bytes());
        put_lsn(&mut bytes, 8, self.lsn);
        put_lsn(&mut bytes, 16, self.durable_lsn);
        put(&mut bytes, 24, &self.time_us.to_le_bytes());
        put(&mut bytes, 32, &self.payload_checksum.to_le_bytes());
        bytes[40] = self.kind.tag();
        let crc = header_crc(salt, offset, &bytes[4..]);
        put(&mut bytes, 0, &crc.to_le_bytes());
        bytes
    }

    /// The header that stands at `offset`, or `None` if these bytes are not a plausible one: known kind, zero flags
    /// and reserved bytes, `durable_lsn` below `lsn`, and last, because it is the dearest, the checksum.
    ///
    /// `bytes` may be longer than a header; shorter is none.
    pub fn decode(bytes: &[u8], salt: u64, offset: u64) -> Option<RecordHeader> {
        let bytes = bytes.get(..RECORD_HEADER_BYTES)?;
        let kind = RecordKind::from_tag(bytes[40])?;
        let header = RecordHeader {
            payload_len: get_u32(bytes, 4),
            lsn: get_lsn(bytes, 8),
            durable_lsn: get_lsn(bytes, 16),
            time_us: get_u64(bytes, 24),
            payload_checksum: get_u64(bytes, 32),
            kind,
        };
        let plausible = bytes[41..].iter().all(|byte| *byte == 0) && header.durable_lsn < header.lsn;
        (plausible && header_crc(salt, offset, &bytes[4..]) == get_u32(bytes, 0)).then_some(header)
    }

    /// Bytes from this record's beginning to where the next one may begin.
    pub fn stored_bytes(&self) -> u64 {
        stored_bytes(u64::from(self.payload_len))
    }
}

/// Bytes that a record with a payload of this length takes: header, payload, zeros up to the alignment.
pub const fn stored_bytes(payload_len: u64) -> u64 {
    (RECORD_HEADER_BYTES as u64 + payload_len).next_multiple_of(RECORD_ALIGNMENT)
}

#[cfg(test)]
mod tests {
    //! Shows that a header is read back as written, and that any changed bit, another place or another salt is refused.
    use super::*;

    fn header() -> RecordHeader {
        RecordHeader {
            payload_len: 14,
            lsn: Lsn::new(43),
            durable_lsn: Lsn::new(42),
            time_us: 1_700_000_000_000_000,
            payload_checksum: 0xdead_beef,
            kind: RecordKind::Data,
        }
    }

    #[test]
    fn round_trip() {
        let bytes = header().encode(99, 4096);
        assert_eq!(RecordHeader::decode(&bytes, 99, 4096), Some(header()));
        assert_eq!(header().stored_bytes(), 64);
    }

    #[test]
    fn every_bit_counts() {
        let bytes = header().encode(99, 4096);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::decode(&flipped, 99, 4096), None, "bit {bit}");
        }
    }

    #[test]
    fn the_place_counts() {
        let bytes = header().encode(99, 4096);
        assert_eq!(RecordHeader::decode(&bytes, 98, 4096), None);
        assert_eq!(RecordHeader::decode(&bytes, 99, 4104), None);
        assert_eq!(RecordHeader::decode(&bytes[..47], 99, 4096), None);
    }

    #[test]
    fn implausible_headers_are_refused_although_their_checksum_fits() {
        let durable_too_high = RecordHeader { durable_lsn: Lsn::new(43), ..header() };
        assert_eq!(RecordHeader::decode(&durable_too_high.encode(99, 4096), 99, 4096), None);
        assert_eq!(RecordHeader::decode(&[0; 48], 0, 0), None);
    }
}
