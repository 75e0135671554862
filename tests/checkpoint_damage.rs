//! Shows what happens when one file of a store with checkpoints rots: bits of each file are flipped, each is cut at
//! several lengths, each sector is replaced, each file taken away, and replaced by any other of the store's, older ones
//! included.
//!
//! Whatever is done, the outcome is one of four: a typed error, and nothing changed; the right data; the right data from
//! an older checkpoint, which is said; or a log that is shorter by what nothing proved to be durable. Verification
//! names the file, also where opening had no need to read it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::thread;

use forelog::format::manifest::Manifest;
use forelog::format::record::RECORD_HEADER_BYTES;
use forelog::format::segment::SegmentHeader;
use forelog::storage::SimDisk;
use forelog::wal::LogReader;
use forelog::{Db, Error, Result, WriteBatch, care};

use support::{DIR, payload, segments, store_on};

type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// A store that is damaged.
struct Original {
    disk: SimDisk,
    /// Checkpoints that it keeps.
    keeps: u32,
    /// By LSN.
    states: Vec<State>,
    /// What proves how much was durable: file, and LSN.
    proofs: Vec<(String, u64)>,
    /// Where records stand. What lies between and behind them says nothing.
    records: Vec<(String, Range<usize>)>,
    /// Each content that a checkpoint or the manifest ever had.
    older: BTreeSet<Vec<u8>>,
}

