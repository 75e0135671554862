//! Opening by several threads, from outside: they recover what one does, say what they did, and fail alike.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use forelog::event::{Event, Listener};
use forelog::format::batch_body;
use forelog::format::segment::SegmentHeader;
use forelog::storage::{Fault, FaultKind, OperationKind, Outcome, SimDisk};
use forelog::{Checksum, Db, Durability, Error, Lsn, Options, RecoveryMode, WriteBatch, WriteOptions, care};

use support::{DIR, data, log_on, payload, records_of, segments, store_on};

/// By keyspace and key.
type State = BTreeMap<(String, Vec<u8>), Vec<u8>>;

/// Fills a store with random batches over four keyspaces, which are created along the way. The state after each LSN.
fn fill(disk: &SimDisk, seed: u64) -> Vec<State> {
    let mut random = fastrand::Rng::with_seed(seed);
    let db = store_on(disk).open(DIR).unwrap();
    let mut states = vec![State::new()];
    for _ in 0..600 {
        let mut state = states.last().unwrap().clone();
        let name = format!("space {}", random.u8(..4));
        let known = db.find_keyspace(&name).is_some();
        let space = db.keyspace(&name).unwrap();
        if !known {
            // Creating it is an LSN of its own.
            states.push(state.clone());
        }
        let mut batch = WriteBatch::new();
        for _ in 0..random.usize(1..5) {
            let key = random.u16(..300).to_be_bytes();
            let place = (name.clone(), key.to_vec());
            if random.u8(..3) == 0 {
                batch.delete_in(&space, key);
                state.remove(&place);
            } else {
                let value = vec![random.u8(..); random.usize(..120)];
                batch.put_in(&space, key, &value);
                state.insert(place, value);
            }
        }
        let durability = if random.u8(..40) == 0 { Durability::Sync } else { Durability::Buffered };
        db.write_with(batch, &WriteOptions::new().durability(durability)).unwrap();
        states.push(state);
    }
    assert!(segments(disk).len() > 5, "there is something for several threads");
    // As if killed.
    std::mem::forget(db);
    states
}

fn state_of(db: &Db) -> State {
    let mut state = State::new();
    for name in db.keyspaces() {
        let space = db.find_keyspace(&name).unwrap();
        for entry in space.iter() {
            state.insert((name.clone(), entry.key().to_vec()), entry.value().to_vec());
        }
    }
    state
}

/// Kills, and power cuts that tear the end; read only, and to be written.
#[test]
fn threads_recover_what_one_does() {
    for seed in 0..6 {
        let disk = SimDisk::new(seed);
        let states = fill(&disk, seed);
        for dead in [disk.fork().kill(), disk.fork().power_cut(&Outcome::Random { seed, rest: None })] {
            let mut reports = Vec::new();
            for (threads, read_only) in [(1, true), (2, true), (4, true), (1, false), (2, false), (4, false)]
            {
                let options = store_on(&dead.fork()).recovery_threads(threads).read_only(read_only);
                let db = options.open(DIR).unwrap();
                let visible = usize::try_from(db.visible_lsn().get()).unwrap();
                assert!(state_of(&db) == states[visible], "seed {seed}, {threads} threads");
                let mut log = db.recovery_report().log.clone();
                assert_eq!(db.recovery_report().threads, threads);
                if read_only {
                    log.rewritten = 0;
                    reports.push(log);
                }
            }
            assert!(reports.windows(2).all(|two| two[0] == two[1]), "{reports:#?}");
            let survey = care::survey_on(Arc::new(dead.clone()), DIR).unwrap();
            let last = usize::try_from(survey.visible_lsn.get()).unwrap();
            assert_eq!(survey.keys, states[last].len() as u64);
        }
    }
}

/// Beside a live writer only what is proven shows: a version that is not must not push out one that is.
#[test]
fn what_a_live_writer_has_not_proven_pushes_nothing_out() {
    let disk = SimDisk::new(1);
    let db = store_on(&disk).open(DIR).unwrap();
    for round in 0..40 {
        db.put("k", payload(round, 700)).unwrap();
        db.put("other", "x").unwrap();
        db.delete("other").unwrap();
    }
    let buffered = WriteOptions::new().durability(Durability::Buffered);
    let mut batch = WriteBatch::new();
    batch.delete("k");
    db.write_with(batch, &buffered).unwrap();
    let survey = care::survey_on(Arc::new(disk.clone()), DIR).unwrap();
    assert!(survey.live && survey.visible_lsn < db.visible_lsn());
    assert_eq!(survey.keys, 1);
}

#[derive(Debug, Default)]
struct Replayed(Mutex<Vec<(String, u64)>>);

impl Listener for Replayed {
    fn event(&self, event: &Event<'_>) {
        if let Event::Replayed { file, records } = event {
            self.0.lock().unwrap().push(((*file).to_owned(), *records));
        }
    }
}

