//! Stores as this format version wrote them, checked in under `tests/golden/v1`: they must stay readable for ever, and
//! the code must go on writing the same bytes.
//!
//! | directory | what it is |
//! | --- | --- |
//! | `clean` | a store closed in good order: four segments, three checksums, keyspaces, deletes, marks |
//! | `torn` | a store as a power cut left it: an unproven record, then half a record |
//! | `checkpoint` | a store with a checkpoint of two keyspaces, whose log begins in the middle |
//! | `dropped` | a store with a dropped keyspace in its log, and the number of another one in its checkpoint |
//! | `cut` | a log alone, cut after LSN 6 by a process that died before it removed the file that was out |
//!
//! Each has an `expected.txt`, which says what is in it.
//!
//! **A new format version** gets a directory of its own, written by
//! `FORELOG_BLESS=1 cargo test --locked --test golden -- --ignored bless`; the old one stays as it is, with its tests.
//! What a release has written is never blessed again. Of the two tests for writing, the one that encodes each part again
//! fails only if the format has changed; the other also fails if the engine takes its steps in another order, or draws
//! times and salts at another point. If that is all, and the other tests pass, the bytes may be blessed in place.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use forelog::format::checkpoint::PART_HEADER_BYTES;
use forelog::format::manifest::Manifest;
use forelog::format::record::RecordHeader;
use forelog::format::seal::{SEAL_BYTES, Seal};
use forelog::format::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use forelog::format::{FORMAT_VERSION, Op, batch_body, names};
use forelog::storage::{CrashPoint, Outcome, Rest, SimDisk};
use forelog::wal::{LogReader, LogStatus};
use forelog::{
    Checksum, Db, Durability, Error, Lsn, Options, WalOptions, WriteBatch, WriteOptions, care, wal,
};

/// A store that was closed in good order.
fn write_clean() -> SimDisk {
    let disk = SimDisk::new(1);
    for (stage, checksum) in (1..).zip(Checksum::ALL) {
        disk.set_clock_us(START_US + stage * 1_000_000);
        let db = store_options(&disk).checksum(checksum).open("data").unwrap();
        let users = db.keyspace("users").unwrap();
        db.put("stage", checksum.name()).unwrap();
        let mut batch = WriteBatch::new();
        batch.put_in(&users, stage.to_string(), "alice");
        batch.put_in(&users, b"\x00\xff", b"");
        batch.put("", [0, 1, 254, 255]);
        batch.delete("no such key");
        db.write(batch).unwrap();
        // Without a sync, so that the next record states an older durable LSN; and the clock runs backwards.
        disk.set_clock_us(START_US);
        let buffered = WriteOptions::new().durability(Durability::Buffered);
        for fill in ["a", "b", "c"] {
            let mut batch = WriteBatch::new();
            batch.put(format!("fill:{stage}{fill}"), fill.repeat(900));
            db.write_with(batch, &buffered).unwrap();
        }
        db.mark().unwrap();
        db.put(format!("long:{}", "k".repeat(300)), "v".repeat(700)).unwrap();
        db.delete(format!("fill:{stage}b")).unwrap();
        db.close().unwrap();
    }
    let db = store_options(&disk).open("data").unwrap();
    db.keyspace("emails").unwrap().put("alice@example.org", "1").unwrap();
    db.close().unwrap();
    disk
}

/// A store whose power was cut while a record was being written.
fn write_torn() -> SimDisk {
    let disk = SimDisk::new(2);
    disk.set_clock_us(START_US);
    let db = store_options(&disk).open("data").unwrap();
    db.put("a", "durable, and proven so by the next record").unwrap();
    let buffered = WriteOptions::new().durability(Durability::Buffered);
    let mut batch = WriteBatch::new();
    batch.put("b", "written, not synced, and there by chance");
    db.write_with(batch, &buffered).unwrap();
    let point = crash_at(&disk, "write", || drop(db.put("c", "torn in the middle of this value")));
    point.apply(&Outcome::Torn { at: 70, rest: Rest::Zero })
}

/// A store with a checkpoint, and records before and behind it in the same segment.
fn write_checkpoint() -> SimDisk {
    let disk = SimDisk::new(4);
    disk.set_clock_us(START_US);
    let policy = "any(count:1)".parse().unwrap();
    let options =
        store_options(&disk).checksum(Checksum::Xxh3).retention(policy).checkpoint_after_bytes(None);
    let db = options.open("data").unwrap();
    let users = db.keyspace("users").unwrap();
    for number in 0..12 {
        let mut batch = WriteBatch::new();
        batch.put(format!("fill:{}", number % 5), "x".repeat(900 + number));
        batch.put_in(&users, number.to_string(), b"\x00\xff");
        batch.delete_in(&users, "3");
        db.write(batch).unwrap();
    }
    db.checkpoint().unwrap();
    db.put("after", "the checkpoint").unwrap();
    db.delete("fill:1").unwrap();
    db.keyspace("emails").unwrap().put("alice@example.org", "1").unwrap();
    db.close().unwrap();
    disk
}

