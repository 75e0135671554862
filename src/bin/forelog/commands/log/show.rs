//! The records of a log in each form.

use forelog::wal::Record;
use jiff::Timestamp;

use super::Log;
use super::walk::{Operation, Step, Walk};
use crate::failure::Failure;
use crate::output::{Cell, Output};
use crate::store::Site;

const COLUMNS: &[&str] =
    &["lsn", "time", "kind", "file", "offset", "bytes", "op", "keyspace", "key", "value", "hex"];

/// A time with a microsecond's precision.
pub const RFC_3339: &str = "%FT%T%.6fZ";

/// One object for each record.
pub fn as_json(walk: Walk, request: &Log, site: &Site, out: &mut Output) -> Result<(), Failure> {
    let mut rows = out.rows(&["lsn", "time", "kind", "file", "offset", "bytes", "ops", "hex"])?;
    walk.each(request, |step| {
        let Step::Record(record, ops) = step else { return rows.flush().map(|()| true) };
        let mut cells = place(record).to_vec();
        cells.push(Cell::List(ops.iter().map(|op| op.fields().to_vec()).collect()));
        cells.push(hex_cell(record, request, site)?);
        rows.row(&cells)?;
        Ok(true)
    })?;
    rows.finish()
}

/// One row for each operation, and for each record without one. Bytes, if wanted, stand in a record's first row.
pub fn as_rows(walk: Walk, request: &Log, site: &Site, out: &mut Output) -> Result<(), Failure> {
    let columns = if request.hex { COLUMNS } else { &COLUMNS[..COLUMNS.len() - 1] };
    let mut rows = out.rows(columns)?;
    walk.each(request, |step| {
        let Step::Record(record, ops) = step else { return rows.flush().map(|()| true) };
        let mut hex = hex_cell(record, request, site)?;
        let none = [Operation::new("")];
        for op in if ops.is_empty() { &none } else { ops } {
            let mut cells = place(record).to_vec();
            cells.extend(op.fields().into_iter().map(|(_, cell)| cell));
            cells.push(std::mem::replace(&mut hex, Cell::Absent));
            rows.row(&cells[..columns.len()])?;
        }
        Ok(true)
    })?;
    rows.finish()
}

/// For people: one row for each operation, under the name of its file. The record stands in the row of its first one.
pub fn as_table(walk: Walk, request: &Log, out: &mut Output) -> Result<(), Failure> {
    let mut rows = out.rows(&["lsn", "time", "offset", "bytes", "operation"])?;
    let mut file = None;
    let mut cut = false;
    walk.each(request, |step| {
        let Step::Record(record, ops) = step else { return rows.flush().map(|()| true) };
        if file.as_ref() != Some(&record.file) {
            file = Some(record.file.clone());
            rows.heading(&record.file)?;
        }
        let mark = [Operation::new(record.kind.name())];
        for (index, op) in if ops.is_empty() { &mark } else { ops }.iter().enumerate() {
            cut = rows.is_full();
            if cut {
                return Ok(false);
            }
            let words = op.words();
            if index == 0 {
                let time = Cell::text(time(record.time_us, "%F %T%.3fZ"));
                rows.row(&[record.lsn.into(), time, record.offset.into(), record.bytes.into(), words])?;
            } else {
                rows.row(&[Cell::Absent, Cell::Absent, Cell::Absent, Cell::Absent, words])?;
            }
        }
        Ok(true)
    })?;
    rows.finish()?;
    if cut { out.say_cut() } else { Ok(()) }
}

/// For people: each record with its operations and its bytes.
pub fn as_dump(walk: Walk, request: &Log, site: &Site, out: &mut Output) -> Result<(), Failure> {
    walk.each(request, |step| {
        let Step::Record(record, ops) = step else { return out.flush().map(|()| true) };
        let Record { lsn, file, offset, bytes, .. } = record;
        let time = time(record.time_us, "%F %T%.6fZ");
        let title = format!("LSN {lsn}  {time}  {}  {file} @{offset}, {bytes} bytes", record.kind.name());
        out.line(&out.bold(&title))?;
        for op in ops {
            out.words("  ", op.words())?;
        }
        for (index, row) in stored(record, site)?.chunks(16).enumerate() {
            let place = offset + 16 * index as u64;
            out.line(&format!("  {place:08x}  {:47}  {}", hex(row, " "), ascii(row)))?;
        }
        Ok(true)
    })
}

fn place(record: &Record) -> [Cell<'static>; 6] {
    [
        record.lsn.into(),
        Cell::text(time(record.time_us, RFC_3339)),
        Cell::text(record.kind.name()),
        Cell::text(record.file.to_string()),
        record.offset.into(),
        record.bytes.into(),
    ]
}

/// A time in UTC; a number of microseconds that is no time of this age is shown as it is.
pub fn time(us: u64, format: &str) -> String {
    let timestamp = i64::try_from(us).ok().and_then(|us| Timestamp::from_microsecond(us).ok());
    timestamp.map_or_else(|| us.to_string(), |timestamp| timestamp.strftime(format).to_string())
}

fn hex_cell(record: &Record, request: &Log, site: &Site) -> Result<Cell<'static>, Failure> {
    if request.hex { Ok(Cell::text(hex(&stored(record, site)?, ""))) } else { Ok(Cell::Absent) }
}

/// A record's bytes, header included, as they stand in the file.
fn stored(record: &Record, site: &Site) -> Result<Vec<u8>, Failure> {
    site.read_at(&site.dir.join(&*record.file), record.offset, record.bytes)
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8], separator: &str) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.join(separator)
}

fn ascii(bytes: &[u8]) -> String {
    let shown = |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' };
    bytes.iter().map(shown).collect()
}
