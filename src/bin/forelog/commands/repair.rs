//! `repair`: makes a sound store of a damaged one, or says what that would take.

use forelog::Error;
use forelog::care::{self, LostRange, Repair, RepairAction};

use super::App;
use crate::args;
use crate::failure::{Failure, Outcome};
use crate::output::{Cell, Fields, Format, Output};
use crate::watched::on_disk;

pub fn run(args: &args::Repair, app: &mut App) -> Result<Outcome, Failure> {
    let (dir, globals) = (&args.dir, app.globals.clone());
    let plan = || on_disk("read", &globals, |disk| care::plan_repair_on(disk, dir));
    let repair = match (&args.out, args.apply) {
        (_, false) => plan()?,
        (Some(out), true) => on_disk("read and written", &globals, |disk| care::salvage_on(disk, dir, out))
            .map_err(|error| match error {
            Error::InvalidOption { option: "out", reason } => Failure::Usage(format!("--out: {reason}")),
            other => other.into(),
        })?,
        (None, true) => on_disk("read", &globals, |disk| care::repair_on(disk, dir))?,
    };
    answer(&repair, &mut app.out)?;
    app.out.flush()?;
    if repair.actions.is_empty() {
        if !repair.left.is_empty() {
            globals.say(format_args!("{} is sound, but its archive is not", dir.display()));
            return Ok(Outcome::Negative);
        }
        globals.say(format_args!("{} is sound; there is nothing to repair", dir.display()));
        return Ok(Outcome::Done);
    }
    let is_left = args.out.is_none() && !repair.in_place;
    if args.apply && is_left {
        return Err(Failure::Usage(format!(
            "nothing was changed: {} is damaged, and is not mended in place; --out DIR2 writes what is sound of it into another directory",
            dir.display()
        )));
    }
    if !args.apply {
        let out = if is_left { " --out DIR2" } else { "" };
        globals.say(format_args!("nothing was changed; --apply{out} does it"));
        return Ok(Outcome::Negative);
    }
    if let Some(out) = &args.out {
        globals.say(format_args!("{} has what is sound, as a store of its own: without an archive, and without the history before it; {} is as it was", out.display(), dir.display()));
    }
    Ok(Outcome::Done)
}

fn answer(repair: &Repair, out: &mut Output) -> Result<(), Failure> {
    if out.format() == Format::Json {
        let lost = repair.lost.iter().map(|range| -> Fields<'_> {
            vec![("from_lsn", range.from_lsn.into()), ("to_lsn", range.to_lsn.map_or(Cell::Null, Cell::from))]
        });
        let (actions, left) = (told(&repair.actions), told(&repair.left));
        return out.record(&[("actions", actions), ("left", left), ("lost", Cell::List(lost.collect()))]);
    }
    let mut rows = out.rows(&["what", "where", "how"])?;
    for (what, actions) in [("repair", &repair.actions), ("left", &repair.left)] {
        for RepairAction { file, action, .. } in actions {
            rows.row(&[Cell::text(what), Cell::text(&**file), Cell::text(&**action)])?;
        }
    }
    for LostRange { from_lsn, to_lsn, .. } in &repair.lost {
        let lsns = match to_lsn {
            Some(to_lsn) if to_lsn == from_lsn => format!("LSN {from_lsn}"),
            Some(to_lsn) => format!("LSN {from_lsn} to {to_lsn}"),
            None => format!("LSN {from_lsn} to the end"),
        };
        rows.row(&[Cell::text("lost"), Cell::text(lsns), Cell::text("no sound copy of it was found")])?;
    }
    rows.finish()
}

fn told(actions: &[RepairAction]) -> Cell<'_> {
    Cell::List(actions.iter().map(fields).collect())
}

fn fields(action: &RepairAction) -> Fields<'_> {
    vec![("file", Cell::text(&*action.file)), ("action", Cell::text(&*action.action))]
}
