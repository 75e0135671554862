//! Keys that sort as their types do: how a typed key becomes bytes.
//!
//! The store orders keys as strings of bytes. So each type is encoded such that the order of its bytes is its own:
//!
//! ```text
//!  u32, u64 …      big-endian                          7_u32          00 00 00 07
//!  i32, i64 …      big-endian, the sign bit turned     -1_i16         7f ff
//!  bool, char      one byte; as a u32                  true           01
//!  Option          00, or 01 and the value             Some(7_u8)     01 07
//!  text, bytes     as they are, at the key's end       "ab"           61 62
//!                  else 00 as 00 ff, and 00 00 behind  ("ab", …)      61 62 00 00 …
//!  tuples          one part behind the other           ("ab", 7_u8)   61 62 00 00 07
//! ```
//!
//! Text at the end of a key stands there as it is, so that keys of text are those that an untyped store has, and a shell
//! shows them. In front of another part it needs an end, and one that sorts before everything: that is how the tuples of
//! FoundationDB do it, from which the idea is.
//!
//! A type of your own is a key as soon as it says which of these it is made of:
//!
//! ```
//! use forelog::format::key::{self, Key, OwnedKey};
//!
//! #[derive(Debug, PartialEq)]
//! struct Version { major: u16, minor: u16 }
//!
//! impl Key for Version {
//!     fn append_to(&self, bytes: &mut Vec<u8>, is_last: bool) {
//!         (self.major, self.minor).append_to(bytes, is_last);
//!     }
//! }
//!
//! impl OwnedKey for Version {
//!     fn take_from(bytes: &mut &[u8], is_last: bool) -> Option<Version> {
//!         let (major, minor) = <(u16, u16)>::take_from(bytes, is_last)?;
//!         Some(Version { major, minor })
//!     }
//! }
//!
//! let (nine, ten) = (key::encode(&Version { major: 1, minor: 9 }), key::encode(&Version { major: 1, minor: 10 }));
//! assert_eq!(nine, [0, 1, 0, 9]);
//! assert!(nine < ten); // as text, "1.9" would come behind "1.10"
//! assert_eq!(key::decode(&ten), Some(Version { major: 1, minor: 10 }));
//! assert_eq!(key::decode::<Version>(&ten[1..]), None);
//! ```
//!
//! Not here: floating-point numbers. They have no order that a map could use.

use std::iter;

/// A type that can be looked up by: its bytes sort as it does.
pub trait Key {
    /// Appends the bytes. `is_last`: nothing stands behind them in the key.
    fn append_to(&self, bytes: &mut Vec<u8>, is_last: bool);
}

/// A [`Key`] that can be read back.
pub trait OwnedKey: Key + Sized {
    /// Takes one from the front; `None` if there is none. `is_last`: nothing stands behind it in the key.
    fn take_from(bytes: &mut &[u8], is_last: bool) -> Option<Self>;
}

/// The whole key.
pub fn encode<K: Key + ?Sized>(key: &K) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.append_to(&mut bytes, true);
    bytes
}

