//! `crash-test`: repeats the claim of durability in front of whoever doubts it. No file of the real disk is touched.

use forelog::crash_test::{CrashPath, CrashReport, CrashTest, PathCounts};
use parking_lot::Mutex;

use super::App;
use crate::args;
use crate::failure::{Failure, Outcome};
use crate::interrupt;
use crate::output::{Cell, Fields, Format, Output, say};
use crate::progress::Progress;

pub fn run(args: &args::CrashTest, app: &mut App) -> Result<Outcome, Failure> {
    interrupt::listen();
    let progress = Mutex::new(Progress::new("power cuts tried", None, app.globals.quiet));
    let report = CrashTest::new(args.seed).images(args.runs).run_while(&|_| {
        progress.lock().add(1);
        !interrupt::requested()
    });
    drop(progress);
    answer(&report, args.seed, &mut app.out)?;
    app.out.flush()?;
    report.violations.iter().for_each(|violation| say(format_args!("forelog: violation: {violation}")));
    if report.violation_count > 0 {
        return Err(Failure::Told(3));
    }
    // What was tried until then is true.
    interrupt::check()?;
    Ok(Outcome::Done)
}

fn answer(report: &CrashReport, seed: u64, out: &mut Output) -> Result<(), Failure> {
    let tried = || CrashPath::ALL.into_iter().filter_map(|path| Some((path, report.paths.get(&path)?)));
    if !out.format().is_for_machines() {
        let mut rows = out.rows(&["what was under way", "places", "power cuts"])?;
        for (path, PathCounts { points, distinct, .. }) in tried() {
            rows.row(&[Cell::text(path.name()), (*points).into(), (*distinct).into()])?;
        }
        rows.finish()?;
        out.line("")?;
    }
    let mut fields: Fields<'_> = vec![
        ("seed", seed.into()),
        ("power_cuts", report.distinct_images().into()),
        ("inside_openings", report.nested.iter().sum::<u64>().into()),
        ("openings", report.openings.into()),
        ("violations", report.violation_count.into()),
    ];
    if out.format() == Format::Json {
        let of_path = |(path, counts): (CrashPath, &PathCounts)| -> Fields<'_> {
            vec![
                ("path", Cell::text(path.name())),
                ("places", counts.points.into()),
                ("power_cuts", counts.distinct.into()),
            ]
        };
        fields.push(("paths", Cell::List(tried().map(of_path).collect())));
    }
    if out.format().is_for_machines() { out.record(&fields) } else { out.card(&fields) }
}
