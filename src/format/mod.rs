//! Every byte that forelog puts on disk, and nothing else: no file is opened here.
//!
//! Two kinds of encoding, with a line between them:
//!
//! - What is needed to **find, check and skip** data (headers, checksums, names) is a hand-specified little-endian
//!   layout, drawn above its encoder.
//! - **Bodies**, which are length-capped and checksummed by such a layout, are encoded by `bincode` in [`codec`],
//!   the one place that knows it.
//!
//! `docs/FORMAT.md` spells all of it out, with a worked example that a test checks.
//!
//! [`layout`] describes the fixed structures once more, as tables, and [`anatomy`] takes files apart by them, for people.
//!
//! Reading a store with nothing but these modules, from the file to the key:
//!
//! ```
//! use std::sync::Arc;
//!
//! use forelog::format::record::{RECORD_HEADER_BYTES, RecordHeader};
//! use forelog::format::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
//! use forelog::format::{KeyspaceId, batch_body};
//! use forelog::storage::SimDisk;
//! use forelog::{Op, Options};
//!
//! let disk = SimDisk::new(1);
//! let db = Options::new().storage(Arc::new(disk.clone())).segment_bytes(8192).open("data")?;
//! db.put("user:1", "alice")?;
//! let bytes = disk.read_file("data/00000000000000000001.wal").unwrap();
//!
//! let segment = SegmentHeader::decode(&bytes).unwrap();
//! assert_eq!(segment.store_id, db.store_id());
//! let at = SEGMENT_HEADER_BYTES;
//! let record = RecordHeader::decode(&bytes[at..], segment.salt, at as u64).unwrap();
//! let payload = &bytes[at + RECORD_HEADER_BYTES..][..record.payload_len as usize];
//! assert_eq!(segment.checksum.of(payload), record.payload_checksum);
//! let ops: Vec<_> = batch_body::ops(payload).collect();
//! assert_eq!(ops, [Ok(Op::Put { keyspace: KeyspaceId::DEFAULT, key: b"user:1", value: b"alice" })]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where to read next: [`record`], then [`segment`].

pub mod anatomy;
pub mod batch_body;
pub mod checkpoint;
pub mod checksum;
pub mod codec;
pub mod key;
pub mod layout;
pub mod manifest;
pub mod names;
pub mod record;
pub mod retention;
pub mod seal;
pub mod segment;

use std::fmt;
use std::path::Path;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::error::{CorruptionKind, Error};
use crate::lsn::Lsn;

pub use batch_body::{KeyspaceId, Op};
pub use checksum::Checksum;
pub use retention::{Limit, Retention};

/// The version that this release writes and reads. Any change of a byte's meaning raises it.
pub const FORMAT_VERSION: u32 = 1;

/// The longest key, in bytes. The length of a value is limited by the batch it comes in.
///
/// ```
/// use forelog::format::MAX_KEY_BYTES;
/// use forelog::{Db, Error};
///
/// let dir = tempfile::tempdir()?;
/// let db = Db::open(dir.path().join("data"))?;
/// match db.put([b'k'; MAX_KEY_BYTES + 1], "") {
///     Err(Error::TooLarge { what, size, limit }) => assert_eq!((what, size, limit), ("key", 65_536, 65_535)),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub const MAX_KEY_BYTES: usize = 65_535;

/// Which store a file belongs to: 128 random bits, drawn when the store is created.
///
/// ```
/// use forelog::format::StoreId;
///
/// let text = "8877665544332211ff00000000000000"; // as in the file `STORE` of an archive
/// let id = StoreId::try_from(text.to_owned())?;
/// assert_eq!((id.0[0], id.to_string().as_str()), (0x88, text));
/// # Ok::<(), &'static str>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(into = "String", try_from = "String")]
pub struct StoreId(pub [u8; 16]);

impl StoreId {
    /// The id made of two random numbers.
    pub(crate) fn from_random(numbers: [u64; 2]) -> StoreId {
        let mut id = [0; 16];
        put(&mut id, 0, &numbers[0].to_le_bytes());
        put(&mut id, 8, &numbers[1].to_le_bytes());
        StoreId(id)
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<StoreId> for String {
    fn from(id: StoreId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for StoreId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<StoreId, &'static str> {
        const WHAT: &str = "a store id is 32 hexadecimal digits";
        // `from_str_radix` alone would take a sign.
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(WHAT);
        }
        let mut id = [0; 16];
        for (byte, digits) in id.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| WHAT)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| WHAT)?;
        }
        Ok(StoreId(id))
    }
}

/// Why bytes are not what they should be. The caller, who knows the file, makes an [`Error`] of it.
///
/// ```
/// use std::path::Path;
///
/// use forelog::Error;
/// use forelog::error::CorruptionKind;
/// use forelog::format::manifest::Manifest;
/// use forelog::format::{FORMAT_VERSION, Flaw};
///
/// let file = Path::new("data/MANIFEST");
/// let flaw = Manifest::decode(b"not a manifest").unwrap_err();
/// assert_eq!(flaw, Flaw::Corrupt(CorruptionKind::Manifest));
/// assert!(flaw.at(file, 0, None).to_string().starts_with("data/MANIFEST is corrupt at byte 0: "));
///
/// // Sound, but of a later release: that is no damage.
/// match Flaw::Version(FORMAT_VERSION + 1).at(file, 0, None) {
///     Error::UnsupportedFormat { found, supported, .. } => assert_eq!((found, supported), (2, 1)),
///     other => panic!("{other}"),
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// They are damaged.
    Corrupt(CorruptionKind),
    /// They are sound, and of another format version.
    Version(u32),
}

impl Flaw {
    /// The error for this flaw at a place.
    pub fn at(self, file: &Path, offset: u64, lsn: Option<Lsn>) -> Error {
        match self {
            Flaw::Corrupt(kind) => Error::corruption(file, offset, lsn, kind, None),
            Flaw::Version(found) => {
                Error::UnsupportedFormat { file: file.to_path_buf(), found, supported: FORMAT_VERSION }
            }
        }
    }
}

/// Copies a field out of a fixed layout. The ranges are constants inside the array: a wrong one is our own bug and
/// shows in the first test.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

fn get_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(field(bytes, at))
}

fn get_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(field(bytes, at))
}

fn get_lsn(bytes: &[u8], at: usize) -> Lsn {
    Lsn::new(get_u64(bytes, at))
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn put_lsn(bytes: &mut [u8], at: usize, lsn: Lsn) {
    put(bytes, at, &lsn.get().to_le_bytes());
}

#[cfg(test)]
mod tests {
    //! Shows that a store's id is read back from its text, and nothing else is.
    use super::*;

    #[test]
    fn a_store_id_as_text() {
        let id = StoreId::from_random([0x1122_3344_5566_7788, 0xff]);
        let text = "8877665544332211ff00000000000000";
        assert_eq!(
            (id.to_string(), format!("{id:?}"), String::from(id)),
            (text.into(), text.into(), text.into())
        );
        assert_eq!(StoreId::try_from(text.to_owned()), Ok(id));
        for other in [
            "",
            &text[1..],
            &text.replace('f', "g"),
            &text.replacen("88", "ä", 1),
            &text.replacen('8', "+", 1),
        ] {
            assert!(StoreId::try_from(other.to_owned()).is_err(), "{other}");
        }
    }
}
