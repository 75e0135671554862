//! What a command of the shell is: its name, what it takes, what it does. The commands themselves are in `table.rs`.
//!
//! A [`Verb`] is all that is known about a command. Parsing, hints, completion and `.help` are made from it, and a test
//! compares `docs/CLI.md` with it, so they cannot contradict each other.

use super::line::Word;
use super::session::Session;
use super::table::VERBS;
use crate::failure::{Failure, Outcome};
use crate::output::signs;
use crate::suggest::did_you_mean;

/// A command of the shell.
pub struct Verb {
    /// Its name; settings begin with a dot.
    pub name: &'static str,
    /// What it takes, in this order.
    pub args: &'static [Arg],
    /// What it takes in any place.
    pub options: &'static [Opt],
    /// What it does, in one line.
    pub about: &'static str,
    /// True if running it again, for `.last`, changes nothing.
    pub reads: bool,
    /// Does it.
    pub run: fn(&mut Session<'_>, &Call) -> Result<Outcome, Failure>,
}

/// Something that stands in its place.
pub struct Arg {
    /// Its name, in capitals.
    pub name: &'static str,
    /// What it is, for completion.
    pub kind: Kind,
    /// True if it may be left out.
    pub optional: bool,
}

/// Something that has a name.
pub struct Opt {
    /// Its name without the dashes.
    pub name: &'static str,
    /// What follows it, if anything does.
    pub value: Option<Arg>,
    /// What it does, in one line.
    pub about: &'static str,
}

/// What an argument is.
#[derive(Clone, Copy)]
pub enum Kind {
    /// A key, which is likely to exist.
    Key,
    /// Any bytes.
    Content,
    /// A number.
    Number,
    /// The name of a keyspace.
    Keyspace,
    /// A file.
    File,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// The name of a command.
    Command,
}

impl Verb {
    /// The command of this name.
    pub fn find(name: &[u8]) -> Option<&'static Verb> {
        VERBS.iter().find(|verb| verb.name.as_bytes() == name)
    }

    /// True for a setting of the shell, false for a command on the store.
    pub fn is_setting(&self) -> bool {
        self.name.starts_with('.')
    }

    /// What it takes, but for the first arguments: `KEY VALUE [--keyspace NAME]`.
    pub fn syntax(&self, without: usize) -> String {
        let args = self.args.iter().skip(without).map(Arg::usage);
        let options = self.options.iter().map(|option| format!("[{}]", option.usage()));
        args.chain(options).collect::<Vec<_>>().join(" ")
    }

    /// Its name and its arguments; an ellipsis stands for its options.
    pub fn brief(&self) -> String {
        let mut words = vec![self.name.to_owned()];
        words.extend(self.args.iter().map(Arg::usage));
        words.extend((!self.options.is_empty()).then(|| signs("…").into_owned()));
        words.join(" ")
    }

    /// Its name and what it takes.
    pub fn usage(&self) -> String {
        format!("{} {}", self.name, self.syntax(0)).trim_end().to_owned()
    }

    /// The option of this name.
    pub fn option(&self, name: &str) -> Option<&'static Opt> {
        self.options.iter().find(|option| option.name == name)
    }

    fn misuse(&self, what: &str) -> Failure {
        Failure::Usage(format!("{what} (usage: {})", self.usage()))
    }
}

impl Arg {
    /// Its name, in brackets if it may be left out.
    fn usage(&self) -> String {
        if self.optional { format!("[{}]", self.name) } else { self.name.to_owned() }
    }
}

impl Opt {
    /// Its name and what follows it.
    pub fn usage(&self) -> String {
        match &self.value {
            Some(value) => format!("--{} {}", self.name, value.name),
            None => format!("--{}", self.name),
        }
    }
}

/// What a command was given.
#[derive(Debug, Default)]
pub struct Call {
    args: Vec<Vec<u8>>,
    options: Vec<(&'static str, Vec<u8>)>,
}

impl Call {
    /// The argument in this place, or nothing if it was left out. One that must be there always is.
    pub fn arg(&self, index: usize) -> &[u8] {
        self.args.get(index).map(Vec::as_slice).unwrap_or_default()
    }

    /// The argument in this place as text, if it was given.
    pub fn text(&self, index: usize) -> Result<Option<&str>, Failure> {
        self.args.get(index).map(|bytes| as_text("the argument", bytes)).transpose()
    }

    /// What was given behind an option.
    pub fn value(&self, option: &str) -> Option<&[u8]> {
        self.options.iter().find(|(name, _)| *name == option).map(|(_, value)| value.as_slice())
    }

    /// What was given behind an option, as text.
    pub fn value_text(&self, option: &str) -> Result<Option<&str>, Failure> {
        self.value(option).map(|value| as_text(option, value)).transpose()
    }

    /// The number that was given behind an option.
    pub fn number(&self, option: &str) -> Result<Option<u64>, Failure> {
        let Some(text) = self.value_text(option)? else { return Ok(None) };
        let number =
            text.parse().map_err(|_| Failure::Usage(format!("--{option}: {text:?} is not a number")))?;
        Ok(Some(number))
    }

