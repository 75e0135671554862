//! How a command ends: the one place that knows exit codes, and the names of errors for scripts.
//!
//! | code | meaning |
//! | --- | --- |
//! | 0 | fine |
//! | 1 | a negative answer: the key is absent, the log has a torn tail |
//! | 2 | usage: arguments, a bad input line, something too large, output that exists |
//! | 3 | corruption, a missing segment, a violation in `crash-test` |
//! | 4 | locked |
//! | 5 | I/O, no store, unsupported version, read-only, poisoned, compacted |
//! | 130 | interrupted |

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use forelog::{Error, Lsn};
use serde::Serialize;

use crate::escape;
use crate::output::say;

/// How a command ended that did what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Fine.
    Done,
    /// The answer is no.
    Negative,
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// The store's own error.
    Store(Error),
    /// The caller's mistake.
    Usage(String),
    /// A line of an input is at fault.
    Line {
        /// Its number, from 1.
        number: u64,
        /// What is wrong.
        cause: Box<Failure>,
    },
    /// The output is there already.
    Exists(PathBuf),
    /// A file of the caller's, not of the store, cannot be read or written.
    File {
        /// What was tried, as a verb.
        op: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the operating system answered.
        source: io::Error,
    },
    /// Something that was said already, with its exit code.
    Told(u8),
    /// Nobody reads the output any more.
    ClosedPipe,
    /// Ctrl-C.
    Interrupted,
}

impl Failure {
    /// The failure of an operation on a file of the caller's.
    pub fn file(op: &'static str, path: &Path, source: io::Error) -> Failure {
        if source.kind() == io::ErrorKind::BrokenPipe {
            return Failure::ClosedPipe;
        }
        Failure::File { op, path: path.to_path_buf(), source }
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Store(error) => code_of(kind_of(error)),
            Failure::Usage(_) | Failure::Exists(_) => 2,
            Failure::Line { cause, .. } => cause.code(),
            Failure::Told(code) => *code,
            Failure::File { .. } => 5,
            Failure::ClosedPipe => 0,
            Failure::Interrupted => 130,
        }
    }

    /// The name for scripts, or `None` where nothing is to be said.
    fn kind(&self) -> Option<&'static str> {
        match self {
            Failure::Store(error) => Some(kind_of(error)),
            Failure::Usage(_) | Failure::Exists(_) => Some("usage"),
            Failure::Line { cause, .. } => cause.kind(),
            Failure::File { .. } => Some("io"),
            Failure::Told(_) | Failure::ClosedPipe | Failure::Interrupted => None,
        }
    }

    /// Says on standard error what went wrong, as text or as one JSON object.
    pub fn report(&self, as_json: bool) {
        let Some(kind) = self.kind() else { return };
        if !as_json {
            return say(format_args!("forelog: {self}"));
        }
        let place = self.place();
        let report =
            Report { error: self.to_string(), kind, file: place.file, offset: place.offset, lsn: place.lsn };
        // A report is made of strings and numbers, and such JSON can always be written.
        say(serde_json::to_string(&report).unwrap_or_default());
    }

    fn place(&self) -> Place {
        match self {
            Failure::Store(error) => place_of(error),
            Failure::Line { cause, .. } => cause.place(),
            Failure::Exists(path) | Failure::File { path, .. } => Place::file(path),
            _ => Place::default(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Store(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Store(Error::UnknownKeyspace { name }) => {
                let name = escape::word(name.as_bytes());
                write!(f, "there is no keyspace {name}; `keyspaces` names those that there are")
            }
            Failure::Store(error) if is_full(error) => {
                write!(f, "{error}; what was acknowledged is safe: make room on that disk, and try again")
            }
            Failure::Store(error) => error.fmt(f),
            Failure::Usage(what) => f.write_str(what),
            Failure::Line { number, cause } => write!(f, "line {number}: {cause}"),
            Failure::Exists(path) => write!(f, "{} exists; --force overwrites it", path.display()),
            Failure::File { op, path, source } => write!(f, "cannot {op} {}: {source}", path.display()),
            Failure::Told(code) => write!(f, "it failed with code {code}"),
            Failure::ClosedPipe => f.write_str("the output was closed"),
            Failure::Interrupted => f.write_str("interrupted"),
        }
    }
}

/// True if there is no room for what was to be written.
fn is_full(error: &Error) -> bool {
    match error {
        Error::Io { source, .. } => {
            matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        }
        _ => false,
    }
}

#[derive(Serialize)]
struct Report {
    error: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lsn: Option<Lsn>,
}

/// Where something is wrong, as far as it is known.
#[derive(Default)]
struct Place {
    file: Option<String>,
    offset: Option<u64>,
    lsn: Option<Lsn>,
}

impl Place {
    fn file(path: &Path) -> Place {
        Place { file: Some(path.display().to_string()), ..Place::default() }
    }
}

fn place_of(error: &Error) -> Place {
    match error {
        Error::Corruption(damage) => {
            Place { offset: Some(damage.offset), lsn: damage.lsn, ..Place::file(&damage.file) }
        }
        Error::MissingSegment { dir, lsn, .. } => Place { lsn: Some(*lsn), ..Place::file(dir) },
        Error::Poisoned { cause } => place_of(cause),
        Error::Io { path, .. } | Error::Locked { path } | Error::Exists { path } => Place::file(path),
        Error::UnsupportedFormat { file, .. } => Place::file(file),
        Error::Compacted { oldest } => Place { lsn: Some(*oldest), ..Place::default() },
        Error::ReadOnly { dir } | Error::NoStore { dir } | Error::NotAStore { dir, .. } => Place::file(dir),
        _ => Place::default(),
    }
}

fn kind_of(error: &Error) -> &'static str {
    match error {
        Error::Corruption(_) => "corruption",
        Error::MissingSegment { .. } => "missing_segment",
        Error::Locked { .. } => "locked",
        Error::NoStore { .. } | Error::NotAStore { .. } => "no_store",
        Error::UnsupportedFormat { .. } => "unsupported",
        Error::TooLarge { .. } => "too_large",
        Error::ReadOnly { .. } => "read_only",
        Error::Poisoned { .. } => "poisoned",
        Error::Compacted { .. } => "compacted",
        Error::InvalidOption { .. } | Error::UnknownKeyspace { .. } | Error::Exists { .. } => "usage",
        // `Error` is not exhaustive: what is not known here is most likely an I/O matter, as `Io` and `Closed` are.
        _ => "io",
    }
}

fn code_of(kind: &str) -> u8 {
    match kind {
        "usage" | "too_large" => 2,
        "corruption" | "missing_segment" => 3,
        "locked" => 4,
        _ => 5,
    }
}
