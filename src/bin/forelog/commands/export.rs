//! `export`: everything that a store holds, as NDJSON that `import` reads back, or as CSV.
//!
//! The default keyspace comes first, then the others in the order of their names; the keys of each in byte order. So
//! the same contents always give the same bytes.

use std::path::Path;

use forelog::{DEFAULT_KEYSPACE, Db, Keyspace};

use super::App;
use crate::args::Export;
use crate::draft::{self, Draft};
use crate::failure::{Failure, Outcome};
use crate::interrupt;
use crate::output::{Cell, Format, Output};
use crate::progress::Progress;
use crate::store;

pub fn run(args: &Export, app: &mut App) -> Result<Outcome, Failure> {
    let file = args.file.as_deref().filter(|path| *path != Path::new("-"));
    file.map_or(Ok(()), |path| draft::check(path, args.force))?;
    let db = store::open_to_read(&args.dir, &app.globals)?;
    let only = args.keyspace.as_deref().map(|name| app.globals.name(name)).transpose()?;
    let spaces = spaces(&db, only.as_deref())?;
    app.out.set_format(if app.globals.format == Format::Csv { Format::Csv } else { Format::Json });
    match file {
        None => write(&spaces, &mut app.out, app.globals.quiet)?,
        Some(path) => {
            // Ctrl-C must not leave the draft behind. It ends the opening, which may take long, at once.
            interrupt::listen();
            let draft = Draft::new(path, args.force)?;
            let mut out = app.out.to_file(&draft)?;
            write(&spaces, &mut out, app.globals.quiet)?;
            out.flush()?;
            draft.keep()?;
        }
    }
    store::leave(db);
    Ok(Outcome::Done)
}

fn spaces(db: &Db, only: Option<&str>) -> Result<Vec<Keyspace>, Failure> {
    if only.is_some() {
        return Ok(vec![store::keyspace_to_read(db, only)?]);
    }
    let mut names = db.keyspaces();
    names.sort_unstable_by_key(|name| (name != DEFAULT_KEYSPACE, name.clone()));
    names.iter().map(|name| store::keyspace_to_read(db, Some(name))).collect()
}

fn write(spaces: &[Keyspace], out: &mut Output, quiet: bool) -> Result<(), Failure> {
    let columns: &[&str] = if spaces.iter().any(|space| store::name_of(space).is_some()) {
        &["key", "value", "keyspace"]
    } else {
        &["key", "value"]
    };
    let mut progress = Progress::new("exported", None, quiet);
    let mut rows = out.rows(columns)?;
    for space in spaces {
        let name = store::name_of(space).map_or(Cell::Absent, Cell::text);
        for entry in space.iter() {
            let cells = [Cell::Bytes(entry.key()), Cell::Bytes(entry.value()), name.clone()];
            rows.row(&cells[..columns.len()])?;
            interrupt::check()?;
            progress.add(1);
        }
    }
    rows.finish()
}
