//! Shows that whoever looks at a store from outside, while it is written as fast as it goes, sees no damage that is not
//! there: `verify`, `survey`, opening beside it and reading the log, over and over, on a real disk, beside rotations, checkpoints, pruning and
//! an archive.
//!
//! `FORELOG_LIVE_ROUNDS=1000` looks more often; without an archive, which would grow all the time.
//!
//! What it found: `verify` read the manifest once, and judged the log by it when a checkpoint had made another.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use forelog::wal::LogStatus;
use forelog::{Durability, Error, Lsn, Options, WriteBatch, WriteOptions, care};

#[test]
fn no_false_alarm_beside_a_writer() {
    let rounds = std::env::var("FORELOG_LIVE_ROUNDS").ok().and_then(|text| text.parse().ok());
    look(false, rounds.unwrap_or(60));
}

#[test]
fn nor_beside_one_that_archives() {
    look(true, 8);
}

fn look(archives: bool, rounds: u64) {
    // Beside the build: the usual temporary directory may be in memory.
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (store, archive) = (place.path().join("store"), place.path().join("archive"));
    let options = Options::new().segment_bytes(1 << 20).checkpoint_after_bytes(Some(4 << 20));
    let db = options.archive(archives.then_some(&*archive)).open(&store).unwrap();
    let (over, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut records, mut read) = (0, 0);
    thread::scope(|scope| {
        for writer in 0..2_u64 {
            let (db, over, written) = (&db, &over, &written);
            scope.spawn(move || {
                let options = WriteOptions::new().durability(match writer {
                    0 => Durability::Sync,
                    _ => Durability::Buffered,
                });
                for number in (0..).take_while(|_| !over.load(Ordering::Relaxed)) {
                    let mut batch = WriteBatch::new();
                    batch.put(format!("{writer} {}", number % 5000), vec![7; 50 + number % 400]);
                    db.write_with(batch, &options).unwrap();
                    written.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let look = || {
            while db.stats().checkpoint_lsn.is_none() {
                thread::sleep(Duration::from_millis(5));
            }
            for round in 0..rounds {
                let found = care::verify(&store).unwrap();
                assert_eq!((found.status, &found.problems[..]), (LogStatus::Live, &[][..]), "round {round}");
                records += found.records;
                if round % 8 > 0 {
                    continue;
                }
                let survey = care::survey(&store).unwrap();
                assert!(survey.live && survey.durable_lsn <= survey.visible_lsn.next());
                let seen = Options::new().beside_writer(true).open(&store).unwrap();
                let visible = seen.visible_lsn();
                assert!(visible <= db.durable_lsn() && visible >= survey.visible_lsn, "round {round}");
                assert!(seen.iter().all(|entry| entry.lsn() <= visible));
                match seen.changes_since(Lsn::new(visible.get().saturating_sub(20))) {
                    Ok(changes) => assert!(changes.flatten().all(|change| change.lsn <= visible)),
                    Err(error) => assert!(matches!(error, Error::Compacted { .. }), "round {round}: {error}"),
                }
                for record in care::read_log(&store).unwrap() {
                    match record {
                        Ok(_) => read += 1,
                        // It has gone meanwhile, to the archive or for good.
                        Err(Error::Compacted { .. }) => break,
                        Err(error) => panic!("round {round}: {error}"),
                    }
                }
            }
        };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(look));
        over.store(true, Ordering::Relaxed);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
    let stats = db.stats();
    println!(
        "{rounds} looks, {records} records verified, {read} read, while {} were written; checkpoint at {:?}",
        written.load(Ordering::Relaxed),
        stats.checkpoint_lsn
    );
    assert!(written.load(Ordering::Relaxed) > 1000 && stats.checkpoint_failure.is_none());
    db.close().unwrap();
    assert_eq!(care::verify(&store).unwrap().status, LogStatus::Clean);
}
