//! import and export: what comes out goes in again, byte for byte; what is bad is named; what is durable is told.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use crate::support::Place;

fn lines(from: u64, to: u64) -> String {
    (from..to).map(|n| format!("{{\"key\":\"key-{n:06}\",\"value\":\"value {n}\"}}\n")).collect()
}

#[test]
fn a_round_trip_is_byte_identical() {
    let place = Place::new();
    let input = lines(0, 2_500);
    fs::write(place.path("in"), &input).unwrap();
    let answer = place.ok(&["import", "demo", "in", "-f", "json"]).json().remove(0);
    assert_eq!(answer["records"], 2_500);
    assert!(answer["seconds"].is_f64());
    place.ok(&["export", "demo", "out"]);
    assert_eq!(fs::read_to_string(place.path("out")).unwrap(), input);
    place.says(&["export", "demo"], &input);
    place.says(&["export", "demo", "-"], &input);
}

#[test]
fn spaces_order_and_repetition_in_the_input_do_not_matter() {
    let place = Place::new();
    let input = "{\"value\": \"1\", \"key\": \"b\"}\r\n\n { \"key\": \"a\", \"value\": \"\\u0031\" }\n{\"key\":\"b\",\"value\":\"2\"}";
    assert_eq!(place.run_with(&["import", "demo", "-"], input.as_bytes()).code, 0);
    place.says(&["export", "demo"], "{\"key\":\"a\",\"value\":\"1\"}\n{\"key\":\"b\",\"value\":\"2\"}\n");
}

#[test]
fn keyspaces_travel_with_the_lines() {
    let place = Place::with(&[("k", "1")]);
    place.ok(&["put", "demo", "k", "3", "--keyspace", "zebras"]);
    place.ok(&["put", "demo", "k", "2", "--keyspace", "apes"]);
    let all = place.ok(&["export", "demo", "all"]);
    assert_eq!((all.text().as_str(), all.err.as_str()), ("", ""));
    let text = fs::read_to_string(place.path("all")).unwrap();
    assert_eq!(
        text,
        concat!(
            "{\"key\":\"k\",\"value\":\"1\"}\n",
            "{\"key\":\"k\",\"value\":\"2\",\"keyspace\":\"apes\"}\n",
            "{\"key\":\"k\",\"value\":\"3\",\"keyspace\":\"zebras\"}\n",
        )
    );
    place.ok(&["import", "copy", "all"]);
    place.says(&["export", "copy"], &text);
    place.says(
        &["export", "copy", "--keyspace", "apes"],
        text.lines().nth(1).map(|line| format!("{line}\n")).unwrap().as_str(),
    );
    place.says(&["export", "copy", "-f", "csv"], "key,value,keyspace\nk,1,\nk,2,apes\nk,3,zebras\n");
    place.ok(&["import", "other", "all", "--keyspace", "main"]);
    place.says(&["keyspaces", "other"], "default\nmain\napes\nzebras\n");
}

#[test]
fn a_bad_line_is_named_and_earlier_batches_stay() {
    let place = Place::new();
    let input = format!("{}{{\"key\":\"x\"}}\n{}", lines(0, 25), lines(25, 30));
    fs::write(place.path("in"), input).unwrap();
    let error = place.fails(&["import", "demo", "in", "--batch", "10"], 2, "usage");
    assert!(error["error"].as_str().unwrap().starts_with("line 26: value"), "{error}");
    place.says(&["count", "demo"], "20\n");
}

#[test]
fn a_line_that_is_too_large_is_named() {
    let place = Place::new();
    place.ok(&["create", "demo", "--segment-bytes", "8192"]);
    let large = format!("{{\"key\":\"large\",\"value\":\"{}\"}}\n", "x".repeat(9_000));
    let error_of = |input: String| {
        fs::write(place.path("in"), input).unwrap();
        let error = place.fails(&["import", "demo", "in", "--batch", "10"], 2, "too_large");
        error["error"].as_str().unwrap().to_owned()
    };
    let message = error_of(format!("{}{large}{}", lines(0, 12), lines(12, 20)));
    assert!(message.starts_with("line 13: "), "{message}");
    place.says(&["count", "demo"], "10\n");
    let long_key = format!("{{\"key\":\"{}\",\"value\":\"\"}}\n", "k".repeat(65_536));
    let message = error_of(format!("{}{long_key}", lines(0, 1)));
    assert!(message.starts_with("line 2: the key has 65536 bytes"), "{message}");
}

#[test]
fn a_batch_that_no_segment_holds_is_divided() {
    let place = Place::new();
    place.ok(&["create", "demo", "--segment-bytes", "8192"]);
    let input = lines(0, 1_000);
    fs::write(place.path("in"), &input).unwrap();
    place.ok(&["import", "demo", "in"]);
    place.says(&["export", "demo"], &input);
}

