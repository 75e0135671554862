//! info, log, verify and repair: on a sound store, a torn one, a damaged one, and a log alone.

use std::fs;

use forelog::WalOptions;

use crate::support::Place;

const SEGMENT: &str = "demo/00000000000000000001.wal";

/// The offset behind the last record of the first segment.
fn end_of_log(place: &Place) -> usize {
    let last = place.ok(&["log", "demo", "-f", "json"]).json().pop().unwrap();
    usize::try_from(last["offset"].as_u64().unwrap() + last["bytes"].as_u64().unwrap()).unwrap()
}

fn change(place: &Place, file: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(place.path(file)).unwrap();
    change(&mut bytes);
    fs::write(place.path(file), bytes).unwrap();
}

#[test]
fn info_has_the_fields_of_the_contract() {
    let place = Place::with(&[("a", "1"), ("b", "2")]);
    let info = place.ok(&["info", "demo", "-f", "json"]).json().remove(0);
    assert_eq!(info["store_id"].as_str().unwrap().len(), 32);
    assert_eq!((&info["first_lsn"], &info["keys"]), (&1.into(), &2.into()));
    assert!(info["durable_lsn"].as_u64() <= info["visible_lsn"].as_u64());
    let segment = &info["segments"][0];
    assert_eq!((&segment["file"], &segment["base_lsn"]), (&"00000000000000000001.wal".into(), &1.into()));
    assert_eq!((&segment["state"], &segment["last_lsn"]), (&"active".into(), &info["visible_lsn"]));
    assert!(segment["bytes"].is_u64());
    assert!(info.as_object().unwrap()["checkpoint"].is_null());
    assert!(info.as_object().unwrap()["archive"].is_null());
    assert_eq!(info["retention"], "any()");
    assert!(place.ok(&["info", "demo"]).text().contains("keys\t2\n"));
}

#[test]
fn log_has_the_fields_of_the_contract() {
    let place = Place::with(&[("a", "1")]);
    place.ok(&["put", "demo", "--escaped", r"\xff", "2", "--keyspace", "users"]);
    place.ok(&["del", "demo", "a"]);
    let log = place.ok(&["log", "demo", "-f", "json"]).json();
    let lsns: Vec<u64> = log.iter().map(|record| record["lsn"].as_u64().unwrap()).collect();
    assert!(lsns.iter().copied().eq(1..=lsns.len() as u64), "dense, from 1: {lsns:?}");
    for record in &log {
        assert!(record["time"].as_str().unwrap().ends_with('Z'));
        assert!(record["file"].is_string() && record["offset"].is_u64() && record["bytes"].is_u64());
    }
    let ops: Vec<String> =
        log.iter().flat_map(|record| record["ops"].as_array().unwrap()).map(|op| op.to_string()).collect();
    assert_eq!(
        ops,
        [
            r#"{"key":"a","keyspace":"default","op":"put","value":"1"}"#,
            r#"{"keyspace":"users","op":"create_keyspace"}"#,
            r#"{"key_base64":"/w==","keyspace":"users","op":"put","value":"2"}"#,
            r#"{"key":"a","keyspace":"default","op":"delete"}"#,
        ]
    );
    assert_eq!(log.last().unwrap()["kind"], "close-mark");
}

#[test]
fn parts_of_a_log() {
    let place = Place::new();
    place.ok(&["exec", "demo", "-c", "put a 1", "-c", "put b 2", "-c", "put a 3"]);
    let lsns = |options: &[&str]| -> Vec<u64> {
        let args = [&["log", "demo", "-f", "json"], options].concat();
        place.ok(&args).json().iter().map(|record| record["lsn"].as_u64().unwrap()).collect()
    };
    assert_eq!(lsns(&["--from-lsn", "2", "--to-lsn", "3"]), [2, 3]);
    assert_eq!(lsns(&["--key", "a"]), [1, 3]);
    assert_eq!(lsns(&["--from-lsn", "99"]), [0_u64; 0]);
    let stats = place.ok(&["log", "demo", "--stats", "-f", "json"]).json().remove(0);
    assert_eq!((&stats["puts"], &stats["deletes"], &stats["first_lsn"]), (&3.into(), &0.into(), &1.into()));
    let hex = place.ok(&["log", "demo", "--hex", "--to-lsn", "1", "-f", "json"]).json().remove(0);
    assert_eq!(hex["hex"].as_str().unwrap().len() as u64, 2 * hex["bytes"].as_u64().unwrap());
    let dump = place.ok(&["log", "demo", "--hex", "--to-lsn", "1"]).text();
    assert!(dump.contains("\n  put a 1\n  00001000  "), "{dump}");
    let table = place.ok(&["log", "demo", "--to-lsn", "1", "-f", "table"]).text();
    assert!(
        table.starts_with("00000000000000000001.wal\nlsn  time") && table.ends_with("  put a 1\n"),
        "{table}"
    );
}

