//! Shows what happens when bytes rot: every bit of every file of a small log and of a small store is flipped, every file
//! cut at every length, every sector replaced, files deleted, copied and swapped.
//!
//! Whatever is done, the outcome is one of three: a typed error; the right data; or a shorter log, of which only LSNs
//! are missing that nothing proved to be durable. Never other data, never a panic, never a change by who only looks.
//! Who looks from outside must agree with who opens.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::thread;

use forelog::format::manifest::Manifest;
use forelog::format::record::{RECORD_HEADER_BYTES, RecordKind};
use forelog::format::segment::SegmentHeader;
use forelog::storage::SimDisk;
use forelog::wal::{LogReader, LogStatus};
use forelog::{Durability, Error, Result, WriteBatch, WriteOptions, care};

use support::{DIR, log_on, payload, records_of, segment, segments, store_on};

/// What a log or a store shows: its last LSN, and its contents up to there.
type Seen = (u64, BTreeMap<Vec<u8>, Vec<u8>>);

/// What is damaged.
struct Original {
    disk: SimDisk,
    is_store: bool,
    /// By LSN.
    states: Vec<BTreeMap<Vec<u8>, Vec<u8>>>,
    /// What proves how much was durable: the place of a record's header, and the LSN that it carries.
    proofs: Vec<(String, usize, u64)>,
    /// Each content that a sector ever had when it was synced.
    older: BTreeMap<(String, usize), BTreeSet<Vec<u8>>>,
}

impl Original {
    /// A log of three segments, whose last record nothing proves.
    fn log(checksum: forelog::Checksum) -> Original {
        let disk = SimDisk::new(1);
        let mut older = BTreeMap::new();
        let wal = log_on(&disk).checksum(checksum).open(DIR).unwrap();
        for (number, len) in (1..).zip([1500, 1300, 800, 0, 2000, 1200, 600, 90, 300, 20]) {
            wal.append(&payload(number, len)).unwrap();
            if number % 4 == 0 {
                wal.mark().unwrap();
            }
            remember(&disk, &mut older);
        }
        wal.append_with(&[b"hardly there", b"nor this"], Durability::Buffered).unwrap();
        wal.sync().unwrap();
        remember(&disk, &mut older);
        let mut states = vec![BTreeMap::new()];
        for record in records_of(&wal) {
            let mut state = states.last().unwrap().clone();
            state.insert(record.lsn.get().to_be_bytes().to_vec(), content(record.kind, &record.payload));
            states.push(state);
        }
        let last = wal.last_lsn().get();
        drop(wal);
        // Without the close mark, so that the end is as a crash leaves it.
        let path = segments(&disk).pop().unwrap();
        let bytes = older[&(path.clone(), usize::MAX)].last().unwrap().clone();
        disk.write_file(&path, &bytes);
        older.retain(|(_, sector), _| *sector != usize::MAX);
        let original = Original { proofs: proofs(&disk), disk, is_store: false, states, older };
        assert!(original.proven() + 2 == last && segments(&original.disk).len() == 3);
        original
    }

    /// A store of two segments and a manifest, closed in good order.
    fn store() -> Original {
        let disk = SimDisk::new(2);
        let mut older = BTreeMap::new();
        let db = store_on(&disk).open(DIR).unwrap();
        let users = db.keyspace("users").unwrap();
        let mut states = vec![BTreeMap::new(); 2]; // the keyspace is LSN 1
        for number in 0..9_u64 {
            let mut batch = WriteBatch::new();
            let mut state: BTreeMap<Vec<u8>, Vec<u8>> = states.last().unwrap().clone();
            let (key, value) = (format!("key {}", number % 4), payload(number, 700));
            batch.put(&key, &value);
            state.insert(key.into_bytes(), value);
            batch.put_in(&users, number.to_string(), "x");
            state.insert(format!("users/{number}").into_bytes(), b"x".to_vec());
            if number % 3 == 2 {
                batch.delete("key 1");
                state.remove(&b"key 1"[..]);
            }
            db.write_with(batch, &WriteOptions::new()).unwrap();
            states.push(state);
            remember(&disk, &mut older);
        }
        states.push(states.last().unwrap().clone()); // the close mark
        drop((db, users));
        older.retain(|(_, sector), _| *sector != usize::MAX);
        let original = Original { proofs: proofs(&disk), disk, is_store: true, states, older };
        // All of it, the close mark too: the manifest says so.
        assert!(original.proven() as usize + 1 == original.states.len());
        assert_eq!(segments(&original.disk).len(), 2);
        original
    }

