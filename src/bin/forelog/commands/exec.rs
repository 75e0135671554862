//! `exec`: lines of the shell's language as a script.

use std::io::{BufRead, Cursor, Read};

use forelog::CreateMode;

use super::App;
use crate::args::Exec;
use crate::failure::{Failure, Outcome};
use crate::shell::{script, with_session};

pub fn run(args: &Exec, app: &mut App) -> Result<Outcome, Failure> {
    let mut lines = lines(args)?;
    let on_failure = if args.keep_going { script::OnFailure::GoOn } else { script::OnFailure::Stop };
    let keyspace = args.keyspace.name(&app.globals)?;
    let keyspace = keyspace.as_deref();
    with_session(&args.dir, keyspace, CreateMode::IfMissing, app, |session| {
        script::run(session, &mut *lines, on_failure)
    })
}

/// The lines given as arguments, then those of the file.
fn lines(args: &Exec) -> Result<Box<dyn BufRead>, Failure> {
    let given: String = args.line.iter().map(|line| format!("{line}\n")).collect();
    let given = Cursor::new(given.into_bytes());
    Ok(match args.file.as_deref() {
        None => Box::new(given),
        Some(path) => Box::new(given.chain(script::open(path)?)),
    })
}
