//! The manifest: the small file that says which files are the store.
//!
//! ```text
//!  offset 0      8         12         16         20
//!  ┌──────────┬─────────┬──────────┬──────────┬────────────┬────────┐
//!  │ FOREMANI │ version │ body_len │ body_crc │ header_crc │ body … │
//!  │ 8 bytes  │ u32     │ u32      │ u32      │ u32        │        │
//!  └──────────┴─────────┴──────────┴──────────┴────────────┴────────┘
//! ```
//!
//! The body is metadata, encoded by [`codec`]. The file holds nothing else: a byte too many is damage. It is
//! replaced as a whole (written as `MANIFEST.tmp`, synced, renamed, directory synced) and never on the commit path.

use bincode::{Decode, Encode};

use super::checksum::Checksum;
use super::segment::MIN_SEGMENT_BYTES;
use super::{FORMAT_VERSION, Flaw, StoreId, codec, get_u32, put};
use crate::error::CorruptionKind;
use crate::lsn::Lsn;

/// Bytes before the body.
pub const MANIFEST_HEADER_BYTES: usize = 24;

/// The longest manifest, in bytes.
pub const MAX_MANIFEST_BYTES: usize = MANIFEST_HEADER_BYTES + codec::METADATA_LIMIT;

const MAGIC: &[u8; 8] = b"FOREMANI";

/// What the manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The store that this is.
    pub store_id: StoreId,
    /// Counts the manifests of this store, from 1.
    pub generation: u64,
    /// Segments below this LSN are no part of the store.
    pub first_segment: Lsn,
    /// Every LSN up to this one was durable when the manifest was written.
    pub durable_lsn: Lsn,
    /// The options that stay with the store.
    pub options: PersistedOptions,
}

/// The options that stay with a store from one opening to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PersistedOptions {
    /// The length of new segments, in bytes.
    pub segment_bytes: u64,
    /// Guards the payloads of new segments.
    pub checksum: Checksum,
}

/// The body as `bincode` sees it: plain numbers, in this order.
#[derive(Encode, Decode)]
struct Body {
    store_id: [u8; 16],
    generation: u64,
    first_segment: u64,
    durable_lsn: u64,
    segment_bytes: u64,
    checksum: u8,
}

impl Manifest {
    /// The whole file.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; MANIFEST_HEADER_BYTES];
        codec::append(
            Body {
                store_id: self.store_id.0,
                generation: self.generation,
                first_segment: self.first_segment.get(),
                durable_lsn: self.durable_lsn.get(),
                segment_bytes: self.options.segment_bytes,
                checksum: self.options.checksum.tag(),
            },
            &mut bytes,
        );
        let body = &bytes[MANIFEST_HEADER_BYTES..];
        let body_len = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let body_crc = crc32fast::hash(body);
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 8, &FORMAT_VERSION.to_le_bytes());
        put(&mut bytes, 12, &body_len.to_le_bytes());
        put(&mut bytes, 16, &body_crc.to_le_bytes());
        let header_crc = crc32fast::hash(&bytes[..20]);
        put(&mut bytes, 20, &header_crc.to_le_bytes());
        bytes
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// [`Flaw::Version`] for a sound header of another release, [`Flaw::Corrupt`] for anything that is not sound.
    pub fn decode(bytes: &[u8]) -> Result<Manifest, Flaw> {
        let flaw = Flaw::Corrupt(CorruptionKind::Manifest);
        let (header, body) = bytes.split_at_checked(MANIFEST_HEADER_BYTES).ok_or(flaw)?;
        if !header.starts_with(MAGIC) || crc32fast::hash(&header[..20]) != get_u32(header, 20) {
            return Err(flaw);
        }
        if get_u32(header, 8) != FORMAT_VERSION {
            return Err(Flaw::Version(get_u32(header, 8)));
        }
        let fits = u32::try_from(body.len()) == Ok(get_u32(header, 12));
        if !fits || crc32fast::hash(body) != get_u32(header, 16) {
            return Err(flaw);
        }
        let body: Body = codec::decode_metadata(body).ok_or(flaw)?;
        // Nobody has written less; and what follows from these numbers is computed without a further check.
        if body.segment_bytes < MIN_SEGMENT_BYTES || body.first_segment == 0 {
            return Err(flaw);
        }
        Ok(Manifest {
            store_id: StoreId(body.store_id),
            generation: body.generation,
            first_segment: Lsn::new(body.first_segment),
            durable_lsn: Lsn::new(body.durable_lsn),
            options: PersistedOptions {
                segment_bytes: body.segment_bytes,
                checksum: Checksum::from_tag(body.checksum).ok_or(flaw)?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    //! Shows that a manifest is read back as written, and that any changed bit, cut or added byte is refused.
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            store_id: StoreId([9; 16]),
            generation: 3,
            first_segment: Lsn::new(1),
            durable_lsn: Lsn::new(300),
            options: PersistedOptions { segment_bytes: 64 << 20, checksum: Checksum::Crc32 },
        }
    }

    #[test]
    fn round_trip_and_every_damage() {
        let bytes = manifest().encode();
        assert_eq!(Manifest::decode(&bytes), Ok(manifest()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Manifest::decode(&flipped), Err(Flaw::Corrupt(_))), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..len]).is_err(), "cut at {len}");
        }
        assert!(Manifest::decode(&[bytes, vec![0]].concat()).is_err());
    }

    #[test]
    fn sound_bytes_that_make_no_sense_are_refused() {
        let options = PersistedOptions { segment_bytes: 8191, ..manifest().options };
        for manifest in
            [Manifest { options, ..manifest() }, Manifest { first_segment: Lsn::ZERO, ..manifest() }]
        {
            assert!(matches!(Manifest::decode(&manifest.encode()), Err(Flaw::Corrupt(_))), "{manifest:?}");
        }
    }

    #[test]
    fn another_version_is_not_damage() {
        let mut bytes = manifest().encode();
        put(&mut bytes, 8, &7_u32.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..20]);
        put(&mut bytes, 20, &crc.to_le_bytes());
        assert_eq!(Manifest::decode(&bytes), Err(Flaw::Version(7)));
    }
}