/// Each segment is told once, whoever has read it, and the report adds up.
#[test]
fn the_report_says_what_was_done() {
    let disk = SimDisk::new(7);
    let states = fill(&disk, 7);
    let dead = disk.kill();
    let log = care::read_log_on(Arc::new(dead.fork()), DIR).unwrap();
    let operations: usize = log.map(|record| batch_body::ops(&record.unwrap().payload).count()).sum();
    for threads in [1, 3] {
        let heard = Arc::new(Replayed::default());
        let disk = dead.fork();
        let options = store_on(&disk).recovery_threads(threads).listener(heard.clone());
        let db = options.open(DIR).unwrap();
        let report = db.recovery_report();
        let mut heard = heard.0.lock().unwrap().clone();
        heard.sort();
        let segments = report.log.segments.iter().filter(|segment| segment.records > 0);
        assert_eq!(heard, segments.map(|s| (s.file.to_string(), s.records)).collect::<Vec<_>>());
        let used = report.log.segments.iter().map(|segment| segment.used_bytes.unwrap());
        assert_eq!(report.bytes, used.sum::<u64>());
        assert_eq!((report.records, report.operations), (states.len() as u64 - 1, operations as u64));
        assert!(report.times.replay <= report.took && report.times.finish <= report.took);
    }
}

/// A log alone: the records, and of many damaged segments the lowest, whatever the number of threads; nothing on the
/// disk has changed then.
#[test]
fn a_log_alone_fails_at_the_lowest_segment() {
    let disk = SimDisk::new(1);
    let wal = log_on(&disk).open(DIR).unwrap();
    (1..60).for_each(|number| _ = wal.append(&payload(number, 1000)).unwrap());
    let records = data(&records_of(&wal));
    wal.close().unwrap();
    let files = segments(&disk);
    for threads in [1, 2, 5] {
        let wal = log_on(&disk.fork()).recovery_threads(threads).open(DIR).unwrap();
        assert_eq!(data(&records_of(&wal)), records);
    }
    for lowest in 0..files.len() - 1 {
        let disk = disk.fork();
        for file in &files[lowest..files.len() - 1] {
            let mut bytes = disk.read_file(file).unwrap();
            bytes[4096 + 100] ^= 1;
            disk.write_file(file, &bytes);
        }
        let before = disk.fingerprint();
        for threads in [1, 2, 5] {
            let opened = log_on(&disk).recovery_threads(threads).open(DIR);
            let Err(Error::Corruption(corruption)) = opened else { panic!("{opened:?}") };
            assert!(files[lowest].ends_with(corruption.file.file_name().unwrap().to_str().unwrap()));
            assert_eq!(disk.fingerprint(), before);
        }
    }
}

/// No thread, no opening; and a strict opening is strict by any number.
#[test]
fn what_is_refused() {
    let refused = |opened: Result<Db, Error>| match opened {
        Err(Error::InvalidOption { option, .. }) => assert_eq!(option, "recovery_threads"),
        other => panic!("{other:?}"),
    };
    let disk = SimDisk::new(1);
    refused(store_on(&disk).recovery_threads(0).open(DIR));
    assert!(log_on(&disk).recovery_threads(0).open(DIR).is_err());
    drop(store_on(&disk).open(DIR).unwrap());
    refused(store_on(&disk).recovery_threads(0).read_only(true).open(DIR));

    let db = store_on(&disk).durability(Durability::Buffered).open(DIR).unwrap();
    (0..50).for_each(|number| _ = db.put("key", payload(number, 1000)).unwrap());
    db.sync().unwrap();
    db.put("torn", payload(1, 2000)).unwrap();
    let torn = (0..20)
        .map(|seed| disk.fork().power_cut(&Outcome::Random { seed, rest: None }))
        .find(|disk| {
            let opened: Db = store_on(&disk.fork()).read_only(true).open(DIR).unwrap();
            opened.recovery_report().log.torn.is_some()
        })
        .unwrap();
    for threads in [1, 4] {
        let strict = |options: Options| options.recovery(RecoveryMode::Strict).recovery_threads(threads);
        assert!(matches!(strict(store_on(&torn)).open(DIR), Err(Error::Corruption(_))));
    }
    assert!(store_on(&torn).recovery_threads(4).open(DIR).unwrap().visible_lsn() >= Lsn::new(50));
}

