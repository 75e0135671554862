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
pub const MAX_KEY_BYTES: usize = 65_535;

/// Which store a file belongs to: 128 random bits, drawn when the store is created.
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
