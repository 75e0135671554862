//! One field of an answer, in each of its forms.

use std::borrow::Cow;
use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::escape;

/// The fields of one object, with their names.
pub type Fields<'a> = Vec<(&'static str, Cell<'a>)>;

/// One field of an answer.
#[derive(Clone, Debug)]
pub enum Cell<'a> {
    /// Content of the store: a key or a value. The only kind that `--redact` hides.
    Bytes(&'a [u8]),
    /// A time, a word of our own.
    Text(Cow<'a, str>),
    /// A name that somebody has chosen: like content where it is read back, and never hidden.
    Name(Cow<'a, str>),
    /// A whole number.
    Number(u64),
    /// A number with so many digits behind the point.
    Decimal(f64, usize),
    /// Nothing: an empty field, and none at all in JSON.
    Absent,
    /// Nothing: an empty field, and `null` in JSON.
    Null,
    /// An object with named fields, for JSON only.
    Object(Fields<'a>),
    /// Objects with named fields, for JSON only: the other forms have rows for them.
    List(Vec<Fields<'a>>),
    /// Cells that stand in one column with spaces between them.
    Words(Vec<Cell<'a>>),
}

impl<'a> Cell<'a> {
    /// A time, a word of our own.
    pub fn text(text: impl Into<Cow<'a, str>>) -> Cell<'a> {
        Cell::Text(text.into())
    }

    /// The cell, with its length in place of the content.
    pub fn redacted(&self) -> Cell<'static> {
        match self {
            Cell::Bytes(bytes) => Cell::Text(redacted(bytes).into()),
            Cell::Text(text) => Cell::Text(text.to_string().into()),
            Cell::Name(name) => Cell::Name(name.to_string().into()),
            Cell::Number(number) => Cell::Number(*number),
            Cell::Decimal(number, digits) => Cell::Decimal(*number, *digits),
            Cell::Absent => Cell::Absent,
            Cell::Null => Cell::Null,
            Cell::Object(fields) => Cell::Object(redacted_fields(fields)),
            Cell::List(objects) => Cell::List(objects.iter().map(redacted_fields).collect()),
            Cell::Words(cells) => Cell::Words(cells.iter().map(Cell::redacted).collect()),
        }
    }

    /// True where there is nothing, not even in JSON.
    pub fn is_absent(&self) -> bool {
        matches!(self, Cell::Absent)
    }

    /// Right-aligned in a table.
    pub fn is_number(&self) -> bool {
        matches!(self, Cell::Number(_) | Cell::Decimal(..))
    }

    /// As a word that the shell reads back, for tables.
    pub fn to_word(&self) -> String {
        match self {
            Cell::Bytes(bytes) => escape::word(bytes),
            Cell::Name(name) => escape::word(name.as_bytes()),
            Cell::Words(cells) => {
                let words: Vec<String> =
                    cells.iter().filter(|cell| !cell.is_absent()).map(Cell::to_word).collect();
                words.join(" ")
            }
            _ => self.to_text(),
        }
    }

    /// As text that a tab or the end of a line can follow.
    pub fn to_text(&self) -> String {
        match self {
            Cell::Bytes(bytes) => escape::text(bytes),
            Cell::Text(text) | Cell::Name(text) => escape::text(text.as_bytes()),
            Cell::Number(number) => number.to_string(),
            Cell::Decimal(number, digits) => format!("{number:.digits$}"),
            Cell::Words(_) => self.to_word(),
            Cell::Absent | Cell::Null | Cell::Object(_) | Cell::List(_) => String::new(),
        }
    }

    /// As bytes without any escape, for csv, which has its own quotes, and for raw.
    pub fn to_bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Cell::Bytes(bytes) => Cow::Borrowed(bytes),
            Cell::Text(text) | Cell::Name(text) => Cow::Borrowed(text.as_bytes()),
            _ => Cow::Owned(self.to_text().into_bytes()),
        }
    }

    /// As a field of a JSON object. Content that is not UTF-8 goes under the name with `_base64` behind it.
    pub fn write_json_field(&self, name: &str, sink: &mut dyn Write) -> io::Result<()> {
        match self {
            Cell::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => write_json_text(name, text, sink),
                Err(_) => write_json_text(&format!("{name}_base64"), &BASE64.encode(bytes), sink),
            },
            Cell::Text(text) | Cell::Name(text) => write_json_text(name, text, sink),
            Cell::Words(_) => write_json_text(name, &self.to_word(), sink),
            Cell::Number(number) => write!(sink, "\"{name}\":{number}"),
            Cell::Decimal(number, _) if !number.is_finite() => write!(sink, "\"{name}\":null"),
            Cell::Decimal(number, digits) => write!(sink, "\"{name}\":{number:.digits$}"),
            Cell::Absent => Ok(()),
            Cell::Null => write!(sink, "\"{name}\":null"),
            Cell::Object(fields) => {
                write!(sink, "\"{name}\":")?;
                write_object(fields.iter().map(|(name, cell)| (*name, cell)), sink)
            }
            Cell::List(objects) => write_list(name, objects, sink),
        }
    }
}

impl From<u64> for Cell<'_> {
    fn from(number: u64) -> Self {
        Cell::Number(number)
    }
}

impl From<forelog::Lsn> for Cell<'_> {
    fn from(lsn: forelog::Lsn) -> Self {
        Cell::Number(lsn.get())
    }
}

/// What `--redact` shows in place of content.
pub fn redacted(bytes: &[u8]) -> String {
    match bytes.len() {
        1 => "[1 byte]".to_owned(),
        length => format!("[{length} bytes]"),
    }
}

/// The bytes that a `_base64` field stands for, or `None` if it is not base64.
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

fn redacted_fields<'a>(fields: &Fields<'_>) -> Fields<'a> {
    fields.iter().map(|(name, cell)| (*name, cell.redacted())).collect()
}

/// Writes fields as a JSON object.
pub fn write_object<'c, 'a: 'c>(
    fields: impl Iterator<Item = (&'static str, &'c Cell<'a>)>,
    sink: &mut dyn Write,
) -> io::Result<()> {
    let fields = fields.filter(|(_, cell)| !cell.is_absent());
    sink.write_all(b"{")?;
    for (index, (name, cell)) in fields.enumerate() {
        if index > 0 {
            sink.write_all(b",")?;
        }
        cell.write_json_field(name, sink)?;
    }
    sink.write_all(b"}")
}

fn write_list(name: &str, objects: &[Fields<'_>], sink: &mut dyn Write) -> io::Result<()> {
    write!(sink, "\"{name}\":[")?;
    for (index, fields) in objects.iter().enumerate() {
        if index > 0 {
            sink.write_all(b",")?;
        }
        write_object(fields.iter().map(|(name, cell)| (*name, cell)), sink)?;
    }
    sink.write_all(b"]")
}

fn write_json_text(name: &str, text: &str, sink: &mut dyn Write) -> io::Result<()> {
    write!(sink, "\"{name}\":")?;
    Ok(serde_json::to_writer(sink, text)?)
}
