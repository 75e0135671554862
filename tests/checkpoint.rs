//! Shows what a checkpoint holds, what goes after it, and what opening does with a damaged one.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use forelog::error::EvidenceSource;
use forelog::format::manifest::Manifest;
use forelog::storage::{Fault, FaultKind, OperationKind, SimDisk};
use forelog::wal::{LogReader, LogStatus};
use forelog::{Db, Error, Lsn, Options, Retention, WriteBatch, care};

use support::hook_disk::HookDisk;
use support::{DIR, store_on};

fn options(disk: &SimDisk) -> Options {
    store_on(disk).checkpoint_after_bytes(None)
}

fn names(disk: &SimDisk, ending: &str) -> Vec<String> {
    let all = disk.files().into_iter().map(|path| path.to_str().unwrap().to_owned());
    all.filter(|name| name.ends_with(ending)).collect()
}

fn state(db: &Db) -> BTreeMap<String, Vec<u8>> {
    let mut state = BTreeMap::new();
    for name in db.keyspaces() {
        for entry in db.find_keyspace(&name).unwrap().iter() {
            let key = format!("{name}/{}", entry.key().escape_ascii());
            state.insert(key, entry.value().to_vec());
        }
    }
    state
}

fn fill(db: &Db, from: u64, to: u64) {
    let users = db.keyspace("users").unwrap();
    for number in from..to {
        let mut batch = WriteBatch::new();
        batch.put(format!("key:{number:05}"), vec![b'v'; 40 + (number % 60) as usize]);
        batch.put_in(&users, format!("user:{:05}", number % 50), number.to_string());
        batch.delete(format!("key:{:05}", number.saturating_sub(30)));
        db.write(batch).unwrap();
    }
}

/// Shows that what a checkpoint holds is what memory held, over keyspaces, and that what follows it is replayed.
#[test]
fn a_checkpoint_and_the_log_behind_it_are_the_state() {
    let disk = SimDisk::new(1);
    let db = options(&disk).open(DIR).unwrap();
    fill(&db, 0, 200);
    let lsn = db.checkpoint().unwrap();
    assert_eq!(lsn, db.visible_lsn());
    assert_eq!(db.checkpoint().unwrap(), lsn, "nothing is new");
    fill(&db, 200, 230);
    let late = db.keyspace("late").unwrap();
    late.put("a", "b").unwrap();
    let expected = state(&db);
    db.close().unwrap();
    drop(db);

    let db = options(&disk).open(DIR).unwrap();
    let report = db.recovery_report();
    assert_eq!(report.checkpoint, Some(lsn));
    assert!(report.records <= 32 && report.damaged_checkpoints.is_empty(), "{report:?}");
    assert_eq!(state(&db), expected);
    // A keyspace that only the checkpoint knows keeps its number and takes writes.
    db.keyspace("users").unwrap().put("user:00001", "again").unwrap();
    assert_eq!(db.keyspaces().len(), 3);
}

/// Shows that segments below the checkpoint go, and only those.
#[test]
fn what_recovery_needs_no_more_goes() {
    let disk = SimDisk::new(1);
    let db = options(&disk).open(DIR).unwrap();
    fill(&db, 0, 300);
    let before = names(&disk, ".wal");
    assert!(before.len() > 3);
    let dry = db.prune(true).unwrap();
    assert!(dry.removed.is_empty() && dry.kept.len() == before.len(), "{dry:?}");
    db.checkpoint().unwrap();
    assert_eq!(names(&disk, ".wal").len(), 1, "only the one that is written is left");
    assert_eq!(names(&disk, ".ckpt").len(), 1);
    fill(&db, 300, 600);
    db.checkpoint().unwrap();
    assert_eq!((names(&disk, ".wal").len(), names(&disk, ".ckpt").len()), (1, 1));
    assert!(matches!(db.close(), Ok(())));
}

/// Shows that policies keep the past, and the number of checkpoints that was asked for.
#[test]
fn policies_keep_the_past() {
    let disk = SimDisk::new(1);
    let policy: Retention = "any(count:2)".parse().unwrap();
    let db = options(&disk).retention(policy).keep_checkpoints(2).open(DIR).unwrap();
    for round in 0..4 {
        fill(&db, round * 100, round * 100 + 100);
        db.checkpoint().unwrap();
    }
    assert_eq!(names(&disk, ".ckpt").len(), 2);
    let first = names(&disk, ".wal").len();
    assert!(first > 3, "the log behind the older checkpoint, and two more");
    let report = db.prune(true).unwrap();
    assert_eq!(report.kept.iter().filter(|file| file.reason.contains("count:2")).count(), 2, "{report:?}");
    assert!(report.removed.is_empty());
    db.close().unwrap();
    // The options stay with the store.
    let db = store_on(&disk).open(DIR).unwrap();
    assert_eq!(db.prune(false).unwrap().kept.len(), first + 2);
}

