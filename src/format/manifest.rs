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
//!
//! ```
//! use std::sync::Arc;
//!
//! use forelog::Options;
//! use forelog::format::codec::METADATA_LIMIT;
//! use forelog::format::manifest::{MANIFEST_HEADER_BYTES, MAX_MANIFEST_BYTES, Manifest};
//! use forelog::format::manifest::{Checkpoint, Parent, Part, PersistedOptions};
//! use forelog::storage::SimDisk;
//!
//! let disk = SimDisk::new(1);
//! let options = Options::new().storage(Arc::new(disk.clone())).segment_bytes(8192).keep_checkpoints(2);
//! let db = options.open("data")?;
//! db.put("user:1", "alice")?;
//! let copied = db.backup("copy")?;
//!
//! let bytes = disk.read_file("copy/MANIFEST").unwrap();
//! let manifest = Manifest::decode(&bytes).unwrap();
//! assert_eq!(manifest.encode(), bytes);
//! // Whence it comes, and what it consists of:
//! assert_eq!(manifest.parent, Some(Parent { store_id: db.store_id(), fork_lsn: copied.lsn.get() }));
//! let checkpoint: &Checkpoint = &manifest.checkpoints[0];
//! assert_eq!((checkpoint.lsn(), checkpoint.entries()), (copied.lsn, 1));
//! for (file, Part { bytes, .. }) in checkpoint.files().zip(&checkpoint.parts) {
//!     assert_eq!(disk.read_file(format!("copy/{file}")).unwrap().len() as u64, *bytes);
//! }
//! // What stays with the store:
//! let PersistedOptions { segment_bytes, keep_checkpoints, .. } = manifest.options;
//! assert_eq!((segment_bytes, keep_checkpoints), (8192, 2));
//!
//! assert_eq!(MAX_MANIFEST_BYTES, MANIFEST_HEADER_BYTES + METADATA_LIMIT);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use bincode::{Decode, Encode};

use super::checksum::Checksum;
use super::retention::Retention;
use super::segment::MIN_SEGMENT_BYTES;
use super::{FORMAT_VERSION, Flaw, StoreId, codec, get_u32, names, put};
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
    /// The store that this one was copied or restored from, if it was.
    pub parent: Option<Parent>,
    /// Counts the manifests of this store, from 1. Gaps are legal: a number whose manifest failed is not used again.
    pub generation: u64,
    /// Segments below this LSN are no part of the store.
    pub first_segment: Lsn,
    /// Every LSN up to this one was durable when the manifest was written.
    pub durable_lsn: Lsn,
    /// The archive has the log from where it was begun up to here, or had it when something went that it holds: from
    /// then on the past is there and nowhere else. Zero: nothing has gone.
    pub archived: Lsn,
    /// The checkpoints, oldest first.
    pub checkpoints: Vec<Checkpoint>,
    /// The options that stay with the store.
    pub options: PersistedOptions,
}

/// Where a copied or restored store comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Parent {
    /// The store that it was taken from.
    pub store_id: StoreId,
    /// Up to this LSN both are the same; behind it each goes its own way.
    pub fork_lsn: u64,
}

/// A checkpoint: the state at an LSN, in part files.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Checkpoint {
    /// The LSN whose state it is.
    pub lsn: u64,
    /// The generation of the manifest that it was taken for: with the LSN, the name of its parts.
    pub generation: u64,
    /// When it was taken, in microseconds since 1970.
    pub time_us: u64,
    /// Its parts, in the order of their keys.
    pub parts: Vec<Part>,
}

impl Checkpoint {
    /// The LSN whose state it is.
    pub fn lsn(&self) -> Lsn {
        Lsn::new(self.lsn)
    }

    /// Bytes of all parts.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(part.bytes))
    }

    /// Entries in all parts.
    pub fn entries(&self) -> u64 {
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(part.entries))
    }

    /// The parts' files, in their order.
    pub fn files(&self) -> impl Iterator<Item = String> {
        (0..).zip(&self.parts).map(|(number, _)| names::part(self.lsn(), self.generation, number))
    }
}

/// A part of a checkpoint, as it must be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Part {
    /// The file's length in bytes.
    pub bytes: u64,
    /// How many entries it has.
    pub entries: u64,
    /// The digest of its blocks.
    pub digest: u64,
}

/// The options that stay with a store from one opening to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersistedOptions {
    /// The length of new segments, in bytes.
    pub segment_bytes: u64,
    /// Guards the payloads of new segments, and the parts of checkpoints.
    pub checksum: Checksum,
    /// A checkpoint is taken after this many bytes of log, or after as many as the last one had if that is more.
    /// `None`: only by hand.
    pub checkpoint_after_bytes: Option<u64>,
    /// How many checkpoints are kept, at least 1.
    pub keep_checkpoints: u32,
    /// How much of the log is kept that recovery needs no more.
    pub retention: Retention,
    /// Where segments and checkpoints are copied to before they go.
    pub archive: Option<String>,
}

/// The body as `bincode` sees it: plain values, in this order.
#[derive(Encode, Decode)]
struct Body {
    store_id: [u8; 16],
    parent: Option<Parent>,
    generation: u64,
    first_segment: u64,
    durable_lsn: u64,
    checkpoints: Vec<Checkpoint>,
    segment_bytes: u64,
    checksum: u8,
    checkpoint_after_bytes: Option<u64>,
    keep_checkpoints: u32,
    retention: String,
    archive: Option<String>,
}

