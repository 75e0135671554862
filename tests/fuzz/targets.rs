//! What is fuzzed: each target takes any bytes, and must neither panic nor believe what is not so.
//!
//! Shared by the fuzzer (`fuzz_targets/`) and by the test that replays its corpus (`tests/corpus.rs`).

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use forelog::format::checkpoint::{BlockHeader, PartFooter, PartHeader, entries, keyspaces};
use forelog::format::manifest::Manifest;
use forelog::format::record::RecordHeader;
use forelog::format::seal::Seal;
use forelog::format::segment::SegmentHeader;
use forelog::format::{Op, batch_body};
use forelog::storage::SimDisk;
use forelog::wal::{LogReader, LogStatus};
use forelog::{Db, Lsn, Options, WalOptions, WriteBatch, care};

use crate::escape;
use crate::shell::line;

/// By name, as they are in the corpus.
pub const TARGETS: [(&str, fn(&[u8])); 7] = [
    ("record", record),
    ("segment", segment),
    ("checkpoint", checkpoint),
    ("manifest", manifest),
    ("batch", batch),
    ("directory", directory),
    ("shell_line", shell_line),
];

/// A number from the front of the bytes.
fn take<const N: usize>(data: &mut &[u8]) -> [u8; N] {
    let mut taken = [0; N];
    let len = N.min(data.len());
    taken[..len].copy_from_slice(&data[..len]);
    *data = &data[len..];
    taken
}

fn take_u64(data: &mut &[u8]) -> u64 {
    u64::from_be_bytes(take(data))
}

/// Record headers and seals: what is decoded is what was encoded.
pub fn record(mut data: &[u8]) {
    let (salt, offset) = (take_u64(&mut data), take_u64(&mut data));
    if let Some(header) = RecordHeader::decode(data, salt, offset) {
        assert!(data.starts_with(&header.encode(salt, offset)));
        assert!(header.stored_bytes() >= u64::from(header.payload_len));
    }
    if let Some(seal) = Seal::decode(data, salt, offset) {
        assert!(data.starts_with(&seal.encode(salt, offset)));
    }
}

/// A file that is named like a segment: read, verified, opened, and its header by itself.
pub fn segment(data: &[u8]) {
    if let Ok(header) = SegmentHeader::decode(data) {
        assert!(data.starts_with(&header.encode()));
    }
    let disk = SimDisk::new(1);
    disk.write_file("log/00000000000000000001.wal", data);
    look_at_log(&disk);
    // A sound one, changed here and there: random bytes alone do not come past the header.
    let disk = sound_log().fork();
    change(&disk, &files_in(&disk, "log"), data);
    look_at_log(&disk);
}

fn look_at_log(disk: &SimDisk) {
    let verified = care::verify_on(Arc::new(disk.clone()), "log");
    if let Ok(reader) = LogReader::open_on(Arc::new(disk.clone()), "log") {
        reader.for_each(drop);
    }
    let opened = log_options(disk).open("log");
    if let (Ok(verified), Ok(_)) = (&verified, &opened) {
        assert_ne!(verified.status, LogStatus::Corrupt, "what opens is not corrupt");
    }
}

/// The parts of a checkpoint: header, block header, footer, and bodies.
pub fn checkpoint(mut data: &[u8]) {
    if let Ok(header) = PartHeader::decode(data) {
        assert!(data.starts_with(&header.encode()));
    }
    entries(data).flatten().for_each(|entry| assert!(entry.key.len() + entry.value.len() <= data.len()));
    keyspaces(data).flatten().for_each(|space| assert!(space.name.len() <= data.len()));
    let (salt, offset) = (take_u64(&mut data), take_u64(&mut data));
    if let Some(header) = BlockHeader::decode(data, salt, offset) {
        assert!(data.starts_with(&header.encode(salt, offset)));
    }
    if let Some(footer) = PartFooter::decode(data, salt, offset) {
        assert!(data.starts_with(&footer.encode(salt, offset)));
    }
}

/// A manifest: what is decoded is encoded as the same.
pub fn manifest(data: &[u8]) {
    if let Ok(manifest) = Manifest::decode(data) {
        assert_eq!(Manifest::decode(&manifest.encode()).as_ref(), Ok(&manifest));
    }
}

/// The body of a batch: the operations come back as they were, and are no longer than the bytes.
pub fn batch(data: &[u8]) {
    let ops: Vec<Op<'_>> = batch_body::ops(data).map_while(Result::ok).collect();
    let mut body = Vec::new();
    ops.iter().for_each(|op| op.append_to(&mut body));
    assert!(body.len() <= data.len());
    assert!(batch_body::ops(&body).map(Result::unwrap).eq(ops));
}

