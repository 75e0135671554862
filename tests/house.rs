//! Holds the order of the house against the source: who may import whom, who may touch files, who defines bytes.
//!
//! The modules stand in one line, and each imports only from those before it. So there is no circle, a newcomer can
//! read from the bottom up, and any lower part could be lifted out. The checks look at the text of the sources,
//! without their comments and unit tests; the last tests break each rule on purpose and see that it is noticed.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom to the top. `docs/ARCHITECTURE.md` says what each knows.
const ORDER: [&str; 18] = [
    "lsn",
    "error",
    "sync",
    "format",
    "storage",
    "event",
    "batch",
    "options",
    "memtable",
    "wal",
    "catalog",
    "checkpoint",
    "retention",
    "recovery",
    "db",
    "typed",
    "care",
    "crash_test",
];

/// What the order alone does not forbid: neighbours that must not know each other.
const STRANGERS: [(&str, &str); 3] = [("storage", "format"), ("wal", "memtable"), ("care", "db")];

/// The longest file that is still one sitting.
const MAX_LINES: usize = 400;

struct Source {
    /// Relative to `src`.
    path: PathBuf,
    text: String,
}

fn sources() -> Vec<Source> {
    fn walk(dir: &Path, root: &Path, found: &mut Vec<Source>) {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                walk(&path, root, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push(Source { path: path.strip_prefix(root).unwrap().to_path_buf(), text });
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    assert!(found.len() > 30, "the sources were not found");
    found
}

impl Source {
    /// The module of the house that the file belongs to: `wal` for `wal/log.rs` and for `wal.rs`.
    fn module(&self) -> String {
        let first = self.path.iter().next().unwrap().to_str().unwrap();
        first.trim_end_matches(".rs").to_owned()
    }

    fn is_library(&self) -> bool {
        self.module() != "bin"
    }

    /// The code without comments and without the unit tests, which stand at the end.
    fn code(&self) -> String {
        let code = self.text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let lines = code.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The identifiers that follow `crate::`, also inside braces.
    fn crate_paths(&self) -> Vec<String> {
        let code = self.code();
        let mut names = Vec::new();
        for rest in code.split("crate::").skip(1) {
            let list = match rest.strip_prefix('{') {
                Some(inner) => inner.split('}').next().unwrap(),
                None => rest,
            };
            let ends = |c: char| !(c.is_alphanumeric() || c == '_');
            let parts: Vec<&str> = if rest.starts_with('{') { list.split(',').collect() } else { vec![list] };
            names.extend(parts.iter().map(|part| part.trim().split(ends).next().unwrap().to_owned()));
        }
        names
    }
}

/// Which module a name that `lib.rs` re-exports comes from.
fn re_exports(lib: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for statement in lib.split("pub use ").skip(1) {
        let (module, names) = statement.split(';').next().unwrap().split_once("::").unwrap();
        for name in names.trim_matches(['{', '}']).split(',').map(str::trim).filter(|name| !name.is_empty()) {
            found.insert(name.to_owned(), module.to_owned());
        }
    }
    found
}

fn rank(module: &str) -> Option<usize> {
    ORDER.iter().position(|name| *name == module)
}

fn import_violations(source: &Source, exports: &BTreeMap<String, String>) -> Vec<String> {
    let own = source.module();
    if !source.is_library() || own == "lib" {
        return Vec::new();
    }
    let Some(own_rank) = rank(&own) else {
        return vec![format!("{}: module {own} has no place in the order", source.path.display())];
    };
    let mut found = Vec::new();
    for name in source.crate_paths() {
        let target = exports.get(&name).cloned().unwrap_or(name);
        let Some(target_rank) = rank(&target) else { continue };
        let stranger = STRANGERS.contains(&(own.as_str(), target.as_str()));
        if target_rank > own_rank || stranger {
            found.push(format!("{} imports {target}", source.path.display()));
        }
    }
    found
}

fn other_violations(source: &Source) -> Vec<String> {
    let (path, code) = (source.path.to_str().unwrap(), source.code());
    let mut found = Vec::new();
    let mut forbid = |needle: &str, allowed: bool| {
        if source.is_library() && !allowed && code.contains(needle) {
            found.push(format!("{path} contains {needle}"));
        }
    };
    forbid("std::fs", path == "storage/real.rs");
    for bytes in ["to_le_bytes", "from_le_bytes", "bincode"] {
        // The simulated disk hashes its images; that is nobody's format.
        let hashes = path == "storage/content.rs" || path.starts_with("storage/sim/");
        forbid(bytes, path.starts_with("format") || (hashes && bytes != "bincode"));
    }
    for printing in ["println!", "eprintln!", "print!", "eprint!", "dbg!"] {
        forbid(printing, false);
    }
    if !source.text.starts_with("//!") {
        found.push(format!("{path} does not open with //!"));
    }
    if source.text.lines().count() > MAX_LINES {
        found.push(format!("{path} has more than {MAX_LINES} lines"));
    }
    found
}

fn check(violations: Vec<String>) {
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

#[test]
fn modules_import_only_from_below() {
    let sources = sources();
    let lib = sources.iter().find(|source| source.path == Path::new("lib.rs")).unwrap();
    let exports = re_exports(&lib.text);
    assert_eq!(exports.get("Lsn").map(String::as_str), Some("lsn"));
    check(sources.iter().flat_map(|source| import_violations(source, &exports)).collect());
    println!("{} files, {} modules", sources.len(), ORDER.len());
}

#[test]
fn files_keep_their_rules() {
    check(sources().iter().flat_map(other_violations).collect());
}

#[test]
fn every_module_of_the_order_exists() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let missing =
        ORDER.iter().filter(|name| !src.join(name).is_dir() && !src.join(format!("{name}.rs")).is_file());
    check(missing.map(|name| format!("there is no module {name}")).collect());
}

/// A file that breaks a rule, as if someone had added it.
fn planted(path: &str, text: &str) -> Source {
    Source { path: path.into(), text: text.to_owned() }
}

#[test]
fn an_upward_import_is_noticed() {
    let exports = BTreeMap::from([("Db".to_owned(), "db".to_owned())]);
    for (path, line) in [
        ("wal/log.rs", "use crate::db::Db;"),
        ("wal/log.rs", "use crate::{error::Error, recovery};"),
        ("wal/log.rs", "fn f(db: &crate::Db) {}"),
        ("wal/log.rs", "use crate::memtable::Memtable;"),
        ("storage/real.rs", "use crate::format::names;"),
        ("error.rs", "use crate::format::StoreId;"),
        ("strange.rs", "use crate::lsn::Lsn;"),
    ] {
        assert_eq!(import_violations(&planted(path, line), &exports).len(), 1, "{path}: {line}");
    }
    let fine = planted("db/mod.rs", "use crate::wal::Wal;\n// use crate::crash_test;\n");
    assert!(import_violations(&fine, &exports).is_empty());
}

#[test]
fn every_other_rule_is_noticed() {
    for (path, text) in [
        ("wal/log.rs", "//! x\nuse std::fs::File;"),
        ("wal/log.rs", "//! x\nfn f() { 1_u32.to_le_bytes(); }"),
        ("batch.rs", "//! x\nuse bincode::Encode;"),
        ("db/mod.rs", "//! x\nfn f() { println!(); }"),
        ("db/mod.rs", "use x;"),
    ] {
        assert!(!other_violations(&planted(path, text)).is_empty(), "{path}: {text}");
    }
    let long = format!("//! x\n{}", "fn f() {}\n".repeat(MAX_LINES));
    assert_eq!(other_violations(&planted("wal/log.rs", &long)).len(), 1);
}
