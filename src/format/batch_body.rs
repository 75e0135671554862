//! The body of a data record of a store: the operations of one batch, one behind the other, up to the end.
//!
//! ```text
//!  put              0 │ keyspace │ key len │ key … │ value len │ value …
//!  delete           1 │ keyspace │ key len │ key …
//!  create keyspace  2 │ keyspace │ name len │ name (UTF-8) …
//!  drop keyspace    3 │ keyspace
//! ```
//!
//! All numbers are variable-length integers of [`codec`]. There is no count: the record's length says
//! where the operations end. A batch holds a key once; the last operation on it wins before it is encoded.
//!
//! ```
//! use forelog::format::batch_body::{self, BadBody, KeyspaceId, Op};
//!
//! let mut body = Vec::new();
//! Op::Put { keyspace: KeyspaceId::DEFAULT, key: b"k", value: b"vv" }.append_to(&mut body);
//! let put = body.len();
//! Op::Delete { keyspace: KeyspaceId(3), key: b"old" }.append_to(&mut body);
//! assert_eq!(body, b"\x00\x00\x01k\x02vv\x01\x03\x03old");
//!
//! let delete = Op::Delete { keyspace: KeyspaceId(3), key: b"old" };
//! assert_eq!(batch_body::ops(&body[put..]).collect::<Vec<_>>(), [Ok(delete)]);
//! assert_eq!(batch_body::ops(&body[..put - 1]).collect::<Vec<_>>(), [Err(BadBody)]); // cut short
//! ```

use std::fmt;
use std::iter;

use bincode::{BorrowDecode, Encode};
use serde::{Deserialize, Serialize};

use super::codec;

/// The number of a keyspace, never used for another one.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    Encode,
    BorrowDecode,
)]
#[serde(transparent)]
pub struct KeyspaceId(pub u32);

impl KeyspaceId {
    /// The keyspace that every store has.
    pub const DEFAULT: KeyspaceId = KeyspaceId(0);
}

impl fmt::Display for KeyspaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One operation of a batch, borrowed from its bytes.
///
/// The order of the variants is their number on disk: only append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub enum Op<'a> {
    /// Sets a key.
    Put {
        /// Where the key lives.
        keyspace: KeyspaceId,
        /// The key.
        key: &'a [u8],
        /// Its new value.
        value: &'a [u8],
    },
    /// Removes a key; no difference if it is absent.
    Delete {
        /// Where the key lives.
        keyspace: KeyspaceId,
        /// The key.
        key: &'a [u8],
    },
    /// Makes a keyspace.
    CreateKeyspace {
        /// Its number, not used before.
        id: KeyspaceId,
        /// Its name, not in use.
        name: &'a str,
    },
    /// Removes a keyspace with all its keys. Whatever the log holds of it before counts no more.
    DropKeyspace {
        /// Its number, which no other one gets.
        id: KeyspaceId,
    },
}

impl Op<'_> {
    /// Appends the operation's bytes.
    pub fn append_to(&self, body: &mut Vec<u8>) {
        codec::append(self, body);
    }
}

/// A body that passed its checksum and still holds no operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadBody;

/// The operations of a body, in their order. After an error comes nothing more.
pub fn ops(body: &[u8]) -> impl Iterator<Item = Result<Op<'_>, BadBody>> {
    let mut rest = body;
    iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some((op, taken)) = codec::borrow_one(rest) else {
            rest = &[];
            return Some(Err(BadBody));
        };
        rest = &rest[taken..];
        Some(Ok(op))
    })
}

#[cfg(test)]
mod tests {
    //! Shows the exact bytes of each operation, that they are read back, and that no cut or claim makes trouble.
    use super::*;

    fn check(op: Op<'_>, expected: &[u8]) {
        let mut body = Vec::new();
        op.append_to(&mut body);
        assert_eq!(body, expected);
        assert_eq!(ops(&body).collect::<Vec<_>>(), [Ok(op)]);
    }

    const KS: KeyspaceId = KeyspaceId(3);

    #[test]
    fn bytes_of_each_operation() {
        check(Op::Put { keyspace: KS, key: b"k", value: b"vv" }, b"\x00\x03\x01k\x02vv");
        check(Op::Delete { keyspace: KS, key: b"" }, b"\x01\x03\x00");
        check(Op::CreateKeyspace { id: KS, name: "users" }, b"\x02\x03\x05users");
        check(Op::DropKeyspace { id: KS }, b"\x03\x03");
        check(Op::Delete { keyspace: KeyspaceId(300), key: b"k" }, b"\x01\xfb\x2c\x01\x01k");
    }

    #[test]
    fn every_cut_is_an_error_and_ends() {
        let mut body = Vec::new();
        Op::Put { keyspace: KS, key: b"key", value: b"value" }.append_to(&mut body);
        for len in 1..body.len() {
            assert_eq!(ops(&body[..len]).collect::<Vec<_>>(), [Err(BadBody)], "{len}");
        }
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn the_longest_payload_is_read_back() {
        // A put that fills a payload of the greatest length. Its value is zeros that nobody touches: they cost no memory.
        let mut body = vec![0; u32::MAX as usize];
        let head = [0, 0, 0, 0xfc, 0xf7, 0xff, 0xff, 0xff];
        body[..head.len()].copy_from_slice(&head);
        let read: Vec<_> = ops(&body).map(|op| op.map(|op| matches!(op, Op::Put { .. }))).collect();
        assert_eq!(read, [Ok(true)]);
    }

    #[test]
    fn a_length_of_four_gigabytes_allocates_nothing() {
        let bomb = b"\x00\x00\xfd\xff\xff\xff\xff\x00\x00\x00\x00";
        assert_eq!(ops(bomb).collect::<Vec<_>>(), [Err(BadBody)]);
        assert_eq!(ops(b"\x09").collect::<Vec<_>>(), [Err(BadBody)]);
    }
}
