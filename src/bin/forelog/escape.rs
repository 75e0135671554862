//! The one escape grammar for bytes as text: what the shell reads, what is printed, and what `--escaped` takes.
//!
//! ```text
//!  word    = bare | '"' { piece } '"' | "'" { piece } "'"
//!  bare    = piece { piece }          no space or tab, and no quote at its beginning
//!  piece   = any character but \      stands for its UTF-8 bytes
//!          | \\ \" \' \n \r \t \0     backslash, quotes, newline, return, tab, NUL
//!          | \xHH                     one byte
//! ```
//!
//! A quote means something only where a word begins, so `{"a":1}` needs none. Inside quotes spaces and line ends stand
//! for themselves. Bytes have two printed forms, and both are read back as the same bytes: [`text`], where nothing
//! else stands on the line or a tab separates it from its neighbours, and [`word`], which is quoted where it must be.
//!
//! Where to read next: `shell/line.rs`, which splits a line into words.

use std::fmt::Write as _;

/// Why a text stands for no bytes: what is wrong, and at which byte of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A backslash with something else than an escape behind it.
    UnknownEscape(usize),
    /// Something else than a space behind a closing quote.
    AfterQuote(usize),
    /// The quote that opened here was not closed: there may be more to come.
    OpenQuote(usize),
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (what, at) = match self {
            Flaw::UnknownEscape(at) => (r#"\ begins none of \\ \" \' \n \r \t \0 \xHH"#, at),
            Flaw::AfterQuote(at) => ("a space is missing after the closing quote", at),
            Flaw::OpenQuote(at) => ("the quote is not closed", at),
        };
        write!(f, "{what} (column {})", at + 1)
    }
}

/// The bytes that a text stands for. Quotes and spaces stand for themselves here.
pub fn unescape(text: &[u8]) -> Result<Vec<u8>, Flaw> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        at = take_piece(text, at, &mut bytes)?;
    }
    Ok(bytes)
}

/// Reads the piece at `at` and says where the next one begins.
pub fn take_piece(text: &[u8], at: usize, bytes: &mut Vec<u8>) -> Result<usize, Flaw> {
    if text[at] != b'\\' {
        bytes.push(text[at]);
        return Ok(at + 1);
    }
    let (byte, length) = match text.get(at + 1) {
        Some(b'n') => (b'\n', 2),
        Some(b'r') => (b'\r', 2),
        Some(b't') => (b'\t', 2),
        Some(b'0') => (0, 2),
        Some(quoted @ (b'\\' | b'"' | b'\'')) => (*quoted, 2),
        Some(b'x') => (hex_byte(text.get(at + 2..at + 4)).ok_or(Flaw::UnknownEscape(at))?, 4),
        _ => return Err(Flaw::UnknownEscape(at)),
    };
    bytes.push(byte);
    Ok(at + length)
}

fn hex_byte(digits: Option<&[u8]>) -> Option<u8> {
    let digits = std::str::from_utf8(digits?).ok()?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(())?;
    u8::from_str_radix(digits, 16).ok()
}

/// Bytes as a text without quotes: for [`unescape`], and for `--escaped` arguments.
pub fn text(bytes: &[u8]) -> String {
    escaped(bytes, None)
}

/// Bytes as one word of the shell's language, in quotes where it needs them, in those that need fewer escapes.
pub fn word(bytes: &[u8]) -> String {
    let needs_quotes = bytes.is_empty()
        || bytes.starts_with(b"\"")
        || bytes.starts_with(b"'")
        || bytes.starts_with(b"--")
        || bytes.contains(&b' ');
    if !needs_quotes {
        return escaped(bytes, None);
    }
    let quote = if bytes.contains(&b'"') && !bytes.contains(&b'\'') { '\'' } else { '"' };
    format!("{quote}{}{quote}", escaped(bytes, Some(quote)))
}

fn escaped(bytes: &[u8], quote: Option<char>) -> String {
    // Most content needs no escape at all.
    let is_plain =
        |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'\\' && Some(char::from(*byte)) != quote;
    if bytes.iter().all(is_plain) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            push_character(&mut out, character, quote);
        }
        chunk.invalid().iter().for_each(|byte| push_hex(&mut out, *byte));
    }
    out
}

fn push_character(out: &mut String, character: char, quote: Option<char>) {
    match character {
        '\\' => out.push_str(r"\\"),
        '\n' => out.push_str(r"\n"),
        '\r' => out.push_str(r"\r"),
        '\t' => out.push_str(r"\t"),
        _ if Some(character) == quote => {
            out.push('\\');
            out.push(character);
        }
        _ if is_printable(character) => out.push(character),
        _ => character.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| push_hex(out, byte)),
    }
}

fn push_hex(out: &mut String, byte: u8) {
    // Writing to a string cannot fail.
    let _ = write!(out, "\\x{byte:02x}");
}

/// False for what a terminal would obey or not show: control characters, spaces other than the plain one, and
/// the invisible characters that change the direction or the joining of text.
fn is_printable(character: char) -> bool {
    let invisible = matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}');
    character == ' ' || !(character.is_control() || character.is_whitespace() || invisible)
}

#[cfg(test)]
mod tests {
    //! Shows the printed forms, that both are read back as the same bytes whatever these are, and what is refused.
    use proptest::prelude::*;

    use super::*;
    use crate::shell::line::split;

    fn check(bytes: &[u8], as_text: &str, as_word: &str) {
        assert_eq!((text(bytes).as_str(), word(bytes).as_str()), (as_text, as_word));
    }

    #[test]
    fn printed_forms() {
        check(b"alice", "alice", "alice");
        check(b"", "", r#""""#);
        check(b"alice smith", "alice smith", r#""alice smith""#);
        check(br#"{"a":1}"#, r#"{"a":1}"#, r#"{"a":1}"#);
        check(br#"{"a": 1}"#, r#"{"a": 1}"#, r#"'{"a": 1}'"#);
        check(br#"it's "so" so"#, r#"it's "so" so"#, r#""it's \"so\" so""#);
        check(b"a\0\n\t\\\xff", r"a\x00\n\t\\\xff", r"a\x00\n\t\\\xff");
        check(b"--limit", "--limit", r#""--limit""#);
        check("é\u{202e}\u{85}".as_bytes(), r"é\xe2\x80\xae\xc2\x85", r"é\xe2\x80\xae\xc2\x85");
    }

    #[test]
    fn refused_texts() {
        for bad in [r"\", r"\q", r"\x", r"\x1", r"\xg0", r"\x+1"] {
            assert_eq!(unescape(bad.as_bytes()), Err(Flaw::UnknownEscape(0)), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_can_be_pasted_back(bytes: Vec<u8>, other: Vec<u8>) {
            prop_assert_eq!(unescape(text(&bytes).as_bytes()).unwrap(), bytes.clone());
            let line = format!("{} {}", word(&bytes), word(&other));
            let words: Vec<Vec<u8>> = split(line.as_bytes()).unwrap().into_iter().map(|word| word.bytes).collect();
            prop_assert_eq!(words, vec![bytes, other]);
        }

        #[test]
        fn the_same_with_text_that_tempts(text in r#"[ "'\\nx0-9a{}:\-]{0,12}"#) {
            let words = split(word(text.as_bytes()).as_bytes()).unwrap();
            prop_assert_eq!(words.len(), 1);
            prop_assert_eq!(&words[0].bytes, text.as_bytes());
        }

        #[test]
        fn any_line_is_split_or_refused(line: Vec<u8>) {
            let _ = split(&line);
        }
    }
}
