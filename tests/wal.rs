//! Shows that a log does what it says when nothing goes wrong: appending, reading, rotating, shortening, closing.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use forelog::format::names;
use forelog::format::record::RecordKind;
use forelog::format::segment::SegmentHeader;
use forelog::storage::{MemoryDisk, Outcome, SimDisk, Storage};
use forelog::wal::{LogReader, LogStatus, Wal};
use forelog::{Checksum, Durability, Error, Lsn, RecoveryMode, WalOptions};

use support::slow_disk::SlowDisk;
use support::{DIR, SEGMENT_BYTES, data, data_of_closed, log_on, payload, records_of, segment, segments};

const LENGTHS: [usize; 10] = [0, 1, 7, 8, 9, 463, 464, 465, 2000, 4000];

#[test]
fn what_is_appended_is_read_back() {
    for checksum in Checksum::ALL {
        let disk = SimDisk::new(1);
        let wal = log_on(&disk).checksum(checksum).open(DIR).unwrap();
        let expected: Vec<_> = (1..).zip(LENGTHS).map(|(lsn, len)| (lsn, payload(lsn, len))).collect();
        for (lsn, payload) in &expected {
            assert_eq!(wal.append(payload).unwrap(), Lsn::new(*lsn));
        }
        assert_eq!(data(&records_of(&wal)), expected, "{checksum}, while it is open");
        assert!(wal.segments().len() > 1);
        wal.close().unwrap();
        assert_eq!(data_of_closed(&disk), expected, "{checksum}, from outside");
        let wal = log_on(&disk).open(DIR).unwrap();
        assert_eq!(data(&records_of(&wal)), expected, "{checksum}, opened again");
    }
}

#[test]
fn many_at_once_come_in_their_order() {
    let wal = log_on(&SimDisk::new(1)).open(DIR).unwrap();
    assert_eq!(wal.append_many(&[]).unwrap(), Lsn::ZERO);
    let payloads: Vec<Vec<u8>> = (1..=20).map(|number| payload(number, 900)).collect();
    let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    assert_eq!(wal.append_many(&slices).unwrap(), Lsn::new(20), "over several segments");
    assert_eq!(wal.append_many(&[]).unwrap(), Lsn::new(20));
    assert_eq!(data(&records_of(&wal)), (1..).zip(payloads).collect::<Vec<_>>());
}

#[test]
fn each_durability_keeps_its_promise() {
    let disk = SimDisk::new(1);
    let wal = log_on(&disk).open(DIR).unwrap();
    let durable_after_power_cut = || {
        let image = disk.crash_point_now().apply(&Outcome::None);
        data_of_closed(&image).len()
    };
    wal.append_with(&[b"one"], Durability::Sync).unwrap();
    assert_eq!((wal.durable_lsn(), durable_after_power_cut()), (Lsn::new(1), 1));
    wal.append_with(&[b"two"], Durability::Buffered).unwrap();
    wal.append_with(&[b"three"], Durability::Buffered).unwrap();
    assert_eq!((wal.durable_lsn(), durable_after_power_cut()), (Lsn::new(1), 1));
    assert_eq!(wal.read_from(Lsn::new(2)).unwrap().count(), 0, "only what is durable is read");
    wal.wait_durable(Lsn::new(2)).unwrap();
    assert_eq!((wal.durable_lsn(), durable_after_power_cut()), (Lsn::new(3), 3), "a sync takes all");
    wal.append_with(&[b"four"], Durability::Buffered).unwrap();
    assert_eq!(wal.sync().unwrap(), Lsn::new(4));
    assert_eq!(durable_after_power_cut(), 4);
    wal.append_with(&[b"five"], Durability::Buffered).unwrap();
    wal.close().unwrap();
    assert_eq!(durable_after_power_cut(), 5, "closing syncs");
}

/// Durable is what was written when a sync *began*: what is written meanwhile may be in it or not.
#[test]
fn a_sync_vouches_for_what_was_written_before_it() {
    let (slow, arrived, go_on) = SlowDisk::new();
    let wal = log_on(&slow).open(DIR).unwrap();
    thread::scope(|scope| {
        slow.arm();
        let first = scope.spawn(|| wal.append(b"before"));
        arrived.recv().unwrap();
        wal.append_with(&[b"meanwhile"], Durability::Buffered).unwrap();
        assert_eq!((wal.durable_lsn().get(), wal.last_lsn().get()), (0, 2));
        go_on.send(()).unwrap();
        first.join().unwrap().unwrap();
        assert_eq!(wal.durable_lsn().get(), 1);
    });
    wal.wait_durable(Lsn::new(2)).unwrap();
    assert_eq!(wal.durable_lsn().get(), 2);
}