    fn proven(&self) -> u64 {
        self.proven_without("", 0..0)
    }

    /// How much is proven by what stands outside of these bytes. Rot that takes the proof with what it proves cannot
    /// be told from a torn end: see `docs/guide`.
    fn proven_without(&self, path: &str, bytes: Range<usize>) -> u64 {
        let left = self.proofs.iter().filter(|(file, at, _)| {
            file != path || at + RECORD_HEADER_BYTES <= bytes.start || *at >= bytes.end
        });
        left.map(|(_, _, durable)| *durable).max().unwrap_or(0)
    }

    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let files = self.disk.files().into_iter().map(|path| path.to_string_lossy().into_owned());
        let files = files.filter(|path| !path.ends_with("LOCK"));
        files.map(|path| (path.clone(), self.disk.read_file(&path).unwrap())).collect()
    }

    fn open(&self, disk: &SimDisk) -> Result<(Seen, bool)> {
        if !self.is_store {
            let wal = log_on(disk).open(DIR)?;
            let records = wal.read_from(wal.oldest_lsn())?;
            let state = log_state(records)?;
            return Ok(((wal.last_lsn().get(), state), wal.report().torn.is_some()));
        }
        let db = store_on(disk).open(DIR)?;
        Ok(((db.visible_lsn().get(), store_state(&db)), db.recovery_report().log.torn.is_some()))
    }

    /// The same from outside.
    fn look(&self, disk: &SimDisk) -> Result<Seen> {
        if !self.is_store {
            let state = log_state(LogReader::open_on(Arc::new(disk.clone()), DIR)?)?;
            let last = state
                .last_key_value()
                .map_or(0, |(lsn, _)| u64::from_be_bytes(lsn.as_slice().try_into().unwrap()));
            return Ok((last, state));
        }
        let db = store_on(disk).read_only(true).open(DIR)?;
        Ok((db.visible_lsn().get(), store_state(&db)))
    }

    /// Judges a damaged disk.
    fn check(&self, disk: &SimDisk, what: &dyn Fn() -> String, tally: &mut Tally) {
        self.check_proven(disk, self.proven(), what, tally);
    }

    /// Judges a disk on which so much is still proven.
    fn check_proven(&self, disk: &SimDisk, proven: u64, what: &dyn Fn() -> String, tally: &mut Tally) {
        tally.cases += 1;
        let before = disk.fingerprint();
        let looked = self.look(disk);
        let verified = care::verify_on(Arc::new(disk.clone()), DIR);
        assert_eq!(disk.fingerprint(), before, "{}: looking changed something", what());
        let opened = self.open(disk);
        match (&opened, &looked) {
            (Ok((opened, _)), Ok(looked)) => assert_eq!(opened, looked, "{}", what()),
            (Err(_), Err(_)) => {}
            // Who reads a log from outside checks no digests: it may read on where opening refuses, but right data.
            (Err(_), Ok((last, state))) if !self.is_store => {
                assert!(state.iter().eq(self.states[*last as usize].iter()), "{}: wrong data", what());
            }
            (opened, looked) => panic!("{}: opening {opened:?}, looking {looked:?}", what()),
        }
        let status = verified.as_ref().map(|found| found.status);
        let agreed = match &opened {
            Ok((_, true)) => matches!(status, Ok(LogStatus::Torn)),
            Ok((_, false)) => matches!(status, Ok(LogStatus::Clean)),
            // Without its manifest, a store is no store, and its log is a log alone, which may be whole.
            Err(Error::NotAStore { .. }) => true,
            Err(_) => matches!(status, Ok(LogStatus::Corrupt) | Err(_)),
        };
        assert!(agreed, "{}: opening {opened:?}, verification {verified:?}", what());
        match opened {
            Ok(((last, state), torn)) => {
                let right = self.states.get(last as usize).is_some_and(|expected| *expected == state);
                assert!(right, "{}: wrong data at LSN {last}", what());
                assert!(last >= proven, "{}: LSN {proven} was proven, and {last} is the end", what());
                let whole = last as usize + 1 == self.states.len();
                *(if whole { &mut tally.whole } else { &mut tally.shorter }) += 1;
                if tally.cases.is_multiple_of(16) {
                    let ((again, _), torn) = self.open(disk).unwrap();
                    assert!(again >= last && !torn, "{}: opened twice", what());
                }
                let _ = torn;
            }
            Err(error) => {
                tally.refused += 1;
                let typed = matches!(
                    error,
                    Error::Corruption(_)
                        | Error::MissingSegment { .. }
                        | Error::UnsupportedFormat { .. }
                        | Error::NotAStore { .. }
                );
                assert!(typed, "{}: {error:?}", what());
                assert_eq!(disk.fingerprint(), before, "{}: refused, and changed", what());
            }
        }
    }
}

