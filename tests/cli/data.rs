//! What goes in comes out: put, get, del, scan, count, keyspaces, create.

use crate::support::Place;

#[test]
fn one_key() {
    let place = Place::new();
    let put = place.ok(&["put", "demo", "user:1", "alice"]);
    assert_eq!((put.text().as_str(), put.err.as_str()), ("1\n", "forelog: created a store in demo\n"));
    place.says(&["get", "demo", "user:1"], "alice\n");
    place.says(&["count", "demo"], "1\n");
    assert_eq!(place.run(&["get", "demo", "user:2"]).code, 1);
    place.ok(&["del", "demo", "user:1"]);
    place.ok(&["del", "demo", "never there"]);
    let gone = place.run(&["get", "demo", "user:1"]);
    assert_eq!((gone.code, gone.text().as_str(), gone.err.as_str()), (1, "", ""));
}

#[test]
fn arguments_are_literal_bytes_unless_escaped() {
    let place = Place::with(&[(r"a\n", r"\x00"), ("-5", "-6")]);
    place.ok(&["put", "demo", "--", "-x", "--force"]);
    place.says(&["get", "demo", "--", "-x"], "--force\n");
    place.says(&["get", "demo", r"a\n", "-f", "raw"], r"\x00");
    place.ok(&["put", "demo", "--escaped", r"a\n", r"\x00\xff"]);
    assert_eq!(place.ok(&["get", "demo", "a\n", "-f", "raw"]).out, b"\0\xff");
    assert_eq!(place.run(&["get", "demo", "--escaped", r"\q"]).code, 2);
    place.says(&["count", "demo"], "4\n");
}

#[test]
fn a_value_from_a_file_or_from_standard_input() {
    let place = Place::with(&[]);
    let value: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    std::fs::write(place.path("value"), &value).unwrap();
    place.ok(&["put", "demo", "file", "--value-file", "value"]);
    assert_eq!(place.run_with(&["put", "demo", "stdin", "--value-file", "-"], &value).code, 0);
    for key in ["file", "stdin"] {
        assert_eq!(place.ok(&["get", "demo", key, "-f", "raw"]).out, value);
    }
    assert_eq!(place.run(&["put", "demo", "k"]).code, 2);
    assert_eq!(place.run(&["put", "demo", "k", "v", "--value-file", "value"]).code, 2);
    place.fails(&["put", "demo", "k", "--value-file", "nosuch"], 5, "io");
}

#[test]
fn scans() {
    let place = Place::with(&[("b", "2"), ("a", "1"), ("c", "3"), ("ca", "4"), ("d", "5")]);
    let scan = |options: &[&str], expected: &str| {
        let args = [&["scan", "demo", "--keys-only"], options].concat();
        assert_eq!(place.ok(&args).text().replace('\n', ""), expected, "{options:?}");
    };
    place.says(&["scan", "demo", "--limit", "2"], "a\t1\nb\t2\n");
    scan(&[], "abccad");
    scan(&["--from", "b", "--to", "d"], "bcca");
    scan(&["--from", "d", "--to", "b"], "");
    scan(&["--prefix", "c"], "cca");
    scan(&["--prefix", "c", "--from", "ca"], "ca");
    scan(&["--reverse", "--limit", "2"], "dca");
    scan(&["--limit", "0"], "");
    place.says(&["count", "demo", "--prefix", "c"], "2\n");
}

#[test]
fn keyspaces() {
    let place = Place::with(&[("k", "default")]);
    place.ok(&["put", "demo", "k", "users", "--keyspace", "users"]);
    place.says(&["get", "demo", "k"], "default\n");
    place.says(&["get", "demo", "k", "--keyspace", "users"], "users\n");
    place.says(&["keyspaces", "demo"], "default\nusers\n");
    place.says(&["count", "demo", "--keyspace", "users"], "1\n");
    place.says(
        &["scan", "demo", "--keyspace", "users", "-f", "json"],
        "{\"key\":\"k\",\"value\":\"users\",\"keyspace\":\"users\"}\n",
    );
    place.says(&["scan", "demo", "-f", "json"], "{\"key\":\"k\",\"value\":\"default\"}\n");
    for command in ["get", "del"] {
        place.fails(&[command, "demo", "k", "--keyspace", "nosuch"], 2, "usage");
    }
    place.says(&["keyspaces", "demo"], "default\nusers\n");
}

