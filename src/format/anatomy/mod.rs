//! What every byte of a file means.
//!
//! ```text
//!  bytes ─▶ which file? ─▶ structure by structure ─▶ field by field ─▶ piece, piece, piece …
//!           (its magic)    `files`: where the next    `layout`, or for bodies of
//!                          one begins                 variable length `bodies`
//! ```
//!
//! The pieces come in the order of the file, without a gap: what is nothing that can be named is a piece, too, and says so.
//! Nothing is believed here, and nothing refused: what is wrong is told beside what stands there ([`Piece::flaw`]), so that
//! damage can be looked at.
//!
//! ```
//! use std::sync::Arc;
//!
//! use forelog::WalOptions;
//! use forelog::format::anatomy::{Piece, UnknownFile, dissect};
//! use forelog::storage::SimDisk;
//!
//! fn what_is_wrong(name: &str, bytes: &[u8]) -> Result<Vec<Piece>, UnknownFile> {
//!     let mut found = Vec::new();
//!     dissect(name, bytes, &mut |piece: Piece| {
//!         if piece.flaw.is_some() {
//!             found.push(piece);
//!         }
//!         true // go on
//!     })?;
//!     Ok(found)
//! }
//!
//! let disk = SimDisk::new(1);
//! let wal = WalOptions::new().storage(Arc::new(disk.clone())).segment_bytes(8192).open("log")?;
//! wal.append(b"hello")?;
//! let mut bytes = disk.read_file("log/00000000000000000001.wal").unwrap();
//! assert_eq!(what_is_wrong("00000000000000000001.wal", &bytes), Ok(vec![]));
//! bytes[4096 + 48] ^= 1; // the first byte of the payload
//! let found = what_is_wrong("00000000000000000001.wal", &bytes).unwrap();
//! assert_eq!((found[0].of.as_str(), found[0].field), ("record 1", "payload_checksum"));
//! assert_eq!(what_is_wrong("notes.txt", b"hello"), Err(UnknownFile));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bodies;
mod files;

use super::layout::{Field, Form};
use super::{Checksum, StoreId, field, get_u32, get_u64, names};
use crate::format::checksum::header_crc;

/// A stretch of a file, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Piece {
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub bytes: u64,
    /// What it is part of: `header block`, `record 43`.
    pub of: String,
    /// The name of the field, as in `docs/FORMAT.md`.
    pub field: &'static str,
    /// What stands there.
    pub value: Value,
    /// What is wrong with it.
    pub flaw: Option<String>,
}

/// What stands in a field.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value {
    /// A number.
    Number(u64),
    /// A number that is read in hexadecimal, with so many digits.
    Hex(u64, usize),
    /// Microseconds since 1970-01-01 UTC.
    Time(u64),
    /// Something that has a name.
    Text(String),
    /// Nothing but these bytes: a key, a value.
    Bytes,
    /// Zeros, as it should be.
    Zeros,
}

/// The bytes are no file of this format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownFile;

/// Takes the bytes of a file apart and hands each piece to `visit`, until that says false. Which kind of file it is, the bytes
/// say; where they do not (any more), the name.
///
/// # Errors
/// [`UnknownFile`] if neither says it.
///
/// ```
/// use forelog::format::anatomy::{self, Value};
/// use forelog::{Db, Options};
///
/// let dir = tempfile::tempdir()?;
/// let db = Options::new().segment_bytes(8192).open(dir.path().join("data"))?;
/// db.put("user:1", "alice")?;
/// db.close()?;
/// let bytes = std::fs::read(dir.path().join("data/00000000000000000001.wal"))?;
/// let mut keys = Vec::new();
/// anatomy::dissect("00000000000000000001.wal", &bytes, &mut |piece| {
///     if piece.field == "key" {
///         assert_eq!((piece.of.as_str(), piece.value), ("record 1", Value::Bytes));
///         keys.push(bytes[piece.offset as usize..][..piece.bytes as usize].to_vec());
///     }
///     true
/// }).unwrap();
/// assert_eq!(keys, [b"user:1"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn dissect(name: &str, bytes: &[u8], visit: &mut dyn FnMut(Piece) -> bool) -> Result<(), UnknownFile> {
    let kind = Kind::of(name, bytes).ok_or(UnknownFile)?;
    let mut walk = Walk { bytes, visit, of: String::new(), salt: 0, stopped: false };
    // `None` where it was stopped.
    let _: Option<()> = match kind {
        Kind::Segment => walk.segment(),
        Kind::Part => walk.part(),
        Kind::Manifest => walk.manifest(),
        Kind::Owner => walk.owner(),
        Kind::Lock => Some(()),
    };
    Ok(())
}

#[derive(Clone, Copy)]
enum Kind {
    Segment,
    Part,
    Manifest,
    /// `STORE`, in an archive.
    Owner,
    Lock,
}

