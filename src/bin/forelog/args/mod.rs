//! The arguments of the command line, as clap reads them. What they do is in `commands/`, one function each.

mod care;

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use forelog::{Checksum, Durability, Retention};

pub use care::{Backup, Bench, CrashTest, Inspect, Log, Prune, Repair, Restore};

use crate::escape;
use crate::failure::Failure;
use crate::output::{Color, Format, say};

/// A durable, ordered, in-memory key-value store on a segmented write-ahead log
///
/// `forelog DIR` opens the shell on an existing store, and `forelog` alone the lab.
#[derive(Debug, Parser)]
#[command(name = "forelog", version, disable_help_subcommand = true)]
#[command(override_usage = "forelog [OPTIONS] <COMMAND> …\n       forelog [OPTIONS] <DIR>\n       forelog")]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    /// The lab without one.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options that go with every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options everywhere")]
pub struct Globals {
    /// The form of the answers; auto is a table on a terminal and plain otherwise
    #[arg(short, long, global = true, value_enum, default_value_t, hide_possible_values = true)]
    #[arg(value_name = "auto|table|plain|json|csv|raw")]
    pub format: Format,
    /// When to use colours (auto also heeds NO_COLOR)
    #[arg(long, global = true, value_enum, default_value_t, hide_possible_values = true)]
    #[arg(value_name = "auto|always|never")]
    pub color: Color,
    /// When a write is acknowledged
    #[arg(long, global = true, default_value_t, value_name = "sync|interval:250ms|buffered")]
    pub durability: Durability,
    /// How many threads open a store [default: one for each processor]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub recovery_threads: Option<u16>,
    /// Take the escapes of the shell in keys, values and names of keyspaces: \n, \x00
    #[arg(long, global = true)]
    pub escaped: bool,
    /// Show lengths instead of keys and values
    #[arg(long, global = true)]
    pub redact: bool,
    /// Say nothing but errors on standard error
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more on standard error
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

impl Globals {
    /// The bytes that an argument stands for.
    pub fn bytes(&self, argument: &OsStr) -> Result<Vec<u8>, Failure> {
        let literal = argument.as_encoded_bytes();
        if !self.escaped {
            return Ok(literal.to_vec());
        }
        escape::unescape(literal)
            .map_err(|flaw| Failure::Usage(format!("{:?}: {flaw}", argument.to_string_lossy())))
    }

    /// The name that an argument stands for.
    pub fn name(&self, argument: &str) -> Result<String, Failure> {
        let bytes = self.bytes(argument.as_ref())?;
        String::from_utf8(bytes).map_err(|_| Failure::Usage(format!("{argument:?}: a name is UTF-8")))
    }

    /// Says something that is neither an answer nor an error, unless `-q` was given.
    pub fn say(&self, message: impl Display) {
        if !self.quiet {
            say(format_args!("forelog: {message}"));
        }
    }