/// Shows that opening finds the first record that nothing proves wherever it stands in a long segment, and that from
/// there on everything is durable once it is open; with a torn end too, where it moves to a successor.
#[test]
fn what_is_not_proven_is_found_in_a_long_segment() {
    const RECORDS: u64 = 3500;
    let open = |disk: &SimDisk| {
        log_on(disk).segment_bytes(8 << 20).durability(Durability::Buffered).open(DIR).unwrap()
    };
    for (proven, torn) in [0, 1, 1010, 2500, 3499].into_iter().flat_map(|lsn| [(lsn, false), (lsn, true)]) {
        let disk = SimDisk::new(1);
        let wal = open(&disk);
        for number in 1..=RECORDS {
            wal.append(&payload(number, 1000)).unwrap();
            if number == proven {
                wal.sync().unwrap();
            }
        }
        let disk = disk.kill();
        drop(wal);
        let mut last = RECORDS;
        if torn {
            let path = support::segment(1);
            let mut bytes = disk.read_file(&path).unwrap();
            let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
            bytes[end] ^= 1;
            disk.write_file(&path, &bytes);
            last -= 1;
        }
        let wal = open(&disk);
        assert_eq!(wal.report().rewritten, last - proven.min(last), "{proven} {torn}");
        let after = open(&disk.power_cut(&Outcome::None));
        let expected: Vec<_> = (1..=last).map(|number| (number, payload(number, 1000))).collect();
        assert_eq!(data(&records_of(&after)), expected, "{proven} {torn}");
        let successor = torn && proven > 0;
        assert_eq!(after.segments().len(), 1 + usize::from(successor), "{proven} {torn}");
    }
}

/// A sync failed and left its pages clean and lost, as Linux does; opening writes again what nothing proves to be durable, all
/// of it, however long it is.
#[test]
fn what_a_lost_sync_left_is_written_again_to_its_end() {
    let disk = SimDisk::new(1);
    let log = || log_on(&disk).segment_bytes(2 << 20).durability(Durability::Buffered);
    let wal = log().open(DIR).unwrap();
    (0..300).for_each(|number| _ = wal.append(&payload(number, 5000)).unwrap()); // more than a window
    disk.fail(Fault::new(FaultKind::SyncLost).on(OperationKind::Sync));
    wal.sync().unwrap_err();
    disk.clear_faults();
    drop(wal);
    let wal = log().open(DIR).unwrap();
    assert_eq!(wal.report().rewritten, 300);
    assert_eq!(wal.durable_lsn(), Lsn::new(300));
    let wal = log_on(&disk.power_cut(&Outcome::None)).open(DIR).unwrap();
    assert_eq!(data(&records_of(&wal)).len(), 300);
}

/// The segment that takes over from a torn one has room for all that was in it and takes its checksums as they are, whatever
/// the options are now; and it proves what it has taken over.
#[test]
fn what_takes_over_from_a_torn_segment() {
    let disk = SimDisk::new(1);
    disk.set_clock_us(5_000_000);
    let log = log_on(&disk).segment_bytes(65_536).durability(Durability::Buffered);
    let wal = log.checksum(Checksum::Crc32).open(DIR).unwrap();
    let expected: Vec<_> = (1..=20).map(|number| (number, payload(number, 2000))).collect();
    expected.iter().for_each(|(_, payload)| _ = wal.append(payload).unwrap());
    let disk = disk.power_cut(&Outcome::All);
    let path = segments(&disk).remove(0);
    let mut bytes = disk.read_file(&path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end + 9..end + 40].fill(0xAB);
    disk.write_file(&path, &bytes);
    disk.set_clock_us(1_000_000);
    let other_options = |disk: &SimDisk| log_on(disk).segment_bytes(8192).checksum(Checksum::Xxh3);
    let wal = other_options(&disk).open(DIR).unwrap();
    assert_eq!(data(&records_of(&wal)), expected);
    let killed = disk.kill();
    let successor = killed.read_file(&path).unwrap();
    let header = SegmentHeader::decode(&successor).unwrap();
    assert_eq!((header.file_len, header.checksum, header.proven_to), (65_536, Checksum::Crc32, Lsn::new(20)));
    assert!(header.created_us >= 5_000_000, "not earlier than what is in it");
    assert_eq!(data(&records_of(&other_options(&killed.fork()).open(DIR).unwrap())), expected);
    // The last record is proven now: damage in it is no torn end.
    let mut damaged = successor;
    let end = damaged.iter().rposition(|byte| *byte != 0).unwrap();
    damaged[end - 100] ^= 1;
    killed.write_file(&path, &damaged);
    assert!(matches!(other_options(&killed).open(DIR), Err(Error::Corruption(_))));
}

/// What a process that died was still making is nobody's, and goes.
#[test]
fn unfinished_files_go() {
    let disk = SimDisk::new(1);
    log_on(&disk).open(DIR).unwrap().close().unwrap();
    let left = format!("{DIR}/spare.tmp");
    disk.write_file(&left, b"half a segment");
    let wal = log_on(&disk).open(DIR).unwrap();
    assert_eq!(disk.read_file(&left), None);
    wal.close().unwrap();
}
