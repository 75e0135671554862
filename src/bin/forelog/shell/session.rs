//! A session: an open store, and what its user has set. It runs lines, wherever they come from.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use forelog::{CreateMode, DEFAULT_KEYSPACE, Db, Durability, Keyspace, WriteBatch, WriteOptions};

use super::lab::Lab;
use super::line::{Word, split};
use super::trace::Trace;
use super::verb::{self, Call, Verb};
use crate::commands::App;
use crate::draft::Draft;
use crate::failure::{Failure, Outcome};
use crate::output::{LOSS, paint, say};
use crate::store::{self, Site};

/// A table in the shell shows so many rows at once; `.last` shows all.
pub const TABLE_ROWS: usize = 40;

/// `.read` may be in a file that is read, but not for ever.
pub const MAX_DEPTH: u32 = 8;

/// An open store, and what its user has set.
pub struct Session<'a> {
    pub app: &'a mut App,
    /// The store; `None` between a crash and the recovery.
    pub open: Option<Db>,
    pub site: Site,
    /// Where commands work that name no keyspace.
    pub keyspace: String,
    /// What a write waits for.
    pub durability: Durability,
    /// The simulated disk, in the lab.
    pub lab: Option<Lab>,
    /// Puts and dels between `batch` and `commit`.
    pub batch: Option<WriteBatch>,
    pub trace: Arc<Trace>,
    pub timer: bool,
    /// Where the next answer goes, after `.once`.
    pub once: Option<Draft>,
    /// The last command that only read, for `.last`.
    pub last: Option<(&'static Verb, Call)>,
    /// Lines that were entered, the last one last.
    pub history: Vec<String>,
    /// How many `.read`s are under way.
    pub depth: u32,
    /// True at a terminal.
    pub interactive: bool,
    /// True after `.quit`.
    pub finished: bool,
}

