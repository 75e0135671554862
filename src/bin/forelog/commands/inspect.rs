//! `inspect`: what every byte of a file means. Takes no lock, and judges nothing: what is wrong stands beside what is there.

use std::path::{Path, PathBuf};

use forelog::care;
use forelog::format::anatomy::{self, Piece, Value};
use forelog::format::names;
use forelog::storage::{Access, ArchiveTarget, Compressed, DirArchive, read_full_at};

use super::log::{RFC_3339, hex, time};
use super::{App, say_live};
use crate::args;
use crate::draft::dir_of;
use crate::failure::{Failure, Outcome};
use crate::output::{Cell, Format, Output, Rows, say, signs};
use crate::store::{self, Site};

/// So many bytes are shown of what a table has no room for.
const SHOWN_BYTES: usize = 8;

pub fn run(args: &args::Inspect, app: &mut App) -> Result<Outcome, Failure> {
    let site = Site::real("");
    let place = Place::parse(&args.file, &site)?;
    if place.path.file_name().is_some_and(|name| name == names::LOCK) {
        app.globals.say("a lock is a file without content: what counts is who holds it");
    }
    if care::is_live(dir_of(&place.path)).unwrap_or(false) {
        say_live(&app.globals);
    }
    inspect(&place, &site, &mut app.out)
}

/// A file, and a place in it.
pub struct Place {
    pub path: PathBuf,
    pub offset: Option<u64>,
}

impl Place {
    /// Reads `FILE` or `FILE@OFFSET`, the offset decimal or, behind `0x`, hexadecimal. A file of the store needs no path.
    pub fn parse(text: &Path, site: &Site) -> Result<Place, Failure> {
        let found = |path: &Path| {
            let own = site.dir.join(path);
            let exists = |path: &Path| site.disk.open(path, Access::Read).is_ok();
            if exists(&own) { Some(own) } else { Some(path.to_path_buf()).filter(|path| exists(path)) }
        };
        let whole = || Place { path: found(text).unwrap_or_else(|| text.to_path_buf()), offset: None };
        let Some((file, offset)) = text.to_str().and_then(|text| text.rsplit_once('@')) else {
            return Ok(whole());
        };
        if found(text).is_some() {
            return Ok(whole());
        }
        let parsed = match offset.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => offset.parse(),
        };
        let offset = parsed.map_err(|_| {
            Failure::Usage(format!("{offset:?} is no offset like 4096 or 0x1000 behind the @"))
        })?;
        let file = PathBuf::from(file);
        Ok(Place { path: found(&file).unwrap_or(file), offset: Some(offset) })
    }
}

/// Answers with the pieces of a file: all of them, or those of the structure at the offset.
pub fn inspect(place: &Place, site: &Site, out: &mut Output) -> Result<Outcome, Failure> {
    let (name, bytes) = read(&place.path, site)?;
    if let Some(offset) = place.offset.filter(|offset| *offset >= bytes.len() as u64) {
        let path = place.path.display();
        return Err(Failure::Usage(format!("{path} has {} bytes, and none at {offset}", bytes.len())));
    }
    if bytes.is_empty() {
        say(format_args!("forelog: {} is empty", place.path.display()));
    }
    let columns: &[&str] = match out.format() {
        Format::Table => &["offset", "bytes", "hex", "field", "value", "wrong"],
        _ => &["offset", "bytes", "of", "field", "value", "wrong"],
    };
    let mut answer = Answer {
        is_table: out.format() == Format::Table,
        is_redacted: out.redacts(),
        bytes: &bytes,
        of: String::new(),
        rows: out.rows(columns)?,
    };
    let (mut structure, mut failure) = (Vec::new(), None);
    let known = anatomy::dissect(&name, &bytes, &mut |piece| {
        let written = match place.offset {
            None => answer.piece(&piece).map(|()| true),
            Some(offset) => Ok(keep_around(offset, piece, &mut structure)),
        };
        written.unwrap_or_else(|error| {
            failure = Some(error);
            false
        }) && !answer.rows.is_full()
    });
    if known.is_err() {
        let path = place.path.display();
        return Err(Failure::Usage(format!(
            "{path} is no file that forelog writes: neither its name nor its first bytes say so"
        )));
    }
    structure.iter().try_for_each(|piece| answer.piece(piece))?;
    let is_cut = answer.rows.is_full();
    answer.rows.finish()?;
    match failure {
        Some(failure) => Err(failure),
        None if is_cut => out.say_cut().map(|()| Outcome::Done),
        None => Ok(Outcome::Done),
    }
}

