//! `checkpoint` and `prune`: what opening must replay, and what may go.

use std::sync::Arc;

use forelog::Db;
use forelog::retention::{FileReason, PruneReport};
use forelog::storage::RealDisk;

use super::App;
use crate::args::{Dir, Prune};
use crate::failure::{Failure, Outcome};
use crate::output::{Cell, Fields, Format, Output};
use crate::store;
use crate::watched::on_disk;

pub fn run_checkpoint(args: &Dir, app: &mut App) -> Result<Outcome, Failure> {
    let globals = app.globals.clone();
    on_disk("read and written", &globals, |disk| {
        let db = store::open_existing(&args.dir, disk, &globals)?;
        let outcome = checkpoint(&db, &mut app.out)?;
        store::close(db, &globals)?;
        Ok(outcome)
    })
}

/// Takes a checkpoint of an open store.
pub fn checkpoint(db: &Db, out: &mut Output) -> Result<Outcome, Failure> {
    let lsn = db.checkpoint()?;
    out.record(&[("lsn", lsn.into())])?;
    Ok(Outcome::Done)
}

pub fn run_prune(args: &Prune, app: &mut App) -> Result<Outcome, Failure> {
    let db = store::open_existing(&args.dir, Arc::new(RealDisk), &app.globals)?;
    let outcome = prune(&db, args.dry_run, &mut app.out)?;
    store::close(db, &app.globals)?;
    Ok(outcome)
}

/// Removes what an open store needs no more, or says what that would be.
pub fn prune(db: &Db, dry_run: bool, out: &mut Output) -> Result<Outcome, Failure> {
    let PruneReport { removed, archived, kept, .. } = db.prune(dry_run)?;
    if out.format() == Format::Json {
        out.record(&[("removed", list(&removed)), ("archived", list(&archived)), ("kept", list(&kept))])?;
        return Ok(Outcome::Done);
    }
    let (gone, copied) = if dry_run { ("would go", "would be copied") } else { ("removed", "archived") };
    let mut rows = out.rows(&["what", "file", "reason"])?;
    for (what, files) in [(gone, removed), (copied, archived), ("kept", kept)] {
        for FileReason { file, reason, .. } in files {
            rows.row(&[Cell::text(what), Cell::text(file), Cell::text(reason)])?;
        }
    }
    rows.finish()?;
    Ok(Outcome::Done)
}

fn list(files: &[FileReason]) -> Cell<'_> {
    Cell::List(files.iter().map(fields).collect())
}

fn fields(file: &FileReason) -> Fields<'_> {
    vec![("file", Cell::text(&*file.file)), ("reason", Cell::text(&*file.reason))]
}
