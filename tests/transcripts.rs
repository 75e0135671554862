//! Replays the ```console blocks of the documents: what they show is what the binary does.
//!
//! The blocks of one document run one after the other in one empty directory, through `sh`, with the binary on the
//! path. A line that begins with `$ ` is a command (further lines of it begin with `> `); the lines up to the next one
//! are what it prints, on both outputs. `[..]` stands for anything within a line: a time, an id, a duration.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

fn check(document: &str) {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut commands = 0;
    for block in text.split("```console\n").skip(1) {
        let block = block.split("\n```").next().unwrap();
        for step in block.split("$ ").skip(1) {
            let mut lines = step.lines();
            let mut command = lines.next().unwrap().to_owned();
            let mut expected: Vec<&str> = lines.collect();
            while expected.first().is_some_and(|line| line.starts_with("> ")) {
                command.push('\n');
                command.push_str(expected.remove(0).trim_start_matches("> "));
            }
            let printed = run(&command, dir.path());
            compare(document, &command, &expected, &printed);
            commands += 1;
        }
    }
    assert!(commands > 0, "{document} shows no command");
    println!("{document}: {commands} commands");
}

fn run(command: &str, dir: &Path) -> String {
    let bin = Path::new(env!("CARGO_BIN_EXE_forelog")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1\n{command}")])
        .current_dir(dir)
        .env("PATH", path)
        .env("NO_COLOR", "1")
        .env("TZ", "UTC")
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn compare(document: &str, command: &str, expected: &[&str], printed: &str) {
    let mut expected = expected.to_vec();
    while expected.last() == Some(&"") {
        expected.pop();
    }
    let printed: Vec<&str> = printed.lines().map(str::trim_end).collect();
    let same = expected.len() == printed.len() && expected.iter().zip(&printed).all(|(e, p)| matches(e, p));
    assert!(
        same,
        "\n{document}: $ {command}\n--- the document says\n{}\n--- it prints\n{}\n",
        expected.join("\n"),
        printed.join("\n")
    );
}

/// True if `line` is the pattern, with anything for each `[..]`.
fn matches(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.trim_end().split("[..]");
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap()) else { return false };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    rest.is_empty() || last == Some("")
}

#[test]
fn readme() {
    check("README.md");
}

#[test]
fn cli_page() {
    check("docs/CLI.md");
}

#[test]
fn tour() {
    check("docs/guide/tour.md");
}

#[test]
fn after_a_crash() {
    check("docs/guide/crash.md");
}

#[test]
fn a_stale_line_is_noticed() {
    for (pattern, line, same) in [
        ("43 records", "43 records", true),
        ("43 records", "44 records", false),
        ("[..] records in [..]s", "43 records in 0.2s", true),
        ("[..] records", "43 keys", false),
        ("LSN [..]", "LSN 7", true),
        ("a[..]b", "a b c", false),
    ] {
        assert_eq!(matches(pattern, line), same, "{pattern} / {line}");
    }
}
