//! `map`: segments, checkpoints and the archive as one picture, to the scale of the LSNs. Takes no lock that would stop a
//! writer.
//!
//! ```text
//! what        scale               lsns   bytes  where
//! archive     ██████░░░░░░░░░░░░  1–26   15872  archive, 2 files
//! checkpoint  ░░░░░█░░░░░░░░░░░░  26       512  00000000000000000026-2-0.ckpt
//! segment     ░░░░░░████████████  27–74   8192  00000000000000000027.wal
//! replayed    ░░░░░░████████████  27–74         by opening
//! ```

use std::io;
use std::path::Path;

use forelog::Lsn;
use forelog::care::Survey;
use forelog::format::names;
use forelog::storage::Access;
use forelog::wal::SegmentState;

use super::{App, info, say_live};
use crate::args::Dir;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Cell, Format, Output};
use crate::store::Site;

/// How many characters all LSNs take.
const SCALE: u64 = 18;

/// So many segments at each end are drawn; those between them are one row.
const SEGMENTS_AT_EACH_END: usize = 8;

pub fn run(args: &Dir, app: &mut App) -> Result<Outcome, Failure> {
    let site = Site::real(&args.dir);
    let survey = info::survey(&site)?;
    if survey.live {
        say_live(&app.globals);
    }
    draw(&survey, &site, &mut app.out)
}

/// Answers with the map of the store in this place.
pub fn map(site: &Site, out: &mut Output) -> Result<Outcome, Failure> {
    draw(&info::survey(site)?, site, out)
}

/// A stretch of LSNs that something holds.
struct Stretch {
    what: &'static str,
    /// The file, where it is one.
    file: Option<String>,
    first: Lsn,
    last: Lsn,
    files: u64,
    bytes: Option<u64>,
    state: &'static str,
}

fn draw(survey: &Survey, site: &Site, out: &mut Output) -> Result<Outcome, Failure> {
    let is_table = out.format() == Format::Table;
    let stretches = stretches(survey, site, is_table)?;
    let end = stretches.iter().map(|stretch| stretch.last).max().unwrap_or(Lsn::ZERO);
    let is_unicode = output::speaks_unicode();
    let mut rows = out.rows(match is_table {
        true => &["what", "scale", "lsns", "bytes", "where"],
        false => &["what", "first_lsn", "last_lsn", "files", "bytes", "state", "file"],
    })?;
    for Stretch { what, file, first, last, files, bytes, state } in stretches {
        let (what, bytes) = (Cell::text(what), bytes.map_or(Cell::Absent, Cell::from));
        if !is_table {
            let file = file.map_or(Cell::Absent, Cell::text);
            rows.row(&[what, first.into(), last.into(), files.into(), bytes, Cell::text(state), file])?;
            continue;
        }
        let lsns = match (first, last) {
            (first, last) if first == last => first.to_string(),
            (first, last) if first > last => "none yet".to_owned(),
            (first, last) => format!("{first}{}{last}", output::dash()),
        };
        let place = match (file, files) {
            (Some(file), 2..) => format!("{file}, {files} files"),
            (Some(file), _) => file,
            (None, _) => state.to_owned(),
        };
        let scale = Cell::text(scale(first, last, end, is_unicode));
        rows.row(&[what, scale, Cell::text(lsns), bytes, Cell::text(place)])?;
    }
    rows.finish()?;
    Ok(Outcome::Done)
}

