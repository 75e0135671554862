//! `verify`: reads every byte on disk, judges it, and changes nothing. Takes no lock that would stop a writer.

use forelog::care;
use forelog::wal::{LogStatus, Problem};

use super::{App, say_live};
use crate::args::Dir;
use crate::failure::{Failure, Outcome};
use crate::output::{Cell, Fields, Format, Output};
use crate::store::Site;
use crate::watched::on_disk;

pub fn run(args: &Dir, app: &mut App) -> Result<Outcome, Failure> {
    let verification = on_disk("verified", &app.globals, |disk| care::verify_on(disk, &args.dir))?;
    if verification.status == LogStatus::Live {
        say_live(&app.globals);
    }
    if verification.log_alone && !app.globals.quiet {
        let dir = args.dir.display();
        eprintln!("forelog: {dir} holds a log alone: there is no MANIFEST, so it is not (any more) a store");
    }
    let outcome = answer(&verification, &mut app.out);
    if verification.status == LogStatus::Corrupt && !app.out.format().is_for_machines() {
        app.out.flush()?;
        app.globals.say("`forelog repair` says what can be saved of a damaged store");
    }
    outcome
}

/// Answers about the store in this place.
pub fn verify(site: &Site, out: &mut Output) -> Result<Outcome, Failure> {
    answer(&care::verify_on(site.disk.clone(), &site.dir)?, out)
}

fn answer(found: &care::Verification, out: &mut Output) -> Result<Outcome, Failure> {
    let (status, outcome) = match found.status {
        LogStatus::Clean => ("clean", Ok(Outcome::Done)),
        LogStatus::Live => ("live", Ok(Outcome::Done)),
        LogStatus::Torn => ("torn", Ok(Outcome::Negative)),
        // What is wrong is in the answer.
        LogStatus::Corrupt => ("corrupt", Err(Failure::Told(3))),
    };
    let mut fields: Fields<'_> = vec![("status", Cell::text(status)), ("records", found.records.into())];
    if let Some(archived) = found.archived_records {
        fields.push(("archived_records", archived.into()));
    }
    if out.format() == Format::Json {
        fields.push(("problems", Cell::List(found.problems.iter().map(problem).collect())));
    }
    if out.format().is_for_machines() {
        out.record(&fields)?;
        return outcome;
    }
    out.card(&fields)?;
    if !found.problems.is_empty() {
        let mut rows = out.rows(&["file", "offset", "lsn", "kind", "evidence"])?;
        for found in &found.problems {
            let cells: Vec<Cell<'_>> = problem(found).into_iter().map(|(_, cell)| cell).collect();
            rows.row(&cells)?;
        }
        rows.finish()?;
    }
    outcome
}

fn problem(problem: &Problem) -> Fields<'_> {
    vec![
        ("file", Cell::text(&*problem.file)),
        ("offset", problem.offset.into()),
        ("lsn", problem.lsn.map_or(Cell::Null, Cell::from)),
        ("kind", Cell::text(&*problem.kind)),
        ("evidence", problem.evidence.as_deref().map_or(Cell::Null, Cell::text)),
    ]
}
