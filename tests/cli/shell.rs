//! The shell's language through a pipe and through exec. A terminal is another matter (and another test).

use std::fs;

use crate::support::{Place, Ran};

/// Runs lines in the shell; all of it must be fine.
fn shell(place: &Place, lines: &str) -> String {
    let ran = place.run_with(&["shell", "demo"], lines.as_bytes());
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.text()
}

/// Runs lines with exec.
fn exec(place: &Place, options: &[&str], lines: &[&str]) -> Ran {
    let mut args = vec!["exec", "demo"];
    lines.iter().for_each(|line| args.extend(["-c", line]));
    args.extend(options);
    place.run(&args)
}

#[test]
fn plain_lines_without_a_prompt() {
    let place = Place::new();
    let ran =
        place.run_with(&["shell", "demo"], b"put hello world\nget hello\n\n# nothing\nget nosuch\ncount");
    assert_eq!((ran.code, ran.text().as_str()), (0, "1\nworld\n1\n"));
    assert_eq!(ran.err, "forelog: created a store in demo\n");
}

#[test]
fn each_answer_has_the_form_of_its_command() {
    let place = Place::with(&[("a", "1")]);
    let ran =
        exec(&place, &["-f", "json"], &["put b 2", "get b", "count", "scan --limit 1", "del b", "keyspaces"]);
    let lines: Vec<String> = ran.text().lines().map(str::to_owned).collect();
    let lsn: u64 = ran.json()[0]["lsn"].as_u64().unwrap();
    assert_eq!(lines[1..4], [r#"{"key":"b","value":"2"}"#, r#"{"count":2}"#, r#"{"key":"a","value":"1"}"#]);
    assert_eq!(lines[4], format!("{{\"lsn\":{}}}", lsn + 1));
    assert_eq!(lines[5], r#"{"keyspace":"default"}"#);
}

#[test]
fn a_batch_is_written_by_commit_alone() {
    let place = Place::with(&[("a", "1")]);
    let text = shell(
        &place,
        "batch\nput b 2\ndel a\ncount\ncommit\ncount\nget b\nbatch\nput c 3\nabort\ncount\nbatch\ncommit\n",
    );
    assert_eq!(text.lines().skip(2).collect::<Vec<_>>(), ["1", "2", "1"], "{text}");
    assert_eq!(text.lines().next(), Some("1"));
    let record = place.ok(&["log", "demo", "--key", "b", "-f", "json"]).json();
    assert_eq!(record.len(), 1);
    for wrong in [&["commit"][..], &["abort"], &["batch", "batch"]] {
        assert_eq!(exec(&place, &[], wrong).code, 2, "{wrong:?}");
    }
    let open = exec(&place, &[], &["batch", "put d 4"]);
    assert_eq!(open.code, 2);
    assert!(open.err.contains("a batch was not committed"), "{open:?}");
    place.says(&["count", "demo"], "1\n");
}

#[test]
fn words_of_every_kind() {
    let place = Place::with(&[]);
    shell(
        &place,
        "put \"a b\" 'it is \"so\"'\nput x \"two\nlines\"\nput \\x00\\xff \"\"\nput j {\"k\":1}\nput \"--limit\" -1\n",
    );
    assert_eq!(
        place.ok(&["scan", "demo", "-f", "table"]).text(),
        concat!(
            "key        value\n",
            "\\x00\\xff   \"\"\n",
            "\"--limit\"  -1\n",
            "\"a b\"      'it is \"so\"'\n",
            "j          {\"k\":1}\n",
            "x          two\\nlines\n",
        )
    );
}

#[test]
fn a_row_of_a_table_can_be_pasted_behind_put() {
    let place = Place::with(&[]);
    shell(&place, "put \"a b\" 'it is \"so\"'\nput \\x00\\xff \"\"\nput \"'\" \"\\\"'\"\nput tab \"\\t \"\n");
    let rows = place.ok(&["scan", "demo", "-f", "table"]).text();
    let puts: String = rows.lines().skip(1).map(|row| format!("put {row}\n")).collect();
    assert_eq!(place.run_with(&["shell", "copy"], puts.as_bytes()).code, 0);
    assert_eq!(place.ok(&["export", "copy"]).text(), place.ok(&["export", "demo"]).text());
}

#[test]
fn exec_stops_at_the_first_failure_and_an_absent_key_is_none() {
    let place = Place::with(&[("a", "1")]);
    let ran = exec(&place, &[], &["get nosuch", "get a", "bad", "put b 2"]);
    assert_eq!((ran.code, ran.text().as_str()), (2, "1\n"));
    assert_eq!(ran.err, "forelog: line 3: there is no command \"bad\"; .help names them all\n");
    place.says(&["count", "demo"], "1\n");
    let ran = exec(&place, &["--keep-going"], &["bad", "put b 2", "get"]);
    assert_eq!((ran.code, ran.err.lines().count()), (2, 2));
    place.says(&["count", "demo"], "2\n");
}

#[test]
fn exec_takes_lines_files_and_standard_input() {
    let place = Place::with(&[("a", "1")]);
    fs::write(place.path("script"), "get a\nput b \"two\nlines\"\nget b\n").unwrap();
    let ran = exec(&place, &["script"], &["count"]);
    let text = ran.text();
    assert_eq!(
        (text.lines().count(), text.starts_with("1\n1\n"), text.ends_with("two\\nlines\n")),
        (4, true, true)
    );
    assert_eq!(place.run_with(&["exec", "demo", "-"], b"count").text(), "2\n");
    let open = place.run_with(&["exec", "demo", "-"], b"put a \"open\n");
    assert_eq!((open.code, open.err.as_str()), (2, "forelog: line 1: the quote is not closed (column 7)\n"));
    place.fails(&["exec", "demo", "nosuch"], 5, "io");
}

#[test]
fn keyspaces_of_a_session_and_of_a_command() {
    let place = Place::with(&[("k", "default")]);
    let ran = exec(
        &place,
        &["--keyspace", "users"],
        &["put k 1", "get k", "get k --keyspace default", "count --keyspace default"],
    );
    assert_eq!(ran.text().lines().skip(1).collect::<Vec<_>>(), ["1", "default", "1"]);
    assert_eq!(exec(&place, &[], &["get k --keyspace nosuch"]).code, 2);
    assert_eq!(
        exec(&place, &[], &["put --keyspace new k v", "keyspaces"])
            .text()
            .lines()
            .skip(1)
            .collect::<Vec<_>>(),
        ["default", "users", "new"]
    );
}

#[test]
fn settings() {
    let place = Place::with(&[("a", "1"), ("b", "2")]);
    fs::write(place.path("more"), "get a\n.read nosuch\n").unwrap();
    let text = shell(
        &place,
        ".format\n.format json\ncount\n.format plain\n.once out\nscan\n.last\n.timer\n.trace\n.quit\ncount\n",
    );
    assert_eq!(text, "plain\n{\"count\":2}\na\t1\nb\t2\noff\noff\n");
    assert_eq!(fs::read_to_string(place.path("out")).unwrap(), "a\t1\nb\t2\n");
    for (lines, message) in [
        (".once out", "line 1: out exists; --force overwrites it"),
        (".format xml", "line 1: \"xml\" is none of auto, table, plain, json, csv, raw"),
        (".timer maybe", "line 1: \"maybe\" is neither on nor off"),
        (".last", "line 1: nothing was read so far"),
        (".read more", "line 1: line 2: cannot open nosuch: "),
        (".hepl", "line 1: there is no command \".hepl\"; did you mean \".help\"?"),
    ] {
        let ran = exec(&place, &[], &[lines]);
        assert!(ran.err.starts_with(&format!("forelog: {message}")), "{lines}: {ran:?}");
    }
    fs::write(place.path("loop"), ".read loop\n").unwrap();
    assert!(exec(&place, &[], &[".read loop"]).err.contains("no more than 8 deep"));
    assert!(exec(&place, &[], &[".timer on", "count"]).err.ends_with(" ms\n"));
}

#[test]
fn the_trace_tells_the_life_of_a_put() {
    let place = Place::with(&[]);
    let ran = exec(&place, &[], &[".trace on", "put user:1 alice"]);
    let steps: Vec<&str> = ran.err.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(steps, ["encode", "append", "apply", "sync", "publish"], "{ran:?}");
    assert!(ran.err.contains("LSN 2 → 00000000000000000001.wal @0x"), "{ran:?}");
}

#[test]
fn the_log_of_an_open_store_shows_what_is_durable() {
    let place = Place::with(&[]);
    let ran = exec(&place, &["-f", "json"], &["put a 1", "log --key a", "verify", "info"]);
    assert_eq!(ran.json()[1]["ops"][0]["key"], "a");
    assert_eq!(ran.json()[2]["status"], "live");
    assert_eq!(ran.json()[3]["keys"], 1);
    let ran = exec(&place, &["--durability", "buffered"], &["put b 2", "log --key b", "sync", "log --key b"]);
    assert_eq!(ran.text().lines().count(), 3, "{ran:?}");
    assert!(ran.err.contains("records that are not synced are left out: 1"), "{ran:?}");
}

#[test]
fn help_comes_from_the_table() {
    let place = Place::with(&[]);
    let help = shell(&place, ".help\n");
    for verb in ["put KEY VALUE …", "scan …", "commit", ".trace [on|off]", ".quit"] {
        assert!(help.lines().any(|line| line.starts_with(verb)), "{verb}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 80));
    let scan = shell(&place, ".help scan\n");
    assert!(scan.contains("  --keys-only         leave the values out\n"), "{scan}");
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CLI.md")).unwrap();
    assert!(page.contains(help.trim_end()), "docs/CLI.md shows .help as it is:\n{help}");
}
