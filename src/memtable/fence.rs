//! Keys made to be compared often: the bounds between blocks, and what is looked for among them.
//!
//! ```text
//!  Fence | first 8 bytes as a big-endian integer | the whole key: inline up to 22 bytes, else boxed or borrowed |
//! ```
//!
//! Most comparisons end at the integer, without touching other memory; bounds are the shortest keys that separate
//! two blocks, so that nearly all of them fit inline. A search borrows its key and allocates nothing.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;

/// How many bytes stand in the fence itself: what fits beside the tag and the length in three words.
const INLINE: usize = 22;

/// A key, with its prefix at hand. Borrowed for a search, `'static` as a block's bound.
#[derive(Clone)]
pub(super) struct Fence<'a> {
    prefix: u64,
    bytes: Bytes<'a>,
}

#[derive(Clone)]
enum Bytes<'a> {
    Borrowed(&'a [u8]),
    Inline { len: u8, bytes: [u8; INLINE] },
    Boxed(Box<[u8]>),
}

impl<'a> Fence<'a> {
    /// A key to search with.
    pub(super) fn borrowed(key: &'a [u8]) -> Fence<'a> {
        Fence { prefix: prefix_of(key), bytes: Bytes::Borrowed(key) }
    }

    /// A key to keep.
    pub(super) fn owned(key: &[u8]) -> Fence<'static> {
        let bytes = match u8::try_from(key.len()) {
            Ok(len) if key.len() <= INLINE => {
                let mut bytes = [0; INLINE];
                bytes[..key.len()].copy_from_slice(key);
                Bytes::Inline { len, bytes }
            }
            _ => Bytes::Boxed(key.into()),
        };
        Fence { prefix: prefix_of(key), bytes }
    }

    /// The shortest key that parts two neighbours: above `below`, and not above `above`.
    pub(super) fn between(below: &[u8], above: &[u8]) -> Fence<'static> {
        debug_assert!(below < above);
        let shared = common_prefix(below, above);
        Fence::owned(&above[..=shared])
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Borrowed(key) => key,
            Bytes::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Bytes::Boxed(key) => key,
        }
    }
}

impl Ord for Fence<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        // A short key is padded with zeros, so equal prefixes prove nothing, but different ones do.
        self.prefix.cmp(&other.prefix).then_with(|| self.as_bytes().cmp(other.as_bytes()))
    }
}

impl PartialOrd for Fence<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Fence<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Fence<'_> {}

impl fmt::Debug for Fence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

/// A block's place in the index: its low bound.
///
/// A type of its own, so that it can be borrowed as a fence of any lifetime, and be found by a borrowed key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(pub(super) Fence<'static>);

impl<'a> Borrow<Fence<'a>> for Place {
    fn borrow(&self) -> &Fence<'a> {
        &self.0
    }
}

/// The first 8 bytes as an integer that orders like them; missing bytes count as zero.
pub(super) fn prefix_of(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(first) => u64::from_be_bytes(*first),
        None => {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            u64::from_be_bytes(padded)
        }
    }
}

/// How many leading bytes two keys share.
pub(super) fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fences order exactly as their bytes do, also where padding makes prefixes equal, borrowed or owned.
    #[test]
    fn fences_order_like_their_keys() {
        let keys: [&[u8]; 12] = [
            b"",
            b"\0",
            b"\0\0",
            b"a",
            b"a\0",
            b"abcdefgh",
            b"abcdefgh\0",
            b"abcdefghi",
            b"\xff",
            &[7; INLINE],
            &[7; INLINE + 1],
            &[0xff; 300],
        ];
        for one in keys {
            for other in keys {
                assert_eq!(Fence::borrowed(one).cmp(&Fence::owned(other)), one.cmp(other));
            }
            assert_eq!(Fence::owned(one).as_bytes(), one);
        }
    }

    /// The separator parts its two keys and is never longer than it must be.
    #[test]
    fn the_shortest_separator_parts_two_keys() {
        let check = |below: &[u8], above: &[u8], expected: &[u8]| {
            let fence = Fence::between(below, above);
            assert_eq!(fence.as_bytes(), expected);
            assert!(below < fence.as_bytes() && fence.as_bytes() <= above);
        };
        check(b"apple", b"banana", b"b");
        check(b"user:1", b"user:2:name", b"user:2");
        check(b"", b"\0", b"\0");
        check(b"a", b"a\0\0", b"a\0");
        check(b"abc", b"abd", b"abd");
    }

    #[test]
    fn a_fence_is_four_words() {
        assert_eq!(size_of::<Fence<'_>>(), 32);
    }
}
