//! A line of the shell's language, split into words. The grammar of a word is in `escape.rs`.

use crate::escape::{Flaw, take_piece};

/// A word, as the bytes that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// True if it stood in quotes: such a word is always content, never the name of an option.
    pub quoted: bool,
    /// Where it begins in the line.
    pub at: usize,
}

impl Word {
    /// The name of the option that this word is, without its dashes.
    pub fn option(&self) -> Option<&str> {
        if self.quoted {
            return None;
        }
        std::str::from_utf8(self.bytes.strip_prefix(b"--")?).ok()
    }
}

/// The words of a line. [`Flaw::OpenQuote`] means that the line goes on in the next one.
pub fn split(line: &[u8]) -> Result<Vec<Word>, Flaw> {
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(is_space) {
            at += 1;
        }
        let Some(first) = line.get(at) else { return Ok(words) };
        let mut word = Word { bytes: Vec::new(), quoted: matches!(first, b'"' | b'\''), at };
        at = if word.quoted {
            take_quoted(line, at, &mut word.bytes)?
        } else {
            take_bare(line, at, &mut word.bytes)?
        };
        words.push(word);
    }
}

fn take_bare(line: &[u8], mut at: usize, bytes: &mut Vec<u8>) -> Result<usize, Flaw> {
    while line.get(at).is_some_and(|byte| !is_space(byte)) {
        at = take_piece(line, at, bytes)?;
    }
    Ok(at)
}

fn take_quoted(line: &[u8], opening: usize, bytes: &mut Vec<u8>) -> Result<usize, Flaw> {
    let mut at = opening + 1;
    loop {
        match line.get(at) {
            None => return Err(Flaw::OpenQuote(opening)),
            Some(byte) if *byte == line[opening] => break,
            // A line that ends in a backslash inside quotes goes on, too: the next line tells what it escapes.
            Some(b'\\') if at + 1 == line.len() => return Err(Flaw::OpenQuote(opening)),
            Some(_) => at = take_piece(line, at, bytes)?,
        }
    }
    match line.get(at + 1) {
        Some(byte) if !is_space(byte) => Err(Flaw::AfterQuote(at + 1)),
        _ => Ok(at + 1),
    }
}

fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    //! Shows how lines are split, and which are refused or unfinished.
    use super::*;

    fn check(line: &str, expected: Result<&[&str], Flaw>) {
        let words = split(line.as_bytes());
        let texts = words.as_ref().map(|words| {
            words.iter().map(|word| std::str::from_utf8(&word.bytes).unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(texts.map_err(|flaw| *flaw), expected.map(<[&str]>::to_vec), "{line}");
    }

    #[test]
    fn words() {
        check("", Ok(&[]));
        check("  put\ta  b ", Ok(&["put", "a", "b"]));
        check(r#"put "a b" 'c "d"'"#, Ok(&["put", "a b", "c \"d\""]));
        check(r#"put k {"a":"b"}"#, Ok(&["put", "k", r#"{"a":"b"}"#]));
        check(r#"put k """#, Ok(&["put", "k", ""]));
        check("put k 'two\nlines'", Ok(&["put", "k", "two\nlines"]));
        check(r#"put k "\x41\n\"""#, Ok(&["put", "k", "A\n\""]));
    }

    #[test]
    fn unfinished_and_refused() {
        check(r#"put "a"#, Err(Flaw::OpenQuote(4)));
        check(r#"put "a\"#, Err(Flaw::OpenQuote(4)));
        check(r#"put "a"b"#, Err(Flaw::AfterQuote(7)));
        check(r"put a\", Err(Flaw::UnknownEscape(5)));
    }

    #[test]
    fn options_are_bare() {
        let words = split(br#"scan --limit "--limit""#).unwrap();
        assert_eq!(words.iter().map(Word::option).collect::<Vec<_>>(), [None, Some("limit"), None]);
    }
}
