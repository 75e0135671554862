//! The shell: at a terminal with a prompt, completion, hints and history, otherwise plain lines.
//!
//! ```text
//!  terminal → editor ─┐           ┌→ verbs ────→ commands/
//!  pipe, file → script ┴→ session ┤
//!                  line → verb ↗  └→ settings (.format …)
//!                         table
//! ```
//!
//! Where to read next: `table.rs`, the one list of commands.

mod assist;
mod cursor;
mod editor;
mod lab;
pub mod line;
pub mod script;
pub mod session;
mod settings;
mod table;
mod tour;
mod trace;
pub mod verb;
mod verbs;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;

use forelog::{CreateMode, Db, Durability, Error, Options};

use crate::args::{self, Globals, Shell};
use crate::commands::App;
use crate::failure::{Failure, Outcome};
use crate::interrupt;
use crate::store::{self, Site};
use lab::Lab;
use session::Session;
use trace::Trace;

pub fn run(args: &Shell, app: &mut App) -> Result<Outcome, Failure> {
    let mode = if args.must_exist { CreateMode::Never } else { CreateMode::IfMissing };
    let keyspace = args.keyspace.name(&app.globals)?;
    with_session(&args.dir, keyspace.as_deref(), mode, app, converse)
}

/// The lab: the shell on a simulated disk.
pub fn run_lab(args: &args::Lab, app: &mut App) -> Result<Outcome, Failure> {
    let lab = Lab::new();
    let trace = Arc::new(Trace::new(app.globals.redact));
    let db = lab.options(options(&app.globals, &trace)).open(lab.site().dir)?;
    let mut session = Session::new(db, lab.site(), app, trace);
    session.lab = Some(lab);
    let ended = match &args.script {
        None if args.tour => {
            tour::run(&mut session).map(drop).and_then(|()| go_on_at_a_terminal(&mut session))
        }
        None => converse(&mut session),
        Some(path) => {
            let mut script = script::open(path)?;
            script::run(&mut session, &mut *script, script::OnFailure::Stop)
        }
    };
    let finished = session.finish();
    ended?;
    finished?;
    Ok(Outcome::Done)
}

/// After the tour: whoever sits there may go on in the lab.
fn go_on_at_a_terminal(session: &mut Session<'_>) -> Result<(), Failure> {
    if session.finished || !is_at_a_terminal() {
        return Ok(());
    }
    converse(session)
}

fn is_at_a_terminal() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Takes lines from whoever is there.
fn converse(session: &mut Session<'_>) -> Result<(), Failure> {
    if is_at_a_terminal() {
        interrupt::listen();
        session.interactive = true;
        editor::run(session)
    } else {
        script::run(session, &mut io::stdin().lock(), script::OnFailure::GoOn)
    }
}

/// Opens a store, runs lines on it, and closes it.
pub fn with_session(
    dir: &Path,
    keyspace: Option<&str>,
    mode: CreateMode,
    app: &mut App,
    run: impl FnOnce(&mut Session<'_>) -> Result<(), Failure>,
) -> Result<Outcome, Failure> {
    let trace = Arc::new(Trace::new(app.globals.redact));
    let db = open(dir, options(&app.globals, &trace).create(mode), mode, &app.globals)?;
    let space = store::keyspace_to_write(&db, keyspace)?;
    let mut session = Session::new(db, Site::real(dir), app, trace);
    space.name().clone_into(&mut session.keyspace);
    drop(space);
    let ended = run(&mut session);
    let finished = session.finish();
    // Not the one that it began with, if `.open` has turned to another.
    let open = session.open.take();
    drop(session);
    let closed = open.map_or(Ok(()), |db| store::close(db, &app.globals));
    ended?;
    finished?;
    closed?;
    Ok(Outcome::Done)
}

fn options(globals: &Globals, trace: &Arc<Trace>) -> Options {
    let options = store::options(globals).listener(trace.clone());
    // The mark of an idle store syncs everything. Who chose "buffered" here wants to see what a power cut would take.
    if globals.durability == Durability::Buffered { options.idle_mark(None) } else { options }
}

fn open(dir: &Path, options: Options, mode: CreateMode, globals: &Globals) -> Result<Db, Failure> {
    match store::open_with(dir, options, globals) {
        // `forelog DIR` with a slip in it: the caller's mistake.
        Err(Failure::Store(error @ Error::NoStore { .. })) if mode == CreateMode::Never => {
            Err(Failure::Usage(format!("{error}; `forelog shell {}` creates one", dir.display())))
        }
        Err(Failure::Store(error @ Error::NotAStore { .. })) if mode == CreateMode::Never => {
            Err(Failure::Usage(error.to_string()))
        }
        opened => opened,
    }
}