/// What there is, from the oldest to the newest. `drawn`: no more than goes on a screen.
fn stretches(survey: &Survey, site: &Site, drawn: bool) -> Result<Vec<Stretch>, Failure> {
    let mut found = Vec::new();
    if let Some(path) = &survey.archive {
        found.extend(archive(Path::new(path), site)?);
    }
    let base = survey.checkpoint.as_ref().map_or(Lsn::ZERO, |newest| newest.lsn);
    if let Some(newest) = &survey.checkpoint {
        let (files, file) = (newest.files.len() as u64, newest.files.first().cloned());
        let (first, last) = (newest.lsn, newest.lsn);
        let state = "the state at this LSN";
        found.push(Stretch {
            what: "checkpoint",
            file,
            first,
            last,
            files,
            bytes: Some(newest.bytes),
            state,
        });
    }
    let segments = survey.segments.iter().map(|segment| Stretch {
        what: "segment",
        file: Some(segment.file.to_string()),
        first: segment.base_lsn,
        last: segment.last_lsn,
        files: 1,
        bytes: Some(segment.bytes),
        state: match segment.state {
            SegmentState::Active => "the log ends here",
            SegmentState::Closed if segment.last_lsn <= base => "kept by a policy, or not pruned yet",
            SegmentState::Closed => "closed",
        },
    });
    let mut segments: Vec<Stretch> = segments.collect();
    if drawn && segments.len() > 2 * SEGMENTS_AT_EACH_END {
        let between = SEGMENTS_AT_EACH_END..segments.len() - SEGMENTS_AT_EACH_END;
        let hidden = &segments[between.clone()];
        let row = Stretch {
            what: "segments",
            file: None,
            first: hidden[0].first,
            last: hidden[hidden.len() - 1].last,
            files: hidden.len() as u64,
            bytes: Some(hidden.iter().filter_map(|segment| segment.bytes).sum()),
            state: "more, between those above and below",
        };
        segments.splice(between, [row]);
    }
    found.extend(segments);
    found.push(Stretch {
        what: "replayed",
        file: None,
        first: base.next(),
        last: survey.visible_lsn,
        files: survey.segments.iter().filter(|segment| segment.last_lsn > base).count() as u64,
        bytes: None,
        state: "by opening",
    });
    Ok(found)
}

/// What the archive holds: the segments as one stretch for each row of them without a gap, and the checkpoints.
fn archive(path: &Path, site: &Site) -> Result<Vec<Stretch>, Failure> {
    let listed = match site.disk.list(path) {
        Ok(listed) => listed,
        Err(source) => {
            let why = if source.kind() == io::ErrorKind::NotFound {
                "not there".to_owned()
            } else {
                source.to_string()
            };
            let away = Stretch {
                what: "archive",
                file: Some(format!("{}: {why}", path.display())),
                first: Lsn::new(1),
                last: Lsn::ZERO,
                files: 0,
                bytes: None,
                state: "away, or never begun",
            };
            return Ok(vec![away]);
        }
    };
    let bytes_of = |name: &str| {
        let file = site.disk.open(&path.join(name), Access::Read);
        file.and_then(|file| file.len()).map_err(|source| Failure::file("read", &path.join(name), source))
    };
    let mut segments = Vec::new();
    let mut found = Vec::new();
    for name in &listed {
        let plain = name.strip_suffix(".lz4").unwrap_or(name);
        if let Some((first, last)) = names::parse_archived(plain) {
            segments.push((first, last, bytes_of(name)?));
        } else if let Some(lsn) = names::parse_archived_checkpoint(plain) {
            let (what, state) = ("checkpoint", "the state at this LSN, archived");
            found.push(Stretch {
                what,
                file: Some(path.join(name).display().to_string()),
                first: lsn,
                last: lsn,
                files: 1,
                bytes: None,
                state,
            });
        }
    }
    segments.sort_unstable();
    let mut stretches: Vec<Stretch> = Vec::new();
    for (first, last, bytes) in segments {
        match stretches.last_mut() {
            Some(before) if first <= before.last.next() => {
                before.last = before.last.max(last);
                before.files += 1;
                before.bytes = before.bytes.map(|sum| sum + bytes);
            }
            _ => stretches.push(Stretch {
                what: "archive",
                file: Some(path.display().to_string()),
                first,
                last,
                files: 1,
                bytes: Some(bytes),
                state: "segments",
            }),
        }
    }
    stretches.extend(found);
    Ok(stretches)
}

/// A stretch of the LSNs from 1 to `end`, drawn. Whatever has an LSN at all has a mark.
fn scale(first: Lsn, last: Lsn, end: Lsn, is_unicode: bool) -> String {
    let (full, empty) = if is_unicode { ('█', '░') } else { ('#', '.') };
    let behind = |lsn: u64| lsn.saturating_mul(SCALE) / end.get().max(1);
    let begin = behind(first.get().saturating_sub(1));
    let drawn = |at: u64| first <= last && (begin..behind(last.get()).max(begin + 1)).contains(&at);
    (0..SCALE).map(|at| if drawn(at) { full } else { empty }).collect()
}