impl Kind {
    fn of(name: &str, bytes: &[u8]) -> Option<Kind> {
        match bytes.get(..8) {
            Some(b"FORELOG\n") => return Some(Kind::Segment),
            Some(b"FORECKPT") => return Some(Kind::Part),
            Some(b"FOREMANI") => return Some(Kind::Manifest),
            _ => {}
        }
        let is_segment = names::parse_segment(name).is_some() || names::parse_archived(name).is_some();
        match name {
            names::LOCK if bytes.is_empty() => Some(Kind::Lock),
            names::MANIFEST | names::MANIFEST_TMP => Some(Kind::Manifest),
            names::ARCHIVE_OWNER => Some(Kind::Owner),
            _ if is_segment => Some(Kind::Segment),
            _ if names::is_part(name) => Some(Kind::Part),
            _ if names::parse_archived_checkpoint(name).is_some() => Some(Kind::Manifest),
            _ => None,
        }
    }
}

/// Goes through a file. Its methods answer `None` when nobody wants to see more.
struct Walk<'a> {
    bytes: &'a [u8],
    visit: &'a mut dyn FnMut(Piece) -> bool,
    /// What the next pieces are part of.
    of: String,
    /// The file's, once it is known.
    salt: u64,
    stopped: bool,
}

impl Walk<'_> {
    fn piece(
        &mut self,
        at: usize,
        len: usize,
        field: &'static str,
        value: Value,
        flaw: Option<String>,
    ) -> Option<()> {
        if len == 0 {
            return Some(());
        }
        let (offset, bytes, of) = (at as u64, len as u64, self.of.clone());
        if !self.stopped {
            self.stopped = !(self.visit)(Piece { offset, bytes, of, field, value, flaw });
        }
        (!self.stopped).then_some(())
    }

    /// Everything from `at` on, which nothing is known about.
    fn rest(&mut self, at: usize, why: &str) -> Option<()> {
        self.piece(at, self.bytes.len().saturating_sub(at), "bytes", Value::Bytes, Some(why.to_owned()))
    }

    /// The fields of a structure that begins at `at`. `flaw` knows more about some of them.
    fn fixed(
        &mut self,
        layout: &[Field],
        at: usize,
        flaw: impl Fn(&'static str) -> Option<String>,
    ) -> Option<()> {
        let end = layout.last().map_or(0, |last| last.offset + last.bytes);
        let Some(structure) = self.bytes.get(at..at + end) else {
            return self.rest(at, "the file ends within it");
        };
        for Field { offset, bytes, name, form } in layout {
            let (value, found) = self.look(structure, at, *offset..offset + bytes, *form);
            self.piece(at + offset, *bytes, name, value, found.or_else(|| flaw(name)))?;
        }
        Some(())
    }

    /// What stands in a field of a structure, and what is wrong with it.
    fn look(
        &self,
        structure: &[u8],
        at: usize,
        place: std::ops::Range<usize>,
        form: Form,
    ) -> (Value, Option<String>) {
        let bytes = &structure[place.clone()];
        let number = || match bytes.len() {
            4 => u64::from(get_u32(bytes, 0)),
            _ => get_u64(bytes, 0),
        };
        let digits = 2 * bytes.len();
        match form {
            Form::Magic(magic) => {
                let flaw = (bytes != magic).then(|| format!("should be {}", magic.escape_ascii()));
                (Value::Text(String::from_utf8_lossy(bytes).into_owned()), flaw)
            }
            Form::Number => (Value::Number(number()), None),
            Form::Hex => (Value::Hex(number(), digits), None),
            Form::Time => (Value::Time(number()), None),
            Form::StoreId => (Value::Text(StoreId(field(bytes, 0)).to_string()), None),
            Form::Algorithm => named(bytes[0], Checksum::from_tag(bytes[0]).map(Checksum::name)),
            Form::OneOf(known) => {
                let found = known.iter().find(|(number, _)| *number == bytes[0]);
                named(bytes[0], found.map(|(_, name)| *name))
            }
            Form::Guard { from, to, placed } => {
                let guarded = &structure[from..to];
                let right = match placed {
                    true => header_crc(self.salt, at as u64, guarded),
                    false => crc32fast::hash(guarded),
                };
                let flaw = number() != u64::from(right);
                (Value::Hex(number(), digits), flaw.then(|| format!("should be {right:08x}")))
            }
            Form::Zeros if bytes.iter().all(|byte| *byte == 0) => (Value::Zeros, None),
            Form::Zeros => (Value::Bytes, Some("should be zeros".to_owned())),
        }
    }
}

/// A number and what it stands for.
fn named(number: u8, name: Option<&str>) -> (Value, Option<String>) {
    let flaw = name.is_none().then(|| "unknown".to_owned());
    (Value::Text(name.map_or_else(|| number.to_string(), |name| format!("{number}, {name}"))), flaw)
}
