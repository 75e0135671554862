//! The arguments of the commands that look at files and look after them.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct Inspect {
    /// The file; with @ and an offset, only the structure that has this byte
    #[arg(value_name = "FILE[@OFFSET]")]
    pub file: PathBuf,
}

#[derive(Debug, Args)]
pub struct Prune {
    /// The directory of the store
    pub dir: PathBuf,
    /// Only say what would go, and why what stays is kept
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct Backup {
    /// The directory of the store
    pub dir: PathBuf,
    /// The directory of the copy: missing or empty
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub struct Restore {
    /// The directory of a store, whose archive is read too, or of an archive
    pub source: PathBuf,
    /// The directory of the new store: missing or empty
    pub out: PathBuf,
    /// The state after this LSN [default: the newest]
    #[arg(long, value_name = "N", conflicts_with = "to_time")]
    pub to_lsn: Option<u64>,
    /// The state at this time, as 2026-11-25T09:30:00Z
    #[arg(long, value_name = "T")]
    pub to_time: Option<String>,
}

#[derive(Debug, Args)]
pub struct Repair {
    /// The directory of the store
    pub dir: PathBuf,
    /// Do it; without this, nothing is changed
    #[arg(long)]
    pub apply: bool,
    /// Where whatever is sound of a damaged store goes, as a store of its own: a directory that is missing or empty
    #[arg(long, value_name = "DIR2")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct CrashTest {
    /// Where the draws begin: the same seed tries the same scripts
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// How many power cuts, each of which leaves another disk behind
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub runs: u64,
}

#[derive(Debug, Args)]
pub struct Log {
    /// The directory of the store, of an archive, or of a log alone
    pub dir: PathBuf,
    /// Only records from this LSN on
    #[arg(long, value_name = "N")]
    pub from_lsn: Option<u64>,
    /// Only records up to this LSN, itself included
    #[arg(long, value_name = "N")]
    pub to_lsn: Option<u64>,
    /// Only records about this key
    #[arg(long, value_name = "K")]
    pub key: Option<OsString>,
    /// Only counts and sizes
    #[arg(long, conflicts_with = "hex")]
    pub stats: bool,
    /// Also the bytes of each record
    #[arg(long)]
    pub hex: bool,
    /// Go on with what a writer adds, until Ctrl-C
    #[arg(long, conflicts_with_all = ["stats", "to_lsn"])]
    pub follow: bool,
}

#[derive(Debug, Args)]
pub struct Bench {
    /// Only this one: durable-put, shared-put, buffered-put, get, open
    pub workload: Option<String>,
    /// The directory whose disk is measured; nothing stays in it
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// How long each measurement takes
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = seconds)]
    pub seconds: f64,
    /// How many rounds, of which the median is told
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    if (0.01..=600.0).contains(&seconds) { Ok(seconds) } else { Err("0.01 to 600 are possible".to_owned()) }
}
