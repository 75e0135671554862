//! One version of one key: immutable, shared, and a single pointer wide.
//!
//! ```text
//!  Version ──▶ | count | lsn | key length, kind | length | key ... | value ... |     one allocation
//!                8       8     8                  8        the caller's bytes
//! ```
//!
//! A table's slot, an iterator's entry and a value in a reader's hand all are this pointer, so reading copies no
//! bytes, and a version that was dropped from the table lives on for as long as somebody reads it.
//!
//! Not here: which version may be seen (`tracker`) and what callers get to hold (`value`).

use std::fmt;

use triomphe::ThinArc;

use crate::Lsn;

/// A key with the value that it got at one LSN, or the tombstone that says it was deleted there.
#[derive(Clone)]
pub(super) struct Version(ThinArc<Head, u8>);

/// What stands before the bytes.
#[derive(Clone, Copy)]
struct Head {
    lsn: Lsn,
    /// 32 bits, so that the head stays at two words: batches, and so keys, end far below 4 GiB.
    key_bytes: u32,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Value,
    Tombstone,
}

/// The head, the count and the length: what a version takes beyond its own bytes (and the allocator's).
pub(super) const VERSION_OVERHEAD: usize = 2 * size_of::<usize>() + size_of::<Head>();

/// Up to this size a version is put together on the stack, which spares an allocation.
const ON_STACK: usize = 256;

impl Version {
    /// A version; `None` is a tombstone.
    pub(super) fn new(lsn: Lsn, key: &[u8], value: Option<&[u8]>) -> Version {
        let Ok(key_bytes) = u32::try_from(key.len()) else {
            panic!("a key of {} bytes: no batch can hold one of 4 GiB or more", key.len());
        };
        let kind = if value.is_some() { Kind::Value } else { Kind::Tombstone };
        let head = Head { lsn, key_bytes, kind };
        let value = value.unwrap_or_default();

        // `ThinArc` copies one slice, so key and value have to stand side by side first.
        let bytes = key.len() + value.len();
        if bytes <= ON_STACK {
            let mut buffer = [0; ON_STACK];
            buffer[..key.len()].copy_from_slice(key);
            buffer[key.len()..bytes].copy_from_slice(value);
            Version(ThinArc::from_header_and_slice(head, &buffer[..bytes]))
        } else {
            Version(ThinArc::from_header_and_slice(head, &[key, value].concat()))
        }
    }

    pub(super) fn lsn(&self) -> Lsn {
        self.0.header.header.lsn
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.0.slice[..self.key_bytes()]
    }

    /// The value's bytes; a tombstone has none.
    pub(super) fn value(&self) -> &[u8] {
        &self.0.slice[self.key_bytes()..]
    }

    pub(super) fn is_tombstone(&self) -> bool {
        self.0.header.header.kind == Kind::Tombstone
    }

    /// How much memory this version takes.
    pub(super) fn bytes(&self) -> usize {
        VERSION_OVERHEAD + self.0.slice.len()
    }

    /// How many hold this version.
    #[cfg(test)]
    pub(super) fn holders(&self) -> usize {
        ThinArc::strong_count(&self.0)
    }

    fn key_bytes(&self) -> usize {
        // Widening: a usize has at least 32 bits wherever this crate runs.
        self.0.header.header.key_bytes as usize
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.key().escape_ascii(), self.lsn())?;
        if self.is_tombstone() {
            write!(f, " deleted")
        } else {
            write!(f, "={}", self.value().escape_ascii())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes go in and come out, on both sides of the limit for building on the stack.
    #[test]
    fn a_version_gives_back_what_it_was_made_of() {
        for key_bytes in [0, 1, 16, ON_STACK - 1, ON_STACK, ON_STACK + 1] {
            for value_bytes in [0, 1, 100, ON_STACK, 10_000] {
                let (key, value) = (vec![7; key_bytes], vec![9; value_bytes]);
                let version = Version::new(Lsn::new(3), &key, Some(&value));
                assert_eq!((version.key(), version.value()), (&key[..], &value[..]));
                assert!(!version.is_tombstone());
            }
        }
        let tombstone = Version::new(Lsn::new(4), b"k", None);
        assert!(tombstone.is_tombstone());
        assert_eq!((tombstone.lsn(), tombstone.key(), tombstone.value()), (Lsn::new(4), &b"k"[..], &b""[..]));
    }

    /// The layout above is the one that is paid for: one thin pointer, and no word for "none".
    #[test]
    fn a_slot_is_one_word() {
        assert_eq!(size_of::<Version>(), size_of::<usize>());
        assert_eq!(size_of::<Option<Version>>(), size_of::<usize>());
        assert_eq!(VERSION_OVERHEAD, 32);
    }
}
