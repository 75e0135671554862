//! The seal: the trailer of a finished segment, behind its last record.
//!
//! ```text
//!  offset 0     8           16       24        32    36
//!  ┌──────────┬───────────┬────────┬─────────┬─────┬──────────┐
//!  │ FORESEAL │ last_lsn  │ digest │ records │ crc │ reserved │
//!  │ 8 bytes  │ u64       │ u64    │ u64     │ u32 │ 4 bytes  │
//!  └──────────┴───────────┴────────┴─────────┴─────┴──────────┘
//! ```
//!
//! It has no LSN. It is written only after the successor has its name, so a seal without a successor means that the
//! successor was lost. Every segment keeps room for it, at its end: there it stands where a torn end or a cut left other
//! bytes behind the last record.
//!
//! ```
//! use std::sync::Arc;
//!
//! use forelog::format::seal::{SEAL_BYTES, Seal};
//! use forelog::format::segment::SegmentHeader;
//! use forelog::storage::SimDisk;
//! use forelog::{Lsn, WalOptions};
//!
//! let disk = SimDisk::new(1);
//! let options = WalOptions::new().storage(Arc::new(disk.clone())).segment_bytes(8192).idle_mark(None);
//! let wal = options.open("log")?;
//! wal.append_many(&[b"one", b"two"])?;
//! wal.rotate()?;
//!
//! let bytes = disk.read_file("log/00000000000000000001.wal").unwrap();
//! let header = SegmentHeader::decode(&bytes).unwrap();
//! let at = bytes.windows(8).position(|magic| magic == b"FORESEAL").unwrap();
//! let seal = Seal::decode(&bytes[at..], header.salt, at as u64).unwrap();
//! assert_eq!((seal.last_lsn, seal.records), (Lsn::new(2), 2));
//! assert_eq!(seal.encode(header.salt, at as u64), bytes[at..at + SEAL_BYTES]);
//!
//! // The next segment states the same.
//! let next = SegmentHeader::decode(&disk.read_file("log/00000000000000000003.wal").unwrap()).unwrap();
//! assert_eq!((next.previous_last, next.previous_digest), (seal.last_lsn, seal.digest));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::checksum::{Digest, header_crc};
use super::{get_lsn, get_u32, get_u64, put, put_lsn};
use crate::lsn::Lsn;

/// Bytes of a seal.
pub const SEAL_BYTES: usize = 40;

const MAGIC: &[u8; 8] = b"FORESEAL";

/// States what a finished segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The LSN of the last record.
    pub last_lsn: Lsn,
    /// The digest of all records.
    pub digest: Digest,
    /// How many records there are.
    pub records: u64,
}

impl Seal {
    /// The seal's bytes at `offset` of the segment with this salt.
    pub fn encode(&self, salt: u64, offset: u64) -> [u8; SEAL_BYTES] {
        let mut bytes = [0; SEAL_BYTES];
        put(&mut bytes, 0, MAGIC);
        put_lsn(&mut bytes, 8, self.last_lsn);
        put(&mut bytes, 16, &self.digest.0.to_le_bytes());
        put(&mut bytes, 24, &self.records.to_le_bytes());
        let crc = header_crc(salt, offset, &bytes[..32]);
        put(&mut bytes, 32, &crc.to_le_bytes());
        bytes
    }

    /// The seal that stands at `offset`, or `None`.
    pub fn decode(bytes: &[u8], salt: u64, offset: u64) -> Option<Seal> {
        let bytes = bytes.get(..SEAL_BYTES)?;
        let valid = bytes.starts_with(MAGIC)
            && bytes[36..].iter().all(|byte| *byte == 0)
            && header_crc(salt, offset, &bytes[..32]) == get_u32(bytes, 32);
        valid.then(|| Seal {
            last_lsn: get_lsn(bytes, 8),
            digest: Digest(get_u64(bytes, 16)),
            records: get_u64(bytes, 24),
        })
    }
}

#[cfg(test)]
mod tests {
    //! Shows that a seal is read back as written and that any changed bit is refused.
    use super::*;

    #[test]
    fn round_trip_and_every_bit() {
        let seal = Seal { last_lsn: Lsn::new(9), digest: Digest(77), records: 9 };
        let bytes = seal.encode(5, 8192);
        assert_eq!(Seal::decode(&bytes, 5, 8192), Some(seal));
        assert_eq!(Seal::decode(&bytes, 5, 8200), None);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Seal::decode(&flipped, 5, 8192), None, "bit {bit}");
        }
    }
}
