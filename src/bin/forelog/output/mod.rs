//! Where answers go, and in which form.
//!
//! | format | rows | contents |
//! | --- | --- | --- |
//! | `table` | aligned columns | words of the shell's language: they can be pasted back |
//! | `plain` | separated by tabs | escaped, without quotes |
//! | `json` | one object a line | UTF-8, otherwise base64 |
//! | `csv` | with a line of names | as they are, in quotes where needed |
//! | `raw` | not separated at all | as they are |
//!
//! `auto` is a table on a terminal and plain otherwise. Answers go to standard output, everything else to standard
//! error: [`say`].

mod cell;
mod rows;

use std::borrow::Cow;
use std::env;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr;

pub use cell::{Cell, Fields, from_base64};
pub use rows::Rows;

use crate::draft::Draft;
use crate::failure::Failure;

/// The form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table on a terminal, plain otherwise.
    #[default]
    Auto,
    /// Aligned columns.
    Table,
    /// Separated by tabs, escaped.
    Plain,
    /// One object a line.
    Json,
    /// Comma-separated, with a line of names.
    Csv,
    /// Contents without any added byte.
    Raw,
}

impl Format {
    /// True for the forms whose rows carry every name: where it comes from is said in each of them.
    pub fn is_for_machines(self) -> bool {
        matches!(self, Format::Json | Format::Csv)
    }

    /// Decides what `auto` is.
    pub fn resolved(self) -> Format {
        match self {
            Format::Auto if io::stdout().is_terminal() => Format::Table,
            Format::Auto => Format::Plain,
            chosen => chosen,
        }
    }
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// True if text for a stream that is, or is not, a terminal is coloured.
    pub fn applies(self, terminal: bool) -> bool {
        match self {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
                terminal && !is_dumb && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        }
    }
}

/// Where answers go, and in which form.
pub struct Output {
    format: Format,
    /// Lengths in place of contents.
    redact: bool,
    color: bool,
    /// A table shows no more rows than this.
    row_limit: Option<usize>,
    sink: Box<dyn Write>,
    name: String,
}

impl Output {
    /// Standard output.
    pub fn stdout(format: Format, color: Color, redact: bool) -> Output {
        let format = format.resolved();
        let color = color.applies(io::stdout().is_terminal());
        let sink = Box::new(io::BufWriter::new(io::stdout()));
        Output { format, redact, color, row_limit: None, sink, name: "standard output".to_owned() }
    }

    /// The same form, to a file.
    pub fn to_file(&self, draft: &Draft) -> Result<Output, Failure> {
        let sink = Box::new(io::BufWriter::new(draft.sink()?));
        let name = draft.path().display().to_string();
        Ok(Output { format: self.format, redact: self.redact, color: false, row_limit: None, sink, name })
    }

    /// The form of the answers; never [`Format::Auto`].
    pub fn format(&self) -> Format {
        self.format
    }

    /// Changes the form.
    pub fn set_format(&mut self, format: Format) {
        self.format = format.resolved();
    }

    /// Changes how many rows a table shows, and says how many it was.
    pub fn set_row_limit(&mut self, limit: Option<usize>) -> Option<usize> {
        std::mem::replace(&mut self.row_limit, limit)
    }

    /// True for lengths in place of contents.
    pub fn redacts(&self) -> bool {
        self.redact
    }

    /// One content alone: the answer of `get`.
    pub fn content(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let cell = Cell::Bytes(bytes);
        let cell = if self.redact { cell.redacted() } else { cell };
        match self.format {
            Format::Raw => self.bytes(&cell.to_bytes()),
            Format::Table => self.line(&cell.to_word()),
            _ => self.line(&cell.to_text()),
        }
    }

    /// An answer of one row with these names: in a table, a line for each.
    pub fn record(&mut self, fields: &[(&'static str, Cell<'_>)]) -> Result<(), Failure> {
        let hidden: Vec<Cell<'_>> =
            fields.iter().map(|(_, cell)| if self.redact { cell.redacted() } else { cell.clone() }).collect();
        let names: Vec<&'static str> = fields.iter().map(|(name, _)| *name).collect();
        match self.format {
            Format::Json => self.json_line(&names, &hidden),
            Format::Csv => {
                self.csv_line(names.iter().map(|name| name.as_bytes()))?;
                self.csv_line(hidden.iter().map(Cell::to_bytes))
            }
            Format::Plain | Format::Raw => self.plain_line(&hidden),
            Format::Table | Format::Auto => {
                let width = names.iter().map(|name| name.width()).max().unwrap_or_default();
                names.iter().zip(&hidden).try_for_each(|(name, cell)| {
                    let name = self.bold(&format!("{name:width$}"));
                    self.line(&format!("{name}  {}", cell.to_word()))
                })
            }
        }
    }

