//! The shell at a terminal: the loop around the line editor, and the history.
//!
//! Where to read next: `assist.rs`, what the editor asks while a line is typed.

use std::fs;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use rustyline::config::Builder;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{ColorMode, CompletionType, Editor};

use super::assist::Assistant;
use super::lab::Lab;
use super::session::{Session, TABLE_ROWS};
use crate::failure::Failure;
use crate::interrupt;
use crate::output::{Format, say};

/// Reads lines and runs them, until `.quit` or Ctrl-D.
pub fn run(session: &mut Session<'_>) -> Result<(), Failure> {
    let color = session.app.globals.color.applies(true);
    let mut editor = open_editor(session, color).map_err(read_failure)?;
    let history = history_path();
    if let Some(path) = &history {
        // The first session has none.
        let _ = editor.load_history(path);
    }
    session.history = editor.history().iter().cloned().collect();
    session.app.out.set_row_limit(Some(TABLE_ROWS));
    if !session.app.globals.quiet {
        say(".help names the commands, Tab completes them, Ctrl-D leaves");
    }
    while !session.finished {
        if let Some(assistant) = editor.helper_mut() {
            let files = session.lab.as_ref().map(Lab::files);
            assistant.follow(session.space().ok().zip(session.open.clone()), files);
        }
        let line = match editor.readline(&session.prompt(color)) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(read_failure(error)),
        };
        // It says whether the line is kept: not a blank one, not one that begins with a space.
        if editor.add_history_entry(&line).unwrap_or(false) {
            session.history.push(line.clone());
        }
        interrupt::forget();
        match session.run_line(line.as_bytes()) {
            Ok(_) => {}
            Err(Failure::ClosedPipe) => return Err(Failure::ClosedPipe),
            Err(Failure::Interrupted) => say("interrupted"),
            Err(failure) => failure.report(session.app.out.format() == Format::Json),
        }
    }
    if let Some(path) = history
        && let Err(error) = save(&mut editor, &path)
        && !session.app.globals.quiet
    {
        say(format_args!("forelog: the history was not kept in {}: {error}", path.display()));
    }
    Ok(())
}

type ShellEditor = Editor<Assistant, FileHistory>;

fn open_editor(session: &Session<'_>, color: bool) -> rustyline::Result<ShellEditor> {
    let config = Builder::new()
        .completion_type(CompletionType::List)
        .color_mode(if color { ColorMode::Forced } else { ColorMode::Disabled })
        .history_ignore_space(true)
        .max_history_size(10_000)?
        .build();
    let mut editor = Editor::with_config(config)?;
    let offer_keys = !session.app.globals.redact;
    editor.set_helper(Some(Assistant::new(offer_keys, color)));
    Ok(editor)
}

/// Where the history is kept: in the directory that the user's system has for such.
fn history_path() -> Option<PathBuf> {
    let dirs = etcetera::choose_base_strategy().ok()?;
    let dir = dirs.state_dir().unwrap_or_else(|| dirs.data_dir());
    Some(dir.join("forelog").join("history"))
}

fn save(editor: &mut ShellEditor, path: &Path) -> rustyline::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    // Appended, because another shell may have written its own lines meanwhile.
    editor.append_history(path)
}

/// That the terminal cannot be read.
pub fn read_failure(error: ReadlineError) -> Failure {
    let source = match error {
        ReadlineError::Io(source) => source,
        other => std::io::Error::other(other.to_string()),
    };
    Failure::file("read", Path::new("the terminal"), source)
}
