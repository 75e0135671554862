//! What the line editor asks while a line is typed: completion, hints, colours, and whether the line is whole.
//!
//! All that is known about commands comes from the table, all that is known about keys from the store.

use std::borrow::Cow;

use forelog::{Db, Keyspace};
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::{self, Hinter};
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper, Result};

use super::cursor::{Cursor, Hint, Place};
use super::line::split;
use super::table::VERBS;
use super::verb::{Kind, Verb};
use crate::escape::{Flaw, word};
use crate::output::{COMMAND, FAINT, paint};

/// More keys than this are not offered.
const MAX_KEYS: usize = 50;

/// Answers the editor's questions.
pub struct Assistant {
    /// What is open, if anything is.
    open: Option<(Keyspace, Db)>,
    /// Keys are content, which `--redact` hides.
    offer_keys: bool,
    color: bool,
    files: FilenameCompleter,
    /// In the lab, the files of its disk; there are no others.
    files_of_lab: Option<Vec<String>>,
}

impl Assistant {
    pub fn new(offer_keys: bool, color: bool) -> Assistant {
        Assistant { open: None, offer_keys, color, files: FilenameCompleter::new(), files_of_lab: None }
    }

    /// From now on these keys are offered, and in the lab these files.
    pub fn follow(&mut self, open: Option<(Keyspace, Db)>, files_of_lab: Option<Vec<String>>) {
        (self.open, self.files_of_lab) = (open, files_of_lab);
    }

    /// Keys of the keyspace of this name, if there is one; without a name, of the current one.
    fn keys(&self, keyspace: Option<&[u8]>, prefix: &[u8]) -> Vec<String> {
        let Some((space, db)) = self.open.as_ref().filter(|_| self.offer_keys) else { return Vec::new() };
        let named =
            keyspace.map(|name| std::str::from_utf8(name).ok().and_then(|name| db.find_keyspace(name)));
        let Some(space) = named.unwrap_or_else(|| Some(space.clone())) else { return Vec::new() };
        space.prefix(prefix).take(MAX_KEYS).map(|entry| word(entry.key())).collect()
    }

    /// Words that begin with what was typed, as they are written.
    fn candidates(&self, place: Place, cursor: &Cursor) -> Vec<String> {
        let partial = cursor.partial.as_slice();
        let fitting = |names: &mut dyn Iterator<Item = String>| {
            names.filter(|name| name.as_bytes().starts_with(partial)).collect::<Vec<_>>()
        };
        match place {
            Place::Command | Place::Content(Kind::Command) => {
                fitting(&mut VERBS.iter().map(|verb| verb.name.to_owned()))
            }
            Place::Option(verb) => {
                fitting(&mut verb.options.iter().map(|option| format!("--{}", option.name)))
            }
            Place::Content(Kind::Key) => self.keys(cursor.value_of("keyspace"), partial),
            Place::Content(Kind::Keyspace) => {
                let open = self.open.iter();
                fitting(&mut open.flat_map(|(_, db)| db.keyspaces()))
            }
            Place::Content(Kind::Choice(names)) => fitting(&mut names.iter().map(|name| (*name).to_owned())),
            Place::Content(Kind::File) => fitting(&mut self.files_of_lab.iter().flatten().cloned()),
            Place::Content(Kind::Content | Kind::Number) => Vec::new(),
        }
    }
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> Result<(usize, Vec<Pair>)> {
        let Some(cursor) = Cursor::new(&line[..pos]) else { return Ok((pos, Vec::new())) };
        let Some(place) = cursor.place() else { return Ok((pos, Vec::new())) };
        if matches!(place, Place::Content(Kind::File)) && self.files_of_lab.is_none() {
            return self.files.complete_path(line, pos);
        }
        let mut candidates = self.candidates(place, &cursor);
        if let [only] = candidates.as_mut_slice() {
            only.push(' ');
        }
        let pair = |text: String| Pair { display: text.trim_end().to_owned(), replacement: text };
        Ok((cursor.at, candidates.into_iter().map(pair).collect()))
    }
}

impl hint::Hint for Hint {
    fn display(&self) -> &str {
        &self.text
    }

    fn completion(&self) -> Option<&str> {
        self.is_text.then_some(&self.text)
    }
}

impl Hinter for Assistant {
    type Hint = Hint;

    fn hint(&self, line: &str, pos: usize, _: &Context<'_>) -> Option<Hint> {
        if pos < line.len() { None } else { Cursor::new(line)?.hint() }
    }
}

impl Highlighter for Assistant {
    /// The command in bold once it is one.
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        let start = line.len() - line.trim_start().len();
        let end = line[start..].find([' ', '\t']).map_or(line.len(), |length| start + length);
        let name = &line[start..end];
        if Verb::find(name.as_bytes()).is_none() {
            return Cow::Borrowed(line);
        }
        let name = paint(self.color, COMMAND, name);
        Cow::Owned(format!("{}{name}{}", &line[..start], &line[end..]))
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(paint(self.color, FAINT, hint))
    }

    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        self.color
    }
}

impl Validator for Assistant {
    /// An open quote goes on to the next line.
    fn validate(&self, context: &mut ValidationContext<'_>) -> Result<ValidationResult> {
        Ok(match split(context.input().as_bytes()) {
            Err(Flaw::OpenQuote(_)) => ValidationResult::Incomplete,
            _ => ValidationResult::Valid(None),
        })
    }
}

impl Helper for Assistant {}