/// Shows that a damaged newest checkpoint is passed over for an older one, and said; with no older one, that opening
/// refuses and changes nothing.
#[test]
fn a_damaged_checkpoint_is_passed_over_or_refused() {
    for keep in [1, 2] {
        let disk = SimDisk::new(1);
        let db = options(&disk).keep_checkpoints(keep).open(DIR).unwrap();
        fill(&db, 0, 100);
        let older = db.checkpoint().unwrap();
        fill(&db, 100, 200);
        let newest = db.checkpoint().unwrap();
        fill(&db, 200, 210);
        let expected = state(&db);
        db.close().unwrap();
        drop(db);
        let path = names(&disk, ".ckpt").pop().unwrap();
        for damage in ["flip", "shorter", "longer", "gone"] {
            let disk = disk.fork();
            let mut bytes = disk.read_file(&path).unwrap();
            let middle = bytes.len() / 2;
            match damage {
                "flip" => bytes[middle] ^= 1,
                "longer" => bytes.push(0),
                _ => bytes.truncate(middle),
            }
            disk.write_file(&path, &bytes);
            if damage == "gone" {
                assert!(disk.remove_file(&path));
            }
            let opened = options(&disk).open(DIR);
            if keep == 1 {
                let error = opened.unwrap_err();
                let Error::Corruption(found) = &error else { panic!("{error}") };
                assert_eq!(found.file.to_str(), Some(&*path), "{damage}");
                continue;
            }
            let db = opened.unwrap();
            let report = db.recovery_report();
            assert_eq!(report.checkpoint, Some(older), "{damage}");
            assert_eq!(report.damaged_checkpoints[0].lsn, newest);
            assert_eq!(state(&db), expected, "{damage}");
            let again = db.checkpoint().unwrap();
            assert!(again > newest);
            db.close().unwrap();
            drop(db);
            let manifest = Manifest::decode(&disk.read_file("data/MANIFEST").unwrap()).unwrap();
            let kept: Vec<Lsn> = manifest.checkpoints.iter().map(|checkpoint| checkpoint.lsn()).collect();
            assert_eq!(kept, [older, again], "the damaged one is not relied on again");
            let db = options(&disk).open(DIR).unwrap();
            assert_eq!(db.recovery_report().checkpoint, Some(again));
            assert_eq!(db.recovery_report().checkpoint_entries, expected.len() as u64);
            assert!(db.recovery_report().damaged_checkpoints.is_empty());
            assert_eq!(state(&db), expected, "{damage}");
        }
    }
}

/// Where the log has everything, no checkpoint is needed; that they are damaged is told all the same.
#[test]
fn the_whole_log_takes_the_place_of_damaged_checkpoints() {
    let disk = SimDisk::new(1);
    let open = || options(&disk).retention("any(count:100)".parse().unwrap()).open(DIR).unwrap();
    let db = open();
    fill(&db, 0, 100);
    let lsn = db.checkpoint().unwrap();
    fill(&db, 100, 120);
    let expected = state(&db);
    db.close().unwrap();
    let path = names(&disk, ".ckpt").pop().unwrap();
    let mut bytes = disk.read_file(&path).unwrap();
    bytes[100] ^= 1;
    disk.write_file(&path, &bytes);
    let db = open();
    let report = db.recovery_report();
    let damaged: Vec<Lsn> = report.damaged_checkpoints.iter().map(|damaged| damaged.lsn).collect();
    assert_eq!((report.checkpoint, damaged), (None, vec![lsn]));
    assert_eq!(state(&db), expected);
}

/// A checkpoint that the disk cannot give is no damaged one: what it says may come back, so nothing takes its place.
#[test]
fn a_checkpoint_that_cannot_be_read_is_not_passed_over() {
    for (lost, op) in [(0..0, "open"), (0..1, "read")] {
        let disk = HookDisk::new();
        let open = || store_on(&disk).checkpoint_after_bytes(None).keep_checkpoints(2).open(DIR);
        let db = open().unwrap();
        fill(&db, 0, 100);
        db.checkpoint().unwrap();
        fill(&db, 100, 200);
        db.checkpoint().unwrap();
        db.close().unwrap();
        drop(db);
        let name = names(&disk.disk, ".ckpt").pop().unwrap().leak();
        disk.lose(name, lost);
        let error = open().unwrap_err();
        assert!(matches!(&error, Error::Io { op: failed, .. } if *failed == op), "{error}");
    }
}

/// Shows that the background takes checkpoints by itself, that the log stays short, and that closing does not wait.
#[test]
fn checkpoints_come_by_themselves() {
    let disk = SimDisk::new(1);
    let db = options(&disk).checkpoint_after_bytes(Some(20_000)).open(DIR).unwrap();
    let mut number = 0;
    while db.stats().checkpoint_lsn.is_none_or(|lsn| lsn < Lsn::new(1000)) {
        fill(&db, number, number + 10);
        number += 10;
        assert!(number < 1_000_000, "{:?}", db.stats());
    }
    assert_eq!(db.stats().checkpoint_failure, None);
    let expected = state(&db);
    db.close().unwrap();
    drop(db);
    let db = options(&disk).open(DIR).unwrap();
    assert!(db.recovery_report().checkpoint.is_some());
    assert_eq!(state(&db), expected);
}

