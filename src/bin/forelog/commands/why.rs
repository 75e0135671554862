//! `why`: every record that there is about a key, where it stands, and which of them is seen.

use forelog::format::anatomy::{self, Value};
use forelog::{Keyspace, Lsn, care};

use super::log::{Log, Step, Walk};
use crate::failure::{Failure, Outcome};
use crate::output::{Cell, Output};
use crate::store::Site;

/// Something that a file says about the key.
struct Found {
    lsn: Lsn,
    op: &'static str,
    value: Option<Vec<u8>>,
    file: String,
    offset: u64,
    bytes: u64,
}

/// Answers with what the checkpoint, the log and the archive say about a key, the oldest first.
pub fn why(site: &Site, space: &Keyspace, key: &[u8], out: &mut Output) -> Result<Outcome, Failure> {
    let seen = space.range(key..=key).next().map(|entry| entry.lsn());
    let mut found = in_checkpoint(site, space, key)?;
    let request = Log { key: Some(key.to_vec()), ..Log::default() };
    Walk::open(site)?.each(&request, |step| {
        let Step::Record(record, ops) = step else { return Ok(true) };
        // Of several operations of one batch on a key the last one counts.
        if let Some(op) = ops.iter().rfind(|op| op.id.unwrap_or_default() == space.id()) {
            let (file, offset, bytes) = (record.file.to_string(), record.offset, record.bytes);
            let value = op.value.map(<[u8]>::to_vec);
            found.push(Found { lsn: record.lsn, op: op.op, value, file, offset, bytes });
        }
        Ok(true)
    })?;
    // A checkpoint has it from the log: its record stands first.
    found.sort_by_key(|found| (found.lsn, found.op == CHECKPOINTED));
    let mut rows = out.rows(&["lsn", "op", "now", "file", "offset", "bytes", "value"])?;
    for Found { lsn, op, value, file, offset, bytes } in &found {
        let next = found.iter().map(|other| other.lsn).find(|other| other > lsn);
        let now = match (next, seen) {
            (Some(next), _) => format!("hidden by {next}"),
            // What is not durable yet is in no file that could be read here, but readers see it.
            (None, Some(seen)) if seen > *lsn => format!("hidden by {seen}, not synced"),
            (None, Some(_)) => "seen".to_owned(),
            (None, None) if value.is_none() => "why there is nothing".to_owned(),
            (None, None) => "deleted since, not synced".to_owned(),
        };
        rows.row(&[
            (*lsn).into(),
            Cell::text(*op),
            Cell::text(now),
            Cell::text(file.as_str()),
            (*offset).into(),
            (*bytes).into(),
            value.as_deref().map_or(Cell::Absent, Cell::Bytes),
        ])?;
    }
    rows.finish()?;
    Ok(if found.is_empty() && seen.is_none() { Outcome::Negative } else { Outcome::Done })
}

/// What an entry of a checkpoint is called.
const CHECKPOINTED: &str = "checkpoint";

/// The key's entry in the newest checkpoint, if it has one.
fn in_checkpoint(site: &Site, space: &Keyspace, key: &[u8]) -> Result<Vec<Found>, Failure> {
    let survey = care::survey_on(site.disk.clone(), &site.dir)?;
    let own = u64::from(space.id().0);
    for name in survey.checkpoint.iter().flat_map(|newest| &newest.files) {
        let bytes = site.read(&site.dir.join(name))?;
        let stretch = |offset: u64, len: u64| {
            let begin = usize::try_from(offset).unwrap_or(usize::MAX);
            &bytes[begin..][..usize::try_from(len).unwrap_or(usize::MAX)]
        };
        let (mut of_space, mut is_key, mut lsn, mut begin, mut found) = (false, false, Lsn::ZERO, 0, None);
        // What the manifest names is a file of a checkpoint. (An empty key or value is no piece, only its length is.)
        let _ = anatomy::dissect(name, &bytes, &mut |piece| {
            let end = piece.offset + piece.bytes;
            let value = match (piece.field, &piece.value) {
                ("value", _) => Some(stretch(piece.offset, piece.bytes).to_vec()),
                ("value length", Value::Number(0)) => Some(Vec::new()),
                _ => None,
            };
            match (piece.field, piece.value) {
                ("keyspace", Value::Number(id)) => of_space = id == own,
                ("lsn", Value::Number(number)) => (lsn, begin) = (Lsn::new(number), piece.offset),
                ("key length", Value::Number(0)) => is_key = of_space && key.is_empty(),
                ("key", _) => is_key = of_space && stretch(piece.offset, piece.bytes) == key,
                _ => {}
            }
            if value.is_some() && is_key {
                let (file, offset, bytes) = (name.clone(), begin, end - begin);
                found = Some(Found { lsn, op: CHECKPOINTED, value, file, offset, bytes });
            }
            found.is_none()
        });
        if let Some(found) = found {
            return Ok(vec![found]);
        }
    }
    Ok(Vec::new())
}
