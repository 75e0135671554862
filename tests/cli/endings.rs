//! How commands end: each exit code, each kind of error, and that a wrong command changes nothing.

use std::fs;
use std::io::{BufRead, BufReader, Write};

use crate::support::Place;

#[test]
fn usage() {
    let place = Place::with(&[("a", "1")]);
    assert!(place.run(&["improt", "demo", "x"]).err.contains("did you mean \"import\"?"));
    for args in
        [&["get"][..], &["get", "demo"], &["nosuch"], &["scan", "demo", "--limit", "x"], &["exec", "demo"]]
    {
        assert_eq!(place.run(args).code, 2, "{args:?}");
        place.fails(args, 2, "usage");
    }
    for args in [&["--help"][..], &["--version"], &["scan", "--help"]] {
        let ran = place.ok(args);
        assert!(!ran.out.is_empty() && ran.err.is_empty(), "{args:?}");
    }
}

#[test]
fn the_manual_and_completions_name_the_commands() {
    let place = Place::new();
    for args in [&["man"][..], &["completions", "bash"], &["completions", "zsh"], &["completions", "fish"]] {
        let text = place.ok(args).text();
        assert!(text.contains("import") && text.contains("verify"), "{args:?}");
    }
}

#[test]
fn every_command_has_help() {
    let place = Place::new();
    let help = place.ok(&["--help"]).text();
    for command in [
        "create",
        "put",
        "get",
        "del",
        "scan",
        "count",
        "keyspaces",
        "drop",
        "import",
        "export",
        "exec",
        "shell",
        "lab",
        "info",
        "log",
        "map",
        "inspect",
        "verify",
        "repair",
        "checkpoint",
        "prune",
        "backup",
        "restore",
        "crash-test",
        "bench",
        "completions",
        "man",
    ] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(&format!("{command} "))), "{command}");
        assert!(place.ok(&[command, "--help"]).text().contains("Usage: forelog"), "{command}");
    }
}

#[test]
fn no_store() {
    let place = Place::new();
    fs::create_dir(place.path("empty")).unwrap();
    let commands = [
        &["get", "D", "k"][..],
        &["scan", "D"],
        &["count", "D"],
        &["keyspaces", "D"],
        &["drop", "D", "users"],
        &["export", "D"],
        &["info", "D"],
        &["log", "D"],
        &["verify", "D"],
    ];
    for command in commands {
        for dir in ["nosuch", "empty"] {
            let args: Vec<&str> = command.iter().map(|word| if *word == "D" { dir } else { word }).collect();
            let error = place.fails(&args, 5, "no_store");
            assert_eq!(error["file"], dir, "{args:?}");
        }
    }
    assert!(!place.path("nosuch").exists());
    assert_eq!(fs::read_dir(place.path("empty")).unwrap().count(), 0);
}

#[test]
fn a_directory_alone_opens_a_store_but_never_makes_one() {
    let place = Place::with(&[("a", "1")]);
    assert_eq!(place.run_with(&["demo"], b"get a\n").text(), "1\n");
    assert_eq!(place.run_with(&["demo", "-f", "json"], b"count\n").text(), "{\"count\":1}\n");
    fs::create_dir(place.path("empty")).unwrap();
    for dir in ["empty", "nosuch", "."] {
        place.fails(&[dir], 2, "usage");
    }
    assert_eq!(fs::read_dir(place.path("empty")).unwrap().count(), 0);
}

#[test]
fn somebody_elses_directory_is_refused() {
    let place = Place::new();
    fs::create_dir(place.path("theirs")).unwrap();
    fs::write(place.path("theirs/letter"), "dear").unwrap();
    fs::write(place.path("file"), "").unwrap();
    for dir in ["theirs", "file"] {
        place.fails(&["put", dir, "a", "1"], 5, "no_store");
        place.fails(&["get", dir, "a"], 5, "no_store");
    }
    assert_eq!(fs::read_dir(place.path("theirs")).unwrap().count(), 1, "nothing was added");
}