/// Waits for something that a background thread does.
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < give_up, "{what} did not happen");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn an_interval_is_kept_without_another_call() {
    let wal = log_on(&MemoryDisk::new()).open(DIR).unwrap();
    for number in 1..=3 {
        let interval = Durability::Interval(Duration::from_millis(10));
        let lsn = wal.append_with(&[&payload(number, 10)], interval).unwrap();
        eventually("the sync", || wal.durable_lsn() >= lsn);
    }
}

#[test]
fn an_idle_log_proves_what_it_holds_and_then_rests() {
    let wal = log_on(&MemoryDisk::new()).idle_mark(Some(Duration::from_millis(10))).open(DIR).unwrap();
    for round in 1..=3 {
        wal.append_with(&[b"data"], Durability::Buffered).unwrap();
        let mark = Lsn::new(2 * round);
        eventually("the mark", || wal.durable_lsn() >= mark);
        thread::sleep(Duration::from_millis(50));
        assert_eq!(wal.last_lsn(), mark, "one mark and no more");
    }
    let kinds: Vec<RecordKind> = records_of(&wal).iter().map(|record| record.kind).collect();
    assert_eq!(kinds, [RecordKind::Data, RecordKind::SyncMark].repeat(3));
}

/// Broken: src/wal/start.rs: `if wal.wants_mark()` to `if false`
#[test]
fn an_idle_log_proves_what_a_killed_writer_left() {
    let disk = SimDisk::new(1);
    let killed = log_on(&disk).open(DIR).unwrap();
    killed.append(b"data").unwrap();
    let disk = disk.kill();
    drop(killed);
    let wal = log_on(&disk).idle_mark(Some(Duration::from_millis(5))).open(DIR).unwrap();
    eventually("the mark", || wal.durable_lsn() == Lsn::new(2));
}

#[test]
fn a_reader_follows_the_writer_over_segments() {
    let wal = log_on(&MemoryDisk::new()).open(DIR).unwrap();
    const LAST: u64 = 3000;
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=LAST {
                let durability = if number % 5 == 0 { Durability::Sync } else { Durability::Buffered };
                wal.append_with(&[&payload(number, 100)], durability).unwrap();
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut records = wal.read_from(Lsn::new(1)).unwrap();
                let mut seen = 0;
                while seen < LAST {
                    let Some(record) = records.next() else {
                        thread::yield_now();
                        continue;
                    };
                    let record = record.unwrap();
                    seen += 1;
                    assert_eq!((record.lsn.get(), record.payload), (seen, payload(seen, 100)));
                    assert!(record.lsn <= wal.durable_lsn());
                }
            });
        }
    });
    assert!(wal.segments().len() > 20);
}

#[test]
fn segments_are_read_in_parallel() {
    let wal = log_on(&MemoryDisk::new()).open(DIR).unwrap();
    let expected: Vec<_> = (1..=100).map(|number| (number, payload(number, 300))).collect();
    expected.iter().for_each(|(_, payload)| _ = wal.append(payload).unwrap());
    wal.append_with(&[b"not durable"], Durability::Buffered).unwrap();
    let readers = wal.segment_readers();
    assert!(readers.len() > 5);
    let named: Vec<_> = readers.iter().map(|reader| (reader.file(), reader.base_lsn())).collect();
    let segments = wal.segments();
    assert!(
        named.iter().eq(&segments.iter().map(|one| (one.file.to_string(), one.base_lsn)).collect::<Vec<_>>())
    );
    let mut found: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = readers
            .into_iter()
            .map(|reader| scope.spawn(|| reader.map(Result::unwrap).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().flat_map(|thread| data(&thread.join().unwrap())).collect()
    });
    found.sort();
    assert_eq!(found, expected);
}