/// A whole store with a checkpoint and an archive, changed here and there: looked at, salvaged, opened.
pub fn directory(data: &[u8]) {
    let (original, states) = sound_store();
    let disk = original.fork();
    let mut files = files_in(&disk, "store");
    files.extend(files_in(&disk, "archive"));
    change(&disk, &files, data);
    let storage = || Arc::new(disk.clone());
    let _ = care::survey_on(storage(), "store");
    let _ = care::verify_on(storage(), "store");
    let _ = care::verify_on(storage(), "archive");
    if let Ok(reader) = care::read_log_on(storage(), "store") {
        reader.for_each(drop);
    }
    if let Ok(repair) = care::salvage_on(storage(), "store", "out")
        && !repair.actions.is_empty()
    {
        assert_eq!(care::verify_on(storage(), "out").unwrap().status, LogStatus::Clean);
        store_options(&disk).open("out").unwrap();
    }
    if let Ok(db) = store_options(&disk).open("store") {
        assert!(states.contains(&state(&db)), "a state that never was");
    }
}

/// A line of the shell's language: what it is split into can be written and split again.
pub fn shell_line(data: &[u8]) {
    if let Ok(words) = line::split(data) {
        let written: Vec<String> = words.iter().map(|word| escape::word(&word.bytes)).collect();
        let again = line::split(written.join(" ").as_bytes()).unwrap();
        assert!(again.iter().map(|word| &word.bytes).eq(words.iter().map(|word| &word.bytes)));
    }
}

/// Changes files as the bytes say: a file, a place, and what to do there.
fn change(disk: &SimDisk, files: &[PathBuf], mut data: &[u8]) {
    while data.len() >= 6 {
        let [file, kind, high, low, len, value] = take(&mut data);
        let path = &files[usize::from(file) % files.len()];
        let mut bytes = disk.read_file(path).unwrap();
        let (at, len) = (usize::from(u16::from_be_bytes([high, low])), usize::from(len));
        match kind % 5 {
            0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= value.max(1)),
            1 => bytes.iter_mut().skip(at).take(len).for_each(|byte| *byte = value),
            2 => bytes.truncate(at),
            3 => bytes.resize(bytes.len() + len * 16, value),
            _ => {
                let other = disk.read_file(&files[usize::from(value) % files.len()]).unwrap();
                for (byte, from) in bytes.iter_mut().zip(other).skip(at).take(len * 16) {
                    *byte = from;
                }
            }
        }
        disk.write_file(path, &bytes);
    }
}

fn files_in(disk: &SimDisk, dir: &str) -> Vec<PathBuf> {
    let files = disk.files().into_iter().filter(|path| path.starts_with(dir) && !path.ends_with("LOCK"));
    files.collect()
}

fn log_options(disk: &SimDisk) -> WalOptions {
    let options = WalOptions::new().storage(Arc::new(disk.clone())).segment_bytes(8192);
    options.idle_mark(None).spare_ahead(false)
}

fn store_options(disk: &SimDisk) -> Options {
    let options = Options::new().storage(Arc::new(disk.clone())).segment_bytes(8192);
    options.idle_mark(None).spare_ahead(false).checkpoint_after_bytes(None)
}

/// A log of three segments.
fn sound_log() -> &'static SimDisk {
    static LOG: OnceLock<SimDisk> = OnceLock::new();
    LOG.get_or_init(|| {
        let disk = SimDisk::new(1);
        let wal = log_options(&disk).open("log").unwrap();
        (0..20_usize).for_each(|number| _ = wal.append(&vec![7; number * 40]).unwrap());
        wal.close().unwrap();
        disk
    })
}

type State = Vec<(Vec<u8>, Vec<u8>)>;

fn state(db: &Db) -> State {
    db.iter().map(|entry| (entry.key().to_vec(), entry.value().to_vec())).collect()
}

/// A store, and each state that it had.
fn sound_store() -> &'static (SimDisk, Vec<State>) {
    static STORE: OnceLock<(SimDisk, Vec<State>)> = OnceLock::new();
    STORE.get_or_init(|| {
        let disk = SimDisk::new(1);
        let options = store_options(&disk).archive(Some(Path::new("archive"))).keep_checkpoints(2);
        let db = options.open("store").unwrap();
        let users = db.keyspace("users").unwrap();
        let mut states = vec![state(&db)];
        for number in 0..40_u32 {
            let mut batch = WriteBatch::new();
            batch.put(format!("key {}", number % 13), vec![7; 300]);
            batch.delete(format!("key {}", number % 7));
            batch.put_in(&users, "a", "b");
            db.write(batch).unwrap();
            states.push(state(&db));
            if number % 15 == 14 {
                db.checkpoint().unwrap();
            }
        }
        assert!(db.stats().archived_lsn.unwrap() > Lsn::ZERO);
        drop(users);
        db.close().unwrap();
        (disk, states)
    })
}
