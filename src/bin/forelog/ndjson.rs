//! One line of an import: a JSON object with a key, a value, and the keyspace if it is not the default one.
//!
//! `export` writes such lines through the same code as every other answer (`output/rows.rs`); this is the way back.

use forelog::Error;
use forelog::format::MAX_KEY_BYTES;
use serde::Deserialize;

use crate::failure::Failure;
use crate::output::from_base64;

/// What a line sets.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
    /// The keyspace, if the line names one.
    pub keyspace: Option<String>,
}

/// The fields of a line. An unknown one is refused: what is not understood would be lost without a word.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    key: Option<String>,
    key_base64: Option<String>,
    value: Option<String>,
    value_base64: Option<String>,
    keyspace: Option<String>,
}

/// Reads a line.
pub fn parse(line: &[u8]) -> Result<Entry, Failure> {
    // serde would also take the fields of an array, in their order.
    if !line.trim_ascii_start().starts_with(b"{") {
        return Err(Failure::Usage("a JSON object is missing".to_owned()));
    }
    let fields: Fields = serde_json::from_slice(line).map_err(|error| Failure::Usage(reason(&error)))?;
    let key = content("key", fields.key, fields.key_base64)?;
    // Looked at here, because a batch does not say which of its lines is at fault.
    check_length("key", key.len())?;
    if let Some(name) = &fields.keyspace {
        check_length("keyspace's name", name.len())?;
        if name.is_empty() {
            return Err(Failure::Usage("a keyspace needs a name".to_owned()));
        }
    }
    let value = content("value", fields.value, fields.value_base64)?;
    Ok(Entry { key, value, keyspace: fields.keyspace })
}

fn check_length(what: &'static str, bytes: usize) -> Result<(), Failure> {
    if bytes <= MAX_KEY_BYTES {
        return Ok(());
    }
    let (size, limit) = (bytes as u64, MAX_KEY_BYTES as u64);
    Err(Failure::Store(Error::TooLarge { what, size, limit }))
}

fn content(name: &str, text: Option<String>, base64: Option<String>) -> Result<Vec<u8>, Failure> {
    match (text, base64) {
        (Some(text), None) => Ok(text.into_bytes()),
        (None, Some(base64)) => {
            from_base64(&base64).ok_or_else(|| Failure::Usage(format!("{name}_base64 is not base64")))
        }
        (None, None) => Err(Failure::Usage(format!("{name} or {name}_base64 is missing"))),
        (Some(_), Some(_)) => Err(Failure::Usage(format!("{name} and {name}_base64 exclude each other"))),
    }
}

/// What serde says, without its line number, which is always 1.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    format!("{what} (column {})", error.column())
}

#[cfg(test)]
mod tests {
    //! Shows which lines are taken, and how the others are named.
    use super::*;

    fn takes(line: &str, key: &[u8], value: &[u8], keyspace: Option<&str>) {
        let expected =
            Entry { key: key.to_vec(), value: value.to_vec(), keyspace: keyspace.map(str::to_owned) };
        assert_eq!(parse(line.as_bytes()).unwrap(), expected, "{line}");
    }

    fn refuses(line: &str, part: &str) {
        let message = parse(line.as_bytes()).unwrap_err().to_string();
        assert!(message.contains(part), "{line}: {message}");
    }

    #[test]
    fn lines() {
        takes(r#"{"key":"a","value":"1"}"#, b"a", b"1", None);
        takes(r#" {"value": "1", "key": "a"} "#, b"a", b"1", None);
        takes(r#"{"key":"","value":"\u0000\n"}"#, b"", b"\0\n", None);
        takes(r#"{"key_base64":"/w==","value":"","keyspace":"users"}"#, b"\xff", b"", Some("users"));
        refuses("{", "EOF");
        refuses(r#"["a",null,"1",null,null]"#, "a JSON object is missing");
        refuses(r#"{"key":"a"}"#, "value or value_base64 is missing");
        refuses(r#"{"key":"a","key_base64":"/w==","value":""}"#, "exclude each other");
        refuses(r#"{"key":"a","value":1}"#, "expected a string (column 20)");
        refuses(r#"{"key":"a","value":"","ttl":1}"#, "unknown field `ttl`");
        refuses(r#"{"key_base64":"?","value":""}"#, "key_base64 is not base64");
        refuses(r#"{"key":"a","value":""} x"#, "trailing characters");
    }
}