/// A store that has had three keyspaces beside the default one, and has one.
fn write_dropped() -> SimDisk {
    let disk = SimDisk::new(5);
    disk.set_clock_us(START_US);
    let db = store_options(&disk).checkpoint_after_bytes(None).open("data").unwrap();
    for name in ["users", "cache", "gone"] {
        db.keyspace(name).unwrap().put("a", name).unwrap();
    }
    db.drop_keyspace("gone").unwrap();
    db.checkpoint().unwrap();
    db.drop_keyspace("cache").unwrap();
    db.keyspace("cache").unwrap().put("a", "another one").unwrap();
    db.drop_keyspace("users").unwrap();
    db.close().unwrap();
    disk
}

/// A log alone whose process died between the cut and the removal of what was cut out.
fn write_cut() -> SimDisk {
    let disk = SimDisk::new(3);
    disk.set_clock_us(START_US);
    let log = log_options(&disk).open("data").unwrap();
    log.append(b"").unwrap();
    for number in 2..=11 {
        log.append("x".repeat(900 + number).as_bytes()).unwrap();
    }
    let point = crash_at(&disk, "remove", || log.cut_after(Lsn::new(6)).unwrap());
    point.apply(&Outcome::None)
}

const START_US: u64 = 1_700_000_000_000_000;

fn store_options(disk: &SimDisk) -> Options {
    Options::new().storage(Arc::new(disk.clone())).segment_bytes(8192).idle_mark(None).spare_ahead(false)
}

fn log_options(disk: &SimDisk) -> WalOptions {
    let options = WalOptions::new().storage(Arc::new(disk.clone())).idle_mark(None).spare_ahead(false);
    options.segment_bytes(8192).checksum(Checksum::Xxh3)
}

/// The first operation of this kind that `action` causes, about to happen.
fn crash_at(disk: &SimDisk, operation: &str, action: impl FnOnce()) -> CrashPoint {
    disk.record();
    action();
    let mut points = disk.take_crash_points().into_iter();
    points.find(|point| point.describe().starts_with(operation)).unwrap()
}

/// The files of a directory by their names.
type Files = BTreeMap<String, Vec<u8>>;

struct Golden {
    name: &'static str,
    write: fn() -> SimDisk,
    is_store: bool,
    status: LogStatus,
}

const ALL: [Golden; 5] = [
    Golden { name: "clean", write: write_clean, is_store: true, status: LogStatus::Clean },
    Golden { name: "torn", write: write_torn, is_store: true, status: LogStatus::Torn },
    Golden { name: "cut", write: write_cut, is_store: false, status: LogStatus::Clean },
    Golden { name: "checkpoint", write: write_checkpoint, is_store: true, status: LogStatus::Clean },
    Golden { name: "dropped", write: write_dropped, is_store: true, status: LogStatus::Clean },
];

impl Golden {
    fn dir(&self) -> PathBuf {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        root.join(format!("v{FORMAT_VERSION}")).join(self.name)
    }