impl Original {
    /// Some segments that recovery needs no more, as many checkpoints as are kept, and some log behind them.
    fn new(keeps: u32) -> Original {
        let disk = SimDisk::new(u64::from(keeps));
        let mut older = BTreeSet::new();
        let options = store_on(&disk).checkpoint_after_bytes(None).keep_checkpoints(keeps);
        let db = options.retention("any(count:2)".parse().unwrap()).open(DIR).unwrap();
        let users = db.keyspace("users").unwrap();
        let mut states = vec![State::new(); 2]; // the keyspace is LSN 1
        for number in 0..24_u64 {
            let mut state = states.last().unwrap().clone();
            let mut batch = WriteBatch::new();
            let (key, value) = (format!("key {}", number % 5), payload(number, 1100));
            batch.put(&key, &value);
            state.insert(key.into_bytes(), value);
            batch.put_in(&users, number.to_string(), "x");
            state.insert(format!("users/{number}").into_bytes(), b"x".to_vec());
            if number % 4 == 2 {
                batch.delete("key 1");
                state.remove(&b"key 1"[..]);
            }
            db.write(batch).unwrap();
            states.push(state);
            if [9, 14, 18].contains(&number) {
                db.checkpoint().unwrap();
                let files = disk.files().into_iter().filter(|path| !path.ends_with("LOCK"));
                let files = files.filter(|path| path.extension().is_none_or(|ending| ending != "wal"));
                older.extend(files.map(|path| disk.read_file(path).unwrap()));
            }
        }
        states.push(states.last().unwrap().clone()); // the close mark
        drop((db, users));
        let original =
            Original { proofs: proofs(&disk), records: records(&disk), disk, keeps, states, older };
        let checkpoints = original.files().iter().filter(|(path, _)| path.ends_with(".ckpt")).count();
        assert_eq!(
            (checkpoints, original.proven_without("") + 1),
            (keeps as usize, original.states.len() as u64)
        );
        let needed = original.manifest().checkpoints[0].lsn;
        assert!(
            segments(&original.disk).len() >= 5 && support::segment(needed) > segments(&original.disk)[2]
        );
        original
    }

    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let files = self.disk.files().into_iter().map(|path| path.to_string_lossy().into_owned());
        let files = files.filter(|path| !path.ends_with("LOCK"));
        files.map(|path| (path.clone(), self.disk.read_file(&path).unwrap())).collect()
    }

    fn manifest(&self) -> Manifest {
        Manifest::decode(&self.disk.read_file(format!("{DIR}/MANIFEST")).unwrap()).unwrap()
    }

    /// How much the other files prove to be durable.
    fn proven_without(&self, path: &str) -> u64 {
        self.proofs.iter().filter(|(file, _)| file != path).map(|(_, lsn)| *lsn).max().unwrap()
    }

    /// Judges a store of which this file was changed: to these bytes, or taken away.
    fn check(&self, path: &str, bytes: Option<&[u8]>, what: &str, tally: &mut Tally) {
        let what = format!("{} checkpoints, {path} {what}", self.keeps);
        let disk = self.disk.fork();
        match bytes {
            Some(bytes) if disk.read_file(path).unwrap() == bytes => return,
            Some(bytes) => disk.write_file(path, bytes),
            None => assert!(disk.remove_file(path)),
        }
        tally.cases += 1;
        let before = disk.fingerprint();
        let verified = care::verify_on(Arc::new(disk.clone()), DIR);
        let looked = store_on(&disk).read_only(true).open(DIR).map(|db| seen(&db));
        assert_eq!(disk.fingerprint(), before, "{what}: looking changed something");
        let opened = store_on(&disk).open(DIR);
        match (&opened, &looked) {
            (Ok(opened), Ok(looked)) => assert_eq!(seen(opened), *looked, "{what}"),
            (Err(_), Err(_)) => {}
            (opened, looked) => panic!("{what}: opening {opened:?}, looking {looked:?}"),
        }
        let name = path.rsplit('/').next().unwrap();
        let named = match &verified {
            // Without a manifest, it is a log alone, and says so.
            Ok(found) if bytes.is_none() && name == "MANIFEST" => found.log_alone,
            Ok(found) => found.problems.iter().any(|problem| problem.file == name),
            Err(error) => error.to_string().contains(name),
        };
        let named = named || self.is_stale(bytes) || !self.matters(path, bytes);
        match opened {
            Err(error) => {
                tally.refused += 1;
                assert_eq!(disk.fingerprint(), before, "{what}: refused, and changed");
                let typed = matches!(
                    error,
                    Error::Corruption(_)
                        | Error::MissingSegment { .. }
                        | Error::UnsupportedFormat { .. }
                        | Error::NotAStore { .. }
                );
                assert!(typed, "{what}: {error:?}");
                assert!(named, "{what}: {error}, and verification finds {verified:?}");
                // A store with an older checkpoint does not hang on the newest one.
                assert!(self.keeps == 1 || !path.ends_with(".ckpt"), "{what}: {error}");
            }
            Ok(db) => {
                let (last, state) = seen(&db);
                assert!(self.states.get(last as usize) == Some(&state), "{what}: wrong data at LSN {last}");
                assert!(last >= self.proven_without(path), "{what}: the log ends at {last}");
                assert!(named, "{what}: opened, and verification finds {verified:?}");
                let passed_over = &db.recovery_report().damaged_checkpoints;
                let newest = self.manifest().checkpoints.pop().unwrap().files().next().unwrap();
                if name == newest {
                    assert_eq!(passed_over.len(), 1, "{what}");
                    assert!(passed_over[0].error.to_string().contains(name), "{what}: {passed_over:?}");
                    tally.passed_over += 1;
                } else {
                    assert!(passed_over.is_empty() || self.is_stale(bytes), "{what}: {passed_over:?}");
                    *(if last as usize + 1 < self.states.len() {
                        &mut tally.shorter
                    } else {
                        &mut tally.whole
                    }) += 1;
                }
                if !tally.cases.is_multiple_of(8) {
                    return;
                }
                // What was damaged goes, or is not needed: the next checkpoint is whole, and so is what it leaves.
                db.put("more", "1").unwrap();
                db.checkpoint().unwrap();
                let expected = seen(&db).1;
                drop(db);
                let db =
                    store_on(&disk).open(DIR).unwrap_or_else(|error| panic!("{what}: opened twice: {error}"));
                assert_eq!(seen(&db).1, expected, "{what}: opened twice");
                assert!(db.recovery_report().damaged_checkpoints.is_empty(), "{what}: opened twice");
            }
        }
    }

    /// True if what was changed is more than bytes that nobody reads.
    fn matters(&self, path: &str, bytes: Option<&[u8]>) -> bool {
        let Some(bytes) = bytes.filter(|_| path.ends_with(".wal")) else { return true };
        let right = self.disk.read_file(path).unwrap();
        let changed = |at: usize| bytes.get(at) != Some(&right[at]);
        let ranges = self.records.iter().filter(|(file, _)| file == path).map(|(_, range)| range.clone());
        bytes.len() < right.len() || ranges.flatten().any(changed)
    }

    /// True for what was once a whole file of this store: nothing is wrong with it but that another was there last.
    fn is_stale(&self, bytes: Option<&[u8]>) -> bool {
        bytes.is_some_and(|bytes| self.older.contains(bytes) && Manifest::decode(bytes).is_ok())
    }
}

#[derive(Debug, Default)]
struct Tally {
    cases: u64,
    refused: u64,
    passed_over: u64,
    shorter: u64,
    whole: u64,
}

fn seen(db: &Db) -> (u64, State) {
    let mut state: State = db.iter().map(|entry| (entry.key().to_vec(), entry.value().to_vec())).collect();
    for entry in db.find_keyspace("users").iter().flat_map(|users| users.iter()) {
        state.insert([b"users/", entry.key()].concat(), entry.value().to_vec());
    }
    (db.visible_lsn().get(), state)
}

