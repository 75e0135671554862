//! The checksums: which algorithm guards payloads, and the digest that stands for a whole segment.
//!
//! There is no "none": without a checksum on the payload, a batch could not be known to be whole after a power cut.
//! Headers always use CRC-32, whatever is chosen here, so that any release can check them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3;

use crate::lsn::Lsn;

/// The algorithm that guards the payload of each record. Chosen per log, stated in each segment's header.
///
/// ```
/// use forelog::Checksum;
///
/// assert_eq!("xxh3".parse(), Ok(Checksum::Xxh3));
/// assert_eq!(Checksum::Crc32.of(b"123456789"), 0xcbf4_3926);
/// assert_eq!(Checksum::ALL.map(Checksum::name), ["crc32", "crc32c", "xxh3"]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// CRC-32 (IEEE 802.3), by `crc32fast`. Finds every burst of up to 32 bits.
    #[default]
    Crc32,
    /// CRC-32C (Castagnoli), the choice of LevelDB, RocksDB and ext4, by `crc32c`.
    Crc32c,
    /// XXH3-64: 64 bits wide, the strongest against large random damage.
    Xxh3,
}

impl Checksum {
    /// All algorithms, in the order of their numbers on disk.
    pub const ALL: [Checksum; 3] = [Checksum::Crc32, Checksum::Crc32c, Checksum::Xxh3];

    /// The checksum of these bytes; the CRCs fill the low 32 bits.
    pub fn of(self, bytes: &[u8]) -> u64 {
        match self {
            Checksum::Crc32 => u64::from(crc32fast::hash(bytes)),
            Checksum::Crc32c => u64::from(crc32c::crc32c(bytes)),
            Checksum::Xxh3 => xxh3::xxh3_64(bytes),
        }
    }

    /// Its name in options and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Checksum::Crc32 => "crc32",
            Checksum::Crc32c => "crc32c",
            Checksum::Xxh3 => "xxh3",
        }
    }

    /// Its number on disk.
    pub(crate) const fn tag(self) -> u8 {
        match self {
            Checksum::Crc32 => 1,
            Checksum::Crc32c => 2,
            Checksum::Xxh3 => 3,
        }
    }

    pub(crate) fn from_tag(tag: u8) -> Option<Checksum> {
        Checksum::ALL.into_iter().find(|algorithm| algorithm.tag() == tag)
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Checksum {
    type Err = String;

    fn from_str(name: &str) -> Result<Checksum, String> {
        Checksum::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| format!("no checksum is called {name:?}; there are crc32, crc32c and xxh3"))
    }
}

/// Stands for the records of a segment: a hash chained over (LSN, kind, payload checksum) of each.
///
/// The successor of a segment states it, so that a segment whose records were swapped, shortened or replaced, each
/// of them valid by itself, is found out. It begins anew in each segment, so segments are checked in parallel.
///
/// ```
/// use forelog::format::checksum::Digest;
/// use forelog::format::record::RecordKind;
/// use forelog::{Checksum, Lsn};
///
/// let digest_of = |payloads: &[&str]| {
///     let records = (1..).map(Lsn::new).zip(payloads);
///     records.fold(Digest::default(), |digest, (lsn, payload)| {
///         digest.and(lsn, RecordKind::Data.tag(), Checksum::Crc32.of(payload.as_bytes()))
///     })
/// };
/// let stated = digest_of(&["one", "two", "three"]);
/// assert_ne!(digest_of(&["one", "three", "two"]), stated); // swapped
/// assert_ne!(digest_of(&["one", "two"]), stated); // cut short
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest(pub u64);

impl Digest {
    /// The digest after one more record.
    #[must_use]
    pub fn and(self, lsn: Lsn, kind: u8, payload_checksum: u64) -> Digest {
        let mut bytes = [0; 17];
        bytes[..8].copy_from_slice(&lsn.get().to_le_bytes());
        bytes[8] = kind;
        bytes[9..].copy_from_slice(&payload_checksum.to_le_bytes());
        Digest(xxh3::xxh3_64_with_seed(&bytes, self.0))
    }
}

/// The CRC-32 of a header, seeded with where it belongs, so that stale and misplaced bytes do not pass.
pub(crate) fn header_crc(salt: u64, offset: u64, bytes: &[u8]) -> u32 {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&salt.to_le_bytes());
    place[8..].copy_from_slice(&offset.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&place);
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    //! Shows that the algorithms are the published ones, by their check values.
    use super::*;

    #[test]
    fn check_values() {
        assert_eq!(Checksum::Crc32.of(b"123456789"), 0xcbf4_3926);
        assert_eq!(Checksum::Crc32c.of(b"123456789"), 0xe306_9283);
        assert_eq!(Checksum::Xxh3.of(b""), 0x2d06_8005_38d3_94c2);
    }

    #[test]
    fn names() {
        for (algorithm, name) in Checksum::ALL.into_iter().zip(["crc32", "crc32c", "xxh3"]) {
            assert_eq!((algorithm.to_string(), name.parse()), (name.to_owned(), Ok(algorithm)));
        }
        assert!("CRC32".parse::<Checksum>().unwrap_err().contains("\"CRC32\""));
    }

    #[test]
    fn the_digest_depends_on_every_part_and_on_the_order() {
        let one = Digest::default().and(Lsn::new(1), 1, 7).and(Lsn::new(2), 1, 8);
        let others = [
            Digest::default().and(Lsn::new(2), 1, 8).and(Lsn::new(1), 1, 7),
            Digest::default().and(Lsn::new(1), 2, 7).and(Lsn::new(2), 1, 8),
            Digest::default().and(Lsn::new(1), 1, 9).and(Lsn::new(2), 1, 8),
            Digest::default().and(Lsn::new(1), 1, 7),
        ];
        assert!(others.iter().all(|other| *other != one));
    }
}
