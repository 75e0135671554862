//! Shows that tests fail when what they protect is taken away.
//!
//! A test that guards against a fault names, in its comment, lines that it cannot do without:
//!
//! ```text
//! /// Broken: src/wal/tail.rs: `tail.time_us.max(now)` to `now`
//! #[test]
//! fn time_never_runs_backwards() {
//! ```
//!
//! What is quoted stands once in that file (blanks and ends of lines count the same), and with the other in its place the
//! test fails. The first is looked at in every run. The second takes a build for each, so it is the long form: it changes
//! a copy of the sources, one line at a time, and runs the test that names it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A line, what it is broken to, and the test that must notice.
#[derive(Debug)]
struct Broken {
    file: String,
    old: String,
    new: String,
    /// What runs the test, behind `cargo test`.
    test: Vec<String>,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files of Rust below a directory, in the order of their names.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    // `tests/fuzz` may have been built.
    let all = entries.into_iter().filter(|path| !path.ends_with("target"));
    let all = all.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    all.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// What the comments of all tests name.
fn named() -> Vec<Broken> {
    let files = ["src", "tests"].map(|dir| sources(&root().join(dir))).concat();
    let files = files.into_iter().filter(|path| !path.ends_with(file!()));
    files
        .flat_map(|path| named_in(path.strip_prefix(root()).unwrap(), &fs::read_to_string(&path).unwrap()))
        .collect()
}

fn named_in(path: &Path, text: &str) -> Vec<Broken> {
    let mut found = Vec::new();
    let mut waiting: Vec<(String, String, String)> = Vec::new();
    for line in text.lines().map(str::trim_start) {
        if let Some(broken) = line.strip_prefix("/// Broken: ") {
            let (file, change) = broken.split_once(": `").expect(line);
            let (old, new) =
                change.strip_suffix('`').and_then(|change| change.split_once("` to `")).expect(line);
            waiting.push((file.to_owned(), old.to_owned(), new.to_owned()));
        } else if let Some(name) = line.strip_prefix("fn ").and_then(|rest| rest.split('(').next()) {
            let test = how_to_run(path, name);
            let whole =
                waiting.drain(..).map(|(file, old, new)| Broken { file, old, new, test: test.clone() });
            found.extend(whole);
        }
    }
    assert!(waiting.is_empty(), "{}: no test follows {waiting:?}", path.display());
    found
}

/// Unit tests are the library's; others are those of the file or the directory right below `tests`.
fn how_to_run(path: &Path, name: &str) -> Vec<String> {
    let mut parts = path.components().map(|part| part.as_os_str().to_str().unwrap());
    let target = match parts.next() {
        Some("tests") => vec!["--test".to_owned(), parts.next().unwrap().trim_end_matches(".rs").to_owned()],
        _ => vec!["--lib".to_owned()],
    };
    // Tests without the usual harness are one.
    let filter = if name == "main" { None } else { Some(name.to_owned()) };
    target.into_iter().chain(filter).collect()
}

/// Where a piece stands in a text, if blanks and ends of lines count the same.
fn places(text: &str, piece: &str) -> Vec<std::ops::Range<usize>> {
    let words: Vec<&str> = piece.split_whitespace().collect();
    let end_of = |start: usize| {
        words.iter().enumerate().try_fold(start, |at, (number, word)| {
            let rest = &text[at..];
            let blanks = if number == 0 { 0 } else { rest.len() - rest.trim_start().len() };
            let follows = rest[blanks..].starts_with(word) && (number == 0 || blanks > 0);
            follows.then_some(at + blanks + word.len())
        })
    };
    let starts = text.match_indices(words[0]).map(|(start, _)| start);
    starts.filter_map(|start| end_of(start).map(|end| start..end)).collect()
}

#[test]
fn each_names_a_line_that_is_there() {
    let all = named();
    for broken in &all {
        let text = fs::read_to_string(root().join(&broken.file)).expect(&broken.file);
        let count = places(&text, &broken.old).len();
        assert_eq!(count, 1, "{} must have this once: {}", broken.file, broken.old);
    }
    println!("{} protections are named by their tests", all.len());
    assert!(all.len() >= 20, "{all:?}");
}

#[test]
#[ignore = "long: a build for each"]
fn each_is_missed() {
    let copy = root().join("target/broken");
    for dir in ["src", "tests", "benches", "examples"] {
        let _ = fs::remove_dir_all(copy.join(dir));
    }
    let only = std::env::var("FORELOG_BROKEN_ONLY").unwrap_or_default();
    let listed = Command::new("git").args(["ls-files"]).current_dir(root()).output().unwrap();
    for file in String::from_utf8(listed.stdout).unwrap().lines() {
        fs::create_dir_all(copy.join(file).parent().unwrap()).unwrap();
        fs::copy(root().join(file), copy.join(file)).unwrap();
    }
    let cargo = |what: &[String]| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["test", "--locked", "--no-default-features"]).args(what).current_dir(&copy);
        if what.contains(&"cli".to_owned()) || what.contains(&"kill".to_owned()) {
            cargo.args(["--features", "cli"]);
        }
        // Of the crash enumeration, a part that has all steps of a store.
        cargo.env("FORELOG_CRASH_ONLY", "store with two checkpoints retention");
        cargo.env("CARGO_TARGET_DIR", copy.join("target")).output().unwrap()
    };
    let mut missed = 0;
    let mut wrong = Vec::new();
    for broken in named().iter().filter(|broken| format!("{broken:?}").contains(&only)) {
        let file = copy.join(&broken.file);
        let text = fs::read_to_string(&file).unwrap();
        let place = places(&text, &broken.old).pop().unwrap();
        fs::write(&file, [&text[..place.start], &broken.new, &text[place.end..]].concat()).unwrap();
        let build = cargo(&[&broken.test[..2.min(broken.test.len())], &["--no-run".to_owned()]].concat());
        let run = cargo(&broken.test);
        fs::write(&file, text).unwrap();
        let said = String::from_utf8_lossy(&run.stdout);
        println!("{}: {} to {}", broken.file, broken.old, broken.new);
        if !build.status.success() {
            println!("{}", String::from_utf8_lossy(&build.stderr));
            wrong.push(format!("does not build: {broken:?}"));
        } else if run.status.success() || said.contains("running 0 tests") {
            wrong.push(format!("not noticed: {broken:?}"));
        } else {
            missed += 1;
            let why = said.lines().chain(std::str::from_utf8(&run.stderr).unwrap().lines());
            let why: Vec<&str> =
                why.skip_while(|line| !line.contains("panicked at")).skip(1).take(1).collect();
            println!("  {}: {}", broken.test.join(" "), why.concat().chars().take(200).collect::<String>());
        }
    }
    println!("{missed} protections taken away, each was missed");
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn comments_are_read_and_places_found() {
    let text = "    /// Broken: src/a.rs: `b(c);\n";
    let text = text.trim_end().to_owned() + " d` to `e`\n    #[test]\n    fn f() {\n";
    let found = named_in(Path::new("tests/cli/g.rs"), &text).pop().unwrap();
    assert_eq!((&*found.file, &*found.old, &*found.new), ("src/a.rs", "b(c); d", "e"));
    assert_eq!(found.test, ["--test", "cli", "f"]);
    assert_eq!(how_to_run(Path::new("src/wal/a.rs"), "f"), ["--lib", "f"]);
    assert_eq!(how_to_run(Path::new("tests/crash.rs"), "main"), ["--test", "crash"]);
    assert_eq!(places("x b(c);\n   d b(c);d", &found.old).pop(), Some(2..12));
}
