//! `backup` and `restore`: stores made from another.

use std::path::Path;
use std::sync::Arc;

use forelog::storage::Storage;
use forelog::{Copied, Db, Error, Lsn, RestoreTarget};
use jiff::Timestamp;

use super::App;
use crate::args::{Backup, Restore};
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::store;
use crate::watched::on_disk;

pub fn run_backup(args: &Backup, app: &mut App) -> Result<Outcome, Failure> {
    let copied = on_disk("read and written", &app.globals, |disk| {
        let db = store::open_existing(&args.dir, disk, &app.globals)?;
        let copied = db.backup(&args.out)?;
        store::close(db, &app.globals)?;
        Ok::<_, Failure>(copied)
    })?;
    answer(&copied, &mut app.out)
}

pub fn run_restore(args: &Restore, app: &mut App) -> Result<Outcome, Failure> {
    let target = match (args.to_lsn, &args.to_time) {
        (Some(lsn), _) => RestoreTarget::Lsn(Lsn::new(lsn)),
        (None, Some(time)) => RestoreTarget::TimeUs(micros(time)?),
        (None, None) => RestoreTarget::Latest,
    };
    let globals = app.globals.clone();
    on_disk("read and written", &globals, |disk| restore(disk, &args.source, &args.out, target, app))
}

/// Makes a store of what another one, or an archive, on the same disk held at some LSN or time.
pub fn restore(
    disk: Arc<dyn Storage>,
    source: &Path,
    out: &Path,
    target: RestoreTarget,
    app: &mut App,
) -> Result<Outcome, Failure> {
    let copied = Db::restore_on(disk, source, out, target).map_err(|error| match error {
        Error::InvalidOption { option: "to_lsn", reason } => Failure::Usage(format!("--to-lsn: {reason}")),
        other => other.into(),
    })?;
    if copied.lsn == Lsn::ZERO {
        app.globals.say("nothing had been written by then: the new store is empty");
    }
    answer(&copied, &mut app.out)
}

fn micros(time: &str) -> Result<u64, Failure> {
    let unknown = |why: &dyn std::fmt::Display| {
        Failure::Usage(format!("--to-time: {time:?} is no time like 2026-11-25T09:30:00Z: {why}"))
    };
    let stamp: Timestamp = time.parse().map_err(|error| unknown(&error))?;
    u64::try_from(stamp.as_microsecond()).map_err(|_| unknown(&"it lies before 1970"))
}

fn answer(copied: &Copied, out: &mut Output) -> Result<Outcome, Failure> {
    out.record(&[
        ("lsn", copied.lsn.into()),
        ("files", copied.files.into()),
        ("bytes", copied.bytes.into()),
    ])?;
    Ok(Outcome::Done)
}
