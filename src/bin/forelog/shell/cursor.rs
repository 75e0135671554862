//! What stands before the cursor, and what could come there: the ground of completion and hints.

use super::line::{Word, split};
use super::table::VERBS;
use super::verb::{Kind, Verb};
use crate::escape::{Flaw, unescape};
use crate::output::signs;

/// A longer hint is cut.
const MAX_HINT: usize = 50;

/// A line up to the cursor.
pub struct Cursor {
    /// The words that are finished.
    words: Vec<Word>,
    /// The word that is being typed, as bytes; empty behind a space.
    pub partial: Vec<u8>,
    /// Where that word begins in the line, its quote included.
    pub at: usize,
    /// True in quotes: such a word is content, whatever it begins with.
    quoted: bool,
}

/// What could come at the cursor.
#[derive(Clone, Copy)]
pub enum Place {
    /// A command.
    Command,
    /// An option of this command.
    Option(&'static Verb),
    /// Content of this kind.
    Content(Kind),
}

impl Cursor {
    /// Looks at a line up to the cursor. `None` where it cannot be read.
    pub fn new(line: &str) -> Option<Cursor> {
        let bytes = line.as_bytes();
        match split(bytes) {
            Ok(mut words) if line.ends_with(|last| last != ' ' && last != '\t') => {
                let last = words.pop()?;
                // Nothing can be added to a word whose quote is closed.
                (!last.quoted).then_some(Cursor { words, partial: last.bytes, at: last.at, quoted: false })
            }
            Ok(words) => Some(Cursor { words, partial: Vec::new(), at: line.len(), quoted: false }),
            Err(Flaw::OpenQuote(at)) => {
                let words = split(&bytes[..at]).ok()?;
                Some(Cursor { words, partial: unescape(&bytes[at + 1..]).ok()?, at, quoted: true })
            }
            Err(_) => None,
        }
    }

    /// What could come here.
    pub fn place(&self) -> Option<Place> {
        let Some((verb, args, pending)) = self.progress() else {
            return self.words.is_empty().then_some(Place::Command);
        };
        if let Some(kind) = pending {
            return Some(Place::Content(kind));
        }
        if self.partial.starts_with(b"--") && !self.quoted {
            return Some(Place::Option(verb));
        }
        match verb.args.get(args) {
            Some(arg) => Some(Place::Content(arg.kind)),
            None => Some(Place::Option(verb)),
        }
    }

    /// What stands behind an option, if it does.
    pub fn value_of(&self, option: &str) -> Option<&[u8]> {
        let at = self.words.iter().position(|word| word.option() == Some(option))?;
        self.words.get(at + 1).map(|word| word.bytes.as_slice())
    }

    /// The syntax of what is still to come, and how much of it may be taken over as text.
    pub fn hint(&self) -> Option<Hint> {
        let name = std::str::from_utf8(&self.partial).ok()?;
        match self.progress() {
            None if self.words.is_empty() && !name.is_empty() => match Verb::find(&self.partial) {
                Some(verb) => Hint::syntax(" ", &verb.syntax(0)),
                None => {
                    let mut candidates = VERBS.iter().filter_map(|verb| verb.name.strip_prefix(name));
                    let rest = candidates.next().filter(|_| candidates.next().is_none())?;
                    Some(Hint { text: rest.to_owned(), is_text: true })
                }
            },
            None => None,
            Some((_, _, Some(_))) => None,
            Some((verb, args, None)) if name.is_empty() => Hint::syntax("", &verb.syntax(args)),
            Some(_) if name.starts_with("--") => None,
            Some((verb, args, None)) => Hint::syntax(" ", &verb.syntax(args + 1)),
        }
    }

    /// The command, how many arguments it has, and what the option before the cursor waits for.
    fn progress(&self) -> Option<(&'static Verb, usize, Option<Kind>)> {
        let (first, rest) = self.words.split_first()?;
        let verb = Verb::find(&first.bytes)?;
        let (mut args, mut pending) = (0, None);
        for word in rest {
            if pending.take().is_some() {
                continue;
            }
            match word.option().and_then(|name| verb.option(name)) {
                Some(option) => pending = option.value.as_ref().map(|value| value.kind),
                None => args += 1,
            }
        }
        Some((verb, args, pending))
    }
}

/// What is shown behind the cursor.
pub struct Hint {
    pub text: String,
    /// True for the rest of a name, false for a description.
    pub is_text: bool,
}

impl Hint {
    fn syntax(before: &str, syntax: &str) -> Option<Hint> {
        if syntax.is_empty() {
            return None;
        }
        let mut text = format!("{before}{syntax}");
        if let Some(end) = text.get(..MAX_HINT).and_then(|start| start.rfind(" [")) {
            text.truncate(end);
            text.push_str(&signs(" …"));
        }
        Some(Hint { text, is_text: false })
    }
}

#[cfg(test)]
mod tests {
    //! Shows what is expected and hinted at each place of a line.
    use proptest::prelude::*;

    use super::*;

    fn check(line: &str, place: &str, hint: &str) {
        let cursor = Cursor::new(line);
        let found = match cursor.as_ref().and_then(Cursor::place) {
            None => "nothing",
            Some(Place::Command) => "command",
            Some(Place::Option(_)) => "option",
            Some(Place::Content(Kind::Key)) => "key",
            Some(Place::Content(Kind::Keyspace)) => "keyspace",
            Some(Place::Content(_)) => "content",
        };
        let text = cursor.as_ref().and_then(Cursor::hint).map(|hint| hint.text).unwrap_or_default();
        assert_eq!((found, text.as_str()), (place, hint), "{line}");
    }

    #[test]
    fn places_and_hints() {
        check("", "command", "");
        check("ge", "command", "t");
        check("get", "command", " KEY [--keyspace NAME]");
        check("get ", "key", "KEY [--keyspace NAME]");
        check("get us", "key", " [--keyspace NAME]");
        check("put a ", "content", "VALUE [--keyspace NAME]");
        check("put --keyspace ", "keyspace", "");
        check("put --keyspace users ", "key", "KEY VALUE [--keyspace NAME]");
        check("put --ke", "option", "");
        check("put \"a b", "key", " VALUE [--keyspace NAME]");
        check("put \"a b\"", "nothing", "");
        check("put \"a b\" ", "content", "VALUE [--keyspace NAME]");
        check("scan ", "option", "[--prefix P] [--from A] [--to B] [--limit N] …");
        check("xyzzy ", "nothing", "");
        check(r"get \q", "nothing", "");
    }

    proptest! {
        #[test]
        fn any_line_has_an_answer(line in r#"(put|get|scan|\.help|[a-z.]{0,3})([ "'\\x\-a-z0-9]|\PC){0,20}"#) {
            let cursor = Cursor::new(&line);
            let _ = cursor.as_ref().and_then(Cursor::place);
            let _ = cursor.as_ref().and_then(Cursor::hint);
            prop_assert!(cursor.is_none_or(|cursor| line.is_char_boundary(cursor.at)));
        }
    }

    #[test]
    fn the_word_under_the_cursor() {
        for (line, at, partial) in
            [("get us", 4, "us"), ("get \"a b", 4, "a b"), ("get ", 4, ""), ("", 0, "")]
        {
            let cursor = Cursor::new(line).unwrap();
            assert_eq!((cursor.at, cursor.partial.as_slice()), (at, partial.as_bytes()), "{line}");
        }
    }
}