    /// True if an option was given.
    pub fn flag(&self, option: &str) -> bool {
        self.value(option).is_some()
    }
}

fn as_text<'a>(what: &str, bytes: &'a [u8]) -> Result<&'a str, Failure> {
    std::str::from_utf8(bytes).map_err(|_| Failure::Usage(format!("{what} must be UTF-8 here")))
}

/// Reads a line: which command, with what. `None` for a blank line and for a comment.
pub fn parse(words: &[Word]) -> Result<Option<(&'static Verb, Call)>, Failure> {
    let Some((first, rest)) = words.split_first() else { return Ok(None) };
    if first.bytes.starts_with(b"#") && !first.quoted {
        return Ok(None);
    }
    let verb = Verb::find(&first.bytes).ok_or_else(|| unknown(&first.bytes))?;
    let mut call = Call::default();
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        match word.option().filter(|_| !verb.options.is_empty()) {
            None => call.args.push(word.bytes.clone()),
            Some(name) => {
                let names = verb.options.iter().map(|option| option.name);
                let option = verb.option(name).ok_or_else(|| {
                    verb.misuse(&format!("there is no option --{name}{}", did_you_mean(name, names)))
                })?;
                let value = match &option.value {
                    None => Vec::new(),
                    Some(value) => match rest.next() {
                        Some(word) => word.bytes.clone(),
                        None => return Err(verb.misuse(&format!("--{name} needs {}", value.name))),
                    },
                };
                call.options.push((option.name, value));
            }
        }
    }
    if let Some(missing) = verb.args.iter().skip(call.args.len()).find(|arg| !arg.optional) {
        return Err(verb.misuse(&format!("{} is missing", missing.name)));
    }
    if call.args.len() > verb.args.len() {
        return Err(verb.misuse("too many words: put quotes around spaces"));
    }
    Ok(Some((verb, call)))
}

/// What is said about a word that is no command.
pub fn unknown(word: &[u8]) -> Failure {
    let word = String::from_utf8_lossy(word);
    // What other shells call it.
    let ours = match &*word {
        "exit" | "bye" | ".exit" => ".quit",
        "set" => "put",
        "delete" | "remove" | "rm" => "del",
        "list" | "ls" | "range" => "scan",
        other => other,
    };
    let hint = did_you_mean(ours, VERBS.iter().map(|verb| verb.name));
    let hint = if hint.is_empty() { "; .help names them all".to_owned() } else { hint };
    Failure::Usage(format!("there is no command {word:?}{hint}"))
}

#[cfg(test)]
mod tests {
    //! Shows how the table reads lines, and what is said about those that it does not take.
    use super::super::line::split;
    use super::*;

    fn call(line: &str) -> Result<Option<(&'static Verb, Call)>, String> {
        parse(&split(line.as_bytes()).unwrap()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn arguments_and_options() {
        let (verb, call) = call(r#"put --keyspace users a "--keyspace""#).unwrap().unwrap();
        assert_eq!(verb.name, "put");
        assert_eq!((call.arg(0), call.arg(1)), (&b"a"[..], &b"--keyspace"[..]));
        assert_eq!(call.value_text("keyspace").unwrap(), Some("users"));
        assert!(!call.flag("reverse"));
    }

    #[test]
    fn nothing_to_do() {
        assert!(call("  ").unwrap().is_none());
        assert!(call("# put a 1").unwrap().is_none());
    }

    #[test]
    fn mistakes() {
        let check = |line: &str, expected: &str| match call(line) {
            Err(message) => assert_eq!(message, expected),
            Ok(_) => panic!("{line}"),
        };
        check("pt a 1", r#"there is no command "pt"; did you mean "put"?"#);
        check("exit", r#"there is no command "exit"; did you mean ".quit"?"#);
        check("xyzzy", r#"there is no command "xyzzy"; .help names them all"#);
        check("get", "KEY is missing (usage: get KEY [--keyspace NAME])");
        check("get a b", "too many words: put quotes around spaces (usage: get KEY [--keyspace NAME])");
        check(
            "count --prefx a",
            "there is no option --prefx; did you mean \"prefix\"? (usage: count [--prefix P] [--keyspace NAME])",
        );
        check("count --prefix", "--prefix needs P (usage: count [--prefix P] [--keyspace NAME])");
    }

    #[test]
    fn numbers() {
        let (_, call) = call("scan --limit x").unwrap().unwrap();
        assert_eq!(call.number("limit").unwrap_err().to_string(), "--limit: \"x\" is not a number");
    }

    #[test]
    fn the_table_is_in_order() {
        for verb in VERBS {
            assert!(verb.about.len() <= 60, "{}", verb.name);
            assert_eq!(VERBS.iter().filter(|other| other.name == verb.name).count(), 1);
            assert!(
                verb.args.iter().map(|arg| arg.optional).is_sorted(),
                "{}: optional ones last",
                verb.name
            );
        }
    }
}