#[test]
fn acknowledgements_count_lines_of_the_input() {
    let place = Place::new();
    fs::write(place.path("in"), format!("\n{}", lines(0, 24))).unwrap();
    let acknowledged = |args: &[&str]| -> Vec<u64> {
        let ran = place
            .ok(&[&["-q", "import", "demo", "in", "--batch", "10", "--progress", "json"], args].concat());
        ran.err
            .lines()
            .map(|line| {
                let object: serde_json::Value = serde_json::from_str(line).unwrap();
                object["acknowledged"].as_u64().unwrap()
            })
            .collect()
    };
    assert_eq!(acknowledged(&[]), [10, 20, 25]);
    assert_eq!(acknowledged(&["--skip", "20"]), [25]);
    assert_eq!(acknowledged(&["--skip", "7", "--durability", "buffered"]), [17, 25]);
    assert_eq!(acknowledged(&["--skip", "99"]), [25]);
    place.says(&["count", "demo"], "24\n");
}

#[test]
fn skip_leaves_the_first_lines_out_unread() {
    let place = Place::new();
    fs::write(place.path("in"), format!("this is no JSON\n{}", lines(0, 3))).unwrap();
    let text = place.ok(&["import", "demo", "in", "--skip", "2", "-f", "csv"]).text();
    assert!(text.starts_with("records,seconds\n2,"), "{text}");
    place.says(&["export", "demo"], &lines(1, 3));
}

#[test]
fn to_skip_everything_is_told() {
    let place = Place::new();
    fs::write(place.path("in"), lines(0, 3)).unwrap();
    let ran = place.ok(&["import", "demo", "in", "--skip", "4"]);
    assert!(
        ran.err.ends_with("forelog: nothing is imported: --skip 4 leaves out all 3 lines\n"),
        "{}",
        ran.err
    );
    let ran = place.ok(&["import", "demo", "in", "--skip", "3"]);
    assert_eq!(ran.err, "", "going on behind the last line is the usual end of an import");
}

#[cfg(unix)]
#[test]
fn control_c_ends_between_two_batches() {
    let place = Place::new();
    let mut child = place.spawn(&["import", "demo", "-", "--batch", "10", "--progress", "json"]);
    let mut input = child.stdin.take().unwrap();
    input.write_all(lines(0, 25).as_bytes()).unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(told.any(|line| line == "{\"acknowledged\":20}"));
    // The input stays open: five lines of the third batch wait for more.
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(told.next().unwrap(), "forelog: interrupted after 20 lines; --skip 20 goes on from there");
    drop(input);
    place.says(&["count", "demo"], "20\n");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_bytes_survive_the_round_trip(
        entries in prop::collection::btree_map(prop::collection::vec(any::<u8>(), 0..8), prop::collection::vec(any::<u8>(), 0..40), 0..30)
    ) {
        let base64 = |bytes: &[u8]| STANDARD.encode(bytes);
        let input: String = entries
            .iter()
            .map(|(key, value)| format!("{{\"key_base64\":\"{}\",\"value_base64\":\"{}\"}}\n", base64(key), base64(value)))
            .collect();
        let place = Place::new();
        prop_assert_eq!(place.run_with(&["import", "demo", "-"], input.as_bytes()).code, 0);
        let exported = place.ok(&["export", "demo"]).out;
        prop_assert_eq!(place.run_with(&["import", "copy", "-"], &exported).code, 0);
        prop_assert_eq!(place.ok(&["export", "copy"]).out, exported);
        let copy = forelog::Db::open(place.path("copy")).unwrap();
        let read: Vec<_> = copy.iter().map(|entry| (entry.key().to_vec(), entry.value().to_vec())).collect();
        prop_assert_eq!(read, entries.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_bad_name_of_a_keyspace_is_named_by_its_line() {
    let place = Place::new();
    let long = "x".repeat(65_536);
    for (name, kind) in [("", "usage"), (long.as_str(), "too_large")] {
        let lines = format!(
            "{{\"key\":\"a\",\"value\":\"1\"}}\n{{\"key\":\"b\",\"value\":\"2\",\"keyspace\":\"{name}\"}}\n"
        );
        let ran = place.run_with(&["-f", "json", "import", "demo", "-"], lines.as_bytes());
        assert_eq!((ran.code, &ran.error()["kind"]), (2, &kind.into()), "{ran:?}");
        let error = ran.error();
        assert!(error["error"].as_str().unwrap().starts_with("line 2: "), "{error}");
        place.says(&["count", "demo"], "0\n");
    }
}

/// The finished file was renamed to the name that was given, whatever stood there: as root, `export DIR /dev/null
/// --force` put a file in the place of the device.
#[test]
fn only_a_file_is_overwritten() {
    let place = Place::with(&[("a", "1")]);
    let pipe = place.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    place.fails(&["export", "demo", "pipe", "--force"], 2, "usage");
    fs::create_dir(place.path("dir")).unwrap();
    place.fails(&["export", "demo", "dir", "--force"], 2, "usage");
    assert!(!pipe.symlink_metadata().unwrap().is_file());
    fs::write(place.path("target"), "old").unwrap();
    std::os::unix::fs::symlink("target", place.path("link")).unwrap();
    place.ok(&["export", "demo", "link", "--force"]);
}