#[derive(Debug, Default)]
struct Tally {
    cases: u64,
    refused: u64,
    shorter: u64,
    whole: u64,
}

/// Keeps each sector as it is now on the platter, and each whole file under a sector that no file has.
fn remember(disk: &SimDisk, older: &mut BTreeMap<(String, usize), BTreeSet<Vec<u8>>>) {
    for path in segments(disk) {
        let bytes = disk.read_file(&path).unwrap();
        for (sector, bytes) in bytes.chunks(512).enumerate() {
            older.entry((path.clone(), sector)).or_default().insert(bytes.to_vec());
        }
        older.insert((path, usize::MAX), BTreeSet::from([bytes]));
    }
}

/// What each record proves, each segment's header, and the manifest, if there is one.
fn proofs(disk: &SimDisk) -> Vec<(String, usize, u64)> {
    let records = LogReader::open_on(Arc::new(disk.clone()), DIR).unwrap().map(Result::unwrap);
    let place = |record: forelog::wal::Record| {
        (format!("{DIR}/{}", record.file), record.offset as usize, record.durable_lsn.get())
    };
    let headers = segments(disk).into_iter().map(|path| {
        let header = SegmentHeader::decode(&disk.read_file(&path).unwrap()).unwrap();
        (path, 0, header.proven_to.get())
    });
    let manifest = format!("{DIR}/MANIFEST");
    let stated = disk.read_file(&manifest).map(|bytes| Manifest::decode(&bytes).unwrap().durable_lsn.get());
    records.map(place).chain(headers).chain(stated.map(|lsn| (manifest, 0, lsn))).collect()
}

fn content(kind: RecordKind, payload: &[u8]) -> Vec<u8> {
    [&[kind.tag()], payload].concat()
}

fn log_state(
    records: impl Iterator<Item = Result<forelog::wal::Record>>,
) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    records
        .map(|record| {
            let record = record?;
            Ok((record.lsn.get().to_be_bytes().to_vec(), content(record.kind, &record.payload)))
        })
        .collect()
}

fn store_state(db: &forelog::Db) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut state: BTreeMap<Vec<u8>, Vec<u8>> =
        db.iter().map(|entry| (entry.key().to_vec(), entry.value().to_vec())).collect();
    for entry in db.find_keyspace("users").iter().flat_map(|users| users.iter()) {
        state.insert([b"users/", entry.key()].concat(), entry.value().to_vec());
    }
    state
}

fn originals() -> Vec<Original> {
    vec![Original::log(forelog::Checksum::Crc32), Original::store()]
}

/// Broken: src/format/record.rs: `(plausible && header_crc(salt, offset, &bytes[4..]) == get_u32(bytes, 0)).then_some(header)` to `plausible.then_some(header)`
/// Broken: src/wal/segment_reader.rs: `|| checksum.of(payload) != header.payload_checksum` to ``
/// Broken: src/wal/evidence.rs: `TailFacts { proven, expected, .. } if proven >= expected => Verdict::Corrupt,` to ``
#[test]
fn every_bit() {
    for original in originals() {
        for (path, bytes) in original.files() {
            // Two halves, on as many processors.
            let half = bytes.len().div_ceil(2);
            thread::scope(|scope| {
                for part in [0..half, half..bytes.len()] {
                    let (original, path, bytes) = (&original, &path, &bytes);
                    scope.spawn(move || {
                        let mut tally = Tally::default();
                        for at in part {
                            for bit in 0..8 {
                                let disk = original.disk.fork();
                                let mut bytes = bytes.clone();
                                bytes[at] ^= 1 << bit;
                                disk.write_file(path, &bytes);
                                original.check(
                                    &disk,
                                    &|| format!("{path}, bit {bit} of byte {at}"),
                                    &mut tally,
                                );
                            }
                        }
                        println!("bits of {path}: {tally:?}");
                    });
                }
            });
        }
    }
}

