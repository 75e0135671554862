//! Shows what a repair leaves that is not let finish: each of its calls fails once, or that one and all later ones, or the
//! power goes at it. The damaged store is never harmed, what was begun is never taken for the whole, and the next repair
//! comes to its end.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use forelog::storage::{Fault, FaultKind, OperationFilter, OperationKind, Outcome, OutcomeLimits, SimDisk};
use forelog::wal::LogStatus;
use forelog::{Error, Result, care};

use support::history::{State, history, state_of, without};
use support::{ARCHIVE, DIR, by_hand, fill, segments, store_on};

const OUT: &str = "out";

/// A store that ends in an unfinished write, and what is sound of it.
fn torn() -> (SimDisk, BTreeMap<String, Vec<u8>>) {
    let disk = SimDisk::new(1);
    let db = by_hand(&disk).open(DIR).unwrap();
    fill(&db, 25);
    let state = state_of(&db);
    let disk = disk.power_cut(&Outcome::None);
    let path = segments(&disk).pop().unwrap();
    let mut bytes = disk.read_file(&path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end + 9..end + 40].fill(0xAB);
    disk.write_file(&path, &bytes);
    (disk, state)
}

struct Damaged {
    disk: SimDisk,
    sound: BTreeMap<String, Vec<u8>>,
    /// What each LSN wrote, if there is nothing but the log.
    written: Option<BTreeMap<u64, State>>,
}

/// Damaged stores: one whose log has lost a record, one with a checkpoint that has, and
/// an archive that has it not either.
fn damaged() -> Vec<Damaged> {
    let (disk, written) = history();
    let path = &segments(&disk)[1];
    let mut bytes = disk.read_file(path).unwrap();
    bytes[4096 + 70] ^= 1;
    disk.write_file(path, &bytes);
    let lost = care::plan_repair_on(Arc::new(disk.clone()), DIR).unwrap().lost;
    assert_eq!(lost.len(), 1);
    let sound = without(&written, &lost);

    let archived = SimDisk::new(2);
    let db = by_hand(&archived).archive(Some(ARCHIVE.as_ref())).open(DIR).unwrap();
    fill(&db, 40);
    db.checkpoint().unwrap();
    fill(&db, 40);
    db.close().unwrap();
    let path = segments(&archived).into_iter().rfind(|path| path.starts_with(DIR)).unwrap();
    let mut bytes = archived.read_file(&path).unwrap();
    bytes[4096 + 70] ^= 1;
    archived.write_file(&path, &bytes);
    let healthy = archived.fork();
    care::salvage_on(Arc::new(healthy.clone()), DIR, OUT).unwrap();
    let sound_archived = state_of(&store_on(&healthy).open(OUT).unwrap());
    vec![
        Damaged { disk, sound, written: Some(written) },
        Damaged { disk: archived, sound: sound_archived, written: None },
    ]
}

/// Every way to fail each call of `work`: what it answered, and the disk as it was left, healthy again.
fn every_failed_call(
    original: &SimDisk,
    work: impl Fn(&SimDisk) -> Result<care::Repair>,
    check: impl Fn(&str, Result<care::Repair>, &SimDisk),
) -> u64 {
    let mut hits = 0;
    let kinds = [
        (FaultKind::Eio, OperationFilter::any()),
        (FaultKind::Enospc, OperationFilter::changes()),
        (FaultKind::PartialWriteThenEio(0), OperationKind::Write.into()),
        (FaultKind::PartialWriteThenEio(511), OperationKind::Write.into()),
    ];
    for (kind, on) in kinds {
        for forever in [false, true] {
            for at in 1.. {
                let disk = original.fork();
                let fault = Fault { forever, ..Fault::new(kind).on(on.clone()).at(at) };
                disk.fail(fault.clone());
                let answer = work(&disk);
                if disk.faults_hit() == 0 {
                    break;
                }
                hits += 1;
                disk.clear_faults();
                check(&format!("{fault:?}"), answer, &disk);
            }
        }
    }
    hits
}

fn is_the_disks_fault(what: &str, error: &Error) {
    let is_io = |error: &Error| matches!(error, Error::Io { .. });
    let is = is_io(error) || matches!(error, Error::Poisoned { cause } if is_io(cause));
    assert!(is, "{what}: {error:?}");
}

/// The files of a directory and below it.
fn files_in(disk: &SimDisk, dir: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = disk.files().into_iter().filter(|path| path.starts_with(dir));
    paths.map(|path| (path.clone(), disk.read_file(&path).unwrap())).collect()
}

/// What stands in the store is what is sound, whoever opens it next; a second repair comes to its end.
fn is_repaired_at_last(what: &str, disk: &SimDisk, sound: &BTreeMap<String, Vec<u8>>) {
    let opened = store_on(&disk.fork()).open(DIR).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(state_of(&opened) == *sound, "{what}");
    let storage = Arc::new(disk.clone());
    care::repair_on(storage.clone(), DIR).unwrap_or_else(|error| panic!("{what}: again: {error}"));
    assert_eq!(care::verify_on(storage, DIR).unwrap().status, LogStatus::Clean, "{what}");
    assert!(state_of(&store_on(disk).open(DIR).unwrap()) == *sound, "{what}: at last");
}