    /// An answer of one row for people, with a line for each name also in plain.
    pub fn card(&mut self, fields: &[(&'static str, Cell<'_>)]) -> Result<(), Failure> {
        if self.format == Format::Table {
            return self.record(fields);
        }
        fields.iter().try_for_each(|(name, cell)| self.plain_line(&[Cell::text(*name), cell.clone()]))
    }

    /// An answer of many rows with these columns.
    pub fn rows(&mut self, columns: &'static [&'static str]) -> Result<Rows<'_>, Failure> {
        Rows::new(self, columns)
    }

    /// A line of text.
    pub fn line(&mut self, line: &str) -> Result<(), Failure> {
        writeln!(self.sink, "{line}").map_err(|source| self.failure(source))
    }

    /// Words of the shell's language, behind an indent.
    pub fn words(&mut self, indent: &str, words: Cell<'_>) -> Result<(), Failure> {
        let words = if self.redact { words.redacted() } else { words };
        self.line(&format!("{indent}{}", words.to_word()))
    }

    /// Says that a table did not show everything.
    pub fn say_cut(&mut self) -> Result<(), Failure> {
        self.flush()?;
        say(signs("… and more: .last shows all of it"));
        Ok(())
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.sink.write_all(bytes).map_err(|source| self.failure(source))
    }

    /// Hands on everything that was written.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.sink.flush().map_err(|source| self.failure(source))
    }

    /// Text in bold, if there are colours.
    pub fn bold(&self, text: &str) -> String {
        paint(self.color, Style::new().bold(), text)
    }

    fn plain_line(&mut self, cells: &[Cell<'_>]) -> Result<(), Failure> {
        let texts: Vec<String> = cells.iter().map(Cell::to_text).collect();
        self.line(&texts.join("\t"))
    }

    fn json_line(&mut self, names: &[&'static str], cells: &[Cell<'_>]) -> Result<(), Failure> {
        let written = cell::write_object(names.iter().copied().zip(cells), &mut self.sink);
        written.and_then(|()| self.sink.write_all(b"\n")).map_err(|source| self.failure(source))
    }

    fn csv_line<T: AsRef<[u8]>>(&mut self, fields: impl Iterator<Item = T>) -> Result<(), Failure> {
        // A writer of the csv crate flushes what is below it, so it gets a buffer of its own.
        let mut writer = csv::Writer::from_writer(Vec::new());
        let line = writer
            .write_record(fields)
            .map_err(io::Error::from)
            .and_then(|()| writer.into_inner().map_err(|error| error.into_error()));
        line.and_then(|line| self.sink.write_all(&line)).map_err(|source| self.failure(source))
    }

    fn failure(&self, source: io::Error) -> Failure {
        Failure::file("write", Path::new(&self.name), source)
    }
}

/// Says something on standard error that is not an answer. If that is closed, nobody wants to hear it.
pub fn say(message: impl Display) {
    // One write for the line: standard error has no buffer, and a reader must not see half an acknowledgement.
    let _ = io::stderr().write_all(format!("{message}\n").as_bytes());
}

/// True if standard output is a pipe that nobody reads any more. Who writes finds that out; who waits must ask.
#[cfg(target_os = "linux")]
pub fn nobody_reads() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let stdout = io::stdout();
    let mut asked = [PollFd::new(&stdout, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    // Where it cannot be asked, the next write tells.
    poll(&mut asked, Some(&now)).is_ok() && asked[0].revents().contains(PollFlags::ERR)
}

/// The next write tells.
#[cfg(not(target_os = "linux"))]
pub fn nobody_reads() -> bool {
    false
}

/// Between the first and the last of some numbers.
pub fn dash() -> char {
    if speaks_unicode() { '–' } else { '-' }
}

/// A line of our own, with the arrows and the ellipsis that this terminal can show. Not for content: that stays as it is.
pub fn signs(line: &str) -> Cow<'_, str> {
    if speaks_unicode() || line.is_ascii() {
        return line.into();
    }
    line.replace('→', "->").replace('←', "<-").replace('…', "...").into()
}

/// Whether the terminal is known to show more than ASCII.
pub fn speaks_unicode() -> bool {
    let of = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let locale = of("LC_ALL").or_else(|| of("LC_CTYPE")).or_else(|| of("LANG")).unwrap_or_default();
    locale.to_ascii_lowercase().replace('-', "").contains("utf8")
}

/// What a power cut would take.
pub const LOSS: Style = AnsiColor::Red.on_default().bold();

/// The name of a command.
pub const COMMAND: Style = Style::new().bold();

/// What is less important than its surroundings.
pub const FAINT: Style = Style::new().dimmed();

/// Text in a style, or as it is.
pub fn paint(color: bool, style: Style, text: &str) -> String {
    if color { format!("{style}{text}{style:#}") } else { text.to_owned() }
}
