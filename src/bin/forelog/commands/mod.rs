//! The commands, one file each or closely related ones together.
//!
//! A file holds the command as the command line calls it (open, do, close), and below it what it does on an open
//! store, which the shell calls too.

pub mod bench;
pub mod checkpoint;
pub mod copies;
pub mod crash_test;
pub mod create;
pub mod data;
pub mod exec;
pub mod export;
pub mod import;
pub mod info;
pub mod inspect;
pub mod log;
pub mod manual;
pub mod map;
pub mod repair;
pub mod scan;
pub mod verify;
pub mod why;

use crate::args::{Cli, Command, Globals, Lab};
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::shell;

/// What every command is given: the options that go with each of them, and where its answer goes.
pub struct App {
    /// Options that go with every command.
    pub globals: Globals,
    /// Where answers go.
    pub out: Output,
}

/// Runs a command, and hands on its whole answer.
pub fn run(cli: Cli) -> Result<Outcome, Failure> {
    let out = Output::stdout(cli.globals.format, cli.globals.color, cli.globals.redact);
    let mut app = App { globals: cli.globals, out };
    let outcome = dispatch(cli.command.unwrap_or(Command::Lab(Lab { script: None, tour: false })), &mut app);
    // Also after a failure: what was answered until then is true.
    let flushed = app.out.flush();
    outcome.and_then(|outcome| flushed.map(|()| outcome))
}

fn dispatch(command: Command, app: &mut App) -> Result<Outcome, Failure> {
    match command {
        Command::Create(args) => create::run(&args, app),
        Command::Put(args) => data::run_put(&args, app),
        Command::Get(args) => data::run_get(&args, app),
        Command::Del(args) => data::run_del(&args, app),
        Command::Scan(args) => scan::run_scan(&args, app),
        Command::Count(args) => scan::run_count(&args, app),
        Command::Keyspaces(args) => scan::run_keyspaces(&args, app),
        Command::Drop(args) => data::run_drop(&args, app),
        Command::Import(args) => import::run(&args, app),
        Command::Export(args) => export::run(&args, app),
        Command::Exec(args) => exec::run(&args, app),
        Command::Shell(args) => shell::run(&args, app),
        Command::Lab(args) => shell::run_lab(&args, app),
        Command::Info(args) => info::run(&args, app),
        Command::Log(args) => log::run(&args, app),
        Command::Map(args) => map::run(&args, app),
        Command::Inspect(args) => inspect::run(&args, app),
        Command::Checkpoint(args) => checkpoint::run_checkpoint(&args, app),
        Command::Prune(args) => checkpoint::run_prune(&args, app),
        Command::Backup(args) => copies::run_backup(&args, app),
        Command::Restore(args) => copies::run_restore(&args, app),
        Command::Verify(args) => verify::run(&args, app),
        Command::Repair(args) => repair::run(&args, app),
        Command::CrashTest(args) => crash_test::run(&args, app),
        Command::Bench(args) => bench::run(&args, app),
        Command::Completions { shell } => manual::completions(shell, app),
        Command::Man => manual::page(app),
        Command::Other(words) => Err(manual::unknown(&words)),
    }
}

/// Says that a command judges only what is durable.
fn say_live(globals: &Globals) {
    globals.say("a writer has the store open; what it has not made durable yet is left out");
}