#[test]
fn a_log_alone_is_read_too() {
    let place = Place::new();
    let wal = WalOptions::new().segment_bytes(8192).open(place.path("original")).unwrap();
    wal.append(b"hello").unwrap();
    wal.close().unwrap();
    // A copy, because a process that another test has just forked may still hold the original's lock.
    fs::create_dir(place.path("log")).unwrap();
    let name = "00000000000000000001.wal";
    fs::copy(place.path("original").join(name), place.path("log").join(name)).unwrap();
    let record = place.ok(&["log", "log", "-f", "json"]).json().remove(0);
    assert_eq!(record["ops"].to_string(), r#"[{"op":"payload","value":"hello"}]"#);
    assert_eq!(place.ok(&["verify", "log", "-f", "json"]).json()[0]["status"], "clean");
}

#[test]
fn a_sound_store_is_clean() {
    let place = Place::with(&[("a", "1")]);
    place.says(&["verify", "demo", "-f", "json"], "{\"status\":\"clean\",\"records\":3,\"problems\":[]}\n");
    place.says(&["verify", "demo"], "status\tclean\nrecords\t3\n");
}

#[test]
fn a_torn_tail_is_named_and_left_out() {
    let place = Place::with(&[("a", "1")]);
    let end = end_of_log(&place);
    change(&place, SEGMENT, |bytes| bytes[end..end + 100].fill(0xaa));
    let verify = place.run(&["verify", "demo", "-f", "json"]);
    assert_eq!(verify.code, 1);
    let verdict = verify.json().remove(0);
    assert_eq!((&verdict["status"], &verdict["problems"][0]["offset"]), (&"torn".into(), &end.into()));
    let get = place.ok(&["get", "demo", "a"]);
    assert!(get.err.contains("unfinished write, which is left out"), "{get:?}");
    assert_eq!(place.run(&["verify", "demo"]).code, 1, "reading changes nothing");
    let put = place.ok(&["put", "demo", "b", "2"]);
    assert!(put.err.contains("unfinished write, which was cut off"), "{put:?}");
    assert_eq!(place.ok(&["verify", "demo", "-f", "json"]).json()[0]["status"], "clean");
    place.says(&["count", "demo"], "2\n");
}

#[test]
fn corruption_is_refused_with_its_place() {
    let place = Place::with(&[("aaaa", "1"), ("bbbb", "2")]);
    let first = place.ok(&["log", "demo", "--key", "aaaa", "-f", "json"]).json().remove(0);
    let offset = usize::try_from(first["offset"].as_u64().unwrap()).unwrap();
    change(&place, SEGMENT, |bytes| bytes[offset + 51] ^= 1);
    let before = fs::read(place.path(SEGMENT)).unwrap();
    for args in
        [&["get", "demo", "aaaa"][..], &["put", "demo", "c", "3"], &["scan", "demo"], &["info", "demo"]]
    {
        let error = place.fails(args, 3, "corruption");
        assert!(error["file"].as_str().unwrap().ends_with(".wal"), "{error}");
        assert_eq!((&error["offset"], &error["lsn"]), (&first["offset"], &first["lsn"]));
    }
    let verify = place.run(&["verify", "demo", "-f", "json"]);
    assert_eq!((verify.code, verify.err.as_str()), (3, ""));
    let verdict = verify.json().remove(0);
    let problem = &verdict["problems"][0];
    assert_eq!((&verdict["status"], &problem["kind"]), (&"corrupt".into(), &"payload".into()));
    assert_eq!((&problem["offset"], &problem["lsn"]), (&first["offset"], &first["lsn"]));
    assert!(problem["file"].is_string() && problem["evidence"].as_str().unwrap().contains("proves"));
    assert_eq!(fs::read(place.path(SEGMENT)).unwrap(), before);
}

#[test]
fn a_missing_segment_is_named() {
    let place = Place::new();
    place.ok(&["create", "demo", "--segment-bytes", "8192"]);
    let value = "x".repeat(1000);
    for key in 0..20 {
        place.ok(&["put", "demo", &key.to_string(), &value]);
    }
    let info = place.ok(&["info", "demo", "-f", "json"]).json().remove(0);
    let second = &info["segments"][1];
    assert_eq!(info["segments"][0]["state"], "closed");
    fs::remove_file(place.path("demo").join(second["file"].as_str().unwrap())).unwrap();
    for args in [&["get", "demo", "1"][..], &["put", "demo", "1", "2"]] {
        let error = place.fails(args, 3, "missing_segment");
        assert_eq!(error["lsn"], second["base_lsn"], "{error}");
    }
    assert_eq!(place.run(&["verify", "demo"]).code, 3);
}

/// Opening a pipe waits for somebody at its other end: a pipe in the place of a file hung every command.
#[test]
fn a_pipe_in_the_place_of_a_file_is_refused() {
    for name in ["LOCK", "MANIFEST", "00000000000000000001.wal"] {
        let place = Place::with(&[("a", "1")]);
        let path = place.path("demo").join(name);
        fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        for args in [&["verify", "demo"][..], &["get", "demo", "a"], &["put", "demo", "a", "2"]] {
            place.fails(args, 5, "io");
        }
    }
}

#[test]
fn a_checkpoint_lets_the_log_go_and_prune_says_why_the_rest_stays() {
    let place = Place::new();
    place.ok(&["create", "demo", "--segment-bytes", "8192", "--retention", "any(count:1)"]);
    for key in 0..20 {
        place.ok(&["put", "demo", &format!("k{key}"), &"v".repeat(1000)]);
    }
    let before = place.ok(&["info", "demo", "-f", "json"]).json().remove(0);
    let dry = place.ok(&["prune", "demo", "--dry-run", "-f", "json"]).json().remove(0);
    assert!(dry["removed"].as_array().unwrap().is_empty());
    assert!(dry["kept"][0]["reason"].as_str().unwrap().contains("no checkpoint"));

    let lsn = place.ok(&["checkpoint", "demo", "-f", "json"]).json().remove(0)["lsn"].clone();
    let info = place.ok(&["info", "demo", "-f", "json"]).json().remove(0);
    assert_eq!(info["checkpoint"]["lsn"], lsn);
    assert!(info["checkpoint"]["bytes"].as_u64().unwrap() > 20_000);
    assert_eq!(info["retention"], "any(count:1)");
    let segments = |info: &serde_json::Value| info["segments"].as_array().unwrap().len();
    assert!(segments(&info) < segments(&before));
    let plain = place.ok(&["prune", "demo", "--dry-run"]).text();
    assert!(plain.contains("the retention policy keeps it: count:1"), "{plain}");
    assert_eq!(place.ok(&["count", "demo"]).text(), "20\n");
    // Nothing is created where there is no store.
    for command in ["checkpoint", "prune"] {
        place.fails(&[command, "nosuch"], 5, "no_store");
    }
}

#[test]
fn an_archive_that_is_gone_is_warned_of() {
    // Shows that a command which took a checkpoint says that nothing goes, and where the archive should be.
    let place = Place::new();
    place.ok(&["create", "demo", "--segment-bytes", "8192", "--archive", "mnt/archive"]);
    let fill = || {
        let put =
            |number: usize| place.ok(&["put", "demo", &format!("key{number}"), &"v".repeat(3000)]).text();
        (0..6).for_each(|number| drop(put(number)));
        place.ok(&["checkpoint", "demo"])
    };
    assert_eq!(fill().err, "");
    fs::rename(place.path("mnt"), place.path("away")).unwrap();
    let warned = fill().err;
    assert!(warned.contains("nothing goes while it cannot be archived"), "{warned}");
    assert!(warned.contains("gone, or not mounted"), "{warned}");
    fs::rename(place.path("away"), place.path("mnt")).unwrap();
    assert_eq!(fill().err, "");
}

#[test]
fn back_to_any_lsn_from_the_store_or_from_its_archive() {
    let place = Place::new();
    place.ok(&["create", "demo", "--segment-bytes", "8192", "--archive", "archive"]);
    for key in 0..20 {
        place.ok(&["put", "demo", &format!("k{key:02}"), &"v".repeat(1000), "--keyspace", "users"]);
    }
    place.ok(&["checkpoint", "demo"]);
    let info = place.ok(&["info", "demo", "-f", "json"]).json().remove(0);
    assert!(info["first_lsn"].as_u64() > Some(10) && info["archive"].as_str().unwrap().ends_with("archive"));
    // The log is still whole, with the names of keyspaces and of files that are there.
    let log = place.ok(&["log", "demo", "-f", "json"]).json();
    assert_eq!(log[0]["lsn"], 1);
    assert_eq!(log.last().unwrap()["lsn"], info["visible_lsn"]);
    let first = log.iter().find(|record| record["kind"] == "data").unwrap();
    assert!(std::path::Path::new(first["file"].as_str().unwrap()).exists(), "{first}");
    let archived = place.ok(&["log", "archive", "-f", "json"]).json();
    assert!(archived.iter().any(|record| record["ops"][0]["keyspace"] == "users"), "{archived:?}");
    assert!(place.ok(&["log", "archive", "--hex", "--to-lsn", "1"]).text().contains("00001000"));

    // k05 was there from LSN 14 on.
    let lsn = log.iter().find(|record| record["ops"][0]["key"] == "k05").unwrap()["lsn"].to_string();
    for from in ["demo", "archive"] {
        let out = format!("from-{from}");
        let restored = place.ok(&["restore", from, &out, "--to-lsn", &lsn, "-f", "json"]).json().remove(0);
        assert_eq!(restored["lsn"].to_string(), lsn);
        assert!(restored["files"].is_u64() && restored["bytes"].is_u64());
        assert_eq!(place.ok(&["count", &out, "--keyspace", "users"]).text(), "6\n");
        let time = first["time"].as_str().unwrap();
        place.ok(&["restore", from, &format!("{out}-time"), "--to-time", time]);
        place.fails(&["restore", from, &out], 2, "usage");
    }
    place.fails(&["restore", "demo", "x", "--to-lsn", "9999"], 2, "usage");
    place.fails(&["restore", "demo", "x", "--to-time", "yesterday"], 2, "usage");
    place.fails(&["restore", "nosuch", "x"], 5, "no_store");
    let ran = place.ok(&["restore", "demo", "early", "--to-time", "2001-01-01T00:00:00Z"]);
    assert!(ran.err.contains("the new store is empty"), "{ran:?}");

    let copied = place.ok(&["backup", "demo", "copy", "-f", "json"]).json().remove(0);
    assert!(copied["lsn"].as_u64() >= info["visible_lsn"].as_u64());
    assert_eq!(place.ok(&["count", "copy", "--keyspace", "users"]).text(), "20\n");
    place.fails(&["backup", "demo", "copy"], 2, "usage");
}

#[test]
fn the_claim_of_durability_can_be_repeated() {
    let place = Place::new();
    let args = ["crash-test", "--seed", "5", "--runs", "300"];
    let answer = place.ok(&[&args[..], &["-f", "json"]].concat()).json().remove(0);
    assert_eq!(
        (&answer["seed"], &answer["power_cuts"], &answer["violations"]),
        (&5.into(), &300.into(), &0.into())
    );
    let paths = answer["paths"].as_array().unwrap();
    let cuts: u64 = paths.iter().map(|path| path["power_cuts"].as_u64().unwrap()).sum();
    assert_eq!(cuts, 300);
    let text = place.ok(&args).text();
    assert!(text.contains("checkpoint\t") && text.ends_with("violations\t0\n"), "{text}");
    assert!(fs::read_dir(place.path(".")).unwrap().next().is_none(), "nothing is written");
}

#[test]
fn repair_says_what_it_would_do_and_does_it() {
    let place = Place::with(&[("a", "1"), ("b", "2"), ("c", "3")]);
    let sound = place.run(&["repair", "demo", "-f", "json"]);
    assert_eq!((sound.code, sound.text().as_str()), (0, "{\"actions\":[],\"left\":[],\"lost\":[]}\n"));
    assert_eq!(place.run(&["repair", "demo", "--apply", "--out", "copy"]).code, 0);
    assert!(!place.path("copy").exists(), "a sound store is left alone");
    assert_eq!(place.run(&["repair", "nowhere"]).code, 5);

    // A torn end: in place.
    let end = end_of_log(&place);
    change(&place, SEGMENT, |bytes| bytes[end..end + 30].fill(7));
    let torn = place.run(&["repair", "demo", "-f", "json"]);
    assert_eq!(torn.code, 1);
    let told = torn.json().remove(0);
    assert!(told["actions"][0]["action"].as_str().unwrap().starts_with("cut off the unfinished write"));
    assert_eq!(place.run(&["repair", "demo", "--apply"]).code, 0);
    assert_eq!(place.run(&["verify", "demo"]).code, 0);

    // Damage: into another directory.
    let records = place.ok(&["log", "demo", "-f", "json"]).json();
    let record = records.iter().find(|record| record["ops"][0]["key"] == "b").unwrap();
    let (offset, lsn) = (record["offset"].as_u64().unwrap(), record["lsn"].as_u64().unwrap());
    change(&place, SEGMENT, |bytes| bytes[usize::try_from(offset).unwrap() + 50] ^= 1);
    let before = fs::read(place.path(SEGMENT)).unwrap();
    let told = place.run(&["repair", "demo"]);
    assert_eq!(told.code, 1);
    assert!(told.text().contains(&format!("lost\tLSN {lsn}\t")), "{}", told.text());
    let refused = place.run(&["repair", "demo", "--apply"]);
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("--out DIR2 writes what is sound of it"), "{}", refused.err);
    let done = place.run(&["repair", "demo", "--apply", "--out", "copy", "-f", "json"]);
    assert_eq!((done.code, &done.json()[0]["lost"][0]["to_lsn"]), (0, &lsn.into()));
    assert_eq!(fs::read(place.path(SEGMENT)).unwrap(), before, "as it was");
    assert_eq!(place.ok(&["scan", "copy"]).text(), "a\t1\nc\t3\n");
    assert_eq!(place.run(&["repair", "demo", "--apply", "--out", "copy"]).code, 2, "it is there already");
}

