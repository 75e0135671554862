//! The forms of an answer: table, plain, JSON, CSV, raw; redaction; colours; binary content in each of them.

use crate::support::Place;

fn binary() -> Place {
    let place = Place::with(&[("a", "1"), ("b c", "{\"x\": \"y\"}")]);
    place.ok(&["put", "demo", "--escaped", r"k\xff", r"v\x00\n\\"]);
    place
}

#[test]
fn rows_in_each_form() {
    let place = binary();
    let scan = |format: &str, expected: &str| place.says(&["scan", "demo", "-f", format], expected);
    scan("plain", "a\t1\nb c\t{\"x\": \"y\"}\nk\\xff\tv\\x00\\n\\\\\n");
    scan("auto", "a\t1\nb c\t{\"x\": \"y\"}\nk\\xff\tv\\x00\\n\\\\\n");
    scan("table", "key    value\na      1\n\"b c\"  '{\"x\": \"y\"}'\nk\\xff  v\\x00\\n\\\\\n");
    scan(
        "json",
        concat!(
            "{\"key\":\"a\",\"value\":\"1\"}\n",
            "{\"key\":\"b c\",\"value\":\"{\\\"x\\\": \\\"y\\\"}\"}\n",
            "{\"key_base64\":\"a/8=\",\"value\":\"v\\u0000\\n\\\\\"}\n",
        ),
    );
    let csv = place.ok(&["scan", "demo", "-f", "csv"]).out;
    assert_eq!(csv, b"key,value\na,1\nb c,\"{\"\"x\"\": \"\"y\"\"}\"\nk\xff,\"v\0\n\\\"\n");
    assert_eq!(place.ok(&["scan", "demo", "-f", "raw"]).out, b"a1b c{\"x\": \"y\"}k\xffv\0\n\\");
}

#[test]
fn a_value_in_each_form() {
    let place = binary();
    let get = |format: &str, expected: &str| place.says(&["get", "demo", "b c", "-f", format], expected);
    get("plain", "{\"x\": \"y\"}\n");
    get("table", "'{\"x\": \"y\"}'\n");
    get("json", "{\"key\":\"b c\",\"value\":\"{\\\"x\\\": \\\"y\\\"}\"}\n");
    get("csv", "key,value\nb c,\"{\"\"x\"\": \"\"y\"\"}\"\n");
    get("raw", "{\"x\": \"y\"}");
}

#[test]
fn records_in_each_form() {
    let place = binary();
    let count = |format: &str, expected: &str| place.says(&["count", "demo", "-f", format], expected);
    count("plain", "3\n");
    count("raw", "3\n");
    count("table", "count  3\n");
    count("json", "{\"count\":3}\n");
    count("csv", "count\n3\n");
    let put = place.ok(&["put", "demo", "a", "2", "-f", "json"]).json();
    assert!(put[0]["lsn"].as_u64().unwrap() > 3, "{put:?}");
    assert!(place.ok(&["del", "demo", "a", "-f", "json"]).json()[0]["lsn"].is_u64());
    place.says(&["keyspaces", "demo", "-f", "json"], "{\"keyspace\":\"default\"}\n");
}

#[test]
fn redaction_shows_lengths_everywhere() {
    let place = Place::with(&[("secret-key", "secret-value")]);
    for format in ["plain", "table", "json", "csv", "raw"] {
        for args in [&["scan", "demo"][..], &["get", "demo", "secret-key"], &["log", "demo"]] {
            let args = [args, &["--redact", "-f", format]].concat();
            let text = place.ok(&args).text();
            assert!(!text.contains("secret") && text.contains("[12 bytes]"), "{args:?}: {text}");
        }
    }
    place.fails(&["log", "demo", "--redact", "--hex"], 2, "usage");
    let text = place.ok(&["export", "demo", "--redact"]).text();
    assert_eq!(text, "{\"key\":\"[10 bytes]\",\"value\":\"[12 bytes]\"}\n");
    let script = b".trace on\nput secret-key secret-value\n.format table\nlog\n";
    let ran = place.run_with(&["shell", "demo", "--redact"], script);
    assert!(!format!("{ran:?}").contains("secret"), "{ran:?}");
}

#[test]
fn colours_only_when_asked_for_or_on_a_terminal() {
    let place = Place::with(&[("a", "1")]);
    let scan = |options: &[&str]| place.ok(&[&["scan", "demo", "-f", "table"], options].concat()).text();
    assert!(!scan(&[]).contains('\x1b'));
    assert!(!scan(&["--color", "never"]).contains('\x1b'));
    assert!(scan(&["--color", "always"]).contains("\x1b[1mkey"));
}

#[test]
fn quiet_and_verbose() {
    let place = Place::new();
    assert_eq!(place.ok(&["-q", "put", "demo", "a", "1"]).err, "");
    let verbose = place.ok(&["-v", "get", "demo", "a"]).err;
    assert!(verbose.starts_with("forelog: opened at LSN "), "{verbose}");
}

#[test]
fn columns_are_aligned_and_a_wide_cell_moves_only_its_own_row() {
    let wide = "w".repeat(60);
    let place = Place::with(&[("a", "1"), ("é", "2"), (wide.as_str(), "3")]);
    let text = place.ok(&["scan", "demo", "-f", "table"]).text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1], format!("a{}  1", " ".repeat(55)));
    assert_eq!(lines[2], format!("{wide}  3"));
    assert_eq!(lines[3], format!("é{}  2", " ".repeat(55)));
}
