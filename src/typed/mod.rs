//! Typed tables: keys and values that are Rust's own types, over a keyspace.
//!
//! ```text
//!   Table<(String, u64), Order>
//!     key    ("alice", 7) ─▶ 61 6c 69 63 65 00 00 00 00 00 00 00 00 00 07     sorts as the tuple does
//!     value  Order { … }  ─▶ serde, bincode                                   as the fields stand
//! ```
//!
//! It uses nothing of the store that is not public, so it is also an example of how to build on it.
//!
//! # When a type changes
//!
//! The bytes of a value have no names in them: they are the fields in their order, and the number of an enum's variant. So
//! a field that is added, removed or moved makes what was written before unreadable ([`Error::Mistyped`]), or, worse,
//! readable as something else. What holds is an **enum of versions**, to which one only ever adds at the end:
//!
//! ```
//! use forelog::Db;
//! use forelog::typed::Table;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! enum User {
//!     V1 { name: String },
//!     V2 { name: String, mail: Option<String> }, // since June: what is new comes behind what was there
//! }
//!
//! # #[derive(Serialize, Deserialize)]
//! # enum UserOfMay { V1 { name: String } }
//! let dir = tempfile::tempdir()?;
//! let db = Db::open(dir.path().join("data"))?;
//! # let of_may = Table::<u64, UserOfMay>::new(db.keyspace("users")?);
//! # of_may.put(&1, &UserOfMay::V1 { name: "alice".into() })?; // in May
//! let users = Table::<u64, User>::new(db.keyspace("users")?);
//! // What was written in May:
//! match users.get(&1)? {
//!     Some(User::V1 { name }) => users.put(&1, &User::V2 { name, mail: None })?,
//!     _ => panic!(),
//! };
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where that is not enough, as when other programs read the values, encode them by something that names its fields, JSON
//! for example, and put the bytes into the keyspace itself. What serde does with names
//! (`flatten`, `untagged`, `tag`, `skip_serializing_if`) does not work without them: write and read such a type once in a
//! test. A type that holds itself (a list of boxes, a tree) is decoded by as many calls within each other as it is deep, and
//! nothing bounds that: bytes that another type has written can use up the stack.

mod table;

pub use self::table::{Entries, Table, TableTransaction};
#[cfg(doc)]
use crate::Error;
pub use crate::format::key::{Key, OwnedKey};
