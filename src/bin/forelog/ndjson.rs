//! One line of an import: a JSON object with a key, a value, and the keyspace if it is not the default one.
//!
//! `export` writes such lines through the same code as every other answer (`output/rows.rs`); this is the way back.

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
    Ok(Entry {
        key: content("key", fields.key, fields.key_base64)?,
        value: content("value", fields.value, fields.value_base64)?,
        keyspace: fields.keyspace,
    })
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

    fn check(line: &str, expected: Result<(&[u8], &[u8], Option<&str>), &str>) {
        let entry = parse(line.as_bytes());
        match (&entry, expected) {
            (Ok(entry), Ok((key, value, keyspace))) => {
                assert_eq!(
                    (&*entry.key, &*entry.value, entry.keyspace.as_deref()),
                    (key, value, keyspace),
                    "{line}"
                );
            }
            (Err(failure), Err(part)) => assert!(failure.to_string().contains(part), "{line}: {failure}"),
            _ => panic!("{line}: {entry:?}"),
        }
    }

    #[test]
    fn lines() {
        check(r#"{"key":"a","value":"1"}"#, Ok((b"a", b"1", None)));
        check(r#" {"value": "1", "key": "a"} "#, Ok((b"a", b"1", None)));
        check(r#"{"key":"","value":"\u0000\n"}"#, Ok((b"", b"\0\n", None)));
        check(r#"{"key_base64":"/w==","value":"","keyspace":"users"}"#, Ok((b"\xff", b"", Some("users"))));
        check("{", Err("EOF"));
        check(r#"["a",null,"1",null,null]"#, Err("a JSON object is missing"));
        check(r#"{"key":"a"}"#, Err("value or value_base64 is missing"));
        check(r#"{"key":"a","key_base64":"/w==","value":""}"#, Err("exclude each other"));
        check(r#"{"key":"a","value":1}"#, Err("expected a string (column 18)"));
        check(r#"{"key":"a","value":"","ttl":1}"#, Err("unknown field `ttl`"));
        check(r#"{"key_base64":"?","value":""}"#, Err("key_base64 is not base64"));
        check(r#"{"key":"a","value":""} x"#, Err("trailing characters"));
    }
}
