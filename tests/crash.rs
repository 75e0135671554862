//! Shows that no power cut, kill or failed sync loses what was acknowledged, by trying all the states that one may
//! leave behind: see `forelog::crash_test`, which says what is demanded of each.
//!
//! Prints what it tried. `FORELOG_CRASH_SCALE=3`, as in `.ci/run`, tries three times as much (a million images), `FORELOG_CRASH_SEED=7` something else,
//! and `FORELOG_CRASH_ONLY="creation 3"` only the scripts whose names contain this.

use std::env;
use std::process::ExitCode;
use std::time::Instant;

use forelog::crash_test::{CrashPath, CrashReport, CrashTest};

/// What the form that runs with `cargo test` must try at least; a larger one, in proportion.
const LEAST_IMAGES: u64 = 250_000;

/// Each of these must be at least a twentieth of it.
const EACH: [CrashPath; 10] = [
    CrashPath::Append,
    CrashPath::Rotation,
    CrashPath::Creation,
    CrashPath::Close,
    CrashPath::Recovery,
    CrashPath::CheckpointRecovery,
    CrashPath::Checkpoint,
    CrashPath::Retention,
    CrashPath::Archive,
    CrashPath::Copy,
];

const ROUNDS: u64 = 1;

/// Broken: src/wal/log.rs: `file.sync_data()?;` to ``
/// Broken: src/wal/build.rs: `self.dir.sync()?; let file` to `let file`
/// Broken: src/checkpoint/manifest.rs: `file.write_at(&bytes, 0)?; file.sync_all()` to `file.write_at(&bytes, 0)`
/// Broken: src/checkpoint/take.rs: `dir.sync()?; Ok(Checkpoint` to `Ok(Checkpoint`
fn main() -> ExitCode {
    if !wanted("crash_enumeration") {
        return ExitCode::SUCCESS;
    }
    let started = Instant::now();
    let (scale, seed, only) =
        (number("FORELOG_CRASH_SCALE"), number("FORELOG_CRASH_SEED"), env::var("FORELOG_CRASH_ONLY"));
    let mut test = CrashTest::new(seed).rounds(ROUNDS * scale);
    if let Ok(only) = &only {
        test = test.only(only);
    }
    let report = test.run();
    println!("{report}\ntime: {:.1} s, seed {seed}", started.elapsed().as_secs_f64());
    report.violations.iter().for_each(|violation| println!("\nVIOLATION {violation}"));
    let complete = only.is_ok() || is_complete(&report, LEAST_IMAGES * scale);
    if complete && report.violation_count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// True if enough was tried on every path.
fn is_complete(report: &CrashReport, least: u64) -> bool {
    let all = report.distinct_images();
    if all < least {
        println!("too few: {all} of {least} images");
        return false;
    }
    EACH.into_iter().all(|path| {
        let distinct = report.paths.get(&path).map_or(0, |counts| counts.distinct);
        if distinct * 20 < all {
            println!("too few: {distinct} of {all} images on the path {:?}", path.name());
        }
        distinct * 20 >= all
    })
}

/// An environment variable that is a number; 1 without it.
fn number(name: &str) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// True unless `cargo test` was asked for other tests, to skip this one, or only for the tests' names.
fn wanted(name: &str) -> bool {
    let mut args = env::args().skip(1);
    let mut filters = Vec::new();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--list" => return false,
            "--skip" if args.next().is_some_and(|skipped| name.contains(&skipped)) => return false,
            // The options of the usual harness that have a value of their own.
            "--test-threads" | "--color" | "--format" | "--logfile" | "-Z" => _ = args.next(),
            option if option.starts_with('-') => {}
            filter => filters.push(filter.to_owned()),
        }
    }
    filters.is_empty() || filters.iter().any(|filter| name.contains(filter))
}