#[test]
fn every_length() {
    let mut tally = Tally::default();
    for original in originals() {
        for (path, bytes) in original.files() {
            for len in 0..bytes.len() {
                let disk = original.disk.fork();
                disk.write_file(&path, &bytes[..len]);
                original.check(&disk, &|| format!("{path} cut to {len} bytes"), &mut tally);
            }
            for more in [1, 8, 4096] {
                let disk = original.disk.fork();
                disk.write_file(&path, &[&bytes[..], &vec![7; more]].concat());
                original.check(&disk, &|| format!("{path} with {more} bytes more"), &mut tally);
            }
        }
    }
    println!("lengths: {tally:?}");
}

#[test]
fn every_sector() {
    let mut tally = Tally::default();
    let mut random = fastrand::Rng::with_seed(1);
    for original in originals() {
        for (path, bytes) in original.files() {
            for (sector, current) in bytes.chunks(512).enumerate() {
                let noise = |random: &mut fastrand::Rng| (0..current.len()).map(|_| random.u8(..)).collect();
                let mut others: Vec<Vec<u8>> = vec![vec![0; current.len()], vec![0xff; current.len()]];
                others.extend((0..20).map(|_| noise(&mut random)));
                others.extend(original.older.get(&(path.clone(), sector)).into_iter().flatten().cloned());
                // And the sector of another place: a write that went astray.
                others.extend(
                    bytes.chunks(512).filter(|other| other.len() == current.len()).map(<[u8]>::to_vec),
                );
                for (number, other) in others.into_iter().enumerate() {
                    let disk = original.disk.fork();
                    let mut bytes = bytes.clone();
                    bytes[sector * 512..][..other.len()].copy_from_slice(&other);
                    disk.write_file(&path, &bytes);
                    let what = || format!("{path}, sector {sector} replaced by number {number}");
                    let proven = original.proven_without(&path, sector * 512..(sector + 1) * 512);
                    original.check_proven(&disk, proven, &what, &mut tally);
                }
            }
        }
    }
    println!("sectors: {tally:?}");
}

/// Broken: src/wal/plan.rs: `if Some(link.header.store_id) != store_id {` to `if false {`
#[test]
fn every_file_deleted_copied_and_swapped() {
    let mut tally = Tally::default();
    for (original, foreign) in originals().into_iter().zip(originals().into_iter().rev()) {
        let files = original.files();
        let mut check = |what: &str, change: &dyn Fn(&SimDisk)| {
            let disk = original.disk.fork();
            change(&disk);
            original.check(&disk, &|| what.to_owned(), &mut tally);
        };
        for (path, bytes) in &files {
            // A log alone does not know where it began: without its first segment it is a shortened one.
            if original.is_store || *path != segment(1) {
                check(&format!("{path} deleted"), &|disk| _ = disk.remove_file(path));
            }
            check(&format!("{path} empty"), &|disk| disk.write_file(path, b""));
            for base in [1, 2, 3, 7, 12, 99] {
                check(&format!("{path} copied to {base}"), &|disk| disk.write_file(segment(base), bytes));
            }
            for (other, other_bytes) in files.iter().chain(&foreign.files()) {
                check(&format!("{path} replaced by {other}"), &|disk| disk.write_file(path, other_bytes));
                check(&format!("{path} swapped with {other}"), &|disk| {
                    disk.write_file(path, other_bytes);
                    disk.write_file(other, bytes);
                });
            }
            check(&format!("{path} kept as another's"), &|disk| {
                disk.write_file(format!("{path}.bak"), bytes);
            });
        }
    }
    println!("files: {tally:?}");
}

/// The same log with the other checksums, by bytes instead of bits.
#[test]
fn every_byte_under_the_other_checksums() {
    for checksum in [forelog::Checksum::Crc32c, forelog::Checksum::Xxh3] {
        let mut tally = Tally::default();
        let original = Original::log(checksum);
        for (path, bytes) in original.files() {
            for at in 4096..bytes.len() {
                let disk = original.disk.fork();
                let mut bytes = bytes.clone();
                bytes[at] = !bytes[at];
                disk.write_file(&path, &bytes);
                original.check(&disk, &|| format!("{checksum}: {path}, byte {at}"), &mut tally);
            }
        }
        println!("bytes under {checksum}: {tally:?}");
    }
}