/// Reads a whole key; `None` if these are not the bytes of one.
pub fn decode<K: OwnedKey>(mut bytes: &[u8]) -> Option<K> {
    let key = K::take_from(&mut bytes, true)?;
    bytes.is_empty().then_some(key)
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

macro_rules! unsigned {
    ($($int:ty)*) => {$(
        impl Key for $int {
            fn append_to(&self, bytes: &mut Vec<u8>, _: bool) {
                bytes.extend(self.to_be_bytes());
            }
        }

        impl OwnedKey for $int {
            fn take_from(bytes: &mut &[u8], _: bool) -> Option<$int> {
                let taken = take(bytes, size_of::<$int>())?;
                Some(<$int>::from_be_bytes(taken.try_into().ok()?))
            }
        }
    )*};
}

/// Turning the sign bit moves the negative numbers before the others.
macro_rules! signed {
    ($($int:ty as $unsigned:ty)*) => {$(
        impl Key for $int {
            fn append_to(&self, bytes: &mut Vec<u8>, is_last: bool) {
                (self.cast_unsigned() ^ <$int>::MIN.cast_unsigned()).append_to(bytes, is_last);
            }
        }

        impl OwnedKey for $int {
            fn take_from(bytes: &mut &[u8], is_last: bool) -> Option<$int> {
                let turned = <$unsigned>::take_from(bytes, is_last)?;
                Some((turned ^ <$int>::MIN.cast_unsigned()).cast_signed())
            }
        }
    )*};
}

unsigned!(u8 u16 u32 u64 u128);
signed!(i8 as u8 i16 as u16 i32 as u32 i64 as u64 i128 as u128);

impl Key for bool {
    fn append_to(&self, bytes: &mut Vec<u8>, _: bool) {
        bytes.push(u8::from(*self));
    }
}

impl OwnedKey for bool {
    fn take_from(bytes: &mut &[u8], _: bool) -> Option<bool> {
        match take(bytes, 1)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

impl Key for char {
    fn append_to(&self, bytes: &mut Vec<u8>, is_last: bool) {
        u32::from(*self).append_to(bytes, is_last);
    }
}

impl OwnedKey for char {
    fn take_from(bytes: &mut &[u8], is_last: bool) -> Option<char> {
        u32::take_from(bytes, is_last)?.try_into().ok()
    }
}

impl Key for [u8] {
    fn append_to(&self, bytes: &mut Vec<u8>, is_last: bool) {
        if is_last {
            return bytes.extend(self);
        }
        for byte in self {
            bytes.push(*byte);
            bytes.extend(iter::repeat_n(0xff, usize::from(*byte == 0)));
        }
        bytes.extend([0, 0]);
    }
}

impl Key for Vec<u8> {
    fn append_to(&self, bytes: &mut Vec<u8>, is_last: bool) {
        self.as_slice().append_to(bytes, is_last);
    }
}

impl OwnedKey for Vec<u8> {
    fn take_from(bytes: &mut &[u8], is_last: bool) -> Option<Vec<u8>> {
        if is_last {
            return take(bytes, bytes.len()).map(<[u8]>::to_vec);
        }
        let mut found = Vec::new();
        loop {
            match take(bytes, 1)? {
                [0] => match take(bytes, 1)? {
                    [0] => return Some(found),
                    [0xff] => found.push(0),
                    _ => return None,
                },
                other => found.extend(other),
            }
        }
    }
}

impl Key for str {
    fn append_to(&self, bytes: &mut Vec<u8>, is_last: bool) {
        self.as_bytes().append_to(bytes, is_last);
    }
}

impl Key for String {
    fn append_to(&self, bytes: &mut Vec<u8>, is_last: bool) {
        self.as_bytes().append_to(bytes, is_last);
    }
}

impl OwnedKey for String {
    fn take_from(bytes: &mut &[u8], is_last: bool) -> Option<String> {
        String::from_utf8(Vec::take_from(bytes, is_last)?).ok()
    }
}

impl<const N: usize> Key for [u8; N] {
    fn append_to(&self, bytes: &mut Vec<u8>, _: bool) {
        bytes.extend(self);
    }
}

impl<const N: usize> OwnedKey for [u8; N] {
    fn take_from(bytes: &mut &[u8], _: bool) -> Option<[u8; N]> {
        take(bytes, N)?.try_into().ok()
    }
}

impl<K: Key> Key for Option<K> {
    fn append_to(&self, bytes: &mut Vec<u8>, is_last: bool) {
        self.is_some().append_to(bytes, false);
        if let Some(key) = self {
            key.append_to(bytes, is_last);
        }
    }
}

impl<K: OwnedKey> OwnedKey for Option<K> {
    fn take_from(bytes: &mut &[u8], is_last: bool) -> Option<Option<K>> {
        if bool::take_from(bytes, false)? { K::take_from(bytes, is_last).map(Some) } else { Some(None) }
    }
}

impl<K: Key + ?Sized> Key for &K {
    fn append_to(&self, bytes: &mut Vec<u8>, is_last: bool) {
        (*self).append_to(bytes, is_last);
    }
}

macro_rules! tuple {
    ($($part:ident)* , $last:ident) => {
        #[allow(non_snake_case)]
        impl<$($part: Key,)* $last: Key> Key for ($($part,)* $last,) {
            fn append_to(&self, bytes: &mut Vec<u8>, is_last: bool) {
                let ($($part,)* $last,) = self;
                $($part.append_to(bytes, false);)*
                $last.append_to(bytes, is_last);
            }
        }

        impl<$($part: OwnedKey,)* $last: OwnedKey> OwnedKey for ($($part,)* $last,) {
            fn take_from(bytes: &mut &[u8], is_last: bool) -> Option<Self> {
                Some(($($part::take_from(bytes, false)?,)* $last::take_from(bytes, is_last)?,))
            }
        }
    };
}

tuple!(, A);
tuple!(A, B);
tuple!(A B, C);
tuple!(A B C, D);
tuple!(A B C D, E);

#[cfg(test)]
mod tests {
    //! Shows the bytes of each type, that they sort as the values do, and that they are read back.
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_of_each_type() {
        assert_eq!(encode(&7_u32), [0, 0, 0, 7]);
        assert_eq!(encode(&-1_i16), [0x7f, 0xff]);
        assert_eq!(encode(&(true, 'a', Some(7_u8), None::<u8>)), [1, 0, 0, 0, 0x61, 1, 7, 0]);
        assert_eq!(encode("ab"), b"ab");
        assert_eq!(encode(&("a\0b", "a\0b")), b"a\0\xffb\0\0a\0b");
        assert_eq!(encode(&(("ab",), 7_u8)), b"ab\0\0\x07");
        assert_eq!(encode(&([1_u8, 2], vec![0_u8])), [1, 2, 0]);
    }

    #[test]
    fn other_bytes_are_refused() {
        assert_eq!(decode::<u32>(&[0, 0, 0]), None);
        assert_eq!(decode::<u32>(&[0, 0, 0, 0, 0]), None, "more than a key");
        assert_eq!(decode::<bool>(&[2]), None);
        assert_eq!(decode::<char>(&[0, 0xff, 0xff, 0xff]), None);
        assert_eq!(decode::<String>(&[0xff]), None);
        for cut in [&b"ab"[..], b"ab\0", b""] {
            assert_eq!(decode::<(String, u8)>(cut), None, "{cut:?}");
        }
        assert_eq!(decode::<[u8; 2]>(&[1]), None);
        assert_eq!(decode::<Option<u8>>(&[1]), None);
        // Taken for a zero, it would be given out as a key that is not there.
        assert_eq!(decode::<(String, u8)>(b"a\0\x07\0\0\x01"), None, "no escape");
        assert_eq!(decode::<(String, u8)>(b"a\0\xff\0\0\x01"), Some(("a\0".to_owned(), 1)));
    }

    /// Bytes where zeros and 0xff, on which the escaping turns, are frequent.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![Just(0), Just(0xff), Just(1), any::<u8>()], 0..5)
    }

    fn same_order<K: OwnedKey + Ord + std::fmt::Debug>(one: K, other: K) {
        let (a, b) = (encode(&one), encode(&other));
        assert_eq!(a.cmp(&b), one.cmp(&other), "{one:?} {other:?}");
        assert_eq!(decode::<K>(&a), Some(one));
    }

    proptest! {
        #[test]
        fn bytes_sort_as_values(
            numbers in any::<((i8, u16, i64), (i8, u16, i64))>(),
            wide in any::<((i128, u128), (i128, u128))>(),
            texts in (any::<(String, char, i32)>(), any::<(String, char, i32)>()),
            (a, b, c, d) in (bytes(), bytes(), bytes(), bytes()),
            options in any::<((Option<i16>, bool), (Option<i16>, bool))>(),
        ) {
            same_order(numbers.0, numbers.1);
            same_order(wide.0, wide.1);
            same_order(texts.0, texts.1);
            same_order(options.0, options.1);
            same_order(a.clone(), b.clone());
            same_order((a.clone(), b.clone()), (c.clone(), d.clone()));
            same_order((Some(a), Some((b, 7_u8))), (Some(c), Some((d, 7_u8))));
        }
    }
}