/// What somebody reads stays until all who read it have gone on or gone.
#[test]
fn what_is_being_read_stays() {
    let wal = log_on(&SimDisk::new(1)).open(DIR).unwrap();
    (1..=60).for_each(|number| _ = wal.append(&payload(number, 900)).unwrap());
    let end = wal.last_lsn();
    let bases: Vec<_> = wal.segments().iter().map(|segment| segment.base_lsn).collect();
    let first = wal.read_from(Lsn::new(1)).unwrap();
    let again = wal.read_from(Lsn::new(1)).unwrap();
    let mut later = wal.read_from(bases[3]).unwrap();
    assert_eq!(wal.remove_before(end).unwrap(), 0);
    drop(first);
    assert_eq!(wal.remove_before(end).unwrap(), 0, "there is another one");
    drop(again);
    assert_eq!(wal.remove_before(end).unwrap(), 3);
    assert_eq!(later.by_ref().take_while(|record| record.as_ref().unwrap().lsn < bases[5]).count(), 8);
    assert_eq!(wal.remove_before(end).unwrap(), 2, "it has gone on");
    drop(later);
    assert_eq!(wal.remove_before(end).unwrap(), bases.len() - 6);
}

/// Whoever reads from outside knows whether there is a writer.
#[test]
fn a_reader_from_outside_knows_of_a_writer() {
    let disk = SimDisk::new(1);
    let wal = log_on(&disk).open(DIR).unwrap();
    wal.append(b"a").unwrap();
    let look = || LogReader::open_on(Arc::new(disk.clone()), DIR).unwrap();
    assert!(look().is_live());
    wal.close().unwrap();
    assert!(!look().is_live());
}

#[test]
fn rotation_by_hand_does_nothing_to_an_empty_segment() {
    let disk = SimDisk::new(1);
    let wal = log_on(&disk).open(DIR).unwrap();
    for (append, expected) in [(false, 1), (true, 2), (false, 2), (true, 3)] {
        if append {
            wal.append(b"x").unwrap();
        }
        wal.rotate().unwrap();
        assert_eq!((wal.segments().len(), segments(&disk).len()), (expected, expected));
    }
    assert_eq!(wal.verify().unwrap().problems, []);
}

#[test]
fn the_beginning_is_removed_by_whole_segments() {
    let disk = SimDisk::new(1);
    let wal = log_on(&disk).open(DIR).unwrap();
    (1..=20).for_each(|number| _ = wal.append(&payload(number, 900)).unwrap()); // four to a segment
    for (before, removed, oldest) in
        [(1, 0, 1), (4, 0, 1), (5, 1, 5), (12, 1, 9), (1000, 2, 17), (1000, 0, 17)]
    {
        assert_eq!(wal.remove_before(Lsn::new(before)).unwrap(), removed, "before {before}");
        assert_eq!(wal.oldest_lsn(), Lsn::new(oldest));
    }
    assert!(
        matches!(wal.read_from(Lsn::new(16)), Err(Error::Compacted { oldest }) if oldest == Lsn::new(17))
    );
    assert_eq!(wal.read_from(Lsn::new(17)).unwrap().count(), 4);
    assert!(matches!(wal.cut_after(Lsn::new(15)), Err(Error::Compacted { .. })));
    drop(wal);
    let wal = log_on(&disk).open(DIR).unwrap();
    assert_eq!((wal.oldest_lsn(), wal.last_lsn()), (Lsn::new(17), Lsn::new(21)));
}

#[test]
fn the_end_is_cut_at_any_lsn_and_written_again() {
    let disk = SimDisk::new(1);
    let wal = log_on(&disk).open(DIR).unwrap();
    (1..=14).for_each(|number| _ = wal.append(&payload(number, 900)).unwrap());
    drop(wal); // with a close mark: LSN 15
    for cut in 0..=16 {
        let disk = disk.fork();
        let wal = log_on(&disk).open(DIR).unwrap();
        let mut reader = wal.read_from(Lsn::new(1)).unwrap();
        let ahead = reader.by_ref().take(3).count();
        wal.cut_after(Lsn::new(cut)).unwrap();
        let kept = cut.min(15);
        assert_eq!((wal.last_lsn().get(), wal.durable_lsn().get()), (kept, kept));
        wal.append(b"again").unwrap();
        let segments: Vec<_> = wal.segments().iter().map(|one| (one.base_lsn, one.last_lsn)).collect();
        assert!(segments.iter().all(|(base, last)| base <= last), "cut after {cut}: {segments:?}");
        assert!(segments.windows(2).all(|two| two[0].1.next() == two[1].0), "cut after {cut}: {segments:?}");
        let mut expected: Vec<_> = (1..=kept.min(14)).map(|number| (number, payload(number, 900))).collect();
        expected.push((kept + 1, b"again".to_vec()));
        assert_eq!(data(&records_of(&wal)), expected, "cut after {cut}");
        if kept >= 3 {
            // A reader from before the cut must not go on in what was removed.
            let rest = data(&reader.map(Result::unwrap).collect::<Vec<_>>());
            assert_eq!(rest, expected[ahead..], "cut after {cut}, read from before");
        }
        assert_eq!(wal.verify().unwrap().problems, []);
        drop(wal);
        let wal = log_on(&disk).open(DIR).unwrap();
        assert_eq!(data(&records_of(&wal)), expected, "cut after {cut}, opened again");
    }
}

