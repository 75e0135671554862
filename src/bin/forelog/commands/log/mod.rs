//! `log`: the records of the log as they stand in its files. Takes no lock that would stop a writer.
//!
//! Where to read next: `walk.rs`, which goes through the records; `show.rs` and `stats.rs` answer with them.

mod show;
mod stats;
mod walk;

use forelog::Lsn;

use super::{App, say_live};
use crate::args;
use crate::failure::{Failure, Outcome};
use crate::interrupt;
use crate::output::{Format, Output};
use crate::store::Site;
pub use show::{RFC_3339, hex, time};
pub use walk::{Step, Walk};

pub fn run(args: &args::Log, app: &mut App) -> Result<Outcome, Failure> {
    let request = Log {
        from_lsn: args.from_lsn.map(Lsn::new),
        to_lsn: args.to_lsn.map(Lsn::new),
        key: app.globals.optional_bytes(args.key.as_ref())?,
        stats: args.stats,
        hex: args.hex,
        follow: args.follow,
    };
    if args.follow {
        interrupt::listen();
    }
    let site = Site::real(&args.dir);
    let walk = Walk::open(&site)?;
    if walk.is_live() {
        say_live(&app.globals);
    }
    answer(walk, &request, &site, &mut app.out)
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
    /// Wait at the end for what a writer adds.
    pub follow: bool,
}

/// Answers with the records of the log in this place.
pub fn log(site: &Site, request: &Log, out: &mut Output) -> Result<Outcome, Failure> {
    answer(Walk::open(site)?, request, site, out)
}

fn answer(walk: Walk, request: &Log, site: &Site, out: &mut Output) -> Result<Outcome, Failure> {
    if request.hex && out.redacts() {
        return Err(Failure::Usage("--hex shows what --redact hides; choose one of them".to_owned()));
    }
    match (out.format(), request.stats, request.hex) {
        (_, true, _) => stats::stats(walk, request, out)?,
        (Format::Json, ..) => show::as_json(walk, request, site, out)?,
        (Format::Table, _, false) => show::as_table(walk, request, out)?,
        (Format::Table | Format::Plain | Format::Raw, _, true) => show::as_dump(walk, request, site, out)?,
        _ => show::as_rows(walk, request, site, out)?,
    }
    Ok(Outcome::Done)
}
