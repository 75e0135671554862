//! `completions` and `man`, made from the arguments that clap knows, and what is said about a word that is no command.

use std::ffi::OsString;
use std::path::Path;

use clap::CommandFactory;

use super::App;
use crate::args::Cli;
use crate::failure::{Failure, Outcome};
use crate::suggest::did_you_mean;

pub fn completions(shell: clap_complete::Shell, app: &mut App) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "forelog", &mut script);
    app.out.bytes(&script)?;
    Ok(Outcome::Done)
}

pub fn page(app: &mut App) -> Result<Outcome, Failure> {
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
    rendered.map_err(|source| Failure::file("write", Path::new("the manual page"), source))?;
    app.out.bytes(&page)?;
    Ok(Outcome::Done)
}

/// What is said about `forelog WORD …` where WORD is neither a command nor a directory.
pub fn unknown(words: &[OsString]) -> Failure {
    let word = words.first().map(|word| word.to_string_lossy()).unwrap_or_default();
    let command = Cli::command();
    let names = command.get_subcommands().map(clap::Command::get_name);
    let hint = did_you_mean(&word, names);
    Failure::Usage(format!("{word:?} is neither a command nor the directory of a store{hint}"))
}
