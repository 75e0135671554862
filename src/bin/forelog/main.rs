//! The `forelog` command: a command line and a shell over the library's public interface.
//!
//! ```text
//!  args ──→ commands ──→ store ──→ forelog::Db        failure: how it ends, exit codes
//!             ↑    └───→ output                       escape: bytes as text, both ways
//!  shell ─────┘
//! ```
//!
//! The shell's verbs call the same functions as the commands of the same names, so an answer has one form.
//! Where to read next: `commands/data.rs`, then `shell/table.rs`.

// In a binary nothing is public; `pub` says that other files of it may use an item.
#![allow(unreachable_pub)]

mod args;
mod commands;
mod draft;
mod escape;
mod failure;
mod interrupt;
mod ndjson;
mod output;
mod progress;
mod shell;
mod store;
mod suggest;
mod watched;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use args::{Cli, Command};
use failure::{Failure, Outcome};
use output::Format;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let cli = match parse(&words) {
        Ok(cli) => cli,
        Err(error) => return explain(&error, &words),
    };
    let as_json = cli.globals.format == Format::Json;
    ExitCode::from(match commands::run(cli) {
        Ok(Outcome::Done) => 0,
        Ok(Outcome::Negative) => 1,
        Err(failure) => {
            failure.report(as_json);
            failure.code()
        }
    })
}

/// Reads the arguments. `forelog DIR` becomes `forelog shell DIR`, with the difference that it creates nothing.
fn parse(words: &[OsString]) -> Result<Cli, clap::Error> {
    let cli = Cli::try_parse_from(words)?;
    let Some(Command::Other(rest)) = &cli.command else { return Ok(cli) };
    if !rest.first().is_some_and(|word| Path::new(word).is_dir()) {
        return Ok(cli);
    }
    let mut words = words.to_vec();
    words.insert(words.len() - rest.len(), "shell".into());
    let mut cli = Cli::try_parse_from(words)?;
    if let Some(Command::Shell(shell)) = &mut cli.command {
        shell.must_exist = true;
    }
    Ok(cli)
}

/// Prints what clap has to say: help and the version as answers, the rest as a usage error.
fn explain(error: &clap::Error, words: &[OsString]) -> ExitCode {
    let is_answer = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if !is_answer && asks_for_json(words) {
        let text = error.to_string();
        // What is wrong stands before the first blank line; the rest repeats the usage.
        let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        let failure = Failure::Usage(lines.join(" ").trim_start_matches("error: ").to_owned());
        failure.report(true);
        return ExitCode::from(failure.code());
    }
    // A closed pipe is no failure, and nothing else can be said where nothing can be written.
    let _ = error.print();
    ExitCode::from(if is_answer { 0 } else { 2 })
}

/// Whether errors are wanted as JSON, where the arguments as a whole could not be read.
fn asks_for_json(words: &[OsString]) -> bool {
    let pairs = words.iter().zip(words.iter().skip(1));
    words.iter().any(|word| word == "-fjson" || word == "--format=json" || word == "-f=json")
        || pairs
            .into_iter()
            .any(|(option, value)| (option == "-f" || option == "--format") && value == "json")
}