impl Manifest {
    /// The whole file.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; MANIFEST_HEADER_BYTES];
        codec::append(
            Body {
                store_id: self.store_id.0,
                parent: self.parent,
                generation: self.generation,
                first_segment: self.first_segment.get(),
                durable_lsn: self.durable_lsn.get(),
                checkpoints: self.checkpoints.clone(),
                segment_bytes: self.options.segment_bytes,
                checksum: self.options.checksum.tag(),
                checkpoint_after_bytes: self.options.checkpoint_after_bytes,
                keep_checkpoints: self.options.keep_checkpoints,
                retention: self.options.retention.to_string(),
                archive: self.options.archive.clone(),
            },
            &mut bytes,
        );
        if self.archived > Lsn::ZERO {
            codec::append(self.archived.get(), &mut bytes);
        }
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
        let (body, archived) = match codec::decode_metadata(body) {
            Some(body) => (body, 0),
            None => codec::decode_metadata::<(Body, u64)>(body).filter(|(_, lsn)| *lsn > 0).ok_or(flaw)?,
        };
        // Nobody has written less; and what follows from these numbers is computed without a further check.
        let sensible = body.segment_bytes >= MIN_SEGMENT_BYTES
            && body.first_segment > 0
            && body.keep_checkpoints > 0
            && body.generation < u64::MAX / 2
            && body.archive.as_deref() != Some("")
            && body
                .checkpoints
                .is_sorted_by(|one, next| (one.lsn, one.generation) < (next.lsn, next.generation))
            && body.checkpoints.iter().all(|checkpoint| !checkpoint.parts.is_empty())
            && body.checkpoints.last().map_or(0, |newest| newest.lsn) >= body.first_segment - 1;
        if !sensible {
            return Err(flaw);
        }
        Ok(Manifest {
            store_id: StoreId(body.store_id),
            parent: body.parent,
            generation: body.generation,
            first_segment: Lsn::new(body.first_segment),
            durable_lsn: Lsn::new(body.durable_lsn),
            archived: Lsn::new(archived),
            checkpoints: body.checkpoints,
            options: PersistedOptions {
                segment_bytes: body.segment_bytes,
                checksum: Checksum::from_tag(body.checksum).ok_or(flaw)?,
                checkpoint_after_bytes: body.checkpoint_after_bytes,
                keep_checkpoints: body.keep_checkpoints,
                retention: body.retention.parse().map_err(|_| flaw)?,
                archive: body.archive,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    //! Shows that a manifest is read back as written, and that any changed bit, cut or added byte is refused.
    use super::*;

    fn manifest() -> Manifest {
        let part = Part { bytes: 4096, entries: 7, digest: 99 };
        Manifest {
            store_id: StoreId([9; 16]),
            parent: Some(Parent { store_id: StoreId([8; 16]), fork_lsn: 2 }),
            generation: 3,
            first_segment: Lsn::new(1),
            durable_lsn: Lsn::new(300),
            archived: Lsn::new(100),
            checkpoints: vec![Checkpoint { lsn: 200, generation: 2, time_us: 5, parts: vec![part] }],
            options: PersistedOptions {
                segment_bytes: 64 << 20,
                checksum: Checksum::Crc32,
                checkpoint_after_bytes: Some(64 << 20),
                keep_checkpoints: 1,
                retention: "any(count:8)".parse().unwrap(),
                archive: Some("/archive".to_owned()),
            },
        }
    }

    #[test]
    fn what_a_checkpoint_has_is_the_sum_of_its_parts() {
        let parts = [(4096, 7), (512, 2)].map(|(bytes, entries)| Part { bytes, entries, digest: 1 });
        let checkpoint = Checkpoint { lsn: 9, generation: 1, time_us: 5, parts: parts.to_vec() };
        assert_eq!((checkpoint.bytes(), checkpoint.entries()), (4608, 9));
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
        let without = Manifest { archived: Lsn::ZERO, ..manifest() };
        assert_eq!(Manifest::decode(&without.encode()), Ok(without.clone()));
        assert_eq!(without.encode().len() + 1, manifest().encode().len(), "it is not there then");
    }

    #[test]
    fn sound_bytes_that_make_no_sense_are_refused() {
        let options = |change: fn(&mut PersistedOptions)| {
            let mut options = manifest().options;
            change(&mut options);
            Manifest { options, ..manifest() }
        };
        let twice = || [manifest().checkpoints, manifest().checkpoints].concat();
        let mut unsorted = twice();
        unsorted[1].lsn = 199;
        let mut partless = twice();
        partless[1].lsn = 201;
        let sound = partless.clone();
        partless[1].parts.clear();
        for manifest in [
            options(|options| options.segment_bytes = 8191),
            options(|options| options.keep_checkpoints = 0),
            Manifest { first_segment: Lsn::ZERO, ..manifest() },
            // A log that begins behind what the newest checkpoint has.
            Manifest { first_segment: Lsn::new(202), ..manifest() },
            Manifest { checkpoints: unsorted, ..manifest() },
            Manifest { checkpoints: partless, ..manifest() },
            Manifest { checkpoints: twice(), ..manifest() },
            Manifest { generation: u64::MAX, ..manifest() },
            options(|options| options.archive = Some(String::new())),
        ] {
            assert!(matches!(Manifest::decode(&manifest.encode()), Err(Flaw::Corrupt(_))), "{manifest:?}");
        }
        let sound = Manifest { checkpoints: sound, ..manifest() };
        assert_eq!(Manifest::decode(&sound.encode()), Ok(sound));
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
