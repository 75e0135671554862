//! Shows that what the pages lead to is there: each file and heading that is linked, each file that is named, and each
//! item (`Db::put`, `Error::Closed`) that is quoted. The last test plants some that are not.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What is named and is another project's.
const ELSEWHERE: [&str; 2] = ["tests/crash_consistency.rs", "SkipMap::range"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
    found
}

/// A page without its fenced blocks, which hold code and transcripts.
fn prose(page: &str) -> String {
    let mut inside = false;
    let lines = page.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn links(prose: &str) -> impl Iterator<Item = &str> {
    prose.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// What stands between single backticks.
fn quotes(prose: &str) -> impl Iterator<Item = &str> {
    prose.split('`').skip(1).step_by(2).filter(|quote| !quote.contains('\n'))
}

/// How a heading is linked: as the well-known sites do it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

fn has_heading(page: &Path, wanted: &str) -> bool {
    let text = prose(&fs::read_to_string(page).unwrap());
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).any(|found| found == wanted)
}

fn leads_somewhere(page: &Path, link: &str) -> bool {
    if link.starts_with("https://") || link.starts_with("http://") {
        return true;
    }
    let (file, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = if file.is_empty() { page.to_owned() } else { page.parent().unwrap().join(file) };
    target.exists() && (heading.is_empty() || has_heading(&target, heading))
}

/// A path to a source, as pages name them: from the top, or from where the sources of its kind are.
fn names_no_file(quote: &str) -> bool {
    let is_path = quote.ends_with(".rs") && quote.contains('/') && !quote.contains([' ', '*', '{', '…']);
    is_path
        && !ELSEWHERE.contains(&quote)
        && !["", "src", "src/bin/forelog", "src/storage", "tests"]
            .iter()
            .any(|dir| root().join(dir).join(quote).exists())
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

/// `Type::item`, with arguments or without: neither of which the sources know.
fn names_no_item(quote: &str, known: &BTreeSet<String>) -> bool {
    let path = quote.split(['(', '{', '<']).next().unwrap();
    let Some((owner, item)) = path.split_once("::") else { return false };
    let is_word = |text: &str| words(text).eq([text]);
    let is_ours = is_word(owner) && is_word(item) && owner.starts_with(char::is_uppercase);
    is_ours && !(known.contains(owner) && known.contains(item))
}

fn pages() -> Vec<PathBuf> {
    let mut pages = files(&root().join("docs"), "md");
    pages.extend([root().join("README.md"), root().join("CHANGELOG.md")]);
    pages
}

/// All words of the sources' code, without its comments.
fn known() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for path in files(&root().join("src"), "rs") {
        for line in fs::read_to_string(path).unwrap().lines() {
            known.extend(words(line.split("//").next().unwrap()).map(str::to_owned));
        }
    }
    known
}

#[test]
fn what_the_pages_lead_to_is_there() {
    let known = known();
    let (mut count, mut missing) = (0, Vec::new());
    for page in pages() {
        let text = prose(&fs::read_to_string(&page).unwrap());
        let dead = links(&text).inspect(|_| count += 1).filter(|link| !leads_somewhere(&page, link));
        let mut missed: Vec<&str> = dead.collect();
        let ours = quotes(&text).filter(|quote| !ELSEWHERE.contains(quote));
        missed.extend(ours.filter(|quote| names_no_file(quote) || names_no_item(quote, &known)));
        let name = page.strip_prefix(root()).unwrap().display();
        missing.extend(missed.into_iter().map(|what| format!("{name}: {what}")));
    }
    assert!(count > 300, "the links were not found: {count}");
    assert!(missing.is_empty(), "not there:\n{}", missing.join("\n"));
}

#[test]
fn what_leads_nowhere_is_found() {
    let page = root().join("README.md");
    for link in ["docs/CLI.md", "docs/CLI.md#import-and-export", "#embed-it", "https://example.org"] {
        assert!(leads_somewhere(&page, link), "{link}");
    }
    for link in ["docs/CLI", "docs/CLI.md#imports", "#nothing", "../README.md"] {
        assert!(!leads_somewhere(&page, link), "{link}");
    }
    assert!(!names_no_file("wal/gate.rs") && names_no_file("wal/gates.rs"));
    let known = known();
    assert!(!names_no_item("Db::put", &known) && !names_no_item("std::fs", &known));
    assert!(names_no_item("Db::putt", &known) && names_no_item("Options::no_such_option(true)", &known));
    let text = prose("a [b](c) `d`\n```\n[e](f)\n```\n`g`");
    assert_eq!(links(&text).collect::<Vec<_>>(), ["c"]);
    assert_eq!(quotes(&text).collect::<Vec<_>>(), ["d", "g"]);
}
