//! What checkpoints and pruning cost those who write and read beside them: `cargo bench --bench checkpoint`.
//!
//! ```text
//!  cargo bench --bench checkpoint                              all tables, 5 rounds
//!  cargo bench --bench checkpoint -- puts gets                 some of: puts, gets, prune, directory
//!  cargo bench --bench checkpoint -- puts --keys 1000000       a smaller checkpoint; 5 million unless chosen
//!  cargo bench --bench checkpoint -- puts --seconds 30         how long each row of a round lasts; 4 unless chosen
//!  cargo bench --bench checkpoint -- directory --overwrite-gb 20
//! ```
//!
//! | table | what |
//! | --- | --- |
//! | puts | latency of durable puts by one thread beside a checkpoint at its own pace, against the disk alone: a write and a sync of the same size, beside a file that is written at the same rate, and alone |
//! | gets | gets by one thread beside a checkpoint by one thread, against gets alone |
//! | prune | latency of durable puts while a hundred segments are removed, and while 32 are copied to an archive and removed, against puts alone |
//! | directory | how large the directory gets while a hundred megabytes are overwritten as fast as that goes, against the bound that is promised |
//!
//! The rounds are interleaved: each does every row once. A ratio is taken within a round, and what is printed is the
//! median over the rounds. Keys have 16 bytes, values 100 that do not compress.

#[path = "checkpoint/directory.rs"]
mod directory;
#[path = "checkpoint/prune.rs"]
mod prune;
#[path = "checkpoint/puts.rs"]
mod puts;
#[path = "checkpoint/reads.rs"]
mod reads;
#[path = "checkpoint/tools.rs"]
mod tools;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

struct Arguments {
    rounds: usize,
    keys: u32,
    slice: Duration,
    overwrite_bytes: u64,
    tables: Vec<String>,
}

type Table = fn(&Arguments, &Path) -> Result<()>;

const TABLES: [(&str, Table); 4] =
    [("puts", puts::table), ("gets", reads::table), ("prune", prune::table), ("directory", directory::table)];

fn arguments() -> Result<Arguments> {
    let mut parsed = Arguments {
        rounds: 5,
        keys: 5_000_000,
        slice: Duration::from_secs(4),
        overwrite_bytes: 2 << 30,
        tables: Vec::new(),
    };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        let mut number = || -> Result<u64> {
            let text = given.next().ok_or("a number is missing")?;
            Ok(text.parse().ok().filter(|number| *number > 0).ok_or("not a number above 0")?)
        };
        match argument.as_str() {
            "--bench" => {} // what cargo adds
            "--rounds" => parsed.rounds = usize::try_from(number()?)?,
            "--keys" => parsed.keys = u32::try_from(number()?)?,
            "--seconds" => parsed.slice = Duration::from_secs(number()?),
            "--overwrite-gb" => parsed.overwrite_bytes = number()? << 30,
            name if TABLES.iter().any(|(table, _)| *table == name) => parsed.tables.push(name.to_owned()),
            other => {
                return Err(format!("{other} is no table and no option; see benches/checkpoint.rs").into());
            }
        }
    }
    Ok(parsed)
}

fn run() -> Result<()> {
    let arguments = arguments()?;
    for (name, table) in TABLES {
        if arguments.tables.is_empty() || arguments.tables.iter().any(|asked| asked == name) {
            // Beside the build: the usual temporary directory may be in memory.
            let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
            table(&arguments, dir.path())?;
        }
    }
    Ok(())
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