    /// The checked-in files.
    fn files(&self) -> Files {
        let entries = fs::read_dir(self.dir().join("data")).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| (file_name(&path), fs::read(&path).unwrap())).collect()
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn files_of(disk: &SimDisk) -> Files {
    disk.files().iter().map(|path| (file_name(path), disk.read_file(path).unwrap())).collect()
}

fn disk_with(files: &Files) -> SimDisk {
    let disk = SimDisk::new(99);
    files.iter().for_each(|(name, bytes)| disk.write_file(format!("data/{name}"), bytes));
    disk
}

/// What a directory holds, as `expected.txt` says it: the verdict, each record, and in a store each key. Changes nothing.
fn describe(golden: &Golden, files: &Files) -> String {
    let disk = disk_with(files);
    let mut text = String::new();
    let verification = care::verify_on(Arc::new(disk.clone()), "data").unwrap();
    writeln!(text, "verify: {:?}, {} records", verification.status, verification.records).unwrap();
    for wal::Problem { file, offset, lsn, kind, .. } in verification.problems {
        writeln!(text, "problem: {kind} in {file} at byte {offset}, LSN {}", lsn.unwrap()).unwrap();
    }
    for record in LogReader::open_on(Arc::new(disk.clone()), "data").unwrap() {
        let wal::Record { lsn, durable_lsn, time_us, kind, file, offset, payload, .. } = record.unwrap();
        let payload = if golden.is_store { operations(&payload) } else { short(&payload) };
        let time = time_us - START_US;
        writeln!(
            text,
            "record {lsn} {} in {file} at byte {offset}, time {time}, durable {durable_lsn}: {payload}",
            kind.name()
        )
        .unwrap();
    }
    if golden.is_store {
        let db = store_options(&disk).read_only(true).open("data").unwrap();
        describe_keys(&db, &mut text);
    }
    assert_eq!(files_of(&disk), *files, "{}: reading has changed a file", golden.name);
    text
}

fn describe_keys(db: &Db, text: &mut String) {
    for name in db.keyspaces() {
        let space = db.keyspace(&name).unwrap();
        writeln!(text, "keyspace {} {name}", space.id()).unwrap();
        for entry in space.iter() {
            let (key, value) = (short(entry.key()), short(entry.value()));
            writeln!(text, "key {key} = {value} of LSN {}", entry.lsn()).unwrap();
        }
    }
}

fn operations(body: &[u8]) -> String {
    let each = batch_body::ops(body).map(|op| match op.unwrap() {
        Op::Put { keyspace, key, value } => format!("put {keyspace} {} = {}", short(key), short(value)),
        Op::Delete { keyspace, key } => format!("delete {keyspace} {}", short(key)),
        Op::CreateKeyspace { id, name } => format!("create keyspace {id} {name}"),
        Op::DropKeyspace { id } => format!("drop keyspace {id}"),
    });
    each.collect::<Vec<_>>().join("; ")
}

/// The bytes in quotes, with long repetitions as `{x*900}`.
fn short(bytes: &[u8]) -> String {
    let runs = bytes.chunk_by(|one, next| one == next).map(|run| match run.len() {
        0..10 => run.escape_ascii().to_string(),
        times => format!("{{{}*{times}}}", run[..1].escape_ascii()),
    });
    format!("\"{}\"", runs.collect::<String>())
}

#[test]
fn golden_directories_say_what_is_expected() {
    // Shows that verdict, records and keys of each checked-in directory are still those written beside it.
    for golden in ALL {
        let expected = fs::read_to_string(golden.dir().join("expected.txt")).unwrap();
        assert_eq!(describe(&golden, &golden.files()), expected, "{}", golden.name);
        assert!(expected.starts_with(&format!("verify: {:?}", golden.status)), "{}", golden.name);
    }
}

#[test]
fn golden_stores_open_and_go_on() {
    // Shows that a checked-in store opens for writing with the same keys, takes a write, and is clean after closing.
    for golden in ALL.iter().filter(|golden| golden.is_store) {
        let disk = disk_with(&golden.files());
        let expected = fs::read_to_string(golden.dir().join("expected.txt")).unwrap();
        let db = store_options(&disk).open("data").unwrap();
        let mut keys = String::new();
        describe_keys(&db, &mut keys);
        assert!(keys.len() > 50 && expected.ends_with(&keys), "{}: {keys}", golden.name);
        assert_eq!(db.recovery_report().log.torn.is_some(), golden.status == LogStatus::Torn);
        db.put("more", "1").unwrap();
        db.close().unwrap();

        let verification = care::verify_on(Arc::new(disk.clone()), "data").unwrap();
        assert_eq!(verification.status, LogStatus::Clean, "{:?}", verification.problems);
        let db = store_options(&disk).open("data").unwrap();
        assert_eq!(db.get("more").unwrap().as_deref(), Some(&b"1"[..]));
    }
}

#[test]
fn golden_cut_log_opens_and_gives_its_lsns_again() {
    // Shows that a cut whose process died is carried out to its end: the file that is out goes, LSN 7 comes again.
    let files = ALL[2].files();
    let out = names::segment(Lsn::new(10));
    assert!(files.contains_key(&out));
    let disk = disk_with(&files);
    let log = log_options(&disk).open("data").unwrap();
    assert!(!files_of(&disk).contains_key(&out));
    assert_eq!(log.append(b"again").unwrap(), Lsn::new(7));
    log.close().unwrap();
    let last_two = LogReader::open_on(Arc::new(disk), "data").unwrap().skip(6).map(Result::unwrap);
    assert_eq!(
        last_two.map(|r| (r.lsn.get(), r.payload)).collect::<Vec<_>>(),
        [(7, b"again".to_vec()), (8, Vec::new())]
    );
}

#[test]
fn writes_the_same_bytes() {
    // Shows that the same calls, clock and randomness give the checked-in bytes, by doing it all again.
    for golden in ALL {
        let (written, kept) = (files_of(&(golden.write)()), golden.files());
        let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&written), names(&kept), "{}", golden.name);
        for (name, bytes) in &kept {
            let differs = bytes.iter().zip(&written[name]).position(|(kept, written)| kept != written);
            assert_eq!((differs, written[name].len()), (None, bytes.len()), "{}: {name}", golden.name);
        }
    }
}