/// Keeps the pieces of one structure; false when the one with this offset is complete.
fn keep_around(offset: u64, piece: Piece, structure: &mut Vec<Piece>) -> bool {
    if structure.first().is_some_and(|first: &Piece| first.of != piece.of) {
        let end = structure.last().map_or(0, |last| last.offset + last.bytes);
        if end > offset {
            return false;
        }
        structure.clear();
    }
    structure.push(piece);
    true
}

/// A file's name and its bytes; of a compressed object of an archive, those that it stands for.
fn read(path: &Path, site: &Site) -> Result<(String, Vec<u8>), Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Some(plain) = name.strip_suffix(".lz4") else {
        return Ok((name, site.read(path)?));
    };
    // Only to read: the directory is there if the file is.
    site.read_at(path, 0, 1)?;
    let unpack = || {
        let archive = DirArchive::new(site.disk.clone(), dir_of(path))?;
        let file = Compressed::new(archive).open(plain)?;
        let mut bytes = store::zeros(file.len()?)?;
        read_full_at(&*file, &mut bytes, 0)?;
        Ok(bytes)
    };
    Ok((plain.to_owned(), unpack().map_err(|source| Failure::file("read", path, source))?))
}

/// The answer as it is written.
struct Answer<'a> {
    is_table: bool,
    is_redacted: bool,
    bytes: &'a [u8],
    /// The structure whose heading a table has.
    of: String,
    rows: Rows<'a>,
}

impl Answer<'_> {
    fn piece(&mut self, piece: &Piece) -> Result<(), Failure> {
        let Piece { offset, bytes, of, field, value, flaw, .. } = piece;
        let at = usize::try_from(*offset).unwrap_or(usize::MAX);
        let stretch = &self.bytes[at..][..usize::try_from(*bytes).unwrap_or(usize::MAX)];
        let value = match value {
            Value::Number(number) if !self.is_table => Cell::from(*number),
            Value::Number(number) => Cell::text(number.to_string()),
            Value::Hex(number, digits) => Cell::text(format!("{number:0digits$x}")),
            Value::Time(us) => Cell::text(time(*us, RFC_3339)),
            Value::Text(text) => Cell::text(text.clone()),
            // What is wrong may be anything, and long.
            Value::Bytes if flaw.is_some() || matches!(*field, "bytes" | "body") => Cell::Absent,
            Value::Bytes => Cell::Bytes(stretch),
            _ => Cell::Absent,
        };
        let flaw = flaw.clone().map_or(Cell::Absent, Cell::text);
        let (offset, bytes) = (Cell::from(*offset), Cell::from(*bytes));
        if !self.is_table {
            return self.rows.row(&[offset, bytes, Cell::text(of.clone()), Cell::text(*field), value, flaw]);
        }
        if self.of != *of {
            self.of.clone_from(of);
            self.rows.heading(of)?;
        }
        let is_hidden = self.is_redacted && piece.value == Value::Bytes;
        let shown = if is_hidden { Cell::Absent } else { Cell::text(beginning(stretch)) };
        self.rows.row(&[offset, bytes, shown, Cell::text(*field), value, flaw])
    }
}

/// The first bytes of a piece.
fn beginning(bytes: &[u8]) -> String {
    let more = if bytes.len() > SHOWN_BYTES { signs(" …") } else { "".into() };
    format!("{}{more}", hex(&bytes[..bytes.len().min(SHOWN_BYTES)], " "))
}