impl Session<'_> {
    /// Nothing is set yet.
    pub fn new(db: Db, site: Site, app: &mut App, trace: Arc<Trace>) -> Session<'_> {
        Session {
            open: Some(db),
            site,
            keyspace: DEFAULT_KEYSPACE.to_owned(),
            durability: app.globals.durability,
            app,
            lab: None,
            batch: None,
            trace,
            timer: false,
            once: None,
            last: None,
            history: Vec::new(),
            depth: 0,
            interactive: false,
            finished: false,
        }
    }

    /// The open store.
    pub fn db(&self) -> Result<&Db, Failure> {
        let what = match &self.lab {
            Some(lab) if lab.has_crashed() => "the store has crashed; recover opens what is left of it",
            _ => "no store is open; .open DIR opens one",
        };
        self.open.as_ref().ok_or_else(|| Failure::Usage(what.to_owned()))
    }

    /// Opens another store of the same disk, which must be there, and closes this one. Where that fails, this one stays.
    pub fn turn_to(&mut self, dir: &Path) -> Result<(), Failure> {
        let is_this = dir == self.site.dir;
        if is_this && self.lab.as_ref().is_some_and(Lab::has_crashed) {
            return Err(Failure::Usage("this one has crashed; recover opens what is left of it".to_owned()));
        }
        if is_this && self.open.is_some() {
            return Ok(());
        }
        let options = super::options(&self.app.globals, &self.trace).create(CreateMode::Never);
        let options = match &self.lab {
            None => options,
            Some(lab) => lab.options_of(dir, options),
        };
        let opened = store::open_with(dir, options, &self.app.globals)?;
        if let Some(db) = self.open.replace(opened.clone()) {
            // Not left to the end of the process, which may be far.
            let closed = db.close();
            store::say_failures(&db, &self.app.globals);
            closed?;
        }
        if let Some(lab) = &mut self.lab {
            lab.turn_to(dir);
            lab.begins_at(opened.visible_lsn());
        }
        self.site.dir = dir.to_path_buf();
        DEFAULT_KEYSPACE.clone_into(&mut self.keyspace);
        Ok(())
    }

    /// The keyspace of commands that name none.
    pub fn space(&self) -> Result<Keyspace, Failure> {
        // One that a crash has taken is made again.
        store::keyspace_to_write(self.db()?, Some(&self.keyspace))
    }

    /// How writes are acknowledged.
    pub fn write_options(&self) -> WriteOptions {
        WriteOptions::new().durability(self.durability)
    }

    /// Runs one line; it may hold line ends inside quotes.
    pub fn run_line(&mut self, line: &[u8]) -> Result<Outcome, Failure> {
        let words = split(line).map_err(|flaw| Failure::Usage(flaw.to_string()))?;
        self.run_words(&words)
    }

    fn run_words(&mut self, words: &[Word]) -> Result<Outcome, Failure> {
        let Some((verb, call)) = verb::parse(words)? else { return Ok(Outcome::Done) };
        if verb.is_setting() {
            let outcome = (verb.run)(self, &call);
            self.app.out.flush()?;
            return outcome;
        }
        let outcome = self.run_verb(verb, &call);
        if verb.reads {
            self.last = Some((verb, call));
        }
        outcome
    }

    /// Runs a command on the store: what happened inside, then its answer, then the time it took.
    pub fn run_verb(&mut self, verb: &Verb, call: &Call) -> Result<Outcome, Failure> {
        Session::say_all(self.trace.take(), "meanwhile:");
        let begun = Instant::now();
        let outcome = match self.once.take() {
            None => (verb.run)(self, call),
            Some(draft) => self.run_into(draft, verb, call),
        };
        let took = begun.elapsed();
        if let (Some(lab), Some(db)) = (&mut self.lab, &self.open) {
            lab.answered(db.visible_lsn(), self.durability);
        }
        Session::say_all(self.trace.take(), "");
        self.app.out.flush()?;
        if self.timer {
            say(format_args!("{:.3} ms", took.as_secs_f64() * 1e3));
        }
        outcome
    }

    /// Runs a command whose answer goes to a file.
    fn run_into(&mut self, draft: Draft, verb: &Verb, call: &Call) -> Result<Outcome, Failure> {
        let to_file = self.app.out.to_file(&draft)?;
        let to_screen = std::mem::replace(&mut self.app.out, to_file);
        let outcome = (verb.run)(self, call);
        let flushed = self.app.out.flush();
        self.app.out = to_screen;
        let outcome = outcome?;
        flushed?;
        draft.keep()?;
        Ok(outcome)
    }

    fn say_all(lines: Vec<String>, title: &str) {
        if !lines.is_empty() && !title.is_empty() {
            say(title);
        }
        lines.into_iter().for_each(say);
    }

    /// What the prompt says, plain and as it is shown: `demo @43 (+3 unsynced)> `.
    pub fn prompt(&self, color: bool) -> (String, String) {
        let dir = &self.site.dir;
        let name = dir.file_name().unwrap_or(dir.as_os_str()).to_string_lossy();
        let Some(db) = &self.open else {
            let state = if self.lab.as_ref().is_some_and(Lab::has_crashed) { "crashed" } else { "not open" };
            let write = |color: bool| format!("{name} {}> ", paint(color, LOSS, state));
            return (write(false), write(color));
        };
        let (visible, unsynced) = (db.visible_lsn(), unsynced(db));
        let write = |color: bool| {
            let mut prompt = format!("{name} @{visible}");
            if unsynced > 0 {
                prompt += &format!(" ({} unsynced)", paint(color, LOSS, &format!("+{unsynced}")));
            }
            if let Some(batch) = &self.batch {
                prompt += &format!(" batch of {}", batch.len());
            }
            prompt + "> "
        };
        (write(false), write(color))
    }

    /// Ends the session. An open batch is a failure, because it was not written.
    pub fn finish(&mut self) -> Result<(), Failure> {
        match self.batch.take() {
            Some(batch) if !batch.is_empty() => Err(Failure::Usage(format!(
                "a batch was not committed: its operations ({}) were dropped",
                batch.len()
            ))),
            _ => Ok(()),
        }
    }

    /// Before the files are looked at: lets them prove what is durable already, as the store does by itself when it
    /// falls idle. What is not durable stays so.
    pub fn settle(&self) {
        let Some(db) = &self.open else { return };
        match unsynced(db) {
            // A store that takes no more writes is looked at as it is.
            0 => drop(db.mark()),
            unsynced => {
                self.app.globals.say(format_args!("records that are not synced are left out: {unsynced}"));
            }
        }
    }
}

/// How many LSNs a power cut would take.
fn unsynced(db: &Db) -> u64 {
    db.visible_lsn().distance_from(db.durable_lsn())
}