#[test]
fn every_failed_call_of_a_repair_in_place() {
    let (original, sound) = torn();
    let repair = |disk: &SimDisk| care::repair_on(Arc::new(disk.clone()), DIR);
    let hits = every_failed_call(&original, repair, |what, answer, disk| {
        if let Err(error) = answer {
            is_the_disks_fault(what, &error);
        }
        for disk in [disk.fork(), disk.fork().kill(), disk.power_cut(&Outcome::None)] {
            is_repaired_at_last(what, &disk, &sound);
        }
    });
    println!("repair in place: {hits} calls failed");
    assert!(hits > 200, "{hits}");
}

#[test]
fn every_power_cut_in_a_repair_in_place() {
    let (original, sound) = torn();
    original.record();
    care::repair_on(Arc::new(original.clone()), DIR).unwrap();
    let mut images = 0;
    for point in original.take_crash_points() {
        for outcome in point.outcomes(&OutcomeLimits::default(), 1) {
            is_repaired_at_last(&format!("{outcome:?} at {point}"), &point.apply(&outcome), &sound);
            images += 1;
        }
    }
    println!("repair in place: {images} power cuts");
    assert!(images > 500, "{images}");
}

/// Whoever comes next: what a salvage has left is all that is sound, or no store. Then it is salvaged again.
fn is_all_or_nothing(what: &str, disk: &SimDisk, sound: &BTreeMap<String, Vec<u8>>) -> bool {
    let is_whole = match by_hand(&disk.fork()).create(forelog::CreateMode::Never).open(OUT) {
        Ok(db) => {
            assert!(state_of(&db) == *sound, "{what}: a part of it passes for all");
            true
        }
        Err(Error::NoStore { .. } | Error::NotAStore { .. }) => false,
        Err(error) => panic!("{what}: {error:?}"),
    };
    for (path, _) in files_in(disk, OUT) {
        disk.remove_file(path);
    }
    care::salvage_on(Arc::new(disk.clone()), DIR, OUT)
        .unwrap_or_else(|error| panic!("{what}: again: {error}"));
    assert!(state_of(&store_on(disk).open(OUT).unwrap()) == *sound, "{what}: at last");
    is_whole
}

/// Broken: src/wal/salvage.rs: `Err(Error::Corruption(_)) => continue, opened => opened?.segment,` to `opened => opened?.segment,`
#[test]
fn every_failed_call_of_a_salvage() {
    for Damaged { disk: original, sound, written } in damaged() {
        let before = files_in(&original, DIR);
        let salvage = |disk: &SimDisk| care::salvage_on(Arc::new(disk.clone()), DIR, OUT);
        let hits = every_failed_call(&original, salvage, |what, answer, disk| {
            assert!(files_in(disk, DIR) == before, "{what}: the damaged store is only read");
            match answer {
                Err(error) => {
                    is_the_disks_fault(what, &error);
                    is_all_or_nothing(what, disk, &sound);
                }
                // What could not be read is lost, and told.
                Ok(repair) if !repair.lost.is_empty() || !repair.actions.is_empty() => {
                    let verified = care::verify_on(Arc::new(disk.clone()), OUT).unwrap();
                    assert_eq!(verified.status, LogStatus::Clean, "{what}");
                    let found = state_of(&store_on(disk).open(OUT).unwrap());
                    let expected = written.as_ref().map(|written| without(written, &repair.lost));
                    assert!(expected.is_none_or(|expected| found == expected), "{what}: {repair:?}");
                }
                Ok(repair) => panic!("{what}: {repair:?} for a damaged store"),
            }
        });
        println!("salvage: {hits} calls failed");
        assert!(hits > 200, "{hits}");
    }
}

#[test]
fn every_power_cut_in_a_salvage() {
    let limits = OutcomeLimits::default();
    for Damaged { disk: original, sound, .. } in damaged() {
        let before = files_in(&original, DIR);
        original.record();
        care::salvage_on(Arc::new(original.clone()), DIR, OUT).unwrap();
        let (mut images, mut whole) = (0, 0);
        for point in original.take_crash_points() {
            for outcome in point.outcomes(&limits, 1) {
                let (what, disk) = (format!("{outcome:?} at {point}"), point.apply(&outcome));
                assert!(files_in(&disk, DIR) == before, "{what}: the damaged store is only read");
                whole += u64::from(is_all_or_nothing(&what, &disk, &sound));
                images += 1;
            }
        }
        println!("salvage: {images} power cuts, {whole} of them with all of it");
        assert!(images > 500 && whole > 0, "{images}, {whole}");
    }
}
