//! The lab: what a crash takes, as `recover` tells it; and the commands that show what stands where.

use std::io::{BufRead, BufReader};
use std::process::Command;

use super::support::Place;

/// Runs lines in the lab.
fn lab(lines: &[&str]) -> super::support::Ran {
    Place::new().run_with(&["lab", "-f", "json", "--script", "-"], lines.join("\n").as_bytes())
}

/// The rows that `recover` answered with: LSN, what was promised, synced, survived, why.
fn fates(lines: &[&str]) -> Vec<(u64, String, bool, bool, String)> {
    let ran = lab(lines);
    assert_eq!(ran.code, 0, "{ran:?}");
    let rows = ran.json().into_iter().filter(|row| row.get("survived").is_some());
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    rows.map(|row| {
        let (synced, survived) = (text(&row["synced"]) == "yes", text(&row["survived"]) == "yes");
        (row["lsn"].as_u64().unwrap(), text(&row["acknowledged"]), synced, survived, text(&row["why"]))
    })
    .collect()
}

const PUTS: [&str; 4] = ["put a 1", ".durability buffered", "put b 2", "put c 3"];

#[test]
fn a_power_cut_takes_what_was_not_synced() {
    let found = fates(&[&PUTS[..], &["crash", "recover"]].concat());
    let expected = [
        (1, "sync", true, true, "synced before the crash"),
        (2, "buffered", false, false, "nothing of it had reached the disk"),
        (3, "buffered", false, false, "nothing of it had reached the disk"),
    ];
    let expected = expected.map(|(lsn, promised, synced, survived, why)| {
        (lsn, promised.to_owned(), synced, survived, why.to_owned())
    });
    assert_eq!(found, expected);
    let text = lab(&[&PUTS[..], &["crash", "recover", "get b", "get a"]].concat()).text();
    assert_eq!(text.lines().last(), Some(r#"{"key":"a","value":"1"}"#));
    assert!(!text.contains(r#""key":"b","value""#));
}

/// By its name, and as what it is: durable, whatever is asked of writes.
#[test]
fn a_crash_tells_which_keyspace_was_dropped() {
    let ran = lab(&[
        ".durability buffered",
        "put --keyspace users k 1",
        "put a 1",
        "drop users",
        "crash",
        "recover",
    ]);
    let rows = ran.json().into_iter().filter(|row| row.get("survived").is_some());
    let told: Vec<String> = rows.map(|row| format!("{} {}", row["written"], row["acknowledged"])).collect();
    for expected in ["\"keyspace users\" \"sync\"", "\"put a\" \"buffered\"", "\"drop users\" \"sync\""] {
        assert!(told.iter().any(|row| row == expected), "{told:?}");
    }
}

#[test]
fn the_death_of_a_process_takes_nothing() {
    let found = fates(&[&PUTS[..], &["crash --process", "recover"]].concat());
    assert!(found.iter().all(|(.., survived, _)| *survived), "{found:?}");
    assert_eq!(found[2].4, "the operating system has it");
}

/// Whatever the tail: what was synced survives, and what survives has no hole.
#[test]
fn tails() {
    let mut seen = std::collections::BTreeSet::new();
    for tail in ["cut", "zero", "garbage"] {
        for seed in 1..30 {
            let crash = format!("crash --tail {tail} --seed {seed}");
            let mut lines: Vec<String> = ["put s 1", ".durability buffered"].map(String::from).to_vec();
            lines.extend((0..12).map(|number| format!("put key{number} {}", "v".repeat(150))));
            lines.extend([crash.clone(), "recover".to_owned(), "verify".to_owned()]);
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let found = fates(&lines);
            assert_eq!(found.len(), 13, "{crash}");
            assert!(found[0].3, "{crash}: {found:?}");
            assert!(found.iter().map(|fate| !fate.3).is_sorted(), "{crash}: a hole: {found:?}");
            seen.extend(found.into_iter().map(|fate| fate.4));
        }
    }
    for why in ["luck", "torn", "behind a record", "nothing of it", "synced before"] {
        assert!(seen.iter().any(|seen| seen.starts_with(why)), "{why} is not among {seen:?}");
    }
    assert!(!seen.iter().any(|why| why.contains("bug")), "{seen:?}");
}

/// Crashes one after the other, and what was never synced between them.
#[test]
fn a_crash_tells_of_what_came_since_the_last_one() {
    let found =
        fates(&["put a 1", "crash", "recover", ".durability buffered", "put b 2", "crash", "recover"]);
    assert_eq!(found.iter().map(|fate| (fate.0, fate.3)).collect::<Vec<_>>(), [(1, true), (2, false)]);
}

/// Another store of the lab's disk is worked on like the first; what it held before is not told about.
#[test]
fn another_store_of_the_same_disk() {
    let lines = [
        "put a 1",
        "put b 2",
        "restore lab copy --to-lsn 1",
        ".open copy",
        "put c 3",
        "crash",
        "recover",
        "scan",
    ];
    let found = fates(&lines);
    assert_eq!(found.iter().map(|fate| (fate.0, fate.3)).collect::<Vec<_>>(), [(2, true)], "{found:?}");
    let rows = lab(&lines).json();
    let keys: Vec<_> = rows.iter().filter_map(|row| row["key"].as_str()).collect();
    assert_eq!(keys, ["a", "c"]);
    let place = Place::new();
    let ran = place.run_with(&["lab"], b"put a 1\n.open nowhere\nget a\ncrash\n.open lab\nrecover\nget a\n");
    assert!(ran.err.contains("no store") && ran.err.contains("recover opens what is left"), "{ran:?}");
    assert_eq!(ran.text().lines().filter(|line| *line == "1").count(), 3, "it stays open: {ran:?}");
}

#[test]
fn what_needs_an_open_store_or_a_lab() {
    let fails = |lines: &[&str], expected: &str| {
        let ran = lab(lines);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.err.contains(expected), "{ran:?}");
    };
    fails(&["recover"], "nothing has crashed");
    fails(&["crash", "get a"], "recover opens what is left of it");
    fails(&["crash", "crash"], "recover opens what is left of it");
    fails(&["crash --tail half"], "is none of cut, zero, garbage");
    fails(&["crash --tail zero --process"], "--process leaves no tail");
    fails(&["damage 00000000000000000001.wal@99999"], "has no byte at 99999");
    for verb in ["crash", "recover", "damage x"] {
        let ran = Place::with(&[]).run(&["exec", "demo", "-c", verb]);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.err.contains("`forelog lab` has a simulated one"), "{ran:?}");
    }
    // An open batch is nowhere but in the process.
    let ran = lab(&["batch", "put a 1", "crash", "recover", "count"]);
    assert!(ran.err.contains("the open batch of 1 is gone"), "{ran:?}");
    assert_eq!(ran.json().last().unwrap()["count"], 0);
}

/// What the user has damaged is not the engine's fault; whatever a command has answered for has a row.
#[test]
fn what_was_damaged_is_told_apart() {
    // The last record, and nothing behind it proves that it was durable.
    let found = fates(&["put a 1", "put b 2", "crash", "damage 00000000000000000001.wal@4160", "recover"]);
    assert_eq!((found[1].2, found[1].3, &*found[1].4), (true, false, "damaged, and no proof behind it"));
    let buffered = [".durability buffered", "put a 1", "put b 2", "put c 3"];
    let damaged = ["damage 00000000000000000001.wal@4160", "crash", "recover"];
    let found = fates(&[&buffered[..], &damaged].concat());
    assert_eq!(found.iter().map(|fate| fate.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(found[2].4, "damaged before the crash");
    let ran = lab(&[&buffered[..], &["damage 00000000000000000001.wal@0", "crash"]].concat());
    assert!(ran.err.contains("not synced: 3"), "{ran:?}");
    // Zeros that are going to be written: the simulated disk took that for a mistake of the engine's, and the lab was gone.
    let ran = lab(&["damage 00000000000000000001.wal@4200", "put a 1", "crash", "recover", "get a"]);
    assert_eq!((ran.code, ran.text().lines().last()), (0, Some(r#"{"key":"a","value":"1"}"#)), "{ran:?}");
    let ran = lab(&["put a 1", "damage 00000000000000000001.wal"]);
    assert!(ran.code == 2 && ran.err.contains("which byte?"), "{ran:?}");
    let ran = lab(&["damage MANIFEST@0", "tour"]);
    assert!(ran.code == 2 && ran.err.contains("nothing has happened yet"), "{ran:?}");
}

/// A bit that rots is named, and the store is not opened over it.
#[test]
fn damage_is_found() {
    let ran = lab(&["put a 1", "put b 2", "damage 00000000000000000001.wal@4110", "verify"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    let verdict = ran.json().pop().unwrap();
    assert_eq!(verdict["problems"][0]["offset"], 4096, "{verdict}");
    let ran = lab(&["put a 1", "put b 2", "damage 00000000000000000001.wal@4110", "crash", "recover"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.err.contains("corrupt"), "{ran:?}");
}

#[test]
fn bare_forelog_is_the_lab() {
    let ran = Place::new().run_with(&[], b"put a 1\ncrash\nrecover\nget a\n");
    assert_eq!((ran.code, ran.text().lines().last()), (0, Some("1")));
}

/// Each record about a key: of the log, of a checkpoint, and which is seen.
#[test]
fn why() {
    let lines = ["put a 1", "put b x", "checkpoint", "put a 2", "del b", "why a", "why b", "why c"];
    let ran = lab(&lines);
    assert_eq!(ran.code, 0, "{ran:?}");
    let rows: Vec<_> = ran.json().into_iter().filter(|row| row.get("now").is_some()).collect();
    let told: Vec<_> =
        rows.iter().map(|row| (row["op"].as_str().unwrap(), row["now"].as_str().unwrap())).collect();
    let hidden = |row: &(&str, &str)| row.1.starts_with("hidden by");
    assert_eq!(
        told.iter().map(|row| row.0).collect::<Vec<_>>(),
        ["put", "checkpoint", "put", "put", "checkpoint", "delete"]
    );
    assert!(hidden(&told[0]) && hidden(&told[1]) && hidden(&told[3]) && hidden(&told[4]));
    assert_eq!((told[2].1, told[5].1), ("seen", "why there is nothing"));
    // What it points to is there.
    let place = Place::with(&[("a", "1")]);
    let row = &place.run(&["-f", "json", "exec", "demo", "-c", "why a"]).json()[0];
    let at = format!("demo/{}@{}", row["file"].as_str().unwrap(), row["offset"]);
    assert!(place.ok(&["inspect", &at]).text().contains("key\ta"));
}

/// What is not synced is in no file that is read here; but it is what readers see, and so it was false to call the one
/// before it the one that is seen.
#[test]
fn why_knows_of_what_is_not_synced() {
    let now = |lines: &[&str]| {
        let rows = lab(lines).json().into_iter().filter_map(|row| Some(row.get("now")?.as_str()?.to_owned()));
        rows.collect::<Vec<_>>()
    };
    assert_eq!(now(&["put a 1", ".durability buffered", "put a 2", "why a"]), ["hidden by 2, not synced"]);
    assert_eq!(now(&["put a 1", ".durability buffered", "del a", "why a"]), ["deleted since, not synced"]);
    assert_eq!(now(&["put a 1", ".durability buffered", "put b 2", "why a"]), ["seen"]);
}

/// Whichever store is open in the end is closed, and so is each that was left before.
#[test]
fn each_store_that_was_open_is_closed() {
    let place = Place::with(&[("a", "1")]);
    place.ok(&["put", "other", "b", "2"]);
    let lines = ".open other\nput c 3\n.open demo\nput d 4\n.open other\nget c\n";
    let ran = place.run_with(&["shell", "demo"], lines.as_bytes());
    assert_eq!((ran.code, ran.text().lines().last()), (0, Some("3")), "{ran:?}");
    for store in ["demo", "other"] {
        let kinds: Vec<_> = place.ok(&["-f", "json", "log", store]).json();
        assert_eq!(kinds.last().unwrap()["kind"], "close-mark", "{store}");
    }
}

#[test]
fn map() {
    let mut lines: Vec<String> =
        (0..30).map(|number| format!("put key{number} {}", "v".repeat(400))).collect();
    lines.extend(["checkpoint", "put last 1", "map"].map(String::from));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let rows: Vec<_> = lab(&lines).json().into_iter().filter(|row| row.get("what").is_some()).collect();
    let what: Vec<_> = rows.iter().map(|row| row["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["archive", "checkpoint", "checkpoint", "segment", "replayed"]);
    let number = |row: usize, field: &str| rows[row][field].as_u64().unwrap();
    assert_eq!(number(0, "last_lsn") + 1, number(3, "first_lsn"), "the archive ends where the log begins");
    assert_eq!(number(2, "last_lsn") + 1, number(4, "first_lsn"), "what follows the checkpoint is replayed");
    let place = Place::with(&[("a", "1")]);
    let mut drawn = place.command(&["-f", "table", "map", "demo"]);
    let drawn = String::from_utf8(drawn.env("LC_ALL", "C").output().unwrap().stdout).unwrap();
    assert!(drawn.is_ascii() && drawn.contains("segment   ##################  1-"), "{drawn}");
    place.fails(&["map", "nowhere"], 5, "no_store");
}

/// A terminal that is not known to show more than ASCII gets no more.
#[test]
fn a_terminal_without_utf8() {
    let place = Place::with(&[("a", "1")]);
    for line in [".trace on\nput b 2", ".help", ".help scan", "inspect demo/00000000000000000001.wal"] {
        std::fs::write(place.path("script"), line).unwrap();
        let answer =
            place.command(&["-f", "table", "exec", "demo", "script"]).env("LC_ALL", "C").output().unwrap();
        let text = String::from_utf8([answer.stdout, answer.stderr].concat()).unwrap();
        assert!(text.is_ascii() && text.len() > 100, "{line}: {text}");
    }
}

/// What another process adds is shown as it comes, until Ctrl-C.
#[cfg(unix)]
#[test]
fn log_follow() {
    let place = Place::with(&[("a", "1")]);
    let mut follow = place.spawn(&["-f", "json", "log", "demo", "--follow", "--key", "b"]);
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    for value in ["2", "3"] {
        place.ok(&["put", "demo", "b", value]);
        let line = lines.next().unwrap().unwrap();
        assert!(line.contains(&format!(r#""value":"{value}""#)), "{line}");
    }
    // Whoever has seen enough need not wait for more to come.
    let mut closed = place.spawn(&["log", "demo", "--follow"]);
    drop(closed.stdout.take());
    if !cfg!(target_os = "linux") {
        closed.kill().unwrap();
    }
    let status = closed.wait().unwrap();
    assert!(status.code() == Some(0) || cfg!(not(target_os = "linux")), "{status:?}");
    let interrupt = Command::new("kill").args(["-INT", &follow.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    assert_eq!(follow.wait().unwrap().code(), Some(130));
    assert_eq!(place.run(&["log", "demo", "--follow", "--to-lsn", "1"]).code, 2);
}

/// Each workload runs, has a rate and a limit, and leaves nothing behind.
#[test]
fn bench() {
    let place = Place::new();
    let rows = place.ok(&["-f", "json", "-q", "bench", "--seconds", "0.01", "--rounds", "1"]).json();
    assert_eq!(rows.len(), 5);
    for row in &rows {
        assert!(
            row["per_second"].as_u64().unwrap() > 0 && row["limit_per_second"].as_u64().unwrap() > 0,
            "{row}"
        );
    }
    assert_eq!(std::fs::read_dir(place.dir.path()).unwrap().count(), 0, "nothing stays");
    let error = place.fails(&["bench", "durable-putt"], 2, "usage");
    assert!(error["error"].as_str().unwrap().contains("did you mean \"durable-put\""), "{error}");
    assert_eq!(place.run(&["bench", "--seconds", "0"]).code, 2);
}

/// A trace names what a write hides, once.
#[test]
fn a_trace_names_the_version_that_is_hidden() {
    let ran = lab(&["put a 1", ".trace on", "put a 2", "put b 1", "del a", "put a 3"]);
    let published: Vec<_> = ran.err.lines().filter(|line| line.starts_with(" publish")).collect();
    let expected = ["visible 2 (hides a@1)", "visible 3", "visible 4 (hides a@2)", "visible 5"];
    assert_eq!(published, expected.map(|line| format!(" publish  {line}")));
    assert!(ran.err.contains(" apply    a@2 (invisible)"), "{ran:?}");
    let place = Place::new();
    let ran =
        place.run_with(&["--redact", "lab", "--script", "-"], b"put secret 1\n.trace on\nput secret 2\n");
    assert!(!ran.err.contains("secret"), "{ran:?}");
}
