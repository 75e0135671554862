//! What a store can do beside the limit of the disk, in one run: `cargo bench --bench store`.
//!
//! ```text
//!  cargo bench --bench store                                   all rows, 5 rounds
//!  cargo bench --bench store -- --rounds 9 durable             the rows whose names hold "durable", and what they are
//!                                                              compared with
//! ```
//!
//! The rounds are interleaved: each runs every row once, so that a slow moment of the machine falls on all alike. A
//! ratio is taken within a round, against the row that is named beside it; what is printed is the median over the
//! rounds. Compare the ratios; absolute figures belong to one machine. Keys have 16 random bytes, values 100 that do
//! not compress.

#[path = "store/rows.rs"]
mod rows;
#[path = "store/work.rs"]
mod work;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use hdrhistogram::Histogram;

use rows::{ROWS, Row};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What one row did in one round.
struct Run {
    operations: u64,
    took: Duration,
    /// The latency of each call, in nanoseconds. Empty for rows of which only the rate counts.
    latencies: Histogram<u64>,
}

impl Run {
    fn rate(&self) -> f64 {
        self.operations as f64 / self.took.as_secs_f64()
    }

    fn microseconds(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1000.0
    }
}

struct Arguments {
    rounds: usize,
    filters: Vec<String>,
}

fn arguments() -> Result<Arguments> {
    let mut parsed = Arguments { rounds: 5, filters: Vec::new() };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--bench" => {} // what cargo adds
            "--rounds" => {
                let number = given.next().and_then(|text| text.parse().ok()).filter(|rounds| *rounds > 0);
                parsed.rounds = number.ok_or("--rounds needs a number above 0")?;
            }
            option if option.starts_with('-') => {
                return Err(format!(
                    "unknown option {option}; there is --rounds N, and parts of rows' names"
                )
                .into());
            }
            filter => parsed.filters.push(filter.to_owned()),
        }
    }
    Ok(parsed)
}

/// The rows that were asked for, and those that they are compared with.
fn chosen(filters: &[String]) -> Vec<&'static Row> {
    let asked = |row: &Row| filters.is_empty() || filters.iter().any(|filter| row.name.contains(&**filter));
    let compared = |row: &Row| ROWS.iter().any(|other| asked(other) && other.beside == row.name);
    ROWS.iter().filter(|row| asked(row) || compared(row)).collect()
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let Arguments { rounds, filters } = arguments()?;
    let rows = chosen(&filters);
    if rows.is_empty() {
        let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        return Err(format!("no row is named so; there are: {}", names.join("; ")).into());
    }
    // Beside the build: the usual temporary directory may be in memory.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut runs: BTreeMap<&str, Vec<Run>> = BTreeMap::new();
    for round in 0..rounds {
        for (number, row) in rows.iter().enumerate() {
            eprintln!("round {} of {rounds}: {}", round + 1, row.name);
            let path = dir.path().join(format!("{round}-{number}"));
            runs.entry(row.name).or_default().push(row.run(&path)?);
            clear_away(&path)?;
        }
    }
    print(&rows, &runs);
    Ok(())
}

fn clear_away(path: &Path) -> Result<()> {
    if path.is_dir() {
        std::fs::remove_dir_all(path)?;
    } else {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn print(rows: &[&Row], runs: &BTreeMap<&str, Vec<Run>>) {
    println!(
        "{:<36} {:>10}  {:>22}  {:>7} {:>7} {:>7}   beside (rate, p99, p99.9)",
        "medians", "per second", "(lowest, highest)", "p50 us", "p99", "p99.9"
    );
    for row in rows {
        let own = &runs[row.name];
        let of = |figure: &dyn Fn(&Run) -> f64| median(own.iter().map(figure).collect());
        let rates = own.iter().map(Run::rate);
        let (lowest, highest) = (rates.clone().fold(f64::MAX, f64::min), rates.fold(0.0, f64::max));
        print!("{:<36} {:>10.0}  {:>22}", row.name, of(&Run::rate), format!("({lowest:.0}, {highest:.0})"));
        if own.iter().any(|run| !run.latencies.is_empty()) {
            for quantile in [0.5, 0.99, 0.999] {
                print!(" {:>7.1}", of(&|run| run.microseconds(quantile)));
            }
        } else {
            print!(" {:>7} {:>7} {:>7}", "", "", "");
        }
        if let Some(other) = runs.get(row.beside) {
            let ratio = |figure: &dyn Fn(&Run) -> f64| {
                median(own.iter().zip(other).map(|(run, beside)| figure(run) / figure(beside)).collect())
            };
            print!("   x {:.2}", ratio(&Run::rate));
            let timed = |runs: &[Run]| runs.iter().all(|run| !run.latencies.is_empty());
            if timed(own) && timed(other) {
                print!(", {:.2}", ratio(&|run| run.microseconds(0.99)));
                print!(", {:.2}", ratio(&|run| run.microseconds(0.999)));
            }
            print!(" of {}", row.beside);
        }
        println!();
    }
}
