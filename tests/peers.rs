//! Bugs that other logs had: each test tells one, and shows that it cannot happen here.

#![allow(clippy::unwrap_used)]

mod support;

use std::ops::RangeInclusive;
use std::sync::Arc;

use forelog::error::CorruptionKind;
use forelog::format::segment::SegmentHeader;
use forelog::storage::{Fault, FaultKind, OperationKind, Outcome, OutcomeLimits, SimDisk};
use forelog::wal::Wal;
use forelog::{Durability, Error, Lsn, care};

use support::{DIR, data, log_on, payload, records_of, segment, segments};

fn open(disk: &SimDisk) -> Wal {
    log_on(disk).open(DIR).unwrap()
}

fn append(wal: &Wal, numbers: RangeInclusive<u64>, len: usize) {
    numbers.for_each(|number| _ = wal.append(&payload(number, len)).unwrap());
}

/// fjall#308: a batch was written half, its writer got an error, and later batches were acknowledged behind the
/// partial frame, where nobody ever found them.
///
/// Broken: src/wal/log.rs: `let result = self.guard(|| self.write_group(&mut tail, records));` to `let result = self.write_group(&mut tail, records);`
#[test]
fn nothing_is_acknowledged_behind_a_partial_record() {
    for bytes in [0, 1, 47, 48, 60, 147] {
        let disk = SimDisk::new(1);
        let wal = open(&disk);
        append(&wal, 1..=3, 100);
        disk.fail(Fault::new(FaultKind::PartialWriteThenEio(bytes)).on(OperationKind::Write));
        assert!(matches!(wal.append(&payload(4, 100)), Err(Error::Poisoned { .. })));
        for _ in 0..3 {
            assert!(matches!(wal.append(b"behind it"), Err(Error::Poisoned { .. })));
        }
        drop(wal);
        let wal = open(&disk.kill());
        assert_eq!(data(&records_of(&wal)).len(), 3, "{bytes} bytes of the fourth were written");
        assert_eq!(wal.append(b"again").unwrap(), Lsn::new(4));
    }
}

/// pebble#1212: a crash inside `open`, after the new log file was made, left the old torn one "not the last", so it
/// was judged like a finished one and the store never opened again. Here the power goes at each operation of opening.
#[test]
fn a_crash_while_a_torn_log_is_opened_opens_again() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    append(&wal, 1..=3, 100);
    wal.append_with(&[&payload(4, 2000)], Durability::Buffered).unwrap();
    let torn = disk.crash_point_now().apply(&Outcome::Prefix(2));
    torn.record();
    let wal = open(&torn);
    assert_eq!((wal.last_lsn().get(), wal.report().torn.is_some()), (3, true));
    drop(wal);
    let mut images = 0;
    for point in torn.take_crash_points() {
        for outcome in [Outcome::None, Outcome::All] {
            let wal = open(&point.apply(&outcome));
            assert_eq!(data(&records_of(&wal)).len(), 3, "{point}, {outcome:?}");
            images += 1;
        }
    }
    println!("{images} images");
}

/// redb#1290: recovery gave a torn slot a valid checksum, and a second crash rolled a durable commit back. Here what
/// recovery writes again is durable before the log says that it is open, and the power goes at once.
///
/// Broken: src/wal/open.rs: `rewrite_in_place(&end)?;` to ``
#[test]
fn what_an_opening_has_shown_survives_the_next_crash() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    append(&wal, 1..=3, 100);
    // Written, never synced, and then the sync fails and leaves them in the cache alone.
    wal.append_with(&[&payload(4, 100)], Durability::Buffered).unwrap();
    disk.fail(Fault::new(FaultKind::SyncLost).on(OperationKind::Sync));
    assert!(wal.sync().is_err());
    drop(wal);
    let disk = disk.kill();
    let wal = open(&disk);
    assert_eq!((wal.last_lsn().get(), wal.report().rewritten), (4, 1));
    let wal = open(&disk.power_cut(&Outcome::None));
    assert_eq!(data(&records_of(&wal)).len(), 4);
}