#[test]
fn too_large() {
    let place = Place::new();
    place.ok(&["create", "demo", "--segment-bytes", "8192"]);
    let long = "x".repeat(70_000);
    place.fails(&["put", "demo", "k", &long], 2, "too_large");
    place.fails(&["put", "demo", &long, "v"], 2, "too_large");
    place.says(&["count", "demo"], "0\n");
}

#[test]
fn output_is_never_overwritten_unasked() {
    let place = Place::with(&[("a", "1")]);
    fs::write(place.path("out"), "mine").unwrap();
    let error = place.fails(&["export", "demo", "out"], 2, "usage");
    assert_eq!(error["file"], "out");
    assert_eq!(fs::read(place.path("out")).unwrap(), b"mine");
    place.ok(&["export", "demo", "out", "--force"]);
    assert_eq!(fs::read(place.path("out")).unwrap(), b"{\"key\":\"a\",\"value\":\"1\"}\n");
    place.fails(&["export", "demo", "nosuch/out"], 5, "io");
    let names: Vec<_> =
        fs::read_dir(place.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "no draft is left: {names:?}");
}

/// Broken: src/storage/real.rs: `let taken = file.try_lock(); (file, taken)` to `(file, Ok(()))`
#[test]
fn locked_by_a_second_process() {
    let place = Place::with(&[("a", "1")]);
    let mut writer = place.spawn(&["shell", "demo"]);
    let mut answers = BufReader::new(writer.stdout.take().unwrap());
    let mut input = writer.stdin.take().unwrap();
    input.write_all(b"put b 2\n").unwrap();
    let mut answer = String::new();
    answers.read_line(&mut answer).unwrap();

    for args in
        [&["get", "demo", "a"][..], &["put", "demo", "a", "2"], &["export", "demo"], &["shell", "demo"]]
    {
        let error = place.fails(args, 4, "locked");
        assert!(error["file"].as_str().unwrap().ends_with("LOCK"));
    }
    for command in ["info", "log", "verify"] {
        let ran = place.ok(&[command, "demo"]);
        assert!(ran.err.contains("a writer has the store open"), "{command}: {ran:?}");
    }
    let verdict = place.ok(&["verify", "demo", "-f", "json"]).json().remove(0);
    assert_eq!(verdict["status"], "live");

    drop(input);
    assert!(writer.wait().unwrap().success());
    place.says(&["get", "demo", "b"], "2\n");
}

#[test]
fn readers_share_a_store() {
    let place = Place::with(&[("a", "1")]);
    let mut first = place.spawn(&["scan", "demo"]);
    place.says(&["get", "demo", "a"], "1\n");
    assert!(first.wait().unwrap().success());
}

#[test]
fn a_closed_pipe_is_fine() {
    let place = Place::new();
    let lines: String = (0..20_000)
        .map(|n| format!("{{\"key\":\"key-{n:06}\",\"value\":\"{}\"}}\n", "v".repeat(20)))
        .collect();
    assert_eq!(place.run_with(&["import", "demo", "-"], lines.as_bytes()).code, 0);
    for args in
        [&["scan", "demo"][..], &["export", "demo"], &["scan", "demo", "-f", "table"], &["log", "demo"]]
    {
        let mut child = place.spawn(args);
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn another_format_version() {
    let place = Place::with(&[("a", "1")]);
    let path = place.path("demo/MANIFEST");
    let mut manifest = fs::read(&path).unwrap();
    manifest[8..12].copy_from_slice(&99_u32.to_le_bytes());
    let crc = crc32fast::hash(&manifest[..20]);
    manifest[20..24].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, &manifest).unwrap();
    for args in [&["get", "demo", "a"][..], &["put", "demo", "a", "2"], &["info", "demo"]] {
        let error = place.fails(args, 5, "unsupported");
        assert!(error["error"].as_str().unwrap().contains("format version 99"), "{error}");
    }
    assert_eq!(fs::read(&path).unwrap(), manifest);
}
