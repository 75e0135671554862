//! `log`: the records of the log as they stand in its files. Takes no lock that would stop a writer.
//!
//! Where to read next: `walk.rs`, which goes through the records; `show.rs` and `stats.rs` answer with them.

mod show;
mod stats;
mod walk;

use std::path::Path;

use forelog::Lsn;

use super::{App, say_live};
use crate::args;
use crate::failure::{Failure, Outcome};
use crate::output::{Format, Output};
pub use show::{RFC_3339, hex, time};
use walk::Walk;

pub fn run(args: &args::Log, app: &mut App) -> Result<Outcome, Failure> {
    let request = Log {
        from_lsn: args.from_lsn.map(Lsn::new),
        to_lsn: args.to_lsn.map(Lsn::new),
        key: app.globals.optional_bytes(args.key.as_ref())?,
        stats: args.stats,
        hex: args.hex,
    };
    let walk = Walk::open(&args.dir)?;
    if walk.is_live() {
        say_live(&app.globals);
    }
    answer(walk, &request, &args.dir, &mut app.out)
}

/// Which records are meant, and what is asked about them.
#[derive(Debug, Default)]
pub struct Log {
    pub from_lsn: Option<Lsn>,
    /// The last one.
    pub to_lsn: Option<Lsn>,
    /// Only operations on this key, and records that hold such.
    pub key: Option<Vec<u8>>,
    /// Only counts and sizes.
    pub stats: bool,
    /// The bytes, too.
    pub hex: bool,
}

/// Answers with the records of the log in a directory.
pub fn log(dir: &Path, request: &Log, out: &mut Output) -> Result<Outcome, Failure> {
    answer(Walk::open(dir)?, request, dir, out)
}

fn answer(walk: Walk, request: &Log, dir: &Path, out: &mut Output) -> Result<Outcome, Failure> {
    if request.hex && out.redacts() {
        return Err(Failure::Usage("--hex shows what --redact hides; choose one of them".to_owned()));
    }
    match (out.format(), request.stats, request.hex) {
        (_, true, _) => stats::stats(walk, request, out)?,
        (Format::Json, ..) => show::as_json(walk, request, dir, out)?,
        (Format::Table, _, false) => show::as_table(walk, request, out)?,
        (Format::Table | Format::Plain | Format::Raw, _, true) => show::as_dump(walk, request, dir, out)?,
        _ => show::as_rows(walk, request, dir, out)?,
    }
    Ok(Outcome::Done)
}