/// Shows that a close can take a last checkpoint, so that the next opening replays nothing.
#[test]
fn a_checkpoint_on_close() {
    let disk = SimDisk::new(1);
    let db = options(&disk).checkpoint_on_close(true).open(DIR).unwrap();
    fill(&db, 0, 50);
    let expected = state(&db);
    db.close().unwrap();
    drop(db);
    let db = options(&disk).open(DIR).unwrap();
    assert_eq!(db.recovery_report().records, 0);
    assert_eq!(state(&db), expected);
    db.close().unwrap();
    assert!(matches!(db.checkpoint(), Err(Error::Closed)));
    assert!(matches!(db.prune(true), Err(Error::Closed)));
}

/// A manifest that was written and could not be given its name stayed behind, and its checkpoint's parts did not. Shows
/// that nothing of a checkpoint that failed there is left, that the store goes on, and that the next one works.
#[test]
fn a_manifest_without_its_name_leaves_nothing_behind() {
    let disk = SimDisk::new(1);
    let db = options(&disk).open(DIR).unwrap();
    fill(&db, 0, 10);
    let before = disk.files();
    disk.fail(Fault::new(FaultKind::Eio).on(OperationKind::Rename));
    let error = db.checkpoint().unwrap_err();
    assert!(matches!(error, Error::Io { op: "rename", .. }), "{error}");
    assert_eq!(disk.files(), before);
    assert_eq!(db.stats().checkpoint_failure, Some(error.to_string()));
    fill(&db, 10, 20);
    db.checkpoint().unwrap();
    assert_eq!(db.stats().checkpoint_failure, None);
}

/// A log that ended below the checkpoint was opened if the manifest did not know better, and gave LSNs out again: what was
/// written under them was taken for applied, and lost, at the next opening. Shows that a checkpoint proves its LSN.
#[test]
fn a_log_that_ends_below_its_checkpoint_is_corrupt() {
    let disk = SimDisk::new(1);
    let db = options(&disk).open(DIR).unwrap();
    (1..=4).for_each(|number| _ = db.put(format!("key {number}"), "value").unwrap());
    let lsn = db.checkpoint().unwrap();
    drop(db);
    let manifest = format!("{DIR}/MANIFEST");
    let known = Manifest::decode(&disk.read_file(&manifest).unwrap()).unwrap();
    disk.write_file(&manifest, &Manifest { durable_lsn: Lsn::ZERO, ..known }.encode());
    let record = LogReader::open_on(Arc::new(disk.clone()), DIR).unwrap().nth(2).unwrap().unwrap();
    let segment = support::segment(1);
    let mut bytes = disk.read_file(&segment).unwrap();
    bytes[usize::try_from(record.offset).unwrap()..].fill(0);
    disk.write_file(&segment, &bytes);

    let before = disk.fingerprint();
    let error = options(&disk).open(DIR).unwrap_err();
    let Error::Corruption(found) = &error else { panic!("{error}") };
    let evidence = found.evidence.as_ref().unwrap();
    assert_eq!(
        (found.lsn, evidence.lsn, evidence.source),
        (Some(Lsn::new(3)), lsn, EvidenceSource::Checkpoint)
    );
    assert_eq!(disk.fingerprint(), before);
    let verified = care::verify_on(Arc::new(disk.clone()), DIR).unwrap();
    assert_eq!(verified.status, LogStatus::Corrupt);
}

/// An older checkpoint was loaded for a damaged one although the log began later than it ended, and so was nothing where
/// no checkpoint was named: what had been between was missing, and nobody was told. Shows that opening refuses, names the
/// file, and changes nothing.
#[test]
fn a_checkpoint_that_does_not_reach_the_log_is_not_loaded() {
    let disk = SimDisk::new(1);
    let db = options(&disk).keep_checkpoints(2).open(DIR).unwrap();
    fill(&db, 0, 100);
    db.checkpoint().unwrap();
    fill(&db, 100, 200);
    db.checkpoint().unwrap();
    drop(db);
    let path = format!("{DIR}/MANIFEST");
    let right = Manifest::decode(&disk.read_file(&path).unwrap()).unwrap();
    let last = support::segments(&disk).pop().unwrap();
    let first_segment = (0..).map(Lsn::new).find(|lsn| support::segment(lsn.get()) == last).unwrap();
    let newest = names(&disk, ".ckpt").pop().unwrap();
    for (checkpoints, named) in [(right.checkpoints.clone(), &newest), (Vec::new(), &path)] {
        let disk = disk.fork();
        disk.write_file(&path, &Manifest { checkpoints, first_segment, ..right.clone() }.encode());
        disk.write_file(&newest, b"rotten");
        let before = disk.fingerprint();
        let error = options(&disk).open(DIR).unwrap_err();
        let Error::Corruption(found) = &error else { panic!("{error}") };
        assert_eq!(found.file.to_str(), Some(&**named), "{error}");
        assert_eq!(disk.fingerprint(), before);
    }
}