/// `why` tells keyspaces apart that have had the same name, and the log says when each came and went.
/// A name can be any text, and what is printed of it is read back.
#[test]
fn names_of_keyspaces_are_read_back() {
    let place = Place::new();
    let (spaced, tabbed) = ("we ird \"q\"", "ta\tb");
    place.ok(&["put", "demo", "--keyspace", spaced, "k", "1"]);
    place.ok(&["put", "demo", "--escaped", "--keyspace", "ta\\tb", "k", "2"]);
    place.says(&["get", "demo", "k", "--keyspace", tabbed], "2\n");
    let table = place.ok(&["keyspaces", "demo", "-f", "table"]).text();
    for word in table.lines().skip(2) {
        let line = format!("count --keyspace {}", word.trim_end());
        place.says(&["exec", "demo", "-c", &line], "1\n");
    }
    let exported = place.ok(&["export", "demo", "--escaped", "--keyspace", "ta\\tb"]).json();
    assert_eq!(exported[0]["keyspace"], tabbed);
    let plain = place.ok(&["keyspaces", "demo", "-f", "plain"]).text();
    assert_eq!(plain, format!("default\n{spaced}\nta\\tb\n"));
    place.ok(&["drop", "demo", "--escaped", plain.lines().last().unwrap()]);
    let missing = place.fails(&["get", "demo", "k", "--keyspace", tabbed], 2, "usage");
    let told = missing["error"].as_str().unwrap();
    assert_eq!(told, "there is no keyspace ta\\tb; `keyspaces` names those that there are");
    place.fails(&["put", "demo", "--escaped", "--keyspace", "\\xff", "k", "1"], 2, "usage");
}

#[test]
fn a_keyspace_is_dropped() {
    let place = Place::with(&[("k", "default")]);
    place.ok(&["put", "demo", "k", "old", "--keyspace", "users"]);
    let lsn = place.ok(&["drop", "demo", "users", "-f", "json"]).json()[0]["lsn"].as_u64().unwrap();
    place.says(&["keyspaces", "demo"], "default\n");
    place.fails(&["get", "demo", "k", "--keyspace", "users"], 2, "usage");
    place.fails(&["drop", "demo", "users"], 2, "usage");
    place.fails(&["drop", "demo", "default"], 2, "usage");
    place.says(&["get", "demo", "k"], "default\n");
    place.ok(&["put", "demo", "other", "new", "--keyspace", "users"]);
    let ran =
        place.ok(&["exec", "demo", "-c", "count --keyspace users", "-c", "drop users", "-c", "keyspaces"]);
    let lines: Vec<_> = ran.text().lines().map(str::to_owned).collect();
    assert!(lines.len() == 3 && lines[0] == "1" && lines[2] == "default", "{lines:?}");
    place.ok(&["put", "demo", "k", "newest", "--keyspace", "users"]);
    let why = place.ok(&["exec", "demo", "-f", "json", "-c", "why k --keyspace users"]);
    assert_eq!((why.json().len(), &why.json()[0]["value"]), (1, &"newest".into()));
    let log = place.ok(&["log", "demo", "-f", "json"]).text();
    let drops = log.lines().filter(|line| line.contains("\"op\":\"drop_keyspace\",\"keyspace\":\"users\""));
    assert_eq!(drops.count(), 2, "{log}");
    assert!(
        log.lines()
            .any(|line| line.starts_with(&format!("{{\"lsn\":{lsn},")) && line.contains("drop_keyspace"))
    );
}

#[test]
fn create_keeps_its_options() {
    let place = Place::new();
    place.ok(&["create", "demo", "--segment-bytes", "8192", "--checksum", "xxh3"]);
    place.ok(&["put", "demo", "a", "1"]);
    let info = place.ok(&["info", "demo", "-f", "json"]).json().remove(0);
    assert_eq!((&info["segment_bytes"], &info["checksum"]), (&8192.into(), &"xxh3".into()));
    assert_eq!((&info["keep_checkpoints"], &info["checkpoint_after"]), (&1.into(), &(64 << 20).into()));
    place.fails(&["create", "demo"], 2, "usage");
    place.fails(&["create", "other", "--segment-bytes", "1"], 2, "usage");
    place.fails(&["create", "other", "--checksum", "none"], 2, "usage");
    // What could never be an archive.
    std::fs::write(place.path("file"), "").unwrap();
    for archive in ["file", "other", "other/archive", "./other/deep/archive"] {
        place.fails(&["create", "other", "--archive", archive], 2, "usage");
    }
    assert!(!place.path("other").exists());
}

#[test]
fn every_durability_is_taken() {
    let place = Place::new();
    for durability in ["sync", "interval:5ms", "buffered"] {
        place.ok(&["put", "demo", durability, "1", "--durability", durability]);
    }
    place.says(&["count", "demo"], "3\n");
    place.fails(&["put", "demo", "k", "v", "--durability", "never"], 2, "usage");
}
