//! The last segment beside a live writer, applied record by record, after all others.
//!
//! A writer may yet lose what it has not made durable, so nothing of that is published. Hence a version that is not
//! proven must not take the place of one that is, as it would in a run: here the table keeps both.

use crate::catalog::Catalog;
use crate::error::{CorruptionKind, Error, Result};
use crate::format::batch_body;
use crate::format::record::RecordKind;
use crate::wal::{Opening, Piece, RecordRef};

/// After so many records garbage is collected: a segment may hold more overwritten versions than fit into memory.
const RECORDS_PER_COLLECTION: u64 = 256;

/// Reads and applies the last segment, if there is one.
///
/// Contract: all others have been applied.
pub(super) fn apply_last(opening: &Opening, catalog: &Catalog) -> Result<Option<Piece>> {
    let Some(index) = opening.segments().checked_sub(1) else { return Ok(None) };
    let mut records = 0_u64;
    let piece = opening.read(index, &mut |record| {
        apply(opening, catalog, &record)?;
        records += 1;
        if records.is_multiple_of(RECORDS_PER_COLLECTION) {
            // Every record below this one has been applied, and what this one carries as durable is below it.
            catalog.tracker().publish(record.header.durable_lsn);
            for space in catalog.all() {
                while space.table.collect_garbage(usize::MAX) {}
            }
        }
        Ok(())
    })?;
    Ok(Some(piece))
}

/// Applies a record, if it holds a batch.
pub(super) fn apply(opening: &Opening, catalog: &Catalog, record: &RecordRef<'_>) -> Result<()> {
    if record.header.kind != RecordKind::Data {
        return Ok(());
    }
    let lsn = record.header.lsn;
    for op in batch_body::ops(record.payload) {
        if !op.is_ok_and(|op| catalog.apply_op(lsn, op).is_ok()) {
            let (path, kind) = (opening.path().join(&**record.file), CorruptionKind::BatchBody);
            return Err(Error::corruption(&path, record.offset, Some(lsn), kind, None));
        }
    }
    Ok(())
}