    /// The bytes that an argument stands for, if it was given.
    pub fn optional_bytes(&self, argument: Option<&OsString>) -> Result<Option<Vec<u8>>, Failure> {
        argument.map(|argument| self.bytes(argument)).transpose()
    }
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a new store; its options stay with it
    Create(Create),
    /// Set a key
    Put(Put),
    /// Print the value of a key (exit code 1 if it is absent)
    Get(Key),
    /// Remove a key; no difference if it is absent
    Del(Key),
    /// Print keys and values in the order of the keys
    Scan(Scan),
    /// Count the keys
    Count(Count),
    /// Name the keyspaces
    Keyspaces(Dir),
    /// Drop a keyspace with all its keys, in one step
    Drop(Drop),
    /// Read NDJSON, one {"key":"…","value":"…"} a line
    Import(Import),
    /// Write everything as NDJSON, or with -f csv as CSV, in the order of the keys
    Export(Export),
    /// Run lines of the shell's language
    Exec(Exec),
    /// Open the shell
    Shell(Shell),
    /// Try the shell on a simulated disk whose power can be cut; also `forelog` alone
    Lab(Lab),
    /// Show LSNs, segments, sizes, keys
    Info(Dir),
    /// List the records of the log, with file and offset
    Log(Log),
    /// Draw the segments, the checkpoints and the archive to scale
    Map(Dir),
    /// Show what every byte of a file means: of a segment, a checkpoint, a manifest, an archived one
    Inspect(Inspect),
    /// Read every byte of a store and its archive, or of an archive, and judge it; change nothing
    Verify(Dir),
    /// Say what would make a damaged store sound again, and what is lost; with --apply, do it
    Repair(Repair),
    /// Take a checkpoint, so that opening need not replay what came before
    Checkpoint(Dir),
    /// Remove what recovery needs no more and no policy keeps
    Prune(Prune),
    /// Copy the state as it is now into a store of its own
    Backup(Backup),
    /// Make a store with the state at any LSN or time, from a store and its archive, or from an archive
    Restore(Restore),
    /// Cut the power of a simulated disk, again and again, and check what is left each time
    CrashTest(CrashTest),
    /// Measure what this disk and a store on it can do, each beside its limit
    Bench(Bench),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
    /// `forelog DIR`.
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

#[derive(Debug, Args)]
pub struct Dir {
    /// The directory of the store
    pub dir: PathBuf,
}

#[derive(Debug, Args)]
pub struct Lab {
    /// Run the lines of a file, or of standard input with -
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
    /// Begin with a walk through the lab, in a dozen steps
    #[arg(long, conflicts_with = "script")]
    pub tour: bool,
}

#[derive(Debug, Args)]
pub struct InKeyspace {
    /// The keyspace, if not the default one
    #[arg(long, value_name = "NAME")]
    keyspace: Option<String>,
}

impl InKeyspace {
    /// The name that was given.
    pub fn name(&self, globals: &Globals) -> Result<Option<String>, Failure> {
        self.keyspace.as_deref().map(|name| globals.name(name)).transpose()
    }
}

#[derive(Debug, Args)]
pub struct Create {
    /// The directory: missing or empty
    pub dir: PathBuf,
    /// The length of a segment in bytes; it bounds the largest batch [default: 64 MiB]
    #[arg(long, value_name = "N")]
    pub segment_bytes: Option<u64>,
    /// What guards the records [default: crc32]
    #[arg(long, value_name = "crc32|crc32c|xxh3")]
    pub checksum: Option<Checksum>,
    /// What is kept of the log that recovery needs no more: any(…) or all(…) of count:8, bytes:1GiB, age:7d
    /// [default: any(), nothing]
    #[arg(long, value_name = "P")]
    pub retention: Option<Retention>,
    /// How many checkpoints are kept [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep_checkpoints: Option<u32>,
    /// A checkpoint is taken by itself after so many bytes of log [default: 64 MiB]
    #[arg(long, value_name = "N")]
    pub checkpoint_after: Option<u64>,
    /// Finished segments and checkpoints are copied here before they go
    #[arg(long, value_name = "DIR")]
    pub archive: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Put {
    /// The directory of the store; it is created where it is missing or empty
    pub dir: PathBuf,
    /// The key
    #[arg(allow_negative_numbers = true)]
    pub key: OsString,
    /// The value
    #[arg(allow_negative_numbers = true, required_unless_present = "value_file")]
    pub value: Option<OsString>,
    /// Take the value from a file, or from standard input with -
    #[arg(long, value_name = "FILE", conflicts_with = "value")]
    pub value_file: Option<PathBuf>,
    #[command(flatten)]
    pub keyspace: InKeyspace,
}

#[derive(Debug, Args)]
pub struct Key {
    /// The directory of the store
    pub dir: PathBuf,
    /// The key
    #[arg(allow_negative_numbers = true)]
    pub key: OsString,
    #[command(flatten)]
    pub keyspace: InKeyspace,
}

#[derive(Debug, Args)]
pub struct Drop {
    /// The directory of the store
    pub dir: PathBuf,
    /// The name of the keyspace
    pub name: String,
}

#[derive(Debug, Args)]
pub struct Scan {
    /// The directory of the store
    pub dir: PathBuf,
    /// Only keys that begin so
    #[arg(long, value_name = "P")]
    pub prefix: Option<OsString>,
    /// Only keys from this one on
    #[arg(long, value_name = "A")]
    pub from: Option<OsString>,
    /// Only keys before this one
    #[arg(long, value_name = "B")]
    pub to: Option<OsString>,
    /// No more than this many
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// From the last key to the first
    #[arg(long)]
    pub reverse: bool,
    /// Leave the values out
    #[arg(long)]
    pub keys_only: bool,
    #[command(flatten)]
    pub keyspace: InKeyspace,
}

#[derive(Debug, Args)]
pub struct Count {
    /// The directory of the store
    pub dir: PathBuf,
    /// Only keys that begin so
    #[arg(long, value_name = "P")]
    pub prefix: Option<OsString>,
    #[command(flatten)]
    pub keyspace: InKeyspace,
}

#[derive(Debug, Args)]
pub struct Import {
    /// The directory of the store; it is created where it is missing or empty
    pub dir: PathBuf,
    /// The file, or - for standard input
    pub file: PathBuf,
    /// Leave out this many lines at the beginning: those that an interrupted import acknowledged
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub skip: u64,
    /// How many lines become one batch
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub batch: u64,
    /// How progress is told: a bar on a terminal, or {"acknowledged":N} after each durable batch
    #[arg(long, value_enum, default_value_t, value_name = "auto|json|none", hide_possible_values = true)]
    pub progress: Progress,
    #[command(flatten)]
    pub keyspace: InKeyspace,
}

/// How progress is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Progress {
    /// A bar, if standard error is a terminal and it takes longer than a second.
    #[default]
    Auto,
    /// `{"acknowledged":N}` after each durable batch.
    Json,
    /// Not at all.
    None,
}

#[derive(Debug, Args)]
pub struct Export {
    /// The directory of the store
    pub dir: PathBuf,
    /// The file; standard output without one
    pub file: Option<PathBuf>,
    /// Overwrite the file
    #[arg(long)]
    pub force: bool,
    /// Only this keyspace
    #[arg(long, value_name = "NAME")]
    pub keyspace: Option<String>,
}

#[derive(Debug, Args)]
pub struct Exec {
    /// The directory of the store; it is created where it is missing or empty
    pub dir: PathBuf,
    /// The file with the lines, or - for standard input
    #[arg(required_unless_present = "line")]
    pub file: Option<PathBuf>,
    /// A line; more than one are run in their order, before those of the file
    #[arg(short = 'c', value_name = "LINE")]
    pub line: Vec<String>,
    /// Go on after a failure; the exit code is that of the first one
    #[arg(long)]
    pub keep_going: bool,
    #[command(flatten)]
    pub keyspace: InKeyspace,
}

#[derive(Debug, Args)]
pub struct Shell {
    /// The directory of the store; it is created where it is missing or empty
    pub dir: PathBuf,
    #[command(flatten)]
    pub keyspace: InKeyspace,
    /// Create nothing: the directory was given in place of a command.
    #[arg(skip)]
    pub must_exist: bool,
}