/// A restore to a time looks for the segment by the time in its header: that of a cut is no earlier than what it keeps.
#[test]
fn a_cut_is_not_earlier_than_what_comes_before_it() {
    let disk = SimDisk::new(1);
    disk.set_clock_us(5_000_000);
    let wal = log_on(&disk).open(DIR).unwrap();
    (1..=3).for_each(|number| _ = wal.append(&payload(number, 10)).unwrap());
    disk.set_clock_us(1_000_000);
    wal.cut_after(Lsn::new(2)).unwrap();
    let header = disk.read_file(segment(3)).unwrap();
    assert!(SegmentHeader::decode(&header).unwrap().created_us >= 5_000_000);
}

#[test]
fn the_longest_payload_fits_and_one_byte_more_does_not() {
    for segment_bytes in [SEGMENT_BYTES, 8195, 20_000] {
        let disk = SimDisk::new(1);
        let wal = log_on(&disk).segment_bytes(segment_bytes).open(DIR).unwrap();
        let limit = usize::try_from(wal.max_payload_bytes()).unwrap();
        wal.append(b"something before").unwrap();
        let before = disk.operations();
        match wal.append(&payload(1, limit + 1)) {
            Err(Error::TooLarge { what: "batch", size, limit: stated }) => {
                assert_eq!((size, stated), (limit as u64 + 1, limit as u64));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(wal.append_many(&[b"fits", &payload(1, limit + 1)]), Err(Error::TooLarge { .. })));
        assert_eq!(disk.operations(), before, "nothing was written");
        wal.append(&payload(2, limit)).unwrap();
        wal.append(&payload(3, limit)).unwrap();
        drop(wal);
        let wal = log_on(&disk).open(DIR).unwrap();
        assert_eq!(data(&records_of(&wal))[1..], [(2, payload(2, limit)), (3, payload(3, limit))]);
    }
}

#[test]
fn misuse_is_refused_and_leaves_no_trace() {
    let disk = SimDisk::new(1);
    for (what, options) in [
        ("segment_bytes", log_on(&disk).segment_bytes(8191)),
        ("segment_bytes", log_on(&disk).segment_bytes(u64::MAX)),
        ("durability", log_on(&disk).durability(Durability::Interval(Duration::ZERO))),
    ] {
        assert!(matches!(options.open(DIR), Err(Error::InvalidOption { option, .. }) if option == what));
    }
    disk.write_file("a/file", b"mine");
    disk.write_file("photos/holiday.jpg", b"mine");
    disk.write_file("downloads/film.tmp", b"mine");
    for dir in ["a/file", "photos", "downloads"] {
        assert!(matches!(log_on(&disk).open(dir), Err(Error::NotAStore { .. })), "{dir}");
    }
    let files: Vec<String> = disk.files().iter().map(|path| path.display().to_string()).collect();
    assert_eq!(files, ["a/file", "downloads/film.tmp", "photos/holiday.jpg"]);

    let wal = log_on(&disk).open(DIR).unwrap();
    assert!(matches!(log_on(&disk).open(DIR), Err(Error::Locked { .. })));
    assert!(matches!(wal.wait_durable(Lsn::new(1)), Err(Error::InvalidOption { option: "lsn", .. })));
    wal.close().unwrap();
    assert!(matches!(wal.append(b"late"), Err(Error::Closed)));
    assert!(matches!(wal.rotate(), Err(Error::Closed)));
    assert!(matches!(wal.cut_after(Lsn::ZERO), Err(Error::Closed)));
    wal.close().expect("closing twice does nothing");
    let again = log_on(&disk).open(DIR).expect("the lock is free although the handle lives");
    assert_eq!(again.last_lsn(), Lsn::new(1));
    drop((wal, again));
    assert!(matches!(LogReader::open_on(Arc::new(disk), "nowhere"), Err(Error::NoStore { .. })));
}

#[test]
fn strict_recovery_refuses_a_torn_tail_and_changes_nothing() {
    let disk = SimDisk::new(1);
    let wal = log_on(&disk).open(DIR).unwrap();
    wal.append(b"kept").unwrap();
    wal.append_with(&[b"torn"], Durability::Buffered).unwrap();
    let disk = disk.kill();
    let mut bytes = disk.read_file(segment(1)).unwrap();
    bytes[4096 + 56 + 48] ^= 1;
    disk.write_file(segment(1), &bytes);
    let before = disk.fingerprint();
    let strict = log_on(&disk).recovery(RecoveryMode::Strict).open(DIR);
    assert!(matches!(strict, Err(Error::Corruption(_))), "{strict:?}");
    assert_eq!((disk.fingerprint(), segments(&disk).len()), (before, 1));
    let wal = log_on(&disk).open(DIR).unwrap();
    let torn = wal.report().torn.clone().expect("it is reported");
    assert_eq!((torn.lsn, data(&records_of(&wal))), (Lsn::new(2), vec![(1, b"kept".to_vec())]));
    drop(wal);
    log_on(&disk).recovery(RecoveryMode::Strict).open(DIR).expect("it is torn no more");
}

#[test]
fn many_writers_share_one_order_and_all_of_it_is_durable() {
    const WRITERS: u64 = 8;
    const EACH: u64 = 200;
    let disk = SimDisk::new(1);
    let wal = log_on(&disk).open(DIR).unwrap();
    let lsns: Vec<Vec<u64>> = thread::scope(|scope| {
        let write = |writer: u64| {
            let append = |number: u64| {
                let lsn = wal.append(&payload(writer * 1000 + number, 40)).unwrap();
                assert!(wal.durable_lsn() >= lsn);
                lsn.get()
            };
            (0..EACH).map(append).collect::<Vec<u64>>()
        };
        let threads: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(lsns.iter().all(|of_one| of_one.is_sorted()));
    let all: BTreeSet<u64> = lsns.iter().flatten().copied().collect();
    assert!(all.iter().copied().eq(1..=WRITERS * EACH), "dense, and each given once");
    let found = data_of_closed(&disk.power_cut(&Outcome::None));
    assert_eq!(found.len() as u64, WRITERS * EACH);
    for (writer, of_one) in (0..).zip(&lsns) {
        for (number, lsn) in (0..).zip(of_one) {
            let index = usize::try_from(lsn - 1).unwrap();
            assert_eq!(found[index], (*lsn, payload(writer * 1000 + number, 40)));
        }
    }
}

/// Tells the writer to stop, also when the test fails: otherwise it would write for ever.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn nobody_who_looks_at_a_busy_log_raises_a_false_alarm() {
    let dir = tempfile::tempdir().unwrap();
    let real = WalOptions::new().segment_bytes(SEGMENT_BYTES).idle_mark(Some(Duration::from_millis(1)));
    let memory = MemoryDisk::new();
    let cases: [(WalOptions, String, Arc<dyn Storage>); 2] = [
        (real, dir.path().join("log").display().to_string(), Arc::new(forelog::storage::RealDisk)),
        (log_on(&memory), DIR.to_owned(), Arc::new(memory.clone())),
    ];
    for (options, path, disk) in cases {
        let wal = options.open(&path).unwrap();
        let stop = AtomicBool::new(false);
        let looks = thread::scope(|scope| {
            scope.spawn(|| {
                for number in 1.. {
                    let long = if number % 3 == 0 { 2500 } else { 30 };
                    let durability = if number % 4 == 0 { Durability::Sync } else { Durability::Buffered };
                    wal.append_with(&[&payload(number, long)], durability).unwrap();
                    if number % 50 == 0 {
                        let last = wal.last_lsn().get();
                        wal.remove_before(Lsn::new(last.saturating_sub(300))).unwrap();
                        thread::sleep(Duration::from_micros(500));
                    }
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
            let _stop = Stop(&stop);
            let until = Instant::now() + Duration::from_millis(1500);
            let mut looks = 0;
            while Instant::now() < until {
                let found = wal.verify().unwrap();
                assert_eq!((found.status, &found.problems[..]), (LogStatus::Live, &[][..]), "on {disk:?}");
                let mut next = None;
                for record in LogReader::open_on(disk.clone(), &path).unwrap() {
                    // A segment may be removed under a reader from outside: then it stops with an error, and says so.
                    let Ok(record) = record else { break };
                    assert!(next.is_none_or(|next| next == record.lsn));
                    next = Some(record.lsn.next());
                }
                looks += 1;
            }
            looks
        });
        println!("looked {looks} times while {} records were written", wal.last_lsn());
    }
}

/// Broken: src/wal/log.rs: `tail.time_us.max(self.dir.storage().now_us())` to `self.dir.storage().now_us()`
#[test]
fn time_never_runs_backwards_whatever_the_clock_does() {
    let disk = SimDisk::new(1);
    let write = |wal: &Wal| {
        for step in [9_000_000, 5_000_000, 7_000_000, 0, 8_000_000] {
            disk.set_clock_us(step);
            wal.append(&payload(step, 1500)).unwrap();
        }
    };
    let wal = log_on(&disk).open(DIR).unwrap();
    write(&wal);
    disk.set_clock_us(3);
    wal.cut_after(Lsn::new(4)).unwrap();
    wal.close().unwrap();
    disk.set_clock_us(1);
    let wal = log_on(&disk).open(DIR).unwrap();
    write(&wal);
    drop(wal);
    let disk = disk.kill();
    disk.set_clock_us(0);
    let wal = log_on(&disk).open(DIR).unwrap();
    wal.append(b"last").unwrap();
    let times: Vec<u64> = records_of(&wal).iter().map(|record| record.time_us).collect();
    assert!(times.is_sorted() && times.len() > 10, "{times:?}");
}

/// Where a torn segment's name is taken by its successor, its bytes are kept beside it, all of them, and nothing that was
/// kept before is overwritten.
///
/// Broken: src/wal/open.rs: `if same_name { Some(keep_in_lost(dir, &names::segment(old.base))?) } else { None }` to `None`
#[test]
fn what_is_cut_off_is_kept() {
    let disk = SimDisk::new(1);
    let wal = log_on(&disk).durability(Durability::Buffered).open(DIR).unwrap();
    (1..=2).for_each(|number| _ = wal.append(&payload(number, 900)).unwrap());
    let disk = disk.power_cut(&Outcome::All);
    let path = segment(1);
    let mut torn = disk.read_file(&path).unwrap();
    let end = torn.iter().rposition(|byte| *byte != 0).unwrap();
    torn[end] ^= 1;
    disk.write_file(&path, &torn);
    for (taken, name) in [(None, ""), (Some(""), ".1"), (Some(".1"), ".2")] {
        let disk = disk.fork();
        let lost = format!("{DIR}/lost/{}", names::segment(Lsn::new(1)));
        if taken.is_some() {
            disk.create_dir(Path::new(&format!("{DIR}/lost"))).unwrap();
            disk.write_file(&lost, b"kept before");
        }
        if taken == Some(".1") {
            disk.write_file(format!("{lost}.1"), b"kept before");
        }
        let wal = log_on(&disk).open(DIR).unwrap();
        let report = wal.report().torn.clone().unwrap();
        assert_eq!(report.kept_in, Some(format!("lost/{}{name}", names::segment(Lsn::new(1)))));
        assert!(disk.read_file(format!("{lost}{name}")).unwrap() == torn, "all of it");
        assert_eq!(data(&records_of(&wal)), [(1, payload(1, 900))]);
        assert!(taken.is_none() || disk.read_file(&lost).unwrap() == b"kept before");
        // What is kept survives a power cut as well as what took its place.
        let after = disk.power_cut(&Outcome::None);
        assert!(after.read_file(format!("{lost}{name}")).unwrap() == torn, "durably");
    }
}

/// A log that is open knows whose it is: a file of another one is found, also as the first.
#[test]
fn verification_of_an_open_log_knows_its_owner() {
    let (disk, other) = (SimDisk::new(1), SimDisk::new(2));
    let log = |disk: &SimDisk| {
        let wal = log_on(disk).open(DIR).unwrap();
        (0..60).for_each(|number| _ = wal.append(&payload(number, 200)).unwrap());
        wal
    };
    let (wal, foreign) = (log(&disk), log(&other));
    assert_eq!((wal.path().as_path(), wal.verify().unwrap().problems.len()), (Path::new(DIR), 0));
    for path in segments(&disk) {
        disk.write_file(&path, &other.read_file(Path::new(&path)).unwrap());
    }
    let found = wal.verify().unwrap();
    let is_foreign = |problem: &forelog::wal::Problem| problem.kind == "foreign_store";
    assert!(found.problems.len() > 2 && found.problems.iter().all(is_foreign), "{:?}", found.problems);
    assert_ne!(wal.store_id(), foreign.store_id());
}
