//! The structures of fixed length, field by field: the one description that [`anatomy`](super::anatomy) labels bytes by, and
//! that the tables of `docs/FORMAT.md` are checked against.
//!
//! The encoders beside it are written by hand, for speed and for reading; a test holds each against its layout.
//!
//! ```
//! use forelog::format::layout::{self, Field, Form};
//!
//! let structures: [&[Field]; 7] = [
//!     layout::HEADER_BLOCK,
//!     layout::RECORD_HEADER,
//!     layout::SEAL,
//!     layout::MANIFEST_HEADER,
//!     layout::PART_HEADER,
//!     layout::BLOCK_HEADER,
//!     layout::FOOTER,
//! ];
//! let lengths = structures.map(|fields| fields.iter().map(|field| field.bytes).sum::<usize>());
//! assert_eq!(lengths, [4096, 48, 40, 24, 64, 32, 40]);
//!
//! // Which checksums tell that their structure stands at the wrong place?
//! let is_placed = |field: &&Field| matches!(field.form, Form::Guard { placed: true, .. });
//! let placed: Vec<_> = structures.into_iter().flatten().filter(is_placed).map(|field| field.name).collect();
//! assert_eq!(placed, ["header_crc", "crc", "crc", "crc"]); // of a record, a seal, a block, and a footer
//! ```

/// A field of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Where it begins in its structure, in bytes.
    pub offset: usize,
    /// How long it is, in bytes.
    pub bytes: usize,
    /// Its name in `docs/FORMAT.md`.
    pub name: &'static str,
    /// What it is.
    pub form: Form,
}

/// What a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// These characters.
    Magic(&'static [u8; 8]),
    /// A little-endian number.
    Number,
    /// A little-endian number that is read in hexadecimal: a salt, a checksum, a digest.
    Hex,
    /// Microseconds since 1970-01-01 UTC.
    Time,
    /// The id of a store.
    StoreId,
    /// The number of a checksum algorithm.
    Algorithm,
    /// One of these.
    OneOf(&'static [(u8, &'static str)]),
    /// The checksum of these bytes of the structure.
    Guard {
        /// The first one.
        from: usize,
        /// Behind the last one.
        to: usize,
        /// True if it is seeded with the file's salt and with the place of the structure.
        placed: bool,
    },
    /// Nothing: zeros.
    Zeros,
}

const fn field(offset: usize, bytes: usize, name: &'static str, form: Form) -> Field {
    Field { offset, bytes, name, form }
}

/// The header block of a segment: [`SegmentHeader`](super::segment::SegmentHeader).
pub const HEADER_BLOCK: &[Field] = &[
    field(0, 8, "magic", Form::Magic(b"FORELOG\n")),
    field(8, 4, "format_version", Form::Number),
    field(12, 4, "header_bytes", Form::Number),
    field(16, 16, "store_id", Form::StoreId),
    field(32, 8, "base", Form::Number),
    field(40, 8, "file_len", Form::Number),
    field(48, 8, "salt", Form::Hex),
    field(56, 1, "checksum", Form::Algorithm),
    field(57, 7, "reserved", Form::Zeros),
    field(64, 8, "previous_last", Form::Number),
    field(72, 8, "previous_digest", Form::Hex),
    field(80, 8, "proven_to", Form::Number),
    field(88, 8, "created_us", Form::Time),
    field(96, 8, "cut", Form::Number),
    field(104, 3988, "reserved", Form::Zeros),
    field(4092, 4, "crc", Form::Guard { from: 0, to: 4092, placed: false }),
];

/// What stands before a record's payload: [`RecordHeader`](super::record::RecordHeader).
pub const RECORD_HEADER: &[Field] = &[
    field(0, 4, "header_crc", Form::Guard { from: 4, to: 48, placed: true }),
    field(4, 4, "payload_len", Form::Number),
    field(8, 8, "lsn", Form::Number),
    field(16, 8, "durable_lsn", Form::Number),
    field(24, 8, "time_us", Form::Time),
    field(32, 8, "payload_checksum", Form::Hex),
    field(40, 1, "kind", Form::OneOf(&[(1, "data"), (2, "sync-mark"), (3, "close-mark")])),
    field(41, 1, "flags", Form::Zeros),
    field(42, 6, "reserved", Form::Zeros),
];

/// The trailer of a finished segment: [`Seal`](super::seal::Seal).
pub const SEAL: &[Field] = &[
    field(0, 8, "magic", Form::Magic(b"FORESEAL")),
    field(8, 8, "last_lsn", Form::Number),
    field(16, 8, "digest", Form::Hex),
    field(24, 8, "records", Form::Number),
    field(32, 4, "crc", Form::Guard { from: 0, to: 32, placed: true }),
    field(36, 4, "reserved", Form::Zeros),
];

/// What stands before a manifest's body: [`Manifest`](super::manifest::Manifest).
pub const MANIFEST_HEADER: &[Field] = &[
    field(0, 8, "magic", Form::Magic(b"FOREMANI")),
    field(8, 4, "format_version", Form::Number),
    field(12, 4, "body_len", Form::Number),
    field(16, 4, "body_crc", Form::Hex),
    field(20, 4, "header_crc", Form::Guard { from: 0, to: 20, placed: false }),
];

/// What a part of a checkpoint begins with: [`PartHeader`](super::checkpoint::PartHeader).
pub const PART_HEADER: &[Field] = &[
    field(0, 8, "magic", Form::Magic(b"FORECKPT")),
    field(8, 4, "format_version", Form::Number),
    field(12, 4, "header_bytes", Form::Number),
    field(16, 16, "store_id", Form::StoreId),
    field(32, 8, "lsn", Form::Number),
    field(40, 8, "salt", Form::Hex),
    field(48, 4, "part", Form::Number),
    field(52, 4, "parts", Form::Number),
    field(56, 1, "checksum", Form::Algorithm),
    field(57, 3, "reserved", Form::Zeros),
    field(60, 4, "crc", Form::Guard { from: 0, to: 60, placed: false }),
];

/// What stands before a block's body: [`BlockHeader`](super::checkpoint::BlockHeader).
pub const BLOCK_HEADER: &[Field] = &[
    field(0, 4, "crc", Form::Guard { from: 4, to: 32, placed: true }),
    field(4, 4, "keyspace", Form::Number),
    field(8, 8, "body_bytes", Form::Number),
    field(16, 8, "body_checksum", Form::Hex),
    field(24, 4, "entries", Form::Number),
    field(28, 1, "kind", Form::OneOf(&[(1, "entries"), (2, "keyspaces")])),
    field(29, 3, "reserved", Form::Zeros),
];

/// The end of a part: [`PartFooter`](super::checkpoint::PartFooter).
pub const FOOTER: &[Field] = &[
    field(0, 8, "magic", Form::Magic(b"FOREDONE")),
    field(8, 8, "blocks", Form::Number),
    field(16, 8, "entries", Form::Number),
    field(24, 8, "digest", Form::Hex),
    field(32, 4, "reserved", Form::Zeros),
    field(36, 4, "crc", Form::Guard { from: 0, to: 36, placed: true }),
];
