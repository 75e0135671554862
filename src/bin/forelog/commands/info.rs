//! `info`: what a store is like, seen from outside. Takes no lock that would stop a writer.

use forelog::Db;
use forelog::care::{self, Survey};
use forelog::wal::{SegmentState, SegmentSummary};

use super::{App, say_live};
use crate::args::Dir;
use crate::failure::{Failure, Outcome};
use crate::output::{Cell, Fields, Format, Output};
use crate::store::Site;

pub fn run(args: &Dir, app: &mut App) -> Result<Outcome, Failure> {
    let survey = survey(&Site::real(&args.dir))?;
    if survey.live {
        say_live(&app.globals);
    }
    answer(&survey, Vec::new(), &mut app.out)
}

/// What is on disk.
pub fn survey(site: &Site) -> Result<Survey, Failure> {
    Ok(care::survey_on(site.disk.clone(), &site.dir)?)
}

/// Answers about a store that this process has open, and so knows better than its files.
pub fn info(db: &Db, site: &Site, out: &mut Output) -> Result<Outcome, Failure> {
    let mut survey = survey(site)?;
    let stats = db.stats();
    survey.visible_lsn = stats.visible_lsn;
    survey.durable_lsn = stats.durable_lsn;
    survey.keys = stats.keys as u64;
    let told = |text: &Option<String>| text.clone().map_or(Cell::Absent, Cell::text);
    let known: Fields<'_> = vec![
        ("archived_lsn", stats.archived_lsn.map_or(Cell::Absent, Cell::from)),
        ("archive_failure", told(&stats.archive_failure)),
        ("checkpoint_failure", told(&stats.checkpoint_failure)),
    ];
    answer(&survey, known, out)
}

/// `known`: what only the process knows that has the store open.
fn answer(survey: &Survey, known: Fields<'_>, out: &mut Output) -> Result<Outcome, Failure> {
    let checkpoint_after = survey.checkpoint_after_bytes;
    let mut fields: Fields<'_> = vec![
        ("store_id", Cell::text(survey.store_id.to_string())),
        ("first_lsn", survey.first_lsn.into()),
        ("visible_lsn", survey.visible_lsn.into()),
        ("durable_lsn", survey.durable_lsn.into()),
        ("keys", survey.keys.into()),
        ("keyspaces", (survey.keyspaces.len() as u64).into()),
        ("segment_bytes", survey.segment_bytes.into()),
        ("checksum", Cell::text(survey.checksum.name())),
        ("keep_checkpoints", u64::from(survey.keep_checkpoints).into()),
        ("checkpoint_after", checkpoint_after.map_or(Cell::Null, Cell::from)),
    ];
    if out.format() == Format::Csv {
        // One table, and that is the store's.
        out.record(&fields)?;
        return Ok(Outcome::Done);
    }
    if out.format() == Format::Json {
        fields.push(("segments", Cell::List(survey.segments.iter().map(segment).collect())));
        let checkpoint = survey.checkpoint.as_ref();
        let checkpoint = checkpoint.map_or(Cell::Null, |newest| {
            Cell::Object(vec![("lsn", newest.lsn.into()), ("bytes", newest.bytes.into())])
        });
        fields.push(("checkpoint", checkpoint));
        fields.push(("retention", Cell::text(&*survey.retention)));
        fields.push(("archive", survey.archive.as_deref().map_or(Cell::Null, Cell::text)));
        fields.extend(known);
        out.record(&fields)?;
        return Ok(Outcome::Done);
    }
    if let Some(newest) = &survey.checkpoint {
        fields.push(("checkpoint_lsn", newest.lsn.into()));
        fields.push(("checkpoint_bytes", newest.bytes.into()));
    }
    fields.push(("retention", Cell::text(&*survey.retention)));
    fields.extend(survey.archive.as_deref().map(|archive| ("archive", Cell::text(archive))));
    fields.extend(known.into_iter().filter(|(_, cell)| !cell.is_absent()));
    out.card(&fields)?;
    let mut rows = out.rows(&["segment", "base_lsn", "last_lsn", "bytes", "state"])?;
    for summary in &survey.segments {
        let cells: Vec<Cell<'_>> = segment(summary).into_iter().map(|(_, cell)| cell).collect();
        rows.row(&cells)?;
    }
    rows.finish()?;
    Ok(Outcome::Done)
}

fn segment(summary: &SegmentSummary) -> Fields<'_> {
    let state = match summary.state {
        SegmentState::Closed => "closed",
        SegmentState::Active => "active",
    };
    vec![
        ("file", Cell::text(&*summary.file)),
        ("base_lsn", summary.base_lsn.into()),
        ("last_lsn", summary.last_lsn.into()),
        ("bytes", summary.bytes.into()),
        ("state", Cell::text(state)),
    ]
}