/// rocksdb#12489: a newer log was synced before an older one, and recovery read past the hole. Here the segment
/// before is synced before the next one exists, whatever was asked for.
///
/// Broken: src/wal/rotate.rs: `self.sync_file(file)?; let old` to `let old`
#[test]
fn a_newer_segment_is_never_durable_before_an_older_one() {
    let disk = SimDisk::new(1);
    disk.record();
    let wal = open(&disk);
    for number in 1..=30 {
        wal.append_with(&[&payload(number, 900)], Durability::Buffered).unwrap();
    }
    let mut images = 0;
    for point in disk.take_crash_points() {
        for outcome in point.outcomes(&OutcomeLimits::default(), 1).take(40) {
            let image = point.apply(&outcome);
            let bases: Vec<u64> =
                segments(&image).iter().map(|path| header(&image, path).base.get()).collect();
            let wal = open(&image);
            let last = wal.last_lsn().get();
            let complete = bases.last().is_none_or(|base| last + 1 >= *base);
            assert!(complete, "{point}, {outcome:?}: {bases:?} and the log ends at {last}");
            images += 1;
        }
    }
    println!("{images} images");
}

/// raft-engine: a missing file in the middle silently dropped all older ones. Here it is named.
///
/// Broken: src/wal/evidence.rs: `TailFacts { sealed: true, .. } => Verdict::SuccessorMissing,` to ``
#[test]
fn a_missing_segment_is_named() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    append(&wal, 1..=12, 900); // four to a segment: 1, 5, 9
    drop(wal);
    for (gone, lsn) in [(5, 5), (9, 9)] {
        let disk = disk.fork();
        assert!(disk.remove_file(segment(gone)));
        match log_on(&disk).open(DIR) {
            Err(Error::MissingSegment { lsn: missing, .. }) => assert_eq!(missing, Lsn::new(lsn)),
            other => panic!("{other:?}"),
        }
    }
}

/// go-wal: an LSN began again at 0 when the newest segment was empty, and `segment-10` came before `segment-2`.
#[test]
fn lsns_go_on_behind_an_empty_segment_and_names_sort_as_numbers() {
    let mut disk = SimDisk::new(1);
    for expected in 1..=24 {
        let wal = open(&disk);
        assert_eq!(wal.last_lsn().get(), expected - 1, "the last segment is empty");
        assert_eq!(wal.append(b"one").unwrap().get(), expected);
        assert!(records_of(&wal).iter().map(|record| record.lsn.get()).eq(1..=expected));
        wal.rotate().unwrap();
        disk = disk.kill();
    }
}

/// A file of another release must be told from a damaged one, and nothing may be touched, not even what is left of
/// an unfinished segment.
#[test]
fn another_format_version_is_refused_and_not_a_byte_written() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    append(&wal, 1..=6, 900);
    drop(wal);
    disk.write_file(format!("{DIR}/spare.tmp"), b"unfinished");
    for base in [1, 5] {
        let disk = disk.fork();
        let mut bytes = disk.read_file(segment(base)).unwrap();
        bytes[8] = 9;
        let crc = crc32(&bytes[..4092]).to_le_bytes();
        bytes[4092..4096].copy_from_slice(&crc);
        disk.write_file(segment(base), &bytes);
        let before = disk.fingerprint();
        let refused = log_on(&disk).open(DIR);
        assert!(matches!(&refused, Err(Error::UnsupportedFormat { found: 9, .. })), "{refused:?}");
        assert_eq!((disk.fingerprint(), disk.unsynced_changes()), (before, 0));
    }
}

/// CRC-32 bit by bit, so that a header can be changed without the code under test.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

fn header(disk: &SimDisk, path: &str) -> SegmentHeader {
    SegmentHeader::decode(&disk.read_file(path).unwrap()).unwrap()
}

/// A segment of the same store and the same LSNs, but of another past: a file that was brought back from a copy of the
/// store, which had gone its own way. Only the digest in the next segment's header tells them apart.
///
/// Broken: src/wal/replay.rs: `end.digest != digest || end.lsn != last.next()` to `end.lsn != last.next()`
#[test]
fn a_segment_of_another_past_is_refused() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    append(&wal, 1..=1, 1500);
    drop(wal);
    let other = disk.fork();
    for (disk, numbers) in [(&disk, 2..=9), (&other, 12..=19)] {
        let wal = open(disk);
        append(&wal, numbers, 1500);
        wal.close().unwrap();
    }
    let first = segment(1);
    assert!(segments(&disk) == segments(&other) && segments(&disk).len() > 3);
    disk.write_file(&first, &other.read_file(&first).unwrap());
    let before = disk.fingerprint();
    let is_found = |error: Error| matches!(error, Error::Corruption(found) if found.kind == CorruptionKind::Digest && found.file.ends_with(&first));
    assert!(is_found(log_on(&disk).open(DIR).unwrap_err()));
    assert_eq!(disk.fingerprint(), before);
    let found = care::verify_on(Arc::new(disk), DIR).unwrap();
    assert_eq!((found.problems.len(), &*found.problems[0].kind), (1, "digest"));
}