/// What each record, each segment's header and the manifest prove.
fn proofs(disk: &SimDisk) -> Vec<(String, u64)> {
    let records = LogReader::open_on(Arc::new(disk.clone()), DIR).unwrap().map(Result::unwrap);
    let records = records.map(|record| (format!("{DIR}/{}", record.file), record.durable_lsn.get()));
    let headers = segments(disk).into_iter().map(|path| {
        let header = SegmentHeader::decode(&disk.read_file(&path).unwrap()).unwrap();
        (path, header.proven_to.get())
    });
    let manifest = format!("{DIR}/MANIFEST");
    let durable = Manifest::decode(&disk.read_file(&manifest).unwrap()).unwrap().durable_lsn.get();
    records.chain(headers).chain([(manifest, durable)]).collect()
}

fn records(disk: &SimDisk) -> Vec<(String, Range<usize>)> {
    let records = LogReader::open_on(Arc::new(disk.clone()), DIR).unwrap().map(Result::unwrap);
    let place = |record: forelog::wal::Record| {
        let offset = record.offset as usize;
        (format!("{DIR}/{}", record.file), offset..offset + RECORD_HEADER_BYTES + record.payload.len())
    };
    records.map(place).collect()
}

/// Changes each file of a store that keeps one checkpoint, and of one that keeps two, on as many processors.
fn check_all(change: impl Fn(&Original, &str, &[u8], &mut Tally) + Sync) -> Tally {
    let check = |keeps| {
        let (original, mut tally) = (Original::new(keeps), Tally::default());
        for (path, bytes) in original.files() {
            change(&original, &path, &bytes, &mut tally);
        }
        tally
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| check(2));
        let (one, other) = (check(1), other.join().unwrap());
        Tally {
            cases: one.cases + other.cases,
            refused: one.refused + other.refused,
            passed_over: one.passed_over + other.passed_over,
            shorter: one.shorter + other.shorter,
            whole: one.whole + other.whole,
        }
    })
}

/// Broken: src/checkpoint/part.rs: `|| self.header.checksum.of(&self.body) != header.body_checksum` to ``
/// Broken: src/format/manifest.rs: `|| crc32fast::hash(body) != get_u32(header, 16)` to ``
#[test]
fn bits() {
    let tally = check_all(|original, path, bytes, tally| {
        // Of a segment, `damage.rs` flips every bit.
        let (step, bits) = if path.ends_with(".wal") { (11, 3..4) } else { (1, 0..8) };
        for at in (0..bytes.len()).step_by(step) {
            for bit in bits.clone() {
                let mut bytes = bytes.to_vec();
                bytes[at] ^= 1 << bit;
                original.check(path, Some(&bytes), &format!("with bit {bit} of byte {at} flipped"), tally);
            }
        }
    });
    assert!(tally.passed_over > 1000 && tally.refused > 1000, "{tally:?}");
    println!("bits: {tally:?}");
}

#[test]
fn lengths() {
    let tally = check_all(|original, path, bytes, tally| {
        // Of a segment, `damage.rs` tries every length.
        let step = if path.ends_with(".wal") { 97 } else { 1 };
        for cut in (0..bytes.len()).step_by(step) {
            original.check(path, Some(&bytes[..cut]), &format!("cut to {cut} bytes"), tally);
        }
        for more in [1, 8, 4096] {
            let longer = [bytes, &vec![7; more]].concat();
            original.check(path, Some(&longer), &format!("with {more} bytes more"), tally);
        }
    });
    println!("lengths: {tally:?}");
}

#[test]
fn sectors() {
    let tally = check_all(|original, path, bytes, tally| {
        let mut random = fastrand::Rng::with_seed(bytes.len() as u64);
        for (sector, current) in bytes.chunks(512).enumerate() {
            let (at, len) = (sector * 512, current.len());
            let mut others: BTreeSet<Vec<u8>> = [vec![0; len], vec![0xff; len]].into();
            others.extend((0..8).map(|_| (0..len).map(|_| random.u8(..)).collect()));
            // What once stood there, or in the same place of another checkpoint's part; and what stands elsewhere.
            let older = original.older.iter().filter_map(|bytes| bytes.get(at..at + len));
            let elsewhere = bytes.chunks(512).filter(|other| other.len() == len);
            others.extend(older.chain(elsewhere).map(<[u8]>::to_vec));
            for (number, other) in others.iter().enumerate() {
                let damaged = [&bytes[..at], other, &bytes[at + len..]].concat();
                let what = format!("with number {number} as sector {sector}");
                original.check(path, Some(&damaged), &what, tally);
            }
        }
    });
    println!("sectors: {tally:?}");
}

#[test]
fn files_taken_away_and_replaced() {
    let tally = check_all(|original, path, _, tally| {
        original.check(path, None, "deleted", tally);
        for (other, bytes) in original.files() {
            original.check(path, Some(&bytes), &format!("replaced by {other}"), tally);
        }
        for (number, bytes) in original.older.iter().enumerate() {
            original.check(path, Some(bytes), &format!("replaced by number {number} of older files"), tally);
        }
    });
    println!("files: {tally:?}");
}
