//! Counts and sizes of the records of a log.

use std::collections::BTreeMap;

use forelog::format::record::RecordKind;

use super::Log;
use super::show::{RFC_3339, time};
use super::walk::{Step, Walk};
use crate::failure::Failure;
use crate::output::{Cell, Output};

/// Answers with one row of counts.
pub fn stats(walk: Walk, request: &Log, out: &mut Output) -> Result<(), Failure> {
    let mut totals = Totals::default();
    walk.each(request, |step| {
        let Step::Record(record, ops) = step else { return Ok(true) };
        totals.records += 1;
        totals.marks += u64::from(record.kind != RecordKind::Data);
        totals.bytes += record.bytes;
        totals.payload_bytes += record.payload.len() as u64;
        totals.first.get_or_insert_with(|| (record.lsn.get(), time(record.time_us, RFC_3339)));
        totals.last = Some((record.lsn.get(), time(record.time_us, RFC_3339)));
        *totals.files.entry(record.file.to_string()).or_default() += 1;
        for op in ops {
            *totals.ops.entry(op.op).or_default() += 1;
        }
        Ok(true)
    })?;
    let count = |op: &str| Cell::Number(totals.ops.get(op).copied().unwrap_or_default());
    let lsn = |end: &Option<(u64, String)>| end.as_ref().map_or(Cell::Null, |(lsn, _)| Cell::Number(*lsn));
    let at =
        |end: &Option<(u64, String)>| end.as_ref().map_or(Cell::Null, |(_, time)| Cell::text(time.clone()));
    out.record(&[
        ("records", totals.records.into()),
        ("marks", totals.marks.into()),
        ("puts", count("put")),
        ("deletes", count("delete")),
        ("segments", Cell::Number(totals.files.len() as u64)),
        ("bytes", totals.bytes.into()),
        ("payload_bytes", totals.payload_bytes.into()),
        ("first_lsn", lsn(&totals.first)),
        ("last_lsn", lsn(&totals.last)),
        ("first_time", at(&totals.first)),
        ("last_time", at(&totals.last)),
    ])
}

#[derive(Default)]
struct Totals {
    records: u64,
    marks: u64,
    bytes: u64,
    payload_bytes: u64,
    /// LSN and time.
    first: Option<(u64, String)>,
    last: Option<(u64, String)>,
    /// Records in each.
    files: BTreeMap<String, u64>,
    ops: BTreeMap<&'static str, u64>,
}