/// `inspect` names every byte of every file of a store and of an archive, or only those around an offset; hides contents on
/// demand; and answers what is no file, no offset or nothing of ours with what is wrong.
#[test]
fn inspect_names_every_byte() {
    let place = Place::new();
    place.ok(&["create", "demo", "--segment-bytes", "8192", "--archive", "demo-archive"]);
    place.ok(&["put", "demo", "user:1", "alice"]);
    let whole = place.ok(&["inspect", SEGMENT, "-f", "json"]).json();
    let mut end = 0;
    for piece in &whole {
        assert_eq!(piece["offset"], end, "{piece}");
        end += piece["bytes"].as_u64().unwrap();
    }
    assert_eq!(end, 8192);
    let of = |pieces: &[serde_json::Value], field: &str| -> Vec<serde_json::Value> {
        pieces.iter().filter(|piece| piece["field"] == field).map(|piece| piece["value"].clone()).collect()
    };
    assert_eq!((of(&whole, "key"), of(&whole, "base")), (vec!["user:1".into()], vec![1.into()]));
    let key = whole.iter().find(|piece| piece["field"] == "key").unwrap();
    let (at, record) = (key["offset"].as_u64().unwrap(), key["of"].as_str().unwrap());
    for at in [at.to_string(), format!("{at:#x}")] {
        let some = place.ok(&["inspect", &format!("{SEGMENT}@{at}"), "-f", "json"]).json();
        assert!(some.len() > 10 && some.iter().all(|piece| piece["of"] == record), "{some:?}");
    }
    let table = place.ok(&["inspect", &format!("{SEGMENT}@{at}"), "-f", "table"]).text();
    assert!(table.starts_with(record) && table.contains("75 73 65 72 3a 31"), "{table}");
    for form in ["table", "plain", "json", "csv"] {
        let hidden = place.ok(&["inspect", SEGMENT, "--redact", "-f", form]).text();
        assert!(hidden.contains("[6 bytes]") && !hidden.contains("user:1"), "{hidden}");
        assert!(!hidden.contains("75 73 65 72"), "{hidden}");
    }
    change(&place, SEGMENT, |bytes| bytes[usize::try_from(at).unwrap()] ^= 1);
    let damaged = place.ok(&["inspect", SEGMENT, "-f", "json"]).json();
    let wrong: Vec<_> = damaged.iter().filter(|piece| !piece["wrong"].is_null()).collect();
    assert!(wrong.len() == 1 && wrong[0]["field"] == "payload_checksum", "{wrong:?}");
    change(&place, SEGMENT, |bytes| bytes[usize::try_from(at).unwrap()] ^= 1);

    place.ok(&["checkpoint", "demo"]);
    place.says(
        &["exec", "demo", "-c", "inspect MANIFEST@0 ", "-f", "csv"],
        &place.ok(&["inspect", "demo/MANIFEST@0", "-f", "csv"]).text(),
    );
    for dir in ["demo", "demo-archive"] {
        for file in fs::read_dir(place.path(dir)).unwrap() {
            let file = format!("{dir}/{}", file.unwrap().file_name().to_string_lossy());
            let pieces = place.ok(&["inspect", &file, "-f", "json"]).json();
            assert!(pieces.iter().all(|piece| piece["wrong"].is_null()), "{file}");
        }
    }
    fs::write(place.path("letter@home"), "Dear reader").unwrap();
    for (file, code, kind) in [
        ("letter@home", 2, "usage"),
        ("demo/MANIFEST@99999", 2, "usage"),
        ("demo/MANIFEST@first", 2, "usage"),
        ("demo/nothing", 5, "io"),
        ("demo/nothing.lz4", 5, "io"),
        ("demo", 5, "io"),
    ] {
        place.fails(&["inspect", file], code, kind);
    }
}
