//! Lines from a file or a pipe: no prompt, no history. A line with an open quote goes on in the next one.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use super::line::split;
use super::session::Session;
use crate::escape::Flaw;
use crate::failure::Failure;
use crate::interrupt;
use crate::output::Format;

/// What follows a failure. A negative answer is none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The end.
    Stop,
    /// The next line. The failure is told at once, and the first one is the result in the end.
    GoOn,
}

/// The lines of a file, or of standard input for `-`.
pub fn open(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).map_err(|source| Failure::file("open", path, source))?;
    Ok(Box::new(BufReader::new(file)))
}

/// Runs lines until they end, one fails, or one is `.quit`.
pub fn run(session: &mut Session<'_>, input: &mut dyn BufRead, on_failure: OnFailure) -> Result<(), Failure> {
    let mut first_failure = Ok(());
    let mut number = 0;
    let mut line = Vec::new();
    while !session.finished {
        let begins_at = number + 1;
        line.clear();
        if !read_command(input, &mut line, &mut number)? {
            break;
        }
        interrupt::check()?;
        let Err(cause) = session.run_line(&line) else { continue };
        if matches!(cause, Failure::ClosedPipe | Failure::Interrupted) {
            return Err(cause);
        }
        let failure = Failure::Line { number: begins_at, cause: Box::new(cause) };
        if on_failure == OnFailure::Stop {
            return Err(failure);
        }
        failure.report(session.app.out.format() == Format::Json);
        if first_failure.is_ok() {
            first_failure = Err(Failure::Told(failure.code()));
        }
    }
    first_failure
}

/// Reads a line, and further ones as long as a quote is open. False at the end of the input.
fn read_command(input: &mut dyn BufRead, line: &mut Vec<u8>, number: &mut u64) -> Result<bool, Failure> {
    loop {
        let read_before = line.len();
        let read = input.read_until(b'\n', line);
        let length = read.map_err(|source| Failure::file("read", Path::new("the input"), source))?;
        if length == 0 {
            return Ok(!line.is_empty());
        }
        *number += 1;
        // Only a quote can close a quote: without one there is no need to look at a long text again.
        let news = &line[read_before..];
        if read_before > 0 && !news.contains(&b'"') && !news.contains(&b'\'') {
            continue;
        }
        let whole = line.strip_suffix(b"\n").unwrap_or(line);
        if !matches!(split(whole), Err(Flaw::OpenQuote(_))) {
            line.truncate(whole.len());
            return Ok(true);
        }
    }
}