#[test]
fn every_part_is_encoded_to_the_same_bytes() {
    // Shows that the encoders have not drifted, whatever the engine does: decodes each part and encodes it again.
    let (mut records, mut seals) = (0, 0);
    for (name, bytes) in ALL.iter().flat_map(Golden::files) {
        if name == names::MANIFEST {
            assert_eq!(Manifest::decode(&bytes).unwrap().encode(), bytes);
        }
        if names::parse_segment(&name).is_none() {
            continue;
        }
        let header = SegmentHeader::decode(&bytes).unwrap();
        assert_eq!(header.encode(), bytes[..SEGMENT_HEADER_BYTES]);
        let mut at = SEGMENT_HEADER_BYTES;
        while let Some(record) = RecordHeader::decode(&bytes[at..], header.salt, at as u64) {
            assert!(bytes[at..].starts_with(&record.encode(header.salt, at as u64)), "{name} at {at}");
            at += usize::try_from(record.stored_bytes()).unwrap();
            records += 1;
        }
        if let Some(seal) = Seal::decode(&bytes[at..], header.salt, at as u64) {
            assert_eq!(seal.encode(header.salt, at as u64), bytes[at..at + SEAL_BYTES]);
            seals += 1;
        }
    }
    assert!(records > 40 && seals > 4, "{records} records, {seals} seals");
}

/// The file as another format version would write it: sound, but for the number.
fn of_version(version: u32, name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let crc_at = match name {
        names::MANIFEST => 20,
        name if names::is_part(name) => PART_HEADER_BYTES - 4,
        _ => SEGMENT_HEADER_BYTES - 4,
    };
    bytes[8..12].copy_from_slice(&version.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..crc_at]);
    bytes[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Broken: src/format/manifest.rs: `if get_u32(header, 8) != FORMAT_VERSION {` to `if false {`
#[test]
fn another_version_is_refused_and_nothing_is_touched() {
    // Shows that any file of another version stops every kind of opening, named, and leaves all files as they were.
    let mut refused = 0;
    for golden in ALL {
        let files = golden.files();
        for version in [0, FORMAT_VERSION + 1, u32::MAX] {
            for name in files.keys().filter(|name| *name != names::LOCK) {
                let mut changed = files.clone();
                changed.insert(name.clone(), of_version(version, name, &files[name]));
                let disk = disk_with(&changed);
                let mut results = vec![LogReader::open_on(Arc::new(disk.clone()), "data").map(drop)];
                if golden.is_store {
                    results.push(store_options(&disk).open("data").map(drop));
                    results.push(store_options(&disk).read_only(true).open("data").map(drop));
                    // A reader of the log alone looks neither at the manifest nor at checkpoints.
                    if names::parse_segment(name).is_none() {
                        results.remove(0).unwrap();
                    }
                } else {
                    results.push(log_options(&disk).open("data").map(drop));
                }
                for result in results {
                    let Err(Error::UnsupportedFormat { file, found, supported }) = result else {
                        panic!("{} with {name} of version {version}: {result:?}", golden.name);
                    };
                    assert_eq!((file_name(&file), found, supported), (name.clone(), version, FORMAT_VERSION));
                    refused += 1;
                }
                let verification = care::verify_on(Arc::new(disk.clone()), "data");
                assert!(matches!(verification, Err(Error::UnsupportedFormat { .. })), "{verification:?}");
                assert_eq!(files_of(&disk), changed, "{}: a file was changed", golden.name);
            }
        }
    }
    assert!(refused > 60, "{refused}");
}

#[test]
#[ignore = "writes the golden files; see the top of this file"]
fn bless() {
    // Shows nothing: writes the golden directories of this version, if FORELOG_BLESS=1 asks for it.
    if std::env::var("FORELOG_BLESS").as_deref() != Ok("1") {
        return;
    }
    for golden in ALL {
        let (dir, files) = (golden.dir(), files_of(&(golden.write)()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("data")).unwrap();
        files.iter().for_each(|(name, bytes)| fs::write(dir.join("data").join(name), bytes).unwrap());
        fs::write(dir.join("expected.txt"), describe(&golden, &files)).unwrap();
    }
}
