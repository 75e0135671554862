//! Shows that every public item of the library is used in an example that is compiled: in the documentation of the
//! source, in the Rust blocks of the pages that `src/lib.rs` includes, or in a program of `examples/`.
//!
//! What is public is what says `pub`: the lint `unreachable_pub` sees to it that nothing says so which nobody can reach.
//! An item is used where its name stands in code; not in a comment, nor where it is only imported. Names are compared,
//! not items: of two methods with one name, one that is used stands for both. The last tests plant items and examples,
//! also such as show nothing, and see what is found.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What a declaration begins with; its name follows.
const DECLARATIONS: [&str; 7] =
    ["pub fn ", "pub const fn ", "pub const ", "pub struct ", "pub enum ", "pub trait ", "pub type "];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below a directory, but for those of the binary and of the unit tests.
fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() && !path.ends_with("bin") && !path.ends_with("tests") {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn first_word(text: &str) -> &str {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap()
}

/// The names of what a source declares as public, and of the methods of its public traits.
fn public_names(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut in_trait = false;
    for line in source.split("#[cfg(test)]\nmod tests").next().unwrap().lines() {
        let code = line.trim_start();
        if line.starts_with("pub trait ") {
            in_trait = !line.ends_with("{}");
        } else if line == "}" {
            in_trait = false;
        }
        let method = code.strip_prefix("fn ").filter(|_| in_trait && line.starts_with("    fn "));
        let item = DECLARATIONS.iter().find_map(|declaration| code.strip_prefix(declaration));
        names.extend(method.or(item).map(|rest| first_word(rest).to_owned()));
    }
    names
}

/// The code in the fenced blocks of a text that rustdoc compiles.
fn blocks(text: &str) -> String {
    let (mut inside, mut is_code, mut code) = (false, false, String::new());
    for line in text.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            inside = !inside;
            is_code = inside && ["", "rust", "no_run", "rust,no_run"].contains(&language);
        } else if is_code {
            code.push_str(line);
            code.push('\n');
        }
    }
    code
}

/// The documentation in a source, as the text that it is.
fn documentation(source: &str) -> String {
    let comments = source.lines().map(|line| {
        let line = line.trim_start();
        let text = line.strip_prefix("///").or(line.strip_prefix("//!")).unwrap_or_default();
        text.strip_prefix(' ').unwrap_or(text)
    });
    comments.collect::<Vec<_>>().join("\n")
}

/// The words of some code, without those of its comments and imports.
fn words(code: &str, found: &mut BTreeSet<String>) {
    let mut in_import = false;
    for line in code.lines() {
        // A line of an example that is not shown begins with `# `.
        let line = line.trim_start().trim_start_matches("# ");
        let line = line.split("//").next().unwrap();
        in_import |= line.starts_with("use ");
        if !in_import {
            let all = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
            found.extend(all.filter(|word| !word.is_empty()).map(str::to_owned));
        }
        in_import &= !line.contains(';');
    }
}

/// All words of all examples.
fn used() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for path in rust_files(&root().join("examples")) {
        words(&fs::read_to_string(path).unwrap(), &mut found);
    }
    for path in rust_files(&root().join("src")) {
        words(&blocks(&documentation(&fs::read_to_string(path).unwrap())), &mut found);
    }
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let pages: Vec<&str> =
        lib.split("include_str!(\"../").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(pages.contains(&"README.md"), "the pages that are compiled were not found");
    for page in pages {
        words(&blocks(&fs::read_to_string(root().join(page)).unwrap()), &mut found);
    }
    found
}

#[test]
fn every_public_item_is_used_in_an_example() {
    let used = used();
    let (mut count, mut missing) = (0, Vec::new());
    for path in rust_files(&root().join("src")) {
        let names = public_names(&fs::read_to_string(&path).unwrap());
        count += names.len();
        let file = path.strip_prefix(root()).unwrap().display().to_string();
        missing.extend(
            names.into_iter().filter(|name| !used.contains(name)).map(|name| format!("{file}: {name}")),
        );
    }
    assert!(count > 500, "the public items were not found: {count}");
    assert!(missing.is_empty(), "in no example:\n{}", missing.join("\n"));
}

#[test]
fn what_is_public_is_found() {
    let source = "pub struct A;\nimpl A {\n    pub const fn b() {}\n    pub const C: u8 = 1;\n    fn no() {}\n}\n\
        pub trait D {\n    fn e();\n}\npub(crate) fn no() {}\nfn no() {}\n    pub fn f<T>() {}\n\
        #[cfg(test)]\nmod tests {\n    pub fn no() {}\n}\n";
    assert_eq!(public_names(source), ["A", "b", "C", "D", "e", "f"]);
}

#[test]
fn what_shows_nothing_does_not_count() {
    let check = |source: &str, expected: &[&str]| {
        let mut found = BTreeSet::new();
        words(&blocks(&documentation(source)), &mut found);
        assert!(found.iter().eq(expected), "{source}: {found:?}");
    };
    check("/// ```\n/// let a = B;\n/// ```", &["B", "a", "let"]);
    check("    /// ```no_run\n    /// # a();\n    /// ```\n    pub fn b() {}", &["a"]);
    check("//! ```text\n//! A\n//! ```\n//! B `C`\n", &[]);
    check("//! ```ignore\n//! A\n//! ```\n//! ```\n//! B\n//! ```", &["B"]);
    check("/// ```\n/// use a::{\n///     B,\n/// };\n/// c(); // D\n/// ```", &["c"]);
    check("/// ```\n/// # use a::B;\n/// c();\n/// ```", &["c"]);
    let page = "```sh\nA\n```\n```rust\nB\n```\n```rust,ignore\nC\n```\n```rust,no_run\nD\n```";
    assert_eq!(blocks(page), "B\nD\n");
}
